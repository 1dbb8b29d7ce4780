//! Gates that are killed in the middle of their work, away for long, or stand still
//! at times, while a crowd waits.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use usher::swarm::history::State;

use super::{DEADLINE, SECOND, gate, is_degraded, manners, served, settings, stands, until_well};
use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::TestGate;
use crate::support::proxy::{Proxy, Weather};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

const CAPACITY: u64 = 8;
const BATCH: u64 = 5;
const TICK: Duration = Duration::from_millis(250);
const VISIT: Option<Duration> = Some(Duration::from_millis(500));
const ROOM: &str = "capacity = 8\nbatch = 5\ntick = \"250ms\"\nidle_timeout = \"6s\"\n\
                    poll = { min = \"200ms\", max = \"1s\" }";

async fn count(gate: &TestGate, what: &str) -> u64 {
    let room = gate.room("main").await;
    room[what].as_u64().unwrap_or_else(|| panic!("{what} in {room}"))
}

/// The ticks of a room since some moment, which no gate may make twice.
struct Ticks {
    before: u64,
    since: Instant,
}

impl Ticks {
    async fn from(gate: &TestGate) -> Self {
        Self { since: Instant::now(), before: count(gate, "tick").await }
    }

    /// How many there were, of how many that were due.
    async fn expect_no_more_than_due(&self, gate: &TestGate) -> (u64, u64) {
        let ticks = count(gate, "tick").await - self.before;
        let due = self.since.elapsed().as_millis() / TICK.as_millis();
        let due = u64::try_from(due).expect("a test is short");
        assert!(ticks <= due + 2, "{ticks} ticks of {due}");
        (ticks, due)
    }
}

/// One batch for each tick, and nobody lost its place.
async fn expect_single_batches(gate: &TestGate) {
    let room = gate.room("main").await;
    let most = room["tick"].as_u64().expect("a count") * BATCH;
    assert!(room["admitted_total"].as_u64() <= Some(most), "one batch a tick: {room}");
    assert_eq!(room["evicted_total"].as_u64(), Some(0), "{room}");
}

