//! Holds in Redis: the model's answers, several offices, losses.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use usher::booking::holds::{HoldStore, HoldStoreError, Kept, MemoryHolds, RedisHolds, Seats};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::{Hold, Wanted};
use usher::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex};
use usher::domain::time::Timestamp;
use usher::redis::Redis;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::http::Answer;
use crate::support::redis_server::{RedisServer, skipped};

const SEQUENCES: u64 = 300;
const STEPS: usize = 150;
const SEATS: u32 = 12;
const START: u64 = 1_700_000_000_000;

/// One operation, made before any of them runs.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Load(u32, Vec<Seat>),
    Hold {
        id: u128,
        owner: u128,
        seats: Vec<SeatIndex>,
        ttl: u64,
        cap: usize,
    },
    Find(u128, u128),
    Extend(u128, u128, u64, u64),
    Release(u128, u128),
    Fasten(u128, u128),
    Loosen(u128),
    /// Of one of the holds given so far.
    Settle(usize, Outcome),
    Seats,
    Sweep,
    Paying,
    Forget,
}

fn event() -> EventId {
    "show-1".parse().expect("an id")
}

impl Step {
    /// `given`: the holds so far, by epoch.
    async fn run(&self, store: &dyn HoldStore, now: u64, given: &[(HoldEpoch, Vec<SeatIndex>)]) -> String {
        let at = Timestamp::from_millis(now);
        let ms = Duration::from_millis;
        let (id, owner) = (HoldId::from_bits, AccountId::from_bits);
        let told = |answer: &dyn std::fmt::Debug| format!("{answer:?}");
        match self.clone() {
            Self::Pass(_) => String::new(),
            Self::Load(generation, seats) => told(&store.load(&event(), generation, seats).await),
            Self::Hold { id: n, owner: o, seats, ttl, cap } => {
                let wanted = Wanted { id: id(n), owner: owner(o), seats, until: at + ms(ttl), cap };
                told(&store.hold(&event(), wanted, at).await)
            }
            Self::Find(n, o) => told(&store.find(id(n), owner(o), at).await),
            Self::Extend(n, o, by, max) => told(&store.extend(id(n), owner(o), at, ms(by), ms(max)).await),
            Self::Release(n, o) => told(&store.release(id(n), owner(o), at).await),
            Self::Fasten(n, o) => told(&store.fasten(id(n), owner(o), at).await),
            Self::Loosen(n) => told(&store.loosen(id(n)).await),
            Self::Settle(which, outcome) => {
                let Some((epoch, seats)) = given.get(which % given.len().max(1)) else {
                    return String::new();
                };
                told(&store.settle(&event(), seats, *epoch, outcome).await)
            }
            Self::Seats => told(&store.seats(&event(), at).await),
            // What is over may have been let go before, by another operation.
            Self::Sweep => told(&store.sweep(at).await.map(drop)),
            Self::Paying => {
                let mut paying = store.paying().await;
                if let Ok(paying) = &mut paying {
                    paying.sort_by_key(|kept| kept.hold.id);
                }
                told(&paying)
            }
            Self::Forget => told(&store.forget(&event()).await),
        }
    }
}

fn plan(seed: u64) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut next, mut generation) = (0, 1);
    let mut steps = vec![Step::Load(1, vec![Seat::Free; SEATS as usize])];
    while steps.len() < STEPS {
        let (id, owner) = (dice.random_range(0..=next), dice.random_range(1..=4));
        let mut seats: Vec<_> =
            (0..dice.random_range(1..=3)).map(|_| dice.random_range(0..=SEATS + 3)).collect();
        seats.sort_unstable();
        seats.dedup();
        let seats: Vec<_> = seats.into_iter().map(SeatIndex).collect();
        let step = match dice.random_range(0..100) {
            0..=19 => Step::Pass(dice.random_range(1..20) * 500),
            20..=49 => {
                next += 1;
                let (ttl, cap) = (dice.random_range(1..40) * 500, dice.random_range(1..=8));
                Step::Hold { id: next, owner, seats, ttl, cap }
            }
            50..=57 => Step::Find(id, owner),
            58..=63 => Step::Extend(id, owner, dice.random_range(0..20_000), dice.random_range(0..40_000)),
            64..=69 => Step::Release(id, owner),
            70..=75 => Step::Fasten(id, owner),
            76..=78 => Step::Loosen(id),
            79..=86 => {
                let outcome = [Outcome::Sold, Outcome::Paying, Outcome::Free][dice.random_range(0..3)];
                Step::Settle(dice.random_range(0..1_000), outcome)
            }
            87..=91 => Step::Seats,
            92..=94 => Step::Sweep,
            95..=96 => Step::Paying,
            97..=98 => {
                let sold =
                    |n: u32| if n.is_multiple_of(5) { Seat::Sold(HoldEpoch::start(1)) } else { Seat::Free };
                generation += 1;
                // Sections grow.
                let seats = SEATS + dice.random_range(0..4);
                Step::Load(generation, (0..seats).map(sold).collect())
            }
            _ => Step::Forget,
        };
        steps.push(step);
    }
    steps.extend([Step::Seats, Step::Paying, Step::Sweep]);
    steps
}

