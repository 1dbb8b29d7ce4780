//! What a gate knows of a room between two answers of the store.

use std::sync::Arc;
use std::time::Duration;

use super::draw::Drawn;
use crate::config;
use crate::domain::estimate::{self, Flow, Range};
use crate::domain::id::Epoch;
use crate::domain::line::{Settings, Standing};
use crate::domain::opening::Opening;
use crate::domain::rank::Rank;
use crate::domain::time::Timestamp;
use crate::store::Overrides;

/// One coherent picture of a room; replaced, never changed.
#[derive(Clone, Debug)]
pub struct View {
    /// Which line; 0 before the store was first reached.
    pub epoch: Epoch,
    /// Numbers that left.
    pub rank: Arc<Rank>,
    /// The draw, once it took place.
    pub drawn: Option<Drawn>,
    /// The store's last word.
    pub standing: Option<Standing>,
    /// Limits in force.
    pub settings: Settings,
    /// What operators changed.
    pub overrides: Overrides,
    /// Numbers leaving in a second, and over how long that was measured.
    pub speed: Option<(f64, Duration)>,
    /// The store cannot be reached.
    pub degraded: bool,
    /// The store lost the line, which comes back: degraded, but places may be shown.
    pub rebuilding: bool,
    /// The store has not heard of the settings yet.
    pub stale_settings: bool,
    /// Polls spread wider until then: an outage just ended.
    pub recovering_until: Timestamp,
}

impl View {
    /// Before the store was first reached.
    pub(super) fn unknown(config: &config::Room) -> Self {
        Self {
            epoch: Epoch(0),
            rank: Arc::new(Rank::new()),
            drawn: None,
            standing: None,
            settings: config.line.clone(),
            overrides: Overrides::default(),
            speed: None,
            degraded: true,
            rebuilding: false,
            stale_settings: true,
            recovering_until: Timestamp::default(),
        }
    }

    /// Whether `epoch` is this line's. A gate that has not reached its store
    /// yet takes the token's word: passes work from the first second.
    #[must_use]
    pub fn knows(&self, epoch: Epoch) -> bool {
        self.epoch == epoch || self.standing.is_none()
    }

    /// Places in the line and late returners; `None` before the first answer.
    #[must_use]
    pub fn waiting(&self) -> Option<u64> {
        self.standing.as_ref().map(|s| s.waiting + s.returning)
    }

    /// Whether anybody is being admitted at all.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        !self.degraded && !self.settings.paused && !self.settings.closed
    }

    /// Closed because the app said that nothing is left.
    #[must_use]
    pub fn is_sold_out(&self) -> bool {
        self.settings.closed && self.overrides.sold_out == Some(true)
    }

    /// Visitors inside at once, as in force: lowered where the app is unwell.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        let tuned = self.standing.as_ref().and_then(|standing| standing.tuned);
        tuned
            .filter(|_| self.settings.autotune)
            .map_or(self.settings.capacity, |n| n.min(self.settings.capacity))
    }

    /// The opening, while it is ahead.
    #[must_use]
    pub fn opening(&self, now: Timestamp) -> Option<Opening> {
        self.settings.opening.filter(|opening| opening.is_ahead(now))
    }

    /// Time until the doors open; nothing once they are.
    fn until_open(&self, now: Timestamp) -> Duration {
        self.opening(now).map_or(Duration::ZERO, |opening| opening.at.since(now))
    }

    /// The expected wait at `position`, when it can be told. Before the opening
    /// it counts from there.
    #[must_use]
    pub fn wait(&self, position: u64, now: Timestamp) -> Option<Range> {
        if !self.is_moving() || position == 0 {
            return None;
        }
        let until_open = self.until_open(now).as_secs();
        let range = self.wait_inside(position)?;
        Some(Range {
            low_seconds: range.low_seconds + until_open,
            high_seconds: range.high_seconds + until_open,
        })
    }

    fn wait_inside(&self, position: u64) -> Option<Range> {
        let flow = Flow { batch: self.settings.batch, tick: self.settings.tick, free: self.free() };
        estimate::clear_way(position, flow).or_else(|| estimate::wait(position, self.speed))
    }

    /// Visitors that may come in before anybody goes out; a rate holds all of
    /// them up, so with one nobody is sure to.
    fn free(&self) -> u64 {
        let Some(standing) = self.standing.as_ref().filter(|_| self.settings.rate_per_minute.is_none())
        else {
            return 0;
        };
        let inside = standing.called + standing.active + standing.returning;
        self.capacity().saturating_sub(inside)
    }

    /// Whether an outage ended a moment ago.
    #[must_use]
    pub fn recovering(&self, now: Timestamp) -> bool {
        self.degraded || now < self.recovering_until
    }

    /// A wait to pace by when none can be told: as fast as the line ever moves.
    /// A million who wait must not all ask at the front's pace while the store is
    /// away or the room is paused; `None` = the position is not known.
    #[must_use]
    pub fn guess(&self, position: u64, now: Timestamp) -> Option<Duration> {
        let ticks = position.checked_sub(1)? / self.settings.batch.max(1);
        let by_batch = self.settings.tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
        let measured = estimate::wait(position, self.speed).map(|wait| Duration::from_secs(wait.low_seconds));
        Some(self.until_open(now) + measured.unwrap_or(by_batch))
    }
}
