//! Paying by card: the provider is asked outside any transaction, and what it
//! says decides.
//!
//! A call that may have taken money and did not say so is in doubt: the payment
//! is read again, by order and by key, until the provider says how it stands.
//! Nothing is ever concluded from silence, so a seat being paid for stays so.

use std::time::Duration;

use super::settle::Claimed;
use super::stuck::Reason;
use crate::booking::Booking;
use crate::booking::db::{DbError, millis};
use crate::booking::orders::Order;
use crate::booking::providers::toss::Payment;
use crate::booking::providers::{Fault, Toss};
use crate::domain::payment::{Ruling, Standing, rule};

/// The longest time between two looks at a payment in doubt.
const LOOK_AGAIN_MOST: Duration = Duration::from_secs(60);
/// In doubt for longer than this, people are told.
const STUCK_AFTER: Duration = Duration::from_secs(10 * 60);

/// What is known after asking.
enum Learned {
    /// How the payment stands.
    Seen(Box<Payment>),
    /// Nothing was taken, for this reason.
    Declined(String),
    /// Not known.
    Doubt(String),
}

impl From<Payment> for Learned {
    fn from(payment: Payment) -> Self {
        Self::Seen(Box::new(payment))
    }
}

impl Booking {
    /// Asks the provider for the money, or what became of it, and records what
    /// is known.
    pub(super) async fn pay_by_card(&self, claimed: &Claimed) -> Result<(), DbError> {
        let Some(order) = self.order(claimed.order).await? else { return Ok(()) };
        let Some(toss) = &self.toss else {
            return self.look_later(claimed, "no card payment provider in the settings").await;
        };
        match ask(toss, claimed).await {
            Learned::Declined(code) => self.give_up(claimed, &order, &code.to_ascii_lowercase()).await,
            Learned::Doubt(why) => self.look_later(claimed, &why).await,
            Learned::Seen(payment) => self.follow(toss, claimed, &order, &payment).await,
        }
    }

    async fn follow(
        &self,
        toss: &Toss,
        claimed: &Claimed,
        order: &Order,
        payment: &Payment,
    ) -> Result<(), DbError> {
        let seen = payment.seen();
        match rule(claimed.amount, &order.currency, &seen) {
            Ruling::AskAgain => self.look_later(claimed, "not taken yet").await,
            Ruling::NotPaid => {
                let reason = payment.failure().unwrap_or_else(|| why_not(claimed, &seen.standing).to_owned());
                self.give_up(claimed, order, &reason).await
            }
            Ruling::Undo => self.undo(toss, claimed, order, why_not(claimed, &seen.standing)).await,
            Ruling::Paid => match self.settle_paid(claimed, claimed.amount).await {
                // The last word on a seat says that it is another's.
                Err(DbError::Duplicate(_)) => self.undo(toss, claimed, order, "seats_taken").await,
                other => other,
            },
        }
    }

    /// Gives the money back at the provider, and only then frees the seats.
    async fn undo(&self, toss: &Toss, claimed: &Claimed, order: &Order, why: &str) -> Result<(), DbError> {
        let reason = format!("undo {}", claimed.id);
        let done = toss.cancel(&claimed.key, None, &reason, &format!("{}-undo", claimed.id)).await;
        match done {
            Ok(payment) if rule(claimed.amount, &order.currency, &payment.seen()) == Ruling::NotPaid => {
                self.give_up(claimed, order, why).await
            }
            Ok(_) => self.look_later(claimed, "the cancel did not take").await,
            Err(Fault::Refused(code)) => {
                let detail = format!("{why}; the provider does not cancel: {code}");
                self.stick(&claimed.key, &claimed.order.to_string(), Reason::CannotUndo, &detail).await?;
                self.look_later(claimed, &detail).await
            }
            Err(fault) => self.look_later(claimed, &fault.to_string()).await,
        }
    }

