//! Changing and removing events.
//!
//! Words, times and prices change at any time: an order keeps the prices it was
//! made with. What there is to sell does not change; another hall is another event.

use serde::Deserialize;
use utoipa::ToSchema;

use super::create::{invalid, percent, text};
use super::{Kind, Layout};
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, Tx};
use crate::booking::problem::{Code, Problem};
use crate::domain::seat::EventId;
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// What may change about an event.
#[derive(Debug, Deserialize, ToSchema)]
pub struct EventChange {
    series_id: Option<String>,
    title: Option<String>,
    venue: Option<String>,
    /// In ms since the Unix epoch.
    starts_at: Option<u64>,
    /// In ms since the Unix epoch.
    sale_opens_at: Option<u64>,
    /// Until then buyers may give tickets back, in ms since the Unix epoch.
    refund_until_at: Option<u64>,
    /// 0 to 100.
    #[schema(maximum = 100)]
    refund_fee_percent: Option<u32>,
    /// Cannot change; may be repeated.
    currency: Option<String>,
    /// Only those that change.
    #[serde(default)]
    sections: Vec<SectionChange>,
}

/// What may change about a section, found by its id, or else by its name.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SectionChange {
    #[serde(alias = "code")]
    id: Option<String>,
    name: Option<String>,
    /// Of orders from now on, in the currency's smallest unit.
    price: Option<i64>,
    /// Cannot change; may be repeated.
    kind: Option<Kind>,
    /// Cannot change; may be repeated.
    capacity: Option<u32>,
    /// Cannot change; may be repeated.
    rows: Option<Vec<RowOfSection>>,
}

/// A row as it is.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RowOfSection {
    seats: u32,
}

/// A section's new name and price.
struct Renamed<'a> {
    id: &'a str,
    name: &'a str,
    price: i64,
}

/// Checks a change of the section it names.
fn section<'a>(layout: &'a Layout, change: &'a SectionChange, at: usize) -> Result<Renamed<'a>, Problem> {
    let key = format!("sections[{at}]");
    let called = change.id.as_deref().or(change.name.as_deref()).unwrap_or_default();
    let found = layout.section(called).map(|found| &layout.sections[found]);
    let found = found.ok_or_else(|| invalid(format!("{key}: no section is called {called:?}")))?;
    let seats = change.rows.as_ref().map(|rows| rows.iter().map(|row| u64::from(row.seats)).sum::<u64>());
    let seats = seats.or(change.capacity.map(u64::from));
    if change.kind.is_some_and(|kind| kind != found.kind)
        || seats.is_some_and(|seats| seats != u64::from(found.capacity))
    {
        return Err(invalid(format!("{key}: kind and seats cannot change; make another event")));
    }
    let name = change.name.as_deref().unwrap_or(&found.name);
    text(name, &format!("{key}.name"))?;
    let price = change.price.unwrap_or(found.price.units());
    if Money::price(price).is_none() {
        return Err(invalid(format!("{key}.price: expected zero or more")));
    }
    Ok(Renamed { id: &found.id, name: name.trim(), price })
}

impl Booking {
    pub(super) async fn change_event(&self, layout: &Layout, change: EventChange) -> Result<(), Problem> {
        if change.currency.as_ref().is_some_and(|currency| *currency != layout.currency) {
            return Err(invalid("currency: cannot change; make another event"));
        }
        let sections = change.sections.iter().enumerate();
        let sections: Vec<_> =
            sections.map(|(at, change)| section(layout, change, at)).collect::<Result<_, _>>()?;
        let mut tx = self.db.begin().await?;
        update_event(&mut tx, layout, &change).await?;
        for section in sections {
            sqlx::query("UPDATE sections SET name = $1, price = $2 WHERE event_id = $3 AND id = $4")
                .bind(section.name)
                .bind(section.price)
                .bind(layout.id.as_str())
                .bind(section.id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(in crate::booking) async fn remove_event(&self, id: &EventId) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS sales FROM orders
             WHERE event_id = $1 AND status NOT IN ('EXPIRED', 'CANCELLED')",
        )
        .bind(id.as_str())
        .fetch_one(&mut *tx)
        .await?;
        if row.int("sales")? > 0 {
            return Err(Code::HasSales.into());
        }
        // What was never paid and is over goes with the event; an order that came in
        // since, or a ticket, keeps it.
        for sql in [
            "DELETE FROM payments WHERE order_id IN (
               SELECT id FROM orders WHERE event_id = $1 AND status IN ('EXPIRED', 'CANCELLED'))",
            "DELETE FROM orders WHERE event_id = $1 AND status IN ('EXPIRED', 'CANCELLED')",
            "DELETE FROM events WHERE id = $1",
        ] {
            match sqlx::query(sql).bind(id.as_str()).execute(&mut *tx).await.map_err(DbError::from) {
                // Somebody's order came in between.
                Err(DbError::Linked(_)) => return Err(Code::HasSales.into()),
                done => done?,
            };
        }
        tx.commit().await?;
        self.holds.forget(id).await;
        Ok(())
    }
}

async fn update_event(tx: &mut Tx, layout: &Layout, change: &EventChange) -> Result<(), Problem> {
    let title = change.title.as_ref().unwrap_or(&layout.title);
    let venue = change.venue.as_ref().unwrap_or(&layout.venue);
    text(title, "title")?;
    text(venue, "venue")?;
    if let Some(series) = &change.series_id {
        text(series, "series_id")?;
    }
    percent(change.refund_fee_percent)?;
    let stored = |at: u64, what: &str| {
        i64::try_from(at).map_err(|_| invalid(format!("{what}: expected ms since the Unix epoch")))
    };
    let starts_at = change.starts_at.unwrap_or(layout.starts_at.as_millis());
    let sale_opens_at = change.sale_opens_at.unwrap_or(layout.sale_opens_at.as_millis());
    let refund_until = change.refund_until_at.or(layout.refund_until.map(Timestamp::as_millis));
    let refund_until = refund_until.map(|at| stored(at, "refund_until_at")).transpose()?;
    sqlx::query(
        "UPDATE events SET title = $1, venue = $2, starts_at = $3, sale_opens_at = $4, series_id = $5,
         refund_until = $6, refund_fee_percent = $7, layout = layout + 1 WHERE id = $8",
    )
    .bind(title.trim())
    .bind(venue.trim())
    .bind(stored(starts_at, "starts_at")?)
    .bind(stored(sale_opens_at, "sale_opens_at")?)
    .bind(change.series_id.clone().or_else(|| layout.series_id.clone()))
    .bind(refund_until)
    .bind(change.refund_fee_percent.or(layout.refund_fee_percent).map(i64::from))
    .bind(layout.id.as_str())
    .execute(&mut **tx)
    .await
    .map_err(DbError::from)?;
    Ok(())
}
