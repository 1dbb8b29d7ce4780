//! Passes that rotate: what this gate was shown of each, and what it has to hand out.
//!
//! Only where the settings say so. A request costs a look into a table, never the
//! store: what is news is sent with each round of the driver, many in one call, and
//! so are passes whose next generation is due. The rule is
//! [`crate::domain::binding`]'s.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use dashmap::mapref::one::RefMut;
use parking_lot::Mutex;

use super::Room;
use super::arrive::{Arrived, Caller, SealedPass};
use crate::domain::binding::{Claim, Heard, Newest, Rotation};
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::place::Reason;
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// A pass by what names it for good.
type Key = (PlaceNumber, Timestamp);

fn key(sealed: &SealedPass) -> Key {
    (sealed.pass.number, sealed.pass.issued_at)
}

/// What is known here of the copies of one pass.
struct Known {
    visitor: VisitorId,
    newest: Newest,
    next: Option<Next>,
    /// On the list of what the store is to hear.
    unsent: bool,
    /// When another generation is made for whoever shows the newest.
    due_at: Timestamp,
    /// The pass is over, as far as was shown here.
    until: Timestamp,
}

/// A generation to be handed out, once.
#[derive(Clone, Copy)]
struct Next {
    generation: u64,
    made_at: Timestamp,
    /// After this another gate may hand out another one.
    until: Timestamp,
}

/// All passes that were used here and are not over.
#[derive(Default)]
pub(super) struct Copies {
    known: DashMap<Key, Known>,
    unsent: Mutex<Vec<Key>>,
    /// Passes that ended here because copies of them were used in turns.
    shared: AtomicU64,
}

impl Copies {
    fn of(&self, sealed: &SealedPass, now: Timestamp) -> RefMut<'_, Key, Known> {
        if let Some(known) = self.known.get_mut(&key(sealed)) {
            return known;
        }
        self.known.entry(key(sealed)).or_insert_with(|| Known {
            visitor: sealed.visitor,
            newest: Newest { generation: sealed.generation, shown_at: now, before: 0 },
            next: None,
            unsent: false,
            due_at: Timestamp::default(),
            until: sealed.pass.expires_at,
        })
    }

    /// A copy is used; whether it is a good one.
    fn show(&self, sealed: &SealedPass, now: Timestamp, rotation: Rotation) -> bool {
        let mut known = self.of(sealed, now);
        known.until = known.until.max(sealed.pass.expires_at);
        if known.newest.is_old(sealed.generation, now, rotation) {
            return false;
        }
        let is_news = known.newest.show(sealed.generation, now);
        let is_due = sealed.generation == known.newest.generation && now >= known.due_at;
        if (is_news || is_due) && !known.unsent {
            known.unsent = true;
            self.unsent.lock().push(key(sealed));
        }
        true
    }

    fn is_old(&self, sealed: &SealedPass, now: Timestamp, rotation: Rotation) -> bool {
        let known = self.known.get(&key(sealed));
        known.is_some_and(|known| known.newest.is_old(sealed.generation, now, rotation))
    }

    /// Whether something is to be handed out to whoever has this copy.
    fn has_next(&self, sealed: &SealedPass) -> bool {
        self.known
            .get(&key(sealed))
            .is_some_and(|known| known.next.is_some() && known.newest.generation == sealed.generation)
    }

    /// Takes what is to be handed out; with `patience` only when it is high time.
    fn take_next(
        &self,
        sealed: &SealedPass,
        patience: bool,
        now: Timestamp,
        rotation: Rotation,
    ) -> Option<u64> {
        let mut known = self.known.get_mut(&key(sealed))?;
        let next = known.next?;
        if next.generation <= known.newest.generation || now >= next.until {
            known.next = None;
            return None;
        }
        let can_wait = patience && now < next.made_at + rotation.every / 2;
        if can_wait || known.newest.generation != sealed.generation {
            return None;
        }
        known.next = None;
        Some(next.generation)
    }

    /// The store's word on a pass; `None`: it knows of no such pass.
    fn hear(&self, key: &Key, heard: Option<Heard>, now: Timestamp, rotation: Rotation) {
        let Some(heard) = heard else {
            self.known.remove(key);
            return;
        };
        let Some(mut known) = self.known.get_mut(key) else { return };
        if heard.newest.generation > known.newest.generation {
            known.newest = heard.newest;
        }
        known.due_at = heard.due_at;
        if let Some(generation) = heard.next {
            known.next = Some(Next { generation, made_at: now, until: heard.due_at - rotation.grace() });
        }
    }

    pub(super) fn forget(&self, pass: &Key) {
        self.known.remove(pass);
    }

    /// Forgets passes that are over.
    pub(super) fn forget_ended(&self, now: Timestamp) {
        self.known.retain(|_, known| now < known.until);
    }

    pub(super) fn clear(&self) {
        self.known.clear();
    }
}

