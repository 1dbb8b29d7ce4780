//! The sweep over what must always hold (DESIGN, 7: 12–19).
//!
//! Plain questions to the database, each of which must find nothing. Read in
//! one snapshot, so a sale under way is no finding.

use serde::Serialize;

use super::Booking;
use super::db::{DbError, RowExt as _};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: &'static str,
    /// Where: an order, a seat, a wallet.
    pub subject: String,
}

/// Rules, each with a query whose rows are findings; the column `subject` says where.
const RULES: [(&str, &str); 17] = [
    (
        "a seat has one live ticket at most",
        "SELECT event_id || ' ' || seat_id AS subject FROM tickets WHERE status <> 'VOID'
         GROUP BY event_id, seat_id HAVING COUNT(*) > 1",
    ),
    (
        "a seat is sold exactly when a paid order has it",
        "SELECT s.event_id || ' ' || s.id AS subject FROM seats s
         LEFT JOIN orders o ON o.id = s.order_id AND o.event_id = s.event_id
         LEFT JOIN order_items i ON i.order_id = o.id AND i.seat_idx = s.idx AND i.refunded = 0
         WHERE s.status = 'SOLD'
           AND (i.seat_idx IS NULL OR o.status NOT IN ('PAID', 'PARTIALLY_REFUNDED'))",
    ),
    (
        "what a paid order has is sold to it",
        "SELECT o.id || ' ' || i.seat_id AS subject FROM orders o
         JOIN order_items i ON i.order_id = o.id AND i.refunded = 0
         LEFT JOIN seats s ON s.event_id = o.event_id AND s.idx = i.seat_idx
         WHERE o.status IN ('PAID', 'PARTIALLY_REFUNDED')
           AND (s.status IS NULL OR s.status <> 'SOLD' OR s.order_id <> o.id)",
    ),
    (
        "a seat is being paid for exactly by an order that is being paid",
        "SELECT s.event_id || ' ' || s.id AS subject FROM seats s LEFT JOIN orders o ON o.id = s.order_id
         WHERE s.status = 'PAYING' AND (o.status IS NULL OR o.status <> 'PAYING')",
    ),
    (
        "an order that is being paid has one pending payment",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN payments p ON p.order_id = o.id AND p.status = 'PENDING'
         WHERE o.status = 'PAYING' GROUP BY o.id HAVING COUNT(p.id) <> 1",
    ),
    (
        "a paid seat has its ticket, and a ticket its paid seat",
        "SELECT COALESCE(o.id, t.order_id) || ' ' || COALESCE(i.seat_id, t.seat_id) AS subject
         FROM (SELECT i.order_id, i.seat_idx, i.seat_id FROM order_items i JOIN orders o ON o.id = i.order_id
               WHERE o.status IN ('PAID', 'PARTIALLY_REFUNDED') AND i.refunded = 0) i
         FULL JOIN (SELECT * FROM tickets WHERE status <> 'VOID') t
           ON t.order_id = i.order_id AND t.seat_idx = i.seat_idx
         LEFT JOIN orders o ON o.id = i.order_id
         WHERE i.order_id IS NULL OR t.id IS NULL",
    ),
    (
        "a wallet's balance is the sum of its ledger",
        "SELECT w.account_id AS subject FROM wallets w LEFT JOIN ledger l ON l.account_id = w.account_id
         GROUP BY w.account_id, w.balance HAVING w.balance <> COALESCE(SUM(l.amount), 0) OR w.balance < 0",
    ),
    (
        "the money taken is the money of paid orders, refunds apart",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED'
         WHERE (o.status IN ('PAID', 'PARTIALLY_REFUNDED', 'REFUNDED')) <> (p.id IS NOT NULL)
            OR p.amount <> o.amount",
    ),
    (
        "a payment from a wallet is in its ledger, once, and so is what came back",
        "SELECT o.id AS subject FROM orders o
         JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED' AND p.method = 'points'
         LEFT JOIN ledger l ON l.account_id = o.account_id
           AND (l.reference = o.id OR l.reference LIKE o.id || ':%')
         GROUP BY o.id, o.amount, o.refunded
         HAVING COALESCE(SUM(l.amount), 0) <> o.refunded - o.amount",
    ),
    (
        "what came back is the price of the seats given back, fees apart",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN order_items i ON i.order_id = o.id AND (i.refunded = 1 OR i.fee <> 0)
         GROUP BY o.id, o.refunded HAVING o.refunded <> COALESCE(SUM(i.price - i.fee), 0)",
    ),
    (
        "a card payment that was taken was approved with its amount",
        "SELECT p.order_id AS subject FROM payments p
         WHERE p.method = 'toss' AND p.status = 'COMPLETED'
           AND (p.provider_key IS NULL OR p.approved IS NULL OR p.approved <> p.amount)",
    ),
    (
        "what came back of a card payment is in its refunds",
        "SELECT o.id AS subject FROM orders o
         JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED' AND p.method = 'toss'
         LEFT JOIN refunds r ON r.provider_key = p.provider_key AND r.kind = 'ORDER'
         GROUP BY o.id, o.refunded HAVING COALESCE(SUM(r.amount), 0) <> o.refunded",
    ),
    (
        "nothing goes back as unwanted that paid for an order",
        "SELECT r.order_id AS subject FROM refunds r
         JOIN payments p ON p.provider_key = r.provider_key AND p.status <> 'FAILED'
         WHERE r.kind = 'UNWANTED'",
    ),
    (
        "a refund that is done has the provider's word",
        "SELECT id AS subject FROM refunds
         WHERE status = 'DONE' AND (transaction_key IS NULL OR finished_at IS NULL)",
    ),
    (
        "an order's amount is that of its seats",
        "SELECT o.id AS subject FROM orders o LEFT JOIN order_items i ON i.order_id = o.id
         GROUP BY o.id, o.amount, o.refunded
         HAVING o.amount <> COALESCE(SUM(i.price), 0)",
    ),
    (
        "a mail of a completed payment has its payment",
        "SELECT m.order_id AS subject FROM mails m
         LEFT JOIN payments p ON p.order_id = m.order_id AND p.status = 'COMPLETED'
         WHERE m.kind = 'completed' AND p.id IS NULL",
    ),
    (
        "no message was set aside",
        "SELECT kind || ' ' || subject AS subject FROM outbox WHERE set_aside_at IS NOT NULL",
    ),
];

impl Booking {
    /// Everything that must not be, at this moment; nothing, if all is well.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn audit(&self) -> Result<Vec<Finding>, DbError> {
        let mut tx = self.db.snapshot().await?;
        let mut findings = Vec::new();
        for (rule, sql) in RULES {
            let rows = sqlx::query(sql).fetch_all(&mut *tx).await?;
            for row in rows {
                findings.push(Finding { rule, subject: row.text("subject")? });
            }
        }
        tx.rollback().await?;
        Ok(findings)
    }
}
