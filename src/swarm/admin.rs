//! The one thing that the swarm asks an operator's API: the capacity.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;

use super::options::Target;
use super::wire::Pool;

#[derive(Deserialize)]
struct Room {
    capacity: u64,
}

/// The capacity of `room` now; `None` when the API does not tell.
pub(super) async fn capacity(admin: &Target, token: Option<&str>, room: &str) -> Option<u64> {
    let mut ask = Request::get(format!("/admin/v1/rooms/{room}")).header(HOST, admin.authority());
    if let Some(token) = token {
        ask = ask.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let ask = ask.body(Full::new(Bytes::new())).ok()?;
    let answer = Pool::own(std::slice::from_ref(admin)).send(0, ask).await.ok()?;
    if answer.status != StatusCode::OK {
        return None;
    }
    serde_json::from_slice::<Room>(&answer.body).ok().map(|room| room.capacity)
}
