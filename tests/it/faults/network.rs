//! Wires between gates and their store that are slow, cut, or cut one way.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use usher::swarm::history::State;

use super::{
    DEADLINE, SECOND, gate, is_degraded, manners, metric, served, stands, until_degraded, until_well,
};
use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::TestGate;
use crate::support::proxy::{Proxy, Weather};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

const CAPACITY: u64 = 8;
const BATCH: usize = 5;
/// A visitor that is silent for longer than seven seconds is given up.
const ROOM: &str = "capacity = 8\nbatch = 5\ntick = \"250ms\"\nidle_timeout = \"6s\"\n\
                    poll = { min = \"200ms\", max = \"1s\" }";
const VISIT: Option<Duration> = Some(Duration::from_millis(500));

/// How long each fault lasts, and how many wait through it.
struct Length {
    crowd: usize,
    fault: Duration,
}

const SHORT: Length = Length { crowd: 120, fault: Duration::from_secs(9) };
/// Within the idle timeout: a balancer would move the visitors of a gate that is not
/// ready; here they stay, and what it heard reaches the store too late after that.
const CUT: Duration = Duration::from_secs(3);
const LONG: Length = Length { crowd: 2_000, fault: Duration::from_secs(30) };

/// `fault` is put on and taken off while a crowd waits at one gate.
async fn through(length: &Length, fault: impl Fn(&Proxy, &RedisServer), heal: impl Fn(&Proxy, &RedisServer)) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let wire = Proxy::to(redis.port()).await;
    let a = gate(&wire.url(), &app, ROOM).await;
    let mut holder = a.admitted().await;
    let crowd = Crowd::start(&[a.address()], length.crowd, manners(length.crowd, VISIT));
    stands(&crowd).await;
    fault(&wire, &redis);
    let began = Instant::now();
    until_degraded(&a).await;
    let inside = || crowd.count(|seen| seen.state == Some(State::Admitted) || seen.done);
    let before = inside();
    while began.elapsed() < length.fault {
        assert_eq!(holder.get("/x").await.status, 200, "a pass needs no store");
        assert!(!a.is_ready().await, "a balancer is told");
        sleep(Duration::from_millis(100)).await;
    }
    let after = inside();
    assert!(after <= before + BATCH, "{before} were inside, then {after}: nobody new is admitted");
    heal(&wire, &redis);
    let healed = Instant::now();
    until_well(&a).await;
    eprintln!("well {:?} after the fault", healed.elapsed());
    served_without_eviction(&a, crowd).await;
}

