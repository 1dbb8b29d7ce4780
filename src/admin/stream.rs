//! Samples of all rooms as server-sent events, one a second.
//!
//! A stream makes its next sample when the last one was taken off it: a reader
//! that falls behind costs no memory. So many at a time, and no more.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::{Admin, problem, rooms};

/// Streams at a time.
pub(super) const STREAMS: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn samples(State(admin): State<Arc<Admin>>) -> Response {
    let Ok(permit) = Arc::clone(&admin.streams).try_acquire_owned() else {
        return problem(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", "close another one first");
    };
    let mut seconds = tokio::time::interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let samples = stream::unfold((admin, seconds, permit), |(admin, mut seconds, permit)| async {
        tokio::select! {
            () = admin.lifecycle.draining.cancelled() => return None,
            _ = seconds.tick() => {}
        }
        let event = Event::default().event("sample").data(sample(&admin));
        Some((Ok::<_, Infallible>(event), (admin, seconds, permit)))
    });
    let mut response = Sse::new(samples).into_response();
    // Proxies must pass each sample on as it comes.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn sample(admin: &Admin) -> String {
    let rooms: Vec<_> = admin.rooms.iter().map(|room| rooms::read(room)).collect();
    json!({ "at": admin.now().as_millis(), "rooms": rooms }).to_string()
}
