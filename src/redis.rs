//! Connections to Redis: one server, Sentinel or Cluster.
//!
//! Owns how long a call may take, when a connection is given up, and how a new
//! one is made in the background. Knows nothing of lines or seats, and never
//! repeats a call whose outcome is unknown.
//!
//! redis-rs's own `ConnectionManager` is not used: with its defaults a call hangs
//! for seconds while Redis is down, and it keeps a connection whose server has
//! become a replica.

mod connect;
mod error;
mod fit;
mod link;
mod target;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::redis::{Cmd, ToRedisArgs, Value, cmd};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

pub use error::{CallError, ConnectError};
pub use fit::Unfit;

use error::Verdict;
use link::Link;
use target::Target;

/// A call that takes longer is given up, unless asked otherwise.
const CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// A call that takes longer is told of: the longest script takes a tenth of it, and
/// everybody waits while one runs.
pub const SLOW: Duration = Duration::from_millis(50);
/// Calls under way at once; more wait, within their time.
const CALLS_AT_ONCE: usize = 256;

/// A script: its text, and the SHA-1 by which Redis knows it.
#[derive(Clone, Debug)]
pub struct Script {
    source: String,
    sha: String,
}

impl Script {
    /// The script with this text.
    #[must_use]
    pub fn new(source: String) -> Self {
        let sha = ::redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha }
    }
}

/// A handle on Redis; clones share one connection.
#[derive(Clone)]
pub struct Redis {
    link: Arc<Link>,
    calls: Arc<Semaphore>,
    slow: Arc<AtomicU64>,
    call_timeout: Duration,
}

impl Redis {
    /// Connects, and checks that the server can keep what is entrusted to it.
    ///
    /// `url` is `redis://host:6379/0`, `redis+sentinel://a:26379,b:26379/NAME` or
    /// `redis+cluster://a:6379,b:6379`. A user and password before an `@` are for
    /// the Redis servers, not for the sentinels.
    ///
    /// # Errors
    /// [`ConnectError`]: a bad address, a server that must not be used, or none
    /// that answers within two seconds.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::connect_with(url, CALL_TIMEOUT).await
    }

    /// The same with another bound on one call than 250 ms, for work that nobody
    /// waits for.
    ///
    /// # Errors
    /// See [`Redis::connect`].
    pub async fn connect_with(url: &str, call_timeout: Duration) -> Result<Self, ConnectError> {
        let link = Link::open(Target::parse(url)?, call_timeout).await?;
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        Ok(Self { link: Arc::new(link), calls, slow: Arc::default(), call_timeout })
    }

    /// How many calls took longer than [`SLOW`] so far, those given up included.
    #[must_use]
    pub fn slow_calls(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// Runs a script. All `keys` must share one hash tag.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call<K: ToRedisArgs, A: ToRedisArgs>(
        &self,
        script: &Script,
        keys: &[K],
        args: &[A],
    ) -> Result<Value, CallError> {
        let run = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(keys.len()).arg(keys).arg(args);
            command
        };
        match self.query(&run("EVALSHA", &script.sha)).await {
            // It did not run at all, so this is no repetition; EVAL also loads it.
            Err(error) if error.code() == Some("NOSCRIPT") => self.query(&run("EVAL", &script.source)).await,
            answer => answer,
        }
    }

    /// Runs one command.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn query(&self, command: &Cmd) -> Result<Value, CallError> {
        let deadline = Instant::now() + self.call_timeout;
        let Ok(Ok(_permit)) = timeout_at(deadline, self.calls.acquire()).await else {
            return Err(CallError::Away(format!("{CALLS_AT_ONCE} calls are under way and none ends")));
        };
        let mut live = self.link.current().await?;
        let sent = Instant::now();
        let answer = timeout_at(deadline, live.send(command)).await;
        self.note_time(sent.elapsed());
        let Ok(answer) = answer else {
            // A stopped server runs all that was sent to it when it wakes. So it
            // gets nothing more until it greets a new connection; calls that
            // already wait on this one may still be answered there.
            let why = format!("no answer within {} ms", self.call_timeout.as_millis());
            self.link.silent(&live, &why);
            return Err(CallError::Away(why));
        };
        answer.and_then(Value::extract_error).map_err(|error| {
            let verdict = Verdict::on(&error);
            match verdict {
                Verdict::Reconnect => self.link.lost(&live, &error),
                Verdict::Doubt => self.link.doubted(&live, &error),
                Verdict::Wait | Verdict::Full | Verdict::Refused => {}
            }
            verdict.call_error(&error)
        })
    }

    fn note_time(&self, took: Duration) {
        if took <= SLOW {
            return;
        }
        let so_far = self.slow.fetch_add(1, Ordering::Relaxed) + 1;
        // A slow Redis is slow often: said once for each doubling.
        if so_far.is_power_of_two() {
            tracing::warn!(redis = %self.link.target(), took_ms = took.as_millis(), so_far, "redis is slow to answer");
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.link.target())
    }
}
