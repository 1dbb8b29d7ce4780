//! Keeps a room going: opens it, ticks, follows the log, sends signs of life.
//!
//! Every gate does all of this; the store sees to it that one batch comes of
//! many callers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::draw::{self, Drawn};
use super::{Room, View, arrivals, copies, handed, recovery};
use crate::domain::estimate::Estimate;
use crate::domain::id::{Epoch, PlaceNumber};
use crate::domain::line::Standing;
use crate::domain::rank::Rank;
use crate::store::{LogPage, Report, StoreError};

/// The log is read at least this often, so that a revoked pass is dead
/// everywhere within a second.
const FOLLOW: Duration = Duration::from_millis(500);
const _: () = assert!(FOLLOW.as_millis() * 2 <= 1_000);
/// Room is made before each tick, and at least this often.
const TIDY: Duration = Duration::from_secs(1);
/// Between two attempts while the store is away.
const RETRY: Duration = Duration::from_millis(100);
/// Waiting numbers in one read of a snapshot.
const RANGE: usize = 20_000;
/// Log entries in one read.
const ENTRIES: usize = 200;
/// Signs of life in one call.
const SIGNS: usize = 100_000;

/// What the driver carries from step to step.
#[derive(Default)]
pub(super) struct State {
    open: bool,
    /// The line that the following tells of.
    pub(super) epoch: Epoch,
    pub(super) log_seq: u64,
    /// How often the line that the view shows had come back.
    pub(super) recoveries: u64,
    /// The loss after which this gate put back what it remembers.
    pub(super) told: u64,
    /// The state of the memory of passes that was put back last.
    pub(super) put: Option<u64>,
    /// The draw of the line that is followed.
    pub(super) drawn: Option<Drawn>,
    estimate: Estimate,
    sent_at: Duration,
    made_room_at: Option<Duration>,
}

/// Runs for ever.
pub(super) async fn run(room: &Room) {
    let mut state = State::default();
    loop {
        let pause = match step(room, &mut state).await {
            Ok(pause) => pause,
            Err(why) => {
                degrade(room, &mut state, &why);
                RETRY
            }
        };
        room.clock.sleep(pause).await;
    }
}

/// One round; answers how long to pause.
async fn step(room: &Room, state: &mut State) -> Result<Duration, StoreError> {
    if !state.open || room.view().stale_settings {
        open(room, state).await?;
    }
    let name = room.config().name.clone();
    // Before anybody is evicted for silence.
    send_signs(room, state).await?;
    make_room(room, state).await?;
    let known = recovery::known(room, state);
    let changes = room.changes();
    let mut report = match room.store.admit(&name, known.as_ref()).await {
        // A full store admits nobody, but room is made and passes are revoked all the same.
        Err(StoreError::Full) => recovery::reopen(room, known.as_ref(), None).await?,
        report => report?,
    };
    if recovery::is_behind(&report.standing, known.as_ref()) {
        report = recovery::reopen(room, known.as_ref(), Some(&report.standing)).await?;
    }
    recovery::check_line(room, &report.standing)?;
    recovery::put_overrides_back(room, &mut report).await?;
    room.time.heard(report.standing.now, &*room.clock);
    if report.standing.now < report.standing.recovering_until {
        return come_back(room, state, report).await;
    }
    let rank = follow(room, state, &report).await?;
    draw::learn(room, state, &report.standing, &rank).await?;
    publish(room, state, report, rank, changes);
    copies::send(room).await?;
    let caught_up = match arrivals::catch_up(room).await {
        Err(StoreError::Full) => true,
        caught_up => caught_up?,
    };
    let view = room.view();
    let due = view.standing.as_ref().map_or(RETRY, |s| s.due_at.since(room.now()));
    Ok(if caught_up { pause_until(due) } else { pause_until(due).min(RETRY) })
}

