//! Giving an order back: before it is paid as a whole, afterwards whole or in part.
//!
//! A refund moves money, tickets, seats and order in one transaction, each
//! update counting its rows, so that two requests for one seat cannot both be
//! paid back. What was paid by card is owed from there on, and the refund
//! worker sees to it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{Item, Order, OrderView, epoch, items_in, lock_order};
use crate::booking::accounts::Role;
use crate::booking::accounts::auth::Caller;
use crate::booking::db::{DbError, RowExt as _, Tx, millis, placeholders};
use crate::booking::payments::{Owed, owe};
use crate::booking::problem::{Code, Path, Problem};
use crate::booking::{Booking, outbox, wallet};
use crate::domain::order::{OrderId, OrderStatus};
use crate::domain::refund::Asker;
use crate::domain::seat::Outcome;
use crate::domain::time::Timestamp;
use crate::domain::wallet::{Entry, Money};

/// What to give back.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Cancellation {
    /// Seat ids; everything when left out.
    #[serde(default)]
    #[schema(example = json!(["A-1-12"]))]
    items: Option<Vec<String>>,
}

/// Gives an order back, or some seats of a paid one; the money returns to where it came from.
///
/// A buyer until the event's `refund_until_at`, less its fee; an administrator at
/// any time and for the whole price.
#[utoipa::path(post, path = "/api/orders/{id}/cancel", tag = "orders", request_body = Option<Cancellation>,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = OrderView), (status = 404, description = "not_found"),
              (status = 409, description = "not_cancellable"), (status = 422, description = "unknown_seat")))]
pub async fn cancel(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<axum::Json<OrderView>, Problem> {
    let wish: Cancellation = match body.is_empty() {
        true => Cancellation::default(),
        false => serde_json::from_slice(&body)
            .map_err(|why| Problem::new(Code::Malformed).because(why.to_string()))?,
    };
    let id: OrderId = id.parse().map_err(|_| Code::NotFound)?;
    let asker = if caller.role == Role::Admin { Asker::Operator } else { Asker::Buyer };
    let may = |order: &Order| asker == Asker::Operator || order.account == caller.account;
    let order = booking.order(id).await?.filter(may).ok_or(Code::NotFound)?;
    match order.status {
        OrderStatus::Pending if wish.items.is_none() => booking.give_up_order(&order).await?,
        status if status.is_sold() => booking.refund(&order, wish.items, asker).await?,
        _ => return Err(Code::NotCancellable.into()),
    }
    Ok(axum::Json(booking.order_view(id, order.account).await?))
}

impl Booking {
    /// PENDING → CANCELLED, and the hold's seats are free.
    async fn give_up_order(&self, order: &Order) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "UPDATE orders SET status = 'CANCELLED', updated_at = $1 WHERE id = $2 AND status = 'PENDING'",
        )
        .bind(millis(self.now()))
        .bind(order.id.to_string())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            return Err(Code::NotCancellable.into());
        }
        let body = json!({"event_id": order.event.as_str(), "currency": order.currency});
        let told = [("order.cancelled", &*order.id.to_string())];
        outbox::write(&mut tx, &told, &body, self.now()).await?;
        tx.commit().await?;
        self.holds.let_go(&order.event, order.hold, order.account, order.expires_at, self.now()).await;
        Ok(())
    }

    /// Money, tickets, seats and order in one transaction.
    async fn refund(&self, order: &Order, wanted: Option<Vec<String>>, asker: Asker) -> Result<(), Problem> {
        let now = self.now();
        let layout = self.layouts.get(&order.event).await?.ok_or(Code::NotFound)?;
        let rules = self.refund_rules(&layout);
        let mut tx = self.db.begin().await?;
        let order = lock_order(&self.db, &mut tx, order.id).await?.ok_or(Code::NotFound)?;
        if !order.status.is_sold() {
            return Err(Code::NotCancellable.into());
        }
        let items = items_in(&mut tx, order.id).await?;
        let mut back = choose(&items, wanted)?;
        for item in &mut back {
            let fee = rules.fee(item.price, asker, now);
            item.fee = fee.map_err(|why| Problem::new(Code::NotCancellable).because(why.to_string()))?;
        }
        let whole = items.iter().filter(|item| !item.refunded).count() == back.len();
        if !give_back(&mut tx, &order, &back).await? {
            // A ticket of them was used at the door.
            return Err(Code::NotCancellable.into());
        }
        let amount: Money = back.iter().map(|item| item.price - item.fee).sum();
        let fee: Money = back.iter().map(|item| item.fee).sum();
        pay_back(&mut tx, &order, amount, whole, now).await?;
        let ids: Vec<_> = back.iter().map(|item| item.seat_id.as_str()).collect();
        let body = json!({
            "event_id": order.event.as_str(), "seats": ids, "amount": amount.units(), "fee": fee.units(),
            "currency": order.currency, "epoch": order.epoch.as_u64(),
        });
        let told = [("order.refunded", &*order.id.to_string()), ("seat.freed", order.event.as_str())];
        outbox::write(&mut tx, &told, &body, now).await?;
        tx.commit().await?;
        self.refund_work.notify_one();
        let seats: Vec<_> = back.iter().map(|item| item.seat).collect();
        self.holds.settle(&order.event, &seats, order.epoch, Outcome::Free).await;
        Ok(())
    }
}

