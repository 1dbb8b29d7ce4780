//! A place goes to another device: by a link that one of all who have it can use, once.

use serde_json::{Value, json};

use crate::support::app::FakeApp;
use crate::support::client::Client;
use crate::support::gate::{TestGate, room};
use crate::support::http1::Answer;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

const MOVE: &str = "/queue/move";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const HTML: (&str, &str) = ("accept", "text/html");

/// The token of a link to the client's place.
async fn link(client: &mut Client) -> String {
    let told = client.get(MOVE).await.json();
    let token = told["token"].as_str().unwrap_or_else(|| panic!("{told} has a token")).to_owned();
    assert_eq!(told["url"], format!("http://t.test{MOVE}#{token}"));
    token
}

/// A device without a place, as the link finds it.
async fn device(gate: &TestGate) -> Client {
    let mut client = gate.client();
    let told = client.get(MOVE).await.json();
    assert_eq!(
        (&told["token"], &told["url"], &told["expires_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    client
}

async fn take(client: &mut Client, token: &str) -> Answer {
    client.post(MOVE, &json!({"token": token}).to_string()).await
}

fn assert_moved(status: &Value) {
    assert_eq!((&status["state"], &status["reason"]), (&json!("left"), &json!("moved")), "{status}");
    assert_eq!(status["said"]["heading"], "Your place moved to another device");
}

#[tokio::test]
async fn a_place_goes_to_the_device_that_takes_it_and_the_other_is_told() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    gate.client().stand().await;
    let mut old = gate.client();
    let place = old.stand().await;
    gate.client().stand().await;
    let token = link(&mut old).await;
    let mut new = device(&gate).await;
    let taken = take(&mut new, &token).await;
    assert_eq!(taken.status, 200, "{}", taken.text());
    for status in [taken.json(), new.status().await] {
        for field in ["state", "number", "position"] {
            assert_eq!(status[field], place[field], "{field}");
        }
    }
    for _ in 0..3 {
        assert_moved(&old.status().await);
    }
    assert_eq!(old.get("/x").await.status, 429);
    assert_eq!(gate.after_two_ticks().await["waiting"], 3, "nobody more, nobody less");
    assert!(!gate.log().contains(&token));
    let again = old.join().await;
    assert!(again["number"].as_u64() > place["number"].as_u64(), "at the tail: {again}");
    gate.act("resume").await;
    new.admit().await;
    assert_eq!(new.get("/x").await.status, 200);
}

#[tokio::test]
async fn of_two_who_take_at_once_one_has_it_and_its_click_may_come_twice() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    let mut old = gate.client();
    let place = old.stand().await;
    let token = link(&mut old).await;
    let (mut one, mut other) = (device(&gate).await, device(&gate).await);
    let before = [one.clone(), other.clone()];
    let (first, second) = tokio::join!(take(&mut one, &token), take(&mut other, &token));
    let winner = usize::from(first.status != 200);
    let [won, lost] = if winner == 0 { [first, second] } else { [second, first] };
    assert_eq!((won.status, &won.json()["number"]), (200, &place["number"]));
    assert_eq!((lost.status, lost.problem().as_str()), (409, "place_gone"));
    // The answer was lost on the way: the same device asks again as it was.
    let mut again = before[winner].clone();
    assert_eq!(take(&mut again, &token).await.json()["number"], place["number"]);
    // It came, and the click as well.
    assert_eq!(take(&mut again, &token).await.json()["number"], place["number"]);
    let mut late = device(&gate).await;
    assert_eq!(take(&mut late, &token).await.problem(), "place_gone");
    assert_moved(&take(&mut old, &token).await.json());
    assert_eq!(gate.after_two_ticks().await["waiting"], 1);
    assert_eq!(late.status().await["number"], 2, "who took nothing stands in line like others");
}

#[tokio::test]
async fn a_pass_goes_along_and_is_dead_where_it_was() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut old = gate.admitted().await;
    let inside = old.status().await;
    let mut waits = gate.client();
    waits.stand().await;
    let token = link(&mut old).await;
    let mut new = device(&gate).await;
    let taken = take(&mut new, &token).await.json();
    assert_eq!(taken["state"], "admitted");
    for field in ["number", "pass_expires_at"] {
        assert_eq!(taken[field], inside[field], "{field}");
    }
    assert_eq!(new.get("/x").await.status, 200);
    assert_eq!(old.get("/x").await.status, 429);
    assert_moved(&old.status().await);
    let room = gate.after_two_ticks().await;
    assert_eq!(
        (&room["active"], &room["waiting"], &room["claimed_total"]),
        (&json!(1), &json!(1), &json!(1))
    );
    // A page tells it once; whoever then loads it again wants in.
    let page = old.page("/x").await.text();
    assert!(page.contains("Your place moved to another device"), "{page}");
    old.page("/x").await;
    assert_eq!(old.status().await["position"], 2);
    assert_eq!(new.leave().await["state"], "left");
    waits.admit().await;
}

