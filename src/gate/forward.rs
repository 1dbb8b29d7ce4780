//! To the app and back: what crosses, what does not, and when to give up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{self, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::IntCounter;
use tokio_util::task::TaskTracker;

use super::body::{Reply, Upload};
use super::request::connection_tokens;
use super::upstream::{Peer, Upstreams};
use super::visitor::is_gate_cookie;
use crate::clock::Clock;
use crate::config::Limits;

/// Attempts to connect for one request, each to another peer.
const ATTEMPTS: usize = 3;
/// An idle connection to the app is given up before common servers close it
/// (Node after 5 s), so that few requests meet a connection just closed.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The least time between two looks at a visitor's pace.
const PACE_LOOK: Duration = Duration::from_millis(250);

/// Why a request got no answer from the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No peer could be connected, or the connection broke: 502.
    Unreachable,
    /// No answer in time: 504.
    Timeout,
    /// The visitor's own body stood still, or came at less than 1 KiB/s: 408.
    SlowBody,
    /// The visitor's own body is too large: 413.
    TooLarge,
    /// The visitor's own body is malformed, or was cut: 400.
    BrokenBody,
}

impl Failure {
    /// Whether the app could not help it.
    pub(super) fn is_the_visitors(self) -> bool {
        matches!(self, Self::SlowBody | Self::TooLarge | Self::BrokenBody)
    }
}

/// Headers of one hop (RFC 9110 7.6.1), and those that end here.
const HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
];

/// Headers that say where a request came from; ours to set.
const FORWARDING: [&str; 7] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "forwarded",
    "x-request-id",
];

/// Sends requests to the app.
pub(super) struct Forwarder {
    client: Client<HttpConnector, Upload>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    tunnels: TaskTracker,
    forwarded: IntCounter,
}

impl Forwarder {
    /// `forwarded` counts requests that are tried on the app, each once.
    pub(super) fn new(
        limits: Limits,
        clock: Arc<dyn Clock>,
        tunnels: TaskTracker,
        forwarded: IntCounter,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(limits.connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { client, limits, clock, tunnels, forwarded }
    }

    /// Streams a request to the app and its answer's head back.
    ///
    /// Only a failure to connect is tried again, on another peer, because then
    /// the app has seen nothing.
    pub(super) async fn forward(
        &self,
        parts: Parts,
        body: Incoming,
        upstreams: &Upstreams,
    ) -> Result<Response<Reply>, Failure> {
        let upload = Upload::new(body, self.limits.body_bytes, &self.clock);
        if upload.is_announced_too_large() {
            return Err(Failure::TooLarge);
        }
        let response = self.attempt(parts, &upload, upstreams).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked: the connection is of no use to anybody.
            return Err(Failure::Unreachable);
        }
        Ok(response.map(Reply::App))
    }

