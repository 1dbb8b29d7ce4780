//! Domain events, written in the transaction of the change they tell of.
//!
//! Owns the table and who gets its messages. [`Relay`] hands each of them on at
//! least once, in order per subject; [`super::live`] reads the same rows for
//! itself. Whoever takes a message must not mind a repetition.

mod relay;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Booking;
use super::db::{DbError, Tx, millis, tuples};
use crate::domain::time::Timestamp;

pub use relay::Relay;

/// Relayed messages are kept this long, for whoever looks into what happened.
pub(super) const KEPT: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3_600);
/// Subjects are spread over this many lanes; as many relays can work at once.
const LANES: u32 = 8;

/// One message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Grows with every message; of one order, and of one seat, in the order of
    /// the changes.
    pub id: i64,
    /// What happened, such as `payment.completed`.
    pub kind: String,
    /// To what: an order, an event.
    pub subject: String,
    /// The rest.
    pub body: Value,
}

/// Why a message did not get through.
#[derive(Debug, thiserror::Error)]
pub enum Undelivered {
    /// The target does not answer; every message waits for it, however long.
    #[error("the target is away: {0}")]
    Away(String),
    /// The target will not have this one; after some tries it is set aside.
    #[error("the target refused: {0}")]
    Refused(String),
}

impl From<DbError> for Undelivered {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Away(_) => Self::Away(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Who is told.
#[async_trait]
pub trait Target: Send + Sync {
    /// Whether messages of this kind are for it.
    fn wants(&self, kind: &str) -> bool;

    /// Takes a message, which may come again.
    ///
    /// # Errors
    /// [`Undelivered`]
    async fn deliver(&self, message: &Message) -> Result<(), Undelivered>;
}

/// The targets of an office.
pub type Targets = Vec<Arc<dyn Target>>;

/// Writes messages down: kind and subject of each, and what they have to say.
///
/// After the change they tell of, in its transaction: the row locks then make
/// the ids of one order, and of one seat, grow in the order of their commits.
///
/// # Errors
/// [`DbError`]
pub(super) async fn write(
    tx: &mut Tx,
    messages: &[(&str, &str)],
    body: &Value,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO outbox (kind, subject, lane, body, created_at) VALUES {}",
        tuples(messages.len(), 5)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    let body = body.to_string();
    for (kind, subject) in messages {
        query = query.bind(*kind).bind(*subject).bind(lane(subject)).bind(body.as_str()).bind(millis(now));
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

/// The subject's lane; the same in every process and version (FNV-1a).
fn lane(subject: &str) -> i64 {
    let hash = subject
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i64::from(hash % LANES)
}

impl Booking {
    /// Relays what waits in one lane; how many messages got through, or `None`
    /// when nothing is due.
    ///
    /// # Errors
    /// [`DbError`]; the messages come again when the lease runs out.
    pub async fn relay_once(&self) -> Result<Option<usize>, DbError> {
        self.relay.once(self.now()).await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_keeps_its_lane() {
        assert_eq!(lane("winter-night-live"), lane("winter-night-live"));
        let used: std::collections::HashSet<_> = (0..200).map(|n| lane(&format!("order{n}"))).collect();
        assert_eq!(used.len(), LANES as usize);
        assert!(used.into_iter().all(|lane| (0..i64::from(LANES)).contains(&lane)));
    }
}
