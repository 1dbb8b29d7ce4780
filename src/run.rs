//! Puts a process together: settings in, a running server out.
//!
//! The only place where gate, booking and admin meet. Clock, keys, store,
//! rooms, listeners, in that order; then signals until the end.

mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use pingora_core::listeners::ListenerConfig;
use pingora_core::protocols::l4::stream::L4BufferSettings;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::admin::{Admin, Audit};
use crate::booking::Booking;
use crate::clock::{Clock, SystemClock};
use crate::config::reload::Reloader;
use crate::config::{self, Config, LoadError};
use crate::gate::{Gate, page};
use crate::keys;
use crate::lifecycle::{Lifecycle, Signals, raise_descriptor_limit};
use crate::queue::Room;
use crate::redis::Redis;
use crate::server::{Bounds, Certificate, Connections, Handler, HttpApp};
use crate::standin::{self, Mailbox, StandIn};
use crate::store::{MemoryStore, RedisStore, Store};
use crate::telemetry::{Dropped, Metrics, start_logging};

use web::Web;

/// A process being put together.
pub(crate) struct Process {
    /// Runs what is not a listener: ticks, stores, jobs.
    pub(crate) runtime: Runtime,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    dropped: Dropped,
    server: Server,
    connections: Vec<Arc<Connections>>,
    rooms: Vec<Arc<Room>>,
    gates: Vec<Arc<Gate>>,
    certificate: Option<Arc<Certificate>>,
}

