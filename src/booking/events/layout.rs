//! An event's shape: sections, rows and seats, as read from the database.
//!
//! The shape changes rarely and is read with every request, so it is kept in
//! memory under the event's `layout` number; one look at that number tells
//! whether the kept one is still right, in every process.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Kind, SoldAs};
use crate::booking::db::{Db, DbError, RowExt as _};
use crate::domain::best_available::Row;
use crate::domain::seat::{EventId, SeatIndex};
use crate::domain::time::Timestamp;
use crate::domain::wallet::Money;

/// A part of the venue.
#[derive(Clone, Debug)]
pub struct Section {
    /// Unique in its event; begins its seats' ids.
    pub id: String,
    /// For people.
    pub name: String,
    /// How its places are sold.
    pub kind: Kind,
    /// What one place costs.
    pub price: Money,
    /// Its seats.
    pub capacity: u32,
}

/// One chair's place.
#[derive(Clone, Debug)]
pub struct Chair {
    /// `SECTION-ROW-NUMBER`.
    pub id: String,
    /// Index into [`Layout::sections`].
    pub section: usize,
    /// The row's label.
    pub row: String,
    /// From 1.
    pub number: u32,
    /// Kept for those who ask for an accessible place.
    pub accessible: bool,
}

/// An event and its shape.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The event.
    pub id: EventId,
    /// Raised by every change of what is in here.
    pub number: i64,
    /// Whether its seats are chosen.
    pub sold_as: SoldAs,
    /// Several dates of one show share it.
    pub series_id: Option<String>,
    /// For people.
    pub title: String,
    /// For people.
    pub venue: String,
    /// When the doors close.
    pub starts_at: Timestamp,
    /// When seats may be held.
    pub sale_opens_at: Timestamp,
    /// When buyers can no longer give back; `None` = as the settings say.
    pub refund_until: Option<Timestamp>,
    /// What is kept then, in percent; `None` = as the settings say.
    pub refund_fee_percent: Option<u32>,
    /// Of every price.
    pub currency: String,
    /// In the order they are shown.
    pub sections: Vec<Section>,
    /// By seat index.
    pub chairs: Vec<Chair>,
    /// Seat indexes in the order they are shown: by section, row, number.
    pub order: Vec<SeatIndex>,
    /// Rows for choosing seats; their `section` is an index into [`Self::sections`].
    pub rows: Vec<Row>,
    by_id: HashMap<String, SeatIndex>,
}

impl Layout {
    /// The seat with this id.
    #[must_use]
    pub fn seat(&self, id: &str) -> Option<SeatIndex> {
        self.by_id.get(id).copied()
    }

    /// The chair of a seat of this event.
    #[must_use]
    pub fn chair(&self, seat: SeatIndex) -> &Chair {
        &self.chairs[seat.at()]
    }

    /// What a seat of this event costs.
    #[must_use]
    pub fn price(&self, seat: SeatIndex) -> Money {
        self.sections[self.chair(seat).section].price
    }

    /// Whether seats may be added while it is on sale.
    #[must_use]
    pub fn may_grow(&self) -> bool {
        self.expandable(|_| true).is_some()
    }

    /// The first of the wanted sections that makes new seats when none is free.
    #[must_use]
    pub fn expandable(&self, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        self.sections.iter().enumerate().position(|(at, s)| s.kind == Kind::Expandable && wanted(at))
    }

    /// The section that is called so: by id, else by name.
    #[must_use]
    pub fn section(&self, called: &str) -> Option<usize> {
        let by = |key: fn(&Section) -> &str| self.sections.iter().position(|s| key(s) == called);
        by(|section| &section.id).or_else(|| by(|section| &section.name))
    }
}

#[cfg(test)]
impl Layout {
    /// An event of these chairs and nothing else.
    pub(in crate::booking) fn plain(chairs: Vec<Chair>, order: Vec<SeatIndex>) -> Self {
        Self {
            id: "plain".parse().expect("an id"),
            number: 1,
            sold_as: SoldAs::Hall,
            series_id: None,
            title: String::new(),
            venue: String::new(),
            starts_at: Timestamp::from_millis(0),
            sale_opens_at: Timestamp::from_millis(0),
            refund_until: None,
            refund_fee_percent: None,
            currency: String::new(),
            sections: Vec::new(),
            chairs,
            order,
            rows: Vec::new(),
            by_id: HashMap::new(),
        }
    }
}

/// Layouts kept in memory.
#[derive(Debug)]
pub struct Layouts {
    db: Db,
    kept: Mutex<HashMap<EventId, Arc<Layout>>>,
}

