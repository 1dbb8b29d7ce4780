//! The gate's own endpoints: status, join, leave.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION, ORIGIN, REFERER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;

use super::answer::{Grant, Kind, LANGUAGE, json, language, own_headers, retry_after};
use super::arrive::{Arrived, How, recall};
use super::body::{Reply, Sent};
use super::decide::Endpoint;
use super::draw::Published;
use super::page::Language;
use super::site::Site;
use super::visitor::{Carrier, Fields, Visitor};
use super::{Gate, kind, new_visitor, request};
use crate::domain::id::RoomName;
use crate::domain::place::Reason;
use crate::domain::target;
use crate::domain::time::Timestamp;

/// A year.
const LANGUAGE_SECONDS: u32 = 365 * 86_400;
/// Bytes of a join's body.
const BODY: usize = 8 * 1024;

/// `POST /queue/join`; other keys are ignored.
#[derive(Default, Deserialize)]
struct JoinBody {
    room: Option<String>,
    return_to: Option<String>,
}

impl Gate {
    pub(super) async fn api(
        self: &Arc<Self>,
        endpoint: Endpoint,
        parts: Parts,
        body: Sent,
        peer: SocketAddr,
        address: IpAddr,
    ) -> Response<Reply> {
        let headers = &parts.headers;
        match endpoint {
            Endpoint::Unknown => return self.problem(headers, false, kind::NOT_FOUND),
            Endpoint::Authz => return self.authz(&parts, peer, address).await,
            Endpoint::Move => return self.move_call(parts, body, address).await,
            _ => {}
        }
        if let Some(method) = endpoint.method().filter(|method| *method != parts.method) {
            return self.wrong_method(headers, method.as_str());
        }
        let outcome = match endpoint {
            Endpoint::Status => self.status_call(&parts, address).await,
            Endpoint::Join => self.join_call(&parts, body, address).await,
            Endpoint::Leave => self.leave_call(&parts, body).await,
            Endpoint::Language => self.language_call(body).await,
            Endpoint::Draw => self.draw_call(&parts),
            _ => Err(kind::NOT_FOUND),
        };
        outcome.unwrap_or_else(|kind| {
            let mut response = self.problem(headers, false, kind);
            if kind.status == StatusCode::SERVICE_UNAVAILABLE {
                retry_after(response.headers_mut(), std::time::Duration::from_secs(2));
            }
            response
        })
    }

    async fn status_call(&self, parts: &Parts, address: IpAddr) -> Result<Response<Reply>, Kind> {
        let site = self.site_of(parts, None)?;
        let now = site.room.now();
        let mut visitor = self.visitor(&site, &parts.headers, now);
        self.arrive_and_tell(&site, &mut visitor, &parts.headers, address, How::Poll, now).await
    }

    async fn join_call(&self, parts: &Parts, body: Sent, address: IpAddr) -> Result<Response<Reply>, Kind> {
        self.same_site(parts)?;
        let join = self.read_join(body).await?;
        let site = self.site_of(parts, join.room.as_deref())?;
        if join.return_to.as_deref().is_some_and(|path| !target::is_local(path)) {
            return Err(kind::BAD_RETURN_TO);
        }
        let now = site.room.now();
        let mut visitor = self.visitor(&site, &parts.headers, now);
        recall(&site, &mut visitor, now);
        let moved = join.return_to.is_some() && visitor.go.as_deref() != join.return_to.as_deref();
        if moved {
            visitor.go = join.return_to.map(Into::into);
        }
        let known = visitor.id.is_some();
        let mut response =
            self.arrive_and_tell(&site, &mut visitor, &parts.headers, address, How::Join, now).await?;
        if moved && known && visitor.carrier == Carrier::Cookies {
            let token = self.visitor_token_of(&site, &visitor);
            site.names.set_visitor(response.headers_mut(), &token);
        }
        Ok(response)
    }

    async fn leave_call(&self, parts: &Parts, body: Sent) -> Result<Response<Reply>, Kind> {
        self.same_site(parts)?;
        let join = self.read_join(body).await?;
        let site = self.site_of(parts, join.room.as_deref())?;
        let now = site.room.now();
        let mut visitor = self.visitor(&site, &parts.headers, now);
        recall(&site, &mut visitor, now);
        let Some(id) = visitor.id else {
            return Ok(self.status(&site, &visitor, &parts.headers, &Arrived::Nobody, &Grant::default()));
        };
        let pass = visitor.pass.map(|sealed| sealed.pass);
        site.room.end(id, pass.as_ref(), Reason::Left).await.map_err(|_| kind::STORE_DOWN)?;
        if visitor.carrier == Carrier::Session {
            site.sessions.put(id, None, site.room.now());
        }
        let left = Arrived::Ended(Reason::Left);
        let grant = self.grant(&site, &visitor, &left, site.room.now());
        Ok(self.status(&site, &visitor, &parts.headers, &left, &grant))
    }

