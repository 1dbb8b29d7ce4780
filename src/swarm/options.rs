//! What `usher swarm` can be told.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::header::HeaderName;
use http::uri::{Authority, Uri};

use super::Error;
use crate::domain::id::RoomName;
use crate::domain::target;

/// The command's arguments, to be flattened into a command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The gate to visit; several gates of one line by commas or repetition
    #[arg(long, value_name = "URL", required_unless_present = "virtual", value_delimiter = ',')]
    pub target: Vec<Target>,
    /// No gate and no sockets: drive the line itself in simulated time
    #[arg(long = "virtual", id = "virtual", conflicts_with_all = ["target", "admin", "own_connections"])]
    pub is_virtual: bool,
    /// With --virtual: how many gates [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub gates: Option<u32>,
    /// With --virtual: visitors that the room admits in a tick [default: as in the settings]
    #[arg(long, value_name = "N")]
    pub batch: Option<u64>,
    /// How many visitors come
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub visitors: u32,
    /// How many come in a second [default: 200; virtual: all within a minute]
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// What the crowd does depends on this alone; made up and shown when not given
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Also write the report there, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The room, when the gate cannot tell it by host and path
    #[arg(long, value_name = "NAME")]
    pub room: Option<RoomName>,
    /// How visitors are known again: cookie, token, or session:HEADER
    #[arg(long, value_name = "KIND", default_value = "cookie")]
    pub identity: IdentityKind,
    /// How long a visitor uses the app, on average
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub visit: Duration,
    /// Between two requests inside, on average
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    pub think: Duration,
    /// How long those who come back late stay away, on average
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub away: Duration,
    /// Share of visits that end with POST /queue/leave; the others just go away
    #[arg(long, value_name = "SHARE", default_value_t = 0.98, value_parser = share)]
    pub leave: f64,
    /// Share that leaves while waiting
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    pub give_up: f64,
    /// Share that falls silent while waiting; half of them come back late
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    pub silent: f64,
    /// Share that is silent when its turn is near; half of them come back late
    #[arg(long, value_name = "SHARE", default_value_t = 0.02, value_parser = share)]
    pub no_show: f64,
    /// Share that polls before it was told to
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = share)]
    pub impatient: f64,
    /// The path that visitors come for; inside, what the gate says when not given
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub path: Option<String>,
    /// Text that only the app's answers have, to tell them from the gate's
    #[arg(long, value_name = "TEXT")]
    pub app_marker: Option<String>,
    /// End after this time, whoever still waits [default: 15m; virtual: 1day]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub max_time: Option<Duration>,
    /// The room's capacity, to check the most inside at once against; that of a simulated room
    #[arg(long, value_name = "N")]
    pub capacity: Option<u64>,
    /// The admin API to read the capacity from instead
    #[arg(long, value_name = "URL")]
    pub admin: Option<Target>,
    /// The admin API's bearer token
    #[arg(long, value_name = "TOKEN", env = "USHER__ADMIN__TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// How far one gate's view may be behind another's before it counts as unfair
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub lag: Duration,
    /// The room draws lots: later numbers may come first
    #[arg(long)]
    pub any_order: bool,
    /// One connection for each visitor instead of at most 256 shared by all
    #[arg(long)]
    pub own_connections: bool,
    /// Visit something else than this machine; say so only of what is yours
    #[arg(long)]
    pub i_own_the_target: bool,
    /// No live progress
    #[arg(long)]
    pub quiet: bool,
}

