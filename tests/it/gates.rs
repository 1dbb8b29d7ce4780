//! Several gates over one Redis: one line, through kills, restarts and a full store.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::{TestGate, usher};
use crate::support::redis_server::{RedisServer, skipped};

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One that a kill costs nothing it has acknowledged.
fn durable_redis() -> RedisServer {
    RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
}

fn settings(redis: &RedisServer, app: &FakeApp, room: &str) -> String {
    format!(
        "[gate.keys]\ncurrent = \"{KEY}\"\n[store]\nkind = \"redis\"\nurl = \"{}\"\n\
         [[room]]\nupstreams = [\"{}\"]\ntick = \"100ms\"\n{room}\n",
        redis.url(),
        app.url(),
    )
}

async fn two_gates(redis: &RedisServer, app: &FakeApp, room: &str) -> [TestGate; 2] {
    let settings = settings(redis, app, room);
    [TestGate::start(&settings).await, TestGate::start(&settings).await]
}

/// Asks every 20 ms, for two minutes at most.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn position(status: &Value) -> u64 {
    status["position"].as_u64().unwrap_or_else(|| panic!("{status} has a position"))
}

/// For whatever is waited for.
const DEADLINE: Duration = Duration::from_secs(120);

/// Takes a place; a Redis that a busy machine delays is asked again.
async fn stand(visitor: &mut Client) -> Value {
    visitor.stand().await;
    visitor.until_status("in line", |status| status["number"].is_u64()).await
}

/// Gives a place or pass back, likewise.
async fn leave(visitor: &mut Client) {
    until("the leave is heard", async || {
        let answer = visitor.post("/queue/leave", "").await;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    })
    .await;
}

const UNPACED: &str = "poll = { min = \"0s\" }";

