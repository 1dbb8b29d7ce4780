//! Holds of two seats over Redis, beside the same script called bare.
//!
//! Both sides make the same calls with the same keys and arguments, in turn, each
//! round on an event of its own. Bare means: commands made before, answers not
//! read any further. Once over one connection that the callers share, as the
//! office does it, and once with a connection for each caller.

use std::error::Error;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Value, cmd};
use usher::booking::holds::{HoldStore as _, RedisHolds};
use usher::clock::{Clock as _, SystemClock};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::Wanted;
use usher::domain::seat::{EventId, HoldId, Seat, SeatIndex};
use usher::domain::time::Timestamp;
use usher::redis::Redis;

use super::{median, row};

type Failure = Box<dyn Error>;

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
/// Holds of one round; each event has two seats for each of them.
const HOLDS: u32 = 20_000;
const NOW: Timestamp = Timestamp::from_millis(1_000);
const UNTIL: Timestamp = Timestamp::from_millis(421_000);
const CAP: usize = 8;
const PREFIX: &str = "bench";
/// The keys of an event as `src/booking/holds/redis.rs` names them.
const KEYS: [&str; 10] =
    ["floor", "status", "epoch", "holds", "deadlines", "owners", "epochs", "paying", "log", "undone"];

fn script() -> String {
    let prelude = include_str!("../../src/booking/holds/redis/prelude.lua");
    ["#!lua", prelude, include_str!("../../src/booking/holds/redis/hold.lua")].join("\n")
}

/// One row: holds a second, and their ratio to bare calls over one connection.
pub(crate) fn holds(url: &str) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(compare(url))
}

async fn compare(url: &str) -> Result<(), Failure> {
    let store = Arc::new(RedisHolds::new(Redis::connect(url).await?, PREFIX));
    let client = Client::open(url)?;
    let shared = vec![client.get_multiplexed_async_connection().await?; CALLERS];
    let own = try_join_all((0..CALLERS).map(|_| client.get_multiplexed_async_connection())).await?;
    let sha = cmd("SCRIPT").arg("LOAD").arg(script()).query_async::<String>(&mut shared[0].clone()).await?;
    let (mut ours, mut bare, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let rates = [
            through_the_office(&store, event(&store, "office", round).await?).await?,
            bare_calls(&shared, &sha, event(&store, "bare", round).await?).await?,
            bare_calls(&own, &sha, event(&store, "own", round).await?).await?,
        ];
        // The first round only warms up.
        if round > 0 {
            ours.push(rates[0]);
            bare.push(rates[1]);
            apart.push(rates[2]);
        }
    }
    let (ours, bare, apart) = (median(ours), median(bare), median(apart));
    let beside = format!("bare EVALSHA {bare:.0}/s, with a connection each {apart:.0}/s");
    let what = format!("hold of 2 seats over Redis, {CALLERS} callers, one connection");
    row(&what, &format!("{ours:.0}/s"), &beside, Some(ours / bare), "≥ 0.7");
    Ok(())
}

/// An event with free seats for one round; the one before is dropped.
async fn event(store: &RedisHolds, name: &str, round: usize) -> Result<EventId, Failure> {
    if let Some(before) = round.checked_sub(1) {
        store.forget(&format!("{name}-{before}").parse()?).await?;
    }
    let event: EventId = format!("{name}-{round}").parse()?;
    store.load(&event, 1, vec![Seat::Free; HOLDS as usize * 2]).await?;
    Ok(event)
}

/// The n-th hold: two seats, for somebody who has none yet.
fn wanted(event: &EventId, n: u32) -> Wanted {
    Wanted {
        id: HoldId::of(event, u128::from(n) << 32),
        owner: AccountId::from_bits(n.into()),
        seats: vec![SeatIndex(2 * n), SeatIndex(2 * n + 1)],
        until: UNTIL,
        cap: CAP,
    }
}

/// The holds that one caller asks for, one after the other.
fn share<T>(caller: usize, wish: impl Fn(u32) -> T) -> Vec<T> {
    (0..HOLDS).filter(|n| *n as usize % CALLERS == caller).map(wish).collect()
}

async fn through_the_office(store: &Arc<RedisHolds>, event: EventId) -> Result<f64, Failure> {
    let callers = (0..CALLERS).map(|caller| {
        let (store, event) = (Arc::clone(store), event.clone());
        let wishes = share(caller, |n| wanted(&event, n));
        async move {
            for wish in wishes {
                store.hold(&event, wish, NOW).await.map_err(|why| why.to_string())?;
            }
            Ok(())
        }
    });
    rate(callers.collect()).await
}

async fn bare_calls(
    connections: &[MultiplexedConnection],
    sha: &str,
    event: EventId,
) -> Result<f64, Failure> {
    let callers = connections.iter().cloned().enumerate().map(|(caller, mut connection)| {
        let calls = share(caller, |n| call(sha, &event, &wanted(&event, n)));
        async move {
            for call in calls {
                let answer: Value = call.query_async(&mut connection).await.map_err(|why| why.to_string())?;
                match &answer {
                    Value::Array(words) if words.first() == Some(&Value::BulkString(b"held".to_vec())) => {}
                    other => return Err(format!("unexpected answer: {other:?}")),
                }
            }
            Ok(())
        }
    });
    rate(callers.collect()).await
}

fn call(sha: &str, event: &EventId, wish: &Wanted) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(sha).arg(KEYS.len());
    for key in KEYS {
        call.arg(format!("{PREFIX}:{{{event}}}:{key}"));
    }
    let seats: Vec<_> = wish.seats.iter().map(|seat| seat.0.to_string()).collect();
    call.arg(NOW.as_millis()).arg(wish.id.to_string()).arg(wish.owner.to_string());
    call.arg(UNTIL.as_millis()).arg(CAP).arg(seats.join(","));
    call
}

/// Holds a second of all callers at once.
async fn rate<F>(callers: Vec<F>) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let clock = SystemClock::new();
    let before = clock.monotonic();
    let ends = join_all(callers.into_iter().map(tokio::spawn)).await;
    let took = (clock.monotonic() - before).as_secs_f64();
    for end in ends {
        end??;
    }
    Ok(f64::from(HOLDS) / took)
}
