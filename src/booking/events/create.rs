//! Making events.

use serde::Deserialize;
use utoipa::ToSchema;

use super::Kind;
use crate::booking::Booking;
use crate::booking::db::{DbError, Tx, tuples};
use crate::booking::problem::{Code, Problem};
use crate::domain::seat::EventId;
use crate::domain::wallet::Money;

/// Seats of one event, at most; one request makes them all.
pub(in crate::booking) const MAX_SEATS: u32 = 100_000;
/// Seats written by one statement. SQLite looks each `$N` up in a list of all of
/// them, so a statement of a thousand seats takes longer than ten of a hundred.
pub(super) const CHUNK: usize = 100;

/// Under which part of the API an event is sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoldAs {
    /// `/api/events`: seats are chosen.
    Hall,
    /// `/api/tickets`: any of the places will do.
    Admission,
}

impl SoldAs {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Hall => "hall",
            Self::Admission => "admission",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Hall, Self::Admission].into_iter().find(|sold_as| sold_as.as_str() == name)
    }
}

/// A new event.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewEvent {
    /// Several dates of one show share it.
    #[serde(default)]
    pub series_id: Option<String>,
    /// 1 to 200 characters.
    #[schema(example = "Winter Night Live")]
    pub title: String,
    /// 1 to 200 characters.
    #[schema(example = "Hangang Hall, Seoul")]
    pub venue: String,
    /// In ms since the Unix epoch.
    pub starts_at: u64,
    /// In ms since the Unix epoch.
    pub sale_opens_at: u64,
    /// Until then buyers may give tickets back, in ms since the Unix epoch; the
    /// settings' rule when left out.
    #[serde(default)]
    pub refund_until_at: Option<u64>,
    /// Percent of the price that is kept then; the settings' when left out.
    #[serde(default)]
    #[schema(maximum = 100)]
    pub refund_fee_percent: Option<u32>,
    /// Three capital letters.
    #[schema(example = "KRW")]
    pub currency: String,
    /// At least one, in the order they are shown.
    pub sections: Vec<NewSection>,
}

/// A section of a new event: `rows` or `capacity`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewSection {
    /// Begins its seats' ids; made from the name when left out.
    #[serde(default)]
    pub code: Option<String>,
    /// For people.
    #[schema(example = "A")]
    pub name: String,
    /// How its places are sold.
    pub kind: Kind,
    /// In the currency's smallest unit.
    pub price: i64,
    /// Nearest the stage first.
    #[serde(default)]
    pub rows: Vec<NewRow>,
    /// Places without rows.
    #[serde(default)]
    pub capacity: Option<u32>,
}

/// A row of a new section.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewRow {
    /// Its label.
    pub row: RowLabel,
    /// Its seats, numbered from 1.
    pub seats: u32,
    /// Numbers of seats that are kept for those who ask for accessible places.
    #[serde(default)]
    pub accessible: Vec<u32>,
}

/// A row's label, as a text or a number.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RowLabel {
    /// Such as `"AA"`.
    Text(String),
    /// Such as `7`.
    Number(u32),
}

impl RowLabel {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.trim().to_owned(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// A checked section: its code, and its rows.
struct Plan<'a> {
    code: String,
    section: &'a NewSection,
    rows: Vec<PlannedRow<'a>>,
}

struct PlannedRow<'a> {
    label: String,
    seats: u32,
    accessible: &'a [u32],
}

/// One seat to write.
pub(super) struct Place<'a> {
    pub(super) section: &'a str,
    pub(super) row_position: usize,
    pub(super) row: &'a str,
    pub(super) number: u32,
    pub(super) accessible: bool,
}

/// The label of the one row that places without rows are put in.
const NO_ROW: &str = "0";

pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::Invalid).because(detail)
}

pub(super) fn text(value: &str, what: &str) -> Result<(), Problem> {
    if (1..=200).contains(&value.trim().chars().count()) && !value.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid(format!("{what}: expected 1 to 200 characters")))
}

pub(super) fn percent(value: Option<u32>) -> Result<(), Problem> {
    if value.is_none_or(|percent| percent <= 100) {
        return Ok(());
    }
    Err(invalid("refund_fee_percent: expected 0 to 100"))
}

/// A section's code: letters and digits of any script, `_` and `.`; anything else
/// becomes one `_`.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for c in text.trim().chars() {
        match c {
            c if c.is_alphanumeric() || c == '.' => code.push(c),
            _ if !code.ends_with('_') => code.push('_'),
            _ => {}
        }
    }
    code.trim_matches('_').to_owned()
}

fn plan(section: &NewSection, at: usize) -> Result<Plan<'_>, Problem> {
    let key = format!("sections[{at}]");
    text(&section.name, &format!("{key}.name"))?;
    let code = code_of(section.code.as_deref().unwrap_or(&section.name));
    if code.is_empty() {
        return Err(invalid(format!("{key}.code: expected letters or digits")));
    }
    if Money::price(section.price).is_none() {
        return Err(invalid(format!("{key}.price: expected zero or more")));
    }
    let mut rows: Vec<_> = section
        .rows
        .iter()
        .map(|row| PlannedRow {
            label: code_of(&row.row.text()),
            seats: row.seats,
            accessible: &row.accessible,
        })
        .collect();
    match (rows.is_empty(), section.capacity) {
        (false, Some(_)) => return Err(invalid(format!("{key}: expected rows or capacity, not both"))),
        (true, Some(capacity)) => {
            rows.push(PlannedRow { label: NO_ROW.to_owned(), seats: capacity, accessible: &[] });
        }
        (true, None) => return Err(invalid(format!("{key}: expected rows or capacity"))),
        (false, None) => {}
    }
    let mut labels = std::collections::HashSet::new();
    for PlannedRow { label, seats, accessible } in &rows {
        if label.is_empty() || !labels.insert(label.clone()) {
            return Err(invalid(format!("{key}.rows: expected labels that differ")));
        }
        if *seats == 0 || *seats > MAX_SEATS {
            return Err(invalid(format!("{key}: expected 1 to {MAX_SEATS} seats")));
        }
        if accessible.iter().any(|number| !(1..=*seats).contains(number)) {
            return Err(invalid(format!("{key}.rows: accessible: expected numbers of seats in the row")));
        }
    }
    Ok(Plan { code, section, rows })
}

