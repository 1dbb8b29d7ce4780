//! A live map that thousands watch while seats change: how late each change comes,
//! what the office spends, what a socket weighs.
//!
//! Buyers hold and give back over the API; a change counts from when its request is
//! sent. One watcher reads what is in each delta; the others note when it came. A
//! snapshot at the start is measured as it is on the wire.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep};
use tungstenite::protocol::frame::FrameHeader;

use super::row;

type Failure = Box<dyn Error + Send + Sync>;

const CHANGES_A_SECOND: u32 = 1_000;
const SEATS_OF_A_HOLD: u32 = 8;
const SECONDS: u32 = 15;
/// Not counted: connections are still warm from the handshake.
const WARM_UP: Duration = Duration::from_secs(3);

/// What the run is told by `benches/compare`.
pub(crate) struct Task {
    pub(crate) office: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) event: String,
    pub(crate) sockets: usize,
    /// A file of tokens, one a line: buyers of their own.
    pub(crate) tokens: String,
}

/// When requests were sent, by seat and what it is then.
type Sent = HashMap<(String, bool), Vec<Instant>>;

#[derive(Default)]
struct Log {
    sent: Mutex<Sent>,
    /// Each delta's changes, read by the first watcher: version to when they were asked for.
    deltas: Mutex<HashMap<u64, Vec<Instant>>>,
    snapshot_bytes: Mutex<usize>,
}

/// Three rows.
pub(crate) fn live(task: &Task) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(task))
}

async fn run(task: &Task) -> Result<(), Failure> {
    let log = Arc::new(Log::default());
    let tokens: Vec<_> = std::fs::read_to_string(&task.tokens)?.lines().map(str::to_owned).collect();
    let before = resident_kb(task.pid)?;
    let mut watchers = Vec::new();
    for i in 0..task.sockets {
        let socket = open(task).await?;
        watchers.push(tokio::spawn(watch(socket, Arc::clone(&log), i == 0)));
    }
    sleep(WARM_UP).await;
    let (began, cpu) = (Instant::now(), cpu_seconds(task.pid)?);
    let holds = (SECONDS * CHANGES_A_SECOND / SEATS_OF_A_HOLD / 2) as usize;
    let each = Duration::from_secs(SECONDS.into()) / holds as u32;
    let mut pace = interval(each);
    let mut buyers = Vec::new();
    for n in 0..holds {
        pace.tick().await;
        let token = tokens[n % tokens.len()].clone();
        let (office, event, log) = (task.office, task.event.clone(), Arc::clone(&log));
        buyers.push(tokio::spawn(async move { hold_and_return(office, &event, &token, n, &log).await }));
    }
    for bought in try_join_all(buyers).await? {
        bought?;
    }
    let took = began.elapsed().as_secs_f64();
    let spent = cpu_seconds(task.pid)? - cpu;
    let after = resident_kb(task.pid)?;
    sleep(Duration::from_secs(2)).await;
    let deltas = std::mem::take(&mut *log.deltas.lock());
    let mut late = Histogram::<u64>::new(3)?;
    let mut expected = 0;
    let told: u64 = deltas.values().map(|asked| asked.len() as u64).sum();
    for watcher in watchers {
        watcher.abort();
        expected += 1;
    }
    for (version, came) in ARRIVALS.lock().drain(..) {
        for asked in deltas.get(&version).into_iter().flatten() {
            late.record(u64::try_from(came.saturating_duration_since(*asked).as_micros())?)?;
        }
    }
    if late.len() != told * expected {
        return Err(format!("{} of {} deliveries", late.len(), told * expected).into());
    }
    let ms = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
    row(
        &format!(
            "live map, {} sockets, {:.0} seat changes/s: delivered p99",
            task.sockets,
            told as f64 / took
        ),
        &format!("{:.0} ms", ms(0.99)),
        &format!("p50 {:.0} ms, all within {:.0} ms", ms(0.5), ms(1.0)),
        None,
        "≤ 250 ms",
    );
    row("… CPU of the office, holds included", &format!("{:.2} cores", spent / took), "", None, "≤ 1");
    let each = (after.saturating_sub(before)) as f64 / task.sockets as f64;
    row("… resident memory a socket", &format!("{each:.1} KB"), "", None, "≤ 20 KB");
    let snapshot = *log.snapshot_bytes.lock() as f64 / 1_024.0;
    row("live map, snapshot of 50,000 seats on the wire", &format!("{snapshot:.1} KB"), "", None, "≤ 20 KB");
    Ok(())
}

