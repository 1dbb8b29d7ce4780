//! X31: full disks, under a gate's log and under Redis.

use std::time::Duration;

use tokio::time::Instant;

use super::{DEADLINE, gate, is_degraded, metric, until_degraded};
use crate::support::app::FakeApp;
use crate::support::gate::{TestGate, room};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

/// It is well again so soon after Redis is.
const WELL_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_whose_log_cannot_be_written_serves_on_and_counts() {
    let app = FakeApp::start().await;
    let settings = format!("[log]\nlevel = \"debug\"\n{}", room(&app.url(), ""));
    let mut gate = TestGate::start_on_a_full_disk(&settings).await;
    let dropped = metric(&gate, "usher_log_lines_dropped_total").await;
    assert!(dropped > 0, "it said that it is up");
    let mut visitor = gate.admitted().await;
    gate.act("pause").await;
    gate.act("resume").await;
    assert_eq!(visitor.get("/").await.status, 200);
    assert!(metric(&gate, "usher_log_lines_dropped_total").await > dropped);
    assert!(gate.is_well());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_cannot_save_freezes_the_line_until_it_can() {
    if skipped() {
        return;
    }
    let (redis, app) =
        (RedisServer::start_with(&["--enable-protected-configs", "local"]), FakeApp::start().await);
    let mut gate = gate(&redis.url(), &app, "tick = \"200ms\"\npoll = { min = \"0s\" }").await;
    let mut inside = gate.admitted().await;
    redis.cannot_save().await;
    until_degraded(&gate).await;
    assert_eq!(inside.get("/").await.status, 200, "a pass holds without the store");
    let mut waiting = gate.client();
    waiting.get("/").await;
    let frozen = gate.room("main").await["admitted_total"].clone();
    // Some ticks.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(waiting.get("/queue/status").await.json()["state"], "admitted");
    assert_eq!(gate.room("main").await["admitted_total"], frozen);

    redis.command(&["CONFIG", "SET", "save", ""]);
    let well = Instant::now();
    until("the line goes on", DEADLINE, async || (!is_degraded(&gate).await).then_some(())).await;
    assert!(well.elapsed() <= WELL_WITHIN, "only after {:?}", well.elapsed());
    waiting.admit().await;
    assert!(gate.is_well());
}
