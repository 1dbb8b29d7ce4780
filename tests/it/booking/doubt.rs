//! Paying by card, at a bank that is slow, silent, broken or away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use usher::booking::db::Db;
use usher::config::Toss;

use crate::support::booking::{Database, until};
use crate::support::toss::{self, with_bank};

fn change(settings: &mut Toss) {
    settings.timeout = Duration::from_secs(2);
}

with_bank! {
    async fn a_bank_that_takes_the_money_and_falls_silent_is_asked_until_it_tells(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-1-1"]).await;
        let key = bank.agree(&order).await;
        bank.fault(json!({"on": "confirm", "times": 1, "after": true, "silent": true})).await;
        bank.fault(json!({"on": "read", "times": 2, "silent": true})).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        until(async || (bank.payment(&key).await["captures"] == 1).then_some(())).await;
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        assert_eq!(fan.get(&path).await.json["status"], "PENDING");
        office.fan(0).await.hold(&["B-1-1"]).await.refused(409, "seats_taken");
        assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
        bank.assert_taken_once(&key).await;
    }

    async fn a_capture_after_we_hung_up_counts_once(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-1-2"]).await;
        let key = bank.agree(&order).await;
        bank.fault(json!({"on": "confirm", "times": 1, "delayMs": 4_000})).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
        bank.assert_taken_once(&key).await;
    }

    async fn errors_of_the_bank_are_no_answer(office, bank) {
        let fan = office.fan(0).await;
        let faults = [
            json!({"on": "confirm", "times": 1, "code": "FAILED_INTERNAL_SYSTEM_PROCESSING"}),
            json!({"on": "confirm", "times": 1, "after": true, "code": "UNKNOWN_PAYMENT_ERROR"}),
            json!({"on": "confirm", "times": 2, "code": "PROVIDER_ERROR"}),
            json!({"on": "confirm", "times": 1, "after": true, "code": "IDEMPOTENT_REQUEST_PROCESSING"}),
            json!({"on": "confirm", "times": 1, "code": "UNAUTHORIZED_KEY"}),
            json!({"on": "confirm", "times": 1, "after": true, "code": "NEVER_HEARD_OF"}),
        ];
        for (i, fault) in faults.into_iter().enumerate() {
            let seat = format!("B-2-{}", i + 1);
            let order = fan.ordered(&[&seat]).await;
            let key = bank.agree(&order).await;
            bank.fault(fault.clone()).await;
            let payment = fan.confirm(&order, &key).await.expect(202);
            let paid = office.settled(&fan, &payment).await;
            assert_eq!(paid.json["status"], "COMPLETED", "{fault}");
            bank.assert_taken_once(&key).await;
        }
    }

    async fn a_bank_that_is_away_costs_nobody_the_seat(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-3-1"]).await;
        let key = bank.agree(&order).await;
        bank.close().await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        office.advance(11 * 60);
        office.in_time(async || (office.stuck().await == ["in_doubt"]).then_some(())).await;
        // Far beyond the hold's own end.
        office.booking.reap_once().await.expect("reaps");
        assert_eq!(fan.get(&path).await.json["status"], "PENDING");
        assert_eq!(office.status("B-3-1").await, "HELD");
        bank.reopen().await;
        // By now the approval is too old to be used.
        let failed = office.settled(&fan, &payment).await;
        assert_eq!(failed.json["status"], "FAILED");
        assert_eq!(office.status("B-3-1").await, "AVAILABLE");
        assert_eq!(bank.payment(&key).await["captures"], 0);
        office.in_time(async || office.stuck().await.is_empty().then_some(())).await;
    }

    async fn a_bank_that_comes_back_in_time_is_paid(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-3-2"]).await;
        let key = bank.agree(&order).await;
        bank.close().await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        office.advance(20);
        assert_eq!(office.status("B-3-2").await, "HELD");
        bank.reopen().await;
        assert_eq!(office.settled(&fan, &payment).await.json["status"], "COMPLETED");
        bank.assert_taken_once(&key).await;
    }

    async fn a_refund_whose_answer_is_lost_goes_back_once(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-4-1", "B-4-2"]).await;
        let key = bank.agree(&order).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        office.settled(&fan, &payment).await;
        bank.fault(json!({"on": "cancel", "times": 1, "after": true, "silent": true})).await;
        bank.fault(json!({"on": "cancel", "times": 1, "code": "FAILED_INTERNAL_SYSTEM_PROCESSING"})).await;
        let cancel = format!("/api/orders/{}/cancel", order.text("order_id"));
        for seat in ["B-4-1", "B-4-2"] {
            fan.post(&cancel, json!({"items": [seat]})).await.expect(200);
        }
        office.in_time(async || (bank.payment(&key).await["status"] == "CANCELED").then_some(())).await;
        assert_eq!(bank.payment(&key).await["cancels"].as_array().map(Vec::len), Some(2));
        office.advance(600);
        office.in_time(async || (!office.booking.refund_once().await.expect("runs")).then_some(())).await;
        assert_eq!(bank.payment(&key).await["cancels"].as_array().map(Vec::len), Some(2));
    }

    async fn a_refund_that_the_bank_refuses_is_stuck(office, bank) {
        let fan = office.fan(0).await;
        let order = fan.ordered(&["B-5-1"]).await;
        let key = bank.agree(&order).await;
        let payment = fan.confirm(&order, &key).await.expect(202);
        office.settled(&fan, &payment).await;
        bank.fault(json!({"on": "cancel", "code": "NOT_CANCELABLE_PAYMENT"})).await;
        fan.post(&format!("/api/orders/{}/cancel", order.text("order_id")), json!({})).await.expect(200);
        office.in_time(async || (office.stuck().await == ["refund_refused"]).then_some(())).await;
        bank.mend().await;
        office.advance(16 * 60);
        office.in_time(async || office.stuck().await.is_empty().then_some(())).await;
        assert_eq!(bank.payment(&key).await["balanceAmount"], 0);
    }
}

