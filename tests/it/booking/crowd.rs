//! A thousand random buyers while databases, hold store and bank fail, and what
//! became of them: judged by what the buyers were told, not by the audit alone.

mod judge;
mod restarts;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use usher::booking::SAMPLE_EVENT;
use usher::booking::accounts::Tokens;
use usher::booking::db::Db;
use usher::domain::order::AccountId;
use usher::domain::time::Timestamp;

use super::doubt::sqlx_cutter;
use crate::support::booking::{Database, TestBooking};
use crate::support::http::{Answer, Client};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::smtp::Sink;
use crate::support::toss::{self, Bank};

const AT_ONCE: usize = 48;
const SECRET: &str = "the crowd's tokens are signed with this";
/// Of those who have money at all.
const POINTS: i64 = 2_000_000;
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(240);

/// Something paid for, as its buyer was told.
#[derive(Clone, Debug, Default)]
struct Purchase {
    order: String,
    /// Those not given back.
    seats: BTreeSet<String>,
    amount: i64,
    refunded: i64,
    /// The bank's name for it; `None` = from the wallet.
    card: Option<String>,
}

/// What one buyer was told.
#[derive(Clone, Debug, Default)]
struct Story {
    buyer: u64,
    orders: BTreeSet<String>,
    paid: Vec<Purchase>,
    /// Approvals at the bank that bought nothing.
    unused: Vec<String>,
    failed: u32,
}

/// One in eight comes without money.
fn points(buyer: u64) -> i64 {
    if buyer % 8 == 7 { 0 } else { POINTS }
}

struct Buyer {
    number: u64,
    client: Client,
    dice: StdRng,
    requests: u32,
    story: Story,
}

