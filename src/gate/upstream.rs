//! The app's addresses: resolved again and again, watched, chosen in turn.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::uri::Authority;
use pingora_core::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::TcpHealthCheck;
use pingora_load_balancing::{Backend, Backends, Extensions};

/// Between two health checks.
const CHECK: Duration = Duration::from_secs(1);
/// Health checks between two name look-ups.
const RESOLVE_EVERY: u32 = 5;
/// Failed checks that take a peer out, and good ones that bring it back.
const DOWN_AFTER: usize = 3;
const UP_AFTER: usize = 2;

/// The app of one room.
///
/// Discovery and health are Pingora's. The turn is taken here, because its
/// selectors hand out copies of a backend with all that is attached to it,
/// which is several allocations for every request.
pub(super) struct Upstreams {
    backends: Backends,
    /// What the last look-up found.
    peers: ArcSwap<Vec<(Backend, Peer)>>,
    turn: AtomicUsize,
}

/// One address of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
}

impl Upstreams {
    /// The app at these `host:port`s.
    pub(super) fn new(upstreams: &[String]) -> Arc<Self> {
        let mut backends = Backends::new(Box::new(Names { names: upstreams.to_vec() }));
        let mut check = TcpHealthCheck::new();
        check.consecutive_failure = DOWN_AFTER;
        check.consecutive_success = UP_AFTER;
        check.peer_template.options.connection_timeout = Some(CHECK);
        backends.set_health_check(check);
        Arc::new(Self { backends, peers: ArcSwap::default(), turn: AtomicUsize::new(0) })
    }

    /// Resolves and checks for ever.
    pub(super) async fn run(&self) {
        for round in 0_u32.. {
            if round.is_multiple_of(RESOLVE_EVERY) {
                self.resolve().await;
            }
            self.backends.run_health_check(true).await;
            tokio::time::sleep(CHECK).await;
        }
    }

    /// Looks the names up once.
    pub(super) async fn resolve(&self) {
        let found = self.backends.update(|backends| {
            let peers = backends.iter().filter_map(|backend| Some((backend.clone(), peer(backend)?)));
            self.peers.store(Arc::new(peers.collect()));
        });
        if let Err(why) = found.await {
            tracing::warn!(%why, "upstream names were not resolved; the addresses known before stay");
        }
    }

    /// The next peer that is none of `tried`: a healthy one, else any, because
    /// one that came back a moment ago is not known to be healthy yet.
    pub(super) fn pick(&self, tried: &[SocketAddr]) -> Option<Peer> {
        let peers = self.peers.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % peers.len().max(1);
        let in_turn = || peers[turn..].iter().chain(&peers[..turn]);
        let fresh = || in_turn().filter(|(_, peer)| !tried.contains(&peer.address));
        fresh()
            .find(|(backend, _)| self.backends.ready(backend))
            .or_else(|| fresh().next())
            .map(|(_, peer)| peer.clone())
    }

    /// Peers known now.
    pub(super) fn count(&self) -> usize {
        self.peers.load().len()
    }
}

fn peer(backend: &Backend) -> Option<Peer> {
    let PingoraAddr::Inet(address) = backend.addr else { return None };
    Some(Peer { address, authority: backend.ext.get::<Authority>()?.clone() })
}

/// Names to look up.
struct Names {
    names: Vec<String>,
}

#[async_trait]
impl ServiceDiscovery for Names {
    async fn discover(&self) -> pingora_core::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        for name in &self.names {
            match tokio::net::lookup_host(name).await {
                Ok(addresses) => backends.extend(addresses.filter_map(backend)),
                Err(why) => {
                    tracing::warn!(upstream = %name, %why, "upstream name does not resolve");
                }
            }
        }
        if backends.is_empty() {
            return Err(pingora_core::Error::explain(
                pingora_core::ErrorType::ConnectNoRoute,
                "no upstream name resolves",
            ));
        }
        Ok((backends, HashMap::new()))
    }
}

fn backend(address: SocketAddr) -> Option<Backend> {
    let mut ext = Extensions::new();
    ext.insert(Authority::try_from(address.to_string()).ok()?);
    Some(Backend { addr: PingoraAddr::Inet(address), weight: 1, ext })
}
