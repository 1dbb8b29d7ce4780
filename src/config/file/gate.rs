//! `[gate]`: the listener that faces the crowd.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

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
