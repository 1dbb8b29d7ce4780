//! What shows only from inside, checked at every answer of the store: rules 1
//! and 2 of `DESIGN.md` 7.
//!
//! A store before a store. Passes every call on as it is.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::autotune::Word;
use crate::domain::binding::{Claim, Heard, Rotation};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::line::{Known, PutBack, Settings};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;
use crate::store::{LogPage, Overrides, Report, Store, StoreError};

/// Examples kept.
const EXAMPLES: usize = 5;

/// What an observer of one room's store has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// The last tick that admitted anybody.
    last_batch: u64,
    /// Claimed and called passes at once, at most.
    pub most_out: u64,
    /// How often rule 1 was broken.
    pub over_capacity: u64,
    /// How often rule 2 was broken.
    pub double_batches: u64,
    /// The first of both.
    pub examples: Vec<String>,
}

impl Seen {
    /// Takes in one answer of the store to a tick.
    pub fn note(&mut self, report: &Report, capacity: u64) {
        let standing = &report.standing;
        let out = standing.called + standing.active;
        self.most_out = self.most_out.max(out);
        if out > capacity {
            self.over_capacity += 1;
            self.example(format!("{out} passes are out at tick {}, capacity {capacity}", standing.tick));
        }
        if standing.admitted > 0 {
            if standing.tick <= self.last_batch {
                self.double_batches += 1;
                self.example(format!("tick {} admitted a second batch", standing.tick));
            }
            self.last_batch = self.last_batch.max(standing.tick);
        }
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }
}

/// A store that is watched.
pub struct Watched<S> {
    store: S,
    capacity: u64,
    seen: Mutex<Seen>,
}

impl<S: Store> Watched<S> {
    /// Watches `store`, whose one room has this capacity throughout.
    pub fn new(store: S, capacity: u64) -> Self {
        Self { store, capacity, seen: Mutex::default() }
    }

    /// Reads what was seen.
    pub fn seen<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.lock())
    }
}

#[async_trait]
impl<S: Store> Store for Watched<S> {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        self.store.open(room, epoch, settings).await
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        self.store.reopen(room, known, window, settings).await
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        self.store.come_back(room, places).await
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        self.store.put_back(room, back).await
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        self.store.join(room, known, arrivals).await
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        self.store.look(room, visitors).await
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        self.store.seen(room, signs).await
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        self.store.make_room(room).await
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        let report = self.store.admit(room, known).await?;
        self.seen.lock().note(&report, self.capacity);
        Ok(report)
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        self.store.draw(room, draw).await
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        self.store.drawn(room).await
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        self.store.end(room, visitor, reason).await
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        self.store.extend(room, visitor, by).await
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        self.store.show(room, shown, rotation).await
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        self.store.claim_again(room, visitor, shown, rotation).await
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        self.store.hand_over(room, from, number, to).await
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        self.store.handed(room, after, limit).await
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        self.store.holder(room, number).await
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        self.store.log(room, seq, limit).await
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        self.store.waiting(room, after, limit).await
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        self.store.revoked(room).await
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        self.store.set_overrides(room, overrides).await
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        self.store.hear(room, word).await
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        self.store.clear(room, epoch, known).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::Line;

    fn report(tick: u64, admitted: u64, called: u64) -> Report {
        let room = crate::config::load_text("here", "[[room]]\nupstreams = [\"http://127.0.0.1:1\"]", []);
        let line = Line::new(Epoch(1), room.expect("a room").rooms[0].line.clone());
        let standing = crate::domain::line::Standing { tick, admitted, called, ..line.standing() };
        Report { standing, overrides: Overrides::default() }
    }

    #[test]
    fn a_second_batch_of_a_tick_and_one_visitor_too_many_are_seen() {
        let mut seen = Seen::default();
        for (tick, admitted, called) in [(1, 2, 2), (1, 0, 2), (2, 1, 3)] {
            seen.note(&report(tick, admitted, called), 3);
        }
        assert_eq!((seen.over_capacity, seen.double_batches, seen.most_out), (0, 0, 3));
        seen.note(&report(2, 1, 4), 3);
        assert_eq!((seen.over_capacity, seen.double_batches, seen.most_out), (1, 1, 4));
        assert_eq!(seen.examples.len(), 2);
    }
}
