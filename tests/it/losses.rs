//! Stores that lose a line, whole or its end, and gates that bring it back.

use std::time::Duration;

use serde_json::Value;

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::Raw;
use crate::support::redis_server::{RedisServer, skipped};
use crate::support::wait::until;

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const DEADLINE: Duration = Duration::from_secs(60);
/// Places may come back for twice the longest pause.
const POLL: &str = "poll = { min = \"0s\", max = \"5s\" }";

fn settings(store: &str, app: &FakeApp, room: &str) -> String {
    format!(
        "[gate.keys]\ncurrent = \"{KEY}\"\n[store]\n{store}\n\
         [[room]]\nupstreams = [\"{}\"]\ntick = \"100ms\"\nidle_timeout = \"60s\"\n{POLL}\n{room}\n",
        app.url(),
    )
}

async fn gate(redis: &RedisServer, app: &FakeApp, room: &str) -> TestGate {
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    TestGate::start(&settings(&store, app, room)).await
}

fn number(status: &Value) -> u64 {
    status["number"].as_u64().unwrap_or_else(|| panic!("{status} has a number"))
}

/// Everybody polls until the line stands again at each gate.
async fn come_back(gates: &[&TestGate], visitors: &mut [&mut Client]) {
    until("the loss is noticed", DEADLINE, || async {
        (gates[0].room("main").await["degraded"] == true).then_some(())
    })
    .await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        for visitor in visitors.iter_mut() {
            visitor.get("/queue/status").await;
        }
        let mut degraded = false;
        for gate in gates {
            degraded |= gate.room("main").await["degraded"] == true;
        }
        if !degraded {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the line never stands again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_flushed_line_comes_back_in_its_old_order() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let (a, b) = (gate(&redis, &app, "capacity = 2").await, gate(&redis, &app, "capacity = 2").await);
    let mut holder = a.admitted().await;
    // Somebody who keeps the cookie of a place that was served long ago.
    a.act("pause").await;
    let mut cheat = b.client();
    cheat.stand().await;
    let saved = cheat.clone();
    a.act("resume").await;
    cheat.until_state("admitted").await;
    let mut line: Vec<Client> = (0..10).map(|i| if i % 2 == 0 { a.client() } else { b.client() }).collect();
    let mut numbers = Vec::new();
    for visitor in &mut line {
        numbers.push(number(&visitor.stand().await));
    }
    cheat.leave().await;
    line[0].until_state("admitted").await;
    let mut first = line.remove(0);
    numbers.remove(0);
    let mut cheat = saved;

    a.change("{\"message\": \"Doors at ten\"}").await;
    // The other gate may not have heard of it.
    redis.command(&["FLUSHALL"]);
    let mut everybody: Vec<&mut Client> = line.iter_mut().collect();
    everybody.push(&mut cheat);
    come_back(&[&a, &b], &mut everybody).await;

    assert_eq!(holder.get("/x").await.status, 200, "a pass was good all the time");
    assert_eq!(first.get("/x").await.status, 200, "and one that was claimed a moment before");
    for (i, visitor) in line.iter_mut().enumerate() {
        let status = visitor.status().await;
        assert_eq!((&status["state"], number(&status)), (&Value::from("waiting"), numbers[i]));
        assert_eq!(status["position"].as_u64(), Some(i as u64 + 1), "nobody jumped the line");
        assert_eq!(status["message"], "Doors at ten", "the operator's word stands");
    }
    let room = a.room("main").await;
    assert_eq!((&room["active"], &room["called"]), (&Value::from(2), &Value::from(0)), "{room}");
    let cheated = cheat.until_status("a place at the tail", |s| s["number"].is_u64()).await;
    assert!(number(&cheated) > *numbers.last().expect("nine"), "{cheated}");
    let mut newcomer = b.client();
    assert!(number(&newcomer.stand().await) > number(&cheated));
    holder.leave().await;
    line[0].until_state("admitted").await;
    assert_eq!(line[1].status().await["state"], "waiting");
}

#[tokio::test]
async fn a_place_that_was_given_up_does_not_come_back_after_a_loss() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    let quick = settings(&store, &app, "capacity = 1")
        .replacen("idle_timeout = \"60s\"", "idle_timeout = \"4s\"", 1)
        .replacen(POLL, "poll = { min = \"0s\", max = \"1s\" }", 1);
    let gate = TestGate::start(&quick).await;
    gate.act("pause").await;
    let [mut silent, mut behind] = [gate.client(), gate.client()];
    silent.stand().await;
    let second = number(&behind.stand().await);
    until("the silent one is given up", DEADLINE, async || {
        behind.get("/queue/status").await;
        (gate.room("main").await["evicted_total"] == 1).then_some(())
    })
    .await;
    redis.command(&["FLUSHALL"]);
    come_back(&[&gate], &mut [&mut silent, &mut behind]).await;
    let status = behind.status().await;
    assert_eq!((number(&status), status["position"].as_u64()), (second, Some(1)), "{status}");
    let given_up = silent.get("/queue/status").await.json();
    assert!(given_up["number"].as_u64().is_none_or(|number| number > second), "{given_up}");
}

