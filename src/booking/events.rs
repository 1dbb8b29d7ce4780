//! The catalogue: events, sections, and what is left of them.
//!
//! Owns the shape of what is sold and its prices. Who holds or owns a seat is
//! not its matter.

mod change;
mod create;
mod grow;
pub mod import;
mod layout;
pub mod sample;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Booking;
use super::accounts::auth::Admin;
use super::db::{DbError, RowExt as _};
use super::problem::{Body, Code, Path, Problem, Query};
use crate::domain::refund::RefundRules;
use crate::domain::seat::{EventId, SeatStatus};

pub use change::{EventChange, RowOfSection, SectionChange};
pub(super) use create::MAX_SEATS;
pub use create::{NewEvent, NewRow, NewSection, RowLabel, SoldAs};
pub use layout::{Chair, Layout, Layouts, Section};

/// How the places of a section are sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Rows of numbered seats.
    Seated,
    /// Numbered places without rows.
    Standing,
    /// Makes new places when none is free.
    Expandable,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Seated => "seated",
            Self::Standing => "standing",
            Self::Expandable => "expandable",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Seated, Self::Standing, Self::Expandable].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An event: one date of a show.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    id: String,
    series_id: Option<String>,
    title: String,
    venue: String,
    /// In ms since the Unix epoch.
    starts_at: u64,
    /// In ms since the Unix epoch.
    sale_opens_at: u64,
    /// Until then buyers may give tickets back, in ms since the Unix epoch.
    refund_until_at: u64,
    /// Percent of the price that is kept then.
    refund_fee_percent: u32,
    #[schema(example = "KRW")]
    currency: String,
    sections: Vec<SectionView>,
}

/// A section of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct SectionView {
    id: String,
    name: String,
    kind: Kind,
    /// In the currency's smallest unit.
    price: i64,
    capacity: u32,
    available: u32,
}

/// Events by start.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    items: Vec<EventView>,
    /// For `cursor`; null at the end.
    next: Option<String>,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// Only dates of this series.
    series: Option<String>,
    /// Only what starts at or after this, in ms since the Unix epoch.
    from: Option<u64>,
    /// Only what starts before this, in ms since the Unix epoch.
    to: Option<u64>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// 1 to 100; 20 when left out.
    limit: Option<u32>,
}

/// Upcoming and past events, by start.
#[utoipa::path(get, path = "/api/events", tag = "events", params(EventFilter),
    responses((status = 200, body = EventList)))]
pub async fn list(
    State(booking): State<Arc<Booking>>,
    Query(filter): Query<EventFilter>,
) -> Result<axum::Json<EventList>, Problem> {
    let limit = filter.limit.unwrap_or(20).clamp(1, 100);
    let mut found = booking.find_events(&filter, limit + 1).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().filter(|_| more).map(|found| format!("{}.{}", found.starts_at, found.id));
    let mut items = Vec::with_capacity(found.len());
    for event in found {
        if let Some(layout) = booking.layouts.at(&event.id, event.layout).await? {
            items.push(booking.event_view(&layout).await?);
        }
    }
    Ok(axum::Json(EventList { items, next }))
}

/// One event.
#[utoipa::path(get, path = "/api/events/{id}", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = EventView), (status = 404, description = "not_found")))]
pub async fn get(
    State(booking): State<Arc<Booking>>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let layout = booking.layout(&id).await?;
    let view = booking.event_view(&layout).await?;
    let stock: u32 = view.sections.iter().map(|section| section.available).sum();
    Ok(([(super::STOCK, stock.to_string())], axum::Json(view)))
}

/// Adds an event.
#[utoipa::path(post, path = "/api/events", tag = "events", request_body = NewEvent,
    security(("bearer" = [])),
    responses((status = 201, body = EventView), (status = 403, description = "forbidden"),
              (status = 422, description = "invalid")))]
pub async fn create(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Body(new): Body<NewEvent>,
) -> Result<impl IntoResponse, Problem> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let id: EventId = id.parse().map_err(|_| Code::Internal)?;
    booking.create_event(&id, SoldAs::Hall, &new).await?;
    let view = booking.event_view(&*booking.layout(id.as_str()).await?).await?;
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Changes an event's words, times and prices; orders keep the prices they were made with.
#[utoipa::path(patch, path = "/api/events/{id}", tag = "events", request_body = EventChange,
    params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = EventView), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found"), (status = 422, description = "invalid")))]
pub async fn change(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Path(id): Path<String>,
    Body(change): Body<EventChange>,
) -> Result<axum::Json<EventView>, Problem> {
    let layout = booking.layout(&id).await?;
    booking.change_event(&layout, change).await?;
    let view = booking.event_view(&*booking.layout(&id).await?).await?;
    Ok(axum::Json(view))
}

