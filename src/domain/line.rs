//! One room's line: who waits, who was called, who is inside, who is out.
//!
//! The pure model. The memory store is this behind a mutex, and every store is
//! compared with it. Each operation takes the store's `now`, applies whole or
//! not at all, and ends with the invariants of [`Line::check`].

mod bound;
mod drawing;
mod hand_over;
mod recovery;
mod revoked;
mod silence;
mod time;
mod turnover;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::autotune::{Tuned, Word};
use super::binding::Binding;
use super::draw::Draw;
use super::id::{Epoch, PlaceNumber, VisitorId};
use super::opening::Opening;
use super::pass::Pass;
use super::place::{Intent, Reason, Turn};
use super::time::Timestamp;
pub use drawing::Lot;
pub use hand_over::PRUNE;
use recovery::Recovery;
pub use recovery::{FORMER, Known, OUTAGE, PutBack};
use revoked::Revoked;
use silence::Signs;
pub use time::JUMP;

/// Why a number is out is remembered this long.
pub const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Numbers in one entry of the log, at most.
pub const CHUNK: usize = 500;
/// Entries of the log that are kept.
pub const LOG_KEPT: usize = 10_000;
/// Places that one call of [`Line::make_room`] ends of each kind, at most.
pub const SWEEP: usize = 1_000;

/// Limits and times of a line, as the settings give them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Visitors inside at once, called ones included.
    pub capacity: u64,
    /// Visitors admitted in one tick.
    pub batch: u64,
    /// Time between two ticks.
    pub tick: Duration,
    /// Visitors that come in within any 60 s.
    pub rate_per_minute: Option<u64>,
    /// Places in the line.
    pub max_waiting: Option<u64>,
    /// How long a pass is good.
    pub pass_ttl: Duration,
    /// The longest it can become.
    pub pass_max: Duration,
    /// Silence that ends a place, one heartbeat interval added, and at most one more.
    pub idle_timeout: Duration,
    /// Time to show up when called.
    pub claim_window: Duration,
    /// Time after a missed call in which the visitor is called once more.
    pub grace_reentry: Duration,
    /// Nobody is admitted.
    pub paused: bool,
    /// Nobody is admitted and nobody joins.
    pub closed: bool,
    /// Nobody joins; those in the line are admitted.
    pub draining: bool,
    /// A newcomer goes straight in while there is room and nobody waits.
    pub overflow: bool,
    /// When the doors open; `None` = they are open.
    pub opening: Option<Opening>,
    /// Those present when the doors open come in a drawn order.
    pub draw: bool,
    /// The capacity follows the gates' words on the app.
    pub autotune: bool,
}

impl Settings {
    /// How often gates send the signs of life they gathered, and the length of the
    /// slices of time by which they are kept.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.idle_timeout / 6
    }

    /// Whether nobody is admitted: by an operator, or before the opening.
    #[must_use]
    pub fn is_shut(&self, now: Timestamp) -> bool {
        self.paused || self.closed || self.opening.is_some_and(|opening| opening.is_ahead(now))
    }

    /// Whether nobody joins.
    #[must_use]
    pub fn takes_nobody(&self, now: Timestamp) -> bool {
        self.closed || self.draining || self.opening.is_some_and(|opening| opening.is_too_early(now))
    }
}

/// One visitor of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting { number: PlaceNumber, joined_at: Timestamp },
    Returning { number: PlaceNumber },
    Called { number: PlaceNumber, deadline: Timestamp, again: bool },
    Inside(Pass),
    Ended { number: PlaceNumber, reason: Reason, at: Timestamp, again: bool },
}

/// Numbers and passes that went out in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// Numbers that are no longer in the line.
    pub out: Vec<PlaceNumber>,
    /// Passes that ended before their time.
    pub revoked: Vec<Pass>,
    /// Numbers that are another visitor's now, and whose.
    pub handed: Vec<(PlaceNumber, VisitorId)>,
}

