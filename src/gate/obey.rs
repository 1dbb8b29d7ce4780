//! What the app's answer asks of the gate, and what the visitor is given with it.

use std::sync::Arc;
use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Gate;
use super::answer::set_tokens;
use super::seal::SealedPass;
use super::session;
use super::site::Site;
use super::strip::{self, Command};
use super::visit::Inside;
use super::visitor::Carrier;
use crate::domain::id::VisitorId;
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason};
use crate::domain::time::Timestamp;

impl Gate {
    /// Does what the app's answer asks of the gate, and leaves in it what is for the visitor.
    pub(super) async fn heed(
        self: &Arc<Self>,
        site: &Arc<Site>,
        inside: &mut Inside,
        status: StatusCode,
        headers: &mut HeaderMap,
        now: Timestamp,
    ) {
        if let Some(left) = strip::stock(headers) {
            site.room.hear_stock(left, now);
        }
        for command in strip::commands(headers) {
            self.obey(site, inside, command, now).await;
        }
        if !status.is_informational() {
            self.hand_next(site, inside, strip::may_be_kept(headers));
        }
        strip::strip_response(status, headers);
        give_tokens(headers, site, inside);
    }

    /// Hands out the next copy of a pass that rotates, where it is time for one; not
    /// at once with an answer that a cache might keep (`may_be_kept`), which would have
    /// to be asked for anew then.
    pub(super) fn hand_next(&self, site: &Site, inside: &mut Inside, may_be_kept: bool) {
        let Some(sealed) = inside.pass.filter(|sealed| site.room.has_next(sealed)) else { return };
        // The request may have taken its time.
        let now = site.room.now();
        if let Some(next) = site.room.take_next(&sealed, may_be_kept, now) {
            self.give_pass(site, inside, next, now);
        }
    }

    pub(super) fn give_pass(&self, site: &Site, inside: &mut Inside, sealed: SealedPass, now: Timestamp) {
        if inside.visitor.carrier == Carrier::Session {
            let known = session::Known::Inside(sealed.epoch, sealed.pass);
            site.sessions.put(sealed.visitor, Some(known), now);
        } else if !site.room.is_outdone(&sealed) {
            // Else the visitor has a newer copy by now, which this would replace.
            inside.grant.pass = Some(self.pass_token(site, &sealed, now));
        }
        inside.pass = Some(sealed);
    }

    /// Does what the app asked for in its answer.
    async fn obey(self: &Arc<Self>, site: &Arc<Site>, inside: &mut Inside, command: Command, now: Timestamp) {
        match (command, inside.pass) {
            (Command::Extend(by), Some(sealed)) => {
                if let Ok(Some(pass)) = site.room.extend(sealed.visitor, by).await {
                    self.give_pass(site, inside, SealedPass { pass, ..sealed }, now);
                }
            }
            (Command::Complete, Some(sealed)) => {
                self.end_in_background(site, sealed);
                self.take_pass(site, inside, now);
            }
            (Command::Requeue, Some(sealed)) => self.requeue(site, inside, sealed, now).await,
            (Command::Extend(by), None) => {
                if let Some(id) = inside.shadow {
                    self.extend_shadow(site, id, by).await;
                }
            }
            (Command::Complete, None) => {
                inside.shadow.into_iter().for_each(|id| self.end_shadow(site, id));
            }
            (Command::SoldOut, _) => self.set_closed(site, true),
            (Command::Open, _) => self.set_closed(site, false),
            _ => {}
        }
    }

    fn take_pass(&self, site: &Site, inside: &mut Inside, now: Timestamp) {
        if let (Carrier::Session, Some(id)) = (inside.visitor.carrier, inside.visitor.id) {
            site.sessions.put(id, None, now);
        }
        inside.pass = None;
        inside.grant.pass = None;
        inside.grant.drop_pass = true;
    }

    /// The pass dies here at once; the store is told until it hears.
    pub(super) fn end_in_background(self: &Arc<Self>, site: &Arc<Site>, sealed: SealedPass) {
        self.end_when_heard(site, sealed.visitor, Some(sealed.pass), Reason::Completed);
    }

    /// Tells the store until it hears that a place or pass is over.
    pub(super) fn end_when_heard(
        self: &Arc<Self>,
        site: &Arc<Site>,
        visitor: VisitorId,
        pass: Option<Pass>,
        reason: Reason,
    ) {
        let site = Arc::clone(site);
        self.tasks.spawn(async move {
            for _ in 0..240 {
                let ended = site.room.end(visitor, pass.as_ref(), reason).await;
                if ended.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }

    async fn requeue(&self, site: &Site, inside: &mut Inside, sealed: SealedPass, now: Timestamp) {
        let ended = site.room.end(sealed.visitor, Some(&sealed.pass), Reason::Completed).await;
        if ended.is_err() {
            return;
        }
        self.take_pass(site, inside, now);
        let joined = site.room.join(sealed.visitor, Intent::Rejoin, false).await;
        tracing::debug!(?joined, "sent back to the line by the app");
    }

    /// Nobody more is let in or joins, until the app says otherwise; its word to
    /// open opens the doors ahead of time, too.
    fn set_closed(self: &Arc<Self>, site: &Arc<Site>, closed: bool) {
        let site = Arc::clone(site);
        self.tasks.spawn(async move {
            let (base, now) = (site.room.config().line.clone(), site.room.now());
            let change = site.room.override_with(|overrides| {
                overrides.closed = closed.then_some(true);
                overrides.sold_out = overrides.closed;
                if !closed {
                    overrides.open_doors(&base, now);
                }
            });
            let change = change.await;
            if let Err(why) = change {
                tracing::warn!(room = %site.room.config().name, %why, closed, "the app's word was not stored");
            }
        });
    }
}

/// Adds the visitor's tokens to the app's answer. One that carries a cookie of
/// the gate is this visitor's alone, whatever the app said of caching.
fn give_tokens(headers: &mut HeaderMap, site: &Site, inside: &Inside) {
    if !inside.grant.is_empty() {
        for name in ["expires", "cdn-cache-control", "surrogate-control"] {
            headers.remove(name);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    }
    set_tokens(headers, site, &inside.visitor, &inside.grant);
}
