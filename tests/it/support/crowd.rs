//! Many visitors at their own pace over real sockets, and what they saw.
//!
//! Each polls when it was told to, goes to the next gate when one does not answer,
//! and writes down every exchange, so that the swarm's rules can judge the run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use usher::clock::{Clock as _, SystemClock};
use usher::domain::id::PlaceNumber;
use usher::domain::time::Timestamp;
use usher::swarm::check::{Limits, Verdict, check};
use usher::swarm::history::{Asked, Exchange, History, State, Status, Told, Track};

use super::client::Client;
use super::http1::Answer;
use super::raw::Raw;

/// Connections to each gate, at most.
const LANES: usize = 48;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(20);
/// Before a visitor without an answer tries the next gate.
const AGAIN: Duration = Duration::from_millis(300);

/// How the crowd behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// How long a visitor stays inside before it leaves; `None` = to the end.
    pub(crate) visit: Option<Duration>,
    /// Visitors that come within a second.
    pub(crate) rate: f64,
}

/// A visitor as it was last told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) number: Option<u64>,
    pub(crate) state: Option<State>,
    /// It has or had a place.
    pub(crate) stood: bool,
    /// It has left again.
    pub(crate) done: bool,
}

/// Something that no waiting visitor may get, and how often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    /// No answer at all.
    pub(crate) unanswered: u64,
    /// 503 with `Retry-After`.
    pub(crate) put_off: u64,
    /// Anything else that is no status.
    pub(crate) others: Vec<String>,
    /// Time to an answer, the longest.
    pub(crate) slowest: Duration,
}

/// A crowd under way.
pub(crate) struct Crowd {
    seen: Arc<Vec<Mutex<Seen>>>,
    troubles: Arc<Mutex<Troubles>>,
    stop: Arc<AtomicBool>,
    lanes: Vec<JoinHandle<Vec<(usize, Track)>>>,
    started_at: Timestamp,
}

struct Member {
    index: usize,
    client: Client,
    gate: usize,
    leaves_at: Option<Instant>,
    track: Track,
}

