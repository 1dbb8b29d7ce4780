//! A client of Toss Payments' core API (version 2022-11-16).
//!
//! One method for each call, each with a time limit, each answering what is
//! known: done, refused, no such payment, or in doubt. Never decides what
//! follows, never retries, never logs the key.

mod codes;
mod wire;

use std::time::Duration;

use base64::Engine as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Fault;
use super::https::{Connector, roots};
use crate::config;
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

pub(in crate::booking) use wire::{Payment, Transaction};

/// Connections kept for the next call, and how long.
const IDLE_CONNECTIONS: usize = 16;
const IDLE: Duration = Duration::from_secs(20);
/// An answer longer than this is no answer.
const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Transactions asked for at once; the provider gives 5,000 at most.
pub(in crate::booking) const PAGE: usize = 1_000;

/// The provider, reached with one merchant's key.
pub(in crate::booking) struct Toss {
    client: Client<Connector, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
    timeout: Duration,
}

impl Toss {
    /// A client; connects when first asked.
    ///
    /// # Errors
    /// When the host has no certificate authorities, or the key is no header's text.
    pub(in crate::booking) fn new(settings: &config::Toss) -> Result<Self, String> {
        let secure = settings.base_url.starts_with("https://");
        let connector = Connector::new(secure.then(roots).transpose()?)?;
        Self::over(settings, connector)
    }

    pub(super) fn over(settings: &config::Toss, connector: Connector) -> Result<Self, String> {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:", settings.secret_key));
        let mut authorization =
            HeaderValue::from_str(&format!("Basic {basic}")).map_err(|why| why.to_string())?;
        authorization.set_sensitive(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        let base = settings.base_url.trim_end_matches('/').to_owned();
        Ok(Self { client, base, authorization, timeout: settings.timeout })
    }

    /// Takes the money of a payment that the buyer has agreed to.
    ///
    /// The same `idempotency` key takes it once.
    pub(in crate::booking) async fn confirm(
        &self,
        key: &str,
        order: &str,
        amount: Money,
        idempotency: &str,
    ) -> Result<Payment, Fault> {
        let body = json!({"paymentKey": key, "orderId": order, "amount": amount.units()});
        self.call(Method::POST, "/v1/payments/confirm", Some((&body, idempotency)), codes::declines).await
    }

    /// The payment with this key.
    pub(in crate::booking) async fn by_key(&self, key: &str) -> Result<Payment, Fault> {
        self.call(Method::GET, &format!("/v1/payments/{key}"), None, codes::never).await
    }

    /// The payment of this order.
    pub(in crate::booking) async fn by_order(&self, order: &str) -> Result<Payment, Fault> {
        self.call(Method::GET, &format!("/v1/payments/orders/{order}"), None, codes::never).await
    }

    /// Gives back `amount`, or all that is left.
    ///
    /// The same `idempotency` key gives it back once; `reason` is found again in
    /// the payment's cancels.
    pub(in crate::booking) async fn cancel(
        &self,
        key: &str,
        amount: Option<Money>,
        reason: &str,
        idempotency: &str,
    ) -> Result<Payment, Fault> {
        let mut body = json!({"cancelReason": reason});
        if let Some(amount) = amount {
            body["cancelAmount"] = json!(amount.units());
        }
        let path = format!("/v1/payments/{key}/cancel");
        self.call(Method::POST, &path, Some((&body, idempotency)), codes::refuses_to_cancel).await
    }

    /// One page of the transactions from `from` to `to`, after the named one.
    pub(in crate::booking) async fn transactions(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<&str>,
    ) -> Result<Vec<Transaction>, Fault> {
        let mut path = format!(
            "/v1/transactions?startDate={}&endDate={}&limit={PAGE}",
            wire::seoul(from),
            wire::seoul(to)
        );
        if let Some(after) = after {
            path.push_str("&startingAfter=");
            path.push_str(after);
        }
        self.call(Method::GET, &path, None, codes::never).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&Value, &str)>,
        is_refusal: fn(&str) -> bool,
    ) -> Result<T, Fault> {
        let asked = tokio::time::timeout(self.timeout, self.send(method, path, body)).await;
        let (status, bytes) = asked.map_err(|_| Fault::Doubt("no answer in time".to_owned()))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&bytes)
                .map_err(|why| Fault::Doubt(format!("an answer that cannot be read: {why}")));
        }
        let code = wire::failure(&bytes).unwrap_or_else(|| format!("HTTP_{}", status.as_u16()));
        tracing::debug!(%code, status = status.as_u16(), "the payment provider refused");
        Err(match status.is_client_error() {
            true if codes::not_there(&code) => Fault::Unknown(code),
            true if is_refusal(&code) => Fault::Refused(code),
            _ => Fault::Doubt(code),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&Value, &str)>,
    ) -> Result<(StatusCode, Bytes), Fault> {
        let doubt = |why: &dyn std::fmt::Display| Fault::Doubt(why.to_string());
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|why| doubt(&why))?;
        let mut request =
            Request::builder().method(method).uri(uri).header(AUTHORIZATION, self.authorization.clone());
        if let Some((_, idempotency)) = body {
            request = request.header(CONTENT_TYPE, "application/json").header("idempotency-key", idempotency);
        }
        let body = body.map_or_else(Bytes::new, |(body, _)| Bytes::from(body.to_string()));
        let request = request.body(Full::new(body)).map_err(|why| doubt(&why))?;
        let answer = self.client.request(request).await.map_err(|why| doubt(&why))?;
        let (parts, body) = answer.into_parts();
        let bytes = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|why| doubt(&why))?;
        Ok((parts.status, bytes.to_bytes()))
    }
}

/// Whether a text may be a payment's key: 1 to 200 plain characters, so that it
/// stays one segment of a path.
pub(in crate::booking) fn is_key(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stays_inside_its_path_segment() {
        assert!(is_key("5zJ4xY7m0kODnyRpQWGrN2xqGlNvLrKwv1M9ENjbeoPaZdL6"));
        for bad in ["", "..", "../v1", "a/b", "a?b", "a%2fb", "a b", "é", &"a".repeat(201)] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
