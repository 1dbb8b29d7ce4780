//! General admission: so many tickets, first come, first served.
//!
//! An offer is an event with one section of numbered places, of which any will
//! do. So a ticket is a place like every other: held, paid, given back, checked
//! in and audited by the same rules, `issued ≤ quantity` follows from one live
//! ticket per place, and there is no counter row that all buyers wait for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{AppendHeaders, IntoResponse};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accounts::auth::{Admin, Caller};
use super::db::RowExt as _;
use super::events::{Kind, Layout, MAX_SEATS, NewEvent, NewSection, SoldAs};
use super::holds::Kept;
use super::paging::Page;
use super::pass::ThroughGate;
use super::problem::{Body, Code, Path, Problem, Query};
use super::{Booking, COMMAND};
use crate::domain::order::{AccountId, OrderStatus};
use crate::domain::seat::floor::{Hold, Wanted};
use crate::domain::seat::{EventId, HoldId, SeatIndex, SeatStatus};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// Times places are picked anew after somebody else took one of them.
const TRIES: usize = 64;
/// What the gate adds to a hold's time, so that the pass outlives the payment.
const CHECKOUT_SECONDS: u64 = 60;

/// Tickets on offer.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferView {
    id: String,
    title: String,
    /// How many there are.
    quantity: u32,
    /// How many were sold; never more than `quantity`.
    issued: u32,
    /// How many are kept for buyers who have not paid yet.
    reserved: u32,
    /// In ms since the Unix epoch.
    event_time: u64,
    /// In the currency's smallest unit.
    price: i64,
    #[schema(example = "KRW")]
    currency: String,
}

/// Offers by time.
#[derive(Debug, Serialize, ToSchema)]
pub struct OfferList {
    items: Vec<OfferView>,
    /// For `cursor`; null at the end.
    next: Option<String>,
}

/// A new offer.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewOffer {
    /// 1 to 200 characters.
    #[schema(example = "Riverside picnic concert")]
    title: String,
    /// 1 to 100,000.
    #[schema(example = 500, minimum = 1, maximum = 100_000)]
    quantity: u32,
    /// When it is.
    event_time: Instant,
    /// In the currency's smallest unit; 0 is paid at once.
    #[schema(example = 15_000, minimum = 0)]
    price: i64,
}

/// An instant, as ms since the Unix epoch or in RFC 3339.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Instant {
    /// Ms since the Unix epoch.
    Millis(u64),
    /// Such as `2026-12-24T18:00:00+09:00`.
    Text(String),
}

impl Instant {
    /// Ms since the Unix epoch, if it is an instant from then on.
    pub(super) fn as_millis(&self) -> Option<u64> {
        match self {
            Self::Millis(ms) => Some(*ms),
            Self::Text(text) => {
                text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok())
            }
        }
    }
}

/// How many tickets to keep.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewReservation {
    #[schema(example = 2, minimum = 1)]
    quantity: u32,
}

/// Tickets kept for the caller.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reservation {
    reservation_id: String,
    /// To pay for.
    order_id: String,
    /// `PENDING`, or `PAID` when the price is 0.
    #[schema(example = "PENDING")]
    status: &'static str,
    /// In the currency's smallest unit.
    amount: i64,
    /// In ms since the Unix epoch.
    expires_at: u64,
}

/// What is on offer, by time.
#[utoipa::path(get, path = "/api/tickets", tag = "admission", params(Page),
    responses((status = 200, body = OfferList)))]
pub async fn list(
    State(booking): State<Arc<Booking>>,
    Query(page): Query<Page>,
) -> Result<axum::Json<OfferList>, Problem> {
    let (after, after_id) = match &page.cursor {
        Some(_) => page.after()?,
        None => (-1, String::new()),
    };
    let rows = sqlx::query(
        "SELECT id, starts_at, layout FROM events
         WHERE kind = 'admission' AND (starts_at > $1 OR (starts_at = $1 AND id > $2))
         ORDER BY starts_at, id LIMIT $3",
    )
    .bind(after)
    .bind(after_id)
    .bind(i64::from(page.limit()) + 1)
    .fetch_all(booking.db.read())
    .await?;
    let shown = &rows[..rows.len().min(page.limit() as usize)];
    let next = match shown.last().filter(|_| rows.len() > shown.len()) {
        Some(last) => Some(format!("{}.{}", last.count("starts_at")?, last.text("id")?)),
        None => None,
    };
    let mut items = Vec::with_capacity(shown.len());
    for row in shown {
        if let Some(layout) = booking.layouts.at(&row.parsed("id")?, row.int("layout")?).await? {
            items.push(booking.offer_view(&layout).await?);
        }
    }
    Ok(axum::Json(OfferList { items, next }))
}

