//! Holds: seats kept for one buyer for a while.
//!
//! Owns the step from "I want these" to a hold, over a [`HoldStore`] that is
//! fast and may forget. What is sold or being paid for is the database's to
//! say: it is loaded into the store before the first hold of an event is given.

mod api;
mod heal;
mod redis;
mod shown;
mod store;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::db::{Db, DbError, RowExt as _};
use super::events::Layout;
use super::orders::Order;
use super::problem::{Code, Problem};
use crate::domain::order::AccountId;
use crate::domain::seat::floor::{Changes, Hold, HoldError, Wanted};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex};
use crate::domain::time::Timestamp;

pub use api::{
    __path_extend, __path_hold, __path_release, BestOf, Extended, HoldView, NewHold, extend, hold, release,
};
pub use redis::RedisHolds;
pub use shown::BY_DATABASE;
pub use store::{HoldStore, HoldStoreError, Kept, MemoryHolds, Seats};

/// The holds of every event.
#[derive(Debug)]
pub struct Holds {
    store: Arc<dyn HoldStore>,
    db: Db,
    /// One load at a time: a sale that is told while an event loads waits, or
    /// the loaded state could be older than what was told.
    loading: tokio::sync::Mutex<()>,
    /// Holds of which it is not known whether they were given, or given back.
    doubts: Mutex<VecDeque<Doubt>>,
    /// What the store has told.
    told: heal::Told,
    /// What is shown while it is away.
    said: shown::Said,
}

/// A hold that nobody may use, to be undone when the store answers.
#[derive(Clone, Debug)]
struct Doubt {
    event: EventId,
    id: HoldId,
    /// When it would end by itself.
    until: Timestamp,
}

/// While the store is away, doubts beyond these run on to their end.
const MOST_DOUBTS: usize = 50_000;

impl From<HoldStoreError> for Problem {
    fn from(error: HoldStoreError) -> Self {
        match error {
            HoldStoreError::Refused(HoldError::NoHold) => Code::NotFound.into(),
            HoldStoreError::Refused(HoldError::OverCap) => Code::TicketLimit.into(),
            HoldStoreError::Refused(HoldError::Taken(_)) => Code::SeatsTaken.into(),
            HoldStoreError::NotLoaded | HoldStoreError::Away(_) => {
                tracing::warn!(%error, "hold store away");
                Problem::new(Code::Unavailable).retry_after(1)
            }
        }
    }
}

impl Holds {
    /// Over a store that may be empty, or shared with others.
    #[must_use]
    pub fn new(store: Arc<dyn HoldStore>, db: Db) -> Self {
        Self {
            store,
            db,
            loading: tokio::sync::Mutex::default(),
            doubts: Mutex::default(),
            told: heal::Told::default(),
            said: shown::Said::default(),
        }
    }

    /// Keeps all the wanted seats, or none.
    ///
    /// # Errors
    /// `seats_taken` with the seats' ids, `ticket_limit`
    pub async fn hold(&self, layout: &Layout, wanted: Wanted, now: Timestamp) -> Result<Hold, Problem> {
        let mut held = self.hold_or_undo(&layout.id, &wanted, now).await;
        let missing = match &held {
            Err(HoldStoreError::NotLoaded) => true,
            // Another process may have added seats that this store has not heard of.
            Err(HoldStoreError::Refused(HoldError::Taken(_))) if layout.may_grow() => {
                self.store.seats(&layout.id, now).await?.statuses.len() < layout.chairs.len()
            }
            _ => false,
        };
        if missing {
            self.load(layout).await?;
            held = self.hold_or_undo(&layout.id, &wanted, now).await;
        }
        match held {
            Err(HoldStoreError::Refused(HoldError::Taken(seats))) => {
                let ids: Vec<_> = seats.iter().map(|seat| layout.chair(*seat).id.clone()).collect();
                Err(Problem::new(Code::SeatsTaken).with("seats", ids))
            }
            other => Ok(other?),
        }
    }

