//! Settings: read, checked, typed.
//!
//! Owns the two shapes of settings: [`file`] is what people write, [`Config`]
//! what code reads. Turning one into the other finds every problem and names
//! its file, line and key. Never opens a connection.

pub mod check;
pub mod file;
pub mod load;
pub mod reload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::id::RoomName;

pub use file::{HoldsKind, LogFormat, Mode, OnStoreDown, Order, PassRenewal, StoreKind};
pub use load::{LoadError, Problem, load, load_text};

/// Checked settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The crowd's listener.
    pub gate: Gate,
    /// The operators' listener.
    pub admin: Admin,
    /// The line's store.
    pub store: Store,
    /// The rooms, in the file's order; names differ, and so do host and path pairs.
    pub rooms: Vec<Arc<Room>>,
    /// The booking backend.
    pub booking: Booking,
    /// Logging.
    pub log: Log,
    /// What is valid but deserves a word to the operator.
    pub warnings: Vec<String>,
}

/// The gate's own settings.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Serving threads.
    pub threads: usize,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Its own certificate; `None` = plain HTTP.
    pub tls: Option<Tls>,
    /// Scheme and authority that visitors use, without a trailing slash.
    pub public_url: Option<String>,
    /// Serving on, not ready, before the listener closes.
    pub drain_delay: Duration,
    /// Bound on requests under way after that.
    pub stop_timeout: Duration,
    /// Bounds on one visitor.
    pub limits: Limits,
    /// Signing keys; `None` = kept in [`Config::key_file`]'s state file.
    pub keys: Option<Keys>,
    /// Where keys are kept when the settings name none; `None` = this process only.
    pub key_file: Option<PathBuf>,
}

impl Gate {
    /// Whether visitors see this gate over TLS: its own, or a balancer's.
    #[must_use]
    pub fn is_tls_for_visitors(&self) -> bool {
        self.tls.is_some() || self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }
}

/// The gate's certificate, as read.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Where the chain is.
    pub cert: PathBuf,
    /// Where the key is.
    pub key: PathBuf,
    /// What the chain's file holds.
    pub chain_pem: Vec<u8>,
    /// What the key's file holds.
    pub key_pem: Vec<u8>,
}

impl Tls {
    /// Reads both files; nothing is said of what is in them.
    ///
    /// # Errors
    /// The setting of the file that cannot be read, and what was expected.
    pub fn read(cert: &Path, key: &Path) -> Result<Self, (&'static str, String)> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|why| {
                let (at, cert, key) = (path.display(), cert.display(), key.display());
                format!("expected PEM files at {cert} and {key}, found none at {at}: {why}")
            })
        };
        let chain_pem = read(cert).map_err(|why| ("gate.tls.cert", why))?;
        let key_pem = read(key).map_err(|why| ("gate.tls.key", why))?;
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), chain_pem, key_pem })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

/// Bounds on what one visitor may send or hold open.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a head.
    pub head_bytes: usize,
    /// Fields of a head.
    pub headers: usize,
    /// Time for a whole head.
    pub head_timeout: Duration,
    /// Bytes of a body.
    pub body_bytes: Option<u64>,
    /// Silence that closes a connection.
    pub idle_timeout: Duration,
    /// Time to connect to the app.
    pub connect_timeout: Duration,
    /// Time for the app to begin its answer.
    pub first_byte_timeout: Duration,
    /// Requests on one connection.
    pub requests_per_connection: Option<u64>,
    /// Connections at once.
    pub connections: Option<usize>,
    /// Connections at once from one address.
    pub connections_per_address: Option<usize>,
    /// Joins per minute from one address.
    pub joins_per_minute_per_address: Option<u32>,
}

/// The two-key ring as configured; 32 bytes each.
#[derive(Clone)]
pub struct Keys {
    /// Signs and verifies.
    pub current: [u8; 32],
    /// Verifies only.
    pub previous: Option<[u8; 32]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

/// The operators' listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Bearer token; `None` only on loopback.
    pub token: Option<String>,
}

/// The line's store.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process.
    Memory,
    /// In Redis.
    Redis {
        /// Its address; single, sentinel or cluster.
        url: String,
        /// What every key begins with.
        prefix: String,
    },
}

/// A page of an operator's own, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Where it is.
    pub path: PathBuf,
    /// The template.
    pub text: String,
}

