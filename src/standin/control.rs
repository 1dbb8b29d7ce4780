//! What is not the provider's API: a buyer's approval, faults, a look into the books.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::StandIn;
use super::book::Payment;
use super::faults::Fault;

pub(super) fn routes() -> Router<Arc<StandIn>> {
    Router::new()
        .route("/stand-in/payments", get(payments).post(open))
        .route("/stand-in/payments/{payment}", axum::routing::delete(forget))
        .route("/stand-in/faults", post(add_fault).delete(clear_faults))
        .route("/stand-in/webhooks", post(tell_again))
        .route("/stand-in/checkout", get(checkout).post(approve))
}

/// A buyer's approval, and how the payment shall go on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    order_id: String,
    amount: i64,
    #[serde(default)]
    order_name: String,
    currency: Option<String>,
    /// What a confirm approves instead of `amount`.
    approve_as: Option<i64>,
    /// What a confirm is refused with.
    test_code: Option<String>,
}

/// The buyer agrees: a payment that waits for its confirm.
async fn open(State(bank): State<Arc<StandIn>>, Json(wish): Json<Open>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(bank.open(wish).json()))
}

impl StandIn {
    fn open(&self, wish: Open) -> Payment {
        let now = self.now();
        let payment = Payment {
            key: String::new(),
            order_id: wish.order_id,
            order_name: wish.order_name,
            amount: wish.amount,
            approve_as: wish.approve_as,
            decline: wish.test_code,
            currency: wish.currency.unwrap_or_else(|| "KRW".to_owned()),
            status: "IN_PROGRESS",
            balance: 0,
            requested_at: now,
            approved_at: None,
            cancels: Vec::new(),
            last_transaction: None,
            captures: 0,
            captured_under: String::new(),
            doubles: 0,
        };
        self.book.lock().open(payment)
    }
}

/// Every payment, with the times money was taken, and nearly taken twice.
async fn payments(State(bank): State<Arc<StandIn>>) -> Json<Value> {
    let book = bank.book.lock();
    let mut payments: Vec<_> = book.payments.values().collect();
    payments.sort_by(|a, b| a.key.cmp(&b.key));
    let items: Vec<_> = payments
        .into_iter()
        .map(|payment| {
            let mut shown = payment.json();
            shown["captures"] = json!(payment.captures);
            shown["doubles"] = json!(payment.doubles);
            shown
        })
        .collect();
    Json(json!({"items": items, "confirms": book.confirms}))
}

/// The provider loses a payment.
async fn forget(State(bank): State<Arc<StandIn>>, Path(key): Path<String>) -> StatusCode {
    if bank.book.lock().forget(&key) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn add_fault(State(bank): State<Arc<StandIn>>, Json(fault): Json<Fault>) -> StatusCode {
    bank.book.lock().faults.add(fault);
    StatusCode::NO_CONTENT
}

async fn clear_faults(State(bank): State<Arc<StandIn>>) -> StatusCode {
    bank.book.lock().faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Again {
    /// Where to; where the options say when left out.
    url: Option<String>,
    copies: Option<usize>,
    #[serde(default)]
    reversed: bool,
}

/// Sends every webhook once more and answers what became of them.
async fn tell_again(State(bank): State<Arc<StandIn>>, Json(again): Json<Again>) -> Response {
    let url = match &again.url {
        Some(url) => url.parse::<Uri>().ok(),
        None => bank.options.webhook.clone(),
    };
    let Some(url) = url else { return StatusCode::BAD_REQUEST.into_response() };
    let statuses = bank.tell_again(&url, again.copies.unwrap_or(1), again.reversed).await;
    Json(json!({"statuses": statuses})).into_response()
}

/// What a shop's page sends a buyer here with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checkout {
    order_id: String,
    amount: i64,
    success_url: String,
    fail_url: Option<String>,
    #[serde(default)]
    decision: String,
}

/// The page on which a buyer agrees or not.
async fn checkout(Query(wish): Query<Checkout>) -> Html<String> {
    let field =
        |name: &str, value: &str| format!("<input type=hidden name={name} value=\"{}\">", escape(value));
    let fields = [
        field("orderId", &wish.order_id),
        field("amount", &wish.amount.to_string()),
        field("successUrl", &wish.success_url),
        field("failUrl", wish.fail_url.as_deref().unwrap_or(&wish.success_url)),
    ];
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>Stand-in payment</title>\
         <main><h1>Pay {amount} KRW</h1><p>Order {order}. No money is taken: this is a stand-in.</p>\
         <form method=post>{fields}\
         <button name=decision value=approve>Pay</button> \
         <button name=decision value=decline>Use a card that is refused</button> \
         <button name=decision value=leave>Leave</button></form></main></html>",
        amount = wish.amount,
        order = escape(&wish.order_id),
        fields = fields.concat(),
    ))
}

/// Sends the buyer back as the provider does.
async fn approve(State(bank): State<Arc<StandIn>>, Form(wish): Form<Checkout>) -> Response {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if !plain(&wish.order_id) || !plain(&wish.success_url) || !wish.fail_url.as_deref().is_none_or(plain) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let back = |url: &str, query: &str| {
        let mark = if url.contains('?') { '&' } else { '?' };
        Redirect::to(&format!("{url}{mark}{query}")).into_response()
    };
    if wish.decision == "leave" {
        let url = wish.fail_url.as_deref().unwrap_or(&wish.success_url);
        return back(url, "code=PAY_PROCESS_CANCELED&message=Canceled");
    }
    let test_code = (wish.decision == "decline").then(|| "REJECT_CARD_PAYMENT".to_owned());
    let (order_id, amount) = (wish.order_id.clone(), wish.amount);
    let payment = bank.open(Open {
        order_id,
        amount,
        order_name: String::new(),
        currency: None,
        approve_as: None,
        test_code,
    });
    let query =
        format!("paymentType=NORMAL&paymentKey={}&orderId={}&amount={amount}", payment.key, wish.order_id);
    back(&wish.success_url, &query)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
