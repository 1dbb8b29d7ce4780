//! The bank's books against ours, both ways, and what it tells unasked.

use serde_json::{Value, json};
use usher::config::Toss;

use crate::support::booking::{Database, TestBooking, until};
use crate::support::http::{Answer, Client};
use crate::support::toss::{self, Bank, with_bank};

fn change(_: &mut Toss) {}

async fn bought(office: &TestBooking, bank: &Bank, fan: &Client, seats: &[&str]) -> (Answer, String) {
    let order = fan.ordered(seats).await;
    let key = bank.agree(&order).await;
    let payment = fan.confirm(&order, &key).await.expect(202);
    assert_eq!(office.settled(fan, &payment).await.json["status"], "COMPLETED");
    (order, key)
}

/// Money taken at the bank, as when the office lost what it knew of it.
async fn taken(bank: &Bank, order: &Value, key: &str) {
    let body = json!({"paymentKey": key, "orderId": order["order_id"], "amount": order["amount"]});
    bank.merchant("/v1/payments/confirm", body).await.expect(200);
}

/// Whether everything told was looked into.
async fn no_hook_waits(office: &TestBooking) -> bool {
    office.booking.hear_once().await.expect("hears") == 0
}

async fn compare(office: &TestBooking) {
    assert!(office.booking.reconcile_once().await.expect("compares"), "to the end");
}

