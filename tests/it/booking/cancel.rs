use serde_json::json;
use usher::booking::SAMPLE_EVENT;

use super::on_each_database;
use crate::support::booking::{Database, PASSWORD, TestBooking, sign_in};

on_each_database! {
    async fn a_paid_order_is_given_back_in_parts_and_then_whole(office) {
        let fan = office.fan(1_000_000).await;
        let paid = fan.buy(&["A-1-1", "A-1-2", "A-1-3"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        fan.post(&cancel, json!({"items": ["A-9-9"]})).await.refused(422, "unknown_seat");
        fan.post(&cancel, json!({"items": []})).await.refused(422, "unknown_seat");
        let part = fan.post(&cancel, json!({"items": ["A-1-2"]})).await.expect(200);
        assert_eq!((&part.json["status"], &part.json["refunded"]), (&json!("PARTIALLY_REFUNDED"), &json!(176_000)));
        assert_eq!(part.json["items"][1]["refunded"], true);
        assert_eq!(office.status("A-1-2").await, "AVAILABLE");
        assert_eq!(office.status("A-1-1").await, "SOLD");
        fan.post(&cancel, json!({"items": ["A-1-2", "A-1-1"]})).await.refused(409, "not_cancellable");

        let whole = fan.post(&cancel, json!({})).await.expect(200);
        assert_eq!((&whole.json["status"], &whole.json["refunded"]), (&json!("REFUNDED"), &json!(528_000)));
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000);
        fan.post(&cancel, json!({})).await.refused(409, "not_cancellable");
        let tickets = fan.get("/api/me/tickets").await.expect(200);
        assert!(tickets.json["items"].as_array().expect("a list").iter().all(|ticket| ticket["status"] == "VOID"));

        let other = office.fan(1_000_000).await;
        assert_eq!(other.buy(&["A-1-1", "A-1-2"]).await.json["status"], "COMPLETED");
    }

    async fn an_order_not_yet_paid_is_given_up_with_its_hold(office) {
        let (fan, other) = (office.fan(0).await, office.fan(0).await);
        let hold = fan.hold(&["A-4-1"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
        other.post(&cancel, json!({})).await.refused(404, "not_found");
        assert_eq!(fan.post(&cancel, json!({})).await.expect(200).json["status"], "CANCELLED");
        other.hold(&["A-4-1"]).await.expect(201);
        fan.pay(&order).await.refused(409, "order_cancelled");
    }

    async fn nobody_gives_back_once_the_show_began_but_the_operator(office) {
        let fan = office.fan(1_000_000).await;
        let paid = fan.buy(&["A-5-1"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        let admin = office.admin().await;
        let begun = json!({"starts_at": 1});
        admin.patch(&format!("/api/events/{SAMPLE_EVENT}"), begun).await.expect(200);
        fan.post(&cancel, json!({})).await.refused(409, "not_cancellable");
        assert_eq!(admin.post(&cancel, json!({})).await.expect(200).json["status"], "REFUNDED");
    }

    async fn what_comes_back_and_the_fees_add_up_to_the_price(office) {
        let (fan, admin) = (office.fan(1_000_000).await, office.admin().await);
        let path = format!("/api/events/{SAMPLE_EVENT}");
        admin.patch(&path, json!({"refund_fee_percent": 101})).await.refused(422, "invalid");
        let until = office.now_ms() + 60_000;
        let rules = json!({"refund_fee_percent": 33, "refund_until_at": until});
        let event = admin.patch(&path, rules).await.expect(200);
        assert_eq!((&event.json["refund_fee_percent"], &event.json["refund_until_at"]), (&json!(33), &json!(until)));
        let paid = fan.buy(&["A-5-2", "A-5-3", "A-5-4"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        let part = fan.post(&cancel, json!({"items": ["A-5-3"]})).await.expect(200);
        // 33 % of 176,000.
        assert_eq!((&part.json["refunded"], &part.json["items"][1]["fee"]), (&json!(117_920), &json!(58_080)));
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 3 * 176_000 + 117_920);
        office.assert_sound().await;

        office.advance(60);
        let late = fan.post(&cancel, json!({"items": ["A-5-2"]})).await.refused(409, "not_cancellable");
        assert_eq!(late.json["detail"], "the time to give tickets back is over");
        let whole = admin.post(&cancel, json!({})).await.expect(200);
        assert_eq!((&whole.json["status"], &whole.json["refunded"]), (&json!("REFUNDED"), &json!(469_920)));
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 58_080);
    }

    async fn a_fee_of_the_whole_price_gives_back_the_seat_and_no_money(office) {
        let (fan, admin) = (office.fan(1_000_000).await, office.admin().await);
        let rules = json!({"refund_fee_percent": 100});
        admin.patch(&format!("/api/events/{SAMPLE_EVENT}"), rules).await.expect(200);
        let paid = fan.buy(&["A-5-6", "A-5-7"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        for seat in ["A-5-6", "A-5-7"] {
            assert_eq!(fan.post(&cancel, json!({"items": [seat]})).await.expect(200).json["refunded"], 0);
            assert_eq!(office.status(seat).await, "AVAILABLE");
        }
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 352_000);
    }

    async fn a_hundred_cancellations_pay_back_once(office) {
        let fan = office.fan(1_000_000).await;
        let paid = fan.buy(&["A-6-1", "A-6-2"]).await;
        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        let fan = fan.patient();
        let answers = futures_util::future::join_all((0..100).map(|_| fan.post(&cancel, json!({})))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000);
    }

    async fn a_code_opens_the_door_once(office) {
        let (fan, admin) = (office.fan(1_000_000).await, office.admin().await);
        let paid = fan.buy(&["A-7-1", "A-7-2"]).await;
        let code = |i: usize| paid.json["tickets"][i]["code"].clone();
        fan.post("/api/checkins", json!({"code": code(0)})).await.refused(403, "forbidden");
        let picture = paid.json["tickets"][1]["qr"].as_str().expect("a path").to_owned();
        let svg = fan.get(&picture).await.expect(200);
        assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
        assert!(svg.bytes.starts_with(b"<?xml") || svg.bytes.starts_with(b"<svg"));
        office.fan(0).await.get(&picture).await.refused(404, "not_found");
        office.client.get(&picture).await.refused(401, "unauthenticated");
        let used = admin.post("/api/checkins", json!({"code": code(0)})).await.expect(200);
        assert_eq!((&used.json["seat"], &used.json["status"]), (&json!("A-7-1"), &json!("USED")));
        admin.post("/api/checkins", json!({"code": code(0)})).await.refused(409, "already_used");
        admin.post("/api/checkins", json!({"code": "forged.code"})).await.refused(404, "not_found");

        let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
        fan.post(&cancel, json!({})).await.refused(409, "not_cancellable");
        fan.post(&cancel, json!({"items": ["A-7-2"]})).await.expect(200);
        admin.post("/api/checkins", json!({"code": code(1)})).await.refused(410, "void");
        fan.get(&picture).await.refused(410, "void");
    }

    async fn a_hundred_doors_open_once_for_one_code(office) {
        let (fan, admin) = (office.fan(1_000_000).await, office.admin().await.patient());
        let paid = fan.buy(&["A-8-1"]).await;
        let code = json!({"code": paid.json["tickets"][0]["code"]});
        let doors = futures_util::future::join_all((0..100).map(|_| admin.post("/api/checkins", code.clone())));
        let doors = doors.await;
        assert_eq!(doors.iter().filter(|answer| answer.status == 200).count(), 1);
        assert!(doors.iter().all(|answer| answer.status == 200 || answer.code() == "already_used"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_settings_rule_where_the_event_says_nothing() {
    let office = TestBooking::with(Database::Memory, |settings| {
        settings.refund_before = std::time::Duration::from_secs(24 * 3_600);
        settings.refund_fee_percent = 10;
    });
    let office = office.await.expect("SQLite is always there");
    let fan = office.fan(1_000_000).await;
    let event = fan.get(&format!("/api/events/{SAMPLE_EVENT}")).await.expect(200);
    let until = event.json["refund_until_at"].as_u64().expect("ms");
    assert_eq!(event.json["starts_at"].as_u64(), Some(until + 24 * 3_600_000));
    let paid = fan.buy(&["A-1-1", "A-1-2"]).await;
    let cancel = format!("/api/orders/{}/cancel", paid.text("order_id"));
    let part = fan.post(&cancel, json!({"items": ["A-1-1"]})).await.expect(200);
    assert_eq!(part.json["refunded"], 158_400);
    // A session ends before that day comes.
    office.advance((until - office.now_ms()) / 1_000);
    let fan = sign_in(&office.client, "fan0@example.org", PASSWORD).await;
    fan.post(&cancel, json!({})).await.refused(409, "not_cancellable");
    office.assert_sound().await;
}
