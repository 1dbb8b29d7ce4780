//! What the benchmarks time of the gate's own secrets; nothing else calls it.

use super::decide::{Decision, Facts, Upgrade, decide};
use super::seal::{Seal, SealedPass, SealedPlace};
use crate::config::Keys;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::time::Timestamp;
use crate::queue::Presented;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const VISITOR: VisitorId = VisitorId::from_bytes([7; 16]);

/// A seal with one key, and a room.
pub struct Desk {
    seal: Seal,
    room: RoomName,
}

impl Desk {
    /// A desk with a fixed key.
    #[must_use]
    pub fn new() -> Self {
        let keys = Keys { current: [1; 32], previous: None };
        Self { seal: Seal::new(&keys), room: "main".parse().expect("a name") }
    }

    /// A pass as its holder carries it.
    #[must_use]
    pub fn pass(&self) -> String {
        let pass = Pass { number: PlaceNumber(48_211), issued_at: NOW, expires_at: NOW };
        self.seal.pass(&self.room, &SealedPass { visitor: VISITOR, epoch: Epoch(1), pass, generation: 0 })
    }

    /// A place as its holder carries it.
    #[must_use]
    pub fn place(&self) -> String {
        let place = Presented {
            epoch: Epoch(1),
            number: PlaceNumber(48_211),
            joined_at: NOW,
            position: 1_203,
            first: 2_406,
        };
        self.seal.place(&self.room, &SealedPlace { visitor: VISITOR, place, seen_at: NOW })
    }

    /// Whether a pass is the gate's own.
    #[must_use]
    pub fn verifies(&self, pass: &str) -> bool {
        self.seal.open_pass(&self.room, pass.as_bytes(), NOW).is_some()
    }

    /// Whether a program's request with or without a pass is forwarded.
    #[must_use]
    pub fn lets_in(&self, has_pass: bool) -> bool {
        let facts = Facts {
            has_pass,
            open_to_all: false,
            bypass: false,
            shut: false,
            wants_page: false,
            upgrade: Upgrade::None,
        };
        decide(&facts) == Decision::Forward
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}
