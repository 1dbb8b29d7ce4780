//! What a visitor is in a room at this moment: view first, store if it must be.
//!
//! Owns the order in which view and store are asked. Never sees a request, a
//! token or a page: whoever calls has opened and checked what the visitor brought.

use std::time::Duration;

use super::waiting::told;
use super::{Poll, Presented, Room, Waiting};
use crate::config::PassRenewal;
use crate::domain::id::{Epoch, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// A place that came back with a good signature, and when its holder was last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPlace {
    /// Whose it is.
    pub visitor: VisitorId,
    /// The place.
    pub place: Presented,
    /// When its holder was last heard, in the store's time.
    pub seen_at: Timestamp,
}

impl SealedPlace {
    /// As its holder keeps it once it was told that the place ended: without a
    /// position, so that it is never shown again, and heard no later than before.
    #[must_use]
    pub fn ended(self) -> Self {
        Self { place: Presented { position: 0, ..self.place }, ..self }
    }

    /// Whether its holder was told that it ended.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.place.position == 0
    }
}

/// A pass that came back with a good signature; whether it is still good is asked of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPass {
    /// Whose it is.
    pub visitor: VisitorId,
    /// The line it was given in.
    pub epoch: Epoch,
    /// The pass.
    pub pass: Pass,
    /// Which copy of it, where passes rotate; 0 = one from before any was handed out.
    pub generation: u64,
}

/// A visitor with what it brought; place and pass are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub visitor: VisitorId,
    /// The place it was last shown.
    pub place: Option<SealedPlace>,
    /// The pass it was last given.
    pub pass: Option<SealedPass>,
}

/// How a visitor shows up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `GET /queue/status`: paced; takes a first place, not a second.
    Poll,
    /// A page load or `POST /queue/join`: takes a place whatever was before.
    Join,
    /// A program's request to the app: takes no place, but claims a turn.
    Pass,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// No identity came with the request.
    Nobody,
    /// In the line, or a late returner before it.
    Waiting(Waiting),
    /// Inside; without a pass where the room has no line.
    Admitted(Option<SealedPass>),
    /// Out, within the last hour.
    Ended(Reason),
    /// The line is full.
    Full,
    /// Nobody joins now.
    Closed,
    /// A poll before its time.
    TooEarly(Duration),
    /// This address joined too often.
    TooMany,
    /// The store is away and this visitor has no place yet; it is remembered.
    Away,
}

impl Arrived {
    /// Whether nobody knows better than what was last shown: the store was to be
    /// asked and did not answer.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Away | Self::Waiting(Waiting { stale: true, .. }))
    }
}

impl Room {
    /// Finds out what a visitor is; a called one claims its pass by this.
    ///
    /// `chance` is uniform in 0..1 and spreads polls; `may_join` is asked once,
    /// and only before a newcomer takes a place.
    pub async fn arrive(
        &self,
        caller: &Caller,
        how: How,
        now: Timestamp,
        chance: impl Fn() -> f64,
        may_join: impl FnOnce() -> bool,
    ) -> Arrived {
        if let Some(arrived) = self.in_view(caller.place, caller.pass, how, now, &chance) {
            return arrived;
        }
        // What became another's is as good as none.
        let place = caller.place.filter(|p| !self.is_away(p));
        let caller = &Caller { place, ..*caller };
        if how == How::Poll
            && let Some(left) = caller.place.and_then(|p| self.too_early_out(&p.place, now))
        {
            return Arrived::TooEarly(left);
        }
        let alive = caller.place.filter(|p| !p.is_over() && self.was_alive(p.seen_at));
        if let Some(sealed) = alive.filter(|p| self.tells_of(p.place.epoch, p.place.number)) {
            return Arrived::Waiting(self.as_last_shown(&sealed, chance()));
        }
        let newcomer = caller.place.is_none_or(|p| p.place.epoch != self.view().epoch);
        let lost = alive.filter(|_| !newcomer && self.is_coming_back());
        // Of this line, whatever becomes of it meanwhile.
        let epoch = self.view().epoch;
        // Somebody with an old copy of a good pass is inside, or was a moment ago.
        let had = caller.pass.is_some_and(|copy| self.admits(copy.epoch, &copy.pass, now));
        let turn = match (how, lost) {
            _ if had => self.look(caller.visitor).await,
            (How::Pass, _) => self.look(caller.visitor).await,
            (_, Some(sealed)) => self.come_back(caller.visitor, &sealed.place).await,
            _ if newcomer && !may_join() => return Arrived::TooMany,
            (How::Poll, _) => self.join(caller.visitor, Intent::Join, newcomer).await,
            (How::Join, _) => {
                let anew = newcomer || caller.place.is_some_and(|p| p.is_over());
                self.join(caller.visitor, Intent::Rejoin, anew).await
            }
        };
        let turn = match turn {
            // A full store refuses joins before it looks: a turn must still be claimed.
            Err(StoreError::Full) => {
                self.look(caller.visitor).await.map(|t| if t == Turn::Unknown { Turn::Full } else { t })
            }
            turn => turn,
        };
        let mut arrived = self.arrived(caller, turn, epoch, now, &chance);
        if let Arrived::Admitted(Some(inside)) = arrived {
            arrived = self.claim(caller, inside).await;
        }
        // While the line comes back, a number that was not out is asked about in vain
        // only until its holder is heard.
        let stays_out = lost.is_none_or(|sealed| self.is_out(&sealed.place));
        if how == How::Poll && stays_out && !matches!(arrived, Arrived::Admitted(_)) {
            self.pace_out(caller, &arrived, now, &chance);
        }
        arrived
    }

