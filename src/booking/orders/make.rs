//! How an order is made of a hold: once, and within what one account may have.

use std::sync::Arc;

use super::{Item, Order, epoch, order_of_row};
use crate::booking::Booking;
use crate::booking::db::{Db, DbError, RowExt as _, Tx, millis, tuples};
use crate::booking::events::Layout;
use crate::booking::holds::Kept;
use crate::booking::problem::{Code, Problem};
use crate::domain::order::{OrderId, OrderStatus};
use crate::domain::seat::HoldId;
use crate::domain::seat::floor::Hold;
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// The order of a hold.
pub(in crate::booking) enum Made {
    /// Made now.
    New(Order, Vec<Item>, Arc<Layout>),
    /// Made before, by the same hold.
    Old(Order),
}

impl Made {
    pub(in crate::booking) fn order(&self) -> &Order {
        match self {
            Self::New(order, ..) | Self::Old(order) => order,
        }
    }
}

/// What came of an attempt.
enum Wrote {
    /// The order is there now.
    Order,
    /// The hold has one already.
    Nothing,
    /// Its owner would have more of the event than one account may.
    TooMany,
}

impl Booking {
    /// The order of a hold, made if it is not there.
    pub(in crate::booking) async fn order_of(&self, kept: &Kept, now: Timestamp) -> Result<Made, Problem> {
        let Kept { event, hold } = kept;
        let layout = self.layouts.get(event).await?.ok_or(Code::HoldExpired)?;
        let items = items_of(&layout, hold);
        let order = Order {
            id: OrderId::from_bits(uuid::Uuid::new_v4().as_u128()),
            account: hold.owner,
            event: event.clone(),
            hold: hold.id,
            epoch: hold.epoch,
            status: OrderStatus::Pending,
            amount: items.iter().map(|item| item.price).sum(),
            refunded: Money::ZERO,
            currency: layout.currency.clone(),
            expires_at: hold.until,
            created_at: now,
        };
        let wrote = match self.insert_order(&order, &items).await {
            // The event was removed in this moment.
            Err(DbError::Linked(_)) => return Err(Code::HoldExpired.into()),
            wrote => wrote?,
        };
        if let Wrote::Order = wrote {
            return Ok(Made::New(order, items, layout));
        }
        if let Some(old) = self.order_by_hold(hold.id).await? {
            return Ok(Made::Old(old));
        }
        let Wrote::TooMany = wrote else { return Err(Code::Internal.into()) };
        self.holds.let_go(event, hold.id, hold.owner, hold.until, now).await;
        Err(Code::TicketLimit.into())
    }

    async fn order_by_hold(&self, hold: HoldId) -> Result<Option<Order>, DbError> {
        let row = sqlx::query("SELECT * FROM orders WHERE hold_id = $1")
            .bind(hold.to_string())
            .fetch_optional(self.db.read())
            .await?;
        row.as_ref().map(order_of_row).transpose()
    }

    /// Writes the order, if it may be.
    ///
    /// The hold store has looked before, but each process may have one of its
    /// own: here, behind the account's row, one order after the other is counted.
    async fn insert_order(&self, order: &Order, items: &[Item]) -> Result<Wrote, DbError> {
        let mut tx = self.db.begin().await?;
        let others = bespoken(&self.db, &mut tx, order).await?;
        if others + items.len() as u64 > u64::from(self.settings.tickets_per_account) {
            return Ok(Wrote::TooMany);
        }
        let done = sqlx::query(
            "INSERT INTO orders (id, account_id, event_id, hold_id, epoch, status, amount, currency,
                                 expires_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'PENDING', $6, $7, $8, $9, $9) ON CONFLICT (hold_id) DO NOTHING",
        )
        .bind(order.id.to_string())
        .bind(order.account.to_string())
        .bind(order.event.as_str())
        .bind(order.hold.to_string())
        .bind(epoch(order.epoch))
        .bind(order.amount.units())
        .bind(order.currency.as_str())
        .bind(millis(order.expires_at))
        .bind(millis(order.created_at))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Wrote::Nothing);
        }
        insert_items(&mut tx, order.id, items).await?;
        tx.commit().await?;
        Ok(Wrote::Order)
    }
}

/// The hold's seats as items, by index.
fn items_of(layout: &Layout, hold: &Hold) -> Vec<Item> {
    let mut seats = hold.seats.clone();
    seats.sort_unstable();
    let item = |seat| {
        let chair = layout.chair(seat);
        Item {
            seat,
            seat_id: chair.id.clone(),
            section: layout.sections[chair.section].id.clone(),
            price: layout.price(seat),
            refunded: false,
            fee: Money::ZERO,
        }
    };
    seats.into_iter().map(item).collect()
}

/// Seats of the event that the order's owner has bought or may still pay for by
/// other orders. Until the transaction ends no other order of the account is
/// counted or made.
async fn bespoken(db: &Db, tx: &mut Tx, order: &Order) -> Result<u64, DbError> {
    let lock = db.pick(
        "SELECT id FROM accounts WHERE id = $1",
        "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE",
    );
    sqlx::query(lock).bind(order.account.to_string()).fetch_optional(&mut **tx).await?;
    let (seats, overdue) = count_others(tx, order).await?;
    if overdue == 0 {
        return Ok(seats);
    }
    // What is over must not be counted, and must not be paid once it is not.
    sqlx::query(
        "UPDATE orders SET status = 'EXPIRED', updated_at = $1
         WHERE account_id = $2 AND event_id = $3 AND status = 'PENDING' AND expires_at <= $1",
    )
    .bind(millis(order.created_at))
    .bind(order.account.to_string())
    .bind(order.event.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(count_others(tx, order).await?.0)
}

/// Seats in other orders of the account for the event: bought or still to be
/// paid for, and those whose time to be paid for is over.
async fn count_others(tx: &mut Tx, order: &Order) -> Result<(u64, u64), DbError> {
    // By the account alone: SQLite would go through all orders of the event.
    let row = sqlx::query(
        "SELECT COUNT(CASE WHEN o.status = 'PENDING' AND o.expires_at <= $1 THEN NULL ELSE 1 END) AS seats,
                COUNT(CASE WHEN o.status = 'PENDING' AND o.expires_at <= $1 THEN 1 END) AS overdue
         FROM orders o JOIN order_items i ON i.order_id = o.id
         WHERE o.account_id = $2 AND CASE WHEN o.event_id = $3 THEN o.hold_id END <> $4
           AND o.status IN ('PENDING', 'PAYING', 'PAID', 'PARTIALLY_REFUNDED') AND i.refunded = 0",
    )
    .bind(millis(order.created_at))
    .bind(order.account.to_string())
    .bind(order.event.as_str())
    .bind(order.hold.to_string())
    .fetch_one(&mut **tx)
    .await?;
    Ok((row.count("seats")?, row.count("overdue")?))
}

async fn insert_items(tx: &mut Tx, id: OrderId, items: &[Item]) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO order_items (order_id, seat_idx, seat_id, section, price) VALUES {}",
        tuples(items.len(), 5)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for item in items {
        query = query
            .bind(id.to_string())
            .bind(i64::from(item.seat.0))
            .bind(item.seat_id.as_str())
            .bind(item.section.as_str())
            .bind(item.price.units());
    }
    query.execute(&mut **tx).await?;
    Ok(())
}
