//! The payment worker: claims a payment under a lease and sees it through.
//!
//! Any number of workers in any number of processes share the table. A lease
//! that ran out is claimed again with a higher epoch, and the late first worker
//! then changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::settle::Claimed;
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::domain::payment::PaymentId;
use crate::domain::wallet::Money;

/// How long one worker may take; far above what a payment needs.
const LEASE: Duration = Duration::from_secs(30);
/// Looked for this often when nobody rings: leases that ran out, other processes' requests.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Booking {
    /// Does one waiting payment; whether there was one.
    ///
    /// # Errors
    /// [`DbError`]; the payment is claimed again when its lease runs out.
    pub async fn pay_once(&self) -> Result<bool, DbError> {
        self.pay_one(None).await
    }

    /// Does this payment, or the one that waits longest, unless it is done or
    /// another worker has it; whether it was ours.
    pub(in crate::booking) async fn pay_one(&self, only: Option<PaymentId>) -> Result<bool, DbError> {
        let Some(claimed) = self.claim_payment(only).await? else { return Ok(false) };
        self.pay_from_wallet(&claimed).await?;
        Ok(true)
    }

    /// Takes the lease of this payment, or of the one that waits longest.
    pub(super) async fn claim_payment(&self, only: Option<PaymentId>) -> Result<Option<Claimed>, DbError> {
        let now = self.now();
        let oldest = self.db.pick(
            "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1
             WHERE id = (SELECT id FROM payments WHERE status = 'PENDING' AND lease_until <= $2
                         ORDER BY created_at LIMIT 1)
             RETURNING id, order_id, amount, lease_epoch",
            "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1
             WHERE id = (SELECT id FROM payments WHERE status = 'PENDING' AND lease_until <= $2
                         ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id, order_id, amount, lease_epoch",
        );
        let this = "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1
                    WHERE id = $3 AND status = 'PENDING' AND lease_until <= $2
                    RETURNING id, order_id, amount, lease_epoch";
        let mut tx = self.db.begin().await?;
        let mut query = sqlx::query(if only.is_some() { this } else { oldest });
        query = query.bind(millis(now + LEASE)).bind(millis(now));
        if let Some(id) = only {
            query = query.bind(id.to_string());
        }
        let Some(row) = query.fetch_optional(&mut *tx).await? else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(Claimed {
            id: row.parsed("id")?,
            order: row.parsed("order_id")?,
            amount: Money::new(row.int("amount")?),
            lease_epoch: row.int("lease_epoch")?,
        }))
    }

    /// Does payments until told to stop.
    pub(in crate::booking) async fn run_payments(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            let rung = self.payment_work.notified();
            match self.pay_once().await {
                Ok(true) if !shutdown.is_cancelled() => {
                    // One ring may have brought several requests: wake a colleague.
                    self.payment_work.notify_one();
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
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}
