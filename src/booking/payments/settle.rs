//! How a payment ends: everything in one transaction, or nothing.

use serde_json::json;

use crate::booking::db::{DbError, Tx, millis, placeholders, tuples};
use crate::booking::orders::{Item, Order, epoch, items_in, lock_whole};
use crate::booking::providers::Method;
use crate::booking::{Booking, outbox, wallet};
use crate::domain::order::{OrderId, TicketId};
use crate::domain::payment::PaymentId;
use crate::domain::seat::Outcome;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{Entry, Money};

/// A payment that a worker has the lease of.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: PaymentId,
    pub(super) order: OrderId,
    pub(super) amount: Money,
    pub(super) method: Method,
    /// The provider's name for it; empty for the wallet.
    pub(super) key: String,
    /// Claims so far, this one included.
    pub(super) tries: u32,
    pub(super) created_at: Timestamp,
    pub(super) lease_epoch: i64,
}

/// Where the money is when an order becomes PAID.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken {
    /// In the caller's wallet still: taken in the same transaction.
    FromWallet,
    /// With us: the card provider has taken so much.
    ByCard(Money),
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Committed.
    Paid,
    /// Rolled back, because the wallet has too little.
    Insufficient,
    /// Rolled back, because another worker has it or the rows are not as they should be.
    NotOurs,
}

impl Booking {
    /// PAID, seats, tickets and outbox in one transaction; the provider has the money.
    pub(super) async fn settle_paid(&self, claimed: &Claimed, approved: Money) -> Result<(), DbError> {
        let tx = self.db.begin().await?;
        match self.settle(tx, claimed, Taken::ByCard(approved)).await? {
            Done::Paid => self.unstick(&claimed.key).await,
            Done::Insufficient | Done::NotOurs => {
                tracing::warn!(payment = %claimed.id, "another worker settled it, or it cannot be settled");
                Ok(())
            }
        }
    }

    /// Ends a payment in this transaction and commits it, or undoes all of it.
    pub(super) async fn settle(&self, mut tx: Tx, claimed: &Claimed, taken: Taken) -> Result<Done, DbError> {
        let Some((order, items)) = lock_whole(&self.db, &mut tx, claimed.order).await? else {
            return Ok(Done::NotOurs);
        };
        let done = complete(&mut tx, claimed, &order, &items, taken, self.now()).await?;
        if let Done::Paid = done {
            tx.commit().await?;
            let seats: Vec<_> = items.iter().map(|item| item.seat).collect();
            self.holds.settle(&order.event, &seats, order.epoch, Outcome::Sold).await;
            self.ends.tell(claimed.id);
        } else {
            tx.rollback().await?;
        }
        Ok(done)
    }

    /// The provider said "not paid": the order is over and its seats are free.
    pub(super) async fn give_up(
        &self,
        claimed: &Claimed,
        order: &Order,
        reason: &str,
    ) -> Result<(), DbError> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let items = items_in(&mut tx, order.id).await?;
        let ours = cancel_order(&mut tx, order, now).await?
            && free_seats(&mut tx, order, &items).await? == items.len() as u64
            && finish(&mut tx, claimed, "FAILED", Some(reason), now).await?;
        if !ours {
            tracing::warn!(payment = %claimed.id, "another worker settled it");
            return Ok(());
        }
        let body = json!({"request_id": claimed.id.to_string(), "reason": reason});
        outbox::write(&mut tx, &[("payment.failed", &order.id.to_string())], &body, now).await?;
        tx.commit().await?;
        let seats: Vec<_> = items.iter().map(|item| item.seat).collect();
        self.holds.settle(&order.event, &seats, order.epoch, Outcome::Free).await;
        self.ends.tell(claimed.id);
        match claimed.method {
            Method::Points => Ok(()),
            Method::Toss => self.unstick(&claimed.key).await,
        }
    }
}

