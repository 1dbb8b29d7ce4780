//! What the written values must mean, alone and together.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;

use super::file::{self, File, HoldsKind, PassBinding, StoreKind};
use super::{
    Admin, Booking, Bypass, Config, Gate, Kafka, Keys, Limits, Log, Mail, Mode, Order, Room, Store, Tls, Toss,
};
use crate::domain::line::Settings;

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
        rooms: rooms(&file.room, &mut problems, &mut warnings),
        booking: booking(&file.booking, &mut problems),
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
    let tls = file.tls.as_ref().map(|tls| {
        for (key, path) in [("gate.tls.cert", &tls.cert), ("gate.tls.key", &tls.key)] {
            problems.require(
                path.is_file(),
                key,
                format!("expected a PEM file, found none at {}", path.display()),
            );
        }
        Tls { cert: tls.cert.clone(), key: tls.key.clone() }
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

fn rooms(files: &[file::RoomFile], problems: &mut Problems, warnings: &mut Vec<String>) -> Vec<Arc<Room>> {
    let mut names = HashMap::new();
    let mut sites = HashMap::new();
    let mut rooms = Vec::with_capacity(files.len());
    for (i, file) in files.iter().enumerate() {
        if let Some(first) = names.insert(file.name.clone(), i) {
            problems.add(
                format!("room[{i}].name"),
                format!("expected another name, room[{first}] has {:?}", file.name),
            );
        }
        let Some(room) = room(file, &format!("room[{i}]"), problems, warnings) else { continue };
        for host in &room.hosts {
            for path in &room.paths {
                if let Some(first) = sites.insert((host.clone(), path.clone()), i)
                    && first != i
                {
                    problems.add(
                        format!("room[{i}].paths"),
                        format!("expected other hosts or paths, room[{first}] already protects {path:?} of {host:?}"),
                    );
                }
            }
        }
        rooms.push(Arc::new(room));
    }
    rooms
}

fn room(
    file: &file::RoomFile,
    at: &str,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Option<Room> {
    let name = match file.name.parse() {
        Ok(name) => name,
        Err(why) => {
            problems.add(format!("{at}.name"), format!("{why}, found {:?}", file.name));
            return None;
        }
    };
    not_yet(file, warnings);
    problems.require(
        !file.hosts.is_empty(),
        format!("{at}.hosts"),
        "expected at least one host; \"*\" is any",
    );
    problems.require(
        !file.paths.is_empty(),
        format!("{at}.paths"),
        "expected at least one path; \"/\" is all",
    );
    problems.require(
        !file.upstreams.is_empty(),
        format!("{at}.upstreams"),
        "expected at least one upstream such as \"http://127.0.0.1:3000\"",
    );
    for (key, path) in file.go.iter().map(|path| ("go".to_owned(), path)) {
        problems.require(
            local_path(path),
            format!("{at}.{key}"),
            format!("expected a path on this site such as \"/shop\", found {path:?}"),
        );
    }
    if let Some(page) = &file.page {
        problems.require(
            page.is_file(),
            format!("{at}.page"),
            format!("expected a template file, found none at {}", page.display()),
        );
    }
    problems.require(
        (200..=599).contains(&file.waiting_status)
            && file.waiting_status != 204
            && file.waiting_status != 304,
        format!("{at}.waiting_status"),
        format!("expected a status that carries a page, 200 to 599, found {}", file.waiting_status),
    );
    problems.require(
        file.poll.min <= file.poll.max,
        format!("{at}.poll.min"),
        format!("expected at most poll.max = \"{}\", found \"{}\"", file.poll.max, file.poll.min),
    );
    problems.require(
        file.poll.max.0 >= Duration::from_millis(100),
        format!("{at}.poll.max"),
        "expected at least \"100ms\"",
    );
    let session_header = file.session_header.as_ref().and_then(|header| {
        let name = http::HeaderName::from_bytes(header.as_bytes());
        problems.require(
            name.is_ok(),
            format!("{at}.session_header"),
            format!("expected a header name, found {header:?}"),
        );
        name.ok()
    });
    Some(Room {
        name,
        hosts: hosts(&file.hosts, at, problems),
        paths: paths(&file.paths, &format!("{at}.paths"), problems),
        upstreams: upstreams(&file.upstreams, at, problems),
        go: file.go.clone(),
        order: file.order,
        mode: file.mode,
        line: line(file, at, problems),
        pass_renewal: file.pass_renewal,
        poll_min: file.poll.min.0,
        poll_max: file.poll.max.0,
        waiting_status: file.waiting_status,
        page: file.page.clone(),
        on_store_down: file.on_store_down,
        session_header,
        bypass: bypass(&file.bypass, at, problems),
    })
}

/// Keys that are part of the format but do not act yet: said, never silent.
fn not_yet(file: &file::RoomFile, warnings: &mut Vec<String>) {
    let pairs = [
        (file.order == Order::Draw, "order = \"draw\" (the line is first come, first served)"),
        (file.mode == Mode::Shadow, "mode = \"shadow\" (everybody is forwarded, nothing is counted)"),
        (file.pass_binding == PassBinding::Rotate, "pass_binding = \"rotate\" (passes are not bound)"),
        (file.opening.is_some(), "opening (the doors are open at once)"),
        (file.autotune.is_some(), "autotune (limits stay as set)"),
        (file.page.is_some(), "page (the built-in page is shown)"),
    ];
    for (set, what) in pairs {
        if set {
            warnings.push(format!("room {:?}: not acted on yet: {what}", file.name));
        }
    }
}

fn line(file: &file::RoomFile, at: &str, problems: &mut Problems) -> Settings {
    let mut least = |key: &str, value: u64, least: u64| {
        problems.require(
            value >= least,
            format!("{at}.{key}"),
            format!("expected at least {least}, found {value}"),
        );
    };
    least("capacity", file.capacity, 1);
    least("batch", file.batch, 1);
    let spans = [
        ("tick", file.tick, 50),
        ("pass_ttl", file.pass_ttl, 1_000),
        ("idle_timeout", file.idle_timeout, 1_000),
        ("claim_window", file.claim_window, 1_000),
    ];
    for (key, span, least_ms) in spans {
        let least = Duration::from_millis(least_ms);
        problems.require(
            span.0 >= least && span.0 <= Duration::from_secs(7 * 24 * 3600),
            format!("{at}.{key}"),
            format!("expected \"{}\" to \"7days\", found \"{span}\"", file::Span(least)),
        );
    }
    problems.require(
        file.claim_window <= file.pass_ttl,
        format!("{at}.claim_window"),
        format!("expected at most pass_ttl = \"{}\", found \"{}\"", file.pass_ttl, file.claim_window),
    );
    problems.require(
        file.pass_max >= file.pass_ttl,
        format!("{at}.pass_max"),
        format!("expected at least pass_ttl = \"{}\", found \"{}\"", file.pass_ttl, file.pass_max),
    );
    problems.require(
        file.tick <= file.idle_timeout,
        format!("{at}.tick"),
        format!("expected at most idle_timeout = \"{}\", found \"{}\"", file.idle_timeout, file.tick),
    );
    Settings {
        capacity: file.capacity,
        batch: file.batch,
        tick: file.tick.0,
        rate_per_minute: (file.rate_per_minute > 0).then_some(file.rate_per_minute),
        max_waiting: (file.max_waiting > 0).then_some(file.max_waiting),
        pass_ttl: file.pass_ttl.0,
        pass_max: file.pass_max.0,
        idle_timeout: file.idle_timeout.0,
        claim_window: file.claim_window.0,
        grace_reentry: file.grace_reentry.0,
        paused: false,
        closed: file.mode == Mode::Closed,
        draining: false,
        overflow: file.mode == Mode::Overflow,
    }
}

/// Hosts as the gate compares them: in lower case, IPv6 without brackets.
fn hosts(texts: &[String], at: &str, problems: &mut Problems) -> Vec<String> {
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let host = host(text);
            problems.require(
                host.is_some(),
                format!("{at}.hosts[{i}]"),
                format!("expected a host name without a port, \"*\" or \"*.example.com\", found {text:?}"),
            );
            host.unwrap_or_else(|| text.clone())
        })
        .collect()
}

fn host(text: &str) -> Option<String> {
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = address.parse::<std::net::Ipv6Addr>() {
        return Some(address.to_string());
    }
    let host = text.to_ascii_lowercase();
    let plain = host.strip_prefix("*.").unwrap_or(&host);
    let is_name =
        !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    (host == "*" || is_name).then_some(host)
}

fn paths(texts: &[String], key: &str, problems: &mut Problems) -> Vec<String> {
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| {
            problems.require(
                local_path(text) && !text.contains(['?', '#']) && crate::domain::target::is_plain(text),
                format!("{key}[{i}]"),
                format!("expected a plain path such as \"/shop\", found {text:?}"),
            );
            match text.trim_end_matches('/') {
                "" => "/".to_owned(),
                trimmed => trimmed.to_owned(),
            }
        })
        .collect()
}

