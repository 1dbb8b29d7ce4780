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

use super::world::{
    DEADLINE, SECOND, START, UNHURRIED, connected, expect_no_room, fresh_prefix, number, patient, room,
    settings, visitor,
};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::set_clock::SetClock;
use crate::support::wait::until;

/// A call to a Redis that is known to be away ends within this, while the machine runs.
const FAST: Duration = Duration::from_millis(150);

/// A store that gives a call up as a gate's does.
async fn store_at(url: &str) -> RedisStore {
    let store = RedisStore::new(connected(url, None).await, &fresh_prefix());
    until("opened", DEADLINE, async || store.open(&room(), Epoch(1), &patient()).await.ok()).await;
    store
}

/// A store that gives no call up for being slow: what is tested is the answer.
async fn unhurried_store_at(url: &str) -> RedisStore {
    let store = RedisStore::new(connected(url, Some(UNHURRIED)).await, &fresh_prefix());
    store.open(&room(), Epoch(1), &patient()).await.expect("opened");
    store
}

async fn join(store: &RedisStore, n: u16) -> Result<Turn, StoreError> {
    store.join(&room(), None, &[(visitor(n), Intent::Join)]).await.map(|mut turns| turns.remove(0))
}

/// The number, once Redis answers in time: it syncs to a busy disk in some tests.
async fn joined(store: &RedisStore, n: u16) -> u64 {
    let turn = until("joined", DEADLINE, async || join(store, n).await.ok()).await;
    number(&turn)
}

async fn waiting(store: &RedisStore) -> Vec<u64> {
    let waiting =
        until("read", DEADLINE, async || store.waiting(&room(), PlaceNumber(0), 20_000).await.ok()).await;
    waiting.into_iter().map(|number| number.0).collect()
}

/// How long the store takes to answer again.
async fn back(store: &RedisStore) -> Duration {
    let since = Instant::now();
    until("redis is back", DEADLINE, async || store.look(&room(), &[]).await.ok()).await;
    since.elapsed()
}

/// Every call says that Redis is away, and as soon as the machine lets them,
/// five in a row say so fast.
async fn expect_away_fast(store: &RedisStore) {
    // The first call may have to find it out.
    let _ = store.look(&room(), &[]).await;
    let mut in_a_row = 0;
    until("five fast answers", DEADLINE, async || {
        let since = Instant::now();
        let answer = store.look(&room(), &[]).await;
        assert!(matches!(answer, Err(StoreError::Away(_))), "{answer:?}");
        in_a_row = if since.elapsed() < FAST { in_a_row + 1 } else { 0 };
        (in_a_row == 5).then_some(())
    })
    .await;
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
    back(&store).await;
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
    until("the file is rewritten", DEADLINE, rewritten).await;
    // On a machine that stands still the loading may be over before it is seen.
    until("it was seen to load", DEADLINE, async || {
        server.restart_unawaited();
        until("it loads, or has loaded", DEADLINE, async || match store.look(&room(), &[]).await {
            Err(StoreError::Away(why)) => why.contains("LOADING").then_some(Some(())),
            answer => Some(answer.err().map(|other| panic!("{other}"))),
        })
        .await
    })
    .await;
    back(&store).await;
    assert_eq!(waiting(&store).await, [1]);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    if skipped() {
        return;
    }
    let server = RedisServer::start();
    let store = unhurried_store_at(&server.url()).await;
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
    let store = unhurried_store_at(&server.url()).await;
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
    let store = unhurried_store_at(&server.url()).await;
    for n in 0..6 {
        joined(&store, n).await;
    }
    store.admit(&room(), None).await.expect("admitted");
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]);

    let full = Err(StoreError::Full);
    assert_eq!(join(&store, 7).await.map(drop), full);
    assert_eq!(store.admit(&room(), None).await.map(drop), full);
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
        let error = until("a verdict", DEADLINE, async || {
            let error = Redis::connect(&server.url()).await.expect_err("unfit");
            (!matches!(error, ConnectError::Away(_))).then_some(error)
        })
        .await;
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
    joined(&unhurried_store_at(&url).await, 1).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_said_to_be_away() {
    until("a fast answer", DEADLINE, async || {
        let since = Instant::now();
        let error = Redis::connect("redis://127.0.0.1:1/").await.expect_err("nobody listens");
        assert!(matches!(error, ConnectError::Away(_)), "{error}");
        (since.elapsed() < SECOND).then_some(())
    })
    .await;
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
    back(&store).await;
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
    let mut late = 1;
    until("a round as fast as the machine ought to be", DEADLINE, async || {
        server.freeze();
        let since = Instant::now();
        let crowd = join_all((1..=1_000).map(|n| join(&store, n))).await;
        assert!(crowd.iter().all(|answer| matches!(answer, Err(StoreError::Away(_)))));
        let failed = since.elapsed();
        expect_away_fast(&store).await;
        for n in 0..50 {
            let _ = join(&store, n).await;
        }
        server.thaw();
        let took = back(&store).await;
        late += 256;
        let piled_up = waiting(&store).await.len();
        assert!(piled_up <= late, "{piled_up} calls had piled up");
        (failed < SECOND && took < SECOND).then_some(())
    })
    .await;
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
        back(&store).await;
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
    let store = unhurried_store_at(&server.url()).await;
    joined(&store, 1).await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = store.admit(&room(), None).await;
    assert!(matches!(&refused, Err(StoreError::Away(why)) if why.contains("NOREPLICAS")), "{refused:?}");
    assert_eq!(waiting(&store).await, [1], "reading goes on");
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert_eq!(store.admit(&room(), None).await.expect("admitted").standing.admitted, 1);
}

