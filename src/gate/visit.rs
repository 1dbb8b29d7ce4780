//! A request to the app: forwarded, or told to wait.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use super::answer::{Grant, close, language, retry_after, set_tokens};
use super::arrive::{Arrived, How, recall};
use super::body::Reply;
use super::decide::{Decision, Facts, Upgrade, decide};
use super::forward::Failure;
use super::page::Language;
use super::seal::SealedPass;
use super::site::Site;
use super::strip::{self, Command};
use super::visitor::{Carrier, Fields, Visitor, text_id};
use super::{Gate, kind, new_visitor, request};
use crate::config::OnStoreDown;
use crate::domain::id::VisitorId;
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;

const ROOM: HeaderName = HeaderName::from_static("usher-room");
const VISITOR: HeaderName = HeaderName::from_static("usher-visitor");
const ASSERTION: HeaderName = HeaderName::from_static("usher-assertion");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that the gate adds to a request.
const OWN_HEADERS: usize = 8;

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
    pub(super) fields: &'a F,
    pub(super) address: IpAddr,
    /// A browser asks for a page.
    pub(super) page: bool,
    pub(super) upgrade: Upgrade,
}

impl<'a> Asked<'a, HeaderMap> {
    pub(super) fn of(parts: &'a Parts, address: IpAddr, page: bool) -> Self {
        let upgrade = request::upgrade(parts);
        Self { path: parts.uri.path(), fields: &parts.headers, address, page, upgrade }
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
        let mut facts = self.facts(&site, &visitor, &Asked::of(&parts, address, page), now);
        let mut inside = Inside::new(visitor, facts.has_pass, trusted);
        let mut arrived = None;
        if matches!(decide(&facts), Decision::WaitPage | Decision::WaitApi) {
            let found = self.show_up(&site, &mut inside.visitor, address, page, now).await;
            inside.grant = self.grant(&site, &inside.visitor, &found, now);
            if let Arrived::Admitted(pass) = &found {
                facts.has_pass = true;
                inside.pass = *pass;
            }
            arrived = Some(found);
        }
        let decision = decide(&facts);
        if matches!(decision, Decision::Forward | Decision::Tunnel) {
            let asked = Asked::of(&parts, address, page);
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
                self.turn_away(&site, &parts, inside, arrived.unwrap_or(Arrived::Nobody), page)
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

    /// A visitor without a pass: a page load takes a place, a program's
    /// request only finds out whether its turn has come.
    pub(super) async fn show_up(
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
        parts: &Parts,
        mut inside: Inside,
        arrived: Arrived,
        page: bool,
    ) -> Response<Reply> {
        if arrived == Arrived::TooMany {
            let mut response = self.problem_json(language(&parts.headers), kind::TOO_MANY, None);
            retry_after(response.headers_mut(), Duration::from_secs(60));
            return self.upgrade_refused(parts, response);
        }
        let now = site.room.now();
        if !page {
            let kind = match arrived {
                Arrived::Full => kind::FULL,
                Arrived::Closed => kind::CLOSED,
                _ if site.is_closed(now) => kind::CLOSED,
                _ => kind::WAITING,
            };
            let mut response = self.problem_json(language(&parts.headers), kind, Some(&site.status_url));
            let after = match &arrived {
                Arrived::Waiting(waiting) => waiting.poll_after,
                Arrived::Closed => site.room.idle_pause(&arrived, || self.chance()),
                _ => site.room.soon(self.chance()),
            };
            retry_after(response.headers_mut(), after);
            return self.upgrade_refused(parts, response);
        }
        if inside.visitor.id.is_none() && inside.visitor.carrier == Carrier::Cookies {
            inside.grant.visitor = Some(self.visitor_token(site, new_visitor(), None, now));
        }
        let arrived =
            if matches!(arrived, Arrived::Nobody) && site.is_closed(now) { Arrived::Closed } else { arrived };
        let wanted = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let return_to = if crate::domain::target::is_local(wanted) { wanted } else { "/" };
        let response =
            self.waiting_page(site, &inside.visitor, &arrived, &inside.grant, &parts.headers, return_to);
        self.upgrade_refused(parts, response)
    }

    /// After a refused handshake the connection carries nothing more: bytes
    /// sent ahead of the upgrade must never be read as a request.
    fn upgrade_refused(&self, parts: &Parts, response: Response<Reply>) -> Response<Reply> {
        if request::upgrade(parts) == Upgrade::None { response } else { close(response) }
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

    /// Replaces what the visitor claims about itself by what the gate knows.
    fn introduce_in(&self, site: &Site, parts: &mut Parts, address: IpAddr, inside: &Inside, now: Timestamp) {
        let host = parts
            .headers
            .get(HOST)
            .cloned()
            .or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
        let mut own = Vec::with_capacity(OWN_HEADERS);
        let asked = Asked::of(parts, address, false);
        self.introduce(site, &asked, host.as_ref().map(HeaderValue::as_bytes), inside, now, |name, value| {
            own.extend(HeaderValue::from_bytes(value).ok().map(|value| (name.clone(), value)));
        });
        strip::strip_request(parts);
        let headers = &mut parts.headers;
        headers.reserve(OWN_HEADERS);
        for (name, value) in own {
            headers.insert(name, value);
        }
        if let Some(host) = host {
            headers.insert(HOST, host);
        }
    }

    /// What the gate itself tells the app about a request, field by field.
    pub(super) fn introduce(
        &self,
        site: &Site,
        asked: &Asked<'_, impl Fields>,
        host: Option<&[u8]>,
        inside: &Inside,
        now: Timestamp,
        mut put: impl FnMut(&HeaderName, &[u8]),
    ) {
        self.name_visitor(site, inside, now, &mut put);
        // A proxy that is believed has said some of it already.
        let told = |name: &HeaderName| asked.fields.all(name).next().filter(|_| inside.trusted);
        put(&FORWARDED_FOR, asked.address.to_string().as_bytes());
        let own_proto = if self.config.is_tls_for_visitors() { &b"https"[..] } else { b"http" };
        put(&FORWARDED_PROTO, told(&FORWARDED_PROTO).unwrap_or(own_proto));
        match told(&REQUEST_ID) {
            Some(id) => put(&REQUEST_ID, id),
            None => put(&REQUEST_ID, self.request_ids.next().as_bytes()),
        }
        if let Some(host) = host {
            put(&FORWARDED_HOST, told(&FORWARDED_HOST).unwrap_or(host));
        }
    }

    /// Room, visitor, and the gate's word for it.
    pub(super) fn name_visitor(
        &self,
        site: &Site,
        inside: &Inside,
        now: Timestamp,
        put: &mut impl FnMut(&HeaderName, &[u8]),
    ) {
        put(&ROOM, site.room_header.as_bytes());
        let Some(sealed) = inside.pass else { return };
        let visitor = text_id(sealed.visitor);
        put(&VISITOR, visitor.as_bytes());
        put(&ASSERTION, self.assertions.load().make(&site.room.config().name, &visitor, now).as_bytes());
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

    fn give_pass(&self, site: &Site, inside: &mut Inside, sealed: SealedPass, now: Timestamp) {
        if inside.visitor.carrier == Carrier::Session {
            let known = super::session::Known::Inside(sealed.epoch, sealed.pass);
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

/// Whether what the visitor had is on another device now.
fn has_moved(site: &Site, visitor: &Visitor) -> bool {
    let place = visitor.place.map(|p| (p.place.epoch, p.place.number, p.visitor));
    let held = place.or(visitor.pass.map(|p| (p.epoch, p.pass.number, p.visitor)));
    held.is_some_and(|(epoch, number, visitor)| site.room.is_handed_away(epoch, number, visitor))
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