    /// Lets the lease go until the next look; tells people when it takes long.
    async fn look_later(&self, claimed: &Claimed, why: &str) -> Result<(), DbError> {
        let now = self.now();
        tracing::info!(payment = %claimed.id, tries = claimed.tries, why, "payment in doubt");
        if now.since(claimed.created_at) > STUCK_AFTER {
            self.stick(&claimed.key, &claimed.order.to_string(), Reason::InDoubt, why).await?;
        }
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE payments SET lease_until = $1, resting = 1 WHERE id = $2 AND lease_epoch = $3 AND status = 'PENDING'",
        )
        .bind(millis(now + wait(claimed.tries)))
        .bind(claimed.id.to_string())
        .bind(claimed.lease_epoch)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Lets a payment that only waits for its next look be looked at now.
    pub(super) async fn look_now(&self, key: &str) -> Result<(), DbError> {
        let mut tx = self.db.begin().await?;
        sqlx::query(
            "UPDATE payments SET lease_until = $1 WHERE provider_key = $2 AND resting = 1 AND status = 'PENDING'",
        )
        .bind(millis(self.now()))
        .bind(key)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.card_work.notify_one();
        Ok(())
    }
}

/// Between two looks: one second, doubled each time.
pub(super) fn wait(tries: u32) -> Duration {
    let doubled = Duration::from_secs(1) * 2_u32.pow(tries.saturating_sub(1).min(6));
    doubled.min(LOOK_AGAIN_MOST)
}

fn why_not(claimed: &Claimed, standing: &Standing) -> &'static str {
    match standing {
        Standing::Captured { approved, .. } if *approved != claimed.amount => "amount_mismatch",
        Standing::Captured { left, .. } if *left != claimed.amount => "cancelled_at_provider",
        Standing::Captured { .. } => "currency_mismatch",
        Standing::Awaiting => "deposits_are_not_taken",
        Standing::Open | Standing::Over => "expired_at_provider",
    }
}

/// Confirms, unless an earlier try may have done so: then reads first.
async fn ask(toss: &Toss, claimed: &Claimed) -> Learned {
    if claimed.tries > 1 {
        match read(toss, claimed).await {
            Ok(payment) if payment.seen().standing == Standing::Open => {}
            Ok(payment) => return payment.into(),
            Err(Fault::Unknown(_)) => {}
            Err(Fault::Refused(code)) => return Learned::Declined(code),
            Err(Fault::Doubt(why)) => return Learned::Doubt(why),
        }
    }
    let (order, id) = (claimed.order.to_string(), claimed.id.to_string());
    let fault = match toss.confirm(&claimed.key, &order, claimed.amount, &id).await {
        Ok(payment) if is_of(&payment, claimed) => return payment.into(),
        Ok(_) => Fault::Doubt("an answer about another payment".to_owned()),
        // Nothing was tried before, so nothing was taken.
        Err(Fault::Refused(code)) if claimed.tries <= 1 => return Learned::Declined(code),
        Err(fault) => fault,
    };
    match (read(toss, claimed).await, fault) {
        (Ok(payment), Fault::Refused(code)) if payment.seen().standing == Standing::Open => {
            Learned::Declined(code)
        }
        (Ok(payment), _) => payment.into(),
        (Err(Fault::Unknown(_)), Fault::Refused(code) | Fault::Unknown(code)) => Learned::Declined(code),
        (Err(Fault::Refused(code)), _) => Learned::Declined(code),
        (Err(_), fault) => Learned::Doubt(fault.to_string()),
    }
}

/// The payment as the provider has it, by order, else by key.
///
/// [`Fault::Refused`] when the key is that of another order's payment: it will
/// never pay for this one.
async fn read(toss: &Toss, claimed: &Claimed) -> Result<Payment, Fault> {
    match toss.by_order(&claimed.order.to_string()).await {
        Ok(payment) if is_of(&payment, claimed) => return Ok(payment),
        Ok(_) | Err(Fault::Unknown(_)) => {}
        Err(fault) => return Err(fault),
    }
    let payment = toss.by_key(&claimed.key).await?;
    if is_of(&payment, claimed) { Ok(payment) } else { Err(Fault::Refused("NOT_THIS_ORDER".to_owned())) }
}

fn is_of(payment: &Payment, claimed: &Claimed) -> bool {
    payment.payment_key == claimed.key && payment.order_id == claimed.order.to_string()
}
