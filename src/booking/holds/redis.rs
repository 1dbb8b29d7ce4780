//! Holds in Redis, shared by any number of booking processes.
//!
//! One script per operation, so each is atomic; they say what the model says
//! ([`crate::domain::seat::floor`]), and a seeded test compares the two. All
//! keys of an event share one hash tag. Deadlines are kept in a sorted set and
//! swept; Redis's own expiry decides nothing.
//!
//! | key `PREFIX:{EVENT}:…` | holds |
//! | --- | --- |
//! | `floor` | hash: last epoch, version, number of seats |
//! | `status`, `epoch` | a byte, and 7, for each seat |
//! | `holds` | hash: each hold by its id |
//! | `deadlines` | ids by their deadline; `paying`: those whose clock is stopped |
//! | `owners`, `epochs` | hashes: ids by owner and by epoch |
//! | `log` | stream: how seats changed, under the version of the change |
//! | `undone` | ids that must not be given any more |
//!
//! `PREFIX:events` lists the events; a hold's id tells which of them it is of.
//!
//! A call lets go a bounded number of holds, so that no pause ends in one long
//! script; where all that are over must be gone, it is repeated.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use redis::{Value, cmd};

use super::store::{HoldStore, HoldStoreError, Kept, Seats};
use crate::domain::order::AccountId;
use crate::domain::seat::floor::{Changes, Hold, HoldError, Inside, Wanted};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex, SeatStatus};
use crate::domain::time::{Timestamp, millis};
use crate::redis::{CallError, Redis, Script};

/// The last parts of an event's keys, in the order in which the scripts take them.
const KEYS: [&str; 10] =
    ["floor", "status", "epoch", "holds", "deadlines", "owners", "epochs", "paying", "log", "undone"];
/// Bytes of an epoch; below 2⁵³.
const EPOCH_BYTES: usize = 7;
/// Tries to tell how a payment ended before the next load must.
const TRIES: usize = 3;

const PRELUDE: &str = include_str!("redis/prelude.lua");

/// Holds that several processes share.
#[derive(Debug)]
pub struct RedisHolds {
    redis: Redis,
    prefix: String,
    /// Events by their tag, as last read.
    tags: Mutex<HashMap<u32, Vec<EventId>>>,
    load: Script,
    raise: Script,
    undo: Script,
    changes: Script,
    hold: Script,
    find: Script,
    extend: Script,
    release: Script,
    fasten: Script,
    loosen: Script,
    settle: Script,
    seats: Script,
    inside: Script,
    sweep: Script,
    paying: Script,
}