/// One protected site.
#[derive(Clone, Debug)]
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// Lower-case hosts, `*` or `*.suffix`.
    pub hosts: Vec<String>,
    /// Path prefixes, each beginning with `/`, without a trailing one.
    pub paths: Vec<String>,
    /// The app: `host:port` of each upstream.
    pub upstreams: Vec<String>,
    /// Path to open when a turn comes.
    pub go: Option<String>,
    /// Who is first.
    pub order: Order,
    /// Whether there is a line.
    pub mode: Mode,
    /// Limits and times of the line.
    pub line: crate::domain::line::Settings,
    /// Use prolongs a pass.
    pub pass_renewal: PassRenewal,
    /// Between two polls near the front; zero = no pacing.
    pub poll_min: Duration,
    /// Between two polls far back.
    pub poll_max: Duration,
    /// Status of the waiting page.
    pub waiting_status: u16,
    /// Template of the waiting page.
    pub page: Option<Arc<PageFile>>,
    /// Passes are replaced as they are used.
    pub rotation: Option<crate::domain::binding::Rotation>,
    /// What happens without a store.
    pub on_store_down: OnStoreDown,
    /// The header that is the identity.
    pub session_header: Option<http::HeaderName>,
    /// Requests that need no pass.
    pub bypass: Bypass,
    /// What the app must keep to, or fewer are let in.
    pub autotune: Option<crate::domain::autotune::Limits>,
}

/// Requests that need no pass.
#[derive(Clone, Debug, Default)]
pub struct Bypass {
    /// Path prefixes, matched by whole segments.
    pub paths: Vec<String>,
    /// Networks.
    pub addresses: Vec<IpNet>,
    /// Lower-case header name and its exact value.
    pub header: Option<(String, String)>,
}

/// The booking backend's settings.
#[derive(Clone, Debug)]
pub struct Booking {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// `sqlite:…` or `postgres://…`.
    pub database: String,
    /// Where holds live: `None` = memory, else a Redis address.
    pub redis_url: Option<String>,
    /// How long a hold lasts.
    pub hold_ttl: Duration,
    /// The longest a hold can become.
    pub hold_max: Duration,
    /// Seats in one hold.
    pub hold_max_seats: usize,
    /// Tickets of one account for one event.
    pub tickets_per_account: u32,
    /// Buyers give tickets back until this long before the event.
    pub refund_before: Duration,
    /// What is kept of the price of a ticket given back, 0 to 100.
    pub refund_fee_percent: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the gate's assertion is asked for.
    pub require_pass: bool,
    /// Keys of the gate's assertion.
    pub assertion_keys: Vec<[u8; 32]>,
    /// Key of the access tokens.
    pub jwt_secret: Option<String>,
    /// The first administrator: email and password.
    pub admin: Option<(String, String)>,
    /// The card payment provider.
    pub toss: Option<Toss>,
    /// Mail server and sender; `None` = no mail.
    pub mail: Option<Mail>,
    /// Kafka; `None` = messages stay in the database.
    pub kafka: Option<Kafka>,
    /// Live maps.
    pub live: Live,
}

/// Bounds on live maps.
#[derive(Clone, Debug)]
pub struct Live {
    /// Sockets of one process.
    pub sockets: usize,
    /// Sockets of one address; 0 = as many as there are.
    pub sockets_per_address: usize,
    /// A peer that is silent for so long is gone.
    pub idle_timeout: Duration,
}

/// Where messages also go.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// What names of topics and groups begin with.
    pub prefix: String,
}

/// Where mail goes out.
#[derive(Clone)]
pub struct Mail {
    /// `smtp://…` or `smtps://…`, with the password.
    pub smtp: String,
    /// Sender, `a@b` or `Name <a@b>`.
    pub from: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The card payment provider.
#[derive(Clone)]
pub struct Toss {
    /// `https://host`, or `http://` on this machine.
    pub base_url: String,
    /// The merchant's secret key.
    pub secret_key: String,
    /// How long one call may take before it is in doubt.
    pub timeout: Duration,
    /// Whether captured payments of unknown orders are given back.
    pub refund_unknown: bool,
    /// Where a buyer's browser is sent to agree to a card payment.
    pub window: Option<String>,
}

impl std::fmt::Debug for Toss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Toss").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Logging.
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Filter directives.
    pub level: String,
}
