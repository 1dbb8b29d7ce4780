//! One event's seats and holds: the pure model behind the hold stores.
//!
//! The memory store is this behind a mutex. Each operation takes `now`, applies
//! whole or not at all, and lets go whatever it meets that is past its deadline,
//! so a late sweep never costs a sale. What is sold comes from the database; this
//! is the fast hint in front of it, fenced by [`HoldEpoch`]. Every change of how a
//! seat looks has a version of its own and stands in one log, in order.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::{HoldEpoch, HoldId, Outcome, Seat, SeatIndex, SeatStatus};
use crate::domain::order::AccountId;
use crate::domain::time::Timestamp;

/// Seats kept for one buyer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// Whose it is.
    pub owner: AccountId,
    /// What it keeps, at least one, in the order asked for, no seat twice.
    pub seats: Vec<SeatIndex>,
    /// Which hold of the event this is.
    pub epoch: HoldEpoch,
    /// When it began.
    pub began_at: Timestamp,
    /// First instant at which it is over, unless a payment is under way.
    pub until: Timestamp,
    /// Since when a payment is under way: no deadline counts.
    pub paying_since: Option<Timestamp>,
}

/// What somebody wants to keep.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The new hold's id.
    pub id: HoldId,
    /// For whom.
    pub owner: AccountId,
    /// Which seats; at least one, no seat twice, all within the event.
    pub seats: Vec<SeatIndex>,
    /// Until when.
    pub until: Timestamp,
    /// Seats that all live holds of the owner together may keep, this one included.
    pub cap: usize,
}

/// Why a hold is not given, prolonged or found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// These of the wanted seats are not free; nothing was taken.
    #[error("{} of the seats are taken", .0.len())]
    Taken(Vec<SeatIndex>),
    /// The owner's live holds would keep more than the cap.
    #[error("more seats than one buyer may hold")]
    OverCap,
    /// Over, never there, or somebody else's.
    #[error("no such hold")]
    NoHold,
}

/// All there is to compare with the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The epoch of the last hold.
    pub epoch: HoldEpoch,
    /// The version of the last change.
    pub version: u64,
    /// By seat index.
    pub seats: Vec<Seat>,
    /// Which hold has which epoch.
    pub holds: HashMap<HoldEpoch, HoldId>,
}

impl Inside {
    /// The hold that keeps this seat, if it is still there.
    #[must_use]
    pub fn hold_on(&self, seat: Seat) -> Option<HoldId> {
        seat.epoch().and_then(|epoch| self.holds.get(&epoch).copied())
    }
}

/// What changed for those who look at the seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Each change in order, one for each version after the one asked about; the
    /// last has version `to`.
    Since {
        /// The version now.
        to: u64,
        /// Which seat, and how it looks since; a seat may be in it several times.
        seats: Vec<(SeatIndex, SeatStatus)>,
    },
    /// Too long ago, or a version of another life of the store: look at all seats.
    Gap {
        /// The version now.
        to: u64,
    },
}

/// Changes that are kept for those who look.
pub const KEPT_CHANGES: usize = 8_192;

/// An event's seats and holds.
#[derive(Clone, Debug)]
pub struct Floor {
    seats: Vec<Seat>,
    holds: HashMap<HoldId, Hold>,
    by_epoch: HashMap<HoldEpoch, HoldId>,
    by_owner: HashMap<AccountId, Vec<HoldId>>,
    deadlines: BTreeSet<(Timestamp, HoldId)>,
    /// Holds that must not be given any more, and until when that is remembered.
    undone: HashMap<HoldId, Timestamp>,
    epoch: HoldEpoch,
    version: u64,
    /// The last changes; the newest has `version`.
    log: VecDeque<(SeatIndex, SeatStatus)>,
}

impl Floor {
    /// A floor without holds, as the database knows it, in a new generation.
    ///
    /// Versions go on from the generation too, so none is used for two states.
    #[must_use]
    pub fn new(generation: u32, seats: Vec<Seat>) -> Self {
        let epoch = HoldEpoch::start(generation);
        let floor = Self {
            seats,
            holds: HashMap::new(),
            by_epoch: HashMap::new(),
            by_owner: HashMap::new(),
            deadlines: BTreeSet::new(),
            undone: HashMap::new(),
            epoch,
            version: epoch.as_u64(),
            log: VecDeque::new(),
        };
        floor.check();
        floor
    }