impl Process {
    /// An empty process; logging has begun.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn new(config: &Config, upgrade: bool) -> anyhow::Result<Self> {
        let dropped = start_logging(&config.log);
        raise_descriptor_limit();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("usher-line")
            .enable_all()
            .build()
            .context("no runtime")?;
        let mut conf = ServerConf::new().ok_or_else(|| anyhow!("no server settings"))?;
        conf.threads = config.gate.threads;
        conf.upgrade_sock = upgrade_socket(config.gate.listen);
        // `finish` ends the process as soon as it is drained; this is the last resort.
        conf.grace_period_seconds = Some(config.gate.stop_timeout.as_secs() + 15);
        conf.graceful_shutdown_timeout_seconds = Some(1);
        let opt = Opt { upgrade, ..Opt::default() };
        let mut server = Server::new_with_opt_and_conf(opt, conf);
        server.bootstrap();
        Ok(Self {
            runtime,
            clock: Arc::new(SystemClock::new()),
            lifecycle: Lifecycle::new(config.gate.drain_delay, config.gate.stop_timeout),
            dropped,
            server,
            connections: Vec::new(),
            rooms: Vec::new(),
            gates: Vec::new(),
            certificate: None,
        })
    }

    /// Takes up changes of the settings for the rooms, keys and certificate of a gate.
    fn follow(&self, reloader: &Arc<Reloader>) {
        let mut changes = reloader.subscribe();
        let (rooms, gates, certificate) = (self.rooms.clone(), self.gates.clone(), self.certificate.clone());
        self.runtime.spawn(async move {
            while changes.changed().await.is_ok() {
                let config = Arc::clone(&changes.borrow_and_update());
                for room in &rooms {
                    let name = room.config().name.clone();
                    if let Some(new) = config.rooms.iter().find(|new| new.name == name) {
                        room.configure(Arc::clone(new));
                    }
                }
                gates.iter().for_each(|gate| gate.set_pages());
                if let Some((certificate, tls)) = certificate.as_ref().zip(config.gate.tls.as_ref()) {
                    // Judged before it was published.
                    match web::pair(tls) {
                        Ok(pair) => certificate.set(pair),
                        Err(why) => tracing::error!(%why, "the certificate before stays in force"),
                    }
                }
                if let Some(keys) = &config.gate.keys {
                    gates.iter().for_each(|gate| gate.set_keys(keys));
                }
            }
        });
        let reloader = Arc::clone(reloader);
        self.runtime.spawn(async move { reloader.run().await });
    }

    /// Adds the gate and its admin listener. `reloader` where a file is behind
    /// the settings.
    ///
    /// # Errors
    /// When store, keys or certificate cannot be used, or an address is taken.
    pub(crate) fn add_gate(
        &mut self,
        config: &Config,
        keys: &config::Keys,
        reloader: Option<&Arc<Reloader>>,
    ) -> anyhow::Result<()> {
        let store = self.runtime.block_on(open_store(&config.store, &self.clock))?;
        let metrics = Arc::new(Metrics::new(self.dropped.clone()));
        let rooms: Vec<_> = config
            .rooms
            .iter()
            .map(|room| {
                Room::new(Arc::clone(room), Arc::clone(&store), Arc::clone(&self.clock), keys.current)
            })
            .collect();
        let gate = Gate::new(
            config.gate.clone(),
            keys,
            &rooms,
            Arc::clone(&self.clock),
            Arc::clone(&metrics),
            self.lifecycle.tasks.clone(),
        );
        for room in &rooms {
            self.runtime.spawn(keep_going(Arc::clone(room)));
        }
        self.runtime.block_on(gate.resolve());
        self.runtime.spawn(Arc::clone(&gate).run());
        let limits = &config.gate.limits;
        let bounds = Bounds {
            head_bytes: limits.head_bytes,
            headers: limits.headers,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            requests: limits.requests_per_connection,
        };
        let connections = Connections::new(limits.connections, limits.connections_per_address);
        let pair = config.gate.tls.as_ref().map(web::pair).transpose().map_err(|why| anyhow!("{why}"))?;
        self.certificate = pair.map(Certificate::new);
        let tls = self.certificate.clone();
        self.listen("gate", config.gate.listen, Arc::clone(&gate), bounds, tls, connections)?;
        let admin = Admin {
            rooms: rooms.clone(),
            metrics,
            lifecycle: Arc::clone(&self.lifecycle),
            reloader: reloader.cloned(),
            token: config.admin.token.clone(),
            audit: Audit::default(),
            streams: Admin::streams(),
        };
        self.add_web("admin", config.admin.listen, admin.router())?;
        self.rooms.extend(rooms);
        self.gates.push(gate);
        if let Some(reloader) = reloader {
            self.follow(reloader);
        }
        Ok(())
    }

    /// Adds the booking office; `sample` loads the sample event into an empty database.
    ///
    /// # Errors
    /// When the database or its Redis cannot be used, or the address is taken.
    pub(crate) fn add_booking(&mut self, settings: &config::Booking, sample: bool) -> anyhow::Result<()> {
        let office = self.runtime.block_on(async {
            let office = Booking::open(settings, Arc::clone(&self.clock)).await.context("booking")?;
            if sample && !office.load_sample().await.context("booking")? {
                tracing::info!("the database has events already: the sample event was not loaded");
            }
            anyhow::Ok(office)
        })?;
        // Tracked: the process waits for payments under way and for goodbyes.
        let jobs = Arc::clone(&office).run(self.lifecycle.draining.clone());
        self.lifecycle.tasks.spawn_on(jobs, self.runtime.handle());
        self.add_web("booking", settings.listen, office.router())
    }

    /// Adds the payment stand-in.
    ///
    /// # Errors
    /// When the address is taken.
    pub(crate) fn add_stand_in(&mut self, options: standin::Options) -> anyhow::Result<()> {
        let listen = options.listen;
        self.add_web("toss-stand-in", listen, StandIn::new(options, Arc::clone(&self.clock)).router())
    }

    /// Adds a mailbox with its page on `page`; answers where it takes mail, on a free
    /// port of this machine.
    ///
    /// # Errors
    /// When there is no port, or the page's address is taken.
    pub(crate) fn add_mailbox(&mut self, page: SocketAddr) -> anyhow::Result<SocketAddr> {
        let mailbox = Mailbox::new(Arc::clone(&self.clock));
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = self.runtime.block_on(TcpListener::bind(anywhere)).context("mailbox")?;
        let address = listener.local_addr().context("mailbox")?;
        self.runtime.spawn(Arc::clone(&mailbox).serve(listener));
        self.add_web("mailbox", page, mailbox.router())?;
        Ok(address)
    }

    /// Adds an axum service with a listener of its own, in Pingora's descriptor table.
    ///
    /// # Errors
    /// When the address is taken.
    fn add_web(&mut self, name: &str, listen: SocketAddr, router: axum::Router) -> anyhow::Result<()> {
        let handler = Arc::new(Web::new(router));
        self.listen(name, listen, handler, Bounds::default(), None, Connections::new(None, None))
    }

    fn listen<H: Handler>(
        &mut self,
        name: &str,
        listen: SocketAddr,
        handler: Arc<H>,
        bounds: Bounds,
        tls: Option<Arc<Certificate>>,
        connections: Arc<Connections>,
    ) -> anyhow::Result<()> {
        if !self.server.options.as_ref().is_some_and(|opt| opt.upgrade) {
            // Pingora would give up in a thread of its own; say it in one line.
            is_free(listen).with_context(|| format!("{name}: cannot listen on {listen}"))?;
        }
        let app = HttpApp::new(handler, bounds, tls, Arc::clone(&connections), Arc::clone(&self.clock));
        let mut service = Service::new(name.to_owned(), app);
        let endpoint = ListenerConfig::tcp(listen.to_string()).l4_buffer(L4BufferSettings::unbuffered());
        service.add_listener(endpoint);
        service.threads = Some(if name == "gate" { self.server.configuration.threads } else { 1 });
        self.connections.push(connections);
        self.server.add_service(service);
        Ok(())
    }

    /// Serves until a signal, then stops in order and ends the process.
    pub(crate) fn run(self) -> ! {
        let Self { runtime, lifecycle, server, connections, rooms, gates, .. } = self;
        let life = Arc::clone(&lifecycle);
        runtime.spawn(async move {
            life.drained(&connections).await;
            finish(&rooms, &gates).await;
            std::process::exit(0);
        });
        server.run(RunArgs { shutdown_signal: Box::new(Signals(lifecycle)) });
        std::process::exit(0);
    }
}