/// How long until the store is asked again: the time until then in equal parts.
fn pause_until(due: Duration) -> Duration {
    let parts = due.as_millis().div_ceil(FOLLOW.as_millis()).max(1);
    let part = due / u32::try_from(parts).unwrap_or(u32::MAX);
    part.clamp(Duration::from_millis(5), FOLLOW)
}

/// Makes room when a tick is due, or has not been for long.
async fn make_room(room: &Room, state: &mut State) -> Result<(), StoreError> {
    let now = room.clock.monotonic();
    let is_due = room.view().standing.as_ref().is_none_or(|standing| standing.due_at <= room.now());
    if is_due || state.made_room_at.is_none_or(|at| now.saturating_sub(at) >= TIDY) {
        room.store.make_room(&room.config().name).await?;
        state.made_room_at = Some(now);
    }
    Ok(())
}

/// One round while the store's line comes back: as in an outage, but that places
/// may be shown.
async fn come_back(room: &Room, state: &mut State, report: Report) -> Result<Duration, StoreError> {
    recovery::put_back(room, state, &report).await?;
    let standing = report.standing;
    let left = standing.recovering_until.since(standing.now);
    if standing.epoch != room.view().epoch {
        room.heartbeats.clear();
        room.handed.clear();
        (state.epoch, state.log_seq) = (standing.epoch, 0);
    }
    follow_revoked(room, state, &standing).await?;
    room.view.rcu(|view| {
        let same = view.epoch == standing.epoch;
        View {
            epoch: standing.epoch,
            rank: if same { Arc::clone(&view.rank) } else { Arc::new(Rank::new()) },
            drawn: view.drawn.clone().filter(|_| same),
            // What was known before the loss, as long as it is this line's.
            standing: view.standing.clone().filter(|_| same).or_else(|| Some(standing.clone())),
            degraded: true,
            rebuilding: true,
            ..View::clone(view)
        }
    });
    Ok(pause_until(left))
}

/// Opens the room, and reads all of it when this gate has not seen this line.
async fn open(room: &Room, state: &mut State) -> Result<(), StoreError> {
    // Before the settings are read: a change after this is sent at the next step.
    set_stale(room, false);
    let config = Arc::clone(&*room.config());
    let changes = room.changes();
    let opened = recovery::reopen(room, recovery::known(room, state).as_ref(), None).await;
    let mut report = opened.inspect_err(|_| set_stale(room, true))?;
    recovery::check_line(room, &report.standing).inspect_err(|_| set_stale(room, true))?;
    let put_back = recovery::put_overrides_back(room, &mut report).await;
    put_back.inspect_err(|_| set_stale(room, true))?;
    room.time.heard(report.standing.now, &*room.clock);
    let same_line = report.standing.epoch == room.view().epoch && state.open;
    let coming_back = report.standing.now < report.standing.recovering_until;
    let settings = report.overrides.apply(&config.line);
    room.view.rcu(|view| match room.changes() == changes {
        true => View { settings: settings.clone(), ..View::clone(view) },
        false => View::clone(view),
    });
    if !same_line && !coming_back {
        let rank = snapshot(room, state, &report.standing).await?;
        draw::learn(room, state, &report.standing, &rank).await?;
        state.estimate = Estimate::default();
        publish(room, state, report, rank, changes);
    }
    state.open = true;
    room.ready.store(true, Ordering::Relaxed);
    Ok(())
}

fn set_stale(room: &Room, stale_settings: bool) {
    room.view.rcu(|view| View { stale_settings, ..View::clone(view) });
}

