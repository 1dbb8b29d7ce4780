//! The signed right to go upstream, as the stores know it.

use std::time::Duration;

use super::id::PlaceNumber;
use super::time::Timestamp;

/// A claimed admission.
///
/// `(number, issued_at)` names a pass for good: prolonging it moves only its
/// end, so a revocation of an older pass can never hit a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pass {
    /// The place it came from.
    pub number: PlaceNumber,
    /// When it was claimed.
    pub issued_at: Timestamp,
    /// First instant at which it is no longer good.
    pub expires_at: Timestamp,
}

impl Pass {
    /// Whether the pass is good at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// The pass made to last at least `by` from `now`, never beyond `max` after
    /// its claim and never shorter than it was.
    #[must_use]
    pub fn extended(self, now: Timestamp, by: Duration, max: Duration) -> Self {
        let wanted = (now + by).min(self.issued_at + max);
        Self { expires_at: self.expires_at.max(wanted), ..self }
    }
}
