//! Faults on real processes while a crowd waits: stores that lose a line, wires that
//! are slow or cut, clocks that are set.
//!
//! Each run is short here; `make soak` runs the same with the crowd of an on-sale. What visitors saw is judged by the swarm's rules.

mod clocks;
mod disks;
mod herd;
mod losses;
mod network;
mod restarts;
mod rolling;
mod stores;

use std::time::Duration;

use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, Manners, judge};
use crate::support::gate::TestGate;
use crate::support::wait::until;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Bound on whatever comes by itself.
const DEADLINE: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

/// A gate's settings over the Redis at `url`.
fn settings(url: &str, app: &FakeApp, room: &str) -> String {
    format!(
        "[gate]\ndrain_delay = \"1s\"\n[gate.keys]\ncurrent = \"{KEY}\"\n\
         [store]\nkind = \"redis\"\nurl = \"{url}\"\n[[room]]\nupstreams = [\"{}\"]\n{room}\n",
        app.url(),
    )
}

async fn gate(url: &str, app: &FakeApp, room: &str) -> TestGate {
    TestGate::start(&settings(url, app, room)).await
}

/// Everybody has a place.
async fn stands(crowd: &Crowd) {
    crowd.until_all("stand", DEADLINE, |seen| seen.stood).await;
}

/// Visitors who come within two seconds and stay inside that long.
fn manners(count: usize, visit: Option<Duration>) -> Manners {
    Manners { visit, rate: count as f64 / 2.0 }
}

/// Waits until the crowd has been served and went home, and judges what it saw.
async fn served(crowd: Crowd, capacity: u64) {
    crowd.until_all("are served", DEADLINE * 3, |seen| seen.done).await;
    let troubles = crowd.troubles();
    assert!(troubles.others.is_empty(), "{troubles:?}");
    eprintln!("slowest answer {:?}, {} put off", troubles.slowest, troubles.put_off);
    let verdict = judge(&crowd.history().await, capacity, Duration::ZERO);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    assert_eq!(verdict.fates.lost, 0, "{:?}", verdict.fates);
}

async fn is_degraded(gate: &TestGate) -> bool {
    gate.room("main").await["degraded"] == true
}

async fn until_degraded(gate: &TestGate) {
    until("the fault is noticed", DEADLINE, || async { is_degraded(gate).await.then_some(()) }).await;
}

async fn until_well(gate: &TestGate) {
    until("the line stands", DEADLINE, || async { (!is_degraded(gate).await).then_some(()) }).await;
}

/// One figure of a gate's metrics.
async fn metric(gate: &TestGate, name: &str) -> u64 {
    let text = gate.admin("GET", "/metrics", "").await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a count")
}
