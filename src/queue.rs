//! The queue: what gate and admin call.
//!
//! Owns one [`Room`] per protected site: the view that answers polls without
//! the store, the arrivals that go to it in groups, the tick. Never sees a
//! request, a cookie or a page.
//!
//! ```text
//! gate ──poll──▶ view (ArcSwap)          no store, no lock
//! gate ──join──▶ arrivals ──▶ store      many in one call, in arrival order
//! driver ──make room, admit, log──▶ store ──▶ view
//! ```

mod arrivals;
mod arrive;
mod copies;
mod draw;
mod driver;
mod handed;
mod heartbeat;
mod recovery;
mod stock;
mod storetime;
mod view;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use dashmap::DashMap;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::domain::autotune::Word;
use crate::domain::draw::Hash;
use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::rank::Rank;
use crate::domain::time::{Timestamp, millis};
use crate::store::{Overrides, Store, StoreError};

use arrivals::{Arrivals, Wish};
pub use arrive::{Arrived, Caller, How, SealedPass, SealedPlace};
use copies::Copies;
use handed::Handed;
use heartbeat::Heartbeats;
use recovery::Memory;
use stock::Stock;
use storetime::StoreTime;
pub use view::View;
pub use waiting::{Poll, Presented, Waiting};

/// Longer waits are counted as this: a week.
const LONGEST_WAIT_MS: u64 = 7 * 24 * 3_600_000;

/// One room.
pub struct Room {
    config: ArcSwap<config::Room>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    time: StoreTime,
    view: ArcSwap<View>,
    heartbeats: Heartbeats,
    arrivals: Arrivals,
    memory: Memory,
    ready: AtomicBool,
    /// Changes that operators made through this gate.
    changes: AtomicU64,
    /// How long those admitted through this gate had waited, in ms.
    waits: Mutex<Histogram<u64>>,
    /// Passes that ended before their time, until their own end.
    revoked: DashMap<(PlaceNumber, Timestamp), Timestamp>,
    handed: Handed,
    copies: Copies,
    stock: Stock,
    /// The operator's key, of which secrets of draws come.
    draw_key: Hash,
    cancel: CancellationToken,
    stopped: CancellationToken,
}

impl Room {
    /// A room that is not ready until [`Room::run`] has reached its store.
    #[must_use]
    pub fn new(
        config: Arc<config::Room>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        draw_key: Hash,
    ) -> Arc<Self> {
        let time = StoreTime::new(&*clock);
        Arc::new(Self {
            view: ArcSwap::from_pointee(View::unknown(&config)),
            config: ArcSwap::new(config),
            store,
            time,
            clock,
            heartbeats: Heartbeats::default(),
            arrivals: Arrivals::default(),
            memory: Memory::default(),
            ready: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            waits: Mutex::new(Histogram::new_with_max(LONGEST_WAIT_MS, 2).expect("fixed bounds")),
            revoked: DashMap::new(),
            handed: Handed::default(),
            copies: Copies::default(),
            stock: Stock::default(),
            draw_key,
            cancel: CancellationToken::new(),
            stopped: CancellationToken::new(),
        })
    }

    /// Keeps the room going until it is stopped.
    pub async fn run(self: Arc<Self>) {
        let cancel = self.cancel.clone();
        tokio::select! {
            // Always the same branch first: a simulated run replays exactly.
            biased;
            () = cancel.cancelled() => {}
            () = driver::run(&self) => {}
            () = arrivals::run(&self) => {}
        }
        driver::last_words(&self).await;
        self.stopped.cancel();
    }

    /// Ends [`Room::run`]; ready when the gathered signs of life are sent.
    pub async fn stop(&self) {
        self.cancel.cancel();
        self.stopped.cancelled().await;
    }

    /// The room's settings.
    pub fn config(&self) -> Guard<Arc<config::Room>> {
        self.config.load()
    }

    /// Takes up changed settings; the store hears of them at the next tick.
    pub fn configure(&self, config: Arc<config::Room>) {
        self.config.store(config);
        self.view.rcu(|view| View { stale_settings: true, ..View::clone(view) });
    }

    /// The room as this gate knows it.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// Whether the store has been reached and can be reached now. A line that
    /// comes back needs its visitors to be sent here.
    pub fn is_ready(&self) -> bool {
        let view = self.view.load();
        self.ready.load(Ordering::Relaxed) && (!view.degraded || view.rebuilding)
    }

    /// The store's time, as far as this gate can tell; goes on without it.
    pub fn now(&self) -> Timestamp {
        self.time.now(&*self.clock)
    }

    /// Calls to the store so far that were slow.
    pub fn slow_calls(&self) -> u64 {
        self.store.slow_calls()
    }

    /// The app said how much is left of what the line is for.
    pub fn hear_stock(&self, left: u64, now: Timestamp) {
        self.stock.hear(left, now);
    }

    /// What is left, as the app last said through this gate; unknown once that
    /// is too long ago.
    pub fn stock(&self, now: Timestamp) -> Option<u64> {
        self.stock.left(now)
    }

