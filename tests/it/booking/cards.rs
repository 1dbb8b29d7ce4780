//! Paying by card, at a bank that answers.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::json;
use usher::config::Toss;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::toss::with_bank;

fn change(_: &mut Toss) {}

with_bank! {
    async fn a_card_pays_an_order_once_and_gets_it_back_in_parts(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["A-1-1", "A-1-2", "A-1-3"]).await;
        let key = bank.agree(&order).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        assert_eq!(payment.json["status"], "PENDING");
        let paid = office.settled(&fan, &payment).await;
        assert_eq!((&paid.json["status"], &paid.json["reason"]), (&json!("COMPLETED"), &json!(null)));
        assert_eq!(paid.json["tickets"].as_array().map(Vec::len), Some(3));
        assert_eq!(office.status("A-1-1").await, "SOLD");
        bank.assert_taken_once(&key).await;
        fan.confirm(&order, &key).await.refused(409, "already_paid");

        let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
        let part = fan.post(&cancel, json!({"items": ["A-1-2"]})).await.expect(200);
        assert_eq!((&part.json["status"], &part.json["refunded"]), (&json!("PARTIALLY_REFUNDED"), &json!(176_000)));
        let left = async |amount: i64| {
            until(async || (bank.payment(&key).await["balanceAmount"] == amount).then_some(())).await;
        };
        left(352_000).await;
        office.assert_sound().await;
        let whole = fan.post(&cancel, json!({})).await.expect(200);
        assert_eq!(whole.json["status"], "REFUNDED");
        left(0).await;
        assert_eq!(bank.payment(&key).await["cancels"].as_array().map(Vec::len), Some(2));
        assert_eq!(fan.get("/api/wallet").await.json["balance"], 0);
        assert_eq!(office.status("A-1-1").await, "AVAILABLE");
    }

    async fn a_refused_card_frees_the_seats(office, bank) {
        let fan = office.fan(0).await;
        for code in ["REJECT_CARD_PAYMENT", "INVALID_STOPPED_CARD", "REJECT_CARD_COMPANY", "EXCEED_MAX_AMOUNT"] {
            let order = fan.ordered(&["A-2-1"]).await;
            let key = bank.agree_with(&order, json!({"testCode": code})).await;
            let payment = fan.confirm(&order, &key).await.expect(202);
            let failed = office.settled(&fan, &payment).await;
            let reason = code.to_lowercase();
            assert_eq!((&failed.json["status"], &failed.json["reason"]), (&json!("FAILED"), &json!(reason)));
            assert_eq!(office.status("A-2-1").await, "AVAILABLE");
            assert_eq!(bank.payment(&key).await["captures"], 0);
            fan.confirm(&order, &key).await.refused(409, "order_cancelled");
        }
    }

    async fn what_is_asked_is_checked_before_the_bank_hears_of_it(office, bank) {
        let (fan, other) = (office.fan(0).await, office.fan(0).await);
        let order = fan.ordered(&["A-3-1"]).await;
        let key = bank.agree(&order).await;
        other.confirm(&order, &key).await.refused(403, "not_owner");
        let mut cheap = order.clone();
        cheap.json["amount"] = json!(1);
        fan.confirm(&cheap, &key).await.refused(409, "amount_mismatch");
        for bad in ["", "../confirm", "a/b?c", "a b"] {
            fan.confirm(&order, bad).await.refused(422, "invalid");
        }
        let mut unknown = order.clone();
        unknown.json["order_id"] = json!("0123");
        fan.confirm(&unknown, &key).await.refused(404, "not_found");
        office.client.confirm(&order, &key).await.refused(401, "unauthenticated");

        let payment = fan.confirm(&order, &key).await.expect(202);
        office.settled(&fan, &payment).await;
        // The same approval does not pay twice.
        let second = other.ordered(&["A-3-2"]).await;
        other.confirm(&second, &key).await.refused(422, "idempotency_key_reused");
        assert_eq!(other.order_status(&second).await, "PENDING");
        office.advance(8 * 60);
        let third = fan.ordered(&["A-3-3"]).await;
        office.advance(8 * 60);
        fan.confirm(&third, &bank.agree(&third).await).await.refused(409, "hold_expired");
        assert_eq!(bank.client.get("/stand-in/payments").await.json["confirms"], 1);
    }

    async fn somebody_elses_approval_pays_nothing(office, bank) {
        let (fan, thief) = (office.fan(0).await, office.fan(0).await);
        let (order, stolen) = (fan.ordered(&["A-4-1"]).await, thief.ordered(&["A-4-2"]).await);
        let key = bank.agree(&order).await;
        let payment = thief.confirm(&stolen, &key).await.expect(202);
        assert_eq!(office.settled(&thief, &payment).await.json["status"], "FAILED");
        let never = thief.ordered(&["A-4-3"]).await;
        let payment = thief.confirm(&never, "nobody-ever-opened-this").await.expect(202);
        assert_eq!(office.settled(&thief, &payment).await.json["status"], "FAILED");
        assert_eq!(bank.payment(&key).await["captures"], 0);
        assert_eq!(office.status("A-4-2").await, "AVAILABLE");
    }

    async fn a_hundred_confirms_take_the_money_once(office, bank) {
        let fan = office.fan(0).await.patient();
        let order = fan.ordered(&["A-5-1", "A-5-2"]).await;
        let key = bank.agree(&order).await;
        let keyed = fan.with("idempotency-key", "pay-once");
        let answers = join_all((0..100).map(|_| keyed.confirm(&order, &key))).await;
        let bodies: HashSet<_> = answers.iter().map(|a| (a.status.as_u16(), a.bytes.clone())).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
        let plain = join_all((0..50).map(|_| fan.confirm(&order, &key))).await;
        assert!(plain.iter().all(|a| a.status == 202 || a.code() == "already_paid"));
        let paid = office.settled(&fan, &answers[0].clone().expect(202)).await;
        assert_eq!(paid.json["status"], "COMPLETED");
        bank.assert_taken_once(&key).await;
    }

    async fn a_second_confirm_under_another_key_would_be_seen(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["A-5-3"]).await;
        let key = bank.agree(&order).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        office.settled(&fan, &payment).await;
        bank.assert_taken_once(&key).await;
        let body = json!({"paymentKey": key, "orderId": order.json["order_id"], "amount": order.json["amount"]});
        bank.merchant("/v1/payments/confirm", body).await.expect(400);
        assert_eq!(bank.payment(&key).await["doubles"], 1);
    }

    async fn another_amount_than_the_orders_goes_back(office, bank) {
        let fan = office.fan(0).await;
        for approved in [1_000, 176_001] {
            let order = fan.ordered(&["A-6-1"]).await;
            let key = bank.agree_with(&order, json!({"approveAs": approved})).await;
            let payment = fan.confirm(&order, &key).await.expect(202);
            let failed = office.settled(&fan, &payment).await;
            assert_eq!((&failed.json["status"], &failed.json["reason"]), (&json!("FAILED"), &json!("amount_mismatch")));
            let there = bank.payment(&key).await;
            assert_eq!((&there["captures"], &there["balanceAmount"]), (&json!(1), &json!(0)));
            assert_eq!(office.status("A-6-1").await, "AVAILABLE");
        }
        let order = fan.ordered(&["A-6-1"]).await;
        let key = bank.agree_with(&order, json!({"currency": "USD"})).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        assert_eq!(office.settled(&fan, &payment).await.json["reason"], "currency_mismatch");
        assert_eq!(bank.payment(&key).await["balanceAmount"], 0);
    }

    async fn another_amount_that_cannot_go_back_is_stuck_and_keeps_the_seats(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["A-7-1"]).await;
        let key = bank.agree_with(&order, json!({"approveAs": 1})).await;
        bank.fault(json!({"on": "cancel", "code": "NOT_CANCELABLE_PAYMENT"})).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        office.in_time(async || (office.stuck().await == ["cannot_undo"]).then_some(())).await;
        assert_eq!(office.status("A-7-1").await, "HELD");
        assert_eq!(fan.order_status(&order).await, "PAYING");
        fan.get("/api/payments/stuck").await.refused(403, "forbidden");
        bank.mend().await;
        assert_eq!(office.settled(&fan, &payment).await.json["reason"], "amount_mismatch");
        office.in_time(async || office.stuck().await.is_empty().then_some(())).await;
        assert_eq!(bank.payment(&key).await["balanceAmount"], 0);
    }
}

#[tokio::test]
async fn without_a_provider_there_are_no_cards() {
    let office = TestBooking::open(Database::Memory).await.expect("SQLite is always there");
    let fan = office.fan(0).await;
    let order = fan.ordered(&["A-1-1"]).await;
    fan.confirm(&order, "some-key").await.refused(404, "not_found");
    let hook = json!({"eventType": "PAYMENT_STATUS_CHANGED",
                      "data": {"paymentKey": "k", "orderId": order.text("order_id"), "status": "DONE"}});
    office.client.post("/api/payments/webhooks/toss", hook).await.expect(200);
}
