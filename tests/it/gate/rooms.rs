//! Which room a call is about, and what the gate's own paths answer.

use crate::support::app::FakeApp;
use crate::support::client::request;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

/// Two rooms, one for a path of any host, one for a host.
async fn rooms() -> (TestGate, FakeApp, FakeApp) {
    let (shop, vip) = (FakeApp::start().await, FakeApp::start().await);
    let quick = "tick = \"50ms\"\npoll = { min = \"0s\" }";
    let settings = format!(
        "[[room]]\nname = \"shop\"\npaths = [\"/shop\"]\nupstreams = [\"{}\"]\n{quick}\n\
         [[room]]\nname = \"vip\"\nhosts = [\"vip.test\"]\nupstreams = [\"{}\"]\n{quick}\n",
        shop.url(),
        vip.url()
    );
    (TestGate::start(&settings).await, shop, vip)
}

#[tokio::test]
async fn a_room_has_its_own_line_passes_and_app() {
    let (gate, shop, vip) = rooms().await;
    let mut visitor = gate.client();
    let cookies =
        |visitor: &crate::support::client::Client| visitor.cookies.keys().cloned().collect::<Vec<_>>();
    visitor.page("/shop/1").await;
    assert_eq!(cookies(&visitor), ["usher_visitor_shop"]);
    until("the turn", DEADLINE, async || {
        (visitor.get("/queue/status?room=shop").await.json()["state"] == "admitted").then_some(())
    })
    .await;
    assert_eq!(visitor.get("/shop/1").await.status, 200);
    assert_eq!(shop.seen_at("/shop/1").len(), 1);
    let mut visitor = visitor.clone();
    visitor.host = "VIP.test:8080".into();
    assert_eq!(visitor.get("/shop/1").await.status, 429, "the host counts before the path");
    assert_eq!(visitor.get("/shop/1").await.json()["status_url"], "/queue/status?room=vip");
    assert!(vip.seen().is_empty());
    visitor.host = "t.test".into();
    assert_eq!(visitor.get("/elsewhere").await.status, 404, "no room protects it");
    assert_eq!(visitor.get("/shopping").await.status, 404, "whole segments");
    assert_eq!(visitor.get("/shop//1").await.status, 404, "ambiguous paths match no prefix");
}

#[tokio::test]
async fn a_call_is_about_the_room_it_names_else_of_host_and_referer() {
    let (gate, _shop, _vip) = rooms().await;
    let room = async |host: &str, target: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("host", host)];
        all.extend(fields);
        let answer = request(gate.address(), "GET", target, &all, b"").await;
        match answer.status {
            200 => answer.json()["room"].as_str().expect("a room").to_owned(),
            status => format!("{status} {}", answer.problem()),
        }
    };
    assert_eq!(room("t.test", "/queue/status?room=vip", &[]).await, "vip");
    assert_eq!(room("vip.test", "/queue/status?x=1&room=shop&y", &[]).await, "shop");
    assert_eq!(room("vip.test", "/queue/status", &[]).await, "vip");
    let referer = [("referer", "http://t.test/shop/1?x")];
    assert_eq!(room("t.test", "/queue/status", &referer).await, "shop");
    assert_eq!(room("t.test", "/queue/status", &[]).await, "404 unknown_room");
    assert_eq!(room("t.test", "/queue/status?room=nowhere", &[]).await, "404 unknown_room");
    let long = format!("room={}", "a".repeat(1_024));
    for query in ["room=../", "room=", "room", "room={q}", "room=%0d%0a", "room=MAIN", "room=a%62", &long] {
        let target = format!("/queue/status?{query}");
        assert_eq!(room("t.test", &target, &[]).await, "400 bad_room", "H11 {query}");
    }
    for other in ["position=-1", "n=NaN", "x=1e309", "poll=99999999999999999999", "%zz", "a=%ff"] {
        let target = format!("/queue/status?room=shop&{other}");
        assert_eq!(room("t.test", &target, &[]).await, "shop", "H11: ignored");
    }
    let body = |text: &'static str| async {
        request(gate.address(), "POST", "/queue/join", &[("host", "t.test")], text.as_bytes()).await
    };
    assert_eq!(body("{\"room\": \"vip\", \"more\": [1]}").await.json()["room"], "vip");
    assert_eq!(body("{\"room\": \"../\"}").await.problem(), "bad_room");
    assert_eq!(body("{\"room\": \"nowhere\"}").await.problem(), "unknown_room");
    for broken in ["{", "[]", "{\"room\": 1}", "\u{0}"] {
        assert_eq!(body(broken).await.problem(), "bad_request", "{broken}");
    }
}

