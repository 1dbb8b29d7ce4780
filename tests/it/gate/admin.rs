//! The operators' side.

use serde_json::{Value, json};

use crate::support::app::FakeApp;
use crate::support::client::request;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn a_room_reads_as_the_contract_says() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\nrate_per_minute = 600").await;
    gate.admitted().await;
    gate.client().stand().await;
    let room = until("one inside, one waiting", DEADLINE, || async {
        let room = gate.room("main").await;
        (room["waiting"] == 1 && room["active"] == 1).then_some(room)
    })
    .await;
    let expected = json!({
        "name": "main", "state": "open", "mode": "always", "waiting": 1, "called": 0, "active": 1,
        "capacity": 1, "batch": 120, "tick_ms": 50, "rate_per_minute": 600,
        "joined_total": 2, "admitted_total": 1, "claimed_total": 1, "evicted_total": 0,
        "expired_total": 0, "left_total": 0, "degraded": false,
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&room[key], value, "{key}");
    }
    assert!(room["tick"].is_u64() && room["epoch"].is_u64());
    for quantile in ["p50", "p95", "p99"] {
        assert!(room["wait_ms"].as_object().is_some_and(|waits| waits.contains_key(quantile)));
    }
    let list = gate.admin("GET", "/admin/v1/rooms", "").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(gate.admin("GET", "/admin/v1/rooms/nowhere", "").await.problem(), "unknown_room");
    assert_eq!(gate.admin("GET", "/nothing", "").await.problem(), "not_found");
    let version = gate.admin("GET", "/version", "").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(gate.admin("GET", "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn limits_change_while_people_wait_and_null_takes_the_change_back() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let _holder = gate.admitted().await;
    let mut visitor = gate.client();
    visitor.stand().await;
    gate.change("{\"capacity\": 2}").await;
    visitor.admit().await;
    assert_eq!(gate.room("main").await["capacity"], 2);
    gate.change("{\"capacity\": null, \"batch\": 7}").await;
    let room = gate.room("main").await;
    assert_eq!((&room["capacity"], &room["batch"]), (&json!(1), &json!(7)));
    for (wrong, status, code) in [
        ("{\"batch\": 0}", 422, "bad_value"),
        ("{\"pass_ttl_ms\": 5}", 422, "bad_value"),
        ("{\"capacity\": -1}", 400, "bad_request"),
        ("{\"capacity\": \"many\"}", 400, "bad_request"),
        ("{\"colour\": 1}", 400, "bad_request"),
        ("", 400, "bad_request"),
    ] {
        let answer = gate.admin("PATCH", "/admin/v1/rooms/main", wrong).await;
        assert_eq!((answer.status, answer.problem().as_str()), (status, code), "{wrong}");
    }
    assert_eq!(gate.room("main").await["batch"], 7, "a bad change changes nothing");
    assert_eq!(gate.admin("POST", "/admin/v1/rooms/main/dance", "").await.status, 404);
}

#[tokio::test]
async fn a_revoked_pass_is_dead_when_the_log_has_been_read_and_a_removed_place_is_out() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut holder = gate.admitted().await;
    let number = holder.status().await["number"].clone();
    assert_eq!(holder.get("/x").await.status, 200);
    let revoked = gate.admin("DELETE", &format!("/admin/v1/rooms/main/passes/{number}"), "").await;
    assert_eq!(revoked.status, 204);
    // How often the log is read is the driver's constant: well within a second, twice.
    gate.after_two_ticks().await;
    assert_eq!(holder.get("/x").await.status, 429, "G10");
    assert_eq!(holder.status().await["state"], "expired");
    let again = gate.admin("DELETE", &format!("/admin/v1/rooms/main/passes/{number}"), "").await;
    assert_eq!(again.status, 404);
    let nonsense = gate.admin("DELETE", "/admin/v1/rooms/main/passes/x", "").await;
    assert_eq!((nonsense.status, nonsense.problem().as_str()), (400, "bad_number"));
    let wrong = gate.admin("PUT", "/admin/v1/rooms", "").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (405, "method_not_allowed"));
    let _inside = gate.admitted().await;
    let mut waiting = gate.client();
    let number = waiting.stand().await["number"].clone();
    assert_eq!(gate.admin("DELETE", &format!("/admin/v1/rooms/main/places/{number}"), "").await.status, 204);
    assert_eq!(waiting.until_state("expired").await["number"], Value::Null);
}

