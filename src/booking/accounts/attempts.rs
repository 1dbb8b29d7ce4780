//! How often somebody may get a password wrong.
//!
//! Counted per email in this process's memory; only failures count, so a fan
//! who signs in on five devices is not stopped. The table is bounded: when it
//! is full, what is over is dropped, then everything.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::time::Timestamp;

/// Failures within [`WINDOW`] before the door closes.
const FAILURES: u32 = 10;
/// How long failures count, from the first of them.
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Emails remembered at once.
const REMEMBERED: usize = 100_000;

/// Wrong passwords, per email.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<String, (Timestamp, u32)>>);

impl Attempts {
    /// Whether another try is allowed.
    ///
    /// # Errors
    /// How long to wait.
    pub fn allow(&self, email: &str, now: Timestamp) -> Result<(), Duration> {
        match self.0.lock().get(email) {
            Some(&(since, failures)) if failures >= FAILURES && now < since + WINDOW => {
                Err((since + WINDOW).since(now))
            }
            _ => Ok(()),
        }
    }

    /// Counts a wrong password.
    pub fn failed(&self, email: &str, now: Timestamp) {
        let mut table = self.0.lock();
        if table.len() >= REMEMBERED {
            table.retain(|_, (since, _)| now < *since + WINDOW);
        }
        if table.len() >= REMEMBERED {
            table.clear();
        }
        let entry = table.entry(email.to_owned()).or_insert((now, 0));
        if now >= entry.0 + WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// Forgets the failures after a right password.
    pub fn succeeded(&self, email: &str) {
        self.0.lock().remove(email);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_closes_after_ten_failures_and_opens_again() {
        let attempts = Attempts::default();
        let start = Timestamp::from_millis(0);
        for _ in 0..FAILURES {
            assert_eq!(attempts.allow("a", start), Ok(()));
            attempts.failed("a", start);
        }
        assert_eq!(attempts.allow("a", start), Err(WINDOW));
        assert_eq!(attempts.allow("b", start), Ok(()));
        assert_eq!(attempts.allow("a", start + WINDOW), Ok(()));
        attempts.failed("a", start + WINDOW);
        assert_eq!(attempts.allow("a", start + WINDOW), Ok(()));
    }
}
