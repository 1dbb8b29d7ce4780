//! The machine that the gates' store is on, and a watch on what it does.

use std::sync::Arc;

use parking_lot::Mutex;
use usher::clock::Clock;
use usher::rehearsal::watch::Seen;
use usher::store::{MemoryStore, Report};

use super::Bug;
use super::world::CAPACITY;

/// The store, as it is at one moment.
pub struct Host {
    store: Arc<MemoryStore>,
    seen: Mutex<Seen>,
    bug: Option<Bug>,
}

impl Host {
    /// An empty store whose time is `clock`'s.
    pub fn new(clock: Arc<dyn Clock>, bug: Option<Bug>) -> Self {
        Self { store: Arc::new(MemoryStore::new(clock)), seen: Mutex::default(), bug }
    }

    /// What answers now.
    pub fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }

    /// The store's answer to a tick, before it is sent.
    pub fn note(&self, mut report: Report) -> Report {
        if self.bug == Some(Bug::TicksTwice) {
            report.standing.tick = report.standing.tick.div_ceil(2);
        }
        self.seen.lock().note(&report, CAPACITY);
        report
    }

    /// Reads what was seen.
    pub fn seen<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.lock())
    }
}
