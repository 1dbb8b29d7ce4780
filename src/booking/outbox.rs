//! Domain events, written in the transaction of the change they tell of.
//!
//! A relay hands them on at least once, in order of writing; who takes them
//! must not mind a repetition.

use serde_json::Value;

use super::Booking;
use super::db::{DbError, RowExt as _, Tx, millis, placeholders};
use crate::domain::time::Timestamp;

/// Messages relayed in one step.
const BATCH: i64 = 200;
/// Relayed messages are kept this long, for whoever looks into what happened.
const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);

/// Writes a message down.
///
/// # Errors
/// [`DbError`]
pub(super) async fn write(
    tx: &mut Tx,
    kind: &str,
    subject: &str,
    body: &Value,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO outbox (kind, subject, body, created_at) VALUES ($1, $2, $3, $4)")
        .bind(kind)
        .bind(subject)
        .bind(body.to_string())
        .bind(millis(now))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

impl Booking {
    /// Relays one batch; returns how many messages that was.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn relay_once(&self) -> Result<usize, DbError> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let sql = self.db.pick(
            "SELECT id, kind, subject FROM outbox WHERE relayed_at IS NULL ORDER BY id LIMIT $1",
            "SELECT id, kind, subject FROM outbox WHERE relayed_at IS NULL ORDER BY id LIMIT $1
             FOR UPDATE SKIP LOCKED",
        );
        let rows = sqlx::query(sql).bind(BATCH).fetch_all(&mut *tx).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        for row in &rows {
            tracing::debug!(kind = row.text("kind")?, subject = row.text("subject")?, "relayed");
        }
        let sql = format!("UPDATE outbox SET relayed_at = $1 WHERE id IN {}", placeholders(2, rows.len()));
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(millis(now));
        for row in &rows {
            query = query.bind(row.int("id")?);
        }
        query.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(rows.len())
    }

    /// Drops messages that were relayed long ago.
    pub(super) async fn forget_relayed(&self, now: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("DELETE FROM outbox WHERE relayed_at <= $1")
            .bind(millis(now - KEPT))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}