#[tokio::test]
async fn who_takes_a_place_whose_turn_has_come_is_inside() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    gate.act("pause").await;
    let mut old = gate.client();
    let place = old.stand().await;
    let token = link(&mut old).await;
    gate.act("resume").await;
    until("the call", DEADLINE, async || (gate.room("main").await["called"] == 1).then_some(())).await;
    let mut new = device(&gate).await;
    let taken = take(&mut new, &token).await.json();
    assert_eq!((&taken["state"], &taken["number"]), (&json!("admitted"), &place["number"]));
    assert_eq!(new.get("/x").await.status, 200);
    assert_moved(&old.status().await);
}

#[tokio::test]
async fn who_takes_a_place_gives_up_its_own_and_was_told_so() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    let (mut old, mut new) = (gate.client(), gate.client());
    let place = old.stand().await;
    new.stand().await;
    let token = link(&mut old).await;
    let page = new.page(MOVE).await.text();
    assert!(page.contains("This device has a place of its own."), "{page}");
    assert_eq!(take(&mut new, &token).await.json()["number"], place["number"]);
    let given_up = async || {
        let room = gate.room("main").await;
        (room["waiting"] == 1 && room["left_total"] == 1).then_some(())
    };
    until("its own is given up", DEADLINE, given_up).await;
    assert_eq!(new.status().await["number"], place["number"]);
}

#[tokio::test]
async fn what_is_no_link_takes_nothing() {
    let app = FakeApp::start().await;
    let vip = format!("[[room]]\nname = \"vip\"\npaths = [\"/vip\"]\nupstreams = [\"{}\"]\n", app.url());
    let gate = TestGate::start(&(room(&app.url(), "name = \"main\"") + &vip)).await;
    gate.act("pause").await;
    let mut old = gate.client();
    let place = old.post("/queue/join", r#"{"room":"main"}"#).await;
    assert_eq!(place.json()["state"], "none", "{}", place.text());
    old.post("/queue/join", r#"{"room":"main"}"#).await;
    let told = old.get("/queue/move?room=main").await.json();
    let token = told["token"].as_str().expect("a token").to_owned();
    assert_eq!(told["url"], format!("http://t.test{MOVE}?room=main#{token}"));
    let mut new = gate.client();
    new.get("/queue/move?room=main").await;
    new.get("/queue/move?room=vip").await;
    let mut refused = async |room: &str, token: &str| {
        let answer = new.post(MOVE, &json!({"room": room, "token": token}).to_string()).await;
        (answer.status, answer.problem())
    };
    let bad = (400, "bad_link".to_owned());
    assert_eq!(refused("vip", &token).await, bad, "another room's");
    let mut others: Vec<String> = old.cookies.values().cloned().collect();
    assert_eq!(others.len(), 2, "id and place");
    others.extend([String::new(), "x".into(), format!("{token}A"), "é".into(), "#".repeat(5_000)]);
    for other in others {
        assert_eq!(refused("main", &other).await, bad, "{other}");
    }
    // Nor is a link anything else.
    for name in ["usher_pass", "usher_place", "usher_visitor"] {
        let mut cheat = gate.client();
        cheat.cookies.insert(name.into(), token.clone());
        assert_eq!(cheat.get("/x").await.status, 429, "{name}");
        assert_eq!(cheat.get("/queue/status?room=main").await.json()["state"], "none", "{name}");
    }
    for by_query in [format!("{MOVE}?room=main&token={token}"), format!("{MOVE}?room=main&{token}")] {
        assert_eq!(new.post(&by_query, "{}").await.problem(), "bad_link", "a query is not read");
        assert_eq!(new.get(&by_query).await.json()["token"], Value::Null);
    }
    assert_eq!(new.post(MOVE, "no JSON").await.status, 400);
    assert_eq!(new.send("PUT", MOVE, &[], "").await.field("allow"), Some("GET, POST"));
    assert_eq!(old.get("/queue/status?room=main").await.json()["state"], "waiting", "it stayed where it was");
}

#[tokio::test]
async fn another_sites_page_takes_nothing_and_neither_does_who_keeps_no_id() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    let mut old = gate.client();
    old.stand().await;
    let token = link(&mut old).await;
    let mut new = device(&gate).await;
    for field in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        let body = format!("token={token}");
        let answer = new.send("POST", MOVE, &[FORM, field], &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "cross_site"), "{field:?}");
    }
    // A preview of the link only looks.
    for accept in ["text/html", "*/*"] {
        assert_eq!(new.send("GET", MOVE, &[("accept", accept)], "").await.status, 200);
    }
    let stranger = take(&mut gate.client(), &token).await;
    assert_eq!((stranger.status, stranger.problem().as_str()), (409, "no_visitor"));
    assert_eq!(old.status().await["state"], "waiting");
    assert_eq!(take(&mut new, &token).await.status, 200, "still good");
}

