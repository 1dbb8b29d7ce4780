//! What crosses the gate and what ends at it: fields of requests and answers,
//! cookies, and the app's words to the gate.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, ETAG, EXPIRES, HOST, LAST_MODIFIED,
    SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::request::connection_tokens;
use super::visitor::is_gate_cookie;

/// Removes from a request what the app must not see from a visitor.
pub(super) fn strip_request(parts: &mut Parts) {
    let named: Vec<HeaderName> = connection_tokens(&parts.headers)
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != AUTHORIZATION && *name != COOKIE && *name != HOST && *name != CONTENT_LENGTH)
        .collect();
    let ours: Vec<HeaderName> =
        parts.headers.keys().filter(|name| ends_here(name.as_str())).cloned().collect();
    for name in named.iter().chain(&ours) {
        parts.headers.remove(name);
    }
    strip_cookies(&mut parts.headers);
}

/// Whether a request's field ends at the gate; `name` in lower case.
pub(super) fn ends_here(name: &str) -> bool {
    is_hops_or_ours(name)
        || name == TRANSFER_ENCODING.as_str()
        // What a CGI-like app would read as one of the above.
        || (name.contains('_') && is_hops_or_ours(&name.replace('_', "-")))
}

fn is_hops_or_ours(name: &str) -> bool {
    matches!(
        name,
        // Of one hop (RFC 9110 7.6.1), and those that end here.
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "upgrade"
            | "http2-settings"
            | "expect"
            // Where a request came from is ours to say.
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-real-ip"
            | "forwarded"
            | "x-request-id"
    ) || name.starts_with("usher-")
}

/// Takes the gate's cookies out of a request; the others stay as they were,
/// in one line even when HTTP/2 sent them in several (RFC 9113 8.2.3).
fn strip_cookies(headers: &mut HeaderMap) {
    let mut kept = Vec::new();
    if !keep_cookies(|| headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes), &mut kept) {
        return;
    }
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(kept))
    {
        headers.insert(COOKIE, value);
    }
}

/// Writes the cookies that are not the gate's; `false` = nothing is to be left
/// out of the one line there is, or there is none.
pub(super) fn keep_cookies<'a, L>(lines: impl Fn() -> L, out: &mut Vec<u8>) -> bool
where
    L: Iterator<Item = &'a [u8]>,
{
    let pairs = || lines().flat_map(|line| line.split(|&b| b == b';')).map(<[u8]>::trim_ascii);
    let own =
        |pair: &&[u8]| is_gate_cookie(pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii());
    if lines().count() < 2 && !pairs().any(|pair| own(&pair)) {
        return false;
    }
    let start = out.len();
    for pair in pairs().filter(|pair| !pair.is_empty() && !own(pair)) {
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
    }
    true
}

/// What the app asks of the gate in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Complete,
    Extend(Duration),
    Requeue,
    SoldOut,
    Open,
}

/// The app's commands to the gate; ones it does not know are ignored.
pub(super) fn commands(headers: &HeaderMap) -> Vec<Command> {
    let tokens = headers.get_all("usher-command").iter().filter_map(|line| line.to_str().ok());
    tokens.flat_map(|line| line.split(',')).filter_map(|token| parse_command(token.trim())).collect()
}

fn parse_command(token: &str) -> Option<Command> {
    Some(match token {
        "complete" => Command::Complete,
        "requeue" => Command::Requeue,
        "sold-out" => Command::SoldOut,
        "open" => Command::Open,
        _ => Command::Extend(Duration::from_secs(token.strip_prefix("extend=")?.parse::<u32>().ok()?.into())),
    })
}

