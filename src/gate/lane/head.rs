//! Heads written anew: a request's to the app, an answer's to the visitor.

use http::StatusCode;

use super::super::strip::{answer_ends_here, ends_here, keep_cookies};
use super::answer::Framing;
use crate::domain::time::Timestamp;
use crate::server::{PlainRequest, write_date};

/// Begins a request: what of a visitor's head the app may see.
pub(super) fn begin_request(plain: &PlainRequest<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(plain.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(plain.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in plain.fields() {
        if !name.eq_ignore_ascii_case("cookie") {
            // `Connection` names nothing here: else the request were not plain.
            put_unless(ends_here, name, value, out);
        }
    }
    put_cookies(plain, out);
}

fn put_cookies(plain: &PlainRequest<'_>, out: &mut Vec<u8>) {
    let lines = || plain.all("cookie");
    let before = out.len();
    out.extend_from_slice(b"cookie: ");
    let start = out.len();
    match lines().next() {
        None => out.truncate(before),
        Some(line) => {
            if !keep_cookies(lines, out) {
                out.extend_from_slice(line);
            }
            if out.len() == start {
                out.truncate(before);
            } else {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

/// A field in lower case, unless its name is one of those that end at the gate.
fn put_unless(ends: impl FnOnce(&str) -> bool, name: &str, value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    if std::str::from_utf8(&out[start..]).map_or(true, ends) {
        out.truncate(start);
        return;
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// What the gate itself says in an answer's head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) status: StatusCode,
    pub(super) framing: Framing,
    pub(super) to_head: bool,
    /// The visitor's connection ends with it.
    pub(super) is_last: bool,
    pub(super) now: Timestamp,
}

/// Writes an answer's head: the app's fields but for those that end here.
pub(super) fn write_answer<'a>(
    own: Own,
    reason: &str,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(own.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut dated = false;
    for (name, value) in fields {
        let ours = |name: &str| {
            dated |= name == "date";
            name == "content-length" || answer_ends_here(name)
        };
        put_unless(ours, name, value, out);
    }
    if !dated {
        write_date(own.now, out);
    }
    match own.framing {
        // What a 304 or an answer to HEAD says of the length is not about this message.
        Framing::Length(length) if own.status != StatusCode::NO_CONTENT => {
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked | Framing::Close if !own.is_bodiless() => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        _ => {}
    }
    if own.is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

impl Own {
    /// Whether no body follows, whatever the fields say.
    pub(super) fn is_bodiless(&self) -> bool {
        self.to_head || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}
