//! Connections: from an accepted Pingora stream to HTTP requests.
//!
//! Owns how every listener of this package speaks HTTP: hyper on Pingora's
//! listeners, TLS by rustls, deadlines for heads, idle and stalled
//! connections, limits on connections, graceful drain. Knows nothing of what
//! is served.

mod io;
mod limit;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use io::{Activity, Verdict, Watched};
pub use limit::{Connections, network};

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Bounds on one connection.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Fields of a request's head.
    pub headers: usize,
    /// Time for a whole head.
    pub head_timeout: Duration,
    /// Silence between requests, or of a peer that does not read its answer
    /// or reads it slower than 1 KiB/s.
    pub idle_timeout: Duration,
    /// Requests before the connection is closed.
    pub requests: Option<u64>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head_bytes: 16_384,
            headers: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            requests: None,
        }
    }
}

/// What answers the requests of a listener.
pub trait Handler: Send + Sync + 'static {
    /// The answers' bodies.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers one request of `peer`; never fails, a failure is an answer too.
    fn handle(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// A listener's application, as Pingora runs it.
pub struct HttpApp<H> {
    handler: Arc<H>,
    bounds: Bounds,
    tls: Option<TlsAcceptor>,
    connections: Arc<Connections>,
    clock: Arc<dyn Clock>,
}

impl<H: Handler> HttpApp<H> {
    /// An application that serves `handler`; TLS when an acceptor is given.
    #[must_use]
    pub fn new(
        handler: Arc<H>,
        bounds: Bounds,
        tls: Option<TlsAcceptor>,
        connections: Arc<Connections>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { handler, bounds, tls, connections, clock }
    }

    async fn serve(&self, stream: Stream, peer: SocketAddr, shutdown: &ShutdownWatch) {
        let Some(acceptor) = &self.tls else {
            return self.serve_http1(stream, peer, shutdown).await;
        };
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.serve_http2(stream, peer, shutdown).await;
        } else {
            self.serve_http1(stream, peer, shutdown).await;
        }
    }

    async fn serve_http1<I>(&self, io: I, peer: SocketAddr, shutdown: &ShutdownWatch)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::http1(Arc::clone(&self.clock)));
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // Idle connections and slow heads are ours to end: see `watch`.
            .header_read_timeout(None)
            .max_header_size(self.bounds.head_bytes)
            .max_headers(self.bounds.headers)
            .max_buf_size(self.bounds.head_bytes.max(8_192))
            .pipeline_flush(false);
        let service = self.service(peer, &activity);
        let io = Watched::new(io, Arc::clone(&activity));
        let connection = pin!(builder.serve_connection(io, service).with_upgrades());
        watch(connection, &activity, &self.bounds, shutdown, |c| c.graceful_shutdown()).await;
    }

    async fn serve_http2<I>(&self, io: I, peer: SocketAddr, shutdown: &ShutdownWatch)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::http2(Arc::clone(&self.clock)));
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.bounds.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(100)
            .max_pending_accept_reset_streams(20)
            .keep_alive_interval(self.bounds.idle_timeout)
            .keep_alive_timeout(self.bounds.idle_timeout);
        let service = self.service(peer, &activity);
        let io = Watched::new(io, Arc::clone(&activity));
        let connection = pin!(builder.serve_connection(io, service));
        watch(connection, &activity, &self.bounds, shutdown, |c| c.graceful_shutdown()).await;
    }

    fn service(&self, peer: SocketAddr, activity: &Arc<Activity>) -> Requests<H> {
        Requests {
            handler: Arc::clone(&self.handler),
            peer,
            activity: Arc::clone(activity),
            left: self.bounds.requests.map(|n| Arc::new(std::sync::atomic::AtomicU64::new(n))),
        }
    }
}

#[async_trait]
impl<H: Handler> ServerApp for HttpApp<H> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let peer = stream
            .get_socket_digest()
            .and_then(|digest| digest.peer_addr().and_then(|addr| addr.as_inet().copied()))
            .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
        // Over a limit the stream is dropped before a byte of TLS is spent on it.
        let _slot = self.connections.take(peer.ip())?;
        Box::pin(self.serve(stream, peer, shutdown)).await;
        None
    }
}

/// Drives a connection to its end, its drain or its deadline.
async fn watch<C, E>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    bounds: &Bounds,
    shutdown: &ShutdownWatch,
    drain: impl Fn(Pin<&mut C>),
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let mut shutdown = shutdown.clone();
    let mut draining = false;
    // One lazy timer: it is not moved by requests, it looks again when it rings.
    let mut bell = pin!(tokio::time::sleep(bounds.head_timeout));
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(why) = ended {
                    tracing::debug!(%why, "connection ended");
                }
                return;
            }
            () = bell.as_mut() => {
                let left = match activity.verdict(bounds) {
                    Verdict::Wait(left) => left,
                    Verdict::Retire(left) => {
                        drain(connection.as_mut());
                        left
                    }
                    Verdict::Cut => return,
                };
                bell.as_mut().reset(tokio::time::Instant::now() + left.max(Duration::from_millis(20)));
            }
            changed = shutdown.changed(), if !draining => {
                draining = changed.is_err() || *shutdown.borrow();
                if draining {
                    drain(connection.as_mut());
                }
            }
        }
    }
}

/// The requests of one connection, as hyper hands them over.
struct Requests<H> {
    handler: Arc<H>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    left: Option<Arc<std::sync::atomic::AtomicU64>>,
}

impl<H> Requests<H> {
    /// Whether this is the last request the connection may carry.
    fn is_last(&self) -> bool {
        use std::sync::atomic::Ordering;
        self.left.as_ref().is_some_and(|left| left.fetch_sub(1, Ordering::Relaxed) <= 1)
    }
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Requests<H> {
    type Response = Response<Served<H::Body>>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let served = self.activity.begin();
        let last = self.is_last();
        let (handler, peer) = (Arc::clone(&self.handler), self.peer);
        Box::pin(async move {
            let version = request.version();
            let mut response = handler.handle(peer, request).await;
            if last && version < http::Version::HTTP_2 {
                response
                    .headers_mut()
                    .insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Served { body, served }))
        })
    }
}

pin_project_lite::pin_project! {
    /// A body that ends the request's activity with its own end, and tells
    /// whether the peer (not the body) is what is waited for.
    pub struct Served<B> {
        #[pin]
        body: B,
        served: io::Busy,
    }
}

impl<B: Body> Body for Served<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        this.served.hold(matches!(frame, Poll::Ready(Some(Ok(_)))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
