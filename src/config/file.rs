//! The settings file as people write it.
//!
//! Every key is here, with its default. Nothing else reads this shape:
//! [`super::Config`] is what code uses.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A duration written as text, such as `"7m"` or `"500ms"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^\d+ ?[a-z]+( ?\d+ ?[a-z]+)*$", "examples" = ["7m", "500ms"]))]
pub struct Span(pub Duration);

impl Span {
    const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    const fn mins(mins: u64) -> Self {
        Self(Duration::from_secs(mins * 60))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        humantime::parse_duration(&text)
            .map(Self)
            .map_err(|why| format!("expected a duration such as \"7m\" or \"500ms\", found {text:?}: {why}"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The listener that faces the crowd.
    pub gate: GateFile,
    /// The operators' listener.
    pub admin: AdminFile,
    /// Where the line lives.
    pub store: StoreFile,
    /// The protected sites, each with its own line.
    pub room: Vec<RoomFile>,
    /// The booking backend.
    pub booking: BookingFile,
    /// What is logged, and how.
    pub log: LogFile,
}

/// `[gate]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GateFile {
    /// Address and port that face the crowd.
    pub listen: String,
    /// Threads that serve; all cores when unset.
    pub threads: Option<usize>,
    /// Networks whose `X-Forwarded-*` headers are believed, such as `"10.0.0.0/8"`.
    pub trusted_proxies: Vec<String>,
    /// Certificate and key in PEM; without them the gate speaks plain HTTP.
    pub tls: Option<TlsFile>,
    /// The address visitors use, such as `"https://tickets.example"`.
    pub public_url: Option<String>,
    /// How long the gate keeps serving, not ready, before it stops listening.
    pub drain_delay: Span,
    /// How long requests under way may take after the gate stopped listening.
    pub stop_timeout: Span,
    /// Bounds on what one visitor may send or hold open.
    pub limits: LimitsFile,
    /// Signing keys.
    pub keys: KeysFile,
}

impl Default for GateFile {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:8080".into(),
            threads: None,
            trusted_proxies: Vec::new(),
            tls: None,
            public_url: None,
            drain_delay: Span::secs(0),
            stop_timeout: Span::secs(30),
            limits: LimitsFile::default(),
            keys: KeysFile::default(),
        }
    }
}

/// `gate.tls`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// `[gate.limits]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Time for a whole head to arrive.
    pub head_timeout: Span,
    /// Bytes of a request's body; unlimited when unset.
    pub body_bytes: Option<u64>,
    /// Silence after which a connection, in a request or between two, is closed.
    pub idle_timeout: Span,
    /// Time for the app's connection to stand.
    pub connect_timeout: Span,
    /// Time for the app to begin its answer.
    pub first_byte_timeout: Span,
    /// Requests on one connection before it is closed; 0 = unlimited.
    pub requests_per_connection: u64,
    /// Connections at once; unlimited when unset.
    pub connections: Option<usize>,
    /// Connections at once from one address; 0 = off.
    pub connections_per_address: usize,
    /// Joins per minute from one address; 0 = off.
    pub joins_per_minute_per_address: u32,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            head_bytes: 16_384,
            headers: 100,
            head_timeout: Span::secs(10),
            body_bytes: None,
            idle_timeout: Span::secs(30),
            connect_timeout: Span::secs(2),
            first_byte_timeout: Span::secs(15),
            requests_per_connection: 0,
            connections: None,
            connections_per_address: 0,
            joins_per_minute_per_address: 0,
        }
    }
}

/// `[gate.keys]`
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeysFile {
    /// The key that signs, from `usher keys new`.
    pub current: Option<String>,
    /// The key before it, still accepted.
    pub previous: Option<String>,
}

/// `[admin]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminFile {
    /// Address and port for operators; keep it off the internet.
    pub listen: String,
    /// Bearer token; may be left out on a loopback address only.
    pub token: Option<String>,
}

impl Default for AdminFile {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".into(), token: None }
    }
}

/// `store.kind`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In this process; one gate only, gone with it.
    #[default]
    Memory,
    /// In Redis 7 or later, shared by any number of gates.
    Redis,
}

/// `[store]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreFile {
    /// Which store.
    pub kind: StoreKind,
    /// `redis://host:6379/0`, `redis+sentinel://a:26379,b:26379/mymaster` or
    /// `redis+cluster://a:6379,b:6379`.
    pub url: Option<String>,
    /// What every key begins with.
    pub prefix: String,
}

impl Default for StoreFile {
    fn default() -> Self {
        Self { kind: StoreKind::Memory, url: None, prefix: "usher".into() }
    }
}

/// `room.order`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// First come, first served.
    #[default]
    Fifo,
    /// Those present at the opening in a drawn order, later ones behind.
    Draw,
}

/// `room.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everybody waits for a turn.
    #[default]
    Always,
    /// Straight in while there is room and nobody waits.
    Overflow,
    /// No line: everybody is forwarded.
    Passthrough,
    /// Nobody is let in and nobody joins.
    Closed,
    /// Everybody is forwarded; the line is counted as if it were one of overflow.
    Shadow,
}

