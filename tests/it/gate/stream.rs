//! Large bodies stream through in both directions; the gate keeps none of them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;

const SIZE: usize = 100 << 20;
/// More than this would be the body, not buffers.
const GROWTH_KB: u64 = 60 * 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_go_up_and_down_in_flat_memory() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let client = gate.admitted().await;
    let before = gate.resident();
    let mut most = before;
    let mut stream = TcpStream::connect(gate.address()).await.expect("accepted");
    let lines = format!("Host: t.test\r\nCookie: {}\r\n", client.cookie());
    let head = format!("POST /upload HTTP/1.1\r\n{lines}Content-Length: {SIZE}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let piece = vec![b'u'; 1 << 20];
    for _ in 0..SIZE / piece.len() {
        stream.write_all(&piece).await.expect("sent");
        most = most.max(gate.resident());
    }
    let answer = read_until(&mut stream, SIZE.to_string().as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    let head = format!("GET /download/{SIZE} HTTP/1.1\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let head = read_until(&mut stream, b"\r\n\r\n").await;
    let body_at = head.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let mut got = head.len() - body_at;
    let mut buffer = vec![0; 1 << 20];
    while got < SIZE {
        let read = stream.read(&mut buffer).await.expect("it goes on");
        assert!(read > 0, "cut after {got} bytes");
        assert!(buffer[..read].iter().all(|byte| *byte == b'd'));
        got += read;
        most = most.max(gate.resident());
    }
    assert_eq!(got, SIZE);
    assert!(most < before + GROWTH_KB, "{before} KB grew to {most} KB");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_and_while_it_comes() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "[gate.limits]\nbody_bytes = 1000\n[[room]]").await;
    let mut client = gate.admitted().await;
    assert_eq!(client.post("/upload", &"x".repeat(1_000)).await.text(), "1000");
    let announced = client.post("/case", &"x".repeat(1_001)).await;
    assert_eq!((announced.status, announced.problem().as_str()), (413, "payload_too_large"));
    assert_eq!(gate.forwarded().await, 1, "the app never heard of it");
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_001, "x".repeat(1_001));
    let text = format!(
        "POST /case HTTP/1.1\r\nHost: t.test\r\nCookie: {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}",
        client.cookie()
    );
    let mut heard = crate::support::raw::exchange(gate.address(), text.as_bytes()).await;
    assert_eq!(heard.statuses(), [413]);
    assert!(heard.closes().await);
    assert!(app.seen_at("/case").iter().all(|seen| !seen.whole));
}

/// Reads until `end` was seen, and what came with it.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    while !bytes.windows(end.len()).any(|window| window == end) {
        let read = stream.read(&mut buffer).await.expect("it goes on");
        assert!(read > 0, "closed early: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
    bytes
}
