//! The gate's own answers: states as JSON, problems, pages, and the tokens
//! that go with them.

use std::time::Duration;

use http::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LANGUAGE, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Gate;
use super::arrive::Arrived;
use super::body::Reply;
use super::page::{self, ErrorKind, Language, Page, Shown, Text, View};
use super::seal::{SealedPass, SealedPlace};
use super::site::Site;
use super::visitor::{Carrier, Fields, Head, Visitor};
use crate::domain::id::VisitorId;
use crate::domain::place::Reason;
use crate::domain::time::{Timestamp, millis};

/// The cookie of the language that was chosen, which the app may read too.
pub(super) const LANGUAGE: &str = "usher_language";
/// Bytes that hold a state or a problem without growing.
const USUAL_JSON: usize = 512;
/// Headers of a state, cookies included.
const STATUS_HEADERS: usize = 8;

/// Who comes in sooner than this, in seconds, at worst, is told so.
const NEAR: u64 = 60;

/// `GET /queue/status`, every field always there.
#[derive(Serialize)]
struct Status<'a> {
    room: &'a str,
    state: &'static str,
    reason: Option<&'static str>,
    said: Option<&'static page::Said>,
    number: Option<u64>,
    position: Option<u64>,
    waiting: Option<u64>,
    eta_seconds: Option<Eta>,
    poll_after_ms: u64,
    paused: bool,
    sold_out: bool,
    degraded: bool,
    message: Option<&'a str>,
    stock: Option<u64>,
    // Where the order is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<bool>,
    opens_at: Option<u64>,
    opens_in_seconds: Option<u64>,
    pass_expires_at: Option<u64>,
    go: Option<&'a str>,
    // There for clients that carry tokens, and then null where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    visitor_token: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place_token: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass_token: Option<Option<&'a str>>,
}

#[derive(Serialize)]
struct Eta {
    low: u64,
    high: u64,
}

/// RFC 9457.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_url: Option<&'a str>,
}

/// Tokens to hand out with an answer.
#[derive(Default)]
pub(super) struct Grant {
    pub(super) visitor: Option<String>,
    pub(super) place: Option<String>,
    pub(super) pass: Option<(String, u64)>,
    pub(super) drop_pass: bool,
}

impl Grant {
    /// Whether nothing is handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.visitor.is_none() && self.place.is_none() && self.pass.is_none() && !self.drop_pass
    }
}

/// A problem's stable code, status and texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) text: Text,
    /// Said instead of the text, in English: for those who write clients.
    pub(super) detail: Option<&'static str>,
    pub(super) page: Option<ErrorKind>,
}

impl Gate {
    /// The tokens that go with what a visitor is.
    pub(super) fn grant(&self, site: &Site, visitor: &Visitor, arrived: &Arrived, now: Timestamp) -> Grant {
        let mut grant = Grant::default();
        let Some(id) = visitor.id.filter(|_| visitor.carrier != Carrier::Session) else { return grant };
        let name = &site.room.config().name;
        match arrived {
            Arrived::Waiting(waiting) => {
                let sealed = SealedPlace { visitor: id, place: waiting.place, seen_at: now };
                grant.place = Some(self.seal.load().place(name, &sealed));
            }
            // Its own copy given back could replace a newer one that is on its way.
            Arrived::Admitted(own)
                if visitor.carrier == Carrier::Cookies && *own == visitor.pass && site.room.rotates() => {}
            Arrived::Admitted(Some(sealed)) => grant.pass = Some(self.pass_token(site, sealed, now)),
            Arrived::Ended(_) => {
                let shown = visitor.place.filter(|place| !place.is_over());
                grant.place = shown.map(|place| self.seal.load().place(name, &place.ended()));
                grant.drop_pass = visitor.pass.is_some();
            }
            _ => {}
        }
        if visitor.carrier == Carrier::Tokens {
            grant.visitor = Some(self.visitor_token(site, id, visitor.go.as_deref(), now));
        }
        grant
    }

    pub(super) fn pass_token(&self, site: &Site, sealed: &SealedPass, now: Timestamp) -> (String, u64) {
        let left = sealed.pass.expires_at.since(now).min(site.pass_max());
        (self.seal.load().pass(&site.room.config().name, sealed), left.as_secs().max(1))
    }

    pub(super) fn visitor_token(
        &self,
        site: &Site,
        id: VisitorId,
        go: Option<&str>,
        now: Timestamp,
    ) -> String {
        self.seal.load().visitor(&site.room.config().name, id, now, go.unwrap_or_default())
    }

    /// A state as JSON. 200, but for a poll before its time.
    pub(super) fn status(
        &self,
        site: &Site,
        visitor: &Visitor,
        fields: &impl Fields,
        arrived: &Arrived,
        grant: &Grant,
    ) -> Response<Reply> {
        let mut text = Vec::with_capacity(USUAL_JSON);
        self.write_status(site, visitor, fields, arrived, grant, &mut text);
        let mut response = Response::new(Reply::own(text));
        let headers = response.headers_mut();
        headers.reserve(STATUS_HEADERS);
        status_headers(headers);
        set_tokens(headers, site, visitor, grant);
        response
    }

