//! The fast lane: a plain request that is forwarded at once, without hyper.
//!
//! It is decided by the same rules as every other ([`super::decide`]), and
//! sent over a pooled connection in the turn in which it was read. Its answer
//! is read strictly and written anew; a connection to the app is used again
//! only when the answer came to its exact end. Whatever is unusual (a body, an
//! upgrade, odd framing, a pass to prolong) takes the ordinary way.

mod answer;
mod body;
mod exchange;
mod head;
mod pool;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Gate;
use super::answer::language;
use super::forward::Failure;
use super::page::Language;
use super::site::Site;
use super::upstream::Peer;
use super::visit::Inside;
use super::wait::{Visit, say};
use crate::domain::time::Timestamp;
use crate::server::{Downstream, Gone, PlainRequest, write_field};

pub(super) use answer::{Broken, FIELDS, HEAD_BYTES, framing};
use exchange::Exchange;
pub(super) use pool::Pool;

/// Bytes of an answer on their way at a time.
const PIECE: usize = 64 * 1_024;

struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static OF_THREAD: RefCell<Scratch> =
        RefCell::new(Scratch { input: vec![0; PIECE].into(), output: Vec::with_capacity(PIECE) });
}

/// A request on its way to the app.
pub struct Forwarded {
    order: Order,
    way: Way,
}

/// Whose request it is, and what of it matters when the answer comes.
struct Order {
    gate: Arc<Gate>,
    site: Arc<Site>,
    inside: Inside,
    now: Timestamp,
    to_head: bool,
    page: bool,
    language: Language,
}

enum Way {
    /// Sent, or all but `unsent`.
    Sent { upstream: Upstream, unsent: Vec<u8> },
    /// No connection was idle: this is the request.
    ToConnect { peer: Peer, request: Vec<u8> },
}

struct Upstream {
    peer: SocketAddr,
    stream: TcpStream,
}

/// Why there is no whole answer.
enum Stop {
    /// None has begun: the visitor is told.
    Failed(Failure),
    /// The visitor is gone, or must see that its answer is cut.
    Cut,
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Cut
    }
}

impl From<Broken> for Stop {
    fn from(why: Broken) -> Self {
        tracing::debug!(%why, "the app's answer is of no use");
        Self::Failed(Failure::Unreachable)
    }
}

impl Gate {
    /// Sends a plain `GET` or `HEAD` that may go to the app; `None` leaves it to
    /// the ordinary way.
    pub(super) fn forward_at_once(
        self: &Arc<Self>,
        plain: &PlainRequest<'_>,
        host: &[u8],
        visit: Visit<'_, '_>,
    ) -> Option<Forwarded> {
        let Visit { site, asked, facts, mut inside, now } = visit;
        if self.renewal_due(site, &inside, now).is_some() {
            return None;
        }
        let way = OF_THREAD.with_borrow_mut(|Scratch { output, .. }| {
            output.clear();
            head::begin_request(plain, output);
            self.introduce(site, asked, Some(host), &inside, now, |name, value| {
                write_field(name, value, output)
            });
            output.extend_from_slice(b"\r\n");
            self.send_at_once(site, output)
        })?;
        // Only now: without a peer the ordinary way counts it.
        self.forwarder.count();
        inside.shadow = self.follow_shadow(site, &inside.visitor, asked, facts.bypass, now);
        let order = Order {
            gate: Arc::clone(self),
            site: Arc::clone(site),
            inside,
            now,
            to_head: plain.method == Method::HEAD,
            page: asked.page,
            language: language(plain),
        };
        Some(Forwarded { order, way })
    }

    fn send_at_once(&self, site: &Site, request: &[u8]) -> Option<Way> {
        let peer = site.upstreams.pick(&[])?;
        let Some(stream) = self.forwarder.pool().take(peer.address, self.forwarder.monotonic()) else {
            return Some(Way::ToConnect { peer, request: request.to_vec() });
        };
        // An error shows again when the answer is read.
        let sent = stream.try_write(request).unwrap_or(0);
        let upstream = Upstream { peer: peer.address, stream };
        Some(Way::Sent { upstream, unsent: request[sent..].to_vec() })
    }
}

impl Forwarded {
    /// Hands the visitor the app's answer; see [`crate::server::Relay::run`].
    pub(super) async fn run<I>(self, visitor: &mut Downstream<'_, I>) -> Result<(), Gone>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Self { mut order, way } = self;
        let told = match order.sent(way).await {
            Ok(upstream) => Exchange::new(&mut order, visitor, upstream).run().await,
            Err(stop) => Err(stop),
        };
        match told {
            Ok(()) => Ok(()),
            Err(Stop::Cut) => Err(Gone),
            Err(Stop::Failed(failure)) => order.excuse(failure, visitor).await,
        }
    }
}

impl Order {
    /// The connection on which the whole request went up.
    async fn sent(&self, way: Way) -> Result<Upstream, Stop> {
        let forwarder = &self.gate.forwarder;
        let (mut upstream, unsent) = match way {
            Way::Sent { upstream, unsent } => (upstream, unsent),
            Way::ToConnect { peer, request } => {
                let (peer, stream) =
                    forwarder.connect(peer, &self.site.upstreams).await.map_err(Stop::Failed)?;
                (Upstream { peer, stream }, request)
            }
        };
        if !unsent.is_empty() {
            let sent = upstream.stream.write_all(&unsent);
            // An error shows again when the answer is read: the app may have answered before.
            if tokio::time::timeout(forwarder.first_byte_timeout(), sent).await.is_err() {
                return Err(Stop::Failed(Failure::Timeout));
            }
        }
        Ok(upstream)
    }

    /// Tells the visitor that the app did not answer.
    async fn excuse<I>(&self, failure: Failure, visitor: &mut Downstream<'_, I>) -> Result<(), Gone>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        if !failure.is_the_visitors() {
            self.gate.note_health(&self.site, Some(self.now), true);
        }
        let response = self.gate.failed(&self.site, failure, self.language, self.page, &self.inside);
        say(response, self.to_head, visitor).await
    }
}
