//! Running counts, for the live line and the parts of the report that no
//! history holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Three digits are kept, up to an hour; slower counts as an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// What every visitor adds to.
pub struct Tally {
    /// Places taken.
    pub(super) joined: AtomicU64,
    /// Visitors in the line now.
    pub(super) waiting: AtomicU64,
    /// Visitors inside now.
    pub(super) inside: AtomicU64,
    /// Visitors let in.
    pub(super) admitted: AtomicU64,
    /// Visitors that want no more.
    pub(super) done: AtomicU64,
    /// Requests that were sent again on a fresh connection.
    pub(super) resent: AtomicU64,
    /// How long joins took.
    pub(super) join: Mutex<Latency>,
    /// How long polls took.
    pub(super) status: Mutex<Latency>,
    errors: Mutex<BTreeMap<String, u64>>,
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl Tally {
    /// Nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self {
            joined: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            inside: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            done: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            join: Mutex::new(Latency::new()),
            status: Mutex::new(Latency::new()),
            errors: Mutex::default(),
        }
    }

    /// Counts an error of a kind. Kinds are made of a gate's status and code, so
    /// there are few; a gate that makes them up is cut off.
    pub(super) fn error(&self, kind: &str) {
        let mut errors = self.errors.lock();
        let key = if errors.len() < 100 || errors.contains_key(kind) { kind } else { "other" };
        match errors.get_mut(key) {
            Some(count) => *count += 1,
            None => _ = errors.insert(key.to_owned(), 1),
        }
    }

    /// Errors by kind.
    pub(super) fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.lock().clone()
    }
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn subtract(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}

/// Times, in a fixed amount of memory.
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    pub(super) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 µs to an hour at three digits is valid"))
    }

    pub(super) fn note(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US).clamp(1, LONGEST_US));
    }

    /// The time in ms that this share (0 to 1) of all did not exceed; `None`
    /// when there were none.
    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share) as f64 / 1_000.0)
    }
}