/// The first step that the two answer differently.
async fn compare(store: &dyn HoldStore, seed: u64) -> Result<(), String> {
    let model = MemoryHolds::default();
    let mut now = START;
    let mut given = Vec::new();
    let steps = plan(seed);
    for (i, step) in steps.iter().enumerate() {
        if let Step::Pass(ms) = step {
            now += ms;
        }
        let (expected, found) = (step.run(&model, now, &given).await, step.run(store, now, &given).await);
        if let Step::Hold { id, owner, .. } = step
            && let Ok(kept) = model
                .find(HoldId::from_bits(*id), AccountId::from_bits(*owner), Timestamp::from_millis(now))
                .await
        {
            given.push((kept.hold.epoch, kept.hold.seats));
        }
        if expected != found {
            let mut told = format!("HOLD_SEED={seed}, step {i}\n");
            for step in &steps[i.saturating_sub(12)..=i] {
                let _ = writeln!(told, "    {step:?}");
            }
            return Err(format!("{told}  expected {expected}\n     found {found}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn redis_answers_as_the_model_does() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect_with(&server.url(), Duration::from_secs(10)).await.expect("just started");
    let seed = std::env::var("HOLD_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = seed.map_or_else(|| (rand::random(), SEQUENCES), |seed: u64| (seed, 1));
    for seed in (0..count).map(|i| first.wrapping_add(i)) {
        let store = RedisHolds::new(redis.clone(), &format!("t{seed:x}"));
        compare(&store, seed).await.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

/// The model with a bug.
#[derive(Debug)]
struct Faulty(Bug, MemoryHolds);

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
}

#[async_trait]
impl HoldStore for Faulty {
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError> {
        self.1.load(event, generation, seats).await
    }

    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError> {
        self.1.forget(event).await
    }

    async fn hold(
        &self,
        event: &EventId,
        mut wanted: Wanted,
        now: Timestamp,
    ) -> Result<Hold, HoldStoreError> {
        if self.0 == Bug::NoCap {
            wanted.cap = usize::MAX;
        }
        let held = self.1.hold(event, wanted.clone(), now).await;
        if self.0 == Bug::SomeInsteadOfNone && held.is_err() {
            wanted.seats.truncate(1);
            let _ = self.1.hold(event, wanted, now).await;
        }
        held
    }

    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.1.find(id, owner, now).await
    }

    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError> {
        self.1.extend(id, owner, now, by, max).await
    }

    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        if self.0 == Bug::OwnersAreNotAsked {
            for other in (1..=4).map(AccountId::from_bits) {
                if let Ok(kept) = self.1.release(id, other, now).await {
                    return Ok(kept);
                }
            }
        }
        self.1.release(id, owner, now).await
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        if self.0 == Bug::PaymentsRunOut {
            return self.1.find(id, owner, now).await;
        }
        self.1.fasten(id, owner, now).await
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        self.1.loosen(id).await
    }

    async fn settle(
        &self,
        event: &EventId,
        seats: &[SeatIndex],
        epoch: HoldEpoch,
        outcome: Outcome,
    ) -> Result<(), HoldStoreError> {
        let late = HoldEpoch::from_u64(u64::MAX >> 12);
        let epoch = if self.0 == Bug::EpochsAreNotCompared { late } else { epoch };
        self.1.settle(event, seats, epoch, outcome).await
    }

    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError> {
        self.1.seats(event, now).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        self.1.sweep(now).await
    }

    async fn paying(&self) -> Result<Vec<Kept>, HoldStoreError> {
        self.1.paying().await
    }

    async fn ping(&self) -> Result<(), HoldStoreError> {
        self.1.ping().await
    }
}

#[tokio::test]
async fn the_comparison_notices_every_planted_bug() {
    let bugs = [
        Bug::OwnersAreNotAsked,
        Bug::SomeInsteadOfNone,
        Bug::PaymentsRunOut,
        Bug::NoCap,
        Bug::EpochsAreNotCompared,
    ];
    for seed in 0..30 {
        let sound = Faulty(Bug::None, MemoryHolds::default());
        assert_eq!(compare(&sound, seed).await, Ok(()));
    }
    for bug in bugs {
        let mut noticed = false;
        for seed in 0..30 {
            // A bug may break the model's own assertions instead: that is noticed, too.
            let run = tokio::spawn(async move { compare(&Faulty(bug, MemoryHolds::default()), seed).await });
            noticed |= !matches!(run.await, Ok(Ok(())));
        }
        assert!(noticed, "no sequence notices {bug:?}");
    }
}

/// An office whose holds are in Redis.
async fn office(redis: &RedisServer, database: Database) -> Option<TestBooking> {
    let url = redis.url();
    TestBooking::with(database, move |settings| settings.redis_url = Some(url)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_offices_share_holds_and_sell_each_seat_once() {
    if skipped() {
        return;
    }
    for database in [Database::File, Database::Postgres] {
        let redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let url = redis.url();
        let (_booking, there) = office.twin_with(move |settings| settings.redis_url = Some(url)).await;
        let fan = office.fan(1_000_000).await.patient();
        let other = office.fan(1_000_000).await.patient().at(&there);
        let hold = fan.hold(&["A-1-1", "A-1-2"]).await.expect(201);
        other.hold(&["A-1-2"]).await.refused(409, "seats_taken");
        // A thousand at once, at both.
        let fans = join_all((0..10).map(|_| office.fan(0))).await;
        let answers = join_all((0..1_000).map(|i| {
            let fan = fans[i % fans.len()].clone().patient();
            let fan = if i % 2 == 0 { fan } else { fan.at(&there) };
            async move { fan.hold(&["A-2-1"]).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "seats_taken"));
        // Held here, bought there.
        let here = fan.at(&there);
        let order = here.order(&hold).await.expect(201);
        let payment = here.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        until(async || (office.status("A-1-1").await == "SOLD").then_some(())).await;
        office.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_lost_while_paying_cost_a_conflict_never_a_second_sale() {
    if skipped() {
        return;
    }
    for database in [Database::Memory, Database::Postgres] {
        let redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let (fan, other) = (office.fan(1_000_000).await.patient(), office.fan(1_000_000).await.patient());
        let bought = fan.hold(&["A-1-1"]).await.expect(201);
        let paid_for = fan.order(&bought).await.expect(201);
        let lost = fan.hold(&["A-1-2"]).await.expect(201);
        let ordered = fan.order(&lost).await.expect(201);
        let payment = fan.pay(&paid_for).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        redis.command(&["FLUSHALL"]);
        // What is sold is loaded before a new hold is given.
        other.hold(&["A-1-1"]).await.refused(409, "seats_taken");
        assert_eq!(office.status("A-1-1").await, "SOLD");
        // The hold is gone: the seat is the next one's, and the first cannot pay for it.
        let taken = other.hold(&["A-1-2"]).await.expect(201);
        assert!(taken.json["epoch"].as_u64() > lost.json["epoch"].as_u64(), "epochs grow through a loss");
        let refused = fan.pay(&ordered).await;
        if refused.status == 202 {
            assert_eq!(fan.paid(&refused).await.json["status"], "FAILED");
        }
        let order = other.order(&taken).await.expect(201);
        let payment = other.pay(&order).await.expect(202);
        assert_eq!(other.paid(&payment).await.json["status"], "COMPLETED");
        assert_eq!(fan.get("/api/wallet").await.json["balance"], json!(1_000_000 - price(&paid_for)));
        office.assert_sound().await;
    }
}

fn price(order: &Answer) -> i64 {
    order.json["amount"].as_i64().expect("an amount")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_holds_are_refused_and_come_back_by_themselves() {
    if skipped() {
        return;
    }
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let office = office(&redis, Database::Memory).await.expect("no server is needed");
    let fan = office.fan(1_000_000).await;
    let hold = fan.hold(&["A-1-1"]).await.expect(201);
    redis.kill();
    let answer = fan.hold(&["A-1-2"]).await;
    answer.refused(503, "unavailable");
    redis.restart();
    let again = until(async || Some(fan.hold(&["A-1-2"]).await).filter(|answer| answer.status == 201)).await;
    assert!(again.json["epoch"].as_u64() > hold.json["epoch"].as_u64());
    let order = fan.clone().patient().order(&hold).await.expect(201);
    let payment = fan.clone().patient().pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED", "the hold was kept");
    office.assert_sound().await;
}
