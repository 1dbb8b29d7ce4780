//! The gate as an external authorizer: says who may pass and forwards nothing.
//!
//! For nginx `auth_request`, Traefik and Caddy forward-auth, Envoy ext_authz.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri};

use super::answer::set_tokens;
use super::arrive::{Arrived, recall};
use super::body::Reply;
use super::decide::{Decision, decide};
use super::visit::{Asked, Inside};
use super::{Gate, kind, request};

const AUTHZ: &str = "/queue/authz";
const FORWARDED_URI: &str = "x-forwarded-uri";
const FORWARDED_HOST: &str = "x-forwarded-host";
const ORIGINAL_URI: &str = "x-original-uri";

impl Gate {
    /// 200 with the gate's headers, or the waiting answer (401 for nginx).
    pub(super) async fn authz(
        self: &Arc<Self>,
        parts: &Parts,
        peer: SocketAddr,
        address: IpAddr,
    ) -> Response<Reply> {
        let Some(asked) = self.asked(parts, peer) else {
            return self.problem(&parts.headers, false, kind::BAD_REQUEST);
        };
        let Some(site) = self.sites.load().find(&request::host(&asked), asked.uri.path()).cloned() else {
            return self.problem(&parts.headers, false, kind::NO_ROOM);
        };
        let now = site.room.now();
        let page = super::wants_page(&asked);
        let mut visitor = self.visitor(&site, &asked.headers, now);
        recall(&site, &mut visitor, now);
        let told = Asked::of(&asked, address, page);
        let mut facts = self.facts(&site, &visitor, &told, now);
        let mut inside = Inside::new(visitor, facts.has_pass, false);
        let mut arrived = Arrived::Nobody;
        if matches!(decide(&facts), Decision::WaitPage | Decision::WaitApi) {
            arrived = self.show_up(&site, &mut inside, &mut facts, address, now).await;
        }
        match decide(&facts) {
            Decision::Malformed => self.problem(&parts.headers, false, kind::BAD_REQUEST),
            Decision::Forward | Decision::Tunnel => {
                self.follow_shadow(&site, &inside.visitor, &told, facts.bypass, now);
                // What the app answers is not known here: most pages are one visitor's.
                self.hand_next(&site, &mut inside, !page);
                let mut response = Response::new(Reply::empty());
                let headers = response.headers_mut();
                self.name_visitor(&site, &inside, now, &mut |name, value| {
                    if let Ok(value) = HeaderValue::from_bytes(value) {
                        headers.insert(name, value);
                    }
                });
                set_tokens(response.headers_mut(), &site, &inside.visitor, &inside.grant);
                response
            }
            Decision::Shut => self.problem(&asked.headers, page, kind::STORE_DOWN),
            Decision::WaitPage | Decision::WaitApi => {
                let mut response = self.turn_away(&site, &told, inside, arrived);
                if parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "nginx=1")) {
                    *response.status_mut() = StatusCode::UNAUTHORIZED;
                }
                response
            }
        }
    }

    /// The request that is asked about, with the host it is for. `None` when
    /// that is not said in exactly one way.
    fn asked(&self, parts: &Parts, peer: SocketAddr) -> Option<Parts> {
        let told = told(parts, self.trusts(peer.ip())).or_else(|| self.root(parts))?;
        if !told.target.starts_with('/') || told.target.contains('#') {
            return None;
        }
        let mut asked = parts.clone();
        if let Some(host) = told.host.or_else(|| authority(parts)) {
            asked.headers.insert(HOST, host);
        }
        asked.uri = Uri::builder().path_and_query(told.target).build().ok()?;
        asked.method = http::Method::GET;
        request::check_target(&asked).ok()?;
        request::check_host(&asked).ok()?;
        Some(asked)
    }

    /// Where nobody says what is asked, the only room there is answers for its root.
    fn root(&self, parts: &Parts) -> Option<Told<'static>> {
        let silent = parts.uri.path() == AUTHZ
            && ![FORWARDED_URI, ORIGINAL_URI].iter().any(|name| parts.headers.contains_key(*name));
        self.sites.load().only().filter(|_| silent).map(|_| Told { target: "/", host: None })
    }
}

/// What is asked about, as told.
struct Told<'a> {
    /// Path and query.
    target: &'a str,
    /// `None` = the host of the call itself.
    host: Option<HeaderValue>,
}

/// The rest of the path, else the one header of a trusted proxy.
///
/// Proxies pass a visitor's headers on beside their own: a header is believed
/// only where nothing else can say what is asked, and never two of them.
fn told(parts: &Parts, trusted: bool) -> Option<Told<'_>> {
    let rest = parts.uri.path().strip_prefix(AUTHZ).unwrap_or_default();
    if !rest.is_empty() {
        return Some(Told { target: rest, host: None });
    }
    if !trusted {
        return None;
    }
    let headers = &parts.headers;
    match (headers.contains_key(FORWARDED_URI), headers.contains_key(ORIGINAL_URI)) {
        (true, false) => {
            let host = match headers.contains_key(FORWARDED_HOST) {
                true => Some(one(headers, FORWARDED_HOST).filter(|host| !host.as_bytes().contains(&b','))?),
                false => None,
            };
            Some(Told { target: one(headers, FORWARDED_URI)?.to_str().ok()?, host: host.cloned() })
        }
        (false, true) => Some(Told { target: one(headers, ORIGINAL_URI)?.to_str().ok()?, host: None }),
        _ => None,
    }
}

/// A header's only line.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The host of a call that has it in its target only, as in HTTP/2.
fn authority(parts: &Parts) -> Option<HeaderValue> {
    let authority = parts.uri.authority().filter(|_| !parts.headers.contains_key(HOST))?;
    HeaderValue::from_str(authority.as_str()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Target and host that a call asks about.
    fn heard(path: &str, headers: &[(&str, &str)], trusted: bool) -> Option<(String, Option<String>)> {
        let mut call = http::Request::builder().uri(path);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        let (parts, ()) = call.body(()).expect("a request").into_parts();
        let told = told(&parts, trusted)?;
        let host = told.host.map(|host| host.to_str().expect("text").to_owned());
        Some((told.target.to_owned(), host))
    }

    #[test]
    fn the_rest_of_the_path_wins_over_any_header() {
        let headers =
            [("x-forwarded-uri", "/healthz"), ("x-original-uri", "/free"), ("x-forwarded-host", "b.test")];
        for trusted in [true, false] {
            assert_eq!(heard("/queue/authz/seats", &headers, trusted), Some(("/seats".into(), None)));
        }
    }

    #[test]
    fn one_header_of_a_trusted_proxy_says_what_is_asked() {
        let (uri, original, host) =
            (("x-forwarded-uri", "/a?b"), ("x-original-uri", "/c"), ("x-forwarded-host", "b.test"));
        let heard = |headers: &[_]| heard("/queue/authz?nginx=1", headers, true);
        assert_eq!(heard(&[uri]), Some(("/a?b".into(), None)));
        assert_eq!(heard(&[uri, host]), Some(("/a?b".into(), Some("b.test".into()))));
        assert_eq!(heard(&[original, host]), Some(("/c".into(), None)), "a visitor's host");
        for unclear in [
            &[][..],
            &[host],
            &[uri, original],
            &[uri, uri],
            &[original, original],
            &[uri, host, host],
            &[uri, ("x-forwarded-host", "a.test, b.test")],
        ] {
            assert_eq!(heard(unclear), None, "{unclear:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(heard("/queue/authz", &[("x-forwarded-uri", "/a")], false), None);
        assert_eq!(heard("/queue/authz", &[], false), None);
    }
}
