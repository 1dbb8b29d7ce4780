//! The booking office: what the gate protects, and what runs without it too.
//!
//! Owns events, seats, holds, orders, payments, wallets and tickets, behind an
//! HTTP API and a plain page. Never knows of lines or places: of the gate it
//! sees only the signed assertion that lets a caller in, and tells it by
//! `Usher-Command` when a purchase begins and ends.

pub mod accounts;
pub mod admission;
pub mod audit;
pub mod db;
pub mod events;
pub mod holds;
pub mod idempotency;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(not(feature = "kafka"))]
#[path = "booking/no_kafka.rs"]
mod kafka;
pub mod live;
pub mod mail;
pub mod openapi;
pub mod orders;
pub mod outbox;
pub mod page;
pub mod paging;
pub mod pass;
pub mod payments;
pub mod plan;
pub mod problem;
mod providers;
pub mod reaper;
pub mod seats;
mod socket;
pub mod support;
pub mod tickets;
pub mod wallet;

use std::sync::Arc;

use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config;
use crate::domain::seat::EventId;
use crate::domain::time::Timestamp;
use crate::redis::{ConnectError, Redis};
use accounts::{Attempts, Passwords, Tokens};
use db::{Db, DbError, RowExt as _};
use events::{Layouts, SoldAs};
use holds::{HoldStore, Holds, MemoryHolds, RedisHolds};
use kafka::Bus;
use live::Live;
use mail::Mailer;
use outbox::{Relay, Targets};
use pass::Passes;
use payments::{Asked, Ends};
use providers::Toss;
use support::Support;
use tickets::Codes;

pub use audit::Finding;
pub use events::sample::ID as SAMPLE_EVENT;

/// Relays of one process where each message goes over the network.
const RELAYS: usize = 4;
/// What the gate is told: a purchase begins (`extend=SECONDS`) or is done (`complete`).
const COMMAND: &str = "usher-command";
/// What the gate is told of the seats left.
const STOCK: &str = "usher-stock";

/// Card payments asked about at once.
const CARD_WORKERS: usize = 16;

