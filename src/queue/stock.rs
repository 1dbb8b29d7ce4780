//! What is left of what the line is for, as the app says in its answers.
//!
//! Kept by each gate for itself, from the answers that pass through it: those
//! who wait are told, nothing is decided by it. A shared value would be written
//! with every sale, and an operator's change could be lost under it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::time::Timestamp;

/// A word older than this is not passed on: nobody was inside to hear a newer one.
const GOOD_FOR: Duration = Duration::from_secs(5 * 60);

/// The app's last word. Read with every poll, so without a lock; a reader
/// between the two writes sees one old and one new half, both said by the app.
#[derive(Debug, Default)]
pub(super) struct Stock {
    left: AtomicU64,
    /// In ms; 0 = nothing was ever said.
    until: AtomicU64,
}

impl Stock {
    pub(super) fn hear(&self, left: u64, now: Timestamp) {
        self.left.store(left, Ordering::Relaxed);
        self.until.store((now + GOOD_FOR).as_millis(), Ordering::Relaxed);
    }

    pub(super) fn left(&self, now: Timestamp) -> Option<u64> {
        let is_good = now.as_millis() < self.until.load(Ordering::Relaxed);
        is_good.then(|| self.left.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_good_for_a_while_and_the_last_one_counts() {
        let (stock, at) = (Stock::default(), Timestamp::from_millis);
        assert_eq!(stock.left(at(1)), None);
        stock.hear(7, at(1_000));
        stock.hear(0, at(2_000));
        assert_eq!(stock.left(at(2_000)), Some(0));
        assert_eq!(stock.left(at(301_999)), Some(0));
        assert_eq!(stock.left(at(302_000)), None);
    }
}