    /// Finds out what the visitor is, and tells it.
    async fn arrive_and_tell(
        &self,
        site: &Site,
        visitor: &mut Visitor,
        headers: &HeaderMap,
        address: IpAddr,
        how: How,
        now: Timestamp,
    ) -> Result<Response<Reply>, Kind> {
        let arrived = self.arrive(site, visitor, address, how, now).await;
        Ok(self.tell(site, visitor, headers, &arrived, how, now))
    }

    /// What a visitor is, as JSON.
    pub(super) fn tell(
        &self,
        site: &Site,
        visitor: &Visitor,
        fields: &impl Fields,
        arrived: &Arrived,
        how: How,
        now: Timestamp,
    ) -> Response<Reply> {
        match *arrived {
            Arrived::TooEarly(left) => {
                let mut response =
                    self.problem_json(language(fields), kind::TOO_EARLY, Some(&site.status_url));
                retry_after(response.headers_mut(), left);
                return response;
            }
            Arrived::TooMany => {
                let mut response = self.problem_json(language(fields), kind::TOO_MANY, None);
                retry_after(response.headers_mut(), std::time::Duration::from_secs(60));
                return response;
            }
            _ => {}
        }
        if let (How::Join, Carrier::Session, Some(id), Some(go)) =
            (how, visitor.carrier, visitor.id, &visitor.go)
            && matches!(arrived, Arrived::Waiting(_) | Arrived::Admitted(_))
        {
            site.sessions.set_go(id, go, now);
        }
        let mut grant = self.grant(site, visitor, arrived, now);
        if visitor.id.is_none() && visitor.carrier != Carrier::Session {
            let id = new_visitor();
            grant.visitor = Some(self.visitor_token(site, id, visitor.go.as_deref(), now));
        }
        self.status(site, visitor, fields, arrived, &grant)
    }