#[tokio::test]
async fn a_redis_that_cannot_save_is_away() {
    if skipped() {
        return;
    }
    let server = RedisServer::start_with(&["--enable-protected-configs", "local"]);
    let store = unhurried_store_at(&server.url()).await;
    server.cannot_save().await;
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
    let redis = connected(&server.url(), Some(UNHURRIED)).await;
    let (prefix, clock) = (fresh_prefix(), Arc::new(ManualClock::at(START)));
    let gate = || RedisStore::with_clock(redis.clone(), &prefix, clock.clone());
    let (first, second) = (gate(), gate());
    first.open(&room(), Epoch(1), &settings()).await.expect("opened");
    let tick = async |gate: &RedisStore| gate.admit(&room(), None).await.expect("admitted").standing.tick;
    assert_eq!((tick(&first).await, tick(&second).await), (1, 1));
    clock.set_back(SECOND * 3_600);
    clock.advance(SECOND);
    assert_eq!((tick(&first).await, tick(&second).await), (2, 2));
    clock.advance(SECOND * 60);
    assert_eq!(tick(&second).await, 3);
    let standing = first.admit(&room(), None).await.expect("admitted").standing;
    assert_eq!((standing.tick, standing.now), (3, START + SECOND * 61));
}

/// The passes of a line are ended by a clock that is set, where nobody knows better:
/// what the fault tests of gates would see without their account of time.
#[tokio::test]
async fn a_set_clock_takes_along_a_line_that_nobody_followed() {
    if skipped() {
        return;
    }
    let clock = SetClock::right();
    let server = RedisServer::start_under(&clock, &[]);
    let redis = connected(&server.url(), Some(UNHURRIED)).await;
    let prefix = fresh_prefix();
    let gate = || RedisStore::new(redis.clone(), &prefix);
    let follower = gate();
    let lasting = Settings { pass_ttl: SECOND * 1_800, claim_window: SECOND * 1_800, ..patient() };
    follower.open(&room(), Epoch(1), &lasting).await.expect("opened");
    join(&follower, 1).await.expect("joined");
    follower.admit(&room(), None).await.expect("admitted");
    let look = async |gate: &RedisStore| gate.look(&room(), &[visitor(1)]).await.expect("looked").remove(0);
    let pass = look(&follower).await;
    assert!(matches!(pass, Turn::Admitted(_)), "{pass:?}");
    clock.set(3_600);
    assert_eq!(look(&follower).await, pass, "who followed the line knows better");
    let standing = follower.admit(&room(), None).await.expect("admitted").standing;
    assert!((3_599_000..=3_601_000).contains(&standing.skew_ms), "{standing:?}");
    assert_eq!(look(&gate()).await, pass, "and a newcomer is told");
    clock.set(7_200);
    assert!(matches!(look(&gate()).await, Turn::Ended { .. }), "nobody knew better");
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
        gates.push(Arc::new(RedisStore::new(connected(&server.url(), Some(UNHURRIED)).await, &prefix)));
    }
    gates[0].open(&room(), Epoch(1), &Settings { tick: SECOND * 600, ..patient() }).await.expect("opened");
    for n in 0..9 {
        joined(&gates[0], n).await;
    }
    let ticks = gates.iter().cloned().map(|gate| {
        tokio::spawn(async move { gate.admit(&room(), None).await.expect("admitted").standing.admitted })
    });
    let admitted: Vec<_> = join_all(ticks).await.into_iter().map(|tick| tick.expect("ended")).collect();
    assert_eq!(admitted.iter().sum::<u64>(), 2, "{admitted:?}");
    assert_eq!(waiting(&gates[1]).await, [3, 4, 5, 6, 7, 8, 9]);
}
