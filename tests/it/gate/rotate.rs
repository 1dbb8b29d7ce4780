//! Passes that rotate: copies that are used in turns end them, a browser with a bad
//! connection does not.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::{TestGate, room};
use crate::support::http1::Answer;
use crate::support::raw::DEADLINE;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

/// Between two visits of a device.
const PAUSE: Duration = Duration::from_millis(50);

fn rotating(every: &str) -> String {
    format!("pass_binding = \"rotate\"\npass_rotation = \"{every}\"\n")
}

async fn two_gates(redis: &RedisServer, app: &FakeApp, every: &str) -> [TestGate; 2] {
    let store = format!("[store]\nkind = \"redis\"\nurl = \"{}\"\n", redis.url());
    let keys = "[gate.keys]\ncurrent = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";
    let settings = room(&app.url(), &format!("{keys}{store}[[room]]{}", rotating(every)));
    [TestGate::start(&settings).await, TestGate::start(&settings).await]
}

/// Which copy of its pass a client has: the last count before text and signature.
fn generation(client: &Client) -> u64 {
    let token = URL_SAFE_NO_PAD.decode(&client.cookies["usher_pass"]).expect("base64url");
    let at = token.len() - 32 - 2 - 8;
    u64::from_be_bytes(token[at..at + 8].try_into().expect("eight bytes"))
}

fn gives_a_pass(answer: &Answer) -> bool {
    answer.all("set-cookie").iter().any(|line| line.starts_with("usher_pass="))
}

/// How often an old copy of the only pass was claimed, as the store counts it.
fn strikes(redis: &RedisServer) -> usize {
    let kept: Vec<String> =
        redis::from_redis_value(redis.command(&["HVALS", "usher:{main}:bound"])).expect("texts");
    let [kept] = &kept[..] else { panic!("one pass: {kept:?}") };
    kept.split(' ').count() - 7
}

/// Two devices visit in turns until neither gets in.
async fn take_turns(devices: &mut [Client; 2]) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let mut inside = 0;
        for device in &mut *devices {
            inside += usize::from(device.get("/x").await.status == 200);
        }
        if inside == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "both are still inside");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn a_copied_cookie_that_is_used_in_turns_ends_the_pass_for_both() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, &rotating("1s")).await;
    let one = gate.admitted().await;
    assert_eq!(generation(&one), 1);
    let mut devices = [one.clone(), one];
    take_turns(&mut devices).await;
    for device in &mut devices {
        let status = device.status().await;
        assert_eq!((&status["state"], &status["reason"]), (&json!("expired"), &json!("revoked")), "{status}");
    }
    let seen = app.count();
    assert_eq!(devices[0].get("/x").await.status, 429);
    assert_eq!(app.count(), seen, "nothing of it reaches the app");
    assert!(gate.log().contains("copies of one pass"), "{}", gate.log());
    let metrics = gate.admin("GET", "/metrics", "").await.text();
    assert!(metrics.contains("usher_room_shared_passes_total{room=\"main\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn copies_at_two_gates_are_found_out_as_well() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let [a, b] = two_gates(&redis, &app, "1s").await;
    let one = a.admitted().await;
    let mut devices = [one.clone(), one.at(b.address())];
    take_turns(&mut devices).await;
    let [one, two] = devices;
    for mut device in [one.at(b.address()), two.at(a.address())] {
        assert_eq!(device.status().await["reason"], "revoked");
    }
}

#[tokio::test]
async fn one_browser_that_asks_many_things_at_once_and_loses_answers_gets_no_strike() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let gates = two_gates(&redis, &app, "12s").await;
    let mut jar = gates[0].admitted().await;
    let mut before = jar.clone();
    let (mut asked, deadline) = (0, Instant::now() + DEADLINE);
    while generation(&jar) < 3 {
        assert!(Instant::now() < deadline, "no other copy");
        // A tab whose request was under way when the last answers came is among them.
        let jars = [&jar, &jar, &before, &jar];
        let at_once = jars.into_iter().cloned().enumerate().map(|(i, tab)| {
            let mut tab = tab.at(gates[i % 2].address());
            async move { if i == 3 { tab.get("/queue/status").await } else { tab.get("/x").await } }
        });
        let answers = join_all(at_once).await;
        before.clone_from(&jar);
        for answer in answers {
            assert_eq!(answer.status, 200, "{}", answer.text());
            asked += 1;
            // Some are lost on their way.
            if asked % 5 > 0 {
                jar.remember(&answer);
            }
        }
        assert_eq!(strikes(&redis), 0);
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn while_the_store_is_away_an_old_copy_is_as_good_as_any() {
    if skipped() {
        return;
    }
    let (mut redis, app) = (RedisServer::start(), FakeApp::start().await);
    let [gate, _] = two_gates(&redis, &app, "2s").await;
    let mut new = gate.admitted().await;
    let mut old = new.clone();
    until("a newer copy", DEADLINE, async || {
        assert_eq!(new.get("/x").await.status, 200);
        (generation(&new) > 1).then_some(())
    })
    .await;
    assert_eq!(new.get("/x").await.status, 200, "and it is shown");
    tokio::time::sleep(Duration::from_millis(500)).await;
    redis.kill();
    until("the outage is noticed", DEADLINE, async || (new.status().await["degraded"] == true).then_some(()))
        .await;
    for _ in 0..5 {
        assert_eq!(old.get("/x").await.status, 200);
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(generation(&old), 1, "and nobody counts");
}

#[tokio::test]
async fn the_next_copy_comes_with_an_answer_that_no_cache_keeps() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, &rotating("6s")).await;
    let mut client = gate.admitted().await;
    let deadline = Instant::now() + DEADLINE;
    while generation(&client) == 1 {
        assert!(Instant::now() < deadline, "no other copy");
        for _ in 0..6 {
            let kept = client.get("/kept").await;
            assert!(!gives_a_pass(&kept), "{kept:?}");
            assert_eq!(kept.field("cache-control"), Some("public, max-age=600"));
        }
        let own = client.get("/x").await;
        assert!(!gives_a_pass(&own) || own.field("cache-control") == Some("private, no-store"));
        tokio::time::sleep(PAUSE).await;
    }
}
