//! Who reads slowly or never is given little, and in the end the whole picture.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::viewer_of;
use crate::support::booking::{Database, TestBooking};
use crate::support::http::Client;
use crate::support::viewer::Viewer;

/// Bytes that may be under way to one who does not answer: 64 KiB, and a last batch
/// that was begun below that.
const MOST: usize = 128 * 1_024;
const SILENT: usize = 100;

/// A socket after its handshake.
pub(super) async fn silent(server: std::net::SocketAddr, event: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server).await.expect("connects");
    let head = format!(
        "GET /api/events/{event}/live HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    socket
}

/// What is sent until it is `enough`, and then all until nothing comes for a while.
async fn read(socket: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = vec![0; 65_536];
    loop {
        let patience = Duration::from_millis(if enough(&all) { 500 } else { 60_000 });
        match tokio::time::timeout(patience, socket.read(&mut some)).await {
            Ok(Ok(n)) if n > 0 => all.extend_from_slice(&some[..n]),
            _ => return all,
        }
    }
}

/// The payload of the last ping: eight bytes.
fn last_ping(all: &[u8]) -> [u8; 8] {
    let at = all.windows(2).rposition(|two| two == [0x89, 8]).expect("a ping");
    all[at + 2..at + 10].try_into().expect("eight bytes")
}

/// An event on sale whose hundred seats have long names, so that a change is many bytes.
pub(super) fn wide(now_ms: u64) -> Value {
    let name = "N".repeat(30);
    json!({"title": "T", "venue": "V", "starts_at": now_ms + 86_400_000_000, "sale_opens_at": now_ms,
        "currency": "KRW",
        "sections": [{"name": name, "kind": "seated", "price": 1, "rows": [{"row": 1, "seats": 100}]}]})
}

/// The ids of an event's seats.
pub(super) async fn ids(client: &Client, event: &str) -> Vec<String> {
    let list = super::list_of(client, event).await;
    let seats = list["seats"].as_array().expect("a list").iter();
    seats.map(|seat| seat["id"].as_str().expect("a text").to_owned()).collect()
}

/// Holds all seats of the event and gives them back until those who look have been
/// told so many bytes, by the ids of the seats alone; `viewer` sees all of it.
pub(super) async fn stir(fan: &Client, event: &str, viewer: &mut Viewer, bytes: usize) {
    let ids = ids(fan, event).await;
    let mut told = 0;
    while told < bytes {
        let hold = fan.post(&format!("/api/events/{event}/holds"), json!({"seats": ids})).await.expect(201);
        viewer.until_seat(&ids[0], "HELD").await;
        fan.delete(&format!("/api/holds/{}", hold.text("hold_id"))).await.expect(204);
        viewer.until_seat(&ids[0], "AVAILABLE").await;
        told += ids.len() * (2 * ids[0].len() + "[],HELD[],AVAILABLE".len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_is_sent_little_and_then_shown_all_seats() {
    let office = TestBooking::with(Database::Memory, |settings| {
        settings.hold_max_seats = 100;
        settings.tickets_per_account = 1_000;
    })
    .await
    .expect("in memory");
    let event = office.admin().await.post("/api/events", wide(office.now_ms())).await.expect(201).text("id");
    let mut sockets = Vec::new();
    for _ in 0..SILENT {
        sockets.push(silent(office.client.server(), &event).await);
    }
    let mut innocent = viewer_of(&office.client, &event).await;
    let fan = office.fan(0).await;
    stir(&fan, &event, &mut innocent, MOST * 3 / 2).await;
    let slow = |all: &[u8]| all.len() >= 64 * 1_024;
    let sent = join_all(sockets.iter_mut().map(|socket| read(socket, slow))).await;
    for all in &sent {
        assert!(all.len() <= MOST, "{} bytes for one who reads nothing", all.len());
        assert!(slow(all), "only {} bytes: it was not slow yet", all.len());
    }
    // The answer to the ping, masked with nothing.
    let mut pong = vec![0x8a, 0x88, 0, 0, 0, 0];
    pong.extend_from_slice(&last_ping(&sent[0]));
    sockets[0].write_all(&pong).await.expect("writes");
    let snapshot = |all: &[u8]| String::from_utf8_lossy(all).contains(r#"{"type":"snapshot""#);
    let next = read(&mut sockets[0], snapshot).await;
    assert!(snapshot(&next), "{next:?}");
    super::assert_same_of(&mut innocent, &office.client, &event).await;
}
