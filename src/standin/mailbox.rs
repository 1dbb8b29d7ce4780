//! A mail server on this machine that delivers nothing: the demo's post.
//!
//! Takes mail by SMTP (RFC 5321) from whoever reaches it, keeps the last few and
//! shows them on a page of its own. Knows neither passwords nor TLS, and asks
//! nobody who they are: loopback only.

mod page;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::domain::time::Timestamp;

/// Mails that are kept; the oldest goes first.
const KEPT: usize = 200;
/// Bytes of one mail, at most.
const LARGEST: usize = 1024 * 1024;
/// Bytes of one line with its end, at most; RFC 5321 asks for 1,000.
const LINE: u64 = 4_096;
const RECIPIENTS: usize = 100;
const CONNECTIONS: usize = 32;
/// A silent caller is left after this.
const PATIENCE: Duration = Duration::from_secs(60);

/// One mail as it came.
#[derive(Debug)]
struct Mail {
    /// From 1, in the order of arrival.
    number: u64,
    from: String,
    to: Vec<String>,
    /// Header and body, lines ending in CR LF.
    raw: Vec<u8>,
    received_at: Timestamp,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    mails: VecDeque<Arc<Mail>>,
}

/// Everybody's mailbox.
pub struct Mailbox {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").field("mails", &self.kept.lock().mails.len()).finish_non_exhaustive()
    }
}

/// What a mail's envelope says so far.
#[derive(Default)]
struct Envelope {
    from: Option<String>,
    to: Vec<String>,
}

impl Mailbox {
    /// An empty one.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, kept: Mutex::default() })
    }

    /// The page with the mails, and the same as JSON.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        page::routes().with_state(Arc::clone(self))
    }

    /// Takes mail for as long as it is polled.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mailbox = Arc::clone(&self);
            tokio::spawn(async move {
                // Who breaks off is not missed.
                let _ = mailbox.converse(BufReader::new(stream)).await;
                drop(place);
            });
        }
    }

    async fn converse(&self, mut stream: BufReader<TcpStream>) -> io::Result<()> {
        say(&mut stream, "220 mailbox ESMTP").await?;
        let mut envelope = Envelope::default();
        loop {
            let line = line(&mut stream).await?;
            let line = String::from_utf8_lossy(&line);
            let verb = line.split([' ', '\r', '\n']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match verb.as_str() {
                "EHLO" => "250-mailbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 1048576",
                "HELO" | "NOOP" => "250 ok",
                "MAIL" => {
                    envelope = Envelope { from: Some(address(&line)), to: Vec::new() };
                    "250 ok"
                }
                "RCPT" if envelope.from.is_none() => "503 MAIL first",
                "RCPT" if envelope.to.len() == RECIPIENTS => "452 too many recipients",
                "RCPT" => {
                    envelope.to.push(address(&line));
                    "250 ok"
                }
                "DATA" if envelope.to.is_empty() => "503 RCPT first",
                "DATA" => {
                    say(&mut stream, "354 go on").await?;
                    match data(&mut stream).await? {
                        Some(raw) => self.keep(std::mem::take(&mut envelope), raw),
                        None => "552 too large",
                    }
                }
                "RSET" => {
                    envelope = Envelope::default();
                    "250 ok"
                }
                "QUIT" => return say(&mut stream, "221 bye").await,
                _ => "502 not here",
            };
            say(&mut stream, answer).await?;
        }
    }

    fn keep(&self, envelope: Envelope, raw: Vec<u8>) -> &'static str {
        let received_at = self.clock.now();
        let mut kept = self.kept.lock();
        kept.last += 1;
        let number = kept.last;
        let from = envelope.from.unwrap_or_default();
        kept.mails.push_back(Arc::new(Mail { number, from, to: envelope.to, raw, received_at }));
        if kept.mails.len() > KEPT {
            kept.mails.pop_front();
        }
        "250 taken"
    }

    /// The newest first.
    fn mails(&self) -> Vec<Arc<Mail>> {
        self.kept.lock().mails.iter().rev().cloned().collect()
    }

    fn mail(&self, number: u64) -> Option<Arc<Mail>> {
        self.kept.lock().mails.iter().find(|mail| mail.number == number).cloned()
    }
}

async fn say(stream: &mut BufReader<TcpStream>, answer: &str) -> io::Result<()> {
    stream.write_all(format!("{answer}\r\n").as_bytes()).await
}

/// A line with its end.
///
/// # Errors
/// When the caller is gone, silent for too long, or does not end its line.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    timeout(PATIENCE, (&mut *stream).take(LINE).read_until(b'\n', &mut line)).await??;
    if line.ends_with(b"\n") { Ok(line) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The text up to the lone dot; `None` when it was too large, and is gone.
async fn data(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut raw = Some(Vec::new());
    loop {
        let line = line(stream).await?;
        if line == b".\r\n" {
            return Ok(raw);
        }
        let line = line.strip_prefix(b".").unwrap_or(&line);
        match &mut raw {
            Some(text) if text.len() + line.len() <= LARGEST => text.extend_from_slice(line),
            _ => raw = None,
        }
    }
}

/// What stands between `<` and `>`.
fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
