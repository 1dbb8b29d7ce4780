//! Payments: asked for over HTTP, done by a worker, looked at until done.
//!
//! Owns the way of an order from PENDING to PAID or CANCELLED. The request
//! stops the hold's clock, turns the hold into rows that no deadline frees, and
//! is answered at once; a worker does the rest under a lease.

mod card;
mod confirm;
mod ends;
mod methods;
mod reconcile;
mod refund;
mod settle;
mod standing;
mod stuck;
mod webhook;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::accounts::auth::Caller;
use super::db::{DbError, RowExt as _, Tx, millis, placeholders};
use super::holds::HoldStoreError;
use super::orders::{Item, Order, epoch};
use super::pass::ThroughGate;
use super::problem::{Body, Code, Problem};
use super::providers::Method;
use super::{Booking, idempotency, outbox};
use crate::domain::order::{AccountId, OrderId, OrderStatus};
use crate::domain::payment::{self, Facts, PaymentId, PaymentStatus, Refusal, Verdict};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

pub use confirm::{__path_confirm, Confirm, confirm};
pub(super) use ends::Ends;
pub use methods::{__path_methods, MethodList, MethodView, methods};
pub(super) use refund::{Owed, owe};
pub use standing::{__path_status, PaymentView, status};
pub use stuck::{__path_close, __path_stuck, Closing, StuckList, StuckView, close, stuck};
pub use webhook::{__path_hear, hear};
pub(super) use worker::Asked;

/// What a worker has of a payment without money is looked for this often, this far apart.
const FREE_LOOKS: u32 = 200;
const FREE_LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How an order is paid; by card it is confirmed instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Inside {
    /// From the caller's wallet.
    Points,
}

/// What an order is to be paid with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Means<'a> {
    /// From the caller's wallet.
    Points,
    /// By card: the provider's name for the payment that the buyer agreed to.
    Card(&'a str),
}

/// Which order to pay, and how.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewPayment {
    order_id: String,
    method: Inside,
}

/// A payment under way.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// For `GET /api/payments/{request_id}/status`.
    request_id: String,
    order_id: String,
    #[schema(example = "PENDING")]
    status: &'static str,
}

/// Pays for an order from the caller's wallet.
#[utoipa::path(post, path = "/api/payments", tag = "payments", request_body = NewPayment,
    security(("bearer" = [])),
    responses((status = 202, body = Accepted), (status = 403, description = "not_owner or pass_required"),
              (status = 404, description = "not_found"),
              (status = 409, description = "already_paid, hold_expired or order_cancelled")))]
pub async fn create(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    headers: HeaderMap,
    Body(new): Body<NewPayment>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    let order_id: OrderId = new.order_id.parse().map_err(|_| Code::NotFound)?;
    let Inside::Points = new.method;
    let key = idempotency::key(&headers)?;
    let id = booking.request_payment(order_id, caller.account, None, Means::Points, key).await?;
    booking.ring_for(id);
    let body = Accepted {
        request_id: id.to_string(),
        order_id: order_id.to_string(),
        status: PaymentStatus::Pending.as_str(),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(body)))
}

fn refusal(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotOwner => Code::NotOwner,
        Refusal::AmountMismatch => Code::AmountMismatch,
        Refusal::AlreadyPaid => Code::AlreadyPaid,
        Refusal::HoldExpired => Code::HoldExpired,
        Refusal::Cancelled => Code::OrderCancelled,
    }
    .into()
}

