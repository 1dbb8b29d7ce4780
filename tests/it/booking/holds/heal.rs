//! Hold stores that missed what happened, and the healer that tells them.

use std::time::Duration;

use serde_json::json;
use usher::booking::SAMPLE_EVENT;
use usher::booking::db::Db;
use usher::booking::holds::{HoldStore as _, RedisHolds};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::{Changes, Wanted};
use usher::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, SeatIndex, SeatStatus};
use usher::domain::time::Timestamp;
use usher::redis::Redis;

use super::office;
use crate::support::booking::{Database, TestBooking, until};
use crate::support::http::Client;
use crate::support::redis_server::{RedisServer, skipped};

/// What the seat looks like, asked at one office.
async fn seen(client: &Client, seat: &str) -> String {
    let seats = client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
    let seats = seats.json["seats"].as_array().expect("a list").clone();
    let found = seats.into_iter().find(|found| found["id"] == seat).expect("a seat");
    found["status"].as_str().expect("a text").to_owned()
}

/// Heals until the seat looks as it should at this office, and asserts that it
/// stays so: the background jobs heal, too, and either may be first.
async fn healed(booking: &usher::booking::Booking, client: &Client, seat: &str, status: &str) {
    until(async || {
        booking.heal_once().await.expect("heals");
        (seen(client, seat).await == status).then_some(())
    })
    .await;
    assert_eq!(booking.heal_once().await.expect("heals"), 0, "nothing is left to do");
}

