//! What a visitor is in a room at this moment: view first, store if it must be.

use std::net::IpAddr;
use std::time::Duration;

use rand::RngExt as _;

use super::Gate;
use super::seal::{SealedPass, SealedPlace};
use super::session::Known;
use super::site::Site;
use super::visitor::{Carrier, Visitor};
use crate::domain::id::Epoch;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;
use crate::queue::{Poll, Presented, Waiting};
use crate::store::StoreError;

/// How a visitor shows up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// `GET /queue/status`: paced; takes a first place, not a second.
    Poll,
    /// A page load or `POST /queue/join`: takes a place whatever was before.
    Join,
    /// A program's request to the app: takes no place, but claims a turn.
    Pass,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
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

impl Gate {
    /// Finds out what a visitor is; a called one claims its pass by this.
    pub(super) async fn arrive(
        &self,
        site: &Site,
        visitor: &mut Visitor,
        address: IpAddr,
        how: How,
        now: Timestamp,
    ) -> Arrived {
        if site.is_open_to_all() {
            return Arrived::Admitted(None);
        }
        let Some(id) = visitor.id else { return Arrived::Nobody };
        recall(site, visitor, now);
        if let Some(arrived) = self.in_view(site, visitor, how, now) {
            return self.remember(site, visitor, arrived, now);
        }
        if how == How::Poll
            && let Some(left) = visitor.place.and_then(|p| site.room.too_early_out(&p.place, now))
        {
            return Arrived::TooEarly(left);
        }
        let alive = visitor.place.filter(|p| site.room.was_alive(p.seen_at));
        if let Some(sealed) = alive.filter(|p| site.room.tells_of(p.place.epoch, p.place.number)) {
            return Arrived::Waiting(self.as_last_shown(site, &sealed));
        }
        let newcomer = visitor.place.is_none_or(|p| p.place.epoch != site.room.view().epoch);
        let lost = alive.filter(|_| !newcomer && site.room.is_coming_back());
        // Of this line, whatever becomes of it meanwhile.
        let epoch = site.room.view().epoch;
        let turn = match (how, lost) {
            (How::Pass, _) => site.room.look(id).await,
            (_, Some(sealed)) => site.room.come_back(id, &sealed.place).await,
            _ if newcomer && !self.joins.allows(address) => return Arrived::TooMany,
            (How::Poll, _) => site.room.join(id, Intent::Join, newcomer).await,
            (How::Join, _) => site.room.join(id, Intent::Rejoin, newcomer).await,
        };
        let turn = match turn {
            // A full store refuses joins before it looks: a turn must still be claimed.
            Err(StoreError::Full) => {
                site.room.look(id).await.map(|t| if t == Turn::Unknown { Turn::Full } else { t })
            }
            turn => turn,
        };
        let arrived = self.arrived(site, visitor, turn, epoch, now);
        // While the line comes back, a number that was not out is asked about in vain
        // only until its holder is heard.
        let stays_out = lost.is_none_or(|sealed| site.room.is_out(&sealed.place));
        if how == How::Poll && stays_out && !matches!(arrived, Arrived::Admitted(_)) {
            self.pace_out(site, visitor, &arrived, now);
        }
        self.remember(site, visitor, arrived, now)
    }

    /// What a visitor is as far as the view alone tells; `None`: ask the store.
    pub(super) fn in_view(
        &self,
        site: &Site,
        visitor: &Visitor,
        how: How,
        now: Timestamp,
    ) -> Option<Arrived> {
        if let Some(sealed) = visitor.pass.filter(|p| site.room.admits(p.epoch, &p.pass, now)) {
            return Some(Arrived::Admitted(Some(sealed)));
        }
        let place = visitor.place?.place;
        let poll = match how {
            How::Poll => site.room.poll(place, now, self.chance()),
            How::Join | How::Pass => site.room.show(place, now, self.chance()),
        };
        match poll {
            // The place is in the store no more: it is shown there.
            Poll::Waiting(_) if site.room.is_coming_back() => None,
            Poll::Waiting(waiting) => Some(Arrived::Waiting(waiting)),
            Poll::TooEarly(left) => Some(Arrived::TooEarly(left)),
            Poll::Out => None,
        }
    }

