//! How a payment stands, for whoever pays.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use crate::booking::accounts::auth::Caller;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::problem::{Code, Path, Problem};
use crate::booking::tickets::TicketView;
use crate::booking::{Booking, COMMAND};
use crate::domain::order::{AccountId, OrderId};
use crate::domain::payment::{PaymentId, PaymentStatus};

/// Who asks how a payment stands waits for its end no longer than this.
const PATIENCE: Duration = Duration::from_millis(100);

/// How a payment stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentView {
    request_id: String,
    order_id: String,
    /// `PENDING`, `COMPLETED` or `FAILED`.
    #[schema(example = "COMPLETED")]
    status: &'static str,
    /// Why it failed, such as `insufficient_funds`.
    reason: Option<String>,
    /// What was bought, once it is paid: the pass may end with this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    tickets: Option<Vec<TicketView>>,
}

/// How a payment of the caller stands; while it is under way, the answer may wait for its end a tenth of a second.
#[utoipa::path(get, path = "/api/payments/{request_id}/status", tag = "payments",
    params(("request_id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = PaymentView), (status = 404, description = "not_found")))]
pub async fn status(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: PaymentId = id.parse().map_err(|_| Code::NotFound)?;
    let watch = booking.ends.watch(id);
    // Before the look: an end after it is heard.
    let ended = watch.bell.notified();
    let mut row = booking.payment_of(id, caller.account).await?.ok_or(Code::NotFound)?;
    let mut status = row.named("status", PaymentStatus::from_name)?;
    if status == PaymentStatus::Pending && tokio::time::timeout(PATIENCE, ended).await.is_ok() {
        row = booking.payment_of(id, caller.account).await?.ok_or(Code::NotFound)?;
        status = row.named("status", PaymentStatus::from_name)?;
    }
    let order: OrderId = row.parsed("order_id")?;
    let completed = status == PaymentStatus::Completed;
    let is_told = row.maybe_int("told_at")?.is_some();
    let view = PaymentView {
        request_id: id.to_string(),
        order_id: order.to_string(),
        status: status.as_str(),
        reason: row.maybe_text("reason")?,
        tickets: if completed { Some(booking.tickets_of_order(order).await?) } else { None },
    };
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    if completed && !is_told && booking.tell_once(id).await? {
        headers.insert(COMMAND, HeaderValue::from_static("complete"));
    }
    Ok((headers, axum::Json(view)).into_response())
}

impl Booking {
    /// A payment of the account.
    async fn payment_of(&self, id: PaymentId, account: AccountId) -> Result<Option<AnyRow>, DbError> {
        let row = sqlx::query(
            "SELECT order_id, status, reason, told_at FROM payments WHERE id = $1 AND account_id = $2",
        )
        .bind(id.to_string())
        .bind(account.to_string())
        .fetch_optional(self.db.read())
        .await?;
        Ok(row)
    }

    /// Whether this is the first time the payer sees that it is done, and has
    /// nothing else to buy.
    async fn tell_once(&self, id: PaymentId) -> Result<bool, DbError> {
        let told = sqlx::query("UPDATE payments SET told_at = $1 WHERE id = $2 AND told_at IS NULL")
            .bind(millis(self.now()))
            .bind(id.to_string())
            .execute(self.db.write())
            .await?;
        Ok(told.rows_affected() == 1)
    }
}
