//! Expandable sections: new seats when none is free.
//!
//! Seats are only ever added, behind those there are, so an index once given
//! stays; the raised layout number tells every process.

use std::sync::Arc;

use super::Layout;
use super::create::{CHUNK, MAX_SEATS, Place, insert_seats};
use crate::booking::Booking;
use crate::booking::db::RowExt as _;
use crate::booking::problem::{Code, Problem};

impl Booking {
    /// The event with at least `count` more seats in the section, or as somebody
    /// else has changed it meanwhile.
    ///
    /// Adds a tenth of what the section has, up to [`CHUNK`], so that a crowd
    /// makes few such steps.
    ///
    /// # Errors
    /// `none_left` when the event is as large as an event may be.
    pub(in crate::booking) async fn grow(
        &self,
        layout: &Layout,
        section: usize,
        count: u32,
    ) -> Result<Arc<Layout>, Problem> {
        let mut tx = self.db.begin().await?;
        let lock = self.db.pick(
            "SELECT layout FROM events WHERE id = $1",
            "SELECT layout FROM events WHERE id = $1 FOR NO KEY UPDATE",
        );
        let row = sqlx::query(lock).bind(layout.id.as_str()).fetch_optional(&mut *tx).await?;
        if row.ok_or(Code::NotFound)?.int("layout")? != layout.number {
            drop(tx);
            return Ok(self.layouts.get(&layout.id).await?.ok_or(Code::NotFound)?);
        }
        let section = &layout.sections[section];
        let (count, room) = (count as usize, (MAX_SEATS as usize).saturating_sub(layout.chairs.len()));
        let by = (section.capacity as usize / 10).max(count).min(CHUNK).min(room);
        if by < count {
            return Err(Code::NoneLeft.into());
        }
        let last = sqlx::query(
            "SELECT row_position, row_label, number FROM seats WHERE event_id = $1 AND section_id = $2
             ORDER BY row_position DESC, number DESC LIMIT 1",
        )
        .bind(layout.id.as_str())
        .bind(section.id.as_str())
        .fetch_one(&mut *tx)
        .await?;
        let (row, number) = (last.text("row_label")?, last.small("number")?);
        let row_position = last.small("row_position")? as usize;
        let place =
            |number| Place { section: &section.id, row_position, row: &row, number, accessible: false };
        let places: Vec<_> = (number + 1..).take(by).map(place).collect();
        insert_seats(&mut tx, &layout.id, layout.chairs.len(), &places).await?;
        sqlx::query("UPDATE events SET layout = layout + 1 WHERE id = $1")
            .bind(layout.id.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        tracing::info!(event = %layout.id, section = section.id, by, "a section has grown");
        Ok(self.layouts.get(&layout.id).await?.ok_or(Code::NotFound)?)
    }
}
