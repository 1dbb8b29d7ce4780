//! How a line stands, as gates see it after each tick.

use super::Line;
use crate::domain::id::{Epoch, PlaceNumber};
use crate::domain::time::Timestamp;

/// Everything that ever happened to a line's places, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Places taken.
    pub joined: u64,
    /// Calls, the second ones included.
    pub admitted: u64,
    /// Passes claimed.
    pub claimed: u64,
    /// Places given up after silence.
    pub evicted: u64,
    /// Turns missed and passes that ran out.
    pub expired: u64,
    /// Visitors that left by their own act.
    pub left: u64,
}

/// The line as a gate needs to see it after each tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which line.
    pub epoch: Epoch,
    /// The line's time.
    pub now: Timestamp,
    /// What that is behind the store's clock, in ms: by so much the clock was set
    /// since the line began, 0 = it was not.
    pub skew_ms: i64,
    /// Ticks so far.
    pub tick: u64,
    /// When the next tick is due.
    pub due_at: Timestamp,
    /// The number the next place gets.
    pub next: PlaceNumber,
    /// Sequence number of the last log entry; 0 before the first.
    pub log_seq: u64,
    /// Places in the line.
    pub waiting: u64,
    /// Late returners to be served before it.
    pub returning: u64,
    /// Called, not yet claimed.
    pub called: u64,
    /// Passes.
    pub active: u64,
    /// Visitors this very call admitted; 0 when it was not due.
    pub admitted: u64,
    /// Evictions rest until then.
    pub holiday_until: Timestamp,
    /// The line comes back from a loss until then; 0 = it does not.
    pub recovering_until: Timestamp,
    /// How often it has.
    pub recoveries: u64,
    /// What the capacity was lowered to for the app's sake, where it may be.
    pub tuned: Option<u64>,
    /// The number of the first who came too late for the draw, from the opening on.
    pub frozen: Option<PlaceNumber>,
    /// The draw has taken place.
    pub drawn: bool,
    /// Lines of this room that were cleared, the last one first.
    pub former: Vec<Epoch>,
    /// Counts since the line began.
    pub totals: Totals,
}

impl Line {
    /// The line as gates see it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            epoch: self.epoch,
            now: self.now,
            skew_ms: self.skew_ms(),
            tick: self.tick,
            due_at: self.last_tick_at.map_or(self.now, |at| at + self.settings.tick),
            next: PlaceNumber(self.next),
            log_seq: self.log_seq,
            waiting: self.waiting.len() as u64,
            returning: self.returning.len() as u64,
            called: self.called.len() as u64,
            active: self.passes.len() as u64,
            admitted: 0,
            holiday_until: self.holiday_until,
            recovering_until: self.recovery.until,
            recoveries: self.recovery.count,
            tuned: self.tuned.capacity.filter(|_| self.settings.autotune),
            frozen: self.frozen,
            drawn: self.draw.is_some(),
            former: self.former.clone(),
            totals: self.totals,
        }
    }

    /// The line as gates see it, at `now`.
    pub fn standing_at(&mut self, now: Timestamp) -> Standing {
        self.clock(now);
        self.standing()
    }
}
