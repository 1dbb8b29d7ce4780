//! A visitor: one connection a request, with a cookie jar or with tokens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::http1::Answer;
use super::raw::{DEADLINE, Raw};
use super::wait::until;

/// Sends one request on a connection of its own; fields are `(name, value)`.
pub(crate) async fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut raw = Raw::connect(to).await;
    raw.send(&message(method, target, fields, body)).await;
    let answer = raw.answer_within(DEADLINE, method == "HEAD").await;
    answer.unwrap_or_else(|| panic!("no answer to {method} {target}"))
}

/// A request's bytes. One with a body asks to close after the answer; one
/// without is plain, so that the gate may forward it without hyper.
pub(crate) fn message(method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\nconnection: close\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// What a visitor carries.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    to: SocketAddr,
    pub(crate) host: String,
    /// Fields sent with every request.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) cookies: BTreeMap<String, String>,
    /// `None` = cookies.
    pub(crate) tokens: Option<BTreeMap<&'static str, String>>,
}

/// JSON keys of tokens, and the fields that send them back.
const TOKENS: [(&str, &str); 3] = [
    ("visitor_token", "usher-visitor-token"),
    ("place_token", "usher-place-token"),
    ("pass_token", "usher-pass-token"),
];

impl Client {
    /// A newcomer with cookies.
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, host: "t.test".into(), fields: vec![], cookies: BTreeMap::new(), tokens: None }
    }

    /// The same without cookies: `Usher-Client: token`.
    pub(crate) fn with_tokens(self) -> Self {
        Self { tokens: Some(BTreeMap::new()), ..self }
    }

    /// Adds a field to every request.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// The same visitor at another gate.
    pub(crate) fn at(self, to: SocketAddr) -> Self {
        Self { to, ..self }
    }

    /// All of its cookies as one field value.
    pub(crate) fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The fields that say who this is, and the host.
    pub(crate) fn credentials(&self) -> Vec<(String, String)> {
        let mut fields = vec![("host".to_owned(), self.host.clone())];
        fields.extend(self.fields.clone());
        if !self.cookies.is_empty() {
            fields.push(("cookie".into(), self.cookie()));
        }
        if let Some(tokens) = &self.tokens {
            fields.push(("usher-client".into(), "token".into()));
            fields.extend(tokens.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        fields
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let own = self.credentials();
        let mut fields: Vec<_> = own.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        fields.extend(more);
        let answer = request(self.to, method, target, &fields, body.as_bytes()).await;
        self.remember(&answer);
        answer
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    /// As a browser loads a page.
    pub(crate) async fn page(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[("accept", "text/html,*/*")], "").await
    }

    pub(crate) async fn post(&mut self, target: &str, body: &str) -> Answer {
        self.send("POST", target, &[("content-type", "application/json")], body).await
    }

    pub(crate) async fn status(&mut self) -> Value {
        ok(self.get("/queue/status").await)
    }

    pub(crate) async fn join(&mut self) -> Value {
        ok(self.post("/queue/join", "").await)
    }

    pub(crate) async fn leave(&mut self) -> Value {
        ok(self.post("/queue/leave", "").await)
    }

    /// Gets an id and a place; the first answer that is not `none`.
    pub(crate) async fn stand(&mut self) -> Value {
        let first = self.join().await;
        if first["state"] == "none" { self.join().await } else { first }
    }

    /// Stands in line until its turn comes.
    pub(crate) async fn admit(&mut self) -> Value {
        self.until_state("admitted").await
    }

    /// Polls until the state is `wanted`.
    pub(crate) async fn until_state(&mut self, wanted: &str) -> Value {
        self.until_status(wanted, |status| status["state"] == wanted).await
    }

    /// Polls until a status is as wanted; polls before their time are repeated.
    pub(crate) async fn until_status(&mut self, wanted: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let status = self.get("/queue/status").await.json();
            if is(&status) {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "never {wanted}: {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks for a path until the app answers it.
    pub(crate) async fn until_inside(&mut self, target: &str) -> Answer {
        let this = &*self;
        until("the app's answer", DEADLINE, || {
            let mut own = this.clone();
            async move { Some(own.get(target).await).filter(|answer| answer.status == 200) }
        })
        .await
    }

    pub(crate) fn remember(&mut self, answer: &Answer) {
        for line in answer.all("set-cookie") {
            let (name, rest) = line.split_once('=').expect("a cookie has a name");
            let value = rest.split(';').next().unwrap_or_default();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let Some(tokens) = &mut self.tokens else { return };
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else { return };
        for (key, field) in TOKENS {
            if let Some(token) = body[key].as_str() {
                tokens.insert(field, token.to_owned());
            }
        }
    }
}

fn ok(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
