//! How seats look to somebody who only looks.
//!
//! The hold store says. While it is away the database does, which knows what is sold
//! or being paid for, and not what is held.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Holds, Seats, read_seats};
use crate::booking::events::Layout;
use crate::booking::problem::{Code, Problem};
use crate::domain::seat::{EventId, Seat};
use crate::domain::time::Timestamp;

/// The version of what the database says: below all that a hold store tells.
pub const BY_DATABASE: u64 = 0;
/// The database is asked so often about one event, however many look.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What the database said last.
#[derive(Debug, Default)]
pub(super) struct Said(Mutex<HashMap<EventId, (Instant, Seats)>>);

impl Said {
    pub(super) async fn forget(&self, event: &EventId) {
        self.0.lock().await.remove(event);
    }
}

impl Holds {
    /// How the event's seats stand; with the version [`BY_DATABASE`] and without holds
    /// while the store is away.
    ///
    /// # Errors
    /// `unavailable`: the database is away as well.
    pub async fn shown(&self, layout: &Layout, now: Timestamp) -> Result<Seats, Problem> {
        match self.seats(layout, now).await {
            Err(problem) if problem.code() == Code::Unavailable => self.by_database(layout).await,
            seats => seats,
        }
    }

    async fn by_database(&self, layout: &Layout) -> Result<Seats, Problem> {
        let mut said = self.said.0.lock().await;
        let fits = |(at, seats): &&(Instant, Seats)| {
            at.elapsed() < ASK_AGAIN && seats.statuses.len() >= layout.chairs.len()
        };
        if let Some((_, seats)) = said.get(&layout.id).filter(fits) {
            return Ok(seats.clone());
        }
        let seats = read_seats(&self.db, &layout.id, layout.chairs.len()).await?;
        let statuses = seats.into_iter().map(Seat::status).collect();
        let seats = Seats { version: BY_DATABASE, statuses };
        said.insert(layout.id.clone(), (Instant::now(), seats.clone()));
        Ok(seats)
    }
}
