//! A request to the app: forwarded, or told to wait.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Response};
use hyper::body::{Body as _, Incoming};

use super::answer::{Grant, close, language, retry_after, set_tokens};
use super::arrive::{Arrived, How, recall};
use super::body::Reply;
use super::decide::{Decision, Facts, Upgrade, decide};
use super::forward::Failure;
use super::page::Language;
use super::seal::SealedPass;
use super::site::Site;
use super::visitor::{Carrier, Fields, Visitor};
use super::{Gate, kind, new_visitor, request};
use crate::config::OnStoreDown;
use crate::domain::id::VisitorId;
use crate::domain::place::{Reason, Turn};
use crate::domain::time::Timestamp;

/// A visitor on its way in: who it is, and what it is given with the answer.
pub(super) struct Inside {
    pub(super) visitor: Visitor,
    pub(super) pass: Option<SealedPass>,
    pub(super) grant: Grant,
    /// The request came through a proxy that is believed.
    pub(super) trusted: bool,
    /// Who it would be in a line that is only counted.
    pub(super) shadow: Option<VisitorId>,
}

impl Inside {
    pub(super) fn new(visitor: Visitor, has_pass: bool, trusted: bool) -> Self {
        let pass = visitor.pass.filter(|_| has_pass);
        Self { pass, visitor, grant: Grant::default(), trusted, shadow: None }
    }
}

/// What is asked, however it was read.
pub(super) struct Asked<'a, F> {
    pub(super) path: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) fields: &'a F,
    pub(super) address: IpAddr,
    /// A browser asks for a page.
    pub(super) page: bool,
    pub(super) upgrade: Upgrade,
}

impl<'a> Asked<'a, HeaderMap> {
    pub(super) fn of(parts: &'a Parts, address: IpAddr, page: bool) -> Self {
        let upgrade = request::upgrade(parts);
        let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Self { path: parts.uri.path(), target, fields: &parts.headers, address, page, upgrade }
    }
}

impl Gate {
    pub(super) async fn visit(
        self: &Arc<Self>,
        site: Arc<Site>,
        parts: Parts,
        body: Incoming,
        peer: SocketAddr,
        address: IpAddr,
        page: bool,
    ) -> Response<Reply> {
        let now = site.room.now();
        let trusted = self.trusts(peer.ip());
        let mut visitor = self.visitor(&site, &parts.headers, now);
        recall(&site, &mut visitor, now);
        let asked = Asked::of(&parts, address, page);
        let mut facts = self.facts(&site, &visitor, &asked, now);
        let mut inside = Inside::new(visitor, facts.has_pass, trusted);
        let mut arrived = None;
        if matches!(decide(&facts), Decision::WaitPage | Decision::WaitApi) {
            arrived = Some(self.show_up(&site, &mut inside, &mut facts, address, now).await);
        }
        let decision = decide(&facts);
        if matches!(decision, Decision::Forward | Decision::Tunnel) {
            inside.shadow = self.follow_shadow(&site, &inside.visitor, &asked, facts.bypass, now);
        }
        match decision {
            Decision::Forward => self.let_in(site, parts, body, address, inside, false, now).await,
            Decision::Tunnel => self.let_in(site, parts, body, address, inside, true, now).await,
            Decision::Malformed => {
                let kind = kind::malformed("not a whole WebSocket handshake without a body");
                close(self.problem(&parts.headers, false, kind))
            }
            Decision::Shut => {
                let mut response = self.problem(&parts.headers, page, kind::STORE_DOWN);
                retry_after(response.headers_mut(), Duration::from_secs(5));
                response
            }
            Decision::WaitPage | Decision::WaitApi => {
                self.turn_away(&site, &asked, inside, arrived.unwrap_or(Arrived::Nobody))
            }
        }
    }

