//! A small mail server on a port of its own: takes everything, or misbehaves as told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How the server takes TLS.
#[derive(Clone)]
pub enum Tls {
    /// Not at all.
    Never,
    /// By STARTTLS, which it offers.
    Offered(TlsAcceptor),
    /// From the first byte.
    AtOnce(TlsAcceptor),
}

/// What the server does to one mail instead of taking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// 451 to RCPT.
    NotNow,
    /// 550 to RCPT.
    Never,
    /// Takes the text, and the connection ends without an answer.
    SilentAfterData,
    /// The connection ends at MAIL.
    HangUp,
}

/// One mail as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    raw: String,
}

#[derive(Debug, Default)]
struct State {
    mails: Vec<Received>,
    mishaps: VecDeque<Mishap>,
    /// Always, for these recipients.
    barred: Vec<String>,
    /// Lines of AUTH.
    logins: Vec<String>,
    /// What was said in the clear.
    in_the_clear: Vec<String>,
    /// TLS handshakes that began, and that came to something.
    handshakes: (usize, usize),
}

/// A running server; it ends with this value.
#[derive(Debug)]
pub struct Sink {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: DropGuard,
}

impl Sink {
    pub async fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// On a free port, with TLS.
    pub async fn start_with(tls: Tls) -> Self {
        Self::over(SocketAddr::from(([127, 0, 0, 1], 0)), tls).await
    }

    pub async fn at(address: SocketAddr) -> Self {
        Self::over(address, Tls::Never).await
    }

    async fn over(address: SocketAddr, tls: Tls) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let (state, stop) = (Arc::new(Mutex::new(State::default())), CancellationToken::new());
        let address = listener.local_addr().expect("an address");
        let (shared, ended) = (Arc::clone(&state), stop.clone());
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = ended.run_until_cancelled(listener.accept()).await {
                let session = Session { state: Arc::clone(&shared), mail: None, tls: tls.clone() };
                let ended = ended.clone();
                tokio::spawn(async move { ended.run_until_cancelled(session.serve(stream)).await });
            }
        });
        Self { address, state, _stop: stop.drop_guard() }
    }

    pub fn settings(&self) -> usher::config::Mail {
        self.settings_as("", "?tls=off")
    }

    /// `user` is empty or ends with `@`.
    pub fn settings_as(&self, user: &str, query: &str) -> usher::config::Mail {
        usher::config::Mail {
            smtp: format!("smtp://{user}{}{query}", self.address),
            from: "Usher Tickets <tickets@usher.test>".into(),
        }
    }

    /// The next mails meet these.
    pub fn plan(&self, mishaps: &[Mishap]) {
        self.state.lock().expect("no panic").mishaps.extend(mishaps);
    }

    pub fn bar(&self, recipient: &str) {
        self.state.lock().expect("no panic").barred.push(recipient.to_owned());
    }

    /// How many planned mishaps are still to come.
    pub fn planned(&self) -> usize {
        self.state.lock().expect("no panic").mishaps.len()
    }

    pub fn mails(&self) -> Vec<Received> {
        self.state.lock().expect("no panic").mails.clone()
    }

    /// What was said to it outside of TLS.
    pub fn in_the_clear(&self) -> Vec<String> {
        self.state.lock().expect("no panic").in_the_clear.clone()
    }

    /// TLS handshakes that began, and that came to something.
    pub fn handshakes(&self) -> (usize, usize) {
        self.state.lock().expect("no panic").handshakes
    }

    pub fn logins(&self) -> Vec<String> {
        self.state.lock().expect("no panic").logins.clone()
    }
}