impl Buyer {
    /// A client whose next request has a key of its own, however often it is sent.
    fn keyed(&mut self) -> Client {
        self.requests += 1;
        self.client.with("idempotency-key", &format!("b{}-{}", self.number, self.requests))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    /// Sends it until there is an answer that says something; now and then twice at once.
    async fn post(&mut self, path: &str, body: Value) -> Answer {
        let client = self.keyed();
        if self.chance(10) {
            let (one, two) =
                tokio::join!(insist(&client, path, Some(&body)), insist(&client, path, Some(&body)));
            assert_eq!((one.status, &one.bytes), (two.status, &two.bytes), "one key, one answer: {path}");
        }
        insist(&client, path, Some(&body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        insist(&self.client, path, None).await.expect(200)
    }

    fn wish(&mut self) -> Value {
        let count = self.dice.random_range(1..=4);
        if self.chance(50) {
            return json!({"best": {"count": count}});
        }
        let section = ["A", "B", "C"][self.dice.random_range(0..3)];
        let (row, first) = (self.dice.random_range(1..=10), self.dice.random_range(1..=14));
        json!({"seats": (first..first + count).map(|n| format!("{section}-{row}-{n}")).collect::<Vec<_>>()})
    }

    async fn live(mut self, bank: &Bank) -> Story {
        for _ in 0..3 {
            let wish = self.wish();
            let hold = self.post(&format!("/api/events/{SAMPLE_EVENT}/holds"), wish).await;
            if hold.status != 201 {
                let known = ["seats_taken", "none_left", "ticket_limit"];
                assert!(known.contains(&hold.code()), "{}", hold.json);
                continue;
            }
            self.buy(&hold.text("hold_id"), bank).await;
            if self.chance(70) {
                break;
            }
        }
        self.story
    }

    async fn buy(&mut self, hold: &str, bank: &Bank) {
        if self.chance(15) {
            let extended = self.post(&format!("/api/holds/{hold}/extend"), json!({})).await;
            assert!(extended.status == 200 || extended.status == 404, "{}", extended.json);
        }
        match self.dice.random_range(0..100) {
            // Walks away.
            0..6 => return,
            6..12 => {
                self.client.delete(&format!("/api/holds/{hold}")).await;
                return;
            }
            _ => {}
        }
        let order = self.post("/api/orders", json!({"hold_id": hold})).await;
        if order.status != 201 {
            // Lost with the hold store, or over.
            assert!(["hold_expired", "ticket_limit"].contains(&order.code()), "{}", order.json);
            return;
        }
        let id = order.text("order_id");
        self.story.orders.insert(id.clone());
        match self.dice.random_range(0..100) {
            0..5 => return,
            5..12 => {
                let path = format!("/api/orders/{id}/cancel");
                self.post(&path, json!({})).await;
                assert_ne!(self.get(&format!("/api/orders/{id}")).await.json["status"], "PENDING");
                return;
            }
            _ => {}
        }
        let card = self.chance(35);
        let key = if card { Some(self.agree(&order, bank).await) } else { None };
        let payment = match &key {
            Some(key) => {
                let body = json!({"paymentKey": key, "orderId": id, "amount": order.json["amount"]});
                self.post("/api/payments/confirm", body).await
            }
            None => self.post("/api/payments", json!({"order_id": id, "method": "points"})).await,
        };
        if payment.status == 202 {
            self.follow(&payment, &order, key).await;
        } else {
            assert!(["hold_expired", "order_cancelled"].contains(&payment.code()), "{}", payment.json);
            self.story.unused.extend(key);
        }
    }

    async fn agree(&mut self, order: &Answer, bank: &Bank) -> String {
        let wishes = if self.chance(12) { json!({"testCode": "REJECT_CARD_PAYMENT"}) } else { json!({}) };
        bank.agree_with(order, wishes).await
    }

    /// Looks at the payment until it is over, and perhaps gives some back.
    async fn follow(&mut self, payment: &Answer, order: &Answer, card: Option<String>) {
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        let looks = async {
            loop {
                let answer = self.get(&path).await;
                if answer.json["status"] != "PENDING" {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, looks).await.expect("no payment is pending for ever");
        if done.json["status"] != "COMPLETED" {
            self.story.failed += 1;
            self.story.unused.extend(card);
            return;
        }
        let id = order.text("order_id");
        match self.dice.random_range(0..100) {
            0..12 => {
                let seat = order.json["items"][0]["seat"].clone();
                self.post(&format!("/api/orders/{id}/cancel"), json!({"items": [seat]})).await;
            }
            12..22 => _ = self.post(&format!("/api/orders/{id}/cancel"), json!({})).await,
            _ => {}
        }
        let now = self.get(&format!("/api/orders/{id}")).await;
        let items = now.json["items"].as_array().expect("a list");
        let kept = items.iter().filter(|item| item["refunded"] == false);
        self.story.paid.push(Purchase {
            order: id,
            seats: kept.map(|item| item["seat"].as_str().expect("a text").to_owned()).collect(),
            amount: now.json["amount"].as_i64().expect("an amount"),
            refunded: now.json["refunded"].as_i64().expect("an amount"),
            card,
        });
    }
}

/// Asks until the answer is more than "not now".
async fn insist(client: &Client, path: &str, body: Option<&Value>) -> Answer {
    let asking = async {
        loop {
            let answer = match body {
                Some(body) => client.post(path, body.clone()).await,
                None => client.get(path).await,
            };
            if answer.status != 503 && answer.code() != "still_running" {
                assert!(!answer.status.is_server_error(), "{path}: {}", answer.json);
                return answer;
            }
            assert!(answer.code() == "still_running" || answer.code() == "unavailable", "{}", answer.json);
            assert!(answer.header("retry-after").is_some(), "{path}: not now, but when?");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{path}: not now, for ever"))
}

/// Accounts with money, signed in, without a password's time.
async fn buyers(office: &TestBooking, count: u64, seed: u64) -> Vec<Buyer> {
    let tokens = Tokens::new(SECRET.as_bytes());
    let now = Timestamp::from_millis(office.now_ms());
    let db = Db::open(&office.database).await.expect("the same database");
    let mut tx = db.begin().await.expect("a transaction");
    let mut buyers = Vec::new();
    for number in 0..count {
        let account = AccountId::from_bits(u128::from(number) + 1);
        let points = points(number);
        for sql in [
            "INSERT INTO accounts (id, email, name, password_hash, role, language, created_at)
             VALUES ($1, 'buyer' || $1 || '@example.org', 'Buyer', 'none', 'customer', 'en', $2)",
            "INSERT INTO wallets (account_id, balance, currency) VALUES ($1, $2, 'KRW')",
            "INSERT INTO ledger (account_id, kind, amount, reference, created_at)
             VALUES ($1, 'CHARGE', $2, 'begin', 0)",
        ] {
            sqlx::query(sql).bind(account.to_string()).bind(points).execute(&mut *tx).await.expect("runs");
        }
        let (token, _) = tokens.issue(account, now).expect("signs");
        buyers.push(Buyer {
            number,
            client: office.client.with("authorization", &format!("Bearer {token}")),
            dice: StdRng::seed_from_u64(seed.wrapping_mul(count).wrapping_add(number)),
            requests: 0,
            story: Story { buyer: number, ..Story::default() },
        });
    }
    tx.commit().await.expect("commits");
    buyers
}

/// What goes wrong, and time, ten times as fast as it goes by.
async fn faults(
    office: &TestBooking,
    bank: &Bank,
    redis: Option<&RedisServer>,
    database: Database,
) -> Infallible {
    let cutter = match database {
        Database::Postgres => Some(sqlx_cutter(&office.database).await),
        _ => None,
    };
    let db = Db::open(&office.database).await.expect("the same database");
    for step in 0_u32.. {
        office.advance(1);
        tokio::time::sleep(Duration::from_millis(100)).await;
        match step {
            3 | 23 => bank.fault(json!({"on": "confirm", "times": 3, "after": true, "silent": true})).await,
            9 | 29 => bank.fault(json!({"on": "read", "times": 2, "code": "PROVIDER_ERROR"})).await,
            12 | 32 => _ = redis.map(|redis| redis.command(&["FLUSHALL"])),
            6 | 15 | 26 | 35 => match &cutter {
                Some(cutter) => cutter.cut().await,
                // Somebody else keeps the only writer's place for a while.
                None => {
                    let held = db.begin().await.expect("a transaction");
                    tokio::time::sleep(Duration::from_millis(1_500)).await;
                    held.rollback().await.expect("rolls back");
                }
            },
            18 => _ = bank.tell(office, 3, true).await,
            _ => {}
        }
    }
    unreachable!("goes on for ever")
}

/// So many buyers until the last is done, while `trouble` goes on.
async fn crowd(
    office: &TestBooking,
    bank: &Bank,
    count: u64,
    seed: u64,
    trouble: impl Future<Output = Infallible>,
) -> Vec<Story> {
    let buyers = buyers(office, count, seed).await;
    let crowd = stream::iter(buyers).map(|buyer| buyer.live(bank)).buffer_unordered(AT_ONCE);
    let stories = tokio::select! {
        stories = crowd.collect() => stories,
        never = trouble => match never {},
    };
    bank.mend().await;
    stories
}

/// An office's settings in a crowd.
fn settings(sink: &Sink, redis: Option<&RedisServer>) -> impl FnOnce(&mut usher::config::Booking) {
    let (mail, url) = (sink.settings(), redis.map(RedisServer::url));
    |settings| {
        settings.mail = Some(mail);
        settings.redis_url = url;
        settings.jwt_secret = Some(SECRET.to_owned());
    }
}

fn quick(toss: &mut usher::config::Toss) {
    toss.timeout = Duration::from_secs(2);
}

async fn a_thousand_buyers(database: Database, redis: Option<RedisServer>, seed: u64) {
    let sink = Sink::start().await;
    let settings = settings(&sink, redis.as_ref());
    let Some((office, bank)) = toss::idle_office_with(database, quick, settings).await else { return };
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    let trouble = faults(&office, &bank, redis.as_ref(), database);
    let stories = crowd(&office, &bank, 1_000, seed, trouble).await;
    judge::at_rest(&office, seed).await;
    judge::look(&office, &bank, &sink)
        .await
        .judge(&stories)
        .unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    judge::much_happened(&stories, 1_000);
}

/// Printed by whatever fails.
fn seed() -> u64 {
    let seed = std::env::var("CROWD_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| u64::from(rand::random::<u32>()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_buyers_over_sqlite_with_faults() {
    a_thousand_buyers(Database::File, None, seed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_buyers_over_postgres_and_redis_with_faults() {
    if !skipped() {
        a_thousand_buyers(Database::Postgres, Some(RedisServer::start()), seed()).await;
    }
}
