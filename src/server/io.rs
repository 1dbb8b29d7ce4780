//! A connection's bytes, watched: when it last moved, and how it is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Bounds;
use crate::clock::Clock;
use crate::domain::time::{Timestamp, millis};

/// Unread bytes thrown away after the last answer, so that the peer can read
/// it: closing a socket with unread input resets it.
const LINGER_BYTES: usize = 64 * 1024;
/// Time for that.
const LINGER: Duration = Duration::from_millis(500);

/// Bytes a second that a peer must take while an answer waits for it.
const LEAST_RATE: u64 = 1_024;

/// Time for the first head of a connection that was just accepted when the
/// drain began: the request is on its way, and nobody would ask it again.
const NEWCOMER: Duration = Duration::from_secs(2);

/// An idle HTTP/1 connection gives its buffers back after this.
pub(super) const PARK_AFTER: Duration = Duration::from_secs(2);

/// What a connection is waiting for, and since when.
pub(super) struct Activity {
    clock: Arc<dyn Clock>,
    /// Bytes between requests need not be a head: HTTP/2 has frames of its own.
    framed: bool,
    /// The peer was told to go, and has one more idle timeout to do so.
    retired: AtomicBool,
    /// There are buffers to give back while nothing goes on.
    parks: AtomicBool,
    /// Hyper is told to end; the stream is not.
    parking: AtomicBool,
    /// It ends with the answer under way.
    draining: AtomicBool,
    /// Requests being answered.
    busy: AtomicU32,
    /// Since when (ms, never 0) a head is awaited in full; 0 = none begun.
    head_since: AtomicU64,
    /// Since when nothing is going on.
    idle_since: AtomicU64,
    /// Since when the peer takes no more of its answer; 0 = it does.
    stalled_since: AtomicU64,
    /// Answers with a piece handed over that nobody asks on for: HTTP/2 holds
    /// it for want of window, and writes nothing meanwhile.
    held: AtomicU32,
    /// Bytes written.
    written: AtomicU64,
    /// When (ms) the peer last kept pace, and what was written by then.
    paced_at: AtomicU64,
    paced_bytes: AtomicU64,
}

/// What becomes of a connection now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing; look again after this.
    Wait(Duration),
    /// Idle too long: it takes no new requests, ends what it still writes.
    Retire(Duration),
    /// Idle for a while: it needs no buffers until its next request.
    Park,
    /// A deadline has passed.
    Cut,
}

/// A request being answered; dropped at its end.
pub(super) struct Busy {
    activity: Arc<Activity>,
    holds: bool,
}

