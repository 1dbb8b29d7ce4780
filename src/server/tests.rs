//! Deadlines as a real HTTP/2 client meets them, and parking over HTTP/1.

use http_body_util::{BodyExt as _, Either, Empty, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use tokio::task::JoinHandle;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::clock::SystemClock;

const IDLE: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(60);
/// What a run may stand still without missing a deadline of these tests.
const MOMENT: Duration = Duration::from_millis(50);

/// Answers with a page at once, or after twice the idle timeout.
struct Pages;

/// Never has a frame to give, like a stream of events with none to tell.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

impl Handler for Pages {
    type Body = Either<Full<Bytes>, Silence>;
    type Relay = std::convert::Infallible;

    async fn handle(self: &Arc<Self>, _: SocketAddr, request: Request<Incoming>) -> Response<Self::Body> {
        if request.uri().path() == "/silent" {
            return Response::new(Either::Right(Silence));
        }
        Response::new(Either::Left(Full::from(vec![b'p'; 200_000])))
    }
}

/// Serves HTTP/2 on `far` until it ends.
fn serve(far: tokio::io::DuplexStream, idle_timeout: Duration) -> JoinHandle<()> {
    let bounds = Bounds { head_timeout: IDLE / 6, idle_timeout, ..Bounds::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let connections = Connections::new(None, None);
    let app = HttpApp::new(Arc::new(Pages), bounds, None, connections, clock);
    tokio::spawn(async move {
        let (_stays, shutdown) = tokio::sync::watch::channel(false);
        app.serve_http2(far, SocketAddr::from(([127, 0, 0, 1], 1)), &shutdown).await;
    })
}

/// A served connection: its client, the client's side, and the server's.
async fn connect(client: &Builder<TokioExecutor>) -> (Client, JoinHandle<hyper::Result<()>>, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let server = serve(far, IDLE);
    let (sender, connection) =
        client.handshake(hyper_util::rt::TokioIo::new(near)).await.expect("a connection");
    (sender, tokio::spawn(connection), server)
}

type Client = SendRequest<Empty<Bytes>>;

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    builder
}

async fn get(client: &mut Client, path: &str) -> Response<Incoming> {
    let request = Request::get(format!("http://t.test{path}")).body(Empty::new()).expect("a request");
    client.send_request(request).await.expect("an answer")
}

/// Runs a scenario that has to be in time; one that failed counts only when
/// nothing stood still meanwhile.
async fn in_time<F: Future<Output = ()> + Send + 'static>(scenario: fn() -> F) {
    let clock = SystemClock::new();
    for _ in 0..50 {
        let run = tokio::spawn(scenario());
        let mut stood_still = Duration::ZERO;
        while !run.is_finished() {
            let before = clock.monotonic();
            tokio::time::sleep(MOMENT / 5).await;
            stood_still = stood_still.max(clock.monotonic() - before);
        }
        match run.await {
            Ok(()) => return,
            Err(_) if stood_still > MOMENT => {}
            Err(why) => std::panic::resume_unwind(why.into_panic()),
        }
    }
    panic!("this machine never runs long enough");
}