/// Whether `text` is a path on this site and nothing else.
fn local_path(text: &str) -> bool {
    crate::domain::target::is_local(text)
}

fn upstreams(texts: &[String], at: &str, problems: &mut Problems) -> Vec<String> {
    texts
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let parsed = upstream(text);
            problems.take(parsed, &format!("{at}.upstreams[{i}]"), String::new)
        })
        .collect()
}

/// `host:port` of `http://host[:port]`.
fn upstream(text: &str) -> Result<String, String> {
    let expected = || format!("expected \"http://host:port\", found {text:?}");
    if text.starts_with("https://") {
        return Err(format!(
            "expected \"http://host:port\": TLS towards the app is not supported, found {text:?}"
        ));
    }
    let rest = text.strip_prefix("http://").ok_or_else(expected)?;
    let authority: http::uri::Authority =
        rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| expected())?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(expected());
    }
    Ok(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

fn bypass(file: &file::BypassFile, at: &str, problems: &mut Problems) -> Bypass {
    let header = file.header.as_ref().and_then(|text| {
        let pair = text
            .split_once(':')
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, value)| {
                http::HeaderName::from_bytes(name.as_bytes()).is_ok() && !value.is_empty()
            });
        problems.require(pair.is_some(), format!("{at}.bypass.header"), "expected \"Name: value\"");
        pair
    });
    Bypass {
        paths: paths(&file.paths, &format!("{at}.bypass.paths"), problems),
        addresses: networks(&file.addresses, &format!("{at}.bypass.addresses"), problems),
        header,
    }
}

