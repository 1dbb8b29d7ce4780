//! How the app fares, as this gate sees it: times to the first byte, failures.
//!
//! Kept only for rooms with `autotune`; every few seconds the gate gives the
//! line its word on it. Decides nothing: the rule is [`crate::domain::autotune`].

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use super::Gate;
use super::site::Site;
use crate::domain::autotune::{ENOUGH, Found, STEP, Word};
use crate::domain::time::{Timestamp, millis};

/// With fewer answers than a bad word needs, this is how long they are gathered.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer times count as this: an hour.
const LONGEST_MS: u64 = 3_600_000;

/// What came of the requests since the last word.
#[derive(Debug)]
pub(super) struct Health(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    times: Histogram<u64>,
    requests: u64,
    failed: u64,
    since: Timestamp,
}

impl Default for Health {
    fn default() -> Self {
        let times = Histogram::new_with_max(LONGEST_MS, 2).expect("fixed bounds");
        Self(Mutex::new(Seen { times, requests: 0, failed: 0, since: Timestamp::default() }))
    }
}

impl Health {
    /// One request that the app answered, or failed to; `time` where it is the
    /// app's alone.
    fn note(&self, time: Option<Duration>, failed: bool) {
        let mut seen = self.0.lock();
        time.into_iter().for_each(|time| seen.times.saturating_record(millis(time)));
        seen.requests += 1;
        seen.failed += u64::from(failed);
    }

    /// What was found since the last time, once it is enough or old enough.
    fn take(&self, now: Timestamp) -> Option<Found> {
        let mut seen = self.0.lock();
        let requests = seen.requests;
        if requests < ENOUGH && now.since(seen.since) < PATIENCE {
            return None;
        }
        let p95 = Duration::from_millis(seen.times.value_at_quantile(0.95));
        let found = Found { requests, failed: seen.failed, p95 };
        seen.times.reset();
        (seen.requests, seen.failed, seen.since) = (0, 0, now);
        Some(found)
    }
}

impl Gate {
    /// The app answered a request, or did not. `asked_at`: when it went out, if
    /// that was whole; a slow upload is not the app's.
    pub(super) fn note_health(&self, site: &Site, asked_at: Option<Timestamp>, failed: bool) {
        if site.room.config().autotune.is_some() {
            site.health.note(asked_at.map(|at| site.room.now().since(at)), failed);
        }
    }

    /// Gives each line this gate's word on its app, for ever.
    pub(super) async fn tell_health(&self) {
        loop {
            tokio::time::sleep(STEP).await;
            for site in self.sites.load_full().all() {
                tell(site).await;
            }
        }
    }
}

async fn tell(site: &Site) {
    let Some(limits) = site.room.config().autotune else { return };
    let Some(found) = site.health.take(site.room.now()) else { return };
    let Some(word) = limits.judge(found) else { return };
    let view = site.room.view();
    let tuned = view.standing.as_ref().and_then(|standing| standing.tuned);
    // Nothing to say, and nothing to raise.
    if view.degraded || word == Word::Well && tuned.is_none() {
        return;
    }
    drop(view);
    let room = site.room.config().name.clone();
    if word == Word::Unwell {
        let (p95_ms, failed) = (millis(found.p95), found.failed);
        tracing::warn!(%room, requests = found.requests, failed, p95_ms, tuned, "the app is unwell: fewer are let in");
    }
    if let Err(why) = site.room.hear(word).await {
        tracing::debug!(%room, %why, "the word on the app was not heard");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn enough_is_told_at_once_and_little_after_a_while() {
        let health = Health::default();
        assert_eq!(health.take(at(0)).map(|found| found.requests), Some(0));
        for i in 0..ENOUGH {
            health.note(Some(Duration::from_millis(100 * (1 + i / 19))), i % 10 == 0);
        }
        let found = health.take(at(5)).expect("enough");
        assert_eq!((found.requests, found.failed), (20, 2));
        assert_eq!(found.p95.as_millis() / 10, 10, "19 of 20");
        health.note(None, true);
        assert_eq!(health.take(at(34)), None);
        assert_eq!(health.take(at(35)).map(|found| found.failed), Some(1));
        assert_eq!(health.take(at(65)).map(|found| found.failed), Some(0), "told once");
    }
}
