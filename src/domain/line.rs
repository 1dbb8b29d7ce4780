//! One room's line: who waits, who was called, who is inside, who is out.
//!
//! The pure model. The memory store is this behind a mutex, and every store is
//! compared with it. Each operation takes the store's `now`, applies whole or
//! not at all, and ends with the invariants of [`Line::check`].

mod bound;
mod drawing;
mod hand_over;
mod log;
mod recovery;
mod revoked;
mod settings;
mod silence;
mod standing;
mod time;
mod turnover;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::autotune::{Tuned, Word};
use super::binding::Binding;
use super::draw::Draw;
use super::id::{Epoch, PlaceNumber, VisitorId};
use super::pass::Pass;
use super::place::{Intent, Reason, Turn};
use super::time::Timestamp;
pub use drawing::Lot;
pub use hand_over::PRUNE;
pub use log::{LOG_KEPT, LogEntry};
use recovery::Recovery;
pub use recovery::{FORMER, Known, OUTAGE, PutBack};
use revoked::Revoked;
pub use settings::Settings;
use silence::Signs;
pub use standing::{Standing, Totals};
pub use time::JUMP;

/// Why a number is out is remembered this long.
pub const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Numbers in one entry of the log, at most.
pub const CHUNK: usize = 500;
/// Places that one call of [`Line::make_room`] ends of each kind, at most.
pub const SWEEP: usize = 1_000;

/// One visitor of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting { number: PlaceNumber, joined_at: Timestamp },
    Returning { number: PlaceNumber },
    Called { number: PlaceNumber, deadline: Timestamp, again: bool },
    Inside(Pass),
    Ended { number: PlaceNumber, reason: Reason, at: Timestamp, again: bool },
}

/// One room's line.
#[derive(Clone, Debug)]
pub struct Line {
    epoch: Epoch,
    next: u64,
    tick: u64,
    last_tick_at: Option<Timestamp>,
    /// The last `make_room`: a sign of life of the service itself.
    alive_at: Option<Timestamp>,
    now: Timestamp,
    /// When all gates have been heard since the last outage.
    settled_at: Timestamp,
    /// What `now` is behind the store's clock.
    skew_ms: i64,
    holiday_until: Timestamp,
    settings: Settings,
    places: HashMap<VisitorId, Place>,
    waiting: BTreeMap<PlaceNumber, VisitorId>,
    returning: BTreeMap<PlaceNumber, VisitorId>,
    called: BTreeSet<(Timestamp, VisitorId)>,
    passes: BTreeSet<(Timestamp, VisitorId)>,
    ended: BTreeSet<(Timestamp, VisitorId)>,
    signs: Signs,
    /// Admissions of the last 60 s.
    recent: VecDeque<(Timestamp, u64)>,
    /// Passes ended early that would still be good.
    revoked: Revoked,
    /// Numbers that were handed over, and to whom; those out of the line go in time.
    handed: BTreeMap<PlaceNumber, VisitorId>,
    /// What is known of the generations of passes, by number: issue time and that.
    bound: HashMap<PlaceNumber, (Timestamp, Binding)>,
    log_seq: u64,
    log: VecDeque<(u64, LogEntry)>,
    recovery: Recovery,
    tuned: Tuned,
    frozen: Option<PlaceNumber>,
    draw: Option<Arc<Draw>>,
    former: Vec<Epoch>,
    totals: Totals,
}