/// Removes an event that nobody has bought or is buying anything of.
#[utoipa::path(delete, path = "/api/events/{id}", tag = "events", params(("id" = String, Path)),
    security(("bearer" = [])),
    responses((status = 204), (status = 403, description = "forbidden"),
              (status = 404, description = "not_found"), (status = 409, description = "has_sales")))]
pub async fn remove(
    State(booking): State<Arc<Booking>>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let layout = booking.layout(&id).await?;
    booking.remove_event(&layout.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a list of events needs of each.
struct Found {
    id: EventId,
    starts_at: u64,
    layout: i64,
}

impl Booking {
    /// The shape of the event that a path names.
    ///
    /// # Errors
    /// `not_found`
    pub(super) async fn layout(&self, id: &str) -> Result<Arc<Layout>, Problem> {
        let id: EventId = id.parse().map_err(|_| Code::NotFound)?;
        Ok(self.layouts.get(&id).await?.ok_or(Code::NotFound)?)
    }

    /// What giving back tickets of the event costs, and until when.
    pub(super) fn refund_rules(&self, layout: &Layout) -> RefundRules {
        RefundRules {
            until: layout.refund_until.unwrap_or(layout.starts_at - self.settings.refund_before),
            fee_percent: layout.refund_fee_percent.unwrap_or(self.settings.refund_fee_percent),
        }
    }

    async fn event_view(&self, layout: &Layout) -> Result<EventView, Problem> {
        let seats = self.holds.shown(layout, self.now()).await?;
        let mut free = vec![0_u32; layout.sections.len()];
        for (chair, status) in layout.chairs.iter().zip(&seats.statuses) {
            free[chair.section] += u32::from(*status == SeatStatus::Available);
        }
        let section = |(section, available): (&Section, u32)| SectionView {
            id: section.id.clone(),
            name: section.name.clone(),
            kind: section.kind,
            price: section.price.units(),
            capacity: section.capacity,
            available,
        };
        let refunds = self.refund_rules(layout);
        Ok(EventView {
            id: layout.id.to_string(),
            series_id: layout.series_id.clone(),
            title: layout.title.clone(),
            venue: layout.venue.clone(),
            starts_at: layout.starts_at.as_millis(),
            sale_opens_at: layout.sale_opens_at.as_millis(),
            refund_until_at: refunds.until.as_millis(),
            refund_fee_percent: refunds.fee_percent,
            currency: layout.currency.clone(),
            sections: layout.sections.iter().zip(free).map(section).collect(),
        })
    }

    async fn find_events(&self, filter: &EventFilter, limit: u32) -> Result<Vec<Found>, Problem> {
        let (after, after_id) = match &filter.cursor {
            None => (0, String::new()),
            Some(cursor) => cursor
                .split_once('.')
                .and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id.to_owned())))
                .ok_or_else(|| Problem::new(Code::Malformed).because("cursor: expected `next` of a page"))?,
        };
        let instant =
            |at: Option<u64>, default| at.map_or(default, |at| i64::try_from(at).unwrap_or(i64::MAX));
        // A series has an index of its own.
        let sql = match &filter.series {
            None => {
                "SELECT id, starts_at, layout FROM events
                 WHERE kind = 'hall' AND starts_at >= $1 AND starts_at < $2
                   AND (starts_at > $3 OR (starts_at = $3 AND id > $4))
                 ORDER BY starts_at, id LIMIT $5"
            }
            Some(_) => {
                "SELECT id, starts_at, layout FROM events
                 WHERE series_id = $6 AND kind = 'hall' AND starts_at >= $1 AND starts_at < $2
                   AND (starts_at > $3 OR (starts_at = $3 AND id > $4))
                 ORDER BY starts_at, id LIMIT $5"
            }
        };
        let mut query = sqlx::query(sql)
            .bind(instant(filter.from, 0))
            .bind(instant(filter.to, i64::MAX))
            .bind(after)
            .bind(after_id)
            .bind(i64::from(limit));
        if let Some(series) = &filter.series {
            query = query.bind(series.clone());
        }
        let rows = query.fetch_all(self.db.read()).await?;
        let found = |row: &sqlx::any::AnyRow| -> Result<Found, DbError> {
            Ok(Found {
                id: row.parsed("id")?,
                starts_at: row.count("starts_at")?,
                layout: row.int("layout")?,
            })
        };
        Ok(rows.iter().map(found).collect::<Result<_, _>>()?)
    }
}