impl Layouts {
    /// Over this database, empty.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db, kept: Mutex::default() }
    }

    /// The event's shape as of now, unless there is no such event.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn get(&self, event: &EventId) -> Result<Option<Arc<Layout>>, DbError> {
        let row = sqlx::query("SELECT layout FROM events WHERE id = $1")
            .bind(event.as_str())
            .fetch_optional(self.db.read())
            .await?;
        let Some(row) = row else {
            self.kept.lock().remove(event);
            return Ok(None);
        };
        self.at(event, row.int("layout")?).await
    }

    /// As [`get`](Self::get), when the caller has just read the number.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn at(&self, event: &EventId, number: i64) -> Result<Option<Arc<Layout>>, DbError> {
        if let Some(kept) = self.kept.lock().get(event).filter(|kept| kept.number == number) {
            return Ok(Some(Arc::clone(kept)));
        }
        let Some(read) = read(&self.db, event).await? else { return Ok(None) };
        let read = Arc::new(read);
        self.kept.lock().insert(event.clone(), Arc::clone(&read));
        Ok(Some(read))
    }
}

async fn read(db: &Db, event: &EventId) -> Result<Option<Layout>, DbError> {
    let row = sqlx::query(
        "SELECT kind, layout, series_id, title, venue, starts_at, sale_opens_at, currency, refund_until,
                refund_fee_percent FROM events WHERE id = $1",
    )
    .bind(event.as_str())
    .fetch_optional(db.read())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut layout = Layout {
        id: event.clone(),
        number: row.int("layout")?,
        sold_as: row.named("kind", SoldAs::from_name)?,
        series_id: row.maybe_text("series_id")?,
        title: row.text("title")?,
        venue: row.text("venue")?,
        starts_at: row.instant("starts_at")?,
        sale_opens_at: row.instant("sale_opens_at")?,
        refund_until: row
            .maybe_int("refund_until")?
            .and_then(|at| u64::try_from(at).ok())
            .map(Timestamp::from_millis),
        refund_fee_percent: row
            .maybe_int("refund_fee_percent")?
            .and_then(|percent| u32::try_from(percent).ok()),
        currency: row.text("currency")?,
        sections: read_sections(db, event).await?,
        chairs: Vec::new(),
        order: Vec::new(),
        rows: Vec::new(),
        by_id: HashMap::new(),
    };
    read_chairs(db, &mut layout).await?;
    Ok(Some(layout))
}

async fn read_sections(db: &Db, event: &EventId) -> Result<Vec<Section>, DbError> {
    let rows =
        sqlx::query("SELECT id, name, kind, price FROM sections WHERE event_id = $1 ORDER BY position")
            .bind(event.as_str())
            .fetch_all(db.read())
            .await?;
    let section = |row: &sqlx::any::AnyRow| {
        Ok(Section {
            id: row.text("id")?,
            name: row.text("name")?,
            kind: row.named("kind", Kind::from_name)?,
            price: Money::new(row.int("price")?),
            capacity: 0,
        })
    };
    rows.iter().map(section).collect()
}

/// Fills in everything that follows from the list of seats.
async fn read_chairs(db: &Db, layout: &mut Layout) -> Result<(), DbError> {
    let rows = sqlx::query(
        "SELECT id, section_id, row_position, row_label, number, accessible FROM seats
         WHERE event_id = $1 ORDER BY idx",
    )
    .bind(layout.id.as_str())
    .fetch_all(db.read())
    .await?;
    let mut places = Vec::with_capacity(rows.len());
    for (i, row) in (0_u32..).zip(&rows) {
        let section_id = row.text("section_id")?;
        let section = layout.sections.iter().position(|section| section.id == section_id);
        let section = section.ok_or_else(|| DbError::Corrupt(format!("section_id = {section_id:?}")))?;
        let position = row.small("row_position")?;
        let number = row.small("number")?;
        layout.sections[section].capacity += 1;
        places.push((section, position, number, SeatIndex(i)));
        layout.by_id.insert(row.text("id")?, SeatIndex(i));
        let accessible = row.int("accessible")? != 0;
        let chair = Chair { id: row.text("id")?, section, row: row.text("row_label")?, number, accessible };
        layout.chairs.push(chair);
        join_row(&mut layout.rows, section, position, i);
    }
    places.sort_unstable();
    layout.order = places.into_iter().map(|(.., seat)| seat).collect();
    Ok(())
}

/// Adds a seat to the last row, or begins one.
fn join_row(rows: &mut Vec<Row>, section: usize, position: u32, seat: u32) {
    let section = u32::try_from(section).unwrap_or(u32::MAX);
    match rows.last_mut() {
        Some(row) if row.section == section && row.from_stage == position => row.len += 1,
        _ => rows.push(Row { section, from_stage: position, first: seat, len: 1 }),
    }
}
