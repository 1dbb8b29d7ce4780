//! A store behind a bad wire: calls that are late, lost on the way there or
//! back, or carried out twice, and that outlive the gate that made them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use usher::domain::autotune::Word;
use usher::domain::binding::{Claim, Heard, Rotation};
use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use usher::domain::line::{Known, PutBack, Settings};
use usher::domain::pass::Pass;
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::Timestamp;
use usher::rehearsal::world::World;
use usher::store::{LogPage, Overrides, Report, Store, StoreError};

use super::host::Host;
use super::world::{BATCH, CAPACITY};
use super::{Bug, NETWORK};

/// How long a gate waits for its store.
const PATIENCE: Duration = Duration::from_millis(250);
/// A packet that is lost is forgotten after this.
const LOST: Duration = Duration::from_secs(1);

/// What a wire does to what is sent over it.
pub struct Weather {
    pub dice: Mutex<SmallRng>,
    /// Share of packets lost, each way.
    pub loss: f64,
    /// Share carried out twice.
    pub twice: f64,
    pub is_cut: AtomicBool,
}

impl Weather {
    /// The time a packet takes; `None` = lost.
    pub fn packet(&self) -> Option<Duration> {
        let mut dice = self.dice.lock();
        let (lost, slow) = (dice.random_bool(self.loss), dice.random_bool(0.02));
        let ms = if slow { dice.random_range(50..400) } else { dice.random_range(0..4) };
        (!lost && !self.is_cut.load(Ordering::Relaxed)).then(|| Duration::from_millis(ms))
    }

    fn again(&self) -> Option<Duration> {
        let mut dice = self.dice.lock();
        let ms = dice.random_range(0..2_000);
        dice.random_bool(self.twice).then(|| Duration::from_millis(ms))
    }
}

/// One gate's store.
pub struct Wire {
    pub world: World,
    pub host: Arc<Host>,
    pub weather: Arc<Weather>,
    pub bug: Option<Bug>,
    /// The gate's wall clock minus the right time.
    pub wall_ahead: Duration,
}

type Work<T> = Arc<dyn Fn(Arc<dyn Store>) -> BoxFuture<'static, Result<T, StoreError>> + Send + Sync>;

/// One call over the wire; what it takes is moved into the packet.
macro_rules! over {
    ($wire:ident, $store:ident, [$($name:ident),*], $work:expr) => {{
        $(let $name = $name.to_owned();)*
        $wire.call(Arc::new(move |$store: Arc<dyn Store>| {
            $(let $name = $name.clone();)*
            Box::pin(async move { $work.await })
        })).await
    }};
}

impl Wire {
    async fn call<T: Send + 'static>(&self, work: Work<T>) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (there, back, again) = (self.weather.packet(), self.weather.packet(), self.weather.again());
        let (world, host) = (self.world.clone(), Arc::clone(&self.host));
        self.world.spawn(NETWORK, async move {
            let Some(there) = there else { return world.sleep(LOST).await };
            world.sleep(there).await;
            let outcome = work(host.store()).await;
            if let Some(again) = again {
                let later = world.clone();
                world.spawn(NETWORK, async move {
                    later.sleep(again).await;
                    drop(work(host.store()).await);
                });
            }
            let Some(back) = back else { return world.sleep(LOST).await };
            world.sleep(back).await;
            let _ = answer.send(outcome);
        });
        let lost = || Err(StoreError::Away("no answer in time".into()));
        // A packet that is lost keeps the sender until nobody waits any more.
        self.world.within(PATIENCE, answered).await.and_then(Result::ok).unwrap_or_else(lost)
    }

    fn tell(&self, mut report: Report) -> Report {
        if self.bug == Some(Bug::LocalClock) {
            report.standing.now = report.standing.now + self.wall_ahead;
        }
        report
    }

    /// Settings as they reach the store.
    fn bent(&self, settings: &Settings) -> Settings {
        let tick = if self.bug == Some(Bug::TicksTwice) { settings.tick / 2 } else { settings.tick };
        Settings { tick, ..settings.clone() }
    }

    /// Admits in two hops: those first in the line are taken out of it, then called.
    /// Whoever is not called by the second is nowhere.
    async fn pop_then_call(&self, room: &RoomName, known: Option<Known>) -> Result<Report, StoreError> {
        let (world, host, called) =
            (self.world.clone(), Arc::clone(&self.host), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&called);
        let report = over!(self, store, [room, world, host, flag, known], async {
            let mut popped = Vec::new();
            for number in store.waiting(&room, PlaceNumber(0), BATCH).await? {
                popped.extend(store.holder(&room, number).await?.map(|visitor| (number, visitor)));
            }
            let report = host.note(store.admit(&room, known.as_ref()).await?);
            let left = store.waiting(&room, PlaceNumber(0), BATCH).await?;
            popped.retain(|(number, _)| !left.contains(number));
            world.clone().spawn(NETWORK, async move {
                world.sleep(LOST).await;
                for (_, visitor) in popped.into_iter().filter(|_| !flag.load(Ordering::Relaxed)) {
                    let _ = store.end(&room, visitor, Reason::Evicted).await;
                }
            });
            Ok(report)
        })?;
        over!(self, store, [room, called], async {
            called.store(true, Ordering::Relaxed);
            store.seen(&room, &[]).await
        })?;
        Ok(report)
    }

    /// Reads how many are inside, and then lets in as many as there was room for.
    async fn read_then_admit(&self, room: &RoomName) -> Result<Report, StoreError> {
        let nobody =
            Known { epoch: Epoch(0), next: PlaceNumber(1), log_seq: 0, claimed: 0, recoveries: 0, lot: None };
        let read = over!(self, store, [room, nobody], async { store.admit(&room, Some(&nobody)).await })?;
        let free = CAPACITY.saturating_sub(read.standing.called + read.standing.active);
        let host = Arc::clone(&self.host);
        over!(self, store, [room, host], async {
            let free = Overrides {
                capacity: Some(u64::MAX),
                batch: Some(free.min(BATCH as u64)),
                ..Overrides::default()
            };
            store.set_overrides(&room, &free).await?;
            let report = store.admit(&room, None).await;
            store.set_overrides(&room, &Overrides::default()).await?;
            Ok(Report { overrides: Overrides::default(), ..host.note(report?) })
        })
    }
}

