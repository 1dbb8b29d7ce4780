//! A lottery at the opening: promised before, the same at every gate, told after.

use std::time::Duration;

use serde_json::Value;
use usher::clock::{Clock, SystemClock};
use usher::domain::id::PlaceNumber;
use usher::gate::draw::Published;

use crate::support::app::FakeApp;
use crate::support::client::{Client, request};
use crate::support::gate::{TestGate, run};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const DEADLINE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A room that draws in an hour, unless an operator opens it before.
fn settings(store: &str, app: &FakeApp, room: &str) -> String {
    let at = (SystemClock::new().now() + HOUR).as_millis();
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at).expect("near")).expect("an instant");
    format!(
        "[gate.keys]\ncurrent = \"{KEY}\"\n[store]\n{store}\n\
         [[room]]\nupstreams = [\"{}\"]\ntick = \"100ms\"\nidle_timeout = \"60s\"\n\
         poll = {{ min = \"0s\", max = \"5s\" }}\norder = \"draw\"\n\
         opening = {{ at = \"{at}\", prequeue = \"2h\" }}\n{room}\n",
        app.url(),
    )
}

async fn published(gate: &TestGate) -> Published {
    let answer = request(gate.address(), "GET", "/queue/draw?room=main", &[("host", "t.test")], b"").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()).expect("a draw")
}

async fn drawn(gate: &TestGate) -> Published {
    until("the draw", DEADLINE, async || Some(published(gate).await).filter(|published| published.drawn))
        .await
}

fn number(status: &Value) -> PlaceNumber {
    PlaceNumber(status["number"].as_u64().unwrap_or_else(|| panic!("{status} has a number")))
}

/// Visitors with their numbers, all of whom are there before the opening.
async fn crowd(gates: &[&TestGate], count: usize) -> Vec<(Client, PlaceNumber)> {
    let mut crowd = Vec::new();
    for i in 0..count {
        let mut client = gates[i % gates.len()].client();
        let status = client.stand().await;
        assert_eq!((status["state"].as_str(), &status["drawn"]), (Some("waiting"), &Value::from(false)));
        assert_eq!(status["position"], Value::Null, "nobody knows it yet: {status}");
        assert_eq!(status["eta_seconds"], Value::Null);
        let number = number(&status);
        crowd.push((client, number));
    }
    crowd
}

/// Everybody's position is by the rank, behind those who are still before it.
async fn check_positions(crowd: &mut [(Client, PlaceNumber)], published: &Published, inside: u64) {
    let order = published.verified().expect("fits").order();
    for (client, number) in crowd {
        let rank = order.rank(*number).expect("was there");
        let status = client.status().await;
        if rank > inside {
            assert_eq!(status["position"].as_u64(), Some(rank - inside), "rank {rank}: {status}");
        } else {
            assert_ne!(status["position"].as_u64().unwrap_or(1), 0, "{status}");
        }
    }
}

