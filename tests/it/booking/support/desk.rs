//! Who answers whom.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use super::{ask, counsellor, go, pair, ready, until_state};
use crate::booking::on_each_database;
use crate::support::talker::Talker;

on_each_database! {
    async fn who_waits_longest_is_answered_first(office) {
        let (first, second) = (office.fan(0).await, office.fan(0).await);
        let (asked, mine) = ask(&first).await;
        assert_eq!((&asked["state"], &asked["position"], &asked["session_id"]),
                   (&json!("QUEUED"), &json!(1), &json!(null)));
        office.advance(1);
        let (asked, theirs) = ask(&second).await;
        assert_eq!(asked["position"], 2);
        // Asking again is waiting once.
        let again = second.post("/api/support/requests", json!({"topic": "Hello?"})).await.expect(200);
        assert_eq!(again.json, asked);
        first.get(&theirs).await.refused(404, "not_found");

        let counsellor = ready(&office).await;
        let matched = first.get(&mine).await.expect(200).json;
        assert_eq!((&matched["state"], &matched["position"]), (&json!("MATCHED"), &json!(null)));
        let me = until_state(&counsellor, "BUSY").await;
        assert_eq!((&me["session_id"], &me["allowed"]), (&matched["session_id"], &json!([])));
        assert_eq!(second.get(&theirs).await.expect(200).json["position"], 1);

        // The end brings time to finish, and only then the next one.
        let end = format!("/api/support/sessions/{}/end", matched["session_id"].as_str().expect("a text"));
        let ended = counsellor.post(&end, json!({"summary": "done"})).await.expect(200).json;
        assert_eq!((&ended["state"], &ended["by"], &ended["summary"]),
                   (&json!("ENDED"), &json!("counsellor"), &json!("done")));
        assert_eq!(counsellor.post(&end, json!({"summary": "late"})).await.expect(200).json, ended);
        assert_eq!(until_state(&counsellor, "AFTER_CALL").await["session_id"], json!(null));
        assert_eq!(first.get(&mine).await.expect(200).json["state"], "ENDED");
        assert_eq!(second.get(&theirs).await.expect(200).json["state"], "QUEUED");
        go(&counsellor, "READY").await;
        assert_eq!(second.get(&theirs).await.expect(200).json["state"], "MATCHED");
        assert_eq!(ask(&first).await.0["position"], 1, "who was answered may ask again");
    }

    async fn a_state_that_cannot_be_chosen_is_refused_with_those_that_can(office) {
        let counsellor = counsellor(&office).await;
        let change = async |state| counsellor.patch("/api/counselors/me", json!({"state": state})).await;
        for state in ["READY", "BUSY", "AFTER_CALL"] {
            let refused = change(state).await.refused(409, "illegal_state");
            assert_eq!((&refused.json["state"], &refused.json["allowed"]), (&json!("OFFLINE"), &json!(["ONLINE"])));
        }
        assert_eq!(change("ONLINE").await.expect(200).json["allowed"], json!(["READY", "OFFLINE"]));
        assert_eq!(change("ONLINE").await.expect(200).json["state"], "ONLINE", "the same is no change");
        change("busy").await.refused(422, "invalid");
        let fan = office.fan(0).await;
        fan.patch("/api/counselors/me", json!({"state": "ONLINE"})).await.refused(403, "forbidden");
        fan.get("/api/counselors/me/kpi?date=2026-11-21").await.refused(403, "forbidden");
        counsellor.post("/api/support/requests", json!({"topic": "me"})).await.refused(403, "forbidden");
        fan.post("/api/support/requests", json!({"topic": "  "})).await.refused(422, "invalid");
        fan.post("/api/support/requests", json!({"topic": "x".repeat(201)})).await.refused(422, "invalid");
    }

    async fn who_waits_no_longer_makes_room(office) {
        let (first, second) = (office.fan(0).await, office.fan(0).await);
        let (_, mine) = ask(&first).await;
        office.advance(1);
        let (_, theirs) = ask(&second).await;
        second.delete(&mine).await.refused(404, "not_found");
        first.delete(&mine).await.expect(204);
        first.delete(&mine).await.expect(204);
        assert_eq!(second.get(&theirs).await.expect(200).json["position"], 1);
        let counsellor = ready(&office).await;
        until_state(&counsellor, "BUSY").await;
        second.delete(&theirs).await.expect(204);
        until_state(&counsellor, "AFTER_CALL").await;
    }

    async fn a_day_in_figures(office) {
        let counsellor = ready(&office).await;
        let day = async |date: &str| {
            counsellor.get(&format!("/api/counselors/me/kpi?date={date}")).await.expect(200).json
        };
        assert_eq!(day("2026-11-21").await,
                   json!({"date": "2026-11-21", "sessions": 0, "mean_handling_ms": null, "mean_waiting_ms": null}));
        for (waits, handles) in [(10, 60), (0, 90)] {
            go(&counsellor, "ONLINE").await;
            let fan = office.fan(0).await;
            let (_, path) = ask(&fan).await;
            office.advance(waits);
            go(&counsellor, "READY").await;
            let session = fan.get(&path).await.expect(200).text("session_id");
            let mut socket = Talker::open(&counsellor).await;
            assert_eq!(socket.matched().await, session);
            // A counsellor's word accepts.
            socket.say(json!({"type": "message", "session_id": session, "text": "Hello"})).await;
            socket.until("message").await;
            socket.say(json!({"type": "accept", "session_id": session})).await;
            socket.say(json!({"type": "typing", "session_id": "0"})).await;
            assert_eq!(socket.until("error").await["code"], "not_found");
            office.advance(handles);
            counsellor.post(&format!("/api/support/sessions/{session}/end"), json!({})).await.expect(200);
            socket.leave().await;
        }
        assert_eq!(day("2026-11-21").await,
                   json!({"date": "2026-11-21", "sessions": 2, "mean_handling_ms": 75_000, "mean_waiting_ms": 5_000}));
        assert_eq!(day("2026-11-22").await["sessions"], 0);
        counsellor.get("/api/counselors/me/kpi?date=yesterday").await.refused(400, "malformed");
        counsellor.get("/api/counselors/me/kpi").await.refused(400, "malformed");
    }

    async fn an_offer_nobody_takes_goes_on_to_the_next_with_what_was_said(office) {
        let absent = ready(&office).await;
        let fan = office.fan(0).await;
        let mut mine = Talker::open(&fan).await;
        let (_, path) = ask(&fan).await;
        let session = mine.matched().await;
        mine.say(json!({"type": "message", "session_id": session, "text": "Anybody?"})).await;
        mine.until("message").await;
        office.advance(31);
        assert_eq!(mine.until("queued").await["position"], 1);
        // Who did not answer is not asked again.
        until_state(&absent, "ONLINE").await;
        assert_eq!(fan.get(&path).await.expect(200).json["session_id"], json!(null));
        let present = ready(&office).await;
        let mut theirs = Talker::open(&present).await;
        assert_eq!(theirs.matched().await, session);
        assert_eq!(theirs.until("message").await["text"], "Anybody?");
        assert_eq!(mine.matched().await, session);
        absent.post(&format!("/api/support/sessions/{session}/end"), json!({})).await.refused(404, "not_found");
    }

    async fn a_counsellor_who_vanishes_leaves_nobody_alone(office) {
        let (fan, mut mine, gone, theirs, session) = pair(&office).await;
        theirs.leave().await;
        let other = office.fan(0).await;
        office.advance(1);
        let (_, behind) = ask(&other).await;
        office.advance(130);
        // Their sockets tell of the customers, or their questions do.
        other.get(&behind).await.expect(200);
        assert_eq!(mine.until("ended").await, json!({"type": "ended", "session_id": session, "by": "system"}));
        assert_eq!(mine.until("queued").await["position"], 1, "where it waited");
        let me = until_state(&gone, "OFFLINE").await;
        assert_eq!(me["allowed"], json!(["ONLINE"]));
        ready(&office).await;
        assert_ne!(mine.matched().await, session);
        drop(fan);
    }

    async fn a_customer_who_vanishes_frees_the_counsellor(office) {
        let (_fan, mine, counsellor, mut theirs, session) = pair(&office).await;
        let waits = office.fan(0).await;
        let (_, path) = ask(&waits).await;
        mine.leave().await;
        // Step by step, so that the open socket is heard of.
        for _ in 0..4 {
            office.advance(80);
            counsellor.get("/api/counselors/me").await.expect(200);
        }
        assert_eq!(theirs.until("ended").await, json!({"type": "ended", "session_id": session, "by": "system"}));
        until_state(&counsellor, "AFTER_CALL").await;
        assert_eq!(waits.get(&path).await.expect(200).json["state"], "ENDED");
    }

    async fn who_is_no_counsellor_any_more_has_nobody(office) {
        let (_fan, mut mine, counsellor, mut theirs, session) = pair(&office).await;
        let me = counsellor.get("/api/me").await.expect(200).text("account_id");
        let admin = office.admin().await;
        admin.patch(&format!("/api/accounts/{me}"), json!({"role": "customer"})).await.expect(200);
        assert_eq!(mine.until("ended").await["by"], "system");
        assert_eq!(theirs.until("ended").await["session_id"], session);
        counsellor.get("/api/counselors/me").await.refused(403, "forbidden");
    }
}