impl Room {
    fn rotation(&self) -> Option<Rotation> {
        self.config.load().rotation
    }

    /// Whether passes of this room rotate.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.rotation().is_some()
    }

    /// Whether a copy of a pass is good: as [`Room::admits`], and no old one. While
    /// the store is away any copy is. Never waits.
    #[must_use]
    pub fn holds(&self, sealed: &SealedPass, now: Timestamp) -> bool {
        self.admits(sealed.epoch, &sealed.pass, now) && !self.is_old(sealed, now)
    }

    /// The same of a copy that is used now, which counts as shown.
    #[must_use]
    pub fn uses(&self, sealed: &SealedPass, now: Timestamp) -> bool {
        if !self.admits(sealed.epoch, &sealed.pass, now) {
            return false;
        }
        self.rotation()
            .is_none_or(|rotation| self.copies.show(sealed, now, rotation) || self.view.load().degraded)
    }

    /// Whether this is an old copy of a pass that is good as such.
    #[must_use]
    pub fn is_old(&self, sealed: &SealedPass, now: Timestamp) -> bool {
        self.rotation()
            .is_some_and(|rotation| self.copies.is_old(sealed, now, rotation) && !self.view.load().degraded)
    }

    /// Passes that this gate ended because copies of them were used in turns.
    #[must_use]
    pub fn shared_passes(&self) -> u64 {
        self.copies.shared.load(Ordering::Relaxed)
    }

    /// Whether a newer copy of the pass than this one was shown here.
    #[must_use]
    pub fn is_outdone(&self, sealed: &SealedPass) -> bool {
        self.rotates()
            && self.copies.known.get(&key(sealed)).is_some_and(|k| sealed.generation < k.newest.generation)
    }

    /// Whether there may be a next copy for whoever has this one.
    #[must_use]
    pub fn has_next(&self, sealed: &SealedPass) -> bool {
        self.rotates() && self.copies.has_next(sealed)
    }

    /// Takes the next copy for whoever has this one, if it is time for one; with
    /// `patience` only when that is long since. It is given once.
    pub fn take_next(&self, sealed: &SealedPass, patience: bool, now: Timestamp) -> Option<SealedPass> {
        let generation = self.copies.take_next(sealed, patience, now, self.rotation()?)?;
        Some(SealedPass { generation, ..*sealed })
    }

    /// Which copy of its pass somebody gets who is inside by the store's word.
    /// Devices that take turns at one pass end it.
    pub(super) async fn claim(&self, caller: &Caller, inside: SealedPass) -> Arrived {
        let Some(rotation) = self.rotation() else { return Arrived::Admitted(Some(inside)) };
        let copy = caller.pass.filter(|copy| copy.epoch == inside.epoch && key(copy) == key(&inside));
        let shown = copy.map(|copy| copy.generation);
        let name = self.config.load().name.clone();
        let generation = match self.store.claim_again(&name, caller.visitor, shown, rotation).await {
            Ok(Some(Claim::Given(generation))) => generation,
            Ok(Some(Claim::Shared)) => {
                if self.end(caller.visitor, Some(&inside.pass), Reason::Revoked).await.is_ok() {
                    self.copies.shared.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(
                        room = %name, number = inside.pass.number.0,
                        "copies of one pass are used in turns: it is ended"
                    );
                    return Arrived::Ended(Reason::Revoked);
                }
                shown.unwrap_or_default()
            }
            Ok(None) => return Arrived::Ended(Reason::PassEnded),
            // Nobody is locked out because the store cannot count.
            Err(_) => shown.unwrap_or_default(),
        };
        Arrived::Admitted(Some(SealedPass { generation, ..inside }))
    }
}

/// Sends the store what was shown here, and hears what to hand out.
pub(super) async fn send(room: &Room) -> Result<(), StoreError> {
    let Some(rotation) = room.rotation() else { return Ok(()) };
    let keys = std::mem::take(&mut *room.copies.unsent.lock());
    if keys.is_empty() {
        return Ok(());
    }
    let (mut sent, mut shown) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
    for key in keys {
        let Some(mut known) = room.copies.known.get_mut(&key) else { continue };
        known.unsent = false;
        shown.push((known.visitor, key.1, known.newest.generation));
        sent.push(key);
    }
    let name = room.config().name.clone();
    match room.store.show(&name, &shown, rotation).await {
        Ok(heard) => {
            let now = room.now();
            sent.iter().zip(heard).for_each(|(key, heard)| room.copies.hear(key, heard, now, rotation));
            Ok(())
        }
        Err(why) => {
            for key in &sent {
                if let Some(mut known) = room.copies.known.get_mut(key) {
                    known.unsent = true;
                }
            }
            room.copies.unsent.lock().extend(sent);
            // A full store does not count; everything else goes on.
            if why == StoreError::Full { Ok(()) } else { Err(why) }
        }
    }
}

#[cfg(test)]
mod tests;
