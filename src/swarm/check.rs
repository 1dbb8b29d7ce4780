//! What must always hold, checked against what visitors saw.
//!
//! Owns the rules of `DESIGN.md` 7 that show from outside (1, 3 to 9, 11), as
//! pure functions over a [`History`]. Never talks to a gate. An outsider knows
//! only that a gate acted at some instant between its question and the answer,
//! so every rule speaks up only when *no* choice of those instants excuses the
//! gate; a finding is never bad luck of timing.

mod doors;
mod order;
mod places;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::history::{Exchange, History, Record, Track, kept_polling};
use crate::domain::time::Timestamp;

/// Examples kept of each broken rule.
const EXAMPLES: usize = 5;

/// How far the gate's clock may be from ours when it names a pass's end.
const SKEW: Duration = Duration::from_secs(1);

/// What the rules need to know of the room.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Visitors inside at once; `None` = unknown, not checked.
    pub capacity: Option<u64>,
    /// How far one gate's view of the line may be behind another's. An answer
    /// within it of an admission proves no overtaking.
    pub lag: Duration,
    /// Whether earlier numbers come first; false in a room that draws lots.
    pub in_order: bool,
}

/// A rule of `DESIGN.md` 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// (1) Never more inside than the capacity.
    Capacity,
    /// (2) One batch for each tick; shows only from inside.
    OneBatchPerTick,
    /// (3) No place is admitted twice, but for the one late call.
    AdmittedOnce,
    /// (4) Nothing reaches the app without an admission before it.
    AdmittedFirst,
    /// (5) Of two who kept polling, the earlier number is admitted no later.
    InOrder,
    /// (6) A shown position never grows.
    PositionsFall,
    /// (7) Joined = waiting + admitted + evicted + left, nobody twice.
    Balance,
    /// (8) Nobody is evicted who kept polling.
    NoWrongEviction,
    /// (9) A place stays, with its number, through restarts.
    PlacesKept,
    /// (10) No request that has an effect reaches the app twice; shows only there.
    OncePerRequest,
    /// (11) No answer reaches the wrong visitor.
    OwnAnswers,
}

impl Rule {
    /// The rule's number in `DESIGN.md` 7.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Capacity => 1,
            Self::OneBatchPerTick => 2,
            Self::AdmittedOnce => 3,
            Self::AdmittedFirst => 4,
            Self::InOrder => 5,
            Self::PositionsFall => 6,
            Self::Balance => 7,
            Self::NoWrongEviction => 8,
            Self::PlacesKept => 9,
            Self::OncePerRequest => 10,
            Self::OwnAnswers => 11,
        }
    }
}

/// What became of the places that visitors were seen to hold.
///
/// A visitor that joins again after its place ended holds a second one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fates {
    /// Numbers given.
    pub joined: u64,
    /// Places that came in.
    pub admitted: u64,
    /// Places that ended before they came in: evicted, or a turn missed.
    pub evicted: u64,
    /// Places given up in the line by their holders.
    pub left: u64,
    /// Places still in the line, or of visitors that were silent to the end.
    pub waiting: u64,
    /// Places whose holders were told that they have none.
    pub lost: u64,
}

/// What the rules found.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Visitors surely inside at one instant, at most.
    pub most_active: u64,
    /// What became of the places.
    pub fates: Fates,
    /// The broken rules.
    pub findings: Findings,
}

/// How often each rule was broken, with examples.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    broken: BTreeMap<Rule, (u64, Vec<String>)>,
    started_at: Timestamp,
}

impl Findings {
    /// No findings, in a history that began then.
    fn since(started_at: Timestamp) -> Self {
        Self { broken: BTreeMap::new(), started_at }
    }

    fn add(&mut self, rule: Rule, example: impl FnOnce() -> String) {
        let (count, examples) = self.broken.entry(rule).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(example());
        }
    }

    /// Adds what was found by other means.
    pub fn add_all(&mut self, rule: Rule, times: u64, examples: &[String]) {
        if times > 0 {
            let (count, kept) = self.broken.entry(rule).or_default();
            *count += times;
            kept.extend(examples.iter().take(EXAMPLES.saturating_sub(kept.len())).cloned());
        }
    }

    /// Drops what was found of rules that need not hold.
    pub fn forget(&mut self, rules: &[Rule]) {
        self.broken.retain(|rule, _| !rules.contains(rule));
    }

    /// An instant as people read it: seconds since the run began.
    fn clock(&self, at: Timestamp) -> String {
        format!("{:.1} s", at.since(self.started_at).as_secs_f64())
    }

    /// How often `rule` was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.broken.get(&rule).map_or(0, |&(count, _)| count)
    }

    /// The broken rules in the order of their numbers: how often, and the first
    /// few examples.
    pub fn iter(&self) -> impl Iterator<Item = (Rule, u64, &[String])> {
        self.broken.iter().map(|(&rule, (count, examples))| (rule, *count, examples.as_slice()))
    }

    /// Whether nothing is broken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broken.is_empty()
    }
}

/// One visitor's record, cut into its stays once for all rules.
struct Seen<'a> {
    visitor: usize,
    track: &'a Track,
    stays: Vec<Stay<'a>>,
}

struct Stay<'a> {
    all: &'a [Exchange],
    /// Up to the first silence in which its place may have gone.
    kept: &'a [Exchange],
}

impl<'a> Seen<'a> {
    fn of(visitor: usize, track: &'a Track) -> Self {
        let stay = |all: &'a [Exchange]| Stay { all, kept: &all[..kept_polling(all)] };
        Self { visitor, track, stays: track.stays().into_iter().map(stay).collect() }
    }
}

/// What a rule must know of all visitors before it judges one.
#[derive(Default)]
struct Gathered {
    spells: doors::Spells,
    troubles: doors::Troubles,
    admissions: order::Admissions,
    owners: places::Owners,
}

/// Checks a history against every rule. O(n log n) in its exchanges.
#[must_use]
pub fn check<T: Record>(history: &History<T>, limits: &Limits) -> Verdict {
    let mut findings = Findings::since(history.started_at);
    let mut all = Gathered::default();
    history.each(|visitor, track| {
        let seen = Seen::of(visitor, track);
        all.spells.note(&seen, history.ended_at);
        all.troubles.note(track);
        all.admissions.note(&seen);
        all.owners.note(&seen);
    });
    let most_active = all.spells.judge(limits, &mut findings);
    let (troubles, highest) = (all.troubles.sorted(), all.admissions.highest());
    let (mut balance, mut keys) = (places::Balance::default(), places::Keys::default());
    history.each(|visitor, track| {
        let seen = Seen::of(visitor, track);
        doors::admitted_once(&seen, &mut findings);
        doors::admitted_first(&seen, &troubles, &mut findings);
        if limits.in_order {
            order::in_order(&seen, &highest, limits.lag, &mut findings);
        }
        order::positions_fall(&seen, &mut findings);
        balance.note(&seen, &mut findings);
        places::no_wrong_eviction(&seen, &mut findings);
        places::kept(&seen, &all.owners, &mut findings);
        keys.note(&seen, &mut findings);
    });
    let fates = balance.judge(&mut findings);
    Verdict { most_active, fates, findings }
}

#[cfg(test)]
mod tests;
