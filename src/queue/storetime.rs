//! The store's time, told by a gate between two answers of the store.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Clock;
use crate::domain::time::{Timestamp, millis};

/// The store's last word on time plus the gate's monotonic time since.
///
/// The gate's own wall clock counts only until the store has been heard once,
/// so a gate whose clock is an hour off judges passes like all others.
#[derive(Debug)]
pub(super) struct StoreTime {
    /// Store time minus monotonic time, in ms.
    offset: AtomicU64,
}

impl StoreTime {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let time = Self { offset: AtomicU64::new(0) };
        time.heard(clock.now(), clock);
        time
    }

    /// The store said that it is `now`.
    pub(super) fn heard(&self, now: Timestamp, clock: &dyn Clock) {
        let offset = now.as_millis().saturating_sub(millis(clock.monotonic()));
        self.offset.store(offset, Ordering::Relaxed);
    }

    pub(super) fn now(&self, clock: &dyn Clock) -> Timestamp {
        Timestamp::from_millis(self.offset.load(Ordering::Relaxed) + millis(clock.monotonic()))
    }
}
