//! Hold stores with a bug each, and the suite that catches every one.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use usher::booking::holds::{HoldStore, HoldStoreError, Kept, MemoryHolds, Seats};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::{Changes, Hold, Inside, Wanted};
use usher::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex};
use usher::domain::time::Timestamp;

use super::plan::{START, compare};

/// The model with a bug.
#[derive(Debug)]
struct Faulty {
    bug: Bug,
    inner: MemoryHolds,
    /// What was sold, for the bug that forgets it.
    sold: Mutex<Vec<(EventId, Vec<SeatIndex>, HoldEpoch)>>,
}

impl Faulty {
    fn new(bug: Bug) -> Self {
        Self { bug, inner: MemoryHolds::default(), sold: Mutex::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Anybody may give anybody's hold back.
    OwnersAreNotAsked,
    /// Part of what was wanted is kept when the rest is taken.
    SomeInsteadOfNone,
    /// A payment's deadline frees its seats.
    PaymentsRunOut,
    /// A buyer may hold any number.
    NoCap,
    /// Whoever comes late with an older hold wins.
    EpochsAreNotCompared,
    /// A hold past its deadline keeps its seats until it is swept.
    DeadlinesWaitForTheSweep,
    /// A hold lasts as long as anybody asks for.
    ExtendedForEver,
    /// The sweep ends what is being paid for.
    TheSweepEndsPayments,
    /// What is sold becomes free when its hold would have ended.
    SalesRunOut,
    /// The second hold of one id is another hold.
    AskingTwiceHoldsTwice,
    /// A hold that was undone is given when it comes late.
    UndoneAndGiven,
    /// Of several changes one is not told.
    AChangeIsMissing,
    /// A change is told twice.
    AChangeTwice,
    /// The changes come in another order.
    ChangesOutOfOrder,
    /// The list of seats is older than its version.
    VersionAheadOfSeats,
    /// Two states have one version.
    VersionReused,
    /// A lost history is answered with nothing instead of a gap.
    NoGap,
    /// A removed event's seats are still there.
    NothingIsForgotten,
    /// An event does not grow.
    NoGrowth,
}

#[async_trait]
impl HoldStore for Faulty {
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError> {
        if self.bug == Bug::NoGrowth && self.inner.seats(event, Timestamp::from_millis(0)).await.is_ok() {
            return Ok(());
        }
        self.inner.load(event, generation, seats).await
    }

    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError> {
        if self.bug == Bug::NothingIsForgotten { Ok(()) } else { self.inner.forget(event).await }
    }

    async fn raise(&self, event: &EventId, generation: u32) -> Result<(), HoldStoreError> {
        self.inner.raise(event, generation).await
    }

    async fn hold(
        &self,
        event: &EventId,
        mut wanted: Wanted,
        now: Timestamp,
    ) -> Result<Hold, HoldStoreError> {
        match self.bug {
            Bug::NoCap => wanted.cap = usize::MAX,
            Bug::DeadlinesWaitForTheSweep => {
                let before = Timestamp::from_millis(START);
                let held = self.inner.hold(event, wanted, before).await;
                return held.map(|hold| Hold { began_at: now, ..hold });
            }
            Bug::AskingTwiceHoldsTwice if self.inner.find(wanted.id, wanted.owner, now).await.is_ok() => {
                wanted.id = HoldId::of(event, u128::MAX);
            }
            _ => {}
        }
        let held = self.inner.hold(event, wanted.clone(), now).await;
        if self.bug == Bug::SomeInsteadOfNone && held.is_err() {
            wanted.seats.truncate(1);
            let _ = self.inner.hold(event, wanted, now).await;
        }
        held
    }

    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.inner.find(id, owner, now).await
    }

    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError> {
        let max = if self.bug == Bug::ExtendedForEver { Duration::from_secs(999_999) } else { max };
        self.inner.extend(id, owner, now, by, max).await
    }

    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        if self.bug == Bug::OwnersAreNotAsked {
            for other in (1..=4).map(AccountId::from_bits) {
                if let Ok(kept) = self.inner.release(id, other, now).await {
                    return Ok(kept);
                }
            }
        }
        self.inner.release(id, owner, now).await
    }

