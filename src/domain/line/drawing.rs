//! A line whose first part is in a drawn order.
//!
//! From the opening on nobody more is in the draw: the next number is frozen
//! before anybody joins or is admitted. Then the first draw that a gate brings
//! settles the order. The line itself knows no ranks: who admits says whose turn
//! is next, and is refused when too few of those still wait.

use std::sync::Arc;

use super::Line;
use crate::domain::draw::Draw;
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::time::Timestamp;

/// The draw of a line, and whose turn is next by it as far as a gate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lot {
    /// The draw.
    pub draw: Arc<Draw>,
    /// Numbers in the draw that wait, in the order of their ranks, each once; some
    /// may be out by now.
    pub turns: Vec<PlaceNumber>,
    /// These are all of them.
    pub whole: bool,
}

impl Line {
    /// Settles the order. Without effect unless the line is frozen at the same
    /// number and has no draw yet.
    pub fn draw(&mut self, draw: &Draw) {
        if self.draw.is_none() && self.frozen == Some(draw.next) {
            self.draw = Some(Arc::new(draw.clone()));
        }
    }

    /// What the order comes of, once it is settled.
    #[must_use]
    pub fn drawn(&self) -> Option<Draw> {
        self.draw.as_deref().cloned()
    }

    /// From the opening on who joins is not in the draw.
    pub(super) fn freeze(&mut self, now: Timestamp) {
        let is_ahead = self.settings.opening.is_some_and(|opening| opening.is_ahead(now));
        if self.settings.draw && self.frozen.is_none() && !is_ahead {
            self.frozen = Some(PlaceNumber(self.next));
        }
    }

    /// Whether nobody is admitted: nor before the draw.
    pub(super) fn is_shut(&self, now: Timestamp) -> bool {
        self.settings.is_shut(now) || self.settings.draw && self.draw.is_none()
    }

    /// Those of the draw whose turn it is, at most `most`; `None` when the caller
    /// does not know enough of them.
    pub(super) fn drawn_turns(
        &self,
        most: usize,
        lot: Option<&Lot>,
    ) -> Option<Vec<(PlaceNumber, VisitorId)>> {
        let Some(frozen) = self.frozen.filter(|_| self.draw.is_some()) else { return Some(Vec::new()) };
        let turns = lot.map(|lot| lot.turns.as_slice()).unwrap_or_default();
        let waits = |&number: &PlaceNumber| self.waiting.get(&number).map(|&visitor| (number, visitor));
        let turns: Vec<_> = turns.iter().filter(|n| **n < frozen).filter_map(waits).take(most).collect();
        let there = self.waiting.range(..frozen).take(most).count();
        (turns.len() >= there || lot.is_some_and(|lot| lot.whole)).then_some(turns)
    }

    /// A gate knows the draw of a line that has lost it.
    pub(super) fn recall_draw(&mut self, lot: Option<&Lot>) {
        if let Some(lot) = lot.filter(|_| self.draw.is_none()) {
            self.frozen = Some(lot.draw.next);
            self.draw = Some(Arc::clone(&lot.draw));
        }
    }
}
