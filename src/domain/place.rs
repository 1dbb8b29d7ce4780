//! What a visitor can be to a room.

use super::id::PlaceNumber;
use super::pass::Pass;
use super::time::Timestamp;

/// Why a number is out of the line for good; remembered for one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No sign of life for the idle timeout.
    Evicted,
    /// The turn came and the claim window passed.
    Missed,
    /// The pass reached its end.
    PassEnded,
    /// The visitor's own act.
    Left,
    /// An operator's act.
    Revoked,
    /// The app said that the visit is done.
    Completed,
    /// The visitor took it to another device.
    Moved,
}

impl Reason {
    /// One stable letter, as the stores write it.
    #[must_use]
    pub const fn code(self) -> char {
        match self {
            Self::Evicted => 'e',
            Self::Missed => 'm',
            Self::PassEnded => 'p',
            Self::Left => 'l',
            Self::Revoked => 'r',
            Self::Completed => 'c',
            Self::Moved => 'd',
        }
    }

    /// One stable word, as visitors and operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Missed => "missed",
            Self::PassEnded => "pass_ended",
            Self::Left => "left",
            Self::Revoked => "revoked",
            Self::Completed => "completed",
            Self::Moved => "moved",
        }
    }

    /// The reason with this letter.
    #[must_use]
    pub const fn from_code(code: char) -> Option<Self> {
        Some(match code {
            'e' => Self::Evicted,
            'm' => Self::Missed,
            'p' => Self::PassEnded,
            'l' => Self::Left,
            'r' => Self::Revoked,
            'c' => Self::Completed,
            'd' => Self::Moved,
            _ => return None,
        })
    }
}

/// What an arriving visitor wants if it has no live place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A place, unless an earlier one ended within the hour.
    Join,
    /// A place, whatever was before.
    Rejoin,
}

/// The answer to a visitor that showed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nobody knows this visitor here.
    Unknown,
    /// In the line.
    Waiting {
        /// Its number.
        number: PlaceNumber,
        /// When it was taken.
        joined_at: Timestamp,
    },
    /// Missed its turn, came back within the grace time, and is served before the line.
    Returning {
        /// Its number.
        number: PlaceNumber,
        /// Returners before it.
        ahead: u64,
    },
    /// Inside: by this call or an earlier one.
    Admitted(Pass),
    /// Out.
    Ended {
        /// The number it had.
        number: PlaceNumber,
        /// Why it is out.
        reason: Reason,
    },
    /// No place was given, because the line is full.
    Full,
    /// No place was given, because the room is closed.
    Closed,
}