/// Offices whose holds are in their own memory hear nothing of each other.
async fn what_another_office_sold_is_seen(database: Database) {
    let Some(office) = TestBooking::idle(database, |_| {}).await else { return };
    let (twin, there) = office.twin().await;
    let fan = office.fan(1_000_000).await;
    // Both know the event from before the sale.
    assert_eq!(seen(&office.client, "A-1-1").await, "AVAILABLE");
    let other = fan.at(&there);
    let paid = other.buy(&["A-1-1", "A-1-2"]).await;
    assert_eq!(paid.json["status"], "COMPLETED");
    assert_eq!(seen(&office.client, "A-1-1").await, "AVAILABLE", "nobody has told it");
    assert_eq!(office.booking.heal_once().await.expect("heals"), 2);
    assert_eq!(seen(&office.client, "A-1-1").await, "SOLD");
    assert_eq!(office.booking.heal_once().await.expect("heals"), 0);
    let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
    other.post(&cancel, json!({"items": ["A-1-2"]})).await.expect(200);
    assert_eq!(seen(&office.client, "A-1-2").await, "SOLD", "nobody has told it");
    assert_eq!(office.booking.heal_once().await.expect("heals"), 1);
    assert_eq!(seen(&office.client, "A-1-2").await, "AVAILABLE");
    // An office that was behind gives holds which can be paid for, and heals the other in turn.
    let order = fan.ordered(&["A-1-2"]).await;
    fan.pay(&order).await.expect(202);
    healed(&twin, &there, "A-1-2", "SOLD").await;
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_office_sold_is_seen_on_sqlite() {
    what_another_office_sold_is_seen(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_office_sold_is_seen_on_postgres() {
    what_another_office_sold_is_seen(Database::Postgres).await;
}

/// The store of an office, over a connection of one's own.
async fn store_of(redis: &RedisServer) -> RedisHolds {
    let redis = Redis::connect_with(&redis.url(), Duration::from_secs(60)).await.expect("it runs");
    RedisHolds::new(redis, "usher-booking")
}

fn event() -> EventId {
    SAMPLE_EVENT.parse().expect("an id")
}

async fn column(db: &Db, sql: &'static str) -> i64 {
    sqlx::Row::get(&sqlx::query(sql).fetch_one(db.read()).await.expect("a row"), 0)
}

/// Each way in which a store can differ, planted behind the office's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_difference_is_put_right_and_announced() {
    if skipped() {
        return;
    }
    for database in [Database::File, Database::Postgres] {
        let redis = RedisServer::start();
        let url = redis.url();
        let office = TestBooking::idle(database, move |settings| settings.redis_url = Some(url)).await;
        let Some(office) = office else { continue };
        let fan = office.fan(1_000_000).await;
        let order = fan.ordered(&["A-1-1", "A-1-2"]).await;
        fan.pay(&order).await.expect(202);
        assert!(office.booking.pay_once().await.expect("pays"));
        let paying = fan.ordered(&["A-1-3"]).await;
        fan.pay(&paying).await.expect(202);
        office.booking.heal_once().await.expect("heals");

        let db = Db::open(&office.database).await.expect("the same database");
        let idx = async |sql| SeatIndex(u32::try_from(column(&db, sql).await).expect("an index"));
        let epoch = async |sql| HoldEpoch::from_u64(u64::try_from(column(&db, sql).await).expect("an epoch"));
        let sold = idx("SELECT idx FROM seats WHERE id = 'A-1-1'").await;
        let beside = idx("SELECT idx FROM seats WHERE id = 'A-1-2'").await;
        let paid = idx("SELECT idx FROM seats WHERE id = 'A-1-3'").await;
        let free = idx("SELECT idx FROM seats WHERE id = 'B-1-1'").await;
        let of_sold = epoch("SELECT epoch FROM seats WHERE id = 'A-1-1'").await;
        let of_paid = epoch("SELECT epoch FROM seats WHERE id = 'A-1-3'").await;
        let store = store_of(&redis).await;
        let now = Timestamp::from_millis(office.now_ms());
        let looks = async || store.inside(&event()).await.expect("loaded");
        let before = looks().await;
        let want = |n: u128, seats: Vec<SeatIndex>| Wanted {
            id: HoldId::of(&event(), n << 32),
            owner: AccountId::from_bits(n),
            seats,
            until: Timestamp::from_millis(office.now_ms() + 600_000),
            cap: 8,
        };
        // Its hold was given back behind the payment's back: the seat looks free.
        let plants: [(&str, SeatIndex); 4] = [
            ("a sale that was missed", sold),
            ("a sale whose seat a newer hold has", sold),
            ("a payment that was missed", paid),
            ("a seat that is sold here only", free),
        ];
        for (what, seat) in plants {
            let looked = store.seats(&event(), now).await.expect("loaded");
            match what {
                "a sale that was missed" => {
                    store.settle(&event(), &[sold], of_sold, Outcome::Free).await.expect("told");
                }
                "a sale whose seat a newer hold has" => {
                    store.settle(&event(), &[sold, beside], of_sold, Outcome::Free).await.expect("told");
                    store.hold(&event(), want(9, vec![sold, beside, free]), now).await.expect("looks free");
                }
                "a payment that was missed" => {
                    store.settle(&event(), &[paid], of_paid, Outcome::Free).await.expect("told");
                }
                _ => store.settle(&event(), &[free], of_sold, Outcome::Sold).await.expect("told"),
            }
            let wrong = store.seats(&event(), now).await.expect("loaded");
            assert_ne!(wrong.statuses[seat.at()], looked.statuses[seat.at()], "{what}");
            assert!(office.booking.heal_once().await.expect("heals") > 0, "{what}");
            let right = store.seats(&event(), now).await.expect("loaded");
            assert_eq!(right.statuses, looked.statuses, "{what}");
            // Whoever followed the changes has seen it.
            let Ok(Changes::Since { seats, .. }) = store.changes(&event(), wrong.version, now).await else {
                panic!("{what}: a gap")
            };
            let told = seats.iter().rev().find(|(of, _)| *of == seat).map(|(_, status)| *status);
            assert_eq!(told, Some(looked.statuses[seat.at()]), "{what}");
            assert_eq!(office.booking.heal_once().await.expect("heals"), 0, "{what}: once is enough");
        }
        assert_eq!(looks().await.seats[sold.at()], before.seats[sold.at()], "under its own epoch");
        // The clock of what is being paid for was let go behind the payment's back.
        let hold = sqlx::query("SELECT hold_id FROM orders WHERE status = 'PAYING'");
        let hold: String = sqlx::Row::get(&hold.fetch_one(db.read()).await.expect("a row"), 0);
        let hold: HoldId = hold.parse().expect("an id");
        store.settle(&event(), &[paid], of_paid, Outcome::Free).await.expect("told");
        let again = Wanted { id: hold, owner: AccountId::from_bits(3), ..want(3, vec![paid]) };
        let again = store.hold(&event(), again, now).await.expect("looks free");
        assert!(again.epoch > of_paid);
        assert!(office.booking.heal_once().await.expect("heals") > 0);
        assert_eq!(looks().await.seats[paid.at()], before.seats[paid.at()], "the newer hold is over");
        assert!(office.booking.pay_once().await.expect("pays"), "the payment goes on");
        assert_eq!(fan.order_status(&paying).await, "PAID");
        assert_eq!(seen(&office.client, "A-1-3").await, "SOLD");
        office.assert_sound().await;
    }
}

/// What is being paid for has no deadline, also when a clock was let go by mistake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_runs_during_a_payment_is_stopped() {
    if skipped() {
        return;
    }
    let redis = RedisServer::start();
    let url = redis.url();
    let office = TestBooking::idle(Database::File, move |settings| settings.redis_url = Some(url)).await;
    let office = office.expect("no server is needed");
    let fan = office.fan(1_000_000).await;
    let hold = fan.hold(&["A-1-1"]).await.expect(201);
    let order = fan.order(&hold).await.expect(201);
    fan.pay(&order).await.expect(202);
    let store = store_of(&redis).await;
    let running = async || store.paying().await.expect("answers").is_empty();
    assert!(!running().await);
    store.loosen(hold.text("hold_id").parse().expect("an id")).await.expect("told");
    assert!(running().await);
    assert_eq!(office.booking.heal_once().await.expect("heals"), 1);
    assert!(!running().await);
    office.advance(3_600);
    office.booking.reap_once().await.expect("reaps");
    assert_eq!(office.status("A-1-1").await, "HELD");
    assert!(office.booking.pay_once().await.expect("pays"));
    assert_eq!(office.status("A-1-1").await, "SOLD");
}

/// A hold of a live buyer is nothing that the database could know of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_are_left_alone() {
    let office = TestBooking::idle(Database::Memory, |_| {}).await.expect("no server is needed");
    let fan = office.fan(1_000_000).await;
    let order = fan.ordered(&["A-1-1"]).await;
    fan.hold(&["A-1-2"]).await.expect(201);
    assert_eq!(office.booking.heal_once().await.expect("heals"), 0);
    fan.pay(&order).await.expect(202);
    assert_eq!(office.booking.heal_once().await.expect("heals"), 0);
    assert!(office.booking.pay_once().await.expect("pays"));
    assert_eq!(office.booking.heal_once().await.expect("heals"), 0);
    assert_eq!((office.status("A-1-1").await, office.status("A-1-2").await), ("SOLD".into(), "HELD".into()));
}

