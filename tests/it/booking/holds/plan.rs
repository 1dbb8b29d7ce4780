//! The one suite for every hold store: random operations, answered as the model
//! answers them, and followed by somebody who looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use usher::booking::holds::{HoldStore, HoldStoreError, MemoryHolds, Seats};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::{Changes, Wanted};
use usher::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex, SeatStatus};
use usher::domain::time::Timestamp;

const STEPS: usize = 150;
const SEATS: u32 = 12;
pub(super) const START: u64 = 1_700_000_000_000;

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
    /// The same with a later epoch, as after a store lost its end.
    Heal(usize, Outcome),
    Undo(u128, u64),
    Seats,
    Inside,
    /// Since the version told so many answers ago.
    Changes(usize),
    Raise(u32),
    Sweep,
    Paying,
    Forget,
}

pub(super) fn event() -> EventId {
    "show-1".parse().expect("an id")
}

pub(super) fn hold_id(n: u128) -> HoldId {
    HoldId::of(&event(), n << 32)
}

/// What was told so far.
#[derive(Default)]
struct Told {
    /// Holds, by epoch.
    given: Vec<(HoldEpoch, Vec<SeatIndex>)>,
    versions: Vec<u64>,
}

impl Step {
    async fn run(&self, store: &dyn HoldStore, now: u64, before: &Told) -> String {
        let at = Timestamp::from_millis(now);
        let ms = Duration::from_millis;
        let (id, owner) = (hold_id, AccountId::from_bits);
        let given = &before.given;
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
            Self::Heal(which, outcome) => {
                let Some((epoch, seats)) = given.get(which % given.len().max(1)) else {
                    return String::new();
                };
                let later = HoldEpoch::from_u64(epoch.as_u64() + 3);
                told(&store.settle(&event(), seats, later, outcome).await)
            }
            Self::Undo(n, ttl) => told(&store.undo(&event(), id(n), at + ms(ttl)).await),
            Self::Inside => {
                let inside = store.inside(&event()).await;
                let holds = inside.as_ref().ok().map(|inside| {
                    inside.holds.iter().map(|(epoch, id)| (*epoch, *id)).collect::<BTreeMap<_, _>>()
                });
                let rest = inside.map(|inside| (inside.epoch, inside.version, inside.seats));
                told(&(holds, rest))
            }
            Self::Seats => told(&store.seats(&event(), at).await),
            Self::Changes(back) => {
                let told_before = before.versions.len().checked_sub(1 + back);
                let since = told_before.map_or(7, |at| before.versions[at]);
                told(&store.changes(&event(), since, at).await)
            }
            Self::Raise(generation) => told(&store.raise(&event(), generation).await),
            Self::Sweep => told(&store.sweep(at).await),
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

fn late(dice: &mut StdRng, next: u128) -> u128 {
    next.saturating_sub(dice.random_range(0..5))
}

fn plan(seed: u64) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut next, mut generation) = (0, 1);
    let mut owners = vec![1];
    let mut steps = vec![Step::Load(1, vec![Seat::Free; SEATS as usize])];
    let mut last = Step::Sweep;
    while steps.len() < STEPS {
        // Mostly a late hold, and mostly by its owner.
        let id =
            if dice.random_range(0..4) == 0 { dice.random_range(0..=next) } else { late(&mut dice, next) };
        let owner = match owners.get(id as usize) {
            Some(owner) if dice.random_range(0..4) > 0 => *owner,
            _ => dice.random_range(1..=4),
        };
        let mut seats: Vec<_> =
            (0..dice.random_range(1..=3)).map(|_| dice.random_range(0..=SEATS + 3)).collect();
        seats.sort_unstable();
        seats.dedup();
        let seats: Vec<_> = seats.into_iter().map(SeatIndex).collect();
        let step = match dice.random_range(0..100) {
            0..=19 => Step::Pass(dice.random_range(1..20) * 500),
            20..=47 => {
                next += 1;
                let (ttl, cap) = (dice.random_range(1..40) * 500, dice.random_range(1..=8));
                owners.push(owner);
                last = Step::Hold { id: next, owner, seats, ttl, cap };
                last.clone()
            }
            48..=49 => Step::Undo(id + dice.random_range(0..3), dice.random_range(1..20) * 500),
            // Once more under an id that was given, or undone before it was.
            50 => Step::Hold { id, owner, seats, ttl: 5_000, cap: 8 },
            // And by somebody who got no answer.
            51 => last.clone(),
            52..=54 => Step::Find(id, owner),
            55..=58 => Step::Changes(dice.random_range(0..6)),
            59..=63 => Step::Extend(id, owner, dice.random_range(0..20_000), dice.random_range(0..40_000)),
            64..=69 => Step::Release(id, owner),
            70..=75 => Step::Fasten(id, owner),
            76..=78 => Step::Loosen(id),
            79..=86 => {
                let outcome = [Outcome::Sold, Outcome::Paying, Outcome::Free][dice.random_range(0..3)];
                let which = dice.random_range(0..1_000);
                if dice.random_range(0..8) == 0 {
                    Step::Heal(which, outcome)
                } else {
                    Step::Settle(which, outcome)
                }
            }
            87..=89 => Step::Seats,
            90..=91 => Step::Inside,
            92..=94 => Step::Sweep,
            95..=96 => Step::Paying,
            97..=98 => {
                let sold =
                    |n: u32| if n.is_multiple_of(5) { Seat::Sold(HoldEpoch::start(1)) } else { Seat::Free };
                generation += 1;
                // Sections grow.
                let seats = SEATS + dice.random_range(0..4);
                if dice.random_range(0..4) == 0 {
                    Step::Raise(generation)
                } else {
                    Step::Load(generation, (0..seats).map(sold).collect())
                }
            }
            _ => Step::Forget,
        };
        steps.push(step);
    }
    steps.extend([Step::Changes(0), Step::Inside, Step::Seats, Step::Paying, Step::Sweep]);
    steps
}

