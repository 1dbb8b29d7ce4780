//! Orders: what a hold becomes when somebody means to buy it.
//!
//! Owns the order's rows and their life up to the payment; [`super::payments`]
//! moves them on. Every update names the status it expects and counts its rows.

mod cancel;
mod make;
mod view;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::Booking;
use super::accounts::auth::Caller;
use super::db::{Db, DbError, RowExt as _, Tx, millis};
use super::paging::Page;
use super::pass::ThroughGate;
use super::problem::{Body, Code, Path, Problem, Query};
use crate::domain::order::{AccountId, OrderId, OrderStatus};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, SeatIndex};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

use make::Made;

pub use cancel::{__path_cancel, Cancellation, cancel};
pub use view::{ItemView, LastPayment, OrderView};

const ITEMS: &str = "SELECT seat_idx, seat_id, section, price, refunded AS item_refunded, fee
                     FROM order_items WHERE order_id = $1 ORDER BY seat_idx";

/// An order with its seats, by index: a row for each seat.
macro_rules! whole {
    ($lock:literal) => {
        concat!(
            "SELECT o.*, i.seat_idx, i.seat_id, i.section, i.price, i.refunded AS item_refunded, i.fee
             FROM orders o JOIN order_items i ON i.order_id = o.id WHERE o.id = $1 ORDER BY i.seat_idx",
            $lock
        )
    };
}

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
    let made = booking.order_of(&kept, now).await?;
    Ok((StatusCode::CREATED, axum::Json(booking.view_of_made(made).await?)))
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
    /// The order as it was made, or as it stands since.
    async fn view_of_made(&self, made: Made) -> Result<OrderView, Problem> {
        match made {
            Made::New(order, items, layout) => Ok(self.show(&layout, order, items, None).await),
            Made::Old(order) => self.view_of(order).await,
        }
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

    /// The order with its seats, by index.
    ///
    /// # Errors
    /// [`DbError`]
    pub(super) async fn whole_order(&self, id: OrderId) -> Result<Option<(Order, Vec<Item>)>, DbError> {
        whole_of_rows(&sqlx::query(whole!("")).bind(id.to_string()).fetch_all(self.db.read()).await?)
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

/// The order's seats, inside a transaction.
///
/// # Errors
/// [`DbError`]
pub(super) async fn items_in(tx: &mut Tx, id: OrderId) -> Result<Vec<Item>, DbError> {
    let rows = sqlx::query(ITEMS).bind(id.to_string()).fetch_all(&mut **tx).await?;
    rows.iter().map(item_of_row).collect()
}

/// The order with its seats, by index; its row is locked until the transaction
/// ends. The seats may be as they were before others let go of it.
///
/// # Errors
/// [`DbError`]
pub(super) async fn lock_whole(
    db: &Db,
    tx: &mut Tx,
    id: OrderId,
) -> Result<Option<(Order, Vec<Item>)>, DbError> {
    let sql = db.pick(whole!(""), whole!(" FOR UPDATE OF o"));
    whole_of_rows(&sqlx::query(sql).bind(id.to_string()).fetch_all(&mut **tx).await?)
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

/// An epoch as stored.
pub(super) fn epoch(epoch: HoldEpoch) -> i64 {
    i64::try_from(epoch.as_u64()).unwrap_or(i64::MAX)
}

fn whole_of_rows(rows: &[AnyRow]) -> Result<Option<(Order, Vec<Item>)>, DbError> {
    let Some(first) = rows.first() else { return Ok(None) };
    Ok(Some((order_of_row(first)?, rows.iter().map(item_of_row).collect::<Result<_, _>>()?)))
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
        refunded: row.int("item_refunded")? != 0,
        fee: Money::new(row.int("fee")?),
    })
}