/// Whether an address can be listened on. It is not, not even for a moment: who
/// connected then would be taken and cut off before anything is served.
///
/// # Errors
/// The system's word for why not.
fn is_free(address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As listeners do: connections that are just over keep no address.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Judges what only its users can: the rooms' pages, the certificate and its key.
///
/// # Errors
/// [`LoadError`] names everything that cannot be used.
pub(crate) fn judge(config: &Config) -> Result<(), LoadError> {
    page::own::check(config)?;
    match config.gate.tls.as_ref().map(web::pair) {
        Some(Err(why)) => Err(LoadError::Invalid(vec![why])),
        _ => Ok(()),
    }
}

/// Runs a room to its end; a defect of ours must not stand a line still.
async fn keep_going(room: Arc<Room>) {
    while let Err(why) = tokio::spawn(Arc::clone(&room).run()).await {
        tracing::error!(room = %room.config().name, %why, "the room's work broke off; it begins again");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// The last words to the store.
async fn finish(rooms: &[Arc<Room>], gates: &[Arc<Gate>]) {
    for gate in gates {
        gate.stop();
    }
    let ended = futures_util::future::join_all(rooms.iter().map(|room| room.stop()));
    if tokio::time::timeout(std::time::Duration::from_secs(2), ended).await.is_err() {
        tracing::warn!("the store did not hear the last words in time");
    }
    tracing::info!("stopped");
}

/// The store that the settings ask for.
///
/// # Errors
/// When Redis cannot be reached or must not be used.
pub(crate) async fn open_store(
    store: &config::Store,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match store {
        config::Store::Memory => Arc::new(MemoryStore::new(Arc::clone(clock))),
        config::Store::Redis { url, prefix } => {
            let redis = Redis::connect(url).await.with_context(|| "store.url".to_owned())?;
            Arc::new(RedisStore::new(redis, prefix))
        }
    })
}

/// The keys of the settings, or of the state file beside them, or fresh ones
/// where nothing outlives the process anyway.
pub(crate) fn gate_keys(config: &Config) -> anyhow::Result<config::Keys> {
    if let Some(keys) = &config.gate.keys {
        return Ok(keys.clone());
    }
    match &config.gate.key_file {
        Some(path) => {
            keys::load_or_make(path).with_context(|| format!("gate.keys: state file {}", path.display()))
        }
        None => Ok(config::Keys { current: keys::generate(), previous: None }),
    }
}

/// Where the old process hands its listeners to the new one.
fn upgrade_socket(listen: SocketAddr) -> String {
    let folder = std::env::var("XDG_RUNTIME_DIR").map_or_else(|_| std::env::temp_dir(), Into::into);
    folder.join(format!("usher-{}.sock", listen.port())).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_free_when_nobody_listens_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let taken = is_free(address).expect_err("somebody listens there");
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        is_free(address).expect("nobody does");
    }
}
