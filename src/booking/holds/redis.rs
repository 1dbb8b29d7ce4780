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
//!
//! `PREFIX:events` lists the events, `PREFIX:hold:ID` tells a hold's event.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Value, cmd};

use super::store::{HoldStore, HoldStoreError, Kept, Seats};
use crate::domain::order::AccountId;
use crate::domain::seat::floor::{Hold, HoldError, Wanted};
use crate::domain::seat::{EventId, HoldEpoch, HoldId, Outcome, Seat, SeatIndex, SeatStatus};
use crate::domain::time::{Timestamp, millis};
use crate::redis::{CallError, Redis, Script};

/// The last parts of an event's keys, in the order in which the scripts take them.
const KEYS: [&str; 8] = ["floor", "status", "epoch", "holds", "deadlines", "owners", "epochs", "paying"];
/// Bytes of an epoch; below 2⁵³.
const EPOCH_BYTES: usize = 7;
/// How long it is known in which event a hold is: longer than any hold lasts, and
/// than any payment takes.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 3_600);
const KNOWN_PAYING: Duration = Duration::from_secs(8 * 24 * 3_600);
/// Tries to tell how a payment ended before the next load must.
const TRIES: usize = 3;

const PRELUDE: &str = include_str!("redis/prelude.lua");

/// Holds that several processes share.
#[derive(Debug)]
pub struct RedisHolds {
    redis: Redis,
    prefix: String,
    load: Script,
    hold: Script,
    find: Script,
    extend: Script,
    release: Script,
    fasten: Script,
    loosen: Script,
    settle: Script,
    seats: Script,
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
            load: script("#!lua", include_str!("redis/load.lua")),
            hold: script("#!lua", include_str!("redis/hold.lua")),
            find: always(include_str!("redis/find.lua")),
            extend: always(include_str!("redis/extend.lua")),
            release: always(include_str!("redis/release.lua")),
            fasten: always(include_str!("redis/fasten.lua")),
            loosen: always(include_str!("redis/loosen.lua")),
            settle: always(include_str!("redis/settle.lua")),
            seats: always(include_str!("redis/seats.lua")),
            sweep: always(include_str!("redis/sweep.lua")),
            paying: always(include_str!("redis/paying.lua")),
        }
    }

    fn keys(&self, event: &EventId) -> [String; 8] {
        KEYS.map(|name| format!("{}:{{{event}}}:{name}", self.prefix))
    }

    async fn call(&self, event: &EventId, script: &Script, args: &[&[u8]]) -> Result<Value, HoldStoreError> {
        match self.redis.call(script, &self.keys(event), args).await? {
            Value::Nil => Err(HoldStoreError::NotLoaded),
            reply => Ok(reply),
        }
    }

    fn hint(&self, id: HoldId) -> String {
        format!("{}:hold:{id}", self.prefix)
    }

    fn events_key(&self) -> String {
        format!("{}:events", self.prefix)
    }

    async fn event_of(&self, id: HoldId) -> Result<EventId, HoldStoreError> {
        match self.redis.query(cmd("GET").arg(self.hint(id))).await? {
            Value::Nil => Err(HoldError::NoHold.into()),
            reply => text(&reply)?.parse().map_err(|_| unexpected()),
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

    /// Runs an operation on one hold of `owner`.
    async fn on(
        &self,
        script: &Script,
        id: HoldId,
        owner: AccountId,
        now: Timestamp,
        more: &[u64],
    ) -> Result<Kept, HoldStoreError> {
        let event = self.event_of(id).await?;
        let mut args = vec![now.as_millis().to_string(), id.to_string(), owner.to_string()];
        args.extend(more.iter().map(u64::to_string));
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let reply = self.call(&event, script, &args).await?;
        match list(&reply)? {
            [] => Err(HoldError::NoHold.into()),
            [hold] => Ok(Kept { hold: read_hold(id, text(hold)?)?, event }),
            _ => Err(unexpected()),
        }
    }

    /// The holds that an operation over all events answers.
    async fn over_all(&self, script: &Script, now: &str) -> Result<Vec<Kept>, HoldStoreError> {
        let mut all = Vec::new();
        for event in self.events().await? {
            let reply = self.call(&event, script, &[now.as_bytes()]).await?;
            for pair in list(&reply)?.chunks_exact(2) {
                let id = text(&pair[0])?.parse().map_err(|_| unexpected())?;
                all.push(Kept { event: event.clone(), hold: read_hold(id, text(&pair[1])?)? });
            }
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
            [told, hold] if text(told)? == "held" => {
                // If this fails nobody can use the hold, and it ends by itself.
                let mut hint = cmd("SET");
                hint.arg(self.hint(wanted.id)).arg(event.as_str()).arg("PX").arg(millis(KNOWN_FOR));
                self.redis.query(&hint).await?;
                read_hold(wanted.id, text(hold)?)
            }
            [told, seats] if text(told)? == "taken" => {
                Err(HoldError::Taken(read_seats(text(seats)?)?).into())
            }
            [told] if text(told)? == "cap" => Err(HoldError::OverCap.into()),
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
        let kept = self.on(&self.release, id, owner, now, &[]).await?;
        // It ends by itself, too.
        let _ = self.redis.query(cmd("DEL").arg(self.hint(id))).await;
        Ok(kept)
    }

    async fn fasten(&self, id: HoldId, owner: AccountId, now: Timestamp) -> Result<Kept, HoldStoreError> {
        let kept = self.on(&self.fasten, id, owner, now, &[]).await?;
        self.redis.query(cmd("PEXPIRE").arg(self.hint(id)).arg(millis(KNOWN_PAYING))).await?;
        Ok(kept)
    }

    async fn loosen(&self, id: HoldId) -> Result<(), HoldStoreError> {
        let event = match self.event_of(id).await {
            Err(HoldStoreError::Refused(_)) => return Ok(()),
            event => event?,
        };
        self.call(&event, &self.loosen, &[b"", id.to_string().as_bytes()]).await.map(drop)
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
        let reply = self.call(event, &self.seats, &[now.as_millis().to_string().as_bytes()]).await?;
        let [version, statuses] = list(&reply)? else { return Err(unexpected()) };
        let statuses = text(statuses)?.bytes().map(|letter| match letter {
            b'F' => Ok(SeatStatus::Available),
            b'H' | b'P' => Ok(SeatStatus::Held),
            b'S' => Ok(SeatStatus::Sold),
            _ => Err(unexpected()),
        });
        Ok(Seats { version: number(text(version)?)?, statuses: statuses.collect::<Result<_, _>>()? })
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

fn list(reply: &Value) -> Result<&[Value], HoldStoreError> {
    if let Value::Array(items) = reply { Ok(items) } else { Err(unexpected()) }
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
