//! X34: Redis loses its holds while one pays by card and another takes the seat.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use usher::booking::SAMPLE_EVENT;

use crate::support::booking::{Database, TestBooking};
use crate::support::http::{Answer, Client};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::toss::{self, Bank};

/// By the office's clock.
const REFUNDED_WITHIN: u64 = 5 * 60;

/// Holds, orders and pays by card; the payment's key and its end.
async fn buy(
    office: &TestBooking,
    bank: &Bank,
    fan: &Client,
    seat: &str,
) -> (Option<String>, Option<Answer>) {
    let hold = fan.hold(&[seat]).await;
    if hold.status != 201 {
        return (None, None);
    }
    let order = fan.order(&hold).await;
    if order.status != 201 {
        return (None, None);
    }
    let key = bank.agree(&order).await;
    let payment = fan.confirm(&order, &key).await;
    let end = if payment.status == 202 { Some(office.settled(fan, &payment).await) } else { None };
    (Some(key), end)
}

async fn two_pay_for_a_seat(database: Database) {
    let redis = RedisServer::start();
    let url = redis.url();
    let change = move |settings: &mut usher::config::Booking| settings.redis_url = Some(url);
    let Some((office, bank)) = toss::idle_office_with(database, |_| {}, change).await else { return };
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    let fans =
        join_all((0..4).map(|_| office.fan(0))).await.into_iter().map(Client::patient).collect::<Vec<_>>();
    for row in 1..=6 {
        let seat = format!("D-{row}-1");
        let flush = async {
            for _ in 0..8 {
                redis.command(&["FLUSHALL"]);
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        };
        let buyers = join_all(fans.iter().map(|fan| buy(&office, &bank, fan, &seat)));
        let (bought, ()) = tokio::join!(buyers, flush);
        let won = bought
            .iter()
            .filter(|(_, end)| end.as_ref().is_some_and(|end| end.json["status"] == "COMPLETED"));
        assert!(won.count() <= 1, "{seat} was sold twice: {bought:?}");
    }
    // One whose money the bank took although the seat went to another.
    let (loser, winner) = (&fans[0], &fans[1]);
    let hold = loser.hold(&["D-8-1"]).await.expect(201);
    let order = loser.order(&hold).await.expect(201);
    let key = bank.agree(&order).await;
    redis.command(&["FLUSHALL"]);
    let (_, end) = buy(&office, &bank, winner, "D-8-1").await;
    assert_eq!(end.expect("a payment").json["status"], "COMPLETED");
    let captured =
        json!({"paymentKey": key, "orderId": order.json["order_id"], "amount": order.json["amount"]});
    bank.merchant("/v1/payments/confirm", captured).await.expect(200);
    loser.confirm(&order, &key).await.refused(409, "hold_expired");
    let began = office.now_ms();
    while bank.payment(&key).await["balanceAmount"] != 0 {
        assert!(office.now_ms() - began <= REFUNDED_WITHIN * 1_000, "not refunded in time");
        office.advance(1);
        // The books are compared every ten seconds of a watch, not of the office's clock.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Nobody's money is anywhere but where a seat is.
    let all = bank.client.get("/stand-in/payments").await.expect(200);
    let kept = all.json["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|payment| payment["captures"] != 0 && payment["balanceAmount"] != 0);
    let seats = office.client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200);
    let sold = seats.json["seats"].as_array().expect("a list").iter().filter(|seat| seat["status"] == "SOLD");
    assert_eq!(kept.count(), sold.count());
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_pay_for_a_lost_hold_one_has_the_seat_and_the_other_the_money_on_sqlite() {
    if !skipped() {
        two_pay_for_a_seat(Database::File).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_pay_for_a_lost_hold_one_has_the_seat_and_the_other_the_money_on_postgres() {
    if !skipped() {
        two_pay_for_a_seat(Database::Postgres).await;
    }
}
