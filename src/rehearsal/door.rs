//! A gate without sockets: what its visitors ask of the room, and what they keep.
//!
//! Owns the steps that the real gate takes between a request and its answer:
//! the room decides, as there. Never signs anything: what a visitor keeps is
//! its own and true.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::domain::id::VisitorId;
use crate::domain::place::Reason;
use crate::domain::time::{Timestamp, millis};
use crate::queue::{Arrived, Caller, How, Room, SealedPass, SealedPlace};
use crate::store::StoreError;
use crate::swarm::gates::{Page, Reply, Standing, Tokens, Who};
use crate::swarm::history::{Asked, State, Status};

/// What a visitor keeps of a gate's answers, as a browser keeps cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Who it is; `None` before the first answer.
    pub visitor: Option<VisitorId>,
    /// Its place.
    pub place: Option<SealedPlace>,
    /// Its pass.
    pub pass: Option<SealedPass>,
}

/// A gate's side of one room.
pub struct Door {
    room: Arc<Room>,
    dice: Mutex<SmallRng>,
}

impl Door {
    /// A door to `room` whose chances come from `seed`.
    #[must_use]
    pub fn new(room: Arc<Room>, seed: u64) -> Self {
        Self { room, dice: Mutex::new(SmallRng::seed_from_u64(seed)) }
    }

    /// The room behind it.
    #[must_use]
    pub const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// `POST /queue/join`, `GET /queue/status` or `POST /queue/leave`: the answer,
    /// and what the visitor has when it gets that.
    pub async fn queue(&self, kept: Kept, asked: Asked) -> (Reply, Kept) {
        let now = self.room.now();
        let Some(visitor) = kept.visitor else {
            let visitor = Some(VisitorId::from_bytes(self.dice.lock().random()));
            return (self.status(&Arrived::Nobody), Kept { visitor, ..kept });
        };
        let how = match asked {
            Asked::Leave => return self.leave(visitor, kept, now).await,
            Asked::Join => How::Join,
            Asked::Poll | Asked::Page(_) => How::Poll,
        };
        let arrived = self.arrive(visitor, kept, how, now).await;
        (self.status(&arrived), kept.after(visitor, &arrived, now))
    }

    /// The same for `GET /queue/status` where the gate need not ask its store.
    pub fn poll_in_view(&self, kept: Kept) -> Option<(Reply, Kept)> {
        let (now, visitor) = (self.room.now(), kept.visitor?);
        let arrived = self.room.in_view(kept.place, kept.pass, How::Poll, now, || self.chance())?;
        Some((self.status(&arrived), kept.after(visitor, &arrived, now)))
    }

    async fn leave(&self, visitor: VisitorId, kept: Kept, now: Timestamp) -> (Reply, Kept) {
        let pass = kept.pass.map(|sealed| sealed.pass);
        if self.room.end(visitor, pass.as_ref(), Reason::Left).await.is_err() {
            return (Reply::Trouble("http_503 store_down".into()), kept);
        }
        let left = Arrived::Ended(Reason::Left);
        (self.status(&left), kept.after(visitor, &left, now))
    }

    /// A path of the app: whether the visitor gets there, and what it has then.
    pub async fn page(&self, kept: Kept, as_browser: bool) -> (Page, Kept) {
        let now = self.room.now();
        if let Some(sealed) = kept.pass.filter(|p| self.room.uses(p, now)) {
            self.room.shown(sealed.visitor, sealed.epoch, &sealed.pass);
            return (Page::App, Kept { pass: Some(self.renew(sealed, now).await), ..kept });
        }
        let how = if as_browser { How::Join } else { How::Pass };
        let visitor = match kept.visitor {
            None if as_browser => {
                let visitor = Some(VisitorId::from_bytes(self.dice.lock().random()));
                return (Page::Held, Kept { visitor, ..kept });
            }
            Some(visitor) if as_browser || kept.place.is_some() => visitor,
            _ => return (Page::Held, kept),
        };
        let arrived = self.arrive(visitor, kept, how, now).await;
        let page = if matches!(arrived, Arrived::Admitted(_)) { Page::App } else { Page::Held };
        (page, kept.after(visitor, &arrived, now))
    }

