//! Holds in Redis: the model's answers, several offices, losses.

mod heal;
mod lost;
mod plan;
mod planted;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use usher::booking::SAMPLE_EVENT;
use usher::booking::holds::{HoldStore as _, MemoryHolds, RedisHolds};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::{Changes, KEPT_CHANGES, Wanted};
use usher::domain::seat::{HoldId, Seat, SeatIndex, SeatStatus};
use usher::domain::time::Timestamp;
use usher::redis::Redis;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::http::Answer;
use crate::support::redis_server::{RedisServer, skipped};
use plan::{compare, event, hold_id};

const SEQUENCES: u64 = 200;

#[tokio::test]
async fn redis_answers_as_the_model_does() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect_with(&server.url(), Duration::from_secs(10)).await.expect("just started");
    let seed = std::env::var("HOLD_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, count) = seed.map_or_else(|| (rand::random(), SEQUENCES), |seed: u64| (seed, 1));
    for seed in (0..count).map(|i| first.wrapping_add(i)) {
        let store = RedisHolds::new(redis.clone(), &format!("t{seed:x}"));
        compare(&store, seed).await.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

/// Many holds that are over at once, as after a long pause.
#[tokio::test]
async fn a_long_pause_ends_in_short_calls_and_nothing_over_counts_as_live() {
    const HOLDS: u32 = 1_000;
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect_with(&server.url(), Duration::from_secs(60)).await.expect("just started");
    let store = RedisHolds::new(redis, "pause");
    let at = |seconds: u64| Timestamp::from_millis(seconds * 1_000);
    store.load(&event(), 1, vec![Seat::Free; HOLDS as usize]).await.expect("loads");
    let want = |n: u32| Wanted {
        id: hold_id(n.into()),
        owner: AccountId::from_bits(n.into()),
        seats: vec![SeatIndex(n)],
        until: at(60),
        cap: 1,
    };
    for n in 0..HOLDS {
        store.hold(&event(), want(n), at(1)).await.expect("free");
    }
    let held = store.seats(&event(), at(2)).await.expect("loaded");
    server.command(&["CONFIG", "RESETSTAT"]);
    // Nobody has swept: what is met is let go, and the rest stays for the sweep.
    let again = Wanted { id: hold_id(5_000), until: at(99), ..want(7) };
    store.hold(&event(), again, at(60)).await.expect("over at its deadline");
    assert!(store.find(hold_id(8), AccountId::from_bits(8), at(60)).await.is_err());
    let free = store.seats(&event(), at(60)).await.expect("loaded");
    let free_seats = free.statuses.iter().filter(|status| **status == SeatStatus::Available).count();
    assert_eq!(free_seats, HOLDS as usize - 1);
    let Ok(Changes::Since { seats, .. }) = store.changes(&event(), held.version, at(60)).await else {
        panic!("a thousand changes are kept")
    };
    assert_eq!(seats.len(), HOLDS as usize + 1, "each is announced, and the new hold");
    assert_eq!(store.sweep(at(60)).await.expect("swept").len(), 0);
    // Ten calls of a hundred, and those that met something.
    let redis::Value::BulkString(stats) = server.command(&["INFO", "commandstats"]) else { panic!("a text") };
    let stats = String::from_utf8(stats).expect("UTF-8");
    let calls = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
    let calls = calls.filter_map(|line| line.split("calls=").nth(1)?.split(',').next()?.parse::<u32>().ok());
    assert!(calls.sum::<u32>() >= HOLDS / 100 + 2, "{stats}");
}

/// What is too long ago is a gap in both stores, and so is what never was.
#[tokio::test]
async fn a_history_that_is_gone_is_a_gap() {
    let server = (!skipped()).then(RedisServer::start);
    let mut stores: Vec<Box<dyn usher::booking::holds::HoldStore>> = vec![Box::new(MemoryHolds::default())];
    if let Some(server) = &server {
        let redis = Redis::connect_with(&server.url(), Duration::from_secs(60)).await.expect("just started");
        stores.push(Box::new(RedisHolds::new(redis, "gap")));
    }
    let now = Timestamp::from_millis(1_000);
    for store in stores {
        store.load(&event(), 1, vec![Seat::Free]).await.expect("loads");
        let first = store.seats(&event(), now).await.expect("loaded").version;
        let owner = AccountId::from_bits(1);
        let want = |n| Wanted {
            id: HoldId::of(&event(), n << 32),
            owner,
            seats: vec![SeatIndex(0)],
            until: Timestamp::from_millis(9_000),
            cap: 1,
        };
        for n in 0..KEPT_CHANGES as u128 / 2 {
            store.hold(&event(), want(n), now).await.expect("free");
            store.release(want(n).id, owner, now).await.expect("held");
        }
        let to = first + KEPT_CHANGES as u64;
        let told = |changes| match changes {
            Ok(Changes::Since { to, seats }) => (to, Some(seats.len())),
            Ok(Changes::Gap { to }) => (to, None),
            Err(why) => panic!("{why}"),
        };
        assert_eq!(told(store.changes(&event(), to - 100, now).await), (to, Some(100)));
        store.hold(&event(), want(9_999), now).await.expect("free");
        assert_eq!(told(store.changes(&event(), first, now).await), (to + 1, None), "{store:?}");
        assert_eq!(told(store.changes(&event(), to + 2, now).await), (to + 1, None), "not told yet");
    }
}

/// An office whose holds are in Redis.
async fn office(redis: &RedisServer, database: Database) -> Option<TestBooking> {
    let url = redis.url();
    TestBooking::with(database, move |settings| settings.redis_url = Some(url)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_offices_share_holds_and_sell_each_seat_once() {
    if skipped() {
        return;
    }
    for database in [Database::File, Database::Postgres] {
        let redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let url = redis.url();
        let (_booking, there) = office.twin_with(move |settings| settings.redis_url = Some(url)).await;
        let fan = office.fan(1_000_000).await.patient();
        let other = office.fan(1_000_000).await.patient().at(&there);
        let hold = fan.hold(&["A-1-1", "A-1-2"]).await.expect(201);
        other.hold(&["A-1-2"]).await.refused(409, "seats_taken");
        // A thousand at once, at both.
        let fans = join_all((0..10).map(|_| office.fan(0))).await;
        let answers = join_all((0..1_000).map(|i| {
            let fan = fans[i % fans.len()].clone().patient();
            let fan = if i % 2 == 0 { fan } else { fan.at(&there) };
            async move { fan.hold(&["A-2-1"]).await }
        }))
        .await;
        let given = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(given < 2, "{given} have the seat");
        if given == 0 {
            // It was given to one who was told "not now": it is taken back, and another's.
            until(async || Some(fan.hold(&["A-2-1"]).await).filter(|answer| answer.status == 201)).await;
        }
        let other = answers.iter().find(|answer| answer.status != 201 && answer.code() != "seats_taken");
        assert!(other.is_none(), "{other:?}");
        // Held here, bought there.
        let here = fan.at(&there);
        let order = here.order(&hold).await.expect(201);
        let payment = here.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        until(async || (office.status("A-1-1").await == "SOLD").then_some(())).await;
        office.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_lost_while_paying_cost_a_conflict_never_a_second_sale() {
    if skipped() {
        return;
    }
    for database in [Database::Memory, Database::Postgres] {
        let redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let (fan, other) = (office.fan(1_000_000).await.patient(), office.fan(1_000_000).await.patient());
        let bought = fan.hold(&["A-1-1"]).await.expect(201);
        let paid_for = fan.order(&bought).await.expect(201);
        let lost = fan.hold(&["A-1-2"]).await.expect(201);
        let ordered = fan.order(&lost).await.expect(201);
        let payment = fan.pay(&paid_for).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        redis.command(&["FLUSHALL"]);
        // What is sold is loaded before a new hold is given.
        other.hold(&["A-1-1"]).await.refused(409, "seats_taken");
        assert_eq!(office.status("A-1-1").await, "SOLD");
        // The hold is gone: the seat is the next one's, and the first cannot pay for it.
        let taken = other.hold(&["A-1-2"]).await.expect(201);
        assert!(taken.json["epoch"].as_u64() > lost.json["epoch"].as_u64(), "epochs grow through a loss");
        let refused = fan.pay(&ordered).await;
        if refused.status == 202 {
            assert_eq!(fan.paid(&refused).await.json["status"], "FAILED");
        }
        let order = other.order(&taken).await.expect(201);
        let payment = other.pay(&order).await.expect(202);
        assert_eq!(other.paid(&payment).await.json["status"], "COMPLETED");
        assert_eq!(fan.get("/api/wallet").await.json["balance"], json!(1_000_000 - price(&paid_for)));
        office.assert_sound().await;
    }
}

fn price(order: &Answer) -> i64 {
    order.json["amount"].as_i64().expect("an amount")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_holds_are_refused_and_come_back_by_themselves() {
    if skipped() {
        return;
    }
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let office = office(&redis, Database::Memory).await.expect("no server is needed");
    let fan = office.fan(1_000_000).await;
    let hold = fan.hold(&["A-1-1"]).await.expect(201);
    redis.kill();
    let answer = fan.hold(&["A-1-2"]).await;
    answer.refused(503, "unavailable");
    redis.restart();
    let again = until(async || Some(fan.hold(&["A-1-2"]).await).filter(|answer| answer.status == 201)).await;
    assert!(again.json["epoch"].as_u64() > hold.json["epoch"].as_u64());
    let order = fan.clone().patient().order(&hold).await.expect(201);
    let payment = fan.clone().patient().pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED", "the hold was kept");
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_seats_are_shown_as_the_database_has_them() {
    if skipped() {
        return;
    }
    for database in [Database::File, Database::Postgres] {
        let mut redis = RedisServer::start();
        let Some(office) = office(&redis, database).await else { continue };
        let fan = office.fan(1_000_000).await;
        assert_eq!(fan.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
        fan.hold(&["A-1-2"]).await.expect(201);
        let get = async |path: &str| office.client.get(&format!("/api/events/{SAMPLE_EVENT}{path}")).await;
        let whole = get("/seats").await.expect(200);
        assert!(whole.json["version"].as_u64() > Some(0) && whole.header("etag").is_some());
        redis.kill();
        for path in ["/seats", "/plan"] {
            let shown = get(path).await.expect(200);
            assert_eq!(
                (&shown.json["version"], shown.header("etag")),
                (&json!(0), None),
                "holds are not known"
            );
        }
        assert_eq!(office.status("A-1-1").await, "SOLD");
        assert_eq!(office.status("A-1-2").await, "AVAILABLE");
        fan.hold(&["A-1-2"]).await.refused(503, "unavailable");
        let event = get("").await.expect(200);
        let all = office.client.get("/api/events").await.expect(200);
        assert_eq!(all.json["items"][0]["sections"], event.json["sections"]);
        redis.restart();
        let again =
            until(async || Some(get("/seats").await).filter(|answer| answer.header("etag").is_some())).await;
        assert!(again.json["version"].as_u64() > whole.json["version"].as_u64());
        assert_eq!(office.status("A-1-1").await, "SOLD");
    }
}

/// A stopped server does what it was sent when it wakes: the caller was told "not
/// now", so what it gave must not stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_was_not_answered_leaves_no_ghost() {
    if skipped() {
        return;
    }
    let redis = RedisServer::start();
    let office = office(&redis, Database::Memory).await.expect("no server is needed");
    let (fan, other) = (office.fan(0).await, office.fan(0).await);
    fan.hold(&["A-1-1"]).await.expect(201);
    redis.freeze();
    fan.hold(&["A-1-2"]).await.refused(503, "unavailable");
    redis.thaw();
    let hold = until(async || Some(other.hold(&["A-1-2"]).await).filter(|answer| answer.status == 201)).await;
    // Undone is the ghost, not what came after it.
    other.order(&hold).await.expect(201);
    assert_eq!(office.status("A-1-1").await, "HELD");
}