    /// Raised by every change that somebody looking at the seats could see.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The epoch of the last hold.
    #[must_use]
    pub const fn epoch(&self) -> HoldEpoch {
        self.epoch
    }

    /// All there is, to be compared with the database.
    #[must_use]
    pub fn inside(&self) -> Inside {
        Inside {
            epoch: self.epoch,
            version: self.version,
            seats: self.seats.clone(),
            holds: self.by_epoch.clone(),
        }
    }

    /// What changed after version `since`, which an earlier answer told.
    #[must_use]
    pub fn changes(&self, since: u64) -> Changes {
        let to = self.version;
        let behind = to.checked_sub(since).and_then(|count| usize::try_from(count).ok());
        match behind.and_then(|count| self.log.len().checked_sub(count)) {
            Some(from) => Changes::Since { to, seats: self.log.range(from..).copied().collect() },
            None => Changes::Gap { to },
        }
    }

    /// Each seat's status, by index.
    pub fn statuses(&self) -> impl ExactSizeIterator<Item = SeatStatus> + '_ {
        self.seats.iter().map(|seat| seat.status())
    }

    /// Each seat, by index.
    #[must_use]
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Lets go every hold whose deadline has come, and returns them.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Hold> {
        let mut over = Vec::new();
        while let Some(&(until, id)) = self.deadlines.first() {
            if until > now {
                break;
            }
            self.deadlines.pop_first();
            over.extend(self.end(id, Seat::Free));
        }
        self.undone.retain(|_, until| *until > now);
        self.check();
        over
    }

    /// Keeps all the wanted seats, or none. The same wish under the same id again
    /// is answered with the hold it got, so a caller without an answer may ask again.
    ///
    /// # Errors
    /// [`HoldError::Taken`] names every seat that is not free, the owner's own
    /// included; [`HoldError::OverCap`]; [`HoldError::NoHold`] once it was undone.
    pub fn hold(&mut self, wanted: Wanted, now: Timestamp) -> Result<Hold, HoldError> {
        if self.undone.get(&wanted.id).is_some_and(|until| *until > now) {
            return Err(HoldError::NoHold);
        }
        if let Some(same) = self.live(wanted.id, now) {
            let again = same.owner == wanted.owner && same.seats == wanted.seats;
            return if again { Ok(same.clone()) } else { Err(HoldError::Taken(wanted.seats)) };
        }
        let seats = wanted.seats.iter().copied();
        let taken: Vec<_> = seats.filter(|&seat| !self.is_free_at(seat, now)).collect();
        if !taken.is_empty() {
            return Err(HoldError::Taken(taken));
        }
        if self.kept(wanted.owner) + wanted.seats.len() > wanted.cap {
            let ids: Vec<_> = self.by_owner.get(&wanted.owner).into_iter().flatten().copied().collect();
            for id in ids {
                self.live(id, now);
            }
            if self.kept(wanted.owner) + wanted.seats.len() > wanted.cap {
                return Err(HoldError::OverCap);
            }
        }
        self.epoch = self.epoch.next();
        let Wanted { id, owner, seats, until, .. } = wanted;
        let hold = Hold { id, owner, seats, epoch: self.epoch, began_at: now, until, paying_since: None };
        for seat in &hold.seats {
            self.seats[seat.at()] = Seat::Held(hold.epoch);
            self.announce(*seat, SeatStatus::Held);
        }
        self.deadlines.insert((until, id));
        self.by_epoch.insert(hold.epoch, id);
        self.by_owner.entry(owner).or_default().push(id);
        self.holds.insert(id, hold.clone());
        self.check();
        Ok(hold)
    }

    /// The live hold `id` of `owner`.
    ///
    /// # Errors
    /// [`HoldError::NoHold`]
    pub fn find(&mut self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<&Hold, HoldError> {
        self.live(id, now).filter(|hold| hold.owner == owner).ok_or(HoldError::NoHold)
    }

    /// The hold `id`; one past its deadline ends here.
    fn live(&mut self, id: HoldId, now: Timestamp) -> Option<&Hold> {
        let hold = self.holds.get(&id)?;
        if hold.paying_since.is_none() && hold.until <= now {
            self.end(id, Seat::Free);
        }
        self.holds.get(&id)
    }

    fn kept(&self, owner: AccountId) -> usize {
        self.of(owner).map(|hold| hold.seats.len()).sum()
    }

    /// The live holds of `owner`.
    pub fn of(&self, owner: AccountId) -> impl Iterator<Item = &Hold> + '_ {
        self.by_owner.get(&owner).into_iter().flatten().filter_map(|id| self.holds.get(id))
    }

    /// Holds whose clock is stopped.
    pub fn paying(&self) -> impl Iterator<Item = &Hold> + '_ {
        self.holds.values().filter(|hold| hold.paying_since.is_some())
    }

    /// Makes the hold last `by` from now, never beyond `max` after it began and
    /// never shorter than it was.
    ///
    /// # Errors
    /// [`HoldError::NoHold`]
    pub fn extend(
        &mut self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Hold, HoldError> {
        self.find(id, owner, now)?;
        let hold = self.holds.get_mut(&id).ok_or(HoldError::NoHold)?;
        let until = hold.until.max((now + by).min(hold.began_at + max));
        if self.deadlines.remove(&(hold.until, id)) {
            self.deadlines.insert((until, id));
        }
        hold.until = until;
        let hold = hold.clone();
        self.check();
        Ok(hold)
    }

    /// Gives the seats back before their time.
    ///
    /// # Errors
    /// [`HoldError::NoHold`], also once a payment is under way.
    pub fn release(&mut self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Hold, HoldError> {
        if self.find(id, owner, now)?.paying_since.is_some() {
            return Err(HoldError::NoHold);
        }
        let hold = self.end(id, Seat::Free).ok_or(HoldError::NoHold)?;
        self.check();
        Ok(hold)
    }

    /// Ends a hold that may or may not have been given, unless it is being paid
    /// for, and gives none under this id until `until`.
    pub fn undo(&mut self, id: HoldId, until: Timestamp) {
        if self.holds.get(&id).is_some_and(|hold| hold.paying_since.is_none()) {
            self.end(id, Seat::Free);
        }
        self.undone.insert(id, until);
        self.check();
    }

    /// Stops the hold's clock, because a payment begins.
    ///
    /// # Errors
    /// [`HoldError::NoHold`]
    pub fn fasten(&mut self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Hold, HoldError> {
        self.find(id, owner, now)?;
        let hold = self.holds.get_mut(&id).ok_or(HoldError::NoHold)?;
        hold.paying_since.get_or_insert(now);
        let hold = hold.clone();
        self.deadlines.remove(&(hold.until, id));
        for seat in &hold.seats {
            self.seats[seat.at()] = Seat::Paying(hold.epoch);
        }
        self.check();
        Ok(hold)
    }

    /// Lets the clock run again, because the payment did not begin after all.
    pub fn loosen(&mut self, id: HoldId) {
        let Some(hold) = self.holds.get_mut(&id).filter(|hold| hold.paying_since.is_some()) else { return };
        hold.paying_since = None;
        self.deadlines.insert((hold.until, id));
        for seat in &hold.seats {
            self.seats[seat.at()] = Seat::Held(hold.epoch);
        }
        self.check();
    }

    /// Takes over what the database says of seats, such as how a payment ended.
    ///
    /// A seat that a newer hold has taken since keeps its newer state; an older
    /// hold in the way, which a store that lost its end may have, ends. Returns the
    /// hold that this settles, if it was still there.
    pub fn settle(&mut self, seats: &[SeatIndex], epoch: HoldEpoch, outcome: Outcome) -> Option<Hold> {
        let next = match outcome {
            Outcome::Sold => Seat::Sold(epoch),
            Outcome::Paying => Seat::Paying(epoch),
            Outcome::Free => Seat::Free,
        };
        // One that has other seats is another's: a store that lost its end gave its epoch again.
        let its = |id: &HoldId| {
            self.holds.get(id).is_some_and(|hold| seats.iter().all(|seat| hold.seats.contains(seat)))
        };
        let known = self.by_epoch.get(&epoch).copied().filter(its);
        if known.is_some() && outcome == Outcome::Paying {
            return None;
        }
        for seat in seats {
            let Some(Seat::Held(of) | Seat::Paying(of)) = self.seats.get(seat.at()).copied() else {
                continue;
            };
            let other = self.by_epoch.get(&of).copied().filter(|_| of <= epoch);
            if let Some(id) = other.filter(|id| Some(*id) != known) {
                self.end(id, Seat::Free);
            }
        }
        self.set(seats, epoch, next);
        let over = known.and_then(|id| self.end(id, next));
        self.check();
        over
    }

    /// Adds seats at the end, as the database knows them.
    pub fn grow(&mut self, more: &[Seat]) {
        for seat in more {
            self.seats.push(*seat);
            let at = u32::try_from(self.seats.len() - 1).unwrap_or(u32::MAX);
            self.announce(SeatIndex(at), seat.status());
        }
        self.check();
    }

    /// Begins a new generation, because this floor was found behind what it had
    /// told: neither its epochs nor its versions are given a second time.
    pub fn raise(&mut self, generation: u32) {
        let start = HoldEpoch::start(generation);
        if self.epoch < start {
            self.epoch = start;
            self.version = self.version.max(start.as_u64());
            self.log.clear();
        }
        self.check();
    }

    fn announce(&mut self, seat: SeatIndex, status: SeatStatus) {
        self.version += 1;
        if self.log.len() == KEPT_CHANGES {
            self.log.pop_front();
        }
        self.log.push_back((seat, status));
    }

    /// Whether the seat can be held; a hold on it that is past its deadline ends here.
    fn is_free_at(&mut self, seat: SeatIndex, now: Timestamp) -> bool {
        if let Some(Seat::Held(epoch)) = self.seats.get(seat.at())
            && let Some(id) = self.by_epoch.get(epoch).copied()
        {
            self.live(id, now);
        }
        self.seats.get(seat.at()) == Some(&Seat::Free)
    }

    /// Forgets a hold and moves its seats.
    fn end(&mut self, id: HoldId, next: Seat) -> Option<Hold> {
        let hold = self.holds.remove(&id)?;
        self.by_epoch.remove(&hold.epoch);
        self.deadlines.remove(&(hold.until, id));
        if let Some(ids) = self.by_owner.get_mut(&hold.owner) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_owner.remove(&hold.owner);
            }
        }
        self.set(&hold.seats, hold.epoch, next);
        Some(hold)
    }

    /// Moves seats that no newer hold has taken.
    fn set(&mut self, seats: &[SeatIndex], epoch: HoldEpoch, next: Seat) {
        for seat in seats {
            let Some(slot) = self.seats.get_mut(seat.at()) else { continue };
            // A free seat may become sold: the store lost the hold, the database did not.
            if slot.epoch().is_some_and(|of| of > epoch) {
                continue;
            }
            // Who tells late that it is being paid for is told by the sale itself.
            if *slot == Seat::Sold(epoch) && next == Seat::Paying(epoch) {
                continue;
            }
            let looked = slot.status();
            *slot = next;
            if looked != next.status() {
                self.announce(*seat, next.status());
            }
        }
    }

    /// What must always hold.
    ///
    /// Looks at every hold, so only where assertions are on.
    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let running = self.holds.values().filter(|hold| hold.paying_since.is_none()).count();
        debug_assert_eq!(self.deadlines.len(), running, "each running hold has one deadline");
        debug_assert_eq!(self.by_epoch.len(), self.holds.len(), "each hold has one epoch");
        let owned: usize = self.by_owner.values().map(Vec::len).sum();
        debug_assert_eq!(owned, self.holds.len(), "each hold has one owner");
        for hold in self.holds.values() {
            let paying = hold.paying_since.is_some();
            let want = if paying { Seat::Paying(hold.epoch) } else { Seat::Held(hold.epoch) };
            debug_assert!(hold.seats.iter().all(|seat| self.seats[seat.at()] == want), "all or none");
            debug_assert!(hold.epoch <= self.epoch, "no hold from the future");
        }
    }
}

#[cfg(test)]
mod tests;
