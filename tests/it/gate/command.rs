//! The app's words to the gate: obeyed, and never shown to a visitor.

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn complete_ends_the_pass_and_frees_the_room() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut client = gate.admitted().await;
    let copy = client.clone();
    let answer = client.get("/command/complete").await;
    assert_eq!((answer.status, answer.field("usher-command")), (200, None));
    assert!(!client.cookies.contains_key("usher_pass"), "the cookie is taken back");
    let mut copy = copy;
    until("the copy is worth nothing", DEADLINE, || {
        let mut copy = copy.clone();
        async move { (copy.get("/x").await.status == 429).then_some(()) }
    })
    .await;
    assert_eq!(copy.status().await["state"], "expired");
    gate.client().admit().await;
}

#[tokio::test]
async fn extend_keeps_a_fan_with_seats_inside_up_to_the_longest_pass() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "pass_ttl = \"60s\"\nclaim_window = \"30s\"\npass_max = \"10m\"").await;
    let mut client = gate.admitted().await;
    let ends = async |client: &mut crate::support::client::Client| {
        client.status().await["pass_expires_at"].as_u64().expect("an end")
    };
    let first = ends(&mut client).await;
    client.get("/command/extend=300").await;
    let second = ends(&mut client).await;
    assert!((first + 200_000..=first + 301_000).contains(&second), "{}", second - first);
    client.get("/command/extend=5").await;
    assert_eq!(ends(&mut client).await, second, "never shortened");
    client.get("/command/extend=99999").await;
    let last = ends(&mut client).await;
    assert!(last > second && last <= first + 540_000, "pass_max: {}", last - first);
    for nonsense in ["extend=-1", "extend=", "extend=1e9", "dance"] {
        assert_eq!(client.get(&format!("/command/{nonsense}")).await.status, 200);
    }
    assert_eq!(ends(&mut client).await, last);
}

#[tokio::test]
async fn requeue_sends_a_visitor_back_to_the_tail() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut client = gate.admitted().await;
    let number = client.status().await["number"].as_u64();
    let mut next = gate.client();
    next.stand().await;
    assert_eq!(client.get("/command/requeue").await.status, 200);
    assert_eq!(client.get("/x").await.status, 429);
    let status = client.until_state("waiting").await;
    assert!(status["number"].as_u64() > number, "at the tail");
    next.admit().await;
}

#[tokio::test]
async fn sold_out_closes_the_line_and_open_opens_it() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.admitted().await;
    client.get("/command/sold-out").await;
    let state = async |wanted: &str| {
        until(wanted, DEADLINE, || async { (gate.room("main").await["state"] == wanted).then_some(()) })
            .await;
    };
    state("closed").await;
    assert_eq!(gate.client().stand().await["state"], "closed");
    assert_eq!(client.get("/x").await.status, 200, "who is inside stays");
    client.get("/command/open").await;
    state("open").await;
    gate.client().admit().await;
}

#[tokio::test]
async fn the_line_is_told_what_is_left_and_only_the_app_can_say_it() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut client = gate.admitted().await;
    let mut next = gate.client();
    assert!(next.stand().await["stock"].is_null(), "nothing was said");
    let answer = client.get("/stock/128").await;
    assert_eq!((answer.status, answer.field("usher-stock")), (200, None));
    assert_eq!(gate.client().stand().await["stock"], 128);
    assert_eq!(gate.room("main").await["stock"], 128);
    assert_eq!(client.status().await["stock"], 128);
    for nonsense in ["-1", "many", "1.5"] {
        client.get(&format!("/stock/{nonsense}")).await;
        assert_eq!(gate.room("main").await["stock"], 128);
    }
    client.get("/stock/0").await;
    assert_eq!(gate.room("main").await["stock"], 0);
    // Who waits cannot say it: the app is not asked for them.
    next.get("/stock/7").await;
    assert_eq!(gate.room("main").await["stock"], 0);
    assert_eq!(gate.room("main").await["state"], "open", "telling closes nothing; sold-out does");
}
