//! Doors that open at an instant, and the people who gather before it.

use std::time::Duration;

use usher::clock::{Clock, SystemClock};

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::redis_server::{RedisServer, skipped};

const HOUR: Duration = Duration::from_secs(3_600);

/// An instant so long from now, in ms.
fn ahead(by: Duration) -> u64 {
    (SystemClock::new().now() + by).as_millis()
}

/// A room that opens in an hour; people may gather `prequeue` before.
fn opening(prequeue: &str) -> String {
    let at = jiff::Timestamp::from_millisecond(ahead(HOUR) as i64).expect("an instant");
    let prequeue = if prequeue.is_empty() { String::new() } else { format!(", prequeue = \"{prequeue}\"") };
    format!("bypass = {{ paths = [\"/command\"] }}\nopening = {{ at = \"{at}\"{prequeue} }}")
}

#[tokio::test]
async fn people_gather_before_the_opening_and_go_in_from_then_on() {
    let app = FakeApp::start().await;
    gather_and_go_in(&TestGate::before(&app, &opening("2h")).await).await;
}

#[tokio::test]
async fn and_so_they_do_over_redis() {
    if skipped() {
        return;
    }
    let (app, server) = (FakeApp::start().await, RedisServer::start());
    let settings =
        format!("[store]\nkind = \"redis\"\nurl = \"{}\"\n[[room]]\n{}", server.url(), opening("2h"));
    gather_and_go_in(&TestGate::before(&app, &settings).await).await;
}

async fn gather_and_go_in(gate: &TestGate) {
    let (mut first, mut second) = (gate.client(), gate.client());
    let status = first.stand().await;
    second.stand().await;
    assert_eq!((status["state"].as_str(), status["position"].as_u64()), (Some("waiting"), Some(1)));
    let opens_at = status["opens_at"].as_u64().expect("an instant");
    assert!(opens_at > ahead(HOUR / 2), "{status}");
    let eta = status["eta_seconds"]["low"].as_u64();
    assert!(eta.is_some_and(|seconds| (3_000..=3_700).contains(&seconds)), "{status}");
    assert_eq!(status["paused"], false);
    let page = first.page("/").await.text();
    assert!(page.contains("The doors open in <b data-at=\"opening\">about 60 minutes</b>"), "{page}");
    let room = gate.after_two_ticks().await;
    assert_eq!((room["state"].as_str(), room["opens_at"].as_u64()), (Some("opening"), Some(opens_at)));
    assert_eq!((room["waiting"].as_u64(), room["admitted_total"].as_u64()), (Some(2), Some(0)));
    gate.change(&format!("{{\"opens_at\": {}}}", ahead(Duration::from_secs(2)))).await;
    assert_eq!(first.admit().await["number"], 1);
    assert_eq!(second.admit().await["opens_at"], serde_json::Value::Null);
    assert_eq!(gate.room("main").await["state"], "open");
}

#[tokio::test]
async fn who_comes_before_people_may_gather_gets_no_place_and_is_told_why() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, &opening("")).await;
    let mut early = gate.client();
    let status = early.stand().await;
    assert_eq!((status["state"].as_str(), status["number"].as_u64()), (Some("closed"), None));
    assert!(status["opens_at"].as_u64().is_some(), "{status}");
    assert!(early.page("/").await.text().contains("about 60 minutes"));
    let program = early.get("/x").await;
    assert_eq!((program.status, program.problem().as_str()), (503, "closed"));
    gate.after_two_ticks().await;
    assert_eq!(gate.room("main").await["joined_total"], 0);
    gate.act("open").await;
    early.admit().await;
    assert!(gate.client().stand().await["opens_at"].is_null());
}

#[tokio::test]
async fn the_app_opens_the_doors_and_an_operator_puts_them_back_on_schedule() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, &opening("2h")).await;
    let mut visitor = gate.client();
    let opens_at = visitor.stand().await["opens_at"].clone();
    assert_eq!(gate.client().get("/command/open").await.status, 200);
    visitor.admit().await;
    gate.change("{\"opens_at\": null}").await;
    assert_eq!(gate.client().stand().await["opens_at"], opens_at);
    gate.after_two_ticks().await;
    assert_eq!(gate.room("main").await["admitted_total"], 1);
    assert_eq!(visitor.get("/x").await.status, 200, "who is inside stays");
}
