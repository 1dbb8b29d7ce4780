//! `usher swarm`: a simulated crowd.
//!
//! Owns visitors that come, wait, use the app and go, over HTTP alone like
//! anybody else, and the check of what they saw. Never looks behind a gate: of
//! ours it uses only the domain's words and the clock. One task per visitor, few sockets,
//! everything drawn from one seed; what happened is recorded first and judged
//! after, as Jepsen does.

mod admin;
mod answer;
pub mod check;
pub mod gates;
pub mod history;
mod identity;
mod link;
mod options;
mod packed;
mod persona;
mod progress;
mod report;
mod sockets;
mod tally;
mod time;
mod visitor;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::options::{IdentityKind, Options, Target};
pub use self::packed::Packed;
pub(crate) use self::progress::EVERY as PROGRESS_EVERY;
pub use self::report::{Broken, Ended, Quantiles, Rehearsed, Report};

use self::check::Limits;
use self::history::{History, Track};
use self::identity::Identity;
pub(crate) use self::progress::Progress;
pub(crate) use self::report::Setting;
use self::sockets::{Run, Sockets};
pub use self::tally::Tally;
use self::time::RunClock;
pub use self::visitor::Visitor;
use self::wire::Pool;

/// How long gates have to give their first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The options contradict each other or would hurt strangers.
    #[error("{0}")]
    Usage(String),
    /// Nothing that speaks the queue's language answered in time.
    #[error("no gate answered GET /queue/status at {targets} within 10 s: {why}")]
    NoGate {
        /// The addresses tried.
        targets: String,
        /// The last answer or failure.
        why: String,
    },
    /// The admin API did not tell the room's capacity.
    #[error("{admin} did not tell the capacity of room {room}")]
    NoCapacity {
        /// The address asked.
        admin: String,
        /// The room asked about.
        room: String,
    },
    /// The report could not be written; the run itself was done.
    #[error("cannot write {}: {why}", path.display())]
    Report {
        /// Where to.
        path: PathBuf,
        /// The system's word.
        why: std::io::Error,
    },
}

/// Sends the crowd, waits until it is done, and checks what it saw.
///
/// Ends early, with a report of what was so far, on Ctrl-C or when
/// `--max-time` is up. A report that is not [`Report::ok`] is no error here.
///
/// # Errors
/// See [`Error`]. Once the crowd is under way no failure of a gate is one.
pub async fn run(options: Options) -> Result<Report, Error> {
    options.check()?;
    let room = first_answer(&options).await?;
    let mut capacity = read_capacity(&options, &room).await?;
    let clock = RunClock::start();
    let seed = options.seed.unwrap_or(clock.started_at().as_millis());
    let run = Arc::new(Run {
        clock,
        tally: Arc::new(Tally::new()),
        identity: options.identity.clone(),
        room: options.room.as_ref().map(ToString::to_string),
        path: options.path.clone().unwrap_or_else(|| "/".into()),
        app_marker: options.app_marker.clone(),
    });
    let (tracks, ended) = send_crowd(&options, seed, &run).await;
    let history = History { tracks, started_at: run.clock.started_at(), ended_at: run.clock.now() };
    if options.admin.is_some() {
        // Raised on the way: the larger one held at some time.
        capacity = capacity.max(read_capacity(&options, &room).await.unwrap_or(None));
    }
    let limits = Limits { capacity, lag: options.lag, in_order: !options.any_order };
    let verdict = check::check(&history, &limits);
    let targets = options.target.iter().map(ToString::to_string).collect();
    let setting = Setting { seed, targets, visitors: options.visitors, capacity };
    let report = Report::new(setting, ended, &history, &verdict, &run.tally);
    write_report(&options, &report)?;
    Ok(report)
}

