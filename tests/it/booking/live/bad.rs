//! Messages that are none: closed with a reason, and nobody else notices.

use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, Message};
use usher::booking::SAMPLE_EVENT;

use super::{assert_same, viewer};
use crate::support::booking::{Database, TestBooking, until};
use crate::support::viewer::{Heard, Viewer};

/// What is said, how often, and the code it is closed with.
fn bad() -> Vec<(Message, usize, u16)> {
    let text = |text: &str| Message::text(text.to_owned());
    let hello = json!({"type": "resume", "version": 1, "event": SAMPLE_EVENT});
    vec![
        (text("no JSON"), 1, 1007),
        (text("[1, 2]"), 1, 1007),
        (text(r#"{"type":"resume","version":"new"}"#), 1, 1007),
        (text(&"[".repeat(4_000)), 1, 1007),
        (Message::binary(vec![1, 2, 3]), 1, 1003),
        (text(&" ".repeat(4_097)), 1, 1009),
        (text(&"x".repeat(1 << 20)), 1, 1009),
        (text(r#"{"type":"drop table"}"#), 1, 1008),
        (text(r#"{"type":"resume","version":1,"event":"another-night"}"#), 1, 1008),
        (text(&hello.to_string()), 200, 1008),
        (Message::Ping(vec![7].into()), 200, 1008),
        (text(r#"{"type":"auth","token":"a.b.c"}"#), 1, 4401),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_what_is_no_message_is_closed_with_a_reason_and_alone() {
    let office = TestBooking::open(Database::Memory).await.expect("in memory");
    let fan = office.fan(0).await;
    let mut innocent = viewer(&office.client).await;
    for (message, times, code) in bad() {
        let mut viewer = viewer(&office.client).await;
        let what = format!("{message:?}").chars().take(60).collect::<String>();
        for _ in 0..times {
            viewer.send(message.clone()).await;
        }
        let (given, why) = viewer.closed().await;
        assert_eq!(given, code, "{what}: {why}");
        assert!(!why.is_empty(), "{what}");
    }
    // A token that counts is no reason to close.
    let mut signed_in = viewer(&office.client).await;
    let token = fan.headers[0].1.trim_start_matches("Bearer ").to_owned();
    signed_in.say(json!({"type": "auth", "token": token})).await;
    fan.hold(&["A-1-1"]).await.expect(201);
    for viewer in [&mut innocent, &mut signed_in] {
        viewer.until_seat("A-1-1", "HELD").await;
        assert_same(viewer, &office.client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_told_so() {
    let office = TestBooking::open(Database::Memory).await.expect("in memory");
    let path = format!("/api/events/{SAMPLE_EVENT}/live");
    let answer = office.client.get(&path).await.refused(426, "upgrade_required");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    let Err(Error::Http(answer)) = Viewer::open(office.client.server(), "nothing", &[]).await else {
        panic!("no such event")
    };
    assert_eq!(answer.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_are_counted_and_the_silent_give_theirs_back() {
    let office = TestBooking::with(Database::Memory, |settings| {
        settings.live.sockets = 3;
        settings.live.sockets_per_address = 2;
        settings.live.idle_timeout = std::time::Duration::from_secs(8);
    })
    .await
    .expect("in memory");
    let from = |address: &str| vec![("x-forwarded-for".to_owned(), address.to_owned())];
    let open = async |address| Viewer::open(office.client.server(), SAMPLE_EVENT, &from(address)).await;
    let (first, second) = (open("192.0.2.1").await.expect("opens"), open("192.0.2.1").await.expect("opens"));
    let refused = |opened: Result<Viewer, Error>| match opened {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        other => panic!("{:?}", other.map(drop)),
    };
    assert_eq!(refused(open("192.0.2.1").await), 503, "two an address");
    let third = open("192.0.2.2").await.expect("opens");
    assert_eq!(refused(open("192.0.2.3").await), 503, "three of all");
    // None of them reads, so none answers a ping.
    until(async || open("192.0.2.1").await.ok()).await;
    until(async || (super::presence(&office).await == 0).then_some(())).await;
    for mut silent in [first, second, third] {
        let list = super::list(&office.client).await;
        silent = silent.knows(&list);
        assert_eq!(silent.closed().await.0, 1008);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_office_that_stops_says_goodbye() {
    let office = TestBooking::idle(Database::Memory, |_| {}).await.expect("in memory");
    let running = tokio::spawn(std::sync::Arc::clone(&office.booking).run(office.stop.clone()));
    let mut viewers = Vec::new();
    for _ in 0..20 {
        let mut viewer = viewer(&office.client).await;
        assert!(matches!(viewer.next().await, Heard::Snapshot { .. }));
        viewers.push(viewer);
    }
    office.stop.cancel();
    for viewer in &mut viewers {
        assert_eq!(viewer.closed().await.0, 1001);
    }
    drop(viewers);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), running).await;
    ended.expect("ends within a minute").expect("no panic");
}
