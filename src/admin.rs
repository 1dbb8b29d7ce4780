//! The operators' side: health, metrics, rooms, the dashboard, and who did what.
//!
//! Never on the crowd's listener.

mod audit;
mod dashboard;
mod rooms;
mod stream;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::config::reload::Reloader;
use crate::domain::time::Timestamp;
use crate::lifecycle::Lifecycle;
use crate::queue::Room;
use crate::telemetry::Metrics;

pub use audit::Audit;
use audit::{Act, Who};

/// What the admin listener serves.
pub struct Admin {
    /// The rooms, in the file's order.
    pub rooms: Vec<Arc<Room>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether the process is stopping.
    pub lifecycle: Arc<Lifecycle>,
    /// Reads the settings file again; `None` where there is no file.
    pub reloader: Option<Arc<Reloader>>,
    /// Bearer token; `None` only on loopback.
    pub token: Option<String>,
    /// What operators did.
    pub audit: Audit,
    /// One permit for each stream of samples.
    pub streams: Arc<Semaphore>,
}

impl Admin {
    /// Permits for as many streams as are served at a time.
    #[must_use]
    pub fn streams() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(stream::STREAMS))
    }

    /// The lines' time.
    fn now(&self) -> Timestamp {
        self.rooms.first().map(|room| room.now()).unwrap_or_default()
    }

    /// The routes.
    pub fn router(self) -> Router {
        let admin = Arc::new(self);
        let guarded = Router::new()
            .route("/metrics", get(metrics))
            .route("/admin/v1/reload", post(reload))
            .route("/admin/v1/audit", get(audit::list))
            .route("/admin/v1/stream", get(stream::samples))
            .route("/admin/v1/rooms", get(rooms::list))
            .route("/admin/v1/rooms/{room}", get(rooms::show).patch(rooms::change))
            .route("/admin/v1/rooms/{room}/clear", post(rooms::clear))
            .route("/admin/v1/rooms/{room}/places/{number}", axum::routing::delete(rooms::remove_place))
            .route("/admin/v1/rooms/{room}/passes/{number}", axum::routing::delete(rooms::remove_pass))
            .route("/admin/v1/rooms/{room}/{act}", post(rooms::act))
            .layer(middleware::from_fn_with_state(Arc::clone(&admin), authorise));
        Router::new()
            .route("/", get(dashboard::page))
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route(
                "/version",
                get(|| async { Json(json!({"name": "usher", "version": env!("CARGO_PKG_VERSION")})) }),
            )
            .merge(guarded)
            .fallback(|| async { problem(StatusCode::NOT_FOUND, "not_found", "no such path") })
            .method_not_allowed_fallback(|| async {
                problem(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "this path does not take that method",
                )
            })
            .with_state(admin)
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let away: Vec<String> = admin
        .rooms
        .iter()
        .filter(|room| !room.is_ready())
        .map(|room| room.config().name.to_string())
        .collect();
    if admin.lifecycle.is_stopping() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this gate is stopping");
    }
    if !away.is_empty() {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_down",
            &format!("no store for {}", away.join(", ")),
        );
    }
    "ready\n".into_response()
}

/// Reads the settings file again, whole or not at all.
async fn reload(State(admin): State<Arc<Admin>>, who: Who) -> Response {
    let Some(reloader) = &admin.reloader else {
        return problem(StatusCode::CONFLICT, "no_file", "this gate was started without a settings file");
    };
    let act = Act::begin(who, None, "reload");
    let reloaded = reloader.reload();
    admin.audit.note(act, if reloaded.is_ok() { "done" } else { "bad_settings" }, admin.now());
    match reloaded {
        Ok(needs_restart) => {
            Json(json!({ "reloaded": true, "needs_restart": needs_restart })).into_response()
        }
        Err(why) => problem(StatusCode::UNPROCESSABLE_ENTITY, "bad_settings", &why.to_string()),
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let text = admin.metrics.render(admin.rooms.iter().map(AsRef::as_ref));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn authorise(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if admin.token.is_none() && !is_for_loopback(&request) {
        return problem(
            StatusCode::FORBIDDEN,
            "forbidden",
            "without a token only calls to localhost or a loopback address are served",
        );
    }
    let allowed = match &admin.token {
        None => !is_from_a_page(&request),
        Some(token) => given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into()),
    };
    if allowed {
        return next.run(request).await;
    }
    let mut response = problem(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer token is needed");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

/// Without a token only programs are served: a page that some browser on this
/// machine has open must not steer the line.
fn is_from_a_page(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site").and_then(|value| value.to_str().ok());
    site.is_some_and(|site| !matches!(site, "none" | "same-origin"))
}

/// Whether the call names this machine. A foreign name can be made to resolve to
/// it, and a browser then takes that site's page for one of this listener's own.
fn is_for_loopback(request: &Request) -> bool {
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let lines = request.headers().get_all(header::HOST).iter().map(header::HeaderValue::as_bytes);
    let mut hosts = lines.chain(authority).peekable();
    hosts.peek().is_some() && hosts.all(|host| std::str::from_utf8(host).is_ok_and(is_loopback))
}

/// Whether `host`, with or without a port, is `localhost` or a loopback address.
fn is_loopback(host: &str) -> bool {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return is_port(port) && address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    let (name, port) = host.find(':').map_or((host, ""), |at| host.split_at(at));
    is_port(port)
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()))
}

/// Whether `text` is empty or `:` and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// RFC 9457.
fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &str, hosts: &[&str]) -> Request {
        let mut request = axum::http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(axum::body::Body::empty()).expect("a request")
    }

    #[test]
    fn only_this_machines_own_names_are_loopback() {
        for good in
            ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.0.0.1:8081", "127.1.2.3", "[::1]", "[::1]:1"]
        {
            assert!(is_for_loopback(&call("/", &[good])), "{good}");
        }
        for bad in [
            "",
            "evil.test",
            "localhost.evil.test:8081",
            "127.0.0.1.evil.test",
            "10.0.0.1",
            "[::2]",
            "[::1]x",
            "localhost:8081@evil.test",
        ] {
            assert!(!is_for_loopback(&call("/", &[bad])), "{bad}");
        }
        assert!(!is_for_loopback(&call("/", &[])));
        assert!(!is_for_loopback(&call("/", &["localhost", "evil.test"])));
        assert!(!is_for_loopback(&call("http://evil.test/", &["localhost"])));
        assert!(is_for_loopback(&call("http://localhost:8081/", &[])), "HTTP/2");
    }
}
