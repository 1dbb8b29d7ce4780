//! Visitors that carry no token: what this gate knows of them.
//!
//! A session header names a visitor and nothing more, so the gate remembers
//! number or pass itself and asks the store only when it knows nothing.

use std::time::Duration;

use dashmap::DashMap;

use crate::domain::id::{Epoch, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::time::Timestamp;
use crate::queue::Presented;

/// What a session was last seen to be.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Waiting(Presented),
    Inside(Epoch, Pass),
}

#[derive(Debug)]
struct Session {
    known: Option<Known>,
    go: Option<Box<str>>,
    used_at: Timestamp,
}

/// The sessions this gate has seen lately.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: DashMap<VisitorId, Session>,
}

impl Sessions {
    pub(super) fn get(&self, id: VisitorId, now: Timestamp) -> (Option<Known>, Option<Box<str>>) {
        let Some(mut session) = self.sessions.get_mut(&id) else { return (None, None) };
        session.used_at = now;
        (session.known.clone(), session.go.clone())
    }

    pub(super) fn put(&self, id: VisitorId, known: Option<Known>, now: Timestamp) {
        let mut session = self.sessions.entry(id).or_insert(Session { known: None, go: None, used_at: now });
        session.known = known;
        session.used_at = now;
    }

    pub(super) fn set_go(&self, id: VisitorId, go: &str, now: Timestamp) {
        let mut session = self.sessions.entry(id).or_insert(Session { known: None, go: None, used_at: now });
        session.go = Some(go.into());
    }

    /// Forgets sessions unused for `limit`: the store still knows them.
    pub(super) fn forget(&self, now: Timestamp, limit: Duration) {
        self.sessions.retain(|_, session| now.since(session.used_at) < limit);
    }
}