#[async_trait]
impl Store for Wire {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        let settings = self.bent(settings);
        let report = over!(self, store, [room, settings], store.open(&room, epoch, &settings))?;
        Ok(self.tell(report))
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        let settings = self.bent(settings);
        let report =
            over!(self, store, [room, known, settings], store.reopen(&room, &known, window, &settings))?;
        Ok(self.tell(report))
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        if self.bug == Some(Bug::KeepsLossesLost) {
            let visitors: Vec<_> = places.iter().map(|&(visitor, ..)| visitor).collect();
            return over!(self, store, [room, visitors], store.look(&room, &visitors));
        }
        over!(self, store, [room, places], store.come_back(&room, &places))
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        over!(self, store, [room, back], store.put_back(&room, &back))
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        let known = known.cloned();
        if self.bug == Some(Bug::JoinsTwice) {
            for &(visitor, _) in arrivals {
                // A line that never asks whether somebody is in it already.
                over!(self, store, [room], store.end(&room, visitor, Reason::Evicted))?;
            }
            let anew: Vec<_> = arrivals.iter().map(|&(visitor, _)| (visitor, Intent::Rejoin)).collect();
            return over!(self, store, [room, known, anew], store.join(&room, known.as_ref(), &anew));
        }
        over!(self, store, [room, known, arrivals], store.join(&room, known.as_ref(), &arrivals))
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        over!(self, store, [room, visitors], store.look(&room, &visitors))
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        over!(self, store, [room, signs], store.seen(&room, &signs))
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        over!(self, store, [room], store.make_room(&room))
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        let known = known.cloned();
        let host = Arc::clone(&self.host);
        let report = match self.bug {
            Some(Bug::PopsThenCalls) => self.pop_then_call(room, known).await?,
            Some(Bug::ReadsThenAdmits) => self.read_then_admit(room).await?,
            _ => over!(self, store, [room, host, known], async {
                store.admit(&room, known.as_ref()).await.map(|report| host.note(report))
            })?,
        };
        Ok(self.tell(report))
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        over!(self, store, [room, draw], store.draw(&room, &draw))
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        over!(self, store, [room], store.drawn(&room))
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        over!(self, store, [room], store.end(&room, visitor, reason))
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        over!(self, store, [room], store.extend(&room, visitor, by))
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        over!(self, store, [room, shown], store.show(&room, &shown, rotation))
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        over!(self, store, [room], store.claim_again(&room, visitor, shown, rotation))
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        over!(self, store, [room], store.hand_over(&room, from, number, to))
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        over!(self, store, [room], store.handed(&room, after, limit))
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        over!(self, store, [room], store.holder(&room, number))
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        let page = over!(self, store, [room], store.log(&room, seq, limit))?;
        let LogPage::Entries(mut entries) = page else { return Ok(page) };
        match self.bug {
            Some(Bug::LosesRevocations) => entries.iter_mut().for_each(|(_, entry)| entry.revoked.clear()),
            // Cut to its last entry, and nobody notices what is gone.
            Some(Bug::IgnoresGaps) => drop(entries.drain(..entries.len().saturating_sub(1))),
            _ => {}
        }
        Ok(LogPage::Entries(entries))
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        over!(self, store, [room], store.waiting(&room, after, limit))
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        over!(self, store, [room], store.revoked(&room))
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        over!(self, store, [room, overrides], store.set_overrides(&room, &overrides))
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        over!(self, store, [room], store.hear(&room, word))
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        over!(self, store, [room], store.clear(&room, epoch, known))
    }
}