/// Why the office does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database does not come up.
    #[error("the booking database cannot be used")]
    Database(#[from] DbError),
    /// No random bytes, or a key the library refuses.
    #[error("keys cannot be made: {0}")]
    Keys(String),
    /// The first administrator cannot be made.
    #[error("the administrator of the settings cannot be made: {0}")]
    Admin(&'static str),
    /// The Redis for holds is not there, or must not be used.
    #[error("booking.redis_url")]
    Holds(#[from] ConnectError),
    /// The mail server of the settings cannot be set up.
    #[error(transparent)]
    Mail(#[from] mail::BadServer),
    /// The card payment provider's client cannot be made.
    #[error("booking.toss: {0}")]
    Toss(String),
    /// The settings of Kafka are refused.
    #[error("booking.kafka: {0}")]
    Kafka(String),
    /// Something is asked for that this build does not do.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// What the keys of holds in Redis begin with.
const HOLDS_PREFIX: &str = "usher-booking";

/// The booking office.
pub struct Booking {
    settings: config::Booking,
    clock: Arc<dyn Clock>,
    db: Db,
    holds: Holds,
    layouts: Layouts,
    bodies: seats::Bodies,
    plans: seats::Bodies,
    passwords: Passwords,
    attempts: Attempts,
    tokens: Tokens,
    passes: Passes,
    codes: Codes,
    relay: Relay,
    live: Live,
    support: Support,
    mailer: Option<Mailer>,
    kafka: Option<Bus>,
    /// The card payment provider.
    toss: Option<Toss>,
    /// Payments with points that were asked for here.
    asked: Asked,
    /// Payments whose end is waited for.
    ends: Ends,
    /// Rung when a payment by card was asked for.
    card_work: Notify,
    /// Rung with Kafka when a payment was asked for.
    relay_work: Notify,
    /// Rung when money is owed back through the provider.
    refund_work: Notify,
    /// Rung when the provider told something.
    hook_work: Notify,
    /// Draws among near-equal seats.
    lot: Mutex<StdRng>,
}

impl std::fmt::Debug for Booking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Booking").field("settings", &self.settings.listen).finish_non_exhaustive()
    }
}

impl Booking {
    /// Connects, brings the database up to date and makes what is missing: keys,
    /// the administrator of the settings.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(settings: &config::Booking, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let redis = match &settings.redis_url {
            Some(url) => Some(Redis::connect(url).await?),
            None => None,
        };
        let holds: Arc<dyn HoldStore> = match &redis {
            Some(redis) => Arc::new(RedisHolds::new(redis.clone(), HOLDS_PREFIX)),
            None => Arc::new(MemoryHolds::default()),
        };
        let db = Db::open(&settings.database).await?;
        let jwt_secret = match &settings.jwt_secret {
            Some(secret) => secret.clone(),
            None => secret(&db, "jwt_secret").await?,
        };
        let code_key = secret(&db, "ticket_key").await?;
        let keys = |why: &dyn std::fmt::Display| OpenError::Keys(why.to_string());
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|why| keys(&why))?;
        let mail = settings.mail.as_ref();
        let kafka = settings.kafka.as_ref().map(Bus::open).transpose()?;
        let mut targets = Targets::new();
        targets.extend(kafka.as_ref().map(Bus::target));
        if mail.is_some() {
            let except = if kafka.is_some() { kafka::MAILED } else { &[] };
            targets.push(Arc::new(mail::Intake::new(db.clone(), Arc::clone(&clock), except)));
        }
        let booking = Arc::new(Self {
            settings: settings.clone(),
            relay: Relay::new(db.clone(), Arc::clone(&clock), targets),
            live: Live::new(&settings.live, redis.map(|redis| (redis, HOLDS_PREFIX))),
            support: Support::new(settings.live.sockets, settings.live.sockets_per_address),
            mailer: mail.map(|mail| Mailer::open(db.clone(), mail)).transpose()?,
            kafka,
            clock,
            holds: Holds::new(holds, db.clone()),
            layouts: Layouts::new(db.clone()),
            bodies: seats::Bodies::default(),
            plans: seats::Bodies::default(),
            passwords: Passwords::new().map_err(|why| keys(&why))?,
            attempts: Attempts::new(db.clone()),
            tokens: Tokens::new(jwt_secret.as_bytes()),
            passes: Passes::new(&settings.assertion_keys),
            codes: Codes::new(code_key.as_bytes()).map_err(|why| keys(&why))?,
            toss: settings.toss.as_ref().map(Toss::new).transpose().map_err(OpenError::Toss)?,
            asked: Asked::default(),
            ends: Ends::default(),
            card_work: Notify::new(),
            relay_work: Notify::new(),
            refund_work: Notify::new(),
            hook_work: Notify::new(),
            lot: Mutex::new(StdRng::from_seed(seed)),
            db,
        });
        if let Some((email, password)) = &settings.admin {
            let made = booking.ensure_admin(email, password).await;
            made.map_err(|problem| OpenError::Admin(problem.code().as_str()))?;
        }
        Ok(booking)
    }

    /// Everything over HTTP: the API, its description, the page, health.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        openapi::router(Arc::clone(self))
    }

    /// Runs the background jobs until `shutdown`, and a payment under way to its end.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let jobs = TaskTracker::new();
        let writers = self.db.writers();
        match &self.kafka {
            Some(kafka) => kafka.spawn(&self, &jobs, &shutdown),
            None => (0..writers).for_each(|i| {
                jobs.spawn(Arc::clone(&self).run_points(i > 0, shutdown.clone()));
            }),
        }
        // They wait for the provider, not for the database; without one, what
        // was begun before is still put before people.
        for i in 0..if self.toss.is_some() { CARD_WORKERS } else { 1 } {
            jobs.spawn(Arc::clone(&self).run_cards(i > 0, shutdown.clone()));
        }
        if self.toss.is_some() {
            jobs.spawn(Arc::clone(&self).run_refunds(shutdown.clone()));
            jobs.spawn(Arc::clone(&self).run_webhooks(shutdown.clone()));
            jobs.spawn(Arc::clone(&self).run_reconciler(shutdown.clone()));
        }
        jobs.spawn(Arc::clone(&self).run_reaper(shutdown.clone()));
        for _ in 0..self.mailers() {
            jobs.spawn(Arc::clone(&self).run_mailer(shutdown.clone()));
        }
        jobs.spawn(Arc::clone(&self).run_live(shutdown.clone()));
        jobs.spawn(Arc::clone(&self).run_support(shutdown.clone()));
        // A relay waits for each message's receipt.
        for _ in 0..if self.kafka.is_some() { writers.min(RELAYS) } else { 1 } {
            jobs.spawn(Arc::clone(&self).run_relay(shutdown.clone()));
        }
        jobs.close();
        jobs.wait().await;
    }

    /// Puts the sample event into a database without events; whether it did.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn load_sample(&self) -> Result<bool, DbError> {
        let row = sqlx::query("SELECT COUNT(*) AS events FROM events").fetch_one(self.db.read()).await?;
        if row.int("events")? > 0 {
            return Ok(false);
        }
        let Ok(id) = SAMPLE_EVENT.parse::<EventId>() else { return Ok(false) };
        match self.create_event(&id, SoldAs::Hall, &events::sample::event(self.now())).await {
            Ok(()) => Ok(true),
            Err(problem) => Err(DbError::Corrupt(format!("the sample event: {}", problem.code().as_str()))),
        }
    }

    /// Closes the database connections, waiting for those in use.
    pub async fn close(&self) {
        self.db.close().await;
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A secret that every process over this database shares, made by the first.
async fn secret(db: &Db, name: &str) -> Result<String, OpenError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|why| OpenError::Keys(why.to_string()))?;
    let fresh: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut tx = db.begin().await?;
    sqlx::query("INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(fresh)
        .execute(&mut *tx)
        .await
        .map_err(DbError::from)?;
    let row = sqlx::query("SELECT value FROM facts WHERE name = $1").bind(name).fetch_one(&mut *tx).await;
    let value = row.map_err(DbError::from)?.text("value")?;
    tx.commit().await.map_err(DbError::from)?;
    Ok(value)
}
