//! A connection between requests: a socket and no buffers.
//!
//! Most connections of a waiting room belong to people who wait. Theirs is
//! parked here between two polls. Bytes are read into the thread's own
//! scratch; a whole plain request that its handler can answer without waiting
//! is answered from there, and one that the handler relays is answered through
//! a [`Downstream`]. Anything else is hyper's, together with the bytes that
//! came, and is parked again when it has been idle for a while.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::downstream::Downstream;
use super::io::Watched;
use super::plain::with_plain;
use super::{AtOnce, Bounds, Handler, Left, Relay as _};
use crate::domain::time::Timestamp;

/// A head that is longer, or comes in pieces, is hyper's to read.
const SCRATCH: usize = 8 * 1_024;

struct Scratch {
    input: Box<[u8]>,
    output: Vec<u8>,
}

thread_local! {
    static OF_THREAD: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; SCRATCH].into(),
        output: Vec::with_capacity(SCRATCH),
    });
}

/// What a parked connection comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked<R> {
    /// Bytes came that are hyper's; they are put back.
    Request,
    /// A request was answered; the answer is still to be sent.
    Answered,
    /// A request was begun that waits for somebody else.
    Relay(R),
    /// The peer is gone.
    Over,
}

/// What a parked connection needs besides its stream.
pub(super) struct Park<'a, H> {
    pub(super) handler: &'a Arc<H>,
    pub(super) peer: SocketAddr,
    pub(super) bounds: &'a Bounds,
    pub(super) left: &'a Left,
}

impl<H: Handler> Park<'_, H> {
    /// Serves plain requests until one comes that is hyper's.
    pub(super) async fn serve<I>(&self, io: &mut Watched<I>) -> Parked<std::convert::Infallible>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send,
    {
        loop {
            match std::future::poll_fn(|cx| self.poll(io, cx)).await {
                // First all that came together is answered, then all of it is sent. Until
                // then it is under way: a drain waits for it.
                Parked::Answered => {
                    let _busy = io.activity().begin();
                    tokio::task::yield_now().await;
                }
                Parked::Relay(relay) => {
                    let mut visitor = Downstream::new(io);
                    if relay.run(&mut visitor).await.is_err() || io.activity().is_draining() {
                        return Parked::Over;
                    }
                }
                Parked::Request => return Parked::Request,
                Parked::Over => return Parked::Over,
            }
        }
    }

    /// Answers one plain request, if the handler does so at once.
    fn poll<I>(&self, io: &mut Watched<I>, cx: &mut Context<'_>) -> Poll<Parked<H::Relay>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        OF_THREAD.with_borrow_mut(|Scratch { input, output }| {
            if io.has_put_back() {
                // What was read ahead is hyper's.
                return Poll::Ready(Parked::Request);
            }
            let draining = io.activity().is_draining();
            if ready!(io.poll_unsent(cx)).is_err() || draining && !io.activity().awaits_head() {
                return Poll::Ready(Parked::Over);
            }
            let mut buffer = ReadBuf::new(input);
            match ready!(io.poll_bytes(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Parked::Over),
            }
            let came = buffer.filled();
            if draining {
                io.put_back(came);
                return Poll::Ready(Parked::Request);
            }
            output.clear();
            match self.at_once(came, io.activity().time_of_day(), output) {
                AtOnce::Answered => {
                    self.left.take();
                    io.send_later(output);
                    Poll::Ready(Parked::Answered)
                }
                AtOnce::Relay(relay) => {
                    self.left.take();
                    Poll::Ready(Parked::Relay(relay))
                }
                AtOnce::Later => {
                    io.put_back(came);
                    Poll::Ready(Parked::Request)
                }
            }
        })
    }

    fn at_once(&self, came: &[u8], now: Timestamp, answer: &mut Vec<u8>) -> AtOnce<H::Relay> {
        // Hyper says so when a request is the connection's last, or too large.
        if self.left.is_last() || came.len() > self.bounds.head_bytes {
            return AtOnce::Later;
        }
        let done = with_plain(came, self.bounds.headers, |plain| {
            Some(self.handler.at_once(self.peer, plain, now, answer))
        });
        done.unwrap_or(AtOnce::Later)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Writes what an answer before this left over.
    pub(super) fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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

    /// Keeps what is to be written; see [`Self::poll_unsent`].
    fn send_later(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.unflushed = true;
    }

    /// Writes what can be written now and keeps the rest.
    pub(super) fn start_sending(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let sent = match hyper::rt::Write::poll_write(Pin::new(self), cx, bytes) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        self.unsent.extend_from_slice(&bytes[sent..]);
        self.unflushed = true;
        Ok(())
    }
}
