//! Payment providers: who takes the money of an order.
//!
//! The seam the workers use. Points are rows of the same database, so taking
//! them is part of the transaction that sells the seats; a card provider is
//! asked outside any transaction, may not answer, and is read again until it is
//! known what it did. Which of the two an order is paid by is a [`Method`]; the
//! rules that follow from what a provider says are `domain::payment`'s.

mod https;
pub(super) mod toss;

pub(super) use toss::Toss;

/// Who takes the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// The caller's wallet, in the database.
    Points,
    /// Toss Payments, over HTTPS.
    Toss,
}

impl Method {
    /// The name in the database.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Points => "points",
            Self::Toss => "toss",
        }
    }

    /// The method with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Points, Self::Toss].into_iter().find(|method| method.as_str() == name)
    }
}

/// Why a provider did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It said no, and nothing was changed by this call: its code.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// It knows no such payment.
    #[error("the provider knows no such payment: {0}")]
    Unknown(String),
    /// Whether it took effect is not known.
    #[error("in doubt: {0}")]
    Doubt(String),
}
