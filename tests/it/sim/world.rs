//! One simulated world: gates, their store, their visitors, and what goes wrong.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use usher::config;
use usher::domain::time::Timestamp;
use usher::rehearsal::world::Executor;
use usher::store::Store;
use usher::swarm::check::{Limits, Rule, Verdict, check};
use usher::swarm::history::{Exchange, History, Told, Track};
use usher::swarm::{Options, Tally, Visitor};

use super::app::App;
use super::fleet::{Fleet, Gate};
use super::host::Host;
use super::losses::{Kept, Loss};
use super::way::{Carried, Rings, Way};
use super::wire::Weather;
use super::{Bug, CHAOS, CROWD, NETWORK};

const SECOND: Duration = Duration::from_secs(1);
const VISITORS: u32 = 60;
/// Visitors inside at once.
pub const CAPACITY: u64 = 12;
/// Visitors admitted in one tick.
pub const BATCH: usize = 4;
/// By then everybody has gone its way.
const END: Duration = Duration::from_secs(600);

/// A line that lost its end cannot keep these of those who were in it: who was
/// called and had not come goes to the tail, and so does who is not heard in time.
const NOT_AFTER_A_LOSS: [Rule; 3] = [Rule::Balance, Rule::NoWrongEviction, Rule::PlacesKept];

/// Nor can gates keep these that were lost, too, or were away while the line came
/// back: nobody else may have known of a pass, or that a copy is an old one.
const NOT_BY_GATES_THAT_FORGOT: [Rule; 3] = [Rule::Capacity, Rule::AdmittedOnce, Rule::InOrder];

/// Where all have forgotten and somebody new came first, another line began, and its
/// numbers say nothing of those before.
const NOT_ACROSS_LINES: [Rule; 1] = [Rule::OwnAnswers];

const ROOM: &str = "[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\ncapacity = 12\nbatch = 4\ntick = \"500ms\"\n\
    idle_timeout = \"12s\"\nclaim_window = \"8s\"\npass_ttl = \"20s\"\npass_max = \"60s\"\n\
    poll = { min = \"500ms\", max = \"2s\" }\n";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// What became of a seed.
pub struct Outcome {
    pub seed: u64,
    pub verdict: Verdict,
    pub exchanges: usize,
    /// Visitors that were not done in the end.
    pub stuck: u32,
    /// Those that waited when the line was lost.
    pub kept: Kept,
    /// The same for the same history.
    pub digest: u64,
    pub history: History,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.verdict.findings.is_empty() && self.stuck == 0 && self.verdict.fates.admitted > 0
    }

    /// What this visitor asked and was told, a line each.
    pub fn of(&self, visitor: usize) -> String {
        let seconds = |at: Timestamp| at.since(self.history.started_at).as_secs_f64();
        let told = |exchange: &Exchange| match exchange.told {
            Told::Status(status) => format!(
                "{:?} {:?} at {:?} until {:?}{}",
                status.state,
                status.number.map(|number| number.0),
                status.position,
                status.pass_expires_at.map(seconds),
                if status.degraded { ", degraded" } else { "" }
            ),
            told => format!("{told:?}"),
        };
        let line = |exchange: &Exchange| {
            let (sent, answered) = (seconds(exchange.sent_at), seconds(exchange.answered_at));
            format!("{sent:8.3} {answered:8.3} {:?}: {}\n", exchange.asked, told(exchange))
        };
        self.history.tracks[visitor].exchanges.iter().map(line).collect()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, verdict, exchanges, stuck, kept, .. } = self;
        write!(f, "seed {seed}: {exchanges} exchanges, {stuck} stuck, {:?}, {kept:?}", verdict.fates)?;
        verdict.findings.iter().try_for_each(|(rule, times, examples)| {
            write!(f, "\n{rule:?} {times} times")?;
            examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
        })
    }
}

fn weather(dice: &mut SmallRng, loss: f64, twice: f64) -> Arc<Weather> {
    Arc::new(Weather {
        dice: Mutex::new(SmallRng::from_rng(dice)),
        loss,
        twice,
        is_cut: AtomicBool::new(false),
    })
}

/// The rules compare the ends of passes, told by the line's time, with the right one.
fn put_right(track: &mut Track, host: &Host) {
    for exchange in &mut track.exchanges {
        if let Told::Status(status) = &mut exchange.told {
            status.pass_expires_at = status.pass_expires_at.map(|end| host.right_time(end));
        }
    }
}