with_bank! {
    async fn webhooks_twice_and_backwards_change_nothing(office, bank) {
        let fan = office.fan(0).await;
        let (order, key) = bought(&office, &bank, &fan, &["D-1-1", "D-1-2"]).await;
        let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
        fan.post(&cancel, json!({"items": ["D-1-1"]})).await.expect(200);
        until(async || (bank.payment(&key).await["status"] == "PARTIAL_CANCELED").then_some(())).await;
        for reversed in [true, false] {
            let statuses = bank.tell(&office, 5, reversed).await;
            assert_eq!(statuses, vec![json!(200); 10]);
        }
        assert_eq!(fan.order_status(&order).await, "PARTIALLY_REFUNDED");
        office.advance(3 * 24 * 3_600);
        bank.tell(&office, 1, true).await;
        until(async || no_hook_waits(&office).await.then_some(())).await;
        assert_eq!((office.status("D-1-1").await, office.status("D-1-2").await), ("AVAILABLE".into(), "SOLD".into()));
        assert_eq!(bank.payment(&key).await["captures"], 1);
        assert_eq!(office.stuck().await, Vec::<String>::new());
    }

    async fn a_hundred_webhooks_about_a_silent_capture_complete_it_once(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["D-1-3"]).await;
        let key = bank.agree(&order).await;
        bank.fault(json!({"on": "confirm", "times": 1, "after": true, "silent": true})).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        until(async || (bank.payment(&key).await["captures"] == 1).then_some(())).await;
        let (one, two) = tokio::join!(bank.tell(&office, 50, true), bank.tell(&office, 50, false));
        assert_eq!([one, two].concat(), vec![json!(200); 100]);
        assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
        bank.tell(&office, 50, true).await;
        until(async || no_hook_waits(&office).await.then_some(())).await;
        bank.assert_taken_once(&key).await;
        assert_eq!(bank.payment(&key).await["balanceAmount"], order.json["amount"]);
        assert_eq!(fan.get("/api/me/tickets").await.json["items"].as_array().map(Vec::len), Some(1));
    }

    async fn what_a_webhook_says_is_not_believed(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["D-2-1"]).await;
        let key = bank.agree(&order).await;
        let hook = |status: &str| json!({
            "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-21T09:00:00.000000",
            "data": {"paymentKey": key, "orderId": order.text("order_id"), "status": status,
                     "totalAmount": 176_000, "balanceAmount": 176_000},
        });
        let path = "/api/payments/webhooks/toss";
        office.client.post(path, hook("DONE")).await.expect(200);
        until(async || no_hook_waits(&office).await.then_some(())).await;
        assert_eq!(fan.order_status(&order).await, "PENDING");
        assert_eq!(bank.payment(&key).await["captures"], 0);

        let (paid, _) = bought(&office, &bank, &fan, &["D-2-2"]).await;
        let mut forged = hook("CANCELED");
        forged["data"]["orderId"] = paid.json["order_id"].clone();
        office.client.post(path, forged).await.expect(200);
        let changed = |data: serde_json::Value| json!({"eventType": "PAYMENT_STATUS_CHANGED", "data": data});
        let of_no_interest = [
            changed(json!({"paymentKey": "k", "orderId": "another-shop", "status": "DONE"})),
            changed(json!({"paymentKey": "../x", "orderId": order.text("order_id")})),
            json!({"eventType": "METHOD_UPDATED", "data": {}}),
            json!({"eventType": "of the future", "data": ["another", "shape"]}),
            json!({"transactionKey": "t", "secret": "s", "status": "DONE"}),
        ];
        for hook in of_no_interest {
            office.client.post(path, hook).await.expect(200);
        }
        let unreadable = [json!([]), json!({}), json!({"eventType": 1}), json!({"eventType": "PAYMENT_STATUS_CHANGED"}),
                          changed(json!("text")), changed(json!({"orderId": "o"})),
                          changed(json!({"paymentKey": 1, "orderId": "o"}))];
        for bad in unreadable {
            office.client.post(path, bad).await.refused(400, "malformed");
        }
        until(async || no_hook_waits(&office).await.then_some(())).await;
        assert_eq!(fan.order_status(&paid).await, "PAID");
    }

    async fn money_for_an_order_whose_record_was_lost_pays_it(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["D-3-1"]).await;
        let key = bank.agree(&order).await;
        taken(&bank, &order.json, &key).await;
        compare(&office).await;
        office.in_time(async || (fan.order_status(&order).await == "PAID").then_some(())).await;
        assert_eq!(bank.payment(&key).await["captures"], 1);
        assert_eq!(office.status("D-3-1").await, "SOLD");
        compare(&office).await;
        assert_eq!(bank.payment(&key).await["balanceAmount"], order.json["amount"]);
    }

    async fn money_for_an_order_that_is_over_goes_back(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["D-3-2"]).await;
        let key = bank.agree(&order).await;
        taken(&bank, &order.json, &key).await;
        office.advance(8 * 60);
        // A webhook is as good as the comparison.
        bank.tell(&office, 2, false).await;
        office.in_time(async || (bank.payment(&key).await["balanceAmount"] == 0).then_some(())).await;
        until(async || (fan.order_status(&order).await == "EXPIRED").then_some(())).await;
        compare(&office).await;
        assert_eq!(bank.payment(&key).await["cancels"].as_array().map(Vec::len), Some(1));
        assert_eq!(office.stuck().await, Vec::<String>::new());
    }

    async fn money_for_an_order_paid_otherwise_goes_back(office, bank) {
        let fan = office.fan(1_000_000).await;
        let order = fan.ordered(&["D-3-3"]).await;
        let key = bank.agree(&order).await;
        let payment = fan.pay(&order).await.expect(202);
        fan.paid(&payment).await;
        taken(&bank, &order.json, &key).await;
        compare(&office).await;
        office.in_time(async || (bank.payment(&key).await["balanceAmount"] == 0).then_some(())).await;
        assert_eq!(fan.order_status(&order).await, "PAID");
    }

    async fn money_for_an_order_nobody_knows_is_put_before_people(office, bank) {
        let order = json!({"order_id": "0123456789abcdef0123456789abcdef", "amount": 5_000});
        let wish = json!({"orderId": order["order_id"], "amount": order["amount"]});
        let key = bank.client.post("/stand-in/payments", wish).await.expect(201).text("paymentKey");
        taken(&bank, &order, &key).await;
        compare(&office).await;
        compare(&office).await;
        assert_eq!(office.stuck().await, ["unknown_order"]);
        assert_eq!(bank.payment(&key).await["balanceAmount"], 5_000);
        let path = format!("/v1/payments/{key}/cancel");
        bank.merchant(&path, json!({"cancelReason": "by hand"})).await.expect(200);
        compare(&office).await;
        assert_eq!(office.stuck().await, Vec::<String>::new());
    }

    async fn a_payment_that_the_bank_does_not_have_is_put_before_people(office, bank) {
        let fan = office.fan(0).await;
        let (_, key) = bought(&office, &bank, &fan, &["D-4-1"]).await;
        let (_, good) = bought(&office, &bank, &fan, &["D-4-2"]).await;
        bank.client.delete(&format!("/stand-in/payments/{key}")).await.expect(204);
        office.advance(5 * 60);
        compare(&office).await;
        assert_eq!(office.stuck().await, ["missing_at_provider"]);
        compare(&office).await;
        assert_eq!(bank.payment(&good).await["status"], "DONE");

        let admin = office.admin().await;
        let list = admin.get("/api/payments/stuck").await.expect(200);
        let close = format!("/api/payments/stuck/{}/close", list.json["items"][0]["id"].as_str().expect("an id"));
        fan.post(&close, json!({"note": "mine"})).await.refused(403, "forbidden");
        admin.post(&close, json!({"note": "the bank found it"})).await.expect(204);
        admin.post(&close, json!({"note": "again"})).await.refused(404, "not_found");
        compare(&office).await;
        assert_eq!(office.stuck().await, Vec::<String>::new());
    }

    async fn money_given_back_by_hand_is_put_before_people(office, bank) {
        let fan = office.fan(0).await;
        let (order, key) = bought(&office, &bank, &fan, &["D-5-1"]).await;
        let path = format!("/v1/payments/{key}/cancel");
        bank.merchant(&path, json!({"cancelReason": "by hand", "cancelAmount": 1_000})).await.expect(200);
        compare(&office).await;
        assert_eq!(office.stuck().await, ["books_differ"]);
        assert_eq!(fan.order_status(&order).await, "PAID");
    }

    async fn a_list_that_cannot_be_read_is_read_again(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["D-6-1"]).await;
        let key = bank.agree(&order).await;
        taken(&bank, &order.json, &key).await;
        bank.fault(json!({"on": "list", "times": 1, "code": "TOO_MANY_REQUESTS"})).await;
        assert!(!office.booking.reconcile_once().await.expect("runs"));
        bank.fault(json!({"on": "read", "times": 1, "code": "FAILED_INTERNAL_SYSTEM_PROCESSING"})).await;
        assert!(!office.booking.reconcile_once().await.expect("runs"));
        compare(&office).await;
        office.in_time(async || (fan.order_status(&order).await == "PAID").then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_for_an_order_nobody_knows_goes_back_where_the_key_is_ours_alone() {
    let office = toss::office(Database::Memory, |settings| settings.refund_unknown = true).await;
    let (office, bank) = office.expect("SQLite is always there");
    let order = json!({"order_id": "another-order", "amount": 5_000});
    let wish = json!({"orderId": order["order_id"], "amount": order["amount"]});
    let key = bank.client.post("/stand-in/payments", wish).await.expect(201).text("paymentKey");
    taken(&bank, &order, &key).await;
    compare(&office).await;
    office.in_time(async || (bank.payment(&key).await["balanceAmount"] == 0).then_some(())).await;
    assert_eq!(office.stuck().await, Vec::<String>::new());
    office.assert_sound().await;
}
