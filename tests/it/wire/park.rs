//! Polls that are answered without hyper, between requests that are not.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::world::World;
use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::http1::Answer;
use crate::support::raw::{DEADLINE, Raw};

/// A full room, and the cookies of somebody who waits before it.
async fn waiting(more: &str) -> (TestGate, String) {
    let app = FakeApp::start().await;
    let more = format!("{more}capacity = 1\npoll = {{ min = \"0s\" }}");
    let gate = TestGate::before(&app, &more).await;
    let _inside = gate.admitted().await;
    let mut client = gate.client();
    client.join().await;
    client.until_state("waiting").await;
    let cookie = client.cookie();
    (gate, cookie)
}

fn poll(cookie: &str, more: &str) -> String {
    format!("GET /queue/status HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\n{more}\r\n")
}

/// What of an answer is the same each time.
fn shape(answer: &Answer) -> (u16, BTreeSet<(String, String)>, Vec<String>) {
    let field = |(name, value): &(String, String)| {
        let name = name.to_lowercase();
        let value = match name.as_str() {
            "date" | "content-length" | "retry-after" | "usher-pass-token" => String::new(),
            // All but the token.
            "set-cookie" => {
                let (cookie, rest) = value.split_once(';').expect("attributes");
                format!("{}{rest}", cookie.split('=').next().expect("a name"))
            }
            _ => value.clone(),
        };
        (name, value)
    };
    let keys = answer.json().as_object().expect("an object").keys().cloned().collect();
    (answer.status, answer.fields.iter().map(field).collect(), keys)
}

/// The answers to a poll with these fields, without and with hyper: a length makes it hyper's.
async fn both_ways(gate: &TestGate, fields: &str) -> [Answer; 2] {
    let mut raw = Raw::connect(gate.address()).await;
    let head = format!("GET /queue/status HTTP/1.1\r\nHost: t.test\r\n{fields}");
    raw.send(format!("{head}\r\n").as_bytes()).await;
    let parked = raw.answer().await;
    raw.send(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).await;
    [parked, raw.answer().await]
}

#[tokio::test]
async fn a_poll_is_answered_alike_with_and_without_hyper() {
    let (gate, cookie) = waiting("").await;
    let inside = TestGate::before(&FakeApp::start().await, "").await;
    let holder = inside.admitted().await.cookie();
    let token = |kind: &str| {
        let name = format!("usher_{kind}=");
        holder.split("; ").find_map(|cookie| cookie.strip_prefix(&name)).expect("a token").to_owned()
    };
    let tokens = format!(
        "Usher-Client: token\r\nUsher-Visitor-Token: {}\r\nUsher-Pass-Token: {}\r\n",
        token("visitor"),
        token("pass")
    );
    let with = |cookie: &str| format!("Cookie: {cookie}\r\n");
    for (gate, fields, state) in [
        (&gate, with(&cookie), "waiting"),
        (&inside, with(&holder), "admitted"),
        (&inside, tokens, "admitted"),
        (&gate, with("a=b"), "none"),
        (&gate, with(&cookie.replace("usher_place=", "usher_place=x")), "waiting"),
    ] {
        let [parked, hypers] = both_ways(gate, &fields).await;
        assert_eq!(parked.json()["state"], state, "{fields}");
        assert_eq!(shape(&parked), shape(&hypers), "{fields}");
    }
}

#[tokio::test]
async fn a_poll_before_its_time_is_refused_alike_with_and_without_hyper() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\npoll = { min = \"1m\", max = \"2m\" }").await;
    let _inside = gate.admitted().await;
    let mut client = gate.client();
    client.join().await;
    client.until_state("waiting").await;
    let cookie = format!("Cookie: {}\r\n", client.cookie());
    let [parked, hypers] = both_ways(&gate, &cookie).await;
    assert_eq!(parked.status, 429);
    assert_eq!(shape(&parked), shape(&hypers));
}

#[tokio::test]
async fn one_connection_carries_polls_and_everything_else() {
    let mut world = World::with("").await;
    let cookie = world.holder.cookie();
    let mut raw = Raw::connect(world.gate.address()).await;
    let status = poll(&cookie, "");
    for round in 0..2 {
        raw.send(status.as_bytes()).await;
        assert_eq!(raw.answer().await.json()["state"], "admitted");
        // In pieces.
        let (first, second) = status.as_bytes().split_at(30);
        raw.send(first).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        raw.send(second).await;
        assert_eq!(raw.answer().await.status, 200);
        // Two at once, then one with a body for the app, answered in order.
        let post = format!(
            "POST /r{round} HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\nContent-Length: 5\r\n\r\nhello"
        );
        raw.send(format!("{status}{status}{post}").as_bytes()).await;
        for _ in 0..2 {
            assert_eq!(raw.answer().await.json()["state"], "admitted");
        }
        assert_eq!(raw.answer().await.status, 200);
        assert_eq!(world.app.seen_at(&format!("/r{round}")).len(), 1);
        // Long enough to be parked again.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    world.check_good("after").await;
    assert!(world.gate.is_well());
}

#[tokio::test]
async fn a_parked_connection_ends_when_idle_and_when_the_gate_stops() {
    let (gate, cookie) = waiting("[gate.limits]\nidle_timeout = \"1s\"\n[[room]]\n").await;
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(poll(&cookie, "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200);
    assert!(raw.closes(DEADLINE).await, "idle");

    let (mut gate, cookie) = waiting("").await;
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(poll(&cookie, "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200);
    gate.signal("TERM");
    assert!(raw.closes(DEADLINE).await, "stopping");
    assert_eq!(gate.ended().await.code(), Some(0));
}

#[tokio::test]
async fn somebody_who_polls_and_never_reads_is_cut_in_bounded_memory() {
    let (mut gate, cookie) = waiting("[gate.limits]\nidle_timeout = \"2s\"\n[[room]]\n").await;
    let before = gate.resident();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(gate.address()).await.expect("the listener accepts");
    let request = poll(&cookie, "");
    let flood = async {
        // One at a time: each is whole, and is answered.
        for _ in 0..200_000 {
            if stream.write_all(request.as_bytes()).await.is_err() {
                return true;
            }
        }
        false
    };
    let cut = tokio::time::timeout(DEADLINE * 2, flood).await;
    assert_eq!(cut, Ok(true), "the connection is cut");
    assert!(gate.resident() < before + (32 << 20), "{before} -> {}", gate.resident());
    assert!(gate.is_well());
}