on_each_database! {
    on shared
    async fn a_crowd_at_two_offices_is_answered_one_by_one(office) {
        let (_booking, other) = office.twin().await;
        let mut counsellors = Vec::new();
        for i in 0..4 {
            let counsellor = counsellor(&office).await;
            let at = if i % 2 == 0 { counsellor } else { counsellor.at(&other) };
            go(&at, "ONLINE").await;
            counsellors.push(at.patient());
        }
        let mut fans = Vec::new();
        for i in 0..24 {
            let fan = office.fan(0).await;
            fans.push(if i % 2 == 0 { fan } else { fan.at(&other) }.patient());
        }
        let asking = join_all(fans.iter().map(|fan| async { ask(fan).await }));
        let working = join_all(counsellors.iter().map(async |counsellor| {
            let mut done = Vec::new();
            for _ in 0..6 {
                go(counsellor, "READY").await;
                let me = until_state(counsellor, "BUSY").await;
                let session = me["session_id"].as_str().expect("a text").to_owned();
                counsellor.post(&format!("/api/support/sessions/{session}/end"), json!({})).await.expect(200);
                done.push(session);
                office.assert_sound().await;
            }
            done
        }));
        let (_, done) = tokio::join!(asking, working);
        let sessions: HashSet<_> = done.into_iter().flatten().collect();
        assert_eq!(sessions.len(), 24, "one counsellor a session");
    }
}
