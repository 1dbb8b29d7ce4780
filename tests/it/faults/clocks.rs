//! Clocks that are an hour off, or are set by an hour while a crowd waits.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use usher::swarm::history::State;

use super::{DEADLINE, SECOND, gate, is_degraded, manners, settings, stands};
use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::TestGate;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::set_clock::SetClock;
use crate::support::wait::until;

const HOUR: i64 = 3_600;
const CAPACITY: u64 = 8;
const ROOM: &str = "capacity = 8\nbatch = 5\ntick = \"250ms\"\nidle_timeout = \"20s\"\n\
                    poll = { min = \"200ms\", max = \"1s\" }";

/// What a gate says its line's time is behind the store's clock, in seconds.
async fn skew(gate: &TestGate) -> i64 {
    let text = gate.admin("GET", "/metrics", "").await.text();
    let name = "usher_room_clock_skew_seconds{room=\"main\"} ";
    text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap_or(0)
}

/// X21, X22.
async fn a_store_is_set(crowd: usize, quiet: Duration) {
    let (clock, app) = (SetClock::right(), FakeApp::start().await);
    let redis = RedisServer::start_under(&clock, &[]);
    let gates = [gate(&redis.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await];
    let mut holder = gates[0].admitted().await;
    let addresses = gates.each_ref().map(TestGate::address);
    let crowd = Crowd::start(&addresses, crowd, manners(crowd, None));
    stands(&crowd).await;
    let inside = || crowd.count(|seen| seen.state == Some(State::Admitted)) as u64;
    until("the room is full inside", DEADLINE, || async { (inside() == CAPACITY - 1).then_some(()) }).await;
    for seconds in [HOUR, -HOUR, 0] {
        clock.set(seconds);
        for gate in &gates {
            let told = async || ((skew(gate).await - seconds).abs() <= 1).then_some(());
            until("the gates know of it", DEADLINE, told).await;
        }
        let set = Instant::now();
        while set.elapsed() < quiet {
            assert_eq!(holder.get("/x").await.status, 200, "the pass goes on after {seconds} s");
            for gate in &gates {
                let room = gate.room("main").await;
                assert_eq!(room["active"].as_u64(), Some(CAPACITY), "after {seconds} s: {room}");
                assert_eq!(room["evicted_total"].as_u64(), Some(0), "after {seconds} s: {room}");
                assert_eq!(room["expired_total"].as_u64(), Some(0), "after {seconds} s: {room}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert!(!is_degraded(&gates[0]).await);
    }
    assert!(gates[0].log().contains("clock was set"), "{}", gates[0].log());
    gates[0].change("{\"capacity\": 18}").await;
    until("ten more are inside", DEADLINE, || async { (inside() == 17).then_some(()) }).await;
    let troubles = crowd.troubles();
    assert!(troubles.others.is_empty(), "{troubles:?}");
    let verdict = judge(&crowd.history().await, 18, Duration::ZERO);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_clock_is_set_takes_nobody_along() {
    if skipped() {
        return;
    }
    a_store_is_set(120, SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_a_store_whose_clock_is_set_while_two_thousand_wait() {
    a_store_is_set(2_000, SECOND * 30).await;
}

/// X20: one gate an hour ahead, one an hour behind.
async fn gates_are_off(count: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let clocks = [SetClock::right(), SetClock::right()];
    clocks[0].set(HOUR);
    clocks[1].set(-HOUR);
    let text = settings(&redis.url(), &app, ROOM);
    let gates =
        [TestGate::start_under(&text, &clocks[0]).await, TestGate::start_under(&text, &clocks[1]).await];
    let holder = gates[0].admitted().await;
    let addresses = gates.each_ref().map(TestGate::address);
    let crowd = Crowd::start(&addresses, count, manners(count, Some(Duration::from_millis(300))));
    for gate in &gates {
        let mut there = holder.clone().at(gate.address());
        assert_eq!(there.get("/x").await.status, 200, "a pass is as good at every gate");
    }
    crowd.until_all("are served", DEADLINE * 2, |seen| seen.done).await;
    let room = gates[0].room("main").await;
    assert_eq!(room["evicted_total"].as_u64(), Some(0), "{room}");
    let verdict = judge(&crowd.history().await, CAPACITY, Duration::ZERO);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    assert_eq!(verdict.fates.lost, 0, "{:?}", verdict.fates);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_whose_clocks_are_an_hour_off_serve_one_line() {
    if skipped() {
        return;
    }
    gates_are_off(60).await;
}
