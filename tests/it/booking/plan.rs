//! What the booking pages need beside the rest of the API: the compact plan, the
//! ways to pay, an order that explains itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use usher::booking::SAMPLE_EVENT;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking};
use crate::support::toss;

/// Ids and statuses as a page reads them from a plan.
fn seats_of(plan: &Value) -> Vec<(String, &'static str)> {
    let bytes = STANDARD.decode(plan["seats"].as_str().expect("a text")).expect("base64");
    let status = |i: usize| ["AVAILABLE", "HELD", "SOLD"][usize::from(bytes[i / 4] >> (2 * (i % 4)) & 3)];
    let mut seats = Vec::new();
    for section in plan["sections"].as_array().expect("a list") {
        for row in section["rows"].as_array().expect("a list") {
            assert_eq!(row["numbers"], Value::Null, "counted from 1");
            for number in 1..=row["seats"].as_u64().expect("a number") {
                let id = format!(
                    "{}-{}-{number}",
                    section["id"].as_str().expect("id"),
                    row["row"].as_str().expect("row")
                );
                seats.push((id, status(seats.len())));
            }
        }
    }
    seats
}

fn same(plan: &Value, list: &Value) {
    let listed: Vec<_> = list["seats"].as_array().expect("a list").iter().collect();
    let planned = seats_of(plan);
    assert_eq!(planned.len(), listed.len());
    for ((id, status), seat) in planned.iter().zip(listed) {
        assert_eq!((json!(id), json!(status)), (seat["id"].clone(), seat["status"].clone()));
    }
}

on_each_database! {
    async fn the_plan_says_the_same_as_the_list_of_seats(office) {
        let (plan, list) = (format!("/api/events/{SAMPLE_EVENT}/plan"), format!("/api/events/{SAMPLE_EVENT}/seats"));
        let first = office.client.get(&plan).await.expect(200);
        same(&first.json, &office.client.get(&list).await.expect(200).json);
        assert_eq!(first.json["max_seats"], 8);
        assert_eq!(first.header("usher-stock"), Some("2000"));
        let tag = first.header("etag").expect("an etag").to_owned();
        office.client.with("if-none-match", &tag).get(&plan).await.expect(304);

        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["A-1-2", "H-12-20"]).await.expect(201);
        fan.hold(&["D-6-13"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let payment = fan.pay(&order).await.expect(202);
        fan.paid(&payment).await;
        let after = office.client.with("if-none-match", &tag).get(&plan).await.expect(200);
        same(&after.json, &office.client.get(&list).await.expect(200).json);
        let sold = seats_of(&after.json).iter().filter(|(_, status)| *status == "SOLD").count();
        assert_eq!(sold, 2);
        assert!(after.json["version"].as_u64() > first.json["version"].as_u64());
        office.client.get("/api/events/none/plan").await.refused(404, "not_found");
    }

    async fn an_order_explains_itself(office) {
        let fan = office.fan(0).await;
        let hold = fan.hold(&["C-2-3"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201).json;
        assert_eq!(order["hold_id"], hold.json["hold_id"]);
        assert_eq!((&order["kind"], &order["payment"]), (&json!("hall"), &Value::Null));
        assert_eq!((&order["title"], &order["venue"]), (&json!("HAEDAL — Winter Night Live"), &json!("Hangang Hall, Seoul")));
        assert!(order["refund_until_at"].as_u64() > Some(office.now_ms()) && order["refund_fee_percent"] == 0);
        let item = &order["items"][0];
        assert_eq!((&item["section_name"], &item["row"], &item["number"]), (&json!("Lower ring left"), &json!("2"), &json!(3)));

        let asked = json!({"order_id": order["order_id"], "method": "points"});
        let payment = fan.post("/api/payments", asked).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "FAILED");
        let order = fan.get(&format!("/api/orders/{}", payment.text("order_id"))).await.expect(200).json;
        assert_eq!(order["payment"], json!({"request_id": payment.json["request_id"], "method": "points",
            "status": "FAILED", "reason": "insufficient_funds"}));
        let list = fan.get("/api/orders").await.expect(200);
        assert_eq!(list.json["items"][0], order);
    }

    async fn a_hold_says_when_it_can_get_no_longer(office) {
        let fan = office.fan(0).await;
        let hold = fan.hold(&["A-1-1"]).await.expect(201);
        let more = format!("/api/holds/{}/extend", hold.text("hold_id"));
        office.advance(6 * 60);
        assert_eq!(fan.post(&more, json!({})).await.expect(200).json["last"], false);
        office.advance(6 * 60);
        let last = fan.post(&more, json!({})).await.expect(200);
        assert_eq!(last.json["last"], true, "15 minutes are the most");
        assert_eq!(last.json["expires_at"].as_u64(), Some(office.now_ms() + 3 * 60_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_fifty_thousand_seats_is_a_hundredth_of_their_list() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    let rows: Vec<_> = (1..=50).map(|row| json!({"row": row, "seats": 100})).collect();
    let sections: Vec<_> = (0..10)
        .map(|i| json!({"name": format!("Block {i}"), "kind": "seated", "price": 1, "rows": rows}))
        .collect();
    let new = json!({"title": "T", "venue": "V", "starts_at": office.now_ms() + 1, "sale_opens_at": 0,
                     "currency": "KRW", "sections": sections});
    let event = office.admin().await.post("/api/events", new).await.expect(201).text("id");
    let plan = office.client.get(&format!("/api/events/{event}/plan")).await.expect(200);
    let list = office.client.get(&format!("/api/events/{event}/seats")).await.expect(200);
    same(&plan.json, &list.json);
    assert!(plan.bytes.len() < 50_000, "{}", plan.bytes.len());
    assert!(plan.bytes.len() * 90 < list.bytes.len(), "{} {}", plan.bytes.len(), list.bytes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ways_to_pay_are_told() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    let ways = office.client.get("/api/payments/methods").await.expect(200);
    assert_eq!(ways.json, json!({"items": [{"method": "points", "currency": "KRW"}]}));
    let (office, _bank) = toss::office(Database::Memory, |_| {}).await.expect("SQLite is always there");
    let ways = office.client.get("/api/payments/methods").await.expect(200);
    assert_eq!(ways.json["items"][1]["method"], "card");
    assert!(ways.json["items"][1]["window"].as_str().is_some_and(|at| at.ends_with("/stand-in/checkout")));
}
