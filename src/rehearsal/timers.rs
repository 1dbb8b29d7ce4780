//! Timers, by when they go off; of two at one instant the one set first.
//!
//! A radix heap (Ahuja, Mehlhorn, Orlin and Tarjan, 1990): time only goes on, so a
//! timer lies by the highest bit in which its instant differs from the last one's,
//! and moves down as that comes nearer. Millions cost a few moves each along
//! memory in a row; a binary heap of them misses the cache at every level.

use std::collections::VecDeque;

/// What goes off, by instants.
#[derive(Debug)]
pub(super) struct Timers<T> {
    /// The last instant at which anything went off.
    last: u64,
    /// Set for that instant.
    due: VecDeque<T>,
    later: [Bucket<T>; 64],
}

#[derive(Debug)]
struct Bucket<T> {
    /// The earliest in it; the largest number when it is empty.
    first: u64,
    timers: Vec<(u64, T)>,
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Self { first: u64::MAX, timers: Vec::new() }
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { last: 0, due: VecDeque::new(), later: std::array::from_fn(|_| Bucket::default()) }
    }
}

impl<T> Timers<T> {
    /// Sets one; an instant that has passed is the last one.
    pub(super) fn set(&mut self, at: u64, timer: T) {
        let at = at.max(self.last);
        let Some(highest) = (at ^ self.last).checked_ilog2() else { return self.due.push_back(timer) };
        let bucket = &mut self.later[highest as usize];
        bucket.first = bucket.first.min(at);
        bucket.timers.push((at, timer));
    }

    /// Takes the next one out, with its instant; `None` when there is none until then.
    pub(super) fn next(&mut self, until: u64) -> Option<(u64, T)> {
        if self.due.is_empty() {
            let bucket = self.later.iter_mut().find(|bucket| !bucket.timers.is_empty())?;
            if bucket.first > until {
                return None;
            }
            // All of it differs from the new last instant in lower bits only.
            let Bucket { first, timers } = std::mem::take(bucket);
            self.last = first;
            timers.into_iter().for_each(|(at, timer)| self.set(at, timer));
        }
        if self.last > until {
            return None;
        }
        self.due.pop_front().map(|timer| (self.last, timer))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn go_off_in_order_of_time_then_of_setting(
            steps in prop::collection::vec((prop::collection::vec(0_u64..5_000, 0..20), 0_u64..2_000), 1..40),
        ) {
            let (mut timers, mut sorted) = (Timers::default(), BTreeMap::new());
            let (mut now, mut count) = (0, 0);
            for (pauses, pass) in steps {
                for pause in pauses {
                    count += 1;
                    timers.set(now + pause, count);
                    sorted.insert((now + pause, count), ());
                }
                now += pass;
                while let Some((at, timer)) = timers.next(now) {
                    prop_assert_eq!(Some((at, timer)), sorted.pop_first().map(|(key, ())| key));
                }
                prop_assert!(sorted.first_key_value().is_none_or(|(&(at, _), ())| at > now));
            }
        }
    }
}
