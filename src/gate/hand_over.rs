//! `/queue/move`: a place goes to another device of the same person.
//!
//! Who has a place shows a link, good for five minutes. Its token is in the
//! fragment, which no server, log or other site ever sees; whoever opens it says so
//! by a click, so that nothing which only looks at links takes a place. The token
//! names a place and who has it: once that is not so any more, it is of no use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::answer::{Grant, Kind, html, json, language, own_headers, retry_after, set_tokens};
use super::api::{field, see_other};
use super::arrive::{Arrived, How};
use super::body::{Reply, Sent};
use super::page::View;
use super::page::moving::{Moving, Offer};
use super::seal::{SealedLink, SealedPlace};
use super::site::Site;
use super::visitor::{Carrier, Visitor};
use super::{Gate, accepts_html, kind, new_visitor};
use crate::domain::place::{Reason, Turn};
use crate::queue::{Caller, Presented};

/// How long a link is good.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Bytes of the way that a link carries: a picture of it must stay easy to read.
const WAY: usize = 96;

/// `GET /queue/move`, for programs. All fields are always there.
#[derive(Serialize)]
struct Link<'a> {
    room: &'a str,
    /// `None` where there is no place to take along.
    token: Option<&'a str>,
    url: Option<&'a str>,
    expires_at: Option<u64>,
}

/// `POST /queue/move`; other keys are ignored.
#[derive(Default, Deserialize)]
struct Taking {
    room: Option<String>,
    /// The token, or the whole link.
    token: Option<String>,
}

impl Gate {
    pub(super) async fn move_call(
        self: &Arc<Self>,
        parts: Parts,
        body: Sent,
        address: IpAddr,
    ) -> Response<Reply> {
        let outcome = match parts.method {
            Method::GET => self.show_link(&parts, address).await,
            Method::POST => self.take(&parts, body, address).await,
            _ => return self.wrong_method(&parts.headers, "GET, POST"),
        };
        outcome.unwrap_or_else(|kind| {
            let mut response = self.problem(&parts.headers, accepts_html(&parts.headers), kind);
            if kind.status == StatusCode::SERVICE_UNAVAILABLE {
                retry_after(response.headers_mut(), Duration::from_secs(2));
            }
            response
        })
    }

    /// A link that takes the caller's place along, and where to take one.
    async fn show_link(&self, parts: &Parts, address: IpAddr) -> Result<Response<Reply>, Kind> {
        let site = self.movable(parts, None)?;
        let now = site.room.now();
        let mut visitor = self.visitor(&site, &parts.headers, now);
        let arrived = self.arrive(&site, &mut visitor, address, How::Pass, now).await;
        let link = visitor.id.zip(place_of(&arrived)).map(|(id, place)| {
            let go = visitor.go.clone().filter(|go| go.len() <= WAY);
            let link = SealedLink { visitor: id, place, expires_at: now + LIFE, go };
            self.seal.load().link(&site.room.config().name, &link)
        });
        let url = link.as_ref().and_then(|token| Some(format!("{}#{token}", self.here(&site, parts)?)));
        let mut grant = self.grant(&site, &visitor, &arrived, now);
        if visitor.id.is_none() && visitor.carrier == Carrier::Cookies {
            grant.visitor = Some(self.visitor_token(&site, new_visitor(), None, now));
        }
        let mut response = if accepts_html(&parts.headers) {
            let offer = match (&arrived, url.as_deref()) {
                (Arrived::Ended(reason), _) => Offer::Over(View::of(*reason)),
                (Arrived::Waiting(waiting), Some(url)) => {
                    Offer::Place { url, poll: Some(waiting.poll_after) }
                }
                (_, Some(url)) => Offer::Place { url, poll: None },
                _ => Offer::Nothing,
            };
            self.moving(&site, &visitor, &parts.headers, StatusCode::OK, offer)
        } else {
            let config = site.room.config();
            let mut response = Response::new(json(&Link {
                room: config.name.as_str(),
                token: link.as_deref(),
                url: url.as_deref(),
                expires_at: link.as_ref().map(|_| (now + LIFE).as_millis()),
            }));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            own_headers(response.headers_mut());
            response
        };
        set_tokens(response.headers_mut(), &site, &visitor, &grant);
        Ok(response)
    }