impl Activity {
    /// An HTTP/1 connection just accepted: its first head is awaited.
    pub(super) fn http1(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, false)
    }

    /// An HTTP/2 connection just accepted: its first bytes are awaited.
    pub(super) fn http2(clock: Arc<dyn Clock>) -> Self {
        Self::new(clock, true)
    }

    fn new(clock: Arc<dyn Clock>, framed: bool) -> Self {
        let now = millis(clock.monotonic()).max(1);
        Self {
            clock,
            framed,
            retired: AtomicBool::new(false),
            parks: AtomicBool::new(false),
            parking: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            busy: AtomicU32::new(0),
            head_since: AtomicU64::new(now),
            idle_since: AtomicU64::new(now),
            stalled_since: AtomicU64::new(0),
            held: AtomicU32::new(0),
            written: AtomicU64::new(0),
            paced_at: AtomicU64::new(now),
            paced_bytes: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        millis(self.clock.monotonic()).max(1)
    }

    /// A head is complete and its request is being answered.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        Busy { activity: Arc::clone(self), holds: false }
    }

    /// HTTP/2 bytes while nothing is answered may be a ping or a window: they
    /// begin no head, nor do they prolong the idle time.
    fn bytes_came(&self) {
        if self.framed {
            self.head_since.store(0, Ordering::Relaxed);
        } else if self.busy.load(Ordering::Relaxed) == 0 && !self.awaits_head() {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote_bytes(&self, written: &Poll<io::Result<usize>>) {
        self.wrote(written.is_pending());
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }

    fn wrote(&self, pending: bool) {
        if !pending {
            if self.stalled_since.load(Ordering::Relaxed) != 0 {
                self.stalled_since.store(0, Ordering::Relaxed);
            }
        } else if self.stalled_since.load(Ordering::Relaxed) == 0 {
            self.stalled_since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// The time of day.
    pub(super) fn time_of_day(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the connection is to be parked when it has been idle for a while.
    pub(super) fn set_parks(&self, parks: bool) {
        self.parks.store(parks, Ordering::Relaxed);
    }

    /// Whether hyper's end is not to be the stream's.
    pub(super) fn set_parking(&self, parking: bool) {
        self.parking.store(parking, Ordering::Relaxed);
    }

    /// Whether the connection ends with the answer under way.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Lets what is under way be the last: an answer, or a newcomer's first
    /// request. `false` when there is neither.
    pub(super) fn drain(&self) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        self.is_stalled_or_busy() || self.awaits_head()
    }

    /// Whether a head has begun, or is the first and has yet to.
    pub(super) fn awaits_head(&self) -> bool {
        self.head_since.load(Ordering::Relaxed) != 0
    }

    fn may_park(&self) -> bool {
        self.parks.load(Ordering::Relaxed)
            && !self.is_stalled_or_busy()
            && !self.awaits_head()
            && self.now().saturating_sub(self.idle_since.load(Ordering::Relaxed)) >= millis(PARK_AFTER)
    }

    /// What to do at this moment.
    pub(super) fn verdict(&self, bounds: &Bounds) -> Verdict {
        if let Some(left) = self.time_left(bounds) {
            if self.may_park() {
                return Verdict::Park;
            }
            return Verdict::Wait(if self.parks.load(Ordering::Relaxed) {
                left.min(PARK_AFTER)
            } else {
                left
            });
        }
        let idle = !self.is_stalled_or_busy() && !self.awaits_head();
        if !(self.framed && idle) || self.retired.swap(true, Ordering::Relaxed) {
            return Verdict::Cut;
        }
        self.idle_since.store(self.now(), Ordering::Relaxed);
        Verdict::Retire(self.look_again(millis(bounds.idle_timeout), bounds))
    }

    fn is_stalled_or_busy(&self) -> bool {
        self.stalled_since.load(Ordering::Relaxed) != 0 || self.busy.load(Ordering::Relaxed) > 0
    }

    /// Time until the next deadline; `None` when one has passed.
    fn time_left(&self, bounds: &Bounds) -> Option<Duration> {
        let now = self.now();
        let left = |since: u64, limit: Duration| {
            millis(limit).checked_sub(now.saturating_sub(since)).filter(|&left| left > 0)
        };
        let stalled = self.stalled_since.load(Ordering::Relaxed);
        if stalled != 0 {
            return left(stalled, bounds.idle_timeout).map(|ms| self.look_again(ms, bounds));
        }
        if self.is_too_slow(now, bounds.idle_timeout) {
            return None;
        }
        if self.busy.load(Ordering::Relaxed) > 0 {
            return Some(bounds.head_timeout.min(bounds.idle_timeout));
        }
        let head = self.head_since.load(Ordering::Relaxed);
        if head != 0 {
            let limit =
                if self.is_draining() { bounds.head_timeout.min(NEWCOMER) } else { bounds.head_timeout };
            return left(head, limit).map(|ms| self.look_again(ms, bounds));
        }
        left(self.idle_since.load(Ordering::Relaxed), bounds.idle_timeout)
            .map(|ms| self.look_again(ms, bounds))
    }

    /// Whether answers have waited for the peer for `limit`, at every look,
    /// while all of them together moved slower than [`LEAST_RATE`].
    fn is_too_slow(&self, now: u64, limit: Duration) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let taken = written.saturating_sub(self.paced_bytes.load(Ordering::Relaxed));
        let enough = LEAST_RATE.saturating_mul(millis(limit)) / 1_000;
        if self.held.load(Ordering::Relaxed) == 0 || taken >= enough {
            self.paced_at.store(now, Ordering::Relaxed);
            self.paced_bytes.store(written, Ordering::Relaxed);
            return false;
        }
        now.saturating_sub(self.paced_at.load(Ordering::Relaxed)) >= millis(limit)
    }

    /// What is awaited may change meanwhile: never sleep past a head's time.
    fn look_again(&self, left_ms: u64, bounds: &Bounds) -> Duration {
        Duration::from_millis(left_ms).min(bounds.head_timeout)
    }
}

impl Busy {
    /// Whether a piece of the answer was handed over and none asked for since.
    pub(super) fn hold(&mut self, holds: bool) {
        match (self.holds, holds) {
            (false, true) => self.activity.held.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.activity.held.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.holds = holds;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.hold(false);
        if self.activity.busy.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.activity.idle_since.store(self.activity.now(), Ordering::Relaxed);
        }
    }
}

/// The connection's stream as hyper sees it.
pub(super) struct Watched<I> {
    io: TokioIo<I>,
    activity: Arc<Activity>,
    lingering: Option<Linger>,
    /// Read while parked, for hyper to read first.
    put_back: Bytes,
    /// Of an answer given while parked.
    pub(super) unsent: Vec<u8>,
    pub(super) unflushed: bool,
}

struct Linger {
    until: Pin<Box<tokio::time::Sleep>>,
    left: usize,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self {
            io: TokioIo::new(io),
            activity,
            lingering: None,
            put_back: Bytes::new(),
            unsent: Vec::new(),
            unflushed: false,
        }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }

    pub(super) fn has_put_back(&self) -> bool {
        !self.put_back.is_empty()
    }

    /// Bytes for hyper to read before all others.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.activity.bytes_came();
        self.put_back = Bytes::copy_from_slice(bytes);
    }
}

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Reads past hyper.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.inner_mut()).poll_read(cx, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    /// Ends our side as hyper would: under TLS the peer is told, and unread
    /// bytes do not reset what it still reads.
    pub(super) async fn close(&mut self) {
        let ended = std::future::poll_fn(|cx| Write::poll_shutdown(Pin::new(&mut *self), cx));
        // A peer that takes nothing at all is dropped.
        let _ = tokio::time::timeout(LINGER * 2, ended).await;
    }
}

impl<I: AsyncRead + Unpin> Read for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.put_back.is_empty() {
            let now = self.put_back.len().min(buf.remaining());
            buf.put_slice(&self.put_back.split_to(now));
            return Poll::Ready(Ok(()));
        }
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.activity.bytes_came();
        Poll::Ready(read)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Write for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.activity.wrote_bytes(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.activity.wrote_bytes(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.activity.wrote(flushed.is_pending());
        flushed
    }

    /// Ends our side, then reads what the peer still sends for a moment.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.activity.parking.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let linger = this.lingering.get_or_insert_with(|| Linger {
            until: Box::pin(tokio::time::sleep(LINGER)),
            left: LINGER_BYTES,
        });
        let mut scratch = [0; 4_096];
        while linger.left > 0 && linger.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            if ready!(Pin::new(this.io.inner_mut()).poll_read(cx, &mut buf)).is_err()
                || buf.filled().is_empty()
            {
                break;
            }
            linger.left = linger.left.saturating_sub(buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}
