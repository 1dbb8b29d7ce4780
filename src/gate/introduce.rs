//! What the gate tells the app about a request: who it comes from, and the gate's word for it.

use std::net::IpAddr;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use super::site::Site;
use super::visit::{Asked, Inside};
use super::visitor::{Fields, text_id};
use super::{Gate, strip};
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

impl Gate {
    /// Replaces what the visitor claims about itself by what the gate knows.
    pub(super) fn introduce_in(
        &self,
        site: &Site,
        parts: &mut Parts,
        address: IpAddr,
        inside: &Inside,
        now: Timestamp,
    ) {
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
}
