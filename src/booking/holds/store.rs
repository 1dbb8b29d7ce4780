//! Where holds live: whole operations, each atomic.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::order::AccountId;
use crate::domain::seat::floor::{Changes, Floor, Hold, HoldError, Inside, Wanted};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex, SeatStatus};
use crate::domain::time::Timestamp;

/// Why a hold store did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldStoreError {
    /// The rules refuse.
    #[error(transparent)]
    Refused(#[from] HoldError),
    /// The store does not know the event's seats (any more): load them and try again.
    #[error("the event's seats are not loaded")]
    NotLoaded,
    /// Not reachable.
    #[error("the hold store is away: {0}")]
    Away(String),
}

/// How an event's seats stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seats {
    /// Two answers with one version are equal.
    pub version: u64,
    /// By seat index.
    pub statuses: Vec<SeatStatus>,
}

/// A hold and the event it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose seats.
    pub event: EventId,
    /// The hold.
    pub hold: Hold,
}

/// Keeps holds. Every answer counts a hold past its deadline as gone.
#[async_trait]
pub trait HoldStore: Send + Sync + std::fmt::Debug {
    /// Gives the store an event's seats as the database knows them, in a new
    /// generation. When it knows the event already, only seats that it lacks are
    /// added, behind those it has: an event grows and never shrinks.
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError>;

    /// Drops everything about an event.
    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError>;

    /// Begins a new generation of an event that was found behind what it had told.
    async fn raise(&self, event: &EventId, generation: u32) -> Result<(), HoldStoreError>;

    /// Keeps all the wanted seats, or none. The id is one [`HoldId::of`] the event.
    /// Asking again under it is harmless, and so is [`HoldStore::undo`].
    async fn hold(&self, event: &EventId, wanted: Wanted, now: Timestamp) -> Result<Hold, HoldStoreError>;

    /// A live hold of `owner`.
    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError>;

    /// Makes a hold last `by` from now, within `max` after it began.
    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError>;

    /// Gives seats back.
    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError>;

    /// Ends a hold whose giving was not answered, unless it is being paid for; it
    /// is not given later either, until `until`.
    async fn undo(&self, event: &EventId, id: HoldId, until: Timestamp) -> Result<(), HoldStoreError>;

    /// Stops a hold's clock, because a payment begins.
    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError>;

    /// Lets the clock run again, because it did not begin.
    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError>;

    /// Writes down how a payment, or a cancellation, ended.
    async fn settle(
        &self,
        event: &EventId,
        seats: &[SeatIndex],
        epoch: HoldEpoch,
        outcome: Outcome,
    ) -> Result<(), HoldStoreError>;

    /// How the event's seats stand.
    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError>;

    /// What changed after a version that an earlier answer told: of all processes,
    /// in one order, each change once.
    async fn changes(&self, event: &EventId, since: u64, now: Timestamp) -> Result<Changes, HoldStoreError>;

    /// Which events it knows, in no order.
    async fn events(&self) -> Result<Vec<EventId>, HoldStoreError>;

    /// All there is of an event, to be compared with the database.
    async fn inside(&self, event: &EventId) -> Result<Inside, HoldStoreError>;

    /// Lets go every hold whose deadline has come.
    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError>;

    /// Holds whose clock is stopped.
    async fn paying(&self) -> Result<Vec<Kept>, HoldStoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), HoldStoreError>;
}

/// Holds in this process: the domain's model behind a mutex.
#[derive(Debug, Default)]
pub struct MemoryHolds(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    floors: HashMap<EventId, Floor>,
    /// Events by their tag; hardly ever two.
    tags: HashMap<u32, Vec<EventId>>,
}

impl Inner {
    fn floor(&mut self, event: &EventId) -> Result<&mut Floor, HoldStoreError> {
        self.floors.get_mut(event).ok_or(HoldStoreError::NotLoaded)
    }

