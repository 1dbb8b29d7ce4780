//! X41: everybody comes back at once after an outage of every gate.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use usher::domain::time::Timestamp;
use usher::swarm::history::{History, State, Told};

use super::{DEADLINE, SECOND, gate, manners, stands};
use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::TestGate;
use crate::support::redis_server::{RedisServer, skipped};
use usher::clock::{Clock as _, SystemClock};

/// A room that tells nearly all of a crowd to come back after `longest`.
fn room(longest: Duration) -> String {
    let ms = longest.as_millis();
    format!(
        "capacity = 1\nbatch = 1\ntick = \"250ms\"\nidle_timeout = \"{}ms\"\n\
         poll = {{ min = \"{}ms\", max = \"{ms}ms\" }}",
        ms * 10,
        ms / 4
    )
}

/// Scripts that the store ran so far.
fn scripts(redis: &RedisServer) -> u64 {
    let told = redis.info("cmdstat_evalsha");
    let calls = told.split(',').find_map(|part| part.strip_prefix("calls=")).expect("a count");
    calls.parse().expect("a number")
}

/// How a crowd asked within a time.
struct Asked {
    polls: usize,
    too_early: usize,
    /// Pauses that it was told, in ms; sorted.
    pauses: Vec<u32>,
}

impl Asked {
    fn between(history: &History, from: Timestamp, to: Timestamp) -> Self {
        let mut this = Self { polls: 0, too_early: 0, pauses: Vec::new() };
        let exchanges = history.tracks.iter().flat_map(|track| &track.exchanges);
        for exchange in exchanges.filter(|e| e.answered_at >= from && e.answered_at < to) {
            this.polls += usize::from(exchange.told != Told::Nothing);
            match exchange.told {
                Told::TooEarly => this.too_early += 1,
                Told::Status(status) if status.state == State::Waiting => {
                    this.pauses.push(status.poll_after_ms)
                }
                _ => {}
            }
        }
        this.pauses.sort_unstable();
        this
    }

    /// The largest share that was told to come back within the same tenth of the longest pause.
    fn thickest(&self, longest: Duration) -> f64 {
        let step = longest.as_millis() as u32 / 10;
        let most = self.pauses.chunk_by(|a, b| a.saturating_sub(1) / step == b.saturating_sub(1) / step);
        most.map(<[u32]>::len).max().unwrap_or(0) as f64 / self.pauses.len().max(1) as f64
    }
}

async fn comes_back(count: usize, away: Duration, longest: Duration) {
    let room = room(longest);
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let mut gates = [gate(&redis.url(), &app, &room).await, gate(&redis.url(), &app, &room).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count, manners(count, None));
    stands(&crowd).await;
    sleep(longest * 2).await;
    let (before, quiet) = (scripts(&redis), Instant::now());
    sleep(longest).await;
    let usual = (scripts(&redis) - before) as f64 / quiet.elapsed().as_secs_f64();
    gates.iter_mut().for_each(TestGate::kill);
    sleep(away).await;
    let [a, b] = &mut gates;
    tokio::join!(a.revive(), b.revive());
    let (before, back, back_at) = (scripts(&redis), Instant::now(), SystemClock::new().now());
    crowd.until_all("are answered", DEADLINE, |seen| seen.number.is_some()).await;
    sleep(longest * 3).await;
    let now = (scripts(&redis) - before) as f64 / back.elapsed().as_secs_f64();
    let history = crowd.history().await;
    let first = Asked::between(&history, back_at, back_at + longest);
    let all = Asked::between(&history, back_at, back_at + longest * 3);
    eprintln!(
        "{usual:.0} scripts a second before and {now:.0} after; {} polls, {} of them too early; \
         {:.0} % were told one tenth",
        all.polls,
        all.too_early,
        first.thickest(longest) * 100.0
    );
    assert!(now < usual * 3.0 + 30.0, "{now} scripts a second, {usual} before");
    assert!(all.too_early * 10 <= all.polls, "{} of {} polls were too early", all.too_early, all.polls);
    assert!(first.pauses.len() >= count, "{} answers", first.pauses.len());
    assert!(first.thickest(longest) < 0.4, "the herd stays one: {:.2}", first.thickest(longest));
    let (soonest, latest) = (first.pauses[count / 20], first.pauses[first.pauses.len() - count / 20]);
    assert!(latest >= soonest * 3 / 2, "a spread of {soonest} to {latest} ms");
    let verdict = judge(&history, 1, away);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    assert_eq!((verdict.fates.lost, verdict.fates.evicted), (0, 0), "{:?}", verdict.fates);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_that_comes_back_at_once_is_spread_and_does_not_reach_the_store() {
    if skipped() {
        return;
    }
    comes_back(400, SECOND * 3, SECOND * 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_fifty_thousand_who_come_back_after_two_minutes() {
    comes_back(50_000, SECOND * 120, SECOND * 20).await;
}
