//! Live maps over real sockets.

mod bad;
mod seats;

use serde_json::Value;
use usher::booking::SAMPLE_EVENT;

use crate::support::booking::TestBooking;
use crate::support::http::Client;
use crate::support::viewer::Viewer;

async fn list(client: &Client) -> Value {
    client.get(&format!("/api/events/{SAMPLE_EVENT}/seats")).await.expect(200).json
}

/// A live map of the sample event that knows its list of seats.
async fn viewer(client: &Client) -> Viewer {
    let viewer = Viewer::open(client.server(), SAMPLE_EVENT, &client.headers).await.expect("opens");
    viewer.knows(&list(client).await)
}

/// What the viewer sees is what the list of seats says, once it has all that the
/// list has.
async fn assert_same(viewer: &mut Viewer, client: &Client) {
    let list = list(client).await;
    let version = list["version"].as_u64().expect("a number");
    viewer.until(|viewer| viewer.version >= Some(version)).await;
    assert_eq!(viewer.version, Some(version), "nothing changes meanwhile");
    for seat in list["seats"].as_array().expect("a list") {
        let id = seat["id"].as_str().expect("a text");
        assert_eq!(seat["status"], viewer.seats[id], "{id} at {version}");
    }
}

async fn presence(office: &TestBooking) -> u64 {
    let path = format!("/api/events/{SAMPLE_EVENT}/presence");
    office.client.get(&path).await.expect(200).json["active"].as_u64().expect("a number")
}
