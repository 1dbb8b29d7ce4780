//! A gate in one process that keeps the contract as far as a visitor can see,
//! or breaks one rule of it on purpose. Its line is the domain's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, COOKIE, REFRESH, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use usher::clock::{Clock, SystemClock};
use usher::domain::id::{Epoch, PlaceNumber, VisitorId};
use usher::domain::line::{Line, Settings};
use usher::domain::pass::Pass;
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::{Timestamp, millis};

/// What the gate says that its room holds.
pub(super) const CAPACITY: u64 = 25;
/// Long beside an answer's delay on a busy machine: a visitor counts as heard
/// within twice that.
const POLL_AFTER: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(50);

/// What is wrong with a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cheat {
    Nothing,
    /// Some requests are cut off or answered 503.
    Falters,
    LetsInTooMany,
    PassesOver,
    Forgets,
    Leaks,
    MixesUp,
    Grows,
    EvictsThePatient,
    GivesTwoPasses,
    HonoursOldPasses,
}

/// A gate on a free port of this machine, until the test's runtime ends.
pub(super) struct FakeGate {
    pub(super) address: SocketAddr,
}

struct State {
    clock: SystemClock,
    cheat: Cheat,
    line: Line,
    visitors: u64,
    requests: u64,
    polls: HashMap<VisitorId, (Timestamp, u64)>,
    last_polled: Option<VisitorId>,
}

type Answer = Response<Full<Bytes>>;

impl FakeGate {
    pub(super) async fn start(cheat: Cheat) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State::new(cheat)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let answer = service_fn(move |request| {
                    let answer = state.lock().answer(&request);
                    async move { answer.ok_or(Cut) }
                });
                let io = TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, answer));
            }
        });
        Self { address }
    }
}

/// Ends the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut off on purpose")]
struct Cut;

