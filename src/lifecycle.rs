//! Signals, drain, shutdown.
//!
//! Owns how a process stops: not ready first, then no new connections, then
//! the requests under way within a bound, then the last words to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::Connections;

/// Pingora waits this long after it handed its listeners over.
const HAND_OVER: Duration = Duration::from_secs(6);
/// After Ctrl-C somebody is looking at a terminal.
const IMPATIENT: Duration = Duration::from_secs(2);

/// How a process stops.
#[derive(Debug)]
pub struct Lifecycle {
    stopping: AtomicBool,
    /// Listeners are about to close.
    pub draining: CancellationToken,
    drain_delay: Duration,
    stop_timeout: parking_lot::Mutex<Duration>,
    /// Tunnels and words to the store.
    pub tasks: TaskTracker,
}

impl Lifecycle {
    /// `drain_delay`: serving on, not ready; `stop_timeout`: for requests
    /// under way after that.
    #[must_use]
    pub fn new(drain_delay: Duration, stop_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            stopping: AtomicBool::new(false),
            draining: CancellationToken::new(),
            drain_delay,
            stop_timeout: parking_lot::Mutex::new(stop_timeout),
            tasks: TaskTracker::new(),
        })
    }

    /// Whether a load balancer should look elsewhere.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Waits for the signal, then until nothing is under way, or the bound.
    pub async fn drained(&self, connections: &[Arc<Connections>]) {
        self.draining.cancelled().await;
        let bound = *self.stop_timeout.lock();
        let under_way = || connections.iter().map(|c| c.open()).sum::<usize>() + self.tasks.len();
        let empty = async {
            while under_way() > 0 {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        if tokio::time::timeout(bound, empty).await.is_err() {
            tracing::warn!(under_way = under_way(), "stopping with requests under way");
        }
    }

    fn hurry(&self) {
        let mut bound = self.stop_timeout.lock();
        *bound = (*bound).min(IMPATIENT);
    }

    async fn not_ready_for(&self, delay: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        tokio::time::sleep(delay).await;
    }
}

/// SIGTERM stops in full, SIGINT in a hurry, SIGQUIT after handing the
/// listeners to a new process.
pub struct Signals(pub Arc<Lifecycle>);

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let life = &self.0;
        let wait = |kind| async move {
            let mut signals = signal(kind).expect("signal handlers can be installed");
            signals.recv().await;
        };
        tokio::select! {
            () = wait(SignalKind::terminate()) => {
                tracing::info!("stopping");
                life.not_ready_for(life.drain_delay).await;
            }
            () = wait(SignalKind::interrupt()) => {
                tracing::info!("stopping");
                life.hurry();
                life.not_ready_for(Duration::ZERO).await;
            }
            () = wait(SignalKind::quit()) => {
                tracing::info!("handing the listeners over");
                let life = Arc::clone(life);
                tokio::spawn(async move {
                    tokio::time::sleep(HAND_OVER).await;
                    life.draining.cancel();
                });
                return ShutdownSignal::GracefulUpgrade;
            }
        }
        life.draining.cancel();
        ShutdownSignal::GracefulTerminate
    }
}

/// Takes as many descriptors as the system allows: each waiting visitor holds one.
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(why) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%why, soft, "the limit on open files stays low");
    }
}
