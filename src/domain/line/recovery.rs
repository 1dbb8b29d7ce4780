//! A line that its store has lost, whole or its end, put together again.
//!
//! Gates say what they remember: how far the line had come, which numbers were
//! out, which passes are live. Then places come back under their old numbers as
//! their holders show them. Until the window is over nobody is admitted and
//! nobody new joins, so that no number is given twice.

use std::time::Duration;

use super::{Line, LogEntry, Lot, Place};
use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::{Reason, Turn};
use crate::domain::time::Timestamp;

/// Epochs before this one that are remembered.
pub const FORMER: usize = 8;

/// Gates are heard far oftener than this. After a longer silence the store may be a copy
/// from before it, which lacks the last numbers; each gate is heard again within as long.
pub const OUTAGE: Duration = Duration::from_secs(1);

/// How far a line had come, as far as one gate knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which line.
    pub epoch: Epoch,
    /// Above every number that was seen.
    pub next: PlaceNumber,
    /// The last entry of its log.
    pub log_seq: u64,
    /// Passes claimed in it: a claim moves neither of those two.
    pub claimed: u64,
    /// How often it had been put together again.
    pub recoveries: u64,
    /// Its draw, once it took place.
    pub lot: Option<Lot>,
}

/// Something that a gate remembers of a line that was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutBack {
    /// Numbers that were out: all below `below`, and of those from `from` on
    /// (a multiple of 8) the ones whose bits are set, the highest bit of a byte
    /// first.
    Out {
        /// All numbers below are out.
        below: PlaceNumber,
        /// Number of the first bit.
        from: PlaceNumber,
        /// A bit a number; at most 16 KiB.
        bits: Vec<u8>,
    },
    /// Numbers that wait again although they were out; at most 500.
    Drop(Vec<PlaceNumber>),
    /// Passes that are live; at most 500.
    Passes(Vec<(VisitorId, Pass)>),
    /// Passes that were ended before their time; at most 500.
    Revoked(Vec<Pass>),
    /// Numbers in the line that were handed over, and to whom; at most 500.
    Handed(Vec<(PlaceNumber, VisitorId)>),
}

/// What the gates remember while the line comes back.
#[derive(Clone, Debug, Default)]
pub(super) struct Recovery {
    /// Nobody is admitted and nobody new joins until then.
    pub(super) until: Timestamp,
    /// How often there was one.
    pub(super) count: u64,
    below: u64,
    /// Numbers that were out.
    out: Vec<u8>,
}

impl Recovery {
    pub(super) fn is_on(&self, now: Timestamp) -> bool {
        now < self.until
    }

    fn was_out(&self, PlaceNumber(number): PlaceNumber) -> bool {
        let byte = usize::try_from(number / 8).ok().and_then(|at| self.out.get(at));
        number < self.below || byte.is_some_and(|byte| byte >> (7 - number % 8) & 1 == 1)
    }

    fn note_out(&mut self, from: PlaceNumber, bits: &[u8]) {
        let at = usize::try_from(from.0 / 8).expect("a line fits in memory");
        if self.out.len() < at + bits.len() {
            self.out.resize(at + bits.len(), 0);
        }
        for (kept, more) in self.out[at..].iter_mut().zip(bits) {
            *kept |= more;
        }
    }

    /// What was remembered is of no more use.
    fn finish(&mut self) {
        *self = Self { count: self.count, ..Self::default() };
    }
}

impl Line {
    /// A gate tells how far this line had come. When it is behind that, or is an
    /// unborn one in the place of that which was lost, it comes back for `window`.
    pub fn recall(&mut self, known: &Known, window: Duration, now: Timestamp) {
        let now = self.clock(now);
        let unborn = self.next == 1 && self.log_seq == 0 && self.former.is_empty();
        if known.epoch != self.epoch && !unborn {
            return;
        }
        if self.is_as_known(known) {
            return;
        }
        if known.epoch != self.epoch {
            self.epoch = known.epoch;
            (self.frozen, self.draw) = (None, None);
        }
        self.recall_draw(known.lot.as_ref());
        self.next = self.next.max(known.next.0);
        if known.log_seq > self.log_seq {
            // What is between is gone.
            self.log.clear();
            self.log_seq = known.log_seq;
        }
        self.totals.claimed = self.totals.claimed.max(known.claimed);
        self.recovery.count = self.recovery.count.max(known.recoveries) + 1;
        // Another gate may have found more of it lost.
        self.recovery.until = self.recovery.until.max(now + window);
        self.debug_check();
    }

    /// Whether this is the line that a gate knew, and not behind that.
    #[must_use]
    pub fn is_as_known(&self, known: &Known) -> bool {
        let has_draw = known.lot.is_none() || self.draw.is_some();
        known.epoch == self.epoch
            && known.next.0 <= self.next
            && known.log_seq <= self.log_seq
            && known.claimed <= self.totals.claimed
            && has_draw
    }

