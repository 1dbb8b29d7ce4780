//! What is answered without hyper, between requests that are not.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::world::World;
use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::http1::Answer;
use crate::support::raw::{DEADLINE, Raw};
use crate::support::wait::until;

/// A full room, and the cookies of somebody who waits before it.
async fn waiting(more: &str) -> (TestGate, String) {
    let app = FakeApp::start().await;
    let more = format!("{more}capacity = 1\npoll = {{ min = \"0s\" }}");
    let gate = TestGate::before(&app, &more).await;
    let _inside = gate.admitted().await;
    let mut client = gate.client();
    client.join().await;
    client.until_state("waiting").await;
    let cookie = client.cookie();
    (gate, cookie)
}

fn poll(cookie: &str, more: &str) -> String {
    format!("GET /queue/status HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\n{more}\r\n")
}

/// What of an answer is the same each time.
fn shape(answer: &Answer) -> (u16, BTreeSet<(String, String)>, Vec<String>) {
    let field = |(name, value): &(String, String)| {
        let name = name.to_lowercase();
        let value = match name.as_str() {
            "date" | "content-length" | "retry-after" | "usher-pass-token" => String::new(),
            // All but the token.
            "set-cookie" => {
                let (cookie, rest) = value.split_once(';').expect("attributes");
                format!("{}{rest}", cookie.split('=').next().expect("a name"))
            }
            _ => value.clone(),
        };
        (name, value)
    };
    let is_json = answer.field("content-type").is_some_and(|kind| kind.ends_with("json"));
    let says = match is_json && !answer.body.is_empty() {
        true => answer.json().as_object().expect("an object").keys().cloned().collect(),
        // A page: its words.
        false => answer.text().split(|c: char| !c.is_alphabetic()).map(str::to_owned).collect(),
    };
    (answer.status, answer.fields.iter().map(field).collect(), says)
}

/// The answers to a request, without and with hyper: an odd field makes it hyper's.
async fn ask_both_ways(gate: &TestGate, line: &str, fields: &str, body: &str) -> [Answer; 2] {
    let mut answers = Vec::new();
    for odd in ["", "X_Odd: 1\r\n"] {
        let mut raw = Raw::connect(gate.address()).await;
        let length = match line.starts_with("POST") {
            true => format!("Content-Length: {}\r\n", body.len()),
            false => String::new(),
        };
        let text = format!("{line} HTTP/1.1\r\nHost: t.test\r\n{fields}{length}{odd}\r\n{body}");
        raw.send(text.as_bytes()).await;
        answers.push(raw.answer_within(DEADLINE, line.starts_with("HEAD")).await.expect("an answer"));
    }
    answers.try_into().expect("two")
}

/// The answers to a poll with these fields.
async fn both_ways(gate: &TestGate, fields: &str) -> [Answer; 2] {
    ask_both_ways(gate, "GET /queue/status", fields, "").await
}

#[tokio::test]
async fn a_poll_is_answered_alike_with_and_without_hyper() {
    let (gate, cookie) = waiting("").await;
    let inside = TestGate::before(&FakeApp::start().await, "").await;
    let holder = inside.admitted().await.cookie();
    let token = |kind: &str| {
        let name = format!("usher_{kind}=");
        holder.split("; ").find_map(|cookie| cookie.strip_prefix(&name)).expect("a token").to_owned()
    };
    let tokens = format!(
        "Usher-Client: token\r\nUsher-Visitor-Token: {}\r\nUsher-Pass-Token: {}\r\n",
        token("visitor"),
        token("pass")
    );
    let with = |cookie: &str| format!("Cookie: {cookie}\r\n");
    for (gate, fields, state) in [
        (&gate, with(&cookie), "waiting"),
        (&inside, with(&holder), "admitted"),
        (&inside, tokens, "admitted"),
        (&gate, with("a=b"), "none"),
        (&gate, with(&cookie.replace("usher_place=", "usher_place=x")), "waiting"),
    ] {
        let [parked, hypers] = both_ways(gate, &fields).await;
        assert_eq!(parked.json()["state"], state, "{fields}");
        assert_eq!(shape(&parked), shape(&hypers), "{fields}");
    }
}

#[tokio::test]
async fn a_poll_before_its_time_is_refused_alike_with_and_without_hyper() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\npoll = { min = \"1m\", max = \"2m\" }").await;
    let _inside = gate.admitted().await;
    let mut client = gate.client();
    client.join().await;
    client.until_state("waiting").await;
    let cookie = format!("Cookie: {}\r\n", client.cookie());
    let [parked, hypers] = both_ways(&gate, &cookie).await;
    assert_eq!(parked.status, 429);
    assert_eq!(shape(&parked), shape(&hypers));
}