    /// Asks once more under the same id when no answer came, which cannot give a
    /// second hold; what stays unanswered is undone later, so that no seat is kept
    /// for a caller who was told "not now".
    async fn hold_or_undo(
        &self,
        event: &EventId,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Result<Hold, HoldStoreError> {
        let before = self.told.before(event);
        for ask in 0..2 {
            match self.store.hold(event, wanted.clone(), now).await {
                Err(HoldStoreError::Away(why)) => tracing::debug!(%why, %event, "a hold without an answer"),
                answer => {
                    // Asked again, it may be the one given before.
                    if let (0, Ok(hold)) = (ask, &answer) {
                        self.told.epoch(event, before, hold.epoch);
                    }
                    return answer;
                }
            }
        }
        self.told.suspect();
        self.doubt(event, wanted.id, wanted.until);
        Err(HoldStoreError::Away("no answer to a hold".into()))
    }

    fn doubt(&self, event: &EventId, id: HoldId, until: Timestamp) {
        let mut doubts = self.doubts.lock();
        if doubts.len() == MOST_DOUBTS {
            doubts.pop_front();
        }
        doubts.push_back(Doubt { event: event.clone(), id, until });
    }

    /// Undoes holds that were not answered; how many are still in doubt.
    pub async fn undo_doubts(&self, now: Timestamp) -> usize {
        let waiting = self.doubts.lock().len();
        for _ in 0..waiting {
            let Some(doubt) = self.doubts.lock().pop_front() else { break };
            if doubt.until <= now {
                continue;
            }
            if let Err(HoldStoreError::Away(_)) = self.store.undo(&doubt.event, doubt.id, doubt.until).await {
                self.doubts.lock().push_back(doubt);
                break;
            }
        }
        self.doubts.lock().len()
    }

    /// The caller's live hold.
    ///
    /// # Errors
    /// `not_found`
    pub async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, Problem> {
        Ok(self.store.find(id, owner, now).await?)
    }

    /// Stops the hold's clock, because a payment begins.
    ///
    /// # Errors
    /// [`HoldStoreError`]
    pub async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.store.fasten(id, owner, now).await
    }

    /// Lets the clock run again. What cannot be told now, the hold's end tells.
    pub async fn loosen(&self, id: HoldId) {
        if let Err(error) = self.store.loosen(id).await {
            tracing::warn!(%error, "a hold's clock stays stopped");
        }
    }

    /// Tells the store how a payment or a cancellation ended. The database
    /// knows already; a store that cannot be told now reads it when it loads.
    pub async fn settle(&self, event: &EventId, seats: &[SeatIndex], epoch: HoldEpoch, outcome: Outcome) {
        let _none_loads = self.loading.lock().await;
        match self.store.settle(event, seats, epoch, outcome).await {
            Ok(()) | Err(HoldStoreError::NotLoaded) => {}
            Err(error) => {
                tracing::warn!(%error, %event, "the hold store missed a change");
                self.told.suspect();
            }
        }
    }

    /// How the event's seats stand.
    ///
    /// # Errors
    /// `unavailable`
    pub async fn seats(&self, layout: &Layout, now: Timestamp) -> Result<Seats, Problem> {
        let before = self.told.before(&layout.id);
        let mut seats = self.store.seats(&layout.id, now).await;
        let missing = match &seats {
            Err(HoldStoreError::NotLoaded) => true,
            Ok(seats) => seats.statuses.len() < layout.chairs.len(),
            Err(_) => false,
        };
        if missing {
            self.load(layout).await?;
            seats = self.store.seats(&layout.id, now).await;
        }
        let seats = seats?;
        self.told.version(&layout.id, before, seats.version);
        Ok(seats)
    }

    /// What changed after a version that an earlier answer told.
    ///
    /// # Errors
    /// [`HoldStoreError`]
    pub async fn changes(
        &self,
        event: &EventId,
        since: u64,
        now: Timestamp,
    ) -> Result<Changes, HoldStoreError> {
        self.store.changes(event, since, now).await
    }