#[tokio::test]
async fn the_gates_own_paths_know_their_methods_and_no_others_exist() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut client = gate.admitted().await;
    for (method, target, allowed) in [
        ("POST", "/queue/status", "GET"),
        ("PUT", "/queue/status", "GET"),
        ("DELETE", "/queue/status", "GET"),
        ("HEAD", "/queue/status", "GET"),
        ("GET", "/queue/join", "POST"),
        ("GET", "/queue/leave", "POST"),
        ("POST", "/queue/draw", "GET"),
    ] {
        let answer = client.send(method, target, &[], "").await;
        assert_eq!(answer.status, 405, "H13 {method} {target}");
        assert_eq!(answer.field("allow"), Some(allowed), "{method} {target}");
    }
    for target in ["/queue", "/queue/", "/queue/nothing", "/queue/status/x", "/queue/joins"] {
        let answer = client.get(target).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{target}");
    }
    assert!(app.seen().is_empty(), "none of it is the app's");
    // And nothing of the operators' is here: these are the app's paths.
    let mut stranger = gate.client();
    for target in ["/metrics", "/healthz", "/readyz", "/admin/v1/rooms", "/version"] {
        assert_eq!(stranger.get(target).await.status, 429, "H14 {target}");
        assert!(client.get(target).await.text().starts_with(&format!("GET {target} ")), "H14 {target}");
    }
}

#[tokio::test]
async fn an_open_room_lets_nobody_into_another_by_a_path_spelled_otherwise() {
    let (open, shop) = (FakeApp::start().await, FakeApp::start().await);
    let settings = format!(
        "[[room]]\nname = \"open\"\nmode = \"passthrough\"\nupstreams = [\"{}\"]\n\
         [[room]]\nname = \"shop\"\npaths = [\"/checkout\"]\nupstreams = [\"{}\"]\n",
        open.url(),
        shop.url()
    );
    let gate = TestGate::start(&settings).await;
    let ask =
        async |target: &str| request(gate.address(), "GET", target, &[("host", "t.test")], b"").await.status;
    for target in [
        "/checkout",
        "//checkout",
        "/checkout;x",
        "/checkout%2fx",
        "/CHECKOUT",
        "/%63heckout",
        "/%2563heckout/1",
        "/x/../checkout",
        "/checkout/../x",
    ] {
        assert_eq!(ask(target).await, 429, "{target}");
    }
    assert!(open.seen().is_empty() && shop.seen().is_empty());
    for target in ["/", "/free", "/FREE", "//free", "/free;x", "/check%6futs"] {
        assert_eq!(ask(target).await, 200, "{target}");
        assert_eq!(open.seen().last().map(|seen| seen.target().to_owned()), Some(target.to_owned()));
    }
}

#[tokio::test]
async fn an_authorizer_is_told_what_is_asked_by_its_proxy_not_by_the_visitor() {
    let app = FakeApp::start().await;
    let settings = format!(
        "[gate]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [[room]]\nupstreams = [\"{}\"]\nbypass = {{ paths = [\"/healthz\"] }}\n",
        app.url()
    );
    let gate = TestGate::start(&settings).await;
    let ask = async |target: &str, fields: &[(&str, &str)]| {
        let all = [&[("host", "t.test")], fields].concat();
        request(gate.address(), "GET", target, &all, b"").await.status
    };
    let (free, seats) = (("x-forwarded-uri", "/healthz"), ("x-original-uri", "/seats"));
    assert_eq!(ask("/queue/authz", &[free]).await, 200);
    assert_eq!(ask("/queue/authz/healthz", &[]).await, 200);
    assert_eq!(ask("/queue/authz/seats", &[free]).await, 429, "the path wins");
    assert_eq!(ask("/queue/authz?nginx=1", &[seats]).await, 401);
    assert_eq!(ask("/queue/authz?nginx=1", &[seats, free]).await, 400, "which of them?");
    assert_eq!(ask("/queue/authz", &[]).await, 429, "the root of the only room");
    assert_eq!(ask("/queue/authz/healthz", &[("upgrade", "websocket")]).await, 400);
}
