//! The live map: each event's seats as they change, to everybody who looks.
//!
//! The order of changes and their versions are the hold store's, which all
//! processes share, and the same as in the list of seats. One [`map::Map`] a
//! watched event asks the store what changed and encodes it once; sockets share the
//! frames. Nothing is asked for while nobody watches. Whoever cannot be told what
//! they missed, or reads too slowly, is shown all seats anew.

mod face;
mod frame;
mod map;
mod message;
mod presence;
mod socket;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use super::Booking;
use super::accounts::address::Address;
use super::events::Layout;
use super::pass::ThroughGate;
use super::problem::{Code, Path, Problem};
use super::socket::{Slots, handshake};
use crate::config;
use crate::domain::seat::EventId;
use crate::redis::Redis;
use map::{Map, Watcher};
use presence::Presence;
use socket::Socket;

/// Maps of this process, and those who watch.
pub(super) struct Live {
    maps: Mutex<HashMap<EventId, Arc<Map>>>,
    /// One map is opened at a time: a crowd that comes at once asks once.
    opening: tokio::sync::Mutex<()>,
    presence: Presence,
    slots: Arc<Slots>,
    /// The process is about to end.
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Live {
    /// `redis` where several processes share it.
    pub(super) fn new(settings: &config::Live, redis: Option<(Redis, &str)>) -> Self {
        Self {
            maps: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            presence: redis.map_or_else(Presence::alone, |(redis, prefix)| Presence::shared(redis, prefix)),
            slots: Slots::new(settings.sockets, settings.sockets_per_address),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Somebody begins to watch the event.
    async fn watch(&self, booking: &Arc<Booking>, layout: Arc<Layout>) -> Result<Watcher, Problem> {
        if let Some(watcher) = self.enter(&layout.id) {
            return Ok(watcher);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(watcher) = self.enter(&layout.id) {
            return Ok(watcher);
        }
        let map = Map::open(booking, layout).await?;
        let watcher = map.enter();
        self.maps.lock().insert(map.event.clone(), Arc::clone(&map));
        self.tasks.spawn(map.run(Arc::clone(booking)));
        Ok(watcher)
    }

    fn enter(&self, event: &EventId) -> Option<Watcher> {
        self.maps.lock().get(event).filter(|map| !map.is_gone()).map(Map::enter)
    }

    /// Drops a map, unless somebody has begun to watch it.
    fn forget(&self, map: &Arc<Map>) -> bool {
        let mut maps = self.maps.lock();
        if map.watchers() > 0 {
            return false;
        }
        if maps.get(&map.event).is_some_and(|kept| Arc::ptr_eq(kept, map)) {
            maps.remove(&map.event);
        }
        true
    }

    /// How many watch the event in this process.
    fn watchers(&self, event: &EventId) -> u64 {
        self.maps.lock().get(event).map_or(0, |map| map.watchers())
    }
}

/// Who looks at an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct PresenceView {
    /// Open live maps, in all processes together.
    active: u64,
}

/// The seats as they change: a WebSocket.
///
/// JSON texts. The server says `{"type":"snapshot","version":V,"seats":BASE64}` (two
/// bits a seat in the order of the list of seats, low first in each byte: 0 AVAILABLE,
/// 1 HELD, 2 SOLD), `{"type":"delta","from":V,"to":W,"seats":[["A-1-12","HELD"]]}` and
/// `{"type":"presence","active":N}`; versions are those of the list of seats. A client
/// may say `{"type":"auth","token":JWT}`, and `{"type":"resume","version":V}` to be
/// told only what came after V. A snapshot at any time replaces all that was known.
/// What is no such message closes the socket: 1003 binary, 1007 no JSON or a bad
/// field, 1008 unknown, too many or for another event, 1009 too big, 4401 a bad token.
/// 1001: the server goes away, come again. 4404: the event is gone.
#[utoipa::path(get, path = "/api/events/{id}/live", tag = "events", params(("id" = String, Path)),
    responses((status = 101, description = "the socket is open"),
              (status = 403, description = "pass_required"), (status = 404, description = "not_found"),
              (status = 426, description = "upgrade_required"), (status = 503, description = "unavailable")))]
pub async fn watch(
    State(booking): State<Arc<Booking>>,
    _: ThroughGate,
    Address(address): Address,
    Path(id): Path<String>,
    mut request: Request,
) -> Result<Response, Problem> {
    let layout = booking.layout(&id).await?;
    let (answer, upgraded) = handshake(&mut request)?;
    let live = &booking.live;
    let too_many = || Problem::new(Code::Unavailable).retry_after(5);
    let slot = live.slots.take(address).ok_or_else(too_many)?;
    let watcher = live.watch(&booking, layout).await?;
    let office = Arc::clone(&booking);
    live.tasks.spawn(async move {
        let _slot = slot;
        if let Ok(io) = upgraded.await {
            Socket::new(office, watcher, TokioIo::new(io)).run().await;
        }
    });
    Ok(answer)
}

/// How many look at the event's live map.
#[utoipa::path(get, path = "/api/events/{id}/presence", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = PresenceView), (status = 404, description = "not_found")))]
pub async fn count(
    State(booking): State<Arc<Booking>>,
    Path(id): Path<String>,
) -> Result<axum::Json<PresenceView>, Problem> {
    let event = booking.layout(&id).await?.id.clone();
    let here = booking.live.watchers(&event);
    let active = booking.live.presence.tell(&event, here).await.map_err(|why| {
        tracing::warn!(%why, "people are not counted");
        Problem::new(Code::Unavailable).retry_after(1)
    })?;
    Ok(axum::Json(PresenceView { active }))
}

impl Booking {
    /// Waits for `shutdown`, then says goodbye to all who watch.
    pub(super) async fn run_live(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.cancelled().await;
        self.live.closing.cancel();
        self.live.tasks.close();
        self.live.tasks.wait().await;
    }
}
