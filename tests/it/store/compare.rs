//! Both stores, the same operations, the same answers.
//!
//! The model in memory is the judge: seeded sequences drive it and another store,
//! and compare every answer and at the end all that can be read. `STORE_SEED=N`
//! replays one sequence; `STORE_SEQUENCES=N` changes how many there are.

use std::fmt::Write;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use usher::clock::ManualClock;
use usher::redis::Redis;
use usher::store::{MemoryStore, RedisStore, Store};

use super::plan::{Step, everything, plan};
use super::world::{START, UNHURRIED, fresh_prefix, settings};
use crate::support::redis_server::{self, RedisServer};

const SEQUENCES: u64 = 2_000;
/// Sequences under way at once over one connection.
const AT_ONCE: usize = 4;
/// Steps told about before the one whose answers differ.
const TOLD: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_answers_as_the_model_does() {
    if redis_server::skipped() {
        return;
    }
    let server = RedisServer::start();
    let (first, count) = seeds();
    eprintln!("sequences {first} to {} (replay one: STORE_SEED=N)", first.wrapping_add(count - 1));
    let group = |offset: u64| {
        let url = server.url();
        tokio::spawn(async move {
            let redis = Redis::connect_with(&url, UNHURRIED).await.expect("just started");
            let seeds = (offset..count).step_by(2).map(|i| first.wrapping_add(i));
            let runs = seeds.map(|seed| compare_with_redis(redis.clone(), seed));
            stream::iter(runs).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await
        })
    };
    let (even, odd) = tokio::join!(group(0), group(1));
    even.and(odd).expect("no sequence differs");
}

/// The first seed, and how many follow it.
fn seeds() -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    match number("STORE_SEED") {
        Some(seed) => (seed, 1),
        None => (rand::random(), number("STORE_SEQUENCES").unwrap_or(SEQUENCES)),
    }
}

async fn compare_with_redis(redis: Redis, seed: u64) {
    let clock = Arc::new(ManualClock::at(START));
    let store = RedisStore::with_clock(redis, &fresh_prefix(), clock.clone());
    compare(&store, &clock, seed).await.unwrap_or_else(|difference| panic!("{difference}"));
}

/// Drives `store`, whose time is `clock`, and a model of its own.
///
/// # Errors
/// The first step that the two answer differently, with both answers.
pub(crate) async fn compare(store: &dyn Store, clock: &Arc<ManualClock>, seed: u64) -> Result<(), String> {
    let model = MemoryStore::new(clock.clone());
    let mut steps = plan(seed);
    steps.extend(everything(&settings()));
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Pass(time) => clock.advance(*time),
            Step::SetBack(by) => clock.set_back(*by),
            Step::SetForward(by) => clock.set_forward(*by),
            _ => {}
        }
        let expected = step.run(&model, clock).await;
        let found = step.run(store, clock).await;
        if found != expected {
            let mut told = format!("STORE_SEED={seed}, step {i}\n");
            for step in &steps[i.saturating_sub(TOLD)..=i] {
                let _ = writeln!(told, "    {step:?}");
            }
            let _ = write!(told, "  expected {expected}\n     found {found}");
            return Err(told);
        }
    }
    Ok(())
}
