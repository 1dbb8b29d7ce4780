//! Money on its way back through the card provider.
//!
//! The row is written with the change that owes the money; a worker asks the
//! provider until it says that the money went, always under the same
//! idempotency key and naming the refund in the reason, by which it is found
//! again in the payment when an answer was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::card::wait;
use super::stuck::Reason;
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, Tx, millis};
use crate::booking::providers::{Fault, Toss};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// How long one worker may take.
const LEASE: Duration = Duration::from_secs(60);
/// A refund that the provider refuses is tried again after this long.
const REFUSED_AGAIN: Duration = Duration::from_secs(15 * 60);
/// Looked for this often when nobody rings.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why money goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::booking) enum Owed {
    /// An order, or a part of it, was given back: so much.
    Order(Money),
    /// It was taken for nothing: all of it.
    Unwanted,
}

/// A refund that a worker has the lease of.
struct Claimed {
    id: String,
    key: String,
    order: String,
    amount: Option<Money>,
    tries: u32,
    lease_epoch: i64,
}

impl Claimed {
    /// What the provider is told, and keeps.
    fn reason(&self) -> String {
        format!("refund {}", self.id)
    }
}

/// What came of asking the provider.
enum Went {
    /// The money went, in this transaction of the provider's.
    Back(String),
    /// Not known.
    Doubt(String),
    /// It does not do it.
    Refused(String),
}

/// Writes down that money is owed; money taken for nothing is owed once.
///
/// # Errors
/// [`DbError`]
pub(in crate::booking) async fn owe(
    tx: &mut Tx,
    key: &str,
    order: &str,
    owed: Owed,
    now: Timestamp,
) -> Result<(), DbError> {
    let (kind, amount) = match owed {
        Owed::Order(amount) => ("ORDER", Some(amount.units())),
        Owed::Unwanted => ("UNWANTED", None),
    };
    sqlx::query(
        "INSERT INTO refunds (id, provider_key, order_id, kind, amount, status, created_at)
         VALUES ($1, $2, $3, $4, $5, 'PENDING', $6) ON CONFLICT DO NOTHING",
    )
    .bind(uuid::Uuid::new_v4().simple().to_string())
    .bind(key)
    .bind(order)
    .bind(kind)
    .bind(amount)
    .bind(millis(now))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Booking {
    /// Gives back money that was taken for nothing.
    pub(super) async fn refund_unwanted(&self, key: &str, order: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        owe(&mut tx, key, order, Owed::Unwanted, self.now()).await?;
        tx.commit().await?;
        tracing::warn!(order, "money was taken for nothing; it goes back");
        self.refund_work.notify_one();
        Ok(())
    }

    /// Does one waiting refund; whether there was one.
    ///
    /// # Errors
    /// [`DbError`]; the refund is claimed again when its lease runs out.
    pub async fn refund_once(&self) -> Result<bool, DbError> {
        let Some(toss) = &self.toss else { return Ok(false) };
        let Some(claimed) = self.claim_refund().await? else { return Ok(false) };
        match ask(toss, &claimed).await {
            Went::Back(transaction) => self.refunded(&claimed, &transaction).await?,
            Went::Doubt(why) => {
                tracing::info!(refund = %claimed.id, tries = claimed.tries, why, "refund in doubt");
                self.look_again(&claimed, wait(claimed.tries)).await?;
            }
            Went::Refused(code) => {
                let detail = format!("{}: {code}", claimed.reason());
                self.stick(&claimed.key, &claimed.order, Reason::RefundRefused, &detail).await?;
                self.look_again(&claimed, REFUSED_AGAIN).await?;
            }
        }
        Ok(true)
    }

    async fn claim_refund(&self) -> Result<Option<Claimed>, DbError> {
        let now = self.now();
        // A look before the write: an idle worker takes no write lock.
        let waits =
            sqlx::query("SELECT 1 FROM refunds WHERE status = 'PENDING' AND lease_until <= $1 LIMIT 1");
        if waits.bind(millis(now)).fetch_optional(self.db.read()).await?.is_none() {
            return Ok(None);
        }
        let sql = self.db.pick(
            "UPDATE refunds SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1
             WHERE id = (SELECT id FROM refunds WHERE status = 'PENDING' AND lease_until <= $2
                         ORDER BY created_at LIMIT 1)
             RETURNING id, provider_key, order_id, COALESCE(amount, 0) AS owed, tries, lease_epoch",
            "UPDATE refunds SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1
             WHERE id = (SELECT id FROM refunds WHERE status = 'PENDING' AND lease_until <= $2
                         ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id, provider_key, order_id, COALESCE(amount, 0) AS owed, tries, lease_epoch",
        );
        let mut tx = self.db.begin().await?;
        let query = sqlx::query(sql).bind(millis(now + LEASE)).bind(millis(now));
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        tx.commit().await?;
        let owed = Money::new(row.int("owed")?);
        Ok(Some(Claimed {
            id: row.text("id")?,
            key: row.text("provider_key")?,
            order: row.text("order_id")?,
            amount: (owed > Money::ZERO).then_some(owed),
            tries: row.small("tries")?,
            lease_epoch: row.int("lease_epoch")?,
        }))
    }

    async fn refunded(&self, claimed: &Claimed, transaction: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE refunds SET status = 'DONE', transaction_key = $1, finished_at = $2
             WHERE id = $3 AND lease_epoch = $4 AND status = 'PENDING'",
        )
        .bind(transaction)
        .bind(millis(self.now()))
        .bind(claimed.id.as_str())
        .bind(claimed.lease_epoch)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.unstick(&claimed.key).await
    }

    async fn look_again(&self, claimed: &Claimed, after: Duration) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE refunds SET lease_until = $1 WHERE id = $2 AND lease_epoch = $3 AND status = 'PENDING'",
        )
        .bind(millis(self.now() + after))
        .bind(claimed.id.as_str())
        .bind(claimed.lease_epoch)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Does refunds until told to stop.
    pub(in crate::booking) async fn run_refunds(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let rung = self.refund_work.notified();
            match self.refund_once().await {
                Ok(true) if !shutdown.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "refund worker"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = rung => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

/// Looks first whether an earlier try did it.
async fn ask(toss: &Toss, claimed: &Claimed) -> Went {
    if claimed.tries > 1
        && let Some(went) = look(toss, claimed).await
    {
        return went;
    }
    let reason = claimed.reason();
    match toss.cancel(&claimed.key, claimed.amount, &reason, &claimed.id).await {
        Ok(payment) => match payment.cancelled_for(&reason) {
            Some(transaction) => Went::Back(transaction),
            None => Went::Doubt("the cancel is not in the payment".to_owned()),
        },
        Err(Fault::Refused(code) | Fault::Unknown(code)) => {
            look(toss, claimed).await.unwrap_or(Went::Refused(code))
        }
        Err(Fault::Doubt(why)) => Went::Doubt(why),
    }
}

/// What the payment says of this refund; `None` when it is not in it.
async fn look(toss: &Toss, claimed: &Claimed) -> Option<Went> {
    match toss.by_key(&claimed.key).await {
        Ok(payment) => match payment.cancelled_for(&claimed.reason()) {
            Some(transaction) => Some(Went::Back(transaction)),
            // Nothing is left: somebody gave all of it back by hand.
            None if payment.is_all_back() => Some(Went::Back("by hand".to_owned())),
            None => None,
        },
        Err(Fault::Unknown(_)) => None,
        Err(fault) => Some(Went::Doubt(fault.to_string())),
    }
}