async fn a_crash_between_confirm_and_record(database: Database) {
    let Some((office, bank)) = toss::idle_office(database, |_| {}).await else { return };
    let fan = office.fan(0).await;
    let order = fan.ordered(&["B-6-1"]).await;
    let key = bank.agree(&order).await;
    let payment = fan.confirm(&order, &key).await.expect(202);
    bank.fault(json!({"on": "confirm", "times": 1, "after": true, "silent": true})).await;
    let booking = Arc::clone(&office.booking);
    let worker = tokio::spawn(async move { booking.pay_once().await });
    until(async || (bank.payment(&key).await["captures"] == 1).then_some(())).await;
    worker.abort();
    assert!(worker.await.is_err_and(|why| why.is_cancelled()));

    assert!(!office.booking.pay_once().await.expect("runs"), "the lease still holds");
    office.advance(20 * 60);
    office.booking.reap_once().await.expect("reaps");
    assert_eq!(office.status("B-6-1").await, "HELD");
    assert!(office.booking.pay_once().await.expect("runs"), "the lease ran out");
    let path = format!("/api/payments/{}/status", payment.text("request_id"));
    assert_eq!(fan.get(&path).await.json["status"], "COMPLETED");
    bank.assert_taken_once(&key).await;
    office.assert_sound().await;
}