/// How much the app says is left; the last of several, nothing if it is no number.
pub(super) fn stock(headers: &HeaderMap) -> Option<u64> {
    let said = headers.get_all("usher-stock").iter().next_back()?.to_str().ok()?.trim();
    // `parse` would take a sign.
    said.parse().ok().filter(|_| said.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a cache might keep an answer: it says how long it is good, and not that it
/// is one visitor's alone.
pub(super) fn may_be_kept(headers: &HeaderMap) -> bool {
    let says = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut words = says.flat_map(|value| value.split(',')).map(str::trim);
    let is_own = words.any(|word| ["no-store", "private"].iter().any(|own| word.eq_ignore_ascii_case(own)));
    let told = [CACHE_CONTROL, EXPIRES, ETAG, LAST_MODIFIED];
    !is_own && told.iter().any(|name| headers.contains_key(name))
}

/// Removes from an answer what ends at the gate: one hop's headers, the app's
/// words to the gate, and cookies that only the gate may set.
pub(super) fn strip_response(status: StatusCode, headers: &mut HeaderMap) {
    let upgraded = status == StatusCode::SWITCHING_PROTOCOLS;
    let named: Vec<HeaderName> = connection_tokens(headers)
        .map(<[u8]>::trim_ascii)
        // What nearly every answer says; it goes with its own name below.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| *name != CONTENT_LENGTH && *name != SET_COOKIE)
        .filter(|name| !(upgraded && *name == UPGRADE))
        .collect();
    // A look at each name there is costs less than a search for each that may be.
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| answer_ends_here(name.as_str()) && !(upgraded && **name == UPGRADE))
        .cloned()
        .collect();
    for name in named.iter().chain(&ours) {
        headers.remove(name);
    }
    if upgraded {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    strip_set_cookies(headers);
}

/// Whether an answer's field ends at the gate; `name` in lower case.
pub(super) fn answer_ends_here(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "expect"
            | "upgrade"
            | "proxy-connection"
            | "proxy-authenticate"
            | "usher-command"
            | "usher-stock"
    )
}

fn strip_set_cookies(headers: &mut HeaderMap) {
    let own = |line: &HeaderValue| is_own_cookie_line(line.as_bytes());
    if headers.get_all(SET_COOKIE).iter().any(own) {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|line| !own(line)).cloned().collect();
        headers.remove(SET_COOKIE);
        for line in kept {
            headers.append(SET_COOKIE, line);
        }
    }
}

/// Whether a `Set-Cookie` is of a cookie that only the gate may set.
pub(super) fn is_own_cookie_line(line: &[u8]) -> bool {
    is_gate_cookie(line.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_app_sees_nothing_that_ends_at_the_gate() {
        let mut parts = parts(&[
            ("usher-visitor", "1"),
            ("usher_visitor", "1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("connection", "keep-alive, x-own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("keep-alive", "5"),
            ("proxy-authorization", "x"),
            ("http2-settings", "x"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b; usher_pass=x; __Host-usher_visitor_vip=y;c=d"),
        ]);
        strip_request(&mut parts);
        let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "cookie"]);
        assert_eq!(parts.headers[COOKIE], "a=b; c=d");
    }

    #[test]
    fn a_cookie_line_without_the_gates_cookies_stays_byte_for_byte() {
        let mut parts = parts(&[("cookie", "a=b;  c=\"d e\";")]);
        strip_request(&mut parts);
        assert_eq!(parts.headers[COOKIE], "a=b;  c=\"d e\";");
    }

    #[test]
    fn cookies_in_several_lines_reach_the_app_in_one() {
        let mut parts = parts(&[("cookie", "a=b"), ("cookie", "c=\"d e\""), ("cookie", "e=f; g=h")]);
        strip_request(&mut parts);
        let lines: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
        assert_eq!(lines, ["a=b; c=\"d e\"; e=f; g=h"]);
    }

    #[test]
    fn an_answer_may_be_kept_unless_it_says_otherwise_or_nothing() {
        let kept = |fields: &[(&'static str, &'static str)]| {
            let line = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            may_be_kept(&fields.iter().map(line).collect())
        };
        assert!(kept(&[("cache-control", "public, max-age=600")]) && kept(&[("etag", "\"1\"")]));
        assert!(!kept(&[]) && !kept(&[("content-type", "text/html")]));
        assert!(!kept(&[("cache-control", "max-age=60, Private"), ("etag", "\"1\"")]));
        assert!(!kept(&[("cache-control", "no-store"), ("expires", "0")]));
    }

    #[test]
    fn the_app_cannot_mint_the_gates_cookies() {
        let mut headers = HeaderMap::new();
        for line in ["a=b", "__Host-usher_pass=x; Path=/", "usher_place=y"] {
            headers.append(SET_COOKIE, HeaderValue::from_static(line));
        }
        headers.insert("usher-command", HeaderValue::from_static("complete"));
        strip_response(StatusCode::OK, &mut headers);
        assert_eq!(headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b"]);
        assert!(!headers.contains_key("usher-command"));
    }

    #[test]
    fn commands_are_read_in_order_and_unknown_ones_ignored() {
        let mut headers = HeaderMap::new();
        headers.append("usher-command", HeaderValue::from_static("extend=90, dance"));
        headers.append("usher-command", HeaderValue::from_static("complete"));
        assert_eq!(commands(&headers), [Command::Extend(Duration::from_secs(90)), Command::Complete]);
        assert_eq!(parse_command("extend=-1"), None);
    }

    #[test]
    fn stock_is_a_number_or_nothing() {
        let said = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("usher-stock", HeaderValue::from_static(value));
            }
            stock(&headers)
        };
        assert_eq!(said(&["12"]), Some(12));
        assert_eq!(said(&["12", " 0 "]), Some(0));
        for nonsense in ["", "+1", "-1", "1.5", "many", "99999999999999999999"] {
            assert_eq!(said(&[nonsense]), None, "{nonsense}");
        }
        assert_eq!(said(&[]), None);
    }
}
