//! The line's own time: what the store's clock says, less what that was set.
//!
//! Deadlines are instants of the line's time. A store whose clock is set while
//! people wait, or whose place is taken by one on a host with another clock, would
//! end every pass at once, or none for long. Callers measure time by clocks that
//! are never set; where the store's differs from theirs, the difference is kept
//! and the line's time goes on as before.

use std::time::Duration;

use super::Line;
use crate::domain::time::Timestamp;

/// The store's clock may differ from its callers' by so much before it counts as set.
pub const JUMP: Duration = Duration::from_secs(5);

impl Line {
    /// The line's time when the store's clock says `told`.
    ///
    /// `expected`: the time by the caller's account, the line's time as it last
    /// heard it and what has passed since. An account that is behind the time that
    /// others brought is an old one and tells nothing.
    pub fn time(&mut self, told: Timestamp, expected: Option<Timestamp>) -> Timestamp {
        let now = Timestamp::from_millis(told.as_millis().saturating_add_signed(-self.skew_ms));
        let Some(expected) = expected.filter(|&at| at + JUMP >= self.now) else { return now };
        if now.since(expected) <= JUMP && expected.since(now) <= JUMP {
            return now;
        }
        self.skew_ms += now.as_millis().cast_signed() - expected.as_millis().cast_signed();
        expected
    }

    /// What the line's time is behind the store's clock, in ms.
    pub(super) fn skew_ms(&self) -> i64 {
        self.skew_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Epoch;
    use crate::domain::line::turnover::tests::settings;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000) + Duration::from_secs(seconds)
    }

    /// A line that was last heard at this second.
    fn line(heard: u64) -> Line {
        let mut line = Line::new(Epoch(1), settings());
        line.make_room(at(heard));
        line
    }

    #[test]
    fn a_clock_that_is_set_moves_the_line_neither_on_nor_back() {
        let mut line = line(10);
        assert_eq!(line.time(at(11) + HOUR, Some(at(11))), at(11));
        assert_eq!(line.time(at(12) + HOUR, None), at(12), "also for callers who know nothing");
        assert_eq!(line.time(at(13) - HOUR, Some(at(13))), at(13));
        assert_eq!(line.time(at(14), Some(at(14))), at(14));
        assert_eq!(line.skew_ms(), 0, "it is right again");
    }

    #[test]
    fn small_differences_and_an_outage_are_no_jump() {
        let mut line = line(10);
        assert_eq!(line.time(at(15), Some(at(10))), at(15));
        assert_eq!(line.time(at(900), Some(at(898))), at(900));
        assert_eq!(line.time(at(2_000), None), at(2_000), "nobody knows better");
        assert_eq!(line.skew_ms(), 0);
    }

    #[test]
    fn the_account_of_a_caller_that_was_away_tells_nothing() {
        let mut line = line(100);
        assert_eq!(line.time(at(101), Some(at(60))), at(101));
        assert_eq!(line.skew_ms(), 0);
    }

    #[test]
    fn a_call_that_was_under_way_for_long_is_put_right_by_the_next() {
        let mut line = line(10);
        assert_eq!(line.time(at(40), Some(at(10))), at(10));
        assert_eq!(line.time(at(41), Some(at(41))), at(41));
        assert_eq!(line.skew_ms(), 0);
    }
}