/// Reads who waits, in ranges; the log replays what happened meanwhile.
async fn snapshot(room: &Room, state: &mut State, standing: &Standing) -> Result<Arc<Rank>, StoreError> {
    let name = room.config().name.clone();
    let mut rank = Rank::new();
    let mut after = PlaceNumber(0);
    loop {
        let numbers = room.store.waiting(&name, after, RANGE).await?;
        for &number in numbers.iter().filter(|n| **n < standing.next) {
            rank.leave_range(PlaceNumber(after.0 + 1), number);
            rank.forget_front();
            after = number;
        }
        let reached_newcomers = numbers.last().is_some_and(|last| *last >= standing.next);
        if numbers.len() < RANGE || reached_newcomers {
            break;
        }
    }
    rank.leave_range(PlaceNumber(after.0 + 1), standing.next);
    rank.forget_front();
    read_revoked(room).await?;
    room.heartbeats.clear();
    if standing.epoch != state.epoch {
        room.memory.clear(standing.epoch);
        room.handed.clear();
    }
    handed::read(room, standing.now).await?;
    if let Some(drawn) = &mut state.drawn {
        drawn.recount(&rank);
    }
    (state.epoch, state.log_seq) = (standing.epoch, standing.log_seq);
    (state.recoveries, state.told) = (standing.recoveries, standing.recoveries);
    Ok(Arc::new(rank))
}

async fn read_revoked(room: &Room) -> Result<(), StoreError> {
    for pass in room.store.revoked(&room.config().name).await? {
        room.revoke_here(&pass);
    }
    Ok(())
}

/// Reads of the log, while the line comes back, which passes ended: other gates put back
/// those of which this one had not heard. The bitmap is read anew when the line stands.
async fn follow_revoked(room: &Room, state: &mut State, standing: &Standing) -> Result<(), StoreError> {
    while state.log_seq < standing.log_seq {
        let page = room.store.log(&room.config().name, state.log_seq, ENTRIES).await?;
        let LogPage::Entries(entries) = page else {
            read_revoked(room).await?;
            state.log_seq = standing.log_seq;
            break;
        };
        let Some(&(last, _)) = entries.last() else { break };
        for pass in entries.iter().flat_map(|(_, entry)| &entry.revoked) {
            room.revoke_here(pass);
        }
        state.log_seq = last;
    }
    Ok(())
}

/// Brings the bitmap up to the report's log entry.
async fn follow(room: &Room, state: &mut State, report: &Report) -> Result<Arc<Rank>, StoreError> {
    let view = room.view().clone();
    // Another line, or one that was lost and came back.
    let same = report.standing.epoch == state.epoch && report.standing.recoveries == state.recoveries;
    if !same || report.standing.log_seq < state.log_seq {
        return snapshot(room, state, &report.standing).await;
    }
    let mut rank = Arc::clone(&view.rank);
    // Kept only with the bitmap it belongs to: a read that fails half-way is read again.
    let mut seq = state.log_seq;
    while seq < report.standing.log_seq {
        let LogPage::Entries(entries) = room.store.log(&room.config().name, seq, ENTRIES).await? else {
            return snapshot(room, state, &report.standing).await;
        };
        let Some(&(last, _)) = entries.last() else { break };
        Arc::make_mut(&mut rank).leave_all(entries.iter().flat_map(|(_, entry)| entry.out.iter().copied()));
        if let Some(drawn) = &mut state.drawn {
            drawn.leave(entries.iter().flat_map(|(_, entry)| entry.out.iter().copied()));
        }
        for pass in entries.iter().flat_map(|(_, entry)| &entry.revoked) {
            room.revoke_here(pass);
        }
        for &(number, to) in entries.iter().flat_map(|(_, entry)| &entry.handed) {
            room.handed.note(number, to, report.standing.now);
        }
        seq = last;
    }
    state.log_seq = seq;
    Ok(rank)
}

