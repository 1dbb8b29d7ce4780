//! The dashboard, its stream of samples, and who did what.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::FakeApp;
use crate::support::client::request;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

/// An open stream of samples.
struct Samples {
    socket: TcpStream,
    text: String,
}

impl Samples {
    async fn open(to: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(to).await.expect("the listener is there");
        let ask = b"GET /admin/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
        socket.write_all(ask).await.expect("asked");
        let mut samples = Self { socket, text: String::new() };
        samples.read_to("\r\n\r\n").await;
        samples
    }

    /// What comes next, up to the end of `mark`.
    async fn read_to(&mut self, mark: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = self.text.find(mark) {
                    return self.text.drain(..at + mark.len()).collect();
                }
                let mut bytes = [0; 4096];
                let count = self.socket.read(&mut bytes).await.expect("readable");
                assert!(count > 0, "ended: {}", self.text);
                self.text.push_str(std::str::from_utf8(&bytes[..count]).expect("ASCII"));
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("in time")
    }

    async fn sample(&mut self) -> Value {
        self.read_to("event: sample\ndata: ").await;
        serde_json::from_str(self.read_to("\n\n").await.trim()).expect("JSON")
    }
}

#[tokio::test]
async fn samples_come_one_a_second_and_only_so_many_streams_are_served() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1").await;
    let mut samples = Samples::open(gate.admin_address()).await;
    let first = samples.sample().await;
    assert_eq!(first["rooms"][0]["name"], "main");
    assert_eq!(first["rooms"][0]["waiting"], 0);
    let _inside = gate.admitted().await;
    gate.client().stand().await;
    let mut last = first.clone();
    while last["rooms"][0]["waiting"] != 1 {
        let next = samples.sample().await;
        assert!(next["at"].as_u64() >= last["at"].as_u64().map(|at| at + 900), "no faster: {last} {next}");
        last = next;
    }
    let mut others = Vec::new();
    for _ in 1..64 {
        others.push(Samples::open(gate.admin_address()).await);
    }
    for stream in &mut others {
        stream.sample().await;
    }
    let refused = gate.admin("GET", "/admin/v1/stream", "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (429, "too_many_streams"));
    drop(others);
    until("a closed stream makes room for another", DEADLINE, async || {
        let mut socket = TcpStream::connect(gate.admin_address()).await.ok()?;
        socket.write_all(b"GET /admin/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
        let mut status = [0; 12];
        socket.read_exact(&mut status).await.ok()?;
        status.ends_with(b"200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_act_of_an_operator_is_noted_with_what_it_changed() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 5").await;
    assert_eq!(gate.admin("GET", "/admin/v1/audit", "").await.json(), json!({ "items": [] }));
    let named = [("host", "localhost"), ("usher-operator", "Kim, box office")];
    let change = b"{\"capacity\": 7, \"message\": \"<b>Soon</b>\"}";
    let done = request(gate.admin_address(), "PATCH", "/admin/v1/rooms/main", &named, change).await;
    assert_eq!(done.status, 200);
    gate.act("pause").await;
    assert_eq!(gate.admin("DELETE", "/admin/v1/rooms/main/places/99", "").await.status, 404);
    assert_eq!(gate.admin("PATCH", "/admin/v1/rooms/main", "{\"batch\": 0}").await.status, 422);
    assert_eq!(gate.admin("POST", "/admin/v1/reload", "").await.status, 200);
    let items = gate.admin("GET", "/admin/v1/audit", "").await.json()["items"].clone();
    let acts: Vec<_> = items.as_array().expect("a list").iter().map(|item| item["act"].clone()).collect();
    assert_eq!(
        acts,
        ["reload", "remove place 99", "pause", "change"],
        "newest first; what was refused is none"
    );
    assert_eq!((&items[0]["room"], &items[1]["outcome"]), (&Value::Null, &json!("not_found")));
    assert_eq!(
        (&items[2]["before"], &items[2]["after"]),
        (&json!({"paused": false}), &json!({"paused": true}))
    );
    assert_eq!(items[2]["who"], "127.0.0.1");
    let change = &items[3];
    assert_eq!((&change["who"], &change["outcome"]), (&json!("Kim, box office (127.0.0.1)"), &json!("done")));
    assert_eq!(change["before"], json!({ "capacity": 5, "message": null }));
    assert_eq!(change["after"], json!({ "capacity": 7, "message": "<b>Soon</b>" }));
    assert!(change["at"].as_u64().is_some_and(|at| at > 1_600_000_000_000));
}

#[tokio::test]
async fn the_dashboard_is_one_page_that_runs_nothing_else() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "[admin]\ntoken = \"s3cret-token\"\n[[room]]").await;
    let page = gate.admin("GET", "/", "").await;
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").expect("a policy").to_owned();
    let text = page.text();
    assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"));
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let inside = text.split_once(&format!("<{element}>")).expect("there").1;
        let inside = inside.split_once(&format!("</{element}>")).expect("closed").0;
        let hash = STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}';")), "{directive} in {policy}");
    }
    for foreign in ["http:", "https:", "src=", " style=", "onclick="] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    assert!(!text.contains("s3cret"), "the page knows nothing");
    for guarded in ["/admin/v1/stream", "/admin/v1/audit"] {
        assert_eq!(gate.admin("GET", guarded, "").await.status, 401, "{guarded}");
    }
}
