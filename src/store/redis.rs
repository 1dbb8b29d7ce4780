//! Lines in Redis, shared by any number of gates.
//!
//! One script per operation, so each is atomic; the scripts say what the model
//! says ([`crate::domain::line`]), and a seeded test compares the two step by
//! step. All keys of a room share one hash tag, so that it lives on one shard.
//! Never waits for Redis longer than one call may take, and decides nothing by
//! itself.
//!
//! | key `PREFIX:{ROOM}:…` | holds |
//! | --- | --- |
//! | `room` | hash: epoch, next number, tick, times, how far the clock was set, totals, `base:` settings, `set:` changes |
//! | `waiting`, `returning` | visitor by number |
//! | `heard`, `pages` | signs of life, 512 numbers to a field of bits for each slice of time; these fields by their oldest slice |
//! | `joined` | when waiting numbers were taken, a hundred to a field |
//! | `called`, `passes`, `ended` | visitor by claim deadline, end of the pass, instant |
//! | `places` | hash: visitor to what these sets do not tell |
//! | `holders` | hash: number to the visitor called or inside |
//! | `recent` | list: admissions of the last 60 s |
//! | `revoked` | number and issue time of passes ended early, by their end |
//! | `log` | stream with ids `SEQ-0`, capped |
//! | `out` | while a lost line comes back: a bit for each number that was out |
//! | `seen` | a line of an older version: its signs of life, until they are taken over |
//! | `handed` | number and visitor by waiting number, of those that were handed over |
//! | `bound` | hash: number to what is known of the generations of its pass |
//! | `entries` | secret and entries of the draw, once it took place |

mod bound;
mod scripts;
mod signs;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd};

use super::beats::Beats;
use super::{LogPage, Overrides, Report, Store, StoreError};
use crate::clock::{Clock, SystemClock};
use crate::domain::autotune::Word;
use crate::domain::binding::{Claim, Heard, Rotation};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::line::{CHUNK, Known, PutBack, Settings};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::{Timestamp, millis};
use crate::redis::{CallError, Redis, Script};

use scripts::Scripts;
use signs::Slices;
use wire::Arg;

/// The last parts of a room's keys, in the order in which the scripts take them.
const KEYS: [&str; 19] = [
    "room",
    "waiting",
    "heard",
    "pages",
    "joined",
    "returning",
    "called",
    "passes",
    "places",
    "holders",
    "ended",
    "recent",
    "revoked",
    "log",
    "out",
    "seen",
    "handed",
    "entries",
    "bound",
];
/// Numbers read in one call, at most.
const RANGE: usize = 20_000;

/// The shared store.
pub struct RedisStore {
    redis: Redis,
    prefix: String,
    scripts: Scripts,
    beats: Beats,
    slices: Slices,
    /// Tells the time instead of Redis.
    clock: Option<Arc<dyn Clock>>,
}

