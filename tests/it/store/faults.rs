//! What the Redis store does when its Redis fails: real servers, really failing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use usher::clock::ManualClock;
use usher::domain::id::{Epoch, PlaceNumber};
use usher::domain::line::Settings;
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::Timestamp;
use usher::redis::{ConnectError, Redis, Unfit};
use usher::store::{Overrides, RedisStore, Store, StoreError};

use super::world::{SECOND, START, expect_no_room, fresh_prefix, number, room, settings, visitor};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

/// A call to a Redis that is known to be away ends within this, on a busy machine.
const FAST: Duration = Duration::from_millis(150);

/// Time in these tests is Redis's, so nothing may happen in them by itself.
fn patient() -> Settings {
    let long = SECOND * 3_600;
    Settings { idle_timeout: long, claim_window: long, pass_ttl: long, pass_max: long, ..settings() }
}

async fn store_at(url: &str) -> RedisStore {
    let store = RedisStore::new(Redis::connect(url).await.expect("just started"), &fresh_prefix());
    store.open(&room(), Epoch(1), &patient()).await.expect("opened");
    store
}

async fn join(store: &RedisStore, n: u16) -> Result<Turn, StoreError> {
    store.join(&room(), &[(visitor(n), Intent::Join)]).await.map(|mut turns| turns.remove(0))
}

/// The number, once Redis answers in time: it syncs to a busy disk in some tests.
async fn joined(store: &RedisStore, n: u16) -> u64 {
    let turn = until("joined", SECOND * 10, async || join(store, n).await.ok()).await;
    number(&turn)
}

async fn waiting(store: &RedisStore) -> Vec<u64> {
    let waiting = store.waiting(&room(), PlaceNumber(0), 20_000).await.expect("read");
    waiting.into_iter().map(|number| number.0).collect()
}

/// How long the store takes to answer again.
async fn back(store: &RedisStore, within: Duration) -> Duration {
    let since = Instant::now();
    until("redis is back", within, async || store.look(&room(), &[]).await.ok()).await;
    since.elapsed()
}

async fn expect_away_fast(store: &RedisStore) {
    // The first call may have to find it out.
    let _ = store.look(&room(), &[]).await;
    for _ in 0..5 {
        let since = Instant::now();
        let answer = store.look(&room(), &[]).await;
        assert!(matches!(answer, Err(StoreError::Away(_))), "{answer:?}");
        assert!(since.elapsed() < FAST, "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_redis_is_killed() {
    if skipped() {
        return;
    }
    // With everysec Redis may put off writing, too, while the disk is slow.
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = store_at(&server.url()).await;
    let mut acknowledged = Vec::new();
    for n in 0..300 {
        acknowledged.push(joined(&store, n).await);
    }
    server.kill();
    expect_away_fast(&store).await;

    server.restart();
    back(&store, SECOND * 2).await;
    assert_eq!(waiting(&store).await, acknowledged);
    for (n, &before) in acknowledged.iter().enumerate().step_by(50) {
        assert_eq!(joined(&store, n as u16).await, before);
    }
}

#[tokio::test]
async fn a_redis_that_loads_is_away_and_then_back() {
    if skipped() {
        return;
    }
    let slowly = ["--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = RedisServer::start_with(&[&["--appendonly", "yes"], &slowly[..]].concat());
    let store = store_at(&server.url()).await;
    joined(&store, 1).await;
    for key in 0..400 {
        server.command(&["SET", &format!("other-{key}"), "x"]);
    }
    server.command(&["BGREWRITEAOF"]);
    let rewritten = async || (server.info("aof_rewrite_in_progress") == "0").then_some(());
    until("the file is rewritten", SECOND * 5, rewritten).await;
    server.kill();
    server.restart_unawaited();
    until("it loads", SECOND * 5, async || {
        let answer = store.look(&room(), &[]).await;
        matches!(answer, Err(StoreError::Away(why)) if why.contains("LOADING")).then_some(())
    })
    .await;
    back(&store, SECOND * 5).await;
    assert_eq!(waiting(&store).await, [1]);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    joined(&store, 1).await;
    server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(joined(&store, 2).await, 2);
}

#[tokio::test]
async fn a_flushed_redis_does_not_know_the_room() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    joined(&store, 1).await;
    server.command(&["FLUSHALL"]);
    expect_no_room(&store, &room()).await;
}

#[tokio::test]
async fn a_full_redis_takes_nobody_and_can_be_drained() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    for n in 0..6 {
        joined(&store, n).await;
    }
    store.admit(&room()).await.expect("admitted");
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);

    let full = Err(StoreError::Full);
    assert_eq!(join(&store, 7).await.map(drop), full);
    assert_eq!(store.admit(&room()).await.map(drop), full);
    store.make_room(&room()).await.expect("drains");
    let turn = store.look(&room(), &[visitor(0)]).await.expect("looks").remove(0);
    assert!(matches!(turn, Turn::Admitted(_)), "{turn:?}");
    store.seen(&room(), &[(PlaceNumber(3), Timestamp::from_millis(0))]).await.expect("seen");
    store.extend(&room(), visitor(0), SECOND).await.expect("extends").expect("inside");
    assert_eq!(store.end(&room(), visitor(5), Reason::Left).await, Ok(Some(PlaceNumber(6))));
    let changes = Overrides { paused: Some(true), ..Overrides::default() };
    store.set_overrides(&room(), &changes).await.expect("changed");
    store.open(&room(), Epoch(1), &patient()).await.expect("a gate may start");
    assert_eq!(waiting(&store).await, [3, 4, 5], "nobody was popped");

    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(joined(&store, 7).await, 7);
}