#[tokio::test]
async fn a_copy_from_before_admits_nobody_twice_and_gives_no_number_twice() {
    if skipped() {
        return;
    }
    let (mut redis, app) = (RedisServer::start(), FakeApp::start().await);
    let a = gate(&redis, &app, "capacity = 1").await;
    let b = gate(&redis, &app, "capacity = 1").await;
    a.act("pause").await;
    let [mut first, mut second, mut third] = [a.client(), b.client(), b.client()];
    first.stand().await;
    second.stand().await;
    redis.command(&["SAVE"]);
    a.act("resume").await;
    first.until_state("admitted").await;
    assert_eq!(number(&third.stand().await), 3);
    redis.kill();
    redis.restart();
    come_back(&[&a, &b], &mut [&mut first, &mut second, &mut third]).await;
    assert_eq!(first.get("/x").await.status, 200);
    let (second_now, third_now) = (second.status().await, third.status().await);
    assert_eq!((number(&second_now), second_now["position"].as_u64()), (2, Some(1)), "{second_now}");
    assert_eq!((number(&third_now), third_now["position"].as_u64()), (3, Some(2)), "{third_now}");
    let room = b.room("main").await;
    assert_eq!((&room["active"], &room["called"]), (&Value::from(1), &Value::from(0)), "{room}");
    assert!(number(&a.client().stand().await) > 3);
    a.act("resume").await;
    first.leave().await;
    second.until_state("admitted").await;
}

#[tokio::test]
async fn who_joins_a_copy_from_before_that_no_gate_has_looked_at_yet_gets_nobody_elses_number() {
    if skipped() {
        return;
    }
    let redis = RedisServer::start_with(&["--enable-debug-command", "local"]);
    let app = FakeApp::start().await;
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    let slow = settings(&store, &app, "capacity = 1").replacen("tick = \"100ms\"", "tick = \"1s\"", 1);
    let gate = TestGate::start(&slow).await;
    gate.act("pause").await;
    let mut early = gate.client();
    early.stand().await;
    redis.command(&["SAVE"]);
    let (mut late, mut newcomer) = (Vec::new(), gate.client());
    for number_of in 2..=6 {
        let mut visitor = gate.client();
        assert_eq!(number(&visitor.stand().await), number_of);
        late.push(visitor);
    }
    newcomer.get("/queue/status").await;
    // A failover that no connection notices, and a moment until the gate looks by itself.
    redis.command(&["DEBUG", "RELOAD", "NOSAVE"]);
    let told = newcomer.get("/queue/status").await.json();
    assert!(told["number"].is_null(), "{told}");
    let mut everybody: Vec<&mut Client> = late.iter_mut().collect();
    everybody.extend([&mut early, &mut newcomer]);
    come_back(&[&gate], &mut everybody).await;
    for (visitor, place) in [&mut early].into_iter().chain(&mut late).zip(1..) {
        let status = visitor.status().await;
        assert_eq!((number(&status), status["position"].as_u64()), (place, Some(place)), "{status}");
    }
    assert_eq!(number(&newcomer.until_status("a place", |s| s["number"].is_u64()).await), 7);
}

#[tokio::test]
async fn a_pass_that_was_given_back_is_soon_dead_at_a_gate_that_missed_it_and_the_store_forgot() {
    if skipped() {
        return;
    }
    let (mut redis, app) = (RedisServer::start(), FakeApp::start().await);
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    let slow = "poll = { min = \"0s\", max = \"30s\" }";
    let slow = settings(&store, &app, "capacity = 2").replacen(POLL, slow, 1);
    let (a, b) = (TestGate::start(&slow).await, TestGate::start(&slow).await);
    let [mut leaver, mut stayer] = [a.admitted().await, a.admitted().await];
    let [mut left, mut stayed] = [&leaver, &stayer].map(|client| client.clone().at(b.address()));
    b.after_two_ticks().await;
    redis.command(&["SAVE"]);
    b.signal("STOP");
    leaver.leave().await;
    a.after_two_ticks().await;
    redis.kill();
    redis.restart();
    until("the loss is noticed", DEADLINE, || async {
        (a.room("main").await["degraded"] == true).then_some(())
    })
    .await;
    b.signal("CONT");
    until("it is dead there, too", DEADLINE, || {
        let mut left = left.clone();
        async move { (left.get("/x").await.status == 429).then_some(()) }
    })
    .await;
    assert_eq!(b.room("main").await["degraded"], true, "long before the line stands");
    assert_eq!((stayer.get("/x").await.status, stayed.get("/x").await.status), (200, 200));
    assert_ne!(left.get("/x").await.status, 200);
}

