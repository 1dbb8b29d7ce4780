//! Since when each room's tick number stands, by this process's own clock.
//!
//! Lets a store tick on when the clock it counts by was set back; see
//! [`Line::steady`](crate::domain::line::Line::steady).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::domain::admission::Beat;
use crate::domain::id::RoomName;

/// The last tick seen of each room, and when by the monotonic clock.
pub(super) struct Beats {
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<RoomName, (u64, Duration)>>,
}

impl Beats {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    /// Notes that the room is at `tick`.
    pub(super) fn note(&self, room: &RoomName, tick: u64) {
        let now = self.clock.monotonic();
        let mut seen = self.seen.lock();
        match seen.get_mut(room) {
            Some((before, _)) if *before == tick => {}
            Some(entry) => *entry = (tick, now),
            None => drop(seen.insert(room.clone(), (tick, now))),
        }
    }

    /// How long the room's last tick number has been standing.
    pub(super) fn of(&self, room: &RoomName) -> Option<Beat> {
        let &(tick, at) = self.seen.lock().get(room)?;
        Some(Beat { tick, elapsed: self.clock.monotonic().saturating_sub(at) })
    }
}
