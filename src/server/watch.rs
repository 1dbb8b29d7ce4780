//! A connection's deadlines, and what becomes of it when one comes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use pingora_core::server::ShutdownWatch;

use super::Bounds;
use super::io::{Activity, Verdict};

/// What happens to a connection.
pub(super) enum Event<T> {
    /// Its future is done.
    Ended(T),
    /// It is to take no new requests.
    Drain,
    /// It has been idle for a while.
    Park,
    /// A deadline has passed.
    Cut,
}

/// Looks after a connection's deadlines.
pub(super) struct Watch<'a> {
    activity: &'a Activity,
    bounds: &'a Bounds,
    shutdown: ShutdownWatch,
    draining: bool,
    /// One lazy timer: it is not moved by requests, it looks again when it rings.
    bell: Pin<Box<tokio::time::Sleep>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(activity: &'a Activity, bounds: &'a Bounds, shutdown: &ShutdownWatch) -> Self {
        let first = match activity.verdict(bounds) {
            Verdict::Wait(left) => left,
            _ => bounds.head_timeout,
        };
        let bell = Box::pin(tokio::time::sleep(first));
        Self { activity, bounds, shutdown: shutdown.clone(), draining: false, bell }
    }

    /// Drives `connection` until something happens.
    pub(super) async fn next<F: Future>(&mut self, mut connection: Pin<&mut F>) -> Event<F::Output> {
        loop {
            tokio::select! {
                // A request that is there is begun before a drain is heard of.
                biased;
                ended = connection.as_mut() => return Event::Ended(ended),
                () = self.bell.as_mut() => {
                    let (left, event) = match self.activity.verdict(self.bounds) {
                        Verdict::Wait(left) => (left, None),
                        Verdict::Retire(left) => (left, Some(Event::Drain)),
                        Verdict::Park => (self.bounds.head_timeout, Some(Event::Park)),
                        Verdict::Cut => return Event::Cut,
                    };
                    let left = left.max(Duration::from_millis(20));
                    self.bell.as_mut().reset(tokio::time::Instant::now() + left);
                    if let Some(event) = event {
                        return event;
                    }
                }
                changed = self.shutdown.changed(), if !self.draining => {
                    self.draining = changed.is_err() || *self.shutdown.borrow();
                    if self.draining {
                        // Which changes the deadlines.
                        self.bell.as_mut().reset(tokio::time::Instant::now());
                        return Event::Drain;
                    }
                }
            }
        }
    }
}