    /// The JSON of a state.
    pub(super) fn write_status(
        &self,
        site: &Site,
        visitor: &Visitor,
        fields: &impl Fields,
        arrived: &Arrived,
        grant: &Grant,
        text: &mut Vec<u8>,
    ) {
        let room = &site.room;
        let now = room.now();
        let view = room.view();
        let config = room.config();
        let waiting = match arrived {
            Arrived::Waiting(waiting) => Some(waiting),
            _ => None,
        };
        let pass = match arrived {
            Arrived::Admitted(pass) => pass.as_ref(),
            _ => None,
        };
        let position = waiting.map(|w| w.position).filter(|&position| position > 0);
        let admitted = matches!(arrived, Arrived::Admitted(_));
        let go = visitor.go.as_deref().or(config.go.as_deref()).unwrap_or("/");
        let by_token = visitor.carrier == Carrier::Tokens;
        let body = Status {
            room: config.name.as_str(),
            state: state(arrived),
            reason: match arrived {
                Arrived::Ended(reason) => Some(reason.name()),
                _ => None,
            },
            said: match seen(arrived, view.is_sold_out()) {
                // The language is not looked for where nothing is said.
                View::None | View::Waiting | View::Near => None,
                view => page::said(language(fields), view),
            },
            number: waiting.map(|w| w.place.number.0).or(pass.map(|p| p.pass.number.0)),
            position,
            waiting: view.waiting().map(|n| n.max(position.unwrap_or(0))),
            eta_seconds: waiting
                .and_then(|w| w.wait)
                .map(|r| Eta { low: r.low_seconds, high: r.high_seconds }),
            poll_after_ms: millis(
                waiting.map_or_else(|| room.idle_pause(arrived, || self.chance()), |w| w.poll_after),
            ),
            paused: view.settings.paused || view.settings.closed,
            sold_out: view.is_sold_out(),
            degraded: view.degraded || arrived.is_stale(),
            message: view.overrides.message.as_deref(),
            stock: room.stock(now),
            drawn: view.settings.draw.then(|| !view.is_undrawn()),
            opens_at: view.opening(now).map(|opening| opening.at.as_millis()),
            opens_in_seconds: view.opening(now).map(|opening| millis(opening.at.since(now)).div_ceil(1_000)),
            pass_expires_at: pass.map(|p| p.pass.expires_at.as_millis()),
            go: admitted.then_some(go),
            visitor_token: by_token.then_some(grant.visitor.as_deref()),
            place_token: by_token.then_some(grant.place.as_deref()),
            pass_token: by_token.then(|| grant.pass.as_ref().map(|(token, _)| token.as_str())),
        };
        write_json(&body, text);
    }

    /// The waiting page in the state of its visitor.
    pub(super) fn waiting_page(
        &self,
        site: &Site,
        visitor: &Visitor,
        arrived: &Arrived,
        grant: &Grant,
        fields: &impl Fields,
        return_to: &str,
    ) -> Response<Reply> {
        let now = site.room.now();
        let view = site.room.view();
        let config = site.room.config();
        let waiting = match arrived {
            Arrived::Waiting(waiting) => Some(waiting),
            _ => None,
        };
        let position = waiting.map(|w| w.position).filter(|&position| position > 0);
        let shown = Shown {
            room: config.name.as_str(),
            view: seen(arrived, view.is_sold_out()),
            position,
            waiting: view.waiting().map(|n| n.max(position.unwrap_or(0))),
            eta_seconds: waiting.and_then(|w| w.wait).map(|r| (r.low_seconds, r.high_seconds)),
            first_position: waiting.map(|w| w.place.first).filter(|&first| first > 0),
            poll_after: waiting
                .map_or_else(|| site.room.idle_pause(arrived, || self.chance()), |w| w.poll_after),
            kept_for: config.line.idle_timeout,
            claim_window: config.line.claim_window,
            paused: view.settings.paused,
            degraded: view.degraded || arrived.is_stale(),
            message: view.overrides.message.as_deref(),
            stock: site.room.stock(now),
            opens_in: view.opening(now).map(|opening| opening.at.since(now)),
            draw_ahead: view.is_undrawn(),
            return_to,
            can_move: config.session_header.is_none(),
        };
        let status = match arrived {
            Arrived::Full => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::from_u16(config.waiting_status).unwrap_or(StatusCode::OK),
        };
        let language = language(fields);
        let page = match &*site.page.load() {
            Some(own) => own.page(&self.pages, language, &shown),
            None => self.pages.waiting(language, &shown),
        };
        let mut response = html(status, page);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            retry_after(response.headers_mut(), shown.poll_after);
        }
        set_tokens(response.headers_mut(), site, visitor, grant);
        response
    }

    /// A problem: a page for browsers, problem+json for everybody else.
    pub(super) fn problem(&self, headers: &HeaderMap, wants_page: bool, kind: Kind) -> Response<Reply> {
        self.problem_in(language(headers), wants_page, kind)
    }

    /// The same for somebody whose language is known.
    pub(super) fn problem_in(&self, language: Language, wants_page: bool, kind: Kind) -> Response<Reply> {
        if let Some(page) = kind.page.filter(|_| wants_page) {
            return html(kind.status, self.pages.error(language, kind.status.as_u16(), page));
        }
        self.problem_json(language, kind, None)
    }

    /// 405, with the methods that there are.
    pub(super) fn wrong_method(&self, headers: &HeaderMap, allowed: &str) -> Response<Reply> {
        let mut response = self.problem(headers, false, super::kind::METHOD);
        response.headers_mut().extend(HeaderValue::from_str(allowed).ok().map(|allowed| (ALLOW, allowed)));
        response
    }

    /// problem+json; `status_url` where waiting would help.
    pub(super) fn problem_json(
        &self,
        language: Language,
        kind: Kind,
        status_url: Option<&str>,
    ) -> Response<Reply> {
        let (language, text) = match kind.detail {
            Some(detail) => (Language::En, detail),
            None => (language, page::text(language, kind.text)),
        };
        let body = Problem {
            r#type: "about:blank",
            title: kind.status.canonical_reason().unwrap_or("Error"),
            status: kind.status.as_u16(),
            code: kind.code,
            detail: text,
            status_url,
        };
        let mut response = Response::new(json(&body));
        *response.status_mut() = kind.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        own_headers(headers);
        response
    }
}

