//! Status, join, leave: a visitor's way through the line.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

/// Two clocks in whole milliseconds may differ by this.
const MOMENT: Duration = Duration::from_millis(5);

const FIELDS: [&str; 18] = [
    "degraded",
    "eta_seconds",
    "go",
    "message",
    "number",
    "opens_at",
    "opens_in_seconds",
    "pass_expires_at",
    "paused",
    "poll_after_ms",
    "position",
    "reason",
    "room",
    "said",
    "sold_out",
    "state",
    "stock",
    "waiting",
];

fn has_all_fields(status: &Value) {
    let keys: Vec<_> = status.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, FIELDS, "{status}");
    let nulls = |names: &[&str]| names.iter().all(|name| status[*name].is_null());
    let state = status["state"].as_str().expect("a state");
    assert!(state == "waiting" || nulls(&["position", "eta_seconds"]), "{status}");
    assert!(state == "admitted" || nulls(&["pass_expires_at", "go"]), "{status}");
    assert!(status["poll_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{status}");
}

/// A gate that lets one in, who is in already.
async fn taken(app: &FakeApp, more: &str) -> (TestGate, crate::support::client::Client) {
    let gate = TestGate::before(app, &format!("{more}\ncapacity = 1")).await;
    let holder = gate.admitted().await;
    (gate, holder)
}

#[tokio::test]
async fn every_state_has_every_field() {
    let app = FakeApp::start().await;
    let (gate, mut holder) = taken(&app, "").await;
    let mut visitor = gate.client();
    let first = visitor.status().await;
    assert_eq!((first["state"].as_str(), first["number"].as_u64()), (Some("none"), None));
    assert!(first["poll_after_ms"].as_u64().is_some_and(|ms| ms <= 2_000), "{first}");
    assert!(visitor.cookies.contains_key("usher_visitor"), "an id is given");
    let second = visitor.status().await;
    assert_eq!((second["state"].as_str(), second["position"].as_u64()), (Some("waiting"), Some(1)));
    assert_eq!(second["waiting"], 1);
    let third = visitor.leave().await;
    assert_eq!(third["state"], "left");
    let inside = holder.status().await;
    assert_eq!((inside["state"].as_str(), inside["go"].as_str()), (Some("admitted"), Some("/")));
    for status in [first, second, third, inside] {
        has_all_fields(&status);
    }
}

#[tokio::test]
async fn a_hundred_joins_at_once_take_one_place() {
    let app = FakeApp::start().await;
    let (gate, _holder) = taken(&app, "").await;
    let before = gate.settled_room().await["joined_total"].as_u64();
    let mut visitor = gate.client();
    visitor.status().await;
    let joins = (0..100).map(|_| {
        let mut same = visitor.clone();
        async move { same.join().await }
    });
    let answers = join_all(joins).await;
    let number = answers[0]["number"].as_u64();
    assert!(number.is_some(), "{}", answers[0]);
    assert!(answers.iter().all(|answer| answer["number"].as_u64() == number), "one number");
    let joined = until("the join is counted", DEADLINE, || async {
        let joined = gate.room("main").await["joined_total"].as_u64();
        (joined != before).then_some(joined)
    })
    .await;
    assert_eq!(joined, before.map(|n| n + 1));
}

