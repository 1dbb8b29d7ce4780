//! An app that is away, half there, silent or cut off.

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn an_app_that_is_away_is_a_bad_gateway_until_it_comes_back() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.admitted().await;
    assert_eq!(client.get("/x").await.status, 200);
    let address = app.address();
    drop(app);
    until("the app is missed", DEADLINE, || {
        let mut client = client.clone();
        async move { (client.get("/x").await.status == 502).then_some(()) }
    })
    .await;
    assert_eq!(client.get("/x").await.problem(), "upstream_unreachable");
    let page = client.page("/x").await;
    assert_eq!((page.status, page.field("content-type")), (502, Some("text/html; charset=utf-8")));
    assert_eq!(client.status().await["state"], "admitted", "the pass stays");
    let app = FakeApp::start_on(address).await;
    client.until_inside("/back").await;
    assert_eq!(app.seen_at("/back").len(), 1);
}

#[tokio::test]
async fn of_two_upstreams_the_one_that_is_there_answers_everything() {
    let (app, other) = (FakeApp::start().await, FakeApp::start().await);
    let settings = format!(
        "[[room]]\nupstreams = [\"{}\", \"{}\"]\ntick = \"50ms\"\npoll = {{ min = \"0s\" }}\n",
        app.url(),
        other.url()
    );
    let gate = TestGate::start(&settings).await;
    let mut client = gate.admitted().await;
    for _ in 0..8 {
        client.get("/both").await;
    }
    assert!(app.count() > 0 && other.count() > 0, "in turn");
    drop(other);
    // A connection may have been open to it: wait until that is noticed.
    client.until_inside("/x").await;
    let before = app.count();
    let mut failed = 0;
    for i in 0..40 {
        let (method, body) = if i % 2 == 0 { ("GET", "") } else { ("POST", "once") };
        failed += usize::from(client.send(method, "/one", &[], body).await.status != 200);
    }
    assert!(failed <= 1, "{failed} of 40 failed with one upstream there");
    assert_eq!(app.count() - before + failed, 40, "and nothing was sent twice");
}

#[tokio::test]
async fn an_app_that_never_answers_is_a_gateway_timeout() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "[gate.limits]\nfirst_byte_timeout = \"1s\"\n[[room]]").await;
    let mut client = gate.admitted().await;
    let answer = client.get("/never").await;
    assert_eq!((answer.status, answer.problem().as_str()), (504, "upstream_timeout"));
    let posted = client.post("/never", "once").await;
    assert_eq!(posted.status, 504);
    assert_eq!(client.page("/never").await.status, 504);
    // The app may hear of them when nobody waits any more.
    until("the app heard of all", DEADLINE, || async { (app.seen_at("/never").len() >= 3).then_some(()) })
        .await;
    client.until_inside("/x").await;
    assert_eq!(app.seen_at("/never").len(), 3, "I10: not sent again");
}

#[tokio::test]
async fn what_the_app_says_is_what_the_visitor_hears() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.admitted().await;
    for status in [200, 201, 304, 404, 409, 429, 500, 503] {
        let answer = client.post(&format!("/answer/{status}"), "once").await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(app.seen_at("/answer/503").len(), 1, "I10: an error is not sent again");
    let cut = client.get("/cut").await;
    assert!(cut.status == 200 && !cut.whole, "X25: a cut answer looks cut: {cut:?}");
    assert_eq!(client.get("/x").await.status, 200);
}