/// X16: a gate that has sent its tick is killed before it has the answer.
async fn killed_mid_tick(crowd: usize, times: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let wire = Proxy::to(redis.port()).await;
    let (mut a, b) = (gate(&wire.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await);
    let crowd = Crowd::start(&[a.address(), b.address()], crowd, manners(crowd, VISIT));
    until("some are inside", DEADLINE, || async {
        (crowd.count(|seen| seen.state == Some(State::Admitted) || seen.done) > 4).then_some(())
    })
    .await;
    let all = Ticks::from(&b).await;
    for _ in 0..times {
        wire.set(Weather::RepliesLost);
        // Its tick has been carried out or is under way; it will not know.
        until("it has no answer", DEADLINE, || async { is_degraded(&a).await.then_some(()) }).await;
        let alone = Ticks::from(&b).await;
        a.kill();
        sleep(TICK * 4).await;
        let (ticks, due) = alone.expect_no_more_than_due(&b).await;
        assert!(ticks * 2 >= due, "the other gate made {ticks} ticks of {due}");
        wire.set(Weather::Clear);
        a.revive().await;
        until_well(&a).await;
    }
    all.expect_no_more_than_due(&b).await;
    expect_single_batches(&b).await;
    served(crowd, CAPACITY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_is_killed_in_the_middle_of_a_tick_takes_nobody_along() {
    if skipped() {
        return;
    }
    killed_mid_tick(100, 2).await;
}

/// What an absence of every gate did.
struct Absence {
    evicted: u64,
    broken: Vec<String>,
}

/// X18, X19: every gate is away for longer than a silent place is kept. `forged`: the
/// store is told that a gate was there until just before they came back.
async fn all_gates_away(count_of: usize, away: Duration, forged: bool) -> Absence {
    let room = |capacity: usize| {
        format!(
            "capacity = {capacity}\nbatch = 5\ntick = \"250ms\"\nidle_timeout = \"2s\"\n\
             poll = {{ min = \"200ms\", max = \"1s\" }}"
        )
    };
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let mut gates = [gate(&redis.url(), &app, &room(4)).await, gate(&redis.url(), &app, &room(4)).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count_of, manners(count_of, None));
    stands(&crowd).await;
    let inside = || crowd.count(|seen| seen.state == Some(State::Admitted)) as u64;
    until("the room is full inside", DEADLINE, || async { (inside() == 4).then_some(()) }).await;
    gates.iter_mut().for_each(TestGate::kill);
    let number = |field: &str| -> u64 {
        let value = redis.command(&["HGET", "usher:{main}:room", field]);
        redis::from_redis_value(value).unwrap_or_else(|why| panic!("{field}: {why}"))
    };
    let before = (number("tick"), number("admitted"));
    sleep(away).await;
    for gate in &gates {
        std::fs::write(gate.file("usher.toml"), settings(&redis.url(), &app, &room(count_of)))
            .expect("the scratch folder is ours");
    }
    if forged {
        let now: (u64, u64) = redis::from_redis_value(redis.command(&["TIME"])).expect("a time");
        let ms = (now.0 * 1_000 + now.1 / 1_000).to_string();
        redis.command(&["HSET", "usher:{main}:room", "alive_at", &ms]);
    }
    let [a, b] = &mut gates;
    let since = Instant::now();
    tokio::join!(a.revive(), b.revive());
    let (ticks, admitted) = (number("tick") - before.0, number("admitted") - before.1);
    let due = since.elapsed().as_millis() / TICK.as_millis() + 1;
    assert!(u128::from(ticks) <= due, "{ticks} ticks of {due}: missed ones are not made up");
    assert!(admitted <= ticks * BATCH, "{admitted} came in at {ticks} ticks");
    until("they all come in", DEADLINE * 2, || async {
        let room = gates[0].room("main").await;
        let evicted = room["evicted_total"].as_u64()?;
        (inside() + evicted >= count_of as u64).then_some(())
    })
    .await;
    let evicted = count(&gates[0], "evicted_total").await;
    let verdict = judge(&crowd.history().await, count_of as u64, away);
    let mut broken: Vec<_> = verdict.findings.iter().map(|found| format!("{found:?}")).collect();
    if verdict.fates.lost > 0 {
        broken.push(format!("{:?}", verdict.fates));
    }
    Absence { evicted, broken }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_that_were_all_away_evict_nobody_and_make_no_ticks_up() {
    if skipped() {
        return;
    }
    let found = all_gates_away(120, SECOND * 5, false).await;
    assert_eq!((found.evicted, found.broken), (0, vec![]));
}

/// What the absence would cost were it not noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absence_that_the_store_does_not_know_of_is_seen_to_evict() {
    if skipped() {
        return;
    }
    let found = all_gates_away(60, SECOND * 5, true).await;
    assert!(found.evicted > 0, "{:?}", found.broken);
}

/// X40: one gate of two stands still for a second, again and again.
async fn stalls(crowd: usize, times: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let (a, b) = (gate(&redis.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await);
    let crowd = Crowd::start(&[a.address(), b.address()], crowd, manners(crowd, VISIT));
    let all = Ticks::from(&b).await;
    for _ in 0..times {
        a.signal("STOP");
        sleep(SECOND).await;
        a.signal("CONT");
        sleep(SECOND / 2).await;
    }
    stands(&crowd).await;
    all.expect_no_more_than_due(&b).await;
    expect_single_batches(&b).await;
    until_well(&a).await;
    served(crowd, CAPACITY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_stands_still_at_times_costs_nobody_a_place() {
    if skipped() {
        return;
    }
    stalls(100, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_gates_that_die_and_stall_while_two_thousand_wait() {
    killed_mid_tick(2_000, 10).await;
    stalls(2_000, 20).await;
    let found = all_gates_away(2_000, SECOND * 30, false).await;
    assert_eq!((found.evicted, found.broken), (0, vec![]));
}
