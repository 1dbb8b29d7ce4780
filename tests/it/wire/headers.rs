//! Header fields: hop by hop, identity, size.

use super::world::{Outcome, Sender, World};
use crate::support::app::Seen;

const INTERNAL: [&str; 7] = [
    "Usher-Visitor",
    "Usher-Room",
    "Usher-Assertion",
    "Usher-Anything",
    "usher_visitor",
    "USHER-ROOM",
    "Usher_Assertion",
];

/// A `GET /case` with these lines.
async fn get(world: &mut World, id: &str, lines: &str, sender: Sender) -> Outcome {
    let bytes = world.fill(&format!("GET /case HTTP/1.1\r\n{{H}}\r\n{{P}}\r\n{lines}\r\n\r\n"), sender);
    world.case(id, &bytes).await
}

/// The one request that the app saw.
async fn forwarded(world: &mut World, id: &str, lines: &str) -> Seen {
    let outcome = get(world, id, lines, Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [200], "{id} {lines}");
    let [seen] = &outcome.seen[..] else { panic!("{id}: {:?}", outcome.seen) };
    seen.clone()
}

#[tokio::test]
async fn nobody_else_says_who_a_visitor_is() {
    let mut world = World::new().await;
    for name in INTERNAL {
        let outcome = get(&mut world, "C01", &format!("{name}: forged"), Sender::Nobody).await;
        assert_eq!((outcome.heard.statuses(), outcome.seen.len()), (vec![429], 0), "C01 {name}");
        let seen = forwarded(&mut world, "C02", &format!("{name}: forged\r\n{name}: again")).await;
        let text = String::from_utf8_lossy(&seen.head).into_owned();
        assert!(!text.contains("forged") && !text.contains("again"), "C02 {name}: {text}");
        for own in ["usher-visitor", "usher-room", "usher-assertion"] {
            assert_eq!(seen.all(own).len(), 1, "C02 {name}: {own}");
        }
    }
    for named in ["Usher-Visitor", "usher-assertion, usher-room", "Cookie2, Usher-Visitor"] {
        let seen = forwarded(&mut world, "C04", &format!("Connection: {named}")).await;
        assert_eq!(seen.all("usher-visitor").len(), 1, "C04");
        assert_eq!(seen.all("usher-assertion").len(), 1, "C04");
        assert_eq!(seen.all("usher-room"), ["main"], "C04");
    }
}

#[tokio::test]
async fn connection_may_not_name_what_no_hop_may_remove() {
    let mut world = World::new().await;
    let many = (0..10).map(|i| format!("x-{i}")).collect::<Vec<_>>().join(", ");
    for value in [
        "Host",
        "X-Forwarded-For",
        ":authority",
        "\"X\"",
        "Content-Length",
        "keep-alive, Cookie",
        "a b",
        &many,
    ] {
        for sender in [Sender::Nobody, Sender::PassHolder] {
            let mut outcome = get(&mut world, "C05", &format!("Connection: {value}"), sender).await;
            assert_eq!(outcome.heard.statuses(), [400], "C05 {value}");
            assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "C05 {value}");
            assert_eq!(outcome.heard.answers[0].problem(), "bad_request");
        }
    }
    let split = (0..10).map(|i| format!("Connection: x-{i}")).collect::<Vec<_>>().join("\r\n");
    let outcome = get(&mut world, "C07", &split, Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [400], "C07");
}

#[tokio::test]
async fn fields_of_one_hop_do_not_reach_the_app() {
    let mut world = World::new().await;
    let lines = "Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\n\
                 Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
                 Connection: keep-alive, X-Own, Upgrade, HTTP2-Settings\r\nX-Own: 1\r\nTrailer: X-T\r\n\
                 Authorization: Bearer s3cret-of-a-fan\r\nX-Kept: 2";
    let seen = forwarded(&mut world, "C08", lines).await;
    for name in [
        "keep-alive",
        "te",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "x-own",
        "trailer",
    ] {
        assert_eq!(seen.all(name), [""; 0], "C08 {name}");
    }
    assert!(seen.all("connection").iter().all(|value| !value.to_ascii_lowercase().contains("x-own")));
    assert_eq!(seen.field("x-kept").as_deref(), Some("2"));
    assert_eq!(seen.field("authorization").as_deref(), Some("Bearer s3cret-of-a-fan"), "C16");
    assert!(!world.gate.log().contains("s3cret-of-a-fan"), "C16: never logged");
}

#[tokio::test]
async fn a_head_too_large_is_refused_in_bounded_memory() {
    let mut world = World::new().await;
    let before = world.gate.resident();
    let field = |bytes: usize| format!("X-Large: {}", "x".repeat(bytes));
    let several = (0..4).map(|_| field(8_000)).collect::<Vec<_>>().join("\r\n");
    let many = (0..150).map(|i| format!("X-{i}: 1")).collect::<Vec<_>>().join("\r\n");
    for lines in [field(16_384), several, field(1 << 20), many] {
        for sender in [Sender::Nobody, Sender::PassHolder] {
            let mut outcome = get(&mut world, "C10", &lines, sender).await;
            assert_eq!(outcome.heard.statuses(), [431], "C10 {} bytes", lines.len());
            assert!(outcome.heard.closes().await && outcome.seen.is_empty(), "C10");
        }
    }
    forwarded(&mut world, "C10 below", &field(8_000)).await;
    assert!(world.gate.resident() < before + 20_000, "{before} KB grew to {}", world.gate.resident());
}

