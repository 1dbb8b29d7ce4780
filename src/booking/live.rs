//! Seat changes as they happen, to whoever listens in this process.
//!
//! The seam a live map stands on. Every process reads the outbox for itself, so
//! each hears of every process's sales; nothing is read while nobody listens.
//! A change may come twice: the `version` tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sqlx::any::AnyRow;
use tokio::sync::{Mutex, broadcast};
use tokio_util::sync::CancellationToken;

use super::Booking;
use super::db::{Db, DbError, RowExt as _, placeholders};
use crate::domain::seat::{EventId, HoldEpoch, SeatStatus};
use crate::domain::time::Timestamp;

/// Changes a slow listener may be behind before it loses some and has to begin
/// anew from the list of seats.
const BACKLOG: usize = 4_096;
/// Messages in one look.
const BATCH: i64 = 500;
/// Between two looks.
const EVERY: Duration = Duration::from_millis(100);
/// An id that is missing may belong to a transaction under way; above the time
/// any of ours may take.
const LATE: Duration = Duration::from_secs(60);
/// Ids before the newest that are searched for such ones at the start.
const LOOK_BACK: i64 = 500;
/// Missing ids that are looked for at once.
const MOST_GAPS: usize = 5_000;

/// A seat stands differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatChange {
    /// Of which event.
    pub event: EventId,
    /// The seat's id.
    pub seat: Arc<str>,
    /// How it stands now.
    pub status: SeatStatus,
    /// Grows with each change of one seat; an older one than seen is none.
    pub version: u64,
    /// Of the hold that it was sold from; a seat held anew has a higher one.
    pub epoch: HoldEpoch,
}

/// What `seat.sold` and `seat.freed` say.
#[derive(Deserialize)]
struct Body {
    seats: Vec<Arc<str>>,
    epoch: u64,
}

/// How far the outbox was read.
struct Tail {
    seen: i64,
    /// Missing ids below, and since when.
    gaps: BTreeMap<i64, Timestamp>,
}

impl Tail {
    fn note(&mut self, id: i64, now: Timestamp) {
        if self.gaps.remove(&id).is_none() && id > self.seen {
            self.gaps.extend((self.seen + 1..id).map(|missing| (missing, now)));
            self.seen = id;
            while self.gaps.len() > MOST_GAPS {
                self.gaps.pop_first();
            }
        }
    }
}

/// Tells listeners of seat changes.
pub struct Live {
    db: Db,
    listeners: broadcast::Sender<SeatChange>,
    tail: Mutex<Option<Tail>>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("listeners", &self.listeners.receiver_count()).finish_non_exhaustive()
    }
}

impl Live {
    pub(super) fn new(db: Db) -> Self {
        Self { db, listeners: broadcast::channel(BACKLOG).0, tail: Mutex::new(None) }
    }

    /// Every change from now on; read the seats after this, not before.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn subscribe(&self, now: Timestamp) -> Result<broadcast::Receiver<SeatChange>, DbError> {
        let mut tail = self.tail.lock().await;
        if tail.is_none() {
            *tail = Some(self.newest(now).await?);
        }
        Ok(self.listeners.subscribe())
    }

    /// Tells of what was written since the last look; how many changes.
    ///
    /// # Errors
    /// [`DbError`]; they are told of by the next look.
    pub async fn once(&self, now: Timestamp) -> Result<usize, DbError> {
        let mut tail = self.tail.lock().await;
        if self.listeners.receiver_count() == 0 {
            *tail = None;
            return Ok(0);
        }
        let Some(tail) = tail.as_mut() else { return Ok(0) };
        tail.gaps.retain(|_, since| *since + LATE > now);
        let mut told = 0;
        loop {
            let rows = self.look(tail).await?;
            for row in &rows {
                tail.note(row.int("id")?, now);
                for change in changes(row)? {
                    told += 1;
                    // Nobody left to hear it.
                    let _ = self.listeners.send(change);
                }
            }
            if rows.len() < BATCH as usize {
                return Ok(told);
            }
        }
    }

    /// Messages after the last one, and late ones before it, oldest first.
    async fn look(&self, tail: &Tail) -> Result<Vec<AnyRow>, DbError> {
        let sql = format!(
            "SELECT id, kind, subject, body FROM outbox WHERE id > $1 OR id IN {} ORDER BY id LIMIT $2",
            // A list may not be empty; no id is 0.
            placeholders(3, tail.gaps.len().max(1))
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(tail.seen).bind(BATCH);
        if tail.gaps.is_empty() {
            query = query.bind(0_i64);
        }
        for id in tail.gaps.keys() {
            query = query.bind(*id);
        }
        Ok(query.fetch_all(self.db.read()).await?)
    }

    async fn newest(&self, now: Timestamp) -> Result<Tail, DbError> {
        let sql = "SELECT id FROM outbox ORDER BY id DESC LIMIT $1";
        let rows = sqlx::query(sql).bind(LOOK_BACK).fetch_all(self.db.read()).await?;
        let mut ids = rows.iter().map(|row| row.int("id")).collect::<Result<Vec<_>, _>>()?;
        ids.reverse();
        let mut tail = Tail { seen: ids.first().map_or(0, |first| first - 1), gaps: BTreeMap::new() };
        ids.into_iter().for_each(|id| tail.note(id, now));
        Ok(tail)
    }
}

fn changes(row: &AnyRow) -> Result<Vec<SeatChange>, DbError> {
    let status = match row.text("kind")?.as_str() {
        "seat.sold" => SeatStatus::Sold,
        "seat.freed" => SeatStatus::Available,
        _ => return Ok(Vec::new()),
    };
    let event: EventId = row.parsed("subject")?;
    let version = row.count("id")?;
    let text = row.text("body")?;
    let body: Body =
        serde_json::from_str(&text).map_err(|why| DbError::Corrupt(format!("outbox {version}: {why}")))?;
    let epoch = HoldEpoch::from_u64(body.epoch);
    let change = |seat| SeatChange { event: event.clone(), seat, status, version, epoch };
    Ok(body.seats.into_iter().map(change).collect())
}

impl Booking {
    /// Every seat change from now on, of every process over this database.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn seat_changes(&self) -> Result<broadcast::Receiver<SeatChange>, DbError> {
        self.live.subscribe(self.now()).await
    }

    /// Tells listeners what was written since the last look; how many changes.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn live_once(&self) -> Result<usize, DbError> {
        self.live.once(self.now()).await
    }

    pub(super) async fn run_live(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            if let Err(error) = self.live_once().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "live changes");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_missing_is_remembered_until_it_comes() {
        let now = Timestamp::from_millis(1);
        let mut tail = Tail { seen: 3, gaps: BTreeMap::new() };
        tail.note(6, now);
        assert_eq!(tail.gaps.keys().copied().collect::<Vec<_>>(), [4, 5]);
        tail.note(4, now);
        assert_eq!((tail.seen, tail.gaps.keys().copied().collect::<Vec<_>>()), (6, vec![5]));
    }
}
