//! What is said, over real sockets.

use serde_json::{Value, json};

use super::{ask, pair, ready, until_state};
use crate::booking::on_each_database;
use crate::support::talker::Talker;

fn texts(message: &Value) -> (u64, &str, &str) {
    let text = |field: &str| message[field].as_str().expect("a text");
    (message["id"].as_u64().expect("a number"), text("from"), text("text"))
}

on_each_database! {
    async fn two_talk_until_one_ends_it(office) {
        let fan = office.fan(0).await;
        let mut mine = Talker::open(&fan).await;
        ask(&fan).await;
        assert_eq!(mine.hear().await, json!({"type": "queued", "position": 1}));
        let counsellor = ready(&office).await;
        let mut theirs = Talker::open(&counsellor).await;
        let matched = mine.hear().await;
        let session = matched["session_id"].clone();
        assert_eq!(matched, json!({"type": "matched", "session_id": session, "with": "Min Seo"}));
        assert_eq!(theirs.hear().await, json!({"type": "matched", "session_id": session, "with": "Fan"}));
        theirs.say(json!({"type": "accept", "session_id": session})).await;

        let text = "<b>표가 안 열려요</b> \u{202e}😢";
        mine.say(json!({"type": "message", "session_id": session, "text": text})).await;
        for side in [&mut mine, &mut theirs] {
            let said = side.until("message").await;
            assert_eq!(texts(&said), (1, "customer", text));
            assert_eq!((&said["session_id"], said["at"].as_u64()), (&session, Some(office.now_ms())));
        }
        theirs.say(json!({"type": "typing", "session_id": session})).await;
        assert_eq!(mine.hear().await, json!({"type": "typing", "session_id": session, "from": "counsellor"}));
        theirs.say(json!({"type": "read", "id": 1})).await;
        assert_eq!(mine.hear().await, json!({"type": "read", "session_id": session, "id": 1, "from": "counsellor"}));
        theirs.say(json!({"type": "message", "session_id": session, "text": "One moment"})).await;
        assert_eq!(texts(&mine.until("message").await), (2, "counsellor", "One moment"));

        mine.say(json!({"type": "end", "session_id": session})).await;
        for side in [&mut mine, &mut theirs] {
            let ended = side.until("ended").await;
            assert_eq!(ended, json!({"type": "ended", "session_id": session, "by": "customer"}));
        }
        until_state(&counsellor, "AFTER_CALL").await;
        mine.say(json!({"type": "message", "session_id": session, "text": "Wait"})).await;
        assert_eq!(mine.until("error").await["code"], "not_found");
        // The counsellor's summary may come after the customer's end, once.
        let end = format!("/api/support/sessions/{}/end", session.as_str().expect("a text"));
        let ended = counsellor.post(&end, json!({"summary": "ticket sent"})).await.expect(200).json;
        assert_eq!((&ended["by"], &ended["summary"]), (&json!("customer"), &json!("ticket sent")));
    }

    async fn who_comes_back_hears_only_what_it_missed(office) {
        let (fan, mut mine, counsellor, mut theirs, session) = pair(&office).await;
        let message = |text: &str| json!({"type": "message", "session_id": session, "text": text});
        mine.say(message("one")).await;
        mine.until("message").await;
        mine.leave().await;
        theirs.say(message("two")).await;
        theirs.say(message("three")).await;
        while theirs.until("message").await["id"] != 3 {}
        let mut mine = Talker::open(&fan).await;
        mine.say(json!({"type": "resume", "session_id": session, "after": 1})).await;
        assert_eq!(mine.hear().await["type"], "matched");
        assert_eq!(texts(&mine.hear().await), (2, "counsellor", "two"));
        assert_eq!(texts(&mine.hear().await), (3, "counsellor", "three"));
        // Another window of the same person hears it all.
        let mut window = Talker::open(&fan).await;
        assert_eq!(texts(&window.until("message").await), (1, "customer", "one"));

        // What was said last, and the end, are told after the end too.
        window.leave().await;
        mine.leave().await;
        theirs.say(message("four")).await;
        theirs.until("message").await;
        counsellor.post(&format!("/api/support/sessions/{session}/end"), json!({})).await.expect(200);
        let mut mine = Talker::open(&fan).await;
        mine.say(json!({"type": "resume", "session_id": session, "after": 3})).await;
        assert_eq!(texts(&mine.hear().await), (4, "counsellor", "four"));
        assert_eq!(mine.hear().await, json!({"type": "ended", "session_id": session, "by": "counsellor"}));
    }

    async fn a_long_talk_comes_back_whole_and_in_order(office) {
        let (fan, mut mine, _counsellor, mut theirs, session) = pair(&office).await;
        // More than is read at once.
        for (who, ids) in [(&mut mine, 1..=55_u64), (&mut theirs, 56..=110)] {
            let last = *ids.end();
            for i in ids {
                who.say(json!({"type": "message", "session_id": session, "text": format!("{i}")})).await;
            }
            while who.until("message").await["id"] != last {}
        }
        let mut again = Talker::open(&fan).await;
        for i in 1..=110_u64 {
            let said = again.until("message").await;
            assert_eq!((&said["id"], &said["text"]), (&json!(i), &json!(format!("{i}"))));
        }
    }
}

on_each_database! {
    on shared
    async fn two_talk_through_two_offices(office) {
        let (_booking, other) = office.twin().await;
        let (fan, counsellor) = (office.fan(0).await, ready(&office).await.at(&other));
        let (mut mine, mut theirs) = (Talker::open(&fan).await, Talker::open(&counsellor).await);
        ask(&fan).await;
        let session = mine.matched().await;
        assert_eq!(theirs.matched().await, session);
        theirs.say(json!({"type": "accept", "session_id": session})).await;
        for i in 1..=5_u64 {
            mine.say(json!({"type": "message", "session_id": session, "text": "ping"})).await;
            while theirs.until("message").await["id"] != 2 * i - 1 {}
            theirs.say(json!({"type": "message", "session_id": session, "text": "pong"})).await;
            while mine.until("message").await["id"] != 2 * i {}
        }
        theirs.say(json!({"type": "end", "session_id": session, "summary": "played"})).await;
        assert_eq!(mine.until("ended").await["by"], "counsellor");
    }
}
