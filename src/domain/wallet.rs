//! Play money: amounts, and a wallet that is the sum of its ledger.

use std::fmt;
use std::ops::{Add, Sub};

/// Money in the currency's smallest unit; signed, since a ledger goes both ways.
///
/// Every amount that enters from outside passes [`Money::charge`] or a price
/// check, so sums stay far below 2⁵³.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// The largest price, charge and balance: a thousand billion of the smallest unit.
pub const LARGEST: Money = Money(1_000_000_000_000);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many of the smallest unit.
    #[must_use]
    pub const fn new(units: i64) -> Self {
        Self(units)
    }

    /// The number of smallest units.
    #[must_use]
    pub const fn units(self) -> i64 {
        self.0
    }

    /// A price: zero to [`LARGEST`].
    #[must_use]
    pub fn price(units: i64) -> Option<Self> {
        (0..=LARGEST.0).contains(&units).then_some(Self(units))
    }

    /// An amount to put into a wallet: above zero, to [`LARGEST`].
    #[must_use]
    pub fn charge(units: i64) -> Option<Self> {
        (1..=LARGEST.0).contains(&units).then_some(Self(units))
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why an entry of a ledger was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The owner put money in.
    Charge,
    /// An order was paid.
    Payment,
    /// Money of an order came back.
    Refund,
}

impl Entry {
    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "CHARGE",
            Self::Payment => "PAYMENT",
            Self::Refund => "REFUND",
        }
    }

    /// What an entry of `amount` adds to the balance.
    #[must_use]
    pub fn signed(self, amount: Money) -> Money {
        match self {
            Self::Charge | Self::Refund => amount,
            Self::Payment => Money::ZERO - amount,
        }
    }
}

/// Why a wallet refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// Less in it than asked for.
    #[error("too little money in the wallet")]
    Insufficient,
    /// More than a wallet may hold.
    #[error("more than a wallet may hold")]
    TooMuch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_payment_takes() {
        let five = Money::new(5);
        assert_eq!(Entry::Charge.signed(five), five);
        assert_eq!(Entry::Refund.signed(five), five);
        assert_eq!(Entry::Payment.signed(five), Money::new(-5));
    }

    #[test]
    fn a_charge_is_above_zero_and_a_price_may_be_zero() {
        assert_eq!(Money::charge(0), None);
        assert_eq!(Money::charge(-1), None);
        assert_eq!(Money::price(0), Some(Money::ZERO));
        assert_eq!(Money::price(-1), None);
        assert_eq!(Money::charge(i64::MAX), None);
    }
}
