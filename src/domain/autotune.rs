//! A capacity that follows the app's health.
//!
//! Additive up, multiplicative down, as in congestion control (Chiu and Jain,
//! 1989): when the app is slow or fails, fewer are let in at once; when it is
//! well again the capacity comes back in small steps, and never above what was
//! set. Each gate says how it finds the app; the line does the arithmetic once
//! for all of them.

use std::time::Duration;

use super::time::Timestamp;

/// Between two changes, whoever asks.
pub const STEP: Duration = Duration::from_secs(5);
/// After the last time it was lowered nothing is raised for this long: one gate
/// that finds the app unwell outweighs others that do not.
pub const HOLD: Duration = Duration::from_secs(30);
/// What is left of the capacity when it is lowered: four fifths.
pub const LEFT: (u64, u64) = (4, 5);
/// It rises by this part of what was set.
pub const RISE: u64 = 50;
/// Answers that a bad word needs, at least.
pub const ENOUGH: u64 = 20;

/// What the app must keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Its 95th percentile to the first byte.
    pub p95: Option<Duration>,
    /// The share of requests that fail, 0 to 1.
    pub errors: Option<f64>,
}

/// How a gate found the app for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Requests.
    pub requests: u64,
    /// Of these, answered with 5xx or not at all.
    pub failed: u64,
    /// 95 % of the answers began within this.
    pub p95: Duration,
}

/// A gate's word on the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It keeps to the limits, or nobody asks it anything.
    Well,
    /// It does not.
    Unwell,
}

impl Limits {
    /// The word on what was found; `None` when that is too little for a bad one.
    #[must_use]
    pub fn judge(&self, found: Found) -> Option<Word> {
        let slow = self.p95.is_some_and(|limit| found.requests > 0 && found.p95 > limit);
        let share = found.failed as f64 / found.requests.max(1) as f64;
        let failing = self.errors.is_some_and(|limit| share > limit);
        match slow || failing {
            false => Some(Word::Well),
            true => (found.requests >= ENOUGH).then_some(Word::Unwell),
        }
    }
}

/// How far the capacity is lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuned {
    /// What it was lowered to; `None` = as set.
    pub capacity: Option<u64>,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it was last lowered.
    pub lowered_at: Timestamp,
}

impl Tuned {
    /// The capacity in force where `set` is in the settings.
    #[must_use]
    pub fn of(&self, set: u64) -> u64 {
        self.capacity.map_or(set, |tuned| tuned.min(set))
    }

    /// Takes a gate's word while `inside` visitors are inside.
    ///
    /// A capacity far above what is used would have to fall for minutes before
    /// anybody felt it: it is lowered from what is used.
    #[must_use]
    pub fn heard(self, word: Word, set: u64, inside: u64, now: Timestamp) -> Self {
        if self.changed_at != Timestamp::default() && now < self.changed_at + STEP {
            return self;
        }
        let (part, whole) = LEFT;
        match (word, self.capacity) {
            (Word::Unwell, _) => {
                let lowered = (self.of(set).min(inside.max(1)) * part / whole).max(1);
                Self { capacity: Some(lowered), changed_at: now, lowered_at: now }
            }
            (Word::Well, Some(_)) if now >= self.lowered_at + HOLD => {
                let raised = self.of(set) + (set / RISE).max(1);
                Self { capacity: (raised < set).then_some(raised), changed_at: now, ..self }
            }
            (Word::Well, _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { p95: Some(Duration::from_millis(800)), errors: Some(0.02) };
    const SET: u64 = 1_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    fn found(requests: u64, failed: u64, p95_ms: u64) -> Found {
        Found { requests, failed, p95: Duration::from_millis(p95_ms) }
    }

    #[test]
    fn a_bad_word_needs_enough_answers_and_a_good_one_needs_none() {
        assert_eq!(LIMITS.judge(found(100, 2, 800)), Some(Word::Well), "at the limits");
        assert_eq!(LIMITS.judge(found(100, 3, 10)), Some(Word::Unwell));
        assert_eq!(LIMITS.judge(found(100, 0, 801)), Some(Word::Unwell));
        assert_eq!(LIMITS.judge(found(19, 19, 9_000)), None);
        assert_eq!(LIMITS.judge(found(0, 0, 0)), Some(Word::Well));
        let only_errors = Limits { p95: None, ..LIMITS };
        assert_eq!(only_errors.judge(found(100, 0, 9_000)), Some(Word::Well));
    }

    #[test]
    fn it_falls_from_what_is_used_and_comes_back_in_small_steps() {
        let tuned = Tuned::default().heard(Word::Unwell, SET, 200, at(0));
        assert_eq!(tuned.of(SET), 160);
        assert_eq!(tuned.heard(Word::Unwell, SET, 200, at(4)), tuned, "one change a step");
        let lower = tuned.heard(Word::Unwell, SET, 200, at(5));
        assert_eq!(lower.of(SET), 128);
        assert_eq!(lower.heard(Word::Well, SET, 100, at(34)), lower, "not so soon");
        assert_eq!(lower.heard(Word::Well, SET, 100, at(35)).of(SET), 148);
    }

    proptest! {
        #[test]
        fn never_above_what_is_set_never_none_and_back_in_the_end(
            set in 1_u64..5_000,
            words in prop::collection::vec((any::<bool>(), 0_u64..6_000, 1_u64..20), 0..60),
        ) {
            let mut tuned = Tuned::default();
            let mut now = 0;
            let mut changed: Option<u64> = None;
            for (well, inside, pause) in words {
                now += pause;
                let word = if well { Word::Well } else { Word::Unwell };
                let next = tuned.heard(word, set, inside, at(now));
                prop_assert!((1..=set).contains(&next.of(set)));
                if next.of(set) != tuned.of(set) {
                    prop_assert!(changed.is_none_or(|before| now - before >= 5), "two changes in one step");
                    prop_assert_eq!(next.of(set) > tuned.of(set), well, "up when well, down when not");
                    changed = Some(now);
                }
                tuned = next;
            }
            // All is well from here on; a small capacity takes up to 99 steps of 1.
            for _ in 0..=2 * RISE + 7 {
                now += 5;
                tuned = tuned.heard(Word::Well, set, 0, at(now));
            }
            prop_assert_eq!(tuned.capacity, None);
        }

        #[test]
        fn one_gate_that_is_worried_holds_the_others(waits in prop::collection::vec(1_u64..29, 1..40)) {
            let mut tuned = Tuned::default();
            let mut now = 0;
            for wait in waits {
                tuned = tuned.heard(Word::Unwell, SET, SET, at(now));
                let low = tuned.of(SET);
                for later in 1..=wait {
                    tuned = tuned.heard(Word::Well, SET, SET, at(now + later));
                    prop_assert!(tuned.of(SET) <= low, "raised while a gate finds the app unwell");
                }
                now += wait.max(5);
            }
        }
    }
}
