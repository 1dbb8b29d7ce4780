//! The plain page: a hall to look at, seats to take, tickets to keep.
//!
//! Its files are built in, nothing from elsewhere, no build step. The page talks
//! to the same API as everybody.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const PAGE: &str = include_str!("../../web/booking/index.html");
const STYLE: &str = include_str!("../../web/booking/booking.css");
const SCRIPTS: [(&str, &str); 5] = [
    ("/assets/booking/app.js", include_str!("../../web/booking/app.js")),
    ("/assets/booking/api.js", include_str!("../../web/booking/api.js")),
    ("/assets/booking/hall.js", include_str!("../../web/booking/hall.js")),
    ("/assets/booking/live.js", include_str!("../../web/booking/live.js")),
    ("/assets/booking/words.js", include_str!("../../web/booking/words.js")),
];
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(kind: &'static str, body: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, body).into_response()
}

/// The page under every path it draws, and its files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = get(async || file("text/html; charset=utf-8", PAGE));
    let mut router = Router::new()
        .route("/", page.clone())
        .route("/events/{id}", page.clone())
        .route("/tickets", page)
        .route("/assets/booking/booking.css", get(async || file("text/css; charset=utf-8", STYLE)));
    for (path, script) in SCRIPTS {
        router = router.route(path, get(async move || file("text/javascript; charset=utf-8", script)));
    }
    router
}
