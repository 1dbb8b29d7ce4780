//! The provider's books: payments, their transactions, and answers kept under
//! an idempotency key. Rules only: no clock, no waiting.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Faults;
use crate::domain::time::Timestamp;

/// A confirm must come this soon after the buyer's approval.
const SESSION: Duration = Duration::from_secs(10 * 60);
/// Merchant id of every payment.
const MERCHANT: &str = "usher";

/// A refusal: the provider's code.
pub(super) type Refused = &'static str;

/// One payment.
#[derive(Clone, Debug)]
pub(super) struct Payment {
    pub(super) key: String,
    pub(super) order_id: String,
    pub(super) order_name: String,
    /// What the buyer agreed to.
    pub(super) amount: i64,
    /// What a confirm approves instead.
    pub(super) approve_as: Option<i64>,
    /// What a confirm is refused with.
    pub(super) decline: Option<String>,
    pub(super) currency: String,
    pub(super) status: &'static str,
    pub(super) balance: i64,
    pub(super) requested_at: Timestamp,
    pub(super) approved_at: Option<Timestamp>,
    pub(super) cancels: Vec<Cancel>,
    pub(super) last_transaction: Option<String>,
    /// Times money was taken: never more than one.
    pub(super) captures: u32,
    /// The idempotency key it was taken under.
    pub(super) captured_under: String,
    /// Confirms under another key after that: each would be money taken twice
    /// at a provider that believes its callers.
    pub(super) doubles: u32,
}

/// Money that went back.
#[derive(Clone, Debug)]
pub(super) struct Cancel {
    amount: i64,
    reason: String,
    left: i64,
    at: Timestamp,
    transaction: String,
}

/// A line of the transaction list.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    pub(super) key: String,
    payment: String,
    order_id: String,
    status: &'static str,
    amount: i64,
    currency: String,
    pub(super) at: Timestamp,
}

/// What is kept under an idempotency key.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Running,
    Answered(u16, Value),
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) payments: HashMap<String, Payment>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) answers: HashMap<String, Kept>,
    pub(super) faults: Faults,
    pub(super) confirms: u64,
    serial: u64,
}

impl Book {
    /// A buyer agreed to pay.
    pub(super) fn open(&mut self, mut payment: Payment) -> Payment {
        self.serial += 1;
        payment.key =
            format!("standin{:08}{}", self.serial, &uuid::Uuid::new_v4().simple().to_string()[..16]);
        self.payments.insert(payment.key.clone(), payment.clone());
        payment
    }

    /// By key or by order: the one with money in it, else the last one.
    pub(super) fn find(&mut self, name: &str, now: Timestamp) -> Option<&mut Payment> {
        let key = if self.payments.contains_key(name) {
            name.to_owned()
        } else {
            let of_order = self.payments.values().filter(|payment| payment.order_id == name);
            of_order
                .max_by_key(|payment| (payment.captures, payment.requested_at, payment.key.clone()))?
                .key
                .clone()
        };
        let payment = self.payments.get_mut(&key)?;
        if payment.status == "IN_PROGRESS" && payment.requested_at + SESSION <= now {
            payment.status = "EXPIRED";
        }
        Some(payment)
    }

    /// Takes the money.
    pub(super) fn confirm(
        &mut self,
        key: &str,
        order: &str,
        amount: i64,
        idempotency: &str,
        now: Timestamp,
    ) -> Result<Payment, Refused> {
        let transaction = self.transaction();
        let payment = self.find(key, now).filter(|payment| payment.key == key).ok_or("NOT_FOUND_PAYMENT")?;
        match payment.status {
            "IN_PROGRESS" => {}
            "EXPIRED" => return Err("NOT_FOUND_PAYMENT_SESSION"),
            _ => {
                payment.doubles += u32::from(payment.captures > 0 && payment.captured_under != idempotency);
                return Err("ALREADY_PROCESSED_PAYMENT");
            }
        }
        if payment.order_id != order || payment.amount != amount {
            return Err("INVALID_REQUEST");
        }
        if let Some(code) = &payment.decline {
            let code = super::faults::known(code);
            payment.status = "ABORTED";
            return Err(code);
        }
        payment.status = "DONE";
        payment.captures += 1;
        payment.captured_under = idempotency.to_owned();
        payment.amount = payment.approve_as.unwrap_or(payment.amount);
        payment.balance = payment.amount;
        payment.approved_at = Some(now);
        payment.last_transaction = Some(transaction.clone());
        let payment = payment.clone();
        self.note(&payment, transaction, payment.amount, now);
        Ok(payment)
    }