impl Line {
    /// An empty line.
    #[must_use]
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self {
            epoch,
            next: 1,
            tick: 0,
            last_tick_at: None,
            alive_at: None,
            now: Timestamp::default(),
            settled_at: Timestamp::default(),
            skew_ms: 0,
            holiday_until: Timestamp::default(),
            settings,
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            returning: BTreeMap::new(),
            called: BTreeSet::new(),
            passes: BTreeSet::new(),
            ended: BTreeSet::new(),
            signs: Signs::default(),
            recent: VecDeque::new(),
            revoked: Revoked::default(),
            handed: BTreeMap::new(),
            bound: HashMap::new(),
            log_seq: 0,
            log: VecDeque::new(),
            recovery: Recovery::default(),
            tuned: Tuned::default(),
            frozen: None,
            draw: None,
            former: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Ends the line and begins a new one, with the same settings. `known`: the
    /// line that the caller knew, which may be another.
    pub fn clear(&mut self, epoch: Epoch, known: Epoch) {
        let mut former = vec![self.epoch];
        former.extend([known].into_iter().chain(self.former.iter().copied()));
        let mut seen = BTreeSet::from([epoch]);
        former.retain(|&epoch| seen.insert(epoch));
        former.truncate(FORMER);
        *self = Self { former, ..Self::new(epoch, self.settings.clone()) };
    }

    /// The line's settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the limits from now on; places and passes stay as they are.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// A gate's word on the app. The capacity in force follows it where the
    /// settings say so.
    pub fn hear(&mut self, word: Word, now: Timestamp) {
        let now = self.clock(now);
        if self.settings.autotune {
            let inside = (self.called.len() + self.passes.len()) as u64;
            self.tuned = self.tuned.heard(word, self.settings.capacity, inside, now);
        }
    }

    /// The capacity in force.
    fn capacity(&self) -> u64 {
        if self.settings.autotune { self.tuned.of(self.settings.capacity) } else { self.settings.capacity }
    }

    /// A visitor shows up and wants in: its live place, a new one at the tail,
    /// or the reason it gets none.
    ///
    /// Repeating it changes nothing. A called visitor claims its pass by this.
    pub fn join(&mut self, visitor: VisitorId, intent: Intent, now: Timestamp) -> Turn {
        self.join_for(None, visitor, intent, now)
    }

    /// The same through a gate that knew the line up to here. Where it is behind
    /// that, its next number may have been given before: nobody new joins, as
    /// while it comes back.
    pub fn join_for(
        &mut self,
        known: Option<&Known>,
        visitor: VisitorId,
        intent: Intent,
        now: Timestamp,
    ) -> Turn {
        let now = self.clock(now);
        match self.arrive(visitor, now) {
            Turn::Unknown => {}
            Turn::Ended { .. } if intent == Intent::Rejoin => {}
            turn => return turn,
        }
        if known.is_some_and(|known| !self.is_as_known(known) || !self.is_settled(now)) {
            return Turn::Unknown;
        }
        let turn = self.enter(visitor, now);
        self.debug_check();
        turn
    }

    /// A visitor shows up: its live place, or what became of it.
    pub fn look(&mut self, visitor: VisitorId, now: Timestamp) -> Turn {
        let now = self.clock(now);
        let turn = self.arrive(visitor, now);
        self.debug_check();
        turn
    }

    /// Signs of life that gates gathered. Times after `now` count as `now`,
    /// numbers that do not wait are skipped, and no sign moves back.
    pub fn seen(&mut self, signs: &[(PlaceNumber, Timestamp)], now: Timestamp) {
        let now = self.clock(now);
        for &(number, at) in signs {
            self.signs.hear(number, at.min(now), self.settings.heartbeat());
        }
    }

    /// Ends a place or pass before its time. `None` when there was none.
    pub fn end(&mut self, visitor: VisitorId, reason: Reason, now: Timestamp) -> Option<PlaceNumber> {
        let now = self.clock(now);
        let mut entry = LogEntry::default();
        let number = match *self.places.get(&visitor)? {
            Place::Waiting { number, .. } => {
                entry.out.push(number);
                number
            }
            Place::Returning { number } | Place::Called { number, .. } => number,
            Place::Inside(pass) if pass.is_live(now) => {
                entry.revoked.push(pass);
                self.revoked.insert(pass);
                pass.number
            }
            Place::Inside(_) | Place::Ended { .. } => return None,
        };
        self.remove(visitor);
        self.finish(visitor, number, reason, now, false);
        self.totals.left += u64::from(reason == Reason::Left);
        self.append(entry);
        self.debug_check();
        Some(number)
    }

    /// Makes a live pass last at least `by` from now, within `pass_max`.
    /// `None` when the visitor has none.
    pub fn extend(&mut self, visitor: VisitorId, by: Duration, now: Timestamp) -> Option<Pass> {
        let now = self.clock(now);
        let Some(&Place::Inside(pass)) = self.places.get(&visitor) else { return None };
        if !pass.is_live(now) {
            return None;
        }
        let pass = pass.extended(now, by, self.settings.pass_max);
        self.remove(visitor);
        self.put_inside(visitor, pass);
        self.debug_check();
        Some(pass)
    }

    /// The visitor that holds a number now, if any. O(inside) for those inside.
    #[must_use]
    pub fn holder(&self, number: PlaceNumber) -> Option<VisitorId> {
        let held = |visitor: &VisitorId| match self.places.get(visitor) {
            Some(Place::Called { number: n, .. } | Place::Inside(Pass { number: n, .. })) => *n == number,
            _ => false,
        };
        self.waiting
            .get(&number)
            .or_else(|| self.returning.get(&number))
            .copied()
            .or_else(|| self.called.iter().chain(&self.passes).map(|&(_, visitor)| visitor).find(held))
    }

    /// Waiting numbers above `after`, in order, at most `limit`.
    #[must_use]
    pub fn waiting_after(&self, after: PlaceNumber, limit: usize) -> Vec<PlaceNumber> {
        self.waiting.range(PlaceNumber(after.0 + 1)..).take(limit).map(|(&number, _)| number).collect()
    }

    /// Passes that were ended early and would still be good.
    #[must_use]
    pub fn revoked(&self) -> Vec<Pass> {
        self.revoked.all()
    }

    /// Somebody asked at `now`, for nobody perhaps.
    pub fn heard_at(&mut self, now: Timestamp) {
        self.clock(now);
    }

    /// Time never runs backwards.
    fn clock(&mut self, now: Timestamp) -> Timestamp {
        let now = self.now.max(now);
        self.note_outage(now);
        self.now = now;
        now
    }

    /// What a known visitor finds when it shows up at `now`.
    fn arrive(&mut self, visitor: VisitorId, now: Timestamp) -> Turn {
        let Some(&place) = self.places.get(&visitor) else { return Turn::Unknown };
        match place {
            Place::Waiting { number, joined_at } => {
                self.signs.hear_now(number, now, self.settings.heartbeat());
                Turn::Waiting { number, joined_at }
            }
            Place::Returning { number } => self.turn_of_returner(number),
            Place::Called { number, deadline, .. } if now < deadline => {
                let pass = Pass { number, issued_at: now, expires_at: now + self.settings.pass_ttl };
                self.remove(visitor);
                self.put_inside(visitor, pass);
                self.totals.claimed += 1;
                Turn::Admitted(pass)
            }
            Place::Called { number, deadline, again } => {
                // Late: the sweep may not have run yet, which changes nothing for the visitor.
                self.miss(visitor, number, deadline, again);
                self.arrive(visitor, now)
            }
            Place::Inside(pass) if pass.is_live(now) => Turn::Admitted(pass),
            Place::Inside(pass) => {
                self.run_out(visitor, pass);
                Turn::Ended { number: pass.number, reason: Reason::PassEnded }
            }
            Place::Ended { number, reason: Reason::Missed, at, again: false }
                if now < at + self.settings.grace_reentry =>
            {
                self.remove(visitor);
                self.places.insert(visitor, Place::Returning { number });
                self.returning.insert(number, visitor);
                self.turn_of_returner(number)
            }
            Place::Ended { at, .. } if now >= at + REMEMBERED => Turn::Unknown,
            Place::Ended { number, reason, .. } => Turn::Ended { number, reason },
        }
    }

    fn turn_of_returner(&self, number: PlaceNumber) -> Turn {
        Turn::Returning { number, ahead: self.returning.range(..number).count() as u64 }
    }

    /// Gives a visitor without a live place a new one.
    fn enter(&mut self, visitor: VisitorId, now: Timestamp) -> Turn {
        if self.recovery.is_on(now) {
            return Turn::Unknown;
        }
        self.freeze(now);
        if self.settings.takes_nobody(now) {
            return Turn::Closed;
        }
        let straight_in = self.settings.overflow && self.may_overflow(now);
        if !straight_in && self.settings.max_waiting.is_some_and(|max| self.waiting.len() as u64 >= max) {
            return Turn::Full;
        }
        self.remove(visitor);
        let number = PlaceNumber(self.next);
        self.next += 1;
        self.totals.joined += 1;
        if straight_in {
            let pass = Pass { number, issued_at: now, expires_at: now + self.settings.pass_ttl };
            self.put_inside(visitor, pass);
            self.recent.push_back((now, 1));
            self.totals.admitted += 1;
            self.totals.claimed += 1;
            self.append(LogEntry { out: vec![number], ..LogEntry::default() });
            return Turn::Admitted(pass);
        }
        self.wait(visitor, number, now, now);
        Turn::Waiting { number, joined_at: now }
    }

    fn wait(&mut self, visitor: VisitorId, number: PlaceNumber, joined_at: Timestamp, now: Timestamp) {
        self.places.insert(visitor, Place::Waiting { number, joined_at });
        self.waiting.insert(number, visitor);
        self.signs.hear_now(number, now, self.settings.heartbeat());
    }

    fn put_inside(&mut self, visitor: VisitorId, pass: Pass) {
        self.places.insert(visitor, Place::Inside(pass));
        self.passes.insert((pass.expires_at, visitor));
    }

    /// Takes a visitor out of every set.
    fn remove(&mut self, visitor: VisitorId) {
        match self.places.remove(&visitor) {
            Some(Place::Waiting { number, .. }) => {
                self.waiting.remove(&number);
                self.signs.forget(number);
            }
            Some(Place::Returning { number }) => {
                self.returning.remove(&number);
            }
            Some(Place::Called { deadline, .. }) => {
                self.called.remove(&(deadline, visitor));
            }
            Some(Place::Inside(pass)) => {
                self.passes.remove(&(pass.expires_at, visitor));
            }
            Some(Place::Ended { at, .. }) => {
                self.ended.remove(&(at, visitor));
            }
            None => {}
        }
    }

    /// Notes why a number is out.
    fn finish(
        &mut self,
        visitor: VisitorId,
        number: PlaceNumber,
        reason: Reason,
        at: Timestamp,
        again: bool,
    ) {
        self.places.insert(visitor, Place::Ended { number, reason, at, again });
        self.ended.insert((at, visitor));
        self.bound.remove(&number);
    }

    /// The claim window passed.
    fn miss(&mut self, visitor: VisitorId, number: PlaceNumber, deadline: Timestamp, again: bool) {
        self.remove(visitor);
        self.finish(visitor, number, Reason::Missed, deadline, again);
        self.totals.expired += 1;
    }

    /// The pass reached its end.
    fn run_out(&mut self, visitor: VisitorId, pass: Pass) {
        self.remove(visitor);
        self.finish(visitor, pass.number, Reason::PassEnded, pass.expires_at, false);
        self.totals.expired += 1;
    }

    fn debug_check(&self) {
        // The check is linear: on long lines the property tests call it instead.
        if cfg!(debug_assertions) && self.places.len() <= 64 {
            let checked = self.check();
            debug_assert_eq!(checked, Ok(()));
        }
    }
}
