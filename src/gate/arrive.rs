//! A visitor in a room: what it brought, and what is remembered of those who
//! bring nothing.
//!
//! What it is, the room finds out ([`crate::queue::Room::arrive`]).

use std::net::IpAddr;

use rand::RngExt as _;

use super::Gate;
use super::seal::{SealedPass, SealedPlace};
use super::session::Known;
use super::site::Site;
use super::visitor::{Carrier, Visitor};
use crate::domain::time::Timestamp;
use crate::queue::Caller;
pub(super) use crate::queue::{Arrived, How};

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
        let caller = Caller { visitor: id, place: visitor.place, pass: visitor.pass };
        let may_join = || self.joins.allows(address);
        let arrived = site.room.arrive(&caller, how, now, || self.chance(), may_join).await;
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
        site.room.in_view(visitor.place, visitor.pass, how, now, || self.chance())
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
        Some(Known::Inside(epoch, pass)) => {
            visitor.pass = Some(SealedPass { visitor: id, epoch, pass, generation: 0 })
        }
        None => {}
    }
}
