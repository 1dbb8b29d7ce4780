//! What a line costs Redis, and that what is over is forgotten.

use std::sync::Arc;
use std::time::Duration;

use usher::clock::{Clock, ManualClock};
use usher::domain::id::{Epoch, PlaceNumber, VisitorId};
use usher::domain::line::{REMEMBERED, Settings};
use usher::domain::place::{Intent, Reason};
use usher::store::{RedisStore, Store};

use super::world::{START, UNHURRIED, connected, room, settings, visitor};
use crate::support::redis_server::{RedisServer, skipped};

async fn store(server: &RedisServer, settings: Settings) -> (RedisStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let redis = connected(&server.url(), Some(UNHURRIED)).await;
    let store = RedisStore::with_clock(redis, "usher", clock.clone());
    store.open(&room(), Epoch(1), &settings).await.expect("opened");
    (store, clock)
}

#[tokio::test]
async fn what_is_over_is_forgotten() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let (store, clock) = store(&server, Settings { capacity: 100, batch: 100, ..settings() }).await;
    // The next number begins a hundred, so none is kept half.
    let everybody: Vec<_> = (0..399).map(visitor).collect();
    let arrivals: Vec<_> = everybody.iter().map(|&visitor| (visitor, Intent::Join)).collect();
    store.join(&room(), None, &arrivals).await.expect("joined");
    store.admit(&room(), None).await.expect("admitted");
    store.look(&room(), &everybody[..60]).await.expect("claimed");
    for &visitor in everybody[..5].iter().chain(&everybody[200..210]) {
        store.end(&room(), visitor, Reason::Left).await.expect("ended");
    }
    // Served all along, so that the rest is evicted and the passes run out.
    for _ in 0..1_300 {
        clock.advance(REMEMBERED / 1_200);
        store.make_room(&room()).await.expect("made room");
    }
    let mut keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "*"])).expect("keys");
    keys.sort_unstable();
    assert_eq!(keys, ["usher:{main}:log", "usher:{main}:recent", "usher:{main}:room"]);
}

#[tokio::test]
async fn what_a_failed_script_left_behind_goes() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let (store, clock) = store(&server, settings()).await;
    store.join(&room(), None, &[(visitor(1), Intent::Join)]).await.expect("joined");
    store.admit(&room(), None).await.expect("admitted");
    let turn = store.look(&room(), &[visitor(1)]).await.expect("claimed").remove(0);
    // As if the claim had stopped before its last step.
    let claimed: Vec<String> =
        redis::from_redis_value(server.command(&["ZRANGE", "usher:{main}:passes", "0", "-1"])).expect("ids");
    server.command(&["ZADD", "usher:{main}:called", "1", &claimed[0]]);
    clock.advance(Duration::from_secs(1));
    store.make_room(&room()).await.expect("made room");
    let standing = store.admit(&room(), None).await.expect("admitted").standing;
    assert_eq!((standing.called, standing.active, standing.totals.evicted), (0, 1, 0));
    assert_eq!(store.look(&room(), &[visitor(1)]).await.expect("looked"), [turn]);
}

#[tokio::test]
async fn a_line_of_an_older_version_keeps_its_places_until_they_are_silent() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let (store, clock) = store(&server, Settings { paused: true, ..settings() }).await;
    let line: Vec<_> = (1..=3).map(|n| (visitor(n), Intent::Join)).collect();
    store.join(&room(), None, &line).await.expect("joined");
    server.command(&["DEL", "usher:{main}:heard", "usher:{main}:pages"]);
    for (number, at) in [("1", "1"), ("2", "2"), ("3", "3")] {
        server.command(&["ZADD", "usher:{main}:seen", at, &format!("{number:0>14}")]);
    }
    let waiting = async || store.waiting(&room(), PlaceNumber(0), 9).await.expect("read");
    for _ in 0..40 {
        store.make_room(&room()).await.expect("made room");
        store.seen(&room(), &[(PlaceNumber(2), clock.now())]).await.expect("seen");
        assert_eq!(waiting().await.len(), 3, "they count as heard when they are taken over");
        clock.advance(Duration::from_secs(1));
    }
    store.make_room(&room()).await.expect("made room");
    assert_eq!(waiting().await, [PlaceNumber(2)]);
    let left: i64 =
        redis::from_redis_value(server.command(&["EXISTS", "usher:{main}:seen"])).expect("a number");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_waiter_costs_less_than_two_hundred_bytes() {
    const WAITERS: u64 = 100_000;
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let (store, clock) = store(&server, settings()).await;
    let memory = || server.info("used_memory").parse::<u64>().expect("a number");
    let before = memory();
    for start in (0..WAITERS).step_by(500) {
        let arrivals: Vec<_> = (start..start + 500).map(|n| (scattered(n), Intent::Join)).collect();
        store.join(&room(), None, &arrivals).await.expect("joined");
        clock.advance(Duration::from_millis(37));
    }
    let each = (memory() - before) / WAITERS;
    assert!(each < 200, "{each} bytes");
}

/// Ids without an order, as random ones are.
fn scattered(n: u64) -> VisitorId {
    let half = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half.to_be_bytes());
    bytes[8..].copy_from_slice(&half.rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes());
    VisitorId::from_bytes(bytes)
}