#[tokio::test]
async fn those_present_are_drawn_and_anybody_can_check_it() {
    let app = FakeApp::start().await;
    let gate = TestGate::start(&settings("kind = \"memory\"", &app, "capacity = 3")).await;
    let mut crowd = crowd(&[&gate], 12).await;
    let page = crowd[0].0.page("/").await.text();
    assert!(page.contains("The order is drawn by lot then"), "{page}");
    let promise = published(&gate).await;
    assert_eq!((promise.drawn, &promise.secret, promise.count), (false, &None, None));
    gate.act("open").await;
    let all = drawn(&gate).await;
    assert_eq!((&all.commitment, all.count, all.next), (&promise.commitment, Some(12), Some(13)));
    let order = all.verified().expect("fits").order();
    for rank in 1..=3 {
        let number = order.number(rank).expect("twelve");
        let (client, _) = crowd.iter_mut().find(|(_, own)| *own == number).expect("was there");
        client.until_state("admitted").await;
    }
    check_positions(&mut crowd, &all, 3).await;
    let mut late = gate.client();
    let status = late.stand().await;
    assert_eq!((status["position"].as_u64(), &status["drawn"]), (Some(10), &Value::from(true)), "{status}");
    let page = late.page("/").await.text();
    assert!(!page.contains("drawn by lot"), "{page}");
    assert_eq!(gate.room("main").await["admitted_total"], 3);

    let file = gate.file("draw.json");
    let verify = |published: &Published, more: &[&str]| {
        std::fs::write(&file, serde_json::to_vec(published).expect("plain data")).expect("ours");
        let file = file.to_str().expect("UTF-8");
        let output = run(&[&["draw", "verify", file], more].concat());
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let first = order.number(1).expect("twelve").to_string();
    let (code, said) = verify(&all, &["--commitment", &promise.commitment, "--number", &first]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("rank 1 of 12"), "{said}");
    let (code, said) = verify(&Published { count: Some(13), ..all.clone() }, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(verify(&promise, &[]).0, Some(1), "the promise proves nothing yet");
}

#[tokio::test]
async fn every_gate_shows_the_same_ranks_and_a_flushed_store_changes_none() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    let settings = settings(&store, &app, "capacity = 2");
    let (a, b) = (TestGate::start(&settings).await, TestGate::start(&settings).await);
    let mut crowd = crowd(&[&a, &b], 10).await;
    assert_eq!(published(&a).await, published(&b).await, "one promise");
    a.act("open").await;
    let all = drawn(&a).await;
    assert_eq!(drawn(&b).await, all);
    let order = all.verified().expect("fits").order();
    for rank in 1..=2 {
        let number = order.number(rank).expect("ten");
        let (client, _) = crowd.iter_mut().find(|(_, own)| *own == number).expect("was there");
        client.until_state("admitted").await;
    }
    let mut late = b.client();
    late.stand().await;
    let c = TestGate::start(&settings).await;
    assert_eq!(drawn(&c).await, all, "a gate that starts after the draw");
    for gate in [&a, &b, &c] {
        let mut there: Vec<_> =
            crowd.iter().map(|(client, number)| (client.clone().at(gate.address()), *number)).collect();
        check_positions(&mut there, &all, 2).await;
    }

    redis.command(&["FLUSHALL"]);
    until("the loss is noticed", DEADLINE, async || (a.room("main").await["degraded"] == true).then_some(()))
        .await;
    until("the line stands again", DEADLINE, async || {
        let mut degraded = false;
        for (client, _) in &mut crowd {
            client.status().await;
        }
        late.status().await;
        for gate in [&a, &b, &c] {
            degraded |= gate.room("main").await["degraded"] == true;
        }
        (!degraded).then_some(())
    })
    .await;
    assert_eq!(drawn(&a).await, all, "the same draw");
    check_positions(&mut crowd, &all, 2).await;
    assert_eq!(late.status().await["position"], 9);
    // Whoever leaves moves the others up: the next by rank comes in.
    for rank in 1..=2 {
        let number = order.number(rank).expect("ten");
        crowd.iter_mut().find(|(_, own)| *own == number).expect("was there").0.leave().await;
    }
    for rank in 3..=4 {
        let number = order.number(rank).expect("ten");
        let (client, _) = crowd.iter_mut().find(|(_, own)| *own == number).expect("was there");
        client.until_state("admitted").await;
    }
    until("both are counted", DEADLINE, async || (b.room("main").await["active"] == 2).then_some(())).await;
}

#[tokio::test]
async fn a_room_without_a_draw_has_none_to_show_and_no_order_changes_under_people() {
    let app = FakeApp::start().await;
    let gate = TestGate::start(&settings("kind = \"memory\"", &app, "")).await;
    let file = gate.file("usher.toml");
    let text = std::fs::read_to_string(&file).expect("there");
    std::fs::write(&file, text.replace("order = \"draw\"", "order = \"fifo\"")).expect("ours");
    let answer = gate.admin("POST", "/admin/v1/reload", "").await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(answer.text().contains("room[0].order"), "{}", answer.text());
    assert_eq!(gate.client().stand().await["drawn"], false, "nothing changed");
    let plain = TestGate::before(&app, "").await;
    let answer = request(plain.address(), "GET", "/queue/draw", &[("host", "t.test")], b"").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"));
    assert!(plain.client().stand().await["drawn"].is_null());
}