/// `room.pass_renewal`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassRenewal {
    /// A pass ends `pass_ttl` after its claim.
    #[default]
    Fixed,
    /// A pass in use is renewed at half-life, up to `pass_max`.
    Sliding,
}

/// `room.pass_binding`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PassBinding {
    /// A pass is good wherever its cookie is.
    #[default]
    None,
    /// A pass is replaced as it is used, every `pass_rotation`: who uses an old copy
    /// is given another twice, and the third time within ten of these ends the pass.
    Rotate,
}

/// `room.on_store_down`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnStoreDown {
    /// Passes keep working, nobody new is let in.
    #[default]
    Static,
    /// Nothing is forwarded.
    Closed,
}

/// `room.poll`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PollFile {
    /// Between two polls near the front; `"0s"` switches pacing off.
    pub min: Span,
    /// Between two polls far back.
    pub max: Span,
}

impl Default for PollFile {
    fn default() -> Self {
        Self { min: Span::secs(2), max: Span::secs(30) }
    }
}

/// `room.bypass`: requests that are forwarded without a pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BypassFile {
    /// Path prefixes, matched by whole segments.
    pub paths: Vec<String>,
    /// Networks, such as `"192.0.2.0/24"`.
    pub addresses: Vec<String>,
    /// A header and its exact value, `"Name: secret"`.
    pub header: Option<String>,
}

/// `room.opening`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningFile {
    /// When the first are let in: RFC 3339, with the offset from UTC.
    pub at: String,
    /// How long before it people may gather; unset: nobody does.
    pub prequeue: Option<Span>,
}

/// `room.autotune`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutotuneFile {
    /// The app's 95th percentile to stay under.
    pub p95: Option<Span>,
    /// Share of failing answers to stay under, 0 to 1.
    pub errors: Option<f64>,
}

/// `[[room]]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RoomFile {
    /// `[a-z0-9-]{1,32}`.
    pub name: String,
    /// Hosts it protects; `"*"` is any, `"*.example.com"` any below.
    pub hosts: Vec<String>,
    /// Path prefixes it protects, matched by whole segments; the longest wins.
    pub paths: Vec<String>,
    /// Where the app is: `"http://host:port"`, one or more.
    pub upstreams: Vec<String>,
    /// The path to open when a turn comes, unless the visitor asked for one.
    pub go: Option<String>,
    /// Who is first.
    pub order: Order,
    /// Whether there is a line.
    pub mode: Mode,
    /// Visitors inside at once, called ones included.
    pub capacity: u64,
    /// Visitors admitted in one tick, at most.
    pub batch: u64,
    /// Time between two ticks.
    pub tick: Span,
    /// Visitors admitted in any minute; 0 = off.
    pub rate_per_minute: u64,
    /// Places in the line; 0 = off.
    pub max_waiting: u64,
    /// How long a pass is good.
    pub pass_ttl: Span,
    /// Whether use prolongs a pass.
    pub pass_renewal: PassRenewal,
    /// The longest a pass can become by renewal or extension.
    pub pass_max: Span,
    /// What ties a pass to its holder.
    pub pass_binding: PassBinding,
    /// Between two copies of a pass that rotates.
    pub pass_rotation: Span,
    /// Silence after which a place is given up.
    pub idle_timeout: Span,
    /// Time to show up when a turn comes.
    pub claim_window: Span,
    /// Time after a missed turn in which the visitor is called once more.
    pub grace_reentry: Span,
    /// How often waiting visitors are told to ask.
    pub poll: PollFile,
    /// HTTP status of the waiting page.
    pub waiting_status: u16,
    /// A template of your own for the waiting page.
    pub page: Option<PathBuf>,
    /// What happens when the store cannot be reached.
    pub on_store_down: OnStoreDown,
    /// A header that alone is a visitor's identity.
    pub session_header: Option<String>,
    /// Requests that need no pass.
    pub bypass: BypassFile,
    /// When the doors open; at once when unset.
    pub opening: Option<OpeningFile>,
    /// Limits that follow the app's health.
    pub autotune: Option<AutotuneFile>,
}

impl Default for RoomFile {
    fn default() -> Self {
        Self {
            name: "main".into(),
            hosts: vec!["*".into()],
            paths: vec!["/".into()],
            upstreams: Vec::new(),
            go: None,
            order: Order::Fifo,
            mode: Mode::Always,
            capacity: 1000,
            batch: 120,
            tick: Span::secs(1),
            rate_per_minute: 0,
            max_waiting: 0,
            pass_ttl: Span::mins(7),
            pass_renewal: PassRenewal::Fixed,
            pass_max: Span::mins(120),
            pass_binding: PassBinding::None,
            pass_rotation: Span::mins(1),
            idle_timeout: Span::mins(3),
            claim_window: Span::mins(2),
            grace_reentry: Span::mins(5),
            poll: PollFile::default(),
            waiting_status: 200,
            page: None,
            on_store_down: OnStoreDown::Static,
            session_header: None,
            bypass: BypassFile::default(),
            opening: None,
            autotune: None,
        }
    }
}

