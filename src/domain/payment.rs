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

#[cfg(test)]
mod tests {
    use super::*;

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
