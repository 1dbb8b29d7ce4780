//! HTTP/1 framing and smuggling: the app never sees a second request.

use std::time::Duration;

use super::world::Expect::{Body, Refused, RefusedOrBody};
use super::world::{BOTH, Expect, Sender, World};
use crate::support::raw::{DEADLINE, Raw};
use crate::support::wait::until;

/// A `POST /case` with these framing lines and this body, for pass holders and others.
async fn all(world: &mut World, cases: &[(&str, &str, &str, Expect)]) {
    for &(id, lines, body, expect) in cases {
        for sender in BOTH {
            let text = format!("POST /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{lines}\r\n\r\n{body}");
            world.expect(id, &text, sender, expect).await;
        }
    }
}

#[tokio::test]
async fn two_opinions_about_the_length_of_a_body_are_refused() {
    let mut world = World::new().await;
    let chunked = "0\r\n\r\n{S}";
    all(
        &mut world,
        &[
            ("A01", "Content-Length: 13\r\nTransfer-Encoding: chunked", chunked, RefusedOrBody("")),
            (
                "A02",
                "Transfer-Encoding: chunked\r\nContent-Length: 4",
                "5\r\nhello\r\n0\r\n\r\n{S}",
                RefusedOrBody("hello"),
            ),
            ("A04", "Transfer-Encoding: identity, chunked", chunked, Refused),
            ("A04 twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked, Refused),
            ("A04 two lines", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", chunked, Refused),
            ("A05", "Transfer-Encoding: chunked, identity", chunked, Refused),
            ("A07", "Transfer-Encoding: \"chunked\"", chunked, Refused),
            ("A08", "Transfer-Encoding: ,chunked", chunked, Refused),
            ("A08 after", "Transfer-Encoding: chunked,", chunked, Refused),
            ("A10", "Transfer-Encoding : chunked", chunked, Refused),
            ("A10 underscore", "Transfer_Encoding: chunked", chunked, Refused),
            ("A10 underscore CL", "Content_Length: 5", "hello", Refused),
            ("A10 tab", "Transfer\x0bEncoding: chunked", chunked, Refused),
            ("A13 equal", "Content-Length: 5\r\nContent-Length: 5", "hello", RefusedOrBody("hello")),
            ("A13 list", "Content-Length: 5, 5", "hello", RefusedOrBody("hello")),
            ("A13 differing", "Content-Length: 5\r\nContent-Length: 6", "hello{S}", Refused),
            ("A16", "Content-Length: 0000000005", "hello", RefusedOrBody("hello")),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_length_is_digits_and_nothing_else() {
    let mut world = World::new().await;
    for length in ["+5", "-5", "0x5", "5_0", "5 5", "5\x0b", "5e0", "5.0", "", "18446744073709551616"] {
        let lines = format!("Content-Length: {length}");
        all(&mut world, &[("A14", &lines, "hello{S}", Refused)]).await;
    }
}

#[tokio::test]
async fn a_chunk_size_is_hex_digits_and_nothing_else() {
    let mut world = World::new().await;
    let te = "Transfer-Encoding: chunked";
    for size in ["0x5", "+5", "-1", "5_0", " 5", "", "g", "fffffffffffffffff"] {
        let body = format!("{size}\r\nhello\r\n0\r\n\r\n{{S}}");
        all(&mut world, &[("A17", te, &body, Refused)]).await;
    }
    all(
        &mut world,
        &[
            ("A19", te, "5\nhello\r\n0\r\n\r\n{S}", RefusedOrBody("hello")),
            ("A19 last", te, "5\r\nhello\r\n0\n\r\n", RefusedOrBody("hello")),
            ("A20 LF", te, "5;a\nb\r\nhello\r\n0\r\n\r\n", RefusedOrBody("hello")),
            ("A20 CR", te, "5\r;a\r\nhello\r\n0\r\n\r\n", RefusedOrBody("hello")),
            ("A20 plain", te, "5;a=b\r\nhello\r\n0\r\n\r\n", RefusedOrBody("hello")),
            ("A22", te, "5\r\nhelloXX0\r\n\r\n", Refused),
            (
                "A23",
                te,
                "5\r\nhello\r\n0\r\nContent-Length: 9\r\nUsher-Visitor: admin\r\n\r\n",
                Body("hello"),
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_head_that_two_parsers_could_split_differently_is_refused() {
    let mut world = World::new().await;
    let cases: [(&str, &str, Expect); 8] = [
        (
            "A11",
            "POST /case HTTP/1.0\r\n{H}\r\n{P}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{S}",
            Refused,
        ),
        ("A25", "GET /case HTTP/1.1\n{H}\n{P}\n\n", RefusedOrBody("")),
        (
            "A26",
            "POST /case HTTP/1.1\r\n{H}\r\n{P}\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused,
        ),
        ("A26 NUL", "GET /case HTTP/1.1\r\n{H}\r\n{P}\r\nX: a\0b\r\n\r\n", Refused),
        (
            "A28",
            "POST /case HTTP/1.1\r\n{H}\r\n{P}\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused,
        ),
        ("A29", "GET /case HTTP/1.1\r\n Content-Length: 30\r\n{H}\r\n{P}\r\n\r\n", Refused),
        ("no colon", "GET /case HTTP/1.1\r\n{H}\r\n{P}\r\nnothing\r\n\r\n", Refused),
        ("empty name", "GET /case HTTP/1.1\r\n{H}\r\n{P}\r\n: x\r\n\r\n", Refused),
    ];
    for (id, text, expect) in cases {
        for sender in BOTH {
            world.expect(id, text, sender, expect).await;
        }
    }
}

#[tokio::test]
async fn the_body_of_a_get_is_never_read_as_the_next_request() {
    let mut world = World::new().await;
    for sender in BOTH {
        let inner = "GET /smuggled HTTP/1.1\r\nHost: t.test\r\n\r\n";
        let text =
            format!("GET /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\nContent-Length: {}\r\n\r\n{inner}", inner.len());
        let bytes = world.fill(&text, sender);
        let outcome = world.case("A31", &bytes).await;
        assert_eq!(outcome.heard.statuses(), [if sender == Sender::PassHolder { 200 } else { 429 }]);
        assert_eq!(outcome.seen.len(), usize::from(sender == Sender::PassHolder));
        assert!(outcome.seen.iter().all(|seen| seen.body == inner.as_bytes()));
    }
}

#[tokio::test]
async fn a_body_nobody_reads_does_not_become_the_next_request() {
    let mut world = World::new().await;
    // Answered by the gate itself, long before a MiB has come.
    for target in ["/case", "/queue/nothing", "/queue/status"] {
        let inner = String::from_utf8(world.fill("{S}", Sender::Nobody)).expect("text");
        let padding = "x".repeat((1 << 20) - inner.len());
        let text = format!(
            "POST {target} HTTP/1.1\r\n{{H}}\r\n{{P}}\r\nContent-Length: {}\r\n\r\n{inner}{padding}{{S}}",
            1 << 20
        );
        let bytes = world.fill(&text, Sender::Nobody);
        let mut outcome = world.case("A32", &bytes).await;
        assert!(outcome.heard.statuses().len() == 1, "{target}: {:?}", outcome.heard.statuses());
        assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "{target}");
    }
}

#[tokio::test]
async fn half_a_request_ends_in_a_timeout_and_leaves_no_upstream_connection_behind() {
    // Time enough for the innocents beside, whose heads and answers these limits bind as well.
    let limits = "[gate.limits]\nfirst_byte_timeout = \"8s\"\nhead_timeout = \"5s\"\n[[room]]";
    let mut world = World::with(limits).await;
    // Each innocent has sent its first head before somebody waits.
    world.case("A34", &world.fill("GET /case HTTP/1.1\r\n{H}\r\n\r\n", Sender::Nobody)).await;
    for target in ["/case", "/queue/join"] {
        let text = format!("POST {target} HTTP/1.1\r\n{{H}}\r\n{{P}}\r\nContent-Length: 5\r\n\r\n");
        let mut raw = Raw::connect(world.gate.address()).await;
        raw.send(&world.fill(&text, Sender::PassHolder)).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.problem().as_str()), (408, "request_timeout"), "A34 {target}");
        raw.send(&world.fill("{S}", Sender::PassHolder)).await;
        assert!(raw.closes(DEADLINE).await, "A34 {target}");
        let outcome =
            world.case("A34", &world.fill("GET /case HTTP/1.1\r\n{H}\r\n\r\n", Sender::Nobody)).await;
        assert_eq!(outcome.heard.statuses(), [429]);
    }
    assert!(world.app.seen_at("/case").iter().all(|seen| !seen.whole));
}

#[tokio::test]
async fn a_body_that_trickles_ends_in_a_timeout_though_it_never_stands_still() {
    let world = World::new().await;
    let text = "POST /case HTTP/1.1\r\n{H}\r\n{P}\r\nContent-Length: 1048576\r\n\r\n";
    let mut raw = Raw::connect(world.gate.address()).await;
    raw.send(&world.fill(text, Sender::PassHolder)).await;
    let answer = until("D04: an answer", DEADLINE, async || {
        raw.send(b"x").await;
        raw.answer_within(Duration::from_secs(1), false).await
    })
    .await;
    assert_eq!((answer.status, answer.problem().as_str()), (408, "request_timeout"), "D04");
    assert!(raw.closes(DEADLINE).await, "D04");
    assert!(world.app.seen_at("/case").iter().all(|seen| !seen.whole), "D04");
}

#[tokio::test]
async fn an_upstream_connection_with_an_unread_body_is_not_used_again() {
    let mut world = World::new().await;
    let mut raw = Raw::connect(world.gate.address()).await;
    let head = "POST /early HTTP/1.1\r\n{H}\r\n{P}\r\nContent-Length: 100000\r\n\r\n";
    raw.send(&world.fill(head, Sender::PassHolder)).await;
    assert_eq!(raw.answer().await.status, 413, "A37: the app's early answer comes through");
    let early = world.app.seen_at("/early")[0].connection;
    let text = "GET /case HTTP/1.1\r\n{H}\r\n{P}\r\n\r\n";
    for _ in 0..8 {
        let outcome = world.case("A37", &world.fill(text, Sender::PassHolder)).await;
        assert!(outcome.seen.iter().all(|seen| seen.connection != early), "A37: reused");
    }
    raw.send(&vec![b'x'; 50_000]).await;
    drop(raw);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let outcome = world.case("A37", &world.fill(text, Sender::PassHolder)).await;
    assert!(outcome.seen.iter().all(|seen| seen.connection != early), "A37: reused");
}
