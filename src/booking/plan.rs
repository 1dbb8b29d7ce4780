//! The seat map's plan: the same seats as [`super::seats`] in a hundredth of the
//! bytes, for a page that draws 50,000 of them.
//!
//! A seat's id is `SECTION-ROW-NUMBER` and need not be sent; how the seats stand
//! is two bits each, as in the live map's snapshot.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use super::Booking;
use super::events::{Kind, Layout};
use super::holds::Seats;
use super::pass::ThroughGate;
use super::problem::{Path, Problem};
use crate::domain::seat::{SeatIndex, SeatStatus};

/// An event's seats in the order of `/seats`, without naming each.
#[derive(Debug, Serialize, ToSchema)]
pub struct Plan<'a> {
    /// Which shape of the event this is; grows when seats, names or prices change.
    layout: i64,
    /// As in `/seats`: grows with every change of a seat; 0 while holds are not known.
    version: u64,
    /// The most seats that one hold may have.
    max_seats: usize,
    sections: Vec<PlanSection<'a>>,
    /// Base64: seat i is bits 2·(i mod 4), low first, of byte ⌊i/4⌋; 0 AVAILABLE, 1 HELD, 2 SOLD.
    seats: String,
}

/// A section of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanSection<'a> {
    #[schema(example = "A")]
    id: &'a str,
    name: &'a str,
    kind: Kind,
    /// In the currency's smallest unit.
    price: i64,
    /// Nearest the stage first.
    rows: Vec<PlanRow<'a>>,
}

/// A row of a plan: its seats' ids are `SECTION-ROW-NUMBER`.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanRow<'a> {
    #[schema(example = "1")]
    row: &'a str,
    /// How many seats, numbered from 1 unless `numbers` says otherwise.
    seats: usize,
    /// The seats' numbers; left out where they are 1, 2, 3, …
    #[serde(skip_serializing_if = "Option::is_none")]
    numbers: Option<Vec<u32>>,
    /// Numbers of those that are held only with `accessible: true`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    accessible: Vec<u32>,
}

/// The shape of an event and how its seats stand, compactly.
#[utoipa::path(get, path = "/api/events/{id}/plan", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = Plan), (status = 304), (status = 403, description = "pass_required"),
              (status = 404, description = "not_found")))]
pub async fn get(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let most = booking.settings.hold_max_seats;
    let render =
        |layout: &Layout, seats: &Seats| serde_json::to_vec(&plan(layout, seats, most)).unwrap_or_default();
    booking.plans.answer(&booking, &id, &headers, "plan", render).await
}

fn plan<'a>(layout: &'a Layout, seats: &Seats, max_seats: usize) -> Plan<'a> {
    let section = |section: &'a super::events::Section| PlanSection {
        id: &section.id,
        name: &section.name,
        kind: section.kind,
        price: section.price.units(),
        rows: Vec::new(),
    };
    let mut sections: Vec<_> = layout.sections.iter().map(section).collect();
    // Neighbours in the order that is shown, of one section and one row label.
    let alike = |a: &SeatIndex, b: &SeatIndex| {
        let (a, b) = (layout.chair(*a), layout.chair(*b));
        a.section == b.section && a.row == b.row
    };
    for row in layout.order.chunk_by(alike) {
        let chairs = || row.iter().map(|seat| layout.chair(*seat));
        let counted = chairs().zip(1..).all(|(chair, number)| chair.number == number);
        let first = layout.chair(row[0]);
        sections[first.section].rows.push(PlanRow {
            row: &first.row,
            seats: row.len(),
            numbers: (!counted).then(|| chairs().map(|chair| chair.number).collect()),
            accessible: chairs().filter(|chair| chair.accessible).map(|chair| chair.number).collect(),
        });
    }
    Plan {
        layout: layout.number,
        version: seats.version,
        max_seats,
        sections,
        seats: STANDARD.encode(bits(layout, &seats.statuses)),
    }
}

/// How the seats stand, in the order of `/seats`, two bits each (CONTRACT, section 6).
#[must_use]
pub fn bits(layout: &Layout, statuses: &[SeatStatus]) -> Vec<u8> {
    let mut bytes = vec![0_u8; layout.order.len().div_ceil(4)];
    for (i, seat) in layout.order.iter().enumerate() {
        let two = match statuses[seat.at()] {
            SeatStatus::Available => 0,
            SeatStatus::Held => 1,
            SeatStatus::Sold => 2,
        };
        bytes[i / 4] |= two << (2 * (i % 4));
    }
    bytes
}
