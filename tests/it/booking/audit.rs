//! For each rule of the audit a bug is planted, and found.

use serde_json::json;
use usher::booking::db::Db;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking, until};
use crate::support::toss;

/// A rule, how to break it after one sale of A-1-1, and how to mend it again.
const PLANTED: [(&str, &[&str], &[&str]); 13] = [
    (
        "a seat has one live ticket at most",
        &[
            "DROP INDEX tickets_one_live_per_seat",
            "INSERT INTO tickets SELECT 'second', event_id, seat_idx, seat_id, order_id, account_id, status, \
             created_at, used_at FROM tickets",
        ],
        &[
            "DELETE FROM tickets WHERE id = 'second'",
            "CREATE UNIQUE INDEX tickets_one_live_per_seat ON tickets (event_id, seat_idx) WHERE status <> 'VOID'",
        ],
    ),
    (
        "a seat is sold exactly when a paid order has it",
        &["UPDATE orders SET status = 'CANCELLED'"],
        &["UPDATE orders SET status = 'PAID'"],
    ),
    (
        "what a paid order has is sold to it",
        &["UPDATE seats SET status = 'FREE', order_id = NULL WHERE status = 'SOLD'"],
        &["UPDATE seats SET status = 'SOLD', order_id = (SELECT id FROM orders) WHERE id = 'A-1-1'"],
    ),
    (
        "a seat is being paid for exactly by an order that is being paid",
        &["UPDATE seats SET status = 'PAYING' WHERE status = 'SOLD'"],
        &["UPDATE seats SET status = 'SOLD' WHERE status = 'PAYING'"],
    ),
    (
        "an order that is being paid has one pending payment",
        &["UPDATE orders SET status = 'PAYING'"],
        &["UPDATE orders SET status = 'PAID'"],
    ),
    (
        "a paid seat has its ticket, and a ticket its paid seat",
        &["UPDATE tickets SET status = 'VOID'"],
        &["UPDATE tickets SET status = 'VALID'"],
    ),
    (
        "a wallet's balance is the sum of its ledger",
        &["UPDATE wallets SET balance = balance + 1 WHERE balance > 0"],
        &["UPDATE wallets SET balance = balance - 1 WHERE balance > 0"],
    ),
    (
        "the money taken is the money of paid orders, refunds apart",
        &["UPDATE payments SET amount = amount - 1"],
        &["UPDATE payments SET amount = amount + 1"],
    ),
    (
        "a payment from a wallet is in its ledger, once, and so is what came back",
        &["UPDATE ledger SET amount = amount + 1 WHERE kind = 'PAYMENT'"],
        &["UPDATE ledger SET amount = amount - 1 WHERE kind = 'PAYMENT'"],
    ),
    (
        "what came back is the price of the seats given back, fees apart",
        &["UPDATE order_items SET fee = 1"],
        &["UPDATE order_items SET fee = 0"],
    ),
    (
        "an order's amount is that of its seats",
        &["UPDATE orders SET amount = amount + 1"],
        &["UPDATE orders SET amount = amount - 1"],
    ),
    (
        "a mail of a completed payment has its payment",
        &[
            "INSERT INTO mails (order_id, kind, part, body, status, retry_at, created_at)
             SELECT id, 'completed', 0, '{}', 'SENT', 0, 0 FROM orders",
            "UPDATE payments SET status = 'FAILED'",
        ],
        &["UPDATE payments SET status = 'COMPLETED'", "DELETE FROM mails"],
    ),
    (
        "no message was set aside",
        &["UPDATE outbox SET set_aside_at = 1 WHERE kind = 'seat.sold'"],
        &["UPDATE outbox SET set_aside_at = NULL"],
    ),
];

