//! Bodies on their way: what visitors get, and what goes up to the app.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::domain::time::millis;

/// An answer's body.
pub enum Reply {
    /// The gate's own bytes.
    Own(Option<Bytes>),
    /// The app's stream.
    App(Incoming),
}

impl Reply {
    pub(super) fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Own((!bytes.is_empty()).then_some(bytes))
    }

    pub(super) fn empty() -> Self {
        Self::Own(None)
    }

    /// An answer that is there as a whole; `None`: it is the app's.
    pub(super) fn whole(response: Response<Self>) -> Option<Response<Bytes>> {
        let (head, body) = response.into_parts();
        match body {
            Self::Own(bytes) => Some(Response::from_parts(head, bytes.unwrap_or_default())),
            Self::App(_) => None,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::App(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::App(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::App(incoming) => incoming.size_hint(),
        }
    }
}

/// A body that the gate itself reads: it came with the head, or it comes.
pub(super) type Sent = Either<Full<Bytes>, Incoming>;

/// Why a request's body did not reach the app whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error(transparent)]
    Broken(#[from] hyper::Error),
    #[error("never")]
    Never(#[from] Infallible),
}

/// Time spent waiting for the visitor after which the pace is judged.
const PACE_WINDOW: Duration = Duration::from_secs(10);
/// Bytes that must have come in that time.
const PACE_BYTES: u64 = 10 * 1_024;

/// How fast a visitor sends, in time in which nobody but the visitor was
/// waited for: an app that does not read stops the clock.
#[derive(Debug, Default)]
struct Pace {
    /// Since when (monotonic) the body is asked for and has nothing.
    waits_since: Option<Duration>,
    /// Waiting in this window, without the wait going on.
    waited: Duration,
    /// Bytes in this window.
    bytes: u64,
    /// A window had too few.
    slow: bool,
}

impl Pace {
    /// The body had nothing to give.
    fn waits(&mut self, now: Duration) {
        self.waits_since.get_or_insert(now);
    }

    /// Bytes came, or the end.
    fn came(&mut self, now: Duration, bytes: u64) {
        self.settle(now);
        self.waits_since = None;
        self.bytes += bytes;
    }

    /// Waiting left in this window; `None` when one had too few bytes.
    fn left(&mut self, now: Duration) -> Option<Duration> {
        self.settle(now);
        (!self.slow).then(|| PACE_WINDOW.saturating_sub(self.waited))
    }

    /// Counts the wait so far, and closes the window when it is full.
    fn settle(&mut self, now: Duration) {
        if let Some(since) = &mut self.waits_since {
            self.waited += now.saturating_sub(*since);
            *since = now;
        }
        if self.waited >= PACE_WINDOW {
            self.slow |= self.bytes < PACE_BYTES;
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }
}

/// A request's body, handed to one attempt after the other until one reads it.
#[derive(Clone)]
pub(super) struct Upload {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    body: Mutex<Incoming>,
    size: SizeHint,
    clock: Arc<dyn Clock>,
    max: Option<u64>,
    pace: Mutex<Pace>,
    sent: AtomicU64,
    /// Monotonic ms of the last byte.
    moved_at: AtomicU64,
    done: AtomicBool,
    too_large: AtomicBool,
    broken: AtomicBool,
}

impl Upload {
    /// The body of a request; `max` in bytes.
    pub(super) fn new(body: Incoming, max: Option<u64>, clock: &Arc<dyn Clock>) -> Self {
        if body.is_end_stream() {
            return Self { shared: None };
        }
        let shared = Shared {
            size: body.size_hint(),
            body: Mutex::new(body),
            max,
            sent: AtomicU64::new(0),
            moved_at: AtomicU64::new(millis(clock.monotonic())),
            clock: Arc::clone(clock),
            pace: Mutex::new(Pace::default()),
            done: AtomicBool::new(false),
            too_large: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        };
        Self { shared: Some(Arc::new(shared)) }
    }

    /// Whether its announced length is over the bound.
    pub(super) fn is_announced_too_large(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.max.is_some_and(|max| s.size.lower() > max))
    }

    /// Whether more came than allowed.
    pub(super) fn is_too_large(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.too_large.load(Ordering::Relaxed))
    }

    /// Whether the visitor's side of it was malformed or cut.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.broken.load(Ordering::Relaxed))
    }

    /// Whether every byte is on its way to the app.
    pub(super) fn is_done(&self) -> bool {
        self.shared.as_ref().is_none_or(|s| s.done.load(Ordering::Relaxed))
    }

    /// Whether an attempt has read some of it: it cannot be sent again.
    pub(super) fn is_begun(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.sent.load(Ordering::Relaxed) > 0)
    }

    /// Whether the visitor is behind: more is asked for, and none is there.
    pub(super) fn is_awaited(&self) -> bool {
        self.shared.as_ref().is_some_and(|s| s.pace.lock().waits_since.is_some())
    }

    /// Time until the visitor's pace is worth a look; `None` when it is too slow.
    pub(super) fn paced_for(&self, clock: &dyn Clock) -> Option<Duration> {
        self.shared.as_ref().map_or(Some(PACE_WINDOW), |s| s.pace.lock().left(clock.monotonic()))
    }

    /// Time since a byte last moved.
    pub(super) fn still_for(&self, clock: &dyn Clock) -> Option<Duration> {
        let moved_at = Duration::from_millis(self.shared.as_ref()?.moved_at.load(Ordering::Relaxed));
        Some(clock.monotonic().saturating_sub(moved_at))
    }
}

