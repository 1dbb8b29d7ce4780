//! Arguments → one mode; failure → exit code.
//!
//! 0 done, 1 the work failed, 2 wrong usage or settings.

mod check;
mod draw;
mod room;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};

use crate::booking::Booking;
use crate::booking::events::import::ImportError;
use crate::clock::SystemClock;
use crate::config::reload::Reloader;
use crate::config::{self, Config, LoadError};
use crate::demo;
use crate::gate::page;
use crate::keys;
use crate::lifecycle::raise_descriptor_limit;
use crate::rehearsal;
use crate::run::{Process, gate_keys, judge};
use crate::standin;
use crate::swarm;

/// A waiting room for on-sales that far more people want than a site can serve.
#[derive(Debug, Parser)]
#[command(name = "usher", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Gate and booking in one process, with a sample event; nothing else needed.
    Demo,
    /// Run the gate alone.
    Gate(GateArgs),
    /// Run the booking backend alone, or check its books.
    Booking(BookingArgs),
    /// Read and steer rooms through the admin API.
    Room(room::RoomArgs),
    /// Recompute a published draw.
    Draw(draw::DrawArgs),
    /// Send a simulated crowd, watch it, and check what it saw.
    Swarm(Box<swarm::Options>),
    /// Validate settings and print the effective ones, secrets hidden.
    Check(CheckArgs),
    /// See the waiting page as visitors do.
    #[command(subcommand)]
    Page(PageCommand),
    /// Print the JSON Schema of the settings file.
    Schema,
    /// Make signing keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Run a local server that speaks the payment provider's wire format; no money moves.
    TossStandIn(Box<standin::Options>),
}