    /// A number out of the line is asked about no oftener than told, or one
    /// visitor could drive the store.
    fn pace_out(&self, site: &Site, visitor: &Visitor, arrived: &Arrived, now: Timestamp) {
        let Some(sealed) = visitor.place else { return };
        let pause = match arrived {
            Arrived::Waiting(waiting) if waiting.place.number != sealed.place.number => return,
            Arrived::Waiting(waiting) => waiting.poll_after,
            _ => self.idle_pause(site, arrived),
        };
        site.room.told_out(&sealed.place, now, pause);
    }

    fn arrived(
        &self,
        site: &Site,
        visitor: &Visitor,
        turn: Result<Turn, StoreError>,
        epoch: Epoch,
        now: Timestamp,
    ) -> Arrived {
        match turn {
            Ok(Turn::Waiting { number, joined_at }) => {
                let position = visitor
                    .place
                    .filter(|p| p.place.number == number && p.place.epoch == epoch)
                    .map_or(0, |p| p.place.position);
                let place = Presented { epoch, number, joined_at, position };
                match site.room.show(place, now, self.chance()) {
                    Poll::Waiting(waiting) => Arrived::Waiting(waiting),
                    // Admitted between two answers: the next poll claims.
                    _ => Arrived::Waiting(site.room.returning(number, 0, now, self.chance())),
                }
            }
            Ok(Turn::Returning { number, ahead }) => {
                Arrived::Waiting(site.room.returning(number, ahead, now, self.chance()))
            }
            Ok(Turn::Admitted(pass)) => {
                if let Some(place) = visitor.place.filter(|p| p.place.number == pass.number) {
                    site.room.waited(now.since(place.place.joined_at));
                }
                let id = visitor.id.unwrap_or_else(|| unreachable!("only a known visitor is asked about"));
                Arrived::Admitted(Some(SealedPass { visitor: id, epoch, pass }))
            }
            Ok(Turn::Ended { reason, .. }) => Arrived::Ended(reason),
            Ok(Turn::Full) => Arrived::Full,
            Ok(Turn::Closed) => Arrived::Closed,
            Ok(Turn::Unknown) => Arrived::Nobody,
            Err(StoreError::Full) => Arrived::Full,
            Err(StoreError::Away(_) | StoreError::NoRoom) => match visitor.place {
                Some(sealed) if sealed.place.position > 0 => {
                    Arrived::Waiting(self.as_last_shown(site, &sealed))
                }
                _ => Arrived::Away,
            },
        }
    }

    /// A place as its holder was last told, while nobody knows better.
    fn as_last_shown(&self, site: &Site, sealed: &SealedPlace) -> Waiting {
        let poll_after = site.room.while_away(sealed.place.position, self.chance());
        Waiting { place: sealed.place, position: sealed.place.position, wait: None, poll_after }
    }

    /// Keeps what was found for a visitor that carries no token.
    fn remember(&self, site: &Site, visitor: &Visitor, arrived: Arrived, now: Timestamp) -> Arrived {
        if let (Carrier::Session, Some(id)) = (visitor.carrier, visitor.id) {
            match &arrived {
                Arrived::Waiting(waiting) => site.sessions.put(id, Some(Known::Waiting(waiting.place)), now),
                Arrived::Admitted(Some(p)) => {
                    site.sessions.put(id, Some(Known::Inside(p.epoch, p.pass)), now)
                }
                Arrived::Ended(_) => site.sessions.put(id, None, now),
                _ => {}
            }
        }
        arrived
    }

    /// Uniform in 0..1; spreads polls.
    pub(super) fn chance(&self) -> f64 {
        self.chance.with(|chance| chance.borrow_mut().random())
    }
}

/// Fills in what this gate remembers of a visitor that carries no token.
pub(super) fn recall(site: &Site, visitor: &mut Visitor, now: Timestamp) {
    let (Carrier::Session, Some(id)) = (visitor.carrier, visitor.id) else { return };
    let (known, go) = site.sessions.get(id, now);
    visitor.go = visitor.go.take().or(go);
    match known {
        Some(Known::Waiting(place)) => visitor.place = Some(SealedPlace { visitor: id, place, seen_at: now }),
        Some(Known::Inside(epoch, pass)) => visitor.pass = Some(SealedPass { visitor: id, epoch, pass }),
        None => {}
    }
}
