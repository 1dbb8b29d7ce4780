//! Support: who waits, who answers, what they say.

mod bad;
mod desk;
mod talk;

use serde_json::{Value, json};

use crate::support::booking::{TestBooking, until};
use crate::support::http::Client;
use crate::support::talker::Talker;

/// A counsellor who waits for nobody yet.
async fn counsellor(office: &TestBooking) -> Client {
    let (counsellor, _) = office.fan_called("Min Seo", "ko", 0).await;
    let me = counsellor.get("/api/me").await.expect(200).text("account_id");
    let admin = office.admin().await;
    admin.patch(&format!("/api/accounts/{me}"), json!({"role": "counsellor"})).await.expect(200);
    counsellor
}

async fn go(counsellor: &Client, state: &str) -> Value {
    counsellor.patch("/api/counselors/me", json!({"state": state})).await.expect(200).json
}

/// A counsellor who waits for somebody.
pub(super) async fn ready(office: &TestBooking) -> Client {
    let counsellor = counsellor(office).await;
    go(&counsellor, "ONLINE").await;
    assert_eq!(
        go(&counsellor, "READY").await["account_id"],
        counsellor.get("/api/me").await.json["account_id"]
    );
    counsellor
}

/// A new request, and its path.
pub(super) async fn ask(fan: &Client) -> (Value, String) {
    let asked = fan.post("/api/support/requests", json!({"topic": "My ticket"})).await.expect(201);
    let path = format!("/api/support/requests/{}", asked.text("request_id"));
    (asked.json, path)
}

/// A customer and a counsellor with their sockets open, and their session.
async fn pair(office: &TestBooking) -> (Client, Talker, Client, Talker, String) {
    let counsellor = ready(office).await;
    let fan = office.fan(0).await;
    let (mut theirs, mut mine) = (Talker::open(&counsellor).await, Talker::open(&fan).await);
    ask(&fan).await;
    let session = mine.matched().await;
    assert_eq!(theirs.matched().await, session);
    theirs.say(json!({"type": "accept", "session_id": session})).await;
    (fan, mine, counsellor, theirs, session)
}

async fn until_state(counsellor: &Client, state: &str) -> Value {
    until(async || {
        let me = counsellor.get("/api/counselors/me").await.expect(200).json;
        (me["state"] == state).then_some(me)
    })
    .await
}