async fn complete(
    tx: &mut Tx,
    claimed: &Claimed,
    order: &Order,
    items: &[Item],
    taken: Taken,
    now: Timestamp,
) -> Result<Done, DbError> {
    if claimed.amount != order.amount {
        return Ok(Done::NotOurs);
    }
    let ours = order_paid(tx, order, now).await?
        && seats_sold(tx, order, items).await? == items.len() as u64
        && finish(tx, claimed, "COMPLETED", None, now).await?;
    if !ours {
        return Ok(Done::NotOurs);
    }
    issue_tickets(tx, order, items, now).await?;
    if let Taken::ByCard(approved) = taken {
        note_approved(tx, claimed, approved).await?;
    } else if order.amount > Money::ZERO {
        let reference = order.id.to_string();
        let debit = wallet::book(tx, order.account, Entry::Payment, order.amount, &reference, now).await?;
        if debit.is_err() {
            return Ok(Done::Insufficient);
        }
    }
    let seats: Vec<_> = items.iter().map(|item| item.seat_id.as_str()).collect();
    let body = json!({
        "request_id": claimed.id.to_string(), "event_id": order.event.as_str(), "seats": seats,
        "amount": order.amount.units(), "currency": order.currency, "epoch": order.epoch.as_u64(),
    });
    let told = [("payment.completed", &*order.id.to_string()), ("seat.sold", order.event.as_str())];
    outbox::write(tx, &told, &body, now).await?;
    Ok(Done::Paid)
}

async fn order_paid(tx: &mut Tx, order: &Order, now: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE orders SET status = 'PAID', updated_at = $1 WHERE id = $2 AND epoch = $3 AND status = 'PAYING'",
    )
    .bind(millis(now))
    .bind(order.id.to_string())
    .bind(epoch(order.epoch))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn cancel_order(tx: &mut Tx, order: &Order, now: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE orders SET status = 'CANCELLED', updated_at = $1
         WHERE id = $2 AND epoch = $3 AND status = 'PAYING'",
    )
    .bind(millis(now))
    .bind(order.id.to_string())
    .bind(epoch(order.epoch))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn seats_sold(tx: &mut Tx, order: &Order, items: &[Item]) -> Result<u64, DbError> {
    change_seats(tx, "UPDATE seats SET status = 'SOLD'", order, items).await
}

async fn free_seats(tx: &mut Tx, order: &Order, items: &[Item]) -> Result<u64, DbError> {
    change_seats(tx, "UPDATE seats SET status = 'FREE', order_id = NULL", order, items).await
}

/// Changes the seats that the order is paying for; how many they were.
async fn change_seats(tx: &mut Tx, change: &str, order: &Order, items: &[Item]) -> Result<u64, DbError> {
    let sql = format!(
        "{change} WHERE event_id = $1 AND order_id = $2 AND epoch = $3 AND status = 'PAYING' AND idx IN {}",
        placeholders(4, items.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(order.event.as_str())
        .bind(order.id.to_string())
        .bind(epoch(order.epoch));
    for item in items {
        query = query.bind(i64::from(item.seat.0));
    }
    Ok(query.execute(&mut **tx).await?.rows_affected())
}

/// Ends the payment, unless the lease went to another worker.
async fn finish(
    tx: &mut Tx,
    claimed: &Claimed,
    status: &str,
    reason: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE payments SET status = $1, reason = $2, finished_at = $3
         WHERE id = $4 AND lease_epoch = $5 AND status = 'PENDING'",
    )
    .bind(status)
    .bind(reason.map(str::to_owned))
    .bind(millis(now))
    .bind(claimed.id.to_string())
    .bind(claimed.lease_epoch)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what the card provider approved beside what was asked.
async fn note_approved(tx: &mut Tx, claimed: &Claimed, approved: Money) -> Result<(), DbError> {
    sqlx::query("UPDATE payments SET approved = $1 WHERE id = $2")
        .bind(approved.units())
        .bind(claimed.id.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn issue_tickets(tx: &mut Tx, order: &Order, items: &[Item], now: Timestamp) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO tickets (id, event_id, seat_idx, seat_id, order_id, account_id, status, created_at)
         VALUES {}",
        tuples(items.len(), 8)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for item in items {
        query = query
            .bind(TicketId::from_bits(uuid::Uuid::new_v4().as_u128()).to_string())
            .bind(order.event.as_str())
            .bind(i64::from(item.seat.0))
            .bind(item.seat_id.as_str())
            .bind(order.id.to_string())
            .bind(order.account.to_string())
            .bind("VALID")
            .bind(millis(now));
    }
    query.execute(&mut **tx).await?;
    Ok(())
}