fn booking(file: &file::BookingFile, problems: &mut Problems) -> Booking {
    problems.require(
        ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| file.database.starts_with(scheme)),
        "booking.database",
        format!("expected \"sqlite:FILE\" or \"postgres://…\", found {:?}", file.database),
    );
    let redis = file.holds == HoldsKind::Redis;
    if redis && let Err(why) = redis_url(file.redis_url.as_deref().unwrap_or_default()) {
        problems.add("booking.redis_url", why);
    }
    problems.require(
        file.hold_ttl.0 >= Duration::from_secs(1),
        "booking.hold_ttl",
        "expected at least \"1s\"",
    );
    problems.require(
        file.hold_max >= file.hold_ttl,
        "booking.hold_max",
        format!("expected at least hold_ttl = \"{}\", found \"{}\"", file.hold_ttl, file.hold_max),
    );
    problems.require((1..=100).contains(&file.hold_max_seats), "booking.hold_max_seats", "expected 1 to 100");
    problems.require(file.tickets_per_account >= 1, "booking.tickets_per_account", "expected at least 1");
    problems.require(file.refund_fee_percent <= 100, "booking.refund_fee_percent", "expected 0 to 100");
    let assertion_keys = file
        .assertion_keys
        .iter()
        .enumerate()
        .map(|(i, text)| problems.take(key(text), &format!("booking.assertion_keys[{i}]"), || [0; 32]))
        .collect::<Vec<_>>();
    problems.require(
        !file.require_pass || !assertion_keys.is_empty(),
        "booking.assertion_keys",
        "expected the gate's keys, because require_pass = true",
    );
    Booking {
        listen: listen(&file.listen, "booking.listen", problems),
        database: file.database.clone(),
        redis_url: file.redis_url.clone().filter(|_| redis),
        hold_ttl: file.hold_ttl.0,
        hold_max: file.hold_max.0,
        hold_max_seats: file.hold_max_seats,
        tickets_per_account: file.tickets_per_account,
        refund_before: file.refund_before.0,
        refund_fee_percent: file.refund_fee_percent,
        trusted_proxies: networks(&file.trusted_proxies, "booking.trusted_proxies", problems),
        require_pass: file.require_pass,
        assertion_keys,
        jwt_secret: file.jwt_secret.clone(),
        admin: file.admin.as_ref().map(|a| (a.email.clone(), a.password.clone())),
        toss: file.toss.as_ref().map(|file| toss(file, problems)),
        mail: file.mail.as_ref().map(|file| mail(file, problems)),
        kafka: file.kafka.as_ref().map(|file| kafka(file, problems)),
    }
}

