//! Cookies, tokens, a session header; and where a visitor goes when its turn comes.

use serde_json::Value;

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn cookies_are_http_only_lax_and_for_the_whole_site() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.client();
    let mut names = Vec::new();
    until("the turn", DEADLINE, async || {
        let answer = client.get("/queue/status").await;
        for line in answer.all("set-cookie") {
            let (pair, attributes) = line.split_once("; ").expect("attributes");
            for wanted in ["Path=/", "HttpOnly", "SameSite=Lax", "Max-Age="] {
                assert!(attributes.contains(wanted), "{line}");
            }
            assert!(!attributes.contains("Domain"), "{line}");
            names.push(pair.split('=').next().unwrap_or_default().to_owned());
        }
        (answer.json()["state"] == "admitted").then_some(())
    })
    .await;
    assert_eq!(names.first().map(String::as_str), Some("usher_visitor"));
    assert_eq!(names.last().map(String::as_str), Some("usher_pass"));
}

#[tokio::test]
async fn a_client_without_cookies_carries_tokens() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut client = gate.client().with_tokens();
    let first = client.status().await;
    assert!(first["visitor_token"].is_string() && first["place_token"].is_null());
    client.admit().await;
    let answer = client.get("/x").await;
    assert_eq!(answer.status, 200);
    assert!(client.cookies.is_empty(), "no cookie is set");
    let seen = &app.seen_at("/x")[0];
    assert!(!String::from_utf8_lossy(&seen.head).to_ascii_lowercase().contains("-token"), "they end here");
    let mut second = gate.client().with_tokens();
    assert_eq!(second.stand().await["state"], "waiting");
    assert!(second.tokens.as_ref().is_some_and(|tokens| tokens.contains_key("usher-place-token")));
    assert_eq!(client.leave().await["state"], "left");
    second.admit().await;
    assert_eq!(client.get("/x").await.status, 429);
}

#[tokio::test]
async fn in_a_room_that_takes_it_the_session_header_alone_is_the_identity() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\nsession_header = \"Booking-Session-Id\"").await;
    let session = |id: &str| gate.client().with("booking-session-id", id);
    let mut first = session("12345678");
    first.admit().await;
    assert!(first.cookies.is_empty(), "nothing but the header");
    assert_eq!(session("12345678").get("/x").await.status, 200, "the same id, the same pass");
    let mut second = session("abcdefgh");
    let place = second.stand().await;
    assert_eq!(place["state"], "waiting");
    assert_eq!(session("abcdefgh").status().await["number"], place["number"], "the same place");
    for bad in ["1234567", "1234 5678", &"x".repeat(129)] {
        assert_eq!(session(bad).join().await["state"], "none", "{bad}");
        assert_eq!(session(bad).get("/x").await.status, 429, "{bad}");
    }
    assert_eq!(first.leave().await["state"], "left");
    second.admit().await;
    let other = TestGate::before(&app, "").await;
    let mut elsewhere = other.client().with("booking-session-id", "12345678");
    elsewhere.status().await;
    assert!(elsewhere.cookies.contains_key("usher_visitor"), "in another room it is just a header");
}

async fn join_to(client: &mut Client, path: &str) -> crate::support::http1::Answer {
    let body = serde_json::json!({ "return_to": path }).to_string();
    client.post("/queue/join", &body).await
}

#[tokio::test]
async fn the_turn_leads_to_where_the_visitor_wanted_else_the_rooms_path_else_the_root() {
    let app = FakeApp::start().await;
    let plain = TestGate::before(&app, "").await;
    assert_eq!(plain.client().admit().await["go"], "/");
    let gate = TestGate::before(&app, "go = \"/shop\"").await;
    assert_eq!(gate.client().admit().await["go"], "/shop");
    for mut client in [gate.client(), gate.client().with_tokens()] {
        assert_eq!(join_to(&mut client, "/seats?event=7").await.status, 200);
        assert_eq!(client.admit().await["go"], "/seats?event=7");
        assert_eq!(join_to(&mut client, "/other").await.json()["go"], "/other", "the last wish counts");
    }
    let session = TestGate::before(&app, "session_header = \"Booking-Session-Id\"").await;
    let mut client = session.client().with("booking-session-id", "12345678");
    join_to(&mut client, "/seats").await;
    assert_eq!(client.admit().await["go"], "/seats");
}

#[tokio::test]
async fn a_way_out_of_this_site_is_refused() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let long = format!("/{}", "a".repeat(8_100));
    for path in [
        "//evil",
        "https:evil",
        "https://evil.test/",
        "/\\evil",
        "\\\\evil",
        "%2f%2fevil",
        "/%2fevil",
        "/%5cevil",
        "javascript:alert(1)",
        "/x\r\nSet-Cookie: a=b",
        "/x\ny",
        "/\t/evil",
        "",
        "evil",
        " /x",
        &long,
    ] {
        let mut client = gate.client();
        client.status().await;
        let answer = join_to(&mut client, path).await;
        assert_eq!(answer.status, 400, "G20 {path:?}");
        assert!(matches!(answer.problem().as_str(), "bad_return_to" | "bad_request"), "G20 {path:?}");
        assert_eq!(client.admit().await["go"], "/", "G20 {path:?}");
    }
    // The path asked for is no better judge: a page load keeps only a path of this site.
    let page = gate.client().page("//evil.test/x").await;
    assert!(!page.text().contains("//evil.test"), "G20: {}", page.text());
}

#[tokio::test]
async fn broken_and_foreign_tokens_make_a_newcomer() {
    let app = FakeApp::start().await;
    let (gate, other) = (TestGate::before(&app, "").await, TestGate::before(&app, "").await);
    let foreign = other.admitted().await.at(gate.address());
    for mut client in
        [foreign, gate.client().with("cookie", "usher_visitor=x; usher_place=; usher_pass=\u{e9}")]
    {
        assert_eq!(client.status().await["state"], "none");
        assert_eq!(client.get("/x").await.status, 429);
        let page = client.page("/x").await;
        assert!(page.status == 200 && page.text().contains("</html>"), "a waiting page, no error");
    }
    assert!(app.seen().is_empty());
}

#[tokio::test]
async fn a_place_and_a_pass_outlive_the_gates_process_where_the_keys_are_kept() {
    let app = FakeApp::start().await;
    let mut gate = TestGate::before(&app, "").await;
    let visitor = gate.admitted().await.cookies["usher_visitor"].clone();
    gate.restart().await;
    let mut client = gate.client();
    client.cookies.insert("usher_visitor".into(), visitor);
    assert_ne!(client.status().await["state"], Value::from("none"), "the state file kept the key");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(gate.file("usher.keys")).expect("a state file").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
