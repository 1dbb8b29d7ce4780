//! `usher swarm --virtual`: gates and a crowd in a simulated world.
//!
//! Owns a line without sockets: the real rooms over the real memory store, the
//! swarm's own visitors, and a time that goes on as fast as this machine counts.
//! What visitors saw is judged by the swarm's rules, as over HTTP; what shows
//! only inside is watched at the store.

pub mod door;
mod doze;
mod timers;
pub mod watch;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, SystemClock};
use crate::config;
use crate::domain::time::Timestamp;
use crate::queue::Room;
use crate::store::{MemoryStore, Store};
use crate::swarm::check::{Limits, Rule, check};
use crate::swarm::gates::{Dozed, Failure, Gates, Page, Reply, Who};
use crate::swarm::history::{Asked, History};
use crate::swarm::{
    Ended, Error, Options, Packed, Progress, Rehearsed, Report, Setting, Tally, Visitor, write_report,
};
use door::{Door, Kept};
use watch::Watched;
use world::{Executor, Group, TrueClock, World};

/// The gates' tasks, and the crowd's.
const GATES: Group = Group(0);
const CROWD: Group = Group(1);
/// Gates unless the command says otherwise.
const GATE_COUNT: u32 = 2;
/// Between two looks at the real clock.
const SLICE: Duration = Duration::from_secs(1);

/// Sends the crowd through a simulated line, and checks what it saw.
///
/// # Errors
/// [`Error`]. A report that is not [`Report::ok`] is no error here.
pub fn run(options: &Options) -> Result<Report, Error> {
    run_over(options, MemoryStore::new)
}

/// The same over another store, whose time is the simulated world's.
///
/// # Errors
/// As [`run`].
pub fn run_over<S: Store + 'static>(
    options: &Options,
    store: impl FnOnce(Arc<dyn Clock>) -> S,
) -> Result<Report, Error> {
    options.check()?;
    let real = SystemClock::new();
    let started_at = real.now();
    let seed = options.seed.unwrap_or(started_at.as_millis());
    let room = room(options)?;
    let gates = options.gates.unwrap_or(GATE_COUNT);
    let mut executor = Executor::new();
    let clock: Arc<dyn Clock> = Arc::new(TrueClock::new(executor.world(), started_at));
    let store = Arc::new(Watched::new(store(Arc::clone(&clock)), room.line.capacity));
    let doors: Arc<[Door]> = (0..gates)
        .map(|gate| {
            let room = Room::new(Arc::clone(&room), Arc::clone(&store) as _, Arc::clone(&clock), [0; 32]);
            executor.world().spawn(GATES, Arc::clone(&room).run());
            Door::new(room, seed.wrapping_add(gate.into()))
        })
        .collect();
    let tally = Arc::new(Tally::new());
    let records = send_crowd(options, seed, &executor.world(), &doors, &clock, &tally);
    let ended = pass_time(options, gates, &mut executor, &tally, &real);
    let ended_at = clock.now();
    drop(executor);
    let tracks = records.into_iter().map(|record| std::mem::take(&mut *record.lock())).collect();
    let history = History { tracks, started_at, ended_at };
    let capacity = Some(room.line.capacity);
    let mut verdict = check(&history, &Limits { capacity, lag: options.lag, in_order: true });
    store.seen(|seen| {
        verdict.findings.add_all(Rule::Capacity, seen.over_capacity, &seen.examples);
        verdict.findings.add_all(Rule::OneBatchPerTick, seen.double_batches, &seen.examples);
    });
    let targets = vec![format!("{gates} simulated gates")];
    let setting = Setting { seed, targets, visitors: options.visitors, capacity };
    let mut report = Report::new(setting, ended, &history, &verdict, &tally);
    report.rehearsed =
        Some(Rehearsed::new(real.monotonic(), report.duration_ms, store.seen(|seen| seen.most_out)));
    write_report(options, &report)?;
    Ok(report)
}

/// The room: one from the settings' defaults with what the command says.
fn room(options: &Options) -> Result<Arc<config::Room>, Error> {
    let mut text = String::from("[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n");
    let fields = [("capacity", options.capacity), ("batch", options.batch)];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        text.push_str(&format!("{name} = {value}\n"));
    }
    let config = config::load_text("command line", &text, []).map_err(|why| Error::Usage(why.to_string()))?;
    Ok(Arc::clone(&config.rooms[0]))
}

type Recording = Arc<Mutex<Packed>>;

/// Begins every visitor's task; each sleeps until it comes.
fn send_crowd(
    options: &Options,
    seed: u64,
    world: &World,
    doors: &Arc<[Door]>,
    clock: &Arc<dyn Clock>,
    tally: &Arc<Tally>,
) -> Vec<Recording> {
    let records: Vec<Recording> = (0..options.visitors).map(|_| Recording::default()).collect();
    let place = Arc::new(Place { doors: Arc::clone(doors), world: world.clone(), clock: Arc::clone(clock) });
    for (index, record) in (0..).zip(&records) {
        let way = Way { place: Arc::clone(&place), kept: Kept::default() };
        let mut visitor = Visitor::new(options, seed, index, Arc::clone(tally), way, Arc::clone(record));
        world.spawn(CROWD, async move { visitor.live().await });
    }
    records
}

/// Lets time go by until everybody is done, or it is up.
fn pass_time(
    options: &Options,
    gates: u32,
    executor: &mut Executor,
    tally: &Tally,
    real: &SystemClock,
) -> Ended {
    let mut progress = Progress::new(options.visitors, options.quiet);
    let mut shown_at = real.monotonic();
    let mut now = Duration::ZERO;
    let ended = loop {
        if now >= options.max_time() {
            break Ended::OutOfTime;
        }
        now = (now + SLICE).min(options.max_time());
        executor.run(now);
        if executor.living() <= gates as usize {
            break Ended::Finished;
        }
        if real.monotonic().saturating_sub(shown_at) >= crate::swarm::PROGRESS_EVERY {
            shown_at = real.monotonic();
            progress.show(tally, now);
        }
    };
    progress.close();
    ended
}

/// What all visitors are at.
struct Place {
    doors: Arc<[Door]>,
    world: World,
    clock: Arc<dyn Clock>,
}

/// A visitor's way to simulated gates: no time, no failure.
struct Way {
    place: Arc<Place>,
    kept: Kept,
}

impl Gates for Way {
    type Identity = Kept;

    fn count(&self) -> usize {
        self.place.doors.len()
    }

    fn now(&self) -> Timestamp {
        self.place.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.place.world.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        self.place.world.sleep(pause).await;
    }

    async fn doze(&mut self, pause: Duration, lot: u64) -> Dozed {
        let (dozed, kept) = doze::doze(Arc::clone(&self.place), self.kept, pause, lot).await;
        self.kept = kept;
        dozed
    }

    fn identity(&self) -> Kept {
        self.kept
    }

    async fn queue(&mut self, gate: usize, asked: Asked) -> Result<Reply, Failure> {
        // Apart: whoever waits must not carry the room for it along.
        let (reply, kept) = Box::pin(self.place.doors[gate].queue(self.kept, asked)).await;
        self.kept = kept;
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
        let (page, kept) = Box::pin(self.place.doors[gate].page(shown, as_browser)).await;
        self.kept = self.kept.after_page(who, as_browser, kept);
        Ok(page)
    }
}