#[tokio::test]
async fn who_left_is_out_until_it_joins_again_at_the_tail() {
    let app = FakeApp::start().await;
    let (gate, _holder) = taken(&app, "").await;
    let (mut visitor, mut other) = (gate.client(), gate.client());
    let first = visitor.stand().await;
    other.stand().await;
    visitor.leave().await;
    for _ in 0..3 {
        let status = visitor.status().await;
        assert_eq!(status["state"], "left", "H10: no resurrection by polling");
        has_all_fields(&status);
    }
    let again = visitor.join().await;
    assert_eq!(again["state"], "waiting");
    assert!(again["number"].as_u64() > first["number"].as_u64(), "at the tail");
    visitor.until_status("second", |status| status["position"] == 2).await;
    visitor.leave().await;
    let page = visitor.page("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(visitor.status().await["state"], "waiting", "a page load joins again");
}

#[tokio::test]
async fn an_admitted_visitor_has_one_pass_and_leaving_gives_it_back() {
    let app = FakeApp::start().await;
    let (gate, mut holder) = taken(&app, "").await;
    let pass = holder.cookies["usher_pass"].clone();
    let ends = holder.status().await["pass_expires_at"].clone();
    for _ in 0..3 {
        let status = holder.join().await;
        assert_eq!((status["state"].as_str(), &status["pass_expires_at"]), (Some("admitted"), &ends));
        assert_eq!(holder.cookies["usher_pass"], pass, "the same pass");
    }
    let mut copy = holder.clone();
    let mut next = gate.client();
    next.stand().await;
    assert_eq!(holder.leave().await["state"], "left");
    assert!(!holder.cookies.contains_key("usher_pass"), "the cookie is taken back");
    assert_eq!(copy.get("/x").await.status, 429, "a copy of the pass is worth nothing");
    next.admit().await;
}

#[tokio::test]
async fn the_silent_are_evicted_once_and_rejoin_at_the_tail() {
    let app = FakeApp::start().await;
    until("a run in which nobody was held up", DEADLINE * 2, async || evict(&app).await).await;
}

/// The longest silence of one who polls, below `idle_timeout`.
const STEADY: Duration = Duration::from_millis(1_500);

/// One eviction; `None` when the steady one was held up and so fell silent, too.
async fn evict(app: &FakeApp) -> Option<()> {
    let (gate, _holder) = taken(app, "idle_timeout = \"2s\"").await;
    let (mut silent, mut steady) = (gate.client(), gate.client());
    let first = silent.stand().await["number"].as_u64();
    let began = Instant::now();
    let mut heard = began;
    let kept = steady.stand().await["number"].as_u64();
    let mut is_steady = async || {
        let asked = Instant::now();
        let status = steady.status().await;
        if heard.elapsed() > STEADY {
            return false;
        }
        assert_eq!(status["number"].as_u64(), kept, "who polls keeps its place");
        assert!(began.elapsed() < DEADLINE, "waited in vain");
        heard = asked;
        true
    };
    while gate.room("main").await["evicted_total"] != 1 {
        is_steady().await.then_some(())?;
    }
    assert_eq!(silent.status().await["state"], "expired", "H08");
    assert_eq!(silent.status().await["state"], "expired", "polling takes no new place");
    let again = silent.join().await;
    assert!(again["number"].as_u64() > first, "{again}");
    while silent.status().await["position"] != 2 {
        is_steady().await.then_some(())?;
    }
    let evicted = gate.room("main").await["evicted_total"].clone();
    is_steady().await.then_some(())?;
    assert_eq!(evicted, 1);
    Some(())
}

#[tokio::test]
async fn a_poll_before_half_the_pause_is_too_early_and_loses_nothing() {
    let app = FakeApp::start().await;
    let more = "poll = { min = \"10s\", max = \"20s\" }\nidle_timeout = \"80s\"\nclaim_window = \"30s\"";
    let (gate, mut holder) = taken(&app, more).await;
    let mut visitor = gate.client();
    visitor.status().await;
    let (first, early) = until("a poll that was early", DEADLINE * 2, async || {
        let asked = Instant::now();
        let first = visitor.status().await;
        assert_eq!(first["state"], "waiting");
        let told = first["poll_after_ms"].as_u64().expect("a pause");
        assert!(
            (4_000..=15_000).contains(&told),
            "at most a quarter of the idle timeout, half the claim window: {told}"
        );
        let early = visitor.get("/queue/status").await;
        // On a machine that stood still it may have been in time; then once more.
        assert!(early.status == 429 || asked.elapsed() + MOMENT >= Duration::from_millis(told / 2));
        (early.status == 429).then_some((first, early))
    })
    .await;
    assert_eq!(early.problem(), "too_early");
    let after = early.field("retry-after").and_then(|s| s.parse::<u64>().ok());
    assert!(after.is_some_and(|after| (1..=8).contains(&after)), "whole seconds, at least one: {after:?}");
    assert_eq!(visitor.join().await["number"], first["number"], "a join is never too early");
    assert_eq!(visitor.page("/").await.status, 200, "nor a page load");
    let in_time = until("half of the pause", DEADLINE, || {
        let mut visitor = visitor.clone();
        async move { Some(visitor.get("/queue/status").await).filter(|answer| answer.status == 200) }
    })
    .await;
    assert_eq!(in_time.json()["number"], first["number"], "H05: the place is kept");
    for _ in 0..3 {
        assert_eq!(holder.status().await["state"], "admitted", "the admitted are never too early");
    }
}

#[tokio::test]
async fn a_full_line_takes_nobody() {
    let app = FakeApp::start().await;
    let (gate, _holder) = taken(&app, "max_waiting = 1").await;
    let (mut first, mut second) = (gate.client(), gate.client());
    assert_eq!(first.stand().await["state"], "waiting");
    let status = second.stand().await;
    assert_eq!((status["state"].as_str(), &status["number"]), (Some("full"), &Value::Null));
    has_all_fields(&status);
    let page = second.page("/").await;
    assert_eq!(page.status, 503);
    assert!(page.field("retry-after").is_some());
    first.leave().await;
    second.until_status("first", |status| status["position"] == 1).await;
}

#[tokio::test]
async fn the_operators_word_is_shown_to_those_who_wait() {
    let app = FakeApp::start().await;
    let (gate, _holder) = taken(&app, "").await;
    let mut visitor = gate.client();
    visitor.stand().await;
    gate.change("{\"message\": \"doors open at <noon>\"}").await;
    gate.act("pause").await;
    let status = visitor.until_status("paused", |status| status["paused"] == true).await;
    assert_eq!((&status["message"], &status["state"]), (&json!("doors open at <noon>"), &json!("waiting")));
    assert!(visitor.page("/").await.text().contains("doors open at &lt;noon"), "escaped on the page");
    gate.change("{\"message\": null, \"capacity\": 5}").await;
    assert_eq!(visitor.status().await["state"], "waiting", "paused: nobody is admitted");
    gate.act("resume").await;
    assert_eq!(visitor.admit().await["message"], Value::Null);
}
