//! What the written values must mean, alone and together.

mod booking;
mod rooms;

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

use super::file::{self, File, StoreKind};
use super::{Admin, Config, Gate, Keys, Limits, Log, Store, Tls};

/// A key such as `room[0].batch`, and what was expected of it.
type Found = (String, String);

/// Gathers problems instead of stopping at the first.
#[derive(Default)]
struct Problems(Vec<Found>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, expected: impl Into<String>) {
        self.0.push((key.into(), expected.into()));
    }

    fn require(&mut self, holds: bool, key: impl Into<String>, expected: impl Into<String>) {
        if !holds {
            self.add(key, expected);
        }
    }

    /// The value, or a note of the problem and `fallback`.
    fn take<T, E: std::fmt::Display>(
        &mut self,
        result: Result<T, E>,
        key: &str,
        fallback: impl FnOnce() -> T,
    ) -> T {
        result.unwrap_or_else(|why| {
            self.add(key, why.to_string());
            fallback()
        })
    }
}

pub(super) fn check(file: &File) -> Result<Config, Vec<Found>> {
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let config = Config {
        gate: gate(&file.gate, &mut problems),
        admin: admin(&file.admin, &mut problems),
        store: store(&file.store, &mut problems),
        rooms: rooms::rooms(&file.room, &mut problems, &mut warnings),
        booking: booking::booking(&file.booking, &mut problems),
        log: Log { format: file.log.format, level: file.log.level.clone() },
        warnings,
    };
    if problems.0.is_empty() { Ok(config) } else { Err(problems.0) }
}

fn listen(text: &str, key: &str, problems: &mut Problems) -> SocketAddr {
    let parsed = text
        .parse()
        .map_err(|_| format!("expected an address and port such as \"0.0.0.0:8080\", found {text:?}"));
    problems.take(parsed, key, || SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn networks(texts: &[String], key: &str, problems: &mut Problems) -> Vec<IpNet> {
    let mut networks = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => problems.add(
                format!("{key}[{i}]"),
                format!("expected an address or network such as \"10.0.0.0/8\", found {text:?}"),
            ),
        }
    }
    networks
}

/// Decodes a signing key: 32 bytes in unpadded base64url.
///
/// # Errors
/// What was expected.
pub fn key(text: &str) -> Result<[u8; 32], String> {
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| "expected a key as printed by `usher keys new`: 32 bytes in base64url".to_owned())
}

fn gate(file: &file::GateFile, problems: &mut Problems) -> Gate {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = file.threads.unwrap_or(cores);
    problems.require((1..=1024).contains(&threads), "gate.threads", "expected 1 to 1024");
    let tls = file.tls.as_ref().and_then(|tls| {
        Tls::read(&tls.cert, &tls.key).map_err(|(key, expected)| problems.add(key, expected)).ok()
    });
    if let Some(url) = &file.public_url {
        let ok = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        problems.require(
            ok.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '?', '#', ' '])),
            "gate.public_url",
            format!("expected a scheme and host such as \"https://tickets.example\", found {url:?}"),
        );
    }
    Gate {
        listen: listen(&file.listen, "gate.listen", problems),
        threads,
        trusted_proxies: networks(&file.trusted_proxies, "gate.trusted_proxies", problems),
        tls,
        public_url: file.public_url.clone(),
        drain_delay: file.drain_delay.0,
        stop_timeout: file.stop_timeout.0,
        limits: limits(&file.limits, problems),
        keys: keys(&file.keys, problems),
        key_file: None,
    }
}

fn limits(file: &file::LimitsFile, problems: &mut Problems) -> Limits {
    problems.require(
        (8_192..=1_048_576).contains(&file.head_bytes),
        "gate.limits.head_bytes",
        format!("expected 8192 to 1048576, found {}", file.head_bytes),
    );
    problems.require(
        (8..=4096).contains(&file.headers),
        "gate.limits.headers",
        format!("expected 8 to 4096, found {}", file.headers),
    );
    for (key, span) in [
        ("head_timeout", file.head_timeout),
        ("idle_timeout", file.idle_timeout),
        ("connect_timeout", file.connect_timeout),
        ("first_byte_timeout", file.first_byte_timeout),
    ] {
        problems.require(!span.0.is_zero(), format!("gate.limits.{key}"), "expected more than 0s");
    }
    problems.require(
        file.connections != Some(0),
        "gate.limits.connections",
        "expected at least 1; leave it out for no limit",
    );
    Limits {
        head_bytes: file.head_bytes,
        headers: file.headers,
        head_timeout: file.head_timeout.0,
        body_bytes: file.body_bytes,
        idle_timeout: file.idle_timeout.0,
        connect_timeout: file.connect_timeout.0,
        first_byte_timeout: file.first_byte_timeout.0,
        requests_per_connection: (file.requests_per_connection > 0).then_some(file.requests_per_connection),
        connections: file.connections,
        connections_per_address: (file.connections_per_address > 0).then_some(file.connections_per_address),
        joins_per_minute_per_address: (file.joins_per_minute_per_address > 0)
            .then_some(file.joins_per_minute_per_address),
    }
}

fn keys(file: &file::KeysFile, problems: &mut Problems) -> Option<Keys> {
    if file.current.is_none() && file.previous.is_some() {
        problems.add("gate.keys.previous", "expected gate.keys.current beside it");
    }
    let current = file.current.as_deref()?;
    let current = problems.take(key(current), "gate.keys.current", || [0; 32]);
    let previous =
        file.previous.as_deref().map(|text| problems.take(key(text), "gate.keys.previous", || [0; 32]));
    Some(Keys { current, previous })
}

fn admin(file: &file::AdminFile, problems: &mut Problems) -> Admin {
    let listen = listen(&file.listen, "admin.listen", problems);
    problems.require(
        file.token.is_some() || listen.ip().is_loopback(),
        "admin.token",
        format!("expected a token, because admin.listen = \"{listen}\" is not a loopback address"),
    );
    problems.require(
        file.token.as_ref().is_none_or(|token| !token.is_empty()),
        "admin.token",
        "expected a token that is not empty",
    );
    Admin { listen, token: file.token.clone() }
}

fn store(file: &file::StoreFile, problems: &mut Problems) -> Store {
    match file.kind {
        StoreKind::Memory => Store::Memory,
        StoreKind::Redis => {
            let url = file.url.clone().unwrap_or_default();
            if let Err(why) = crate::config::check::redis_url(&url) {
                problems.add("store.url", why);
            }
            problems.require(
                !file.prefix.is_empty() && !file.prefix.contains(['{', '}']),
                "store.prefix",
                "expected a text that is not empty and without { and }",
            );
            Store::Redis { url, prefix: file.prefix.clone() }
        }
    }
}

fn redis_url(url: &str) -> Result<(), String> {
    const SCHEMES: [&str; 3] = ["redis://", "redis+sentinel://", "redis+cluster://"];
    if SCHEMES.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
        return Ok(());
    }
    Err(format!(
        "expected \"redis://host:6379/0\", \"redis+sentinel://a:26379,b:26379/NAME\" or \
         \"redis+cluster://a:6379,b:6379\", found {url:?}"
    ))
}
