//! The provider's books against ours, both ways.
//!
//! Money that the provider has and no order here accounts for is settled or goes
//! back; a payment here that the provider does not have, or has otherwise, is
//! put before people. The same look serves a webhook.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Means;
use super::stuck::Reason;
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::problem::Code;
use crate::booking::providers::toss::{PAGE, Payment, Transaction, is_key};
use crate::booking::providers::{Fault, Toss};
use crate::domain::order::{OrderId, OrderStatus};
use crate::domain::payment::{PaymentStatus, Standing};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// Between two comparisons.
const EVERY: Duration = Duration::from_secs(60);
/// How far back the first comparison goes.
const FIRST: Duration = Duration::from_secs(24 * 3_600);
/// What the provider lists late is found by looking back so far each time.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// The provider's clock may be ahead so far.
const AHEAD: Duration = Duration::from_secs(60);
/// A payment recorded here that is not listed after so long is asked for.
const LISTED_BY_THEN: Duration = Duration::from_secs(3 * 60);
/// Such payments in one comparison.
const BATCH: i64 = 200;
/// Where the last complete comparison ended, and when the next begins.
const UNTIL: &str = "toss_compared_until";
const NEXT: &str = "toss_compare_next";

/// A payment as recorded here.
struct Here {
    order: OrderId,
    status: PaymentStatus,
    amount: Money,
    /// What went back, and whether more is on its way.
    refunded: Money,
    refunds_waiting: bool,
    checked: bool,
}

impl Booking {
    /// Compares the provider's transactions since the last time with the
    /// payments here; whether it came to the end.
    ///
    /// # Errors
    /// [`DbError`]; what was not compared is so the next time.
    pub async fn reconcile_once(&self) -> Result<bool, DbError> {
        let Some(toss) = &self.toss else { return Ok(true) };
        let now = self.now();
        let from = self.fact(UNTIL).await?.unwrap_or(now - FIRST) - OVERLAP;
        let listed = match all_transactions(toss, from, now + AHEAD).await {
            Ok(listed) => listed,
            Err(why) => {
                tracing::warn!(%why, "the provider's transactions cannot be read");
                return Ok(false);
            }
        };
        let mut odd = BTreeSet::new();
        for line in listed.iter().filter(|line| is_key(&line.payment_key)) {
            if !self.agrees(line).await? {
                odd.insert(line.payment_key.as_str());
            }
        }
        let mut complete = true;
        for key in odd {
            complete &= self.look_at(toss, key).await?;
        }
        for key in self.not_listed(now).await? {
            complete &= self.look_at(toss, &key).await?;
        }
        if complete {
            self.set_fact(UNTIL, now).await?;
        }
        Ok(complete)
    }

    /// Whether a line of the list is what is recorded here anyway: a capture of
    /// a payment that is COMPLETED with this amount.
    async fn agrees(&self, line: &Transaction) -> Result<bool, DbError> {
        if line.status != "DONE" {
            return Ok(false);
        }
        let Some(here) = self.payment_here(&line.payment_key).await? else { return Ok(false) };
        let same = here.status == PaymentStatus::Completed
            && here.amount.units() == line.amount
            && here.order.to_string() == line.order_id;
        if same && !here.checked {
            self.checked(&line.payment_key).await?;
        }
        Ok(same)
    }

    /// Payments that should have been in the list by now.
    async fn not_listed(&self, now: Timestamp) -> Result<Vec<String>, DbError> {
        let rows = sqlx::query(
            "SELECT provider_key FROM payments
             WHERE method = 'toss' AND status = 'COMPLETED' AND checked_at IS NULL AND finished_at <= $1
             ORDER BY finished_at LIMIT $2",
        )
        .bind(millis(now - LISTED_BY_THEN))
        .bind(BATCH)
        .fetch_all(self.db.read())
        .await?;
        rows.iter().map(|row| row.text("provider_key")).collect()
    }

    /// Reads one payment from the provider and brings both sides together as
    /// far as a rule can; `false` when the provider did not say how it stands.
    pub(super) async fn look_at(&self, toss: &Toss, key: &str) -> Result<bool, DbError> {
        let there = match toss.by_key(key).await {
            Ok(payment) if payment.payment_key == key => Some(payment),
            Err(Fault::Unknown(_)) => None,
            _ => return Ok(false),
        };
        match (self.payment_here(key).await?, there) {
            (None, None) => {}
            (None, Some(there)) => return self.not_recorded(&there).await,
            (Some(here), there) => match here.status {
                // A worker is at it, or is now.
                PaymentStatus::Pending => self.look_now(key).await?,
                PaymentStatus::Failed => {
                    if there.is_some_and(|there| has_money(&there)) {
                        self.refund_unwanted(key, &here.order.to_string()).await?;
                    }
                }
                PaymentStatus::Completed => self.compare_payment(key, &here, there.as_ref()).await?,
            },
        }
        Ok(true)
    }

