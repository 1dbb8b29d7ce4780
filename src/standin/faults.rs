//! Failing on demand: which call, how often, in which way.

use serde::Deserialize;
use serde_json::{Value, json};

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Call {
    Confirm,
    Cancel,
    Read,
    List,
    /// Each of them.
    Any,
}

/// One way to fail.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Fault {
    on: Call,
    /// Of this payment only.
    payment_key: Option<String>,
    /// So often; for ever when left out.
    times: Option<u32>,
    /// The call takes effect first.
    #[serde(default)]
    pub(super) after: bool,
    /// Waits.
    #[serde(default)]
    pub(super) delay_ms: u64,
    /// Then never answers.
    #[serde(default)]
    pub(super) silent: bool,
    /// Or refuses with this code.
    pub(super) code: Option<String>,
}

impl Fault {
    /// A capture that is never answered.
    pub(super) fn silent_capture() -> Self {
        Self {
            on: Call::Confirm,
            payment_key: None,
            times: None,
            after: true,
            delay_ms: 0,
            silent: true,
            code: None,
        }
    }
}

/// Faults that wait for their call, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of this call, used up once.
    pub(super) fn take(&mut self, call: Call, payment: &str) -> Option<Fault> {
        let fits = |fault: &Fault| {
            (fault.on == call || fault.on == Call::Any)
                && fault.payment_key.as_ref().is_none_or(|key| key == payment)
        };
        let at = self.0.iter().position(fits)?;
        let fault = self.0[at].clone();
        match &mut self.0[at].times {
            Some(left) if *left > 1 => *left -= 1,
            Some(_) => drop(self.0.remove(at)),
            None => {}
        }
        Some(fault)
    }
}

/// The provider's codes with their statuses and English words.
const CODES: [(&str, u16, &str); 24] = [
    ("ALREADY_PROCESSED_PAYMENT", 400, "This is a payment that has already been processed."),
    ("PROVIDER_ERROR", 400, "This is temporary error. Please try again in a few minutes."),
    ("INVALID_REQUEST", 400, "The bad request."),
    ("INVALID_API_KEY", 400, "Incorrect secret key."),
    ("INVALID_REJECT_CARD", 400, "Refer to card issuer/decline."),
    ("INVALID_STOPPED_CARD", 400, "This card is suspended."),
    ("INVALID_CARD_EXPIRATION", 400, "Please check the card expiration date information again."),
    ("INVALID_CARD_LOST_OR_STOLEN", 400, "The card is lost or stolen."),
    ("EXCEED_MAX_AMOUNT", 400, "The amount is over the limit."),
    ("ALREADY_CANCELED_PAYMENT", 400, "This payment has already been canceled."),
    ("REJECT_CARD_PAYMENT", 403, "Over limit or insufficient balance."),
    ("REJECT_CARD_COMPANY", 403, "Payment was refused by the card company."),
    ("REJECT_ACCOUNT_PAYMENT", 403, "Insufficient balance."),
    ("NOT_CANCELABLE_AMOUNT", 403, "This amount cannot be canceled."),
    ("NOT_CANCELABLE_PAYMENT", 403, "This payment cannot be canceled."),
    ("FORBIDDEN_REQUEST", 403, "Not allowed request."),
    ("UNAUTHORIZED_KEY", 401, "Unauthorized secretKey or clientKey."),
    ("NOT_FOUND_PAYMENT", 404, "Not found payment."),
    ("NOT_FOUND_PAYMENT_SESSION", 404, "The payment session has expired."),
    ("IDEMPOTENT_REQUEST_PROCESSING", 409, "The previous request is still being processed."),
    ("TOO_MANY_REQUESTS", 429, "Too many requests."),
    ("FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", 500, "The payment did not finish."),
    ("FAILED_INTERNAL_SYSTEM_PROCESSING", 500, "An internal processing failed."),
    ("UNKNOWN_PAYMENT_ERROR", 500, "The payment failed."),
];

/// The code as one of the table.
pub(super) fn known(code: &str) -> &'static str {
    CODES.iter().find(|known| known.0 == code).map_or("UNKNOWN_PAYMENT_ERROR", |known| known.0)
}

/// The status that goes with a code; 400 for those not in the table.
pub(super) fn status(code: &str) -> u16 {
    CODES.iter().find(|known| known.0 == code).map_or(400, |known| known.1)
}

/// The Failure object.
pub(super) fn error(code: &str) -> Value {
    let words = CODES.iter().find(|known| known.0 == code).map_or("Refused for a test.", |known| known.2);
    json!({"code": code, "message": words})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_used_up() {
        let mut faults = Faults::default();
        let fault = json!({"on": "confirm", "times": 2, "code": "PROVIDER_ERROR"});
        faults.add(serde_json::from_value(fault).expect("a fault"));
        assert!(faults.take(Call::Read, "k").is_none());
        assert!(faults.take(Call::Confirm, "k").is_some() && faults.take(Call::Confirm, "k").is_some());
        assert!(faults.take(Call::Confirm, "k").is_none());
    }
}
