//! Tokens and cookies, broken in every way that has a name.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::support::app::FakeApp;
use crate::support::client::{Client, request};
use crate::support::gate::{TestGate, run};
use crate::support::raw::{DEADLINE, Raw};
use crate::support::wait::until;

/// How a pass is carried.
#[derive(Clone, Copy, Debug)]
enum Carrier {
    Cookie,
    Header,
}

/// Whether a pass opens the door.
async fn opens_by(gate: &TestGate, carrier: Carrier, pass: &str) -> bool {
    let cookie = format!("usher_pass={pass}");
    let field = match carrier {
        Carrier::Cookie => ("cookie", cookie.as_str()),
        Carrier::Header => ("usher-pass-token", pass),
    };
    let answer = request(gate.address(), "GET", "/x", &[("host", "t"), field], b"").await;
    assert!(matches!(answer.status, 200 | 429), "never an error page: {answer:?}");
    answer.status == 200
}

/// Whether a pass that does not end meanwhile opens the door, in a cookie and in a header.
async fn opens(gate: &TestGate, pass: &str) -> bool {
    let by_cookie = opens_by(gate, Carrier::Cookie, pass).await;
    assert_eq!(by_cookie, opens_by(gate, Carrier::Header, pass).await, "one rule for both");
    by_cookie
}

fn pass_of(client: &Client) -> String {
    client.cookies["usher_pass"].clone()
}

#[tokio::test]
async fn a_pass_with_any_bit_flipped_is_none() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let pass = pass_of(&gate.admitted().await);
    let bytes = URL_SAFE_NO_PAD.decode(&pass).expect("base64url");
    let before = gate.settled_room().await["joined_total"].clone();
    let mut raw = Raw::connect(gate.address()).await;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let text = URL_SAFE_NO_PAD.encode(&flipped);
        raw.send(format!("GET /x HTTP/1.1\r\nHost: t\r\nCookie: usher_pass={text}\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.status, 429, "G01 bit {bit}");
    }
    assert_eq!(gate.room("main").await["joined_total"], before, "G01: the store is not asked");
    assert!(app.seen().is_empty(), "G01");
    assert!(opens(&gate, &pass).await, "G01: the pass itself is good");
}

#[tokio::test]
async fn a_pass_is_read_in_one_spelling_only() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let pass = pass_of(&gate.admitted().await);
    let bytes = URL_SAFE_NO_PAD.decode(&pass).expect("base64url");
    let last = pass.len() - 1;
    let mut variants: Vec<String> = (1..8).map(|cut| pass[..pass.len() - cut].to_owned()).collect();
    variants.extend([
        format!("{pass}A"),
        format!("{pass}AAAA"),
        format!("{pass}="),
        format!("{pass}=="),
        format!("\"{pass}\""),
        format!("{} {}", &pass[..9], &pass[9..]),
        format!("{pass}.{pass}"),
        pass.to_ascii_uppercase(),
        String::new(),
        STANDARD.encode(&bytes) + "=",
        URL_SAFE.encode(&bytes) + "=",
        // The unused low bits of the last letter.
        format!("{}{}", &pass[..last], char::from(pass.as_bytes()[last] + 1)),
        "eyJhbGciOiJub25lIn0.eyJyb29tIjoibWFpbiJ9.".into(),
        "eyJhbGciOiJIUzI1NiIsImprdSI6Imh0dHA6Ly8xMjcuMC4wLjEvayJ9.eyJyb29tIjoibWFpbiJ9.c2ln".into(),
    ]);
    for variant in variants.iter().filter(|variant| **variant != pass) {
        assert!(!opens(&gate, variant).await, "G02, G04: {variant}");
    }
    let query = request(gate.address(), "GET", &format!("/x?usher_pass={pass}"), &[("host", "t")], b"").await;
    assert_eq!(query.status, 429, "G19: not in a query");
    assert!(!gate.log().contains(&pass), "G19: never logged");
    assert!(opens(&gate, &pass).await);
}

#[tokio::test]
async fn a_token_for_one_purpose_or_room_is_nothing_elsewhere() {
    let app = FakeApp::start().await;
    let settings = format!(
        "[[room]]\nupstreams = [{0:?}]\ntick = \"50ms\"\npoll = {{ min = \"0s\" }}\n\
         [[room]]\nname = \"main1\"\npaths = [\"/one\"]\nupstreams = [{0:?}]\ntick = \"50ms\"\npoll = {{ min = \"0s\" }}\n",
        app.url()
    );
    let gate = TestGate::start(&settings).await;
    let client = gate.admitted().await;
    let pass = pass_of(&client);
    assert!(opens(&gate, &pass).await);
    for (name, token) in &client.cookies {
        let here = opens(&gate, token).await;
        assert_eq!(here, name == "usher_pass", "G05 {name}");
        for other in ["usher_visitor_main1", "usher_place_main1", "usher_pass_main1"] {
            let cookie = format!("{other}={token}");
            let fields = [("host", "t"), ("cookie", cookie.as_str())];
            let answer = request(gate.address(), "GET", "/one/x", &fields, b"").await;
            assert_eq!(answer.status, 429, "G05, G07 {name} as {other}");
            let answer = request(gate.address(), "GET", "/queue/status?room=main1", &fields, b"").await;
            assert_eq!(
                (answer.status, answer.json()["state"].as_str()),
                (200, Some("none")),
                "{name} as {other}"
            );
        }
    }
    // A pass where a place should be, and the reverse: a newcomer, not an error.
    let swapped =
        BTreeMap::from([("usher_place".to_owned(), pass), ("usher_visitor".to_owned(), "x".to_owned())]);
    let mut newcomer = gate.client();
    newcomer.cookies = swapped;
    assert_eq!(newcomer.status().await["state"], "none", "G05");
}

