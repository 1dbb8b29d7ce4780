//! A visitor's line to the gates: one request at a time, each on record.
//!
//! Owns requests as bytes, falling over to another gate, trying again, and the
//! visitor's [`Track`]. Never decides what to ask.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, REFERER};
use http::{Method, Request};
use http_body_util::Full;
use rand::RngExt;
use rand::rngs::SmallRng;

use super::answer::{Page, Reply};
use super::history::{Asked, Credentials, Exchange, Told, Track};
use super::identity::Identity;
use super::options::IdentityKind;
use super::persona::about;
use super::tally::{Tally, add};
use super::time::RunClock;
use super::wire::{Answer, Ask, Failure, Pool};
use crate::domain::id::RoomName;
use crate::domain::time::Timestamp;

/// First pause when no gate answered; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Short enough to be back soon after a restarted gate.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// A browser's, in short.
const HTML: HeaderValue = HeaderValue::from_static("text/html,*/*;q=0.8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");

/// What all links of a run share.
pub(super) struct Run {
    pub clock: RunClock,
    pub tally: Tally,
    pub identity: IdentityKind,
    pub room: Option<String>,
    /// The path that visitors come for, as the `Referer` of what a page's script asks.
    pub path: String,
    pub app_marker: Option<String>,
}

/// One visitor's line to the gates.
pub(super) struct Link {
    run: Arc<Run>,
    pool: Arc<Pool>,
    identity: Identity,
    track: Track,
    rng: SmallRng,
}

impl Link {
    pub(super) fn new(run: Arc<Run>, pool: Arc<Pool>, identity: Identity, rng: SmallRng) -> Self {
        Self { run, pool, identity, track: Track::default(), rng }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.run.tally
    }

