//! A hall and its dates from a file: `usher booking import FILE`.
//!
//! The file is TOML, documented by `config/hall.toml`. Each date becomes an
//! event of one series, under an id that follows from title, venue and time, so
//! a file that was imported half, or twice, does no harm.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Kind, NewEvent, NewRow, NewSection, RowLabel, SoldAs};
use crate::booking::Booking;
use crate::booking::admission::Instant;
use crate::booking::problem::Problem;
use crate::domain::seat::EventId;

/// Why a file was not imported, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read as a hall.
    #[error("{0}")]
    File(String),
    /// The database refused.
    #[error("the database refused: {0}")]
    Refused(&'static str),
}

/// What became of the dates of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// New events.
    pub added: usize,
    /// Dates that were there already.
    pub known: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HallFile {
    title: String,
    venue: String,
    currency: String,
    series_id: Option<String>,
    refund_fee_percent: Option<u32>,
    date: Vec<DateFile>,
    section: Vec<SectionFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DateFile {
    starts_at: Instant,
    sale_opens_at: Instant,
    refund_until_at: Option<Instant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionFile {
    code: Option<String>,
    name: String,
    kind: Kind,
    price: i64,
    #[serde(default)]
    rows: Vec<RowFile>,
    capacity: Option<u32>,
}

/// One row, or the rows numbered `row` to `to`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowFile {
    row: RowLabel,
    to: Option<u32>,
    seats: u32,
    #[serde(default)]
    accessible: Vec<u32>,
}

/// More rows than a section can have; stops a slip of the pen in `to`.
const MOST_ROWS: u32 = 1_000;

impl RowFile {
    fn rows(&self) -> Result<Vec<NewRow>, ImportError> {
        let row = |row| NewRow { row, seats: self.seats, accessible: self.accessible.clone() };
        match (&self.row, self.to) {
            (label, None) => Ok(vec![row(label.clone())]),
            (RowLabel::Number(from), Some(to)) if *from <= to && to - from < MOST_ROWS => {
                Ok((*from..=to).map(|number| row(RowLabel::Number(number))).collect())
            }
            (from, Some(to)) => Err(ImportError::File(format!(
                "rows: expected numbers from `row` up to `to`, found {from:?} to {to}"
            ))),
        }
    }
}

impl SectionFile {
    fn section(&self) -> Result<NewSection, ImportError> {
        let rows = self.rows.iter().map(RowFile::rows).collect::<Result<Vec<_>, _>>()?;
        Ok(NewSection {
            code: self.code.clone(),
            name: self.name.clone(),
            kind: self.kind,
            price: self.price,
            rows: rows.concat(),
            capacity: self.capacity,
        })
    }
}

fn millis(at: &Instant, key: &str) -> Result<u64, ImportError> {
    at.as_millis().ok_or_else(|| {
        ImportError::File(format!("{key}: expected \"2026-12-24T19:30:00+09:00\" or ms, found {at:?}"))
    })
}

/// The events of a file, by date.
fn events(text: &str) -> Result<Vec<(EventId, NewEvent)>, ImportError> {
    let file: HallFile = toml::from_str(text).map_err(|why| ImportError::File(why.to_string()))?;
    let sections = file.section.iter().map(SectionFile::section).collect::<Result<Vec<_>, _>>()?;
    let event = |date: &DateFile| {
        let starts_at = millis(&date.starts_at, "date.starts_at")?;
        let until = date.refund_until_at.as_ref().map(|at| millis(at, "date.refund_until_at")).transpose()?;
        let event = NewEvent {
            series_id: file.series_id.clone(),
            title: file.title.clone(),
            venue: file.venue.clone(),
            starts_at,
            sale_opens_at: millis(&date.sale_opens_at, "date.sale_opens_at")?,
            refund_until_at: until,
            refund_fee_percent: file.refund_fee_percent,
            currency: file.currency.clone(),
            sections: sections.clone(),
        };
        Ok((id_of(&event)?, event))
    };
    file.date.iter().map(event).collect()
}

fn id_of(event: &NewEvent) -> Result<EventId, ImportError> {
    let named = Sha256::new()
        .chain_update(event.title.trim())
        .chain_update([0])
        .chain_update(event.venue.trim())
        .chain_update([0])
        .chain_update(event.starts_at.to_be_bytes());
    let id: String = named.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    id.parse().map_err(|_| ImportError::File("no id".into()))
}

fn refused(problem: &Problem) -> ImportError {
    match problem.detail() {
        Some(detail) => ImportError::File(detail.to_owned()),
        None => ImportError::Refused(problem.code().as_str()),
    }
}

impl Booking {
    /// Adds the events of a file that are not there yet.
    ///
    /// # Errors
    /// [`ImportError`]; dates before the one it is about stay.
    pub async fn import(&self, text: &str) -> Result<Imported, ImportError> {
        let mut done = Imported::default();
        for (id, event) in events(text)? {
            if self.layout(id.as_str()).await.is_ok() {
                done.known += 1;
                continue;
            }
            self.create_event(&id, SoldAs::Hall, &event).await.map_err(|problem| refused(&problem))?;
            done.added += 1;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../config/hall.toml");

    #[test]
    fn the_documented_file_is_two_dates_of_one_hall() {
        let events = events(EXAMPLE).expect("as documented");
        assert_eq!(events.len(), 2);
        let (first, second) = (&events[0], &events[1]);
        assert_ne!(first.0, second.0);
        assert_eq!(first.1.series_id, second.1.series_id);
        let rows = &first.1.sections[0].rows;
        assert_eq!((rows.len(), rows[0].seats), (10, 20));
        assert_eq!(id_of(&first.1).expect("an id"), first.0);
    }

    #[test]
    fn a_bad_file_says_where() {
        let bad = |from: &str, to: &str| match events(&EXAMPLE.replacen(from, to, 1)) {
            Err(ImportError::File(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(bad("title =", "titel =").contains("titel"));
        assert!(bad("2026-12-24T19:30:00+09:00", "tomorrow").contains("date.starts_at"));
        assert!(bad("to = 9", "to = 0").contains("`row` up to `to`"));
    }
}
