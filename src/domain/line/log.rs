//! What went out of a line, step by step: gates follow it.

use super::Line;
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::pass::Pass;

/// Entries of the log that are kept.
pub const LOG_KEPT: usize = 10_000;

/// Numbers and passes that went out in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// Numbers that are no longer in the line.
    pub out: Vec<PlaceNumber>,
    /// Passes that ended before their time.
    pub revoked: Vec<Pass>,
    /// Numbers that are another visitor's now, and whose.
    pub handed: Vec<(PlaceNumber, VisitorId)>,
}

impl Line {
    /// Log entries after `seq`, oldest first, at most `limit`; `None` when some
    /// of them are gone.
    #[must_use]
    pub fn log_after(&self, seq: u64, limit: usize) -> Option<Vec<(u64, LogEntry)>> {
        if seq > self.log_seq {
            return None;
        }
        let kept_from = self.log_seq - self.log.len() as u64;
        let skip = seq.checked_sub(kept_from)?;
        Some(self.log.iter().skip(usize::try_from(skip).ok()?).take(limit).cloned().collect())
    }

    pub(super) fn append(&mut self, entry: LogEntry) {
        if entry == LogEntry::default() {
            return;
        }
        self.log_seq += 1;
        self.log.push_back((self.log_seq, entry));
        if self.log.len() > LOG_KEPT {
            self.log.pop_front();
        }
    }
}