/// A gate that stood still through a change and the loss of it speaks last; `lose`
/// takes the line back to where it was before the change. `more`: another change at
/// once, before the gate that knows has looked at the store again, if it can.
async fn an_operators_word_stands(more: bool, lose: impl FnOnce(&mut RedisServer)) {
    let (mut redis, app) = (RedisServer::start(), FakeApp::start().await);
    let store = format!("kind = \"redis\"\nurl = \"{}\"", redis.url());
    let quick =
        settings(&store, &app, "capacity = 1").replacen(POLL, "poll = { min = \"0s\", max = \"1s\" }", 1);
    let [a, b] = [TestGate::start(&quick).await, TestGate::start(&quick).await];
    let mut holder = a.admitted().await;
    let mut waiting = b.client();
    waiting.stand().await;
    a.change("{\"batch\": 3}").await;
    for gate in [&a, &b] {
        until("both know", DEADLINE, async || (gate.room("main").await["batch"] == 3).then_some(())).await;
    }
    redis.command(&["SAVE"]);
    b.signal("STOP");
    a.act("pause").await;
    a.change("{\"capacity\": 7}").await;
    lose(&mut redis);
    let kept = async || {
        let kept = redis.try_command(&["HGET", "usher:{main}:room", "set:capacity"]).ok()?;
        (redis::from_redis_value(kept).ok() == Some(7)).then_some(())
    };
    if more {
        a.change("{\"message\": \"One moment\"}").await;
    }
    until("the gate that knows says it again", DEADLINE, kept).await;
    b.signal("CONT");
    let until_stands = tokio::time::Instant::now() + Duration::from_secs(3);
    while tokio::time::Instant::now() < until_stands {
        waiting.get("/queue/status").await;
        holder.get("/x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for gate in [&a, &b] {
        let room = until("the line stands", DEADLINE, async || {
            waiting.get("/queue/status").await;
            let room = gate.room("main").await;
            (room["degraded"] == false).then_some(room)
        })
        .await;
        let said = [&room["state"], &room["capacity"], &room["batch"]];
        assert_eq!(said, [&Value::from("paused"), &7.into(), &3.into()], "{room}");
        assert_eq!(room["message"] == "One moment", more, "{room}");
        assert_eq!(room["active"], 1, "nobody came in: {room}");
    }
}

#[tokio::test]
async fn an_operators_word_stands_after_a_flush_though_a_gate_that_missed_it_speaks_last() {
    if skipped() {
        return;
    }
    an_operators_word_stands(false, |redis| _ = redis.command(&["FLUSHALL"])).await;
}

#[tokio::test]
async fn what_an_operator_changes_while_the_store_is_empty_adds_to_what_was_said_before() {
    if skipped() {
        return;
    }
    an_operators_word_stands(true, |redis| _ = redis.command(&["FLUSHALL"])).await;
}

#[tokio::test]
async fn an_operators_word_stands_when_a_copy_from_before_has_lost_nothing_else() {
    if skipped() {
        return;
    }
    an_operators_word_stands(false, |redis| {
        redis.kill();
        redis.restart();
    })
    .await;
}

#[tokio::test]
async fn a_pause_before_anybody_came_outlives_a_flush() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let gate = gate(&redis, &app, "capacity = 1").await;
    gate.act("pause").await;
    redis.command(&["FLUSHALL"]);
    until("the room is there again", DEADLINE, async || {
        let ticks = redis.command(&["HGET", "usher:{main}:room", "tick"]);
        redis::from_redis_value::<u64>(ticks).is_ok().then_some(())
    })
    .await;
    assert_eq!(gate.after_two_ticks().await["state"], "paused");
    assert_eq!(gate.client().stand().await["state"], "waiting", "and nobody comes in");
}