#[tokio::test]
async fn a_pass_ends_when_it_says() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "pass_ttl = \"2s\"\nclaim_window = \"2s\"").await;
    let (mut client, ends) = until("a pass seen to open the door", DEADLINE, || open_pass(&gate)).await;
    let pass = pass_of(&client);
    while wall_ms() < ends {
        for carrier in [Carrier::Cookie, Carrier::Header] {
            opens_until(&gate, carrier, &pass, ends).await;
        }
    }
    // The second tick from here read the clock after the end, whatever stood still meanwhile.
    let tick = async || gate.room("main").await["tick"].as_u64().expect("a count");
    let after = tick().await;
    until("two more ticks", DEADLINE, || async { (tick().await >= after + 2).then_some(()) }).await;
    assert!(!opens(&gate, &pass).await, "G08: it did not end late");
    assert_eq!(client.until_state("expired").await["pass_expires_at"], serde_json::Value::Null);
}

/// A visitor whose pass opened the door, and when it ends; `None` when a slow
/// machine let its turn or its pass run out before.
async fn open_pass(gate: &TestGate) -> Option<(Client, u64)> {
    let mut client = gate.client();
    let over = |status: &serde_json::Value| status["state"] == "admitted" || status["state"] == "expired";
    let status = client.until_status("admitted, or too late for that", over).await;
    let ends = status["pass_expires_at"].as_u64()?;
    let pass = pass_of(&client);
    for carrier in [Carrier::Cookie, Carrier::Header] {
        if !opens_until(gate, carrier, &pass, ends).await {
            return None;
        }
    }
    Some((client, ends))
}

/// Whether a pass opens the door; it must when the answer came before its end.
async fn opens_until(gate: &TestGate, carrier: Carrier, pass: &str, ends: u64) -> bool {
    let open = opens_by(gate, carrier, pass).await;
    // The gate adds up two clocks in whole milliseconds.
    assert!(open || wall_ms() + 2 >= ends, "G08: it ended early, {carrier:?}");
    open
}

#[expect(clippy::disallowed_methods, reason = "the test compares with the wall clock that the pass names")]
fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("it fits")
}

#[tokio::test]
async fn passes_of_the_key_before_are_good_while_it_is_kept() {
    let app = FakeApp::start().await;
    let key = || String::from_utf8(run(&["keys", "new"]).stdout).expect("text").trim().to_owned();
    let (first, second) = (key(), key());
    let with = |keys: &str| format!("[gate.keys]\n{keys}\n[[room]]");
    let old = TestGate::before(&app, &with(&format!("current = \"{first}\""))).await;
    let client = old.admitted().await;
    let pass = pass_of(&client);
    // Each gate has a store of its own: what is asked here is whose signature counts.
    let both = format!("current = \"{second}\"\nprevious = \"{first}\"");
    let mut overlap = TestGate::before(&app, &with(&both)).await;
    let mut visitor = client.clone();
    visitor.cookies.retain(|name, _| name == "usher_visitor");
    let mut moved = visitor.clone().at(overlap.address());
    assert_eq!(moved.admit().await["state"], "admitted", "G13: the visitor is known under the old key");
    assert_ne!(pass_of(&moved), pass, "signed by the new key");
    let dropped = TestGate::before(&app, &with(&format!("current = \"{second}\""))).await;
    let mut late = visitor.at(dropped.address());
    assert_eq!(late.status().await["state"], "none", "G13: unknown once the old key is gone");
    assert!(overlap.is_well());
}

#[tokio::test]
async fn another_sites_page_cannot_join_or_leave_for_a_visitor() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.client();
    client.stand().await;
    for path in ["/queue/join", "/queue/leave"] {
        for field in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
            let answer = client.send("POST", path, &[field], "").await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (403, "cross_site"),
                "G17 {path} {field:?}"
            );
        }
        assert_eq!(client.get(path).await.status, 405, "G17: by POST only");
    }
    let answer = client.send("POST", "/queue/join", &[("origin", "http://t.test")], "").await;
    assert_eq!(answer.status, 200, "G17");
    assert_ne!(client.status().await["state"], "left");
}