impl State {
    fn new(cheat: Cheat) -> Self {
        let second = Duration::from_secs(1);
        let settings = Settings {
            capacity: if cheat == Cheat::LetsInTooMany { 5 * CAPACITY } else { CAPACITY },
            batch: 10,
            tick: TICK,
            rate_per_minute: None,
            max_waiting: None,
            pass_ttl: 60 * second,
            pass_max: 60 * second,
            idle_timeout: 60 * second,
            claim_window: 60 * second,
            grace_reentry: 60 * second,
            paused: false,
            closed: false,
            draining: false,
            overflow: false,
            opening: None,
            draw: false,
            autotune: false,
        };
        Self {
            clock: SystemClock::new(),
            cheat,
            line: Line::new(Epoch(1), settings),
            visitors: 0,
            requests: 0,
            polls: HashMap::new(),
            last_polled: None,
        }
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Option<Answer> {
        let now = self.clock.now();
        if now >= self.line.standing().due_at {
            self.line.make_room(now);
            self.line.admit(now);
        }
        self.requests += 1;
        if self.cheat == Cheat::Falters && self.requests.is_multiple_of(20) {
            return self.requests.is_multiple_of(40).then(|| problem(503, "store_down"));
        }
        let visitor =
            cookie(request.headers(), "usher_visitor").and_then(|id| id.parse().ok()).map(visitor_id);
        let path = (request.method(), request.uri().path());
        Some(match (path, visitor) {
            ((_, "/queue/status" | "/queue/join"), None) => self.newcomer(json_answer(&none())),
            ((&Method::GET, "/queue/status"), Some(visitor)) => self.poll(visitor, now),
            ((&Method::POST, "/queue/join"), Some(visitor)) => self.status(visitor, Intent::Rejoin, now),
            ((&Method::POST, "/queue/leave"), Some(visitor)) => self.leave(visitor, now),
            _ => self.page(visitor, request.headers(), now),
        })
    }

    fn newcomer(&mut self, mut answer: Answer) -> Answer {
        self.visitors += 1;
        set_cookie(&mut answer, &format!("usher_visitor={}", self.visitors));
        answer
    }

    fn poll(&mut self, visitor: VisitorId, now: Timestamp) -> Answer {
        let (last, polls) = self.polls.get(&visitor).copied().unwrap_or_default();
        // A poll of somebody whose turn has come is never too early: the look claims it.
        if now.since(last) < POLL_AFTER / 4 && !matches!(self.line.look(visitor, now), Turn::Admitted(_)) {
            let mut early = problem(429, "too_early");
            early.headers_mut().insert(RETRY_AFTER, 1.into());
            return early;
        }
        self.polls.insert(visitor, (now, polls + 1));
        let previous = self.last_polled.replace(visitor);
        match (self.cheat, previous) {
            (Cheat::MixesUp, Some(other)) if polls == 3 => self.status(other, Intent::Join, now),
            (Cheat::Forgets, _) if polls == 2 => json_answer(&none()),
            (Cheat::EvictsThePatient, _) if polls == 2 => {
                self.line.end(visitor, Reason::Evicted, now);
                self.status(visitor, Intent::Join, now)
            }
            _ => self.status(visitor, Intent::Join, now),
        }
    }

    fn status(&mut self, visitor: VisitorId, intent: Intent, now: Timestamp) -> Answer {
        if let Some(number) = self.passed_over(visitor) {
            return self.waiting(number, 1);
        }
        match self.line.join(visitor, intent, now) {
            Turn::Waiting { number, .. } => self.waiting(number, self.position(visitor, number)),
            Turn::Returning { number, ahead } => self.waiting(number, ahead + 1),
            Turn::Admitted(pass) => self.admitted(pass, now),
            Turn::Ended { number, reason: Reason::Left, .. } => json_answer(&state("left", Some(number))),
            Turn::Ended { number, .. } => json_answer(&state("expired", Some(number))),
            Turn::Unknown | Turn::Full | Turn::Closed => json_answer(&none()),
        }
    }

    /// Numbers 10 to 14 wait three answers longer than they should.
    fn passed_over(&self, visitor: VisitorId) -> Option<PlaceNumber> {
        let polls = self.polls.get(&visitor).map_or(0, |&(_, polls)| polls);
        let is_victim = self.cheat == Cheat::PassesOver && polls < 3;
        let mut numbers = (10..15).map(PlaceNumber).filter(|_| is_victim);
        numbers.find(|&number| self.line.holder(number) == Some(visitor))
    }

    fn position(&self, visitor: VisitorId, number: PlaceNumber) -> u64 {
        let ahead = self.line.waiting_after(PlaceNumber(0), usize::MAX);
        let position = ahead.partition_point(|&other| other < number) as u64 + 1;
        match self.polls.get(&visitor) {
            Some((_, polls)) if self.cheat == Cheat::Grows => position + 200 * polls,
            _ => position,
        }
    }

    fn waiting(&self, number: PlaceNumber, position: u64) -> Answer {
        // An overtaking shows only to those who surely kept polling; it has to
        // show on a busy machine too.
        let poll_after = if self.cheat == Cheat::PassesOver { 3 * POLL_AFTER } else { POLL_AFTER };
        let mut status = state("waiting", Some(number));
        status["position"] = position.into();
        status["poll_after_ms"] = millis(poll_after).into();
        json_answer(&status)
    }

    fn admitted(&self, pass: Pass, now: Timestamp) -> Answer {
        let ends =
            if self.cheat == Cheat::GivesTwoPasses { now + Duration::from_secs(60) } else { pass.expires_at };
        let mut status = state("admitted", Some(pass.number));
        status["pass_expires_at"] = ends.as_millis().into();
        status["go"] = "/app".into();
        let mut answer = json_answer(&status);
        set_cookie(&mut answer, &format!("usher_pass=p{}", pass.number));
        answer
    }

    fn leave(&mut self, visitor: VisitorId, now: Timestamp) -> Answer {
        let number = self.line.end(visitor, Reason::Left, now);
        let mut answer = json_answer(&state("left", number));
        set_cookie(&mut answer, "usher_pass=; Max-Age=0");
        answer
    }

    fn page(&mut self, visitor: Option<VisitorId>, headers: &HeaderMap, now: Timestamp) -> Answer {
        let is_leak = self.cheat == Cheat::Leaks && self.requests.is_multiple_of(7);
        let has_pass = cookie(headers, "usher_pass").is_some_and(|pass| pass.starts_with('p'));
        let turn = visitor.map(|visitor| self.line.look(visitor, now));
        let is_inside = has_pass && matches!(turn, Some(Turn::Admitted(_)));
        let is_honoured = has_pass && self.cheat == Cheat::HonoursOldPasses;
        if is_inside || is_leak || is_honoured {
            return Response::new(Full::from("the app"));
        }
        let accepts_html = headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|v| v.contains("text/html"));
        if !accepts_html {
            return problem(429, "waiting");
        }
        let mut page = Response::new(Full::from("<html>please wait</html>"));
        page.headers_mut().insert(REFRESH, 5.into());
        page.headers_mut().insert(CACHE_CONTROL, "no-store".parse().expect("a header"));
        if visitor.is_none() { self.newcomer(page) } else { page }
    }
}

fn visitor_id(number: u64) -> VisitorId {
    VisitorId::from_bytes(u128::from(number).to_be_bytes())
}

fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let pairs = headers.get(COOKIE)?.to_str().ok()?.split("; ");
    pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn set_cookie(answer: &mut Answer, cookie: &str) {
    answer.headers_mut().append(SET_COOKIE, cookie.parse().expect("a header"));
}

fn none() -> Value {
    let mut status = state("none", None);
    status["poll_after_ms"] = 20.into();
    status
}

fn state(state: &str, number: Option<PlaceNumber>) -> Value {
    json!({
        "room": "main", "state": state, "number": number.map(|n| n.0), "position": null, "waiting": null,
        "eta_seconds": null, "poll_after_ms": null, "paused": false, "degraded": false, "message": null,
        "pass_expires_at": null, "go": null,
    })
}

fn json_answer(body: &Value) -> Answer {
    Response::new(Full::from(body.to_string()))
}

fn problem(status: u16, code: &str) -> Answer {
    let mut answer = json_answer(&json!({ "code": code }));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer.headers_mut().insert(CONTENT_TYPE, "application/problem+json".parse().expect("a header"));
    answer
}