#[tokio::test]
async fn close_open_and_clear() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut holder = gate.admitted().await;
    gate.act("close").await;
    assert_eq!(gate.room("main").await["state"], "closed");
    let mut visitor = gate.client();
    visitor.until_state("none").await;
    visitor.until_state("closed").await;
    gate.act("open").await;
    assert_eq!(visitor.until_state("waiting").await["position"], 1);
    for wrong in ["", "{}", "{\"confirm\": \"Main\"}"] {
        let answer = gate.admin("POST", "/admin/v1/rooms/main/clear", wrong).await;
        assert_eq!((answer.status, answer.problem().as_str()), (422, "confirm"));
    }
    assert_eq!(holder.get("/x").await.status, 200, "nothing was cleared");
    let epoch = gate.room("main").await["epoch"].clone();
    let cleared = gate.admin("POST", "/admin/v1/rooms/main/clear", "{\"confirm\": \"main\"}").await;
    assert_eq!(cleared.status, 200);
    until("a new line", DEADLINE, || async { (gate.room("main").await["epoch"] != epoch).then_some(()) })
        .await;
    until("the old pass is nothing in it", DEADLINE, || {
        let mut holder = holder.clone();
        async move { (holder.get("/x").await.status == 429).then_some(()) }
    })
    .await;
    visitor.admit().await;
}

#[tokio::test]
async fn bypass_forwards_everybody_until_resume() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let _holder = gate.admitted().await;
    gate.act("bypass").await;
    assert_eq!(gate.client().get("/x").await.status, 200);
    gate.act("resume").await;
    assert_eq!(gate.client().get("/x").await.status, 429);
}

#[tokio::test]
async fn the_admin_api_asks_for_its_token_and_serves_no_foreign_page() {
    let app = FakeApp::start().await;
    let open = TestGate::before(&app, "").await;
    assert_eq!(open.admin("GET", "/admin/v1/rooms", "").await.status, 200, "none is set, on loopback");
    let gate = TestGate::before(&app, "[admin]\ntoken = \"s3cret-token\"\n[[room]]").await;
    let get = async |path: &str, fields: &[(&str, &str)]| {
        request(gate.admin_address(), "GET", path, &[&[("host", "localhost")], fields].concat(), b"").await
    };
    for path in ["/admin/v1/rooms", "/metrics", "/admin/v1/rooms/main"] {
        let answer = get(path, &[]).await;
        assert_eq!((answer.status, answer.field("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert_eq!(get(path, &[("authorization", "Bearer wrong")]).await.status, 401);
        assert_eq!(get(path, &[("authorization", "Bearer s3cret-token")]).await.status, 200, "{path}");
    }
    for site in ["cross-site", "same-site"] {
        let fields = [("host", "localhost"), ("sec-fetch-site", site)];
        let answer = request(open.admin_address(), "POST", "/admin/v1/rooms/main/pause", &fields, b"").await;
        assert_eq!(answer.status, 401, "a page of another site cannot steer the line");
    }
    let rebound = [("host", "evil.test:8081"), ("sec-fetch-site", "same-origin")];
    let answer = request(open.admin_address(), "GET", "/admin/v1/rooms", &rebound, b"").await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"), "a name made to resolve here");
    for path in ["/healthz", "/readyz", "/version"] {
        assert_eq!(get(path, &[]).await.status, 200, "{path} needs none");
    }
}
