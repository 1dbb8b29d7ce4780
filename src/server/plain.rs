//! Requests that everybody reads in one way, and answers written by hand.
//!
//! Whatever is unusual about a request is not judged here: it is hyper's.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, Method, Response, StatusCode};

use crate::domain::time::Timestamp;

/// Fields of a head that is read here.
const FIELDS: usize = 32;

/// Headers that change how a message is read or what follows it.
const NOT_PLAIN: [&str; 6] =
    ["content-length", "transfer-encoding", "upgrade", "expect", "http2-settings", "trailer"];

/// A `GET`, `HEAD` or `POST` over HTTP/1.1 that everybody reads in one way: one
/// host, no body but that of a `POST`, which came with it and has one length,
/// nothing to upgrade, no field with a name that another program may take for
/// a different one, a target that no program would spell otherwise.
#[derive(Debug)]
pub struct PlainRequest<'a> {
    /// `GET`, `HEAD` or `POST`.
    pub method: Method,
    /// Path and query: begins with `/`, and has only what RFC 3986 lets stand there.
    pub target: &'a str,
    /// Of a `POST`, whole; of any other there is none.
    pub body: &'a [u8],
    fields: &'a [httparse::Header<'a>],
}

impl<'a> PlainRequest<'a> {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Every field, in order; names as they came.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The values of a field, in order; `name` in lower case.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }
}

/// Reads `bytes` when they are one whole plain request, of at most `headers`
/// fields, and nothing else.
pub(super) fn with_plain<T>(
    bytes: &[u8],
    headers: usize,
    answer: impl FnOnce(&PlainRequest<'_>) -> Option<T>,
) -> Option<T> {
    let (method, has_body) = match bytes {
        [b'G', b'E', b'T', b' ', b'/', ..] => (Method::GET, false),
        [b'H', b'E', b'A', b'D', b' ', b'/', ..] => (Method::HEAD, false),
        [b'P', b'O', b'S', b'T', b' ', b'/', ..] => (Method::POST, true),
        _ => return None,
    };
    if !has_body && !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return None };
    let body = &bytes[length..];
    if !(has_body || body.is_empty()) || head.version != Some(1) || head.headers.len() > headers {
        return None;
    }
    let plain = PlainRequest { method, target: head.path?, body, fields: head.headers };
    is_plain(&plain).then(|| answer(&plain)).flatten()
}

fn is_plain(head: &PlainRequest<'_>) -> bool {
    let (mut hosts, mut length) = (0, None);
    for field in head.fields {
        if field.name.contains('_') {
            return false;
        }
        if field.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if field.name.eq_ignore_ascii_case("connection") {
            if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                return false;
            }
        } else if head.method == Method::POST && field.name.eq_ignore_ascii_case("content-length") {
            if length.replace(field.value).is_some() {
                return false;
            }
        } else if NOT_PLAIN.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            return false;
        }
    }
    let mut digits = itoa::Buffer::new();
    let is_whole = length.unwrap_or(b"0") == digits.format(head.body.len()).as_bytes();
    hosts == 1 && is_whole && head.target.bytes().all(is_of_target)
}

/// Whether RFC 3986 lets `byte` stand in a path or query.
fn is_of_target(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

/// `Date`, written once a second.
struct Date {
    second: u64,
    text: String,
}

impl Date {
    fn at(&mut self, now: Timestamp) -> &str {
        let second = now.as_millis() / 1_000;
        if second != self.second || self.text.is_empty() {
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            self.second = second;
        }
        &self.text
    }
}

thread_local! {
    static DATE: RefCell<Date> = const { RefCell::new(Date { second: 0, text: String::new() }) };
}

/// Writes a `Date` field.
pub fn write_date(now: Timestamp, out: &mut Vec<u8>) {
    DATE.with_borrow_mut(|date| {
        out.extend_from_slice(b"date: ");
        out.extend_from_slice(date.at(now).as_bytes());
        out.extend_from_slice(b"\r\n");
    });
}

/// Writes the first line of an answer, as HTTP/1.1.
pub fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes a field of a head.
pub fn write_field(name: &HeaderName, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Ends a head and writes the body, but when it is `to_head`.
pub fn write_body(body: &[u8], to_head: bool, now: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    write_date(now, out);
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(body);
    }
}

/// Writes an answer as HTTP/1.1, without its body when it is `to_head`.
pub fn write_answer(answer: &Response<Bytes>, to_head: bool, now: Timestamp, out: &mut Vec<u8>) {
    write_status(answer.status(), out);
    for (name, value) in answer.headers() {
        write_field(name, value.as_bytes(), out);
    }
    write_body(answer.body(), to_head, now, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(text: &str) -> Option<String> {
        with_plain(text.as_bytes(), 3, |head| Some(head.target.to_owned()))
    }

    #[test]
    fn what_everybody_reads_in_one_way_is_plain() {
        let good = "GET /x?y=1 HTTP/1.1\r\nHost: t\r\nConnection: Keep-Alive\r\nCookie: a=b\r\n\r\n";
        assert_eq!(target_of(good).as_deref(), Some("/x?y=1"));
        assert_eq!(target_of(&good.replace("GET", "HEAD")).as_deref(), Some("/x?y=1"));
        assert_eq!(target_of(&good.replace("GET", "POST")).as_deref(), Some("/x?y=1"));
        for (body, length) in [("", 0), ("hello", 5), ("two\r\n\r\nlines", 12)] {
            let post = format!("POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}");
            let read = with_plain(post.as_bytes(), 3, |head| Some(head.body.to_vec()));
            assert_eq!(read.as_deref(), Some(body.as_bytes()));
        }
    }

    #[test]
    fn everything_else_is_hypers_to_judge() {
        for other in [
            "GET /x HTTP/1.1\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.0\r\nHost: t\r\n\r\n",
            "GET /x#y HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x<y HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x^y HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nA: b\r\nC: d\r\nE: f\r\n\r\n",
            "PUT /x HTTP/1.1\r\nHost: t\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: t\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 05\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: +5\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nContent-Length: 5\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
            "POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET http://t/x HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nContent_Length: 0\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, x\r\n\r\n",
            "GET /x\\y HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\n\r\nGET /y HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\n",
            "GET /x HTTP/1.1\r\nHost : t\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\n folded: x\r\n\r\n",
        ] {
            assert_eq!(target_of(other), None, "{other:?}");
        }
    }
}
