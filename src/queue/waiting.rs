//! What those who wait are told: position, wait, when to ask again.

use std::time::Duration;

use super::heartbeat::Heard;
use super::{Room, View};
use crate::domain::estimate::Range;
use crate::domain::id::{Epoch, PlaceNumber};
use crate::domain::pace::Pace;
use crate::domain::time::Timestamp;

/// The position in a token of whoever waits for the draw: more than any, so that it
/// never grows.
const UNDRAWN: u64 = u32::MAX as u64;
/// Those who came too early join spread over this.
const AFTER_GATHERING: Duration = Duration::from_secs(2);
/// A place as its holder presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The line it belongs to.
    pub epoch: Epoch,
    /// Its number.
    pub number: PlaceNumber,
    /// When it was taken.
    pub joined_at: Timestamp,
    /// The position last shown; 0 = none yet, or none any more; 2³² − 1 = none
    /// before the draw.
    pub position: u64,
    /// The position first shown; 0 = none yet.
    pub first: u64,
}

/// What a waiting visitor is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place, with the position now shown; a late returner has one too.
    pub place: Presented,
    /// 1 = next; 0 = not known.
    pub position: u64,
    /// The expected wait, when it can be told.
    pub wait: Option<Range>,
    /// When to ask again.
    pub poll_after: Duration,
    /// The store was to be asked and did not answer: this is what was last shown.
    pub stale: bool,
}

/// The answer of the view alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Still in the line.
    Waiting(Waiting),
    /// Asked again too soon; wait this long.
    TooEarly(Duration),
    /// Not in the line as far as this gate knows: ask the store.
    Out,
}

/// What people are told of a position in a token.
pub(super) const fn told(position: u64) -> u64 {
    if position == UNDRAWN { 0 } else { position }
}

impl Room {
    /// A poll by the holder of a place: counted as a sign of life, paced, and
    /// answered from the view.
    pub fn poll(&self, place: Presented, now: Timestamp, chance: f64) -> Poll {
        let view = self.view.load();
        if !view.knows(place.epoch) || view.rank.is_out(place.number) {
            return Poll::Out;
        }
        let pace = self.pace();
        match self.heartbeats.poll(place.number, now, &pace) {
            Heard::TooEarly(left) => return Poll::TooEarly(left),
            Heard::Gone => return Poll::Out,
            Heard::InTime => {}
        }
        Poll::Waiting(self.waiting(&view, place, now, &pace, chance))
    }

    /// What the holder of a place is shown, without pacing: page loads.
    pub fn show(&self, place: Presented, now: Timestamp, chance: f64) -> Poll {
        let view = self.view.load();
        let out = view.rank.is_out(place.number) || self.heartbeats.is_gone(place.number);
        if out || !view.knows(place.epoch) {
            return Poll::Out;
        }
        Poll::Waiting(self.waiting(&view, place, now, &self.pace(), chance))
    }

    /// Time left before the holder of a number out of the line may make this
    /// gate ask the store again; `None` = now.
    pub fn too_early_out(&self, place: &Presented, now: Timestamp) -> Option<Duration> {
        if place.epoch != self.view.load().epoch {
            return None;
        }
        self.heartbeats.too_early_out(place.number, now, &self.pace())
    }

    /// The holder of a number out of the line was told to come back after `pause`.
    pub fn told_out(&self, place: &Presented, now: Timestamp, pause: Duration) {
        if place.epoch == self.view.load().epoch {
            self.heartbeats.told_out(place.number, now, pause);
        }
    }

    /// The longest pause a waiting visitor is ever told.
    pub fn longest_pause(&self) -> Duration {
        self.pace().ceiling()
    }

    fn waiting(&self, view: &View, place: Presented, now: Timestamp, pace: &Pace, chance: f64) -> Waiting {
        if view.standing.is_some() {
            self.memory.saw(view.epoch, place.number);
        }
        let shown = match (view.position(place.number), place.position) {
            (Some(found), 0) => found,
            (Some(found), shown) => shown.min(found),
            (None, 0) if view.is_undrawn() => UNDRAWN,
            // Nothing was read from the store yet: what was shown last stands.
            (None, shown) => shown,
        };
        let position = told(shown);
        let wait = view.wait(position, now);
        let expected = wait.map(|range| Duration::from_secs(range.low_seconds));
        // Before the draw everybody may be anywhere.
        let about = if shown == UNDRAWN { view.waiting().unwrap_or_default() / 2 + 1 } else { position };
        let poll_after = pace.after(expected.or(view.guess(about, now)), view.recovering(now), chance);
        self.heartbeats.told(place.number, now, poll_after);
        let first = if place.first == 0 { position } else { place.first };
        Waiting {
            place: Presented { position: shown, first, ..place },
            position,
            wait,
            poll_after,
            stale: false,
        }
    }

    /// What a late returner is shown.
    pub fn returning(&self, number: PlaceNumber, ahead: u64, now: Timestamp, chance: f64) -> Waiting {
        let view = self.view.load();
        let poll_after = self.pace().after(Some(Duration::ZERO), false, chance);
        self.heartbeats.told(number, now, poll_after);
        let position = ahead + 1;
        let place = Presented { epoch: view.epoch, number, joined_at: now, position, first: position };
        Waiting { place, position, wait: view.wait(position, now), poll_after, stale: false }
    }

    /// When the holder of a place should ask again of which nobody knows more
    /// now than the position last shown; 0 = not even that.
    pub fn while_away(&self, position: u64, chance: f64) -> Duration {
        self.pace().after(self.view.load().guess(position, self.now()), true, chance)
    }

    /// Whether a number is out of the line as far as this gate knows.
    pub fn is_out(&self, place: &Presented) -> bool {
        let view = self.view.load();
        view.epoch == place.epoch && view.rank.is_out(place.number)
    }

    /// When a visitor without a place should ask again.
    pub fn soon(&self, chance: f64) -> Duration {
        let view = self.view.load();
        let pace = self.pace();
        if view.degraded {
            return pace.after(None, true, chance);
        }
        Duration::from_millis(500).mul_f64(1.0 + chance).min(pace.ceiling())
    }

    /// When somebody whom the room does not take should ask again: at the
    /// latest a moment after people may gather.
    pub fn until_taken(&self, now: Timestamp, chance: f64) -> Duration {
        let opening = self.view.load().opening(now).filter(|opening| opening.is_too_early(now));
        let longest = self.longest_pause();
        let Some(opening) = opening else { return longest };
        let gathering = opening.gather_from.min(opening.at).since(now);
        (gathering + AFTER_GATHERING.mul_f64(chance)).min(longest)
    }

    pub(super) fn pace(&self) -> Pace {
        let config = self.config.load();
        Pace {
            min: config.poll_min,
            max: config.poll_max,
            idle_timeout: config.line.idle_timeout,
            claim_window: config.line.claim_window,
        }
    }
}
