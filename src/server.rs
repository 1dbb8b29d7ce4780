//! Connections: from an accepted Pingora stream to HTTP requests.
//!
//! Owns how every listener of this package speaks HTTP: hyper on Pingora's
//! listeners, TLS by rustls, deadlines for heads, idle and stalled
//! connections, limits on connections, graceful drain. Knows nothing of what
//! is served.

mod downstream;
mod io;
mod limit;
mod park;
mod plain;
mod tls;
mod watch;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock::Clock;
use crate::domain::time::Timestamp;
pub use downstream::{Downstream, Gone};
use io::{Activity, Watched};
pub use limit::{Connections, network};
use park::{Park, Parked};
pub use plain::{PlainRequest, write_answer, write_body, write_date, write_field, write_status};
pub use tls::{Certificate, Pair, PairError};
use watch::{Event, Watch};

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

    /// What [`Handler::at_once`] begins; [`std::convert::Infallible`] where it begins nothing.
    type Relay: Relay;

    /// What can be done with a plain request of `peer` without waiting; `now` is the
    /// time of day, `answer` is empty.
    fn at_once(
        self: &Arc<Self>,
        _peer: SocketAddr,
        _request: &PlainRequest<'_>,
        _now: Timestamp,
        _answer: &mut Vec<u8>,
    ) -> AtOnce<Self::Relay> {
        AtOnce::Later
    }
}

/// A plain request that was begun, and whose answer comes from somebody else.
///
/// Boxed, so that connections which only wait do not carry it; each by itself, so
/// that none is as large as the largest.
pub trait Relay: Send + 'static {
    /// Hands the visitor its answer, up to the last byte.
    ///
    /// # Errors
    /// When the connection must end with what was sent: the visitor is gone,
    /// or must see that its answer is cut.
    fn run<'a, I>(self, visitor: &'a mut Downstream<'_, I>) -> BoxFuture<'a, Result<(), Gone>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send;
}

impl Relay for std::convert::Infallible {
    fn run<'a, I>(self, _: &'a mut Downstream<'_, I>) -> BoxFuture<'a, Result<(), Gone>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        match self {}
    }
}

/// What is done with a plain request without waiting.
pub enum AtOnce<R> {
    /// Answered: the whole of it was written, head and body.
    Answered,
    /// Begun; its answer comes from somebody else.
    Relay(R),
    /// Nothing: it is for [`Handler::handle`].
    Later,
}

/// A listener's application, as Pingora runs it.
pub struct HttpApp<H> {
    handler: Arc<H>,
    bounds: Bounds,
    tls: Option<Arc<Certificate>>,
    connections: Arc<Connections>,
    clock: Arc<dyn Clock>,
}

impl<H: Handler> HttpApp<H> {
    /// An application that serves `handler`; TLS when a certificate is given.
    #[must_use]
    pub fn new(
        handler: Arc<H>,
        bounds: Bounds,
        tls: Option<Arc<Certificate>>,
        connections: Arc<Connections>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { handler, bounds, tls, connections, clock }
    }

