//! A connection between requests: a socket and no buffers.
//!
//! Most connections of a waiting room belong to people who wait. Theirs is
//! parked here between two polls. Bytes are read into the thread's own
//! scratch; a whole plain `GET` that its handler can answer without waiting is
//! answered from there. Anything else is hyper's, together with the bytes that
//! came, and is parked again when it has been idle for a while.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::Watched;
use super::{Handler, Left};
use crate::domain::time::Timestamp;

/// A head that is longer, or comes in pieces, is hyper's to read.
const SCRATCH: usize = 8 * 1_024;
/// Fields of a head that is read here.
const FIELDS: usize = 32;

/// Headers that change how a message is read or what follows it.
const NOT_PLAIN: [&str; 6] =
    ["content-length", "transfer-encoding", "upgrade", "expect", "http2-settings", "trailer"];

struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
    date: Date,
}

thread_local! {
    static OF_THREAD: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; SCRATCH].into(),
        output: Vec::with_capacity(SCRATCH),
        date: Date { second: 0, text: String::new() },
    });
}

/// A `GET` over HTTP/1.1 that everybody reads in one way: one host, no body,
/// nothing to upgrade, no field with a name that another program may take for
/// a different one.
#[derive(Debug)]
pub struct PlainGet<'a> {
    /// Path and query: visible ASCII, begins with `/`, without `\`.
    pub target: &'a str,
    fields: &'a [httparse::Header<'a>],
}

impl<'a> PlainGet<'a> {
    /// The values of a field, in order; `name` in lower case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value)
    }
}

/// Reads `bytes` when they are one whole plain `GET` and nothing else.
fn with_plain_get<T>(bytes: &[u8], answer: impl FnOnce(&PlainGet<'_>) -> Option<T>) -> Option<T> {
    if !bytes.starts_with(b"GET /") || !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else { return None };
    if length != bytes.len() || head.version != Some(1) {
        return None;
    }
    let plain = PlainGet { target: head.path?, fields: head.headers };
    is_plain(&plain).then(|| answer(&plain)).flatten()
}

fn is_plain(head: &PlainGet<'_>) -> bool {
    let mut hosts = 0;
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
        } else if NOT_PLAIN.iter().any(|name| field.name.eq_ignore_ascii_case(name)) {
            return false;
        }
    }
    hosts == 1 && head.target.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\')
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

/// Writes an answer as HTTP/1.1.
fn write(answer: &Response<Bytes>, date: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status().as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(answer.status().canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in answer.headers() {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(b"\r\ncontent-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(answer.body().len()).as_bytes());
    out.extend_from_slice(b"\r\ndate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(answer.body());
}

/// What a parked connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked {
    /// Bytes came that are hyper's; they are put back.
    Request,
    /// The peer is gone.
    Over,
}

/// A parked connection, as a future.
pub(super) struct Park<'a, I, H> {
    pub(super) io: &'a mut Watched<I>,
    pub(super) handler: &'a H,
    pub(super) left: &'a Left,
}

impl<I: AsyncRead + AsyncWrite + Unpin, H: Handler> Future for Park<'_, I, H> {
    type Output = Parked;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Parked> {
        let Self { io, handler, left } = &mut *self;
        io.poll_parked(cx, *handler, left)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Answers plain `GET`s as long as `handler` does so at once.
    pub(super) fn poll_parked<H: Handler>(
        &mut self,
        cx: &mut Context<'_>,
        handler: &H,
        left: &Left,
    ) -> Poll<Parked> {
        OF_THREAD.with_borrow_mut(|Scratch { input, output, date }| {
            loop {
                if self.has_put_back() {
                    // What hyper had read ahead is hyper's.
                    return Poll::Ready(Parked::Request);
                }
                if ready!(self.poll_unsent(cx)).is_err() {
                    return Poll::Ready(Parked::Over);
                }
                let mut buffer = ReadBuf::new(input);
                match ready!(self.poll_bytes(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    _ => return Poll::Ready(Parked::Over),
                }
                let came = buffer.filled();
                // Hyper says so when a request is the connection's last.
                let answer = if left.is_last() {
                    None
                } else {
                    with_plain_get(came, |get| handler.answer_at_once(get))
                };
                let Some(answer) = answer else {
                    self.put_back(came);
                    return Poll::Ready(Parked::Request);
                };
                left.take();
                output.clear();
                write(&answer, date.at(self.activity().answered()), output);
                if self.start_sending(cx, output).is_err() {
                    return Poll::Ready(Parked::Over);
                }
            }
        })
    }

    /// Writes what an answer before this left over.
    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let written = hyper::rt::Write::poll_write(Pin::new(self), cx, &unsent);
            self.unsent = unsent;
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => drop(self.unsent.drain(..n)),
            }
        }
        if self.unflushed {
            ready!(hyper::rt::Write::poll_flush(Pin::new(self), cx))?;
            self.unflushed = false;
        }
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Writes what can be written now and keeps the rest.
    fn start_sending(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let sent = match hyper::rt::Write::poll_write(Pin::new(self), cx, bytes) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        self.unflushed = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(text: &str) -> Option<String> {
        with_plain_get(text.as_bytes(), |head| Some(head.target.to_owned()))
    }

    #[test]
    fn what_everybody_reads_in_one_way_is_plain() {
        let good = "GET /x?y=1 HTTP/1.1\r\nHost: t\r\nConnection: Keep-Alive\r\nCookie: a=b\r\n\r\n";
        assert_eq!(target_of(good).as_deref(), Some("/x?y=1"));
    }

    #[test]
    fn everything_else_is_hypers_to_judge() {
        for other in [
            "GET /x HTTP/1.1\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n",
            "GET /x HTTP/1.0\r\nHost: t\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: t\r\n\r\n",
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
