//! `[[room]]`: a protected site with its line.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

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