/// The first step that the two answer differently, or where the changes that
/// `store` tells do not add up to its seats.
pub(super) async fn compare(store: &dyn HoldStore, seed: u64) -> Result<(), String> {
    let model = MemoryHolds::default();
    let mut now = START;
    let mut before = Told::default();
    let mut onlooker = Onlooker::default();
    let steps = plan(seed);
    for (i, step) in steps.iter().enumerate() {
        if let Step::Pass(ms) = step {
            now += ms;
        }
        let (expected, found) = (step.run(&model, now, &before).await, step.run(store, now, &before).await);
        let at = Timestamp::from_millis(now);
        if let Step::Hold { id, owner, .. } = step
            && let Ok(kept) = model.find(hold_id(*id), AccountId::from_bits(*owner), at).await
        {
            before.given.push((kept.hold.epoch, kept.hold.seats));
            // Looking ends what is over, in both.
            let _ = store.find(hold_id(*id), AccountId::from_bits(*owner), at).await;
        }
        let mut wrong = (expected != found).then(|| format!("  expected {expected}\n     found {found}"));
        if wrong.is_none() && i % 5 == 0 {
            let (_, looked) = (model.seats(&event(), at).await, store.seats(&event(), at).await);
            wrong = onlooker.look(store, looked, at).await.err();
            before.versions.extend(onlooker.version);
        }
        if let Some(wrong) = wrong {
            let mut told = format!("HOLD_SEED={seed}, step {i}\n");
            for step in &steps[i.saturating_sub(12)..=i] {
                let _ = writeln!(told, "    {step:?}");
            }
            return Err(format!("{told}{wrong}"));
        }
    }
    Ok(())
}

/// Somebody who follows the changes, and compares what they add up to with the
/// list of seats: each change is one, under a version of its own.
#[derive(Default)]
struct Onlooker {
    version: Option<u64>,
    seats: Vec<SeatStatus>,
}

impl Onlooker {
    async fn look(
        &mut self,
        store: &dyn HoldStore,
        looked: Result<Seats, HoldStoreError>,
        at: Timestamp,
    ) -> Result<(), String> {
        let Ok(looked) = looked else {
            self.version = None;
            return Ok(());
        };
        match store.changes(&event(), self.version.unwrap_or(0), at).await {
            Ok(Changes::Gap { to }) => {
                if to != looked.version {
                    return Err(format!("  the gap ends at {to}, the seats are at {}", looked.version));
                }
                self.seats.clone_from(&looked.statuses);
            }
            Ok(Changes::Since { to, seats }) => {
                let since = self.version.ok_or("  changes since nothing")?;
                if to != looked.version || to - since != seats.len() as u64 {
                    return Err(format!("  from {since} to {to}, seen {}: {seats:?}", looked.version));
                }
                self.apply(&seats)?;
            }
            Err(error) => return Err(format!("  no changes: {error}")),
        }
        if self.seats != looked.statuses {
            return Err(format!("  followed {:?}\n     found {:?}", self.seats, looked.statuses));
        }
        self.version = Some(looked.version);
        Ok(())
    }

    fn apply(&mut self, changes: &[(SeatIndex, SeatStatus)]) -> Result<(), String> {
        for (seat, status) in changes {
            let there = self.seats.len();
            match self.seats.get_mut(seat.at()) {
                Some(was) if was == status => return Err(format!("  {seat:?} is {status:?} again")),
                Some(was) => *was = *status,
                None if seat.at() == there => self.seats.push(*status),
                None => return Err(format!("  {seat:?} from nowhere")),
            }
        }
        Ok(())
    }
}
