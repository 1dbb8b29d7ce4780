//! How many people look at an event, in all processes together.
//!
//! Each process tells its own number again and again; what a process that died had
//! told is forgotten after a while. Where holds live in one process's memory, that
//! process is all there is.

use std::time::Duration;

use redis::Value;

use crate::domain::seat::EventId;
use crate::domain::time::millis;
use crate::redis::{CallError, Redis, Script};

/// Between two times that a process tells its number.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// A process that told nothing for so long is gone.
const LIFE: Duration = Duration::from_secs(10);

/// Where the numbers meet.
#[derive(Debug)]
pub(super) struct Presence(Option<Shared>);

#[derive(Debug)]
struct Shared {
    redis: Redis,
    prefix: String,
    process: String,
    script: Script,
}

impl Presence {
    /// Of this process alone.
    pub(super) fn alone() -> Self {
        Self(None)
    }

    /// Of all processes over this Redis.
    pub(super) fn shared(redis: Redis, prefix: &str) -> Self {
        let script = Script::new(format!("#!lua flags=allow-oom\n{}", include_str!("presence.lua")));
        let process = uuid::Uuid::new_v4().simple().to_string();
        Self(Some(Shared { redis, prefix: prefix.to_owned(), process, script }))
    }

    /// Tells that `here` people look at the event in this process; how many do in all.
    ///
    /// # Errors
    /// [`CallError`]
    pub(super) async fn tell(&self, event: &EventId, here: u64) -> Result<u64, CallError> {
        let Some(shared) = &self.0 else { return Ok(here) };
        let key = format!("{}:{{{event}}}:presence", shared.prefix);
        let args = [shared.process.clone(), here.to_string(), millis(LIFE).to_string()];
        match shared.redis.call(&shared.script, &[key], &args).await? {
            Value::Int(active) => Ok(u64::try_from(active).unwrap_or_default()),
            other => Err(CallError::Away(format!("{other:?} is no number of people"))),
        }
    }
}