fn kafka(file: &file::KafkaFile, problems: &mut Problems) -> Kafka {
    problems.require(
        cfg!(feature = "kafka"),
        "booking.kafka",
        "expected a build with Kafka: cargo build --features kafka",
    );
    let broker = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    problems.require(
        file.brokers.split(',').all(broker),
        "booking.kafka.brokers",
        format!("expected \"host:9092\" or several with commas, found {:?}", file.brokers),
    );
    problems.require(
        file.prefix.len() <= 200
            && file.prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        "booking.kafka.prefix",
        format!("expected at most 200 of a-z, A-Z, 0-9, \".\", \"_\" and \"-\", found {:?}", file.prefix),
    );
    Kafka { brokers: file.brokers.clone(), prefix: file.prefix.clone() }
}

fn mail(file: &file::MailFile, problems: &mut Problems) -> Mail {
    // The address holds a password: a message must not repeat it.
    problems.require(
        is_smtp(&file.smtp),
        "booking.mail.smtp",
        "expected \"smtp://user:password@host:587\" or \"smtps://…\", without TLS \"smtp://host:25?tls=off\"",
    );
    problems.require(
        file.from.parse::<lettre::message::Mailbox>().is_ok(),
        "booking.mail.from",
        format!("expected a sender such as \"Tickets <tickets@example.com>\", found {:?}", file.from),
    );
    Mail { smtp: file.smtp.clone(), from: file.from.clone() }
}

fn is_smtp(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let Some(authority) = url.authority() else { return false };
    let server = authority.as_str().rsplit('@').next().unwrap_or_default();
    let port = server.strip_prefix(authority.host()).unwrap_or(server);
    matches!(url.scheme_str(), Some("smtp" | "smtps"))
        && !authority.host().is_empty()
        && (port.is_empty() || authority.port_u16().is_some())
        && matches!(url.path(), "" | "/")
        && matches!(url.query(), None | Some("tls=off"))
}

