//! How long this machine stood still while a test measured something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(20);
/// A measured time is made of so many waits that each may have stood still.
const WAITS: u32 = 4;
/// Of a machine that stood still for longer no time tells anything.
const STOOD: Duration = Duration::from_secs(1);

/// Watches from its making on.
pub(crate) struct Stalls {
    longest_ms: Arc<AtomicU64>,
    watching: AbortHandle,
}

impl Stalls {
    pub(crate) fn watch() -> Self {
        let longest_ms = Arc::<AtomicU64>::default();
        let longest = Arc::clone(&longest_ms);
        let watching = tokio::spawn(async move {
            loop {
                let since = Instant::now();
                sleep(LOOK).await;
                let late = since.elapsed().saturating_sub(LOOK);
                longest.fetch_max(u64::try_from(late.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { longest_ms, watching: watching.abort_handle() }
    }

    /// Says how long something took, and that it is within its bound, less what the
    /// machine stood still.
    ///
    /// # Panics
    /// When it is not.
    pub(crate) fn expect(&self, what: &str, took: Duration, bound: Duration) {
        let longest = Duration::from_millis(self.longest_ms.load(Ordering::Relaxed));
        eprintln!("{what} took {took:?} of {bound:?}; this machine stood still for {longest:?}");
        let within = took <= bound + longest * WAITS;
        assert!(within || longest > STOOD, "{what} took {took:?}, more than {bound:?}");
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
