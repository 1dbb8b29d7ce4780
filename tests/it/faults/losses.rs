//! Stores that lose a line under a crowd that waits at its own pace.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use usher::swarm::history::State;

use super::{DEADLINE, SECOND, gate, is_degraded, manners, metric, stands, until_degraded};
use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::TestGate;
use crate::support::proxy::{Proxy, Weather};
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::stalls::Stalls;
use crate::support::wait::until;

/// Inside from the first.
const HOLDERS: usize = 4;
const BATCH: u64 = 2;
/// Of those who wait, who must be back under their own numbers.
const BACK: f64 = 0.95;

/// How many wait, and how seldom they ask.
struct Size {
    crowd: usize,
    /// Between two polls, at least and at most.
    poll: (Duration, Duration),
}

const SHORT: Size = Size { crowd: 2_000, poll: (Duration::from_millis(500), Duration::from_secs(8)) };
const LONG: Size = Size { crowd: 50_000, poll: (Duration::from_secs(2), Duration::from_secs(30)) };

impl Size {
    fn room(&self) -> String {
        let (min, max) = (self.poll.0.as_millis(), self.poll.1.as_millis());
        format!(
            "capacity = {HOLDERS}\nbatch = {BATCH}\ntick = \"250ms\"\nclaim_window = \"60s\"\n\
             poll = {{ min = \"{min}ms\", max = \"{max}ms\" }}"
        )
    }

    /// Within which a line that lost its last moments stands again.
    fn soon(&self) -> Duration {
        SECOND * 2 + self.poll.1
    }
}

/// Two gates over one wire, before a line that stands still because it is full inside.
struct Scene {
    gates: [TestGate; 2],
    crowd: Crowd,
    holders: Vec<Client>,
    /// Saved while it waited, by somebody whose turn came since and who left again.
    served: Client,
    /// Taken out of the line.
    out: Client,
    numbers: Vec<u64>,
}

impl Scene {
    async fn set(url: &str, app: &FakeApp, size: &Size) -> Self {
        let gates = [gate(url, app, &size.room()).await, gate(url, app, &size.room()).await];
        let mut holders = Vec::new();
        for i in 0..HOLDERS - 1 {
            holders.push(admitted(&gates[i % 2]).await);
        }
        gates[0].act("pause").await;
        let mut guest = gates[1].client();
        guest.stand().await;
        let served = guest.clone();
        gates[0].act("resume").await;
        poll_until(&mut guest, |status| status["state"] == "admitted").await;
        holders.push(admitted_after(&gates[1], guest).await);
        let mut out = gates[0].client();
        let number = out.stand().await["number"].as_u64().expect("a place");
        let addresses = gates.each_ref().map(TestGate::address);
        let crowd = Crowd::start(&addresses, size.crowd, manners(size.crowd, None));
        stands(&crowd).await;
        let removed = gates[0].admin("DELETE", &format!("/admin/v1/rooms/main/places/{number}"), "").await;
        assert!((200..300).contains(&removed.status), "{}", removed.text());
        for gate in &gates {
            gate.after_two_ticks().await;
        }
        let numbers = crowd.seen().iter().map(|seen| seen.number.expect("stands")).collect();
        Self { gates, crowd, holders, served, out, numbers }
    }

    fn last(&self) -> u64 {
        *self.numbers.iter().max().expect("a crowd")
    }

