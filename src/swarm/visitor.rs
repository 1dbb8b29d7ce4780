//! One visitor's way: come, wait, use the app, go.
//!
//! Owns conduct: what a [`Persona`] does with each answer. How a request gets
//! to a gate and back is [`Link`]'s. Never judges; the [`Link`] keeps the record.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::gates::{Gates, Page, Reply, Standing, Who};
use super::history::{Asked, Recorder, State};
use super::link::Link;
use super::options::Options;
use super::persona::{Dice, Patience, Persona, about, dice};
use super::tally::{Tally, add, subtract};

/// Told nothing, or less than this: so long is slept all the same.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// A room that is closed is asked again so often.
const CLOSED_PAUSE: Duration = Duration::from_secs(5);
/// A copied pass is tried this long after leaving: a left slot is free one
/// second after, and the check allows two.
const OLD_PASS_AFTER: Duration = Duration::from_secs(3);
/// An impatient visitor polls after this share of the time it was told.
const TOO_EARLY: f64 = 0.2;

/// A visitor on its way.
pub struct Visitor<G, R> {
    persona: Persona,
    link: Link<G, R>,
    rng: SmallRng,
    /// The path it came for, if the crowd was told one.
    path: Option<Box<str>>,
    think: Duration,
}

/// Whether there is more to come.
enum Next {
    Waits,
    IsTold(Reply),
    GoesIn(Standing),
    Done,
}

impl<G: Gates, R: Recorder> Visitor<G, R> {
    /// Visitor `index` of the crowd that options and seed describe.
    #[must_use]
    pub fn new(options: &Options, seed: u64, index: u32, tally: Arc<Tally>, gates: G, record: R) -> Self {
        let mut rng = dice(seed, index, Dice::Conduct);
        Self {
            persona: Persona::draw(options, seed, index),
            link: Link::new(tally, gates, record, rand::SeedableRng::from_rng(&mut rng)),
            rng,
            path: options.path.as_deref().map(Into::into),
            think: options.think,
        }
    }

    /// Whether it means to wait to the end and come in.
    #[must_use]
    pub fn is_patient(&self) -> bool {
        self.persona.patience == Patience::Stays
    }

    /// The whole way. Ends by itself if gates answer at all; may be dropped at
    /// any point.
    pub async fn live(&mut self) {
        self.link.sleep(self.persona.arrives_after).await;
        while let Some(standing) = self.stand().await {
            add(&self.link.tally().inside);
            let is_over = self.visit(standing).await;
            subtract(&self.link.tally().inside);
            if is_over {
                break;
            }
        }
        add(&self.link.tally().done);
    }

    /// The record so far.
    #[must_use]
    pub fn into_record(self) -> R {
        self.link.into_record()
    }

    /// Comes, takes a place and waits. `None` when it does not get in, or does
    /// not care to.
    async fn stand(&mut self) -> Option<Standing> {
        let mut asked = if self.link.has_come() { Asked::Poll } else { self.entry() };
        if self.persona.is_browser && !self.link.has_come() {
            // Without an id nothing but the gate's page can come back.
            self.link.page(&self.home(), Who::Nobody, true).await;
        }
        let mut wait = Wait::default();
        let mut reply = self.link.queue(asked).await;
        let admitted = loop {
            match self.take(reply, &mut asked, &mut wait).await {
                Next::Waits => reply = self.link.queue(asked).await,
                Next::IsTold(told) => reply = told,
                Next::GoesIn(standing) => break Some(standing),
                Next::Done => break None,
            }
        };
        self.lose_place(&mut wait);
        admitted
    }

    /// The page it came for.
    fn home(&self) -> String {
        self.path.as_deref().unwrap_or("/").to_owned()
    }

    /// How it takes a place: a page's script just polls.
    const fn entry(&self) -> Asked {
        if self.persona.is_browser { Asked::Poll } else { Asked::Join }
    }

    async fn take(&mut self, reply: Reply, asked: &mut Asked, wait: &mut Wait) -> Next {
        let standing = match reply {
            Reply::Status(standing) => standing,
            Reply::TooEarly(retry_after) => {
                self.link.sleep(retry_after.unwrap_or_default().max(wait.told)).await;
                return Next::Waits;
            }
            Reply::Trouble(_) => return Next::Waits,
        };
        wait.told = Duration::from_millis(standing.status.poll_after_ms.into()).max(SHORTEST_PAUSE);
        match standing.status.state {
            State::Admitted => return self.claim(standing, wait).await,
            State::Waiting => {
                *asked = Asked::Poll;
                return self.bide(&standing, wait).await;
            }
            State::None => *asked = self.entry(),
            State::Full => *asked = Asked::Join,
            State::Closed => wait.told = wait.told.max(CLOSED_PAUSE),
            State::Expired | State::Left if self.persona.rejoins && !wait.has_rejoined => {
                self.lose_place(wait);
                wait.has_rejoined = true;
                *asked = Asked::Join;
            }
            State::Expired | State::Left => return Next::Done,
        }
        self.link.sleep(wait.told).await;
        Next::Waits
    }

