//! Mail: one per order and kind, when it is paid, cancelled or given back.
//!
//! A message of the outbox becomes a row, once; a mailer claims the row under a
//! lease, sends, and writes down that it was sent. When the server says nothing
//! after the text went out, nobody can know whether it took it: the mail goes
//! out again under the same `Message-ID`, because a mail twice is better than a
//! ticket never heard of (RFC 5321, 4.5.4.1; RFC 1047). Never decides anything.

mod letter;
mod post;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use sqlx::any::AnyRow;
use tokio_util::sync::CancellationToken;

use super::Booking;
use super::db::{Db, DbError, RowExt as _, millis};
use super::outbox::{Message, Target, Undelivered};
use crate::clock::Clock;
use crate::domain::order::OrderId;
use crate::domain::time::Timestamp;
use letter::{Kind, Letter};
use post::{Post, Unsent};

pub use post::BadServer;

/// How long a mail is one mailer's; above [`PATIENCE`].
const LEASE: Duration = Duration::from_secs(120);
/// No sending may take longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// After the first failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);
/// A mail that did not get out for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(3 * 24 * 3_600);
/// Looked for this often.
const EVERY: Duration = Duration::from_millis(500);
/// Mails of one process under way at once.
const AT_ONCE: usize = 4;

/// Turns messages into mails that wait.
pub(super) struct Intake {
    db: Db,
    clock: Arc<dyn Clock>,
    /// Kinds of messages that come another way.
    except: &'static [&'static str],
}

impl Intake {
    pub(super) fn new(db: Db, clock: Arc<dyn Clock>, except: &'static [&'static str]) -> Self {
        Self { db, clock, except }
    }

    /// Notes a mail, unless it is there.
    pub(super) async fn note(&self, message: &Message) -> Result<(), DbError> {
        let Some(kind) = Kind::of_message(&message.kind) else { return Ok(()) };
        // Each refund of a part is told of; anything else happens to an order once.
        let part = if kind == Kind::Refunded { message.id } else { 0 };
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO mails (order_id, kind, part, body, status, retry_at, created_at)
             SELECT o.id, $1, $2, $3, 'WAITING', 0, $4 FROM orders o WHERE o.id = $5
             ON CONFLICT (order_id, kind, part) DO NOTHING",
        )
        .bind(kind.as_str())
        .bind(part)
        .bind(message.body.to_string())
        .bind(millis(self.clock.now()))
        .bind(message.subject.as_str())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}

#[async_trait]
impl Target for Intake {
    fn wants(&self, kind: &str) -> bool {
        Kind::of_message(kind).is_some() && !self.except.contains(&kind)
    }

    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        Ok(self.note(message).await?)
    }
}

/// A mail that a mailer has the lease of.
struct Claimed {
    order: OrderId,
    kind: Kind,
    part: i64,
    body: String,
    attempts: i64,
    created_at: Timestamp,
}

/// What a message's body says of money and seats.
#[derive(Default, Deserialize)]
struct Body {
    seats: Option<Vec<String>>,
    amount: Option<i64>,
}

/// Sends what waits.
#[derive(Debug)]
pub(super) struct Mailer {
    db: Db,
    post: Post,
}

impl Mailer {
    pub(super) fn open(db: Db, settings: &crate::config::Mail) -> Result<Self, BadServer> {
        Ok(Self { db, post: Post::open(settings)? })
    }

    async fn once(&self, now: Timestamp) -> Result<bool, DbError> {
        // A look before the write: an idle office takes no write lock.
        let look = "SELECT 1 FROM mails WHERE status = 'WAITING' AND retry_at <= $1 LIMIT 1";
        if sqlx::query(look).bind(millis(now)).fetch_optional(self.db.read()).await?.is_none() {
            return Ok(false);
        }
        let Some(mail) = self.claim(now).await? else { return Ok(false) };
        // Its order went with its event.
        let Some(letter) = self.letter(&mail).await? else { return Ok(true) };
        let sent = tokio::time::timeout(PATIENCE, self.post.send(&letter, now)).await;
        match sent.unwrap_or_else(|_| Err(Unsent::Later("no answer in time".into()))) {
            Ok(()) => self.record(&mail, "SENT", None, now, now).await?,
            Err(Unsent::Later(why)) if mail.created_at + GIVE_UP > now => {
                tracing::warn!(order = %mail.order, kind = mail.kind.as_str(), why, "a mail did not get out");
                self.record(&mail, "WAITING", Some(&why), now + pause(mail.attempts), now).await?;
            }
            Err(Unsent::Later(why) | Unsent::Refused(why)) => {
                tracing::error!(order = %mail.order, kind = mail.kind.as_str(), why, "a mail was given up");
                self.record(&mail, "REFUSED", Some(&why), now, now).await?;
            }
        }
        Ok(true)
    }