impl RedisHolds {
    /// Holds whose keys begin with `prefix`.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str) -> Self {
        // A full Redis gives no new holds, but takes back and ends those there are.
        let script = |flags: &str, text: &str| Script::new([flags, PRELUDE, text].join("\n"));
        let always = |text| script("#!lua flags=allow-oom", text);
        Self {
            redis,
            prefix: prefix.to_owned(),
            tags: Mutex::default(),
            raise: always(include_str!("redis/raise.lua")),
            undo: always(include_str!("redis/undo.lua")),
            changes: always(include_str!("redis/changes.lua")),
            load: script("#!lua", include_str!("redis/load.lua")),
            hold: script("#!lua", include_str!("redis/hold.lua")),
            find: always(include_str!("redis/find.lua")),
            extend: always(include_str!("redis/extend.lua")),
            release: always(include_str!("redis/release.lua")),
            fasten: always(include_str!("redis/fasten.lua")),
            loosen: always(include_str!("redis/loosen.lua")),
            settle: always(include_str!("redis/settle.lua")),
            seats: always(include_str!("redis/seats.lua")),
            inside: always(include_str!("redis/inside.lua")),
            sweep: always(include_str!("redis/sweep.lua")),
            paying: always(include_str!("redis/paying.lua")),
        }
    }

    fn keys(&self, event: &EventId) -> [String; 10] {
        KEYS.map(|name| format!("{}:{{{event}}}:{name}", self.prefix))
    }

    async fn call(&self, event: &EventId, script: &Script, args: &[&[u8]]) -> Result<Value, HoldStoreError> {
        match self.redis.call(script, &self.keys(event), args).await? {
            Value::Nil => Err(HoldStoreError::NotLoaded),
            reply => Ok(reply),
        }
    }

    fn events_key(&self) -> String {
        format!("{}:events", self.prefix)
    }

    /// The events that the hold may be of, hardly ever more than one, as known
    /// here; `anew` when that was not it.
    async fn events_of(&self, id: HoldId, anew: bool) -> Result<Vec<EventId>, HoldStoreError> {
        if !anew {
            return Ok(self.tags.lock().get(&id.tag()).cloned().unwrap_or_default());
        }
        let mut tags: HashMap<u32, Vec<EventId>> = HashMap::new();
        for event in self.events().await? {
            tags.entry(event.tag()).or_default().push(event);
        }
        let found = tags.get(&id.tag()).cloned().unwrap_or_default();
        *self.tags.lock() = tags;
        Ok(found)
    }

    /// Runs an operation on one hold of `owner`.
    async fn on(
        &self,
        script: &Script,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        more: &[u64],
    ) -> Result<Kept, HoldStoreError> {
        let mut args = vec![now.as_millis().to_string(), id.to_string(), owner.to_string()];
        args.extend(more.iter().map(u64::to_string));
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        for anew in [false, true] {
            for event in self.events_of(id, anew).await? {
                match list(&self.call(&event, script, &args).await?)? {
                    [] => {}
                    [hold] => return Ok(Kept { hold: read_hold(id, text(hold)?)?, event }),
                    _ => return Err(unexpected()),
                }
            }
        }
        Err(HoldError::NoHold.into())
    }

    /// Runs a script that answers `more` until it has let go everything that is over.
    async fn whole(
        &self,
        event: &EventId,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<Vec<Value>, HoldStoreError> {
        loop {
            let Value::Array(reply) = self.call(event, script, args).await? else { return Err(unexpected()) };
            match &reply[..] {
                [Value::BulkString(more)] if more == b"more" => {}
                _ => return Ok(reply),
            }
        }
    }

    /// A batch of the event's holds, and whether there are more.
    async fn batch(
        &self,
        event: &EventId,
        script: &Script,
        now: &str,
        all: &mut Vec<Kept>,
    ) -> Result<bool, HoldStoreError> {
        let reply = self.call(event, script, &[now.as_bytes()]).await?;
        let pairs = list(&reply)?.chunks_exact(2);
        let more = pairs.remainder().first().is_some_and(|more| text(more) == Ok("more"));
        for pair in pairs {
            let id = text(&pair[0])?.parse().map_err(|_| unexpected())?;
            all.push(Kept { event: event.clone(), hold: read_hold(id, text(&pair[1])?)? });
        }
        Ok(more)
    }

    /// The holds that an operation over all events answers.
    async fn over_all(&self, script: &Script, now: &str) -> Result<Vec<Kept>, HoldStoreError> {
        let mut all = Vec::new();
        for event in self.events().await? {
            while self.batch(&event, script, now, &mut all).await? {}
        }
        Ok(all)
    }
}

#[async_trait]
impl HoldStore for RedisHolds {
    async fn load(&self, event: &EventId, generation: u32, seats: Vec<Seat>) -> Result<(), HoldStoreError> {
        // Listed first: an event that is loaded is swept.
        self.redis.query(cmd("SADD").arg(self.events_key()).arg(event.as_str())).await?;
        let start = HoldEpoch::start(generation).as_u64().to_string();
        let status: Vec<u8> = seats.iter().map(|&seat| letter(seat)).collect();
        let epoch = |seat: &Seat| seat.epoch().map_or(0, HoldEpoch::as_u64).to_be_bytes();
        let epochs: Vec<u8> =
            seats.iter().flat_map(|seat| epoch(seat).into_iter().skip(8 - EPOCH_BYTES)).collect();
        let count = seats.len().to_string();
        let args: [&[u8]; 5] = [b"", start.as_bytes(), count.as_bytes(), &status, &epochs];
        self.call(event, &self.load, &args).await.map(drop)
    }

    async fn forget(&self, event: &EventId) -> Result<(), HoldStoreError> {
        self.redis.query(cmd("UNLINK").arg(&self.keys(event))).await?;
        self.redis.query(cmd("SREM").arg(self.events_key()).arg(event.as_str())).await?;
        Ok(())
    }

    async fn raise(&self, event: &EventId, generation: u32) -> Result<(), HoldStoreError> {
        let start = HoldEpoch::start(generation).as_u64().to_string();
        self.call(event, &self.raise, &[b"", start.as_bytes()]).await.map(drop)
    }