    /// What decides about a request.
    pub(super) fn facts(
        &self,
        site: &Site,
        visitor: &Visitor,
        asked: &Asked<'_, impl Fields>,
        now: Timestamp,
    ) -> Facts {
        let live = visitor.pass.filter(|p| site.room.uses(p, now));
        if let Some(sealed) = live {
            site.room.shown(sealed.visitor, sealed.epoch, &sealed.pass);
        }
        Facts {
            has_pass: live.is_some(),
            open_to_all: site.is_open_to_all(),
            bypass: site.bypasses(asked.path, asked.fields, asked.address),
            shut: site.room.config().on_store_down == OnStoreDown::Closed
                && site.room.view().degraded
                && !site.only_counts(),
            wants_page: asked.page,
            upgrade: asked.upgrade,
        }
    }

    /// Finds out what a visitor without a pass is, and what that changes.
    pub(super) async fn show_up(
        &self,
        site: &Site,
        inside: &mut Inside,
        facts: &mut Facts,
        address: IpAddr,
        now: Timestamp,
    ) -> Arrived {
        let arrived = self.turn_of(site, &mut inside.visitor, address, facts.wants_page, now).await;
        inside.grant = self.grant(site, &inside.visitor, &arrived, now);
        if let Arrived::Admitted(pass) = &arrived {
            facts.has_pass = true;
            inside.pass = *pass;
        }
        arrived
    }

    /// A page load takes a place, a program's request only finds out whether its
    /// turn has come.
    async fn turn_of(
        &self,
        site: &Site,
        visitor: &mut Visitor,
        address: IpAddr,
        page: bool,
        now: Timestamp,
    ) -> Arrived {
        if page && has_moved(site, visitor) {
            // Told once: by its next visit this device is a newcomer.
            *visitor = Visitor { carrier: visitor.carrier, id: None, go: None, place: None, pass: None };
            return Arrived::Ended(Reason::Moved);
        }
        let has_old_copy = visitor.pass.is_some_and(|p| site.room.is_old(&p, now));
        let may_have_turn = visitor.place.is_some() || visitor.carrier == Carrier::Session || has_old_copy;
        match (page, may_have_turn) {
            (true, _) => self.arrive(site, visitor, address, How::Join, now).await,
            (false, true) => self.arrive(site, visitor, address, How::Pass, now).await,
            (false, false) => Arrived::Nobody,
        }
    }

    /// The waiting answer.
    pub(super) fn turn_away(
        &self,
        site: &Site,
        asked: &Asked<'_, impl Fields>,
        mut inside: Inside,
        arrived: Arrived,
    ) -> Response<Reply> {
        if arrived == Arrived::TooMany {
            let mut response = self.problem_json(language(asked.fields), kind::TOO_MANY, None);
            retry_after(response.headers_mut(), Duration::from_secs(60));
            return upgrade_refused(asked.upgrade, response);
        }
        let now = site.room.now();
        if !asked.page {
            let kind = match arrived {
                Arrived::Full => kind::FULL,
                Arrived::Closed => kind::CLOSED,
                _ if site.is_closed(now) => kind::CLOSED,
                _ => kind::WAITING,
            };
            let mut response = self.problem_json(language(asked.fields), kind, Some(&site.status_url));
            let after = match &arrived {
                Arrived::Waiting(waiting) => waiting.poll_after,
                Arrived::Closed => site.room.idle_pause(&arrived, || self.chance()),
                _ => site.room.soon(self.chance()),
            };
            retry_after(response.headers_mut(), after);
            return upgrade_refused(asked.upgrade, response);
        }
        if inside.visitor.id.is_none() && inside.visitor.carrier == Carrier::Cookies {
            inside.grant.visitor = Some(self.visitor_token(site, new_visitor(), None, now));
        }
        let arrived =
            if matches!(arrived, Arrived::Nobody) && site.is_closed(now) { Arrived::Closed } else { arrived };
        let return_to = if crate::domain::target::is_local(asked.target) { asked.target } else { "/" };
        let response =
            self.waiting_page(site, &inside.visitor, &arrived, &inside.grant, asked.fields, return_to);
        upgrade_refused(asked.upgrade, response)
    }