/// The items to give back: all that are left, or exactly the named ones.
fn choose(items: &[Item], wanted: Option<Vec<String>>) -> Result<Vec<Item>, Problem> {
    let left = || items.iter().filter(|item| !item.refunded);
    let Some(wanted) = wanted else { return Ok(left().cloned().collect()) };
    let wanted: HashSet<_> = wanted.into_iter().collect();
    let unknown: Vec<_> =
        wanted.iter().filter(|id| items.iter().all(|item| item.seat_id != **id)).cloned().collect();
    if !unknown.is_empty() || wanted.is_empty() {
        return Err(Problem::new(Code::UnknownSeat).with("seats", unknown));
    }
    let back: Vec<_> = left().filter(|item| wanted.contains(&item.seat_id)).cloned().collect();
    if back.len() == wanted.len() { Ok(back) } else { Err(Code::NotCancellable.into()) }
}

/// Items, tickets and seats; `false` when one of them is not as it should be.
async fn give_back(tx: &mut Tx, order: &Order, back: &[Item]) -> Result<bool, DbError> {
    for item in back {
        let done = sqlx::query(
            "UPDATE order_items SET refunded = 1, fee = $1
             WHERE order_id = $2 AND refunded = 0 AND seat_idx = $3",
        )
        .bind(item.fee.units())
        .bind(order.id.to_string())
        .bind(i64::from(item.seat.0))
        .execute(&mut **tx)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
    }
    let list = placeholders(3, back.len());
    let steps = [
        format!(
            "UPDATE tickets SET status = 'VOID'
             WHERE order_id = $1 AND event_id = $2 AND status = 'VALID' AND seat_idx IN {list}"
        ),
        format!(
            "UPDATE seats SET status = 'FREE', order_id = NULL
             WHERE order_id = $1 AND event_id = $2 AND status = 'SOLD' AND idx IN {list}"
        ),
    ];
    for sql in steps {
        let query = sqlx::query(sqlx::AssertSqlSafe(sql));
        let mut query = query.bind(order.id.to_string()).bind(order.event.as_str());
        for item in back {
            query = query.bind(i64::from(item.seat.0));
        }
        if query.execute(&mut **tx).await?.rows_affected() != back.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The provider's name for the card payment of the order, if it was paid so.
async fn card_of(tx: &mut Tx, order: &Order) -> Result<Option<String>, DbError> {
    let row = sqlx::query(
        "SELECT provider_key FROM payments
         WHERE order_id = $1 AND status = 'COMPLETED' AND method = 'toss'",
    )
    .bind(order.id.to_string())
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| row.text("provider_key")).transpose()
}

/// The order's state, and the money: into the owner's wallet, or owed to the card.
async fn pay_back(
    tx: &mut Tx,
    order: &Order,
    amount: Money,
    whole: bool,
    now: Timestamp,
) -> Result<(), Problem> {
    let next = if whole { OrderStatus::Refunded } else { OrderStatus::PartiallyRefunded };
    debug_assert!(order.status.may_become(next));
    let done = sqlx::query(
        "UPDATE orders SET status = $1, refunded = refunded + $2, updated_at = $3
         WHERE id = $4 AND epoch = $5 AND status IN ('PAID', 'PARTIALLY_REFUNDED')",
    )
    .bind(next.as_str())
    .bind(amount.units())
    .bind(millis(now))
    .bind(order.id.to_string())
    .bind(epoch(order.epoch))
    .execute(&mut **tx)
    .await?;
    if done.rows_affected() != 1 {
        return Err(Code::NotCancellable.into());
    }
    if amount == Money::ZERO {
        return Ok(());
    }
    if let Some(key) = card_of(tx, order).await? {
        return Ok(owe(tx, &key, &order.id.to_string(), Owed::Order(amount), now).await?);
    }
    // Each part that pays begins where the last one ended, so its reference is its own.
    let reference = format!("{}:{}", order.id, order.refunded);
    let booked = wallet::book(tx, order.account, Entry::Refund, amount, &reference, now).await?;
    booked.map(|_| ()).map_err(|_| Code::WalletFull.into())
}