fn plans(new: &NewEvent) -> Result<Vec<Plan<'_>>, Problem> {
    text(&new.title, "title")?;
    text(&new.venue, "venue")?;
    if let Some(series) = &new.series_id {
        text(series, "series_id")?;
    }
    if new.currency.len() != 3 || !new.currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(invalid("currency: expected three capital letters such as KRW"));
    }
    let instants = [Some(new.starts_at), Some(new.sale_opens_at), new.refund_until_at];
    if instants.into_iter().flatten().any(|at| i64::try_from(at).is_err()) {
        return Err(invalid("starts_at, sale_opens_at, refund_until_at: expected ms since the Unix epoch"));
    }
    percent(new.refund_fee_percent)?;
    if new.sections.is_empty() {
        return Err(invalid("sections: expected at least one"));
    }
    let plans = new.sections.iter().enumerate().map(|(at, section)| plan(section, at));
    let plans: Vec<_> = plans.collect::<Result<_, _>>()?;
    let mut codes = std::collections::HashSet::new();
    if let Some(double) = plans.iter().find(|plan| !codes.insert(&plan.code)) {
        return Err(invalid(format!("sections: two are called {:?}", double.code)));
    }
    let seats = plans.iter().flat_map(|plan| &plan.rows).map(|row| u64::from(row.seats)).sum::<u64>();
    if seats > u64::from(MAX_SEATS) {
        return Err(invalid(format!("sections: expected {MAX_SEATS} seats at most")));
    }
    Ok(plans)
}

impl Booking {
    /// Adds an event under `id` with all its seats, or nothing.
    pub(in crate::booking) async fn create_event(
        &self,
        id: &EventId,
        sold_as: SoldAs,
        new: &NewEvent,
    ) -> Result<(), Problem> {
        let plans = plans(new)?;
        let mut tx = self.db.begin().await?;
        insert_event(&mut tx, id, sold_as, new, self.now().as_millis()).await?;
        for (position, plan) in plans.iter().enumerate() {
            insert_section(&mut tx, id, position, plan).await?;
        }
        let places: Vec<_> = plans.iter().flat_map(places).collect();
        let mut first = 0;
        for chunk in places.chunks(CHUNK) {
            insert_seats(&mut tx, id, first, chunk).await?;
            first += chunk.len();
        }
        tx.commit().await?;
        Ok(())
    }
}

fn places<'a>(plan: &'a Plan<'_>) -> impl Iterator<Item = Place<'a>> {
    plan.rows.iter().enumerate().flat_map(move |(row_position, row)| {
        (1..=row.seats).map(move |number| Place {
            section: &plan.code,
            row_position,
            row: &row.label,
            number,
            accessible: row.accessible.contains(&number),
        })
    })
}

async fn insert_event(
    tx: &mut Tx,
    id: &EventId,
    sold_as: SoldAs,
    new: &NewEvent,
    now: u64,
) -> Result<(), DbError> {
    let stored = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    sqlx::query(
        "INSERT INTO events
             (id, series_id, title, venue, starts_at, sale_opens_at, currency, layout, created_at, kind,
              refund_until, refund_fee_percent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10, $11)",
    )
    .bind(id.as_str())
    .bind(new.series_id.clone())
    .bind(new.title.trim())
    .bind(new.venue.trim())
    .bind(stored(new.starts_at))
    .bind(stored(new.sale_opens_at))
    .bind(new.currency.as_str())
    .bind(stored(now))
    .bind(sold_as.as_str())
    .bind(new.refund_until_at.map(stored))
    .bind(new.refund_fee_percent.map(i64::from))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_section(
    tx: &mut Tx,
    event: &EventId,
    position: usize,
    plan: &Plan<'_>,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO sections (event_id, id, position, name, kind, price) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(event.as_str())
    .bind(plan.code.as_str())
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .bind(plan.section.name.trim())
    .bind(plan.section.kind.as_str())
    .bind(plan.section.price)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes at most [`CHUNK`] seats, the first under the index `first`.
pub(super) async fn insert_seats(
    tx: &mut Tx,
    event: &EventId,
    first: usize,
    places: &[Place<'_>],
) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO seats (event_id, idx, id, section_id, row_position, row_label, number, accessible)
         VALUES {}",
        tuples(places.len(), 8)
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (i, place) in places.iter().enumerate() {
        query = query
            .bind(event.as_str())
            .bind(i64::try_from(first + i).unwrap_or(i64::MAX))
            .bind(format!("{}-{}-{}", place.section, place.row, place.number))
            .bind(place.section)
            .bind(i64::try_from(place.row_position).unwrap_or(i64::MAX))
            .bind(place.row)
            .bind(i64::from(place.number))
            .bind(i64::from(place.accessible));
    }
    query.execute(&mut **tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_keeps_letters_and_digits_of_any_script() {
        assert_eq!(code_of("A"), "A");
        assert_eq!(code_of(" Floor  B-2 "), "Floor_B_2");
        assert_eq!(code_of("가구역"), "가구역");
        assert_eq!(code_of("--"), "");
    }
}
