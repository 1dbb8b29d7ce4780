//! The app behind the gate: parses strictly, records what it parsed byte by
//! byte, and answers as the path says.
//!
//! | path | answer |
//! | --- | --- |
//! | any other | 200, the request's head as it came |
//! | `/answer/STATUS` | that status |
//! | `/command/TEXT` | 200 with `Usher-Command: TEXT` |
//! | `/stock/TEXT` | 200 with `Usher-Stock: TEXT` |
//! | `/kept` | 200 that caches may keep |
//! | `/set-cookies` | the gate's cookies, and one of its own |
//! | `/early` | 413 before the body is read, connection kept |
//! | `/switch` | 101 that nobody asked for |
//! | `/cut` | fewer bytes than announced |
//! | `/never` | nothing, until the peer gives up |
//! | `/slow` | the head at once, the end of the body when [`FakeApp::release`] is called |
//! | `/download/N` | N bytes |
//! | `/upload` | the length of the body, which is not kept |
//! | `/socket` | a WebSocket: bytes come back as they were sent |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::http1::{Framing, dechunk, fields, split_head};

/// A request as the app parsed it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Which connection it came on, from 0.
    pub(crate) connection: u64,
    /// Start line and fields, without the empty line.
    pub(crate) head: Vec<u8>,
    /// The body's data; empty for `/upload`.
    pub(crate) body: Vec<u8>,
    /// Fields after a chunked body.
    pub(crate) trailers: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Seen {
    pub(crate) fn line(&self) -> String {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        head.split("\r\n").next().unwrap_or_default().to_owned()
    }

    /// The request target, as written.
    pub(crate) fn target(&self) -> String {
        self.line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        fields(&self.head).into_iter().filter(|(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// A field that occurs exactly once.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() <= 1, "{name} occurs {} times", values.len());
        values.pop()
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicU64,
    begun: AtomicU64,
    release: CancellationToken,
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

/// A running app; stops with the value.
pub(crate) struct FakeApp {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl FakeApp {
    pub(crate) async fn start() -> Self {
        // Nobody knows a new app's address yet: where something took it meanwhile, another will do.
        let free = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], super::ports::free_port())));
        let mut listening = free.take(5).filter_map(|address| Some((address, listen(address).ok()?)));
        let (address, listener) = listening.next().expect("a free port");
        Self::serve(address, listener)
    }

    /// On an address that an app stopped using.
    pub(crate) async fn start_on(address: SocketAddr) -> Self {
        Self::serve(address, listen(address).expect("the port is free"))
    }

    fn serve(address: SocketAddr, listener: TcpListener) -> Self {
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in the order in which they ended.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.shared.seen.lock().len()
    }

    /// Requests whose head has come.
    pub(crate) fn begun(&self) -> u64 {
        self.shared.begun.load(Ordering::Relaxed)
    }

    /// Requests whose target begins with `prefix`.
    pub(crate) fn seen_at(&self, prefix: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.target().starts_with(prefix)).collect()
    }

    /// Lets every `/slow` answer end, those to come as well.
    pub(crate) fn release(&self) {
        self.shared.release.cancel();
    }
}

impl Drop for FakeApp {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { stream, shared: Arc::clone(&shared), number, unread: Vec::new() };
        open.spawn(connection.serve());
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    number: u64,
    unread: Vec<u8>,
}

impl Connection {
    async fn serve(mut self) {
        while let Some(head) = self.head().await {
            self.shared.begun.fetch_add(1, Ordering::Relaxed);
            let mut seen =
                Seen { connection: self.number, head, body: vec![], trailers: vec![], whole: false };
            if seen.target() == "/early" {
                self.note(seen);
                self.reply("413 Payload Too Large", "", b"too large").await;
                continue;
            }
            let length = self.body(&mut seen).await;
            self.note(seen.clone());
            if length.is_none() || !self.answer(&seen, length.unwrap_or_default()).await {
                return;
            }
        }
    }

