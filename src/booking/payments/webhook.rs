//! Webhooks of the card provider: a hint to look, and nothing more.
//!
//! They are not signed, come up to seven times and in any order. One is written
//! down under its transmission's id, answered at once, and the payment is read
//! again from the provider; what is in the webhook changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::problem::{Code, Problem};
use crate::booking::providers::toss::is_key;
use crate::domain::time::Timestamp;

const TRANSMISSION: &str = "tosspayments-webhook-transmission-id";
const STATUS_CHANGED: &str = "PAYMENT_STATUS_CHANGED";
/// More than these waiting to be looked into: come again later.
const WAITING_MOST: i64 = 10_000;
/// Looked into in one step.
const BATCH: i64 = 50;
/// Kept this long after they were looked into, to know a repetition.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3_600);
/// Looked for this often when nobody rings.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The part of a webhook that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    /// Missing in webhooks about deposits, which are not taken here.
    event_type: Option<String>,
    /// Of a shape that goes by the event.
    data: Option<Value>,
    /// Of those only.
    transaction_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    payment_key: String,
    order_id: String,
}

/// Takes a webhook of the card provider. Nothing in it is believed: the payment is read again.
#[utoipa::path(post, path = "/api/payments/webhooks/toss", tag = "payments",
    request_body(content = String, content_type = "application/json"),
    responses((status = 200, description = "heard, or of no interest"),
              (status = 400, description = "malformed")))]
pub async fn hear(
    State(booking): State<Arc<Booking>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let malformed = |why: &str| Problem::new(Code::Malformed).because(why.to_owned());
    let hook: Hook = serde_json::from_slice(&body).map_err(|why| malformed(&why.to_string()))?;
    match (hook.event_type.as_deref(), &hook.transaction_key) {
        (Some(STATUS_CHANGED), _) => {}
        (None, None) => return Err(malformed("eventType: missing")),
        _ => return Ok(StatusCode::OK),
    }
    let data = hook.data.ok_or_else(|| malformed("data: missing"))?;
    let Told { payment_key: key, order_id: order } =
        serde_json::from_value(data).map_err(|why| malformed(&format!("data: {why}")))?;
    // A key that no payment can have is nobody's.
    if booking.toss.is_some() && is_key(&key) && booking.concerns_us(&key, &order).await? {
        booking.note_webhook(&transmission(&headers, &body), &key).await?;
        booking.hook_work.notify_one();
    }
    Ok(StatusCode::OK)
}

/// The transmission's id, or what stands for it.
fn transmission(headers: &HeaderMap, body: &[u8]) -> String {
    let plain = |id: &&str| (1..=100).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let sent = headers.get(TRANSMISSION).and_then(|value| value.to_str().ok()).filter(plain);
    sent.map_or_else(
        || Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect(),
        str::to_owned,
    )
}

impl Booking {
    /// Whether payment or order is known here; a stranger's webhook costs one look-up.
    async fn concerns_us(&self, key: &str, order: &str) -> Result<bool, DbError> {
        let row = sqlx::query(
            "SELECT id FROM payments WHERE provider_key = $1 UNION ALL SELECT id FROM orders WHERE id = $2 LIMIT 1",
        )
        .bind(key)
        .bind(order)
        .fetch_optional(self.db.read())
        .await?;
        Ok(row.is_some())
    }

    async fn note_webhook(&self, id: &str, key: &str) -> Result<(), Problem> {
        let row = sqlx::query("SELECT COUNT(*) AS waiting FROM webhooks WHERE done_at IS NULL")
            .fetch_one(self.db.read())
            .await?;
        if row.int("waiting")? >= WAITING_MOST {
            return Err(Problem::new(Code::Unavailable).retry_after(10));
        }
        let mut tx = self.db.begin().await?;
        // Twice the same transmission, or another one for a payment that waits
        // to be looked into anyway: nothing to add.
        sqlx::query(
            "INSERT INTO webhooks (id, provider_key, received_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(key)
        .bind(millis(self.now()))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Looks into what webhooks hinted at; how many payments that was.
    ///
    /// # Errors
    /// [`DbError`]; what was not looked into is so the next time.
    pub async fn hear_once(&self) -> Result<usize, DbError> {
        let Some(toss) = &self.toss else { return Ok(0) };
        let rows = sqlx::query(
            "SELECT id, provider_key FROM webhooks WHERE done_at IS NULL ORDER BY received_at LIMIT $1",
        )
        .bind(BATCH)
        .fetch_all(self.db.read())
        .await?;
        let mut heard = 0;
        for row in &rows {
            if !self.look_at(toss, &row.text("provider_key")?).await? {
                break;
            }
            let mut tx = self.db.begin().await?;
            sqlx::query("UPDATE webhooks SET done_at = $1 WHERE id = $2 AND done_at IS NULL")
                .bind(millis(self.now()))
                .bind(row.text("id")?)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            heard += 1;
        }
        Ok(heard)
    }

    /// Drops webhooks that are too old to come again.
    pub(in crate::booking) async fn forget_webhooks(&self, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM webhooks WHERE received_at <= $1 AND done_at IS NOT NULL")
            .bind(millis(now - KEPT))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Looks into webhooks until told to stop.
    pub(in crate::booking) async fn run_webhooks(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let rung = self.hook_work.notified();
            if let Err(error) = self.hear_once().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "webhooks");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = rung => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}
