//! Answers of an app that is broken, careless or hostile: through the fast
//! lane and through hyper they lead to the same, and nobody ever hears what
//! was meant for somebody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::gate::{TestGate, room};
use crate::support::http1::{Answer, split_head};
use crate::support::raw::{DEADLINE, Raw};

/// How a request is made to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Fast,
    /// Through hyper: a request with a length is not plain.
    Ordinary,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// The visitor gets this, whole.
    Whole(u16, &'static str),
    /// 502.
    BadGateway,
    /// The visitor sees that it is cut, or gets a 502.
    Cut,
}

/// What the app sends, and whether it closes then.
struct Case {
    name: &'static str,
    method: &'static str,
    pieces: Vec<Vec<u8>>,
    closes: bool,
    expect: Expect,
    /// Whether the connection may be used for another request.
    spoils: bool,
}

fn case(name: &'static str, answer: impl Into<Vec<u8>>, expect: Expect) -> Case {
    let pieces = vec![answer.into()];
    Case { name, method: "GET", pieces, closes: false, expect, spoils: true }
}

impl Case {
    fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    fn keeps(self) -> Self {
        Self { spoils: false, ..self }
    }

    fn by_head(self) -> Self {
        Self { method: "HEAD", ..self }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const MINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Whose: another\r\n\r\nanother!";

fn cases() -> Vec<Case> {
    use Expect::{BadGateway, Cut, Whole};
    let ok = |rest: &str| format!("{OK}{rest}");
    let many = "A: b\r\n".repeat(101);
    let huge = format!("A: {}\r\n", "b".repeat(300_000));
    let mut slow = case("head byte by byte", "", Whole(200, "hello")).keeps();
    slow.pieces = ok("Content-Length: 5\r\n\r\nhello").bytes().map(|byte| vec![byte]).collect();
    vec![
        case("plain", ok("Content-Length: 5\r\n\r\nhello"), Whole(200, "hello")).keeps(),
        case("empty", ok("Content-Length: 0\r\n\r\n"), Whole(200, "")).keeps(),
        case("bare LF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", Whole(200, "hello")).keeps(),
        slow,
        case("interim", format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{OK}Content-Length: 5\r\n\r\nhello"), Whole(200, "hello")).keeps(),
        case("chunked", ok("Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Whole(200, "hello")).keeps(),
        case("trailers", ok("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\nUsher-Command: complete\r\n\r\n"), Whole(200, "hello")).keeps(),
        case("until close", ok("\r\nhello"), Whole(200, "hello")).closing(),
        case("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
        case("Connection: close", ok("Connection: close\r\nContent-Length: 5\r\n\r\nhello"), Whole(200, "hello")),
        case("HEAD with length", ok("Content-Length: 5\r\n\r\n"), Whole(200, "")).by_head().keeps(),
        case("HEAD chunked", ok("Transfer-Encoding: chunked\r\n\r\n"), Whole(200, "")).by_head().keeps(),
        case("HEAD with a body", ok("Content-Length: 5\r\n\r\nhello"), Whole(200, "")).by_head(),
        case("204", "HTTP/1.1 204 No Content\r\n\r\n", Whole(204, "")).keeps(),
        case("304 with length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Whole(304, "")).keeps(),
        case("204 with a body", format!("HTTP/1.1 204 No Content\r\nContent-Length: 8\r\n\r\n{MINE}"), Whole(204, "")),
        case("304 with a body", format!("HTTP/1.1 304 Not Modified\r\n\r\n{MINE}"), Whole(304, "")),
        case("a second answer", ok(&format!("Content-Length: 5\r\n\r\nhello{MINE}")), Whole(200, "hello")),
        case("a second answer after chunks", ok(&format!("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{MINE}")), Whole(200, "hello")),
        case("CL.TE", ok(&format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{MINE}")), BadGateway),
        case("TE.CL", ok(&format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{MINE}")), BadGateway),
        case("HEAD CL.TE", ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), BadGateway).by_head(),
        case("TE twice", ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), BadGateway),
        case("TE gzip, chunked", ok("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), BadGateway),
        case("TE identity", ok("Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"), BadGateway),
        case("TE on 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BadGateway),
        case("two lengths", ok("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), BadGateway),
        case("a length twice", ok("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), BadGateway),
        case("a list of lengths", ok("Content-Length: 5, 5\r\n\r\nhello"), BadGateway),
        case("a signed length", ok("Content-Length: +5\r\n\r\nhello"), BadGateway),
        case("space before colon", ok("Content-Length : 5\r\n\r\nhello"), BadGateway),
        case("folded", ok("A: b\r\n Content-Length: 5\r\n\r\nhello"), BadGateway),
        case("101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", BadGateway),
        case("too many fields", ok(&format!("{many}Content-Length: 5\r\n\r\nhello")), BadGateway),
        case("a huge field", ok(&format!("{huge}Content-Length: 5\r\n\r\nhello")), BadGateway),
        case("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n", BadGateway),
        case("nothing", "", BadGateway).closing(),
        case("half a head", "HTTP/1.1 200 OK\r\nContent-Le", BadGateway).closing(),
        case("short", ok("Content-Length: 9\r\n\r\nhello"), Cut).closing(),
        case("short chunks", ok("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), Cut).closing(),
        case("a bad chunk", ok("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"), Cut),
        case("a bad chunk size", ok("Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"), Cut),
    ]
}

/// An app that sends what a case says to `/case/N`, and to any other path its own name.
struct Careless {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cases: Vec<Case>,
    connections: AtomicU64,
    /// Which connection each target came on.
    seen: Mutex<Vec<(u64, String)>>,
    /// Sent on every connection when it is told to.
    late: tokio::sync::Notify,
    told: tokio::sync::Notify,
}

impl Careless {
    async fn start(cases: Vec<Case>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared { cases, ..Shared::default() });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepting.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, number, Arc::clone(&accepting)));
            }
        });
        Self { address, shared }
    }

    fn connection_of(&self, target: &str) -> Option<u64> {
        let seen = self.shared.seen.lock();
        seen.iter().rev().find(|(_, seen)| seen == target).map(|(connection, _)| *connection)
    }
}

async fn serve(mut stream: TcpStream, number: u64, shared: Arc<Shared>) {
    let mut unread = Vec::new();
    let _ = stream.set_nodelay(true);
    loop {
        while let Some((head, at)) = split_head(&unread) {
            let head = String::from_utf8_lossy(head).into_owned();
            unread.drain(..at);
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            shared.seen.lock().push((number, target.clone()));
            let case = target
                .strip_prefix("/case/")
                .and_then(|n| shared.cases.get(n.split('?').next()?.parse::<usize>().ok()?));
            let (pieces, closes) = match case {
                Some(case) => (case.pieces.clone(), case.closes),
                None => {
                    let text = format!("{OK}Content-Length: {}\r\n\r\n{target}", target.len());
                    (vec![text.into_bytes()], false)
                }
            };
            for piece in &pieces {
                let _ = stream.write_all(piece).await;
                if pieces.len() > 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            if closes {
                return;
            }
        }
        let mut buffer = [0; 4_096];
        tokio::select! {
            read = stream.read(&mut buffer) => match read {
                Ok(read) if read > 0 => unread.extend_from_slice(&buffer[..read]),
                _ => return,
            },
            () = shared.late.notified() => {
                let _ = stream.write_all(MINE.as_bytes()).await;
                shared.told.notify_one();
            }
        }
    }
}

async fn ask(to: SocketAddr, cookie: &str, lane: Lane, method: &str, target: &str) -> Option<Answer> {
    let length = if lane == Lane::Ordinary { "Content-Length: 0\r\n" } else { "" };
    let text = format!("{method} {target} HTTP/1.1\r\nHost: t.test\r\nCookie: {cookie}\r\n{length}\r\n");
    let mut raw = Raw::connect(to).await;
    raw.send(text.as_bytes()).await;
    raw.answer_within(DEADLINE, method == "HEAD").await
}

/// What a visitor hears who asks for its own path; an error when it is not its own.
async fn own_answer(to: SocketAddr, cookie: &str, lane: Lane, target: &str) -> Result<(), String> {
    let answer = ask(to, cookie, lane, "GET", target).await.ok_or("no answer")?;
    match answer.status == 200 && answer.text() == target {
        true => Ok(()),
        false => Err(format!("{target} heard {} {}", answer.status, answer.text())),
    }
}

fn check(id: &str, expect: Expect, answer: Option<&Answer>) {
    let heard = answer.map(|answer| (answer.status, answer.whole, answer.text()));
    match (expect, &heard) {
        (Expect::Whole(status, body), Some((got, true, text))) if *got == status && text == body => {}
        (Expect::BadGateway, Some((502, true, text))) if id.starts_with("HEAD") => assert_eq!(text, ""),
        (Expect::BadGateway | Expect::Cut, Some((502, true, _))) => {
            assert_eq!(answer.expect("heard").problem(), "upstream_unreachable", "{id}");
        }
        (Expect::Cut, None | Some((200, false, _))) => {}
        _ => panic!("{id}: {expect:?} expected, heard {heard:?}"),
    }
}

async fn world(cases: Vec<Case>) -> (Careless, TestGate, String) {
    let app = Careless::start(cases).await;
    let gate = TestGate::start(&room(&format!("http://{}", app.address), "")).await;
    let cookie = gate.admitted().await.cookie();
    (app, gate, cookie)
}

#[tokio::test]
async fn both_lanes_do_the_same_with_every_answer_and_mix_up_none() {
    let (app, mut gate, cookie) = world(cases()).await;
    for (i, case) in app.shared.cases.iter().enumerate() {
        for lane in [Lane::Fast, Lane::Ordinary] {
            let (id, target) = (format!("{} by {lane:?}", case.name), format!("/case/{i}?{lane:?}"));
            let answer = ask(gate.address(), &cookie, lane, case.method, &target).await;
            check(&id, case.expect, answer.as_ref());
            let whose = answer.iter().flat_map(|answer| &answer.fields).any(|(name, _)| name == "x-whose");
            assert!(!whose, "{id}: a part of another answer");
            for n in 0..3 {
                let next = format!("/next/{i}/{lane:?}/{n}");
                assert_eq!(own_answer(gate.address(), &cookie, lane, &next).await, Ok(()), "{id}");
                let again = app.connection_of(&next) == app.connection_of(&target);
                assert!(!(case.spoils && again), "{id}: its connection was used again");
            }
        }
    }
    let [fast, ordinary] = ["Fast", "Ordinary"].map(|lane| app.connection_of(&format!("/next/0/{lane}/2")));
    assert!(fast.is_some() && fast != ordinary, "each way has connections of its own");
    assert!(gate.is_well(), "{}", gate.log());
}

#[tokio::test]
async fn what_an_app_says_unasked_is_nobodys_answer() {
    let (app, gate, cookie) = world(Vec::new()).await;
    let to = gate.address();
    for round in 0..20 {
        assert_eq!(own_answer(to, &cookie, Lane::Fast, &format!("/before/{round}")).await, Ok(()));
        // On whichever connections are open; each is told by one of these.
        app.shared.late.notify_waiters();
        tokio::time::timeout(DEADLINE, app.shared.told.notified()).await.expect("one was open");
        assert_eq!(own_answer(to, &cookie, Lane::Fast, &format!("/after/{round}")).await, Ok(()));
    }
}

/// A proxy with the bug: it keeps one connection to the app, and what was left
/// in it is the next answer.
async fn mixing_up(app: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut upstream = TcpStream::connect(app).await.expect("the app is there");
        let mut left = Vec::new();
        while let Ok((mut visitor, _)) = listener.accept().await {
            let mut request = vec![0; 4_096];
            let read = visitor.read(&mut request).await.unwrap_or(0);
            let _ = upstream.write_all(&request[..read]).await;
            loop {
                if let Some((_, taken)) = Answer::take(&left, false, false) {
                    let _ = visitor.write_all(&left.drain(..taken).collect::<Vec<_>>()).await;
                    break;
                }
                if upstream.read_buf(&mut left).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_proxy_that_uses_a_spoiled_connection_again_is_caught() {
    let app = Careless::start(cases()).await;
    let proxy = mixing_up(app.address).await;
    let at = app.shared.cases.iter().position(|case| case.name == "a second answer").expect("there is one");
    let answer = ask(proxy, "", Lane::Fast, "GET", &format!("/case/{at}")).await;
    check("the first is right", Expect::Whole(200, "hello"), answer.as_ref());
    let caught = own_answer(proxy, "", Lane::Fast, "/next").await;
    assert_eq!(caught, Err("/next heard 200 another!".to_owned()));
}
