//! Passes that ended before their time, kept until their own end.
//!
//! By pass and by end: a room whose visitors say when they go has one for each of
//! the last pass time, and every step asks which of them are over.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::id::PlaceNumber;
use crate::domain::pass::Pass;
use crate::domain::time::Timestamp;

#[derive(Clone, Debug, Default)]
pub(super) struct Revoked {
    ends: BTreeMap<(PlaceNumber, Timestamp), Timestamp>,
    by_end: BTreeSet<(Timestamp, PlaceNumber, Timestamp)>,
}

impl Revoked {
    pub(super) fn insert(&mut self, pass: Pass) {
        let Pass { number, issued_at, expires_at } = pass;
        if let Some(before) = self.ends.insert((number, issued_at), expires_at) {
            self.by_end.remove(&(before, number, issued_at));
        }
        self.by_end.insert((expires_at, number, issued_at));
    }

    /// Whether this pass, whatever its end, is one.
    pub(super) fn has(&self, pass: &Pass) -> bool {
        self.ends.contains_key(&(pass.number, pass.issued_at))
    }

    /// Forgets those that would be over by now.
    pub(super) fn forget_ended(&mut self, now: Timestamp) {
        while self.by_end.first().is_some_and(|&(end, ..)| end <= now) {
            if let Some((_, number, issued_at)) = self.by_end.pop_first() {
                self.ends.remove(&(number, issued_at));
            }
        }
    }

    /// By number.
    pub(super) fn all(&self) -> Vec<Pass> {
        let pass =
            |(&(number, issued_at), &expires_at): (&(_, _), &_)| Pass { number, issued_at, expires_at };
        self.ends.iter().map(pass).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(number: u64, issued: u64, end: u64) -> Pass {
        let [issued_at, expires_at] = [issued, end].map(Timestamp::from_millis);
        Pass { number: PlaceNumber(number), issued_at, expires_at }
    }

    #[test]
    fn each_is_forgotten_at_its_own_end_and_the_last_word_on_an_end_counts() {
        let mut revoked = Revoked::default();
        for pass in [pass(2, 10, 50), pass(1, 10, 90), pass(2, 20, 60), pass(2, 10, 80)] {
            revoked.insert(pass);
        }
        assert_eq!(revoked.all(), [pass(1, 10, 90), pass(2, 10, 80), pass(2, 20, 60)]);
        revoked.forget_ended(Timestamp::from_millis(60));
        assert_eq!(revoked.all(), [pass(1, 10, 90), pass(2, 10, 80)]);
        assert!(revoked.has(&pass(2, 10, 0)) && !revoked.has(&pass(2, 20, 60)));
        revoked.forget_ended(Timestamp::from_millis(90));
        assert!(revoked.all().is_empty() && revoked.by_end.is_empty());
    }
}
