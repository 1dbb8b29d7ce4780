//! What an answer means.
//!
//! Owns the visitor's side of `CONTRACT.md` 3: status JSON, problems, and how
//! the gate's waiting answers are told from the app's. Pure: bytes in, value out.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, REFRESH, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::history::{State, Status};
use super::wire::Answer;
use crate::domain::id::PlaceNumber;
use crate::domain::target;
use crate::domain::time::Timestamp;

/// What `/queue/*` said.
#[derive(Debug)]
pub enum Reply {
    /// How the visitor stands.
    Status(Standing),
    /// A poll that came too soon, and when another is welcome.
    TooEarly(Option<Duration>),
    /// Anything else, as a kind to count by.
    Trouble(String),
}

/// A status answer.
#[derive(Debug)]
pub struct Standing {
    /// What the rules need.
    pub status: Status,
    /// The room's name.
    pub room: Option<String>,
    /// Where to go when admitted; always a path of this site.
    pub go: Option<String>,
    /// Only for clients without cookies.
    pub tokens: Tokens,
}

/// The three tokens of a client without cookies.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Tokens {
    /// Who it is.
    pub visitor_token: Option<String>,
    /// Its place.
    pub place_token: Option<String>,
    /// Its pass.
    pub pass_token: Option<String>,
}

/// What a page request got.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// The app's answer.
    App,
    /// The gate's waiting answer.
    Held,
    /// Neither, as a kind to count by.
    Trouble(String),
}

#[derive(Deserialize)]
struct StatusBody {
    room: Option<String>,
    state: State,
    number: Option<u64>,
    position: Option<u64>,
    poll_after_ms: Option<u64>,
    #[serde(default)]
    degraded: bool,
    pass_expires_at: Option<u64>,
    go: Option<String>,
    #[serde(flatten)]
    tokens: Tokens,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
}

impl Reply {
    /// Reads an answer of `/queue/join`, `/queue/status` or `/queue/leave`.
    pub(super) fn read(answer: &Answer) -> Self {
        match problem(answer).as_deref() {
            Some("too_early") => return Self::TooEarly(retry_after(&answer.headers)),
            Some("full") => return Self::Status(Standing::turned_away(State::Full, answer)),
            Some("closed") => return Self::Status(Standing::turned_away(State::Closed, answer)),
            Some(code) => return Self::Trouble(format!("http_{} {code}", answer.status.as_u16())),
            None => {}
        }
        if answer.status != StatusCode::OK {
            return Self::Trouble(format!("http_{}", answer.status.as_u16()));
        }
        match serde_json::from_slice::<StatusBody>(&answer.body) {
            Ok(body) => Self::Status(body.into()),
            Err(_) => Self::Trouble("no_status".into()),
        }
    }
}

impl Standing {
    fn turned_away(state: State, answer: &Answer) -> Self {
        let after = retry_after(&answer.headers).unwrap_or(Duration::from_secs(1));
        let status = Status {
            state,
            number: None,
            position: None,
            poll_after_ms: u32::try_from(after.as_millis()).unwrap_or(u32::MAX),
            pass_expires_at: None,
            degraded: false,
        };
        Self { status, room: None, go: None, tokens: Tokens::default() }
    }
}

impl From<StatusBody> for Standing {
    fn from(body: StatusBody) -> Self {
        let poll_after_ms = body.poll_after_ms.unwrap_or(0);
        let status = Status {
            state: body.state,
            number: body.number.map(PlaceNumber),
            position: body.position,
            poll_after_ms: u32::try_from(poll_after_ms).unwrap_or(u32::MAX),
            pass_expires_at: body.pass_expires_at.map(Timestamp::from_millis),
            degraded: body.degraded,
        };
        let go = body.go.filter(|go| target::is_local(go));
        Self { status, room: body.room, go, tokens: body.tokens }
    }
}

impl Page {
    /// Reads the answer to a request for a path of the app. With `marker`, the
    /// app's answers are those that have it; else all that are neither errors
    /// of a server nor the gate's.
    pub(super) fn read(answer: &Answer, marker: Option<&str>) -> Self {
        let marked =
            |marker: &str| answer.body.windows(marker.len().max(1)).any(|window| window == marker.as_bytes());
        match marker {
            Some(marker) if marked(marker) => Self::App,
            _ if is_waiting(answer) => Self::Held,
            None if !answer.status.is_server_error() => Self::App,
            _ => Self::Trouble(format!("http_{}", answer.status.as_u16())),
        }
    }
}

