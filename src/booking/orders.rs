//! Orders: what a hold becomes when somebody means to buy it.
//!
//! Owns the order's rows and their life up to the payment; [`super::payments`]
//! moves them on. Every update names the status it expects and counts its rows.

mod cancel;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::Booking;
use super::accounts::auth::Caller;
use super::db::{Db, DbError, RowExt as _, Tx, millis, tuples};
use super::events::Layout;
use super::holds::Kept;
use super::paging::Page;
use super::pass::ThroughGate;
use super::problem::{Body, Code, Path, Problem, Query};
use crate::domain::order::{AccountId, OrderId, OrderStatus};
use crate::domain::seat::floor::Hold;
use crate::domain::seat::{EventId, HoldEpoch, HoldId, SeatIndex};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

pub use cancel::{__path_cancel, Cancellation, cancel};
pub use view::{ItemView, LastPayment, OrderView};

/// Which hold to buy.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewOrder {
    hold_id: String,
}

/// Orders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderList {
    items: Vec<OrderView>,
    /// For `cursor`; null at the end.
    next: Option<String>,
}

/// An order's row.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Whose it is.
    pub account: AccountId,
    /// Of which event.
    pub event: EventId,
    /// From which hold.
    pub hold: HoldId,
    /// The hold's epoch.
    pub epoch: HoldEpoch,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it costs.
    pub amount: Money,
    /// What came back.
    pub refunded: Money,
    /// Of the amounts.
    pub currency: String,
    /// When the hold ends.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One seat of an order.
#[derive(Clone, Debug)]
pub struct Item {
    /// The seat.
    pub seat: SeatIndex,
    /// Its id.
    pub seat_id: String,
    /// Its section's id.
    pub section: String,
    /// What it costs.
    pub price: Money,
    /// Whether its money went back.
    pub refunded: bool,
    /// What was kept of it then.
    pub fee: Money,
}

/// Makes an order of the caller's hold; a second time, the same one.
#[utoipa::path(post, path = "/api/orders", tag = "orders", request_body = NewOrder,
    security(("bearer" = [])),
    responses((status = 201, body = OrderView), (status = 403, description = "pass_required"),
              (status = 409, description = "hold_expired or ticket_limit")))]
pub async fn create(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    Body(new): Body<NewOrder>,
) -> Result<(StatusCode, axum::Json<OrderView>), Problem> {
    let hold: HoldId = new.hold_id.parse().map_err(|_| Code::HoldExpired)?;
    let now = booking.now();
    let found = booking.holds.find(hold, caller.account, now).await;
    let kept = found.map_err(|problem| match problem.code() {
        Code::NotFound => Code::HoldExpired.into(),
        _ => problem,
    })?;
    let id = booking.order_of(&kept, now).await?;
    let view = booking.order_view(id, caller.account).await?;
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// The caller's orders, newest first.
#[utoipa::path(get, path = "/api/orders", tag = "orders", params(Page), security(("bearer" = [])),
    responses((status = 200, body = OrderList)))]