async fn each_planted_bug_is_found(database: Database) {
    let Some(office) = TestBooking::open(database).await else { return };
    let fan = office.fan(1_000_000).await;
    assert_eq!(fan.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
    let db = Db::open(&office.database).await.expect("the same database");
    for (rule, plant, mend) in PLANTED {
        run(&db, plant).await;
        let found = office.booking.audit().await.expect("an audit");
        assert!(found.iter().any(|finding| finding.rule == rule), "{rule}: {found:?}");
        run(&db, mend).await;
        office.assert_sound().await;
    }
}

/// The same for card payments, after one sale of A-1-1 and A-1-2, of which A-1-2 went back.
const PLANTED_ON_CARDS: [(&str, &[&str], &[&str]); 5] = [
    (
        "a card payment that was taken was approved with its amount",
        &["UPDATE payments SET approved = approved - 1"],
        &["UPDATE payments SET approved = approved + 1"],
    ),
    (
        "what came back of a card payment is in its refunds",
        &["UPDATE refunds SET amount = amount + 1"],
        &["UPDATE refunds SET amount = amount - 1"],
    ),
    (
        "what came back of a card payment is in its refunds",
        &["UPDATE refunds SET kind = 'UNWANTED'"],
        &["UPDATE refunds SET kind = 'ORDER'"],
    ),
    (
        "nothing goes back as unwanted that paid for an order",
        &["UPDATE refunds SET kind = 'UNWANTED'"],
        &["UPDATE refunds SET kind = 'ORDER'"],
    ),
    (
        "a refund that is done has the provider's word",
        &["UPDATE refunds SET finished_at = NULL"],
        &["UPDATE refunds SET finished_at = 1"],
    ),
];

async fn each_planted_bug_in_card_payments_is_found(database: Database) {
    let Some((office, bank)) = toss::office(database, |_| {}).await else { return };
    let fan = office.fan(0).await;
    let order = fan.ordered(&["A-1-1", "A-1-2"]).await;
    let key = bank.agree(&order).await;
    let payment = fan.confirm(&order, &key).await.expect(202);
    assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
    let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
    fan.post(&cancel, json!({"items": ["A-1-2"]})).await.expect(200);
    let db = Db::open(&office.database).await.expect("the same database");
    until(async || {
        let done =
            sqlx::query("SELECT id FROM refunds WHERE status = 'DONE'").fetch_optional(db.read()).await;
        done.expect("an answer").map(drop)
    })
    .await;
    for (rule, plant, mend) in PLANTED_ON_CARDS {
        run(&db, plant).await;
        let found = office.booking.audit().await.expect("an audit");
        assert!(found.iter().any(|finding| finding.rule == rule), "{rule}: {found:?}");
        run(&db, mend).await;
        office.assert_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_bug_in_card_payments_is_found_on_sqlite() {
    each_planted_bug_in_card_payments_is_found(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_bug_in_card_payments_is_found_on_postgres() {
    each_planted_bug_in_card_payments_is_found(Database::Postgres).await;
}

async fn run(db: &Db, statements: &[&'static str]) {
    let mut tx = db.begin().await.expect("a transaction");
    for sql in statements {
        sqlx::query(*sql).execute(&mut *tx).await.expect("runs");
    }
    tx.commit().await.expect("commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_bug_is_found_on_sqlite() {
    each_planted_bug_is_found(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_bug_is_found_on_postgres() {
    each_planted_bug_is_found(Database::Postgres).await;
}

on_each_database! {
    on shared

    async fn offices_that_know_nothing_of_each_others_holds_sell_a_seat_once(office) {
        let (_twin, there) = office.twin().await;
        let (one, other) = (office.fan(1_000_000).await, office.fan(1_000_000).await.at(&there));
        let holds = [one.hold(&["A-1-1"]).await.expect(201), other.hold(&["A-1-1"]).await.expect(201)];
        let orders = [one.order(&holds[0]).await.expect(201), other.order(&holds[1]).await.expect(201)];
        let (first, second) = tokio::join!(one.pay(&orders[0]), other.pay(&orders[1]));
        let won = [&first, &second].into_iter().filter(|answer| answer.status == 202).count();
        assert_eq!(won, 1);
        let loser = if first.status == 202 { &second } else { &first };
        assert_eq!(loser.code(), "hold_expired");
        if first.status == 202 { one.paid(&first).await } else { other.paid(&second).await };
    }
}