/// `booking.holds`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldsKind {
    /// In this process; one backend only.
    #[default]
    Memory,
    /// In Redis, shared by any number of backends.
    Redis,
}

/// `[booking]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BookingFile {
    /// Address and port of the API.
    pub listen: String,
    /// `sqlite:usher.db`, `sqlite::memory:` or `postgres://…`.
    pub database: String,
    /// Where holds live.
    pub holds: HoldsKind,
    /// Redis for holds.
    pub redis_url: Option<String>,
    /// How long a hold lasts.
    pub hold_ttl: Span,
    /// The longest a hold can become by extension.
    pub hold_max: Span,
    /// Seats in one hold.
    pub hold_max_seats: usize,
    /// Tickets of one account for one event.
    pub tickets_per_account: u32,
    /// Buyers give tickets back until this long before the event begins.
    pub refund_before: Span,
    /// Percent of the price that is kept of a ticket given back.
    pub refund_fee_percent: u32,
    /// Proxies, the gate among them, whose `X-Forwarded-For` tells where a sign-in comes from.
    pub trusted_proxies: Vec<String>,
    /// Whether the gate's assertion is asked for.
    pub require_pass: bool,
    /// Keys that sign the gate's assertion: the gate's own keys.
    pub assertion_keys: Vec<String>,
    /// Key of the access tokens; made at start when unset.
    pub jwt_secret: Option<String>,
    /// The first administrator, made at start when missing.
    pub admin: Option<BookingAdminFile>,
    /// The card payment provider.
    pub toss: Option<TossFile>,
    /// The mail server.
    pub mail: Option<MailFile>,
    /// Kafka, in a build with the feature of that name.
    pub kafka: Option<KafkaFile>,
    /// Live maps.
    pub live: LiveFile,
}

impl Default for BookingFile {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9000".into(),
            database: "sqlite:usher.db".into(),
            holds: HoldsKind::Memory,
            redis_url: None,
            hold_ttl: Span::mins(7),
            hold_max: Span::mins(15),
            hold_max_seats: 8,
            tickets_per_account: 8,
            refund_before: Span::secs(0),
            refund_fee_percent: 0,
            trusted_proxies: vec!["127.0.0.0/8".into(), "::1".into()],
            require_pass: false,
            assertion_keys: Vec::new(),
            jwt_secret: None,
            admin: None,
            toss: None,
            mail: None,
            kafka: None,
            live: LiveFile::default(),
        }
    }
}

/// `[booking.live]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LiveFile {
    /// Sockets of one process.
    pub sockets: usize,
    /// Sockets of one address; 0 = as many as there are.
    pub sockets_per_address: usize,
    /// A peer that is silent for so long, pings included, is gone.
    pub idle_timeout: Span,
}

impl Default for LiveFile {
    fn default() -> Self {
        Self { sockets: 20_000, sockets_per_address: 0, idle_timeout: Span::secs(30) }
    }
}

/// `booking.admin`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookingAdminFile {
    /// Sign-in name.
    pub email: String,
    /// Sign-in password.
    pub password: String,
}

/// `[booking.toss]`
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TossFile {
    /// Where the provider's API is.
    #[serde(default = "toss_base_url")]
    pub base_url: String,
    /// The merchant's secret key.
    pub secret_key: String,
    /// How long one call may take before it is in doubt.
    #[serde(default = "toss_timeout")]
    pub timeout: Span,
    /// Whether captured payments of orders that the office does not know are
    /// given back; only where nobody else uses the same key. Otherwise they wait
    /// for a person, on `/api/payments/stuck`.
    #[serde(default)]
    pub refund_unknown: bool,
    /// Where the booking pages send a buyer to agree to a card payment, with `orderId`,
    /// `amount`, `orderName`, `successUrl` and `failUrl`; unset: the pages offer no cards.
    pub window: Option<String>,
}

fn toss_base_url() -> String {
    "https://api.tosspayments.com".into()
}

fn toss_timeout() -> Span {
    Span::secs(15)
}

impl std::fmt::Debug for TossFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TossFile").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// `[booking.mail]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MailFile {
    /// `smtp://user:password@host:port` (STARTTLS where the server has it, always before a
    /// password; `?tls=off` = never) or `smtps://…` (TLS from the first byte).
    pub smtp: String,
    /// Sender, such as `Tickets <tickets@example.com>`.
    pub from: String,
}

/// `[booking.kafka]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaFile {
    /// `host:port`, several with commas; no TLS.
    pub brokers: String,
    /// What names of topics and groups begin with.
    #[serde(default)]
    pub prefix: String,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// How lines look.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or per module: `"info,usher::gate=debug"`.
    pub level: String,
}

impl Default for LogFile {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}
