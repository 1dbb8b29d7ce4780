//! A small HTTP client: one request, one answer, JSON both ways.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::Instant;

/// An answer with its body read as JSON (`Null` when it is none).
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
    pub json: Value,
}

impl Answer {
    /// The stable code of a refusal.
    pub fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// This answer, if it has the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        self
    }

    /// This answer, if it is the refusal.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.code(), code, "{}", answer.json);
        assert_eq!(answer.json["status"], status);
        answer
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        self.json[field].as_str().unwrap_or_else(|| panic!("no text {field} in {}", self.json)).to_owned()
    }
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    server: SocketAddr,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// See [`Client::patient`].
    pub is_patient: bool,
}

/// How long a patient client asks again.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    pub fn of(server: SocketAddr) -> Self {
        let pool = Pool::builder(TokioExecutor::new()).build_http();
        Self { pool, server, headers: Vec::new(), is_patient: false }
    }

    /// This client, asking again when the office is too busy to answer, or still
    /// at work on the same request: for crowds, whose size is the point and not the speed of the machine.
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// Where the server listens.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// This client, with one more header in each request.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same caller, as patient, at another server.
    pub fn at(&self, other: &Self) -> Self {
        Self { headers: self.headers.clone(), is_patient: self.is_patient, ..other.clone() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, Some(body.to_string())).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.send_once(method.clone(), path, body.clone()).await;
            let is_later = ["unavailable", "still_running"].contains(&answer.code());
            if !self.is_patient || !is_later || Instant::now() > deadline {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A POST to a server that may be gone; `None` when no whole answer came.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<Answer> {
        self.try_send(Method::POST, path, Some(body.to_string())).await
    }

    async fn send_once(&self, method: Method, path: &str, body: Option<String>) -> Answer {
        self.try_send(method, path, body).await.expect("an answer")
    }

    async fn try_send(&self, method: Method, path: &str, body: Option<String>) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.server));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default())).expect("a request");
        let (parts, body) = self.pool.request(request).await.ok()?.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Some(Answer { status: parts.status, headers: parts.headers, bytes, json })
    }
}
