//! Gates that are stopped and replaced while people poll: one after the other behind
//! a balancer, by handing the listeners over, and with uploads under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{DEADLINE, SECOND, settings};
use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::Raw;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

/// Nobody is let in, everybody may ask as often as it likes.
const ROOM: &str = "capacity = 1\ntick = \"250ms\"\npoll = { min = \"0s\" }";
/// Between two looks of the balancer.
const CHECK: Duration = Duration::from_millis(100);

/// People who poll without a pause, each over one connection to each gate, through a
/// balancer that asks every gate whether it is ready. Nothing is asked twice.
struct Polls {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// One gate as the balancer knows it.
struct Target {
    address: SocketAddr,
    admin: SocketAddr,
    ready: AtomicBool,
}

impl Polls {
    async fn start(gates: &[TestGate], people: usize) -> Self {
        let targets: Arc<[Target]> = gates
            .iter()
            .map(|gate| Target {
                address: gate.address(),
                admin: gate.admin_address(),
                ready: AtomicBool::new(true),
            })
            .collect();
        let this = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            failed: Arc::default(),
            tasks: Vec::new(),
        };
        let mut tasks = Vec::new();
        for at in 0..targets.len() {
            let (targets, stop) = (Arc::clone(&targets), Arc::clone(&this.stop));
            tasks.push(tokio::spawn(async move { watch(&targets[at], &stop).await }));
        }
        for person in 0..people {
            let mut client = gates[person % gates.len()].client();
            client.stand().await;
            let (targets, stop) = (Arc::clone(&targets), Arc::clone(&this.stop));
            let (answered, failed) = (Arc::clone(&this.answered), Arc::clone(&this.failed));
            tasks.push(tokio::spawn(async move {
                let mut open: Vec<Option<Raw>> = targets.iter().map(|_| None).collect();
                let mut turn = person;
                while !stop.load(Ordering::Relaxed) {
                    for (target, raw) in targets.iter().zip(&mut open) {
                        if !target.ready.load(Ordering::Relaxed) {
                            *raw = None;
                        }
                    }
                    turn += 1;
                    let ready = |at: &usize| targets[*at].ready.load(Ordering::Relaxed);
                    let Some(at) = (turn..turn + targets.len()).map(|n| n % targets.len()).find(ready) else {
                        failed.lock().push("no gate is ready".into());
                        sleep(CHECK).await;
                        continue;
                    };
                    match poll(&client, targets[at].address, &mut open[at]).await {
                        Ok(()) => _ = answered.fetch_add(1, Ordering::Relaxed),
                        Err(why) => {
                            failed.lock().push(why);
                            open[at] = None;
                        }
                    }
                    sleep(Duration::from_millis(5)).await;
                }
            }));
        }
        Self { tasks, ..this }
    }

    /// Ends it; how many polls were answered, and what the others got.
    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no poller panics");
        }
        (self.answered.load(Ordering::Relaxed), self.failed.lock().clone())
    }
}

async fn watch(target: &Target, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let up = match Raw::try_connect(target.admin).await {
            None => false,
            Some(mut raw) => {
                raw.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                raw.answer_within(SECOND * 5, false).await.is_some_and(|answer| answer.status == 200)
            }
        };
        target.ready.store(up, Ordering::Relaxed);
        sleep(CHECK).await;
    }
}

