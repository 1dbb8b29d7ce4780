//! The payment worker: claims a payment under a lease and sees it through.
//!
//! Any number of workers in any number of processes share the table. A lease
//! that ran out is claimed again with a higher epoch, and the late first worker
//! then changes nothing.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyRow;
use tokio_util::sync::CancellationToken;

use super::settle::{Claimed, Taken};
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::providers::Method;
use crate::domain::payment::PaymentId;
use crate::domain::wallet::Money;

/// How long one worker may take for points; far above what a payment needs.
const LEASE: Duration = Duration::from_secs(30);
/// And for a card: above all the calls that one look may make, at their limits.
const CARD_LEASE: Duration = Duration::from_secs(90);
/// Looked for this often when nobody rings: leases that ran out, other processes' requests.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// And by those who only help where there is much to do.
const HELPERS_LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Booking {
    /// Does one waiting payment; whether there was one.
    ///
    /// # Errors
    /// [`DbError`]; the payment is claimed again when its lease runs out.
    pub async fn pay_once(&self) -> Result<bool, DbError> {
        Ok(self.pay_one(Method::Points, None).await? || self.pay_one(Method::Toss, None).await?)
    }

    /// Does this payment, unless it is done or another worker has it; whether it was ours.
    #[cfg(feature = "kafka")]
    pub(in crate::booking) async fn pay_this(&self, id: PaymentId) -> Result<bool, DbError> {
        Ok(self.pay_one(Method::Points, Some(id)).await? || self.pay_one(Method::Toss, Some(id)).await?)
    }

    async fn pay_one(&self, method: Method, only: Option<PaymentId>) -> Result<bool, DbError> {
        if method == Method::Toss && only.is_none() && !self.some_card_waits().await? {
            return Ok(false);
        }
        let Some(claimed) = self.claim_payment(method, only).await? else { return Ok(false) };
        match claimed.method {
            Method::Points => self.settle_paid(&claimed, Taken::FromWallet).await?,
            Method::Toss => {
                // The provider may take its time: a colleague looks for others.
                self.card_work.notify_one();
                self.pay_by_card(&claimed).await?;
            }
        }
        Ok(true)
    }

    /// A look before the write: idle workers take no write lock.
    async fn some_card_waits(&self) -> Result<bool, DbError> {
        let row = sqlx::query(
            "SELECT 1 FROM payments WHERE status = 'PENDING' AND method = 'toss' AND lease_until <= $1 LIMIT 1",
        )
        .bind(millis(self.now()))
        .fetch_optional(self.db.read())
        .await?;
        Ok(row.is_some())
    }

    /// Takes the lease of this payment, or of the one that waits longest.
    pub(super) async fn claim_payment(
        &self,
        method: Method,
        only: Option<PaymentId>,
    ) -> Result<Option<Claimed>, DbError> {
        let now = self.now();
        let oldest = self.db.pick(
            "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1, resting = 0
             WHERE id = (SELECT id FROM payments
                         WHERE status = 'PENDING' AND method = $3 AND lease_until <= $2
                         ORDER BY created_at LIMIT 1)
             RETURNING *",
            "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1, resting = 0
             WHERE id = (SELECT id FROM payments
                         WHERE status = 'PENDING' AND method = $3 AND lease_until <= $2
                         ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING *",
        );
        let this = "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1, resting = 0
                    WHERE status = 'PENDING' AND method = $3 AND lease_until <= $2 AND id = $4
                    RETURNING *";
        let lease = if method == Method::Toss { CARD_LEASE } else { LEASE };
        let mut tx = self.db.begin().await?;
        let mut query = sqlx::query(if only.is_some() { this } else { oldest });
        query = query.bind(millis(now + lease)).bind(millis(now)).bind(method.as_str());
        if let Some(id) = only {
            query = query.bind(id.to_string());
        }
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        tx.commit().await?;
        claimed_of_row(&row).map(Some)
    }

    /// Does payments until told to stop; a helper mostly waits to be rung for.
    pub(in crate::booking) async fn run_payments(
        self: Arc<Self>,
        method: Method,
        helper: bool,
        shutdown: CancellationToken,
    ) {
        let look_again = if helper { HELPERS_LOOK_AGAIN } else { LOOK_AGAIN };
        let bell = match method {
            Method::Points => &self.payment_work,
            Method::Toss => &self.card_work,
        };
        loop {
            let rung = bell.notified();
            match self.pay_one(method, None).await {
                Ok(true) if !shutdown.is_cancelled() => {
                    // One ring may have brought several requests: wake a colleague.
                    bell.notify_one();
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "payment worker");
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = rung => {}
                () = tokio::time::sleep(look_again) => {}
            }
        }
    }
}

fn claimed_of_row(row: &AnyRow) -> Result<Claimed, DbError> {
    Ok(Claimed {
        id: row.parsed("id")?,
        order: row.parsed("order_id")?,
        amount: Money::new(row.int("amount")?),
        method: row.named("method", Method::from_name)?,
        key: row.maybe_text("provider_key")?.unwrap_or_default(),
        tries: row.small("tries")?,
        created_at: row.instant("created_at")?,
        lease_epoch: row.int("lease_epoch")?,
    })
}