    /// COMPLETED here: the provider has all of it but what went back.
    async fn compare_payment(&self, key: &str, here: &Here, there: Option<&Payment>) -> Result<(), DbError> {
        if here.refunds_waiting {
            return Ok(());
        }
        let order = here.order.to_string();
        let expected = Standing::Captured { approved: here.amount, left: here.amount - here.refunded };
        match there {
            None => {
                let detail = format!("recorded as paid: {}; the provider knows no such payment", here.amount);
                self.stick(key, &order, Reason::MissingAtProvider, &detail).await?;
            }
            Some(there) if there.order_id == order && there.seen().standing == expected => {
                self.unstick(key).await?;
            }
            Some(there) => {
                let detail = format!("here: {expected:?}; the provider: {:?}", there.seen().standing);
                self.stick(key, &order, Reason::BooksDiffer, &detail).await?;
            }
        }
        self.checked(key).await
    }

    /// The provider has a payment that is not recorded here.
    async fn not_recorded(&self, there: &Payment) -> Result<bool, DbError> {
        let key = &there.payment_key;
        if !has_money(there) {
            // It went back by hand.
            self.unstick(key).await?;
            return Ok(true);
        }
        let order = match there.order_id.parse::<OrderId>() {
            Ok(id) => self.order(id).await?,
            Err(_) => None,
        };
        let Some(order) = order else {
            if self.settings.toss.as_ref().is_some_and(|toss| toss.refund_unknown) {
                self.refund_unwanted(key, &there.order_id).await?;
            } else if self.owes(key).await? == 0 {
                let detail =
                    format!("the provider took {} for an order that is not known here", there.left());
                self.stick(key, &there.order_id, Reason::UnknownOrder, &detail).await?;
            }
            return Ok(true);
        };
        if order.status == OrderStatus::Pending {
            // The record was lost, the hold was not: the payment goes on as if
            // it were asked for now, with all its checks.
            let asked =
                self.request_payment(order.id, order.account, Some(there.left()), Means::Card(key), None);
            match asked.await {
                Ok(_) => {
                    self.card_work.notify_one();
                    return Ok(true);
                }
                Err(problem) if [Code::Unavailable, Code::Internal].contains(&problem.code()) => {
                    return Ok(false);
                }
                Err(_) => {}
            }
        }
        self.refund_unwanted(key, &there.order_id).await?;
        Ok(true)
    }

    async fn payment_here(&self, key: &str) -> Result<Option<Here>, DbError> {
        let row = sqlx::query(
            "SELECT p.order_id, p.status, p.amount, CASE WHEN p.checked_at IS NULL THEN 0 ELSE 1 END AS checked,
                    (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM refunds
                     WHERE provider_key = $1 AND status = 'DONE') AS refunded,
                    (SELECT COUNT(*) FROM refunds WHERE provider_key = $1 AND status = 'PENDING') AS waiting
             FROM payments p WHERE p.provider_key = $1",
        )
        .bind(key)
        .fetch_optional(self.db.read())
        .await?;
        let here = |row: &sqlx::any::AnyRow| {
            Ok(Here {
                order: row.parsed("order_id")?,
                status: row.named("status", PaymentStatus::from_name)?,
                amount: Money::new(row.int("amount")?),
                refunded: Money::new(row.int("refunded")?),
                refunds_waiting: row.int("waiting")? > 0,
                checked: row.int("checked")? > 0,
            })
        };
        row.as_ref().map(here).transpose()
    }

    /// Refunds of this payment.
    async fn owes(&self, key: &str) -> Result<i64, DbError> {
        let row = sqlx::query("SELECT COUNT(*) AS refunds FROM refunds WHERE provider_key = $1")
            .bind(key)
            .fetch_one(self.db.read())
            .await?;
        row.int("refunds")
    }

    async fn checked(&self, key: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query("UPDATE payments SET checked_at = $1 WHERE provider_key = $2 AND checked_at IS NULL")
            .bind(millis(self.now()))
            .bind(key)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn fact(&self, name: &'static str) -> Result<Option<Timestamp>, DbError> {
        let row = sqlx::query("SELECT value FROM facts WHERE name = $1")
            .bind(name)
            .fetch_optional(self.db.read())
            .await?;
        row.map(|row| row.parsed("value").map(Timestamp::from_millis)).transpose()
    }

    async fn set_fact(&self, name: &'static str, at: Timestamp) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "INSERT INTO facts (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(at.as_millis().to_string())
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Takes the next comparison, unless another process has.
    async fn may_compare(&self) -> Result<bool, DbError> {
        let now = self.now();
        let mut tx = self.db.begin().await?;
        let done = sqlx::query(
            "INSERT INTO facts (name, value) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE CAST(facts.value AS BIGINT) <= $3",
        )
        .bind(NEXT)
        .bind((now + EVERY).as_millis().to_string())
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Compares until told to stop, in one process at a time.
    pub(in crate::booking) async fn run_reconciler(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY / 6)).await.is_some() {
            let compared =
                async { if self.may_compare().await? { self.reconcile_once().await } else { Ok(true) } };
            if let Err(error) = compared.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "reconciler");
            }
        }
    }
}

fn has_money(payment: &Payment) -> bool {
    matches!(payment.seen().standing, Standing::Captured { left, .. } if left > Money::ZERO)
}

async fn all_transactions(toss: &Toss, from: Timestamp, to: Timestamp) -> Result<Vec<Transaction>, Fault> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = toss.transactions(from, to, after.as_deref()).await?;
        let (full, last) = (page.len() >= PAGE, page.last().map(|line| line.transaction_key.clone()));
        all.extend(page);
        match last {
            Some(last) if full && is_key(&last) && after.as_ref() != Some(&last) => after = Some(last),
            _ => return Ok(all),
        }
    }
}