    /// Notes how long somebody waited who is inside now.
    pub fn waited(&self, wait: Duration) {
        self.waits.lock().saturating_record(millis(wait));
    }

    /// The wait that this share (0 to 1) of those admitted here did not exceed.
    pub fn waits(&self, quantile: f64) -> Option<Duration> {
        let waits = self.waits.lock();
        (!waits.is_empty()).then(|| Duration::from_millis(waits.value_at_quantile(quantile)))
    }

    /// Whether a pass of the current line is good. Never waits.
    #[must_use]
    pub fn admits(&self, epoch: Epoch, pass: &Pass, now: Timestamp) -> bool {
        let view = self.view.load();
        let known = view.knows(epoch) || recovery::may_be_lost(&view, epoch);
        known && pass.is_live(now) && !self.revoked.contains_key(&(pass.number, pass.issued_at))
    }

    /// A visitor who wants in. Grouped with others, in arrival order.
    ///
    /// # Errors
    /// [`StoreError::Away`]: a newcomer, who has no place yet, is remembered
    /// and enqueued when the store is back.
    pub async fn join(&self, visitor: VisitorId, intent: Intent, newcomer: bool) -> Result<Turn, StoreError> {
        self.arrivals.send(visitor, Wish::Join(intent, newcomer)).await
    }

    /// A visitor who shows its place while the line comes back. One that cannot
    /// have it again is remembered and joins when the line stands.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn come_back(&self, visitor: VisitorId, place: &Presented) -> Result<Turn, StoreError> {
        self.arrivals.send(visitor, Wish::ComeBack(place.number, place.joined_at)).await
    }

    /// A visitor who shows up; called ones claim their pass by this.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn look(&self, visitor: VisitorId) -> Result<Turn, StoreError> {
        self.arrivals.send(visitor, Wish::Look).await
    }

    /// Ends a place or pass; a pass is dead on this gate at once, on the
    /// others when they next read the log.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn end(
        &self,
        visitor: VisitorId,
        pass: Option<&Pass>,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        // Here first: a pass that is given up must not work on through an outage.
        if let Some(pass) = pass {
            self.revoke_here(pass);
        }
        let name = self.config.load().name.clone();
        let ended = self.store.end(&name, visitor, reason).await;
        if let Some(pass) = pass {
            self.memory.is_out(pass.number);
        }
        match (&ended, pass) {
            (Ok(Some(number)), _) => self.heartbeats.leave(*number),
            (Err(_), Some(pass)) if reason != Reason::Completed => {
                self.revoked.remove(&(pass.number, pass.issued_at));
            }
            _ => {}
        }
        ended
    }

    fn revoke_here(&self, pass: &Pass) {
        // An extension on another gate may have moved its end.
        let until = pass.expires_at.max(pass.issued_at + self.config.load().line.pass_max);
        self.revoked.insert((pass.number, pass.issued_at), until);
        self.copies.forget(&(pass.number, pass.issued_at));
    }

    /// Makes a live pass last at least `by` from now.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn extend(&self, visitor: VisitorId, by: Duration) -> Result<Option<Pass>, StoreError> {
        let name = self.config.load().name.clone();
        let extended = self.store.extend(&name, visitor, by).await?;
        if let Some(pass) = extended {
            self.memory.is_inside(visitor, pass);
        }
        Ok(extended)
    }

    /// A gate's word on the app, to the line.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn hear(&self, word: Word) -> Result<(), StoreError> {
        let name = self.config.load().name.clone();
        self.store.hear(&name, word).await
    }

    /// Who holds a number.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn holder(&self, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        let name = self.config.load().name.clone();
        self.store.holder(&name, number).await
    }

    /// Changes what operators may change, starting from what it is.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn override_with(&self, change: impl FnOnce(&mut Overrides)) -> Result<(), StoreError> {
        let config = Arc::clone(&*self.config.load());
        // What is in force now, not what this gate last heard.
        let view = self.view.load_full();
        let report = self.store.open(&config.name, view.epoch, &config.line).await?;
        let mut overrides = report.overrides;
        if report.standing.epoch == view.epoch && overrides.revision < view.overrides.revision {
            // The store lost the line, and these with it.
            overrides = view.overrides.clone();
        }
        change(&mut overrides);
        overrides.revision += 1;
        self.store.set_overrides(&config.name, &overrides).await?;
        let settings = overrides.apply(&config.line);
        // Before the view, so that a report from before the change cannot undo it there.
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.view.rcu(|view| View {
            overrides: overrides.clone(),
            settings: settings.clone(),
            ..View::clone(view)
        });
        Ok(())
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Ends the line and begins a new one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn clear(&self) -> Result<(), StoreError> {
        let name = self.config.load().name.clone();
        let epoch = Epoch(self.now().as_millis());
        self.store.clear(&name, epoch, self.view.load().epoch).await?;
        self.memory.clear(epoch);
        self.handed.clear();
        self.copies.clear();
        let rank = Arc::new(Rank::new());
        self.heartbeats.clear();
        self.view.rcu(|view| View { epoch, rank: Arc::clone(&rank), drawn: None, ..View::clone(view) });
        Ok(())
    }
}