impl RedisStore {
    /// The store whose keys begin with `prefix`; its time is Redis's.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> Self {
        Self {
            redis,
            prefix: prefix.to_owned(),
            scripts: Scripts::new(),
            beats: Beats::new(Arc::new(SystemClock::new())),
            slices: Slices::default(),
            clock: None,
        }
    }

    /// The same with `clock`'s time, for tests and simulation.
    #[must_use]
    pub fn with_clock(redis: Redis, prefix: &str, clock: Arc<dyn Clock>) -> Self {
        Self { beats: Beats::new(clock.clone()), clock: Some(clock), ..Self::new(redis, prefix) }
    }

    fn key(&self, room: &RoomName, name: &str) -> String {
        format!("{}:{{{room}}}:{name}", self.prefix)
    }

    /// Runs an operation that takes place at a time.
    async fn act(&self, room: &RoomName, script: &Script, args: Vec<Arg<'_>>) -> Result<Value, StoreError> {
        let told = self.clock.as_ref().map(|clock| clock.now());
        self.run(room, script, Arg::Time { told, expected: self.beats.expected(room) }, args).await
    }

    /// Runs an operation to which time does not matter.
    async fn read(&self, room: &RoomName, script: &Script, args: Vec<Arg<'_>>) -> Result<Value, StoreError> {
        self.run(room, script, Arg::Text(""), args).await
    }

    async fn run<'a>(
        &self,
        room: &RoomName,
        script: &Script,
        now: Arg<'a>,
        mut args: Vec<Arg<'a>>,
    ) -> Result<Value, StoreError> {
        args.insert(0, now);
        let keys = KEYS.map(|name| self.key(room, name));
        match self.redis.call(script, &keys, &args).await? {
            Value::Nil => Err(StoreError::NoRoom),
            reply => Ok(reply),
        }
    }

    /// A plain range of one key, which when empty may mean that the room is gone.
    async fn range(&self, room: &RoomName, command: &redis::Cmd) -> Result<Value, StoreError> {
        let reply = self.redis.query(command).await?;
        let is_empty = matches!(&reply, Value::Array(items) if items.is_empty());
        if is_empty && self.redis.query(cmd("EXISTS").arg(self.key(room, "room"))).await? == Value::Int(0) {
            return Err(StoreError::NoRoom);
        }
        Ok(reply)
    }

    /// Members of a set by numbers, and those numbers.
    fn numbers_above(&self, name: &str, room: &RoomName, after: PlaceNumber, limit: usize) -> redis::Cmd {
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(self.key(room, name)).arg(format!("({after}")).arg("+inf").arg("WITHSCORES");
        range.arg("LIMIT").arg(0).arg(limit.min(RANGE));
        range
    }

    async fn opened(
        &self,
        room: &RoomName,
        epoch: Epoch,
        known: [Arg<'_>; 7],
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        let epoch = epoch.to_string();
        let args = [Arg::Text(&epoch)].into_iter().chain(known).chain(wire::settings(settings));
        self.slices.note(room, settings.heartbeat());
        let asked = self.beats.ask();
        let reply = self.act(room, &self.scripts.open, args.collect()).await?;
        let report = wire::report(&reply)?;
        self.beats.note(room, report.standing.now, asked);
        Ok(report)
    }
}