/// One offer.
#[utoipa::path(get, path = "/api/tickets/{id}", tag = "admission", params(("id" = String, Path)),
    responses((status = 200, body = OfferView), (status = 404, description = "not_found")))]
pub async fn get(
    State(booking): State<Arc<Booking>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let layout = booking.offer(&id).await?;
    let view = booking.offer_view(&layout).await?;
    let left = view.quantity - view.issued - view.reserved;
    Ok((AppendHeaders([(super::STOCK, left.to_string())]), axum::Json(view)))
}

/// Puts tickets on offer.
#[utoipa::path(post, path = "/api/tickets", tag = "admission", request_body = NewOffer,
    security(("bearer" = [])),
    responses((status = 201, body = OfferView), (status = 403, description = "forbidden"),
              (status = 422, description = "invalid")))]
pub async fn create(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Body(new): Body<NewOffer>,
) -> Result<impl IntoResponse, Problem> {
    let starts_at = new
        .event_time
        .as_millis()
        .ok_or_else(|| Problem::new(Code::Invalid).because("event_time: expected an instant"))?;
    if !(1..=MAX_SEATS).contains(&new.quantity) {
        return Err(Problem::new(Code::Invalid).because(format!("quantity: expected 1 to {MAX_SEATS}")));
    }
    if Money::price(new.price).is_none() {
        return Err(Problem::new(Code::Invalid).because("price: expected zero or more"));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let id: EventId = id.parse().map_err(|_| Code::Internal)?;
    let places = NewSection {
        code: Some("GA".into()),
        name: "General admission".into(),
        kind: Kind::Standing,
        price: new.price,
        rows: Vec::new(),
        capacity: Some(new.quantity),
    };
    let event = NewEvent {
        series_id: None,
        venue: new.title.clone(),
        title: new.title,
        starts_at,
        sale_opens_at: 0,
        refund_until_at: None,
        refund_fee_percent: None,
        currency: super::wallet::CURRENCY.into(),
        sections: vec![places],
    };
    booking.create_event(&id, SoldAs::Admission, &event).await?;
    let view = booking.offer_view(&*booking.offer(id.as_str()).await?).await?;
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Takes an offer back that nobody has bought or is buying anything of.
#[utoipa::path(delete, path = "/api/tickets/{id}", tag = "admission", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 204), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found"), (status = 409, description = "has_sales")))]
pub async fn remove(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let layout = booking.offer(&id).await?;
    booking.remove_event(&layout.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keeps tickets for the caller and makes their order; what costs nothing is paid at once.
#[utoipa::path(post, path = "/api/tickets/{id}/reservations", tag = "admission",
    request_body = NewReservation, params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 201, body = Reservation), (status = 403, description = "pass_required"),
              (status = 404, description = "not_found"),
              (status = 409, description = "sold_out or ticket_limit"),
              (status = 422, description = "too_many_seats or invalid")))]
pub async fn reserve(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    caller: Caller,
    Path(id): Path<String>,
    Body(new): Body<NewReservation>,
) -> Result<impl IntoResponse, Problem> {
    let layout = booking.offer(&id).await?;
    booking.check_count(new.quantity as usize)?;
    let now = booking.now();
    let hold = booking.hold_any(&layout, caller.account, new.quantity as usize, now).await?;
    let extend = hold.until.since(now).as_secs() + CHECKOUT_SECONDS;
    let kept = Kept { event: layout.id.clone(), hold };
    let order = booking.order_of(&kept, now).await?.order().id;
    let amount: i64 = kept.hold.seats.iter().map(|seat| layout.price(*seat).units()).sum();
    if amount == 0 {
        booking.take_free(order, caller.account).await?;
    }
    let status = booking.order(order).await?.map_or(OrderStatus::Pending, |order| order.status);
    let body = Reservation {
        reservation_id: kept.hold.id.to_string(),
        order_id: order.to_string(),
        status: status.as_str(),
        amount,
        expires_at: kept.hold.until.as_millis(),
    };
    let command =
        if status == OrderStatus::Paid { "complete".to_owned() } else { format!("extend={extend}") };
    Ok((StatusCode::CREATED, AppendHeaders([(COMMAND, command)]), axum::Json(body)))
}

