//! Hands messages on, at least once, in order per subject.
//!
//! Any number of relays share the lanes: a lane is taken under a lease with an
//! epoch, so a subject's messages never go out from two places at once. A
//! message that fails waits, and what comes after it of the same subject waits
//! with it; other subjects go on. Nothing is sent inside a transaction.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::any::AnyRow;

use super::{Message, Targets, Undelivered};
use crate::booking::db::{Db, DbError, RowExt as _, Tx, millis, placeholders};
use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// Messages of one lane in one step.
const BATCH: i64 = 200;
/// How long a lane is one relay's.
const LEASE: Duration = Duration::from_secs(60);
/// No message may take longer; a target answers well within it.
const PATIENCE: Duration = Duration::from_secs(15);
/// After the first failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A message that was refused this often is set aside.
const TRIES: u32 = 10;

/// Waiting, and neither it nor anything of its subject has to wait longer.
macro_rules! due {
    ($now:literal) => {
        concat!(
            "o.relayed_at IS NULL AND o.set_aside_at IS NULL AND NOT EXISTS (
               SELECT 1 FROM outbox b WHERE b.subject = o.subject AND b.relayed_at IS NULL
                 AND b.set_aside_at IS NULL AND b.attempts > 0 AND b.retry_at > ",
            $now,
            ")"
        )
    };
}

/// Takes messages from the table to the targets.
pub struct Relay {
    db: Db,
    clock: Arc<dyn Clock>,
    targets: Targets,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("targets", &self.targets.len()).finish_non_exhaustive()
    }
}

/// A lane, ours for a while.
struct Lane {
    number: i64,
    epoch: i64,
    until: Timestamp,
}

/// One message of a batch.
struct Waiting {
    message: Message,
    attempts: u32,
}

/// What came of a batch.
#[derive(Default)]
struct Outcome {
    relayed: Vec<i64>,
    /// Id, pause, whether it is set aside.
    failed: Vec<(i64, Duration, bool)>,
}

