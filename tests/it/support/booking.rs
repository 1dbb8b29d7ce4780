//! A booking office of one's own: a database, a manual clock, a port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use usher::booking::db::Db;
use usher::booking::{Booking, SAMPLE_EVENT};
use usher::clock::ManualClock;
use usher::config;
use usher::domain::time::Timestamp;

use super::http::{Answer, Client};

/// Where a test's rows live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// SQLite, in memory.
    Memory,
    /// SQLite, in a file.
    File,
    /// PostgreSQL.
    Postgres,
}

pub const ADMIN: (&str, &str) = ("admin@example.org", "admin's pass phrase");
pub const PASSWORD: &str = "a fan's pass phrase";

pub fn settings(database: &str) -> config::Booking {
    config::Booking {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: database.to_owned(),
        redis_url: None,
        hold_ttl: Duration::from_secs(7 * 60),
        hold_max: Duration::from_secs(15 * 60),
        hold_max_seats: 8,
        tickets_per_account: 8,
        refund_before: Duration::ZERO,
        refund_fee_percent: 0,
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        require_pass: false,
        assertion_keys: Vec::new(),
        jwt_secret: None,
        admin: Some((ADMIN.0.to_owned(), ADMIN.1.to_owned())),
        toss: None,
        mail: None,
        kafka: None,
        live: config::Live { sockets: 20_000, sockets_per_address: 0, idle_timeout: Duration::from_secs(60) },
    }
}

pub struct TestBooking {
    pub booking: Arc<Booking>,
    pub clock: Arc<ManualClock>,
    pub client: Client,
    pub database: String,
    pub stop: CancellationToken,
    _folder: tempfile::TempDir,
    fans: AtomicU32,
}

impl Drop for TestBooking {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestBooking {
    /// The sample event on sale; `None` when PostgreSQL is asked for and may be skipped.
    pub async fn open(database: Database) -> Option<Self> {
        Self::with(database, |_| {}).await
    }

    /// As [`open`](Self::open), with other settings.
    pub async fn with(database: Database, change: impl FnOnce(&mut config::Booking)) -> Option<Self> {
        let office = Self::idle(database, change).await?;
        tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
        Some(office)
    }

    /// An office whose background jobs do not run.
    pub async fn idle(database: Database, change: impl FnOnce(&mut config::Booking)) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let url = url(database, &folder).await?;
        Some(Self::idle_at(url, folder, change).await)
    }

    /// As [`idle`](Self::idle), over an empty database somewhere.
    pub async fn idle_at(
        url: String,
        folder: tempfile::TempDir,
        change: impl FnOnce(&mut config::Booking),
    ) -> Self {
        let mut settings = settings(&url);
        change(&mut settings);
        // 2026-11-21, 09:00 in Seoul.
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_219_200_000)));
        let booking = Booking::open(&settings, clock.clone()).await.expect("the office opens");
        booking.load_sample().await.expect("an empty database");
        let stop = CancellationToken::new();
        let client = Client::of(serve(&booking, &stop).await);
        Self { booking, clock, client, database: url, stop, _folder: folder, fans: AtomicU32::new(0) }
    }

    /// A second office over the same database.
    pub async fn twin(&self) -> (Arc<Booking>, Client) {
        self.twin_with(|_| {}).await
    }

    /// As [`twin`](Self::twin), with other settings.
    pub async fn twin_with(&self, change: impl FnOnce(&mut config::Booking)) -> (Arc<Booking>, Client) {
        let mut settings = settings(&self.database);
        change(&mut settings);
        let booking = Booking::open(&settings, self.clock.clone()).await.expect("opens");
        let client = Client::of(serve(&booking, &self.stop).await);
        tokio::spawn(Arc::clone(&booking).run(self.stop.clone()));
        (booking, client)
    }

    /// A signed-up fan with `points` to spend.
    pub async fn fan(&self, points: i64) -> Client {
        let email = format!("fan{}@example.org", self.fans.fetch_add(1, Ordering::Relaxed));
        let new = json!({"email": email, "password": PASSWORD, "name": "Fan"});
        // Passwords take their time on purpose: many at once are told to come again.
        let patient = self.client.clone().patient();
        patient.post("/api/accounts", new).await.expect(201);
        let mut fan = sign_in(&patient, &email, PASSWORD).await;
        if points > 0 {
            fan.post("/api/wallet/charges", json!({"amount": points})).await.expect(201);
        }
        fan.is_patient = false;
        fan
    }

    /// A signed-up fan of that name and language, with points; and the address.
    pub async fn fan_called(&self, name: &str, language: &str, points: i64) -> (Client, String) {
        let email = format!("named{}@example.org", self.fans.fetch_add(1, Ordering::Relaxed));
        let new = json!({"email": email, "password": PASSWORD, "name": name});
        let patient = self.client.clone().patient();
        patient.with("accept-language", language).post("/api/accounts", new).await.expect(201);
        let mut fan = sign_in(&patient, &email, PASSWORD).await;
        if points > 0 {
            fan.post("/api/wallet/charges", json!({"amount": points})).await.expect(201);
        }
        fan.is_patient = false;
        (fan, email)
    }

    pub async fn admin(&self) -> Client {
        let mut admin = sign_in(&self.client.clone().patient(), ADMIN.0, ADMIN.1).await;
        admin.is_patient = false;
        admin
    }

    #[track_caller]
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The clock's time.
    pub fn now_ms(&self) -> u64 {
        usher::clock::Clock::now(&*self.clock).as_millis()
    }

    /// The seat's status, as everybody sees it.
    pub async fn status(&self, seat: &str) -> String {
        let seats = self.client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
        let seats = seats.json["seats"].as_array().expect("a list").clone();
        let found = seats.into_iter().find(|found| found["id"] == seat);
        found.expect("a seat")["status"].as_str().expect("a text").to_owned()
    }

    #[track_caller]
    pub fn assert_sound(&self) -> impl Future<Output = ()> {
        let booking = Arc::clone(&self.booking);
        async move { assert_eq!(booking.audit().await.expect("an audit"), []) }
    }
}

