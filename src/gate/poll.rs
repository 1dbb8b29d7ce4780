//! The hot path: a poll by somebody whom the view knows.
//!
//! No waiting, no store, no hyper. Whatever is not as expected is left to the
//! ordinary way, which says what is wrong with it.

use bytes::Bytes;
use http::Response;
use http::header::HOST;

use super::api::room_in;
use super::arrive::How;
use super::body::Reply;
use super::visitor::{Carrier, Fields as _};
use super::{Gate, request};
use crate::server::PlainRequest;

impl Gate {
    /// Answers `GET /queue/status` from the view.
    pub(super) fn poll_at_once(&self, get: &PlainRequest<'_>) -> Option<Response<Bytes>> {
        if get.is_head {
            return None;
        }
        let query = match get.target.strip_prefix("/queue/status")? {
            "" => "",
            rest => rest.strip_prefix('?')?,
        };
        let host = std::str::from_utf8(get.single(&HOST)?).ok().filter(|host| request::is_host(host))?;
        let site = self.site_called(room_in(query), get, || request::host_name(host)).ok()?;
        let now = site.room.now();
        let visitor = self.visitor(&site, get, now);
        // A poll is counted once: one that must go to the store is not counted here.
        let store_first = site.room.is_coming_back();
        if store_first || site.is_open_to_all() || visitor.carrier == Carrier::Session {
            return None;
        }
        let arrived = self.in_view(&site, &visitor, How::Poll, now)?;
        let (head, body) = self.tell(&site, &visitor, get, &arrived, How::Poll, now).into_parts();
        let Reply::Own(body) = body else { return None };
        Some(Response::from_parts(head, body.unwrap_or_default()))
    }
}