    async fn serve(&self, stream: Stream, peer: SocketAddr, shutdown: &ShutdownWatch) {
        let Some(certificate) = &self.tls else {
            return self.serve_http1(stream, peer, shutdown).await;
        };
        let handshake = certificate.acceptor().accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, handshake).await else { return };
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
        let service = self.service(peer, &activity);
        let mut io = Watched::new(io, Arc::clone(&activity));
        while self.park(&mut io, peer, &service.left, shutdown).await {
            // Boxed, so that parked connections do not carry it.
            let served: BoxFuture<'_, _> = Box::pin(self.serve_requests(io, service.clone(), shutdown));
            match served.await {
                Some(idle) => io = idle,
                None => return,
            }
        }
    }

    /// Until a request comes that needs hyper; `false` when the connection is over.
    async fn park<I>(
        &self,
        io: &mut Watched<I>,
        peer: SocketAddr,
        left: &Left,
        shutdown: &ShutdownWatch,
    ) -> bool
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::clone(io.activity());
        let park = Park { handler: &self.handler, peer, bounds: &self.bounds, left };
        {
            let mut parked = pin!(park.serve(io));
            let mut watch = Watch::new(&activity, &self.bounds, shutdown);
            loop {
                match watch.next(parked.as_mut()).await {
                    Event::Ended(Parked::Request) => return true,
                    Event::Ended(_) => break,
                    Event::Drain if activity.drain() => {}
                    Event::Drain => break,
                    Event::Park | Event::Cut => return false,
                }
            }
        }
        if activity.is_draining() {
            io.close().await;
        }
        false
    }

    /// Serves by hyper; gives the stream back when it has been idle for a while.
    async fn serve_requests<I>(
        &self,
        io: Watched<I>,
        service: Requests<H>,
        shutdown: &ShutdownWatch,
    ) -> Option<Watched<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::clone(io.activity());
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // Idle connections and slow heads are ours to end: see `Watch`.
            .header_read_timeout(None)
            .max_header_size(self.bounds.head_bytes)
            .max_headers(self.bounds.headers)
            .max_buf_size(self.bounds.head_bytes.max(8_192))
            .pipeline_flush(false);
        activity.set_parks(true);
        let mut connection = builder.serve_connection(io, service).with_upgrades();
        let mut watch = Watch::new(&activity, &self.bounds, shutdown);
        loop {
            match watch.next(Pin::new(&mut connection)).await {
                Event::Ended(ended) => {
                    note(ended);
                    return None;
                }
                Event::Cut => return None,
                Event::Drain => Pin::new(&mut connection).graceful_shutdown(),
                Event::Park => {
                    activity.set_parking(true);
                    Pin::new(&mut connection).graceful_shutdown();
                    // An idle hyper ends at once; one that does not had something left to do.
                    let ended = futures_util::poll!(&mut connection);
                    activity.set_parking(false);
                    match ended {
                        Poll::Ready(Ok(())) => {
                            let parts = connection.into_parts()?;
                            let mut io = parts.io;
                            if !parts.read_buf.is_empty() {
                                io.put_back(&parts.read_buf);
                            }
                            activity.set_parks(false);
                            return Some(io);
                        }
                        Poll::Ready(Err(why)) => {
                            note(Err(why));
                            return None;
                        }
                        Poll::Pending => activity.set_parks(false),
                    }
                }
            }
        }
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
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut watch = Watch::new(&activity, &self.bounds, shutdown);
        loop {
            match watch.next(connection.as_mut()).await {
                Event::Ended(ended) => return note(ended),
                Event::Cut => return,
                Event::Drain | Event::Park => connection.as_mut().graceful_shutdown(),
            }
        }
    }

    fn service(&self, peer: SocketAddr, activity: &Arc<Activity>) -> Requests<H> {
        Requests {
            handler: Arc::clone(&self.handler),
            peer,
            activity: Arc::clone(activity),
            left: Left::new(self.bounds.requests),
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

fn note<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(why) = ended {
        tracing::debug!(%why, "connection ended");
    }
}

/// Requests that a connection may still carry.
#[derive(Clone)]
struct Left(Option<Arc<AtomicU64>>);

impl Left {
    fn new(requests: Option<u64>) -> Self {
        Self(requests.map(|n| Arc::new(AtomicU64::new(n))))
    }

    /// Whether the next request is the last.
    fn is_last(&self) -> bool {
        self.0.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) <= 1)
    }

    fn take(&self) {
        if let Some(left) = &self.0 {
            left.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The requests of one connection, as hyper hands them over.
struct Requests<H> {
    handler: Arc<H>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    left: Left,
}

impl<H> Clone for Requests<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            peer: self.peer,
            activity: Arc::clone(&self.activity),
            left: self.left.clone(),
        }
    }
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Requests<H> {
    type Response = Response<Served<H::Body>>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let served = self.activity.begin();
        if request.headers().contains_key(http::header::UPGRADE) {
            // Hyper gives such a stream to whom it was promised, who may be gone.
            self.activity.set_parks(false);
        }
        let last = self.left.is_last();
        self.left.take();
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
