//! The settings file as people write it.
//!
//! Every key is here, with its default. Nothing else reads this shape:
//! [`super::Config`] is what code uses.

mod booking;
mod gate;
mod room;

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use booking::{BookingAdminFile, BookingFile, HoldsKind, KafkaFile, LiveFile, MailFile, TossFile};
pub use gate::{GateFile, KeysFile, LimitsFile, TlsFile};
pub use room::{
    AutotuneFile, BypassFile, Mode, OnStoreDown, OpeningFile, Order, PassBinding, PassRenewal, PollFile,
    RoomFile,
};

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
