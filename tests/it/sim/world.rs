//! One simulated world: gates, their store, their visitors, and what goes wrong.

use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use usher::clock::Clock;
use usher::config;
use usher::domain::time::Timestamp;
use usher::queue::Room;
use usher::rehearsal::door::{Door, Kept};
use usher::rehearsal::watch::Watched;
use usher::rehearsal::world::{Executor, Group, TrueClock, World};
use usher::store::{MemoryStore, Store};
use usher::swarm::check::{Limits, Rule, Verdict, check};
use usher::swarm::gates::{Failure, Gates, Page, Reply, Who};
use usher::swarm::history::{Asked, History, State, Track};
use usher::swarm::{Options, Tally, Visitor};

use super::wire::{Weather, Wire};
use super::{Bug, CHAOS, CROWD, NETWORK};

const SECOND: Duration = Duration::from_secs(1);
const VISITORS: u32 = 60;
const CAPACITY: u64 = 12;
/// Things go wrong until then.
const STORM: Duration = Duration::from_secs(60);
/// By then everybody has gone its way.
const END: Duration = Duration::from_secs(600);
/// A visitor waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

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
    /// The same for the same history.
    pub digest: u64,
}

impl Outcome {
    pub fn is_clean(&self) -> bool {
        self.verdict.findings.is_empty() && self.stuck == 0 && self.verdict.fates.admitted > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, verdict, exchanges, stuck, .. } = self;
        write!(f, "seed {seed}: {exchanges} exchanges, {stuck} stuck, {:?}", verdict.fates)?;
        verdict.findings.iter().try_for_each(|(rule, times, examples)| {
            write!(f, "\n{rule:?} {times} times")?;
            examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
        })
    }
}

/// A gate's clocks: the wall an hour off, the other too fast or too slow.
struct GateClock {
    world: World,
    started: Duration,
    starts_at: Timestamp,
    ahead: Duration,
    is_behind: bool,
    rate: f64,
}

impl Clock for GateClock {
    fn now(&self) -> Timestamp {
        let right = self.starts_at + self.world.elapsed();
        if self.is_behind { right - self.ahead } else { right + self.ahead }
    }

    fn monotonic(&self) -> Duration {
        self.world.elapsed().saturating_sub(self.started).mul_f64(self.rate)
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.world.sleep(pause.div_f64(self.rate)))
    }
}

/// A gate's process.
#[derive(Clone)]
struct Running {
    group: Group,
    door: Arc<Door>,
}

struct Gate {
    running: Mutex<Option<Running>>,
    weather: Arc<Weather>,
}

struct Fleet {
    world: World,
    starts_at: Timestamp,
    room: Arc<config::Room>,
    store: Arc<dyn Store>,
    gates: Vec<Gate>,
    bug: Option<Bug>,
    dice: Mutex<SmallRng>,
    groups: AtomicU64,
}

impl Fleet {
    /// Starts a gate; the receiver fails when its process is over.
    fn start(&self, index: usize) -> oneshot::Receiver<()> {
        let group = Group(100 + self.groups.fetch_add(1, Ordering::Relaxed) as u32);
        let (rate, off, is_behind, seed) = {
            let mut dice = self.dice.lock();
            let off = [0, 0, 3_600][dice.random_range(0..3)];
            (dice.random_range(0.998..1.002), SECOND * off, dice.random(), dice.random())
        };
        let ahead = if self.bug == Some(Bug::LocalClock) { SECOND * 3_600 * (index as u32) } else { off };
        let clock: Arc<dyn Clock> = Arc::new(GateClock {
            world: self.world.clone(),
            started: self.world.elapsed(),
            starts_at: self.starts_at,
            ahead,
            is_behind,
            rate,
        });
        let wire = Wire {
            world: self.world.clone(),
            store: Arc::clone(&self.store),
            weather: Arc::clone(&self.gates[index].weather),
            bug: self.bug,
            wall_ahead: ahead,
        };
        let room = Room::new(Arc::clone(&self.room), Arc::new(wire), clock);
        let (life, over) = oneshot::channel::<()>();
        self.world.spawn(group, Arc::clone(&room).run());
        self.world.spawn(group, async move {
            let _life = life;
            std::future::pending::<()>().await;
        });
        *self.gates[index].running.lock() = Some(Running { group, door: Arc::new(Door::new(room, seed)) });
        over
    }

