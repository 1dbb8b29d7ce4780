//! The provider's API: `/v1/payments/…`, `/v1/transactions`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

use super::StandIn;
use super::book::{Kept, Payment, Refused, from_seoul};
use super::faults::{Call, Fault, error, status};

/// Names the refusal that a call shall get.
const TEST_CODE: &str = "tosspayments-test-code";
/// Rows of the transaction list unless asked for others, and at most.
const ROWS: usize = 100;
const ROWS_MOST: usize = 5_000;

pub(super) fn routes() -> Router<Arc<StandIn>> {
    Router::new()
        .route("/v1/payments/confirm", post(confirm))
        .route("/v1/payments/{payment}", get(read))
        .route("/v1/payments/orders/{payment}", get(read))
        .route("/v1/payments/{payment}/cancel", post(cancel))
        .route("/v1/transactions", get(list))
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Confirm {
    payment_key: String,
    order_id: String,
    amount: i64,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    cancel_reason: String,
    cancel_amount: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Window {
    start_date: String,
    end_date: String,
    starting_after: Option<String>,
    limit: Option<usize>,
}

/// An answer of the API before it is sent.
type Answer = (u16, Value);

fn refused(code: &str) -> Answer {
    (status(code), error(code))
}

fn answered(done: Result<Payment, Refused>) -> Answer {
    done.map_or_else(refused, |payment| (200, payment.json()))
}

fn respond((status, body): Answer) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

async fn confirm(
    State(bank): State<Arc<StandIn>>,
    headers: HeaderMap,
    body: Result<Json<Confirm>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let Ok(Json(body)) = body else { return respond(refused("INVALID_REQUEST")) };
    let key = body.payment_key.clone();
    let path = "/v1/payments/confirm".to_owned();
    let sent = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let idempotency = sent.unwrap_or_default().to_owned();
    let act = move |bank: &StandIn| {
        let (key, order) = (&body.payment_key, &body.order_id);
        let done = bank.book.lock().confirm(key, order, body.amount, &idempotency, bank.now());
        bank.tell(&done);
        answered(done)
    };
    bank.post(Call::Confirm, key, path, &headers, act).await
}

async fn cancel(
    State(bank): State<Arc<StandIn>>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Result<Json<CancelBody>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let Ok(Json(body)) = body else { return respond(refused("INVALID_REQUEST")) };
    let path = format!("/v1/payments/{key}/cancel");
    let payment = key.clone();
    let act = move |bank: &StandIn| {
        let done = bank.book.lock().cancel(&payment, body.cancel_amount, &body.cancel_reason, bank.now());
        bank.tell(&done);
        answered(done)
    };
    bank.post(Call::Cancel, key, path, &headers, act).await
}

async fn read(State(bank): State<Arc<StandIn>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Some(refusal) = bank.refuse_at_once(&headers) {
        return respond(refusal);
    }
    if let Some(failed) = bank.fail_get(Call::Read, &name).await {
        return respond(failed);
    }
    let now = bank.now();
    let found = bank.book.lock().find(&name, now).map(|payment| payment.json());
    respond(found.map_or_else(|| refused("NOT_FOUND_PAYMENT"), |payment| (200, payment)))
}

async fn list(
    State(bank): State<Arc<StandIn>>,
    Query(window): Query<Window>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = bank.refuse_at_once(&headers) {
        return respond(refusal);
    }
    if let Some(failed) = bank.fail_get(Call::List, "").await {
        return respond(failed);
    }
    let (Some(from), Some(to)) = (from_seoul(&window.start_date), from_seoul(&window.end_date)) else {
        return respond(refused("INVALID_REQUEST"));
    };
    let limit = window.limit.unwrap_or(ROWS).min(ROWS_MOST);
    let rows = bank.book.lock().list(from, to, window.starting_after.as_deref(), limit);
    respond((200, Value::from(rows)))
}

/// Frees an idempotency key whose call ends without an answer.
struct Running(Arc<StandIn>, Option<String>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(key) = self.1.take() {
            self.0.book.lock().answers.remove(&key);
        }
    }
}

impl StandIn {
    /// A wrong key, or a refusal asked for.
    fn refuse_at_once(&self, headers: &HeaderMap) -> Option<Answer> {
        let expected =
            base64::engine::general_purpose::STANDARD.encode(format!("{}:", self.options.secret_key));
        let sent = headers.get("authorization").and_then(|value| value.to_str().ok());
        if sent.and_then(|value| value.strip_prefix("Basic ")) != Some(expected.as_str()) {
            return Some(refused("UNAUTHORIZED_KEY"));
        }
        let code = headers.get(TEST_CODE).and_then(|value| value.to_str().ok());
        code.map(refused)
    }

    /// The fault of a call that changes nothing.
    async fn fail_get(&self, call: Call, payment: &str) -> Option<Answer> {
        tokio::time::sleep(self.options.delay).await;
        let fault = self.book.lock().faults.take(call, payment)?;
        fail(&fault).await
    }

    /// One call that changes something: once under its idempotency key, to its
    /// end even when the caller has gone.
    async fn post(
        self: Arc<Self>,
        call: Call,
        payment: String,
        path: String,
        headers: &HeaderMap,
        act: impl FnOnce(&Self) -> Answer + Send + 'static,
    ) -> Response {
        if let Some(refusal) = self.refuse_at_once(headers) {
            return respond(refusal);
        }
        let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
        let key = key.map(|key| format!("{key} {path}"));
        if let Some(key) = &key {
            let mut book = self.book.lock();
            match book.answers.get(key) {
                Some(Kept::Answered(status, body)) => return respond((*status, body.clone())),
                Some(Kept::Running) => return respond(refused("IDEMPOTENT_REQUEST_PROCESSING")),
                None => drop(book.answers.insert(key.clone(), Kept::Running)),
            }
        }
        let fault = self.fault(call, &payment);
        // A provider goes on when its caller hangs up.
        let done = tokio::spawn(async move {
            let mut running = Running(Arc::clone(&self), key);
            tokio::time::sleep(self.options.delay).await;
            if let Some(fault) = fault.as_ref().filter(|fault| !fault.after)
                && let Some(failed) = fail(fault).await
            {
                return failed;
            }
            let answer = act(&self);
            if let Some(key) = running.1.take() {
                // What passes by itself is not kept.
                let mut book = self.book.lock();
                match answer.0 < 500 {
                    true => drop(book.answers.insert(key, Kept::Answered(answer.0, answer.1.clone()))),
                    false => drop(book.answers.remove(&key)),
                }
            }
            match fault.as_ref().filter(|fault| fault.after) {
                Some(fault) => fail(fault).await.unwrap_or(answer),
                None => answer,
            }
        });
        respond(done.await.unwrap_or_else(|_| refused("FAILED_INTERNAL_SYSTEM_PROCESSING")))
    }

    fn fault(&self, call: Call, payment: &str) -> Option<Fault> {
        let mut book = self.book.lock();
        book.confirms += u64::from(call == Call::Confirm);
        let every = self.options.silent_every;
        if call == Call::Confirm && every > 0 && book.confirms.is_multiple_of(every) {
            return Some(Fault::silent_capture());
        }
        book.faults.take(call, payment)
    }
}

/// Waits as the fault says; its refusal, if it has one.
async fn fail(fault: &Fault) -> Option<Answer> {
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    if fault.silent {
        std::future::pending::<()>().await;
    }
    fault.code.as_deref().map(refused)
}