    /// Takes the lease of the mail that is due longest.
    async fn claim(&self, now: Timestamp) -> Result<Option<Claimed>, DbError> {
        let sql = self.db.pick(
            "UPDATE mails SET attempts = attempts + 1, retry_at = $1
             WHERE (order_id, kind, part) = (SELECT order_id, kind, part FROM mails
               WHERE status = 'WAITING' AND retry_at <= $2 ORDER BY retry_at, created_at LIMIT 1)
             RETURNING order_id, kind, part, body, attempts, created_at",
            "UPDATE mails SET attempts = attempts + 1, retry_at = $1
             WHERE (order_id, kind, part) = (SELECT order_id, kind, part FROM mails
               WHERE status = 'WAITING' AND retry_at <= $2 ORDER BY retry_at, created_at LIMIT 1
               FOR UPDATE SKIP LOCKED)
             RETURNING order_id, kind, part, body, attempts, created_at",
        );
        let mut tx = self.db.begin().await?;
        let query = sqlx::query(sql).bind(millis(now + LEASE)).bind(millis(now));
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        tx.commit().await?;
        claimed(&row).map(Some)
    }

    async fn letter(&self, mail: &Claimed) -> Result<Option<Letter>, DbError> {
        let row = sqlx::query(
            "SELECT a.email, a.name, a.language, e.title, e.venue, e.starts_at, o.amount, o.currency
             FROM orders o JOIN accounts a ON a.id = o.account_id JOIN events e ON e.id = o.event_id
             WHERE o.id = $1",
        )
        .bind(mail.order.to_string())
        .fetch_optional(self.db.read())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let body: Body = serde_json::from_str(&mail.body).unwrap_or_default();
        let seats = match body.seats {
            Some(seats) => seats,
            None => self.seats(mail.order).await?,
        };
        Ok(Some(Letter {
            kind: mail.kind,
            order: mail.order,
            part: mail.part,
            to: (row.text("name")?, row.text("email")?),
            language: row.text("language")?,
            title: row.text("title")?,
            venue: row.text("venue")?,
            starts_at: row.instant("starts_at")?,
            seats,
            amount: body.amount.map_or_else(|| row.int("amount"), Ok)?,
            currency: row.text("currency")?,
        }))
    }

    async fn seats(&self, order: OrderId) -> Result<Vec<String>, DbError> {
        let sql = "SELECT seat_id FROM order_items WHERE order_id = $1 ORDER BY seat_idx";
        let rows = sqlx::query(sql).bind(order.to_string()).fetch_all(self.db.read()).await?;
        rows.iter().map(|row| row.text("seat_id")).collect()
    }

    /// Writes down what came of it, unless the lease went to another mailer.
    async fn record(
        &self,
        mail: &Claimed,
        status: &str,
        reason: Option<&str>,
        retry_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "UPDATE mails SET status = $1, reason = $2, retry_at = $3, sent_at = $4
             WHERE order_id = $5 AND kind = $6 AND part = $7 AND status = 'WAITING' AND attempts = $8",
        )
        .bind(status)
        .bind(reason.map(str::to_owned))
        .bind(millis(retry_at))
        .bind((status == "SENT").then_some(millis(now)))
        .bind(mail.order.to_string())
        .bind(mail.kind.as_str())
        .bind(mail.part)
        .bind(mail.attempts)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if done.rows_affected() != 1 {
            tracing::warn!(order = %mail.order, "another mailer had the mail");
        }
        Ok(())
    }
}

fn claimed(row: &AnyRow) -> Result<Claimed, DbError> {
    Ok(Claimed {
        order: row.parsed("order_id")?,
        kind: row.named("kind", Kind::from_name)?,
        part: row.int("part")?,
        body: row.text("body")?,
        attempts: row.int("attempts")?,
        created_at: row.instant("created_at")?,
    })
}

/// How long to wait after the so-manieth failure.
fn pause(attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0);
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

impl Booking {
    /// Sends one waiting mail, or tries to; whether there was one.
    ///
    /// # Errors
    /// [`DbError`]; the mail is claimed again when its lease runs out.
    pub async fn mail_once(&self) -> Result<bool, DbError> {
        match &self.mailer {
            Some(mailer) => mailer.once(self.now()).await,
            None => Ok(false),
        }
    }

    /// Mails that are neither sent nor given up.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn mails_waiting(&self) -> Result<u64, DbError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM mails WHERE status = 'WAITING'")
            .fetch_one(self.db.read())
            .await?;
        row.count("n")
    }

    /// How many mailers are worth running here.
    pub(super) fn mailers(&self) -> usize {
        if self.mailer.is_some() { self.db.writers().min(AT_ONCE) } else { 0 }
    }

    pub(super) async fn run_mailer(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            match self.mail_once().await {
                Ok(true) if !shutdown.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "mailer"),
            }
            if shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour() {
        assert_eq!(pause(1), FIRST_PAUSE);
        assert_eq!(pause(4), FIRST_PAUSE * 8);
        assert_eq!(pause(100), LONGEST_PAUSE);
    }
}