    async fn hold(&self, event: &EventId, wanted: Wanted, now: Timestamp) -> Result<Hold, HoldStoreError> {
        let args = [
            now.as_millis().to_string(),
            wanted.id.to_string(),
            wanted.owner.to_string(),
            wanted.until.as_millis().to_string(),
            wanted.cap.to_string(),
            seats_text(&wanted.seats),
        ];
        let args = args.each_ref().map(String::as_bytes);
        let reply = self.call(event, &self.hold, &args).await?;
        match list(&reply)? {
            [told, hold] if text(told)? == "held" => read_hold(wanted.id, text(hold)?),
            [told, seats] if text(told)? == "taken" => {
                Err(HoldError::Taken(read_seats(text(seats)?)?).into())
            }
            [told] if text(told)? == "cap" => Err(HoldError::OverCap.into()),
            [told] if text(told)? == "undone" => Err(HoldError::NoHold.into()),
            _ => Err(unexpected()),
        }
    }

    async fn find(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.on(&self.find, id, owner, now, &[]).await
    }

    async fn extend(
        &self,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        by: Duration,
        max: Duration,
    ) -> Result<Kept, HoldStoreError> {
        self.on(&self.extend, id, owner, now, &[millis(by), millis(max)]).await
    }

    async fn release(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.on(&self.release, id, owner, now, &[]).await
    }

    async fn undo(&self, event: &EventId, id: HoldId, until: Timestamp) -> Result<(), HoldStoreError> {
        let (id, until) = (id.to_string(), until.as_millis().to_string());
        self.call(event, &self.undo, &[b"", id.as_bytes(), until.as_bytes()]).await.map(drop)
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        self.on(&self.fasten, id, owner, now, &[]).await
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        for event in self.events_of(id, true).await? {
            self.call(&event, &self.loosen, &[b"", id.to_string().as_bytes()]).await?;
        }
        Ok(())
    }

    async fn settle(
        &self,
        event: &EventId,
        seats: &[SeatIndex],
        epoch: HoldEpoch,
        outcome: Outcome,
    ) -> Result<(), HoldStoreError> {
        let status: &[u8] = match outcome {
            Outcome::Sold => b"S",
            Outcome::Paying => b"P",
            Outcome::Free => b"F",
        };
        let (epoch, seats) = (epoch.as_u64().to_string(), seats_text(seats));
        let args: [&[u8]; 4] = [b"", epoch.as_bytes(), status, seats.as_bytes()];
        let mut told = self.call(event, &self.settle, &args).await;
        // Repeating it is harmless, and nobody tells it again.
        for _ in 1..TRIES {
            if !matches!(told, Err(HoldStoreError::Away(_))) {
                break;
            }
            told = self.call(event, &self.settle, &args).await;
        }
        told.map(drop)
    }

    async fn seats(&self, event: &EventId, now: Timestamp) -> Result<Seats, HoldStoreError> {
        let now = now.as_millis().to_string();
        let reply = self.whole(event, &self.seats, &[now.as_bytes()]).await?;
        let [version, statuses] = &reply[..] else { return Err(unexpected()) };
        let statuses = text(statuses)?.bytes().map(seen).collect::<Result<_, _>>()?;
        Ok(Seats { version: number(text(version)?)?, statuses })
    }

    async fn changes(&self, event: &EventId, since: u64, now: Timestamp) -> Result<Changes, HoldStoreError> {
        let (now, since) = (now.as_millis().to_string(), since.to_string());
        let reply = self.whole(event, &self.changes, &[now.as_bytes(), since.as_bytes()]).await?;
        match &reply[..] {
            [to] => Ok(Changes::Gap { to: number(text(to)?)? }),
            [to, changes] => {
                let changes = text(changes)?.split(',').filter(|change| !change.is_empty());
                let seats = changes.map(read_change).collect::<Result<_, _>>()?;
                Ok(Changes::Since { to: number(text(to)?)?, seats })
            }
            _ => Err(unexpected()),
        }
    }

    async fn events(&self) -> Result<Vec<EventId>, HoldStoreError> {
        let reply = self.redis.query(cmd("SMEMBERS").arg(self.events_key())).await?;
        let parse = |event: &Value| text(event)?.parse().map_err(|_| unexpected());
        match &reply {
            Value::Set(events) | Value::Array(events) => events.iter().map(parse).collect(),
            _ => Err(unexpected()),
        }
    }

    async fn inside(&self, event: &EventId) -> Result<Inside, HoldStoreError> {
        let reply = self.call(event, &self.inside, &[b""]).await?;
        let [epoch, version, status, epochs, holds] = list(&reply)? else { return Err(unexpected()) };
        let epochs = bytes(epochs)?.chunks_exact(EPOCH_BYTES).map(read_epoch);
        let seats = bytes(status)?.iter().zip(epochs).map(|(letter, epoch)| seat(*letter, epoch));
        let hold = |pair: &[Value]| {
            let epoch = HoldEpoch::from_u64(number(text(&pair[0])?)?);
            Ok((epoch, text(&pair[1])?.parse().map_err(|_| unexpected())?))
        };
        Ok(Inside {
            epoch: HoldEpoch::from_u64(number(text(epoch)?)?),
            version: number(text(version)?)?,
            seats: seats.collect::<Result<_, _>>()?,
            holds: list(holds)?.chunks_exact(2).map(hold).collect::<Result<_, HoldStoreError>>()?,
        })
    }