/// When each delta came, of all watchers.
static ARRIVALS: Mutex<Vec<(u64, Instant)>> = Mutex::new(Vec::new());

async fn open(task: &Task) -> Result<TcpStream, Failure> {
    let mut socket = TcpStream::connect(task.office).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "GET /api/events/{}/live HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        task.event
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await?);
    }
    if answer.starts_with(b"HTTP/1.1 101") { Ok(socket) } else { Err("no socket".into()) }
}

/// Reads frames, answers pings, notes deltas; for ever.
async fn watch(mut socket: TcpStream, log: Arc<Log>, reads: bool) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err("the office closed a socket".into());
        }
        let came = Instant::now();
        loop {
            let mut cursor = std::io::Cursor::new(&bytes[..]);
            let Some((_, len)) = FrameHeader::parse(&mut cursor)? else { break };
            let (from, len) = (usize::try_from(cursor.position())?, usize::try_from(len)?);
            if bytes.len() < from + len {
                break;
            }
            let payload = &bytes[from..from + len];
            if bytes[0] == 0x89 {
                let mut pong = vec![0x8a, 0x80 | bytes[1], 0, 0, 0, 0];
                pong.extend_from_slice(payload);
                socket.write_all(&pong).await?;
            } else if payload.starts_with(br#"{"type":"delta""#) {
                hear(payload, came, &log, reads)?;
            } else if payload.starts_with(br#"{"type":"snapshot""#) {
                *log.snapshot_bytes.lock() = from + len;
            }
            bytes.drain(..from + len);
        }
    }
}

fn hear(payload: &[u8], came: Instant, log: &Log, reads: bool) -> Result<(), Failure> {
    let text = std::str::from_utf8(payload)?;
    let to =
        text.split(r#""to":"#).nth(1).and_then(|rest| rest.split(',').next()).ok_or("a delta")?.parse()?;
    ARRIVALS.lock().push((to, came));
    if reads {
        let said: Value = serde_json::from_str(text)?;
        let mut sent = log.sent.lock();
        let mut asked = Vec::new();
        for change in said["seats"].as_array().ok_or("a list")? {
            let seat = (change[0].as_str().ok_or("an id")?.to_owned(), change[1] == "HELD");
            // Each seat is held once and given back once.
            asked.extend(sent.remove(&seat).into_iter().flatten());
        }
        log.deltas.lock().insert(to, asked);
    }
    Ok(())
}

/// Holds the n-th eight seats, waits until that has surely been told, gives them back.
async fn hold_and_return(
    office: SocketAddr,
    event: &str,
    token: &str,
    n: usize,
    log: &Log,
) -> Result<(), Failure> {
    let first = n * SEATS_OF_A_HOLD as usize;
    let seats: Vec<_> = (first..first + SEATS_OF_A_HOLD as usize)
        .map(|i| format!("A-{}-{}", i / 100 + 1, i % 100 + 1))
        .collect();
    let note = |held| {
        let mut sent = log.sent.lock();
        for seat in &seats {
            sent.entry((seat.clone(), held)).or_default().push(Instant::now());
        }
    };
    let body = serde_json::json!({ "seats": seats }).to_string();
    note(true);
    let held = ask(office, token, &format!("POST /api/events/{event}/holds"), &body).await?;
    let hold: Value = serde_json::from_str(held.rsplit("\r\n\r\n").next().unwrap_or_default())?;
    sleep(Duration::from_millis(1_000)).await;
    note(false);
    let path = format!("DELETE /api/holds/{}", hold["hold_id"].as_str().ok_or(held)?);
    ask(office, token, &path, "").await.map(drop)
}

async fn ask(office: SocketAddr, token: &str, what: &str, body: &str) -> Result<String, Failure> {
    let mut socket = TcpStream::connect(office).await?;
    let head = format!(
        "{what} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 20") { Ok(answer) } else { Err(answer.into()) }
}

fn resident_kb(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn cpu_seconds(pid: u32) -> Result<f64, Failure> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // User and system time in ticks of 1/100 s.
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
