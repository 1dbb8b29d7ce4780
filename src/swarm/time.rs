//! The run's clock.
//!
//! Owns the one reading of wall-clock time, at the start: instants are that
//! plus monotonic time, so that they never run backwards and still compare with
//! the ends of passes.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::domain::time::Timestamp;

/// Wall-clock time at the start, monotonic from there.
#[derive(Debug)]
pub(super) struct RunClock {
    clock: SystemClock,
    started_at: Timestamp,
}

impl RunClock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        let clock = SystemClock::new();
        let started_at = clock.now();
        Self { clock, started_at }
    }

    /// When it started.
    pub(super) const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Now, in whole milliseconds.
    pub(super) fn now(&self) -> Timestamp {
        self.started_at + self.elapsed()
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.monotonic()
    }
}
