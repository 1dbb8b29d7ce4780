use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;

use super::on_each_database;
use crate::support::booking::{Database, PASSWORD, TestBooking, sign_in};
use crate::support::http::Client;
use usher::booking::pass::key_id;

/// So many fans, who ask again when there is too much to do.
async fn crowd(office: &TestBooking, fans: usize, points: i64) -> Vec<Client> {
    let fans = join_all((0..fans).map(|_| office.fan(points))).await;
    fans.into_iter().map(Client::patient).collect()
}

on_each_database! {
    async fn of_a_thousand_at_once_exactly_one_gets_the_seat(office) {
        let fans = crowd(&office, 10, 0).await;
        let answers = join_all((0..1_000).map(|i| fans[i % fans.len()].hold(&["A-1-1"]))).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(won, 1);
        assert!(answers.iter().all(|answer| answer.status == 201 || answer.code() == "seats_taken"));
    }

    async fn a_crowd_that_wants_the_best_pairs_gets_different_ones(office) {
        let fans = crowd(&office, 8, 0).await;
        let wishes = (0..32).map(|i| fans[i % fans.len()].hold_best(json!({"count": 2, "section": "A"})));
        let holds = join_all(wishes).await;
        let mut seats = HashSet::new();
        for hold in holds {
            for seat in hold.expect(201).json["seats"].as_array().expect("a list") {
                assert!(seats.insert(seat.to_string()), "{seat} twice");
            }
        }
    }

    async fn a_hundred_payments_under_one_key_are_one(office) {
        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["B-1-1"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let keyed = fan.with("idempotency-key", "one-payment").patient();
        let answers = join_all((0..100).map(|_| keyed.pay(&order))).await;
        let bodies: HashSet<_> = answers.iter().map(|a| (a.status.as_u16(), a.bytes.clone())).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        fan.paid(&answers[0].clone().expect(202)).await;
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 176_000);
        assert_eq!(keyed.pay(&order).await.expect(202).bytes, answers[0].bytes);
    }

    async fn a_hundred_payments_without_a_key_are_one_too(office) {
        let fan = office.fan(1_000_000).await;
        let hold = fan.hold(&["B-1-2"]).await.expect(201);
        let order = fan.order(&hold).await.expect(201);
        let fan = fan.patient();
        let answers = join_all((0..100).map(|_| fan.pay(&order))).await;
        let accepted: HashSet<_> =
            answers.iter().filter(|a| a.status == 202).map(|a| a.text("request_id")).collect();
        assert_eq!(accepted.len(), 1);
        assert!(answers.iter().all(|a| a.status == 202 || a.code() == "already_paid"));
        let first = answers.iter().find(|a| a.status == 202).expect("one").clone();
        fan.paid(&first).await;
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 1_000_000 - 176_000);
    }

    async fn a_key_belongs_to_one_request(office) {
        let (fan, other) = (office.fan(0).await, office.fan(0).await);
        let keyed = fan.with("idempotency-key", "charge-1");
        let first = keyed.post("/api/wallet/charges", json!({"amount": 500})).await.expect(201);
        let again = keyed.post("/api/wallet/charges", json!({"amount": 500})).await.expect(201);
        assert_eq!(first.bytes, again.bytes);
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 500);
        let reused = keyed.post("/api/wallet/charges", json!({"amount": 501})).await;
        reused.refused(422, "idempotency_key_reused");
        let theirs = other.with("idempotency-key", "charge-1");
        theirs.post("/api/wallet/charges", json!({"amount": 700})).await.expect(201);
        let spaced = fan.with("idempotency-key", "not one word");
        spaced.post("/api/orders", json!({})).await.refused(400, "malformed");
    }

    async fn a_charge_under_a_key_is_one_for_a_day_and_another_after_it(office) {
        let (_, email) = office.fan_called("Fan", "en", 1_000).await;
        let keyed = async || {
            let fan = sign_in(&office.client, &email, PASSWORD).await;
            fan.with("idempotency-key", "pocket-money")
        };
        let charge = json!({"amount": 500});
        for (hours, balance) in [(0, 1_500), (23, 1_500), (1, 2_000), (0, 2_000), (24, 2_500)] {
            office.advance(hours * 3_600);
            let answer = keyed().await.post("/api/wallet/charges", charge.clone()).await.expect(201);
            assert_eq!(keyed().await.get("/api/wallet").await.json["balance"], balance, "{hours} hours later");
            assert_eq!(answer.json["balance"], balance);
        }
    }

    async fn a_whole_section_sells_out_once(office) {
        let fans = crowd(&office, 20, 10_000_000).await;
        // Every fan may own eight: 160 of the 200 seats of section B.
        let sales = fans.iter().map(|fan| async move {
            let mut bought = 0;
            while let hold = fan.hold_best(json!({"count": 2, "section": "B"})).await
                && hold.status == 201
            {
                let order = fan.order(&hold).await.expect(201);
                let payment = fan.pay(&order).await.expect(202);
                assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
                bought += 2;
            }
            bought
        });
        assert_eq!(join_all(sales).await, vec![8; 20]);
        let mut owned = HashSet::new();
        for fan in &fans {
            for ticket in fan.get("/api/me/tickets").await.json["items"].as_array().expect("a list") {
                assert!(owned.insert(ticket["seat"].to_string()));
            }
        }
        assert_eq!(owned.len(), 160);
    }
}

fn assertion(key: &[u8; 32], iat: u64, exp: u64) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let header = Header { kid: Some(key_id(key)), ..Header::new(Algorithm::HS256) };
    let claims = json!({"room": "main", "sub": "somebody", "iat": iat, "exp": exp});
    encode(&header, &claims, &EncodingKey::from_secret(key)).expect("signs")
}

#[tokio::test]
async fn with_require_pass_only_the_gates_guests_hold_and_pay() {
    const KEY: [u8; 32] = [42; 32];
    let office = TestBooking::with(Database::Memory, |settings| {
        settings.require_pass = true;
        settings.assertion_keys = vec![KEY];
    });
    let office = office.await.expect("SQLite is always there");
    let fan = office.fan(1_000_000).await;
    let seats = format!("/api/events/{}/seats", usher::booking::SAMPLE_EVENT);
    fan.get(&seats).await.refused(403, "pass_required");
    fan.hold(&["A-1-1"]).await.refused(403, "pass_required");
    fan.post("/api/orders", json!({})).await.refused(403, "pass_required");
    fan.post("/api/payments", json!({})).await.refused(403, "pass_required");

    let now = 1_795_219_200;
    let foreign = fan.with("usher-assertion", &assertion(&[1; 32], now, now + 60));
    foreign.get(&seats).await.refused(403, "pass_required");
    let guest = fan.with("usher-assertion", &assertion(&KEY, now, now + 60));
    guest.get(&seats).await.expect(200);
    assert_eq!(guest.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
    office.advance(66);
    guest.get(&seats).await.refused(403, "pass_required");
}
