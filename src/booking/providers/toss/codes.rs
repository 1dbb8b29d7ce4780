//! What the provider's error codes mean for us.
//!
//! A closed list of codes says "nothing was taken"; every other one, known or
//! not, leaves a call in doubt. Wrong keys are ours to mend and say nothing
//! about the buyer, so they are in doubt too. Source: the provider's list of
//! error codes (docs.tosspayments.com/reference/error-codes).

/// Confirm: the buyer's means of payment were refused, or the request cannot be.
const DECLINES: [&str; 38] = [
    "BELOW_MINIMUM_AMOUNT",
    "CARD_PROCESSING_ERROR",
    "EXCEED_MAX_AMOUNT",
    "EXCEED_MAX_AUTH_COUNT",
    "EXCEED_MAX_CARD_INSTALLMENT_PLAN",
    "EXCEED_MAX_DAILY_PAYMENT_COUNT",
    "EXCEED_MAX_ONE_DAY_AMOUNT",
    "EXCEED_MAX_ONE_DAY_WITHDRAW_AMOUNT",
    "EXCEED_MAX_ONE_TIME_WITHDRAW_AMOUNT",
    "EXCEED_MAX_PAYMENT_AMOUNT",
    "FDS_ERROR",
    "INVALID_ACCOUNT_INFO_RE_REGISTER",
    "INVALID_AUTHORIZE_AUTH",
    "INVALID_CARD_EXPIRATION",
    "INVALID_CARD_INSTALLMENT_PLAN",
    "INVALID_CARD_LOST_OR_STOLEN",
    "INVALID_CARD_NUMBER",
    "INVALID_PASSWORD",
    "INVALID_REJECT_CARD",
    "INVALID_REQUEST",
    "INVALID_STOPPED_CARD",
    "INVALID_UNREGISTERED_SUBMALL",
    "NOT_ALLOWED_POINT_USE",
    "NOT_AVAILABLE_BANK",
    "NOT_AVAILABLE_PAYMENT",
    "NOT_FOUND_TERMINAL_ID",
    "NOT_REGISTERED_BUSINESS",
    "NOT_SUPPORTED_INSTALLMENT_PLAN_CARD_OR_MERCHANT",
    "NOT_SUPPORTED_MONTHLY_INSTALLMENT_PLAN",
    "PAY_PROCESS_ABORTED",
    "PAY_PROCESS_CANCELED",
    "REJECT_ACCOUNT_PAYMENT",
    "REJECT_CARD_COMPANY",
    "REJECT_CARD_PAYMENT",
    "REJECT_TOSSPAY_INVALID_ACCOUNT",
    "RESTRICTED_TRANSFER_ACCOUNT",
    "UNAPPROVED_ORDER_ID",
    "INVALID_BANK",
];

/// Cancel: it will not be done by asking again.
const REFUSES_TO_CANCEL: [&str; 11] = [
    "ALREADY_CANCELED_PAYMENT",
    "EXCEED_CANCEL_AMOUNT_DISCOUNT_AMOUNT",
    "EXCEED_MAX_REFUND_DUE",
    "INVALID_REFUND_ACCOUNT_INFO",
    "INVALID_REFUND_AMOUNT",
    "INVALID_REQUEST",
    "NOT_ALLOWED_PARTIAL_REFUND",
    "NOT_CANCELABLE_AMOUNT",
    "NOT_CANCELABLE_PAYMENT",
    "NOT_CANCELABLE_PAYMENT_FOR_DORMANT_USER",
    "NOT_MATCHES_REFUNDABLE_AMOUNT",
];

/// Whether a confirm was refused for good, nothing taken.
pub(super) fn declines(code: &str) -> bool {
    DECLINES.contains(&code)
}

/// Whether a cancel was refused for good.
pub(super) fn refuses_to_cancel(code: &str) -> bool {
    REFUSES_TO_CANCEL.contains(&code)
}

/// A read has nothing to refuse.
pub(super) fn never(_: &str) -> bool {
    false
}

/// Whether there is no such payment.
pub(super) fn not_there(code: &str) -> bool {
    ["NOT_FOUND_PAYMENT", "NOT_FOUND_PAYMENT_SESSION", "NOT_FOUND"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_doubt_is_no_refusal() {
        for code in [
            "ALREADY_PROCESSED_PAYMENT",
            "PROVIDER_ERROR",
            "IDEMPOTENT_REQUEST_PROCESSING",
            "UNAUTHORIZED_KEY",
            "FORBIDDEN_REQUEST",
            "TOO_MANY_REQUESTS",
            "HTTP_404",
            "SOMETHING_NEW",
        ] {
            assert!(!declines(code) && !refuses_to_cancel(code) && !not_there(code), "{code}");
        }
        assert!(declines("REJECT_CARD_PAYMENT") && refuses_to_cancel("NOT_CANCELABLE_AMOUNT"));
    }
}