    /// Notes a silence of all gates that ends now.
    pub(super) fn note_outage(&mut self, now: Timestamp) {
        if self.now != Timestamp::default() && now.since(self.now) > OUTAGE {
            self.settled_at = now + OUTAGE;
        }
    }

    /// Whether all gates have been heard since the last outage: until then a gate that
    /// knew the line gives no number, which another may know to be given.
    pub(super) fn is_settled(&self, now: Timestamp) -> bool {
        self.settled_at <= now
    }

    /// A visitor shows the place it had. While the line comes back an unknown
    /// one is in it again under its old number, unless that was out or is
    /// somebody else's; else this only looks.
    pub fn come_back(
        &mut self,
        visitor: VisitorId,
        number: PlaceNumber,
        joined_at: Timestamp,
        now: Timestamp,
    ) -> Turn {
        let now = self.clock(now);
        let turn = self.arrive(visitor, now);
        let free = || {
            !self.recovery.was_out(number)
                && !self.is_handed_away(number, visitor)
                && self.holder(number).is_none()
        };
        if turn != Turn::Unknown || !self.recovery.is_on(now) || number.0 == 0 || !free() {
            return turn;
        }
        self.remove(visitor);
        self.next = self.next.max(number.0 + 1);
        self.wait(visitor, number, joined_at, now);
        self.debug_check();
        Turn::Waiting { number, joined_at }
    }

    /// Takes up what a gate remembers; without effect when the line is not
    /// coming back.
    pub fn put_back(&mut self, back: &PutBack, now: Timestamp) {
        let now = self.clock(now);
        if !self.recovery.is_on(now) {
            return;
        }
        match back {
            PutBack::Out { below, from, bits } => {
                self.recovery.below = self.recovery.below.max(below.0);
                self.recovery.note_out(*from, bits);
            }
            PutBack::Drop(numbers) => {
                for number in numbers {
                    if let Some(&visitor) = self.waiting.get(number) {
                        self.remove(visitor);
                    }
                }
            }
            PutBack::Passes(passes) => {
                for &(visitor, pass) in passes {
                    self.put_pass_back(visitor, pass, now);
                }
            }
            PutBack::Revoked(passes) => {
                let mut entry = LogEntry::default();
                for &pass in passes.iter().filter(|pass| now < pass.expires_at) {
                    if !self.revoked.has(&pass) {
                        entry.revoked.push(pass);
                    }
                    self.revoke_again(pass, now);
                }
                self.append(entry);
            }
            PutBack::Handed(handed) => {
                for &(number, to) in handed {
                    self.put_handed_back(number, to);
                }
            }
        }
        self.debug_check();
    }

    /// Somebody who is inside is so again; a place that waits was given up for it.
    fn put_pass_back(&mut self, visitor: VisitorId, pass: Pass, now: Timestamp) {
        let free = match self.places.get(&visitor) {
            None => true,
            // The same, prolonged since.
            Some(Place::Inside(had)) => {
                Pass { expires_at: pass.expires_at, ..*had } == pass && had.expires_at < pass.expires_at
            }
            // It was claimed after this copy was made, or prolonged before the copy ended it.
            Some(
                Place::Waiting { number, .. }
                | Place::Returning { number }
                | Place::Called { number, .. }
                | Place::Ended { number, .. },
            ) => *number == pass.number,
        };
        if !free {
            return;
        }
        let revoked = self.revoked.has(&pass);
        let held = self.holder(pass.number).is_some_and(|holder| holder != visitor);
        if !revoked && !held && pass.is_live(now) {
            self.remove(visitor);
            self.next = self.next.max(pass.number.0 + 1);
            self.put_inside(visitor, pass);
        }
    }

    /// A copy from before has a pass that was given back, or taken; or it has the
    /// visitor on the way to that pass, which would give it another.
    fn revoke_again(&mut self, pass: Pass, now: Timestamp) {
        self.revoked.insert(pass);
        let Some(holder) = self.holder(pass.number) else { return };
        let is_other = |place: &Place| matches!(place, Place::Inside(p) if p.issued_at != pass.issued_at);
        if self.places.get(&holder).is_some_and(is_other) {
            return;
        }
        self.remove(holder);
        self.finish(holder, pass.number, Reason::Completed, now, false);
    }

    /// Ends the recovery when its window is over; `true` while it goes on.
    pub(super) fn is_coming_back(&mut self, now: Timestamp) -> bool {
        let is_on = self.recovery.is_on(now);
        if !is_on && self.recovery.until != Timestamp::default() {
            self.recovery.finish();
        }
        is_on
    }
}
