use futures_util::future::join_all;
use serde_json::json;

use super::on_each_database;
use crate::support::http::Client;

on_each_database! {
    async fn tickets_go_first_come_first_served_and_never_beyond_their_number(office) {
        let admin = office.admin().await;
        let new = json!({"title": "Picnic", "quantity": 50, "event_time": 1_900_000_000_000_u64, "price": 1_000});
        let offer = admin.post("/api/tickets", new).await.expect(201);
        let path = format!("/api/tickets/{}/reservations", offer.text("id"));
        let fans = join_all((0..15).map(|_| office.fan(100_000))).await;
        let fans: Vec<_> = fans.into_iter().map(Client::patient).collect();
        let answers =
            join_all((0..120).map(|i| fans[i % fans.len()].post(&path, json!({"quantity": 1})))).await;
        let won: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.status == 201).collect();
        assert_eq!(won.len(), 50);
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "sold_out"));
        for (i, answer) in &won[..10] {
            let fan = &fans[i % fans.len()];
            let payment = fan.pay(answer).await.expect(202);
            assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        }
        let offer = fans[0].get(&format!("/api/tickets/{}", offer.text("id"))).await.expect(200);
        assert_eq!((&offer.json["issued"], &offer.json["reserved"]), (&json!(10), &json!(40)));
        office.advance(7 * 60);
        let later = fans[0].get(&format!("/api/tickets/{}", offer.text("id"))).await.expect(200);
        assert_eq!((&later.json["issued"], &later.json["reserved"]), (&json!(10), &json!(0)));
        admin.delete(&format!("/api/tickets/{}", offer.text("id"))).await.refused(409, "has_sales");
    }

    async fn what_costs_nothing_is_paid_at_once(office) {
        let (fan, admin) = (office.fan(0).await, office.admin().await);
        let new = json!({"title": "Open day", "quantity": 3, "event_time": "2027-01-01T10:00:00+09:00", "price": 0});
        fan.post("/api/tickets", new.clone()).await.refused(403, "forbidden");
        let offer = admin.post("/api/tickets", new).await.expect(201);
        let path = format!("/api/tickets/{}/reservations", offer.text("id"));
        let keyed = fan.with("idempotency-key", "once");
        let first = keyed.post(&path, json!({"quantity": 2})).await.expect(201);
        assert_eq!((&first.json["status"], first.header("usher-command")), (&json!("PAID"), Some("complete")));
        assert_eq!(keyed.post(&path, json!({"quantity": 2})).await.expect(201).bytes, first.bytes);
        fan.post(&path, json!({"quantity": 2})).await.refused(409, "sold_out");
        fan.post(&path, json!({"quantity": 0})).await.refused(422, "invalid");
        fan.post(&path, json!({"quantity": 9})).await.refused(422, "too_many_seats");
        assert_eq!(fan.get("/api/me/tickets").await.json["items"].as_array().map(Vec::len), Some(2));
        let list = fan.get("/api/tickets").await.expect(200);
        assert_eq!((&list.json["items"][0]["quantity"], &list.json["items"][0]["issued"]), (&json!(3), &json!(2)));
        assert_eq!(fan.get("/api/events").await.json["items"].as_array().map(Vec::len), Some(1));
        fan.get("/api/tickets/winter-night-live").await.refused(404, "not_found");
    }

    async fn nobody_takes_more_than_their_share_however_they_ask(office) {
        let (fan, admin) = (office.fan(100_000).await.patient(), office.admin().await);
        let new = json!({"title": "Picnic", "quantity": 50, "event_time": 1_900_000_000_000_u64, "price": 1_000});
        let offer = admin.post("/api/tickets", new).await.expect(201);
        let path = format!("/api/tickets/{}/reservations", offer.text("id"));
        let paid = fan.pay(&fan.post(&path, json!({"quantity": 3})).await.expect(201)).await.expect(202);
        assert_eq!(fan.paid(&paid).await.json["status"], "COMPLETED");
        let answers = join_all((0..20).map(|_| fan.post(&path, json!({"quantity": 1})))).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 5);
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "ticket_limit"));
        let offer = fan.get(&format!("/api/tickets/{}", offer.text("id"))).await.expect(200);
        assert_eq!((&offer.json["issued"], &offer.json["reserved"]), (&json!(3), &json!(5)));
    }
}

on_each_database! {
    on shared

    async fn two_offices_together_give_one_account_its_share_and_no_more(office) {
        let (_twin, there) = office.twin().await;
        let here = office.fan(10_000_000).await.patient();
        let there = here.at(&there);
        // Each office has holds of its own, so the holds alone would let 16 through.
        let seats: Vec<_> = (1..=8).map(|n| (format!("A-1-{n}"), format!("B-1-{n}"))).collect();
        let buying = seats.iter().map(|(a, b)| {
            let (here, there) = (&here, &there);
            async move {
                let holds = [here.hold(&[a]).await.expect(201), there.hold(&[b]).await.expect(201)];
                let (one, other) = tokio::join!(here.order(&holds[0]), there.order(&holds[1]));
                [(here, one), (there, other)]
            }
        });
        let mut made = 0;
        for (fan, order) in join_all(buying).await.into_iter().flatten() {
            if order.status == 201 {
                made += 1;
                let payment = fan.pay(&order).await.expect(202);
                assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
            } else {
                assert_eq!(order.code(), "ticket_limit");
            }
        }
        assert_eq!(made, 8);
        let tickets = here.get("/api/me/tickets").await.expect(200);
        assert_eq!(tickets.json["items"].as_array().map(Vec::len), Some(8));
    }
}