    async fn sweep(&self, now: Timestamp) -> Result<Vec<Kept>, HoldStoreError> {
        self.over_all(&self.sweep, &now.as_millis().to_string()).await
    }

    async fn paying(&self) -> Result<Vec<Kept>, HoldStoreError> {
        self.over_all(&self.paying, "").await
    }

    async fn ping(&self) -> Result<(), HoldStoreError> {
        self.redis.query(&cmd("PING")).await?;
        Ok(())
    }
}

impl From<CallError> for HoldStoreError {
    fn from(error: CallError) -> Self {
        Self::Away(error.to_string())
    }
}

fn unexpected() -> HoldStoreError {
    HoldStoreError::Away("an answer that no operation of this version gives".into())
}

const fn letter(seat: Seat) -> u8 {
    match seat {
        Seat::Free => b'F',
        Seat::Held(_) => b'H',
        Seat::Paying(_) => b'P',
        Seat::Sold(_) => b'S',
    }
}

/// A seat by its letter and epoch.
fn seat(letter: u8, epoch: HoldEpoch) -> Result<Seat, HoldStoreError> {
    match letter {
        b'F' => Ok(Seat::Free),
        b'H' => Ok(Seat::Held(epoch)),
        b'P' => Ok(Seat::Paying(epoch)),
        b'S' => Ok(Seat::Sold(epoch)),
        _ => Err(unexpected()),
    }
}

fn read_epoch(bytes: &[u8]) -> HoldEpoch {
    HoldEpoch::from_u64(bytes.iter().fold(0, |epoch, byte| epoch << 8 | u64::from(*byte)))
}

/// A seat's letter as everybody sees it.
fn seen(letter: u8) -> Result<SeatStatus, HoldStoreError> {
    match letter {
        b'F' => Ok(SeatStatus::Available),
        b'H' | b'P' => Ok(SeatStatus::Held),
        b'S' => Ok(SeatStatus::Sold),
        _ => Err(unexpected()),
    }
}

/// A seat and its letter.
fn read_change(text: &str) -> Result<(SeatIndex, SeatStatus), HoldStoreError> {
    let (seat, letter) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(unexpected)?;
    let seat = seat.parse().map(SeatIndex).map_err(|_| unexpected())?;
    Ok((seat, seen(letter.bytes().next().unwrap_or_default())?))
}

fn list(reply: &Value) -> Result<&[Value], HoldStoreError> {
    if let Value::Array(items) = reply { Ok(items) } else { Err(unexpected()) }
}

fn bytes(reply: &Value) -> Result<&[u8], HoldStoreError> {
    if let Value::BulkString(bytes) = reply { Ok(bytes) } else { Err(unexpected()) }
}

fn text(reply: &Value) -> Result<&str, HoldStoreError> {
    match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| unexpected()),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unexpected()),
    }
}

fn number(text: &str) -> Result<u64, HoldStoreError> {
    text.parse().map_err(|_| unexpected())
}

fn seats_text(seats: &[SeatIndex]) -> String {
    seats.iter().map(|seat| seat.0.to_string()).collect::<Vec<_>>().join(",")
}

fn read_seats(text: &str) -> Result<Vec<SeatIndex>, HoldStoreError> {
    text.split(',').map(|seat| seat.parse().map(SeatIndex).map_err(|_| unexpected())).collect()
}

/// `owner epoch began until paying seats`, as the scripts write it.
fn read_hold(id: HoldId, text: &str) -> Result<Hold, HoldStoreError> {
    let parts: Vec<_> = text.split(' ').collect();
    let [owner, epoch, began, until, paying, seats] = parts[..] else { return Err(unexpected()) };
    let at = |text: &str| number(text).map(Timestamp::from_millis);
    Ok(Hold {
        id,
        owner: owner.parse().map_err(|_| unexpected())?,
        seats: read_seats(seats)?,
        epoch: HoldEpoch::from_u64(number(epoch)?),
        began_at: at(began)?,
        until: at(until)?,
        paying_since: (paying != "-").then(|| at(paying)).transpose()?,
    })
}