/// The gate's waiting problem, or its waiting page: told by what the contract
/// fixes, never stored and loaded again by itself.
fn is_waiting(answer: &Answer) -> bool {
    let no_store = header(&answer.headers, CACHE_CONTROL).is_some_and(|value| value.contains("no-store"));
    let code = problem(answer);
    matches!(code.as_deref(), Some("waiting" | "full" | "closed"))
        || (no_store && code.is_none() && answer.headers.contains_key(REFRESH))
}

fn problem(answer: &Answer) -> Option<String> {
    let is_problem = header(&answer.headers, CONTENT_TYPE)?.starts_with("application/problem+json");
    let read = |body| serde_json::from_slice::<Problem>(body).ok().map(|problem| problem.code);
    is_problem.then(|| read(&answer.body)).flatten()
}

/// `Retry-After` in seconds; a date is not understood.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    header(headers, RETRY_AFTER)?.parse().ok().map(Duration::from_secs)
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    const PROBLEM: (HeaderName, &str) = (CONTENT_TYPE, "application/problem+json");
    const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "private, no-store");

    fn answer(status: u16, headers: &[(HeaderName, &'static str)], body: &'static str) -> Answer {
        let pairs = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: pairs.collect(),
            body: Bytes::from_static(body.as_bytes()),
            was_resent: false,
        }
    }

    #[test]
    fn the_contract_s_own_example_is_read() {
        let body = r#"{"room":"main","state":"waiting","number":48211,"position":1203,"waiting":50211,
            "eta_seconds":{"low":240,"high":320},"poll_after_ms":5000,"paused":false,"degraded":false,
            "message":null,"pass_expires_at":null,"go":null}"#;
        let Reply::Status(standing) = Reply::read(&answer(200, &[], body)) else { panic!("no status") };
        assert_eq!(standing.status.number, Some(PlaceNumber(48_211)));
        assert_eq!((standing.status.state, standing.status.position), (State::Waiting, Some(1_203)));
        assert_eq!(standing.room.as_deref(), Some("main"));
    }

    #[test]
    fn a_way_off_this_site_is_not_followed() {
        let body = r#"{"state":"admitted","go":"//evil.example"}"#;
        let Reply::Status(standing) = Reply::read(&answer(200, &[], body)) else { panic!("no status") };
        assert_eq!(standing.go, None);
    }

    #[test]
    fn the_gate_s_waiting_answers_are_told_from_the_app_s() {
        let page = |answer| Page::read(&answer, None);
        assert_eq!(page(answer(429, &[PROBLEM], r#"{"code":"waiting"}"#)), Page::Held);
        assert_eq!(page(answer(200, &[NO_STORE, (REFRESH, "5")], "<html>")), Page::Held);
        assert_eq!(page(answer(200, &[NO_STORE], "<html>")), Page::App);
        assert_eq!(page(answer(404, &[PROBLEM], r#"{"code":"not_found"}"#)), Page::App);
        assert_eq!(page(answer(502, &[PROBLEM], r#"{"code":"upstream"}"#)), Page::Trouble("http_502".into()));
        let marked = |answer| Page::read(&answer, Some("seat map"));
        assert_eq!(marked(answer(200, &[NO_STORE, (REFRESH, "5")], "our seat map")), Page::App);
        assert_eq!(marked(answer(200, &[], "something else")), Page::Trouble("http_200".into()));
    }

    #[test]
    fn troubles_have_a_kind() {
        let kind = |answer| match Reply::read(&answer) {
            Reply::Trouble(kind) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind(answer(503, &[PROBLEM], r#"{"code":"store_down"}"#)), "http_503 store_down");
        assert_eq!(kind(answer(404, &[], "")), "http_404");
        assert_eq!(kind(answer(200, &[], "<html>")), "no_status");
        let early = answer(429, &[PROBLEM], r#"{"code":"too_early"}"#);
        assert!(matches!(Reply::read(&early), Reply::TooEarly(None)));
    }
}