#[tokio::test]
async fn a_redis_that_drops_keys_is_refused() {
    if skipped() {
        return;
    }
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = RedisServer::start_with(&["--maxmemory-policy", policy]);
        let error = Redis::connect(&server.url()).await.expect_err("unfit");
        assert!(matches!(&error, ConnectError::Unfit(Unfit::Evicts(found)) if found == policy), "{error}");
        assert!(error.to_string().contains("set maxmemory-policy noeviction"), "{error}");
    }
}

#[tokio::test]
async fn a_redis_without_info_is_trusted() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    server.command(&["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-info"]);
    let url = format!("redis://app:secret@127.0.0.1:{}/", server.port());
    joined(&store_at(&url).await, 1).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_said_to_be_away() {
    let since = Instant::now();
    let error = Redis::connect("redis://127.0.0.1:1/").await.expect_err("nobody listens");
    assert!(matches!(error, ConnectError::Away(_)), "{error}");
    assert!(since.elapsed() < SECOND);
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_is_left_and_found_again() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    joined(&store, 1).await;
    // By hand, as it keeps its connections then.
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = join(&store, 2).await;
    assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
    expect_away_fast(&store).await;
    server.command(&["REPLICAOF", "NO", "ONE"]);
    back(&store, SECOND).await;
    assert_eq!(joined(&store, 2).await, 2);
}

#[tokio::test]
async fn a_stopped_redis_fails_fast_and_nothing_piles_up() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    joined(&store, 0).await;
    server.freeze();
    let since = Instant::now();
    let crowd = join_all((1..=1_000).map(|n| join(&store, n))).await;
    assert!(crowd.iter().all(|answer| matches!(answer, Err(StoreError::Away(_)))));
    assert!(since.elapsed() < SECOND, "{:?}", since.elapsed());
    expect_away_fast(&store).await;
    for n in 0..50 {
        let _ = join(&store, n).await;
    }
    server.thaw();
    let took = back(&store, SECOND * 3).await;
    assert!(took < SECOND, "{took:?}");
    let late = waiting(&store).await.len();
    assert!(late <= 1 + 256, "{late} calls had piled up");
    assert_eq!(joined(&store, 0).await, 1);
}

#[tokio::test]
async fn cut_connections_are_made_anew() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    for n in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        back(&store, SECOND).await;
        joined(&store, n).await;
    }
    assert_eq!(waiting(&store).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_master_without_its_replicas_refuses_and_pops_nobody() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = store_at(&server.url()).await;
    joined(&store, 1).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = store.admit(&room()).await;
    assert!(matches!(&refused, Err(StoreError::Away(why)) if why.contains("NOREPLICAS")), "{refused:?}");
    assert_eq!(waiting(&store).await, [1], "reading goes on");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(store.admit(&room()).await.expect("admitted").standing.admitted, 1);
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_away() {
    if skipped() {
        return;
    }
    let server = RedisServer::start_with(&["--enable-protected-configs", "local"]);
    let store = store_at(&server.url()).await;
    let folder = server.folder().join("gone");
    std::fs::create_dir(&folder).expect("the scratch folder is ours");
    server.command(&["CONFIG", "SET", "dir", &folder.display().to_string()]);
    std::fs::remove_dir(&folder).expect("empty");
    server.command(&["CONFIG", "SET", "save", "3600 1"]);
    server.command(&["BGSAVE"]);
    let failed = async || (server.info("rdb_last_bgsave_status") == "err").then_some(());
    until("the save fails", SECOND * 5, failed).await;
    let refused = join(&store, 1).await;
    assert!(matches!(&refused, Err(StoreError::Away(why)) if why.contains("MISCONF")), "{refused:?}");
    server.command(&["CONFIG", "SET", "save", ""]);
    assert_eq!(joined(&store, 1).await, 1);
}

#[tokio::test]
async fn a_gate_that_missed_a_tick_does_not_tick_again_after_the_clock_was_set_back() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let redis = Redis::connect(&server.url()).await.expect("just started");
    let (prefix, clock) = (fresh_prefix(), Arc::new(ManualClock::at(START)));
    let gate = || RedisStore::with_clock(redis.clone(), &prefix, clock.clone());
    let (first, second) = (gate(), gate());
    first.open(&room(), Epoch(1), &settings()).await.expect("opened");
    let tick = async |gate: &RedisStore| gate.admit(&room()).await.expect("admitted").standing.tick;
    assert_eq!((tick(&first).await, tick(&second).await), (1, 1));
    clock.set_back(SECOND * 3_600);
    clock.advance(SECOND);
    assert_eq!((tick(&first).await, tick(&second).await), (2, 2));
    clock.advance(SECOND * 60);
    assert_eq!(tick(&second).await, 3);
    let standing = first.admit(&room()).await.expect("admitted").standing;
    assert_eq!((standing.tick, standing.now), (3, START + SECOND * 3), "two periods at most are believed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gates_that_tick_at_once_admit_one_batch() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let prefix = fresh_prefix();
    let mut gates = Vec::new();
    for _ in 0..10 {
        gates.push(Arc::new(RedisStore::new(Redis::connect(&server.url()).await.expect("up"), &prefix)));
    }
    gates[0].open(&room(), Epoch(1), &Settings { tick: SECOND * 600, ..patient() }).await.expect("opened");
    for n in 0..9 {
        joined(&gates[0], n).await;
    }
    let ticks = gates.iter().cloned().map(|gate| {
        tokio::spawn(async move { gate.admit(&room()).await.expect("admitted").standing.admitted })
    });
    let admitted: Vec<_> = join_all(ticks).await.into_iter().map(|tick| tick.expect("ended")).collect();
    assert_eq!(admitted.iter().sum::<u64>(), 2, "{admitted:?}");
    assert_eq!(waiting(&gates[1]).await, [3, 4, 5, 6, 7, 8, 9]);
}