impl Booking {
    /// The offer that a path names.
    async fn offer(&self, id: &str) -> Result<Arc<Layout>, Problem> {
        let layout = self.layout(id).await?;
        if layout.sold_as == SoldAs::Admission { Ok(layout) } else { Err(Code::NotFound.into()) }
    }

    async fn offer_view(&self, layout: &Layout) -> Result<OfferView, Problem> {
        let seats = self.holds.shown(layout, self.now()).await?;
        let count = |wanted| {
            let found = seats.statuses.iter().filter(|status| **status == wanted).count();
            u32::try_from(found).unwrap_or(u32::MAX)
        };
        let price = layout.sections.first().map_or(0, |section| section.price.units());
        Ok(OfferView {
            id: layout.id.to_string(),
            title: layout.title.clone(),
            quantity: u32::try_from(layout.chairs.len()).unwrap_or(u32::MAX),
            issued: count(SeatStatus::Sold),
            reserved: count(SeatStatus::Held),
            event_time: layout.starts_at.as_millis(),
            price,
            currency: layout.currency.clone(),
        })
    }

    /// Any `count` places, looked for from a random one on, so that a crowd does
    /// not fall over the same.
    async fn hold_any(
        &self,
        layout: &Layout,
        owner: AccountId,
        count: usize,
        now: Timestamp,
    ) -> Result<Hold, Problem> {
        let allowed = usize::try_from(self.settings.tickets_per_account).unwrap_or(usize::MAX);
        let cap = allowed.saturating_sub(self.owned(layout, owner).await?);
        for _ in 0..TRIES {
            let seats = self.holds.seats(layout, now).await?;
            let from = self.lot.lock().random_range(0..seats.statuses.len().max(1));
            let wanted = pick(&seats.statuses, count, from).ok_or(Code::SoldOut)?;
            let wanted = Wanted {
                id: HoldId::of(&layout.id, uuid::Uuid::new_v4().as_u128()),
                owner,
                seats: wanted,
                until: now + self.settings.hold_ttl,
                cap,
            };
            match self.holds.hold(layout, wanted, now).await {
                Err(problem) if problem.code() == Code::SeatsTaken => {}
                other => return other,
            }
        }
        Err(Code::SoldOut.into())
    }
}

/// The first `count` free places from `from` on, around the end.
fn pick(statuses: &[SeatStatus], count: usize, from: usize) -> Option<Vec<SeatIndex>> {
    let free = |at: &usize| statuses[*at] == SeatStatus::Available;
    let found: Vec<_> = (from..statuses.len())
        .chain(0..from.min(statuses.len()))
        .filter(free)
        .take(count)
        .filter_map(|at| u32::try_from(at).ok().map(SeatIndex))
        .collect();
    (found.len() == count).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_picked_around_the_end_or_not_at_all() {
        use SeatStatus::{Available as A, Held as H};
        let hall = [A, H, A, A, H];
        assert_eq!(pick(&hall, 2, 3), Some(vec![SeatIndex(3), SeatIndex(0)]));
        assert_eq!(pick(&hall, 3, 4), Some(vec![SeatIndex(0), SeatIndex(2), SeatIndex(3)]));
        assert_eq!(pick(&hall, 4, 0), None);
        assert_eq!(pick(&[], 1, 0), None);
    }

    #[test]
    fn an_instant_is_read_in_both_forms() {
        assert_eq!(Instant::Text("1970-01-01T09:00:01+09:00".into()).as_millis(), Some(1_000));
        assert_eq!(Instant::Text("tomorrow".into()).as_millis(), None);
        assert_eq!(Instant::Millis(7).as_millis(), Some(7));
    }
}
