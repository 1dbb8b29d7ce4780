//! What visitors carry, sealed and opened as the gate does it, for a simulation
//! that has no requests. Nothing else calls it.

use super::seal::{Seal, SealedPass, SealedPlace};
use super::visitor::{Carrier, Visitor};
use crate::config::Keys;
use crate::domain::id::{RoomName, VisitorId};
use crate::domain::time::Timestamp;

/// The gate's keys, for one room.
pub struct Ring {
    seal: Seal,
    room: RoomName,
}

impl Ring {
    /// These keys in `room`.
    #[must_use]
    pub fn new(keys: &Keys, room: RoomName) -> Self {
        Self { seal: Seal::new(keys), room }
    }

    /// A visitor's name as it carries it.
    #[must_use]
    pub fn visitor(&self, visitor: VisitorId, now: Timestamp) -> String {
        self.seal.visitor(&self.room, visitor, now, "")
    }

    /// A place as its holder carries it.
    #[must_use]
    pub fn place(&self, sealed: &SealedPlace) -> String {
        self.seal.place(&self.room, sealed)
    }

    /// A pass as its holder carries it.
    #[must_use]
    pub fn pass(&self, sealed: &SealedPass) -> String {
        self.seal.pass(&self.room, sealed)
    }

    /// What the gate believes of a visitor's name, place and pass.
    #[must_use]
    pub fn open(
        &self,
        tokens: [Option<&str>; 3],
        now: Timestamp,
    ) -> (Option<VisitorId>, Option<SealedPlace>, Option<SealedPass>) {
        let tokens = tokens.map(|token| token.map(str::as_bytes));
        let visitor = Visitor::open(Carrier::Tokens, tokens, &self.room, &self.seal, now);
        (visitor.id, visitor.place, visitor.pass)
    }
}