async fn served_without_eviction(gate: &TestGate, crowd: Crowd) {
    let evicted = gate.room("main").await["evicted_total"].as_u64();
    // A crowd that this machine held up for so long may have fallen silent.
    if crowd.troubles().slowest < SECOND * 3 {
        assert_eq!(evicted, Some(0), "a fault of the store evicts nobody");
    }
    served(crowd, CAPACITY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_second_of_latency_holds_up_no_poll() {
    if skipped() {
        return;
    }
    through(&SHORT, |wire, _| wire.set(Weather::Slow(SECOND / 2)), |wire, _| wire.set(Weather::Clear)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_stands_still_costs_nobody_a_place() {
    if skipped() {
        return;
    }
    through(&SHORT, |_, redis| redis.freeze(), |_, redis| redis.thaw()).await;
}

/// Requests arrive and are carried out, replies are lost: joins are sent again, ticks
/// as well, and each counts once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_without_an_answer_is_done_once() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let wire = Proxy::to(redis.port()).await;
    let a = gate(&wire.url(), &app, ROOM).await;
    let count = SHORT.crowd;
    let crowd = Crowd::start(&[a.address()], count, manners(count, VISIT));
    // While they come, and again while they are let in.
    for _ in 0..4 {
        sleep(SECOND / 2).await;
        wire.set(Weather::RepliesLost);
        until_degraded(&a).await;
        sleep(SECOND).await;
        wire.set(Weather::Clear);
        until_well(&a).await;
    }
    stands(&crowd).await;
    let room = a.room("main").await;
    assert_eq!(room["joined_total"].as_u64(), Some(count as u64), "{room}");
    let ticks = room["tick"].as_u64().expect("a count");
    assert!(room["admitted_total"].as_u64() <= Some(ticks * BATCH as u64), "one batch a tick: {room}");
    served_without_eviction(&a, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_cut_off_says_so_and_the_others_go_on() {
    if skipped() {
        return;
    }
    cut_off(&SHORT).await;
}

async fn cut_off(length: &Length) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let wire = Proxy::to(redis.port()).await;
    let [a, b, c] = [
        gate(&wire.url(), &app, ROOM).await,
        gate(&redis.url(), &app, ROOM).await,
        gate(&redis.url(), &app, ROOM).await,
    ];
    let gates = [&a, &b, &c].map(TestGate::address);
    let crowd = Crowd::start(&gates, length.crowd, manners(length.crowd, VISIT));
    stands(&crowd).await;
    wire.set(Weather::Cut);
    let began = Instant::now();
    until_degraded(&a).await;
    assert!(!a.is_ready().await, "a balancer is told");
    let tick = b.room("main").await["tick"].as_u64();
    while began.elapsed() < CUT {
        let room = b.room("main").await;
        let inside =
            room["active"].as_u64().zip(room["called"].as_u64()).map(|(active, called)| active + called);
        assert!(inside <= Some(CAPACITY), "{room}");
        sleep(Duration::from_millis(100)).await;
    }
    until("the others tick", DEADLINE, || async {
        (c.room("main").await["tick"].as_u64() > tick).then_some(())
    })
    .await;
    assert!(is_degraded(&a).await, "it is cut off still");
    wire.set(Weather::Clear);
    let healed = Instant::now();
    until_well(&a).await;
    assert!(a.is_ready().await);
    eprintln!("well {:?} after the cut", healed.elapsed());
    served_without_eviction(&b, crowd).await;
}

/// Two gates are left with the old master, one is with the new.
///
/// For `lag` seconds the old side does not know that it is one: it tells those whom
/// the new side has called to wait, and they keep their turn.
async fn split(lag: u64, crowd: usize) {
    let seconds = lag.to_string();
    let args = [
        "--repl-ping-replica-period",
        "1",
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        &seconds,
    ];
    let (master, app) = (RedisServer::start_with(&args), FakeApp::start().await);
    let link = Proxy::to(master.port()).await;
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
    until("the replica is online", DEADLINE, || async {
        (replica.info("master_link_status") == "up").then_some(())
    })
    .await;
    let wires = [Proxy::to(master.port()).await, Proxy::to(master.port()).await];
    let old = [gate(&wires[0].url(), &app, ROOM).await, gate(&wires[0].url(), &app, ROOM).await];
    let new = gate(&wires[1].url(), &app, ROOM).await;
    let gates = [&old[0], &old[1], &new].map(TestGate::address);
    let crowd = Crowd::start(&gates, crowd, manners(crowd, None));
    until("the room is full inside", DEADLINE, || async {
        (new.room("main").await["active"].as_u64() == Some(CAPACITY)).then_some(())
    })
    .await;
    stands(&crowd).await;
    link.set(Weather::Cut);
    let cut = Instant::now();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    wires[1].lead_to(replica.port());
    new.change("{\"capacity\": 18}").await;
    until_degraded(&old[0]).await;
    until_degraded(&old[1]).await;
    eprintln!("the old side refused writes {:?} after the cut", cut.elapsed());
    let popped = || {
        redis::from_redis_value::<u64>(master.command(&["ZCARD", "usher:{main}:waiting"])).expect("a count")
    };
    let before = popped();
    // Those who stay with the old side cannot claim their turn there.
    until("the new side admits", DEADLINE, || async {
        let room = new.room("main").await;
        (room["active"].as_u64()? + room["called"].as_u64()? == 18).then_some(())
    })
    .await;
    sleep(SECOND).await;
    assert_eq!(popped(), before, "the old side pops nobody");
    assert!(is_degraded(&old[0]).await);
    master.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    wires[0].lead_to(replica.port());
    for gate in &old {
        until_well(gate).await;
    }
    let same = async || {
        let rooms = [old[0].room("main").await, new.room("main").await];
        (rooms[0]["active"] == rooms[1]["active"] && rooms[0]["waiting"] == rooms[1]["waiting"]).then_some(())
    };
    until("one line again", DEADLINE, same).await;
    let over = metric(&new, "usher_room_over_capacity{room=\"main\"}").await;
    assert_eq!(over, 0, "nobody came in on the old side, which was full");
    let verdict = judge(&crowd.history().await, 18, Duration::from_secs(lag));
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_left_alone_refuses_and_one_line_remains() {
    if skipped() {
        return;
    }
    split(2, 100).await;
}

/// The alarm for a store that takes too long, and silence while it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_calls_are_counted_and_told() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let wire = Proxy::to(redis.port()).await;
    let a = gate(&wire.url(), &app, ROOM).await;
    let slow = async || metric(&a, "usher_store_slow_calls_total").await;
    let before = slow().await;
    wire.set(Weather::Slow(Duration::from_millis(90)));
    until("slow calls are counted", DEADLINE, || async { (slow().await >= before + 8).then_some(()) }).await;
    assert!(a.log().contains("redis is slow to answer"), "{}", a.log());
    wire.set(Weather::Clear);
    until("a second without one", DEADLINE, || async {
        let before = slow().await;
        sleep(SECOND).await;
        (slow().await == before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_wires_that_fail_while_two_thousand_wait() {
    let slow = |by| move |wire: &Proxy, _: &RedisServer| wire.set(Weather::Slow(by));
    let clear = |wire: &Proxy, _: &RedisServer| wire.set(Weather::Clear);
    through(&LONG, slow(SECOND / 2), clear).await;
    through(&LONG, slow(SECOND * 5), clear).await;
    through(&LONG, |_, redis| redis.freeze(), |_, redis| redis.thaw()).await;
    cut_off(&LONG).await;
    split(10, 2_000).await;
}