/// Shows a report in the view; `changes` were made here when it was asked for.
fn publish(room: &Room, state: &mut State, report: Report, mut rank: Arc<Rank>, changes: u64) {
    let standing = report.standing;
    state.estimate.note(standing.now, standing.next.0.saturating_sub(1 + standing.waiting));
    let old = room.view();
    if standing.tick.is_multiple_of(64) && standing.admitted > 0 {
        Arc::make_mut(&mut rank).forget_front();
        room.heartbeats.forget_below(rank.base());
    }
    if standing.tick.is_multiple_of(64) {
        room.memory.forget_ended(standing.now);
        room.copies.forget_ended(standing.now);
        room.handed.forget(&rank, standing.now);
        room.revoked.retain(|_, until| standing.now < *until);
    }
    let recovered = old.degraded && old.standing.is_some();
    if recovered {
        tracing::info!(room = %room.config().name, "store is back");
    }
    if old.standing.as_ref().is_some_and(|old| old.epoch == standing.epoch && old.skew_ms != standing.skew_ms)
    {
        tracing::warn!(
            room = %room.config().name, skew_ms = standing.skew_ms,
            "the store's clock was set: the line keeps its own time, which is behind by that"
        );
    }
    let settings = report.overrides.apply(&room.config().line);
    // A gate that starts before a line that waits already was away itself, or takes
    // over the visitors of one that is: they come all at once.
    let returns = recovered || old.standing.is_none() && standing.waiting > 0;
    let recovering_until =
        if returns { standing.now + settings.idle_timeout / 4 } else { old.recovering_until };
    let speed = state.estimate.speed();
    let drawn = &state.drawn;
    room.view.rcu(|view| {
        // An operator's change of a moment ago is newer than the report.
        let is_news = room.changes() == changes;
        let (settings, overrides) =
            if is_news { (&settings, &report.overrides) } else { (&view.settings, &view.overrides) };
        View {
            epoch: standing.epoch,
            rank: Arc::clone(&rank),
            drawn: drawn.clone(),
            standing: Some(standing.clone()),
            settings: settings.clone(),
            overrides: overrides.clone(),
            speed,
            degraded: false,
            rebuilding: false,
            stale_settings: view.stale_settings,
            recovering_until,
        }
    });
}

fn degrade(room: &Room, state: &mut State, why: &StoreError) {
    if *why == StoreError::NoRoom {
        state.open = false;
    }
    if !room.view().degraded {
        tracing::warn!(room = %room.config().name, %why, "store is away: nobody new is admitted, passes go on");
    }
    if !matches!(why, StoreError::Full) {
        room.view.rcu(|view| View { degraded: true, rebuilding: false, ..View::clone(view) });
    }
}

/// Between the first signs of life that a gate sends.
const SOON: Duration = Duration::from_secs(1);

/// Whether it is time to send signs of life: once per heartbeat interval, and at
/// first oftener, so that gates that never get that old do not keep silent for good.
fn signs_are_due(sent_at: Duration, now: Duration, heartbeat: Duration) -> bool {
    now.saturating_sub(sent_at) >= heartbeat.min(sent_at.max(SOON))
}

/// Sends gathered signs of life when it is time.
async fn send_signs(room: &Room, state: &mut State) -> Result<(), StoreError> {
    let now = room.clock.monotonic();
    if !signs_are_due(state.sent_at, now, room.view().settings.heartbeat()) {
        return Ok(());
    }
    state.sent_at = now;
    flush(room).await
}

async fn flush(room: &Room) -> Result<(), StoreError> {
    let view = room.view().clone();
    let mut signs = room.heartbeats.take();
    signs.retain(|(number, _)| !view.rank.is_out(*number));
    let name = room.config().name.clone();
    for (i, chunk) in signs.chunks(SIGNS).enumerate() {
        if let Err(why) = room.store.seen(&name, chunk).await {
            room.heartbeats.put_back(&signs[i * SIGNS..]);
            return Err(why);
        }
    }
    Ok(())
}

/// The last thing a stopping gate does: its signs of life must not be lost.
pub(super) async fn last_words(room: &Room) {
    if let Err(why) = flush(room).await {
        tracing::warn!(room = %room.config().name, %why, "signs of life were not sent");
    }
}

#[cfg(test)]
mod tests;
