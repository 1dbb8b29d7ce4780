//! The simulation: several gates, a bad wire to their store and to their
//! visitors, clocks that are wrong, gates that crash at any step; a crowd, and
//! the swarm's rules over what it saw.
//!
//! Everything depends on one seed. `USHER_SEED=7 cargo test --test it sim::one`
//! replays a seed, `USHER_VISITOR=3` with it prints what that visitor saw, and
//! `USHER_SEEDS=2000` runs so many of them, from `USHER_FROM` on.

mod app;
mod fleet;
mod host;
mod losses;
mod way;
mod wire;
mod world;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use usher::swarm::check::Rule;

use losses::Kept;
use world::{Outcome, simulate};

/// A mistake that a gate or its store could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A gate tells the store's time by its own wall clock.
    LocalClock,
    /// A pass that was ended is not told to the other gates.
    LosesRevocations,
    /// Joining again gives another place.
    JoinsTwice,
    /// What is gone from the log is not missed.
    IgnoresGaps,
    /// Evictions go on while no gate can hear anybody.
    NoHoliday,
    /// Each answer moves the end of the pass.
    RenewsByPolling,
    /// A position is somebody else's.
    WrongPosition,
    /// Each tick admits two batches.
    TicksTwice,
    /// Who is admitted is taken out of the line by one call and called by the next.
    PopsThenCalls,
    /// The capacity is what was free when it was read, one call before.
    ReadsThenAdmits,
    /// A gate sends a request again that the app did not answer.
    RetriesPosts,
    /// Keys that were retired are believed.
    AcceptsRetiredKeys,
    /// Nobody gets its place again in a line that was lost.
    KeepsLossesLost,
    /// A clock that is set takes the line along.
    BelievesTheClock,
}

/// Tasks of the network, the crowd, and what breaks things.
const NETWORK: usher::rehearsal::world::Group = usher::rehearsal::world::Group(0);
const CROWD: usher::rehearsal::world::Group = usher::rehearsal::world::Group(1);
const CHAOS: usher::rehearsal::world::Group = usher::rehearsal::world::Group(2);

const REPLAY: &str = "cargo test --locked --test it -- --ignored --nocapture sim::one";