#[tokio::test]
async fn joins_page_loads_and_calls_are_answered_alike_with_and_without_hyper() {
    let (gate, cookie) = waiting("").await;
    let waiter = format!("Cookie: {cookie}\r\n");
    let visitor = cookie.split("; ").find(|cookie| cookie.starts_with("usher_visitor")).expect("a cookie");
    let unplaced = format!("Cookie: {visitor}\r\n");
    let html = "Accept: text/html\r\n";
    let browser = format!("{html}{waiter}");
    let foreign = format!("Sec-Fetch-Site: cross-site\r\n{waiter}");
    let korean = format!("Accept-Language: ko\r\n{browser}");
    let returning = r#"{"return_to":"/seats"}"#;
    for (line, fields, body, status) in [
        ("POST /queue/join", "", "", 200),
        ("POST /queue/join", &waiter, "", 200),
        ("POST /queue/join", &unplaced, "", 200),
        ("POST /queue/join?room=main", &waiter, returning, 200),
        ("POST /queue/join", &waiter, r#"{"return_to":"//evil.test"}"#, 400),
        ("POST /queue/join", &waiter, "{", 400),
        ("POST /queue/join?room=nowhere", &waiter, "", 404),
        ("POST /queue/join", &foreign, "", 403),
        ("GET /queue/join", &waiter, "", 405),
        ("GET /queue/status", &unplaced, "", 200),
        ("POST /queue/language", html, "language=ko&return_to=/x", 303),
        ("GET /queue/move", &waiter, "", 200),
        ("GET /queue/authz", &browser, "", 200),
        ("GET /queue/nothing", "", "", 404),
        ("GET /seats?row=1", html, "", 200),
        ("GET /seats", &browser, "", 200),
        ("GET /seats", &korean, "", 200),
        ("HEAD /seats", &browser, "", 200),
        ("GET /seats", &waiter, "", 429),
        ("GET /seats", "", "", 429),
    ] {
        let [parked, hypers] = ask_both_ways(&gate, line, fields, body).await;
        assert_eq!(parked.status, status, "{line} {fields}{body}: {}", parked.text());
        let [(_, parked, said), (_, hypers, hyper_said)] = [shape(&parked), shape(&hypers)];
        assert_eq!(parked, hypers, "{line} {fields}{body}");
        assert!(said == hyper_said, "{line} {fields}{body}");
    }
    for way in ["", "X_Odd: 1\r\n"] {
        let mut client = gate.client();
        client.stand().await;
        let mut raw = Raw::connect(gate.address()).await;
        let leave =
            format!("POST /queue/leave HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\n{way}\r\n", client.cookie());
        raw.send(leave.as_bytes()).await;
        assert_eq!(raw.answer().await.json()["state"], "left", "{way}");
        client.until_state("left").await;
    }
}

/// Its answer is the app's, which is asked once.
#[tokio::test]
async fn a_page_load_of_somebody_whose_turn_has_come_goes_to_the_app() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 10").await;
    let mut client = gate.client();
    client.stand().await;
    // Without a poll, so that nobody has told the browser of its pass.
    let mut raw = Raw::connect(gate.address()).await;
    let load = format!(
        "GET /turn HTTP/1.1\r\nHost: t.test\r\nAccept: text/html\r\nCookie: {}\r\n\r\n",
        client.cookie()
    );
    let answer = until("its turn", DEADLINE, async || {
        raw.send(load.as_bytes()).await;
        Some(raw.answer().await).filter(|_| !app.seen_at("/turn").is_empty())
    })
    .await;
    assert!(answer.all("set-cookie").iter().any(|cookie| cookie.starts_with("usher_pass=")), "{answer:?}");
    assert_eq!(app.seen_at("/turn").len(), 1);
}

#[tokio::test]
async fn one_connection_carries_polls_and_everything_else() {
    let mut world = World::with("").await;
    let cookie = world.holder.cookie();
    let mut raw = Raw::connect(world.gate.address()).await;
    let status = poll(&cookie, "");
    for round in 0..2 {
        raw.send(status.as_bytes()).await;
        assert_eq!(raw.answer().await.json()["state"], "admitted");
        // In pieces.
        let (first, second) = status.as_bytes().split_at(30);
        raw.send(first).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        raw.send(second).await;
        assert_eq!(raw.answer().await.status, 200);
        // Two at once, then one with a body for the app, answered in order.
        let post = format!(
            "POST /r{round} HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\nContent-Length: 5\r\n\r\nhello"
        );
        raw.send(format!("{status}{status}{post}").as_bytes()).await;
        for _ in 0..2 {
            assert_eq!(raw.answer().await.json()["state"], "admitted");
        }
        assert_eq!(raw.answer().await.status, 200);
        assert_eq!(world.app.seen_at(&format!("/r{round}")).len(), 1);
        // Long enough to be parked again.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    world.check_good("after").await;
    assert!(world.gate.is_well());
}

#[tokio::test]
async fn a_parked_connection_ends_when_idle_and_when_the_gate_stops() {
    let (gate, cookie) = waiting("[gate.limits]\nidle_timeout = \"1s\"\n[[room]]\n").await;
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(poll(&cookie, "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200);
    assert!(raw.closes(DEADLINE).await, "idle");

    let (mut gate, cookie) = waiting("").await;
    let mut raw = Raw::connect(gate.address()).await;
    raw.send(poll(&cookie, "").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 200);
    gate.signal("TERM");
    assert!(raw.closes(DEADLINE).await, "stopping");
    assert_eq!(gate.ended().await.code(), Some(0));
}

#[tokio::test]
async fn somebody_who_polls_and_never_reads_is_cut_in_bounded_memory() {
    let (mut gate, cookie) = waiting("[gate.limits]\nidle_timeout = \"2s\"\n[[room]]\n").await;
    let before = gate.resident();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = socket.connect(gate.address()).await.expect("the listener accepts");
    let request = poll(&cookie, "");
    let flood = async {
        // One at a time: each is whole, and is answered.
        for _ in 0..200_000 {
            if stream.write_all(request.as_bytes()).await.is_err() {
                return true;
            }
        }
        false
    };
    let cut = tokio::time::timeout(DEADLINE * 2, flood).await;
    assert_eq!(cut, Ok(true), "the connection is cut");
    assert!(gate.resident() < before + (32 << 20), "{before} -> {}", gate.resident());
    assert!(gate.is_well());
}
