//! The routes, and their description made from the same handlers.

mod describe;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use super::problem::{Code, Problem, localise};
use super::{
    Booking, accounts, admission, events, holds, idempotency, live, orders, page, payments, plan, seats,
    support, tickets, wallet,
};

/// No request of this API takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn documented() -> OpenApiRouter<Arc<Booking>> {
    OpenApiRouter::with_openapi(OpenApi::new(
        utoipa::openapi::InfoBuilder::new()
            .title("Usher booking API")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(
                "Seats, holds, orders, payments and tickets. Instants are milliseconds since the Unix \
                 epoch, money is in the currency's smallest unit, refusals are RFC 9457 problems with a \
                 stable `code`. A POST that creates or pays may carry `Idempotency-Key`.",
            ))
            .build(),
        utoipa::openapi::Paths::new(),
    ))
    .routes(routes!(accounts::create))
    .routes(routes!(accounts::change))
    .routes(routes!(accounts::sign_in))
    .routes(routes!(accounts::sign_out))
    .routes(routes!(accounts::me))
    .routes(routes!(wallet::get))
    .routes(routes!(wallet::charge))
    .routes(routes!(events::list, events::create))
    .routes(routes!(events::get, events::change, events::remove))
    .routes(routes!(seats::list))
    .routes(routes!(live::watch))
    .routes(routes!(live::count))
    .routes(routes!(plan::get))
    .routes(routes!(holds::hold))
    .routes(routes!(holds::extend))
    .routes(routes!(holds::release))
    .routes(routes!(orders::create, orders::list))
    .routes(routes!(orders::get))
    .routes(routes!(orders::cancel))
    .routes(routes!(payments::methods))
    .routes(routes!(payments::create))
    .routes(routes!(payments::confirm))
    .routes(routes!(payments::status))
    .routes(routes!(payments::hear))
    .routes(routes!(payments::stuck))
    .routes(routes!(payments::close))
    .routes(routes!(admission::list, admission::create))
    .routes(routes!(admission::get, admission::remove))
    .routes(routes!(admission::reserve))
    .routes(routes!(tickets::mine))
    .routes(routes!(tickets::qr))
    .routes(routes!(tickets::check_in))
    .routes(routes!(support::ask))
    .routes(routes!(support::request, support::withdraw))
    .routes(routes!(support::end))
    .routes(routes!(support::live))
    .routes(routes!(support::counsellor, support::change))
    .routes(routes!(support::kpi))
}

/// The API, its description, the page and health, ready to serve.
pub(super) fn router(booking: Arc<Booking>) -> axum::Router {
    let (api, mut description) = documented().split_for_parts();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description.components.get_or_insert_default().add_security_scheme("bearer", bearer);
    let description = describe::complete(&description);
    // The inner one speaks the answer that is kept under an idempotency key, the
    // outer one what the layers around it refuse.
    api.layer(from_fn(localise))
        .layer(from_fn_with_state(Arc::clone(&booking), idempotency::layer))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready))
        .merge(page::routes())
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .with_state(booking)
        .merge(SwaggerUi::new("/api/docs").external_url_unchecked("/api/openapi.json", description))
        .layer(DefaultBodyLimit::max(idempotency::BODY_BYTES))
        .layer(from_fn(|request, next| in_time(PATIENCE, request, next)))
        .layer(CatchPanicLayer::custom(|_| Problem::new(Code::Internal).into_response()))
        .layer(from_fn(localise))
}

/// An answer after `patience` at most, if only "not now".
async fn in_time(patience: Duration, request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(patience, next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::new(Code::Unavailable).retry_after(1).into_response())
}

async fn ready(State(booking): State<Arc<Booking>>) -> Response {
    let (database, holds) = tokio::join!(booking.db.ping(), booking.holds.ping());
    match (database, holds) {
        (Ok(()), Ok(())) => "ready".into_response(),
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "database away").into_response(),
        (_, Err(_)) => (StatusCode::SERVICE_UNAVAILABLE, "hold store away").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::header;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn what_takes_too_long_is_told_to_come_again_as_everything_else_is() {
        let never = axum::Router::new().route("/", get(async || std::future::pending::<()>().await));
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let answer = never
            .layer(from_fn(|request, next| in_time(Duration::from_millis(5), request, next)))
            .oneshot(request)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    }
}