#[derive(Debug, Args)]
struct GateArgs {
    /// The settings file.
    #[arg(long, value_name = "FILE", required_unless_present = "to")]
    config: Option<PathBuf>,
    /// The app to protect, such as http://127.0.0.1:3000; no file is needed then.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    to: Option<String>,
    /// Visitors inside at once.
    #[arg(long, value_name = "N", requires = "to")]
    capacity: Option<u64>,
    /// Take the listeners over from a running gate, which then gets SIGQUIT.
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct BookingArgs {
    #[command(subcommand)]
    act: Option<BookingAct>,
    /// The settings file; without one every setting has its default.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Load the sample event into an empty database.
    #[arg(long)]
    sample: bool,
}

#[derive(Debug, Subcommand)]
enum BookingAct {
    /// Add a hall and its dates from a file (see config/hall.toml); those there already stay.
    Import {
        /// The hall.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The settings file; without one every setting has its default.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check every invariant of the database; exit 1 on a finding.
    Audit {
        /// The settings file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also reach store, database and upstreams.
    #[arg(long)]
    online: bool,
}

#[derive(Debug, Subcommand)]
enum PageCommand {
    /// Write the page in every state and language into a folder, with an index to look at.
    Preview {
        /// The settings file; without one the built-in page is shown.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The room whose page it is.
        #[arg(long, value_name = "ROOM", default_value = "main")]
        room: String,
        /// The folder; made where it is missing.
        #[arg(long, value_name = "DIR", default_value = "usher-preview")]
        to: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Print one signing key (32 bytes, base64url) and nothing else.
    New,
}

/// How a command can fail.
enum Failure {
    /// Exit 1.
    Work(anyhow::Error),
    /// Exit 2.
    Settings(String),
}

impl From<anyhow::Error> for Failure {
    fn from(why: anyhow::Error) -> Self {
        Self::Work(why)
    }
}

impl From<LoadError> for Failure {
    fn from(why: LoadError) -> Self {
        Self::Settings(why.to_string())
    }
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Work(why)) => {
            complain(&format!("{why:#}"));
            ExitCode::from(1)
        }
        Err(Failure::Settings(why)) => {
            complain(&why);
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo => {
            let config = demo::settings()?;
            let (process, welcome) = demo::prepare(&config, &gate_keys(&config)?)?;
            say(&welcome);
            process.run()
        }
        Command::Gate(args) => gate(&args),
        Command::Booking(BookingArgs { act: Some(BookingAct::Audit { config }), .. }) => audit(&config),
        Command::Booking(BookingArgs { act: Some(BookingAct::Import { file, config }), .. }) => {
            import(&file, config.as_deref())
        }
        Command::Booking(args) => booking(&args),
        Command::Room(args) => {
            say(&room::run(&args)?);
            Ok(())
        }
        Command::Draw(args) => {
            say(&draw::run(&args)?);
            Ok(())
        }
        Command::Swarm(options) => swarm(*options),
        Command::Check(args) => {
            let (file, config) = config::load::load_both(&args.config, std::env::vars())?;
            judge(&config)?;
            say(&check::effective(file));
            for warning in &config.warnings {
                complain(&format!("warning: {warning}"));
            }
            if args.online {
                check::online(&config)?;
            }
            Ok(())
        }
        Command::Page(PageCommand::Preview { config, room, to }) => preview(config.as_deref(), &room, &to),
        Command::Schema => {
            let schema = schemars::schema_for!(config::file::File);
            say(&serde_json::to_string_pretty(&schema).map_err(anyhow::Error::from)?);
            Ok(())
        }
        Command::Keys(KeysCommand::New) => {
            say(&keys::to_text(&keys::generate()));
            Ok(())
        }
        Command::TossStandIn(options) => toss_stand_in(*options),
    }
}

fn gate(args: &GateArgs) -> Result<(), Failure> {
    let config = match (&args.config, &args.to) {
        (Some(path), _) => load(path)?,
        (None, Some(to)) => {
            config::load_text("command line", &one_room(to, args.capacity), std::env::vars())?
        }
        (None, None) => return Err(Failure::Settings("expected --config FILE or --to URL".into())),
    };
    if config.rooms.is_empty() {
        return Err(Failure::Settings(
            "expected at least one [[room]]: a gate without one protects nothing".into(),
        ));
    }
    judge(&config)?;
    let mut process = Process::new(&config, args.upgrade)?;
    let keys = gate_keys(&config)?;
    let reloader =
        args.config.as_ref().map(|path| Reloader::judged_by(path, Arc::new(config.clone()), judge));
    process.add_gate(&config, &keys, reloader.as_ref())?;
    tracing::info!(listen = %config.gate.listen, admin = %config.admin.listen, rooms = config.rooms.len(), "gate is up");
    process.run()
}

fn preview(config: Option<&Path>, room: &str, to: &Path) -> Result<(), Failure> {
    let file = match config {
        None => None,
        Some(path) => {
            let config = load(path)?;
            page::own::check(&config)?;
            let found = config.rooms.iter().find(|known| known.name.as_str() == room);
            let found =
                found.ok_or_else(|| Failure::Settings(format!("--room: no room is named {room:?}")))?;
            found.page.clone()
        }
    };
    let index = page::preview::write(file.as_deref(), to).with_context(|| to.display().to_string())?;
    say(&index.display().to_string());
    Ok(())
}

fn booking(args: &BookingArgs) -> Result<(), Failure> {
    let config = load_or_default(args.config.as_deref())?;
    let mut process = Process::new(&config, false)?;
    process.add_booking(&config.booking, args.sample)?;
    tracing::info!(listen = %config.booking.listen, "booking is up");
    process.run()
}

fn import(file: &Path, config: Option<&Path>) -> Result<(), Failure> {
    let config = load_or_default(config)?;
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|why| Failure::Settings(format!("{name}: {why}")))?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let done = runtime.block_on(async {
        let office = Booking::open(&config.booking, Arc::new(SystemClock::new())).await.context("booking")?;
        let done = office.import(&text).await;
        office.close().await;
        anyhow::Ok(done)
    })?;
    let done = done.map_err(|why| match why {
        ImportError::File(why) => Failure::Settings(format!("{name}: {why}")),
        refused @ ImportError::Refused(_) => Failure::Work(refused.into()),
    })?;
    say(&format!("{} events added, {} were there already", done.added, done.known));
    Ok(())
}

fn audit(path: &Path) -> Result<(), Failure> {
    let config = load(path)?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let findings = runtime.block_on(async {
        let office = Booking::open(&config.booking, Arc::new(SystemClock::new())).await.context("booking")?;
        office.audit().await.context("booking")
    })?;
    for finding in &findings {
        say(&format!("{}: {}", finding.rule, finding.subject));
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure::Work(anyhow!("{} findings", findings.len()))) }
}

fn swarm(options: swarm::Options) -> Result<(), Failure> {
    let ran = if options.is_virtual {
        rehearsal::run(&options)
    } else {
        raise_descriptor_limit();
        let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
        runtime.block_on(swarm::run(options))
    };
    let report = ran.map_err(|why| match why {
        swarm::Error::Usage(why) => Failure::Settings(why),
        other => Failure::Work(other.into()),
    })?;
    say(&report.to_string());
    if report.ok { Ok(()) } else { Err(Failure::Work(anyhow!("a promise was broken; see the report"))) }
}

fn toss_stand_in(options: standin::Options) -> Result<(), Failure> {
    let listen = options.listen;
    let ready = |address| say(&format!("the payment stand-in listens on http://{address}"));
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let served = runtime.block_on(standin::run(options, Arc::new(SystemClock::new()), ready));
    Ok(served.with_context(|| format!("toss-stand-in: cannot listen on {listen}"))?)
}

fn load(path: &Path) -> Result<Config, LoadError> {
    config::load(path, std::env::vars())
}

fn load_or_default(path: Option<&Path>) -> Result<Config, LoadError> {
    match path {
        Some(path) => load(path),
        None => config::load_text("environment", "", std::env::vars()),
    }
}

/// The settings that `--to` and `--capacity` stand for.
fn one_room(to: &str, capacity: Option<u64>) -> String {
    let mut room = toml::Table::new();
    room.insert("upstreams".into(), vec![to.to_owned()].into());
    if let Some(capacity) = capacity {
        room.insert("capacity".into(), i64::try_from(capacity).unwrap_or(i64::MAX).into());
    }
    let mut file = toml::Table::new();
    file.insert("room".into(), vec![toml::Value::Table(room)].into());
    file.to_string()
}

/// One answer on standard output.
fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
