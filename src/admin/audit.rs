//! What operators did: the last thousand acts, in memory.
//!
//! One process's own and gone with it; each act is in the log as well.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequestParts, State};
use axum::http::request::Parts;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::domain::time::{Timestamp, millis};
use crate::queue::Room;

/// Acts that are kept.
const KEPT: usize = 1_000;
/// Characters of a name that an operator gives itself.
const NAME: usize = 64;

/// Who acts: the address, and the name in `Usher-Operator` where one is given.
pub(super) struct Who(String);

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let address = peer.map_or_else(|| "unknown".to_owned(), |ip| ip.to_canonical().to_string());
        let name = parts.headers.get("usher-operator").and_then(|value| value.to_str().ok());
        Ok(Self(match name.map(|name| name.chars().take(NAME).collect::<String>()) {
            Some(name) if !name.trim().is_empty() => format!("{} ({address})", name.trim()),
            _ => address,
        }))
    }
}

/// One act.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    at: u64,
    who: String,
    /// `None`: an act on the whole gate.
    room: Option<String>,
    act: String,
    /// What was changed, as it was.
    before: Value,
    /// The same, as it is.
    after: Value,
    /// `done`, or the code of what went wrong.
    outcome: &'static str,
}

/// The last acts, oldest first.
#[derive(Debug, Default)]
pub struct Audit {
    entries: Mutex<VecDeque<Entry>>,
}

/// An act under way.
pub(super) struct Act<'a> {
    pub(super) who: Who,
    pub(super) room: Option<&'a Room>,
    pub(super) act: String,
    before: Map<String, Value>,
}

impl<'a> Act<'a> {
    /// Begins an act: notes how things are before it.
    pub(super) fn begin(who: Who, room: Option<&'a Room>, act: impl Into<String>) -> Self {
        Self { who, room, act: act.into(), before: room.map(steered).unwrap_or_default() }
    }
}

impl Audit {
    /// Notes an act that came to its end at `now`.
    pub(super) fn note(&self, act: Act<'_>, outcome: &'static str, now: Timestamp) {
        let after = act.room.map(steered).unwrap_or_default();
        let (before, after) = changed(act.before, after);
        let room = act.room.map(|room| room.config().name.to_string());
        let Who(who) = act.who;
        tracing::info!(%who, room, act = act.act, outcome, %before, %after, "an operator acted");
        let entry = Entry { at: now.as_millis(), who, room, act: act.act, before, after, outcome };
        let mut entries = self.entries.lock();
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }
}

/// Newest first.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let entries = admin.audit.entries.lock();
    Json(json!({ "items": entries.iter().rev().collect::<Vec<_>>() }))
}

/// What operators steer of a room, as it is in force.
fn steered(room: &Room) -> Map<String, Value> {
    let view = room.view();
    let (settings, overrides) = (&view.settings, &view.overrides);
    let all = json!({
        "capacity": settings.capacity,
        "batch": settings.batch,
        "rate_per_minute": settings.rate_per_minute.unwrap_or(0),
        "max_waiting": settings.max_waiting.unwrap_or(0),
        "pass_ttl_ms": millis(settings.pass_ttl),
        "message": overrides.message,
        "paused": settings.paused,
        "closed": settings.closed,
        "draining": settings.draining,
        "bypass": overrides.bypass == Some(true),
        "sold_out": view.is_sold_out(),
        "opens_at": settings.opening.map(|opening| opening.at.as_millis()),
        "epoch": view.epoch.0,
    });
    match all {
        Value::Object(all) => all,
        _ => Map::new(),
    }
}

/// The keys that differ.
fn changed(mut before: Map<String, Value>, mut after: Map<String, Value>) -> (Value, Value) {
    let same: Vec<String> = before
        .iter()
        .filter(|(key, value)| after.get(*key) == Some(value))
        .map(|(key, _)| key.clone())
        .collect();
    for key in same {
        before.remove(&key);
        after.remove(&key);
    }
    (before.into(), after.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_last_acts_only() {
        let audit = Audit::default();
        for n in 0..KEPT as u64 + 5 {
            audit.note(
                Act::begin(Who("a".into()), None, format!("act {n}")),
                "done",
                Timestamp::from_millis(n),
            );
        }
        let entries = audit.entries.lock();
        assert_eq!(entries.len(), KEPT);
        assert_eq!(entries.front().map(|entry| entry.at), Some(5));
        assert_eq!(entries.back().map(|entry| entry.at), Some(KEPT as u64 + 4));
    }

    #[test]
    fn only_what_differs_is_told() {
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        let (before, after) =
            changed(map(json!({"capacity": 1, "batch": 2})), map(json!({"capacity": 3, "batch": 2})));
        assert_eq!((before, after), (json!({"capacity": 1}), json!({"capacity": 3})));
    }
}