    /// Gives money back: all that is left, or a part.
    pub(super) fn cancel(
        &mut self,
        key: &str,
        amount: Option<i64>,
        reason: &str,
        now: Timestamp,
    ) -> Result<Payment, Refused> {
        let transaction = self.transaction();
        let payment = self.find(key, now).filter(|payment| payment.key == key).ok_or("NOT_FOUND_PAYMENT")?;
        match payment.status {
            "DONE" | "PARTIAL_CANCELED" => {}
            "CANCELED" => return Err("ALREADY_CANCELED_PAYMENT"),
            _ => return Err("NOT_CANCELABLE_PAYMENT"),
        }
        let amount = amount.unwrap_or(payment.balance);
        if amount <= 0 || amount > payment.balance {
            return Err("NOT_CANCELABLE_AMOUNT");
        }
        payment.balance -= amount;
        payment.status = if payment.balance == 0 { "CANCELED" } else { "PARTIAL_CANCELED" };
        payment.last_transaction = Some(transaction.clone());
        payment.cancels.push(Cancel {
            amount,
            reason: reason.to_owned(),
            left: payment.balance,
            at: now,
            transaction: transaction.clone(),
        });
        let payment = payment.clone();
        self.note(&payment, transaction, amount, now);
        Ok(payment)
    }

    /// Drops a payment and its transactions, as if it had never been.
    pub(super) fn forget(&mut self, key: &str) -> bool {
        self.transactions.retain(|line| line.payment != key);
        self.payments.remove(key).is_some()
    }

    /// Transactions from `from` up to and including `to`, after the named one.
    pub(super) fn list(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Value> {
        let mut seen = HashSet::new();
        let start = after
            .and_then(|after| self.transactions.iter().position(|line| line.key == after))
            .map_or(0, |at| at + 1);
        let within = self.transactions[start..].iter().filter(|line| (from..=to).contains(&line.at));
        within.filter(|line| seen.insert(line.key.clone())).take(limit).map(Transaction::json).collect()
    }

    fn transaction(&mut self) -> String {
        self.serial += 1;
        format!("txstandin{:012}", self.serial)
    }

    fn note(&mut self, payment: &Payment, key: String, amount: i64, at: Timestamp) {
        self.transactions.push(Transaction {
            key,
            payment: payment.key.clone(),
            order_id: payment.order_id.clone(),
            status: payment.status,
            amount,
            currency: payment.currency.clone(),
            at,
        });
    }
}

impl Payment {
    /// The Payment object, as far as a merchant reads it.
    pub(super) fn json(&self) -> Value {
        let vat = self.balance / 11;
        let cancels: Vec<_> = self.cancels.iter().map(Cancel::json).collect();
        json!({
            "version": "2022-11-16", "mId": MERCHANT, "type": "NORMAL", "method": "카드", "country": "KR",
            "paymentKey": self.key, "orderId": self.order_id, "orderName": self.order_name,
            "currency": self.currency, "status": self.status,
            "totalAmount": self.amount, "balanceAmount": if self.captures > 0 { self.balance } else { self.amount },
            "suppliedAmount": self.balance - vat, "vat": vat, "taxFreeAmount": 0, "taxExemptionAmount": 0,
            "requestedAt": seoul(self.requested_at), "approvedAt": self.approved_at.map(seoul),
            "useEscrow": false, "cultureExpense": true, "isPartialCancelable": true,
            "lastTransactionKey": self.last_transaction,
            "cancels": if cancels.is_empty() { Value::Null } else { Value::from(cancels) },
            "failure": (self.status == "ABORTED").then(|| super::faults::error(self.decline.as_deref().unwrap_or_default())),
            "card": null, "virtualAccount": null, "transfer": null, "mobilePhone": null, "giftCertificate": null,
            "cashReceipt": null, "cashReceipts": null, "discount": null, "easyPay": null, "secret": null,
        })
    }
}

impl Cancel {
    fn json(&self) -> Value {
        json!({
            "cancelAmount": self.amount, "cancelReason": self.reason, "refundableAmount": self.left,
            "taxFreeAmount": 0, "taxExemptionAmount": 0, "easyPayDiscountAmount": 0,
            "canceledAt": seoul(self.at), "transactionKey": self.transaction, "receiptKey": null,
        })
    }
}

impl Transaction {
    fn json(&self) -> Value {
        json!({
            "mId": MERCHANT, "transactionKey": self.key, "paymentKey": self.payment, "orderId": self.order_id,
            "method": "카드", "customerKey": null, "useEscrow": false, "receiptUrl": null,
            "status": self.status, "transactionAt": seoul(self.at), "currency": self.currency,
            "amount": self.amount,
        })
    }
}

/// ISO 8601 in Seoul, to the second.
pub(super) fn seoul(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    let at = i64::try_from(at.as_millis()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A local time of Seoul (`2026-01-01T00:00:00`, or the date alone), or one with an offset.
pub(super) fn from_seoul(text: &str) -> Option<Timestamp> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::offset(9).to_timestamp(local).ok()
    })?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_seoul() {
        let at = Timestamp::from_millis(1_795_219_200_000);
        assert_eq!(seoul(at), "2026-11-21T09:00:00+09:00");
        for text in ["2026-11-21T09:00:00+09:00", "2026-11-21T09:00:00", "2026-11-21T00:00:00Z"] {
            assert_eq!(from_seoul(text), Some(at), "{text}");
        }
        assert_eq!(from_seoul("yesterday"), None);
    }
}
