//! Payments with points, from being asked for to their end.

use serde_json::json;
use usher::booking::db::Db;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking};

on_each_database! {
    async fn a_hold_that_is_ordered_ten_times_at_once_is_one_order(office) {
        let fan = office.fan(1_000_000).await;
        // Twice as many seats would be more than one account may have.
        let hold = fan.hold(&["A-1-1", "A-1-2", "A-1-3", "A-1-4", "A-1-5"]).await.expect(201);
        let patient = fan.clone().patient();
        let orders = futures_util::future::join_all((0..10).map(|_| patient.order(&hold))).await;
        let first = orders[0].clone().expect(201).text("order_id");
        assert!(orders.iter().all(|order| order.status == 201 && order.text("order_id") == first));
        let payment = fan.pay(&orders[0]).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    }

    async fn an_order_whose_time_is_over_is_neither_counted_nor_paid(office) {
        let fan = office.fan(10_000_000).await;
        let seats: Vec<String> = (1..=8).map(|n| format!("A-2-{n}")).collect();
        let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
        let late = fan.ordered(&seats).await;
        office.advance(8 * 60);
        let order = fan.ordered(&seats).await;
        assert_eq!(fan.order_status(&late).await, "EXPIRED");
        fan.pay(&late).await.refused(409, "hold_expired");
        let payment = fan.pay(&order).await.expect(202);
        assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
        fan.hold(&["A-3-1"]).await.refused(409, "ticket_limit");
    }
}

/// A ticket behind the office's back makes the first payment fail at its last step.
async fn what_cannot_be_settled_rests_and_others_go_on(database: Database) {
    let Some(office) = TestBooking::idle(database, |_| {}).await else { return };
    let (fan, other) = (office.fan(1_000_000).await, office.fan(1_000_000).await);
    let first = fan.ordered(&["B-7-1"]).await;
    fan.pay(&first).await.expect(202);
    office.advance(1);
    let second = other.ordered(&["B-7-2"]).await;
    other.pay(&second).await.expect(202);
    let db = Db::open(&office.database).await.expect("the same database");
    let plant =
        "INSERT INTO tickets (id, event_id, seat_idx, seat_id, order_id, account_id, status, created_at)
                 SELECT 'planted', o.event_id, i.seat_idx, i.seat_id, o.id, o.account_id, 'VALID', 0
                 FROM orders o JOIN order_items i ON i.order_id = o.id WHERE i.seat_id = 'B-7-1'";
    sqlx::query(plant).execute(db.write()).await.expect("planted");

    office.booking.pay_once().await.expect_err("the unique index has the last word");
    assert!(office.booking.pay_once().await.expect("pays the other"));
    assert_eq!(other.order_status(&second).await, "PAID");
    assert!(!office.booking.pay_once().await.expect("looks"), "it rests");
    assert_eq!(fan.get("/api/wallet").await.json, json!({"balance": 1_000_000, "currency": "KRW"}));

    sqlx::query("DELETE FROM tickets WHERE id = 'planted'").execute(db.write()).await.expect("mended");
    office.advance(31);
    assert!(office.booking.pay_once().await.expect("pays"), "the lease ran out");
    assert_eq!(fan.order_status(&first).await, "PAID");
    office.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_settled_rests_and_others_go_on_sqlite() {
    what_cannot_be_settled_rests_and_others_go_on(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_settled_rests_and_others_go_on_postgres() {
    what_cannot_be_settled_rests_and_others_go_on(Database::Postgres).await;
}