/// Waits until a gate speaks the queue's language; the name of its room.
async fn first_answer(options: &Options) -> Result<String, Error> {
    let pool = Pool::shared(&options.target);
    let clock = RunClock::start();
    loop {
        let why = match sockets::ask_room(&pool, options.room.as_ref()).await {
            Ok(room) => return Ok(room),
            Err(why) => why,
        };
        if clock.elapsed() > FIRST_ANSWER {
            let targets: Vec<_> = options.target.iter().map(ToString::to_string).collect();
            return Err(Error::NoGate { targets: targets.join(", "), why });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn read_capacity(options: &Options, room: &str) -> Result<Option<u64>, Error> {
    let Some(admin) = options.admin.as_ref().filter(|_| options.capacity.is_none()) else {
        return Ok(options.capacity);
    };
    let capacity = admin::capacity(admin, options.admin_token.as_deref(), room).await;
    let missing = || Error::NoCapacity { admin: admin.to_string(), room: room.to_owned() };
    capacity.map(Some).ok_or_else(missing)
}

/// Starts every visitor and waits for all, or for the end.
async fn send_crowd(options: &Options, seed: u64, run: &Arc<Run>) -> (Vec<Track>, Ended) {
    let stop = CancellationToken::new();
    let pool = Pool::shared(&options.target);
    let mut crowd = JoinSet::new();
    for index in 0..options.visitors {
        let pool = if options.own_connections { Pool::own(&options.target) } else { Arc::clone(&pool) };
        let visitor = visitor(options, seed, index, run, pool);
        let stop = stop.clone();
        crowd.spawn(async move { (index, live(visitor, stop).await) });
    }
    let mut tracks = vec![Track::default(); options.visitors as usize];
    let ended = gather(options, run, &mut crowd, &mut tracks).await;
    stop.cancel();
    while let Some(ended) = crowd.join_next().await {
        if let Ok((index, track)) = ended {
            tracks[index as usize] = track;
        }
    }
    (tracks, ended)
}

fn visitor(
    options: &Options,
    seed: u64,
    index: u32,
    run: &Arc<Run>,
    pool: Arc<Pool>,
) -> Visitor<Sockets, Track> {
    // Named by the start as well: a second run of a seed is another crowd.
    let session = format!("swarm-{seed}-{}-{index}", run.clock.started_at());
    let identity = Identity::new(&options.identity, &session);
    let sockets = Sockets::new(Arc::clone(run), pool, identity);
    Visitor::new(options, seed, index, Arc::clone(&run.tally), sockets, Track::default())
}

async fn live(mut visitor: Visitor<Sockets, Track>, stop: CancellationToken) -> Track {
    tokio::select! {
        () = stop.cancelled() => {}
        () = visitor.live() => {}
    }
    visitor.into_record()
}

/// Takes the tracks in as visitors end, and shows how it goes.
async fn gather(
    options: &Options,
    run: &Run,
    crowd: &mut JoinSet<(u32, Track)>,
    tracks: &mut [Track],
) -> Ended {
    let mut progress = Progress::new(options.visitors, options.quiet);
    let mut seconds = tokio::time::interval(progress::EVERY);
    let out_of_time = tokio::time::sleep(options.max_time());
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(out_of_time, interrupted);
    let ended = loop {
        tokio::select! {
            ended = crowd.join_next() => match ended {
                Some(Ok((index, track))) => tracks[index as usize] = track,
                // A visitor that panicked leaves an empty track; the panic was shown.
                Some(Err(_)) => {}
                None => break Ended::Finished,
            },
            _ = seconds.tick() => progress.show(&run.tally, run.clock.elapsed()),
            () = &mut out_of_time => break Ended::OutOfTime,
            Ok(()) = &mut interrupted => break Ended::Interrupted,
        }
    };
    progress.close();
    ended
}

/// Writes the report where the options say.
pub(crate) fn write_report(options: &Options, report: &Report) -> Result<(), Error> {
    let Some(path) = &options.report else { return Ok(()) };
    let mut text = serde_json::to_string_pretty(report).expect("a report is made of names and numbers");
    text.push('\n');
    std::fs::write(path, text).map_err(|why| Error::Report { path: path.clone(), why })
}
