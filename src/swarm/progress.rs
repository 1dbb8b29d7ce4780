//! The live line.
//!
//! Owns what a person sees while the crowd is under way, once a second on
//! stderr: one line that is written over on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::tally::Tally;

/// Between two lines.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// Writes the live line.
pub(crate) struct Progress {
    visitors: u32,
    is_terminal: bool,
    is_quiet: bool,
    admitted: u64,
}

impl Progress {
    pub(crate) fn new(visitors: u32, is_quiet: bool) -> Self {
        Self { visitors, is_terminal: stderr().is_terminal(), is_quiet, admitted: 0 }
    }

    /// One more second went by.
    pub(crate) fn show(&mut self, tally: &Tally, elapsed: Duration) {
        if self.is_quiet {
            return;
        }
        let admitted = tally.admitted.load(Ordering::Relaxed);
        let line = line(tally, self.visitors, elapsed, admitted - self.admitted);
        self.admitted = admitted;
        let mut out = stderr().lock();
        // A closed stderr is no reason to stop.
        let _ = if self.is_terminal { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// Leaves the line as it stands.
    pub(crate) fn close(&self) {
        if self.is_terminal && !self.is_quiet {
            let _ = writeln!(stderr());
        }
    }
}

fn line(tally: &Tally, visitors: u32, elapsed: Duration, admitted: u64) -> String {
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    format!(
        "{:>4} s  joined {}/{visitors}  waiting {}  inside {}  done {}  admitted/s {admitted}  errors {}",
        elapsed.as_secs(),
        read(&tally.joined),
        read(&tally.waiting),
        read(&tally.inside),
        read(&tally.done),
        tally.errors().values().sum::<u64>(),
    )
}