impl Booking {
    /// Pays for an order that costs nothing, and waits until it is done.
    pub(super) async fn take_free(&self, order: OrderId, owner: AccountId) -> Result<(), Problem> {
        let id = self.request_payment(order, owner, None, Means::Points, None).await?;
        if self.pay_with_points(Some(id)).await? {
            return Ok(());
        }
        // A worker was faster: its transaction is under way.
        for _ in 0..FREE_LOOKS {
            match self.order(order).await? {
                Some(order) if order.status == OrderStatus::Paying => {}
                _ => break,
            }
            tokio::time::sleep(FREE_LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Begins a payment, or finds the one that is under way; with the key it was
    /// asked for with also one that is done, whose answer may have been lost.
    async fn request_payment(
        &self,
        order: OrderId,
        caller: AccountId,
        amount: Option<Money>,
        means: Means<'_>,
        key: Option<&str>,
    ) -> Result<PaymentId, Problem> {
        let asked = self.ask_for_payment(order, caller, amount, means, key).await;
        let over = [Code::AlreadyPaid, Code::HoldExpired, Code::OrderCancelled];
        match (asked, key) {
            (Err(problem), Some(key)) if over.contains(&problem.code()) => {
                self.payment_asked_with(order, caller, key).await?.ok_or(problem)
            }
            (asked, _) => asked,
        }
    }

    /// The payment that this very request has begun before.
    async fn payment_asked_with(
        &self,
        order: OrderId,
        caller: AccountId,
        key: &str,
    ) -> Result<Option<PaymentId>, DbError> {
        let row = sqlx::query(
            "SELECT id FROM payments WHERE order_id = $1 AND account_id = $2 AND request_key = $3
             ORDER BY created_at DESC LIMIT 1",
        )
        .bind(order.to_string())
        .bind(caller.to_string())
        .bind(key.to_owned())
        .fetch_optional(self.db.read())
        .await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    async fn ask_for_payment(
        &self,
        order: OrderId,
        caller: AccountId,
        amount: Option<Money>,
        means: Means<'_>,
        key: Option<&str>,
    ) -> Result<PaymentId, Problem> {
        let (order, items) = self.whole_order(order).await?.ok_or(Code::NotFound)?;
        let facts = Facts {
            owner: order.account,
            status: order.status,
            amount: order.amount,
            expires_at: order.expires_at,
        };
        let verdict = payment::check(&facts, caller, amount, self.now()).map_err(refusal)?;
        if verdict == Verdict::UnderWay {
            return self.payment_under_way(order.id).await;
        }
        // The clock stops before the rows change: between the two, nothing may
        // give the seats to somebody else.
        match self.holds.fasten(order.hold, caller, self.now()).await {
            Ok(_) => {}
            Err(HoldStoreError::Refused(_)) => return self.hold_is_gone(&order).await,
            Err(other) => return Err(other.into()),
        }
        let begun = self.begin_payment(&order, &items, means, key, self.now()).await;
        match begun {
            Ok(Some(id)) => Ok(id),
            Ok(None) => self.lost_race(&order).await,
            // Whether it took effect is not known: the hold stays stopped until
            // the reaper has compared it with the order.
            Err(error @ DbError::Away(_)) => Err(error.into()),
            // The provider's key was given for another order.
            Err(DbError::Duplicate(_)) => {
                self.holds.loosen(order.hold).await;
                Err(Code::KeyReused.into())
            }
            Err(error) => {
                self.holds.loosen(order.hold).await;
                Err(error.into())
            }
        }
    }

    /// The hold ended, or a request of the same caller was faster and is done.
    async fn hold_is_gone(&self, order: &Order) -> Result<PaymentId, Problem> {
        match self.order(order.id).await?.map(|order| order.status) {
            Some(OrderStatus::Paying) => self.payment_under_way(order.id).await,
            Some(OrderStatus::Paid) => Err(Code::AlreadyPaid.into()),
            _ => Err(Code::HoldExpired.into()),
        }
    }

    /// Another request moved the order first, or a seat is not free after all.
    async fn lost_race(&self, order: &Order) -> Result<PaymentId, Problem> {
        match self.order(order.id).await?.map(|order| order.status) {
            Some(OrderStatus::Paying) => self.payment_under_way(order.id).await,
            Some(OrderStatus::Paid) => Err(Code::AlreadyPaid.into()),
            _ => {
                self.holds.loosen(order.hold).await;
                self.holds.correct(order, self.now()).await?;
                Err(Code::HoldExpired.into())
            }
        }
    }

    async fn payment_under_way(&self, order: OrderId) -> Result<PaymentId, Problem> {
        let row = sqlx::query("SELECT id, status FROM payments WHERE order_id = $1 AND status <> 'FAILED'")
            .bind(order.to_string())
            .fetch_optional(self.db.read())
            .await?;
        // It failed in this moment: the order is over.
        let row = row.ok_or(Code::OrderCancelled)?;
        match row.named("status", PaymentStatus::from_name)? {
            PaymentStatus::Completed => Err(Code::AlreadyPaid.into()),
            _ => Ok(row.parsed("id")?),
        }
    }

    /// Order, seats, payment and outbox in one transaction; `None` when the
    /// order or a seat is not as it should be, and nothing was changed.
    async fn begin_payment(
        &self,
        order: &Order,
        items: &[Item],
        means: Means<'_>,
        request_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<PaymentId>, DbError> {
        let id = PaymentId::from_bits(uuid::Uuid::new_v4().as_u128());
        let mut tx = self.db.begin().await?;
        if !claim_order(&mut tx, order, now).await? || !claim_seats(&mut tx, order, items).await? {
            return Ok(None);
        }
        let (method, key) = match means {
            Means::Points => (Method::Points, None),
            Means::Card(key) => (Method::Toss, Some(key.to_owned())),
        };
        sqlx::query(
            "INSERT INTO payments
               (id, order_id, account_id, method, amount, status, created_at, provider_key, request_key)
             VALUES ($1, $2, $3, $4, $5, 'PENDING', $6, $7, $8)",
        )
        .bind(id.to_string())
        .bind(order.id.to_string())
        .bind(order.account.to_string())
        .bind(method.as_str())
        .bind(order.amount.units())
        .bind(millis(now))
        .bind(key)
        .bind(request_key.map(str::to_owned))
        .execute(&mut *tx)
        .await?;
        let body = json!({"request_id": id.to_string(), "amount": order.amount.units()});
        outbox::write(&mut tx, &[("payment.requested", &order.id.to_string())], &body, now).await?;
        tx.commit().await?;
        Ok(Some(id))
    }

    /// Wakes who does it: a worker of ours, or with Kafka first the relay.
    fn ring_for(&self, payment: PaymentId) {
        match self.kafka {
            Some(_) => self.relay_work.notify_one(),
            None => self.asked.ring(payment),
        }
    }
}

/// PENDING → PAYING, unless it ended or began meanwhile.
async fn claim_order(tx: &mut Tx, order: &Order, now: Timestamp) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE orders SET status = 'PAYING', updated_at = $1
         WHERE id = $2 AND account_id = $3 AND epoch = $4 AND status = 'PENDING'",
    )
    .bind(millis(now))
    .bind(order.id.to_string())
    .bind(order.account.to_string())
    .bind(epoch(order.epoch))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// FREE → PAYING for every seat of the order, or no.
async fn claim_seats(tx: &mut Tx, order: &Order, items: &[Item]) -> Result<bool, DbError> {
    let sql = format!(
        "UPDATE seats SET status = 'PAYING', order_id = $1, epoch = $2
         WHERE event_id = $3 AND status = 'FREE' AND epoch < $2 AND idx IN {}",
        placeholders(4, items.len())
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(order.id.to_string())
        .bind(epoch(order.epoch))
        .bind(order.event.as_str());
    for item in items {
        query = query.bind(i64::from(item.seat.0));
    }
    let done = query.execute(&mut **tx).await?;
    Ok(done.rows_affected() == items.len() as u64)
}