    /// Reads a small JSON object; nothing at all is an empty one. It is as
    /// small as a head and has a head's time.
    async fn read_join(&self, body: Sent) -> Result<JoinBody, Kind> {
        let bytes = self.read_small(body).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(JoinBody::default());
        }
        serde_json::from_slice(&bytes).map_err(|_| kind::BAD_REQUEST)
    }

    /// Reads a body that is as small as a head and has a head's time.
    pub(super) async fn read_small(&self, body: Sent) -> Result<Bytes, Kind> {
        let body = Limited::new(body, BODY).collect();
        let body = tokio::time::timeout(self.config.limits.head_timeout, body).await;
        Ok(body.map_err(|_| kind::SLOW_BODY)?.map_err(|_| kind::BAD_REQUEST)?.to_bytes())
    }

    /// Keeps the language that was chosen and goes back to the page. A form, for
    /// browsers without script; it changes nothing but words, so it may come from
    /// anywhere (pages say `no-referrer`, and such a form has no `Origin`).
    async fn language_call(&self, body: Sent) -> Result<Response<Reply>, Kind> {
        let form = self.read_small(body).await?;
        let language = field(&form, "language").and_then(|tag| Language::of_own_tag(&tag));
        let language = language.ok_or(kind::BAD_REQUEST)?;
        let back = field(&form, "return_to").filter(|path| target::is_local(path));
        let back = back.and_then(|path| HeaderValue::try_from(path).ok());
        let mut response = see_other(back);
        let headers = response.headers_mut();
        let secure = if self.config.is_tls_for_visitors() { "; Secure" } else { "" };
        let tag = language.tag();
        // Not HttpOnly: the app's own script may follow it.
        let cookie = format!("{LANGUAGE}={tag}; Max-Age={LANGUAGE_SECONDS}; Path=/; SameSite=Lax{secure}");
        headers.extend(HeaderValue::try_from(cookie).ok().map(|cookie| (SET_COOKIE, cookie)));
        Ok(response)
    }

    /// The draw of a room that draws: the promise, and once it took place all.
    fn draw_call(&self, parts: &Parts) -> Result<Response<Reply>, Kind> {
        let site = self.site_of(parts, None)?;
        let (config, view) = (site.room.config(), site.room.view());
        let Some(opening) = config.line.opening.filter(|_| config.line.draw) else {
            return Err(kind::NOT_FOUND);
        };
        if view.standing.is_none() {
            return Err(kind::STORE_DOWN);
        }
        let body = match &view.drawn {
            None => {
                let secret = site.room.secret(view.epoch);
                json(&Published::promise(&config.name, view.epoch, opening.at, &secret))
            }
            // A crowd asks for what is large and does not change.
            Some(drawn) => Reply::own(site.drawn_text(view.epoch, || {
                let published = Published::all(&config.name, view.epoch, opening.at, &drawn.draw);
                serde_json::to_vec(&published).expect("plain data serialises").into()
            })),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        own_headers(headers);
        Ok(response)
    }

    fn visitor_token_of(&self, site: &Site, visitor: &Visitor) -> String {
        let id = visitor.id.unwrap_or_else(new_visitor);
        self.visitor_token(site, id, visitor.go.as_deref(), site.room.now())
    }

    pub(super) fn visitor(&self, site: &Site, fields: &impl Fields, now: Timestamp) -> Visitor {
        Visitor::read(fields, &site.room.config(), &site.names, &self.seal.load(), now)
    }

    pub(super) fn site_of(&self, parts: &Parts, named: Option<&str>) -> Result<Arc<Site>, Kind> {
        let named = named.or_else(|| room_in(parts.uri.query()?));
        self.site_called(named, &parts.headers, || request::host(parts))
    }

    /// The room of a call: named in body or query, else by Host and the path
    /// of `Referer`, else the only one.
    pub(super) fn site_called(
        &self,
        named: Option<&str>,
        fields: &impl Fields,
        host: impl FnOnce() -> String,
    ) -> Result<Arc<Site>, Kind> {
        let sites = self.sites.load();
        if let Some(name) = named {
            let unknown = || name.parse::<RoomName>().map_or(kind::BAD_ROOM, |_| kind::UNKNOWN_ROOM);
            return sites.named(name).cloned().ok_or_else(unknown);
        }
        let path = referer_path(fields);
        sites
            .find(&host(), path.as_deref().unwrap_or("/"))
            .or_else(|| sites.only())
            .cloned()
            .ok_or(kind::UNKNOWN_ROOM)
    }

    /// Refuses what another site's page sends with this visitor's cookies.
    pub(super) fn same_site(&self, parts: &Parts) -> Result<(), Kind> {
        let headers = &parts.headers;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(site) = text("sec-fetch-site") {
            return if matches!(site, "same-origin" | "same-site" | "none") {
                Ok(())
            } else {
                Err(kind::CROSS_SITE)
            };
        }
        let Some(origin) = text(ORIGIN.as_str()) else { return Ok(()) };
        let origin_host = origin.split_once("://").map(|(_, host)| host);
        // HTTP/2 names the host in the target alone.
        let own = text(HOST.as_str()).or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
        let same = origin_host.is_some_and(|host| own.is_some_and(|own| own.eq_ignore_ascii_case(host)))
            || self.config.public_url.as_deref() == Some(origin);
        if same { Ok(()) } else { Err(kind::CROSS_SITE) }
    }
}

/// Sends a browser on; to the front page where the way is not known.
pub(super) fn see_other(to: Option<HeaderValue>) -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, to.unwrap_or(HeaderValue::from_static("/")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A field of `application/x-www-form-urlencoded`; what is no text is none.
pub(super) fn field(form: &[u8], name: &str) -> Option<String> {
    let pairs = form.split(|&b| b == b'&').filter_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    });
    let (_, value) = pairs.into_iter().find(|(own, _)| *own == name.as_bytes())?;
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => text.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let byte = digit(*high)? * 16 + digit(*low)?;
                text.push(u8::try_from(byte).ok()?);
                rest = after;
            }
            (b'%', _) => return None,
            (&byte, _) => text.push(byte),
        }
    }
    String::from_utf8(text).ok()
}

/// The room that a query names.
pub(super) fn room_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("room=").or((pair == "room").then_some("")))
}

/// The path of a `Referer`.
fn referer_path(fields: &impl Fields) -> Option<String> {
    let referer = std::str::from_utf8(fields.all(&REFERER).next()?).ok()?.parse::<http::Uri>().ok()?;
    Some(referer.path().to_owned())
}
