//! The way to the gates over HTTP.
//!
//! Owns requests as bytes and what the visitor shows. Never decides what to
//! ask, nor tries again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, REFERER};
use http::{Method, Request};
use http_body_util::Full;

use super::answer::{Page, Reply};
use super::gates::{Gates, Who};
use super::history::Asked;
use super::identity::Identity;
use super::options::IdentityKind;
use super::tally::{Tally, add};
use super::time::RunClock;
use super::wire::{Answer, Ask, Failure, Pool};
use crate::domain::id::RoomName;
use crate::domain::time::Timestamp;

/// A browser's, in short.
const HTML: HeaderValue = HeaderValue::from_static("text/html,*/*;q=0.8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");

/// What all visitors of a run share.
pub(super) struct Run {
    pub clock: RunClock,
    pub tally: Arc<Tally>,
    pub identity: IdentityKind,
    pub room: Option<String>,
    /// The path that visitors come for, as the `Referer` of what a page's script asks.
    pub path: String,
    pub app_marker: Option<String>,
}

/// One visitor's sockets and credentials.
pub(super) struct Sockets {
    run: Arc<Run>,
    pool: Arc<Pool>,
    identity: Identity,
    keys: Vec<u64>,
}

impl Sockets {
    pub(super) fn new(run: Arc<Run>, pool: Arc<Pool>, identity: Identity) -> Self {
        Self { run, pool, identity, keys: Vec::new() }
    }

    async fn send(&self, gate: usize, ask: Ask) -> Result<Answer, Failure> {
        let answer = self.pool.send(gate, ask).await?;
        if answer.was_resent {
            add(&self.run.tally.resent);
        }
        Ok(answer)
    }

    fn take_reply(&mut self, answer: &Answer) -> Reply {
        self.identity.take_cookies(&answer.headers, &mut self.keys);
        let mut reply = Reply::read(answer);
        if let Reply::Status(standing) = &mut reply {
            self.identity.take_tokens(std::mem::take(&mut standing.tokens), &mut self.keys);
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

impl Gates for Sockets {
    type Identity = Identity;

    fn count(&self) -> usize {
        self.pool.len()
    }

    fn now(&self) -> Timestamp {
        self.run.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.run.clock.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    async fn queue(&mut self, gate: usize, asked: Asked) -> Result<Reply, Failure> {
        let ask = self.queue_ask(gate, asked);
        let answer = self.send(gate, ask).await?;
        Ok(self.take_reply(&answer))
    }

    async fn page(
        &mut self,
        gate: usize,
        path: &str,
        who: Who<'_, Identity>,
        as_browser: bool,
    ) -> Result<Page, Failure> {
        let forged;
        let identity = match who {
            Who::Nobody => None,
            Who::Forger => {
                forged = Identity::forged(&self.run.identity, self.run.room.as_deref());
                Some(&forged)
            }
            Who::Own => Some(&self.identity),
            Who::Before(identity) => Some(identity),
        };
        let ask = self.page_ask(gate, path, identity, as_browser);
        let answer = self.send(gate, ask).await?;
        // A browser keeps the id that comes with the waiting page.
        if matches!(who, Who::Own) || (matches!(who, Who::Nobody) && as_browser) {
            self.identity.take_cookies(&answer.headers, &mut self.keys);
        }
        Ok(Page::read(&answer, self.run.app_marker.as_deref()))
    }

    fn take_keys(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.keys)
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
