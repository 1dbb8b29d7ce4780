//! What the written values of a `[[room]]` must mean, alone and beside other rooms.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Problems, networks};
use crate::config::file::{self, PassBinding};
use crate::config::{Bypass, Mode, Order, PageFile, Room};
use crate::domain::autotune::Limits;
use crate::domain::binding::Rotation;
use crate::domain::line::Settings;
use crate::domain::opening::Opening;
use crate::domain::time::Timestamp;

/// Bytes of a template.
const LARGEST_PAGE: usize = 64 * 1024;

pub(super) fn rooms(
    files: &[file::RoomFile],
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Vec<Arc<Room>> {
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
    let rotation = rotation(file, at, problems, warnings);
    if file.opening.is_some() && matches!(file.mode, Mode::Passthrough | Mode::Closed) {
        warnings.push(format!("room {:?}: opening has no effect with this mode", file.name));
    }
    problems.require(
        file.order != Order::Draw || file.opening.is_some(),
        format!("{at}.opening"),
        "expected opening = {at = …}: order = \"draw\" draws among those who are there at the opening",
    );
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
    let page = file.page.as_ref().and_then(|path| match page_file(path) {
        Ok(page) => Some(Arc::new(page)),
        Err(why) => {
            problems.require(false, format!("{at}.page"), why);
            None
        }
    });
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
        page,
        rotation,
        on_store_down: file.on_store_down,
        session_header,
        bypass: bypass(&file.bypass, at, problems),
        autotune: file.autotune.as_ref().map(|autotune| self::autotune(autotune, at, problems)),
    })
}

/// A template as it is on the disk; the gate judges what is in it.
fn page_file(path: &Path) -> Result<PageFile, String> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|why| format!("expected a template file, found none at {name}: {why}"))?;
    if text.len() > LARGEST_PAGE {
        return Err(format!("expected a template of at most 64 KB, found {} bytes in {name}", text.len()));
    }
    Ok(PageFile { path: path.to_owned(), text })
}

/// A header that alone is a visitor's identity has no copies: it names one visitor
/// wherever it is sent from.
fn rotation(
    file: &file::RoomFile,
    at: &str,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Option<Rotation> {
    if file.pass_binding != PassBinding::Rotate {
        return None;
    }
    let (least, most) = (file::Span(Duration::from_secs(1)), file.pass_max);
    problems.require(
        file.pass_rotation >= least && file.pass_rotation <= most,
        format!("{at}.pass_rotation"),
        format!("expected \"{least}\" to pass_max = \"{most}\", found \"{}\"", file.pass_rotation),
    );
    if file.session_header.is_some() {
        let what = "pass_binding = \"rotate\" has no effect with session_header";
        warnings.push(format!("room {:?}: {what}", file.name));
        return None;
    }
    Some(Rotation { every: file.pass_rotation.0 })
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
        // What is counted is who would have had to wait.
        overflow: matches!(file.mode, Mode::Overflow | Mode::Shadow),
        autotune: file.autotune.is_some(),
        draw: file.order == Order::Draw,
        opening: file.opening.as_ref().and_then(|opening| self::opening(opening, at, problems)),
    }
}

fn autotune(file: &file::AutotuneFile, at: &str, problems: &mut Problems) -> Limits {
    problems.require(
        file.p95.is_some() || file.errors.is_some(),
        format!("{at}.autotune"),
        "expected p95, errors or both",
    );
    if let Some(p95) = file.p95 {
        problems.require(!p95.0.is_zero(), format!("{at}.autotune.p95"), "expected more than \"0s\"");
    }
    if let Some(errors) = file.errors {
        problems.require(
            (0.0..1.0).contains(&errors),
            format!("{at}.autotune.errors"),
            format!("expected a share of 0 or more and below 1, found {errors}"),
        );
    }
    Limits { p95: file.p95.map(|span| span.0), errors: file.errors }
}

/// Without `prequeue` nobody gathers: the line begins when the doors open.
fn opening(file: &file::OpeningFile, at: &str, problems: &mut Problems) -> Option<Opening> {
    let opens_at =
        file.at.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let Some(ms) = opens_at else {
        problems.add(
            format!("{at}.opening.at"),
            format!(
                "expected an instant with its offset such as \"2026-12-01T10:00:00+09:00\", found {:?}",
                file.at
            ),
        );
        return None;
    };
    let at = Timestamp::from_millis(ms);
    Some(Opening { at, gather_from: at - file.prequeue.map_or(Duration::ZERO, |span| span.0) })
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