impl From<CallError> for StoreError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Full => Self::Full,
            CallError::Away(why) => Self::Away(why),
            CallError::Refused { .. } => Self::Away(error.to_string()),
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        let known = [(); 7].map(|()| Arg::Text(""));
        self.opened(room, epoch, known, settings).await
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        let lot = known.lot.as_ref().map(|lot| (lot.draw.next.0, wire::lot(&lot.draw)));
        let (frozen, lot) = match &lot {
            Some((frozen, lot)) => (Arg::Number(*frozen), Arg::Bytes(lot)),
            None => (Arg::Text(""), Arg::Text("")),
        };
        let [next, log_seq, claimed, recoveries, window] =
            [known.next.0, known.log_seq, known.claimed, known.recoveries, millis(window)].map(Arg::Number);
        let known_line = [next, log_seq, claimed, recoveries, window, frozen, lot];
        self.opened(room, known.epoch, known_line, settings).await
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        let mut turns = Vec::with_capacity(places.len());
        for chunk in chunks(places) {
            let arg = |&(visitor, number, at): &(VisitorId, PlaceNumber, Timestamp)| {
                [Arg::Visitor(visitor), Arg::Number(number.0), Arg::Number(at.as_millis())]
            };
            let reply = self.act(room, &self.scripts.come_back, chunk.iter().flat_map(arg).collect()).await?;
            turns.extend(wire::turns(&reply)?);
        }
        Ok(turns)
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        self.act(room, &self.scripts.put_back, wire::put_back(back)).await.map(drop)
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        let mut turns = Vec::with_capacity(arrivals.len());
        let epoch = known.map_or_else(String::new, |known| known.epoch.to_string());
        for chunk in chunks(arrivals) {
            let arg = |&(visitor, intent)| {
                let intent = if intent == Intent::Rejoin { "r" } else { "j" };
                [Arg::Visitor(visitor), Arg::Text(intent)]
            };
            let args = wire::known(known, &epoch).into_iter().chain(chunk.iter().flat_map(arg));
            let reply = self.act(room, &self.scripts.join, args.collect()).await?;
            turns.extend(wire::turns(&reply)?);
        }
        Ok(turns)
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        let mut turns = Vec::with_capacity(visitors.len());
        for chunk in chunks(visitors) {
            let args = chunk.iter().copied().map(Arg::Visitor).collect();
            let reply = self.act(room, &self.scripts.look, args).await?;
            turns.extend(wire::turns(&reply)?);
        }
        Ok(turns)
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        let pages = self.slices.pages(room, signs);
        for chunk in chunks(&pages) {
            let args = chunk.iter().flat_map(|page| {
                [Arg::Number(page.index), Arg::Number(page.at.as_millis()), Arg::Bytes(&page.bits)]
            });
            self.act(room, &self.scripts.seen, args.collect()).await?;
        }
        Ok(())
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        self.act(room, &self.scripts.make_room, Vec::new()).await.map(drop)
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        let epoch = known.map(|known| known.epoch.to_string());
        let (mut args, asked) = (Vec::new(), self.beats.ask());
        if let (Some(known), Some(epoch)) = (known, &epoch) {
            args.push(Arg::Text(epoch));
            args.extend([known.next.0, known.log_seq, known.claimed].map(Arg::Number));
            if let Some(lot) = &known.lot {
                args.push(Arg::Number(u64::from(lot.whole)));
                args.extend(lot.turns.iter().map(|number| Arg::Number(number.0)));
            }
        }
        let reply = self.act(room, &self.scripts.admit, args).await?;
        let report = wire::report(&reply)?;
        self.beats.note(room, report.standing.now, asked);
        Ok(report)
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        let lot = wire::lot(draw);
        let args = vec![Arg::Number(draw.next.0), Arg::Bytes(&lot)];
        self.read(room, &self.scripts.draw, args).await.map(drop)
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        let reply = self.read(room, &self.scripts.drawn, Vec::new()).await?;
        Ok(wire::optional_draw(&reply)?)
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        let reason = reason.code().to_string();
        let args = vec![Arg::Visitor(visitor), Arg::Text(&reason)];
        let reply = self.act(room, &self.scripts.end, args).await?;
        Ok(wire::optional_place(&reply)?)
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        let args = vec![Arg::Visitor(visitor), Arg::Number(millis(by))];
        let reply = self.act(room, &self.scripts.extend, args).await?;
        Ok(wire::optional_pass(&reply)?)
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        let mut heard = Vec::with_capacity(shown.len());
        for chunk in chunks(shown) {
            let reply = self.act(room, &self.scripts.show, bound::shown(chunk, rotation)).await?;
            heard.extend(bound::heard(&reply)?);
        }
        Ok(heard)
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        let args = bound::claim(visitor, shown, rotation);
        let reply = self.act(room, &self.scripts.claim_again, args).await?;
        Ok(bound::optional_claim(&reply)?)
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        let args = vec![Arg::Visitor(from), Arg::Number(number.0), Arg::Visitor(to)];
        let reply = self.act(room, &self.scripts.hand_over, args).await?;
        Ok(wire::optional_turn(&reply)?)
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        let range = self.numbers_above("handed", room, after, limit);
        Ok(wire::handed(&self.range(room, &range).await?)?)
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        let reply = self.read(room, &self.scripts.holder, vec![Arg::Number(number.0)]).await?;
        Ok(wire::optional_visitor(&reply)?)
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        let args = vec![Arg::Number(seq), Arg::Number(limit as u64)];
        let reply = self.read(room, &self.scripts.log, args).await?;
        Ok(wire::log_page(&reply)?)
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        let range = self.numbers_above("waiting", room, after, limit);
        Ok(wire::scores(&self.range(room, &range).await?)?)
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        let mut range = cmd("ZRANGE");
        range.arg(self.key(room, "revoked")).arg(0).arg(-1).arg("WITHSCORES");
        Ok(wire::revoked(&self.range(room, &range).await?)?)
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        self.read(room, &self.scripts.set_overrides, wire::overrides(overrides)).await.map(drop)
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        let word = if word == Word::Well { "well" } else { "unwell" };
        self.act(room, &self.scripts.hear, vec![Arg::Text(word)]).await.map(drop)
    }

    fn slow_calls(&self) -> u64 {
        self.redis.slow_calls()
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        let [epoch, known] = [epoch, known].map(|epoch| epoch.to_string());
        let args = vec![Arg::Text(&epoch), Arg::Text(&known)];
        self.read(room, &self.scripts.clear, args).await.map(drop)
    }
}

/// Parts that one script call takes; one empty part for nothing, so that a room
/// that is gone is noticed even then.
fn chunks<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let nothing = items.is_empty().then_some(items);
    nothing.into_iter().chain(items.chunks(CHUNK))
}
