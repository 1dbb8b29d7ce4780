//! A line that is only counted: nobody who comes notices it.

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

const SHADOW: &str = "mode = \"shadow\"\ncapacity = 1\nidle_timeout = \"3s\"\non_store_down = \"closed\"";

/// Another browser on the same address.
fn browser(gate: &TestGate, name: &str) -> Client {
    gate.client().with("user-agent", name)
}

/// Loads a page; nothing of the gate's may come with it.
async fn load(client: &mut Client, target: &str) {
    let answer = client.page(target).await;
    assert!(answer.text().starts_with(&format!("GET {target} ")), "{}", answer.text());
    assert_eq!((answer.all("set-cookie").len(), answer.field("cache-control")), (0, None));
    assert!(!answer.text().to_lowercase().contains("usher-visitor"), "{}", answer.text());
}

async fn room_is(gate: &TestGate, waiting: u64, active: u64) {
    until(&format!("{waiting} wait, {active} inside"), DEADLINE, || async {
        let room = gate.room("main").await;
        (room["waiting"] == waiting && room["active"] == active).then_some(())
    })
    .await;
}

async fn counted(gate: &TestGate, would: &str) -> u64 {
    let metrics = gate.admin("GET", "/metrics", "").await.text();
    let name = format!("usher_shadow_visitors_total{{room=\"main\",would=\"{would}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |n| n.parse().expect("a count"))
}

#[tokio::test]
async fn everybody_is_forwarded_and_the_line_is_counted() {
    let app = FakeApp::start().await;
    count(&app, &TestGate::before(&app, SHADOW).await).await;
}

#[tokio::test]
async fn and_so_it_is_over_redis_which_may_go_away() {
    if skipped() {
        return;
    }
    let (app, server) = (FakeApp::start().await, RedisServer::start());
    let settings = format!("[store]\nkind = \"redis\"\nurl = \"{}\"\n[[room]]\n{SHADOW}", server.url());
    let gate = TestGate::before(&app, &settings).await;
    count(&app, &gate).await;
    drop(server);
    until("the store is missed", DEADLINE, || async {
        (gate.room("main").await["degraded"] == true).then_some(())
    })
    .await;
    load(&mut browser(&gate, "late"), "/late").await;
}

async fn count(app: &FakeApp, gate: &TestGate) {
    let [mut first, mut second, mut third] = ["a", "b", "c"].map(|name| browser(gate, name));
    load(&mut first, "/1").await;
    room_is(gate, 0, 1).await;
    load(&mut second, "/2").await;
    room_is(gate, 1, 1).await;
    // The ordinary way counts as the fast lane does.
    assert_eq!(third.send("GET", "/3", &[("accept", "text/html")], "body").await.status, 200);
    room_is(gate, 2, 1).await;
    for again in [&mut first, &mut second] {
        load(again, "/again").await;
    }
    assert_eq!(browser(gate, "program").get("/api").await.status, 200);
    assert_eq!(app.count(), 6);
    // Long past the idle timeout nobody was silent, and nobody has two places.
    let tick = gate.room("main").await["tick"].as_u64();
    until("a silence", DEADLINE, || async {
        (gate.room("main").await["tick"].as_u64() > tick.map(|n| n + 90)).then_some(())
    })
    .await;
    let room = gate.room("main").await;
    assert_eq!((room["mode"].as_str(), room["evicted_total"].as_u64()), (Some("shadow"), Some(0)));
    assert_eq!((room["joined_total"].as_u64(), room["waiting"].as_u64()), (Some(3), Some(2)));
    assert_eq!((counted(gate, "enter").await, counted(gate, "wait").await), (1, 2));
    // The app's word frees the slot, and the next one's turn is taken for it.
    assert_eq!(first.get("/command/complete").await.status, 200);
    room_is(gate, 1, 1).await;
    let waited = gate.room("main").await["wait_ms"]["p50"].as_u64();
    assert!(waited.is_some_and(|ms| ms > 1_000), "{waited:?}");
}

#[tokio::test]
async fn more_time_for_a_buyer_keeps_the_slot_that_would_be_taken() {
    let app = FakeApp::start().await;
    until("a run in which nobody was held up", DEADLINE * 2, async || extend(&app).await).await;
}

/// `None` when the pass had ended before the app could ask for more, or ended all the same.
async fn extend(app: &FakeApp) -> Option<()> {
    let gate = TestGate::before(app, &format!("{SHADOW}\npass_ttl = \"4s\"\nclaim_window = \"4s\"")).await;
    let [mut first, mut second] = ["a", "b"].map(|name| browser(&gate, name));
    load(&mut first, "/1").await;
    room_is(&gate, 0, 1).await;
    first.get("/command/extend=600").await;
    load(&mut second, "/2").await;
    let tick = gate.room("main").await["tick"].as_u64();
    until("longer than a pass", DEADLINE, || async {
        (gate.room("main").await["tick"].as_u64() > tick.map(|n| n + 110)).then_some(())
    })
    .await;
    let room = gate.room("main").await;
    (room["expired_total"] == 0 && room["waiting"] == 1).then_some(())
}
