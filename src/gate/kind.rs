//! Every problem the gate answers with: status, stable code, texts.

use http::StatusCode;

use super::answer::Kind;
use super::forward::Failure;
use super::page::{ErrorKind, Text};

macro_rules! kinds {
    ($($name:ident = $status:ident, $code:literal, $text:ident, $page:expr;)*) => {
        $(pub(super) const $name: Kind =
            Kind {
                status: StatusCode::$status,
                code: $code,
                text: Text::$text,
                detail: None,
                page: $page,
            };)*
    };
}

kinds! {
    BAD_REQUEST = BAD_REQUEST, "bad_request", BadRequest, Some(ErrorKind::BadRequest);
    METHOD = METHOD_NOT_ALLOWED, "method_not_allowed", MethodNotAllowed, None;
    NOT_FOUND = NOT_FOUND, "not_found", NotFound, None;
    BAD_ROOM = BAD_REQUEST, "bad_room", BadRoom, None;
    UNKNOWN_ROOM = NOT_FOUND, "unknown_room", UnknownRoom, None;
    NO_ROOM = NOT_FOUND, "not_found", NotFound, None;
    BAD_RETURN_TO = BAD_REQUEST, "bad_return_to", BadReturnTo, None;
    CROSS_SITE = FORBIDDEN, "cross_site", BadRequest, None;
    WAITING = TOO_MANY_REQUESTS, "waiting", Waiting, None;
    TOO_EARLY = TOO_MANY_REQUESTS, "too_early", TooEarly, None;
    TOO_MANY = TOO_MANY_REQUESTS, "too_many_requests", TooManyRequests, None;
    FULL = SERVICE_UNAVAILABLE, "full", Full, None;
    CLOSED = SERVICE_UNAVAILABLE, "closed", Closed, None;
    STORE_DOWN = SERVICE_UNAVAILABLE, "store_down", StoreDown, Some(ErrorKind::Unreachable);
    TOO_LARGE = PAYLOAD_TOO_LARGE, "payload_too_large", PayloadTooLarge, None;
    SLOW_BODY = REQUEST_TIMEOUT, "request_timeout", BadRequest, None;
    UNREACHABLE = BAD_GATEWAY, "upstream_unreachable", UpstreamUnreachable, Some(ErrorKind::Unreachable);
    TIMEOUT = GATEWAY_TIMEOUT, "upstream_timeout", UpstreamTimeout, Some(ErrorKind::Unreachable);
}

/// A link that takes a place to another device and is none, of another room, or over.
pub(super) const BAD_LINK: Kind = Kind {
    code: "bad_link",
    detail: Some("this is no link of this room, or it is older than five minutes"),
    ..BAD_REQUEST
};
/// A link whose place is not its holder's any more.
pub(super) const PLACE_GONE: Kind = Kind {
    status: StatusCode::CONFLICT,
    code: "place_gone",
    detail: Some("the place was taken already, or has ended"),
    page: None,
    ..BAD_REQUEST
};
/// Somebody without an id would take a place and have nothing to keep it by.
pub(super) const NO_VISITOR: Kind = Kind {
    status: StatusCode::CONFLICT,
    code: "no_visitor",
    detail: Some("ask with the visitor id that an earlier answer gave"),
    page: None,
    ..BAD_REQUEST
};

/// A request that nobody may guess the meaning of, and what was wrong with it.
pub(super) fn malformed(why: &'static str) -> Kind {
    Kind { detail: Some(why), ..BAD_REQUEST }
}

/// The problem that a failed forward is.
pub(super) fn of(failure: Failure) -> Kind {
    match failure {
        Failure::Unreachable => UNREACHABLE,
        Failure::Timeout => TIMEOUT,
        Failure::SlowBody => SLOW_BODY,
        Failure::TooLarge => TOO_LARGE,
        Failure::BrokenBody => malformed("the body is not framed as the head says"),
    }
}
