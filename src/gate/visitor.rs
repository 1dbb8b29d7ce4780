//! Who is asking: credentials read from a request, and given back in an answer.
//!
//! Broken, foreign, repeated or swapped tokens are as good as none: their
//! bearer is a newcomer, never an error.

use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::seal::{Seal, SealedPass, SealedPlace};
use crate::config;
use crate::domain::id::{RoomName, VisitorId};
use crate::domain::time::Timestamp;
use crate::server::{PlainRequest, write_field};

pub(super) const CLIENT: HeaderName = HeaderName::from_static("usher-client");
pub(super) const VISITOR_TOKEN: HeaderName = HeaderName::from_static("usher-visitor-token");
pub(super) const PLACE_TOKEN: HeaderName = HeaderName::from_static("usher-place-token");
pub(super) const PASS_TOKEN: HeaderName = HeaderName::from_static("usher-pass-token");

static COOKIES: HeaderName = COOKIE;

/// How the visitor carries its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Cookies,
    /// `Usher-Client: token`: in headers and JSON.
    Tokens,
    /// A session header alone is the identity; no tokens at all.
    Session,
}

/// A visitor as it presents itself.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) carrier: Carrier,
    pub(super) id: Option<VisitorId>,
    /// Where it wants to go, as it said when it joined.
    pub(super) go: Option<Box<str>>,
    pub(super) place: Option<SealedPlace>,
    pub(super) pass: Option<SealedPass>,
}

/// The names of a room's cookies.
#[derive(Clone, Debug)]
pub(super) struct CookieNames {
    visitor: String,
    place: String,
    pass: String,
    attributes: &'static str,
}

/// Longer than any sale: the id is no account, just a name for a place.
const VISITOR_DAYS: u64 = 30;

impl CookieNames {
    pub(super) fn new(room: &RoomName, tls: bool) -> Self {
        let name = |kind: &str| {
            let prefix = if tls { "__Host-" } else { "" };
            match room.as_str() {
                "main" => format!("{prefix}usher_{kind}"),
                other => format!("{prefix}usher_{kind}_{other}"),
            }
        };
        let attributes =
            if tls { "Path=/; Secure; HttpOnly; SameSite=Lax" } else { "Path=/; HttpOnly; SameSite=Lax" };
        Self { visitor: name("visitor"), place: name("place"), pass: name("pass"), attributes }
    }

    fn set(&self, head: &mut impl Head, name: &str, token: &str, max_age: u64) {
        head.add_cookie(format_args!("{name}={token}; Max-Age={max_age}; {}", self.attributes));
    }

    pub(super) fn set_visitor(&self, head: &mut impl Head, token: &str) {
        self.set(head, &self.visitor, token, VISITOR_DAYS * 86_400);
    }

    pub(super) fn set_place(&self, head: &mut impl Head, token: &str) {
        self.set(head, &self.place, token, VISITOR_DAYS * 86_400);
    }

    pub(super) fn set_pass(&self, head: &mut impl Head, token: &str, seconds: u64) {
        self.set(head, &self.pass, token, seconds);
    }

    pub(super) fn drop_pass(&self, head: &mut impl Head) {
        self.set(head, &self.pass, "", 0);
    }
}

/// The fields of an answer, where tokens are given back.
pub(super) trait Head {
    /// Sets the one field of this name.
    fn set(&mut self, name: HeaderName, value: &str);

    /// Adds a `Set-Cookie`.
    fn add_cookie(&mut self, cookie: fmt::Arguments<'_>);
}

impl Head for HeaderMap {
    fn set(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.insert(name, value);
        }
    }

    fn add_cookie(&mut self, cookie: fmt::Arguments<'_>) {
        if let Ok(value) = HeaderValue::try_from(cookie.to_string()) {
            self.append(SET_COOKIE, value);
        }
    }
}

/// A head as it is sent; it has no other field of such a name.
impl Head for Vec<u8> {
    fn set(&mut self, name: HeaderName, value: &str) {
        write_field(&name, value.as_bytes(), self);
    }

    fn add_cookie(&mut self, cookie: fmt::Arguments<'_>) {
        write!(self, "{SET_COOKIE}: {cookie}\r\n").expect("memory takes all");
    }
}

/// Whether a cookie of this name is the gate's own, in any room and prefix.
pub(super) fn is_gate_cookie(name: &[u8]) -> bool {
    let name = ["__Host-", "__Secure-"]
        .iter()
        .find_map(|prefix| name.get(..prefix.len()).filter(|p| p.eq_ignore_ascii_case(prefix.as_bytes())))
        .map_or(name, |prefix| &name[prefix.len()..]);
    [&b"usher_visitor"[..], b"usher_place", b"usher_pass"].iter().any(|own| {
        name.get(..own.len()).is_some_and(|head| head.eq_ignore_ascii_case(own))
            && matches!(name.get(own.len()), None | Some(b'_'))
    })
}

/// Name and value of every cookie of a request, whitespace around them dropped.
fn cookies(fields: &impl Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    fields.all(&COOKIES).flat_map(|line| line.split(|&b| b == b';')).filter_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

/// The value of the first cookie of this name.
pub(super) fn cookie<'a>(fields: &'a impl Fields, name: &str) -> Option<&'a [u8]> {
    cookies(fields).find(|(own, _)| *own == name.as_bytes()).map(|(_, value)| value)
}

/// A request's header fields, however it was read.
pub(super) trait Fields {
    /// The values of a field, in order.
    fn all<'a>(&'a self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]>;

    /// The value of a field that occurs exactly once.
    fn single<'a>(&'a self, name: &HeaderName) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }
}

