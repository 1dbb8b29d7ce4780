//! Giving tickets back: until when, and what it costs.

use super::time::Timestamp;
use super::wallet::Money;

/// Who wants to give something back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Who bought it: bound by the rules.
    Buyer,
    /// Who runs the office: at any time, for the whole price.
    Operator,
}

/// An event's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundRules {
    /// First instant at which a buyer is too late.
    pub until: Timestamp,
    /// What the office keeps of each price, 0 to 100.
    pub fee_percent: u32,
}

/// The buyer comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time to give tickets back is over")]
pub struct TooLate;

impl RefundRules {
    /// What is kept of a ticket at `price`, rounded down to the smallest unit; the
    /// rest goes back, so that the two always add up to the price.
    ///
    /// # Errors
    /// [`TooLate`]
    pub fn fee(self, price: Money, asker: Asker, now: Timestamp) -> Result<Money, TooLate> {
        if asker == Asker::Operator {
            return Ok(Money::ZERO);
        }
        if now >= self.until {
            return Err(TooLate);
        }
        let fee = Money::new(price.units() * i64::from(self.fee_percent.min(100)) / 100);
        debug_assert!(Money::ZERO <= fee && fee <= price, "a fee is part of the price");
        Ok(fee)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_buyer_pays_the_fee_in_time_and_gets_nothing_after() {
        let rules = RefundRules { until: at(100), fee_percent: 10 };
        let fee = |price, asker, now| rules.fee(Money::new(price), asker, at(now));
        assert_eq!(fee(176_000, Asker::Buyer, 99), Ok(Money::new(17_600)));
        assert_eq!(fee(99, Asker::Buyer, 0), Ok(Money::new(9)), "rounded for the buyer");
        assert_eq!(fee(0, Asker::Buyer, 0), Ok(Money::ZERO));
        assert_eq!(fee(176_000, Asker::Buyer, 100), Err(TooLate));
        assert_eq!(fee(176_000, Asker::Operator, 500), Ok(Money::ZERO));
    }

    #[test]
    fn the_largest_price_has_a_fee_too() {
        let rules = RefundRules { until: at(1), fee_percent: 100 };
        assert_eq!(
            rules.fee(crate::domain::wallet::LARGEST, Asker::Buyer, at(0)),
            Ok(crate::domain::wallet::LARGEST)
        );
    }
}
