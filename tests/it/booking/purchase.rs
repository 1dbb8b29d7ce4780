use serde_json::json;
use usher::booking::SAMPLE_EVENT;

use super::on_each_database;
use crate::support::booking::until;

on_each_database! {
    async fn a_fan_gets_from_the_hall_to_a_ticket(office) {
        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["A-1-10", "A-1-11"]).await.expect(201);
        assert_eq!(hold.json["together"], true);
        assert_eq!(hold.json["seats"], json!(["A-1-10", "A-1-11"]));
        assert_eq!(hold.header("usher-command"), Some("extend=480"));
        assert_eq!(office.status("A-1-10").await, "HELD");

        let order = fan.order(&hold).await.expect(201);
        assert_eq!(order.json["status"], "PENDING");
        assert_eq!(order.json["amount"], 352_000);
        assert_eq!(order.json["expires_at"], hold.json["expires_at"]);
        assert_eq!(fan.order(&hold).await.expect(201).json["order_id"], order.json["order_id"]);

        let payment = fan.pay(&order).await.expect(202);
        assert_eq!(payment.json["status"], "PENDING");
        let paid = fan.paid(&payment).await;
        assert_eq!((&paid.json["status"], &paid.json["reason"]), (&json!("COMPLETED"), &json!(null)));
        assert_eq!(paid.header("usher-command"), Some("complete"));
        assert_eq!(paid.json["tickets"].as_array().map(Vec::len), Some(2));
        assert_eq!(fan.paid(&payment).await.header("usher-command"), None, "told once");

        assert_eq!(office.status("A-1-10").await, "SOLD");
        let order = fan.get(&format!("/api/orders/{}", order.text("order_id"))).await.expect(200);
        assert_eq!(order.json["status"], "PAID");
        assert_eq!(fan.get("/api/wallet").await.json, json!({"balance": 648_000, "currency": "KRW"}));
        let tickets = fan.get("/api/me/tickets").await.expect(200);
        let seats: Vec<_> = tickets.json["items"].as_array().expect("a list").iter().map(|t| &t["seat"]).collect();
        assert_eq!(seats.len(), 2);
        assert_eq!(tickets.json["items"][0]["status"], "VALID");
        assert_eq!(tickets.json["items"][0]["event"], SAMPLE_EVENT);
        fan.pay(&order).await.refused(409, "already_paid");
    }

    async fn the_hall_lists_every_seat_once_in_order(office) {
        let list = office.client.get("/api/events").await.expect(200);
        assert_eq!(list.json["items"][0]["id"], SAMPLE_EVENT);
        assert_eq!(list.json["next"], json!(null));
        let event = office.client.get(&format!("/api/events/{SAMPLE_EVENT}")).await.expect(200);
        assert_eq!(event.header("usher-stock"), Some("2000"));
        let a = &event.json["sections"][0];
        assert_eq!((&a["id"], &a["kind"], &a["capacity"], &a["available"]),
                   (&json!("A"), &json!("seated"), &json!(200), &json!(200)));

        let seats = office.client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
        let all = seats.json["seats"].as_array().expect("a list");
        assert_eq!(all.len(), 2_000);
        assert_eq!(all[11], json!({"id": "A-1-12", "section": "A", "row": "1", "number": 12,
                                   "status": "AVAILABLE", "price": 176_000}));
        assert_eq!(all[200]["id"], "B-1-1");
        assert_eq!(all[180]["id"], "A-10-1", "rows go by their place, not by their letters");
    }

    async fn seats_have_an_etag_that_changes_with_them(office) {
        let path = format!("/api/events/{SAMPLE_EVENT}/seats");
        let first = office.client.get(&path).await.expect(200);
        let tag = first.header("etag").expect("an etag").to_owned();
        let same = office.client.with("if-none-match", &tag).get(&path).await.expect(304);
        assert_eq!((same.bytes.len(), same.header("etag")), (0, Some(tag.as_str())));
        let available = office.client.with("if-none-match", &tag).get(&format!("{path}?available=true")).await;
        assert_eq!(available.expect(200).json["seats"].as_array().map(Vec::len), Some(2_000));

        let fan = office.fan(0).await;
        fan.hold(&["B-2-3"]).await.expect(201);
        let after = office.client.with("if-none-match", &tag).get(&path).await.expect(200);
        assert!(after.json["version"].as_u64() > first.json["version"].as_u64());
        assert_eq!(after.header("usher-stock"), Some("1999"));
        let available = office.client.get(&format!("{path}?available=true")).await.expect(200);
        assert_eq!(available.json["seats"].as_array().map(Vec::len), Some(1_999));

        office.advance(7 * 60);
        let over = office.client.get(&path).await.expect(200);
        assert_ne!(over.header("etag"), after.header("etag"));
        assert_eq!(over.header("usher-stock"), Some("2000"));
    }

    async fn a_hold_takes_all_its_seats_or_none(office) {
        let (fan, other) = (office.fan(0).await, office.fan(0).await);
        let hold = fan.hold(&["C-1-1", "C-1-2"]).await.expect(201);
        let refused = other.hold(&["C-1-2", "C-1-3"]).await.refused(409, "seats_taken");
        assert_eq!(refused.json["seats"], json!(["C-1-2"]));
        assert_eq!(office.status("C-1-3").await, "AVAILABLE");
        fan.hold(&["C-1-1"]).await.refused(409, "seats_taken");
        let path = format!("/api/holds/{}", hold.text("hold_id"));
        other.delete(&path).await.refused(404, "not_found");
        fan.delete(&path).await.expect(204);
        fan.delete(&path).await.refused(404, "not_found");
        let next = other.hold(&["C-1-2", "C-1-3"]).await.expect(201);
        assert!(next.json["epoch"].as_u64() > hold.json["epoch"].as_u64());
    }

    async fn a_hold_says_what_is_wrong_with_it(office) {
        let fan = office.fan(0).await;
        let nine: Vec<String> = (1..=9).map(|n| format!("D-1-{n}")).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        fan.hold(&nine).await.refused(422, "too_many_seats");
        let unknown = fan.hold(&["D-1-1", "Z-9-9"]).await.refused(422, "unknown_seat");
        assert_eq!(unknown.json["seats"], json!(["Z-9-9"]));
        fan.hold(&["D-1-1", "D-1-1"]).await.refused(422, "invalid");
        fan.hold(&[]).await.refused(422, "invalid");
        fan.hold_best(json!({"count": 9})).await.refused(422, "too_many_seats");
        fan.hold_best(json!({"count": 2, "section": "nowhere"})).await.refused(422, "invalid");
        fan.hold_best(json!({"count": 2, "max_price": 1})).await.refused(409, "none_left");
        fan.post("/api/events/nothing/holds", json!({"seats": ["A-1-1"]})).await.refused(404, "not_found");
        office.client.hold(&["A-1-1"]).await.refused(401, "unauthenticated");
    }

    async fn the_best_seats_are_together_and_within_the_wish(office) {
        let fan = office.fan(0).await;
        let hold = fan.hold_best(json!({"count": 4, "section": "G", "max_price": 120_000})).await.expect(201);
        assert_eq!(hold.json["together"], true);
        let seats = hold.json["seats"].as_array().expect("a list");
        assert!(seats.iter().all(|seat| seat.as_str().is_some_and(|id| id.starts_with("G-1-"))), "{seats:?}");
        fan.hold_best(json!({"count": 5})).await.refused(409, "ticket_limit");
    }

    async fn a_hold_ends_and_can_be_prolonged_within_its_longest_life(office) {
        let (fan, other) = (office.fan(500_000).await, office.fan(0).await);
        let hold = fan.hold(&["E-1-1"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let extend = format!("/api/holds/{}/extend", hold.text("hold_id"));
        let began = hold.json["expires_at"].as_u64().expect("ms") - 7 * 60_000;
        assert_eq!(order.json["extendable_until_at"], began + 15 * 60_000);
        office.advance(5 * 60);
        other.post(&extend, json!({})).await.refused(404, "not_found");
        let longer = fan.post(&extend, json!({})).await.expect(200);
        assert_eq!(longer.json["expires_at"], began + 12 * 60_000);
        office.advance(6 * 60);
        assert_eq!(fan.post(&extend, json!({})).await.expect(200).json["expires_at"], began + 15 * 60_000);
        let order_now = fan.get(&format!("/api/orders/{}", order.text("order_id"))).await.expect(200);
        assert_eq!(order_now.json["expires_at"], began + 15 * 60_000);

        office.advance(4 * 60);
        fan.post(&extend, json!({})).await.refused(404, "not_found");
        fan.pay(&order).await.refused(409, "hold_expired");
        other.hold(&["E-1-1"]).await.expect(201);
        until(async || {
            let order = fan.get(&format!("/api/orders/{}", order.text("order_id"))).await.expect(200);
            (order.json["status"] == "EXPIRED" && order.json["extendable_until_at"].is_null()).then_some(())
        })
        .await;
        fan.order(&hold).await.refused(409, "hold_expired");
    }

    async fn too_few_points_free_the_seats_at_once(office) {
        let fan = office.fan(1_000).await;
        let failed = fan.buy(&["F-1-1", "F-1-2"]).await;
        assert_eq!((&failed.json["status"], &failed.json["reason"]),
                   (&json!("FAILED"), &json!("insufficient_funds")));
        assert_eq!(failed.header("usher-command"), None);
        assert_eq!(office.status("F-1-1").await, "AVAILABLE");
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000);
        let order = fan.get(&format!("/api/orders/{}", failed.text("order_id"))).await.expect(200);
        assert_eq!(order.json["status"], "CANCELLED");
        fan.pay(&order).await.refused(409, "order_cancelled");
        assert_eq!(fan.get("/api/me/tickets").await.json["items"], json!([]));
    }

    async fn what_is_not_yours_is_not_there(office) {
        let (fan, other) = (office.fan(500_000).await, office.fan(500_000).await);
        let hold = fan.hold(&["H-1-1"]).await.expect(201);
        other.order(&hold).await.refused(409, "hold_expired");
        let order = fan.order(&hold).await.expect(201);
        other.get(&format!("/api/orders/{}", order.text("order_id"))).await.refused(404, "not_found");
        other.pay(&order).await.refused(403, "not_owner");
        let payment = fan.pay(&order).await.expect(202);
        let status = format!("/api/payments/{}/status", payment.text("request_id"));
        other.get(&status).await.refused(404, "not_found");
        fan.paid(&payment).await;
        assert_eq!(other.get("/api/orders").await.json["items"], json!([]));
        fan.pay(&json_answer(&order, "nonsense")).await.refused(404, "not_found");
    }

    async fn prices_and_amounts_are_the_servers(office) {
        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["A-3-1"]).await.expect(201);
        let order = fan.post("/api/orders", json!({"hold_id": hold.json["hold_id"], "amount": 1, "price": 1})).await;
        assert_eq!(order.expect(201).json["amount"], 176_000);
    }
}

on_each_database! {
    on shared

    async fn a_restarted_office_knows_what_was_sold_and_fences_what_was_held(office) {
        let fan = office.fan(1_000_000).await;
        assert_eq!(fan.buy(&["A-2-1"]).await.json["status"], "COMPLETED");
        let hold = fan.hold(&["A-2-2"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);

        let (twin, client) = office.twin().await;
        let fan = fan.at(&client);
        fan.hold(&["A-2-1"]).await.refused(409, "seats_taken");
        fan.pay(&order).await.refused(409, "hold_expired");
        let anew = fan.hold(&["A-2-2"]).await.expect(201);
        assert!(anew.json["epoch"].as_u64() > hold.json["epoch"].as_u64());
        assert_eq!(twin.audit().await.expect("an audit"), []);
    }
}

fn json_answer(order: &crate::support::http::Answer, id: &str) -> crate::support::http::Answer {
    crate::support::http::Answer { json: json!({"order_id": id}), ..order.clone() }
}
