//! Lets go what is past its deadline, and tidies up.
//!
//! Nothing waits for it: a hold past its time counts as gone everywhere. It
//! makes the rows say so too, and puts right what a crash or a lost answer left
//! between the hold store and the database.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Booking;
use super::db::{DbError, RowExt as _};
use super::holds::Kept;
use super::problem::Problem;
use crate::domain::order::OrderStatus;
use crate::domain::seat::Outcome;

/// Between two sweeps.
const EVERY: Duration = Duration::from_millis(500);
/// A hold stopped for longer is compared with its order; above the time any
/// request may take, so that none is between stopping the clock and its commit.
const OVERDUE: Duration = Duration::from_secs(60);
/// Sweeps between two comparisons of hold store and database, the first at once.
const HEAL_EVERY: u32 = 120;
/// Sweeps between two tidyings.
const TIDY_EVERY: u32 = 120;

impl Booking {
    /// One sweep: expired holds and orders, and payments that the hold store
    /// believes in and the database does not.
    ///
    /// # Errors
    /// [`DbError`]; what was not done is done by the next sweep.
    pub async fn reap_once(&self) -> Result<(), DbError> {
        let now = self.now();
        match self.holds.sweep(now).await {
            Ok(over) => {
                if !over.is_empty() {
                    tracing::debug!(holds = over.len(), "holds ran out");
                }
                if self.holds.take_suspicion() {
                    self.heal().await;
                }
            }
            Err(error) => tracing::warn!(%error, "hold store away"),
        }
        self.holds.undo_doubts(now).await;
        if self.some_order_expired(now).await? {
            let orders = self.expire_orders(now).await?;
            tracing::debug!(orders, "orders expired");
        }
        for kept in self.holds.paying().await {
            if kept.hold.paying_since.is_some_and(|since| since + OVERDUE <= now) {
                self.compare(&kept).await?;
            }
        }
        Ok(())
    }

    /// Brings the hold store in line with the database; how many seats were put right.
    ///
    /// # Errors
    /// `unavailable`; what was not put right is by the next time.
    pub async fn heal_once(&self) -> Result<usize, Problem> {
        let mut mended = 0;
        for event in self.holds.events().await? {
            // One that was removed in this moment is left alone.
            if let Some(layout) = self.layouts.get(&event).await? {
                mended += self.holds.heal(&layout, self.now()).await?;
            }
        }
        Ok(mended)
    }

    async fn heal(&self) {
        if let Err(problem) = self.heal_once().await {
            tracing::warn!(code = problem.code().as_str(), "the hold store is not healed yet");
            self.holds.suspect();
        }
    }

    /// Drops what nobody will ask for any more.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn tidy_once(&self) -> Result<(), DbError> {
        let now = self.now();
        self.forget_revocations(now).await?;
        self.attempts.sweep(now).await?;
        self.forget_answers(now).await?;
        self.forget_webhooks(now).await?;
        self.forget_relayed(now).await
    }

    /// A look before the write: an idle office takes no write lock.
    async fn some_order_expired(&self, now: crate::domain::time::Timestamp) -> Result<bool, DbError> {
        let row = sqlx::query("SELECT 1 FROM orders WHERE status = 'PENDING' AND expires_at <= $1 LIMIT 1")
            .bind(super::db::millis(now))
            .fetch_optional(self.db.read())
            .await?;
        Ok(row.is_some())
    }

    /// Brings a stopped hold in line with its order.
    async fn compare(&self, kept: &Kept) -> Result<(), DbError> {
        let row = sqlx::query("SELECT status FROM orders WHERE hold_id = $1")
            .bind(kept.hold.id.to_string())
            .fetch_optional(self.db.read())
            .await?;
        let status = row.map(|row| row.named("status", OrderStatus::from_name)).transpose()?;
        let outcome = match status {
            Some(OrderStatus::Paying) => return Ok(()),
            Some(status) if status.is_sold() => Outcome::Sold,
            Some(OrderStatus::Pending) | None => {
                self.holds.loosen(kept.hold.id).await;
                return Ok(());
            }
            Some(_) => Outcome::Free,
        };
        self.holds.settle(&kept.event, &kept.hold.seats, kept.hold.epoch, outcome).await;
        Ok(())
    }

    pub(super) async fn run_reaper(self: Arc<Self>, shutdown: CancellationToken) {
        let mut sweeps = 0_u32;
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            sweeps = sweeps.wrapping_add(1);
            if sweeps % HEAL_EVERY == 1 {
                self.holds.suspect();
            }
            let mut done = self.reap_once().await;
            if done.is_ok() && sweeps % TIDY_EVERY == 1 {
                done = self.tidy_once().await;
            }
            if let Err(error) = done {
                tracing::warn!(error = &error as &dyn std::error::Error, "reaper");
            }
        }
    }

    pub(super) async fn run_relay(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            match self.relay_once().await {
                Ok(Some(_)) if !shutdown.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "outbox relay"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                // A payment that was asked for has to get out first.
                () = self.relay_work.notified() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}