    fn note(&self, seen: Seen) {
        self.shared.seen.lock().push(seen);
    }

    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 65_536];
        let read = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.unread.extend_from_slice(&buffer[..read]);
        read > 0
    }

    async fn head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((head, at)) = split_head(&self.unread) {
                let head = head.to_vec();
                self.unread.drain(..at);
                return Some(head);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Reads a body; its length, or `None` when it was cut.
    async fn body(&mut self, seen: &mut Seen) -> Option<u64> {
        let keep = seen.target() != "/upload";
        match Framing::of(&seen.head, Framing::Length(0)) {
            Framing::Length(length) => {
                let mut left = length;
                loop {
                    let here = left.min(self.unread.len() as u64);
                    let bytes = self.unread.drain(..usize::try_from(here).expect("it fits"));
                    if keep {
                        seen.body.extend(bytes);
                    } else {
                        drop(bytes);
                    }
                    left -= here;
                    if left == 0 {
                        seen.whole = true;
                        return Some(length);
                    }
                    if !self.more().await {
                        return None;
                    }
                }
            }
            Framing::Chunked => loop {
                if let Some((body, trailers, taken)) = dechunk(&self.unread) {
                    self.unread.drain(..taken);
                    (seen.body, seen.trailers, seen.whole) = (body, trailers, true);
                    return Some(seen.body.len() as u64);
                }
                if !self.more().await {
                    return None;
                }
            },
            Framing::Close => unreachable!("no request ends with its connection"),
        }
    }

    /// Answers as the path says; `false` ends the connection.
    async fn answer(&mut self, seen: &Seen, length: u64) -> bool {
        let target = seen.target();
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.splitn(3, '/').collect();
        match parts[1..] {
            ["answer", status] => self.reply(&format!("{status} As Asked"), "", b"as asked").await,
            ["command", command] => {
                let command = command.replace("%20", " ");
                self.reply("200 OK", &format!("Usher-Command: {command}\r\n"), b"done").await;
            }
            ["stock", left] => {
                self.reply("200 OK", &format!("Usher-Stock: {left}\r\n"), b"left").await;
            }
            ["kept"] => self.reply("200 OK", "Cache-Control: public, max-age=600\r\n", b"kept").await,
            ["set-cookies"] => {
                let cookies = "Set-Cookie: usher_pass=minted; Path=/\r\n\
                               Set-Cookie: __Host-usher_visitor=minted; Path=/; Secure\r\n\
                               Set-Cookie: basket=7; Path=/\r\n";
                self.reply("200 OK", cookies, b"cookies").await;
            }
            ["upload"] => self.reply("200 OK", "", length.to_string().as_bytes()).await,
            ["download", bytes] => self.download(bytes.parse().expect("a number")).await,
            ["switch"] => {
                let head =
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: surprise\r\n\r\n";
                self.write(head.as_bytes()).await;
                let _ = self.more().await;
                return false;
            }
            ["socket"] => {
                self.echo(seen).await;
                return false;
            }
            ["cut"] => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this").await;
                return false;
            }
            ["never"] => {
                while self.more().await {}
                return false;
            }
            ["slow"] => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nslow").await;
                self.shared.release.cancelled().await;
                self.write(b"ness").await;
            }
            _ if seen.line().starts_with("HEAD ") => {
                self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await
            }
            _ => self.reply("200 OK", "Content-Type: text/plain\r\n", &seen.head).await,
        }
        true
    }

    async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    async fn reply(&mut self, status: &str, lines: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        self.write(&[head.as_bytes(), body].concat()).await;
    }

    async fn download(&mut self, bytes: usize) {
        self.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).await;
        let piece = vec![b'd'; 65_536];
        let mut left = bytes;
        while left > 0 {
            let now = left.min(piece.len());
            self.write(&piece[..now]).await;
            left -= now;
        }
    }

    /// Accepts the handshake; then every byte comes back, frames and all, with
    /// the mask taken off as RFC 6455 asks of a server.
    async fn echo(&mut self, seen: &Seen) {
        use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
        let key = seen.field("sec-websocket-key").unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let chosen = seen.field("sec-websocket-protocol");
        let chosen = chosen.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{chosen}\r\n"
        );
        self.write(head.as_bytes()).await;
        loop {
            while let Some((frame, taken)) = unmask(&self.unread) {
                self.unread.drain(..taken);
                self.write(&frame).await;
            }
            if !self.more().await {
                return;
            }
        }
    }
}

/// A short client frame as a server sends it.
fn unmask(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = usize::from(bytes.get(1)? & 0x7f);
    assert!(length < 126, "tests send short frames");
    let mask = bytes.get(2..6)?;
    let data = bytes.get(6..6 + length)?;
    let plain = data.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]);
    Some(([bytes[0], bytes[1] & 0x7f].into_iter().chain(plain).collect(), 6 + length))
}