/// Puts tokens where the visitor carries them.
pub(super) fn set_tokens(head: &mut impl Head, site: &Site, visitor: &Visitor, grant: &Grant) {
    match visitor.carrier {
        Carrier::Session => {}
        Carrier::Tokens => {
            if let Some((token, _)) = &grant.pass {
                head.set(super::visitor::PASS_TOKEN, token);
            }
        }
        Carrier::Cookies => {
            if let Some(token) = &grant.visitor {
                site.names.set_visitor(head, token);
            }
            if let Some(token) = &grant.place {
                site.names.set_place(head, token);
            }
            if let Some((token, seconds)) = &grant.pass {
                site.names.set_pass(head, token, *seconds);
            } else if grant.drop_pass {
                site.names.drop_pass(head);
            }
        }
    }
}

/// The contract's word for a state.
fn state(arrived: &Arrived) -> &'static str {
    match arrived {
        Arrived::Nobody | Arrived::TooEarly(_) | Arrived::TooMany => "none",
        Arrived::Waiting(_) | Arrived::Away => "waiting",
        Arrived::Admitted(_) => "admitted",
        Arrived::Ended(Reason::Left | Reason::Moved) => "left",
        Arrived::Ended(_) => "expired",
        Arrived::Full => "full",
        Arrived::Closed => "closed",
    }
}

/// What the page shows for a state; the script decides by the same rules.
fn seen(arrived: &Arrived, sold_out: bool) -> View {
    match arrived {
        Arrived::Waiting(_) | Arrived::Away | Arrived::Closed if sold_out => View::SoldOut,
        Arrived::Waiting(waiting)
            if waiting.position > 0 && waiting.wait.is_some_and(|w| w.high_seconds < NEAR) =>
        {
            View::Near
        }
        Arrived::Waiting(_) | Arrived::Away => View::Waiting,
        Arrived::Ended(reason) => View::of(*reason),
        Arrived::Full => View::Full,
        Arrived::Closed => View::Closed,
        _ => View::None,
    }
}

pub(super) fn json(body: &impl Serialize) -> Reply {
    let mut text = Vec::with_capacity(USUAL_JSON);
    write_json(body, &mut text);
    Reply::own(text)
}

fn write_json(body: &impl Serialize, text: &mut Vec<u8>) {
    serde_json::to_writer(text, body).expect("plain data serialises");
}

pub(super) fn html(status: StatusCode, page: Page) -> Response<Reply> {
    let mut headers = HeaderMap::new();
    page.write_headers(&mut headers);
    let mut response = Response::new(Reply::own(page.body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What every state carries.
pub(super) fn status_headers(headers: &mut HeaderMap) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    own_headers(headers);
}

/// What every answer of the gate's own carries.
pub(super) fn own_headers(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Cookie, Accept-Language, Accept"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Whole seconds, rounded up, at least 1.
pub(super) fn retry_after(headers: &mut HeaderMap, after: Duration) {
    let seconds = millis(after).div_ceil(1_000).max(1);
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
}

pub(super) fn close(mut response: Response<Reply>) -> Response<Reply> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The language of a request: what was chosen, else what the browser asks for.
pub(super) fn language(fields: &impl Fields) -> Language {
    let text = |value| std::str::from_utf8(value).ok();
    let chosen = super::visitor::cookie(fields, LANGUAGE).and_then(text).and_then(Language::of_own_tag);
    chosen.unwrap_or_else(|| page::language(fields.all(&ACCEPT_LANGUAGE).next().and_then(text)))
}