    /// Runs an operation on one hold, in the event that it is of.
    fn on(
        &mut self,
        id: HoldId,
        operation: impl Fn(&mut Floor) -> Result<Hold, HoldError>,
    ) -> Result<Kept, HoldStoreError> {
        for event in self.tags.get(&id.tag()).into_iter().flatten() {
            if let Some(hold) = self.floors.get_mut(event).and_then(|floor| operation(floor).ok()) {
                return Ok(Kept { event: event.clone(), hold });
            }
        }
        Err(HoldError::NoHold.into())
    }
}

#[async_trait]
impl HoldStore for MemoryHolds {
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        if let Some(floor) = inner.floors.get_mut(event) {
            floor.grow(seats.get(floor.seats().len()..).unwrap_or_default());
            return Ok(());
        }
        inner.floors.insert(event.clone(), Floor::new(generation, seats));
        inner.tags.entry(event.tag()).or_default().push(event.clone());
        Ok(())
    }

    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        inner.floors.remove(event);
        if let Some(events) = inner.tags.get_mut(&event.tag()) {
            events.retain(|other| other != event);
        }
        Ok(())
    }

    async fn raise(&self, event: &EventId, generation: u32) -> Result<(), HoldStoreError> {
        self.0.lock().floor(event)?.raise(generation);
        Ok(())
    }

    async fn hold(&self, event: &EventId, wanted: Wanted, now: Timestamp) -> Result<Hold, HoldStoreError> {
        Ok(self.0.lock().floor(event)?.hold(wanted, now)?)
    }

    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.0.lock().on(id, |floor| floor.find(id, owner, now).cloned())
    }

    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError> {
        self.0.lock().on(id, |floor| floor.extend(id, owner, now, by, max))
    }

    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.0.lock().on(id, |floor| floor.release(id, owner, now))
    }

    async fn undo(&self, event: &EventId, id: HoldId, until: Timestamp) -> Result<(), HoldStoreError> {
        self.0.lock().floor(event)?.undo(id, until);
        Ok(())
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.0.lock().on(id, |floor| floor.fasten(id, owner, now))
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        let Inner { floors, tags } = &mut *inner;
        for event in tags.get(&id.tag()).into_iter().flatten() {
            if let Some(floor) = floors.get_mut(event) {
                floor.loosen(id);
            }
        }
        Ok(())
    }

    async fn settle(
        &self,
        event: &EventId,
        seats: &[SeatIndex],
        epoch: HoldEpoch,
        outcome: Outcome,
    ) -> Result<(), HoldStoreError> {
        self.0.lock().floor(event)?.settle(seats, epoch, outcome);
        Ok(())
    }

    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError> {
        let mut inner = self.0.lock();
        let floor = inner.floor(event)?;
        floor.expire(now);
        Ok(Seats { version: floor.version(), statuses: floor.statuses().collect() })
    }

    async fn changes(&self, event: &EventId, since: u64, now: Timestamp) -> Result<Changes, HoldStoreError> {
        let mut inner = self.0.lock();
        let floor = inner.floor(event)?;
        floor.expire(now);
        Ok(floor.changes(since))
    }

    async fn events(&self) -> Result<Vec<EventId>, HoldStoreError> {
        Ok(self.0.lock().floors.keys().cloned().collect())
    }

    async fn inside(&self, event: &EventId) -> Result<Inside, HoldStoreError> {
        Ok(self.0.lock().floor(event)?.inside())
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        let mut inner = self.0.lock();
        let over = inner.floors.iter_mut().flat_map(|(event, floor)| {
            floor.expire(now).into_iter().map(|hold| Kept { event: event.clone(), hold })
        });
        Ok(over.collect())
    }

    async fn paying(&self) -> Result<Vec<Kept>, HoldStoreError> {
        let inner = self.0.lock();
        let kept = inner.floors.iter().flat_map(|(event, floor)| {
            floor.paying().map(|hold| Kept { event: event.clone(), hold: hold.clone() })
        });
        Ok(kept.collect())
    }

    async fn ping(&self) -> Result<(), HoldStoreError> {
        Ok(())
    }
}
