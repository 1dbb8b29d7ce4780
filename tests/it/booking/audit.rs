//! For each rule of the audit a bug is planted, and found.

use serde_json::json;
use usher::booking::audit::rules;
use usher::booking::db::Db;

use super::on_each_database;
use crate::support::booking::{Database, TestBooking, until};
use crate::support::smtp::Sink;
use crate::support::toss;

/// A rule, how to break it, and how to mend it again.
type Plant = (&'static str, &'static [&'static str], &'static [&'static str]);

/// A second order of the same seats, given up.
const ANOTHER_ORDER: &str =
    "INSERT INTO orders (id, account_id, event_id, hold_id, epoch, status, amount, currency, expires_at,
                         created_at, updated_at)
     SELECT 'another', account_id, event_id, 'another', epoch, 'CANCELLED', amount, currency, expires_at,
            created_at, updated_at FROM orders";

/// After one sale of A-1-1 and A-1-2 under one key.
const PLANTED: &[Plant] = &[
    (
        "a seat has one live ticket at most",
        &[
            "DROP INDEX tickets_one_live_per_seat",
            "INSERT INTO tickets SELECT 'second', event_id, seat_idx, seat_id, order_id, account_id, status, \
             created_at, used_at FROM tickets WHERE seat_id = 'A-1-1'",
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
        &["UPDATE seats SET status = 'SOLD', order_id = (SELECT id FROM orders) WHERE id IN ('A-1-1', 'A-1-2')"],
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
    (
        "an order that is being paid has all its seats",
        &[
            "UPDATE seats SET status = 'FREE', order_id = NULL WHERE id = 'A-1-2'",
            "UPDATE seats SET status = 'PAYING' WHERE id = 'A-1-1'",
            "UPDATE orders SET status = 'PAYING'",
            "UPDATE payments SET status = 'PENDING', lease_until = 9000000000000",
        ],
        &[
            "UPDATE seats SET status = 'SOLD', order_id = (SELECT id FROM orders) WHERE id IN ('A-1-1', 'A-1-2')",
            "UPDATE orders SET status = 'PAID'",
            "UPDATE payments SET status = 'COMPLETED'",
        ],
    ),
    (
        "an order is paid for once, however often that is asked for",
        &["INSERT INTO payments (id, order_id, account_id, method, amount, status, created_at)
           SELECT 'second', order_id, account_id, method, amount, 'FAILED', created_at FROM payments"],
        &["DELETE FROM payments WHERE id = 'second'"],
    ),
    (
        "a kept answer names the payment that its key began",
        &["UPDATE idempotency SET body = '{\"request_id\":\"unknown\"}'"],
        &["UPDATE idempotency SET body = (SELECT '{\"request_id\":\"' || id || '\"}' FROM payments)"],
    ),
    (
        "a kept answer names the payment that its key began",
        &[
            ANOTHER_ORDER,
            "INSERT INTO payments (id, order_id, account_id, method, amount, status, created_at, request_key)
             SELECT 'second', 'another', account_id, method, amount, 'FAILED', created_at, request_key FROM payments",
            "UPDATE payments SET request_key = NULL WHERE id <> 'second'",
        ],
        &[
            "UPDATE payments SET request_key = (SELECT key FROM idempotency)",
            "DELETE FROM payments WHERE id = 'second'",
            "DELETE FROM orders WHERE id = 'another'",
        ],
    ),
    (
        "one mail tells of a completed payment",
        &[
            "INSERT INTO mails (order_id, kind, part, body, status, retry_at, created_at)
             SELECT id, 'completed', 0, '{}', 'SENT', 0, 0 FROM orders",
            "INSERT INTO mails (order_id, kind, part, body, status, retry_at, created_at)
             SELECT id, 'completed', 1, '{}', 'SENT', 0, 0 FROM orders",
        ],
        &["DELETE FROM mails"],
    ),
    (
        "what is told of as completed is",
        &["UPDATE payments SET status = 'FAILED'"],
        &["UPDATE payments SET status = 'COMPLETED'"],
    ),
    (
        "a completed payment is told of once",
        &["UPDATE outbox SET kind = 'nothing' WHERE kind = 'payment.completed'"],
        &["UPDATE outbox SET kind = 'payment.completed' WHERE kind = 'nothing'"],
    ),
    (
        "a completed payment is told of once",
        &["UPDATE outbox SET kind = 'payment.completed', subject = (SELECT id FROM orders) WHERE kind = 'seat.sold'"],
        &["UPDATE outbox SET kind = 'seat.sold' WHERE id = (SELECT MAX(id) FROM outbox)"],
    ),
    (
        "a taken seat has the epoch of its order",
        &["UPDATE seats SET epoch = epoch + 1 WHERE id = 'A-1-2'"],
        &["UPDATE seats SET epoch = epoch - 1 WHERE id = 'A-1-2'"],
    ),
    (
        "no seat is behind an order that took it",
        &["UPDATE seats SET epoch = epoch - 1 WHERE id = 'A-1-2'"],
        &["UPDATE seats SET epoch = epoch + 1 WHERE id = 'A-1-2'"],
    ),
    (
        "no two orders took a seat under one epoch",
        &[
            ANOTHER_ORDER,
            "INSERT INTO order_items SELECT 'another', seat_idx, seat_id, section, price, 0, 0 FROM order_items",
            "INSERT INTO payments (id, order_id, account_id, method, amount, status, created_at)
             SELECT 'second', 'another', account_id, method, amount, 'FAILED', created_at FROM payments",
        ],
        &[
            "DELETE FROM payments WHERE id = 'second'",
            "DELETE FROM orders WHERE id = 'another'",
        ],
    ),
];

/// While a counsellor answers one customer.
const PLANTED_AT_THE_DESK: &[Plant] = &[
    (
        "a counsellor has one session at most",
        &[
            "DROP INDEX support_sessions_one_per_counsellor",
            "DROP INDEX support_sessions_one_per_request",
            "INSERT INTO support_sessions (id, request_id, customer, counsellor, state, created_at, offered_at)
             SELECT 'second', request_id, customer, counsellor, state, created_at, offered_at FROM support_sessions",
        ],
        &["DELETE FROM support_sessions WHERE id = 'second'"],
    ),
    (
        "a counsellor is busy exactly when it has a session",
        &["UPDATE counsellors SET state = 'READY'"],
        &["UPDATE counsellors SET state = 'BUSY'"],
    ),
    (
        "a customer is answered exactly when a session has a counsellor for it",
        &["UPDATE support_requests SET state = 'QUEUED'"],
        &["UPDATE support_requests SET state = 'MATCHED'"],
    ),
];

async fn at_the_desk(database: Database) {
    // Nobody puts right what is planted.
    let Some(office) = TestBooking::idle(database, |_| {}).await else { return };
    let counsellor = crate::booking::support::ready(&office).await;
    let fan = office.fan(0).await;
    crate::booking::support::ask(&fan).await;
    assert_eq!(counsellor.get("/api/counselors/me").await.json["state"], "BUSY");
    plant(&office, PLANTED_AT_THE_DESK).await;
}

/// Plants each bug, sees it found, and mends it.
async fn plant(office: &TestBooking, bugs: &[Plant]) {
    office.assert_sound().await;
    let db = Db::open(&office.database).await.expect("the same database");
    for (rule, plant, mend) in bugs {
        run(&db, plant).await;
        let found = office.booking.audit().await.expect("an audit");
        assert!(found.iter().any(|finding| finding.rule == *rule), "{rule}: {found:?}");
        run(&db, mend).await;
        office.assert_sound().await;
    }
}

async fn run(db: &Db, statements: &[&'static str]) {
    let mut tx = db.begin().await.expect("a transaction");
    for sql in statements {
        sqlx::query(*sql).execute(&mut *tx).await.expect("runs");
    }
    tx.commit().await.expect("commits");
}

async fn in_a_sale(database: Database) {
    let Some(office) = TestBooking::open(database).await else { return };
    let fan = office.fan(1_000_000).await;
    let order = fan.ordered(&["A-1-1", "A-1-2"]).await;
    let payment = fan.with("idempotency-key", "once").pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    plant(&office, PLANTED).await;
}

/// After one sale of A-1-1 and A-1-2 by card, of which A-1-2 went back.
const PLANTED_ON_CARDS: &[Plant] = &[
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

async fn in_card_payments(database: Database) {
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
    plant(&office, PLANTED_ON_CARDS).await;
}

/// After both tickets of an admission are sold.
const PLANTED_AT_THE_DOOR: &[Plant] = &[
    (
        "no more is sold than there is",
        &["INSERT INTO tickets (id, event_id, seat_idx, seat_id, order_id, account_id, status, created_at)
           SELECT 'third', event_id, 2, 'none', order_id, account_id, 'VALID', created_at FROM tickets
           WHERE seat_idx = 1"],
        &["DELETE FROM tickets WHERE id = 'third'"],
    ),
    (
        "no more is sold than there is",
        &["INSERT INTO order_items SELECT order_id, 2, 'none', section, price, 0, 0 FROM order_items
           WHERE seat_idx = 1"],
        &["DELETE FROM order_items WHERE seat_idx = 2"],
    ),
];

async fn in_admissions(database: Database) {
    let Some(office) = TestBooking::open(database).await else { return };
    let tour = json!({
        "title": "A tour", "quantity": 2, "event_time": office.now_ms() + 3_600_000, "price": 1_000,
    });
    let tour = office.admin().await.post("/api/tickets", tour).await.expect(201);
    let fan = office.fan(10_000).await;
    let path = format!("/api/tickets/{}/reservations", tour.text("id"));
    let order = fan.post(&path, json!({"quantity": 2})).await.expect(201);
    let payment = fan.pay(&order).await.expect(202);
    assert_eq!(fan.paid(&payment).await.json["status"], "COMPLETED");
    plant(&office, PLANTED_AT_THE_DOOR).await;
}

/// After two sales, one after the other, that were told of by mail.
const PLANTED_IN_MAILS: &[Plant] = &[(
    "a completed payment that was told of has its mail",
    &["UPDATE mails SET kind = 'cancelled'
       WHERE order_id = (SELECT order_id FROM mails ORDER BY created_at DESC LIMIT 1)"],
    &["UPDATE mails SET kind = 'completed'"],
)];

async fn in_mails(database: Database) {
    let sink = Sink::start().await;
    let mail = sink.settings();
    let office = TestBooking::with(database, |settings| settings.mail = Some(mail)).await;
    let Some(office) = office else { return };
    let fan = office.fan(1_000_000).await;
    for seat in ["A-1-1", "A-1-2"] {
        assert_eq!(fan.buy(&[seat]).await.json["status"], "COMPLETED");
        until(async || sink.mails().iter().any(|mail| mail.text().contains(seat)).then_some(())).await;
        office.advance(1);
    }
    plant(&office, PLANTED_IN_MAILS).await;
}

#[test]
fn each_rule_has_a_planted_bug_and_each_invariant_a_rule() {
    let planted =
        [PLANTED, PLANTED_ON_CARDS, PLANTED_AT_THE_DOOR, PLANTED_IN_MAILS, PLANTED_AT_THE_DESK].concat();
    for rule in rules() {
        assert!(planted.iter().any(|(says, ..)| *says == rule.says), "{}", rule.says);
    }
    for invariant in 12..=20 {
        assert!(rules().any(|rule| rule.invariant == invariant), "{invariant}");
    }
}

/// Each scenario over a SQLite file and PostgreSQL.
macro_rules! each_planted_bug_is_found {
    ($($scenario:ident)+) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::Database::File).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario(super::Database::Postgres).await;
            })+
        }
    };
}

each_planted_bug_is_found! { in_a_sale in_card_payments in_admissions in_mails at_the_desk }

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
