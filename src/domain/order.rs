//! What is bought: the life of an order.
//!
//! Owns the ids of accounts, orders and tickets, and which state an order may
//! move to. Where the rows live is the booking office's matter.

/// Declares a random 128-bit id, written as 32 lower-case hex digits.
macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id with these bits.
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::order::BadId;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let plain = s.len() == 32 && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                let bits = plain.then(|| u128::from_str_radix(s, 16).ok()).flatten();
                bits.map(Self).ok_or($crate::domain::order::BadId)
            }
        }
    };
}
pub(crate) use hex_id;

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 lower-case hex digits")]
pub struct BadId;

hex_id!(
    /// A signed-up person.
    AccountId
);
hex_id!(
    /// An order's id.
    OrderId
);
hex_id!(
    /// A ticket's id.
    TicketId
);

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Made, not yet being paid; ends with its hold.
    Pending,
    /// A payment is under way; no deadline ends it.
    Paying,
    /// Paid; its seats are sold.
    Paid,
    /// The hold ran out before a payment began.
    Expired,
    /// Given up, or not paid.
    Cancelled,
    /// All of it was given back.
    Refunded,
    /// Some of it was given back; the rest is still good.
    PartiallyRefunded,
}

impl OrderStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Paying,
        Self::Paid,
        Self::Expired,
        Self::Cancelled,
        Self::Refunded,
        Self::PartiallyRefunded,
    ];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Paying => "PAYING",
            Self::Paid => "PAID",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
            Self::Refunded => "REFUNDED",
            Self::PartiallyRefunded => "PARTIALLY_REFUNDED",
        }
    }

    /// The status with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Whether an order may go from here to `next`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::Paying | Self::Expired | Self::Cancelled)
                | (Self::Paying, Self::Paid | Self::Cancelled)
                | (Self::Paid | Self::PartiallyRefunded, Self::Refunded | Self::PartiallyRefunded)
        )
    }

    /// Whether money was taken and not all of it given back.
    #[must_use]
    pub const fn is_sold(self) -> bool {
        matches!(self, Self::Paid | Self::PartiallyRefunded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_status() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::from_name(status.as_str()), Some(status));
        }
        assert_eq!(OrderStatus::from_name("paid"), None);
    }

    #[test]
    fn an_order_that_is_over_stays_over() {
        for over in [OrderStatus::Expired, OrderStatus::Cancelled, OrderStatus::Refunded] {
            assert!(OrderStatus::ALL.into_iter().all(|next| !over.may_become(next)));
        }
    }

    #[test]
    fn nothing_expires_while_it_is_being_paid() {
        assert!(!OrderStatus::Paying.may_become(OrderStatus::Expired));
        assert!(!OrderStatus::Paid.may_become(OrderStatus::Cancelled));
    }

    #[test]
    fn ids_are_read_only_in_the_form_they_are_written() {
        let id = OrderId::from_bits(0xab);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "ab", "+00000000000000000000000000000ab", "000000000000000000000000000000AB"] {
            assert_eq!(bad.parse::<OrderId>(), Err(BadId));
        }
    }
}
