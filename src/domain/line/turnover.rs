//! The tick: make room, then admit. And what must hold after every step.

use super::{CHUNK, Known, Line, LogEntry, Place, REMEMBERED, SWEEP, Standing};
use crate::domain::admission::{self, Bounds};
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::Reason;
use crate::domain::time::Timestamp;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

impl Line {
    /// Expires passes and unclaimed calls, evicts the silent, forgets the long
    /// gone; at most [`SWEEP`] of each kind.
    ///
    /// A gap since the last call (nobody served the room) first starts an
    /// eviction holiday and moves the claim deadlines by the gap, and the ends of
    /// passes that were claimed or prolonged less than a claim window before it,
    /// whose holders may not have been told. So an outage costs nobody a place or
    /// a turn.
    pub fn make_room(&mut self, now: Timestamp) {
        let now = self.clock(now);
        self.after_gap(now);
        self.alive_at = Some(now);
        self.expire(now);
        if now >= self.holiday_until {
            self.evict(now);
        }
        let forgotten: Vec<_> =
            self.ended.iter().take_while(|&&(at, _)| at + REMEMBERED <= now).take(SWEEP).copied().collect();
        for (_, visitor) in forgotten {
            self.remove(visitor);
        }
        self.revoked.forget_ended(now);
        self.debug_check();
    }

    /// Admits a batch if a tick is due; says how the line stands either way.
    pub fn admit(&mut self, now: Timestamp) -> Standing {
        self.admit_for(None, now)
    }

    /// The same for a gate that knew the line up to here. One that knows too few
    /// of those whose turn is next in a draw learns how the line stands, and the
    /// tick is still due.
    pub fn admit_for(&mut self, known: Option<&Known>, now: Timestamp) -> Standing {
        let now = self.clock(now);
        if self.is_coming_back(now) {
            return self.standing();
        }
        self.freeze(now);
        let Some(counts_from) = admission::due(self.last_tick_at, self.settings.tick, now) else {
            return self.standing();
        };
        let room = if self.is_shut(now) { 0 } else { self.room(now) };
        let in_line = as_len(room).saturating_sub(self.returning.len());
        let Some(drawn) = self.drawn_turns(in_line, known.and_then(|known| known.lot.as_ref())) else {
            return self.standing();
        };
        self.last_tick_at = Some(counts_from);
        self.tick += 1;
        let mut admitted = self.call_returners(room, now);
        admitted += self.call_from_line(&drawn, now);
        admitted += self.call_waiting(room - admitted, now);
        if admitted > 0 {
            self.recent.push_back((now, admitted));
            self.totals.admitted += admitted;
        }
        self.debug_check();
        Standing { admitted, ..self.standing() }
    }

    fn after_gap(&mut self, now: Timestamp) {
        let Some(alive_at) = self.alive_at else { return };
        let gap = now.since(alive_at);
        if !admission::is_gap(gap, self.settings.tick, self.settings.heartbeat()) {
            return;
        }
        self.holiday_until = now + self.settings.idle_timeout;
        for (deadline, visitor) in std::mem::take(&mut self.called) {
            if let Some(Place::Called { deadline: at, .. }) = self.places.get_mut(&visitor) {
                *at = deadline + gap;
            }
            self.called.insert((deadline + gap, visitor));
        }
        let told = alive_at - self.settings.claim_window + self.settings.pass_ttl;
        let moved: Vec<_> = self.passes.iter().rev().take_while(|&&(at, _)| at > told).copied().collect();
        for (_, visitor) in moved {
            if let Some(&Place::Inside(pass)) = self.places.get(&visitor) {
                self.remove(visitor);
                self.put_inside(visitor, Pass { expires_at: pass.expires_at + gap, ..pass });
            }
        }
    }

    fn expire(&mut self, now: Timestamp) {
        let missed: Vec<_> =
            self.called.iter().take_while(|&&(at, _)| at <= now).take(SWEEP).copied().collect();
        for (_, visitor) in missed {
            if let Some(&Place::Called { number, deadline, again }) = self.places.get(&visitor) {
                self.miss(visitor, number, deadline, again);
            }
        }
        let over: Vec<_> =
            self.passes.iter().take_while(|&&(at, _)| at <= now).take(SWEEP).copied().collect();
        for (_, visitor) in over {
            if let Some(&Place::Inside(pass)) = self.places.get(&visitor) {
                self.run_out(visitor, pass);
            }
        }
    }

