//! `[booking]`: the office, and whom it deals with.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

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

impl fmt::Debug for TossFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
