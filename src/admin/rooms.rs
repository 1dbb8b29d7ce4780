//! Rooms as operators read and change them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::audit::{Act, Who};
use super::{Admin, problem};
use crate::domain::id::PlaceNumber;
use crate::domain::line::Settings;
use crate::domain::opening::Rescheduled;
use crate::domain::place::Reason;
use crate::domain::time::{Timestamp, millis};
use crate::queue::Room;
use crate::store::{Overrides, StoreError};

/// A change: a key left out stays, null clears an override.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Change {
    #[serde(deserialize_with = "given")]
    capacity: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    batch: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    rate_per_minute: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    max_waiting: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    pass_ttl_ms: Option<Option<u64>>,
    #[serde(deserialize_with = "given")]
    message: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    opens_at: Option<Option<u64>>,
}

/// A key that is there, null included.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Change {
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { batch: Some(Some(0)), .. } => Err("batch: expected at least 1"),
            Self { pass_ttl_ms: Some(Some(0..1_000)), .. } => Err("pass_ttl_ms: expected at least 1000"),
            Self { message: Some(Some(text)), .. } if text.len() > 1_000 => {
                Err("message: expected at most 1000 bytes")
            }
            _ => Ok(()),
        }
    }

    fn apply(self, overrides: &mut Overrides, base: &Settings) {
        let Self { capacity, batch, rate_per_minute, max_waiting, pass_ttl_ms, message, opens_at } = self;
        set(&mut overrides.capacity, capacity);
        set(&mut overrides.batch, batch);
        set(&mut overrides.rate_per_minute, rate_per_minute);
        set(&mut overrides.max_waiting, max_waiting);
        set(&mut overrides.pass_ttl, pass_ttl_ms.map(|ms| ms.map(Duration::from_millis)));
        set(&mut overrides.message, message);
        let moved = |ms| Rescheduled::new(base.opening, Timestamp::from_millis(ms));
        set(&mut overrides.opening, opens_at.map(|ms| ms.map(moved)));
    }
}

fn set<T>(override_: &mut Option<T>, change: Option<Option<T>>) {
    if let Some(value) = change {
        *override_ = value;
    }
}

type Rooms = State<Arc<Admin>>;

pub(super) async fn list(State(admin): Rooms) -> Json<Value> {
    Json(json!({ "items": admin.rooms.iter().map(|room| read(room)).collect::<Vec<_>>() }))
}

pub(super) async fn show(State(admin): Rooms, Path(room): Path<String>) -> Response {
    let Some(room) = find(&admin, &room) else { return unknown() };
    Json(read(room)).into_response()
}

pub(super) async fn change(
    State(admin): Rooms,
    Path(room): Path<String>,
    who: Who,
    body: String,
) -> Response {
    let Some(room) = find(&admin, &room) else { return unknown() };
    let change: Change = match serde_json::from_str(&body) {
        Ok(change) => change,
        Err(why) => return problem(StatusCode::BAD_REQUEST, "bad_request", &why.to_string()),
    };
    if let Err(why) = change.check() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "bad_value", why);
    }
    let base = room.config().line.clone();
    let act = Act::begin(who, Some(room), "change");
    let outcome = room.override_with(|overrides| change.apply(overrides, &base)).await;
    done(&admin, act, room, outcome)
}

/// `pause`, `resume`, `open`, `close`, `drain`, `bypass`.
pub(super) async fn act(
    State(admin): Rooms,
    Path((room, act)): Path<(String, String)>,
    who: Who,
) -> Response {
    let Some(room) = find(&admin, &room) else { return unknown() };
    let change: fn(&mut Overrides, &Settings, Timestamp) = match act.as_str() {
        "pause" => |o, _, _| o.paused = Some(true),
        "resume" => |o, _, _| {
            o.paused = None;
            o.bypass = None;
        },
        "open" => |o, base, now| {
            o.open_doors(base, now);
            o.closed = Some(false);
            o.sold_out = None;
            o.paused = None;
            o.draining = None;
        },
        "close" => |o, _, _| {
            o.closed = Some(true);
            o.sold_out = None;
        },
        "drain" => |o, _, _| o.draining = Some(true),
        "bypass" => |o, _, _| o.bypass = Some(true),
        _ => return problem(StatusCode::NOT_FOUND, "not_found", "no such act"),
    };
    let (base, now) = (room.config().line.clone(), room.now());
    let act = Act::begin(who, Some(room), act);
    let outcome = room.override_with(|overrides| change(overrides, &base, now)).await;
    done(&admin, act, room, outcome)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Clear {
    confirm: Option<String>,
}

pub(super) async fn clear(State(admin): Rooms, Path(name): Path<String>, who: Who, body: String) -> Response {
    let Some(room) = find(&admin, &name) else { return unknown() };
    let clear: Clear = serde_json::from_str(&body).unwrap_or_default();
    if clear.confirm.as_deref() != Some(name.as_str()) {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "confirm", "expected {\"confirm\": \"ROOM\"}");
    }
    tracing::warn!(room = %name, "the line is cleared by an operator");
    let act = Act::begin(who, Some(room), "clear");
    let outcome = room.clear().await;
    done(&admin, act, room, outcome)
}

