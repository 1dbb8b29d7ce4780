//! Where holds live: whole operations, each atomic.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::order::AccountId;
use crate::domain::seat::floor::{Floor, Hold, HoldError, Wanted};
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

    /// Keeps all the wanted seats, or none.
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
    events: HashMap<HoldId, EventId>,
}

impl Inner {
    /// The event's floor, swept, so that no call below ends a hold unseen.
    fn floor(&mut self, event: &EventId, now: Timestamp) -> Result<&mut Floor, HoldStoreError> {
        let floor = self.floors.get_mut(event).ok_or(HoldStoreError::NotLoaded)?;
        for over in floor.expire(now) {
            self.events.remove(&over.id);
        }
        Ok(floor)
    }

    fn floor_of(&mut self, id: HoldId, now: Timestamp) -> Result<(EventId, &mut Floor), HoldStoreError> {
        let event = self.events.get(&id).cloned().ok_or(HoldError::NoHold)?;
        let floor = self.floor(&event, now)?;
        Ok((event, floor))
    }
}

#[async_trait]
impl HoldStore for MemoryHolds {
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        let Some(floor) = inner.floors.get_mut(event) else {
            inner.floors.insert(event.clone(), Floor::new(generation, seats));
            return Ok(());
        };
        floor.grow(seats.get(floor.seats().len()..).unwrap_or_default());
        Ok(())
    }

    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        inner.floors.remove(event);
        inner.events.retain(|_, of| of != event);
        Ok(())
    }

    async fn hold(&self, event: &EventId, wanted: Wanted, now: Timestamp) -> Result<Hold, HoldStoreError> {
        let mut inner = self.0.lock();
        let hold = inner.floor(event, now)?.hold(wanted, now)?;
        inner.events.insert(hold.id, event.clone());
        Ok(hold)
    }

    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        let mut inner = self.0.lock();
        let (event, floor) = inner.floor_of(id, now)?;
        Ok(Kept { event, hold: floor.find(id, owner, now)?.clone() })
    }

    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError> {
        let mut inner = self.0.lock();
        let (event, floor) = inner.floor_of(id, now)?;
        Ok(Kept { event, hold: floor.extend(id, owner, now, by, max)? })
    }

    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        let mut inner = self.0.lock();
        let (event, floor) = inner.floor_of(id, now)?;
        let hold = floor.release(id, owner, now)?;
        inner.events.remove(&id);
        Ok(Kept { event, hold })
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        let mut inner = self.0.lock();
        let (event, floor) = inner.floor_of(id, now)?;
        Ok(Kept { event, hold: floor.fasten(id, owner, now)? })
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        let mut inner = self.0.lock();
        let Some(event) = inner.events.get(&id).cloned() else { return Ok(()) };
        if let Some(floor) = inner.floors.get_mut(&event) {
            floor.loosen(id);
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
        let mut inner = self.0.lock();
        let floor = inner.floors.get_mut(event).ok_or(HoldStoreError::NotLoaded)?;
        if let Some(over) = floor.settle(seats, epoch, outcome) {
            inner.events.remove(&over.id);
        }
        Ok(())
    }

    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError> {
        let mut inner = self.0.lock();
        let floor = inner.floor(event, now)?;
        Ok(Seats { version: floor.version(), statuses: floor.statuses().collect() })
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        let mut inner = self.0.lock();
        let mut over = Vec::new();
        let Inner { floors, events } = &mut *inner;
        for (event, floor) in floors {
            for hold in floor.expire(now) {
                events.remove(&hold.id);
                over.push(Kept { event: event.clone(), hold });
            }
        }
        Ok(over)
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