    async fn claim(&mut self, standing: Standing, wait: &mut Wait) -> Next {
        self.take_place(wait);
        add(&self.link.tally().admitted);
        if self.persona.claims_twice {
            self.link.queue(Asked::Poll).await;
        }
        Next::GoesIn(standing)
    }

    fn take_place(&self, wait: &mut Wait) {
        if !wait.is_placed {
            wait.is_placed = true;
            add(&self.link.tally().joined);
            add(&self.link.tally().waiting);
        }
    }

    fn lose_place(&self, wait: &mut Wait) {
        if std::mem::take(&mut wait.is_placed) {
            subtract(&self.link.tally().waiting);
        }
    }

    /// One waiting answer: what it makes of it, and the time until the next poll.
    async fn bide(&mut self, standing: &Standing, wait: &mut Wait) -> Next {
        self.take_place(wait);
        wait.answers += 1;
        if wait.answers == 1 && self.persona.knocks {
            let home = self.home();
            self.link.page(&home, Who::Nobody, false).await;
            self.link.page(&home, Who::Forger, false).await;
        }
        if wait.answers == 2 && self.persona.is_browser && self.persona.reloads {
            self.link.page(&self.home(), Who::Own, true).await;
        }
        if let Some(back_after) = self.loses_patience(standing, wait).await {
            let Some(back_after) = back_after else { return Next::Done };
            self.persona.patience = Patience::Stays;
            self.link.sleep(back_after).await;
            return Next::Waits;
        }
        if self.persona.is_impatient && self.rng.random_bool(0.5) {
            self.link.sleep(wait.told.mul_f64(TOO_EARLY)).await;
        } else if self.only_waits(wait) {
            return self.link.doze(wait.told).await.map_or(Next::Waits, Next::IsTold);
        } else {
            self.link.sleep(wait.told).await;
        }
        Next::Waits
    }

    /// Whether nothing is left to do but to poll in time until something is new.
    fn only_waits(&self, wait: &Wait) -> bool {
        self.is_patient() && !self.persona.is_impatient && wait.answers >= 2
    }

    /// `Some` when the visitor goes away now, with the time until it is back, if ever.
    async fn loses_patience(&mut self, standing: &Standing, wait: &mut Wait) -> Option<Option<Duration>> {
        let position = standing.status.position.unwrap_or(u64::MAX);
        let first = *wait.first_position.get_or_insert(position);
        match self.persona.patience {
            Patience::Stays => None,
            Patience::GivesUp { after } if wait.answers >= after => {
                self.link.queue(Asked::Leave).await;
                Some(None)
            }
            Patience::FallsSilent { after, back_after } if wait.answers >= after => Some(back_after),
            // Nobody can tell its turn without claiming it: near the front is as close as it gets.
            Patience::NoShow { back_after } if position <= (first / 10).max(3) => Some(back_after),
            _ => None,
        }
    }

    /// Uses the app. False when the pass was refused while the visit went on:
    /// the visitor then finds out how it stands.
    async fn visit(&mut self, standing: Standing) -> bool {
        let mut path = standing.go.unwrap_or_else(|| "/".into());
        let ends_at = self.link.now() + self.persona.visit;
        loop {
            if self.link.page(&path, Who::Own, self.persona.is_browser).await == Page::Held {
                // A gate that refuses what it admits must not be asked in a tight loop.
                self.link.sleep(about(self.think, &mut self.rng).max(SHORTEST_PAUSE)).await;
                return false;
            }
            let left = ends_at.since(self.link.now());
            if left.is_zero() {
                break;
            }
            self.link.sleep(about(self.think, &mut self.rng).min(left)).await;
            if let Some(wanted) = &self.path {
                wanted.as_ref().clone_into(&mut path);
            }
        }
        if self.persona.leaves {
            self.leave().await;
        }
        true
    }

    async fn leave(&mut self) {
        let before = self.link.identity();
        self.link.queue(Asked::Leave).await;
        if self.persona.tries_old_pass {
            self.link.sleep(OLD_PASS_AFTER).await;
            self.link.page(&self.home(), Who::Before(&before), false).await;
        }
    }
}

/// One stay in the line.
#[derive(Default)]
struct Wait {
    /// Has been shown a place.
    is_placed: bool,
    has_rejoined: bool,
    /// Waiting answers so far.
    answers: u32,
    first_position: Option<u64>,
    /// Time until the next poll, as last told.
    told: Duration,
}
