//! Lines in this process: the domain's model behind a mutex.
//!
//! Never waits. One gate only; gone with the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::beats::Beats;
use super::{LogPage, Overrides, Report, Store, StoreError};
use crate::clock::Clock;
use crate::domain::autotune::Word;
use crate::domain::binding::{Claim, Heard, Rotation};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::line::{CHUNK, Known, Line, PutBack, Settings, Standing};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;

#[derive(Clone)]
struct Room {
    line: Line,
    base: Settings,
    overrides: Overrides,
}

impl Room {
    fn report(&self, standing: Standing) -> Report {
        Report { standing, overrides: self.overrides.clone() }
    }
}

/// Every room of a store as it was at one moment; none by default.
#[derive(Clone, Default)]
pub struct Lines(HashMap<RoomName, Room>);

/// The embedded store.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    beats: Beats,
    rooms: Mutex<HashMap<RoomName, Room>>,
}

impl MemoryStore {
    /// A store without rooms whose time is `clock`'s.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { beats: Beats::new(clock.clone()), clock, rooms: Mutex::default() }
    }

    /// Its rooms as they are now, as a replica has them.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines(self.rooms.lock().clone())
    }

    /// Other rooms stand in the place of its own, as after a failover.
    pub fn replace(&self, lines: Lines) {
        *self.rooms.lock() = lines.0;
    }

    /// Does what takes place at a time, which is noted also when it is for nobody.
    fn with<T>(&self, room: &RoomName, act: impl FnOnce(&mut Room, Timestamp) -> T) -> Result<T, StoreError> {
        let (told, expected) = (self.clock.now(), self.beats.expected(room));
        self.read(room, |room| {
            let now = room.line.time(told, expected);
            room.line.heard_at(now);
            act(room, now)
        })
    }

    /// Does what time does not matter to.
    fn read<T>(&self, room: &RoomName, act: impl FnOnce(&mut Room) -> T) -> Result<T, StoreError> {
        self.rooms.lock().get_mut(room).map(act).ok_or(StoreError::NoRoom)
    }
}

impl MemoryStore {
    fn opened(
        &self,
        room: &RoomName,
        epoch: Epoch,
        settings: &Settings,
        then: impl FnOnce(&mut Line, Timestamp),
    ) -> Report {
        let (asked, expected) = (self.beats.ask(), self.beats.expected(room));
        let mut rooms = self.rooms.lock();
        let name = room;
        let room = rooms.entry(room.clone()).or_insert_with(|| Room {
            line: Line::new(epoch, settings.clone()),
            base: settings.clone(),
            overrides: Overrides::default(),
        });
        room.base = settings.clone();
        room.line.configure(room.overrides.apply(settings));
        let now = room.line.time(self.clock.now(), expected);
        then(&mut room.line, now);
        let standing = room.line.standing_at(now);
        self.beats.note(name, standing.now, asked);
        room.report(standing)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        Ok(self.opened(room, epoch, settings, |_, _| {}))
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        Ok(self.opened(room, known.epoch, settings, |line, now| line.recall(known, window, now)))
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        self.with(room, |room, now| {
            let mut back = |&(visitor, number, at)| room.line.come_back(visitor, number, at, now);
            places.iter().map(&mut back).collect()
        })
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        self.with(room, |room, now| room.line.put_back(back, now))
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        self.with(room, |room, now| {
            let mut join = |&(visitor, intent)| room.line.join_for(known, visitor, intent, now);
            arrivals.iter().map(&mut join).collect()
        })
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        self.with(room, |room, now| visitors.iter().map(|&visitor| room.line.look(visitor, now)).collect())
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        // In parts: who joins meanwhile does not wait for all of them.
        self.with(room, |_, _| ())?;
        signs.chunks(CHUNK).try_for_each(|part| self.with(room, |room, now| room.line.seen(part, now)))
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        self.with(room, |room, now| room.line.make_room(now))
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        let asked = self.beats.ask();
        let report = self.with(room, |room, now| {
            let standing = match known.is_none_or(|known| room.line.is_as_known(known)) {
                true => room.line.admit_for(known, now),
                false => room.line.standing_at(now),
            };
            room.report(standing)
        })?;
        self.beats.note(room, report.standing.now, asked);
        Ok(report)
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        self.read(room, |room| room.line.draw(draw))
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        self.read(room, |room| room.line.drawn())
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        self.with(room, |room, now| room.line.end(visitor, reason, now))
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        self.with(room, |room, now| room.line.extend(visitor, by, now))
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        self.with(room, |room, now| {
            let mut show = |&(visitor, at, generation): &(VisitorId, Timestamp, u64)| {
                room.line.show(visitor, at, generation, rotation, now)
            };
            shown.iter().map(&mut show).collect()
        })
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        self.with(room, |room, now| room.line.claim_again(visitor, shown, rotation, now))
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        self.with(room, |room, now| room.line.hand_over(from, number, to, now))
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        self.read(room, |room| room.line.handed_after(after, limit))
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        self.read(room, |room| room.line.holder(number))
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        self.read(room, |room| room.line.log_after(seq, limit).map_or(LogPage::Gap, LogPage::Entries))
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        self.read(room, |room| room.line.waiting_after(after, limit))
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        self.read(room, |room| room.line.revoked())
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        self.read(room, |room| {
            if overrides.revision >= room.overrides.revision {
                room.overrides = overrides.clone();
                room.line.configure(overrides.apply(&room.base));
            }
        })
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        self.with(room, |room, now| room.line.hear(word, now))
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        self.read(room, |room| room.line.clear(epoch, known))
    }
}
