//! The Redis store over a cluster, and over a master that sentinels watch.

use std::process::Command;

use usher::domain::id::{Epoch, PlaceNumber, RoomName};
use usher::domain::place::Intent;
use usher::redis::{ConnectError, Redis};
use usher::store::{RedisStore, Store};

use super::world::{DEADLINE, UNHURRIED, connected, fresh_prefix, number, patient, room, settings, visitor};
use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

/// So many that every node of three has some, by their hash tags.
const ROOMS: u16 = 24;

#[tokio::test]
async fn rooms_spread_over_a_cluster_and_outlive_a_node() {
    if skipped() {
        return;
    }
    let mut nodes = cluster().await;
    let store = RedisStore::new(connected(&cluster_url(&nodes), Some(UNHURRIED)).await, &fresh_prefix());
    for n in 0..ROOMS {
        store.open(&room_of(n), Epoch(1), &settings()).await.expect("opened");
        for v in 1..=3 {
            let number = until("joined", DEADLINE, async || join(&store, n, v).await).await;
            assert_eq!(number, u64::from(v));
        }
        assert_eq!(store.admit(&room_of(n), None).await.expect("admitted").standing.admitted, 2);
    }
    for node in &nodes {
        assert_ne!(node.info("db0"), "", "every node has rooms");
        node.command(&["SCRIPT", "FLUSH"]);
    }
    for n in 0..ROOMS {
        assert_eq!(join(&store, n, 3).await, Some(3), "room {n}");
    }

    nodes[0].kill();
    let mut lost = 0;
    for n in 0..ROOMS {
        lost += u16::from(join(&store, n, 3).await.is_none());
    }
    assert!(lost > 0 && lost < ROOMS, "{lost} rooms are away, those of one node");
    nodes[0].restart();
    for n in 0..ROOMS {
        let what = format!("room {n} is back");
        let place = until(&what, DEADLINE, async || join(&store, n, 3).await).await;
        assert_eq!(place, 3);
    }

    nodes[2].command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]);
    let refused = until("a verdict", DEADLINE, async || {
        let refused = Redis::connect(&cluster_url(&nodes)).await.expect_err("unfit");
        (!matches!(refused, ConnectError::Away(_))).then_some(refused)
    })
    .await;
    assert!(matches!(refused, ConnectError::Unfit(_)), "every node is judged: {refused}");
}

/// A node takes away the rooms that are on it and no others, also within one gate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_over_a_cluster_freeze_the_rooms_of_a_lost_node_only() {
    if skipped() {
        return;
    }
    const COUNT: usize = 8;
    let (mut nodes, app) = (cluster().await, FakeApp::start().await);
    let name = |n: usize| format!("room-{n}");
    let rooms: String = (0..COUNT)
        .map(|n| {
            let (name, upstream) = (name(n), app.url());
            format!("[[room]]\nname = \"{name}\"\nhosts = [\"{name}.test\"]\nupstreams = [\"{upstream}\"]\ntick = \"250ms\"\n")
        })
        .collect();
    let text = format!("[store]\nkind = \"redis\"\nurl = \"{}\"\n{rooms}", cluster_url(&nodes));
    let gate = TestGate::start(&text).await;
    let is_on = |node: &RedisServer, n: usize| {
        let keys: Vec<String> = redis::from_redis_value(node.command(&["KEYS", "*"])).expect("keys");
        keys.contains(&format!("usher:{{{}}}:room", name(n)))
    };
    let lost: Vec<bool> = (0..COUNT).map(|n| is_on(&nodes[0], n)).collect();
    assert!(lost.contains(&true) && lost.contains(&false), "{lost:?}");
    let degraded = async |n: usize| gate.room(&name(n)).await["degraded"] == true;

    nodes[0].kill();
    for n in (0..COUNT).filter(|&n| lost[n]) {
        until("its rooms freeze", DEADLINE, async || degraded(n).await.then_some(())).await;
    }
    for n in (0..COUNT).filter(|&n| !lost[n]) {
        let tick = async || gate.room(&name(n)).await["tick"].as_u64().expect("a count");
        let before = tick().await;
        until("the others tick", DEADLINE, async || (tick().await > before + 1).then_some(())).await;
    }
    nodes[0].restart();
    for n in 0..COUNT {
        until("all are well", DEADLINE, async || (!degraded(n).await).then_some(())).await;
    }
}

#[tokio::test]
async fn a_line_goes_on_after_a_failover() {
    if skipped() {
        return;
    }
    let mut master = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    until("the replica follows", DEADLINE, async || {
        (replica.info("master_link_status") == "up").then_some(())
    })
    .await;
    let sentinel = RedisServer::sentinel(master.port());
    until("the sentinel knows the replica", DEADLINE, async || {
        sentinel.info("master0").contains("slaves=1").then_some(())
    })
    .await;

    let url = format!("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port());
    let store = RedisStore::new(connected(&url, None).await, &fresh_prefix());
    until("opened", DEADLINE, async || store.open(&room(), Epoch(1), &patient()).await.ok()).await;
    for v in 1..=5 {
        let join = async || store.join(&room(), None, &[(visitor(v), Intent::Join)]).await.ok();
        until("joined", DEADLINE, join).await;
    }
    let caught_up = async || (master.info("slave0").contains("state=online")).then_some(());
    until("the replica is online", DEADLINE, caught_up).await;
    let replicated =
        async || (master.info("master_repl_offset") == replica.info("slave_repl_offset")).then_some(());
    until("the replica has everything", DEADLINE, replicated).await;

    sentinel.command(&["SENTINEL", "SET", "mymaster", "down-after-milliseconds", "300"]);
    master.kill();
    let waiting = until("the replica is master", DEADLINE, async || {
        store.join(&room(), None, &[(visitor(6), Intent::Join)]).await.ok()?;
        store.waiting(&room(), PlaceNumber(0), 99).await.ok()
    })
    .await;
    assert_eq!(waiting.len(), 6, "{waiting:?}");
}

async fn join(store: &RedisStore, n: u16, v: u16) -> Option<u64> {
    let turns = store.join(&room_of(n), None, &[(visitor(v), Intent::Join)]).await;
    turns.ok().map(|turns| number(&turns[0]))
}

fn room_of(n: u16) -> RoomName {
    format!("room-{n}").parse().expect("a room name")
}

/// Three masters that share all slots.
async fn cluster() -> Vec<RedisServer> {
    let args = [
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "15000",
        // One node's loss takes only its own slots away.
        "--cluster-require-full-coverage",
        "no",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let nodes: Vec<_> = (0..3).map(|_| RedisServer::start_with(&args)).collect();
    let places = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port()));
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(places)
        .arg("--cluster-yes")
        .output()
        .expect("redis-cli is installed beside redis-server");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        until("the cluster is whole", DEADLINE, async || {
            let info: String = redis::from_redis_value(node.command(&["CLUSTER", "INFO"])).ok()?;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
    }
    nodes
}

fn cluster_url(nodes: &[RedisServer]) -> String {
    let places: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    format!("redis+cluster://{}", places.join(","))
}