#[tokio::test]
async fn a_browser_without_script_shows_the_link_and_pastes_it() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    let (mut old, mut new) = (gate.client(), gate.client());
    old.page("/shop?x=1").await;
    let waiting = old.page("/shop?x=1").await.text();
    assert!(waiting.contains("<a href=\"/queue/move?room=main\">Go on with another device</a>"), "{waiting}");
    let shown = old.page(MOVE).await;
    for (name, value) in [("cache-control", "no-store"), ("referrer-policy", "no-referrer")] {
        assert_eq!(shown.field(name), Some(value));
    }
    let text = shown.text().replace("&#x2f;", "/");
    let url = text.split_once("<p><a href=\"").expect("a link").1.split_once('"').expect("its end").0;
    assert!(url.starts_with("http://t.test/queue/move#") && text.contains("<svg viewBox"), "{text}");
    let page = new.page(MOVE).await.text();
    assert!(page.contains("Take the place here?") && !page.contains("<svg"), "{page}");
    let pasted = format!("room=main&token={}", url.replace('#', "%23").replace(':', "%3A"));
    let taken = new.send("POST", MOVE, &[FORM, HTML, ("sec-fetch-site", "same-origin")], &pasted).await;
    assert_eq!((taken.status, taken.field("location")), (303, Some("/")), "{}", taken.text());
    assert_eq!(new.status().await["position"], 1);
    let told = old.page("/shop?x=1").await;
    assert!(told.text().contains("Your place moved to another device"), "{}", told.text());
    assert_eq!(told.field("refresh"), None, "that would take a place again");
    let mut late = device(&gate).await;
    let gone = late.send("POST", MOVE, &[FORM, HTML], &pasted).await;
    assert_eq!(gone.status, 409);
    assert!(gone.text().contains("That place is not there any more"), "{}", gone.text());
    let bad = late.send("POST", MOVE, &[FORM, HTML], "token=x").await;
    assert!(bad.status == 400 && bad.text().contains("This link is not good any more"), "{}", bad.text());
    let blocked = gate.client().send("POST", MOVE, &[FORM, HTML], &pasted).await;
    assert!(blocked.text().contains("Please allow cookies"), "{}", blocked.text());
}

#[tokio::test]
async fn a_client_with_tokens_moves_as_well_and_a_session_does_not() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    gate.act("pause").await;
    let (mut old, mut new) = (gate.client().with_tokens(), gate.client().with_tokens());
    let place = old.stand().await;
    new.status().await;
    let token = link(&mut old).await;
    assert_eq!(take(&mut new, &token).await.json()["number"], place["number"]);
    assert_eq!(new.status().await["number"], place["number"], "with the tokens it was given");
    assert_moved(&old.status().await);
    let gate = TestGate::before(&app, "session_header = \"Booking-Session-Id\"").await;
    gate.act("pause").await;
    let mut session = gate.client().with("booking-session-id", "12345678");
    session.stand().await;
    assert_eq!(session.get(MOVE).await.problem(), "not_found");
    assert_eq!(take(&mut session, &token).await.problem(), "not_found");
    let page = session.page("/").await.text();
    assert!(page.contains("<li hidden><a href=\"/queue/move"), "{page}");
}