    pub(super) fn now(&self) -> Timestamp {
        self.run.clock.now()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether it asked anything yet.
    pub(super) fn has_come(&self) -> bool {
        !self.track.exchanges.is_empty()
    }

    pub(super) fn into_track(self) -> Track {
        self.track
    }

    /// Asks the queue until a gate gives an answer of the contract.
    pub(super) async fn queue(&mut self, asked: Asked) -> Reply {
        let mut pause = FIRST_PAUSE;
        loop {
            for gate in self.gates() {
                let sent = self.begin(asked);
                let answer = self.send(gate, self.queue_ask(gate, asked)).await;
                let reply = answer.map(|answer| self.take_reply(&answer));
                match reply {
                    Ok(Reply::Trouble(kind)) => {
                        self.end(Told::Trouble);
                        self.run.tally.error(&kind);
                    }
                    Ok(Reply::TooEarly(retry_after)) => {
                        self.end(Told::TooEarly);
                        return Reply::TooEarly(retry_after);
                    }
                    Ok(Reply::Status(standing)) => {
                        self.end(Told::Status(standing.status));
                        self.note_latency(asked, sent);
                        return Reply::Status(standing);
                    }
                    Err(failure) => self.fail(failure),
                }
            }
            tokio::time::sleep(about(pause, &mut self.rng)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Opens a path of the app with the visitor's credentials, or with nothing.
    pub(super) async fn page(&mut self, path: &str, credentials: Credentials, as_browser: bool) -> Page {
        let identity = (credentials != Credentials::Nothing).then(|| self.identity.clone());
        self.open(path, credentials, identity.as_ref(), as_browser).await
    }

    /// Opens a path with a pass that no gate gave.
    pub(super) async fn forged_page(&mut self, path: &str) -> Page {
        let forged = Identity::forged(&self.run.identity, self.run.room.as_deref());
        self.open(path, Credentials::Nothing, Some(&forged), false).await
    }

    /// Opens a path with credentials kept from before.
    pub(super) async fn page_as(
        &mut self,
        path: &str,
        credentials: Credentials,
        identity: &Identity,
        as_browser: bool,
    ) -> Page {
        self.open(path, credentials, Some(identity), as_browser).await
    }

    /// One try at each gate: a page that does not come is loaded again by whoever cares.
    async fn open(
        &mut self,
        path: &str,
        credentials: Credentials,
        identity: Option<&Identity>,
        as_browser: bool,
    ) -> Page {
        let mut page = Page::Trouble("none".into());
        for gate in self.gates() {
            self.begin(Asked::Page(credentials));
            let ask = self.page_ask(gate, path, identity, as_browser);
            match self.send(gate, ask).await {
                Ok(answer) => {
                    page = Page::read(&answer, self.run.app_marker.as_deref());
                    // A browser keeps the id that comes with the waiting page.
                    if credentials == Credentials::Own || (credentials == Credentials::Nothing && as_browser)
                    {
                        self.identity.take_cookies(&answer.headers, &mut self.track.keys);
                    }
                }
                Err(failure) => {
                    self.fail(failure);
                    continue;
                }
            }
            match &page {
                Page::App => self.end(Told::App),
                Page::Held => self.end(Told::Held),
                Page::Trouble(kind) => {
                    self.run.tally.error(kind);
                    self.end(Told::Trouble);
                    continue;
                }
            }
            break;
        }
        page
    }

    async fn send(&self, gate: usize, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.pool.send(gate, ask).await?;
        if answer.was_resent {
            add(&self.run.tally.resent);
        }
        Ok(answer)
    }

    /// The gates in the order in which this request tries them.
    fn gates(&mut self) -> impl Iterator<Item = usize> + use<> {
        let count = self.pool.len();
        let first = self.rng.random_range(0..count);
        (0..count).map(move |i| (first + i) % count)
    }

    /// Puts the exchange on record before it is sent, as one without an answer:
    /// a run that is cut short leaves it so.
    fn begin(&mut self, asked: Asked) -> Sent {
        let now = self.now();
        self.track.exchanges.push(Exchange { sent_at: now, answered_at: now, asked, told: Told::Nothing });
        Sent(self.run.clock.elapsed())
    }

    fn end(&mut self, told: Told) {
        let now = self.now();
        if let Some(exchange) = self.track.exchanges.last_mut() {
            exchange.answered_at = now;
            exchange.told = told;
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.end(Told::Nothing);
        self.run.tally.error(failure.kind());
    }

    fn note_latency(&self, asked: Asked, sent: Sent) {
        let took = self.run.clock.elapsed().saturating_sub(sent.0);
        match asked {
            Asked::Join => self.run.tally.join.lock().note(took),
            Asked::Poll => self.run.tally.status.lock().note(took),
            Asked::Leave | Asked::Page(_) => {}
        }
    }

    fn take_reply(&mut self, answer: &Answer) -> Reply {
        self.identity.take_cookies(&answer.headers, &mut self.track.keys);
        let mut reply = Reply::read(answer);
        if let Reply::Status(standing) = &mut reply {
            self.identity.take_tokens(std::mem::take(&mut standing.tokens), &mut self.track.keys);
        }
        reply
    }

    fn queue_ask(&self, gate: usize, asked: Asked) -> Ask {
        let (method, path) = match asked {
            Asked::Join => (Method::POST, "/queue/join"),
            Asked::Leave => (Method::POST, "/queue/leave"),
            Asked::Poll | Asked::Page(_) => (Method::GET, "/queue/status"),
        };
        let query = self.run.room.as_ref().map(|room| format!("?room={room}")).unwrap_or_default();
        let body = match (asked, &self.run.room) {
            (Asked::Join, Some(room)) => serde_json::json!({ "room": room }).to_string(),
            (Asked::Join, None) => "{}".to_owned(),
            _ => String::new(),
        };
        let mut ask = ask(&self.pool, gate, method, &format!("{path}{query}"), body);
        let referer = format!("http://{}{}", self.pool.authority(gate), self.run.path);
        if let Ok(referer) = referer.parse() {
            ask.headers_mut().insert(REFERER, referer);
        }
        ask.headers_mut().insert(ACCEPT, JSON);
        self.identity.show(ask.headers_mut());
        ask
    }

    fn page_ask(&self, gate: usize, path: &str, identity: Option<&Identity>, as_browser: bool) -> Ask {
        let mut ask = ask(&self.pool, gate, Method::GET, path, String::new());
        ask.headers_mut().insert(ACCEPT, if as_browser { HTML } else { ANY });
        if let Some(identity) = identity {
            identity.show(ask.headers_mut());
        }
        ask
    }
}

fn ask(pool: &Pool, gate: usize, method: Method, path: &str, body: String) -> Ask {
    let mut ask = Request::new(Full::new(Bytes::from(body)));
    if method == Method::POST {
        ask.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    *ask.method_mut() = method;
    // Fragments never go over the wire.
    *ask.uri_mut() = path.split('#').next().unwrap_or("/").parse().unwrap_or_default();
    if let Ok(host) = pool.authority(gate).parse() {
        ask.headers_mut().insert(HOST, host);
    }
    ask
}

/// The name of the room that a gate answers for, asked without any identity.
pub(super) async fn ask_room(pool: &Pool, room: Option<&RoomName>) -> Result<String, String> {
    let query = room.map(|room| format!("?room={room}")).unwrap_or_default();
    let mut why = String::new();
    for gate in 0..pool.len() {
        let ask = ask(pool, gate, Method::GET, &format!("/queue/status{query}"), String::new());
        why = match pool.send(gate, ask).await.map(|answer| Reply::read(&answer)) {
            Ok(Reply::Status(standing)) => return Ok(standing.room.unwrap_or_else(|| "main".into())),
            Ok(Reply::Trouble(kind)) => kind,
            Ok(Reply::TooEarly(_)) => "too_early".into(),
            Err(failure) => failure.kind().into(),
        };
    }
    Err(why)
}

/// When a request went out, finer than the record.
struct Sent(Duration);
