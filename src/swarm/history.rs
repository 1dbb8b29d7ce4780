//! What happened to each simulated visitor, as it saw it.
//!
//! Owns the record that the rules of [`super::check`] read: every exchange with
//! the time it was sent and the time it was answered. Never decides whether
//! something was right. After the histories of Jepsen: an exchange without an
//! answer stays in, for it may have been carried out all the same.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::id::PlaceNumber;
use crate::domain::time::{Timestamp, millis};

/// How far the gate's clock may be from ours when it names a pass's end.
const SKEW: Duration = Duration::from_secs(1);

/// What a run leaves behind.
#[derive(Clone, Debug, Default)]
pub struct History<T = Track> {
    /// One for each visitor, in the order of their indices.
    pub tracks: Vec<T>,
    /// When the first visitor may have come.
    pub started_at: Timestamp,
    /// When the last of them stopped.
    pub ended_at: Timestamp,
}

/// One visitor's exchanges, in the order in which it sent them. A visitor never
/// has two under way.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// What was asked and answered.
    pub exchanges: Vec<Exchange>,
    /// A digest of every token or cookie of the gate that this visitor was given.
    pub keys: Vec<u64>,
}

/// A request and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Just before the first byte went out.
    pub sent_at: Timestamp,
    /// Just after the last byte came in, or when the attempt was given up.
    pub answered_at: Timestamp,
    /// What the visitor wanted.
    pub asked: Asked,
    /// What it got.
    pub told: Told,
    /// Between this and the exchange before it there were polls that were left
    /// out: each in time, and told of the same place, no further back than the
    /// one before.
    pub spans: bool,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// `POST /queue/join`.
    Join,
    /// `GET /queue/status`.
    Poll,
    /// `POST /queue/leave`.
    Leave,
    /// A path of the app.
    Page(Credentials),
}

/// What a page request carried to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing, or a pass that no gate ever gave.
    Nothing,
    /// All that the visitor has.
    Own,
    /// What it had before it left.
    Old,
}

/// A kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// None came; the request may have been carried out all the same.
    Nothing,
    /// How the visitor stands.
    Status(Status),
    /// 429 `too_early`.
    TooEarly,
    /// The app's own answer.
    App,
    /// The gate's waiting page or waiting problem.
    Held,
    /// Anything else, such as a 503.
    Trouble,
}

/// The part of a status answer that the rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How the visitor stands.
    pub state: State,
    /// Its place, if it has or had one.
    pub number: Option<PlaceNumber>,
    /// 1 is next.
    pub position: Option<u64>,
    /// Time until the next poll that was asked for; 0 when none was.
    pub poll_after_ms: u32,
    /// End of the pass.
    pub pass_expires_at: Option<Timestamp>,
    /// The gate said that it answers without its store.
    pub degraded: bool,
}

/// `state` of a status answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No place.
    None,
    /// In the line.
    Waiting,
    /// Inside.
    Admitted,
    /// Evicted, or the pass ended.
    Expired,
    /// By the visitor's own act.
    Left,
    /// The room takes nobody.
    Closed,
    /// The line is full.
    Full,
}

/// One status answer with its times.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// When it was asked for.
    pub sent_at: Timestamp,
    /// When it came.
    pub answered_at: Timestamp,
    /// The request.
    pub asked: Asked,
    /// The answer.
    pub status: Status,
}

/// Takes down what happens to one visitor.
pub trait Recorder: Send {
    /// A request goes out; until it ends it counts as one without an answer.
    fn begin(&mut self, at: Timestamp, asked: Asked);

    /// The last request that went out ended so.
    fn end(&mut self, at: Timestamp, told: Told);

    /// A request that was made and answered meanwhile.
    fn put(&mut self, exchange: Exchange);

    /// The visitor was given a token with this digest.
    fn key(&mut self, digest: u64);
}

impl Recorder for Track {
    fn begin(&mut self, at: Timestamp, asked: Asked) {
        self.exchanges.push(Exchange::begun(at, asked));
    }

    fn end(&mut self, at: Timestamp, told: Told) {
        if let Some(exchange) = self.exchanges.last_mut() {
            (exchange.answered_at, exchange.told) = (at, told);
        }
    }

    fn put(&mut self, exchange: Exchange) {
        self.exchanges.push(exchange);
    }

    fn key(&mut self, digest: u64) {
        self.keys.push(digest);
    }
}

/// Shared with whoever reads the record in the end.
impl<R: Recorder> Recorder for Arc<Mutex<R>> {
    fn begin(&mut self, at: Timestamp, asked: Asked) {
        self.lock().begin(at, asked);
    }

