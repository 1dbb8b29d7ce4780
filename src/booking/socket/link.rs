//! A WebSocket without buffers of its own.
//!
//! What comes in goes through tungstenite's state machine, which knows the rules of
//! RFC 6455 and keeps a few bytes; what goes out are whole frames that many sockets
//! share, written between the machine's own pongs. (axum's and tokio-tungstenite's
//! sockets copy each message into a buffer of their own and keep its size.)

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::error::CapacityError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::{BAD_FRAME, Close, NO_TEXT, TOO_BIG};

/// Bytes taken from the network at once.
const SCRATCH: usize = 2_048;
/// Bytes of pongs that wait for a peer that takes nothing.
const MOST_REPLIES: usize = 1_024;

/// What became of a socket.
pub(in crate::booking) enum Step {
    /// These messages came, at least one.
    Came(Vec<Message>),
    /// All that was to be sent is on its way.
    Drained,
    /// The peer is gone, or has said goodbye.
    Over,
    /// The peer broke the rules.
    Broken(Close),
}

/// One socket after its handshake.
pub(in crate::booking) struct Link<I> {
    io: I,
    context: WebSocketContext,
    /// Whole frames, but for the first, of which a part may be gone.
    out: VecDeque<Bytes>,
    unflushed: bool,
    /// How it ended, once the messages before that were told.
    ended: Option<Step>,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Link<I> {
    /// Of messages of at most so many bytes.
    pub(in crate::booking) fn new(io: I, most_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(0)
            .write_buffer_size(0)
            .max_write_buffer_size(MOST_REPLIES)
            .max_message_size(Some(most_bytes))
            .max_frame_size(Some(most_bytes));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Self { io, context, out: VecDeque::new(), unflushed: false, ended: None }
    }

    /// Whether nothing waits to be sent.
    pub(in crate::booking) fn is_idle(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    /// Sends a whole frame, in turn.
    pub(in crate::booking) fn send(&mut self, frame: Bytes) {
        self.out.push_back(frame);
    }

    /// Moves bytes both ways until something is to be told. May be dropped and
    /// called again.
    pub(in crate::booking) async fn step(&mut self) -> Step {
        std::future::poll_fn(|cx| self.poll_step(cx)).await
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if !self.is_idle() {
            match self.poll_send(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Step::Drained),
                Poll::Ready(Err(_)) => return Poll::Ready(Step::Over),
                Poll::Pending => {}
            }
        }
        if let Some(ended) = self.ended.take() {
            return Poll::Ready(ended);
        }
        loop {
            let mut scratch = [0; SCRATCH];
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Step::Over),
            }
            let mut came = Vec::new();
            let ended = self.take(buffer.filled(), &mut came);
            if !came.is_empty() {
                self.ended = ended;
                return Poll::Ready(Step::Came(came));
            }
            if let Some(ended) = ended {
                return Poll::Ready(ended);
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(first) = self.out.front_mut() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, first))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            first.advance(written);
            if first.is_empty() {
                self.out.pop_front();
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        // The room of a long queue is not kept.
        self.out = VecDeque::new();
        // A pong that found no room until now.
        let mut pipe = Pipe { bytes: &[], replies: Vec::new(), is_full: false };
        let _ = self.context.flush(&mut pipe);
        self.answer(pipe.replies);
        Poll::Ready(Ok(()))
    }

    fn answer(&mut self, replies: Vec<u8>) {
        if !replies.is_empty() {
            self.out.push_back(replies.into());
        }
    }

    /// Reads bytes that came; what ended the socket, if anything did.
    fn take(&mut self, bytes: &[u8], came: &mut Vec<Message>) -> Option<Step> {
        let mut pipe = Pipe { bytes, replies: Vec::new(), is_full: !self.out.is_empty() };
        let ended = loop {
            match self.context.read(&mut pipe) {
                Ok(message) => came.push(message),
                Err(Error::Io(why)) if why.kind() == io::ErrorKind::WouldBlock => break None,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break Some(Step::Over),
                Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    break Some(Step::Broken(TOO_BIG));
                }
                Err(Error::Utf8(_)) => break Some(Step::Broken(NO_TEXT)),
                Err(_) => break Some(Step::Broken(BAD_FRAME)),
            }
        };
        self.answer(pipe.replies);
        ended
    }

    /// Sends what waits and ends our side.
    pub(in crate::booking) async fn finish(&mut self) {
        if std::future::poll_fn(|cx| self.poll_send(cx)).await.is_ok() {
            // It ends all the same.
            let _ = std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await;
        }
    }
}

/// What the state machine takes for its stream: the bytes at hand, and room for
/// what it answers while nothing else waits to be sent.
struct Pipe<'a> {
    bytes: &'a [u8],
    replies: Vec<u8>,
    is_full: bool,
}

impl Read for Pipe<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.read(room)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.replies.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