impl Options {
    /// How many come in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate.unwrap_or(if self.is_virtual { f64::from(self.visitors) / 60.0 } else { 200.0 })
    }

    /// When to end at the latest.
    pub(crate) fn max_time(&self) -> Duration {
        let longest = if self.is_virtual { 24 * 3_600 } else { 15 * 60 };
        self.max_time.unwrap_or(Duration::from_secs(longest))
    }

    /// What each value alone cannot tell.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        let strangers = self.target.iter().chain(&self.admin).find(|target| !target.is_loopback());
        if let Some(stranger) = strangers.filter(|_| !self.i_own_the_target) {
            return Err(Error::Usage(format!(
                "{stranger} is not this machine: add --i-own-the-target if it is yours to load"
            )));
        }
        if !self.is_virtual && (self.gates.is_some() || self.batch.is_some()) {
            return usage("--gates and --batch: expected with --virtual only");
        }
        if self.visitors == 0 {
            return usage("--visitors: expected at least 1");
        }
        if self.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return usage("--rate: expected a number above 0");
        }
        if self.give_up + self.silent + self.no_show > 1.0 {
            return usage("--give-up, --silent and --no-show: expected at most 1 together");
        }
        Ok(())
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "expected a number from 0 to 1")?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("expected a number from 0 to 1".into()) }
}

fn path(text: &str) -> Result<String, String> {
    if target::is_local(text) { Ok(text.into()) } else { Err("expected a path such as /events".into()) }
}

/// Where a server is: `http://HOST[:PORT]`, nothing after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Authority);

impl Target {
    /// Host and port as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.as_str()
    }

    /// Host and port to connect to; port 80 when none was written.
    #[must_use]
    pub fn address(&self) -> (&str, u16) {
        let host = self.0.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        (bare, self.0.port_u16().unwrap_or(80))
    }

    /// Whether it can only be this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let (host, _) = self.address();
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected http://HOST:PORT, found {text:?}");
        let uri: Uri = text.parse().map_err(|_| expected())?;
        let is_plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        match uri.authority().filter(|authority| is_plain && !authority.as_str().contains('@')) {
            Some(authority) => Ok(Self(authority.clone())),
            None => Err(expected()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// How visitors are known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// Cookies, like a browser.
    Cookie,
    /// The three tokens of a client without cookies.
    Token,
    /// A header of the app's own.
    Session(HeaderName),
}

impl FromStr for IdentityKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "cookie" => Ok(Self::Cookie),
            None if text == "token" => Ok(Self::Token),
            Some(("session", header)) => {
                header.parse().map(Self::Session).map_err(|_| format!("{header:?} is no header name"))
            }
            _ => Err("expected cookie, token or session:HEADER".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(arguments: &[&str]) -> Result<Options, String> {
        let cli = Cli::try_parse_from([&["swarm"], arguments].concat()).map_err(|e| e.to_string())?;
        cli.options.check().map_err(|e| e.to_string())?;
        Ok(cli.options)
    }

    #[test]
    fn several_gates_by_commas_or_repetition() {
        let by_comma = options(&["--target", "http://127.0.0.1:1,http://[::1]:2"]).expect("both are here");
        assert_eq!(by_comma.target[1].address(), ("::1", 2));
        let repeated = options(&["--target", "http://localhost", "--target", "http://127.0.0.2:3"]);
        assert_eq!(repeated.expect("both are here").target[0].address(), ("localhost", 80));
    }

    #[test]
    fn strangers_are_left_alone_unless_said_aloud() {
        for stranger in ["http://example.com", "http://10.0.0.1:80", "http://localhost.example:80"] {
            assert!(options(&["--target", stranger]).is_err(), "{stranger}");
            assert!(options(&["--target", stranger, "--i-own-the-target"]).is_ok(), "{stranger}");
            assert!(options(&["--target", "http://[::1]", "--admin", stranger]).is_err(), "{stranger}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            ["--target", "https://127.0.0.1"],
            ["--target", "http://a@127.0.0.1"],
            ["--target", "http://127.0.0.1/path"],
            ["--visitors", "0"],
            ["--rate", "0"],
            ["--rate", "NaN"],
            ["--leave", "1.1"],
            ["--give-up", "0.99"],
            ["--identity", "session:"],
            ["--identity", "face"],
            ["--path", "//evil"],
            ["--visit", "3"],
            ["--gates", "2"],
            ["--batch", "2"],
        ] {
            let mut arguments = wrong.to_vec();
            if wrong[0] != "--target" {
                arguments.extend(["--target", "http://127.0.0.1:1"]);
            }
            assert!(options(&arguments).is_err(), "{wrong:?}");
        }
    }
}