    async fn undo(&self, event: &EventId, id: HoldId, until: Timestamp) -> Result<(), HoldStoreError> {
        let until = if self.bug == Bug::UndoneAndGiven { Timestamp::from_millis(START) } else { until };
        self.inner.undo(event, id, until).await
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        if self.bug == Bug::PaymentsRunOut {
            return self.inner.find(id, owner, now).await;
        }
        self.inner.fasten(id, owner, now).await
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        self.inner.loosen(id).await
    }

    async fn settle(
        &self,
        event: &EventId,
        seats: &[SeatIndex],
        epoch: HoldEpoch,
        outcome: Outcome,
    ) -> Result<(), HoldStoreError> {
        let late = HoldEpoch::from_u64(u64::MAX >> 12);
        let epoch = if self.bug == Bug::EpochsAreNotCompared { late } else { epoch };
        if outcome == Outcome::Sold {
            self.sold.lock().push((event.clone(), seats.to_vec(), epoch));
        }
        self.inner.settle(event, seats, epoch, outcome).await
    }

    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError> {
        let mut seats = self.inner.seats(event, now).await?;
        match self.bug {
            Bug::VersionAheadOfSeats => seats.version += 1,
            Bug::VersionReused => seats.version &= !1,
            _ => {}
        }
        Ok(seats)
    }

    async fn changes(&self, event: &EventId, since: u64, now: Timestamp) -> Result<Changes, HoldStoreError> {
        Ok(match (self.bug, self.inner.changes(event, since, now).await?) {
            (Bug::NoGap, Changes::Gap { to }) => Changes::Since { to, seats: Vec::new() },
            (Bug::AChangeIsMissing, Changes::Since { to, mut seats }) => {
                seats.pop();
                Changes::Since { to, seats }
            }
            (Bug::AChangeTwice, Changes::Since { to, mut seats }) => {
                seats.extend(seats.last().copied());
                Changes::Since { to, seats }
            }
            (Bug::ChangesOutOfOrder, Changes::Since { to, mut seats }) => {
                seats.reverse();
                Changes::Since { to, seats }
            }
            (_, right) => right,
        })
    }

    async fn events(&self) -> Result<Vec<EventId>, HoldStoreError> {
        self.inner.events().await
    }

    async fn inside(&self, event: &EventId) -> Result<Inside, HoldStoreError> {
        self.inner.inside(event).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        match self.bug {
            Bug::TheSweepEndsPayments => {
                for kept in self.inner.paying().await? {
                    self.inner.loosen(kept.hold.id).await?;
                }
            }
            Bug::SalesRunOut => {
                let sold = std::mem::take(&mut *self.sold.lock());
                for (event, seats, epoch) in sold {
                    let _ = self.inner.settle(&event, &seats, epoch, Outcome::Free).await;
                }
            }
            _ => {}
        }
        self.inner.sweep(now).await
    }

    async fn paying(&self) -> Result<Vec<Kept>, HoldStoreError> {
        self.inner.paying().await
    }

    async fn ping(&self) -> Result<(), HoldStoreError> {
        self.inner.ping().await
    }
}

const BUGS: [Bug; 19] = [
    Bug::OwnersAreNotAsked,
    Bug::SomeInsteadOfNone,
    Bug::PaymentsRunOut,
    Bug::NoCap,
    Bug::EpochsAreNotCompared,
    Bug::DeadlinesWaitForTheSweep,
    Bug::ExtendedForEver,
    Bug::TheSweepEndsPayments,
    Bug::SalesRunOut,
    Bug::AskingTwiceHoldsTwice,
    Bug::UndoneAndGiven,
    Bug::AChangeIsMissing,
    Bug::AChangeTwice,
    Bug::ChangesOutOfOrder,
    Bug::VersionAheadOfSeats,
    Bug::VersionReused,
    Bug::NoGap,
    Bug::NothingIsForgotten,
    Bug::NoGrowth,
];
/// Sequences, of which one must notice.
const SEQUENCES: u64 = 40;

#[tokio::test]
async fn the_suite_notices_every_planted_bug() {
    for seed in 0..SEQUENCES {
        assert_eq!(compare(&Faulty::new(Bug::None), seed).await, Ok(()));
    }
    for bug in BUGS {
        let mut noticed = false;
        for seed in 0..SEQUENCES {
            // A bug may break the model's own assertions instead: that is noticed, too.
            let run = tokio::spawn(async move { compare(&Faulty::new(bug), seed).await });
            noticed |= !matches!(run.await, Ok(Ok(())));
            if noticed {
                break;
            }
        }
        assert!(noticed, "no sequence notices {bug:?}");
    }
}