    fn end(&mut self, at: Timestamp, told: Told) {
        self.lock().end(at, told);
    }

    fn put(&mut self, exchange: Exchange) {
        self.lock().put(exchange);
    }

    fn key(&mut self, digest: u64) {
        self.lock().key(digest);
    }
}

/// A track in whatever form it is kept.
pub trait Record {
    /// Reads it.
    fn read(&self, of: &mut dyn FnMut(&Track));
}

impl Record for Track {
    fn read(&self, of: &mut dyn FnMut(&Self)) {
        of(self);
    }
}

impl<T: Record> History<T> {
    /// Reads every track, with its visitor's index.
    pub(super) fn each(&self, mut of: impl FnMut(usize, &Track)) {
        for (visitor, record) in self.tracks.iter().enumerate() {
            record.read(&mut |track| of(visitor, track));
        }
    }
}

impl Exchange {
    /// A request that went out and has no answer yet.
    #[must_use]
    pub const fn begun(at: Timestamp, asked: Asked) -> Self {
        Self { sent_at: at, answered_at: at, asked, told: Told::Nothing, spans: false }
    }

    /// The status answer, if this is one.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let Told::Status(status) = self.told else { return None };
        Some(Shown { sent_at: self.sent_at, answered_at: self.answered_at, asked: self.asked, status })
    }

    /// Whether the gate surely heard the visitor.
    #[must_use]
    pub fn was_heard(&self) -> bool {
        matches!(self.told, Told::Status(_) | Told::TooEarly)
    }
}

impl Track {
    /// Status answers in order.
    pub fn shown(&self) -> impl DoubleEndedIterator<Item = Shown> + '_ {
        self.exchanges.iter().filter_map(Exchange::shown)
    }

    /// The exchanges cut into stretches of one stay: a new one begins where
    /// the visitor's own act (a join, or a page load, after its place ended)
    /// may have given it a new place.
    #[must_use]
    pub fn stays(&self) -> Vec<&[Exchange]> {
        let mut stays = Vec::new();
        let (mut start, mut ended) = (0, false);
        let mut pass_ends: Option<Timestamp> = None;
        for (i, exchange) in self.exchanges.iter().enumerate() {
            // Nobody need be told that a pass ran out: its end was known.
            let ran_out = pass_ends.is_some_and(|end| end <= exchange.answered_at + SKEW);
            if (ended || ran_out) && matches!(exchange.asked, Asked::Join | Asked::Page(Credentials::Own)) {
                stays.push(&self.exchanges[start..i]);
                (start, ended, pass_ends) = (i, false, None);
            }
            match exchange.told {
                Told::Status(Status { state: State::Admitted, pass_expires_at, .. }) => {
                    pass_ends = pass_expires_at;
                }
                Told::Status(Status { state: State::Expired | State::Left, .. }) => ended = true,
                // A leave whose answer was lost may have been carried out.
                Told::Nothing | Told::Trouble if exchange.asked == Asked::Leave => ended = true,
                _ => {}
            }
        }
        stays.push(&self.exchanges[start..]);
        stays
    }
}

/// The index of the first exchange that came after a silence in which a gate
/// may have given the visitor up or called it in vain, else the length.
///
/// `poll_after_ms` is at most half of the room's claim window and a quarter of
/// its idle timeout (`CONTRACT.md` 3), so a visitor that is heard again within
/// twice that time, measured from the earliest instant the gate can have meant
/// to the latest, missed nothing.
#[must_use]
pub fn kept_polling(stay: &[Exchange]) -> usize {
    let mut since: Option<(Timestamp, u64)> = None;
    for (i, exchange) in stay.iter().enumerate().filter(|(_, exchange)| exchange.was_heard()) {
        if let Some((heard_at, told_ms)) = since
            && !exchange.spans
            && millis(exchange.answered_at.since(heard_at)) > 2 * told_ms
        {
            return i;
        }
        since = match exchange.told {
            Told::Status(Status { state: State::Waiting, poll_after_ms: told_ms, .. }) if told_ms > 0 => {
                Some((exchange.sent_at, u64::from(told_ms)))
            }
            // Too early, or no time told: heard all the same, under the time told before.
            Told::TooEarly | Told::Status(Status { state: State::Waiting, .. }) => {
                since.map(|(_, told_ms)| (exchange.sent_at, told_ms))
            }
            // Whoever does not wait need not poll.
            _ => None,
        };
    }
    stay.len()
}
