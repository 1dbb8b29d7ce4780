//! Live maps over real sockets.

mod bad;
mod follow;
mod gate;
mod offices;
mod seats;
mod slow;

use serde_json::Value;
use usher::booking::SAMPLE_EVENT;

use crate::support::booking::TestBooking;
use crate::support::http::Client;
use crate::support::viewer::Viewer;

async fn list_of(client: &Client, event: &str) -> Value {
    client.get(&format!("/api/events/{event}/seats")).await.expect(200).json
}

async fn list(client: &Client) -> Value {
    list_of(client, SAMPLE_EVENT).await
}

/// A live map of the event that knows its list of seats.
async fn viewer_of(client: &Client, event: &str) -> Viewer {
    let viewer = Viewer::open(client.server(), event, &client.headers).await.expect("opens");
    viewer.knows(&list_of(client, event).await)
}

async fn viewer(client: &Client) -> Viewer {
    viewer_of(client, SAMPLE_EVENT).await
}

/// What the viewer sees is what the list of seats says, once it has all that the
/// list has.
async fn assert_same_of(viewer: &mut Viewer, client: &Client, event: &str) {
    let list = list_of(client, event).await;
    let version = list["version"].as_u64().expect("a number");
    viewer.until(|viewer| viewer.version >= Some(version)).await;
    assert_eq!(viewer.version, Some(version), "nothing changes meanwhile");
    viewer.read_list(&list);
    for seat in list["seats"].as_array().expect("a list") {
        let id = seat["id"].as_str().expect("a text");
        assert_eq!(seat["status"], viewer.seat(id), "{id} at {version}");
    }
}

async fn assert_same(viewer: &mut Viewer, client: &Client) {
    assert_same_of(viewer, client, SAMPLE_EVENT).await;
}

async fn presence(office: &TestBooking) -> u64 {
    let path = format!("/api/events/{SAMPLE_EVENT}/presence");
    office.client.get(&path).await.expect(200).json["active"].as_u64().expect("a number")
}