#[tokio::test]
async fn two_gates_show_one_line() {
    if skipped() {
        return;
    }
    let (redis, app) = (durable_redis(), FakeApp::start().await);
    let [a, b] = two_gates(&redis, &app, UNPACED).await;
    a.act("pause").await;
    let mut visitors: Vec<Client> = [&a, &b, &a, &b].map(TestGate::client).into();
    for (i, visitor) in visitors.iter_mut().enumerate() {
        assert_eq!(position(&stand(visitor).await), i as u64 + 1, "numbers come from one line");
    }
    let mut third = visitors.remove(2).at(b.address());
    let moved = third.status().await;
    assert_eq!((position(&moved), moved["number"].as_u64()), (3, Some(3)), "a place is good at every gate");
    until("the pause is heard at the other gate", async || {
        (third.status().await["paused"] == true).then_some(())
    })
    .await;
    b.act("resume").await;
    let inside = third.until_state("admitted").await;
    let mut elsewhere = third.at(a.address());
    assert_eq!(elsewhere.get("/seats").await.status, 200, "a pass is good at every gate");
    leave(&mut elsewhere).await;
    let mut there = elsewhere.at(b.address());
    let number = inside["number"].as_u64().expect("a number");
    until("a pass given back is dead at the other gate", async || {
        (there.get(&format!("/seats?{number}")).await.status == 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_passes_go_on_and_places_wait() {
    if skipped() {
        return;
    }
    let (mut redis, app) = (durable_redis(), FakeApp::start().await);
    let [a, _b] = two_gates(&redis, &app, &format!("capacity = 1\n{UNPACED}")).await;
    let mut holder = a.admitted().await;
    let mut waiting = a.client();
    let before = stand(&mut waiting).await;
    redis.kill();
    until("the outage is noticed", async || (waiting.status().await["degraded"] == true).then_some(())).await;
    assert_eq!(holder.get("/seats").await.status, 200, "a pass needs no store");
    assert_eq!(position(&waiting.status().await), position(&before), "the last position stands");
    assert!(!a.is_ready().await, "a balancer is told");
    let mut newcomer = a.client();
    newcomer.status().await;
    let told = newcomer.status().await;
    assert_eq!((&told["state"], &told["number"]), (&Value::from("waiting"), &Value::Null));
    redis.restart();
    until("the line stands again", async || (waiting.status().await["degraded"] == false).then_some(()))
        .await;
    assert_eq!(waiting.status().await["number"], before["number"], "nobody lost a place");
    until("the newcomer is enqueued", async || newcomer.status().await["number"].as_u64()).await;
    assert_eq!(waiting.status().await["state"], "waiting", "capacity was kept");
    leave(&mut holder).await;
    waiting.until_state("admitted").await;
}

#[tokio::test]
async fn a_full_redis_admits_nobody_and_evicts_nobody_who_polls() {
    if skipped() {
        return;
    }
    until("a run in which the waiting one was not held up", fill_redis).await;
}

/// `None` when the one that waits fell silent for as long as evicts.
async fn fill_redis() -> Option<()> {
    const IDLE: Duration = Duration::from_secs(2);
    let (redis, app) = (durable_redis(), FakeApp::start().await);
    let [a, _b] = two_gates(&redis, &app, &format!("capacity = 1\nidle_timeout = \"2s\"\n{UNPACED}")).await;
    let mut holder = a.admitted().await;
    let mut waiting = a.client();
    let number = stand(&mut waiting).await["number"].clone();
    let began = Instant::now();
    let mut heard = began;
    redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
    leave(&mut holder).await;
    // Well past the idle timeout and one heartbeat interval.
    while began.elapsed() < IDLE * 2 {
        let asked = Instant::now();
        let status = waiting.status().await;
        if heard.elapsed() >= IDLE - IDLE / 4 {
            return None;
        }
        assert_eq!((&status["state"], &status["number"]), (&Value::from("waiting"), &number));
        heard = asked;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let turn = waiting.until_status("over", |status| status["state"] != "waiting").await;
    (turn["state"] == "admitted" || heard.elapsed() < IDLE).then(|| assert_eq!(turn["state"], "admitted"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_loses_nothing_to_a_killed_gate_and_a_killed_redis() {
    if skipped() {
        return;
    }
    let (mut redis, app) = (durable_redis(), FakeApp::start().await);
    let [mut a, b] =
        two_gates(&redis, &app, "capacity = 20\nbatch = 10\npoll = { min = \"200ms\", max = \"1s\" }").await;
    let targets = format!("http://{},http://{}", a.address(), b.address());
    let report = b.file("report.json");
    let mut swarm = tokio::process::Command::from(usher())
        .args(["swarm", "--target", &targets, "--visitors", "200", "--rate", "40", "--seed", "7"])
        .args(["--visit", "500ms", "--think", "200ms", "--capacity", "20", "--max-time", "300s", "--quiet"])
        .args(["--report".as_ref(), report.as_os_str()])
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the swarm starts");
    until("some are inside", async || {
        (b.room("main").await["claimed_total"].as_u64() > Some(20)).then_some(())
    })
    .await;
    a.restart().await;
    until("more are inside", async || {
        (b.room("main").await["claimed_total"].as_u64() > Some(60)).then_some(())
    })
    .await;
    redis.kill();
    redis.restart();
    let status = swarm.wait().await.expect("the swarm ends");
    let told = std::fs::read_to_string(&report).unwrap_or_default();
    assert!(status.success(), "{told}");
    let told: Value = serde_json::from_str(&told).expect("a report");
    assert_eq!(told["ok"], true, "{told}");
}

#[tokio::test]
async fn a_place_that_moved_is_so_at_every_gate_and_at_one_that_starts() {
    if skipped() {
        return;
    }
    let (redis, app) = (durable_redis(), FakeApp::start().await);
    let [mut a, b] = two_gates(&redis, &app, UNPACED).await;
    a.act("pause").await;
    let mut old = a.client();
    let place = stand(&mut old).await;
    let mut behind = b.client();
    stand(&mut behind).await;
    let link = old.get("/queue/move").await.json()["token"].as_str().expect("a token").to_owned();
    let mut new = b.client();
    new.get("/queue/move").await;
    let body = serde_json::json!({"token": link}).to_string();
    let taken = until("the store's answer", async || {
        let answer = new.post("/queue/move", &body).await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 200).then(|| answer.json())
    })
    .await;
    assert_eq!(taken["number"], place["number"]);
    until("the other gate knows", async || (old.status().await["reason"] == "moved").then_some(())).await;
    let mut new = new.at(a.address());
    assert_eq!(position(&new.status().await), 1);
    a.restart().await;
    assert_eq!(old.status().await["reason"], "moved", "read with the line");
    assert_eq!(position(&new.status().await), 1);
    b.act("resume").await;
    new.until_state("admitted").await;
    behind.until_state("admitted").await;
    assert_eq!(old.status().await["reason"], "moved");
    let room = a.after_two_ticks().await;
    assert_eq!((&room["active"], &room["joined_total"]), (&serde_json::json!(2), &serde_json::json!(2)));
}