    /// A pass in use is prolonged when that is due; the store hears of it first.
    async fn renew(&self, sealed: SealedPass, now: Timestamp) -> SealedPass {
        if !self.room.is_renewal_due(&sealed, now) {
            return sealed;
        }
        let ttl = self.room.view().settings.pass_ttl;
        let extended: Result<_, StoreError> = self.room.extend(sealed.visitor, ttl).await;
        SealedPass { pass: extended.ok().flatten().unwrap_or(sealed.pass), ..sealed }
    }

    async fn arrive(&self, visitor: VisitorId, kept: Kept, how: How, now: Timestamp) -> Arrived {
        let caller = Caller { visitor, place: kept.place, pass: kept.pass };
        self.room.arrive(&caller, how, now, || self.chance(), || true).await
    }

    fn chance(&self) -> f64 {
        self.dice.lock().random()
    }

    /// What the visitor is told.
    fn status(&self, arrived: &Arrived) -> Reply {
        let (waiting, pass) = match arrived {
            Arrived::TooEarly(left) => {
                // `Retry-After` has whole seconds.
                return Reply::TooEarly(Some(Duration::from_secs(millis(*left).div_ceil(1_000).max(1))));
            }
            Arrived::Waiting(waiting) => (Some(waiting), None),
            Arrived::Admitted(pass) => (None, pass.as_ref()),
            _ => (None, None),
        };
        let idle = || self.room.idle_pause(arrived, || self.chance());
        let poll_after = waiting.map_or_else(idle, |waiting| waiting.poll_after);
        let status = Status {
            state: state(arrived),
            number: waiting.map(|w| w.place.number).or(pass.map(|p| p.pass.number)),
            position: waiting.map(|w| w.position).filter(|&position| position > 0),
            poll_after_ms: u32::try_from(millis(poll_after)).unwrap_or(u32::MAX),
            pass_expires_at: pass.map(|p| p.pass.expires_at),
            degraded: self.room.view().degraded || arrived.is_stale(),
        };
        Reply::Status(Standing { status, room: None, go: None, tokens: Tokens::default() })
    }
}

impl Kept {
    /// What `who` shows when this is what the visitor has. Nothing can be forged
    /// where nothing is signed.
    #[must_use]
    pub fn shown_by(self, who: Who<'_, Self>) -> Self {
        match who {
            Who::Nobody | Who::Forger => Self::default(),
            Who::Own => self,
            Who::Before(kept) => *kept,
        }
    }

    /// What the visitor has after `who` was left with `kept` by a page.
    #[must_use]
    pub fn after_page(self, who: Who<'_, Self>, as_browser: bool, kept: Self) -> Self {
        match who {
            Who::Own => kept,
            Who::Nobody if as_browser => kept,
            _ => self,
        }
    }

    /// What a visitor has once it was told this.
    fn after(self, visitor: VisitorId, arrived: &Arrived, now: Timestamp) -> Self {
        match arrived {
            Arrived::Waiting(waiting) => {
                Self { place: Some(SealedPlace { visitor, place: waiting.place, seen_at: now }), ..self }
            }
            Arrived::Admitted(Some(pass)) => Self { pass: Some(*pass), ..self },
            Arrived::Ended(_) => Self { place: self.place.map(SealedPlace::ended), pass: None, ..self },
            _ => self,
        }
    }
}

const fn state(arrived: &Arrived) -> State {
    match arrived {
        Arrived::Nobody | Arrived::TooEarly(_) | Arrived::TooMany => State::None,
        Arrived::Waiting(_) | Arrived::Away => State::Waiting,
        Arrived::Admitted(_) => State::Admitted,
        Arrived::Ended(Reason::Left) => State::Left,
        Arrived::Ended(_) => State::Expired,
        Arrived::Full => State::Full,
        Arrived::Closed => State::Closed,
    }
}
