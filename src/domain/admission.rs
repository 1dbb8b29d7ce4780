//! How many may come in at a tick, and when a tick is due.

use std::time::Duration;

use super::time::Timestamp;

/// What bounds one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Visitors admitted in one tick, at most.
    pub batch: u64,
    /// Visitors inside at once.
    pub capacity: u64,
    /// Passes and unclaimed calls now.
    pub inside: u64,
    /// Visitors that may come in within any 60 s.
    pub rate_per_minute: Option<u64>,
    /// Visitors that came in within the last 60 s.
    pub last_minute: u64,
}

impl Bounds {
    /// Visitors this tick may admit.
    #[must_use]
    pub fn room(&self) -> u64 {
        let free = self.capacity.saturating_sub(self.inside);
        let rate = self.rate_per_minute.map_or(u64::MAX, |rate| rate.saturating_sub(self.last_minute));
        self.batch.min(free).min(rate)
    }
}

/// Whether a tick is due at `now`, and if so the instant it counts from.
///
/// A tick that comes late by less than one period counts from when it was due,
/// so lateness does not add up; one that comes later counts from `now`, so
/// missed ticks are not made up. A room's first tick is due at once.
#[must_use]
pub fn due(last_tick_at: Option<Timestamp>, tick: Duration, now: Timestamp) -> Option<Timestamp> {
    let Some(last) = last_tick_at else { return Some(now) };
    let due = last + tick;
    match now {
        _ if now < due => None,
        _ if now.since(due) < tick => Some(due),
        _ => Some(now),
    }
}

/// The silence of the whole service that starts an eviction holiday: longer
/// than three ticks and than one heartbeat interval.
#[must_use]
pub fn is_gap(since_last: Duration, tick: Duration, heartbeat: Duration) -> bool {
    since_last > (tick * 3).max(heartbeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn the_smallest_bound_wins() {
        let bounds = Bounds { batch: 50, capacity: 100, inside: 0, rate_per_minute: None, last_minute: 0 };
        assert_eq!(bounds.room(), 50);
        assert_eq!(Bounds { inside: 70, ..bounds }.room(), 30);
        assert_eq!(Bounds { inside: 130, ..bounds }.room(), 0);
        assert_eq!(Bounds { rate_per_minute: Some(60), last_minute: 55, ..bounds }.room(), 5);
        assert_eq!(Bounds { rate_per_minute: Some(60), last_minute: 65, ..bounds }.room(), 0);
    }

    #[test]
    fn a_late_tick_keeps_the_rhythm_and_a_missed_one_is_not_made_up() {
        assert_eq!(due(None, SECOND, at(5)), Some(at(5)));
        assert_eq!(due(Some(at(0)), SECOND, at(999)), None);
        assert_eq!(due(Some(at(0)), SECOND, at(1_300)), Some(at(1_000)));
        assert_eq!(due(Some(at(0)), SECOND, at(2_000)), Some(at(2_000)));
        assert_eq!(due(Some(at(0)), SECOND, at(90_000)), Some(at(90_000)));
    }
}
