//! The fast lane as a visitor meets it: order, limits, slow and vanished peers.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;

use crate::support::app::FakeApp;
use crate::support::gate::{TestGate, room};
use crate::support::raw::{DEADLINE, Raw};
use crate::support::wait::until;

fn request(method: &str, target: &str, cookie: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\n\r\n").into_bytes()
}

async fn world(more: &str) -> (FakeApp, TestGate, String) {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, more).await;
    let cookie = gate.admitted().await.cookie();
    (app, gate, cookie)
}

#[tokio::test]
async fn a_request_sent_ahead_is_answered_after_the_one_before_it() {
    let (app, gate, cookie) = world("").await;
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(&request("GET", "/slow", &cookie)).await;
    until("the first is under way", DEADLINE, || async { (!app.seen_at("/slow").is_empty()).then_some(()) })
        .await;
    raw.send(&request("GET", "/ahead", &cookie)).await;
    raw.send(&request("GET", "/ahead/of/both", &cookie)).await;
    app.release();
    assert_eq!(raw.answer().await.text(), "slowness");
    for target in ["/ahead", "/ahead/of/both"] {
        let line = format!("GET {target} HTTP/1.1");
        assert!(raw.answer().await.text().starts_with(&line), "{target}");
    }
}

#[tokio::test]
async fn one_connection_carries_every_kind_of_plain_request() {
    let (app, gate, cookie) = world("").await;
    let mut raw = Raw::connect(gate.address()).await;
    for round in 0..3 {
        raw.send(&request("HEAD", "/head", &cookie)).await;
        let answer = raw.answer_within(DEADLINE, true).await.expect("an answer");
        assert_eq!((answer.status, answer.field("content-length")), (200, Some("4")), "{round}");
        assert!(answer.field("date").is_some());
        raw.send(&request("GET", "/answer/304", &cookie)).await;
        assert_eq!(raw.answer().await.status, 304);
        raw.send(&request("GET", "/command/extend=5", &cookie)).await;
        let answer = raw.answer().await;
        assert_eq!((answer.text().as_str(), answer.field("usher-command")), ("done", None));
        raw.send(&request("GET", "/download/300000", &cookie)).await;
        assert_eq!(raw.answer().await.body.len(), 300_000);
        raw.send(&request("GET", "/queue/status", &cookie)).await;
        assert_eq!(raw.answer().await.json()["state"], "admitted");
    }
    assert_eq!(app.seen_at("/head").len(), 3);
}

#[tokio::test]
async fn a_connection_ends_with_its_last_request() {
    let (_app, gate, cookie) = world("[gate.limits]\nrequests_per_connection = 3\n[[room]]\n").await;
    let mut raw = Raw::connect(gate.address()).await;
    for n in 1..=3 {
        raw.send(&request("GET", "/x", &cookie)).await;
        let answer = raw.answer().await;
        assert_eq!(answer.field("connection"), (n == 3).then_some("close"), "request {n}");
    }
    assert!(raw.closes(DEADLINE).await);
}

#[tokio::test]
async fn an_app_hears_when_its_visitor_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = [0; 4_096];
                // A health check says nothing.
                if stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                    let _ = tell.send("asked");
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
                    let _ = stream.read(&mut head).await;
                    let _ = tell.send("ended");
                }
            });
        }
    });
    let gate = TestGate::start(&room(&url, "")).await;
    let cookie = gate.admitted().await.cookie();
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(&request("GET", "/half", &cookie)).await;
    let mut hear = async || tokio::time::timeout(DEADLINE, told.recv()).await.expect("in time");
    assert_eq!(hear().await, Some("asked"));
    drop(raw);
    assert_eq!(hear().await, Some("ended"), "nobody reads the rest");
}

#[tokio::test]
async fn a_visitor_who_does_not_read_is_cut_in_bounded_memory() {
    let (_app, mut gate, cookie) = world("[gate.limits]\nidle_timeout = \"2s\"\n[[room]]\n").await;
    let before = gate.resident();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(gate.address()).await.expect("the listener accepts");
    stream.write_all(&request("GET", "/download/200000000", &cookie)).await.expect("sent");
    let cut = async {
        // What nobody reads there resets the connection when it is closed.
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, cut).await.is_ok(), "the connection is cut");
    assert!(gate.resident() < before + 32 * 1_024, "{before} KB -> {} KB", gate.resident());
    assert!(gate.is_well());
}
