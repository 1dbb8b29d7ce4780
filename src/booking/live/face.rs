//! An event's seats as all who watch it see them, and what changed of late.
//!
//! Pure: the changes of the hold store go in, frames come out. A delta is encoded
//! once and shared; whoever is too far behind for the frames that are kept gets
//! one of its own, or the whole picture.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, Said};
use crate::booking::events::Layout;
use crate::booking::holds::Seats;
use crate::domain::seat::{SeatIndex, SeatStatus};

/// Frames that are kept, and their bytes together.
const FRAMES: usize = 32;
const FRAME_BYTES: usize = 64 * 1_024;
/// Changes that are kept one by one, for those who come back.
const CHANGES: usize = 8_192;
/// More changes than these are told by the whole picture, which is smaller.
const MOST_IN_DELTA: u64 = 1_024;

/// How far somebody has seen a [`Face`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Of which face.
    pub(super) life: u64,
    /// Up to which version.
    pub(super) version: u64,
}

/// A seat was changed that the layout does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outgrown;

struct Delta {
    from: u64,
    to: u64,
    frame: Bytes,
}

/// One event's seats at one version.
pub(super) struct Face {
    /// Another face of the same event has another.
    life: u64,
    version: u64,
    layout: Arc<Layout>,
    statuses: Vec<SeatStatus>,
    /// The last changes, one a version; the newest has `version`.
    log: VecDeque<(SeatIndex, SeatStatus)>,
    /// The last deltas, each beginning where the one before ended.
    deltas: VecDeque<Delta>,
    delta_bytes: usize,
    snapshot: Option<Bytes>,
}

impl Face {
    /// `seats` has one status for each chair of `layout`.
    pub(super) fn new(life: u64, layout: Arc<Layout>, seats: Seats) -> Self {
        Self {
            life,
            version: seats.version,
            layout,
            statuses: seats.statuses,
            log: VecDeque::new(),
            deltas: VecDeque::new(),
            delta_bytes: 0,
            snapshot: None,
        }
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Takes in the changes since [`Face::version`], one for each version.
    pub(super) fn apply(&mut self, to: u64, changes: &[(SeatIndex, SeatStatus)]) -> Result<(), Outgrown> {
        if changes.iter().any(|(seat, _)| seat.at() >= self.statuses.len()) {
            return Err(Outgrown);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let from = std::mem::replace(&mut self.version, to);
        for (seat, status) in changes {
            self.statuses[seat.at()] = *status;
        }
        self.log.extend(changes);
        self.log.drain(..self.log.len().saturating_sub(CHANGES));
        self.snapshot = None;
        if to - from > MOST_IN_DELTA {
            self.deltas.clear();
            self.delta_bytes = 0;
            return Ok(());
        }
        let frame = self.delta(from, to, changes.iter().copied());
        self.delta_bytes += frame.len();
        self.deltas.push_back(Delta { from, to, frame });
        while self.deltas.len() > FRAMES || self.delta_bytes > FRAME_BYTES {
            let Some(oldest) = self.deltas.pop_front() else { break };
            self.delta_bytes -= oldest.frame.len();
        }
        Ok(())
    }

    /// Whether what came after this version can be told from here.
    pub(super) fn reaches_back_to(&self, version: u64) -> bool {
        let behind = self.version.checked_sub(version);
        behind.is_some_and(|behind| behind <= MOST_IN_DELTA && behind <= self.log.len() as u64)
    }

    /// What somebody who has seen this much has still to see, at most `most` frames,
    /// and moves the cursor; a cursor ahead of this face waits for it.
    pub(super) fn after(&mut self, cursor: &mut Option<Cursor>, most: usize, out: &mut Vec<Bytes>) {
        let seen = cursor.filter(|cursor| cursor.life == self.life).map(|cursor| cursor.version);
        let Some(seen) = seen else { return self.show_all(cursor, out) };
        if seen >= self.version {
            return;
        }
        let to = if let Ok(first) = self.deltas.binary_search_by_key(&seen, |delta| delta.from) {
            let deltas = self.deltas.range(first..).take(most);
            out.extend(deltas.clone().map(|delta| delta.frame.clone()));
            deltas.last().map_or(self.version, |delta| delta.to)
        } else if self.reaches_back_to(seen) {
            let from = self.log.len() - usize::try_from(self.version - seen).unwrap_or(self.log.len());
            out.push(self.delta(seen, self.version, self.log.range(from..).copied()));
            self.version
        } else {
            return self.show_all(cursor, out);
        };
        *cursor = Some(Cursor { life: self.life, version: to });
    }

    /// A delta up to this face for somebody whose version is older than what is kept
    /// here; `changes` are those after `from`, and may go on beyond this face.
    pub(super) fn missed_since(&self, from: u64, changes: &[(SeatIndex, SeatStatus)]) -> Option<Bytes> {
        let behind = self.version.checked_sub(from).filter(|behind| *behind <= MOST_IN_DELTA)?;
        let changes = changes.get(..usize::try_from(behind).ok()?)?;
        let known = changes.iter().all(|(seat, _)| seat.at() < self.statuses.len());
        known.then(|| self.delta(from, self.version, changes.iter().copied()))
    }

    fn show_all(&mut self, cursor: &mut Option<Cursor>, out: &mut Vec<Bytes>) {
        let snapshot = self.snapshot.get_or_insert_with(|| {
            let seats = self.layout.order.iter().map(|seat| self.statuses[seat.at()]);
            Said::Snapshot { version: self.version, seats: frame::seats(seats) }.frame()
        });
        out.push(snapshot.clone());
        *cursor = Some(Cursor { life: self.life, version: self.version });
    }

    fn delta(&self, from: u64, to: u64, changes: impl Iterator<Item = (SeatIndex, SeatStatus)>) -> Bytes {
        let mut at = HashMap::new();
        let mut seats: Vec<(&str, &'static str)> = Vec::new();
        for (seat, status) in changes {
            let place = *at.entry(seat).or_insert_with(|| {
                seats.push((self.layout.chair(seat).id.as_str(), ""));
                seats.len() - 1
            });
            seats[place].1 = status.as_str();
        }
        Said::Delta { from, to, seats: &seats }.frame()
    }
}

#[cfg(test)]
mod tests;
