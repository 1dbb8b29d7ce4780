//! `POST /api/payments/confirm`: what a shop's page sends after the buyer has
//! agreed at the card provider.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Accepted, Means};
use crate::booking::accounts::auth::Caller;
use crate::booking::pass::ThroughGate;
use crate::booking::problem::{Body, Code, Problem};
use crate::booking::providers::toss::is_key;
use crate::booking::wallet::CURRENCY;
use crate::booking::{Booking, idempotency};
use crate::domain::order::OrderId;
use crate::domain::payment::PaymentStatus;
use crate::domain::wallet::Money;

/// The provider's answer to the buyer, with its own names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// The provider's name for the payment, 1 to 200 characters.
    payment_key: String,
    /// The order.
    order_id: String,
    /// What the buyer agreed to: the order's amount.
    #[schema(example = 176_000)]
    amount: i64,
}

/// Pays for an order by card, with a payment that the buyer has agreed to.
#[utoipa::path(post, path = "/api/payments/confirm", tag = "payments", request_body = Confirm,
    security(("bearer" = [])),
    responses((status = 202, body = Accepted), (status = 403, description = "not_owner or pass_required"),
              (status = 404, description = "not_found; also where no card payment provider is set up"),
              (status = 409, description = "amount_mismatch, already_paid, hold_expired or order_cancelled"),
              (status = 422, description = "invalid, or idempotency_key_reused when the payment is another order's")))]
pub async fn confirm(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    headers: HeaderMap,
    Body(given): Body<Confirm>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    if booking.toss.is_none() {
        return Err(Problem::new(Code::NotFound).because("no card payment provider is set up"));
    }
    if !is_key(&given.payment_key) {
        return Err(Problem::new(Code::Invalid).because("paymentKey: expected 1 to 200 plain characters"));
    }
    let order: OrderId = given.order_id.parse().map_err(|_| Code::NotFound)?;
    // In a currency with smaller units the two amounts would not mean the same.
    let known = booking.order(order).await?.filter(|order| order.account == caller.account);
    if known.is_some_and(|order| order.currency != CURRENCY) {
        return Err(Problem::new(Code::Invalid).because(format!("orderId: cards pay in {CURRENCY} only")));
    }
    let (amount, means) = (Money::new(given.amount), Means::Card(&given.payment_key));
    let key = idempotency::key(&headers)?;
    let id = booking.request_payment(order, caller.account, Some(amount), means, key).await?;
    booking.card_work.notify_one();
    let body = Accepted {
        request_id: id.to_string(),
        order_id: order.to_string(),
        status: PaymentStatus::Pending.as_str(),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(body)))
}
