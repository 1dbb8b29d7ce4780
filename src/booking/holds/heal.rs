//! Brings the hold store in line with the database, which alone knows what is sold.
//!
//! A store that was away may have missed how a payment ended, one that fell back
//! to an older copy has lost what it had told, and one of another process hears
//! of nothing at all. The store is looked at first and the database after it, and
//! both again until they agree. What is put right goes through the store's own
//! stream of changes, so that whoever looks at the seats sees it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{HoldStoreError, Holds, raise_generation, read_seats};
use crate::booking::db::{DbError, RowExt as _};
use crate::booking::events::Layout;
use crate::booking::orders::epoch;
use crate::booking::problem::Problem;
use crate::domain::seat::floor::Inside;
use crate::domain::seat::heal::{Remedy, remedy};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex};
use crate::domain::time::Timestamp;

/// Looks at one event; sales go on meanwhile, so two may differ for a moment.
const LOOKS: usize = 4;

/// What the store told this process of each event, at most.
#[derive(Debug, Default)]
pub(super) struct Told {
    events: Mutex<HashMap<EventId, Most>>,
    /// Whether it was away, or answered with less than it had told.
    suspect: AtomicBool,
}

/// The highest answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    epoch: HoldEpoch,
    version: u64,
}

impl Default for Most {
    fn default() -> Self {
        Self { epoch: HoldEpoch::from_u64(0), version: 0 }
    }
}

impl Told {
    /// As of now; taken before the store is asked, its answer must not be below.
    pub(super) fn before(&self, event: &EventId) -> Most {
        self.events.lock().get(event).copied().unwrap_or_default()
    }

    /// A new hold's epoch; an earlier answer had a lower one.
    pub(super) fn epoch(&self, event: &EventId, before: Most, epoch: HoldEpoch) {
        if epoch <= before.epoch {
            self.suspect();
        }
        let mut events = self.events.lock();
        let most = events.entry(event.clone()).or_default();
        most.epoch = most.epoch.max(epoch);
    }

    /// A version; an earlier answer had the same one or a lower one.
    pub(super) fn version(&self, event: &EventId, before: Most, version: u64) {
        if version < before.version {
            self.suspect();
        }
        let mut events = self.events.lock();
        let most = events.entry(event.clone()).or_default();
        most.version = most.version.max(version);
    }

    pub(super) fn forget(&self, event: &EventId) {
        self.events.lock().remove(event);
    }

    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }
}

/// What is to be done about an event's seats.
#[derive(Debug, Default)]
struct Plan {
    settle: BTreeMap<(HoldEpoch, u8), (Outcome, Vec<SeatIndex>)>,
    end: BTreeSet<HoldId>,
    stop: BTreeSet<HoldEpoch>,
    seats: usize,
}

impl Plan {
    fn of(inside: &Inside, truth: &[Seat]) -> Self {
        let mut plan = Self::default();
        for (at, (kept, truth)) in (0..).zip(inside.seats.iter().zip(truth)) {
            let Some(remedy) = remedy(*kept, inside.hold_on(*kept), *truth) else { continue };
            plan.seats += 1;
            match remedy {
                Remedy::Settle(epoch, outcome) => {
                    let (_, seats) =
                        plan.settle.entry((epoch, outcome as u8)).or_insert_with(|| (outcome, Vec::new()));
                    seats.push(SeatIndex(at));
                }
                Remedy::End(hold) => _ = plan.end.insert(hold),
                Remedy::Stop => plan.stop.extend(kept.epoch()),
            }
        }
        plan
    }
}

impl Holds {
    /// Whether the store is to be healed before its time; asked once, it is no longer.
    pub(in crate::booking) fn take_suspicion(&self) -> bool {
        self.told.suspect.swap(false, Ordering::Relaxed)
    }

    /// To be healed soon.
    pub(in crate::booking) fn suspect(&self) {
        self.told.suspect();
    }

    /// The events that the store knows.
    ///
    /// # Errors
    /// `unavailable`
    pub(in crate::booking) async fn events(&self) -> Result<Vec<EventId>, Problem> {
        Ok(self.store.events().await?)
    }

    /// Makes the store say of the event what the database says; how many seats were
    /// put right.
    ///
    /// # Errors
    /// `unavailable`; what was not put right is by the next time.
    pub async fn heal(&self, layout: &Layout, now: Timestamp) -> Result<usize, Problem> {
        let event = &layout.id;
        // Before the store is looked at: it cannot be below by then.
        let told = self.told.before(event);
        let ordered = latest_epoch(&self.db, event).await?;
        // Loads what is missing.
        self.seats(layout, now).await?;
        let inside = self.store.inside(event).await?;
        if inside.version < told.version || inside.epoch < told.epoch.max(ordered) {
            let generation = raise_generation(&self.db).await?;
            tracing::warn!(%event, generation, "the hold store is behind what it had told");
            self.store.raise(event, generation).await?;
        }
        let mut mended = 0;
        for _ in 0..LOOKS {
            let inside = self.store.inside(event).await?;
            let truth = read_seats(&self.db, event, inside.seats.len()).await?;
            let plan = Plan::of(&inside, &truth);
            if plan.seats == 0 {
                break;
            }
            mended += plan.seats;
            self.mend(event, plan, now).await?;
        }
        if mended > 0 {
            tracing::warn!(%event, seats = mended, "the hold store was brought in line with the database");
        }
        Ok(mended)
    }

    async fn mend(&self, event: &EventId, plan: Plan, now: Timestamp) -> Result<(), Problem> {
        for hold in plan.end {
            self.store.undo(event, hold, now).await?;
        }
        for epoch in plan.stop {
            self.stop(event, epoch, now).await?;
        }
        for ((epoch, _), (outcome, seats)) in plan.settle {
            let _none_loads = self.loading.lock().await;
            self.store.settle(event, &seats, epoch, outcome).await?;
        }
        Ok(())
    }

    /// Stops the clock of a hold whose order is being paid for.
    async fn stop(&self, event: &EventId, of: HoldEpoch, now: Timestamp) -> Result<(), Problem> {
        let row = sqlx::query(
            "SELECT hold_id, account_id FROM orders WHERE event_id = $1 AND epoch = $2 AND status = 'PAYING'",
        )
        .bind(event.as_str())
        .bind(epoch(of))
        .fetch_optional(self.db.read())
        .await?;
        let Some(row) = row else { return Ok(()) };
        match self.store.fasten(row.parsed("hold_id")?, row.parsed("account_id")?, now).await {
            Ok(_) | Err(HoldStoreError::Refused(_) | HoldStoreError::NotLoaded) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The epoch of the last hold that became an order.
async fn latest_epoch(db: &super::Db, event: &EventId) -> Result<HoldEpoch, DbError> {
    let row = sqlx::query("SELECT COALESCE(MAX(epoch), 0) AS epoch FROM orders WHERE event_id = $1")
        .bind(event.as_str())
        .fetch_one(db.read())
        .await?;
    Ok(HoldEpoch::from_u64(row.count("epoch")?))
}
