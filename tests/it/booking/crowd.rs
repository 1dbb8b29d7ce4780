//! A thousand random buyers while databases, hold store and bank fail, and what
//! became of them: judged by what the buyers were told, not by the audit alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
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

const BUYERS: u64 = 1_000;
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
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{path}: not now, for ever"))
}

/// Accounts with money, signed in, without a password's time.
async fn buyers(office: &TestBooking, seed: u64) -> Vec<Buyer> {
    let tokens = Tokens::new(SECRET.as_bytes());
    let now = Timestamp::from_millis(office.now_ms());
    let db = Db::open(&office.database).await.expect("the same database");
    let mut tx = db.begin().await.expect("a transaction");
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        let account = AccountId::from_bits(u128::from(number) + 1);
        // One in eight comes without money.
        let points = if number % 8 == 7 { 0 } else { POINTS };
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
            dice: StdRng::seed_from_u64(seed.wrapping_mul(BUYERS).wrapping_add(number)),
            requests: 0,
            story: Story { buyer: number, ..Story::default() },
        });
    }
    tx.commit().await.expect("commits");
    buyers
}

/// Who has which seat, by what the buyers were told.
fn owners(stories: &[Story]) -> Result<BTreeMap<String, u64>, String> {
    let mut owners = BTreeMap::new();
    for story in stories {
        for seat in story.paid.iter().flat_map(|purchase| &purchase.seats) {
            if let Some(other) = owners.insert(seat.clone(), story.buyer) {
                return Err(format!("{seat} was sold to {other} and to {}", story.buyer));
            }
        }
    }
    Ok(owners)
}

/// What a wallet holds after this story.
fn balance(story: &Story) -> i64 {
    let spent = story.paid.iter().filter(|paid| paid.card.is_none()).map(|paid| paid.amount - paid.refunded);
    (if story.buyer % 8 == 7 { 0 } else { POINTS }) - spent.sum::<i64>()
}

/// What goes wrong, and time, ten times as fast as it goes by.
async fn faults(office: &TestBooking, bank: &Bank, redis: Option<&RedisServer>, database: Database) {
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
}

async fn a_thousand_buyers(database: Database, redis: Option<RedisServer>, seed: u64) {
    let sink = Sink::start().await;
    let (mail, url) = (sink.settings(), redis.as_ref().map(RedisServer::url));
    let settings = |settings: &mut usher::config::Booking| {
        settings.mail = Some(mail);
        settings.redis_url = url;
        settings.jwt_secret = Some(SECRET.to_owned());
    };
    let change = |toss: &mut usher::config::Toss| toss.timeout = Duration::from_secs(2);
    let Some((office, bank)) = toss::idle_office_with(database, change, settings).await else { return };
    tokio::spawn(std::sync::Arc::clone(&office.booking).run(office.stop.clone()));
    let buyers = buyers(&office, seed).await;
    let crowd = stream::iter(buyers).map(|buyer| buyer.live(&bank)).buffer_unordered(AT_ONCE);
    let stories: Vec<Story> = tokio::select! {
        stories = crowd.collect() => stories,
        () = faults(&office, &bank, redis.as_ref(), database) => unreachable!("goes on for ever"),
    };
    bank.mend().await;
    judge(&office, &bank, &sink, &stories, seed).await;
}