#[tokio::test]
async fn a_cookie_that_occurs_twice_counts_as_absent() {
    let mut world = World::new().await;
    let own = world.holder.cookies.clone();
    let pass = format!("usher_pass={}", own["usher_pass"]);
    let visitor = format!("usher_visitor={}", own["usher_visitor"]);
    let place = own.get("usher_place").map(|place| format!("usher_place={place}")).unwrap_or_default();
    let many = (0..200).map(|i| format!("c{i}={i}")).collect::<Vec<_>>().join("; ");
    let five = [pass.as_str(); 5].join("; ");
    let cases = [
        ("among many", format!("Cookie: {many}; {pass}"), 200),
        ("two lines", format!("Cookie: a=b\r\nCookie: {pass}; {visitor}"), 200),
        ("five times", format!("Cookie: {visitor}; {five}"), 429),
        ("twice, one broken", format!("Cookie: usher_pass=x; {pass}"), 429),
        ("prefixed only", format!("Cookie: __Host-{pass}"), 429),
        ("prefixed beside", format!("Cookie: __Host-usher_pass=x; {pass}"), 200),
        ("another case", format!("Cookie: Usher_Pass={}", own["usher_pass"]), 429),
        ("as a place", format!("Cookie: usher_place={}", own["usher_pass"]), 429),
        ("place alone", format!("Cookie: a=b; {place}x"), 429),
    ];
    for (what, line, status) in cases {
        let text = format!("GET /case HTTP/1.1\r\n{{H}}\r\n{line}\r\n\r\n");
        let bytes = world.fill(&text, Sender::Nobody);
        let outcome = world.case("C11", &bytes).await;
        assert_eq!(outcome.heard.statuses(), [status], "C11 {what}");
        assert_eq!(outcome.seen.len(), usize::from(status == 200), "C11 {what}");
        for seen in outcome.seen {
            assert!(
                !String::from_utf8_lossy(&seen.head).contains("usher_"),
                "C11 {what}: a gate cookie crossed"
            );
        }
    }
}

#[tokio::test]
async fn the_waiting_page_is_whole_small_and_never_cached() {
    let mut world = World::new().await;
    let ranges = format!("Range: {}", vec!["bytes=0-0"; 1_000].join(","));
    let accept = "Accept: text/html";
    for lines in [
        accept.to_owned(),
        format!("{accept}\r\n{ranges}"),
        format!("{accept}\r\nAccept-Encoding: gzip, br, *;q=1"),
    ] {
        let outcome = get(&mut world, "C13", &lines, Sender::Nobody).await;
        let answer = &outcome.heard.answers[0];
        assert!(matches!(answer.status, 200 | 416), "C13 {}", answer.status);
        assert!(
            answer.body.len() < 15_000 && answer.text().contains("</html>"),
            "C13: {}",
            answer.body.len()
        );
        assert_eq!(answer.field("cache-control"), Some("no-store"), "C13");
        assert_eq!(answer.field("content-encoding"), None, "C13");
    }
}

#[tokio::test]
async fn a_status_is_never_answered_from_a_cache() {
    let mut world = World::new().await;
    for condition in
        ["If-None-Match: *", "If-None-Match: \"x\"", "If-Modified-Since: Sat, 01 Jan 2050 00:00:00 GMT"]
    {
        let text = format!("GET /queue/status HTTP/1.1\r\n{{H}}\r\n{condition}\r\n\r\n");
        let bytes = world.fill(&text, Sender::Nobody);
        let outcome = world.case("C14", &bytes).await;
        let answer = &outcome.heard.answers[0];
        assert_eq!(
            (answer.status, answer.field("cache-control")),
            (200, Some("no-store")),
            "C14 {condition}"
        );
        assert!(answer.field("vary").is_some_and(|vary| vary.contains("Cookie")), "H17");
        assert_eq!(answer.field("etag"), None, "C14");
    }
}

#[tokio::test]
async fn the_app_cannot_mint_the_gates_cookies_and_its_words_to_the_gate_end_there() {
    let mut world = World::new().await;
    let bytes = world.fill("GET /set-cookies HTTP/1.1\r\n{H}\r\n{P}\r\n\r\n", Sender::PassHolder);
    let outcome = world.case("C17", &bytes).await;
    assert_eq!(outcome.heard.answers[0].all("set-cookie"), ["basket=7; Path=/"], "C17");
    let bytes = world.fill("GET /command/dance HTTP/1.1\r\n{H}\r\n{P}\r\n\r\n", Sender::PassHolder);
    let outcome = world.case("C17", &bytes).await;
    assert_eq!(outcome.heard.answers[0].field("usher-command"), None, "C17");
}
