//! What a line goes by.

use std::time::Duration;

use crate::domain::opening::Opening;
use crate::domain::time::Timestamp;

/// Limits and times of a line, as the settings give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Visitors inside at once, called ones included.
    pub capacity: u64,
    /// Visitors admitted in one tick.
    pub batch: u64,
    /// Time between two ticks.
    pub tick: Duration,
    /// Visitors that come in within any 60 s.
    pub rate_per_minute: Option<u64>,
    /// Places in the line.
    pub max_waiting: Option<u64>,
    /// How long a pass is good.
    pub pass_ttl: Duration,
    /// The longest it can become.
    pub pass_max: Duration,
    /// Silence that ends a place, one heartbeat interval added, and at most one more.
    pub idle_timeout: Duration,
    /// Time to show up when called.
    pub claim_window: Duration,
    /// Time after a missed call in which the visitor is called once more.
    pub grace_reentry: Duration,
    /// Nobody is admitted.
    pub paused: bool,
    /// Nobody is admitted and nobody joins.
    pub closed: bool,
    /// Nobody joins; those in the line are admitted.
    pub draining: bool,
    /// A newcomer goes straight in while there is room and nobody waits.
    pub overflow: bool,
    /// When the doors open; `None` = they are open.
    pub opening: Option<Opening>,
    /// Those present when the doors open come in a drawn order.
    pub draw: bool,
    /// The capacity follows the gates' words on the app.
    pub autotune: bool,
}

impl Settings {
    /// How often gates send the signs of life they gathered, and the length of the
    /// slices of time by which they are kept.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.idle_timeout / 6
    }

    /// Whether nobody is admitted: by an operator, or before the opening.
    #[must_use]
    pub fn is_shut(&self, now: Timestamp) -> bool {
        self.paused || self.closed || self.opening.is_some_and(|opening| opening.is_ahead(now))
    }

    /// Whether nobody joins.
    #[must_use]
    pub fn takes_nobody(&self, now: Timestamp) -> bool {
        self.closed || self.draining || self.opening.is_some_and(|opening| opening.is_too_early(now))
    }
}
