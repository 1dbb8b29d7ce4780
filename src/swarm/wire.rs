//! The way to the gates: connections that are used again.
//!
//! Owns sockets and how a request fails on the way. Never looks into an answer.
//! By default few connections are shared by the whole crowd, as behind a
//! browser's proxy: a poll every few seconds would leave thousands idle, and
//! a gate that mixes up answers shows it on shared ones first.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::options::Target;

/// Sockets that a shared pool opens at most, so that neither a default limit of
/// 1,024 open files nor the ephemeral ports run out.
const SHARED_SOCKETS: usize = 256;
/// From the wish to send until the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a body that are kept; the rest is read and dropped.
const KEPT: usize = 64 * 1024;

/// A request, small enough to be sent again.
pub(super) type Ask = Request<Full<Bytes>>;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The first [`KEPT`] bytes.
    pub body: Bytes,
    /// It took a second try: the gate closed an idle connection meanwhile.
    pub was_resent: bool,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer was whole.
    Broken,
    /// It took too long.
    TimedOut,
}

impl Failure {
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::TimedOut => "timeout",
        }
    }
}

/// Connections to every gate.
pub(super) struct Pool {
    gates: Vec<Gate>,
    sockets: Semaphore,
}

struct Gate {
    target: Target,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Pool {
    /// A pool for the whole crowd.
    pub(super) fn shared(targets: &[Target]) -> Arc<Self> {
        Arc::new(Self::new(targets, SHARED_SOCKETS))
    }

    /// A pool for one visitor, which never has two requests under way.
    pub(super) fn own(targets: &[Target]) -> Arc<Self> {
        Arc::new(Self::new(targets, 1))
    }

    fn new(targets: &[Target], sockets: usize) -> Self {
        let gates = targets.iter().map(|target| Gate { target: target.clone(), idle: Mutex::default() });
        Self { gates: gates.collect(), sockets: Semaphore::new(sockets) }
    }

    /// How many gates there are.
    pub(super) fn len(&self) -> usize {
        self.gates.len()
    }

    /// Host and port of gate `gate`, for the `Host` header.
    pub(super) fn authority(&self, gate: usize) -> &str {
        self.gates[gate].target.authority()
    }

    /// Asks gate `gate` and waits for the whole answer, at most [`PATIENCE`].
    pub(super) async fn send(&self, gate: usize, ask: Ask) -> Result<Answer, Failure> {
        let answered = async {
            let _socket = self.sockets.acquire().await.map_err(|_| Failure::Connect)?;
            self.gates[gate].send(ask).await
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Err(Failure::TimedOut))
    }
}

impl Gate {
    /// On an idle connection if there is one. A gate may close that one at the
    /// very moment it is used; every request of ours is idempotent, so it is
    /// simply sent again on a fresh one, as browsers do.
    async fn send(&self, ask: Ask) -> Result<Answer, Failure> {
        let (idle, was_resent) = match self.take_idle() {
            Some(connection) => (self.send_on(connection, ask.clone()).await.ok(), true),
            None => (None, false),
        };
        if let Some(answer) = idle {
            return Ok(answer);
        }
        let connection = self.connect().await?;
        let answer = self.send_on(connection, ask).await?;
        Ok(Answer { was_resent, ..answer })
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock();
        // The newest first: the oldest then grow stale and are closed by the gate.
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    async fn send_on(&self, mut connection: SendRequest<Full<Bytes>>, ask: Ask) -> Result<Answer, Failure> {
        let response = connection.send_request(ask).await.map_err(|_| Failure::Broken)?;
        let (head, body) = response.into_parts();
        let body = drain(body).await.map_err(|_| Failure::Broken)?;
        // Ready once hyper has seen the end of the answer and the gate keeps it open.
        if connection.ready().await.is_ok() {
            self.idle.lock().push(connection);
        }
        Ok(Answer { status: head.status, headers: head.headers, body, was_resent: false })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let stream = TcpStream::connect(self.target.address()).await.map_err(|_| Failure::Connect)?;
        stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
        let (connection, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Connect)?;
        // Ends when the connection is dropped; how it broke shows in the answer that is missing.
        tokio::spawn(driver);
        Ok(connection)
    }
}

async fn drain(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            kept.extend_from_slice(&data[..data.len().min(KEPT.saturating_sub(kept.len()))]);
        }
    }
    Ok(kept.freeze())
}
