//! The payment worker: claims a payment under a lease and sees it through.
//!
//! Any number of workers in any number of processes share the table. A lease
//! that ran out is claimed again with a higher epoch, and the late first worker
//! then changes nothing.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyRow;
use tokio::sync::{Mutex, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::settle::{Claimed, Done, Taken};
use crate::booking::Booking;
use crate::booking::db::{Db, DbError, RowExt as _, Tx, millis};
use crate::booking::providers::Method;
use crate::domain::payment::PaymentId;
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// How long one worker may take for points; far above what a payment needs.
const LEASE: Duration = Duration::from_secs(30);
/// And for a card: above all the calls that one look may make, at their limits.
const CARD_LEASE: Duration = Duration::from_secs(90);
/// Looked for this often when nobody rings: leases that ran out, other processes' requests.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// And by those who only help where there is much to do.
const HELPERS_LOOK_AGAIN: Duration = Duration::from_secs(5);
/// More requests than these wait in the table only, until somebody looks.
const ASKED_MOST: usize = 4_096;

/// Payments asked for in this process, for its workers to do at once.
#[derive(Debug)]
pub(in crate::booking) struct Asked {
    ring: mpsc::Sender<PaymentId>,
    heard: Mutex<mpsc::Receiver<PaymentId>>,
}

impl Default for Asked {
    fn default() -> Self {
        let (ring, heard) = mpsc::channel(ASKED_MOST);
        Self { ring, heard: Mutex::new(heard) }
    }
}

impl Asked {
    /// Tells a worker of it. When there is too much to do it is found in the table.
    pub(in crate::booking) fn ring(&self, id: PaymentId) {
        // Full, or nobody listens: the row is what counts.
        let _ = self.ring.try_send(id);
    }

    async fn next(&self) -> Option<PaymentId> {
        self.heard.lock().await.recv().await
    }
}

impl Booking {
    /// Does one waiting payment; whether there was one.
    ///
    /// # Errors
    /// [`DbError`]; the payment is claimed again when its lease runs out.
    pub async fn pay_once(&self) -> Result<bool, DbError> {
        Ok(self.pay_with_points(None).await? || self.pay_with_card(None).await?)
    }

    /// Does this payment, unless it is done or another worker has it; whether it was ours.
    #[cfg(feature = "kafka")]
    pub(in crate::booking) async fn pay_this(&self, id: PaymentId) -> Result<bool, DbError> {
        Ok(self.pay_with_points(Some(id)).await? || self.pay_with_card(Some(id)).await?)
    }

    /// Claim, debit and all the rest in one transaction: nobody is asked who may
    /// take his time, so the claim is never seen without its end.
    pub(super) async fn pay_with_points(&self, only: Option<PaymentId>) -> Result<bool, DbError> {
        let mut tx = self.db.begin().await?;
        let claimed = claim(&self.db, &mut tx, Method::Points, only, self.now()).await?;
        let Some(claimed) = claimed else { return Ok(false) };
        let done = self.settle(tx, &claimed, Taken::FromWallet).await;
        if let Ok(Done::Paid) = done {
            return Ok(true);
        }
        // The claim is undone too. Taken again, with a lease: what cannot be
        // settled now rests, and nobody has to wait behind it.
        let Some(claimed) = self.claim_payment(Method::Points, Some(claimed.id)).await? else {
            return done.map(|_| true);
        };
        match done? {
            Done::Insufficient => {
                let order = self.order(claimed.order).await?;
                let order = order.ok_or_else(|| DbError::Corrupt(format!("no order {}", claimed.order)))?;
                self.give_up(&claimed, &order, "insufficient_funds").await?;
            }
            Done::Paid | Done::NotOurs => {
                tracing::warn!(payment = %claimed.id, "it cannot be settled");
            }
        }
        Ok(true)
    }

    async fn pay_with_card(&self, only: Option<PaymentId>) -> Result<bool, DbError> {
        if only.is_none() && !self.some_payment_waits(Method::Toss).await? {
            return Ok(false);
        }
        let Some(claimed) = self.claim_payment(Method::Toss, only).await? else { return Ok(false) };
        // The provider may take its time: a colleague looks for others.
        self.card_work.notify_one();
        self.pay_by_card(&claimed).await?;
        Ok(true)
    }

    /// A look before the write: idle workers take no write lock.
    async fn some_payment_waits(&self, method: Method) -> Result<bool, DbError> {
        let row = sqlx::query(
            "SELECT 1 FROM payments WHERE status = 'PENDING' AND method = $1 AND lease_until <= $2 LIMIT 1",
        )
        .bind(method.as_str())
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
        let mut tx = self.db.begin().await?;
        let claimed = claim(&self.db, &mut tx, method, only, self.now()).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Does payments with points as they are asked for, until told to stop; a
    /// helper hardly looks for others.
    pub(in crate::booking) async fn run_points(self: Arc<Self>, helper: bool, shutdown: CancellationToken) {
        let look_again = if helper { HELPERS_LOOK_AGAIN } else { LOOK_AGAIN };
        let mut look = tokio::time::interval(look_again);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            let done = tokio::select! {
                () = shutdown.cancelled() => return,
                id = self.asked.next() => self.pay_with_points(id).await.map(|_| ()),
                _ = look.tick() => self.pay_those_left(&shutdown).await,
            };
            if let Err(error) = done {
                tracing::warn!(error = &error as &dyn std::error::Error, "payment worker");
            }
        }
    }

    /// Does what nobody has rung for: leases that ran out, other processes' requests.
    async fn pay_those_left(&self, shutdown: &CancellationToken) -> Result<(), DbError> {
        while !shutdown.is_cancelled() && self.some_payment_waits(Method::Points).await? {
            if !self.pay_with_points(None).await? {
                break;
            }
        }
        Ok(())
    }

    /// Does card payments until told to stop; a helper mostly waits to be rung for.
    pub(in crate::booking) async fn run_cards(self: Arc<Self>, helper: bool, shutdown: CancellationToken) {
        let look_again = if helper { HELPERS_LOOK_AGAIN } else { LOOK_AGAIN };
        loop {
            let rung = self.card_work.notified();
            match self.pay_with_card(None).await {
                Ok(true) if !shutdown.is_cancelled() => {
                    // One ring may have brought several requests: wake a colleague.
                    self.card_work.notify_one();
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

/// Takes the lease of this payment, or of the one that waits longest.
async fn claim(
    db: &Db,
    tx: &mut Tx,
    method: Method,
    only: Option<PaymentId>,
    now: Timestamp,
) -> Result<Option<Claimed>, DbError> {
    let oldest = db.pick(
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
    let this =
        "UPDATE payments SET lease_until = $1, lease_epoch = lease_epoch + 1, tries = tries + 1, resting = 0
                WHERE status = 'PENDING' AND method = $3 AND lease_until <= $2 AND id = $4
                RETURNING *";
    let lease = if method == Method::Toss { CARD_LEASE } else { LEASE };
    let mut query = sqlx::query(if only.is_some() { this } else { oldest });
    query = query.bind(millis(now + lease)).bind(millis(now)).bind(method.as_str());
    if let Some(id) = only {
        query = query.bind(id.to_string());
    }
    query.fetch_optional(&mut **tx).await?.as_ref().map(claimed_of_row).transpose()
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
