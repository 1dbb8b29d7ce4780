//! Readiness, and a stop that cuts nobody off.

use tokio::net::TcpStream;

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::{DEADLINE, Raw};
use crate::support::wait::until;

#[tokio::test]
async fn a_stop_lets_answers_under_way_finish_and_takes_no_new_connection() {
    let app = FakeApp::start().await;
    let mut gate = TestGate::before(&app, "").await;
    let client = gate.admitted().await;
    let mut slow = Raw::connect(gate.address()).await;
    let request = format!("GET /slow HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\n\r\n", client.cookie());
    slow.send(request.as_bytes()).await;
    let mut idle = Raw::connect(gate.address()).await;
    until("the slow request is under way", DEADLINE, || async {
        (!app.seen_at("/slow").is_empty()).then_some(())
    })
    .await;
    gate.signal("TERM");
    until("new connections are refused", DEADLINE, || async {
        TcpStream::connect(gate.address()).await.is_err().then_some(())
    })
    .await;
    assert!(idle.closes(DEADLINE).await, "an idle connection is closed");
    app.release();
    let answer = slow.answer().await;
    assert_eq!((answer.status, answer.text().as_str(), answer.whole), (200, "slowness", true));
    assert_eq!(gate.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_stopping_gate_says_so_before_it_stops_listening() {
    let app = FakeApp::start().await;
    let mut gate = TestGate::before(&app, "[gate]\ndrain_delay = \"10s\"\n[[room]]").await;
    assert!(gate.is_ready().await);
    gate.signal("TERM");
    let answer = until("not ready", DEADLINE, || async {
        Some(gate.admin("GET", "/readyz", "").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert_eq!(answer.problem(), "stopping");
    assert_eq!(gate.client().get("/queue/status").await.status, 200, "still serving");
    assert_eq!(gate.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_is_bounded() {
    let app = FakeApp::start().await;
    let mut gate = TestGate::before(&app, "[gate]\nstop_timeout = \"300ms\"\n[[room]]").await;
    let mut client = gate.admitted().await;
    let never = async move { client.get("/slow").await };
    let stop = async {
        until("the slow request is under way", DEADLINE, || async {
            (!app.seen_at("/slow").is_empty()).then_some(())
        })
        .await;
        gate.signal("TERM");
        gate.ended().await
    };
    let (cut, ended) = tokio::join!(never, stop);
    assert!(!cut.whole, "cut at the bound");
    assert_eq!(ended.code(), Some(0));
}