    /// The caller takes the place of a link, and gives up its own.
    async fn take(
        self: &Arc<Self>,
        parts: &Parts,
        body: Sent,
        address: IpAddr,
    ) -> Result<Response<Reply>, Kind> {
        self.same_site(parts)?;
        let asked = taking(&parts.headers, &self.read_small(body).await?)?;
        let site = self.movable(parts, asked.room.as_deref())?;
        let now = site.room.now();
        let mut visitor = self.visitor(&site, &parts.headers, now);
        let token = asked.token.as_deref().unwrap_or_default();
        let token = token.rsplit('#').next().unwrap_or_default().trim();
        let link = self.seal.load().open_link(&site.room.config().name, token.as_bytes(), now);
        let (Some(link), Some(id)) = (link.as_ref(), visitor.id) else {
            let kind = if link.is_none() { kind::BAD_LINK } else { kind::NO_VISITOR };
            return Ok(self.not_taken(&site, &visitor, &parts.headers, kind));
        };
        if link.visitor == id || has(&visitor, &link.place) {
            let arrived = self.arrive(&site, &mut visitor, address, How::Pass, now).await;
            let grant = self.grant(&site, &visitor, &arrived, now);
            return Ok(self.taken(&site, &visitor, &parts.headers, &arrived, &grant));
        }
        let to = self.seal.load().taker(id, token.as_bytes());
        let turn = site.room.hand_over(link.place.epoch, link.visitor, link.place.number, to).await;
        let turn = match turn.map_err(|_| kind::STORE_DOWN)? {
            Some(turn) if !matches!(turn, Turn::Ended { .. }) => turn,
            _ => return Ok(self.not_taken(&site, &visitor, &parts.headers, kind::PLACE_GONE)),
        };
        if visitor.place.is_some() || visitor.pass.is_some() {
            self.end_when_heard(&site, id, visitor.pass.map(|sealed| sealed.pass), Reason::Left);
        }
        let place = SealedPlace { visitor: to, place: link.place, seen_at: now };
        let taker = Visitor {
            carrier: visitor.carrier,
            id: Some(to),
            go: link.go.clone().or(visitor.go),
            place: Some(place),
            pass: None,
        };
        let caller = Caller { visitor: to, place: taker.place, pass: None };
        let arrived = site.room.taken(&caller, turn, now, || self.chance());
        let mut grant = self.grant(&site, &taker, &arrived, now);
        grant.visitor = Some(self.visitor_token(&site, to, taker.go.as_deref(), now));
        grant.drop_pass = visitor.pass.is_some() && grant.pass.is_none();
        Ok(self.taken(&site, &taker, &parts.headers, &arrived, &grant))
    }

    /// A browser goes on to the line or to the app, a program is told how it stands.
    fn taken(
        &self,
        site: &Site,
        visitor: &Visitor,
        headers: &HeaderMap,
        arrived: &Arrived,
        grant: &Grant,
    ) -> Response<Reply> {
        if !accepts_html(headers) {
            return self.status(site, visitor, headers, arrived, grant);
        }
        let mut response = see_other(HeaderValue::try_from(way(site, visitor)).ok());
        set_tokens(response.headers_mut(), site, visitor, grant);
        response
    }

    /// Why there is nothing to take: a page for browsers.
    fn not_taken(&self, site: &Site, visitor: &Visitor, headers: &HeaderMap, kind: Kind) -> Response<Reply> {
        if !accepts_html(headers) {
            return self.problem(headers, false, kind);
        }
        let offer = match kind.code {
            "place_gone" => Offer::Gone,
            "no_visitor" => Offer::NoCookies,
            _ => Offer::Bad,
        };
        self.moving(site, visitor, headers, kind.status, offer)
    }

    fn moving(
        &self,
        site: &Site,
        visitor: &Visitor,
        headers: &HeaderMap,
        status: StatusCode,
        offer: Offer<'_>,
    ) -> Response<Reply> {
        let config = site.room.config();
        let shown = Moving {
            room: config.name.as_str(),
            offer,
            has_own: visitor.place.is_some() || visitor.pass.is_some(),
            way: &way(site, visitor),
            status_url: &site.status_url,
            kept_for: config.line.idle_timeout,
        };
        html(status, self.pages.moving(language(headers), &shown))
    }

    /// The room of a call, if its places can move: not where a header is all that a
    /// visitor has, for that names one visitor wherever it is sent from.
    fn movable(&self, parts: &Parts, named: Option<&str>) -> Result<Arc<Site>, Kind> {
        let site = self.site_of(parts, named)?;
        if site.room.config().session_header.is_some() { Err(kind::NOT_FOUND) } else { Ok(site) }
    }

    /// The address of this page, as the other device can open it.
    fn here(&self, site: &Site, parts: &Parts) -> Option<String> {
        let origin = self.config.public_url.clone().or_else(|| {
            let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
            let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))?;
            let scheme = if self.config.is_tls_for_visitors() { "https" } else { "http" };
            Some(format!("{scheme}://{host}"))
        })?;
        let origin = origin.trim_end_matches('/');
        Some(match self.sites.load().only() {
            Some(_) => format!("{origin}/queue/move"),
            None => format!("{origin}/queue/move?room={}", site.room.config().name),
        })
    }
}

/// What of a visitor's could go to another device.
fn place_of(arrived: &Arrived) -> Option<Presented> {
    match arrived {
        Arrived::Waiting(waiting) => Some(waiting.place),
        Arrived::Admitted(Some(sealed)) => Some(Presented {
            epoch: sealed.epoch,
            number: sealed.pass.number,
            joined_at: sealed.pass.issued_at,
            position: 0,
            first: 0,
        }),
        _ => None,
    }
}

/// Whether this is the visitor's place already: the click came twice.
fn has(visitor: &Visitor, place: &Presented) -> bool {
    let own = visitor.place.map(|p| (p.place.epoch, p.place.number));
    let inside = visitor.pass.map(|p| (p.epoch, p.pass.number));
    [own, inside].contains(&Some((place.epoch, place.number)))
}

/// Where a visitor goes on.
fn way(site: &Site, visitor: &Visitor) -> String {
    let config = site.room.config();
    let way = visitor.go.as_deref().or(config.go.as_deref());
    way.or(config.paths.first().map(String::as_str)).unwrap_or("/").to_owned()
}

/// A form of the page, or JSON.
fn taking(headers: &HeaderMap, body: &[u8]) -> Result<Taking, Kind> {
    let is_form = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if is_form {
        return Ok(Taking { room: field(body, "room"), token: field(body, "token") });
    }
    serde_json::from_slice(body).map_err(|_| kind::BAD_REQUEST)
}
