//! Bytes sent as they are, over a socket that is never half-closed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::http1::Answer;

/// The longest anything may take that comes by itself, on a machine that stands still at times.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// After an answer, this much silence means that no other follows. A late one
/// is missed here, no more: what it did shows at the app.
const SILENCE: Duration = Duration::from_millis(60);
/// A gate that means to close does so within this; less than the idle timeout,
/// after which it would in any case.
const CLOSING: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) answers: Vec<Answer>,
    raw: Raw,
}

impl Heard {
    /// Statuses of the final answers, in order.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).filter(|&status| status != 100).collect()
    }

    /// Waits for the gate to close the connection; `false` when it leaves it open.
    pub(crate) async fn closes(&mut self) -> bool {
        self.raw.closes(CLOSING).await
    }

    /// How often the gate asked for the body.
    pub(crate) fn continues(&self) -> usize {
        self.answers.iter().filter(|answer| answer.status == 100).count()
    }
}

/// A connection that sends what it is told.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
    closed: bool,
}

impl Raw {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).await.expect("the listener accepts")
    }

    /// `None` when nobody listens.
    pub(crate) async fn try_connect(to: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(to).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self { stream, unread: Vec::new(), closed: false })
    }

    /// Whether the other side is known to have closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// A peer that closed already is no error: its answer is still to be read.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next answer; `None` when the connection closes or `within` passes first.
    pub(crate) async fn answer_within(&mut self, within: Duration, to_head: bool) -> Option<Answer> {
        let deadline = Instant::now() + within;
        loop {
            if let Some((answer, taken)) = Answer::take(&self.unread, self.closed, to_head) {
                self.unread.drain(..taken);
                return Some(answer);
            }
            if self.closed || !self.more(deadline).await {
                return None;
            }
        }
    }

    /// The next answer.
    ///
    /// # Panics
    /// When none comes.
    pub(crate) async fn answer(&mut self) -> Answer {
        let answer = self.answer_within(DEADLINE, false).await;
        answer.unwrap_or_else(|| panic!("no answer; closed: {}, unread: {:?}", self.closed, self.unread))
    }

    /// Everything until the connection closes, or until silence follows an answer.
    pub(crate) async fn listen(mut self) -> Heard {
        let mut answers = Vec::new();
        let mut within = DEADLINE;
        while let Some(answer) = self.answer_within(within, false).await {
            within = if answer.status == 100 { DEADLINE } else { SILENCE };
            answers.push(answer);
        }
        Heard { answers, raw: self }
    }

    /// The next bytes, whatever they are; fewer when the connection closes.
    pub(crate) async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        while self.unread.len() < count && !self.closed && self.more(deadline).await {}
        self.unread.drain(..count.min(self.unread.len())).collect()
    }

    /// Waits for the other side to close; `false` when it does not.
    pub(crate) async fn closes(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.closed && self.more(deadline).await {}
        self.closed
    }

    /// Reads on; `false` at the deadline.
    async fn more(&mut self, deadline: Instant) -> bool {
        let mut buffer = [0; 16_384];
        match timeout_at(deadline, self.stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => self.closed = true,
            Ok(Ok(read)) => self.unread.extend_from_slice(&buffer[..read]),
            Err(_) => return false,
        }
        true
    }
}

/// Sends bytes on a connection of their own and listens.
pub(crate) async fn exchange(to: SocketAddr, bytes: &[u8]) -> Heard {
    let mut raw = Raw::connect(to).await;
    raw.send(bytes).await;
    raw.listen().await
}
