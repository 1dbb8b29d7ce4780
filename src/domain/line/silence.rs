//! Signs of life, and who is silent.
//!
//! Signs are kept by slices of time, one heartbeat interval long: whoever was
//! heard in a slice counts as heard until its end. So a place is never given up
//! early, at most one interval late, and a store can keep a bit for each sign.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::time::{Timestamp, millis};

/// The last sign of life of each waiting number.
#[derive(Clone, Debug, Default)]
pub(super) struct Signs {
    /// The end of the slice it was in, both ways round.
    last: HashMap<PlaceNumber, Timestamp>,
    by_last: BTreeSet<(Timestamp, PlaceNumber)>,
    /// The end of the last slice in which anybody was heard. After a change of the
    /// settings a longer slice goes on until then.
    upto: Timestamp,
}

impl Signs {
    /// A number waits from `now` on, or is heard directly.
    pub(super) fn hear_now(&mut self, number: PlaceNumber, now: Timestamp, slice: Duration) {
        self.upto = self.upto.max(end(now, slice));
        self.set(number, self.upto);
    }

    /// A number was heard at `at`, not after now; skipped when it does not wait.
    pub(super) fn hear(&mut self, number: PlaceNumber, at: Timestamp, slice: Duration) {
        let end = end(at, slice);
        self.upto = self.upto.max(end);
        if self.last.get(&number).is_some_and(|&last| last < end) {
            self.set(number, end);
        }
    }

    fn set(&mut self, number: PlaceNumber, end: Timestamp) {
        self.forget(number);
        self.last.insert(number, end);
        self.by_last.insert((end, number));
    }

    pub(super) fn forget(&mut self, number: PlaceNumber) {
        if let Some(last) = self.last.remove(&number) {
            self.by_last.remove(&(last, number));
        }
    }

    /// Numbers that were not heard since before `then`, by slice, then number.
    pub(super) fn silent_since(&self, then: Timestamp) -> impl Iterator<Item = PlaceNumber> {
        self.by_last.iter().take_while(move |&&(end, _)| end <= then).map(|&(_, number)| number)
    }

    pub(super) fn has(&self, number: PlaceNumber) -> bool {
        self.last.contains_key(&number)
    }

    /// Whether these are the signs of exactly this line.
    pub(super) fn are_of(&self, line: &BTreeMap<PlaceNumber, VisitorId>) -> bool {
        self.last.len() == line.len() && self.by_last.len() == line.len()
    }
}

/// The end of the slice that `at` is in.
fn end(at: Timestamp, slice: Duration) -> Timestamp {
    let slice = millis(slice).max(1);
    Timestamp::from_millis((at.as_millis() / slice + 1).saturating_mul(slice))
}