    fn evict(&mut self, now: Timestamp) {
        let silence = self.settings.idle_timeout + self.settings.heartbeat();
        let silent: Vec<_> = self.signs.silent_since(now - silence).take(SWEEP).collect();
        for chunk in silent.chunks(CHUNK) {
            let mut entry = LogEntry::default();
            for &number in chunk {
                let Some(&visitor) = self.waiting.get(&number) else { continue };
                self.remove(visitor);
                self.finish(visitor, number, Reason::Evicted, now, false);
                self.totals.evicted += 1;
                entry.out.push(number);
            }
            self.append(entry);
        }
    }

    /// How many may come in now.
    fn room(&mut self, now: Timestamp) -> u64 {
        while self.recent.front().is_some_and(|&(at, _)| at + MINUTE <= now) {
            self.recent.pop_front();
        }
        Bounds {
            batch: self.settings.batch,
            capacity: self.capacity(),
            inside: (self.called.len() + self.passes.len()) as u64,
            rate_per_minute: self.settings.rate_per_minute,
            last_minute: self.recent.iter().map(|&(_, n)| n).sum(),
        }
        .room()
    }

    pub(super) fn may_overflow(&mut self, now: Timestamp) -> bool {
        !self.is_shut(now) && self.waiting.is_empty() && self.returning.is_empty() && self.room(now) > 0
    }

    fn call_returners(&mut self, room: u64, now: Timestamp) -> u64 {
        let called: Vec<_> =
            self.returning.iter().take(as_len(room)).map(|(&number, &visitor)| (number, visitor)).collect();
        for &(number, visitor) in &called {
            self.call(visitor, number, true, now);
        }
        called.len() as u64
    }

    fn call_waiting(&mut self, room: u64, now: Timestamp) -> u64 {
        let called: Vec<_> =
            self.waiting.iter().take(as_len(room)).map(|(&number, &visitor)| (number, visitor)).collect();
        self.call_from_line(&called, now)
    }

    fn call_from_line(&mut self, called: &[(PlaceNumber, VisitorId)], now: Timestamp) -> u64 {
        for chunk in called.chunks(CHUNK) {
            for &(number, visitor) in chunk {
                self.call(visitor, number, false, now);
            }
            self.append(LogEntry {
                out: chunk.iter().map(|&(number, _)| number).collect(),
                ..LogEntry::default()
            });
        }
        called.len() as u64
    }

    fn call(&mut self, visitor: VisitorId, number: PlaceNumber, again: bool, now: Timestamp) {
        self.remove(visitor);
        let deadline = now + self.settings.claim_window;
        self.places.insert(visitor, Place::Called { number, deadline, again });
        self.called.insert((deadline, visitor));
    }

    /// Checks what must hold of the state as a whole. Linear.
    ///
    /// # Errors
    /// Names the first broken rule.
    pub fn check(&self) -> Result<(), String> {
        let mut counts = [0_usize; 5];
        for (visitor, place) in &self.places {
            let (kind, indexed) = match place {
                Place::Waiting { number, .. } => {
                    (0, self.waiting.get(number) == Some(visitor) && self.signs.has(*number))
                }
                Place::Returning { number } => (1, self.returning.get(number) == Some(visitor)),
                Place::Called { deadline, .. } => (2, self.called.contains(&(*deadline, *visitor))),
                Place::Inside(pass) => (3, self.passes.contains(&(pass.expires_at, *visitor))),
                Place::Ended { at, .. } => (4, self.ended.contains(&(*at, *visitor))),
            };
            counts[kind] += 1;
            if !indexed {
                return Err(format!("{visitor} is {place:?} and not in that set"));
            }
        }
        let sizes = [
            self.waiting.len(),
            self.returning.len(),
            self.called.len(),
            self.passes.len(),
            self.ended.len(),
        ];
        if counts != sizes {
            return Err(format!("places {counts:?} and sets {sizes:?} differ: somebody is in two"));
        }
        if !self.signs.are_of(&self.waiting) {
            return Err("signs of life and the line differ".into());
        }
        if self.bound.len() > self.passes.len() {
            return Err("more passes have generations than there are".into());
        }
        if self.waiting.keys().next_back().is_some_and(|last| last.0 >= self.next) {
            return Err("a number above the next one waits".into());
        }
        Ok(())
    }
}

fn as_len(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(super) mod tests;
