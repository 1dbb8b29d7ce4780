//! One attempt to pay for an order: its states, and the checks before a capture.

use super::order::{AccountId, OrderStatus, hex_id};
use super::time::Timestamp;
use super::wallet::Money;

hex_id!(
    /// A payment's id, which callers know as the request id.
    PaymentId
);

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentStatus {
    /// Accepted; a worker will do it.
    Pending,
    /// The money was taken and the seats are sold.
    Completed,
    /// The money was not taken; the seats are free.
    Failed,
}

impl PaymentStatus {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Completed, Self::Failed].into_iter().find(|status| status.as_str() == name)
    }
}

/// Why a payment does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The order is somebody else's.
    #[error("the order is not the caller's")]
    NotOwner,
    /// The amount is not the order's.
    #[error("the amount is not the order's")]
    AmountMismatch,
    /// It is paid.
    #[error("the order is paid")]
    AlreadyPaid,
    /// Its hold is over.
    #[error("the order's hold is over")]
    HoldExpired,
    /// It was given up.
    #[error("the order is cancelled")]
    Cancelled,
}

/// What is known of an order when somebody wants to pay for it.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whose order it is.
    pub owner: AccountId,
    /// Where it stands.
    pub status: OrderStatus,
    /// What it costs.
    pub amount: Money,
    /// When its hold ends.
    pub expires_at: Timestamp,
}

/// What to do with a request to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Begin.
    Begin,
    /// A payment is under way already: point to it.
    UnderWay,
}

/// The checks before a capture: the order is the caller's, the amount is the
/// order's, and it is neither paid nor over.
///
/// `amount` is `None` when the caller named none; the server's own is taken.
///
/// # Errors
/// [`Refusal`], ownership first, so that a stranger learns nothing else.
pub fn check(
    facts: &Facts,
    caller: AccountId,
    amount: Option<Money>,
    now: Timestamp,
) -> Result<Verdict, Refusal> {
    if facts.owner != caller {
        return Err(Refusal::NotOwner);
    }
    if amount.is_some_and(|amount| amount != facts.amount) {
        return Err(Refusal::AmountMismatch);
    }
    match facts.status {
        OrderStatus::Pending if facts.expires_at <= now => Err(Refusal::HoldExpired),
        OrderStatus::Pending => Ok(Verdict::Begin),
        OrderStatus::Paying => Ok(Verdict::UnderWay),
        OrderStatus::Paid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded => {
            Err(Refusal::AlreadyPaid)
        }
        OrderStatus::Expired => Err(Refusal::HoldExpired),
        OrderStatus::Cancelled => Err(Refusal::Cancelled),
    }
}

/// Where a payment stands at a card provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was taken, and it may still be.
    Open,
    /// Money was taken: so much, of which so much was not given back.
    Captured {
        /// What the provider approved.
        approved: Money,
        /// What of it is still with us.
        left: Money,
    },
    /// Nothing was taken, and it cannot be any more.
    Over,
    /// Money may come at any time, without our asking.
    Awaiting,
}

/// What a provider says of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands.
    pub standing: Standing,
    /// Of its amounts.
    pub currency: String,
}

/// What follows from what a provider says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The order is paid.
    Paid,
    /// No money is with us, and none will be.
    NotPaid,
    /// Other money than the order's is with us, or may come: give it back first.
    Undo,
    /// Not known yet.
    AskAgain,
}

/// The check after a capture: what the provider approved is the order's amount,
/// in its currency, and all of it is still there.
#[must_use]
pub fn rule(amount: Money, currency: &str, seen: &Seen) -> Ruling {
    match seen.standing {
        Standing::Open => Ruling::AskAgain,
        Standing::Over => Ruling::NotPaid,
        Standing::Awaiting => Ruling::Undo,
        Standing::Captured { left, .. } if left <= Money::ZERO => Ruling::NotPaid,
        Standing::Captured { approved, left } => {
            let ours = approved == amount && left == amount && seen.currency == currency;
            if ours { Ruling::Paid } else { Ruling::Undo }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_amount_in_its_currency_pays_an_order() {
        let captured = |approved, left, currency: &str| Seen {
            standing: Standing::Captured { approved: Money::new(approved), left: Money::new(left) },
            currency: currency.to_owned(),
        };
        let rule = |seen| rule(Money::new(100), "KRW", &seen);
        assert_eq!(rule(captured(100, 100, "KRW")), Ruling::Paid);
        for wrong in [captured(99, 99, "KRW"), captured(101, 101, "KRW"), captured(100, 100, "USD")] {
            assert_eq!(rule(wrong), Ruling::Undo);
        }
        assert_eq!(rule(captured(100, 40, "KRW")), Ruling::Undo);
        assert_eq!(rule(captured(100, 0, "KRW")), Ruling::NotPaid);
    }

    #[test]
    fn what_may_still_be_taken_is_never_called_not_paid() {
        let seen = |standing| Seen { standing, currency: "KRW".to_owned() };
        assert_eq!(rule(Money::new(1), "KRW", &seen(Standing::Open)), Ruling::AskAgain);
        assert_eq!(rule(Money::new(1), "KRW", &seen(Standing::Awaiting)), Ruling::Undo);
        assert_eq!(rule(Money::new(1), "KRW", &seen(Standing::Over)), Ruling::NotPaid);
    }

    const ME: AccountId = AccountId::from_bits(1);

    fn facts(status: OrderStatus) -> Facts {
        Facts { owner: ME, status, amount: Money::new(100), expires_at: Timestamp::from_millis(50) }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_stranger_learns_nothing_but_that_it_is_not_theirs() {
        let stranger = AccountId::from_bits(2);
        for status in OrderStatus::ALL {
            let verdict = check(&facts(status), stranger, Some(Money::new(1)), at(99));
            assert_eq!(verdict, Err(Refusal::NotOwner));
        }
    }

    #[test]
    fn the_amount_must_be_the_orders() {
        let order = facts(OrderStatus::Pending);
        assert_eq!(check(&order, ME, Some(Money::new(1)), at(0)), Err(Refusal::AmountMismatch));
        assert_eq!(check(&order, ME, Some(Money::new(100)), at(0)), Ok(Verdict::Begin));
        assert_eq!(check(&order, ME, None, at(0)), Ok(Verdict::Begin));
    }

    #[test]
    fn a_deadline_counts_to_its_millisecond_and_not_once_paying() {
        let pending = facts(OrderStatus::Pending);
        assert_eq!(check(&pending, ME, None, at(49)), Ok(Verdict::Begin));
        assert_eq!(check(&pending, ME, None, at(50)), Err(Refusal::HoldExpired));
        assert_eq!(check(&facts(OrderStatus::Paying), ME, None, at(99)), Ok(Verdict::UnderWay));
    }

    #[test]
    fn what_was_paid_once_is_not_paid_again() {
        for status in [OrderStatus::Paid, OrderStatus::Refunded, OrderStatus::PartiallyRefunded] {
            assert_eq!(check(&facts(status), ME, None, at(0)), Err(Refusal::AlreadyPaid));
        }
    }
}