    /// Crashes gates at any of their steps and starts them again.
    async fn crash(self: Arc<Self>, index: usize, mut over: oneshot::Receiver<()>) {
        loop {
            let (pause, steps, down) = {
                let mut dice = self.dice.lock();
                (dice.random_range(8..60), dice.random_range(0..400), dice.random_range(0..4_000))
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            let group = self.gates[index].running.lock().as_ref().map(|running| running.group);
            group.into_iter().for_each(|group| self.world.end_after(group, steps));
            let _ = over.await;
            *self.gates[index].running.lock() = None;
            self.world.sleep(Duration::from_millis(down)).await;
            over = self.start(index);
        }
    }

    /// Cuts gates off their store for less than an idle timeout each, or all of them for longer.
    async fn cut(self: Arc<Self>) {
        loop {
            let (pause, one, long, short) = {
                let mut dice = self.dice.lock();
                let one = dice.random_range(0..self.gates.len() * 2);
                (dice.random_range(2..20), one, dice.random_range(5..30), dice.random_range(1..5))
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            let all = one >= self.gates.len();
            let cut = |is_cut| {
                for (index, gate) in self.gates.iter().enumerate() {
                    if all || index == one {
                        gate.weather.is_cut.store(is_cut, Ordering::Relaxed);
                    }
                }
            };
            cut(true);
            self.world.sleep(SECOND * if all { long } else { short }).await;
            cut(false);
        }
    }
}

/// A visitor's way to the gates, over a bad network and a balancer.
struct Way {
    fleet: Arc<Fleet>,
    weather: Arc<Weather>,
    kept: Kept,
}

impl Way {
    async fn ask<T: Send + 'static>(
        &self,
        gate: usize,
        work: impl FnOnce(Arc<Door>) -> BoxFuture<'static, T> + Send,
    ) -> Result<T, Failure> {
        let world = &self.fleet.world;
        let (there, back) = (self.weather.packet(), self.weather.packet());
        let Some(there) = there else {
            world.sleep(PATIENCE).await;
            return Err(Failure::TimedOut);
        };
        world.sleep(there).await;
        let Some(running) = self.fleet.gates[gate].running.lock().clone() else {
            return Err(Failure::Connect);
        };
        let is_ready = |gate: &Gate| gate.running.lock().as_ref().is_some_and(|r| r.door.room().is_ready());
        // A balancer sends nobody to a gate that says it is not ready, while there is another.
        if !running.door.room().is_ready() && self.fleet.gates.iter().any(is_ready) {
            return Err(Failure::Connect);
        }
        let (answer, answered) = oneshot::channel();
        let asked = work(running.door);
        world.spawn(running.group, async move {
            let _ = answer.send(asked.await);
        });
        let answered = world.within(PATIENCE, answered).await.ok_or(Failure::TimedOut)?;
        let answered = answered.map_err(|_| Failure::Broken)?;
        let Some(back) = back else {
            world.sleep(PATIENCE).await;
            return Err(Failure::TimedOut);
        };
        world.sleep(back).await;
        Ok(answered)
    }

    fn spoil(&self, reply: &mut Reply) {
        let Reply::Status(standing) = reply else { return };
        let status = &mut standing.status;
        match self.fleet.bug {
            Some(Bug::RenewsByPolling) => {
                let now = self.now();
                status.pass_expires_at = status.pass_expires_at.map(|_| now + SECOND * 20);
            }
            Some(Bug::WrongPosition) if status.state == State::Waiting => {
                let other = self.fleet.dice.lock().random_range(1..10);
                status.position = status.position.map(|_| other);
            }
            _ => {}
        }
    }
}

impl Gates for Way {
    type Identity = Kept;

    fn count(&self) -> usize {
        self.fleet.gates.len()
    }

