//! Words that are none, and sockets that are nobody's.

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{counsellor, pair};
use crate::support::booking::{Database, TestBooking};
use crate::support::talker::{Talker, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_of_somebody_from_its_first_word_on() {
    let office = TestBooking::open(Database::Memory).await.expect("in memory");
    let fan = office.fan(0).await;
    office.client.get("/api/support/live").await.refused(426, "upgrade_required");
    for (first, code) in [
        (json!({"type": "auth", "token": "a.b.c"}), 4401),
        (json!({"type": "resume", "session_id": "x", "after": 0}), 4401),
        (json!({"type": "auth"}), 1007),
        (json!({"type": "presence"}), 1008),
    ] {
        let mut nobody = Talker::silent(office.client.server()).await;
        nobody.say(first.clone()).await;
        assert_eq!(nobody.hear().await, json!({"closed": code}), "{first}");
    }
    // Signing out ends what was opened with the token.
    let mut mine = Talker::open(&fan).await;
    fan.delete("/api/sessions/current").await.expect(204);
    mine.say(json!({"type": "typing"})).await;
    assert_eq!(mine.hear().await, json!({"closed": 4401}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_closes_its_socket_and_no_other() {
    let office = TestBooking::open(Database::Memory).await.expect("in memory");
    let (_fan, mut mine, _counsellor, mut theirs, session) = pair(&office).await;
    let stranger = office.fan(0).await;
    let text = |text: &str| Message::text(text.to_owned());
    for (message, times, code) in [
        (text("no JSON"), 1, 1007),
        (text(r#"{"type":"read","id":"1"}"#), 1, 1007),
        (text(&"[".repeat(30_000)), 1, 1007),
        (Message::binary(vec![1, 2, 3]), 1, 1003),
        (text(&"x".repeat(1 << 20)), 1, 1009),
        (text(r#"{"type":"drop table"}"#), 1, 1008),
        (text(r#"{"type":"auth","token":"a.b.c"}"#), 1, 4401),
        (Message::Ping(vec![7].into()), 200, 1008),
    ] {
        let mut talker = Talker::open(&stranger).await;
        for _ in 0..times {
            talker.send(message.clone()).await;
        }
        assert_eq!(talker.until("closed").await, json!({"closed": code}), "{}", message.len());
    }
    // Another's session is not there; what is too long, or nothing, is not said.
    let mut talker = Talker::open(&stranger).await;
    for (message, code) in [
        (json!({"type": "message", "session_id": session, "text": "let me in"}), "not_found"),
        (json!({"type": "accept", "session_id": session}), "not_found"),
        (json!({"type": "end", "session_id": session}), "not_found"),
        (json!({"type": "typing", "session_id": session}), "not_found"),
        (json!({"type": "resume", "session_id": session, "after": 0}), "not_found"),
        (json!({"type": "end", "session_id": "'; DROP TABLE accounts; --"}), "not_found"),
        (json!({"type": "message", "session_id": session, "text": " \n "}), "invalid"),
        (json!({"type": "message", "session_id": session, "text": "x".repeat(2_001)}), "invalid"),
    ] {
        talker.say(message.clone()).await;
        assert_eq!(talker.hear().await["code"], code, "{message}");
    }
    // The customer cannot take its own session, and they talk on.
    mine.say(json!({"type": "accept", "session_id": session})).await;
    assert_eq!(mine.until("error").await["code"], "not_found");
    let longest = "😢".repeat(2_000);
    mine.say(json!({"type": "message", "session_id": session, "text": longest})).await;
    assert_eq!(theirs.until("message").await["text"], longest.as_str());
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_office_that_stops_says_goodbye() {
    let office = TestBooking::idle(Database::Memory, |_| {}).await.expect("in memory");
    let running = tokio::spawn(std::sync::Arc::clone(&office.booking).run(office.stop.clone()));
    let counsellor = counsellor(&office).await;
    assert!(!token(&counsellor).is_empty());
    let mut theirs = Talker::open(&counsellor).await;
    theirs.say(json!({"type": "typing"})).await;
    theirs.until("error").await;
    office.stop.cancel();
    assert_eq!(theirs.until("closed").await, json!({"closed": 1001}));
    drop(theirs);
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), running).await;
    ended.expect("ends within a minute").expect("no panic");
}