struct Lane {
    gates: Vec<SocketAddr>,
    open: Vec<Option<Raw>>,
    manners: Manners,
    clock: SystemClock,
    seen: Arc<Vec<Mutex<Seen>>>,
    troubles: Arc<Mutex<Troubles>>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    /// Sends `count` visitors to the gates by turns.
    pub(crate) fn start(gates: &[SocketAddr], count: usize, manners: Manners) -> Self {
        let seen: Arc<Vec<_>> = Arc::new((0..count).map(|_| Mutex::default()).collect());
        let troubles = Arc::new(Mutex::new(Troubles::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let began = Instant::now();
        let lanes = (0..LANES.min(count)).map(|lane| {
            let members = (lane..count).step_by(LANES).map(|index| Member {
                index,
                client: Client::new(gates[0]).with_tokens(),
                gate: index % gates.len(),
                leaves_at: None,
                track: Track::default(),
            });
            let lane = Lane {
                gates: gates.to_vec(),
                open: gates.iter().map(|_| None).collect(),
                manners,
                clock: SystemClock::new(),
                seen: Arc::clone(&seen),
                troubles: Arc::clone(&troubles),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(lane.run(members.collect(), began))
        });
        let lanes = lanes.collect();
        Self { seen, troubles, stop, lanes, started_at: SystemClock::new().now() }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.iter().map(|seen| *seen.lock()).collect()
    }

    pub(crate) fn troubles(&self) -> Troubles {
        self.troubles.lock().clone()
    }

    /// How many visitors are as wanted now.
    pub(crate) fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.seen.iter().filter(|seen| is(&seen.lock())).count()
    }

    /// Waits until everybody is as wanted.
    pub(crate) async fn until_all(&self, what: &str, within: Duration, is: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + within;
        while self.count(&is) < self.seen.len() {
            let odd = self.seen().into_iter().find(|seen| !is(seen));
            assert!(
                Instant::now() < deadline,
                "not all {what}: {} of {}, such as {odd:?}; {:?}",
                self.count(&is),
                self.seen.len(),
                self.troubles()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends everybody home; what they saw.
    pub(crate) async fn history(self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        let mut tracks: Vec<_> = (0..self.seen.len()).map(|_| Track::default()).collect();
        for lane in self.lanes {
            for (index, track) in lane.await.expect("no lane panics") {
                tracks[index] = track;
            }
        }
        History { tracks, started_at: self.started_at, ended_at: SystemClock::new().now() }
    }
}

/// What the swarm's rules say of a history. `unheard`: for so long a part of the
/// service may not know what another did.
pub(crate) fn judge(history: &History, capacity: u64, unheard: Duration) -> Verdict {
    let lag = Duration::from_secs(5) + unheard;
    let limits = Limits { capacity: Some(capacity), lag, in_order: true };
    check(history, &limits)
}

impl Lane {
    async fn run(mut self, mut members: Vec<Member>, began: Instant) -> Vec<(usize, Track)> {
        let comes = |m: &Member| began + Duration::from_secs_f64(m.index as f64 / self.manners.rate);
        let mut due: BinaryHeap<_> =
            members.iter().enumerate().map(|(i, m)| Reverse((comes(m), i))).collect();
        while let Some(Reverse((at, i))) = due.pop() {
            while Instant::now() < at && !self.stop.load(Ordering::Relaxed) {
                sleep_until(at.min(Instant::now() + Duration::from_millis(200))).await;
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if let Some(pause) = self.visit(&mut members[i]).await {
                due.push(Reverse((Instant::now() + pause, i)));
            }
        }
        members.into_iter().map(|member| (member.index, member.track)).collect()
    }

    /// One exchange; the pause until the next, `None` when the visitor is done.
    async fn visit(&mut self, member: &mut Member) -> Option<Duration> {
        let seen = *self.seen[member.index].lock();
        let leaves = member.leaves_at.is_some_and(|at| at <= Instant::now());
        let (asked, method, path) = match seen.number {
            _ if leaves => (Asked::Leave, "POST", "/queue/leave"),
            None => (Asked::Join, "POST", "/queue/join"),
            Some(_) => (Asked::Poll, "GET", "/queue/status"),
        };
        let (sent, sent_at) = (Instant::now(), self.clock.now());
        let answer = self.exchange(member, method, path).await;
        let mut troubles = self.troubles.lock();
        troubles.slowest = troubles.slowest.max(sent.elapsed());
        let (told, pause) = read(answer.as_ref(), &mut troubles);
        drop(troubles);
        let answered_at = self.clock.now();
        member.track.exchanges.push(Exchange { answered_at, told, ..Exchange::begun(sent_at, asked) });
        if let Some(answer) = &answer {
            member.client.remember(answer);
        } else {
            member.gate = (member.gate + 1) % self.gates.len();
        }
        let Told::Status(status) = told else { return Some(pause) };
        *self.seen[member.index].lock() = Seen {
            number: status.number.map(|number| number.0),
            state: Some(status.state),
            stood: seen.stood || status.number.is_some(),
            done: asked == Asked::Leave,
        };
        if asked == Asked::Leave {
            return None;
        }
        if status.state != State::Admitted {
            return Some(pause);
        }
        let visit = self.manners.visit?;
        let leaves_at = *member.leaves_at.get_or_insert(Instant::now() + visit);
        Some(leaves_at.saturating_duration_since(Instant::now()))
    }

    async fn exchange(&mut self, member: &Member, method: &str, path: &str) -> Option<Answer> {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        for (name, value) in member.client.credentials() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(if method == "POST" { "content-length: 0\r\n\r\n" } else { "\r\n" });
        // A connection that was idle may have been closed just now.
        for _ in 0..2 {
            let fresh = self.open[member.gate].is_none();
            if fresh {
                self.open[member.gate] = Raw::try_connect(self.gates[member.gate]).await;
            }
            let raw = self.open[member.gate].as_mut()?;
            raw.send(text.as_bytes()).await;
            let answer = raw.answer_within(PATIENCE, false).await;
            if answer.is_none() || raw.is_closed() || answer.as_ref().is_some_and(closes) {
                self.open[member.gate] = None;
            }
            if answer.is_some() || fresh {
                return answer;
            }
        }
        None
    }
}

fn closes(answer: &Answer) -> bool {
    answer.all("connection").contains(&"close")
}

fn read(answer: Option<&Answer>, troubles: &mut Troubles) -> (Told, Duration) {
    let Some(answer) = answer else {
        troubles.unanswered += 1;
        return (Told::Nothing, AGAIN);
    };
    let after = answer.all("retry-after").first().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    match answer.status {
        200 => {
            let status = status(&answer.json());
            (Told::Status(status), Duration::from_millis(u64::from(status.poll_after_ms.max(50))))
        }
        429 if answer.problem() == "too_early" => (Told::TooEarly, after.unwrap_or(AGAIN)),
        503 if after.is_some() => {
            troubles.put_off += 1;
            (Told::Trouble, after.unwrap_or(AGAIN))
        }
        other => {
            troubles.others.push(format!("{other} {}", answer.text()));
            (Told::Trouble, AGAIN)
        }
    }
}

fn status(body: &Value) -> Status {
    let number = |key: &str| body[key].as_u64();
    Status {
        state: serde_json::from_value(body["state"].clone()).expect("a state"),
        number: number("number").map(PlaceNumber),
        position: number("position"),
        poll_after_ms: number("poll_after_ms").and_then(|ms| u32::try_from(ms).ok()).unwrap_or(0),
        pass_expires_at: number("pass_expires_at").map(Timestamp::from_millis),
        degraded: body["degraded"] == true,
    }
}
