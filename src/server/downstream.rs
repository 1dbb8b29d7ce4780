//! The visitor's side of a relay: it takes an answer piece by piece.
//!
//! The bounds of a parked connection hold here too: a visitor who does not
//! read, or reads too slowly, is cut by its [`super::watch::Watch`].

use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::io::{Busy, Watched};
use crate::domain::time::Timestamp;

/// Bytes read ahead while an answer is under way; more stay in the socket.
const AHEAD: usize = 1_024;

/// A visitor whose request is being relayed.
pub struct Downstream<'a, I> {
    io: &'a mut Watched<I>,
    busy: Busy,
}

/// The visitor is gone, or must not be answered any more: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl<'a, I: AsyncRead + AsyncWrite + Unpin> Downstream<'a, I> {
    pub(super) fn new(io: &'a mut Watched<I>) -> Self {
        let busy = io.activity().begin();
        Self { io, busy }
    }

    /// Whether the connection ends with this answer.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.io.activity().is_draining()
    }

    /// The time of day.
    #[must_use]
    pub fn time_of_day(&self) -> Timestamp {
        self.io.activity().time_of_day()
    }

    /// Begins to write bytes; what the visitor does not take yet is kept, so
    /// that no more than one piece is until [`Downstream::poll_sent`] is ready.
    ///
    /// # Errors
    /// When the visitor is gone.
    pub fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Gone> {
        self.io.start_sending(cx, bytes).map_err(|_| Gone)?;
        self.busy.hold(!self.io.unsent.is_empty());
        Ok(())
    }

    /// Until the visitor has taken everything.
    ///
    /// # Errors
    /// When the visitor is gone.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let sent = ready!(self.io.poll_unsent(cx)).map_err(|_| Gone);
        self.busy.hold(false);
        Poll::Ready(sent)
    }

    /// Ready once the visitor has closed the connection. A request sent ahead
    /// is kept for hyper; behind it nothing is noticed, as hyper does not either.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        if self.io.has_put_back() {
            return Poll::Pending;
        }
        let mut ahead = [0; AHEAD];
        let mut buffer = ReadBuf::new(&mut ahead);
        match ready!(self.io.poll_bytes(cx, &mut buffer)) {
            Ok(()) if !buffer.filled().is_empty() => {
                self.io.put_back(buffer.filled());
                Poll::Pending
            }
            _ => Poll::Ready(Gone),
        }
    }
}