impl Relay {
    /// A relay to these targets; without any, messages are only marked.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>, targets: Targets) -> Self {
        Self { db, clock, targets }
    }

    /// Relays what waits in one lane; how many messages got through, or `None`
    /// when nothing is due.
    ///
    /// # Errors
    /// [`DbError`]; the messages come again when the lease runs out.
    pub async fn once(&self, now: Timestamp) -> Result<Option<usize>, DbError> {
        // A look before the write: an idle office takes no write lock.
        let look = concat!("SELECT 1 FROM outbox o WHERE ", due!("$1"), " LIMIT 1");
        if sqlx::query(look).bind(millis(now)).fetch_optional(self.db.read()).await?.is_none() {
            return Ok(None);
        }
        let Some(lane) = self.claim(now).await? else { return Ok(None) };
        let batch = self.batch(&lane, now).await?;
        let outcome = self.hand_over(batch, &lane).await;
        let relayed = outcome.relayed.len();
        self.record(&lane, outcome).await?;
        Ok(Some(relayed))
    }

    /// Takes a lane with work that nobody has, the one that rested longest.
    async fn claim(&self, now: Timestamp) -> Result<Option<Lane>, DbError> {
        const FREE: &str = concat!(
            "UPDATE outbox_lanes SET lease_until = $1, lease_epoch = lease_epoch + 1
             WHERE lane = (SELECT l.lane FROM outbox_lanes l WHERE l.lease_until <= $2
                             AND EXISTS (SELECT 1 FROM outbox o WHERE o.lane = l.lane AND ",
            due!("$2"),
            ") ORDER BY l.lease_until, l.lane LIMIT 1) RETURNING lane, lease_epoch"
        );
        const FREE_AND_UNLOCKED: &str = concat!(
            "UPDATE outbox_lanes SET lease_until = $1, lease_epoch = lease_epoch + 1
             WHERE lane = (SELECT l.lane FROM outbox_lanes l WHERE l.lease_until <= $2
                             AND EXISTS (SELECT 1 FROM outbox o WHERE o.lane = l.lane AND ",
            due!("$2"),
            ") ORDER BY l.lease_until, l.lane LIMIT 1 FOR UPDATE OF l SKIP LOCKED)
             RETURNING lane, lease_epoch"
        );
        let until = now + LEASE;
        let mut tx = self.db.begin().await?;
        let query = sqlx::query(self.db.pick(FREE, FREE_AND_UNLOCKED)).bind(millis(until)).bind(millis(now));
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(Lane { number: row.int("lane")?, epoch: row.int("lease_epoch")?, until }))
    }

    async fn batch(&self, lane: &Lane, now: Timestamp) -> Result<Vec<Waiting>, DbError> {
        let sql = concat!(
            "SELECT o.id, o.kind, o.subject, o.body, o.attempts FROM outbox o WHERE o.lane = $1 AND ",
            due!("$2"),
            " ORDER BY o.id LIMIT $3"
        );
        let query = sqlx::query(sql).bind(lane.number).bind(millis(now)).bind(BATCH);
        query.fetch_all(self.db.read()).await?.iter().map(waiting).collect()
    }

    async fn hand_over(&self, batch: Vec<Waiting>, lane: &Lane) -> Outcome {
        let mut outcome = Outcome::default();
        let mut held_up = HashSet::new();
        for Waiting { message, attempts } in batch {
            if held_up.contains(&message.subject) {
                continue;
            }
            // The rest is for whoever takes the lane next.
            if self.clock.now() + PATIENCE + PATIENCE >= lane.until {
                break;
            }
            match self.deliver(&message).await {
                Ok(()) => outcome.relayed.push(message.id),
                Err(why) => {
                    let away = matches!(why, Undelivered::Away(_));
                    let aside = !away && attempts + 1 >= TRIES;
                    let Message { id, kind, subject, .. } = message;
                    if aside {
                        tracing::error!(id, kind, subject, %why, "a message was set aside");
                    } else {
                        tracing::warn!(id, kind, subject, %why, "a message did not get through");
                    }
                    outcome.failed.push((id, pause(attempts), aside));
                    held_up.insert(subject);
                    if away {
                        break;
                    }
                }
            }
        }
        outcome
    }

    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        for target in self.targets.iter().filter(|target| target.wants(&message.kind)) {
            let delivered = tokio::time::timeout(PATIENCE, target.deliver(message)).await;
            delivered.unwrap_or_else(|_| Err(Undelivered::Away(format!("no answer in {PATIENCE:?}"))))?;
        }
        Ok(())
    }

    /// Writes down what came of it and gives the lane back, unless it went to
    /// another relay meanwhile.
    async fn record(&self, lane: &Lane, outcome: Outcome) -> Result<(), DbError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let ours =
            sqlx::query("UPDATE outbox_lanes SET lease_until = $1 WHERE lane = $2 AND lease_epoch = $3")
                .bind(millis(now))
                .bind(lane.number)
                .bind(lane.epoch)
                .execute(&mut *tx)
                .await?;
        if ours.rows_affected() != 1 {
            tracing::warn!(lane = lane.number, "another relay has the lane; its messages go out again");
            return Ok(());
        }
        mark_relayed(&mut tx, &outcome.relayed, now).await?;
        for (id, pause, aside) in outcome.failed {
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, retry_at = $1, set_aside_at = $2
                 WHERE id = $3 AND relayed_at IS NULL",
            )
            .bind(millis(now + pause))
            .bind(aside.then_some(millis(now)))
            .bind(id)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }
}

async fn mark_relayed(tx: &mut Tx, ids: &[i64], now: Timestamp) -> Result<(), DbError> {
    if ids.is_empty() {
        return Ok(());
    }
    let sql = format!("UPDATE outbox SET relayed_at = $1 WHERE id IN {}", placeholders(2, ids.len()));
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(millis(now));
    for id in ids {
        query = query.bind(*id);
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

fn waiting(row: &AnyRow) -> Result<Waiting, DbError> {
    let body = row.text("body")?;
    let message = Message {
        id: row.int("id")?,
        kind: row.text("kind")?,
        subject: row.text("subject")?,
        body: serde_json::from_str(&body).unwrap_or(Value::Null),
    };
    Ok(Waiting { message, attempts: row.small("attempts")? })
}

/// How long to wait after one more failure.
fn pause(attempts: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        assert_eq!(pause(0), Duration::from_secs(1));
        assert_eq!(pause(3), Duration::from_secs(8));
        assert_eq!(pause(20), LONGEST_PAUSE);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