impl Fields for HeaderMap {
    fn all<'a>(&'a self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }
}

impl Fields for PlainRequest<'_> {
    fn all<'a>(&'a self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        PlainRequest::all(self, name.as_str())
    }
}

impl Visitor {
    /// Reads the visitor of a request to `room`.
    pub(super) fn read(
        fields: &impl Fields,
        room: &config::Room,
        names: &CookieNames,
        seal: &Seal,
        now: Timestamp,
    ) -> Self {
        if let Some(header) = &room.session_header {
            let mut values = fields.all(header);
            if let Some(value) = values.next() {
                let id = session_id(&room.name, value).filter(|_| values.next().is_none());
                return Self { carrier: Carrier::Session, id, go: None, place: None, pass: None };
            }
        }
        let by_token = fields.single(&CLIENT).is_some_and(|v| v.eq_ignore_ascii_case(b"token"))
            || [&VISITOR_TOKEN, &PLACE_TOKEN, &PASS_TOKEN]
                .iter()
                .any(|name| fields.all(name).next().is_some());
        if by_token {
            let tokens = [&VISITOR_TOKEN, &PLACE_TOKEN, &PASS_TOKEN].map(|name| fields.single(name));
            return Self::open(Carrier::Tokens, tokens, &room.name, seal, now);
        }
        let tokens = read_cookies(fields, [&names.visitor, &names.place, &names.pass]);
        Self::open(Carrier::Cookies, tokens, &room.name, seal, now)
    }

    /// Opens what is there; what does not belong to one visitor is dropped.
    pub(super) fn open(
        carrier: Carrier,
        [visitor, place, pass]: [Option<&[u8]>; 3],
        room: &RoomName,
        seal: &Seal,
        now: Timestamp,
    ) -> Self {
        let (visitor, go) = visitor.and_then(|token| seal.open_visitor(room, token)).unzip();
        let pass = pass.and_then(|token| seal.open_pass(room, token, now));
        let place = place.and_then(|token| seal.open_place(room, token));
        let id = visitor.or(pass.map(|p| p.visitor)).or(place.map(|p| p.visitor));
        Self {
            carrier,
            id,
            go: go.flatten(),
            place: place.filter(|place| Some(place.visitor) == id),
            pass: pass.filter(|pass| Some(pass.visitor) == id),
        }
    }
}

/// The tokens in cookies of these names; a name that occurs twice counts as absent.
fn read_cookies<'a>(fields: &'a impl Fields, names: [&String; 3]) -> [Option<&'a [u8]>; 3] {
    let mut found = [None; 3];
    let mut twice = [false; 3];
    for (name, value) in cookies(fields) {
        if let Some(i) = names.iter().position(|own| own.as_bytes() == name) {
            twice[i] |= found[i].is_some();
            found[i] = Some(value);
        }
    }
    std::array::from_fn(|i| found[i].filter(|_| !twice[i]))
}

/// The identity of a session header: 8 to 128 visible characters.
fn session_id(room: &RoomName, value: &[u8]) -> Option<VisitorId> {
    if !(8..=128).contains(&value.len()) || !value.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let mut digest = Sha256::new();
    digest.update(b"usher session\0");
    digest.update(room.as_str().as_bytes());
    digest.update(b"\0");
    digest.update(value);
    Some(VisitorId::from_bytes(digest.finalize()[..16].try_into().ok()?))
}

/// A fresh random id, as text for headers of our own.
pub(super) fn text_id(id: VisitorId) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_cookie_that_occurs_twice_counts_as_absent() {
        let names = CookieNames::new(&"main".parse().expect("a name"), false);
        let all = [&names.visitor, &names.place, &names.pass];
        let one = headers(&[("cookie", "a=b; usher_visitor=x;usher_pass=y")]);
        assert_eq!(read_cookies(&one, all), [Some(&b"x"[..]), None, Some(&b"y"[..])]);
        let two = headers(&[("cookie", "usher_visitor=x; usher_pass=y"), ("cookie", "usher_visitor=z")]);
        assert_eq!(read_cookies(&two, all), [None, None, Some(&b"y"[..])]);
    }

    #[test]
    fn the_prefixed_name_is_another_cookie() {
        let names = CookieNames::new(&"vip".parse().expect("a name"), true);
        let all = [&names.visitor, &names.place, &names.pass];
        let plain = headers(&[("cookie", "usher_visitor_vip=x")]);
        assert_eq!(read_cookies(&plain, all), [None; 3]);
        let prefixed = headers(&[("cookie", "__Host-usher_visitor_vip=x")]);
        assert_eq!(read_cookies(&prefixed, all)[0], Some(&b"x"[..]));
    }

    #[test]
    fn the_gates_cookies_are_known_in_every_form() {
        for own in ["usher_pass", "usher_place_vip", "__Host-usher_visitor", "__host-USHER_pass"] {
            assert!(is_gate_cookie(own.as_bytes()), "{own}");
        }
        for other in ["usher", "usher_passport", "xusher_pass", "session"] {
            assert!(!is_gate_cookie(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn session_ids_are_eight_to_128_visible_characters() {
        let room: RoomName = "main".parse().expect("a name");
        assert!(session_id(&room, b"12345678").is_some());
        assert_ne!(session_id(&room, b"12345678"), session_id(&room, b"12345679"));
        assert!(session_id(&room, b"1234567").is_none());
        assert!(session_id(&room, b"1234 5678").is_none());
        assert!(session_id(&room, &[b'a'; 129]).is_none());
    }
}