struct Session {
    state: Arc<Mutex<State>>,
    mail: Option<Received>,
    tls: Tls,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

type Stream = BufReader<Box<dyn Wire>>;

impl Session {
    async fn serve(mut self, stream: TcpStream) -> Option<()> {
        let stream: Box<dyn Wire> = Box::new(stream);
        let mut stream = BufReader::new(stream);
        if let Tls::AtOnce(acceptor) = self.tls.clone() {
            stream = self.secured(&acceptor, stream).await?;
        }
        stream.write_all(b"220 sink ESMTP\r\n").await.ok()?;
        loop {
            let line = line(&mut stream).await?;
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            if !matches!(self.tls, Tls::AtOnce(_)) {
                self.state.lock().expect("no panic").in_the_clear.push(line.clone());
            }
            let answer = match verb.as_str() {
                "EHLO" if matches!(self.tls, Tls::Offered(_)) => "250-sink\r\n250-8BITMIME\r\n250 STARTTLS",
                "STARTTLS" => {
                    let Tls::Offered(acceptor) = self.tls.clone() else { return None };
                    stream.write_all(b"220 go on\r\n").await.ok()?;
                    stream = self.secured(&acceptor, stream).await?;
                    continue;
                }
                "EHLO" => "250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN",
                "HELO" | "NOOP" => "250 ok",
                "AUTH" => {
                    self.state.lock().expect("no panic").logins.push(line);
                    "235 welcome"
                }
                "MAIL" => {
                    if self.meets(Mishap::HangUp) {
                        return None;
                    }
                    self.mail = Some(Received { from: path(&line), to: String::new(), raw: String::new() });
                    "250 ok"
                }
                "RCPT" => self.recipient(&path(&line)),
                "DATA" if self.mail.as_ref().is_some_and(|mail| !mail.to.is_empty()) => {
                    stream.write_all(b"354 go on\r\n").await.ok()?;
                    let raw = data(&mut stream).await?;
                    let mail = self.mail.take().map(|mail| Received { raw, ..mail });
                    self.state.lock().expect("no panic").mails.extend(mail);
                    if self.meets(Mishap::SilentAfterData) {
                        return None;
                    }
                    "250 taken"
                }
                "DATA" => "503 no recipient",
                "RSET" => {
                    self.mail = None;
                    "250 ok"
                }
                "QUIT" => {
                    stream.write_all(b"221 bye\r\n").await.ok()?;
                    return None;
                }
                _ => "502 no",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
    }

    /// The same connection under TLS; nothing that was sent before is carried over.
    async fn secured(&mut self, acceptor: &TlsAcceptor, stream: Stream) -> Option<Stream> {
        self.state.lock().expect("no panic").handshakes.0 += 1;
        let stream = acceptor.accept(stream.into_inner()).await.ok()?;
        self.state.lock().expect("no panic").handshakes.1 += 1;
        self.tls = Tls::AtOnce(acceptor.clone());
        let stream: Box<dyn Wire> = Box::new(stream);
        Some(BufReader::new(stream))
    }

    fn recipient(&mut self, to: &str) -> &'static str {
        if self.state.lock().expect("no panic").barred.iter().any(|barred| barred == to)
            || self.meets(Mishap::Never)
        {
            return "550 no such mailbox";
        }
        if self.meets(Mishap::NotNow) {
            return "451 try again later";
        }
        match &mut self.mail {
            Some(mail) => {
                mail.to = to.to_owned();
                "250 ok"
            }
            None => "503 who from?",
        }
    }

    /// Whether this is what comes next; then it has come.
    fn meets(&self, mishap: Mishap) -> bool {
        let mut state = self.state.lock().expect("no panic");
        let met = state.mishaps.front() == Some(&mishap);
        if met {
            state.mishaps.pop_front();
        }
        met
    }
}

/// A line without its end.
async fn line(stream: &mut Stream) -> Option<String> {
    let mut line = String::new();
    (stream.read_line(&mut line).await.ok()? > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The text up to the lone dot.
async fn data(stream: &mut Stream) -> Option<String> {
    let mut raw = String::new();
    loop {
        let line = line(stream).await?;
        if line == "." {
            return Some(raw);
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
        raw.push('\n');
    }
}

/// What stands between `<` and `>`.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(path, _)| path.to_owned())
}

impl Received {
    /// A header's value, unfolded and decoded; `None` when it is not there.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.raw, name).map(|value| words(&value))
    }

    pub fn text(&self) -> String {
        self.part("text/plain")
    }

    pub fn html(&self) -> String {
        self.part("text/html")
    }

    fn part(&self, kind: &str) -> String {
        let content = header(&self.raw, "content-type").expect("a type");
        let boundary = content.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
        let separator = format!("--{}", boundary.expect("a boundary"));
        let parts = self.raw.split(separator.as_str()).skip(1).map(str::trim_start);
        let mut found =
            parts.filter(|part| header(part, "content-type").is_some_and(|is| is.starts_with(kind)));
        let part = found.next().unwrap_or_else(|| panic!("no {kind} in {}", self.raw));
        let body = part.split_once("\n\n").map_or("", |(_, body)| body);
        match header(part, "content-transfer-encoding").as_deref() {
            Some("base64") => utf8(STANDARD.decode(body.replace(['\n', ' '], "")).expect("base64")),
            Some("quoted-printable") => utf8(quoted(&body.replace("=\n", ""))),
            _ => body.to_owned(),
        }
    }
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

fn header(raw: &str, name: &str) -> Option<String> {
    let head = raw.split("\n\n").next()?.replace("\n ", " ").replace("\n\t", " ");
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().to_owned())
}

/// `=C3=A9` and the like.
fn quoted(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'=' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// RFC 2047 words; nothing between two of them.
fn words(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, word)) = rest.split_once("=?") {
        let mut fields = word.splitn(4, '?');
        let (_, encoding, coded) = (fields.next(), fields.next(), fields.next());
        let after = fields.next().and_then(|after| after.strip_prefix('='));
        let (Some(encoding), Some(coded), Some(after)) = (encoding, coded, after) else { break };
        text.push_str(if text.is_empty() { before } else { before.trim() });
        text.push_str(&utf8(match encoding {
            "b" | "B" => STANDARD.decode(coded).expect("base64"),
            _ => quoted(&coded.replace('_', " ")),
        }));
        rest = after;
    }
    text + rest
}
