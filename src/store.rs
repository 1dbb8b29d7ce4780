//! Where lines live.
//!
//! Owns the [`Store`] trait: whole operations of the line, each atomic, never
//! single reads and writes, which would push races up to the gates. Two stores
//! keep one contract: [`MemoryStore`] is the domain's model behind a mutex,
//! [`RedisStore`] runs one script per operation. Both pass one suite and are
//! compared step by step.

mod beats;
pub mod memory;
pub mod redis;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::autotune::Word;
use crate::domain::binding::{Claim, Heard, Rotation};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::line::{Known, LogEntry, PutBack, Settings, Standing};
use crate::domain::opening::Rescheduled;
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;

pub use memory::{Lines, MemoryStore};
pub use redis::RedisStore;

/// What went wrong, as the choices a caller has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, not writable or not answering: freeze and try again.
    /// Whether the operation took effect is unknown; each may be repeated.
    #[error("the store is away: {0}")]
    Away(String),
    /// Reachable, but out of memory: nothing was written.
    #[error("the store is full")]
    Full,
    /// The room is not there (any more): the line was lost or never opened.
    #[error("the store does not know the room")]
    NoRoom,
}

/// What operators changed about a room; `None` = as in the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Raised with each change, so that of two accounts the later one is known.
    pub revision: u64,
    /// Visitors inside at once.
    pub capacity: Option<u64>,
    /// Visitors admitted in one tick.
    pub batch: Option<u64>,
    /// Visitors that come in within a minute; 0 = off.
    pub rate_per_minute: Option<u64>,
    /// Places in the line; 0 = off.
    pub max_waiting: Option<u64>,
    /// How long a pass is good.
    pub pass_ttl: Option<Duration>,
    /// Nobody is admitted.
    pub paused: Option<bool>,
    /// Nobody is admitted and nobody joins.
    pub closed: Option<bool>,
    /// Closed because what the line is for is gone; only a word for people.
    pub sold_out: Option<bool>,
    /// Nobody joins; those in the line are admitted.
    pub draining: Option<bool>,
    /// Everybody is forwarded.
    pub bypass: Option<bool>,
    /// Shown to those who wait.
    pub message: Option<String>,
    /// When the doors open instead of when the settings say.
    pub opening: Option<Rescheduled>,
}

impl Overrides {
    /// The settings with these changes.
    #[must_use]
    pub fn apply(&self, base: &Settings) -> Settings {
        let off = |n: u64| (n > 0).then_some(n);
        Settings {
            capacity: self.capacity.unwrap_or(base.capacity),
            batch: self.batch.unwrap_or(base.batch),
            rate_per_minute: self.rate_per_minute.map_or(base.rate_per_minute, off),
            max_waiting: self.max_waiting.map_or(base.max_waiting, off),
            pass_ttl: self.pass_ttl.unwrap_or(base.pass_ttl),
            paused: self.paused.unwrap_or(base.paused),
            closed: self.closed.unwrap_or(base.closed),
            draining: self.draining.unwrap_or(base.draining),
            opening: Rescheduled::apply(self.opening, base.opening),
            // An operator's capacity stands whatever gates say of the app.
            autotune: base.autotune && self.capacity.is_none(),
            ..base.clone()
        }
    }

    /// Opens the doors that would open only later.
    pub fn open_doors(&mut self, base: &Settings, now: Timestamp) {
        let ahead = self.apply(base).opening.is_some_and(|opening| opening.is_ahead(now));
        if ahead {
            self.opening = Some(Rescheduled::new(base.opening, now));
        }
    }
}

/// How a line stands, with what operators changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The line.
    pub standing: Standing,
    /// The changes.
    pub overrides: Overrides,
}

/// Log entries after the asked one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPage {
    /// In order and without a gap; empty when there is nothing new.
    Entries(Vec<(u64, LogEntry)>),
    /// Some are gone: read a snapshot.
    Gap,
}

/// The lines of all rooms.
///
/// Time is the store's own. Every operation may be repeated after an unknown
/// outcome. A room must be opened first; an operation on one that is not there
/// answers [`StoreError::NoRoom`].
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes the room if it is not there, with `epoch`, and tells it its settings.
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError>;

    /// The same by a gate that knows how far the line had come: a room that is
    /// not there gets that epoch, and one that is behind comes back for `window`
    /// ([`crate::domain::line::Line::recall`]).
    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError>;

    /// Visitors who show the number they had, and when it was taken; one answer
    /// each ([`crate::domain::line::Line::come_back`]).
    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError>;

    /// What a gate remembers, while the line comes back.
    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError>;

    /// Visitors who want in, in the order of their arrival; one answer each.
    /// While the line comes back, and when it is behind what the caller knew or
    /// another, the unknown get no place and stay unknown.
    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError>;

    /// Visitors who show up without wanting a new place; one answer each.
    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError>;

    /// Gathered signs of life: number, and store time of the last one.
    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError>;

    /// Expires, evicts and forgets, bounded per call.
    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError>;

    /// Admits a batch if a tick is due, and the line is the one that the caller
    /// knew and not behind that; tells how it stands either way.
    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError>;

    /// Settles the order of those present at the opening, when nobody has yet
    /// ([`crate::domain::line::Line::draw`]).
    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError>;

    /// What that order comes of; `None` before the draw.
    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError>;

    /// Ends a place or pass before its time; `None` when there was none.
    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError>;

    /// Makes a live pass last at least `by` from now, within `pass_max`;
    /// `None` when there is none.
    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError>;

    /// Generations of passes that visitors showed, with the issue times of these;
    /// one answer each, `None` for who has no such pass (any more)
    /// ([`crate::domain::line::Line::show`]).
    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError>;

    /// A visitor claims its pass once more, with this generation of it or none;
    /// `None` when it has no pass ([`crate::domain::line::Line::claim_again`]).
    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError>;

    /// Gives a place to another id of the same person, who shows up by it
    /// ([`crate::domain::line::Line::hand_over`]).
    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError>;

    /// Numbers above `after` that were handed over while they waited, and whose they
    /// are, in order, at most `limit` (20,000 or less); some may be out by now.
    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError>;

    /// Who holds a number now.
    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError>;

    /// Log entries after `seq`, at most `limit`.
    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError>;

    /// Waiting numbers above `after`, in order, at most `limit` (20,000 or less).
    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError>;

    /// Passes that were ended early and would still be good.
    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError>;

    /// Replaces what operators changed, unless what is there has a later revision.
    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError>;

    /// A gate's word on the app; see [`crate::domain::autotune`].
    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError>;

    /// Calls so far that took so long that it should be looked into; 0 where
    /// none can.
    fn slow_calls(&self) -> u64 {
        0
    }

    /// Ends the line and begins a new one with `epoch`; overrides stay. `known`:
    /// the line that the caller knew.
    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError>;
}
