//! What must hold of a line that its store lost, whole or its end.

use std::collections::BTreeSet;
use std::time::Duration;

use usher::domain::id::PlaceNumber;
use usher::domain::time::Timestamp;
use usher::swarm::history::{History, Shown, State, Track};

/// A loss, and who waited then.
pub struct Loss {
    pub at: Timestamp,
    pub waiting: BTreeSet<PlaceNumber>,
}

/// Those that waited at a loss, asked before and after it, and were told of a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept {
    /// Told of the number that they had.
    pub stayed: u64,
    /// Told of another, or of none.
    pub moved: u64,
}

impl Kept {
    /// What became of the places that were there at these losses.
    pub fn of(history: &History, losses: &[Loss]) -> Self {
        let mut kept = Self::default();
        for track in &history.tracks {
            for loss in losses {
                match stayed(track, loss) {
                    Some(true) => kept.stayed += 1,
                    Some(false) => kept.moved += 1,
                    None => {}
                }
            }
        }
        kept
    }
}

/// Silence about a loss in which a place may be given up.
const SILENCE: Duration = Duration::from_secs(4);

fn stayed(track: &Track, loss: &Loss) -> Option<bool> {
    let is_sure = |shown: &Shown| !shown.status.degraded;
    let before = track.shown().rfind(|shown| shown.answered_at < loss.at)?;
    let own = before.status.number.filter(|own| loss.waiting.contains(own))?;
    let was_there = before.status.state == State::Waiting && before.answered_at + SILENCE > loss.at;
    let heard = track.shown().find(|shown| shown.sent_at > loss.at)?;
    if !was_there || heard.sent_at > loss.at + SILENCE {
        return None;
    }
    let next = track.shown().filter(is_sure).find(|shown| shown.sent_at > loss.at)?;
    match next.status.state {
        State::Waiting | State::Admitted => next.status.number.map(|number| number == own),
        State::Expired | State::None => Some(false),
        State::Left | State::Closed | State::Full => None,
    }
}
