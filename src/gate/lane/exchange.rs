//! One request at the app, and its answer on the way back.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::super::forward::Failure;
use super::super::strip::is_own_cookie_line;
use super::answer::{Framing, Head, with_head};
use super::body::{Body, Malformed};
use super::head::{self, Own};
use super::{OF_THREAD, Order, Scratch, Stop, Upstream};
use crate::server::{Downstream, Gone};

/// A request at the app, and its answer on the way back.
pub(super) struct Exchange<'a, 'd, I> {
    order: &'a mut Order,
    visitor: &'a mut Downstream<'d, I>,
    upstream: Upstream,
    body: Body,
    /// The connection to the app may carry another request.
    keeps: bool,
}

/// What a head is.
enum Found {
    /// One before the answer proper, of so many bytes.
    Interim(usize),
    /// The answer's, and written to the visitor.
    Told,
    /// The answer's, with words to the gate.
    Words(Box<Words>),
}

/// An answer that says something to the gate.
struct Words {
    status: StatusCode,
    reason: String,
    headers: HeaderMap,
    framing: Framing,
    /// What came of the body with the head.
    early: Vec<u8>,
}

impl<'a, 'd, I: AsyncRead + AsyncWrite + Unpin + Send> Exchange<'a, 'd, I> {
    pub(super) fn new(order: &'a mut Order, visitor: &'a mut Downstream<'d, I>, upstream: Upstream) -> Self {
        Self { order, visitor, upstream, body: Body::Done, keeps: false }
    }

    pub(super) async fn run(mut self) -> Result<(), Stop> {
        let words = {
            let mut patience = pin!(tokio::time::sleep(self.order.gate.forwarder.first_byte_timeout()));
            let mut before = Vec::new();
            poll_fn(|cx| self.poll_head(cx, patience.as_mut(), &mut before)).await?
        };
        if let Some(words) = words {
            self.heed(*words).await?;
        }
        while !self.body.is_done() {
            poll_fn(|cx| self.visitor.poll_sent(cx)).await?;
            poll_fn(|cx| self.poll_body(cx)).await?;
        }
        // A slow visitor does not keep the connection from the next one.
        if self.keeps {
            self.order.gate.forwarder.keep(self.upstream.peer, self.upstream.stream);
        }
        Ok(poll_fn(|cx| self.visitor.poll_sent(cx)).await?)
    }

    /// Until the head of the answer has come, and went to the visitor unless
    /// the gate has to do with it first. `before`: the beginning of a head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        patience: Pin<&mut Sleep>,
        before: &mut Vec<u8>,
    ) -> Poll<Result<Option<Box<Words>>, Stop>> {
        OF_THREAD.with_borrow_mut(|Scratch { input, output }| {
            loop {
                let Poll::Ready(came) = self.poll_read(cx, input) else {
                    if self.visitor.poll_gone(cx).is_ready() {
                        return Poll::Ready(Err(Stop::Cut));
                    }
                    ready!(patience.poll(cx));
                    return Poll::Ready(Err(Stop::Failed(Failure::Timeout)));
                };
                if came == 0 {
                    return Poll::Ready(Err(Stop::Failed(Failure::Unreachable)));
                }
                let mut rest = &input[..came];
                if !before.is_empty() {
                    before.extend_from_slice(rest);
                    rest = before;
                }
                loop {
                    output.clear();
                    match with_head(rest, |head| self.begin(head, &rest[head.bytes..], output)) {
                        Ok(Some(Ok(Found::Interim(bytes)))) => rest = &rest[bytes..],
                        Ok(Some(Ok(Found::Words(words)))) => return Poll::Ready(Ok(Some(words))),
                        Ok(Some(Ok(Found::Told))) => {
                            return Poll::Ready(
                                self.visitor.send(cx, output).map(|()| None).map_err(Stop::from),
                            );
                        }
                        Ok(Some(Err(stop))) => return Poll::Ready(Err(stop)),
                        Ok(None) => break,
                        Err(why) => return Poll::Ready(Err(why.into())),
                    }
                }
                *before = rest.to_vec();
            }
        })
    }

    /// Bytes that came from the app; 0 = it ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut [u8]) -> Poll<usize> {
        let mut buffer = ReadBuf::new(input);
        match ready!(Pin::new(&mut self.upstream.stream).poll_read(cx, &mut buffer)) {
            Ok(()) => Poll::Ready(buffer.filled().len()),
            Err(_) => Poll::Ready(0),
        }
    }

    fn begin(&mut self, head: &Head<'_>, early: &[u8], output: &mut Vec<u8>) -> Result<Found, Stop> {
        if head.is_interim() {
            return Ok(Found::Interim(head.bytes));
        }
        self.keeps = head.keeps;
        let Order { gate, site, now, inside, .. } = &*self.order;
        gate.note_health(site, Some(*now), head.status.is_server_error());
        if head.is_special || inside.pass.is_some_and(|sealed| site.room.has_next(&sealed)) {
            return Ok(Found::Words(Box::new(Words {
                status: head.status,
                reason: head.reason.to_owned(),
                headers: head.to_map(),
                framing: head.framing,
                early: early.to_vec(),
            })));
        }
        let own = self.own(head.status, head.framing);
        let fields = head
            .fields()
            .filter(|(name, value)| !(name.eq_ignore_ascii_case("set-cookie") && is_own_cookie_line(value)));
        head::write_answer(own, head.reason, fields, output);
        self.take_early(own, early, output)?;
        Ok(Found::Told)
    }

    fn own(&self, status: StatusCode, framing: Framing) -> Own {
        let Order { to_head, now, .. } = *self.order;
        Own { status, framing, to_head, is_last: self.visitor.is_last(), now }
    }

    /// The beginning of the body, as far as it came with the head.
    fn take_early(&mut self, own: Own, early: &[u8], output: &mut Vec<u8>) -> Result<(), Stop> {
        self.body = if own.is_bodiless() { Body::Done } else { Body::new(own.framing) };
        self.keeps &= !matches!(self.body, Body::Close);
        self.take(early, output).map_err(|Malformed| Stop::Failed(Failure::Unreachable))
    }

    /// Bytes behind the body's end are nobody's: that connection is not used again.
    fn take(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<(), Malformed> {
        let used = self.body.take(input, output)?;
        self.keeps &= used == input.len();
        Ok(())
    }

    /// Does what the app asked the gate for, then tells the visitor the rest.
    async fn heed(&mut self, words: Words) -> Result<(), Stop> {
        let Words { status, reason, mut headers, framing, early } = words;
        let Order { gate, site, inside, now, .. } = &mut *self.order;
        gate.heed(site, inside, status, &mut headers, *now).await;
        let mut output = Vec::new();
        let own = self.own(status, framing);
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        head::write_answer(own, &reason, fields, &mut output);
        self.take_early(own, &early, &mut output)?;
        Ok(poll_fn(|cx| Poll::Ready(self.visitor.send(cx, &output))).await?)
    }

    /// Hands the visitor one more piece.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stop>> {
        OF_THREAD.with_borrow_mut(|Scratch { input, output }| {
            let Poll::Ready(came) = self.poll_read(cx, input) else {
                return self.visitor.poll_gone(cx).map(|Gone| Err(Stop::Cut));
            };
            output.clear();
            let taken = if came == 0 { self.body.end(output) } else { self.take(&input[..came], output) };
            Poll::Ready(match taken {
                Ok(()) => self.visitor.send(cx, output).map_err(Stop::from),
                Err(Malformed) => Err(Stop::Cut),
            })
        })
    }
}