impl Shared {
    fn note_pace(&self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        let data = frame.and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, |data| data.len() as u64);
        self.pace.lock().came(self.clock.monotonic(), bytes);
    }

    fn count(&self, bytes: usize) -> Result<(), UploadError> {
        let sent = self.sent.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        self.moved_at.store(millis(self.clock.monotonic()), Ordering::Relaxed);
        if self.max.is_some_and(|max| sent > max) {
            self.too_large.store(true, Ordering::Relaxed);
            return Err(UploadError::TooLarge);
        }
        Ok(())
    }

    fn finish(&self) {
        self.moved_at.store(millis(self.clock.monotonic()), Ordering::Relaxed);
        self.done.store(true, Ordering::Relaxed);
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    /// Trailers end here: none ever becomes a header at the app.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(shared) = &self.shared else { return Poll::Ready(None) };
        let mut body = shared.body.lock();
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            shared.pace.lock().waits(shared.clock.monotonic());
            return Poll::Pending;
        };
        shared.note_pace(frame.as_ref());
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let counted = shared.count(data.len());
                    // Nobody asks on for a body whose announced length has come.
                    if body.is_end_stream() {
                        shared.finish();
                    }
                    Some(counted.map(|()| Frame::data(data)))
                }
                Err(_trailers) => {
                    shared.finish();
                    None
                }
            },
            Some(Err(why)) => {
                shared.broken.store(true, Ordering::Relaxed);
                Some(Err(why.into()))
            }
            None => {
                shared.finish();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.body.lock().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.as_ref().map_or_else(|| SizeHint::with_exact(0), |shared| shared.body.lock().size_hint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// `bytes` a second from a visitor who is waited for, for 30 s.
    fn trickle(bytes: u64) -> Option<Duration> {
        let mut pace = Pace::default();
        for second in 0..30 {
            pace.waits(SECOND * second);
            pace.came(SECOND * (second + 1), bytes);
        }
        pace.left(SECOND * 30)
    }

    #[test]
    fn a_trickle_is_too_slow_and_a_modem_is_not() {
        assert_eq!(trickle(1), None);
        assert_eq!(trickle(1_000), None);
        assert_eq!(trickle(2_000), Some(PACE_WINDOW));
    }

    #[test]
    fn a_visitor_who_stops_is_too_slow_at_the_end_of_the_window() {
        let mut pace = Pace::default();
        pace.waits(SECOND);
        assert_eq!(pace.left(SECOND * 10), Some(SECOND));
        assert_eq!(pace.left(SECOND * 11), None);
    }

    #[test]
    fn an_app_that_does_not_read_is_not_the_visitors_slowness() {
        let mut pace = Pace::default();
        for minute in 0..9 {
            // Asked for, there at once, then nobody asks for a minute.
            pace.waits(SECOND * 60 * minute);
            pace.came(SECOND * (60 * minute + 1), 1);
        }
        assert_eq!(pace.left(SECOND * 600), Some(SECOND));
    }
}
