//! Every seat of an event and how it stands.
//!
//! Answered from the hold store, which the database's sales were loaded into; while
//! that is away, from the database, without holds.
//! A body is kept under its version: while nothing changes, a crowd that looks
//! costs one comparison each.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events::Layout;
use super::holds::{BY_DATABASE, Seats};
use super::pass::ThroughGate;
use super::problem::{Code, Path, Problem, Query};
use super::{Booking, STOCK};
use crate::domain::seat::{EventId, SeatIndex, SeatStatus};

/// One seat.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeatView<'a> {
    #[schema(example = "A-1-12")]
    id: &'a str,
    /// The section's id.
    section: &'a str,
    row: &'a str,
    number: u32,
    /// `AVAILABLE`, `HELD` (also while being paid) or `SOLD`.
    #[schema(example = "AVAILABLE")]
    status: &'static str,
    /// In the currency's smallest unit.
    price: i64,
    /// Made for wheelchairs and those with them: held only with `accessible: true`.
    /// Left out where it is not so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    accessible: bool,
}

/// Seats by section, row and number.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeatList<'a> {
    /// Grows with every change; 0 while holds are not known, only what is sold or being paid for.
    version: u64,
    seats: Vec<SeatView<'a>>,
}

/// Which seats.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeatFilter {
    /// Only those that can be held.
    #[serde(default)]
    available: bool,
}

/// What makes two bodies of one event equal: shape, state, form.
type Edition = (i64, u64, &'static str);

/// The last body of each event.
#[derive(Debug, Default)]
pub struct Bodies(Mutex<HashMap<EventId, (Edition, Bytes)>>);

impl Bodies {
    /// The seats of an event in one `form`, unless the caller has just that.
    ///
    /// # Errors
    /// No such event; unavailable while the store lacks seats that were just added.
    pub(super) async fn answer(
        &self,
        booking: &Booking,
        id: &str,
        headers: &HeaderMap,
        form: &'static str,
        render: impl FnOnce(&Layout, &Seats) -> Vec<u8>,
    ) -> Result<Response, Problem> {
        let layout = booking.layout(id).await?;
        let seats = booking.holds.shown(&layout, booking.now()).await?;
        if seats.statuses.len() < layout.chairs.len() {
            return Err(Problem::new(Code::Unavailable).retry_after(1));
        }
        if seats.version == BY_DATABASE {
            let common = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/json")];
            return Ok((common, render(&layout, &seats)).into_response());
        }
        let edition = (layout.number, seats.version, form);
        let tag = format!("\"{}-{}-{form}\"", edition.0, edition.1);
        let free = seats.statuses.iter().filter(|status| **status == SeatStatus::Available).count();
        let common = [
            (header::ETAG.as_str(), tag.clone()),
            (header::CACHE_CONTROL.as_str(), "no-cache".to_owned()),
            (STOCK, free.to_string()),
        ];
        if matches(headers, &tag) {
            return Ok((StatusCode::NOT_MODIFIED, common).into_response());
        }
        let body = self.get(&layout.id, edition, || render(&layout, &seats));
        Ok((common, [(header::CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn get(&self, event: &EventId, edition: Edition, render: impl FnOnce() -> Vec<u8>) -> Bytes {
        if let Some((_, body)) = self.0.lock().get(event).filter(|(of, _)| *of == edition) {
            return body.clone();
        }
        let body = Bytes::from(render());
        self.0.lock().insert(event.clone(), (edition, body.clone()));
        body
    }
}

/// Every seat of an event.
#[utoipa::path(get, path = "/api/events/{id}/seats", tag = "events",
    params(("id" = String, Path), SeatFilter),
    responses((status = 200, body = SeatList), (status = 304), (status = 403, description = "pass_required"),
              (status = 404, description = "not_found")))]
pub async fn list(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    Path(id): Path<String>,
    Query(filter): Query<SeatFilter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = if filter.available { "1" } else { "0" };
    let render = |layout: &Layout, seats: &Seats| render(layout, seats, filter.available);
    booking.bodies.answer(&booking, &id, &headers, form, render).await
}

/// Whether the caller has this edition (RFC 9110, 13.1.2; weak comparison).
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

fn render(layout: &Layout, seats: &Seats, only_available: bool) -> Vec<u8> {
    let view = |seat: &SeatIndex| {
        let chair = layout.chair(*seat);
        SeatView {
            id: &chair.id,
            section: &layout.sections[chair.section].id,
            row: &chair.row,
            number: chair.number,
            status: seats.statuses[seat.at()].as_str(),
            price: layout.price(*seat).units(),
            accessible: chair.accessible,
        }
    };
    let wanted = |seat: &&SeatIndex| !only_available || seats.statuses[seat.at()] == SeatStatus::Available;
    let list =
        SeatList { version: seats.version, seats: layout.order.iter().filter(wanted).map(view).collect() };
    serde_json::to_vec(&list).unwrap_or_default()
}