pub(super) async fn remove_place(
    State(admin): Rooms,
    Path((room, number)): Path<(String, String)>,
    who: Who,
) -> Response {
    remove(&admin, &room, "place", &number, who).await
}

pub(super) async fn remove_pass(
    State(admin): Rooms,
    Path((room, number)): Path<(String, String)>,
    who: Who,
) -> Response {
    remove(&admin, &room, "pass", &number, who).await
}

async fn remove(admin: &Admin, room: &str, what: &str, number: &str, who: Who) -> Response {
    let Some(room) = find(admin, room) else { return unknown() };
    let Ok(number) = number.parse().map(PlaceNumber) else {
        return problem(StatusCode::BAD_REQUEST, "bad_number", "expected a place's number");
    };
    let act = Act::begin(who, Some(room), format!("remove {what} {}", number.0));
    let outcome = revoke(room, number).await;
    let word = match &outcome {
        Ok(Some(_)) => "done",
        Ok(None) => "not_found",
        Err(_) => "store_down",
    };
    admin.audit.note(act, word, admin.now());
    match outcome {
        Ok(Some(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "not_found", "nobody holds that number"),
        Err(why) => away(&why),
    }
}

/// Every gate hears of a revoked pass from the log, within half a second.
async fn revoke(room: &Room, number: PlaceNumber) -> Result<Option<PlaceNumber>, StoreError> {
    let Some(visitor) = room.holder(number).await? else { return Ok(None) };
    room.end(visitor, None, Reason::Revoked).await
}

fn find<'a>(admin: &'a Admin, name: &str) -> Option<&'a Arc<Room>> {
    admin.rooms.iter().find(|room| room.config().name.as_str() == name)
}

fn unknown() -> Response {
    problem(StatusCode::NOT_FOUND, "unknown_room", "no room of that name")
}

fn done(admin: &Admin, act: Act<'_>, room: &Room, outcome: Result<(), StoreError>) -> Response {
    admin.audit.note(act, if outcome.is_ok() { "done" } else { "store_down" }, admin.now());
    match outcome {
        Ok(()) => Json(read(room)).into_response(),
        Err(why) => away(&why),
    }
}

fn away(why: &StoreError) -> Response {
    problem(StatusCode::SERVICE_UNAVAILABLE, "store_down", &why.to_string())
}

/// A room as the contract shows it; numbers the gate does not know are null.
pub(super) fn read(room: &Room) -> Value {
    let now = room.now();
    let config = room.config();
    let view = room.view();
    let settings = view.overrides.apply(&config.line);
    let standing = view.standing.as_ref();
    let wait = |quantile: f64| room.waits(quantile).map(millis);
    let count = |f: fn(&crate::domain::line::Standing) -> u64| standing.map(f);
    json!({
        "name": config.name.as_str(),
        "state": state(&view, now),
        "mode": config.mode,
        "waiting": count(|s| s.waiting + s.returning),
        "called": count(|s| s.called),
        "active": count(|s| s.active),
        "capacity": view.capacity(),
        "capacity_set": settings.capacity,
        "batch": settings.batch,
        "tick_ms": millis(settings.tick),
        "rate_per_minute": settings.rate_per_minute.unwrap_or(0),
        "joined_total": count(|s| s.totals.joined),
        "admitted_total": count(|s| s.totals.admitted),
        "claimed_total": count(|s| s.totals.claimed),
        "evicted_total": count(|s| s.totals.evicted),
        "expired_total": count(|s| s.totals.expired),
        "left_total": count(|s| s.totals.left),
        "wait_ms": { "p50": wait(0.5), "p95": wait(0.95), "p99": wait(0.99) },
        "degraded": view.degraded,
        "tick": count(|s| s.tick),
        "epoch": count(|s| s.epoch.0),
        "draining": settings.draining,
        "sold_out": view.is_sold_out(),
        "message": view.overrides.message,
        "stock": room.stock(now),
        "opens_at": view.opening(now).map(|opening| opening.at.as_millis()),
    })
}

fn state(view: &crate::queue::View, now: Timestamp) -> &'static str {
    match &view.overrides {
        Overrides { bypass: Some(true), .. } => "bypass",
        Overrides { closed: Some(true), .. } => "closed",
        Overrides { paused: Some(true), .. } => "paused",
        _ if view.settings.closed => "closed",
        _ if view.opening(now).is_some() => "opening",
        _ => "open",
    }
}
