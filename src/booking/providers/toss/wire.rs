//! The provider's JSON, as far as it is read.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::payment::{Seen, Standing};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// The Payment object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::booking) struct Payment {
    /// The payment's key.
    pub(in crate::booking) payment_key: String,
    /// The order it was opened for.
    pub(in crate::booking) order_id: String,
    status: String,
    currency: String,
    #[serde(deserialize_with = "amount")]
    total_amount: i64,
    #[serde(deserialize_with = "amount")]
    balance_amount: i64,
    cancels: Option<Vec<Cancel>>,
    failure: Option<Failure>,
}

/// Money that went back.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancel {
    cancel_reason: Option<String>,
    transaction_key: Option<String>,
}

/// A line of the transaction list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::booking) struct Transaction {
    /// The line's own key.
    pub(in crate::booking) transaction_key: String,
    /// Of which payment.
    pub(in crate::booking) payment_key: String,
    /// Of which order.
    pub(in crate::booking) order_id: String,
    /// The payment's status after it.
    pub(in crate::booking) status: String,
    /// What moved.
    #[serde(deserialize_with = "amount")]
    pub(in crate::booking) amount: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Failure {
    code: String,
}

impl Payment {
    /// Where it stands, in the words of the rules.
    pub(in crate::booking) fn seen(&self) -> Seen {
        let standing = match self.status.as_str() {
            "CANCELED" => Standing::Captured { approved: Money::new(self.total_amount), left: Money::ZERO },
            // Parts may add up to the whole: what is left decides.
            "DONE" | "PARTIAL_CANCELED" => Standing::Captured {
                approved: Money::new(self.total_amount),
                left: Money::new(self.balance_amount),
            },
            "ABORTED" | "EXPIRED" => Standing::Over,
            "WAITING_FOR_DEPOSIT" => Standing::Awaiting,
            _ => Standing::Open,
        };
        Seen { standing, currency: self.currency.clone() }
    }

    /// Why it failed, in lower case.
    pub(in crate::booking) fn failure(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| failure.code.to_ascii_lowercase())
    }

    /// What is left of the money.
    pub(in crate::booking) fn left(&self) -> Money {
        Money::new(self.balance_amount)
    }

    /// Whether money was taken and all of it went back.
    pub(in crate::booking) fn is_all_back(&self) -> bool {
        matches!(self.seen().standing, Standing::Captured { left, .. } if left <= Money::ZERO)
    }

    /// The transaction that gave money back for this reason, if there is one.
    pub(in crate::booking) fn cancelled_for(&self, reason: &str) -> Option<String> {
        let cancels = self.cancels.iter().flatten();
        let mut ours = cancels.filter(|cancel| cancel.cancel_reason.as_deref() == Some(reason));
        ours.next().map(|cancel| cancel.transaction_key.clone().unwrap_or_default())
    }
}

/// Amounts come as numbers, though the schema says text.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let read = match &value {
        Value::String(text) => text.parse().ok(),
        // Parts of a unit occur in other currencies only, whose name differs.
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|amount| amount as i64)),
        _ => None,
    };
    read.ok_or_else(|| serde::de::Error::custom(format!("expected an amount, found {value}")))
}

/// The code of a Failure object.
pub(super) fn failure(bytes: &[u8]) -> Option<String> {
    let failure: Failure = serde_json::from_slice(bytes).ok()?;
    let plain = failure.code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (plain && failure.code.len() <= 100).then_some(failure.code)
}

/// A local time of Seoul, as the provider's dates are.
pub(super) fn seoul(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    let at = i64::try_from(at.as_millis()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_is_read_with_amounts_as_numbers_or_texts() {
        let text = r#"{"paymentKey":"k","orderId":"o","status":"PARTIAL_CANCELED","currency":"KRW",
            "totalAmount":"1000","balanceAmount":400.0,"card":{"amount":1000},"failure":null,
            "cancels":[{"cancelReason":"refund 7","transactionKey":"t"}]}"#;
        let payment: Payment = serde_json::from_str(text).expect("a payment");
        let (approved, left) = (Money::new(1_000), Money::new(400));
        assert_eq!(payment.seen().standing, Standing::Captured { approved, left });
        assert_eq!(payment.cancelled_for("refund 7").as_deref(), Some("t"));
        assert_eq!(payment.cancelled_for("refund 8"), None);
    }

    #[test]
    fn a_status_never_heard_of_is_asked_for_again() {
        let text = r#"{"paymentKey":"k","orderId":"o","status":"NEW","currency":"KRW",
            "totalAmount":1,"balanceAmount":1}"#;
        let payment: Payment = serde_json::from_str(text).expect("a payment");
        assert_eq!(payment.seen().standing, Standing::Open);
    }
}
