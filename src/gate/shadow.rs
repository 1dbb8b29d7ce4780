//! The rehearsal of `mode = "shadow"`: who would have waited, and for how long,
//! while everybody is forwarded.
//!
//! A page load takes a place in the room's line for its visitor, who never hears
//! of it: no cookie, no header, no word to the app. The gate stands in line
//! itself, as that visitor's waiting page would, until the turn comes, and then
//! holds the pass. So the line's figures read as if it were real and nobody gave
//! up. Nothing here is ever waited for by a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures_util::future::join_all;
use http::header::USER_AGENT;

use super::Gate;
use super::seal::SealedPass;
use super::site::Site;
use super::visit::Asked;
use super::visitor::{Fields, Visitor};
use crate::config::Mode;
use crate::domain::id::{Epoch, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Turn};
use crate::domain::time::Timestamp;
use crate::queue::{Poll, Presented};

/// Between two looks at those in line.
const KEEP: Duration = Duration::from_secs(1);
/// Visitors that are followed at once; more are forwarded uncounted.
const FOLLOWED: usize = 1_000_000;
/// Turns claimed at once.
const CLAIMS: usize = 1_000;

/// What a visitor would be.
#[derive(Clone, Copy, Debug)]
enum Would {
    /// On its way to the store.
    Arrive,
    Wait(Presented),
    BeInside(Epoch, Pass),
}

/// The visitors of one room that would be in line or inside.
#[derive(Debug, Default)]
pub(super) struct Shadows(DashMap<VisitorId, Would>);

impl Shadows {
    /// Whether this page load is somebody's who has neither place nor pass.
    fn arrives(&self, id: VisitorId, now: Timestamp) -> bool {
        let known = self.0.get(&id).map(|would| *would);
        let again = match known {
            None => self.0.len() < FOLLOWED,
            Some(Would::BeInside(_, pass)) => !pass.is_live(now),
            Some(Would::Arrive | Would::Wait(_)) => false,
        };
        if again {
            self.0.insert(id, Would::Arrive);
        }
        again
    }

    fn pass(&self, id: VisitorId) -> Option<SealedPass> {
        match *self.0.get(&id)? {
            Would::BeInside(epoch, pass) => Some(SealedPass { visitor: id, epoch, pass, generation: 0 }),
            Would::Arrive | Would::Wait(_) => None,
        }
    }
}

impl Gate {
    /// Counts a request that is forwarded where the line is only counted, and
    /// says whose it is.
    pub(super) fn follow_shadow(
        self: &Arc<Self>,
        site: &Arc<Site>,
        visitor: &Visitor,
        asked: &Asked<'_, impl Fields>,
        bypass: bool,
        now: Timestamp,
    ) -> Option<VisitorId> {
        if bypass || !site.only_counts() {
            return None;
        }
        let id = visitor.id.unwrap_or_else(|| self.stranger(site, asked.address, asked.fields));
        // As the line takes them: a page load takes a place, nothing else does.
        if asked.page && site.shadows.arrives(id, now) {
            let (gate, site) = (Arc::clone(self), Arc::clone(site));
            self.tasks.spawn(async move { gate.arrive_unseen(&site, id).await });
        }
        Some(id)
    }

    /// Without a cookie, a visitor is an address and a browser.
    fn stranger(&self, site: &Site, address: IpAddr, fields: &impl Fields) -> VisitorId {
        let browser = fields.all(&USER_AGENT).next().unwrap_or_default();
        self.seal.load().stranger(&site.room.config().name, &address.to_string(), browser)
    }

    async fn arrive_unseen(&self, site: &Site, id: VisitorId) {
        let epoch = site.room.view().epoch;
        let wait =
            |number, joined_at| Would::Wait(Presented { epoch, number, joined_at, position: 0, first: 0 });
        let turn = site.room.join(id, Intent::Rejoin, false).await;
        let (would, counted) = match turn {
            Ok(Turn::Waiting { number, joined_at }) => (Some(wait(number, joined_at)), "wait"),
            Ok(Turn::Returning { number, .. }) => (Some(wait(number, site.room.now())), "wait"),
            Ok(Turn::Admitted(pass)) => (Some(Would::BeInside(epoch, pass)), "enter"),
            Ok(Turn::Full) => (None, "full"),
            Ok(Turn::Closed) => (None, "closed"),
            Ok(Turn::Ended { .. } | Turn::Unknown) | Err(_) => (None, "unknown"),
        };
        self.metrics.shadows.with_label_values(&[site.room.config().name.as_str(), counted]).inc();
        match would {
            Some(would) => drop(site.shadows.0.insert(id, would)),
            None => drop(site.shadows.0.remove(&id)),
        }
    }

    /// Stands in line for those who would be in it, for ever.
    pub(super) async fn keep_shadows(&self) {
        loop {
            tokio::time::sleep(KEEP).await;
            for site in self.sites.load_full().all() {
                self.keep_shadows_of(site).await;
            }
        }
    }

    /// One look at everybody in line: a sign of life, or the turn claimed.
    async fn keep_shadows_of(&self, site: &Site) {
        if !site.only_counts() {
            return site.shadows.0.clear();
        }
        let now = site.room.now();
        let mut out = Vec::new();
        site.shadows.0.retain(|&id, would| {
            match *would {
                Would::Arrive => {}
                Would::Wait(place) => {
                    if matches!(site.room.poll(place, now, self.chance()), Poll::Out) {
                        out.push((id, place));
                    }
                }
                Would::BeInside(_, pass) => return pass.is_live(now),
            }
            true
        });
        for claims in out.chunks(CLAIMS) {
            join_all(claims.iter().map(|&(id, place)| self.claim_unseen(site, id, place))).await;
        }
    }

    async fn claim_unseen(&self, site: &Site, id: VisitorId, place: Presented) {
        match site.room.look(id).await {
            Ok(Turn::Admitted(pass)) => {
                site.room.waited(site.room.now().since(place.joined_at));
                site.shadows.0.insert(id, Would::BeInside(place.epoch, pass));
            }
            Ok(Turn::Waiting { .. } | Turn::Returning { .. }) | Err(_) => {}
            Ok(_) => drop(site.shadows.0.remove(&id)),
        }
    }

    /// The app asked for more time: the pass would have it.
    pub(super) async fn extend_shadow(&self, site: &Site, id: VisitorId, by: Duration) {
        let Some(sealed) = site.shadows.pass(id) else { return };
        if let Ok(Some(pass)) = site.room.extend(id, by).await {
            site.shadows.0.insert(id, Would::BeInside(sealed.epoch, pass));
        }
    }

    /// The app said that the visit is done: its slot goes on.
    pub(super) fn end_shadow(self: &Arc<Self>, site: &Arc<Site>, id: VisitorId) {
        if let Some(sealed) = site.shadows.pass(id) {
            site.shadows.0.remove(&id);
            self.end_in_background(site, sealed);
        }
    }
}

impl Site {
    /// Whether the line is only counted and everybody is forwarded.
    pub(super) fn only_counts(&self) -> bool {
        self.room.config().mode == Mode::Shadow
    }
}