/// Everything that ever happened to a line's places, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Places taken.
    pub joined: u64,
    /// Calls, the second ones included.
    pub admitted: u64,
    /// Passes claimed.
    pub claimed: u64,
    /// Places given up after silence.
    pub evicted: u64,
    /// Turns missed and passes that ran out.
    pub expired: u64,
    /// Visitors that left by their own act.
    pub left: u64,
}

/// The line as a gate needs to see it after each tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which line.
    pub epoch: Epoch,
    /// The line's time.
    pub now: Timestamp,
    /// What that is behind the store's clock, in ms: by so much the clock was set
    /// since the line began, 0 = it was not.
    pub skew_ms: i64,
    /// Ticks so far.
    pub tick: u64,
    /// When the next tick is due.
    pub due_at: Timestamp,
    /// The number the next place gets.
    pub next: PlaceNumber,
    /// Sequence number of the last log entry; 0 before the first.
    pub log_seq: u64,
    /// Places in the line.
    pub waiting: u64,
    /// Late returners to be served before it.
    pub returning: u64,
    /// Called, not yet claimed.
    pub called: u64,
    /// Passes.
    pub active: u64,
    /// Visitors this very call admitted; 0 when it was not due.
    pub admitted: u64,
    /// Evictions rest until then.
    pub holiday_until: Timestamp,
    /// The line comes back from a loss until then; 0 = it does not.
    pub recovering_until: Timestamp,
    /// How often it has.
    pub recoveries: u64,
    /// What the capacity was lowered to for the app's sake, where it may be.
    pub tuned: Option<u64>,
    /// The number of the first who came too late for the draw, from the opening on.
    pub frozen: Option<PlaceNumber>,
    /// The draw has taken place.
    pub drawn: bool,
    /// Lines of this room that were cleared, the last one first.
    pub former: Vec<Epoch>,
    /// Counts since the line began.
    pub totals: Totals,
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

    /// Log entries after `seq`, oldest first, at most `limit`; `None` when some
    /// of them are gone.
    #[must_use]
    pub fn log_after(&self, seq: u64, limit: usize) -> Option<Vec<(u64, LogEntry)>> {
        if seq > self.log_seq {
            return None;
        }
        let kept_from = self.log_seq - self.log.len() as u64;
        let skip = seq.checked_sub(kept_from)?;
        Some(self.log.iter().skip(usize::try_from(skip).ok()?).take(limit).cloned().collect())
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

    /// The line as gates see it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            epoch: self.epoch,
            now: self.now,
            skew_ms: self.skew_ms(),
            tick: self.tick,
            due_at: self.last_tick_at.map_or(self.now, |at| at + self.settings.tick),
            next: PlaceNumber(self.next),
            log_seq: self.log_seq,
            waiting: self.waiting.len() as u64,
            returning: self.returning.len() as u64,
            called: self.called.len() as u64,
            active: self.passes.len() as u64,
            admitted: 0,
            holiday_until: self.holiday_until,
            recovering_until: self.recovery.until,
            recoveries: self.recovery.count,
            tuned: self.tuned.capacity.filter(|_| self.settings.autotune),
            frozen: self.frozen,
            drawn: self.draw.is_some(),
            former: self.former.clone(),
            totals: self.totals,
        }
    }

    /// The line as gates see it, at `now`.
    pub fn standing_at(&mut self, now: Timestamp) -> Standing {
        self.clock(now);
        self.standing()
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

    fn append(&mut self, entry: LogEntry) {
        if entry == LogEntry::default() {
            return;
        }
        self.log_seq += 1;
        self.log.push_back((self.log_seq, entry));
        if self.log.len() > LOG_KEPT {
            self.log.pop_front();
        }
    }

    fn debug_check(&self) {
        // The check is linear: on long lines the property tests call it instead.
        if cfg!(debug_assertions) && self.places.len() <= 64 {
            let checked = self.check();
            debug_assert_eq!(checked, Ok(()));
        }
    }
}