async fn judge(office: &TestBooking, bank: &Bank, sink: &Sink, stories: &[Story], seed: u64) {
    let db = Db::open(&office.database).await.expect("the same database");
    // Whatever is left comes to its end.
    let open = "SELECT (SELECT COUNT(*) FROM orders WHERE status IN ('PENDING', 'PAYING'))
                + (SELECT COUNT(*) FROM refunds WHERE status <> 'DONE')
                + (SELECT COUNT(*) FROM mails WHERE status = 'WAITING')
                + (SELECT COUNT(*) FROM outbox WHERE relayed_at IS NULL)";
    let draining = async {
        loop {
            office.advance(30);
            // One mailer beside SQLite would take a minute over them.
            join_all((0..8).map(|_| async { while let Ok(true) = office.booking.mail_once().await {} }))
                .await;
            let left = sqlx::query(open).fetch_one(db.read()).await;
            if left.is_ok_and(|row| sqlx::Row::get::<i64, _>(&row, 0) == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.unwrap_or_else(|_| panic!("seed {seed}: never at rest"));
    office.booking.reap_once().await.expect("reaps");
    office.booking.heal_once().await.expect("heals");
    assert_eq!(office.booking.audit().await.expect("an audit"), [], "seed {seed}");

    let owners = owners(stories).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    let seats = office.client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
    let seats = seats.json["seats"].as_array().expect("a list");
    for seat in seats {
        let sold = owners.contains_key(seat["id"].as_str().expect("a text"));
        assert_eq!(seat["status"], if sold { "SOLD" } else { "AVAILABLE" }, "seed {seed}: {seat}");
    }
    let row = sqlx::query("SELECT COUNT(*) FROM tickets WHERE status = 'VALID'").fetch_one(db.read()).await;
    assert_eq!(sqlx::Row::get::<i64, _>(&row.expect("a row"), 0), owners.len() as i64, "seed {seed}");
    let rows =
        sqlx::query("SELECT account_id, balance FROM wallets").fetch_all(db.read()).await.expect("rows");
    let balances: BTreeMap<String, i64> =
        rows.iter().map(|row| (sqlx::Row::get(row, 0), sqlx::Row::get(row, 1))).collect();
    for story in stories {
        let account = AccountId::from_bits(u128::from(story.buyer) + 1).to_string();
        assert_eq!(balances[&account], balance(story), "seed {seed}: {story:?}");
    }

    let all = bank.client.get("/stand-in/payments").await.expect(200);
    let all = all.json["items"].as_array().expect("a list");
    let there: BTreeMap<&str, &Value> =
        all.iter().map(|payment| (payment["paymentKey"].as_str().expect("a text"), payment)).collect();
    for paid in stories.iter().flat_map(|story| &story.paid) {
        let Some(key) = &paid.card else { continue };
        let payment = there[key.as_str()];
        let taken = (&payment["captures"], &payment["doubles"], &payment["balanceAmount"]);
        assert_eq!(
            taken,
            (&json!(1), &json!(0), &json!(paid.amount - paid.refunded)),
            "seed {seed}: {payment}"
        );
    }
    for key in stories.iter().flat_map(|story| &story.unused) {
        let payment = there[key.as_str()];
        let kept = payment["captures"] != 0 && payment["balanceAmount"] != 0;
        assert!(!kept, "seed {seed}: money for nothing: {payment}");
    }

    // A mail may come again after a broken connection, under its own name.
    let mails: BTreeMap<String, String> =
        sink.mails().iter().map(|mail| (mail.header("message-id").expect("an id"), mail.text())).collect();
    for paid in stories.iter().flat_map(|story| &story.paid) {
        let of = mails.values().filter(|text| text.contains(&paid.order)).count();
        assert_eq!(of, 1 + usize::from(paid.refunded > 0), "seed {seed}: {paid:?}");
    }
    let count = |of: fn(&Story) -> usize| stories.iter().map(of).sum::<usize>();
    let told = (owners.len(), count(|story| story.paid.len()), count(|story| story.failed as usize));
    assert!(told.0 > 300 && told.1 > 200 && told.2 > 10, "seed {seed}: hardly anything happened: {told:?}");
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

#[test]
fn a_seat_that_two_were_told_is_theirs_is_noticed() {
    let told = |buyer, seats: &[&str]| Story {
        buyer,
        paid: vec![Purchase {
            seats: seats.iter().map(ToString::to_string).collect(),
            ..Purchase::default()
        }],
        ..Story::default()
    };
    assert!(owners(&[told(1, &["A-1-1"]), told(2, &["A-1-2"])]).is_ok());
    assert!(owners(&[told(1, &["A-1-1"]), told(2, &["A-1-1", "A-1-2"])]).is_err());
}