    /// Ends a hold on seats that the database gave to somebody else, and shows
    /// them as the database has them.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn correct(&self, order: &Order, now: Timestamp) -> Result<(), DbError> {
        if let Ok(Kept { event, hold }) = self.store.release(order.hold, order.account, now).await {
            for (seat, epoch, outcome) in read_taken(&self.db, &event).await? {
                if hold.seats.contains(&seat) {
                    self.settle(&event, &[seat], epoch, outcome).await;
                }
            }
        }
        Ok(())
    }

    /// Lets go what is past its deadline; returns what that was.
    ///
    /// # Errors
    /// [`HoldStoreError`]
    pub async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        let over = self.store.sweep(now).await;
        if over.is_err() {
            self.told.suspect();
        }
        over
    }

    /// Holds whose clock is stopped.
    pub async fn paying(&self) -> Vec<Kept> {
        self.store.paying().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "hold store away");
            Vec::new()
        })
    }

    /// Drops a removed event.
    pub async fn forget(&self, event: &EventId) {
        self.told.forget(event);
        self.said.forget(event).await;
        if let Err(error) = self.store.forget(event).await {
            tracing::warn!(%error, %event, "the hold store keeps a removed event");
        }
    }

    /// Gives an order's or a hold's seats back before their time, if it is still
    /// there; `until`: when it ends anyway.
    pub async fn let_go(
        &self,
        event: &EventId,
        id: HoldId,
        owner: AccountId,
        until: Timestamp,
        now: Timestamp,
    ) {
        match self.store.release(id, owner, now).await {
            Ok(_) | Err(HoldStoreError::Refused(_) | HoldStoreError::NotLoaded) => {}
            Err(error) => {
                tracing::debug!(%error, "seats are given back when the hold store answers");
                self.doubt(event, id, until);
            }
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// [`HoldStoreError`]
    pub async fn ping(&self) -> Result<(), HoldStoreError> {
        self.store.ping().await
    }

    /// Gives the store what the database knows of the event, in a new
    /// generation, so that every epoch given from here on is above all before.
    async fn load(&self, layout: &Layout) -> Result<(), Problem> {
        let _one_at_a_time = self.loading.lock().await;
        let generation = raise_generation(&self.db).await?;
        let (event, chairs) = (&layout.id, layout.chairs.len());
        let before = read_seats(&self.db, event, chairs).await?;
        self.store.load(event, generation, before.clone()).await?;
        // Another process may have settled a payment in between, which a store
        // without the event could not be told.
        let after = read_seats(&self.db, event, chairs).await?;
        for (at, (was, is)) in before.into_iter().zip(after).enumerate() {
            let Some(epoch) = is.epoch().or(was.epoch()).filter(|_| was != is) else { continue };
            let outcome = match is {
                Seat::Sold(_) => Outcome::Sold,
                Seat::Paying(_) | Seat::Held(_) => Outcome::Paying,
                Seat::Free => Outcome::Free,
            };
            let seat = SeatIndex(u32::try_from(at).unwrap_or(u32::MAX));
            self.store.settle(event, &[seat], epoch, outcome).await?;
        }
        Ok(())
    }
}

async fn raise_generation(db: &Db) -> Result<u32, DbError> {
    let mut tx = db.begin().await?;
    let row = sqlx::query(
        "INSERT INTO facts (name, value) VALUES ('hold_generation', '1')
         ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(facts.value AS BIGINT) + 1 AS TEXT)
         RETURNING value",
    )
    .fetch_one(&mut *tx)
    .await?;
    let generation = row.parsed("value")?;
    tx.commit().await?;
    Ok(generation)
}

/// Seats that are sold or being paid for.
async fn read_taken(db: &Db, event: &EventId) -> Result<Vec<(SeatIndex, HoldEpoch, Outcome)>, DbError> {
    let rows = sqlx::query("SELECT idx, status, epoch FROM seats WHERE event_id = $1 AND status <> 'FREE'")
        .bind(event.as_str())
        .fetch_all(db.read())
        .await?;
    let taken = |row: &sqlx::any::AnyRow| {
        let outcome = if row.text("status")? == "SOLD" { Outcome::Sold } else { Outcome::Paying };
        Ok((SeatIndex(row.small("idx")?), HoldEpoch::from_u64(row.count("epoch")?), outcome))
    };
    rows.iter().map(taken).collect()
}

async fn read_seats(db: &Db, event: &EventId, seats: usize) -> Result<Vec<Seat>, DbError> {
    let mut floor = vec![Seat::Free; seats];
    for (seat, epoch, outcome) in read_taken(db, event).await? {
        if floor.len() <= seat.at() {
            // Sold in a section that grew since the layout was read.
            floor.resize(seat.at() + 1, Seat::Free);
        }
        floor[seat.at()] = match outcome {
            Outcome::Sold => Seat::Sold(epoch),
            Outcome::Paying => Seat::Paying(epoch),
            Outcome::Free => Seat::Free,
        };
    }
    Ok(floor)
}
