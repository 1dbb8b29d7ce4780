//! To the app and back through hyper, and when to give up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::uri::{self, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prometheus::IntCounter;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::body::{Reply, Upload};
use super::lane::{FIELDS, HEAD_BYTES, Pool, framing};
use super::upstream::{Peer, Upstreams};
use crate::clock::Clock;
use crate::config::Limits;

/// Attempts to connect for one request, each to another peer.
const ATTEMPTS: usize = 3;
/// An idle connection to the app is given up before common servers close it
/// (Node after 5 s), so that few requests meet a connection just closed.
pub(super) const POOL_IDLE: Duration = Duration::from_secs(4);

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

/// Sends requests to the app.
pub(super) struct Forwarder {
    client: Client<HttpConnector, Upload>,
    /// Connections of the fast lane.
    pool: Pool,
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
            .http1_max_buf_size(HEAD_BYTES)
            .http1_max_headers(FIELDS)
            .build(connector);
        Self { client, pool: Pool::default(), limits, clock, tunnels, forwarded }
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
        self.count();
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
    async fn answer(
        &self,
        mut request: Request<Upload>,
        upload: &Upload,
    ) -> Result<Response<Incoming>, Ended> {
        let connection = capture_connection(&mut request);
        let mut answer = std::pin::pin!(self.client.request(request));
        let asked_at = self.clock.monotonic();
        loop {
            let patience = self.patience(upload, asked_at).map_err(Ended::Gave)?;
            if let Ok(answer) = tokio::time::timeout(patience, answer.as_mut()).await {
                return plainly_framed(answer.map_err(Ended::Client)?, &connection);
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

/// An answer that everybody reads in one way; the connection of any other is
/// not used again.
fn plainly_framed(
    response: Response<Incoming>,
    connection: &CaptureConnection,
) -> Result<Response<Incoming>, Ended> {
    let fields = response.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let Err(why) = framing(response.version(), fields) else { return Ok(response) };
    tracing::debug!(%why, "the app's answer is of no use");
    if let Some(connection) = connection.connection_metadata().as_ref() {
        connection.poison();
    }
    Err(Ended::Gave(Failure::Unreachable))
}

/// What the fast lane needs of it.
impl Forwarder {
    /// Counts a request that is tried on the app.
    pub(super) fn count(&self) {
        self.forwarded.inc();
    }

    /// Idle connections.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Keeps a connection whose answer was read to its exact end.
    pub(super) fn keep(&self, peer: SocketAddr, stream: TcpStream) {
        self.pool.put(peer, stream, self.monotonic());
    }

    /// Closes idle connections that nobody used, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(POOL_IDLE / 4).await;
            self.pool.sweep(self.monotonic());
        }
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Time for the app to begin its answer.
    pub(super) fn first_byte_timeout(&self) -> Duration {
        self.limits.first_byte_timeout
    }

    /// A new connection, to `peer` or another.
    pub(super) async fn connect(
        &self,
        peer: Peer,
        upstreams: &Upstreams,
    ) -> Result<(SocketAddr, TcpStream), Failure> {
        let mut tried = Vec::new();
        let mut next = Some(peer);
        while let Some(Peer { address, .. }) = next {
            let connected = tokio::time::timeout(self.limits.connect_timeout, TcpStream::connect(address));
            match connected.await {
                Ok(Ok(stream)) => {
                    // Without it all works, slower.
                    let _ = stream.set_nodelay(true);
                    return Ok((address, stream));
                }
                failed => tracing::debug!(peer = %address, why = ?failed, "the app was not reached"),
            }
            tried.push(address);
            next = upstreams.pick(&tried).filter(|_| tried.len() < ATTEMPTS);
        }
        Err(Failure::Unreachable)
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
