//! The gate: what the crowd meets.
//!
//! Owns the way of a request: head checks, host and target, room,
//! credentials, [`decide`], act. Never waits for the store to forward a
//! request with a pass, and never calls the booking backend but over HTTP.

mod address;
mod answer;
mod api;
mod arrive;
mod assertion;
mod authz;
#[doc(hidden)]
pub mod bench;
mod body;
mod decide;
pub mod draw;
mod forward;
mod hand_over;
mod health;
mod introduce;
mod kind;
mod lane;
mod limit;
mod obey;
pub mod page;
mod poll;
mod request;
pub mod ring;
mod seal;
mod session;
mod shadow;
mod site;
mod strip;
mod upstream;
mod visit;
mod visitor;
mod wait;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config;
use crate::domain::id::VisitorId;
use crate::domain::time::Timestamp;
use crate::queue::Room;
use crate::server::{AtOnce, Handler, PlainRequest};
use crate::telemetry::Metrics;

use answer::close;
use assertion::Assertions;
use body::{Reply, Sent};
use decide::Endpoint;
use forward::Forwarder;
use limit::JoinLimit;
use page::Pages;
use request::Refusal;
use seal::Seal;
use site::{Site, Sites};
use visitor::Fields;
use wait::Begun;

thread_local! {
    // Spreads polls; seeded from the system, nothing secret depends on it.
    static CHANCE: RefCell<SmallRng> = RefCell::new(SmallRng::from_rng(&mut system_random()));
}

#[expect(clippy::disallowed_methods, reason = "this is the edge that takes randomness from the system")]
fn system_random() -> rand::rngs::ThreadRng {
    rand::rng()
}

/// Between two sweeps of forgotten sessions.
const SWEEP: Duration = Duration::from_secs(30);

/// What an app may be asked with.
const APP_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The gate before all rooms.
pub struct Gate {
    sites: ArcSwap<Sites>,
    seal: ArcSwap<Seal>,
    assertions: ArcSwap<Assertions>,
    pages: Pages,
    forwarder: Forwarder,
    joins: JoinLimit,
    config: config::Gate,
    chance: &'static std::thread::LocalKey<RefCell<SmallRng>>,
    request_ids: RequestIds,
    metrics: Arc<Metrics>,
    /// Work that outlives its request: tunnels, and words to the store.
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl Gate {
    /// A gate before these rooms; `keys` sign and verify.
    #[must_use]
    pub fn new(
        config: config::Gate,
        keys: &config::Keys,
        rooms: &[Arc<Room>],
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        // Behind a TLS balancer the visitors' side is TLS all the same.
        let tls = config.is_tls_for_visitors();
        let sites = rooms.iter().map(|room| Arc::new(Site::new(Arc::clone(room), tls))).collect();
        let seal = Seal::new(keys);
        let gate = Arc::new(Self {
            sites: ArcSwap::from_pointee(Sites::new(sites)),
            assertions: ArcSwap::from_pointee(Assertions::new(&seal)),
            seal: ArcSwap::from_pointee(seal),
            pages: Pages::new(),
            forwarder: Forwarder::new(config.limits.clone(), clock, tasks.clone(), metrics.forwarded.clone()),
            joins: JoinLimit::new(config.limits.joins_per_minute_per_address),
            config,
            chance: &CHANCE,
            request_ids: RequestIds::new(),
            metrics,
            tasks,
            cancel: CancellationToken::new(),
        });
        gate.set_pages();
        gate
    }

    /// Takes up the pages that the rooms' settings now have; they were judged
    /// with the settings.
    pub fn set_pages(&self) {
        for site in self.sites.load().all() {
            let config = site.room.config();
            site.page.store(page::own::of(config.page.as_deref(), &self.pages));
        }
    }

    /// Keeps upstreams resolved and checked, until the gate is stopped.
    pub async fn run(self: Arc<Self>) {
        let sites = self.sites.load_full();
        let watch = futures_util::future::join_all(sites.all().iter().map(|site| site.upstreams.run()));
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP).await;
                for site in self.sites.load().all() {
                    let limit = site.room.config().line.idle_timeout * 2;
                    site.sessions.forget(site.room.now(), limit.max(site.room.config().line.pass_ttl));
                }
            }
        };
        tokio::select! {
            () = self.cancel.cancelled() => {}
            _ = watch => {}
            () = sweep => {}
            () = self.forwarder.sweep() => {}
            () = self.keep_shadows() => {}
            () = self.tell_health() => {}
        }
    }

    /// Ends [`Gate::run`].
    pub fn stop(&self) {
        self.cancel.cancel();
    }

    /// Takes up changed signing keys; tokens of the key before stay good while
    /// it is the previous one.
    pub fn set_keys(&self, keys: &config::Keys) {
        let seal = Seal::new(keys);
        self.assertions.store(Arc::new(Assertions::new(&seal)));
        self.seal.store(Arc::new(seal));
    }

    /// Looks the upstreams' names up once, so that the first request finds them.
    pub async fn resolve(&self) {
        for site in self.sites.load().all() {
            site.upstreams.resolve().await;
        }
    }

    async fn answer(self: &Arc<Self>, peer: SocketAddr, request: Request<Incoming>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let page = wants_page(&parts);
        if let Err(refusal) = request::check(&parts) {
            return close(match refusal {
                Refusal::Malformed(why) => {
                    tracing::debug!(%peer, why, "malformed request");
                    self.problem(&parts.headers, false, kind::malformed(why))
                }
                Refusal::Method => self.wrong_method(&parts.headers, APP_METHODS),
            });
        }
        let address = address::client(peer, &parts.headers, &self.config.trusted_proxies);
        if let Some(endpoint) = Endpoint::of(parts.uri.path()) {
            return Box::pin(self.api(endpoint, parts, Sent::Right(body), peer, address)).await;
        }
        let sites = self.sites.load();
        match sites.find(&request::host(&parts), parts.uri.path()) {
            Some(site) => {
                let site = Arc::clone(site);
                drop(sites);
                Box::pin(self.visit(site, parts, body, peer, address, page)).await
            }
            None => self.problem(&parts.headers, page, kind::NO_ROOM),
        }
    }

    /// Whether a proxy between the visitor and this gate is believed.
    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.config.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}

impl Handler for Gate {
    type Body = Reply;
    type Relay = Begun;

    async fn handle(self: &Arc<Self>, peer: SocketAddr, request: Request<Incoming>) -> Response<Reply> {
        self.answer(peer, request).await
    }

    fn at_once(
        self: &Arc<Self>,
        peer: SocketAddr,
        request: &PlainRequest<'_>,
        now: Timestamp,
        answer: &mut Vec<u8>,
    ) -> AtOnce<Begun> {
        if self.poll_at_once(request, now, answer).is_some() {
            return AtOnce::Answered;
        }
        self.begin_at_once(peer, request, now, answer)
    }
}

/// A browser asks for a page.
fn wants_page(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD) && accepts_html(&parts.headers)
}

fn accepts_html(fields: &impl Fields) -> bool {
    let mut lines = fields.all(&ACCEPT);
    lines.any(|accept| accept.windows(9).any(|window| window.eq_ignore_ascii_case(b"text/html")))
}

/// 128 random bits.
fn new_visitor() -> VisitorId {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    VisitorId::from_bytes(bytes)
}

/// Names of requests: a random start and a counter.
struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        Self { start: system_random().random(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{n:08x}", self.start)
    }
}