    #[expect(clippy::too_many_arguments, reason = "the whole of one request, once")]
    async fn let_in(
        self: &Arc<Self>,
        site: Arc<Site>,
        mut parts: Parts,
        body: Incoming,
        address: IpAddr,
        mut inside: Inside,
        tunnel: bool,
        now: Timestamp,
    ) -> Response<Reply> {
        let page = super::wants_page(&parts);
        let language = language(&parts.headers);
        let renewal = self.renewal(&site, &inside, now);
        self.introduce_in(&site, &mut parts, address, &inside, now);
        let asked_at = body.is_end_stream().then(|| site.room.now());
        let sent = async {
            if tunnel {
                let ends = until_out(Arc::clone(&site), inside.pass);
                self.forwarder.tunnel(parts, body, &site.upstreams, ends).await
            } else {
                let sent = self.forwarder.forward(parts, body, &site.upstreams).await;
                // A visitor's own failure says nothing of the app.
                match &sent {
                    Ok(response) => self.note_health(&site, asked_at, response.status().is_server_error()),
                    Err(failure) if !failure.is_the_visitors() => self.note_health(&site, asked_at, true),
                    Err(_) => {}
                }
                sent
            }
        };
        let (sent, renewed) = tokio::join!(sent, renewal);
        if let Some(pass) = renewed {
            self.give_pass(&site, &mut inside, pass, now);
        }
        match sent {
            Ok(mut response) => {
                let status = response.status();
                self.heed(&site, &mut inside, status, response.headers_mut(), now).await;
                response
            }
            Err(failure) => {
                let response = self.failed(&site, failure, language, page, &inside);
                if failure.is_the_visitors() { close(response) } else { response }
            }
        }
    }

    /// The answer to a request that the app did not answer.
    pub(super) fn failed(
        &self,
        site: &Site,
        failure: Failure,
        language: Language,
        page: bool,
        inside: &Inside,
    ) -> Response<Reply> {
        if !failure.is_the_visitors() {
            self.metrics.upstream_failures.inc();
            tracing::warn!(room = %site.room.config().name, ?failure, "the app did not answer");
        }
        let mut response = self.problem_in(language, page, kind::of(failure));
        set_tokens(response.headers_mut(), site, &inside.visitor, &inside.grant);
        response
    }

    /// A pass in use past its half-life, which is to be prolonged.
    pub(super) fn renewal_due(&self, site: &Site, inside: &Inside, now: Timestamp) -> Option<SealedPass> {
        inside.pass.filter(|sealed| site.room.is_renewal_due(sealed, now))
    }

    /// Prolongs a pass that is due; the store hears of it first.
    fn renewal<'a>(
        &self,
        site: &'a Site,
        inside: &Inside,
        now: Timestamp,
    ) -> impl Future<Output = Option<SealedPass>> + use<'a> {
        let due = self.renewal_due(site, inside, now);
        let ttl = site.room.view().settings.pass_ttl;
        async move {
            let sealed = due?;
            let pass = site.room.extend(sealed.visitor, ttl).await.ok()??;
            Some(SealedPass { pass, ..sealed })
        }
    }
}

/// After a refused handshake the connection carries nothing more: bytes sent ahead
/// of the upgrade must never be read as a request.
fn upgrade_refused(upgrade: Upgrade, response: Response<Reply>) -> Response<Reply> {
    if upgrade == Upgrade::None { response } else { close(response) }
}

/// Whether what the visitor had is on another device now.
fn has_moved(site: &Site, visitor: &Visitor) -> bool {
    let place = visitor.place.map(|p| (p.place.epoch, p.place.number, p.visitor));
    let held = place.or(visitor.pass.map(|p| (p.epoch, p.pass.number, p.visitor)));
    held.is_some_and(|(epoch, number, visitor)| site.room.is_handed_away(epoch, number, visitor))
}

/// Until a tunnel's pass is over or revoked; for ever without a pass. A pass
/// that was prolonged meanwhile goes on.
async fn until_out(site: Arc<Site>, pass: Option<SealedPass>) {
    let Some(mut sealed) = pass else { return std::future::pending().await };
    loop {
        while site.room.admits(sealed.epoch, &sealed.pass, site.room.now()) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        match site.room.look(sealed.visitor).await {
            Ok(Turn::Admitted(pass))
                if pass.issued_at == sealed.pass.issued_at && pass.expires_at > sealed.pass.expires_at =>
            {
                sealed.pass = pass;
            }
            _ => return,
        }
    }
}