pub async fn list(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<axum::Json<OrderList>, Problem> {
    let (before, before_id) = page.after()?;
    let rows = sqlx::query(
        "SELECT * FROM orders WHERE account_id = $1
           AND (created_at < $2 OR (created_at = $2 AND id < $3))
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(caller.account.to_string())
    .bind(before)
    .bind(before_id)
    .bind(i64::from(page.limit()) + 1)
    .fetch_all(booking.db.read())
    .await?;
    let mut orders = rows.iter().map(order_of_row).collect::<Result<Vec<_>, _>>()?;
    let more = orders.len() > page.limit() as usize;
    orders.truncate(page.limit() as usize);
    let next = orders.last().filter(|_| more).map(|last| format!("{}.{}", last.created_at, last.id));
    let mut items = Vec::with_capacity(orders.len());
    for order in orders {
        match booking.view_of(order).await {
            // Gone with its event since the list was read.
            Err(problem) if problem.code() == Code::NotFound => {}
            view => items.push(view?),
        }
    }
    Ok(axum::Json(OrderList { items, next }))
}

/// One of the caller's orders.
#[utoipa::path(get, path = "/api/orders/{id}", tag = "orders", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, body = OrderView), (status = 404, description = "not_found")))]
pub async fn get(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<OrderView>, Problem> {
    let id = id.parse().map_err(|_| Code::NotFound)?;
    Ok(axum::Json(booking.order_view(id, caller.account).await?))
}

impl Booking {
    /// The order of a hold, made if it is not there.
    pub(super) async fn order_of(&self, kept: &Kept, now: Timestamp) -> Result<OrderId, Problem> {
        if let Some(id) = self.order_by_hold(kept.hold.id).await? {
            return Ok(id);
        }
        let layout = self.layouts.get(&kept.event).await?.ok_or(Code::HoldExpired)?;
        let id = OrderId::from_bits(uuid::Uuid::new_v4().as_u128());
        match self.insert_order(id, &layout, &kept.hold, now).await {
            Ok(true) => Ok(id),
            Ok(false) => {
                self.holds.let_go(&kept.event, kept.hold.id, kept.hold.owner, kept.hold.until, now).await;
                Err(Code::TicketLimit.into())
            }
            // The event was removed in this moment.
            Err(DbError::Linked(_)) => Err(Code::HoldExpired.into()),
            // The same request came twice at once.
            Err(DbError::Duplicate(_)) => {
                Ok(self.order_by_hold(kept.hold.id).await?.ok_or(Code::Internal)?)
            }
            Err(other) => Err(other.into()),
        }
    }

    async fn order_by_hold(&self, hold: HoldId) -> Result<Option<OrderId>, DbError> {
        let row = sqlx::query("SELECT id FROM orders WHERE hold_id = $1")
            .bind(hold.to_string())
            .fetch_optional(self.db.read())
            .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// Writes the order; `false` when its owner would have more of the event
    /// than one account may.
    ///
    /// The hold store has looked before, but each process may have one of its
    /// own: here, behind the account's row, one order after the other is counted.
    async fn insert_order(
        &self,
        id: OrderId,
        layout: &Layout,
        hold: &Hold,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let amount: Money = hold.seats.iter().map(|seat| layout.price(*seat)).sum();
        let mut tx = self.db.begin().await?;
        let others = bespoken(&self.db, &mut tx, hold.owner, &layout.id, now).await?;
        if others + hold.seats.len() as u64 > u64::from(self.settings.tickets_per_account) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO orders (id, account_id, event_id, hold_id, epoch, status, amount, currency,
                                 expires_at, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'PENDING', $6, $7, $8, $9, $9)",
        )
        .bind(id.to_string())
        .bind(hold.owner.to_string())
        .bind(layout.id.as_str())
        .bind(hold.id.to_string())
        .bind(epoch(hold.epoch))
        .bind(amount.units())
        .bind(layout.currency.as_str())
        .bind(millis(hold.until))
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        insert_items(&mut tx, id, layout, &hold.seats).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The order, to its owner only.
    async fn order_view(&self, id: OrderId, caller: AccountId) -> Result<OrderView, Problem> {
        let order = self.order(id).await?.filter(|order| order.account == caller).ok_or(Code::NotFound)?;
        self.view_of(order).await
    }

    /// The order's row.
    ///
    /// # Errors
    /// [`DbError`]
    pub(super) async fn order(&self, id: OrderId) -> Result<Option<Order>, DbError> {
        let row = sqlx::query("SELECT * FROM orders WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.db.read())
            .await?;
        row.as_ref().map(order_of_row).transpose()
    }

    /// The order's seats, by index.
    ///
    /// # Errors
    /// [`DbError`]
    pub(super) async fn items(&self, id: OrderId) -> Result<Vec<Item>, DbError> {
        let rows = sqlx::query(ITEMS).bind(id.to_string()).fetch_all(self.db.read()).await?;
        rows.iter().map(item_of_row).collect()
    }

    /// Ends the orders whose hold ran out before a payment began; returns how many.
    pub(super) async fn expire_orders(&self, now: Timestamp) -> Result<u64, DbError> {
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "UPDATE orders SET status = 'EXPIRED', updated_at = $1
             WHERE status = 'PENDING' AND expires_at <= $1",
        )
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

const ITEMS: &str = "SELECT seat_idx, seat_id, section, price, refunded, fee FROM order_items WHERE order_id = $1 ORDER BY seat_idx";

/// The order's seats, inside a transaction.
///
/// # Errors
/// [`DbError`]
pub(super) async fn items_in(tx: &mut Tx, id: OrderId) -> Result<Vec<Item>, DbError> {
    let rows = sqlx::query(ITEMS).bind(id.to_string()).fetch_all(&mut **tx).await?;
    rows.iter().map(item_of_row).collect()
}

/// The order, locked until the transaction ends; its row comes before seats and
/// wallet in everybody's order of locking.
///
/// # Errors
/// [`DbError`]
pub(super) async fn lock_order(db: &Db, tx: &mut Tx, id: OrderId) -> Result<Option<Order>, DbError> {
    let sql = db.pick("SELECT * FROM orders WHERE id = $1", "SELECT * FROM orders WHERE id = $1 FOR UPDATE");
    let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(&mut **tx).await?;
    row.as_ref().map(order_of_row).transpose()
}

/// Seats of the event that the account has bought or may still pay for. Until the
/// transaction ends no other order of the account is counted or made.
async fn bespoken(
    db: &Db,
    tx: &mut Tx,
    owner: AccountId,
    event: &EventId,
    now: Timestamp,
) -> Result<u64, DbError> {
    let lock = db.pick(
        "SELECT id FROM accounts WHERE id = $1",
        "SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE",
    );
    sqlx::query(lock).bind(owner.to_string()).fetch_optional(&mut **tx).await?;
    // What is over must not be counted, and must not be paid once it is not.
    sqlx::query(
        "UPDATE orders SET status = 'EXPIRED', updated_at = $1
         WHERE account_id = $2 AND event_id = $3 AND status = 'PENDING' AND expires_at <= $1",
    )
    .bind(millis(now))
    .bind(owner.to_string())
    .bind(event.as_str())
    .execute(&mut **tx)
    .await?;
    let row = sqlx::query(
        "SELECT COUNT(*) AS seats FROM orders o JOIN order_items i ON i.order_id = o.id
         WHERE o.account_id = $1 AND o.event_id = $2 AND i.refunded = 0
           AND o.status IN ('PENDING', 'PAYING', 'PAID', 'PARTIALLY_REFUNDED')",
    )
    .bind(owner.to_string())
    .bind(event.as_str())
    .fetch_one(&mut **tx)
    .await?;
    row.count("seats")
}

/// An epoch as stored.
pub(super) fn epoch(epoch: HoldEpoch) -> i64 {
    i64::try_from(epoch.as_u64()).unwrap_or(i64::MAX)
}

async fn insert_items(tx: &mut Tx, id: OrderId, layout: &Layout, seats: &[SeatIndex]) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO order_items (order_id, seat_idx, seat_id, section, price) VALUES {}",
        tuples(seats.len(), 5)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for seat in seats {
        let chair = layout.chair(*seat);
        query = query
            .bind(id.to_string())
            .bind(i64::from(seat.0))
            .bind(chair.id.as_str())
            .bind(layout.sections[chair.section].id.as_str())
            .bind(layout.price(*seat).units());
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

fn order_of_row(row: &AnyRow) -> Result<Order, DbError> {
    Ok(Order {
        id: row.parsed("id")?,
        account: row.parsed("account_id")?,
        event: row.parsed("event_id")?,
        hold: row.parsed("hold_id")?,
        epoch: HoldEpoch::from_u64(row.count("epoch")?),
        status: row.named("status", OrderStatus::from_name)?,
        amount: Money::new(row.int("amount")?),
        refunded: Money::new(row.int("refunded")?),
        currency: row.text("currency")?,
        expires_at: row.instant("expires_at")?,
        created_at: row.instant("created_at")?,
    })
}

fn item_of_row(row: &AnyRow) -> Result<Item, DbError> {
    Ok(Item {
        seat: SeatIndex(row.small("seat_idx")?),
        seat_id: row.text("seat_id")?,
        section: row.text("section")?,
        price: Money::new(row.int("price")?),
        refunded: row.int("refunded")? != 0,
        fee: Money::new(row.int("fee")?),
    })
}
