//! Request target and Host.

use super::world::{BOTH, Outcome, Sender, World};

/// Sends a head and answers what came of it.
async fn head(world: &mut World, id: &str, text: &[u8], sender: Sender) -> Outcome {
    let rest = world.fill("\r\n{P}\r\n\r\n", sender);
    let bytes = [text, &rest].concat();
    world.case(id, &bytes).await
}

async fn is_refused(world: &mut World, id: &str, text: &[u8], statuses: &[u16]) {
    for sender in BOTH {
        let mut outcome = head(world, id, text, sender).await;
        let shown = String::from_utf8_lossy(text).into_owned();
        assert!(outcome.seen.is_empty(), "{id} {shown}: the app saw {:?}", outcome.seen);
        let [status] = outcome.heard.statuses()[..] else { panic!("{id} {shown}: {:?}", outcome.heard) };
        assert!(statuses.contains(&status), "{id} {shown}: {:?}", outcome.heard);
        assert!(outcome.heard.closes().await, "{id} {shown}: left open");
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let mut world = World::new().await;
    is_refused(&mut world, "B01", b"GET /case HTTP/1.1", &[400]).await;
    is_refused(&mut world, "B02", b"GET /case HTTP/1.1\r\nHost: t.test\r\nHost: t.test", &[400]).await;
    let long = "a".repeat(300);
    for host in
        ["user@t.test", "t.test:80:80", "t.test\t.x", "[::1", "", &long, "t test", "t/est", "t.test:99999"]
    {
        let text = format!("GET /case HTTP/1.1\r\nHost: {host}");
        is_refused(&mut world, "B05", text.as_bytes(), &[400]).await;
    }
    let other = b"GET http://other.test/case HTTP/1.1\r\nHost: t.test";
    is_refused(&mut world, "B04", other, &[400]).await;
}

#[tokio::test]
async fn the_absolute_form_is_routed_as_the_origin_form() {
    let mut world = World::new().await;
    let text = b"GET http://t.test/case?x=1 HTTP/1.1\r\nHost: t.test";
    let outcome = head(&mut world, "B04", text, Sender::Nobody).await;
    assert_eq!((outcome.heard.statuses(), outcome.seen.len()), (vec![429], 0));
    let outcome = head(&mut world, "B04", text, Sender::PassHolder).await;
    assert_eq!(outcome.heard.statuses(), [200]);
    assert_eq!(outcome.seen[0].target(), "/case?x=1");
}

#[tokio::test]
async fn bytes_that_no_target_may_have_are_refused() {
    let mut world = World::new().await;
    for target in
        [&b"/a b"[..], b"/\x80", b"/\xed\x95\x9c", b"/seats\\1", b"/a\x01", b"/a\x7f", b"\\", b"seats", b"*"]
    {
        let text = [b"GET ", target, b" HTTP/1.1\r\nHost: t.test"].concat();
        is_refused(&mut world, "B07", &text, &[400]).await;
    }
    is_refused(&mut world, "B10", b"CONNECT t.test:443 HTTP/1.1\r\nHost: t.test:443", &[405]).await;
    is_refused(&mut world, "B11", b"TRACE / HTTP/1.1\r\nHost: t.test", &[405]).await;
    for version in ["HTTP/0.9", "HTTP/1.32", "HTTP/2.0", "http/1.1", "HTTP/1.2", "HTTP/11"] {
        let text = format!("GET /case {version}\r\nHost: t.test");
        is_refused(&mut world, "B13", text.as_bytes(), &[400, 505]).await;
    }
    is_refused(&mut world, "B13", b"HTTP/0.9 GET /\r\nHost: t.test", &[400, 505]).await;
}

#[tokio::test]
async fn a_target_is_decided_on_as_it_is_forwarded() {
    let mut world = World::with("[[room]]\nbypass = { paths = [\"/open\", \"/case\"] }").await;
    // Each would be `/open` or `/case` to a server that tidies up.
    let ambiguous = [
        "/open/../seats/1",
        "/open/%2e%2e/seats",
        "//open",
        "/./open",
        "/open/.",
        "/open;x=1",
        "/open%2f1",
        "/open%2F..%2Fseats",
        "/OPEN",
        "/open%00",
        "/open//x",
        "/open/..",
        "/%6fpen",
        "/open%",
        "/openly",
        "/queue/../open",
        "/QUEUE/status",
        "/queue%2fstatus",
    ];
    for target in ambiguous {
        let text = format!("GET {target} HTTP/1.1\r\nHost: t.test");
        let outcome = head(&mut world, "B08", text.as_bytes(), Sender::Nobody).await;
        assert_eq!((outcome.heard.statuses(), outcome.seen.len()), (vec![429], 0), "B08 {target}");
        let outcome = head(&mut world, "B08", text.as_bytes(), Sender::PassHolder).await;
        assert_eq!(outcome.heard.statuses(), [200], "B08 {target}");
        assert_eq!(outcome.seen[0].target(), target, "B08: byte for byte");
    }
    let outcome = head(&mut world, "bypass", b"GET /open/x HTTP/1.1\r\nHost: t.test", Sender::Nobody).await;
    assert_eq!(outcome.heard.statuses(), [200]);
}

#[tokio::test]
async fn what_comes_after_the_path_is_data() {
    let mut world = World::new().await;
    let text = b"GET /case#fragment HTTP/1.1\r\nHost: t.test";
    let mut outcome = head(&mut world, "B14", text, Sender::PassHolder).await;
    match outcome.heard.statuses()[..] {
        [400] => assert!(outcome.seen.is_empty() && outcome.heard.closes().await),
        _ => assert_eq!(outcome.seen[0].target(), "/case", "B14: one meaning for gate and app"),
    }
    let text = b"GET /case?x=%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: t.test\r\nAccept: text/html";
    let outcome = head(&mut world, "B14", text, Sender::Nobody).await;
    let answer = &outcome.heard.answers[0];
    assert!(answer.all("set-cookie").iter().all(|line| line.starts_with("usher_")), "{answer:?}");
    let outcome = head(&mut world, "B14", text, Sender::PassHolder).await;
    assert_eq!(outcome.seen[0].target(), "/case?x=%0d%0aSet-Cookie:%20a=b");
}