/// One poll, on the connection that is there or on a new one.
async fn poll(client: &Client, to: SocketAddr, open: &mut Option<Raw>) -> Result<(), String> {
    let fresh = open.is_none();
    if fresh {
        *open = Raw::try_connect(to).await;
    }
    let Some(raw) = open.as_mut() else { return Err("refused".into()) };
    let mut text = "GET /queue/status HTTP/1.1\r\n".to_owned();
    for (name, value) in client.credentials() {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    raw.send(text.as_bytes()).await;
    let Some(answer) = raw.answer_within(DEADLINE, false).await else {
        return Err(format!("cut, on a {} connection", if fresh { "new" } else { "kept" }));
    };
    if raw.is_closed() || answer.all("connection").contains(&"close") {
        *open = None;
    }
    match answer.status {
        200 if answer.json()["state"] == "waiting" => Ok(()),
        other => Err(format!("{other} {}", answer.text())),
    }
}

/// X35: each gate in turn is told to stop, and started anew when it has ended.
async fn rolled(people: usize, rounds: usize, drain_delay: &str) -> Vec<String> {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let text = settings(&redis.url(), &app, ROOM).replacen(
        "drain_delay = \"1s\"",
        &format!("drain_delay = \"{drain_delay}\""),
        1,
    );
    let mut gates = [TestGate::start(&text).await, TestGate::start(&text).await];
    let _inside = gates[0].admitted().await;
    let polls = Polls::start(&gates, people).await;
    for round in 0..rounds {
        let at = round % gates.len();
        gates[at].signal("TERM");
        assert_eq!(gates[at].ended().await.code(), Some(0));
        gates[at].revive().await;
        sleep(CHECK * 5).await;
    }
    let (answered, failed) = polls.end().await;
    eprintln!("{answered} polls answered, {} failed", failed.len());
    assert!(answered > 500, "too few to tell: {answered}");
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_restarted_one_after_the_other_fail_no_poll() {
    if skipped() {
        return;
    }
    assert_eq!(rolled(16, 2, "1s").await, Vec::<String>::new());
}

/// What the balancer would send astray were it not told in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_that_stop_without_a_word_are_seen_to_fail_polls() {
    if skipped() {
        return;
    }
    until("polls fail", DEADLINE, async || (!rolled(16, 2, "0s").await.is_empty()).then_some(())).await;
}

/// X36: the listeners go to a new process, again and again, while newcomers connect.
async fn handed_over(times: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    // Keys of its own, in a file beside the settings.
    let keys = "[gate.keys]\ncurrent = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";
    let text = settings(&redis.url(), &app, ROOM).replacen(keys, "stop_timeout = \"3s\"\n", 1);
    let mut gate = TestGate::start(&text).await;
    let mut inside = gate.admitted().await;
    let mut waiting = gate.client();
    let number = waiting.stand().await["number"].clone();
    let stop = Arc::new(AtomicBool::new(false));
    // Several, so that each listener is handed over while somebody is about to ask.
    let newcomers = [(); 8].map(|()| {
        let (stop, client, to) = (Arc::clone(&stop), waiting.clone(), gate.address());
        tokio::spawn(async move {
            let (mut answered, mut failed) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                match poll(&client, to, &mut None).await {
                    Ok(()) => answered += 1,
                    Err(why) => failed.push(why),
                }
                sleep(Duration::from_millis(2)).await;
            }
            (answered, failed)
        })
    });
    for _ in 0..times {
        let since = Instant::now();
        let ended = gate.upgrade().await;
        eprintln!("the old process ended after {:?}", since.elapsed());
        assert_eq!(ended.code(), Some(0));
        assert_eq!(inside.get("/x").await.status, 200, "by the same keys");
        assert_eq!(waiting.status().await["number"], number);
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for newcomer in newcomers {
        let (more, failed) = newcomer.await.expect("it ends");
        answered += more;
        assert_eq!(failed, Vec::<String>::new(), "of {more}");
    }
    eprintln!("{answered} newcomers answered");
    assert!(answered > 100, "too few to tell: {answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_hands_its_listeners_over_refuses_nobody() {
    if skipped() {
        return;
    }
    handed_over(2).await;
}

/// X37: half of the uploads come to their end within the time for it, half never do.
async fn uploads_at_the_end(count: usize) {
    const LENGTH: usize = 4_096;
    let app = FakeApp::start().await;
    let mut gate = TestGate::before(&app, "[gate]\nstop_timeout = \"3s\"\n[[room]]").await;
    let client = gate.admitted().await;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\nContent-Length: {LENGTH}\r\n\r\n",
        client.cookie()
    );
    let mut uploads = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::connect(gate.address()).await;
        raw.send(head.as_bytes()).await;
        raw.send(&[b'u'; LENGTH / 2]).await;
        uploads.push(raw);
    }
    until("they are under way", DEADLINE, async || (app.begun() >= count as u64).then_some(())).await;
    gate.signal("TERM");
    let stopped = Instant::now();
    let slow = uploads.split_off(count / 2);
    let whole = join_all(uploads.into_iter().map(async |mut raw| {
        sleep(SECOND).await;
        raw.send(&[b'u'; LENGTH / 2]).await;
        raw.answer_within(DEADLINE, false).await.map(|answer| (answer.status, answer.text()))
    }));
    let cut = join_all(slow.into_iter().map(async |mut raw| {
        // A byte at a time, for longer than the gate waits.
        while stopped.elapsed() < SECOND * 10 && !raw.is_closed() {
            raw.send(b"u").await;
            raw.closes(SECOND / 4).await;
        }
        raw.is_closed()
    }));
    let (whole, cut, ended) = tokio::join!(whole, cut, gate.ended());
    eprintln!("ended {:?} after the signal", stopped.elapsed());
    assert_eq!(ended.code(), Some(0));
    for answer in whole {
        assert_eq!(answer, Some((200, LENGTH.to_string())), "what ends in time is answered");
    }
    assert!(cut.iter().all(|&cut| cut), "what does not is cut");
    let seen = app.seen_at("/upload");
    assert_eq!(seen.iter().filter(|seen| seen.whole).count(), count / 2, "no cut body looks whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_under_way_at_a_stop_end_or_are_cut() {
    uploads_at_the_end(60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_gates_replaced_under_load() {
    assert_eq!(rolled(200, 10, "1s").await, Vec::<String>::new());
    handed_over(20).await;
    uploads_at_the_end(1_000).await;
}