/// The unique index has the last word on a seat; whoever paid for it second
/// gets the money back.
async fn a_seat_lost_after_the_capture(database: Database) {
    let Some((office, bank)) = toss::idle_office(database, |_| {}).await else { return };
    let fan = office.fan(0).await;
    let order = fan.ordered(&["B-7-1"]).await;
    let key = bank.agree(&order).await;
    let payment = fan.confirm(&order, &key).await.expect(202);
    let db = Db::open(&office.database).await.expect("the same database");
    let plant = [
        "INSERT INTO tickets (id, event_id, seat_idx, seat_id, order_id, account_id, status, created_at)
         SELECT 'planted', o.event_id, i.seat_idx, i.seat_id, o.id, o.account_id, 'VALID', 0
         FROM orders o JOIN order_items i ON i.order_id = o.id",
        "DELETE FROM tickets WHERE id = 'planted'",
    ];
    run(&db, plant[0]).await;
    assert!(office.booking.pay_once().await.expect("runs"));
    run(&db, plant[1]).await;
    let path = format!("/api/payments/{}/status", payment.text("request_id"));
    let failed = fan.get(&path).await;
    assert_eq!((&failed.json["status"], &failed.json["reason"]), (&json!("FAILED"), &json!("seats_taken")));
    let there = bank.payment(&key).await;
    assert_eq!((&there["captures"], &there["balanceAmount"]), (&json!(1), &json!(0)));
    office.assert_sound().await;
}

async fn run(db: &Db, sql: &'static str) {
    let mut tx = db.begin().await.expect("a transaction");
    sqlx::query(sql).execute(&mut *tx).await.expect("runs");
    tx.commit().await.expect("commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_lost_after_the_capture_on_sqlite() {
    a_seat_lost_after_the_capture(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_lost_after_the_capture_on_postgres() {
    a_seat_lost_after_the_capture(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_confirm_and_record_on_sqlite() {
    a_crash_between_confirm_and_record(Database::File).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_confirm_and_record_on_postgres() {
    a_crash_between_confirm_and_record(Database::Postgres).await;
}

/// PostgreSQL ends every connection of the office again and again, wherever
/// each of them is, while a dozen fans pay by card.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_in_mid_transaction_lose_and_double_nothing() {
    // Time goes by fast below: no hold may end by it.
    let Some((office, bank)) = toss::unhurried_office(Database::Postgres).await else { return };
    let mut orders = Vec::new();
    for i in 1..=12 {
        let fan = office.fan(0).await;
        let order = fan.ordered(&[&format!("C-1-{i}")]).await;
        let key = bank.agree(&order).await;
        orders.push((fan, order, key));
    }
    let cutter = sqlx_cutter(&office.database).await;
    let pays = orders.iter().map(|(fan, order, key)| async move {
        let keyed = fan.with("idempotency-key", &format!("cut-{key}"));
        let payment = in_the_end(async || {
            let answer = keyed.confirm(order, key).await;
            assert!(answer.status == 202 || answer.status == 503 || answer.status == 409, "{}", answer.json);
            // The key finds its payment, whatever became of the answer.
            assert!(answer.status != 409 || answer.code() == "still_running", "{}", answer.json);
            (answer.status == 202).then_some(answer)
        });
        let payment = payment.await;
        let path = format!("/api/payments/{}/status", payment.text("request_id"));
        in_the_end(async || {
            let answer = fan.get(&path).await;
            (answer.status == 200 && answer.json["status"] == "COMPLETED").then_some(())
        })
        .await;
    });
    let cut = async {
        // Time goes by, so that leases of requests and workers that were cut off run out.
        for i in 0_u32.. {
            if i < 15 {
                cutter.cut().await;
            }
            // Ten times as fast as it does: a request that is merely slow keeps its lease.
            office.advance(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        _ = join_all(pays) => {}
        () = cut => unreachable!("goes on for ever"),
    }
    for (_, _, key) in &orders {
        bank.assert_taken_once(key).await;
    }
    until(async || office.booking.audit().await.ok().map(|findings| assert_eq!(findings, []))).await;
}

/// Asks until there is an answer, for five minutes: each cut may cost a lease.
async fn in_the_end<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), asking).await.expect("an answer in the end")
}

pub(super) struct Cutter(sqlx::AnyPool);

pub(super) async fn sqlx_cutter(database: &str) -> Cutter {
    let pool = sqlx::any::AnyPoolOptions::new().max_connections(1).connect(database).await;
    Cutter(pool.expect("a connection of one's own"))
}

impl Cutter {
    pub(super) async fn cut(&self) {
        let sql = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query(sql).execute(&self.0).await.expect("cuts");
    }
}