fn toss(file: &file::TossFile, problems: &mut Problems) -> Toss {
    let base = file.base_url.trim_end_matches('/');
    let good = base.parse::<http::Uri>().is_ok_and(|uri| {
        let host = uri.host().unwrap_or_default();
        let here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let scheme = uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && here);
        scheme && uri.path() == "/" && !base.contains(['@', '?', '#'])
    });
    problems.require(
        good,
        "booking.toss.base_url",
        "expected \"https://host\"; http:// only on this machine, because the key goes along".to_owned(),
    );
    problems.require(
        !file.secret_key.is_empty() && file.secret_key.bytes().all(|b| b.is_ascii_graphic() && b != b':'),
        "booking.toss.secret_key",
        "expected visible characters without a colon",
    );
    problems.require(
        (Duration::from_secs(1)..=Duration::from_secs(15)).contains(&file.timeout.0),
        "booking.toss.timeout",
        format!("expected \"1s\" to \"15s\", found \"{}\"", file.timeout),
    );
    Toss {
        base_url: base.to_owned(),
        secret_key: file.secret_key.clone(),
        timeout: file.timeout.0,
        refund_unknown: file.refund_unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_goes_out_over_tls_or_stays_on_this_machine() {
        let problems = |base_url: &str| {
            let mut problems = Problems::default();
            let file = format!("base_url = {base_url:?}\nsecret_key = \"k\"");
            toss(&toml::from_str(&file).expect("valid"), &mut problems);
            problems.0.len()
        };
        for good in
            ["https://api.tosspayments.com", "https://a.test/", "http://127.0.0.1:9001", "http://[::1]:1"]
        {
            assert_eq!(problems(good), 0, "{good}");
        }
        for bad in
            ["http://api.tosspayments.com", "ftp://127.0.0.1", "https://k@a.test", "https://a.test/v1", "x"]
        {
            assert_eq!(problems(bad), 1, "{bad}");
        }
    }

    #[test]
    fn a_host_is_kept_as_the_gate_compares_it_and_has_no_port() {
        for (text, kept) in [
            ("*", "*"),
            ("*.B.test", "*.b.test"),
            ("T.test", "t.test"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(text).as_deref(), Some(kept));
        }
        for text in ["", "t.test:8080", "[::1]:80", "[t.test]", "*.", "t.test/x", "127.0.0.1:80"] {
            assert_eq!(host(text), None, "{text}");
        }
    }

    #[test]
    fn a_mail_server_is_named_by_its_url_and_never_repeated() {
        for url in ["smtp://h", "smtp://u:p@h:587", "smtps://u:p@h", "smtp://h:25?tls=off", "smtp://[::1]:25"]
        {
            assert!(is_smtp(url), "{url}");
        }
        for url in ["", "h:25", "http://h", "smtp://", "smtp://h/x", "smtp://h?tls=maybe", "smtp://h:x"] {
            assert!(!is_smtp(url), "{url}");
        }
        let mut problems = Problems::default();
        let file = file::MailFile { smtp: "http://u:s3cret@h".into(), from: "nobody".into() };
        let _ = mail(&file, &mut problems);
        assert_eq!(problems.0.len(), 2);
        assert!(!format!("{:?}", problems.0).contains("s3cret"));
    }

    #[test]
    fn kafka_needs_a_build_that_has_it() {
        let found = |brokers: &str, prefix: &str| {
            let mut problems = Problems::default();
            let _ = kafka(&file::KafkaFile { brokers: brokers.into(), prefix: prefix.into() }, &mut problems);
            problems
                .0
                .into_iter()
                .map(|(key, _)| key)
                .filter(|key| key != "booking.kafka")
                .collect::<Vec<_>>()
        };
        assert!(found("a:9092,b:9092", "sale-").is_empty());
        assert_eq!(found("a:9092,", "a b"), ["booking.kafka.brokers", "booking.kafka.prefix"]);
        let mut problems = Problems::default();
        let _ = kafka(&file::KafkaFile { brokers: "a:1".into(), prefix: String::new() }, &mut problems);
        assert_eq!(problems.0.is_empty(), cfg!(feature = "kafka"));
    }
}
