//! One chair, and what may happen to it.
//!
//! Owns the names of seats, holds and their epochs, and the life of a single
//! seat. [`floor`] puts an event's seats and holds together, [`heal`] compares
//! one with the database.

pub mod floor;
pub mod heal;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

super::order::hex_id!(
    /// A hold's id.
    HoldId
);

/// An event's name in paths: 1 to 64 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Arc<str>);

/// The text is no event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 1 to 64 of a-z, 0-9 and -")]
pub struct BadEventId;

impl EventId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 32 bits that nearly tell it from others, the same everywhere (FNV-1a).
    #[must_use]
    pub fn tag(&self) -> u32 {
        let mix = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        self.0.bytes().fold(0x811c_9dc5, mix)
    }
}

/// A hold's id ends in its event's [`tag`](EventId::tag), so that nobody has to
/// keep a list of which hold is of which event.
impl HoldId {
    /// An id of a hold of `event`, with the upper 96 of these bits.
    #[must_use]
    pub fn of(event: &EventId, random: u128) -> Self {
        Self(random >> 32 << 32 | u128::from(event.tag()))
    }

    /// Of an event with this tag.
    #[must_use]
    pub const fn tag(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(s: &str) -> Result<Self, BadEventId> {
        let ok =
            (1..=64).contains(&s.len()) && s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if ok { Ok(Self(s.into())) } else { Err(BadEventId) }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A seat's index in its event: from 0, in the order of creation, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeatIndex(pub u32);

impl SeatIndex {
    /// The index into a table of the event's seats.
    #[must_use]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// Which hold of an event this is; fences whoever comes late with an older one.
///
/// A generation, raised whenever the hold store was found empty, joined to a
/// counter, so it grows even when the counter is lost. Below 2⁵³, which is
/// what a JSON number can carry everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldEpoch(u64);

impl HoldEpoch {
    /// The epoch before the first of a generation (at most 2²¹ of those).
    #[must_use]
    pub const fn start(generation: u32) -> Self {
        Self((generation as u64) << 32)
    }

    /// The next one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The epoch as stored and sent.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The epoch that was stored as `value`.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }
}

/// A seat as everybody may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SeatStatus {
    /// Can be held.
    Available,
    /// Held, or being paid for.
    Held,
    /// Sold.
    Sold,
}

impl SeatStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Held => "HELD",
            Self::Sold => "SOLD",
        }
    }
}

/// One seat. The epoch is that of the hold which last took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// Can be held.
    Free,
    /// Kept for a buyer until the hold's deadline.
    Held(HoldEpoch),
    /// Being paid for: no deadline frees it, only the provider's word.
    Paying(HoldEpoch),
    /// Belongs to a paid order.
    Sold(HoldEpoch),
}

impl Seat {
    /// What everybody may see.
    #[must_use]
    pub const fn status(self) -> SeatStatus {
        match self {
            Self::Free => SeatStatus::Available,
            Self::Held(_) | Self::Paying(_) => SeatStatus::Held,
            Self::Sold(_) => SeatStatus::Sold,
        }
    }

    /// The hold that last took the seat, unless it is free.
    #[must_use]
    pub const fn epoch(self) -> Option<HoldEpoch> {
        match self {
            Self::Free => None,
            Self::Held(epoch) | Self::Paying(epoch) | Self::Sold(epoch) => Some(epoch),
        }
    }
}

/// What the database says of seats that somebody paid for, or tried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Paid.
    Sold,
    /// Being paid for, by a hold that was lost.
    Paying,
    /// Not paid, or given back.
    Free,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_short_and_plain() {
        assert!("seoul-2026".parse::<EventId>().is_ok());
        for bad in ["", "A", "a/b", "a b", "é", &"a".repeat(65)] {
            assert_eq!(bad.parse::<EventId>(), Err(BadEventId), "{bad}");
        }
    }

    #[test]
    fn an_epoch_grows_through_a_lost_counter() {
        let last = (0..1_000).fold(HoldEpoch::start(4), |epoch, _| epoch.next());
        assert!(HoldEpoch::start(5) > last);
    }
}
