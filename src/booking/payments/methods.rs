//! `GET /api/payments/methods`: how a buyer can pay here.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::booking::Booking;
use crate::booking::wallet::CURRENCY;

/// One way to pay.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodView {
    /// `points` (from the wallet) or `card`.
    #[schema(example = "points")]
    method: &'static str,
    /// Only orders in this currency.
    #[schema(example = "KRW")]
    currency: &'static str,
    /// Where the buyer agrees to a card payment: opened with `orderId`, `amount`, `orderName`,
    /// `successUrl` and `failUrl`, and comes back with what `POST /api/payments/confirm` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<String>,
}

/// Every way to pay.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodList {
    items: Vec<MethodView>,
}

/// How orders can be paid; `card` where the settings name a provider and its window.
#[utoipa::path(get, path = "/api/payments/methods", tag = "payments",
    responses((status = 200, body = MethodList)))]
pub async fn methods(State(booking): State<Arc<Booking>>) -> axum::Json<MethodList> {
    let points = MethodView { method: "points", currency: CURRENCY, window: None };
    let window = booking.settings.toss.as_ref().and_then(|toss| toss.window.clone());
    let card = window.map(|window| MethodView { method: "card", currency: CURRENCY, window: Some(window) });
    axum::Json(MethodList { items: std::iter::once(points).chain(card).collect() })
}
