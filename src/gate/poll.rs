//! The hot path: a poll by somebody whom the view knows.
//!
//! No waiting, no store, no hyper. Whatever is not as expected is left to the
//! ordinary way, which says what is wrong with it.

use std::cell::RefCell;
use std::sync::LazyLock;

use http::header::HOST;
use http::{HeaderMap, Method, StatusCode};

use super::answer::{set_tokens, status_headers};
use super::api::room_in;
use super::arrive::{Arrived, How};
use super::body::Reply;
use super::visitor::{Carrier, Fields as _};
use super::{Gate, request};
use crate::domain::time::Timestamp;
use crate::server::{PlainRequest, write_answer, write_body, write_field, write_status};

/// The head of every state, up to the tokens.
static HEAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (mut text, mut headers) = (Vec::new(), HeaderMap::new());
    status_headers(&mut headers);
    write_status(StatusCode::OK, &mut text);
    headers.iter().for_each(|(name, value)| write_field(name, value.as_bytes(), &mut text));
    text
});

thread_local! {
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Gate {
    /// Answers `GET /queue/status` from the view; `None`: nothing was written.
    pub(super) fn poll_at_once(
        &self,
        get: &PlainRequest<'_>,
        time_of_day: Timestamp,
        answer: &mut Vec<u8>,
    ) -> Option<()> {
        if get.method != Method::GET {
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
        // Rare: no state, or a name to be given with it.
        if matches!(arrived, Arrived::TooEarly(_)) || visitor.id.is_none() {
            let told = Reply::whole(self.tell(&site, &visitor, get, &arrived, How::Poll, now))?;
            write_answer(&told, false, time_of_day, answer);
            return Some(());
        }
        let grant = self.grant(&site, &visitor, &arrived, now);
        answer.extend_from_slice(&HEAD);
        set_tokens(answer, &site, &visitor, &grant);
        BODY.with_borrow_mut(|body| {
            body.clear();
            self.write_status(&site, &visitor, get, &arrived, &grant, body);
            write_body(body, false, time_of_day, answer);
        });
        Some(())
    }
}
