//! Places that went to another device of the same person.
//!
//! A gate answers polls without the store, by the number in a signed place; so it
//! must know itself whose numbers are another's now. It hears of it by the log, and
//! keeps it for as long as the number waits, an hour at least.

use dashmap::DashMap;

use super::Room;
use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::line::{CHUNK, PutBack, REMEMBERED};
use crate::domain::pass::Pass;
use crate::domain::place::Turn;
use crate::domain::rank::Rank;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// Numbers read in one call.
const RANGE: usize = 20_000;

/// Numbers that were handed over: to whom, and when this gate heard of it.
#[derive(Default)]
pub(super) struct Handed(DashMap<PlaceNumber, (VisitorId, Timestamp)>);

impl Handed {
    pub(super) fn note(&self, number: PlaceNumber, to: VisitorId, now: Timestamp) {
        self.0.insert(number, (to, now));
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }

    /// Forgets numbers that are out of the line since long.
    pub(super) fn forget(&self, rank: &Rank, now: Timestamp) {
        self.0.retain(|&number, &mut (_, at)| !rank.is_out(number) || now < at + REMEMBERED);
    }

    fn is_away(&self, number: PlaceNumber, visitor: VisitorId) -> bool {
        self.0.get(&number).is_some_and(|handed| handed.0 != visitor)
    }
}

impl Room {
    /// Whether this number, once the visitor's, is another's now.
    #[must_use]
    pub fn is_handed_away(&self, epoch: Epoch, number: PlaceNumber, visitor: VisitorId) -> bool {
        self.handed.is_away(number, visitor) && self.view().epoch == epoch
    }

    /// Gives `from`'s place to `to`, an id that never had one; `None` when it is
    /// not `from`'s (any more). The holder before finds out on this gate at once, on
    /// the others when they next read the log.
    ///
    /// # Errors
    /// [`StoreError`], also while the line comes back from a loss.
    pub async fn hand_over(
        &self,
        epoch: Epoch,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        if self.view().degraded {
            return Err(StoreError::Away("no place changes hands meanwhile".into()));
        }
        if self.view().epoch != epoch {
            return Ok(None);
        }
        let name = self.config().name.clone();
        let turn = self.store.hand_over(&name, from, number, to).await?;
        if turn.is_some() {
            self.handed.note(number, to, self.now());
        }
        if let Some(Turn::Admitted(pass)) = turn {
            self.revoke_here(&Pass { issued_at: before(pass.issued_at), ..pass });
            self.memory.is_inside(to, pass);
        }
        Ok(turn)
    }
}

/// The pass before has an issue time a millisecond earlier.
fn before(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(1))
}

/// Reads all of a line's numbers that were handed over.
pub(super) async fn read(room: &Room, now: Timestamp) -> Result<(), StoreError> {
    let name = room.config().name.clone();
    let mut after = PlaceNumber(0);
    loop {
        let handed = room.store.handed(&name, after, RANGE).await?;
        for &(number, to) in &handed {
            room.handed.note(number, to, now);
            after = number;
        }
        if handed.len() < RANGE {
            return Ok(());
        }
    }
}

/// Tells the store of a line that comes back whose the numbers in it are.
pub(super) async fn put_back(room: &Room, rank: &Rank) -> Result<(), StoreError> {
    let all = room.handed.0.iter().map(|handed| (*handed.key(), handed.value().0));
    let waiting: Vec<_> = all.filter(|(number, _)| !rank.is_out(*number)).collect();
    let name = room.config().name.clone();
    for chunk in waiting.chunks(CHUNK) {
        room.store.put_back(&name, &PutBack::Handed(chunk.to_vec())).await?;
    }
    Ok(())
}
