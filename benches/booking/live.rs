//! A live map that thousands watch while seats change: how late each change comes,
//! what the office spends, what a socket weighs.
//!
//! The seats change in the Redis that the office looks at, as by offices beside it; a
//! change counts from when it is asked for. One watcher reads what is in each delta;
//! the others note when it came. A snapshot is measured as it is on the wire.

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
use usher::booking::holds::{HoldStore as _, RedisHolds};
use usher::clock::{Clock as _, SystemClock};
use usher::domain::order::AccountId;
use usher::domain::seat::floor::Wanted;
use usher::domain::seat::{EventId, HoldId, SeatIndex};
use usher::redis::Redis;

use super::row;

type Failure = Box<dyn Error + Send + Sync>;

/// Asked for; holds that end later than the last begins thin it out a little.
const CHANGES_A_SECOND: u32 = 1_100;
const SEATS_OF_A_HOLD: u32 = 8;
/// In the hall that `benches/compare` makes.
const SEATS_OF_A_ROW: u32 = 100;
const SECONDS: u32 = 15;
/// For a change to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Not counted: connections are still warm from the handshake.
const WARM_UP: Duration = Duration::from_secs(3);

/// What the run is told by `benches/compare`.
pub(crate) struct Task {
    pub(crate) office: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) event: String,
    pub(crate) sockets: usize,
    /// Of the office's holds.
    pub(crate) redis: String,
}

/// When requests were sent, by seat and what it is then.
type Sent = HashMap<(String, bool), Instant>;

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
    let store = Arc::new(RedisHolds::new(Redis::connect_with(&task.redis, PATIENCE).await?, "usher-booking"));
    let event: EventId = task.event.parse()?;
    let mut watchers = vec![tokio::spawn(watch(open(task).await?, Arc::clone(&log), true))];
    // The first brings the hall into memory, and what that took to make is used by
    // half of the others: the second half is weighed.
    sleep(WARM_UP).await;
    let mut before = 0;
    for i in 1..task.sockets {
        if i == task.sockets / 2 {
            sleep(WARM_UP).await;
            before = resident_kb(task.pid)?;
        }
        watchers.push(tokio::spawn(watch(open(task).await?, Arc::clone(&log), false)));
    }
    sleep(WARM_UP).await;
    let (began, cpu) = (Instant::now(), cpu_seconds(task.pid)?);
    let holds = SECONDS * CHANGES_A_SECOND / SEATS_OF_A_HOLD / 2;
    let each = Duration::from_secs(SECONDS.into()) / holds;
    let mut pace = interval(each);
    let mut buyers = Vec::new();
    for n in 0..holds {
        pace.tick().await;
        let (store, event, log) = (Arc::clone(&store), event.clone(), Arc::clone(&log));
        buyers.push(tokio::spawn(async move { hold_and_return(&store, &event, n, &log).await }));
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
    // The rest read too slowly here, and were shown all seats instead.
    let skipped = 100.0 * (1.0 - late.len() as f64 / (told * expected) as f64);
    let ms = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
    row(
        &format!(
            "live map, {} sockets, {:.0} seat changes/s: delivered p99",
            task.sockets,
            told as f64 / took
        ),
        &format!("{:.0} ms", ms(0.99)),
        &format!("p50 {:.0} ms, the latest {:.0} ms; {skipped:.2} % by all seats instead", ms(0.5), ms(1.0)),
        None,
        "≤ 250 ms",
    );
    row("… CPU of the office", &format!("{:.2} cores", spent / took), "", None, "≤ 1");
    let each = after.saturating_sub(before) as f64 / (task.sockets - task.sockets / 2) as f64;
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
            asked.extend(sent.remove(&seat));
        }
        log.deltas.lock().insert(to, asked);
    }
    Ok(())
}

/// Holds the n-th eight seats, waits until that has surely been told, gives them back.
async fn hold_and_return(store: &RedisHolds, event: &EventId, n: u32, log: &Log) -> Result<(), Failure> {
    let seats: Vec<_> = (n * SEATS_OF_A_HOLD..).take(SEATS_OF_A_HOLD as usize).map(SeatIndex).collect();
    let note = |held| {
        let mut sent = log.sent.lock();
        for SeatIndex(seat) in &seats {
            let id = format!("A-{}-{}", seat / SEATS_OF_A_ROW + 1, seat % SEATS_OF_A_ROW + 1);
            sent.insert((id, held), Instant::now());
        }
    };
    let clock = SystemClock::new();
    let (id, owner) = (HoldId::of(event, u128::from(n + 1) << 32), AccountId::from_bits(u128::from(n + 1)));
    let until = clock.now() + Duration::from_secs(600);
    let wanted = Wanted { id, owner, seats: seats.clone(), until, cap: SEATS_OF_A_HOLD as usize };
    note(true);
    store.hold(event, wanted, clock.now()).await?;
    sleep(Duration::from_secs(1)).await;
    note(false);
    store.release(id, owner, clock.now()).await?;
    Ok(())
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