    /// The cheats ask all the while, until the line stands again at both gates.
    async fn comes_back(&mut self) -> Duration {
        let since = Instant::now();
        until_degraded(&self.gates[0]).await;
        while is_degraded(&self.gates[0]).await || is_degraded(&self.gates[1]).await {
            assert!(since.elapsed() < DEADLINE * 2, "the line never stands again");
            for cheat in [&mut self.served, &mut self.out] {
                cheat.get("/queue/status").await;
            }
            for holder in &mut self.holders {
                assert_eq!(holder.get("/x").await.status, 200, "passes are good all the time");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        since.elapsed()
    }

    /// What must be true the moment the line stands again.
    async fn is_as_it_was(&mut self, redis: &RedisServer) {
        let room = self.gates[0].room("main").await;
        assert_eq!(room["active"].as_u64(), Some(HOLDERS as u64), "live passes are counted: {room}");
        assert_eq!(room["called"].as_u64(), Some(0), "{room}");
        assert_eq!(self.inside() + self.holders.len(), HOLDERS, "nobody was admitted meanwhile");
        let back = in_line(redis);
        let own: Vec<_> = self.numbers.iter().filter(|number| back.contains_key(number)).collect();
        let share = own.len() as f64 / self.numbers.len() as f64;
        eprintln!("{:.2} % of {} came back", share * 100.0, self.numbers.len());
        assert!(share >= BACK, "{share} of the line came back");
        for cheat in [&mut self.served, &mut self.out] {
            let last = *self.numbers.iter().max().expect("a crowd");
            // At the tail, or still known to be out.
            let status = poll_until(cheat, |status| {
                status["number"].as_u64() > Some(last) || status["number"].is_null()
            })
            .await;
            let state = status["state"].as_str().expect("a state");
            assert!(matches!(state, "waiting" | "left" | "expired"), "{status}");
        }
    }

    fn inside(&self) -> usize {
        self.crowd.count(|seen| seen.state == Some(State::Admitted))
    }

    /// Ten more may come in: the next ten of the old line do, in its order.
    async fn goes_on_in_order(self) {
        const MORE: usize = 10;
        let wanted = self.inside() + MORE;
        self.gates[0].change(&format!("{{\"capacity\": {}}}", HOLDERS + MORE)).await;
        until("ten came in", DEADLINE, || async { (self.inside() >= wanted).then_some(()) }).await;
        let seen = self.crowd.seen();
        let mut inside: Vec<_> =
            seen.iter().filter(|s| s.state == Some(State::Admitted)).filter_map(|s| s.number).collect();
        inside.sort_unstable();
        let mut back = Vec::new();
        for (&before, now) in self.numbers.iter().zip(&seen) {
            match now.number {
                Some(number) if number == before => back.push(number),
                other => assert!(other.is_none_or(|n| n > self.last()), "{before} became {other:?}"),
            }
        }
        back.sort_unstable();
        assert!(back.len() as f64 >= BACK * self.numbers.len() as f64, "{} kept their numbers", back.len());
        assert_eq!(inside, back[..wanted], "those who were first of those who are back");
        let troubles = self.crowd.troubles();
        assert!(troubles.others.is_empty(), "{troubles:?}");
        let history = self.crowd.history().await;
        let verdict = judge(&history, (HOLDERS + MORE) as u64, Duration::ZERO);
        assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    }
}

async fn admitted(gate: &TestGate) -> Client {
    let mut client = gate.client();
    client.stand().await;
    poll_until(&mut client, |status| status["state"] == "admitted").await;
    client
}

/// Somebody comes in once `guest` has left.
async fn admitted_after(gate: &TestGate, mut guest: Client) -> Client {
    guest.leave().await;
    admitted(gate).await
}

/// Polls at the pace it is told.
async fn poll_until(client: &mut Client, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = client.get("/queue/status").await;
        assert!(Instant::now() < deadline, "waited in vain: {}", answer.text());
        if answer.status == 200 && is(&answer.json()) {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Waiting visitors by their numbers.
fn in_line(redis: &RedisServer) -> BTreeMap<u64, String> {
    let line = redis.command(&["ZRANGE", "usher:{main}:waiting", "0", "-1", "WITHSCORES"]);
    let pairs: Vec<(String, f64)> = redis::from_redis_value(line).expect("visitors and numbers");
    pairs.into_iter().map(|(visitor, number)| (number as u64, visitor)).collect()
}

async fn flushed(size: &Size) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let mut scene = Scene::set(&redis.url(), &app, size).await;
    let before = in_line(&redis);
    let stalls = Stalls::watch();
    redis.command(&["FLUSHALL"]);
    let took = scene.comes_back().await;
    stalls.expect("the line's return", took, size.poll.1 * 2 + SECOND * 2);
    scene.is_as_it_was(&redis).await;
    for (number, visitor) in in_line(&redis).iter().filter(|(number, _)| **number <= scene.last()) {
        assert_eq!(before.get(number), Some(visitor), "nobody has another's place");
    }
    assert!(metric(&scene.gates[0], "usher_room_losses_total{room=\"main\"}").await >= 1);
    scene.goes_on_in_order().await;
}

/// What happens in the last moments, of which the store will know nothing.
struct Forgotten {
    /// Gave its pass back.
    leaver: Client,
    /// Joined.
    late: [Client; 2],
    numbers: [u64; 2],
}

impl Forgotten {
    async fn happens(scene: &mut Scene) -> Self {
        let mut leaver = scene.holders.remove(0);
        leaver.leave().await;
        until("the first of the line is inside", DEADLINE, || async { (scene.inside() == 1).then_some(()) })
            .await;
        let mut late = [scene.gates[0].client(), scene.gates[1].client()];
        let mut numbers = [0; 2];
        for (visitor, number) in late.iter_mut().zip(&mut numbers) {
            visitor.stand().await;
            // Its gate has to know, as one that polls makes it.
            let status = poll_until(visitor, |status| status["position"].is_u64()).await;
            *number = status["number"].as_u64().expect("a place");
        }
        Self { leaver, late, numbers }
    }

    /// The line comes back within `soon`, those who came last included; `lost` is how
    /// long the forgotten moments were.
    async fn expect_made_good(
        mut self,
        scene: &mut Scene,
        redis: &RedisServer,
        lost: Duration,
        soon: Duration,
    ) {
        let stalls = Stalls::watch();
        let [mut a, mut b] = self.late.clone();
        let polls = async {
            loop {
                a.get("/queue/status").await;
                b.get("/queue/status").await;
                tokio::time::sleep(SECOND).await;
            }
        };
        let took = tokio::select! {
            took = scene.comes_back() => took,
            () = polls => unreachable!("it never ends"),
        };
        stalls.expect("the line's return", took, soon);
        assert!(self.leaver.get("/x").await.status != 200, "a pass given back stays dead");
        for gate in &scene.gates {
            let over = metric(gate, "usher_room_over_capacity{room=\"main\"}").await;
            assert!(over <= BATCH * lost.as_millis().div_ceil(250) as u64, "{over} above the capacity");
        }
        scene.is_as_it_was(redis).await;
        for (visitor, number) in self.late.iter_mut().zip(&self.numbers) {
            let status = poll_until(visitor, |status| status["number"].is_u64()).await;
            assert_eq!(status["number"].as_u64(), Some(*number), "who joined in that time has its place");
        }
    }
}

/// X3: a copy whose link to its master was cut `stale` before the master died takes over.
async fn failed_over(size: &Size, stale: Duration) {
    let (mut master, app) = (RedisServer::start(), FakeApp::start().await);
    let (wire, link) = (Proxy::to(master.port()).await, Proxy::to(master.port()).await);
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &link.port().to_string()]);
    let mut scene = Scene::set(&wire.url(), &app, size).await;
    let has_all =
        async || (master.info("master_repl_offset") == replica.info("slave_repl_offset")).then_some(());
    until("the replica has everything", DEADLINE, has_all).await;
    link.set(Weather::Cut);
    let cut = Instant::now();
    let forgotten = Forgotten::happens(&mut scene).await;
    tokio::time::sleep_until(cut + stale).await;
    master.kill();
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    wire.lead_to(replica.port());
    forgotten.expect_made_good(&mut scene, &replica, stale, size.soon()).await;
    scene.goes_on_in_order().await;
}

/// X2: the power fails, and the last `lost` of what the store wrote is gone.
async fn power_failed(size: &Size, lost: Duration) {
    let args = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let (mut redis, app) = (RedisServer::start_with(&args), FakeApp::start().await);
    let mut scene = Scene::set(&redis.url(), &app, size).await;
    let file = redis.folder().join("appendonlydir/appendonly.aof.1.incr.aof");
    let written = || std::fs::metadata(&file).expect("it is written").len();
    let (kept, cut) = (written(), Instant::now());
    let forgotten = Forgotten::happens(&mut scene).await;
    tokio::time::sleep_until(cut + lost).await;
    redis.kill();
    let lost = cut.elapsed();
    eprintln!("{lost:?} are lost");
    assert!(written() > kept, "something is lost");
    let file = std::fs::File::options().write(true).open(&file).expect("it is there");
    file.set_len(kept).expect("the scratch folder is ours");
    redis.restart();
    forgotten.expect_made_good(&mut scene, &redis, lost, size.soon()).await;
    scene.goes_on_in_order().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_lost_its_last_second_to_the_power_has_it_again() {
    if skipped() {
        return;
    }
    power_failed(&SHORT, SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_a_store_that_lost_its_last_second_with_50_000_in_line() {
    power_failed(&LONG, SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_two_seconds_stale_takes_over() {
    if skipped() {
        return;
    }
    failed_over(&SHORT, SECOND * 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_a_copy_that_is_five_seconds_stale_takes_over() {
    failed_over(&LONG, SECOND * 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_line_comes_back_at_its_visitors_own_pace() {
    if skipped() {
        return;
    }
    flushed(&SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_a_flushed_line_of_50_000_comes_back() {
    flushed(&LONG).await;
}
