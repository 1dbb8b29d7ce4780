//! What a gate remembers of its line, and how a lost one comes back of it.
//!
//! A store that is empty, or behind what this gate has seen, has lost the line
//! or its end. Every gate then tells it how far the line had come, who was out
//! and who is inside; the places come back as their holders poll
//! ([`crate::domain::line::Line::recall`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::driver::State;
use super::{Room, View, handed};
use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::line::{CHUNK, Known, PutBack, Standing};
use crate::domain::pass::Pass;
use crate::domain::rank::Rank;
use crate::domain::time::Timestamp;
use crate::store::{Report, StoreError};

/// Bytes of bits in one call: 131,072 numbers.
const BITS: usize = 16 * 1_024;
/// Waiting numbers in one read.
const RANGE: usize = 20_000;
/// A poll that comes when it was told to may take so long to arrive.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What a gate remembers beside its view.
#[derive(Default)]
pub(super) struct Memory {
    /// The line that the highest number is of.
    epoch: Mutex<Epoch>,
    /// The highest number seen in a place that was given or shown here.
    highest: AtomicU64,
    /// Live passes that were given, prolonged or shown here.
    inside: Mutex<HashMap<PlaceNumber, (VisitorId, Pass)>>,
    /// Raised with each change of those.
    changes: AtomicU64,
    /// A line that somebody's place tells of, and the store does not.
    told_of: Mutex<Option<Known>>,
}

