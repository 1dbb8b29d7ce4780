//! A pass that rotates: whoever keeps an old copy of it is found out.
//!
//! Every so often the holder is handed a new *generation* of its pass. Only one
//! of two devices with the same copy gets it; once it was shown, the other's copy
//! is old. Who shows an old one claims again, which is counted: devices that take
//! turns at one pass end it. A generation that nobody ever showed was lost on its
//! way and makes nothing old, so a bad connection costs nothing.
//!
//! Pure. Who hands what to whom is the gate's ([`crate::queue`]).

use std::time::Duration;

use super::time::Timestamp;

/// Claims of an old copy that end a pass, when they are no further apart than
/// [`Rotation::window`].
pub const STRIKES: usize = 3;

/// How often a pass gets another generation; all other times follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Between two generations, at least.
    pub every: Duration,
}

impl Rotation {
    /// How long the generation before is good after a newer one was shown:
    /// requests that were under way.
    #[must_use]
    pub fn grace(self) -> Duration {
        self.every / 6
    }

    /// How long a claim of an old copy is remembered.
    #[must_use]
    pub fn window(self) -> Duration {
        self.every * 10
    }
}

/// The newest generation that was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// Its number; 0 = a pass from before any was handed out.
    pub generation: u64,
    /// When it was first shown.
    pub shown_at: Timestamp,
    /// The one that was the newest until then.
    pub before: u64,
}

impl Newest {
    /// Takes note that a generation is shown; whether that is news.
    pub fn show(&mut self, generation: u64, now: Timestamp) -> bool {
        let is_news = generation > self.generation;
        if is_news {
            *self = Self { generation, shown_at: now, before: self.generation };
        }
        is_news
    }

    /// Whether a generation is an old copy's.
    #[must_use]
    pub fn is_old(&self, generation: u64, now: Timestamp, rotation: Rotation) -> bool {
        let under_way = generation >= self.before && now < self.shown_at + rotation.grace();
        generation < self.generation && !under_way
    }
}

/// What is known of the generations of one pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The highest generation that was handed out.
    issued: u64,
    made_at: Timestamp,
    /// That one was made for a claim.
    for_claim: bool,
    newest: Newest,
    /// When old copies were claimed, the last one last.
    strikes: Vec<Timestamp>,
}

/// The answer to a pass that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The newest generation that any gate was shown.
    pub newest: Newest,
    /// The generation to hand out next, once.
    pub next: Option<u64>,
    /// When another one is made for whoever shows the newest then.
    pub due_at: Timestamp,
}

/// The answer to a visitor that claims its pass once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It gets this generation.
    Given(u64),
    /// Several use this pass: it is to end.
    Shared,
}

impl Binding {
    /// Of a pass of which `generation` is the first that is heard of.
    #[must_use]
    pub fn new(generation: u64, now: Timestamp) -> Self {
        let newest = Newest { generation, shown_at: now, before: 0 };
        Self { issued: generation, made_at: now, for_claim: false, newest, strikes: Vec::new() }
    }

    /// Of a pass that is claimed now, which hands out its first generation.
    #[must_use]
    pub fn claimed(now: Timestamp) -> Self {
        Self { issued: 1, for_claim: true, ..Self::new(0, now) }
    }

    /// A generation is shown. A new one is made when it is the newest and its
    /// time has come.
    pub fn show(&mut self, generation: u64, now: Timestamp, rotation: Rotation) -> Heard {
        self.note(generation, now);
        let due = generation == self.newest.generation && now >= self.made_at + rotation.every;
        let next = due.then(|| self.make(now, false));
        self.debug_check();
        Heard { newest: self.newest, next, due_at: self.made_at + rotation.every }
    }

    /// Its visitor claims it once more; `shown` = the copy it has, if any.
    ///
    /// A good copy stays what it is. What was made for a claim and never shown is
    /// given again; so is what was claimed a moment ago: a browser asks for many
    /// things at once. Anything else is a strike.
    pub fn claim(&mut self, shown: Option<u64>, now: Timestamp, rotation: Rotation) -> Claim {
        self.strikes.retain(|&at| now < at + rotation.window());
        if self.strikes.len() >= STRIKES {
            return Claim::Shared;
        }
        if let Some(generation) = shown.filter(|&shown| !self.newest.is_old(shown, now, rotation)) {
            self.note(generation, now);
            return Claim::Given(generation);
        }
        let just_now = self.issued > self.newest.generation || now < self.made_at + rotation.grace();
        if self.for_claim && just_now {
            return Claim::Given(self.issued);
        }
        self.strikes.push(now);
        if self.strikes.len() >= STRIKES {
            return Claim::Shared;
        }
        let given = self.make(now, true);
        self.debug_check();
        Claim::Given(given)
    }

    fn note(&mut self, generation: u64, now: Timestamp) {
        // A store that lost some of it learns of it by this.
        self.issued = self.issued.max(generation);
        self.newest.show(generation, now);
    }

    fn make(&mut self, now: Timestamp, for_claim: bool) -> u64 {
        self.issued += 1;
        (self.made_at, self.for_claim) = (now, for_claim);
        self.issued
    }

    fn debug_check(&self) {
        debug_assert!(self.newest.generation <= self.issued, "what is shown was handed out");
        debug_assert!(self.newest.before <= self.newest.generation, "generations only grow");
        debug_assert!(self.strikes.len() <= STRIKES, "a shared pass is over");
    }
}

#[cfg(test)]
mod tests;
