//! The questions of the sweep, by the invariant that each of them asks about.

/// Something that must always hold, and the question that finds where it does not.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Which of DESIGN, 7 it is part of: 12–21.
    pub invariant: u8,
    /// What holds.
    pub says: &'static str,
    /// Its rows are findings; the column `subject` says where.
    pub(super) sql: &'static str,
}

const fn rule(invariant: u8, says: &'static str, sql: &'static str) -> Rule {
    Rule { invariant, says, sql }
}

/// Of everything there is.
pub(super) const ALWAYS: [Rule; 29] = [
    rule(
        12,
        "a seat has one live ticket at most",
        "SELECT event_id || ' ' || seat_id AS subject FROM tickets WHERE status <> 'VOID'
         GROUP BY event_id, seat_id HAVING COUNT(*) > 1",
    ),
    rule(
        13,
        "a seat is sold exactly when a paid order has it",
        "SELECT s.event_id || ' ' || s.id AS subject FROM seats s
         LEFT JOIN orders o ON o.id = s.order_id AND o.event_id = s.event_id
         LEFT JOIN order_items i ON i.order_id = o.id AND i.seat_idx = s.idx AND i.refunded = 0
         WHERE s.status = 'SOLD'
           AND (i.seat_idx IS NULL OR o.status NOT IN ('PAID', 'PARTIALLY_REFUNDED'))",
    ),
    rule(
        13,
        "what a paid order has is sold to it",
        "SELECT o.id || ' ' || i.seat_id AS subject FROM orders o
         JOIN order_items i ON i.order_id = o.id AND i.refunded = 0
         LEFT JOIN seats s ON s.event_id = o.event_id AND s.idx = i.seat_idx
         WHERE o.status IN ('PAID', 'PARTIALLY_REFUNDED')
           AND (s.status IS NULL OR s.status <> 'SOLD' OR s.order_id <> o.id)",
    ),
    rule(
        14,
        "a seat is being paid for exactly by an order that is being paid",
        "SELECT s.event_id || ' ' || s.id AS subject FROM seats s LEFT JOIN orders o ON o.id = s.order_id
         WHERE s.status = 'PAYING' AND (o.status IS NULL OR o.status <> 'PAYING')",
    ),
    rule(
        14,
        "an order that is being paid has all its seats",
        "SELECT o.id || ' ' || COALESCE(i.seat_id, '') AS subject FROM orders o
         LEFT JOIN order_items i ON i.order_id = o.id
         LEFT JOIN seats s ON s.event_id = o.event_id AND s.idx = i.seat_idx
         WHERE o.status = 'PAYING' AND (s.status IS NULL OR s.status <> 'PAYING' OR s.order_id <> o.id)",
    ),
    rule(
        15,
        "no more is sold than there is",
        "SELECT taken.event_id AS subject
         FROM (SELECT o.event_id, COUNT(*) AS places FROM orders o JOIN order_items i ON i.order_id = o.id
               WHERE o.status IN ('PAYING', 'PAID', 'PARTIALLY_REFUNDED') AND i.refunded = 0
               GROUP BY o.event_id
               UNION ALL
               SELECT event_id, COUNT(*) AS places FROM tickets WHERE status <> 'VOID' GROUP BY event_id) taken
         LEFT JOIN (SELECT event_id, COUNT(*) AS places FROM seats GROUP BY event_id) made
           ON made.event_id = taken.event_id
         WHERE taken.places > COALESCE(made.places, 0) GROUP BY taken.event_id",
    ),
    rule(
        18,
        "an order that is being paid has one pending payment",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN payments p ON p.order_id = o.id AND p.status = 'PENDING'
         WHERE o.status = 'PAYING' GROUP BY o.id HAVING COUNT(p.id) <> 1",
    ),
    rule(
        18,
        "an order is paid for once, however often that is asked for",
        "SELECT order_id AS subject FROM payments GROUP BY order_id HAVING COUNT(*) > 1",
    ),
    rule(
        18,
        "a kept answer names the payment that its key began",
        "SELECT a.scope || ' ' || a.key AS subject FROM idempotency a
         LEFT JOIN payments p ON p.account_id = a.scope AND a.body LIKE '%' || p.id || '%'
         WHERE a.status = 202 AND (p.id IS NULL OR COALESCE(p.request_key, '') <> a.key AND EXISTS (
           SELECT 1 FROM payments q
           WHERE q.account_id = a.scope AND q.request_key = a.key AND q.created_at >= a.created_at))",
    ),
    rule(
        12,
        "a paid seat has its ticket, and a ticket its paid seat",
        "SELECT COALESCE(o.id, t.order_id) || ' ' || COALESCE(i.seat_id, t.seat_id) AS subject
         FROM (SELECT i.order_id, i.seat_idx, i.seat_id FROM order_items i JOIN orders o ON o.id = i.order_id
               WHERE o.status IN ('PAID', 'PARTIALLY_REFUNDED') AND i.refunded = 0) i
         FULL JOIN (SELECT * FROM tickets WHERE status <> 'VOID') t
           ON t.order_id = i.order_id AND t.seat_idx = i.seat_idx
         LEFT JOIN orders o ON o.id = i.order_id
         WHERE i.order_id IS NULL OR t.id IS NULL",
    ),
    rule(
        16,
        "a wallet's balance is the sum of its ledger",
        "SELECT w.account_id AS subject FROM wallets w LEFT JOIN ledger l ON l.account_id = w.account_id
         GROUP BY w.account_id, w.balance HAVING w.balance <> COALESCE(SUM(l.amount), 0) OR w.balance < 0",
    ),
    rule(
        17,
        "the money taken is the money of paid orders, refunds apart",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED'
         WHERE (o.status IN ('PAID', 'PARTIALLY_REFUNDED', 'REFUNDED')) <> (p.id IS NOT NULL)
            OR p.amount <> o.amount",
    ),
    rule(
        17,
        "a payment from a wallet is in its ledger, once, and so is what came back",
        "SELECT o.id AS subject FROM orders o
         JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED' AND p.method = 'points'
         LEFT JOIN ledger l ON l.account_id = o.account_id
           AND (l.reference = o.id OR l.reference LIKE o.id || ':%')
         GROUP BY o.id, o.amount, o.refunded
         HAVING COALESCE(SUM(l.amount), 0) <> o.refunded - o.amount",
    ),
    rule(
        17,
        "what came back is the price of the seats given back, fees apart",
        "SELECT o.id AS subject FROM orders o
         LEFT JOIN order_items i ON i.order_id = o.id AND (i.refunded = 1 OR i.fee <> 0)
         GROUP BY o.id, o.refunded HAVING o.refunded <> COALESCE(SUM(i.price - i.fee), 0)",
    ),
    rule(
        17,
        "a card payment that was taken was approved with its amount",
        "SELECT p.order_id AS subject FROM payments p
         WHERE p.method = 'toss' AND p.status = 'COMPLETED'
           AND (p.provider_key IS NULL OR p.approved IS NULL OR p.approved <> p.amount)",
    ),
    rule(
        17,
        "what came back of a card payment is in its refunds",
        "SELECT o.id AS subject FROM orders o
         JOIN payments p ON p.order_id = o.id AND p.status = 'COMPLETED' AND p.method = 'toss'
         LEFT JOIN refunds r ON r.provider_key = p.provider_key AND r.kind = 'ORDER'
         GROUP BY o.id, o.refunded HAVING COALESCE(SUM(r.amount), 0) <> o.refunded",
    ),
    rule(
        17,
        "nothing goes back as unwanted that paid for an order",
        "SELECT r.order_id AS subject FROM refunds r
         JOIN payments p ON p.provider_key = r.provider_key AND p.status <> 'FAILED'
         WHERE r.kind = 'UNWANTED'",
    ),
    rule(
        17,
        "a refund that is done has the provider's word",
        "SELECT id AS subject FROM refunds
         WHERE status = 'DONE' AND (transaction_key IS NULL OR finished_at IS NULL)",
    ),
    rule(
        17,
        "an order's amount is that of its seats",
        "SELECT o.id AS subject FROM orders o LEFT JOIN order_items i ON i.order_id = o.id
         GROUP BY o.id, o.amount, o.refunded
         HAVING o.amount <> COALESCE(SUM(i.price), 0)",
    ),
    rule(
        19,
        "a mail of a completed payment has its payment",
        "SELECT m.order_id AS subject FROM mails m
         LEFT JOIN payments p ON p.order_id = m.order_id AND p.status = 'COMPLETED'
         WHERE m.kind = 'completed' AND p.id IS NULL",
    ),
    rule(
        19,
        "one mail tells of a completed payment",
        "SELECT order_id AS subject FROM mails WHERE kind = 'completed' GROUP BY order_id HAVING COUNT(*) > 1",
    ),
    rule(
        19,
        "what is told of as completed is",
        "SELECT m.subject AS subject FROM outbox m
         LEFT JOIN payments p ON p.order_id = m.subject AND p.status = 'COMPLETED'
         WHERE m.kind = 'payment.completed' AND p.id IS NULL",
    ),
    rule(
        19,
        "no message was set aside",
        "SELECT kind || ' ' || subject AS subject FROM outbox WHERE set_aside_at IS NOT NULL",
    ),
    rule(
        20,
        "a taken seat has the epoch of its order",
        "SELECT s.event_id || ' ' || s.id AS subject FROM seats s JOIN orders o ON o.id = s.order_id
         WHERE s.status <> 'FREE' AND s.epoch <> o.epoch",
    ),
    rule(
        20,
        "no seat is behind an order that took it",
        "SELECT o.id || ' ' || i.seat_id AS subject FROM payments p
         JOIN orders o ON o.id = p.order_id JOIN order_items i ON i.order_id = o.id
         JOIN seats s ON s.event_id = o.event_id AND s.idx = i.seat_idx WHERE s.epoch < o.epoch",
    ),
    rule(
        20,
        "no two orders took a seat under one epoch",
        "SELECT o.event_id || ' ' || i.seat_id AS subject FROM payments p
         JOIN orders o ON o.id = p.order_id JOIN order_items i ON i.order_id = o.id
         GROUP BY o.event_id, i.seat_id, o.epoch HAVING COUNT(DISTINCT o.id) > 1",
    ),
    rule(
        21,
        "a counsellor has one session at most",
        "SELECT counsellor AS subject FROM support_sessions WHERE state IN ('OFFERED', 'ACTIVE')
         GROUP BY counsellor HAVING COUNT(*) > 1",
    ),
    rule(
        21,
        "a counsellor is busy exactly when it has a session",
        "SELECT c.account_id AS subject FROM counsellors c
         WHERE (c.state = 'BUSY') <> EXISTS (SELECT 1 FROM support_sessions s
           WHERE s.counsellor = c.account_id AND s.state IN ('OFFERED', 'ACTIVE'))",
    ),
    rule(
        21,
        "a customer is answered exactly when a session has a counsellor for it",
        "SELECT r.id AS subject FROM support_requests r
         WHERE (r.state = 'MATCHED') <> EXISTS (SELECT 1 FROM support_sessions s
           WHERE s.request_id = r.id AND s.state IN ('OFFERED', 'ACTIVE'))",
    ),
];

/// Of what happened after `$1`: messages are not kept for ever.
pub(super) const LATELY: [Rule; 1] = [rule(
    19,
    "a completed payment is told of once",
    "SELECT p.order_id AS subject FROM payments p
         LEFT JOIN outbox m ON m.subject = p.order_id AND m.kind = 'payment.completed'
         WHERE p.status = 'COMPLETED' AND p.finished_at > $1
         GROUP BY p.order_id HAVING COUNT(m.id) <> 1",
)];

/// Of what happened after `$1`, where mails are sent and no broker is between; a
/// payment from before the first mail was never to have one.
pub(super) const MAILED: Rule = rule(
    19,
    "a completed payment that was told of has its mail",
    "SELECT m.subject AS subject FROM outbox m
         LEFT JOIN mails l ON l.order_id = m.subject AND l.kind = 'completed'
         WHERE m.kind = 'payment.completed' AND m.relayed_at IS NOT NULL AND l.order_id IS NULL
           AND m.created_at > $1 AND m.created_at > (SELECT MIN(created_at) FROM mails)",
);
