//! One watched event: asks the hold store what changed, for all who watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::face::{Cursor, Face};
use super::frame::Said;
use super::presence;
use crate::booking::Booking;
use crate::booking::db::DbError;
use crate::booking::events::Layout;
use crate::booking::holds::HoldStoreError;
use crate::booking::problem::{Code, Problem};
use crate::domain::seat::EventId;
use crate::domain::seat::floor::Changes;

/// Between two looks at the hold store: what changes meanwhile is one delta.
const EVERY: Duration = Duration::from_millis(75);
/// Between two looks at a hold store that does not answer.
const AWAY: Duration = Duration::from_millis(500);
/// A map nobody watches goes on for so long, so that who comes back resumes.
const LINGER: Duration = Duration::from_secs(10);
/// Between two changes of the number of people that are told.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// One watched event.
pub(super) struct Map {
    pub(super) event: EventId,
    face: Mutex<Face>,
    /// Rung when there is something new.
    bell: watch::Sender<()>,
    watchers: AtomicU64,
    presence: Mutex<People>,
    /// The event was removed.
    is_gone: AtomicBool,
}

/// The number of people as last told.
struct People {
    active: u64,
    frame: Bytes,
}

impl People {
    fn new(active: u64) -> Self {
        Self { active, frame: Said::Presence { active }.frame() }
    }
}

/// Somebody who watches; counted until dropped.
pub(super) struct Watcher(pub(super) Arc<Map>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Map {
    /// A map of the event as it stands.
    ///
    /// # Errors
    /// `unavailable`, `not_found`
    pub(super) async fn open(booking: &Booking, layout: Arc<Layout>) -> Result<Arc<Self>, Problem> {
        let event = layout.id.clone();
        let face = match picture(booking, layout, 0).await {
            Ok(Some(face)) => face,
            Ok(None) => return Err(Problem::new(Code::Unavailable).retry_after(1)),
            Err(problem) => return Err(problem),
        };
        Ok(Arc::new(Self {
            event,
            face: Mutex::new(face),
            bell: watch::Sender::new(()),
            watchers: AtomicU64::new(0),
            presence: Mutex::new(People::new(0)),
            is_gone: AtomicBool::new(false),
        }))
    }

    /// Counts somebody who watches from now on.
    pub(super) fn enter(self: &Arc<Self>) -> Watcher {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher(Arc::clone(self))
    }

    /// How many watch in this process.
    pub(super) fn watchers(&self) -> u64 {
        self.watchers.load(Ordering::Relaxed)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Rings when there is something new.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// Looks at the seats as they are known here.
    pub(super) fn face<T>(&self, look: impl FnOnce(&mut Face) -> T) -> T {
        look(&mut self.face.lock())
    }

    /// What somebody has still to be told; see [`Face::after`]. `told` is the number
    /// of people that they know of.
    pub(super) fn news(&self, cursor: &mut Option<Cursor>, told: &mut Option<u64>) -> Vec<Bytes> {
        let mut out = Vec::new();
        self.face.lock().after(cursor, MOST_AT_ONCE, &mut out);
        let people = self.presence.lock();
        if *told != Some(people.active) && people.active > 0 {
            *told = Some(people.active);
            out.push(people.frame.clone());
        }
        out
    }

    /// Looks again and again until nobody has watched for a while, or `is_over`.
    pub(super) async fn run(self: Arc<Self>, booking: Arc<Booking>) {
        let closing = booking.live.closing.clone();
        let mut watched_at = Instant::now();
        let mut counted = Counted { at: None, here: 0 };
        loop {
            let next = match self.look(&booking).await {
                Ok(()) => EVERY,
                Err(why) => {
                    tracing::warn!(event = %self.event, %why, "the live map stands still");
                    AWAY
                }
            };
            self.count(&booking, &mut counted).await;
            if closing.run_until_cancelled(tokio::time::sleep(next)).await.is_none() {
                break;
            }
            if self.watchers() > 0 {
                watched_at = Instant::now();
            } else if (self.is_gone() || watched_at.elapsed() >= LINGER) && booking.live.forget(&self) {
                break;
            }
        }
        // Told late, it ends by itself.
        let _ = booking.live.presence.tell(&self.event, 0).await;
    }

    /// One look: takes in what changed.
    async fn look(&self, booking: &Booking) -> Result<(), String> {
        if self.is_gone() {
            return Ok(());
        }
        let since = self.face(|face| face.version());
        let is_told = match booking.holds.changes(&self.event, since, booking.now()).await {
            Ok(Changes::Since { to, .. }) if to == since => return Ok(()),
            Ok(Changes::Since { to, seats }) => self.face(|face| face.apply(to, &seats)).is_ok(),
            Ok(Changes::Gap { .. }) | Err(HoldStoreError::NotLoaded) => false,
            Err(why) => return Err(why.to_string()),
        };
        if !is_told {
            self.draw_anew(booking).await?;
        }
        self.bell.send_replace(());
        Ok(())
    }

    /// Begins a new face, because the shape changed or changes were missed.
    async fn draw_anew(&self, booking: &Booking) -> Result<(), String> {
        let layout = booking.layouts.get(&self.event).await.map_err(|why: DbError| why.to_string())?;
        let Some(layout) = layout else {
            self.is_gone.store(true, Ordering::Relaxed);
            return Ok(());
        };
        let life = self.face(|face| face.life()) + 1;
        match picture(booking, layout, life).await {
            Ok(Some(face)) => *self.face.lock() = face,
            // Seats are being added: the next look finds them.
            Ok(None) => {}
            Err(problem) => return Err(problem.code().as_str().to_owned()),
        }
        Ok(())
    }

    /// Tells how many watch here, and takes in how many do everywhere.
    async fn count(&self, booking: &Booking, counted: &mut Counted) {
        let here = self.watchers();
        let due = if here == counted.here { presence::EVERY } else { COUNT_EVERY };
        if counted.at.is_some_and(|at| at.elapsed() < due) {
            return;
        }
        *counted = Counted { at: Some(Instant::now()), here };
        match booking.live.presence.tell(&self.event, here).await {
            Ok(active) => self.set_active(active),
            Err(why) => tracing::debug!(event = %self.event, %why, "people are not counted"),
        }
    }

    fn set_active(&self, active: u64) {
        let mut people = self.presence.lock();
        if people.active != active {
            *people = People::new(active);
            self.bell.send_replace(());
        }
    }
}

/// When this process last told its number, and which.
struct Counted {
    at: Option<Instant>,
    here: u64,
}

/// Frames handed to one socket at once.
const MOST_AT_ONCE: usize = 8;

/// The event as it stands; `None` while store and database do not have the same seats.
async fn picture(booking: &Booking, layout: Arc<Layout>, life: u64) -> Result<Option<Face>, Problem> {
    let seats = booking.holds.seats(&layout, booking.now()).await?;
    let fits = seats.statuses.len() == layout.chairs.len();
    Ok(fits.then(|| Face::new(life, layout, seats)))
}