impl Memory {
    pub(super) fn saw(&self, epoch: Epoch, PlaceNumber(number): PlaceNumber) {
        if number > self.highest.load(Ordering::Relaxed) {
            // A place of a line that was cleared a moment ago tells nothing of this one.
            let of = self.epoch.lock();
            if *of == epoch {
                self.highest.fetch_max(number, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn is_inside(&self, visitor: VisitorId, pass: Pass) {
        if self.inside.lock().insert(pass.number, (visitor, pass)) != Some((visitor, pass)) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_out(&self, number: PlaceNumber) {
        self.inside.lock().remove(&number);
    }

    pub(super) fn forget_ended(&self, now: Timestamp) {
        self.inside.lock().retain(|_, (_, pass)| pass.is_live(now));
    }

    /// Another line begins, and what was known of the one before is void.
    pub(super) fn clear(&self, epoch: Epoch) {
        self.follow(epoch);
        self.inside.lock().clear();
        *self.told_of.lock() = None;
    }

    /// The line is this one; passes shown for it stay.
    pub(super) fn follow(&self, epoch: Epoch) {
        let mut of = self.epoch.lock();
        if *of != epoch {
            *of = epoch;
            self.highest.store(0, Ordering::Relaxed);
        }
    }

    /// Whether somebody's place told of another line.
    pub(super) fn is_told(&self) -> bool {
        self.told_of.lock().is_some()
    }
}

impl View {
    /// Whether nothing ever happened in this room.
    fn is_unborn(&self) -> bool {
        self.standing.as_ref().is_none_or(|standing| standing.epoch == self.epoch && is_unborn(standing))
    }
}

impl Room {
    /// Whether places may be shown to the store again: it lost the line.
    pub fn is_coming_back(&self) -> bool {
        self.view.load().rebuilding
    }

    /// Whether the holder of a place was heard recently enough, at `seen_at`,
    /// that the place was alive when the store was last heard.
    pub fn was_alive(&self, seen_at: Timestamp) -> bool {
        let view = self.view.load();
        let last = view.standing.as_ref().map_or_else(|| self.now(), |s| s.now);
        seen_at + view.settings.idle_timeout + view.settings.heartbeat() >= last
    }

    /// A place or pass of another line than the store's, alive until a moment
    /// ago. When nothing has happened yet in the store's line, it is an empty one
    /// in the place of that which was lost, and that one comes back.
    pub fn tells_of(&self, epoch: Epoch, number: PlaceNumber) -> bool {
        if !may_be_lost(&self.view.load(), epoch) {
            return false;
        }
        let mut told_of = self.memory.told_of.lock();
        // Epochs are instants: of several lines the last is the one that was lost.
        if told_of.as_ref().is_none_or(|known| known.epoch < epoch) {
            *told_of =
                Some(Known { epoch, next: PlaceNumber(1), log_seq: 0, claimed: 0, recoveries: 0, lot: None });
        }
        let known = told_of.as_mut().filter(|known| known.epoch == epoch);
        known.is_some_and(|known| {
            known.next = known.next.max(PlaceNumber(number.0 + 1));
            true
        })
    }

    /// A pass that was shown: it counts again when its line comes back.
    pub fn shown(&self, visitor: VisitorId, epoch: Epoch, pass: &Pass) {
        if self.is_coming_back() || self.tells_of(epoch, pass.number) {
            self.memory.is_inside(visitor, *pass);
        }
    }
}

/// Whether `epoch` may be the line that was where an unborn one is now.
pub(super) fn may_be_lost(view: &View, epoch: Epoch) -> bool {
    view.epoch != epoch && view.standing.is_some() && view.is_unborn()
}

/// How far the line had come, as far as this gate knows.
pub(super) fn known(room: &Room, state: &State) -> Option<Known> {
    let view = room.view.load();
    let mut told_of = room.memory.told_of.lock();
    // Somebody joined meanwhile, or that line came back: it is of no more use.
    *told_of = told_of.take().filter(|known| may_be_lost(&view, known.epoch));
    if told_of.is_some() {
        return told_of.clone();
    }
    let known = seen(room, &view).filter(|known| known.epoch == state.epoch)?;
    let recoveries = state.recoveries.max(state.told);
    Some(Known { log_seq: state.log_seq, recoveries, lot: view.lot(), ..known })
}

/// How far the line had come by the view and the places that were seen here: what a
/// store must not be behind to give anybody a number. Without the draw, for who joins
/// a line that lost only that is too late for it all the same.
pub(super) fn seen(room: &Room, view: &View) -> Option<Known> {
    // After a clear the last word is of the line before.
    let standing = view.standing.as_ref().filter(|standing| standing.epoch == view.epoch)?;
    let seen = room.memory.highest.load(Ordering::Relaxed) + 1;
    Some(Known {
        epoch: view.epoch,
        next: standing.next.max(PlaceNumber(seen)),
        log_seq: standing.log_seq,
        claimed: standing.totals.claimed,
        recoveries: standing.recoveries,
        lot: None,
    })
}

/// Whether the store is behind what this gate knew before it asked.
pub(super) fn is_behind(standing: &Standing, known: Option<&Known>) -> bool {
    known.is_some_and(|known| {
        let other = standing.epoch != known.epoch;
        if other {
            is_unborn(standing)
        } else {
            standing.next < known.next
                || standing.log_seq < known.log_seq
                || standing.totals.claimed < known.claimed
                || known.lot.is_some() && !standing.drawn
        }
    })
}

fn is_unborn(standing: &Standing) -> bool {
    standing.next.0 <= 1 && standing.log_seq == 0 && standing.former.is_empty()
}

/// Opens the room for a gate that may know how far its line had come; `found`: what the
/// store has of it, where that was asked.
pub(super) async fn reopen(
    room: &Room,
    known: Option<&Known>,
    found: Option<&Standing>,
) -> Result<Report, StoreError> {
    let config = Arc::clone(&*room.config());
    let Some(known) = known else {
        let epoch = Epoch(room.clock.now().as_millis());
        return room.store.open(&config.name, epoch, &config.line).await;
    };
    let report = room.store.reopen(&config.name, known, window(room, found), &config.line).await?;
    // Taken up, or too late for it.
    *room.memory.told_of.lock() = None;
    Ok(report)
}

/// How long places may come back: two of the longest pauses between polls. Where only
/// the last moments were lost, those who joined in them are few and last in the line:
/// nobody waits for one of them who does not poll when told.
pub(super) fn window(room: &Room, found: Option<&Standing>) -> Duration {
    let pause = room.longest_pause();
    let twice = pause * 2;
    match found {
        Some(found) if is_of_late(room, found, twice) => twice.min(pause + ON_ITS_WAY),
        _ => twice,
    }
}

/// Whether a line is the one this gate followed, as it was at most so long before the
/// store was last heard.
fn is_of_late(room: &Room, found: &Standing, age: Duration) -> bool {
    let view = room.view.load();
    let heard = view.standing.as_ref().filter(|heard| heard.epoch == found.epoch);
    found.tick > 0 && heard.is_some_and(|heard| found.due_at + age >= heard.now)
}

/// Refuses a line that is neither the one this gate knew nor one that was begun
/// in its place.
pub(super) fn check_line(room: &Room, standing: &Standing) -> Result<(), StoreError> {
    let view = room.view.load();
    let ours = view.epoch == standing.epoch || view.epoch == Epoch(0) || view.is_unborn();
    if ours || standing.former.contains(&view.epoch) {
        return Ok(());
    }
    Err(StoreError::Away(format!(
        "it carries another line ({}) than this gate's ({}): clear the room or restart the gates to take it",
        standing.epoch, view.epoch
    )))
}

/// Tells the store what this gate remembers: all of it once for each loss, and
/// passes again when more were shown.
pub(super) async fn put_back(room: &Room, state: &mut State, report: &Report) -> Result<(), StoreError> {
    let standing = &report.standing;
    let view = room.view.load_full();
    let same = view.epoch == standing.epoch;
    if !same && !view.is_unborn() {
        // What is remembered is of a line that was cleared.
        room.memory.clear(standing.epoch);
    }
    room.memory.follow(standing.epoch);
    if state.told != standing.recoveries {
        tracing::warn!(
            room = %room.config().name, until = standing.recovering_until.as_millis(),
            "the store lost the line, or its end: places come back as their holders poll, nobody is admitted"
        );
        if same {
            put_out_back(room, &view.rank).await?;
            drop_out(room, &view.rank).await?;
            handed::put_back(room, &view.rank).await?;
        }
        put_revoked_back(room).await?;
        (state.told, state.put) = (standing.recoveries, None);
    }
    let changes = room.memory.changes.load(Ordering::Relaxed);
    if state.put == Some(changes) {
        return Ok(());
    }
    let revoked = |pass: &Pass| room.revoked.contains_key(&(pass.number, pass.issued_at));
    let inside: Vec<_> =
        room.memory.inside.lock().values().filter(|(_, pass)| !revoked(pass)).copied().collect();
    for chunk in inside.chunks(CHUNK) {
        room.store.put_back(&room.config().name.clone(), &PutBack::Passes(chunk.to_vec())).await?;
    }
    state.put = Some(changes);
    Ok(())
}

/// A stale copy of the store may have passes that were given back since.
async fn put_revoked_back(room: &Room) -> Result<(), StoreError> {
    let pass = |entry: dashmap::mapref::multiple::RefMulti<'_, (PlaceNumber, Timestamp), Timestamp>| {
        let &(number, issued_at) = entry.key();
        Pass { number, issued_at, expires_at: *entry.value() }
    };
    let revoked: Vec<_> = room.revoked.iter().map(pass).collect();
    let name = room.config().name.clone();
    for chunk in revoked.chunks(CHUNK) {
        room.store.put_back(&name, &PutBack::Revoked(chunk.to_vec())).await?;
    }
    Ok(())
}

/// What operators and the app said last is in force again, where the store fell back to
/// before it: a line of which nothing else was lost does not come back otherwise.
pub(super) async fn put_overrides_back(room: &Room, report: &mut Report) -> Result<(), StoreError> {
    let view = room.view.load_full();
    let is_older = report.overrides.revision < view.overrides.revision;
    if view.epoch != report.standing.epoch || !is_older {
        return Ok(());
    }
    let name = room.config().name.clone();
    room.store.set_overrides(&name, &view.overrides).await?;
    report.overrides = view.overrides.clone();
    Ok(())
}

async fn put_out_back(room: &Room, rank: &Rank) -> Result<(), StoreError> {
    let name = room.config().name.clone();
    let below = rank.base();
    let bits = rank.bits();
    if bits.is_empty() {
        return room.store.put_back(&name, &PutBack::Out { below, from: below, bits }).await;
    }
    for (i, chunk) in bits.chunks(BITS).enumerate() {
        let from = PlaceNumber(below.0 + (i * BITS * 8) as u64);
        room.store.put_back(&name, &PutBack::Out { below, from, bits: chunk.to_vec() }).await?;
    }
    Ok(())
}

/// A stale copy of the store may have places in line that were out.
async fn drop_out(room: &Room, rank: &Rank) -> Result<(), StoreError> {
    let name = room.config().name.clone();
    let mut after = PlaceNumber(0);
    loop {
        let numbers = room.store.waiting(&name, after, RANGE).await?;
        let out: Vec<_> = numbers.iter().copied().filter(|&number| rank.is_out(number)).collect();
        for chunk in out.chunks(CHUNK) {
            room.store.put_back(&name, &PutBack::Drop(chunk.to_vec())).await?;
        }
        match numbers.last() {
            Some(&last) if numbers.len() == RANGE => after = last,
            _ => return Ok(()),
        }
    }
}
