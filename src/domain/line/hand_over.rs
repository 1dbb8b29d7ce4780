//! A place that goes to another device of the same person.
//!
//! The place stays what it is, under its number; only whose it is changes, so
//! nothing about the line does. What the holder before has of it is good for
//! nothing any more: its id is out, its pass is revoked.

use std::time::Duration;

use super::{Line, LogEntry, Place};
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::{Reason, Turn};
use crate::domain::time::Timestamp;

/// Numbers handed over that one call looks at, to forget those out of the line.
pub const PRUNE: usize = 10;

impl Place {
    fn number(&self) -> PlaceNumber {
        match *self {
            Self::Waiting { number, .. }
            | Self::Returning { number }
            | Self::Called { number, .. }
            | Self::Ended { number, .. } => number,
            Self::Inside(pass) => pass.number,
        }
    }
}

impl Line {
    /// Gives `from`'s place `number` to `to`, who shows up by this; `to` must be
    /// an id that never had a place. `None` when the place is not `from`'s (any
    /// more). Repeating it changes nothing.
    ///
    /// A called place is claimed by this. A pass keeps its end; it gets another
    /// issue time, a millisecond later, which tells it from the one before.
    pub fn hand_over(
        &mut self,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
        now: Timestamp,
    ) -> Option<Turn> {
        let now = self.clock(now);
        if self.holds(to, number) {
            return Some(self.arrive(to, now));
        }
        let is_of = |place: &Place| place.number() == number;
        if self.places.contains_key(&to) || !self.places.get(&from).is_some_and(is_of) {
            return None;
        }
        let is_called =
            matches!(self.places.get(&from), Some(Place::Called { deadline, .. }) if now < *deadline);
        if !is_called {
            self.arrive(from, now);
        }
        if self.holds(from, number) {
            self.rebind(from, number, to, now);
        }
        let turn = self.holds(to, number).then(|| self.arrive(to, now));
        self.debug_check();
        turn
    }

    /// Numbers that were handed over while they waited, and to whom; those above
    /// `after`, in order, at most `limit`. Some may be out by now.
    #[must_use]
    pub fn handed_after(&self, after: PlaceNumber, limit: usize) -> Vec<(PlaceNumber, VisitorId)> {
        self.handed.range(PlaceNumber(after.0 + 1)..).take(limit).map(|(&number, &to)| (number, to)).collect()
    }

    /// Whether the number was handed over, and not to this visitor.
    pub(super) fn is_handed_away(&self, number: PlaceNumber, visitor: VisitorId) -> bool {
        self.handed.get(&number).is_some_and(|&to| to != visitor)
    }

    /// What a gate remembers of numbers handed over, of a line that comes back:
    /// who was the holder before that is so no longer.
    pub(super) fn put_handed_back(&mut self, number: PlaceNumber, to: VisitorId) {
        if let Some(&holder) = self.waiting.get(&number).filter(|holder| **holder != to) {
            self.remove(holder);
        }
        self.handed.insert(number, to);
    }

    fn holds(&self, visitor: VisitorId, number: PlaceNumber) -> bool {
        let place = self.places.get(&visitor).filter(|place| !matches!(place, Place::Ended { .. }));
        place.is_some_and(|place| place.number() == number)
    }

    fn rebind(&mut self, from: VisitorId, number: PlaceNumber, to: VisitorId, now: Timestamp) {
        let Some(&place) = self.places.get(&from) else { return };
        let mut entry = LogEntry { handed: vec![(number, to)], ..LogEntry::default() };
        self.remove(from);
        match place {
            Place::Waiting { joined_at, .. } => {
                self.wait(to, number, joined_at, now);
                self.handed.insert(number, to);
            }
            Place::Returning { .. } => {
                self.places.insert(to, place);
                self.returning.insert(number, to);
            }
            Place::Called { deadline, .. } => {
                self.places.insert(to, place);
                self.called.insert((deadline, to));
            }
            Place::Inside(pass) => {
                entry.revoked.push(pass);
                self.revoked.insert(pass);
                self.put_inside(to, Pass { issued_at: pass.issued_at + Duration::from_millis(1), ..pass });
            }
            Place::Ended { .. } => {}
        }
        self.finish(from, number, Reason::Moved, now, true);
        self.append(entry);
        if !self.recovery.is_on(now) {
            self.prune_handed();
        }
    }

    /// The first of the numbers handed over are out of the line first.
    fn prune_handed(&mut self) {
        let first: Vec<_> = self.handed.iter().take(PRUNE).map(|(&number, &to)| (number, to)).collect();
        for (number, to) in first {
            if self.waiting.get(&number) != Some(&to) {
                self.handed.remove(&number);
            }
        }
    }
}