/// Redis comes back with what it knew a while ago: sold seats look free, and its
/// epochs and versions would be given a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fell_back_is_raised_and_told_what_it_lost() {
    if skipped() {
        return;
    }
    for database in [Database::File, Database::Postgres] {
        let mut redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let fan = office.fan(10_000_000).await.patient();
        fan.hold(&["C-1-1"]).await.expect(201);
        redis.command(&["SAVE"]);
        assert_eq!(fan.buy(&["A-1-1", "A-1-2"]).await.json["status"], "COMPLETED");
        let lost = fan.ordered(&["A-1-3"]).await;
        let store = store_of(&redis).await;
        let now = Timestamp::from_millis(office.now_ms());
        let told = until(async || {
            let seats = store.seats(&event(), now).await.expect("loaded");
            (seats.statuses.iter().filter(|status| **status == SeatStatus::Sold).count() == 2)
                .then_some(seats)
        })
        .await;
        redis.restart();
        // By itself: the office was told of the loss by what it is answered.
        let mended = until(async || {
            let seats = store.seats(&event(), now).await.ok()?;
            let sold = seats.statuses.iter().filter(|status| **status == SeatStatus::Sold).count();
            (sold == 2 && seats.version > told.version).then_some(seats)
        })
        .await;
        assert!(matches!(store.changes(&event(), told.version, now).await, Ok(Changes::Gap { .. })));
        assert_eq!(mended.statuses.len(), told.statuses.len());
        fan.pay(&lost).await.refused(409, "hold_expired");
        let hold = fan.hold(&["A-1-3"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let payment = fan.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED", "its epoch is a new one");
        assert_eq!(office.booking.heal_once().await.expect("heals"), 0);
        office.assert_sound().await;
    }
}

/// The money went back while Redis stood still: the seats are on sale again once
/// it answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_missed_while_it_was_away_is_told_when_it_is_back() {
    if skipped() {
        return;
    }
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let office = office(&redis, Database::File).await.expect("no server is needed");
    let fan = office.fan(1_000_000).await;
    let paid = fan.buy(&["A-1-1"]).await;
    until(async || (office.status("A-1-1").await == "SOLD").then_some(())).await;
    redis.kill();
    let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
    fan.post(&cancel, json!({})).await.expect(200);
    redis.restart();
    let path = format!("/api/events/{SAMPLE_EVENT}/seats");
    until(async || {
        let seats = office.client.get(&path).await;
        let seats = seats.json["seats"].as_array()?.clone();
        seats.iter().any(|seat| seat["id"] == "A-1-1" && seat["status"] == "AVAILABLE").then_some(())
    })
    .await;
    office.assert_sound().await;
}
