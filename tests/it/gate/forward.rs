//! What the app is told about a visitor, and WebSockets.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::app::{FakeApp, Seen};
use crate::support::client::Client;
use crate::support::gate::{TestGate, run};
use crate::support::raw::DEADLINE;

async fn seen(app: &FakeApp, client: &mut Client, fields: &[(&str, &str)]) -> Seen {
    assert_eq!(client.send("GET", "/told", fields, "").await.status, 200);
    app.seen_at("/told").pop().expect("forwarded")
}

#[tokio::test]
async fn forwarding_fields_are_the_gates_own_word() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.admitted().await;
    let forged = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("x-request-id", "mine"),
        ("x_forwarded_for", "1.2.3.4"),
    ];
    let first = seen(&app, &mut client, &forged).await;
    assert_eq!(first.field("x-forwarded-for").as_deref(), Some("127.0.0.1"), "J01");
    assert_eq!(first.field("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(first.field("x-forwarded-host").as_deref(), Some("t.test"));
    assert_eq!(first.field("host").as_deref(), Some("t.test"));
    let text = String::from_utf8_lossy(&first.head).into_owned();
    assert!(!text.contains("1.2.3.4") && !text.contains("evil"), "J01: {text}");
    let id = first.field("x-request-id").expect("every request has a name");
    let second = seen(&app, &mut client, &[]).await.field("x-request-id").expect("as above");
    assert!(id != second && id != "mine");
}

#[tokio::test]
async fn behind_trusted_proxies_the_right_most_other_hop_is_the_visitor() {
    let app = FakeApp::start().await;
    let trusted = "[gate]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n[[room]]";
    let gate = TestGate::before(&app, trusted).await;
    let mut client = gate.admitted().await;
    for (line, visitor) in [
        ("1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("203.0.113.9", "203.0.113.9"),
        ("junk, 10.0.0.1", "10.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let seen = seen(&app, &mut client, &[("x-forwarded-for", line)]).await;
        assert_eq!(seen.field("x-forwarded-for").as_deref(), Some(visitor), "J02 {line}");
    }
}

#[derive(Deserialize)]
struct Claims {
    room: String,
    sub: String,
    iat: u64,
    exp: u64,
}

#[tokio::test]
async fn any_jwt_library_reads_the_assertion_and_refuses_another_key() {
    let app = FakeApp::start().await;
    let key = String::from_utf8(run(&["keys", "new"]).stdout).expect("text").trim().to_owned();
    let gate = TestGate::before(&app, &format!("[gate.keys]\ncurrent = \"{key}\"\n[[room]]")).await;
    let seen = seen(&app, &mut gate.admitted().await, &[]).await;
    let token = seen.field("usher-assertion").expect("an assertion");
    let header = decode_header(&token).expect("a JWS");
    assert_eq!(header.alg, Algorithm::HS256);
    assert!(header.kid.is_some_and(|kid| !kid.is_empty()));
    let secret = DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(&key).expect("base64url"));
    let rules = Validation::new(Algorithm::HS256);
    let claims = decode::<Claims>(&token, &secret, &rules).expect("signed by it").claims;
    assert_eq!(claims.room, "main");
    assert_eq!(Some(claims.sub), seen.field("usher-visitor"));
    assert!((1..=300).contains(&(claims.exp - claims.iat)), "short-lived");
    assert!(decode::<Claims>(&token, &DecodingKey::from_secret(&[7; 32]), &rules).is_err());
}

#[tokio::test]
async fn a_websocket_goes_through_with_a_pass_and_nowhere_without() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let url = format!("ws://{}/socket", gate.address());
    let refused = tokio_tungstenite::connect_async(&url).await.expect_err("no pass");
    assert!(matches!(refused, Error::Http(answer) if answer.status() == 429));
    assert!(app.seen().is_empty());
    let client = gate.admitted().await;
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("cookie", client.cookie().parse().expect("a value"));
    request.headers_mut().insert("sec-websocket-protocol", "chat".parse().expect("a value"));
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.expect("a tunnel");
    assert_eq!(answer.status(), 101);
    for text in ["hello", "자리", ""] {
        socket.send(Message::text(text)).await.expect("sent");
        assert_eq!(socket.next().await.expect("open").expect("echoed"), Message::text(text));
    }
    let seen = &app.seen_at("/socket")[0];
    assert_eq!(seen.field("sec-websocket-protocol").as_deref(), Some("chat"));
    assert!(seen.field("usher-assertion").is_some() && seen.field("cookie").is_none());
    // The pass is taken away: the tunnel ends soon.
    let number = client.clone().status().await["number"].clone();
    let removed = gate.admin("DELETE", &format!("/admin/v1/rooms/main/passes/{number}"), "").await;
    assert_eq!(removed.status, 204);
    let end = tokio::time::timeout(DEADLINE, socket.next()).await;
    assert!(matches!(end, Ok(None | Some(Err(_) | Ok(Message::Close(_))))), "{end:?}");
}