#[tokio::test]
async fn a_peer_that_gives_no_window_is_cut() {
    in_time(|| async {
        let (mut client, _connection, server) = connect(builder().initial_stream_window_size(0)).await;
        let mut answers = Vec::new();
        for _ in 0..3 {
            answers.push(get(&mut client, "/page").await);
        }
        tokio::time::timeout(LONG, server).await.expect("cut").expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn an_answer_whose_next_piece_takes_long_goes_on() {
    in_time(|| async {
        let (mut client, _connection, server) = connect(&builder()).await;
        let _answer = get(&mut client, "/silent").await;
        tokio::time::sleep(IDLE * 3).await;
        assert!(!server.is_finished());
        let page = get(&mut client, "/page").await.into_body().collect().await.expect("a whole page");
        assert_eq!(page.to_bytes().len(), 200_000);
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_lives_on_pings_and_is_ended_with_a_goodbye() {
    in_time(|| async {
        let mut pinging = builder();
        pinging.keep_alive_interval(IDLE / 12).keep_alive_while_idle(true);
        let (mut client, connection, server) = connect(&pinging).await;
        for _ in 0..2 {
            tokio::time::sleep(IDLE / 2).await;
            let page = get(&mut client, "/page").await.into_body().collect().await.expect("a whole page");
            assert_eq!(page.to_bytes().len(), 200_000);
        }
        tokio::time::timeout(LONG, server).await.expect("ended").expect("no panic");
        let goodbye = tokio::time::timeout(LONG, connection).await.expect("ended").expect("no panic");
        assert!(goodbye.is_ok(), "{goodbye:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_nothing_at_all_is_cut_after_the_time_of_a_head() {
    let (_silent, far) = tokio::io::duplex(1 << 20);
    let server = serve(far, LONG * 60);
    tokio::time::timeout(LONG, server).await.expect("cut").expect("no panic");
}

/// Says who answers: hyper's way or the parked one.
#[derive(Default)]
struct Ways {
    at_once: std::sync::atomic::AtomicU64,
    /// Told to drain with each answer of the latter.
    drain: Option<tokio::sync::watch::Sender<bool>>,
}

impl Handler for Ways {
    type Body = Full<Bytes>;
    type Relay = std::convert::Infallible;

    async fn handle(self: &Arc<Self>, _: SocketAddr, _: Request<Incoming>) -> Response<Self::Body> {
        Response::new(Full::from("by hyper"))
    }

    fn at_once(
        self: &Arc<Self>,
        _: SocketAddr,
        request: &PlainRequest<'_>,
        now: Timestamp,
        answer: &mut Vec<u8>,
    ) -> AtOnce<Self::Relay> {
        if request.target != "/parked" {
            return AtOnce::Later;
        }
        self.at_once.fetch_add(1, Ordering::Relaxed);
        if let Some(drain) = &self.drain {
            drain.send_replace(true);
        }
        write_answer(&Response::new(Bytes::from_static(b"parked")), false, now, answer);
        AtOnce::Answered
    }
}

async fn ask(near: &mut tokio::io::DuplexStream, path: &str, body: &str) -> bool {
    near.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await.expect("written");
    let mut heard = Vec::new();
    let whole = async {
        while !heard.ends_with(body.as_bytes()) {
            if near.read_buf(&mut heard).await.expect("read") == 0 {
                return false;
            }
        }
        heard.starts_with(b"HTTP/1.1 200 OK\r\n")
    };
    tokio::time::timeout(LONG, whole).await.expect("in time")
}

/// Serves HTTP/1 on `far` until it ends or `drain` is told.
fn serve_parked<I>(far: I, ways: &Arc<Ways>, drain: &tokio::sync::watch::Sender<bool>) -> JoinHandle<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let connections = Connections::new(None, None);
    let app = HttpApp::new(Arc::clone(ways), Bounds::default(), None, connections, clock);
    let shutdown = drain.subscribe();
    tokio::spawn(async move {
        app.serve_http1(far, SocketAddr::from(([127, 0, 0, 1], 1)), &shutdown).await;
    })
}

#[tokio::test]
async fn a_connection_that_asked_for_an_upgrade_stays_open_when_others_are_parked() {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let (drain, _) = tokio::sync::watch::channel(false);
    let _server = serve_parked(far, &Arc::new(Ways::default()), &drain);
    let upgrade = b"GET /other HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n";
    near.write_all(upgrade).await.expect("written");
    let mut heard = vec![0; 4_096];
    assert!(near.read(&mut heard).await.is_ok_and(|read| read > 0), "answered");
    // It would have been parked twice over by then.
    tokio::time::sleep(io::PARK_AFTER * 3).await;
    assert!(ask(&mut near, "/other", "by hyper").await);
}

/// A stream that remembers whether it was shut down, as TLS is told to say goodbye.
struct Polite {
    stream: tokio::io::DuplexStream,
    shut: Arc<std::sync::atomic::AtomicBool>,
}

impl AsyncRead for Polite {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Polite {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.shut.store(true, Ordering::Relaxed);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_parked_connection_says_goodbye_when_it_is_drained() {
    let (mut near, stream) = tokio::io::duplex(1 << 16);
    let shut = Arc::<std::sync::atomic::AtomicBool>::default();
    let (drain, _) = tokio::sync::watch::channel(false);
    let polite = Polite { stream, shut: Arc::clone(&shut) };
    let server = serve_parked(polite, &Arc::new(Ways::default()), &drain);
    assert!(ask(&mut near, "/parked", "parked").await);
    drain.send(true).expect("it listens");
    assert_eq!(near.read(&mut [0]).await.expect("no reset"), 0);
    tokio::time::timeout(LONG, server).await.expect("ended").expect("no panic");
    assert!(shut.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_answer_that_is_not_sent_yet_is_not_lost_to_a_drain() {
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let (drain, _) = tokio::sync::watch::channel(false);
    let ways = Ways { drain: Some(drain.clone()), ..Ways::default() };
    let server = serve_parked(far, &Arc::new(ways), &drain);
    assert!(ask(&mut near, "/parked", "parked").await);
    assert_eq!(near.read(&mut [0]).await.expect("no reset"), 0, "it was the last");
    tokio::time::timeout(LONG, server).await.expect("ended").expect("no panic");
}

#[tokio::test]
async fn who_has_only_just_connected_is_answered_by_a_listener_that_drains() {
    for path in ["/parked", "/other"] {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let (drain, _) = tokio::sync::watch::channel(false);
        let server = serve_parked(far, &Arc::new(Ways::default()), &drain);
        tokio::task::yield_now().await;
        drain.send(true).expect("it listens");
        tokio::task::yield_now().await;
        assert!(ask(&mut near, path, "by hyper").await, "told that it is the last, which hyper does");
        assert_eq!(near.read(&mut [0]).await.expect("no reset"), 0, "it was the last");
        tokio::time::timeout(LONG, server).await.expect("ended").expect("no panic");
    }
}

#[tokio::test]
async fn who_has_connected_and_says_nothing_holds_a_drain_up_for_a_moment_only() {
    in_time(|| async {
        let (_silent, far) = tokio::io::duplex(1 << 16);
        let (drain, _) = tokio::sync::watch::channel(false);
        let server = serve_parked(far, &Arc::new(Ways::default()), &drain);
        drain.send(true).expect("it listens");
        tokio::time::timeout(Bounds::default().head_timeout / 2, server)
            .await
            .expect("ended")
            .expect("no panic");
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_parked_again() {
    in_time(|| async {
        let (mut near, far) = tokio::io::duplex(1 << 16);
        let ways = Arc::new(Ways::default());
        let (stays, _) = tokio::sync::watch::channel(false);
        let server = serve_parked(far, &ways, &stays);
        let at_once = || ways.at_once.load(Ordering::Relaxed);
        assert!(ask(&mut near, "/parked", "parked").await);
        assert_eq!(at_once(), 1, "parked from the start");
        for _ in 0..2 {
            let before = at_once();
            assert!(ask(&mut near, "/other", "by hyper").await);
            assert!(ask(&mut near, "/parked", "by hyper").await, "hyper keeps a connection that is in use");
            assert_eq!(at_once(), before);
            // Whenever it was parked: from then on every answer is at once.
            let mut asked = 0;
            while at_once() == before {
                tokio::time::sleep(io::PARK_AFTER * 2).await;
                near.write_all(b"GET /parked HTTP/1.1\r\nHost: t\r\n\r\n").await.expect("written");
                assert!(near.read_u8().await.is_ok(), "still open");
                let mut rest = vec![0; 4_096];
                assert!(near.read(&mut rest).await.is_ok());
                asked += 1;
                assert!(asked < 10, "parked again");
            }
        }
        drop(near);
        tokio::time::timeout(LONG, server).await.expect("ended").expect("no panic");
    })
    .await;
}
