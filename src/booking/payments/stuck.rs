//! What no rule can settle: kept where people see it, ended when it settles
//! itself or an operator closes it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::booking::Booking;
use crate::booking::accounts::Role;
use crate::booking::accounts::auth::{Admin, Caller};
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::paging::Page;
use crate::booking::problem::{Body, Code, Path, Problem, Query};

/// Why something is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The provider has not said for long whether it took the money.
    InDoubt,
    /// It took other money than the order's and does not give it back.
    CannotUndo,
    /// It refuses a refund.
    RefundRefused,
    /// It took money for an order that is not known here.
    UnknownOrder,
    /// It does not know a payment that is recorded here.
    MissingAtProvider,
    /// Its books and ours differ.
    BooksDiffer,
}

impl Reason {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InDoubt => "in_doubt",
            Self::CannotUndo => "cannot_undo",
            Self::RefundRefused => "refund_refused",
            Self::UnknownOrder => "unknown_order",
            Self::MissingAtProvider => "missing_at_provider",
            Self::BooksDiffer => "books_differ",
        }
    }
}

/// A payment that a person must look at.
#[derive(Debug, Serialize, ToSchema)]
pub struct StuckView {
    id: String,
    /// `in_doubt`, `cannot_undo`, `refund_refused`, `unknown_order`, `missing_at_provider` or `books_differ`.
    #[schema(example = "in_doubt")]
    reason: String,
    /// The provider's name for the payment.
    payment_key: String,
    order_id: String,
    /// What was seen, in English.
    detail: String,
    /// In ms since the Unix epoch.
    since_at: u64,
}

/// Payments that a person must look at, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct StuckList {
    items: Vec<StuckView>,
    /// For `cursor`; null at the end.
    next: Option<String>,
}

/// What became of it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Closing {
    /// For whoever asks later.
    note: String,
}

/// Payments that a person must look at, newest first.
#[utoipa::path(get, path = "/api/payments/stuck", tag = "payments", params(Page), security(("bearer" = [])),
    responses((status = 200, body = StuckList), (status = 403, description = "forbidden")))]
pub async fn stuck(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Query(page): Query<Page>,
) -> Result<axum::Json<StuckList>, Problem> {
    let (before, before_id) = page.after()?;
    let rows = sqlx::query(
        "SELECT id, reason, provider_key, order_id, detail, since_at FROM stuck
         WHERE ended_at IS NULL AND (since_at < $1 OR (since_at = $1 AND id < $2))
         ORDER BY since_at DESC, id DESC LIMIT $3",
    )
    .bind(before)
    .bind(before_id)
    .bind(i64::from(page.limit()) + 1)
    .fetch_all(booking.db.read())
    .await?;
    let view = |row: &sqlx::any::AnyRow| {
        Ok(StuckView {
            id: row.text("id")?,
            reason: row.text("reason")?,
            payment_key: row.text("provider_key")?,
            order_id: row.text("order_id")?,
            detail: row.text("detail")?,
            since_at: row.count("since_at")?,
        })
    };
    let mut items = rows.iter().map(view).collect::<Result<Vec<_>, DbError>>()?;
    let more = items.len() > page.limit() as usize;
    items.truncate(page.limit() as usize);
    let next = items.last().filter(|_| more).map(|last| format!("{}.{}", last.since_at, last.id));
    Ok(axum::Json(StuckList { items, next }))
}

/// Ends one that a person has settled outside.
#[utoipa::path(post, path = "/api/payments/stuck/{id}/close", tag = "payments", request_body = Closing,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 403, description = "forbidden"), (status = 404, description = "not_found")))]
pub async fn close(
    State(booking): State<Arc<Booking>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(closing): Body<Closing>,
) -> Result<StatusCode, Problem> {
    if caller.role != Role::Admin {
        return Err(Code::Forbidden.into());
    }
    let mut tx = booking.db.begin().await?;
    let done = sqlx::query("UPDATE stuck SET ended_at = $1, note = $2 WHERE id = $3 AND ended_at IS NULL")
        .bind(millis(booking.now()))
        .bind(format!("{}: {}", caller.account, closing.note))
        .bind(id)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    if done.rows_affected() == 1 { Ok(StatusCode::NO_CONTENT) } else { Err(Code::NotFound.into()) }
}

impl Booking {
    /// Puts a payment before people, once for each reason; not again for one
    /// that a person has closed.
    pub(super) async fn stick(
        &self,
        key: &str,
        order: &str,
        reason: Reason,
        detail: &str,
    ) -> Result<(), DbError> {
        let known = sqlx::query(
            "SELECT 1 FROM stuck WHERE provider_key = $1 AND reason = $2
             AND (ended_at IS NULL OR note <> 'settled') LIMIT 1",
        );
        let known = known.bind(key).bind(reason.as_str()).fetch_optional(self.db.read()).await?;
        if known.is_some() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "INSERT INTO stuck (id, provider_key, order_id, reason, detail, since_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(uuid::Uuid::new_v4().simple().to_string())
        .bind(key)
        .bind(order)
        .bind(reason.as_str())
        .bind(detail)
        .bind(millis(self.now()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if done.rows_affected() == 1 {
            tracing::error!(order, reason = reason.as_str(), detail, "a payment is stuck");
        }
        Ok(())
    }

    /// Takes a payment from before people's eyes: it is settled.
    pub(super) async fn unstick(&self, key: &str) -> Result<(), DbError> {
        let row = sqlx::query("SELECT 1 FROM stuck WHERE provider_key = $1 AND ended_at IS NULL LIMIT 1")
            .bind(key)
            .fetch_optional(self.db.read())
            .await?;
        if row.is_none() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE stuck SET ended_at = $1, note = 'settled' WHERE provider_key = $2 AND ended_at IS NULL",
        )
        .bind(millis(self.now()))
        .bind(key)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