#[tokio::test]
async fn another_line_is_refused_until_a_person_says_so() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let a = gate(&redis, &app, "capacity = 1").await;
    let mut holder = a.admitted().await;
    a.signal("STOP");
    redis.command(&["FLUSHALL"]);
    let b = gate(&redis, &app, "capacity = 1").await;
    let mut other = b.admitted().await;
    a.signal("CONT");
    until("the other line is refused", DEADLINE, || async { (!a.is_ready().await).then_some(()) }).await;
    assert_eq!(holder.get("/x").await.status, 200, "its passes are good");
    assert!(b.is_ready().await);
    assert_eq!(other.get("/x").await.status, 200);
    let cleared = a.admin("POST", "/admin/v1/rooms/main/clear", "{\"confirm\": \"main\"}").await;
    assert!((200..300).contains(&cleared.status), "{}", cleared.text());
    until("the new line is taken", DEADLINE, || async {
        let same = a.room("main").await["epoch"] == b.room("main").await["epoch"];
        (same && a.is_ready().await && b.is_ready().await).then_some(())
    })
    .await;
    assert_eq!(number(&b.client().admit().await), 1, "one line for both");
    until("passes of both lines are dead", DEADLINE, || {
        let (mut holder, mut other) = (holder.clone(), other.clone());
        async move { (holder.get("/x").await.status == 429 && other.get("/x").await.status == 429).then_some(()) }
    })
    .await;
}

#[tokio::test]
async fn a_gate_that_forgot_everything_takes_the_word_of_the_places() {
    let app = FakeApp::start().await;
    let mut gate = TestGate::start(&settings("kind = \"memory\"", &app, "capacity = 1")).await;
    let mut holder = gate.admitted().await;
    let [mut first, mut second] = [gate.client(), gate.client()];
    let numbers = [number(&first.stand().await), number(&second.stand().await)];
    gate.restart().await;
    let told = first.status().await;
    assert_eq!((&told["state"], number(&told)), (&Value::from("waiting"), numbers[0]), "{told}");
    assert_eq!(holder.get("/x").await.status, 200, "its pass is of the line that comes back");
    come_back(&[&gate], &mut [&mut second, &mut first]).await;
    assert_eq!(holder.get("/x").await.status, 200);
    for (i, visitor) in [&mut first, &mut second].into_iter().enumerate() {
        let status = visitor.status().await;
        assert_eq!(
            (number(&status), status["position"].as_u64()),
            (numbers[i], Some(i as u64 + 1)),
            "{status}"
        );
    }
    assert_eq!(gate.room("main").await["active"], 1, "the pass that was shown counts");
}

#[tokio::test]
async fn who_polls_when_told_over_one_connection_is_never_too_early() {
    let app = FakeApp::start().await;
    let paced = "capacity = 1\npoll = { min = \"500ms\", max = \"5s\" }";
    let store = "kind = \"memory\"";
    let settings = settings(store, &app, paced).replacen(&format!("{POLL}\n"), "", 1);
    let mut gate = TestGate::start(&settings).await;
    let _holder = gate.admitted().await;
    let mut visitor = gate.client();
    let place = number(&visitor.stand().await);
    gate.restart().await;
    let mut raw = Raw::connect(gate.address()).await;
    let mut polls = 0;
    loop {
        let head =
            format!("GET /queue/status HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\n\r\n", visitor.cookie());
        raw.send(head.as_bytes()).await;
        let answer = raw.answer().await;
        assert_eq!(answer.status, 200, "poll {polls}: {}", answer.text());
        visitor.remember(&answer);
        let told = answer.json();
        assert_eq!(told["number"].as_u64(), Some(place), "{told}");
        if polls > 1 && told["degraded"] == false {
            break;
        }
        polls += 1;
        assert!(polls < 200, "the line stands again");
        tokio::time::sleep(Duration::from_millis(told["poll_after_ms"].as_u64().expect("a pause"))).await;
    }
}

#[tokio::test]
async fn a_place_that_moved_does_not_come_back_to_the_device_before() {
    if skipped() {
        return;
    }
    let (redis, app) = (RedisServer::start(), FakeApp::start().await);
    let (a, b) = (gate(&redis, &app, "").await, gate(&redis, &app, "").await);
    a.act("pause").await;
    let (mut old, mut behind) = (a.client(), b.client());
    let place = number(&old.stand().await);
    let second = number(&behind.stand().await);
    let link = old.get("/queue/move").await.json()["token"].as_str().expect("a token").to_owned();
    let mut new = b.client();
    new.get("/queue/move").await;
    let body = serde_json::json!({"token": link}).to_string();
    until("the move", DEADLINE, async || (new.post("/queue/move", &body).await.status == 200).then_some(()))
        .await;
    until("the other gate knows", DEADLINE, async || (old.status().await["reason"] == "moved").then_some(()))
        .await;
    redis.command(&["FLUSHALL"]);
    come_back(&[&a, &b], &mut [&mut old, &mut behind, &mut new]).await;
    assert_eq!((number(&new.status().await), number(&behind.status().await)), (place, second));
    assert_eq!(old.status().await["reason"], "moved");
    assert_eq!(a.after_two_ticks().await["waiting"], 2);
}
