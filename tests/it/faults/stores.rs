//! Stores that die, load, are demoted, full, unfit, or lose their scripts while a
//! crowd waits, and a long line that is cleared.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use usher::swarm::history::State;

use super::{DEADLINE, SECOND, gate, manners, served, stands, until_degraded, until_well};
use crate::support::app::FakeApp;
use crate::support::crowd::{Crowd, judge};
use crate::support::gate::{TestGate, end_of, usher};
use crate::support::proxy::Proxy;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::stalls::Stalls;
use crate::support::wait::until;

const CAPACITY: u64 = 8;
const VISIT: Option<Duration> = Some(Duration::from_millis(500));
const ROOM: &str = "capacity = 8\nbatch = 5\ntick = \"250ms\"\nidle_timeout = \"6s\"\n\
                    poll = { min = \"200ms\", max = \"1s\" }";

/// X1: killed while a crowd joins, `away` for a while, then loading for a second.
async fn killed(count: usize, away: Duration) {
    let args = ["--appendonly", "yes", "--appendfsync", "everysec", "--key-load-delay", "2000"];
    let slowly = ["--loading-process-events-interval-bytes", "1024"];
    let (mut redis, app) = (RedisServer::start_with(&[&args[..], &slowly].concat()), FakeApp::start().await);
    for key in 0..500 {
        redis.command(&["SET", &format!("other-{key}"), "x"]);
    }
    redis.command(&["BGREWRITEAOF"]);
    let rewritten = async || (redis.info("aof_rewrite_in_progress") == "0").then_some(());
    until("the file is rewritten", DEADLINE, rewritten).await;
    let gates = [gate(&redis.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count, manners(count, VISIT));
    until("half of them stand", DEADLINE, || async {
        (crowd.count(|seen| seen.stood) > count / 2).then_some(())
    })
    .await;
    redis.kill();
    let stalls = Stalls::watch();
    let since = Instant::now();
    for gate in &gates {
        until_degraded(gate).await;
    }
    sleep((since + away).saturating_duration_since(Instant::now())).await;
    redis.restart();
    let accepts = Instant::now();
    for gate in &gates {
        until_well(gate).await;
    }
    stalls.expect("recovery", accepts.elapsed(), SECOND * 2);
    for gate in &gates {
        assert_eq!(gate.room("main").await["evicted_total"].as_u64(), Some(0), "nobody loses a place");
    }
    served(crowd, CAPACITY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_that_loads_again_has_everybody_it_answered() {
    if skipped() {
        return;
    }
    killed(150, SECOND * 5).await;
}

/// X5: a master is demoted by hand and keeps its connections; the name leads elsewhere.
async fn demoted(count: usize) {
    let (master, app) = (RedisServer::start(), FakeApp::start().await);
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let wire = Proxy::to(master.port()).await;
    let gates = [gate(&wire.url(), &app, ROOM).await, gate(&wire.url(), &app, ROOM).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count, manners(count, VISIT));
    stands(&crowd).await;
    let client = redis::Client::open(wire.url()).expect("an address");
    let mut other = client.get_connection_with_timeout(DEADLINE).expect("a connection");
    let mut write = || redis::cmd("SET").arg("other").arg(1).query::<()>(&mut other);
    write().expect("a master");
    let has_all =
        async || (master.info("master_repl_offset") == replica.info("slave_repl_offset")).then_some(());
    until("the replica has everything", DEADLINE, has_all).await;
    let stalls = Stalls::watch();
    wire.lead_newcomers_to(replica.port());
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    master.command(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]);
    let since = Instant::now();
    let tick = || -> u64 {
        let tick = replica.command(&["HGET", "usher:{main}:room", "tick"]);
        redis::from_redis_value(tick).expect("a count")
    };
    let before = tick();
    until("the new master ticks", DEADLINE, async || (tick() > before).then_some(())).await;
    for gate in &gates {
        until_well(gate).await;
    }
    stalls.expect("finding the new master", since.elapsed(), SECOND * 2);
    let refused = write().expect_err("this connection stands, and leads to the old one");
    assert_eq!(refused.code(), Some("READONLY"), "{refused}");
    served(crowd, CAPACITY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_demoted_by_hand_is_left_though_its_connections_stand() {
    if skipped() {
        return;
    }
    demoted(80).await;
}

/// X10: nobody is let in, nobody may join, everybody who waits is answered.
async fn full(count: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let gates = [gate(&redis.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count, manners(count, None));
    stands(&crowd).await;
    let inside = || crowd.count(|seen| seen.state == Some(State::Admitted)) as u64;
    until("the room is full inside", DEADLINE, || async { (inside() == CAPACITY).then_some(()) }).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1mb"]);
    gates[0].change("{\"capacity\": 18}").await;
    let since = Instant::now();
    let mut newcomer = gates[1].client();
    newcomer.get("/queue/status").await;
    while since.elapsed() < SECOND * 2 {
        let told = newcomer.join().await;
        assert_eq!((&told["state"], &told["number"]), (&Value::from("full"), &Value::Null), "{told}");
        let room = gates[1].room("main").await;
        assert_eq!(room["admitted_total"].as_u64(), Some(CAPACITY), "{room}");
        sleep(Duration::from_millis(100)).await;
    }
    let stalls = Stalls::watch();
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let since = Instant::now();
    let admitted = || -> u64 {
        let admitted = redis.command(&["HGET", "usher:{main}:room", "admitted"]);
        redis::from_redis_value(admitted).expect("a count")
    };
    until("the next batch", DEADLINE, async || (admitted() > CAPACITY).then_some(())).await;
    stalls.expect("the next batch", since.elapsed(), SECOND);
    assert!(newcomer.stand().await["number"].is_u64(), "who comes now has a place");
    until("all ten are inside", DEADLINE, || async { (inside() == 18).then_some(()) }).await;
    let troubles = crowd.troubles();
    assert!(troubles.others.is_empty() && troubles.put_off == 0, "{troubles:?}");
    let verdict = judge(&crowd.history().await, 18, Duration::ZERO);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_takes_nobody_and_answers_who_waits() {
    if skipped() {
        return;
    }
    full(60).await;
}

/// X11.
#[test]
fn a_gate_does_not_start_over_a_store_that_drops_keys() {
    if skipped() {
        return;
    }
    let redis = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let folder = tempfile::tempdir().expect("a scratch folder");
    let text = format!(
        "[gate]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [store]\nkind = \"redis\"\nurl = \"{}\"\n[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n",
        redis.url()
    );
    std::fs::write(folder.path().join("usher.toml"), text).expect("the scratch folder is ours");
    for command in [&["gate"][..], &["check", "--online"]] {
        let mut usher = usher();
        let output = end_of(usher.args(command).args(["--config", "usher.toml"]).current_dir(folder.path()));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {told}");
        assert!(told.contains("allkeys-lru") && told.contains("noeviction"), "{command:?}: {told}");
    }
}

/// X13: scripts are forgotten all the time, and nobody notices.
async fn forgets_scripts(count: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let gates = [gate(&redis.url(), &app, ROOM).await, gate(&redis.url(), &app, ROOM).await];
    let crowd = Crowd::start(&gates.each_ref().map(TestGate::address), count, manners(count, VISIT));
    let mut flushed = 0;
    while crowd.count(|seen| seen.done) < count / 2 {
        redis.command(&["SCRIPT", "FLUSH"]);
        flushed += 1;
        sleep(Duration::from_millis(50)).await;
    }
    eprintln!("flushed {flushed} times");
    served(crowd, CAPACITY).await;
    for gate in &gates {
        assert!(!gate.log().contains("store is away"), "{}", gate.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_all_the_time_hold_up_nobody() {
    if skipped() {
        return;
    }
    forgets_scripts(60).await;
}

/// Puts so many into the line at once, in two large keys.
const FILL: &str = "for i = 1, ARGV[1] do \
     redis.call('ZADD', KEYS[1], i, 'visitor-of-the-line-' .. i) \
     redis.call('HSET', KEYS[2], 'visitor-of-the-line-' .. i, 'E ' .. i .. ' l0') end \
     if KEYS[3] then redis.call('HSET', KEYS[3], 'next', ARGV[1] + 1) end";

/// The longest that one command took in the store since its log was reset.
fn longest(redis: &RedisServer) -> Duration {
    type Entry = (u64, u64, u64, redis::Value, redis::Value, redis::Value);
    let log: Vec<Entry> = redis::from_redis_value(redis.command(&["SLOWLOG", "GET", "-1"])).expect("a log");
    Duration::from_micros(log.iter().map(|entry| entry.2).max().unwrap_or(0))
}

/// X42: a line is cleared, and its keys' memory is given back beside the work.
async fn cleared(count: usize) {
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    redis.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    redis.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]);
    let gate = gate(&redis.url(), &app, ROOM).await;
    let mut holder = gate.admitted().await;
    let count = count.to_string();
    let fill = |keys: &[&str]| {
        let keys_count = keys.len().to_string();
        redis.command(&[&["EVAL", FILL, &keys_count], keys, &[&count]].concat());
        redis.command(&["SLOWLOG", "RESET"]);
    };
    // What it takes when it is not done beside the work; a machine that stood still
    // makes any call long, so the shortest of a few.
    let both = until("a quiet moment", DEADLINE, async || {
        fill(&["copy", "copies"]);
        redis.command(&["DEL", "copy", "copies"]);
        let plain = longest(&redis);
        fill(&["usher:{main}:waiting", "usher:{main}:places", "usher:{main}:room"]);
        until("the line is seen", DEADLINE, async || {
            (gate.room("main").await["waiting"].as_u64() > Some(1_000)).then_some(())
        })
        .await;
        redis.command(&["SLOWLOG", "RESET"]);
        let clear = gate.admin("POST", "/admin/v1/rooms/main/clear", "{\"confirm\": \"main\"}").await;
        assert!((200..300).contains(&clear.status), "{}", clear.text());
        gate.after_two_ticks().await;
        let cleared = longest(&redis);
        eprintln!("clearing held the store up for {cleared:?}, a plain removal for {plain:?}");
        (cleared * 5 < plain).then_some((cleared, plain))
    })
    .await;
    assert!(both.0 < Duration::from_millis(50), "{both:?}");
    assert_eq!(holder.get("/x").await.status, 429, "passes of the old line are dead");
    assert_eq!(gate.client().admit().await["number"].as_u64(), Some(1), "a new line has begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_line_is_cleared_without_holding_up_the_store() {
    if skipped() {
        return;
    }
    cleared(100_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn soak_stores_that_fail_while_two_thousand_wait() {
    killed(2_000, SECOND * 5).await;
    demoted(2_000).await;
    full(2_000).await;
    forgets_scripts(2_000).await;
    cleared(1_000_000).await;
}