    fn now(&self) -> Timestamp {
        self.fleet.starts_at + self.fleet.world.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.fleet.world.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        self.fleet.world.sleep(pause).await;
    }

    fn identity(&self) -> Kept {
        self.kept
    }

    async fn queue(&mut self, gate: usize, asked: Asked) -> Result<Reply, Failure> {
        let kept = self.kept;
        let work = move |door: Arc<Door>| -> BoxFuture<'static, _> {
            Box::pin(async move { door.queue(kept, asked).await })
        };
        let (mut reply, kept) = self.ask(gate, work).await?;
        self.kept = kept;
        self.spoil(&mut reply);
        Ok(reply)
    }

    async fn page(
        &mut self,
        gate: usize,
        _path: &str,
        who: Who<'_, Kept>,
        as_browser: bool,
    ) -> Result<Page, Failure> {
        let shown = self.kept.shown_by(who);
        let work = move |door: Arc<Door>| -> BoxFuture<'static, _> {
            Box::pin(async move { door.page(shown, as_browser).await })
        };
        let (page, kept) = self.ask(gate, work).await?;
        self.kept = self.kept.after_page(who, as_browser, kept);
        Ok(page)
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

/// Runs one seed to its end.
pub fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut dice = SmallRng::seed_from_u64(seed);
    let mut executor = Executor::new();
    let world = executor.world();
    let starts_at = Timestamp::from_millis(1_700_000_000_000);
    let clock: Arc<dyn Clock> = Arc::new(TrueClock::new(world.clone(), starts_at));
    let room = Arc::clone(&config::load_text("here", ROOM, []).expect("good settings").rooms[0]);
    let store = Arc::new(Watched::new(MemoryStore::new(clock), CAPACITY));
    let (loss, twice) = ([0.0, 0.005, 0.03][dice.random_range(0..3)], [0.0, 0.02][dice.random_range(0..2)]);
    let count = dice.random_range(2..=3);
    let gates = (0..count)
        .map(|_| Gate { running: Mutex::default(), weather: weather(&mut dice, loss, twice) })
        .collect();
    let fleet = Arc::new(Fleet {
        world: world.clone(),
        starts_at,
        room: Arc::clone(&room),
        store: Arc::clone(&store) as _,
        gates,
        bug,
        dice: Mutex::new(SmallRng::from_rng(&mut dice)),
        groups: AtomicU64::new(0),
    });
    let (crashes, cuts) = (dice.random_bool(0.7), dice.random_bool(0.5) || bug == Some(Bug::NoHoliday));
    for index in 0..count {
        let over = fleet.start(index);
        if crashes {
            world.spawn(CHAOS, Arc::clone(&fleet).crash(index, over));
        }
    }
    if cuts {
        world.spawn(CHAOS, Arc::clone(&fleet).cut());
    }
    if bug == Some(Bug::NoHoliday) {
        let (world, fleet) = (world.clone(), Arc::clone(&fleet));
        let name = room.name.clone();
        world.clone().spawn(NETWORK, async move {
            loop {
                world.sleep(SECOND).await;
                let _ = fleet.store.make_room(&name).await;
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
        let way =
            Way { fleet: Arc::clone(&fleet), weather: weather(&mut dice, loss, 0.0), kept: Kept::default() };
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
    let tracks: Vec<Track> = tracks.iter().map(|track| std::mem::take(&mut *track.lock())).collect();
    let history = History { tracks, started_at: starts_at, ended_at };
    let limits = Limits { capacity: Some(CAPACITY), lag: SECOND * 3, in_order: true };
    let mut verdict = check(&history, &limits);
    store.seen(|seen| {
        verdict.findings.add_all(Rule::Capacity, seen.over_capacity, &seen.examples);
        verdict.findings.add_all(Rule::OneBatchPerTick, seen.double_batches, &seen.examples);
    });
    let mut hasher = DefaultHasher::new();
    format!("{history:?}").hash(&mut hasher);
    let exchanges = history.tracks.iter().map(|track| track.exchanges.len()).sum();
    Outcome { seed, verdict, exchanges, stuck, digest: hasher.finish() }
}
