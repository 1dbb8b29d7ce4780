//! X28: PostgreSQL is killed and started again in the middle of a sale.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{crowd, judge, quick, seed, settings};
use crate::support::booking::{TestBooking, until};
use crate::support::http::Client;
use crate::support::postgres::OwnServer;
use crate::support::smtp::Sink;
use crate::support::toss;

const BUYERS: u64 = 250;
/// As many times as it is killed; then it is left in peace, for on a busy machine it
/// could be down more than up, and a sale that never ends would be nobody's fault.
const RESTARTS: u32 = 4;
/// It sells again so soon after the database is back.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Ends the server, as a crash and as a hurried operator do, and starts it again, time
/// and time again; then time alone goes by.
async fn restarts(
    office: &TestBooking,
    postgres: &Arc<Mutex<OwnServer>>,
    probe: &Client,
    done: &AtomicU32,
) -> Infallible {
    let blocking = async |act: fn(&mut OwnServer)| {
        let postgres = Arc::clone(postgres);
        tokio::task::spawn_blocking(move || act(&mut postgres.lock())).await.expect("a thread");
    };
    let charge = async || probe.post("/api/wallet/charges", json!({"amount": 1})).await;
    for round in 0..RESTARTS {
        time(office, 3).await;
        blocking(if round.is_multiple_of(2) { OwnServer::kill } else { OwnServer::stop_at_once }).await;
        if round == 0 {
            let refused = charge().await.refused(503, "unavailable");
            assert!(refused.header("retry-after").is_some());
        }
        time(office, 1).await;
        blocking(OwnServer::start_again).await;
        let back = Instant::now();
        until(async || (charge().await.status == 201).then_some(())).await;
        assert!(back.elapsed() < BACK_WITHIN, "sold again after {:?}", back.elapsed());
        done.store(round + 1, Ordering::Relaxed);
    }
    loop {
        time(office, 1).await;
    }
}

/// Goes by, three times as fast as it does: leases run out.
async fn time(office: &TestBooking, seconds: u32) {
    for _ in 0..seconds {
        office.advance(1);
        sleep(Duration::from_millis(330)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_in_the_middle_of_a_sale_loses_and_doubles_nothing() {
    let Some(postgres) = OwnServer::start() else { return };
    let (sink, seed) = (Sink::start().await, seed());
    let url = postgres.create("office");
    let (office, bank) = toss::idle_office_at(url, quick, settings(&sink, None)).await;
    tokio::spawn(Arc::clone(&office.booking).run(office.stop.clone()));
    let (probe, postgres) = (office.fan(0).await, Arc::new(Mutex::new(postgres)));
    let done = AtomicU32::new(0);
    let trouble = restarts(&office, &postgres, &probe, &done);
    let stories = crowd(&office, &bank, BUYERS, seed, trouble).await;
    let restarted = done.load(Ordering::Relaxed);
    assert!(restarted >= 2, "the sale was over after {restarted} restarts");
    let again = Arc::clone(&postgres);
    tokio::task::spawn_blocking(move || again.lock().start_again()).await.expect("a thread");
    judge::at_rest(&office, seed).await;
    judge::look(&office, &bank, &sink)
        .await
        .judge(&stories)
        .unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    judge::much_happened(&stories, BUYERS as usize);
}