/// Seeds that `make test` runs.
const SEEDS: u64 = 200;
/// Seeds that `make soak` runs.
const MANY: u64 = 5_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on every core until `stop` says so; the outcomes in no order.
fn run_seeds(seeds: Range<u64>, bug: Option<Bug>, stop: impl Fn(u64, &Outcome) -> bool + Sync) {
    let next = AtomicU64::new(seeds.start);
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if stop(seed, &simulate(seed, bug)) {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[test]
fn every_seed_is_clean() {
    are_clean(number("USHER_SEEDS").unwrap_or(SEEDS));
}

#[test]
#[ignore = "soak"]
fn soak_thousands_of_seeds_are_clean() {
    are_clean(number("USHER_SEEDS").unwrap_or(MANY));
}

fn are_clean(count: u64) {
    let unclean = AtomicU64::new(0);
    let from = number("USHER_FROM").unwrap_or(0);
    let kept = kept_in(from..from + count, None, |seed, outcome| {
        if !outcome.is_clean() {
            unclean.fetch_add(1, Ordering::Relaxed);
            eprintln!("{outcome}\nreplay: USHER_SEED={seed} {REPLAY}");
        }
    });
    assert_eq!(unclean.into_inner(), 0, "seeds of {count} from {from} in which something broke");
    eprintln!("of those who waited when the line was lost: {kept:?}");
    let is_enough = kept.stayed > 100 || count < SEEDS;
    assert!(is_enough && kept.stayed >= 19 * kept.moved, "{kept:?}");
}

/// Runs all of these seeds; what became of those who waited when the line was lost.
fn kept_in(seeds: Range<u64>, bug: Option<Bug>, look: impl Fn(u64, &Outcome) + Sync) -> Kept {
    let (stayed, moved) = (AtomicU64::new(0), AtomicU64::new(0));
    run_seeds(seeds, bug, |seed, outcome| {
        stayed.fetch_add(outcome.kept.stayed, Ordering::Relaxed);
        moved.fetch_add(outcome.kept.moved, Ordering::Relaxed);
        look(seed, outcome);
        false
    });
    Kept { stayed: stayed.into_inner(), moved: moved.into_inner() }
}

#[test]
#[ignore = "replays USHER_SEED by hand"]
fn one() {
    let outcome = simulate(number("USHER_SEED").unwrap_or(0), None);
    eprintln!("{outcome}");
    if let Some(visitor) = number("USHER_VISITOR") {
        eprintln!("{}", outcome.of(visitor as usize));
    }
    assert!(outcome.is_clean());
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [1, 2] {
        let (first, again) = (simulate(seed, None), simulate(seed, None));
        assert!(first.exchanges > 300, "{first}");
        assert_eq!(first.digest, again.digest, "seed {seed}: two runs, two histories");
    }
    assert_ne!(simulate(1, None).digest, simulate(2, None).digest);
}

/// The bug is caught, by one of these rules, within [`SEEDS`] seeds.
fn caught(bug: Bug, rules: &[Rule]) {
    shows(bug, |outcome| rules.iter().any(|&rule| outcome.verdict.findings.count(rule) > 0));
}

/// The bug shows within [`SEEDS`] seeds.
fn shows(bug: Bug, is_seen: impl Fn(&Outcome) -> bool + Sync) {
    let found = AtomicBool::new(false);
    run_seeds(0..SEEDS, Some(bug), |_, outcome| {
        let is_seen = is_seen(outcome);
        found.fetch_or(is_seen, Ordering::Relaxed);
        is_seen
    });
    assert!(found.into_inner(), "{bug:?} was not seen in {SEEDS} seeds");
}

#[test]
fn a_gate_that_trusts_its_own_clock_is_caught() {
    caught(Bug::LocalClock, &[Rule::NoWrongEviction, Rule::PlacesKept, Rule::AdmittedOnce]);
}

#[test]
fn a_lost_revocation_is_caught() {
    caught(Bug::LosesRevocations, &[Rule::AdmittedFirst]);
}

#[test]
fn a_second_place_for_a_second_join_is_caught() {
    caught(Bug::JoinsTwice, &[Rule::PlacesKept]);
}

#[test]
fn a_gap_in_the_log_that_is_ignored_is_caught() {
    caught(Bug::IgnoresGaps, &[Rule::InOrder]);
}

#[test]
fn evictions_during_an_outage_are_caught() {
    caught(Bug::NoHoliday, &[Rule::NoWrongEviction]);
}

#[test]
fn a_pass_renewed_by_polling_is_caught() {
    caught(Bug::RenewsByPolling, &[Rule::AdmittedOnce]);
}

#[test]
fn the_position_of_another_place_is_caught() {
    caught(Bug::WrongPosition, &[Rule::PositionsFall]);
}

#[test]
fn a_tick_that_acts_twice_is_caught() {
    caught(Bug::TicksTwice, &[Rule::OneBatchPerTick]);
}

#[test]
fn visitors_lost_between_two_calls_are_caught() {
    caught(Bug::PopsThenCalls, &[Rule::NoWrongEviction]);
}

#[test]
fn a_limit_that_is_read_one_call_before_is_caught() {
    caught(Bug::ReadsThenAdmits, &[Rule::Capacity]);
}

#[test]
fn a_request_that_is_sent_to_the_app_again_is_caught() {
    caught(Bug::RetriesPosts, &[Rule::OncePerRequest]);
}

#[test]
fn a_retired_key_that_is_believed_is_caught() {
    caught(Bug::AcceptsRetiredKeys, &[Rule::AdmittedFirst]);
}

#[test]
fn places_that_stay_lost_are_caught() {
    let kept = kept_in(0..SEEDS / 4, Some(Bug::KeepsLossesLost), |_, _| ());
    assert!(kept.stayed < 19 * kept.moved, "{kept:?}");
}

#[test]
fn a_store_that_believes_a_clock_that_was_set_is_caught() {
    // Set back, its time stands still, and with it the line.
    shows(Bug::BelievesTheClock, |outcome| outcome.stuck > 0);
}