    /// What the holder of these is as far as the view alone tells; `None`: ask the store.
    pub fn in_view(
        &self,
        place: Option<SealedPlace>,
        pass: Option<SealedPass>,
        how: How,
        now: Timestamp,
        chance: impl Fn() -> f64,
    ) -> Option<Arrived> {
        if let Some(sealed) = pass.filter(|p| self.holds(p, now)) {
            return Some(Arrived::Admitted(Some(sealed)));
        }
        let sealed = place?;
        if self.is_away(&sealed) {
            return (how != How::Join).then_some(Arrived::Ended(Reason::Moved));
        }
        if sealed.is_over() {
            return None;
        }
        let place = sealed.place;
        let poll = match how {
            How::Poll => self.poll(place, now, chance()),
            How::Join | How::Pass => self.show(place, now, chance()),
        };
        match poll {
            // The place is in the store no more: it is shown there.
            Poll::Waiting(_) if self.is_coming_back() => None,
            Poll::Waiting(waiting) => Some(Arrived::Waiting(waiting)),
            Poll::TooEarly(left) => Some(Arrived::TooEarly(left)),
            Poll::Out => None,
        }
    }

    /// Whether a place is another's now.
    fn is_away(&self, sealed: &SealedPlace) -> bool {
        self.is_handed_away(sealed.place.epoch, sealed.place.number, sealed.visitor)
    }

    /// What the taker of a place is, from the store's word.
    pub fn taken(&self, taker: &Caller, turn: Turn, now: Timestamp, chance: impl Fn() -> f64) -> Arrived {
        self.arrived(taker, Ok(turn), self.view().epoch, now, chance)
    }

    /// Whether a pass that is used now is to be prolonged.
    #[must_use]
    pub fn is_renewal_due(&self, sealed: &SealedPass, now: Timestamp) -> bool {
        let (config, view) = (self.config(), self.view());
        config.pass_renewal == PassRenewal::Sliding
            && !view.degraded
            && sealed.pass.expires_at.since(now) < view.settings.pass_ttl / 2
            && sealed.pass.expires_at < sealed.pass.issued_at + config.line.pass_max
    }

    /// When somebody who is not in the line should ask again.
    pub fn idle_pause(&self, arrived: &Arrived, chance: impl Fn() -> f64) -> Duration {
        match arrived {
            Arrived::Nobody | Arrived::Away => self.soon(chance()),
            Arrived::Closed => self.until_taken(self.now(), chance()),
            _ => self.longest_pause(),
        }
    }

    /// A number out of the line is asked about no oftener than told, or one
    /// visitor could drive the store.
    fn pace_out(&self, caller: &Caller, arrived: &Arrived, now: Timestamp, chance: impl Fn() -> f64) {
        let Some(sealed) = caller.place else { return };
        let pause = match arrived {
            Arrived::Waiting(waiting) if waiting.place.number != sealed.place.number => return,
            Arrived::Waiting(waiting) => waiting.poll_after,
            _ => self.idle_pause(arrived, chance),
        };
        self.told_out(&sealed.place, now, pause);
    }

    fn arrived(
        &self,
        caller: &Caller,
        turn: Result<Turn, StoreError>,
        epoch: Epoch,
        now: Timestamp,
        chance: impl Fn() -> f64,
    ) -> Arrived {
        // An old one, or the store would not have been asked.
        let copy = caller.pass.filter(|copy| self.admits(copy.epoch, &copy.pass, now));
        match turn {
            Ok(Turn::Waiting { number, joined_at }) => {
                let shown = caller.place.filter(|p| p.place.number == number && p.place.epoch == epoch);
                let (position, first) = shown.map_or((0, 0), |p| (p.place.position, p.place.first));
                let place = Presented { epoch, number, joined_at, position, first };
                match self.show(place, now, chance()) {
                    Poll::Waiting(waiting) => Arrived::Waiting(waiting),
                    // Admitted between two answers: the next poll claims.
                    _ => Arrived::Waiting(self.returning(number, 0, now, chance())),
                }
            }
            Ok(Turn::Returning { number, ahead }) => {
                Arrived::Waiting(self.returning(number, ahead, now, chance()))
            }
            Ok(Turn::Admitted(pass)) => {
                if let Some(place) = caller.place.filter(|p| p.place.number == pass.number) {
                    self.waited(now.since(place.place.joined_at));
                }
                Arrived::Admitted(Some(SealedPass { visitor: caller.visitor, epoch, pass, generation: 0 }))
            }
            Ok(Turn::Ended { reason, .. }) => Arrived::Ended(reason),
            Ok(Turn::Full) => Arrived::Full,
            Ok(Turn::Closed) => Arrived::Closed,
            Ok(Turn::Unknown) => Arrived::Nobody,
            Err(StoreError::Full) => Arrived::Full,
            Err(StoreError::Away(_) | StoreError::NoRoom) => match caller.place {
                _ if copy.is_some() => Arrived::Admitted(copy),
                Some(sealed) if sealed.place.position > 0 => {
                    Arrived::Waiting(self.as_last_shown(&sealed, chance()))
                }
                _ => Arrived::Away,
            },
        }
    }

    /// A place as its holder was last told, while nobody knows better.
    fn as_last_shown(&self, sealed: &SealedPlace, chance: f64) -> Waiting {
        let poll_after = self.while_away(sealed.place.position, chance);
        let position = told(sealed.place.position);
        Waiting { place: sealed.place, position, wait: None, poll_after, stale: true }
    }
}
