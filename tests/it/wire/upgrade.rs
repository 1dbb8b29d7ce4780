//! Upgrade and Expect.

use super::world::{Outcome, Sender, World};
use crate::support::raw::Raw;

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

async fn send(world: &mut World, id: &str, text: &str, sender: Sender) -> Outcome {
    let bytes = world.fill(text, sender);
    world.case(id, &bytes).await
}

#[tokio::test]
async fn bytes_after_a_refused_handshake_are_read_by_nobody() {
    let mut world = World::new().await;
    for accept in ["*/*", "text/html"] {
        let text =
            format!("GET /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\nAccept: {accept}\r\n{HANDSHAKE}\r\n\r\n{{S}}");
        let mut outcome = send(&mut world, "F01", &text, Sender::Nobody).await;
        assert_eq!(outcome.heard.statuses().len(), 1, "F01: {:?}", outcome.heard);
        assert!(matches!(outcome.heard.statuses()[0], 200 | 429), "F01");
        assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "F01");
    }
}

#[tokio::test]
async fn only_a_whole_handshake_without_a_body_is_forwarded() {
    let mut world = World::new().await;
    let smuggling = "Content-Length: 40";
    let cases = [
        ("F04", format!("{HANDSHAKE}\r\n{smuggling}")),
        ("F02 chunked", format!("{HANDSHAKE}\r\nTransfer-Encoding: chunked")),
        ("F02 version", HANDSHAKE.replace("13", "12")),
        ("F02 key", HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short")),
        ("F02 no key", HANDSHAKE.replace("Sec-WebSocket-Key", "X-Key")),
        ("F02 connection", HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive")),
        ("F02 two", HANDSHAKE.replace("websocket", "websocket, h2c")),
    ];
    for (id, lines) in cases {
        let text = format!("GET /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{lines}\r\n\r\n{{S}}");
        let mut outcome = send(&mut world, id, &text, Sender::PassHolder).await;
        assert_eq!(outcome.heard.statuses(), [400], "{id}");
        assert_eq!(outcome.heard.answers[0].problem(), "bad_request", "{id}");
        assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "{id}");
        let mut outcome = send(&mut world, id, &text, Sender::Nobody).await;
        assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "{id}: {:?}", outcome.heard);
        assert_eq!(outcome.heard.statuses().len(), 1, "{id}");
    }
    let text = format!("POST /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{HANDSHAKE}\r\n\r\n{{S}}");
    let outcome = send(&mut world, "F02 POST", &text, Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [400]);
}

#[tokio::test]
async fn a_handshake_that_the_app_declines_is_an_ordinary_answer() {
    let mut world = World::new().await;
    let text = format!("GET /answer/404 HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{HANDSHAKE}\r\n\r\n");
    let outcome = send(&mut world, "F02 declined", &text, Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [404]);
    assert_eq!(outcome.seen[0].field("upgrade").as_deref(), Some("websocket"));
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let mut world = World::new().await;
    let outcome =
        send(&mut world, "F05", "GET /switch HTTP/1.1\r\n{H}\r\n{P}\r\n\r\n", Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [502]);
    assert_eq!(outcome.heard.answers[0].problem(), "upstream_unreachable");
    let switched = outcome.seen[0].connection;
    let outcome =
        send(&mut world, "F05", "GET /case HTTP/1.1\r\n{H}\r\n{P}\r\n\r\n", Sender::PassHolder).await;
    assert_ne!(outcome.seen[0].connection, switched, "F05: that connection is gone");
}

#[tokio::test]
async fn many_tunnels_answered_at_once_all_live() {
    let world = World::new().await;
    let text = format!("GET /socket HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{HANDSHAKE}\r\n\r\n");
    let request = world.fill(&text, Sender::PassHolder);
    let tunnel = async || {
        let mut raw = Raw::connect(world.gate.address()).await;
        raw.send(&request).await;
        assert_eq!(raw.answer().await.status, 101, "F07");
        // A masked text frame; it comes back without the mask.
        raw.send(b"\x81\x82\x01\x02\x03\x04ik").await;
        raw.read_exactly(4).await == b"\x81\x02hi"
    };
    for _ in 0..10 {
        let opened = futures_util::future::join_all((0..50).map(|_| tunnel())).await;
        assert!(opened.iter().all(|alive| *alive), "F07");
    }
}

#[tokio::test]
async fn a_body_is_asked_for_at_most_once_and_answered_once() {
    let mut world = World::new().await;
    let head = "POST /case HTTP/1.1\r\n{H}\r\n{P}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let mut raw = Raw::connect(world.gate.address()).await;
    raw.send(&world.fill(head, Sender::PassHolder)).await;
    assert_eq!(raw.answer().await.status, 100, "F08");
    for byte in b"hello" {
        raw.send(&[*byte]).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let heard = raw.listen().await;
    assert_eq!((heard.statuses(), heard.continues()), (vec![200], 0), "F08");
    assert_eq!(world.app.seen_at("/case")[0].body, b"hello");
    assert_eq!(world.app.seen_at("/case")[0].field("expect"), None, "F08: it ends here");
    // Nobody's body is not asked for; what follows anyway is that body, never a request.
    let mut outcome = send(&mut world, "A35", &format!("{head}{{S}}"), Sender::Nobody).await;
    assert_eq!(outcome.heard.continues(), 0, "A35");
    assert!(matches!(outcome.heard.statuses()[..], [429] | [429, 400]), "A35: {:?}", outcome.heard);
    assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "A35");
    for (id, line) in [("F08 bogus", "Expect: bogus"), ("F08 GET", "Expect: 100-continue")] {
        let outcome = send(
            &mut world,
            id,
            &format!("GET /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{line}\r\n\r\n"),
            Sender::PassHolder,
        )
        .await;
        assert!(matches!(outcome.heard.statuses()[..], [200] | [417]), "{id}: {:?}", outcome.heard);
    }
}