/// A database without an office.
pub struct Bare {
    pub db: Db,
    url: String,
    _folder: tempfile::TempDir,
}

impl Bare {
    /// `None` when PostgreSQL is asked for and may be skipped.
    pub async fn open(database: Database) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let url = url(database, &folder).await?;
        Some(Self { db: Db::open(&url).await.expect("opens"), url, _folder: folder })
    }

    /// The same database over other connections, where there can be any.
    pub async fn again(&self) -> Db {
        if self.url == MEMORY { self.db.clone() } else { Db::open(&self.url).await.expect("opens") }
    }
}

const MEMORY: &str = "sqlite::memory:";

async fn url(database: Database, folder: &tempfile::TempDir) -> Option<String> {
    Some(match database {
        Database::Memory => MEMORY.to_owned(),
        Database::File => format!("sqlite:{}", folder.path().join("usher.db").display()),
        Database::Postgres => {
            tokio::task::spawn_blocking(super::postgres::database).await.expect("a thread")?
        }
    })
}

async fn serve(booking: &Arc<Booking>, stop: &CancellationToken) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (router, stop) = (booking.router(), stop.clone());
    tokio::spawn(async move {
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    });
    address
}

pub async fn sign_in(client: &Client, email: &str, password: &str) -> Client {
    let answer =
        client.post("/api/sessions", json!({"email": email, "password": password})).await.expect(201);
    client.with("authorization", &format!("Bearer {}", answer.text("access_token")))
}

/// What a fan does.
impl Client {
    pub async fn hold(&self, seats: &[&str]) -> Answer {
        self.post(&format!("/api/events/{SAMPLE_EVENT}/holds"), json!({"seats": seats})).await
    }

    pub async fn hold_best(&self, best: Value) -> Answer {
        self.post(&format!("/api/events/{SAMPLE_EVENT}/holds"), json!({"best": best})).await
    }

    pub async fn order(&self, hold: &Answer) -> Answer {
        self.post("/api/orders", json!({"hold_id": hold.json["hold_id"]})).await
    }

    pub async fn pay(&self, order: &Answer) -> Answer {
        self.post("/api/payments", json!({"order_id": order.json["order_id"], "method": "points"})).await
    }

    /// The payment's last answer, once it is no longer PENDING.
    pub async fn paid(&self, payment: &Answer) -> Answer {
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        until(async || {
            let answer = self.get(&path).await.expect(200);
            (answer.json["status"] != "PENDING").then_some(answer)
        })
        .await
    }

    /// From seats to tickets.
    pub async fn buy(&self, seats: &[&str]) -> Answer {
        let hold = self.hold(seats).await.expect(201);
        let order = self.order(&hold).await.expect(201);
        let payment = self.pay(&order).await.expect(202);
        self.paid(&payment).await
    }
}

/// Asks until there is an answer, for a minute at most.
pub async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("an answer within a minute")
}