/// Runs one seed to its end.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut executor = Executor::new();
    let world = executor.world();
    let starts_at = Timestamp::from_millis(1_700_000_000_000);
    let room = Arc::clone(&config::load_text("here", ROOM, []).expect("good settings").rooms[0]);
    let host = Arc::new(Host::new(world.clone(), starts_at, bug));
    let (loss, twice) = ([0.0, 0.005, 0.03][dice.random_range(0..3)], [0.0, 0.02][dice.random_range(0..2)]);
    let count = dice.random_range(2..=3);
    let gates = (0..count)
        .map(|_| Gate { running: Mutex::default(), weather: weather(&mut dice, loss, twice) })
        .collect();
    let app =
        App { world: world.clone(), weather: weather(&mut dice, loss, 0.0), bug, got: Mutex::default() };
    let fleet = Arc::new(Fleet {
        world: world.clone(),
        starts_at,
        room: Arc::clone(&room),
        host: Arc::clone(&host),
        gates,
        app,
        bug,
        dice: Mutex::new(SmallRng::from_rng(&mut dice)),
        rings: Mutex::new(Arc::new(Rings::new(0, &room.name, bug))),
        groups: AtomicU64::new(0),
    });
    let loses = bug == Some(Bug::KeepsLossesLost) || bug.is_none() && dice.random_bool(0.2);
    // All gates are there that remember what is lost.
    let is_remembered = loses && (bug.is_some() || dice.random_bool(0.5));
    let crashes = dice.random_bool(0.7) && !is_remembered;
    let cuts = (dice.random_bool(0.5) || bug == Some(Bug::NoHoliday)) && !is_remembered;
    if loses {
        world.spawn(CHAOS, Arc::clone(&fleet).lose());
    }
    if dice.random_bool(0.2) || bug == Some(Bug::BelievesTheClock) {
        world.spawn(CHAOS, Arc::clone(&fleet).set_clock());
    }
    for index in 0..count {
        let over = fleet.start(index);
        if crashes {
            world.spawn(CHAOS, Arc::clone(&fleet).crash(index, over));
        }
    }
    world.spawn(CHAOS, Arc::clone(&fleet).rotate());
    if cuts {
        world.spawn(CHAOS, Arc::clone(&fleet).cut());
    }
    if bug == Some(Bug::NoHoliday) {
        let (world, fleet) = (world.clone(), Arc::clone(&fleet));
        let name = room.name.clone();
        world.clone().spawn(NETWORK, async move {
            loop {
                world.sleep(SECOND).await;
                let _ = fleet.host.store().make_room(&name).await;
            }
        });
    }
    let options = Cli::parse_from([
        "swarm",
        "--virtual",
        "--visitors",
        "60",
        "--rate",
        "6",
        "--visit",
        "3s",
        "--away",
        "10s",
    ]);
    let (done, tally) = (Arc::new(AtomicU64::new(0)), Arc::new(Tally::new()));
    let tracks: Vec<Arc<Mutex<Track>>> = (0..VISITORS).map(|_| Arc::default()).collect();
    for (index, track) in (0..).zip(&tracks) {
        let (fleet, weather) = (Arc::clone(&fleet), weather(&mut dice, loss, 0.0));
        let way = Way { fleet, weather, carried: Carried::default() };
        let mut visitor =
            Visitor::new(&options.options, seed, index, Arc::clone(&tally), way, Arc::clone(track));
        let done = Arc::clone(&done);
        world.spawn(CROWD, async move {
            visitor.live().await;
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    while done.load(Ordering::Relaxed) < u64::from(VISITORS) && world.elapsed() < END {
        executor.run(world.elapsed() + SECOND * 5);
    }
    let ended_at = starts_at + world.elapsed();
    let stuck = VISITORS - done.load(Ordering::Relaxed) as u32;
    drop(executor);
    let mut tracks: Vec<Track> = tracks.iter().map(|track| std::mem::take(&mut *track.lock())).collect();
    tracks.iter_mut().for_each(|track| put_right(track, &host));
    let history = History { tracks, started_at: starts_at, ended_at };
    let limits = Limits { capacity: Some(CAPACITY), lag: SECOND * 3, in_order: true };
    let kept = host.losses(|losses| Kept::of(&history, if is_remembered { losses } else { &[] }));
    let is_whole = host.losses(<[Loss]>::is_empty);
    let mut verdict = check(&history, &limits);
    if !is_whole {
        verdict.findings.forget(&NOT_AFTER_A_LOSS);
    }
    if !is_whole && !is_remembered {
        verdict.findings.forget(&NOT_BY_GATES_THAT_FORGOT);
    }
    if host.began_anew() {
        verdict.findings.forget(&NOT_ACROSS_LINES);
    }
    host.seen(|seen| {
        if is_whole {
            verdict.findings.add_all(Rule::Capacity, seen.over_capacity, &seen.examples);
        }
        verdict.findings.add_all(Rule::OneBatchPerTick, seen.double_batches, &seen.examples);
    });
    verdict.findings.add_all(Rule::OncePerRequest, fleet.app.repeated(), &[]);
    let mut hasher = DefaultHasher::new();
    format!("{history:?}").hash(&mut hasher);
    let exchanges = history.tracks.iter().map(|track| track.exchanges.len()).sum();
    Outcome { seed, verdict, exchanges, stuck, kept, digest: hasher.finish(), history }
}
