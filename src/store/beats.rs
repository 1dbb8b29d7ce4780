//! Each room's time by this process's own account: as it last heard it, and how
//! long ago by a clock that is never set.
//!
//! Lets a store notice that its own clock was; see
//! [`Line::time`](crate::domain::line::Line::time).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::domain::id::RoomName;
use crate::domain::time::Timestamp;

/// An answer that took longer is of no use: nobody knows when within that it was true.
const PROMPT: Duration = Duration::from_secs(2);

/// The last time heard of each room, and when by the monotonic clock.
pub(super) struct Beats {
    clock: Arc<dyn Clock>,
    heard: Mutex<HashMap<RoomName, (Timestamp, Duration)>>,
}

impl Beats {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, heard: Mutex::default() }
    }

    /// Now, to be given back with the answer.
    pub(super) fn ask(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The answer to what was asked at `asked` says that it is `now` in the room.
    pub(super) fn note(&self, room: &RoomName, now: Timestamp, asked: Duration) {
        let heard = self.clock.monotonic();
        if heard.saturating_sub(asked) > PROMPT {
            return;
        }
        let mut rooms = self.heard.lock();
        match rooms.get_mut(room) {
            Some(entry) => *entry = (now, heard),
            None => drop(rooms.insert(room.clone(), (now, heard))),
        }
    }

    /// What time it must be in the room; `None` when it was never heard.
    pub(super) fn expected(&self, room: &RoomName) -> Option<Timestamp> {
        let &(now, heard) = self.heard.lock().get(room)?;
        Some(now + self.clock.monotonic().saturating_sub(heard))
    }
}