    /// A WebSocket: the handshake goes through, then bytes both ways.
    pub(super) async fn tunnel(
        &self,
        mut parts: Parts,
        body: Incoming,
        upstreams: &Upstreams,
        ends: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Response<Reply>, Failure> {
        let visitor = parts.extensions.remove::<hyper::upgrade::OnUpgrade>().ok_or(Failure::Unreachable)?;
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        let upload = Upload::new(body, Some(0), &self.clock);
        let mut response = self.attempt(parts, &upload, upstreams).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(Reply::App));
        }
        let app = hyper::upgrade::on(&mut response);
        self.tunnels.spawn(async move {
            let (Ok(visitor), Ok(app)) = tokio::join!(visitor, app) else { return };
            let (mut visitor, mut app) = (TokioIo::new(visitor), TokioIo::new(app));
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut visitor, &mut app) => {}
                () = ends => {}
            }
        });
        Ok(response.map(|_| Reply::empty()))
    }

    async fn attempt(
        &self,
        mut parts: Parts,
        upload: &Upload,
        upstreams: &Upstreams,
    ) -> Result<Response<Incoming>, Failure> {
        self.forwarded.inc();
        let mut tried: Vec<SocketAddr> = Vec::new();
        loop {
            let peer = upstreams.pick(&tried).ok_or(Failure::Unreachable)?;
            // The last attempt takes the head itself: with one peer it is never copied.
            let again = (tried.len() + 1 < ATTEMPTS.min(upstreams.count())).then(|| parts.clone());
            let request = request_to(parts, upload, &peer).ok_or(Failure::Unreachable)?;
            let failure = match self.answer(request, upload).await {
                Ok(response) => return Ok(response),
                Err(Ended::Gave(failure)) => return Err(failure),
                Err(Ended::Client(why)) => why,
            };
            if upload.is_too_large() {
                return Err(Failure::TooLarge);
            }
            if upload.is_broken() {
                return Err(Failure::BrokenBody);
            }
            tracing::debug!(peer = %peer.address, why = ?failure, "the app did not answer");
            if !failure.is_connect() || upload.is_begun() {
                return Err(Failure::Unreachable);
            }
            tried.push(peer.address);
            parts = again.ok_or(Failure::Unreachable)?;
        }
    }

    /// Waits for the head of the answer, counted from the last byte that went
    /// up, while the visitor sends the body at a bearable pace.
    async fn answer(&self, request: Request<Upload>, upload: &Upload) -> Result<Response<Incoming>, Ended> {
        let mut answer = std::pin::pin!(self.client.request(request));
        let asked_at = self.clock.monotonic();
        loop {
            let patience = self.patience(upload, asked_at).map_err(Ended::Gave)?;
            if let Ok(answer) = tokio::time::timeout(patience, answer.as_mut()).await {
                return answer.map_err(Ended::Client);
            }
        }
    }

    /// How long to wait before the upload is looked at again; never zero.
    fn patience(&self, upload: &Upload, asked_at: Duration) -> Result<Duration, Failure> {
        let asked_for = self.clock.monotonic().saturating_sub(asked_at);
        let still = upload.still_for(&*self.clock).map_or(asked_for, |still| still.min(asked_for));
        let left = self.limits.first_byte_timeout.saturating_sub(still);
        if upload.is_done() {
            return if left.is_zero() { Err(Failure::Timeout) } else { Ok(left) };
        }
        let paced = upload.paced_for(&*self.clock).ok_or(Failure::SlowBody)?;
        if left.is_zero() {
            return Err(if upload.is_awaited() { Failure::SlowBody } else { Failure::Timeout });
        }
        Ok(left.min(paced.max(PACE_LOOK)))
    }
}

enum Ended {
    Client(ClientError),
    Gave(Failure),
}

fn request_to(parts: Parts, upload: &Upload, peer: &Peer) -> Option<Request<Upload>> {
    let mut uri = uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(peer.authority.clone());
    uri.path_and_query = Some(parts.uri.path_and_query()?.clone());
    let mut request = Request::new(upload.clone());
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = parts.headers;
    Some(request)
}

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

fn ends_here(name: &str) -> bool {
    HOP.contains(&name)
        || FORWARDING.contains(&name)
        || name == TRANSFER_ENCODING.as_str()
        || name.starts_with("usher-")
        // What a CGI-like app would read as one of the above.
        || (name.contains('_') && ends_here_spelled(name))
}

fn ends_here_spelled(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with("usher-") || FORWARDING.contains(&name.as_str()) || HOP.contains(&name.as_str())
}

/// Takes the gate's cookies out of a request; the others stay as they were,
/// in one line even when HTTP/2 sent them in several (RFC 9113 8.2.3).
fn strip_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE);
    let pairs =
        || lines.iter().flat_map(|line| line.as_bytes().split(|&b| b == b';')).map(<[u8]>::trim_ascii);
    let own =
        |pair: &&[u8]| is_gate_cookie(pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii());
    if lines.iter().count() < 2 && !pairs().any(|pair| own(&pair)) {
        return;
    }
    let mut kept = Vec::new();
    for pair in pairs().filter(|pair| !pair.is_empty() && !own(pair)) {
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    headers.remove(COOKIE);
    if !kept.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(kept))
    {
        headers.insert(COOKIE, value);
    }
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

/// Removes from an answer what ends at the gate: one hop's headers, the app's
/// words to the gate, and cookies that only the gate may set.
pub(super) fn strip_response(response: &mut Response<Reply>) {
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
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

fn answer_ends_here(name: &str) -> bool {
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
    let own = |line: &HeaderValue| {
        is_gate_cookie(line.as_bytes().split(|&b| b == b'=').next().unwrap_or_default().trim_ascii())
    };
    if headers.get_all(SET_COOKIE).iter().any(own) {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|line| !own(line)).cloned().collect();
        headers.remove(SET_COOKIE);
        for line in kept {
            headers.append(SET_COOKIE, line);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn the_app_cannot_mint_the_gates_cookies() {
        let mut response = Response::new(Reply::empty());
        for line in ["a=b", "__Host-usher_pass=x; Path=/", "usher_place=y"] {
            response.headers_mut().append(SET_COOKIE, HeaderValue::from_static(line));
        }
        response.headers_mut().insert("usher-command", HeaderValue::from_static("complete"));
        strip_response(&mut response);
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b"]);
        assert!(!response.headers().contains_key("usher-command"));
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
