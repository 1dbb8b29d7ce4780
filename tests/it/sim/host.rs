//! The machine that the gates' store is on, what becomes of it, and a watch on
//! what it does.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use usher::clock::Clock;
use usher::domain::id::{Epoch, PlaceNumber, RoomName};
use usher::domain::time::Timestamp;
use usher::rehearsal::watch::Seen;
use usher::rehearsal::world::{TrueClock, World};
use usher::store::{Lines, MemoryStore, Report, Store};

use super::Bug;
use super::losses::Loss;
use super::world::CAPACITY;

/// Copies of the line that are kept, one a second.
const COPIES: usize = 8;
/// The line's time may be this far off by what a call takes.
const SLACK_MS: u64 = 20;
const HOUR: Duration = Duration::from_secs(3_600);

/// The machine's clock: right, until it is set.
pub struct HostClock {
    right: TrueClock,
    ahead_ms: AtomicI64,
    /// Ticks of a second clock that tells nothing; `None` where there is a steady one.
    useless: Option<AtomicU64>,
}

impl HostClock {
    fn set(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(self.right.now().as_millis().saturating_add_signed(ahead_ms))
    }

    fn monotonic(&self) -> Duration {
        let useless = |ticks: &AtomicU64| HOUR * ticks.fetch_add(1, Ordering::Relaxed) as u32;
        self.useless.as_ref().map_or_else(|| self.right.monotonic(), useless)
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.right.sleep(pause)
    }
}

/// The store, as it is at one moment.
pub struct Host {
    clock: Arc<HostClock>,
    store: Arc<MemoryStore>,
    copies: Mutex<VecDeque<Lines>>,
    losses: Mutex<Vec<Loss>>,
    seen: Mutex<Seen>,
    /// What was seen of the lines before the last loss.
    seen_before: Mutex<Vec<Seen>>,
    epochs: Mutex<BTreeSet<Epoch>>,
    /// What the line's time was ahead of the right one, in ms, and since when.
    ahead: Mutex<Vec<(Timestamp, i64)>>,
    bug: Option<Bug>,
}

impl Host {
    /// An empty store.
    pub fn new(world: World, starts_at: Timestamp, bug: Option<Bug>) -> Self {
        let clock = Arc::new(HostClock {
            right: TrueClock::new(world, starts_at),
            ahead_ms: AtomicI64::new(0),
            useless: (bug == Some(Bug::BelievesTheClock)).then(AtomicU64::default),
        });
        Self {
            store: Arc::new(MemoryStore::new(Arc::clone(&clock) as _)),
            clock,
            copies: Mutex::default(),
            losses: Mutex::default(),
            seen: Mutex::default(),
            seen_before: Mutex::default(),
            epochs: Mutex::default(),
            ahead: Mutex::default(),
            bug,
        }
    }

    /// What answers.
    pub fn store(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.store)
    }

    /// Keeps a copy, as a replica would.
    pub fn copy(&self) {
        let mut copies = self.copies.lock();
        copies.push_front(self.store.lines());
        copies.truncate(COPIES);
    }

    /// The line is lost, or what happened since a copy of so many seconds ago.
    pub async fn lose(&self, room: &RoomName, copy: Option<usize>) {
        let waiting = self.store.waiting(room, PlaceNumber(0), usize::MAX).await.unwrap_or_default();
        let lines = copy.and_then(|age| self.copies.lock().get(age).cloned()).unwrap_or_default();
        self.store.replace(lines);
        self.copies.lock().clear();
        self.losses.lock().push(Loss { at: self.clock.right.now(), waiting: waiting.into_iter().collect() });
        self.seen_before.lock().push(std::mem::take(&mut *self.seen.lock()));
    }

    /// Somebody sets the clock: so much ahead of the right time.
    pub fn set_clock(&self, ahead_ms: i64) {
        self.clock.set(ahead_ms);
    }

    /// The store's answer to a tick, before it is sent.
    pub fn note(&self, mut report: Report) -> Report {
        if self.bug == Some(Bug::TicksTwice) {
            report.standing.tick = report.standing.tick.div_ceil(2);
        }
        self.seen.lock().note(&report, CAPACITY);
        self.epochs.lock().insert(report.standing.epoch);
        let now = self.clock.right.now();
        let ms = report.standing.now.as_millis().cast_signed() - now.as_millis().cast_signed();
        let mut ahead = self.ahead.lock();
        if ahead.last().is_none_or(|&(_, before)| ms.abs_diff(before) > SLACK_MS) {
            ahead.push((now, ms));
        }
        report
    }

    /// Whether another line was begun in the place of one that was lost.
    pub fn began_anew(&self) -> bool {
        self.epochs.lock().len() > 1
    }

    /// The right time at which the line's is `told`: a clock that is set by little takes
    /// the line along.
    pub fn right_time(&self, told: Timestamp) -> Timestamp {
        let ahead = self.ahead.lock();
        let mut spans = (0..ahead.len()).map(|i| (ahead[i], ahead.get(i + 1).map(|next| next.0)));
        let within = |((from, ms), to): ((Timestamp, i64), Option<Timestamp>)| {
            let right = Timestamp::from_millis(told.as_millis().saturating_add_signed(-ms)).max(from);
            to.is_none_or(|to| right < to).then_some(right)
        };
        spans.find_map(within).unwrap_or(told)
    }

    /// Reads what was seen of each line that there was.
    pub fn seen(&self, read: impl FnMut(&Seen)) {
        self.seen_before.lock().iter().chain([&*self.seen.lock()]).for_each(read);
    }

    /// What was lost.
    pub fn losses<T>(&self, read: impl FnOnce(&[Loss]) -> T) -> T {
        read(&self.losses.lock())
    }
}
