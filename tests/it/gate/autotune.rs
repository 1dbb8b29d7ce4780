//! A capacity that falls while the app is slow or fails.

use futures_util::future::join_all;

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

#[tokio::test]
async fn failures_lower_the_capacity_and_an_operator_has_the_last_word() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 40\nautotune = { errors = 0.1 }").await;
    fail_and_be_lowered(&gate).await;
}

#[tokio::test]
async fn and_so_they_do_over_redis() {
    if skipped() {
        return;
    }
    let (app, server) = (FakeApp::start().await, RedisServer::start());
    let settings = format!(
        "[store]\nkind = \"redis\"\nurl = \"{}\"\n[[room]]\ncapacity = 40\nautotune = {{ errors = 0.1 }}",
        server.url()
    );
    fail_and_be_lowered(&TestGate::before(&app, &settings).await).await;
}

#[tokio::test]
async fn an_app_that_keeps_people_waiting_is_unwell_though_it_never_fails() {
    let app = FakeApp::start().await;
    // No limit on failures: it is the time until the gate gave up that counts.
    let settings = "[gate.limits]\nfirst_byte_timeout = \"400ms\"\n[[room]]\ncapacity = 40\n\
                    autotune = { p95 = \"300ms\" }";
    let gate = TestGate::before(&app, settings).await;
    let client = gate.admitted().await;
    until("the app is found slow", DEADLINE, async || {
        crowd(&client, "/never").await;
        (gate.room("main").await["capacity"] == 1).then_some(())
    })
    .await;
}

/// Asks `target` 26 times at once, by both ways to the app: a request with a
/// body does not take the fast lane.
async fn crowd(client: &Client, target: &str) {
    let asks = (0..26).map(|n| {
        let mut client = client.clone();
        let body = if n % 2 == 0 { "" } else { "body" };
        async move { client.send("GET", target, &[], body).await.status }
    });
    join_all(asks).await;
}

async fn capacity_is(gate: &TestGate, wanted: u64) {
    until(&format!("a capacity of {wanted}"), DEADLINE, || async {
        (gate.room("main").await["capacity"] == wanted).then_some(())
    })
    .await;
}

async fn fail_and_be_lowered(gate: &TestGate) {
    let client = gate.admitted().await;
    for _ in 0..3 {
        crowd(&client, "/x").await;
    }
    assert_eq!(gate.room("main").await["capacity"], 40);
    let mut other = client.clone();
    until("the app is found unwell", DEADLINE, || {
        let client = client.clone();
        async move {
            crowd(&client, "/answer/503").await;
            (gate.room("main").await["capacity"] == 1).then_some(())
        }
    })
    .await;
    assert_eq!(other.get("/x").await.status, 200, "nobody inside is sent away");
    let room = gate.room("main").await;
    assert_eq!(room["capacity_set"], 40);
    let metrics = gate.admin("GET", "/metrics", "").await.text();
    assert!(metrics.contains("usher_room_capacity{room=\"main\",which=\"in_force\"} 1\n"), "{metrics}");
    assert!(metrics.contains("usher_room_capacity{room=\"main\",which=\"set\"} 40\n"), "{metrics}");
    assert!(gate.log().contains("the app is unwell"), "{}", gate.log());
    gate.client().stand().await;
    gate.after_two_ticks().await;
    assert_eq!(gate.room("main").await["admitted_total"], 1, "the next one waits");
    gate.change("{\"capacity\": 2}").await;
    capacity_is(gate, 2).await;
    until("the next one's turn", DEADLINE, || async {
        (gate.room("main").await["admitted_total"] == 2).then_some(())
    })
    .await;
}
