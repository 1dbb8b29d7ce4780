//! One who watches: what they are told, what they may say, when it ends.
//!
//! A socket keeps a cursor and no data. It is given more only when all before is
//! written and its peer has answered for most of it: a ping follows every few
//! kilobytes, and its pong tells how far the peer has read, whatever stands between
//! and buffers. Who reads slowly thus skips what is old instead of piling it up.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tungstenite::Message as Wire;

use super::face::Cursor;
use super::map::Watcher;
use super::message::{self, MOST_BYTES, Message, NO_EVENT};
use crate::booking::Booking;
use crate::booking::accounts::auth::Caller;
use crate::booking::problem::Code;
use crate::booking::socket::{self, BAD_TOKEN, BINARY, Budget, Close, GOING_AWAY, LATER, Link, SILENT, Step};
use crate::domain::seat::floor::Changes;

/// Messages that may come at once, and those that may come a second after that.
const BURST: f64 = 30.0;
const RATE: f64 = 4.0;
/// Time for a first word, such as what the client has seen already.
const FIRST_WORD: Duration = Duration::from_millis(150);
/// Bytes after which the peer is asked how far it has read.
const ASK_EVERY: u64 = 16 * 1_024;
/// Bytes that may be under way to a peer.
const WINDOW: u64 = 64 * 1_024;
/// Time for a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Time to check a token.
const CHECK: Duration = Duration::from_secs(5);

/// How far the peer has read.
struct Read {
    sent: u64,
    answered: u64,
    /// The word of a ping under way, and what was sent before it.
    asked: Option<(u64, u64)>,
}

impl Read {
    fn may_have_more(&self) -> bool {
        self.sent - self.answered < WINDOW
    }

    fn is_to_be_asked(&self) -> bool {
        self.asked.is_none() && self.sent - self.answered >= ASK_EVERY
    }

    /// Whether this answers the question under way.
    fn answer(&mut self, word: &[u8]) -> bool {
        let asked = self.asked.take_if(|(asked, _)| asked.to_be_bytes() == word);
        self.answered = asked.map_or(self.answered, |(_, sent)| sent);
        asked.is_some()
    }
}

/// A socket after its handshake.
pub(super) struct Socket<I> {
    booking: Arc<Booking>,
    watcher: Watcher,
    news: watch::Receiver<()>,
    link: Link<I>,
    cursor: Option<Cursor>,
    people: Option<u64>,
    read: Read,
    budget: Budget,
    heard_at: Instant,
    /// The time for a first word is over.
    is_begun: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    pub(super) fn new(booking: Arc<Booking>, watcher: Watcher, io: I) -> Self {
        let now = Instant::now();
        Self {
            booking,
            news: watcher.0.subscribe(),
            watcher,
            link: Link::new(io, MOST_BYTES),
            cursor: None,
            people: None,
            read: Read { sent: 0, answered: 0, asked: None },
            budget: Budget::new(BURST, RATE),
            heard_at: now,
            is_begun: false,
        }
    }

    /// Serves the peer to its end.
    pub(super) async fn run(mut self) {
        let ended = self.serve().await;
        // Who is being closed watches no more.
        let Self { watcher, mut link, .. } = self;
        drop(watcher);
        if let Err(close) = ended {
            tracing::debug!(code = close.0, reason = close.1, "a live map is closed");
            link.send(socket::goodbye(close));
        }
        let goodbye = async {
            if ended.is_err() {
                // Until the peer says goodbye too; what else it says is not heard.
                while !matches!(link.step().await, Step::Over) {}
            }
            link.finish().await;
        };
        // Who takes nothing is cut.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn serve(&mut self) -> Result<(), Close> {
        let closing = self.booking.live.closing.clone();
        let mut news = self.news.clone();
        let mut bell = std::pin::pin!(tokio::time::sleep(FIRST_WORD));
        let look_every = self.booking.settings.live.idle_timeout / 6;
        loop {
            self.tell()?;
            let wants_news = self.is_begun && self.link.is_idle() && self.read.may_have_more();
            tokio::select! {
                step = self.link.step() => match step {
                    Step::Came(messages) => {
                        self.heard_at = Instant::now();
                        for message in messages {
                            self.hear(message).await?;
                        }
                    }
                    Step::Drained => {}
                    Step::Over => return Ok(()),
                    Step::Broken(why) => return Err(why),
                },
                rung = news.changed(), if wants_news => if rung.is_err() { return Err(GOING_AWAY) },
                () = bell.as_mut() => {
                    self.is_begun = true;
                    self.listen()?;
                    bell.as_mut().reset(Instant::now() + look_every);
                }
                () = closing.cancelled() => return Err(GOING_AWAY),
            }
        }
    }

    /// Hands over what is new, when the peer is ready for it.
    fn tell(&mut self) -> Result<(), Close> {
        if self.watcher.0.is_gone() {
            return Err(NO_EVENT);
        }
        if !self.is_begun || !self.link.is_idle() || !self.read.may_have_more() {
            return Ok(());
        }
        for frame in self.watcher.0.news(&mut self.cursor, &mut self.people) {
            self.read.sent += frame.len() as u64;
            self.link.send(frame);
        }
        if self.read.is_to_be_asked() {
            self.ask();
        }
        Ok(())
    }

    /// Asks the peer whether it has read so far.
    fn ask(&mut self) {
        // Not to be guessed by one who does not read.
        let word = rand::random();
        self.read.asked = Some((word, self.read.sent));
        self.link.send(socket::ping(word));
    }

    /// Ends with a peer that says nothing, and asks one that said nothing for a while.
    fn listen(&mut self) -> Result<(), Close> {
        let (silent, patience) = (self.heard_at.elapsed(), self.booking.settings.live.idle_timeout);
        if silent >= patience {
            return Err(SILENT);
        }
        if silent >= patience / 3 && self.read.asked.is_none() {
            self.ask();
        }
        Ok(())
    }

    async fn hear(&mut self, message: Wire) -> Result<(), Close> {
        match message {
            Wire::Pong(word) if self.read.answer(&word) => Ok(()),
            Wire::Text(text) => {
                self.budget.spend()?;
                match message::read(&text, self.watcher.0.event.as_str())? {
                    Message::Auth { token } => check(&self.booking, &token).await,
                    Message::Resume { version } => {
                        self.resume(version).await;
                        Ok(())
                    }
                }
            }
            Wire::Binary(_) => Err(BINARY),
            Wire::Ping(_) | Wire::Pong(_) => self.budget.spend(),
            // The answer to a goodbye is written by itself.
            Wire::Close(_) | Wire::Frame(_) => Ok(()),
        }
    }

    /// Goes on after what the client has seen; where that cannot be told, with all seats.
    async fn resume(&mut self, version: u64) {
        let map = Arc::clone(&self.watcher.0);
        self.is_begun = true;
        let (life, known) = map.face(|face| (face.life(), face.reaches_back_to(version)));
        let seen = Some(Cursor { life, version });
        if known {
            self.cursor = seen;
            return;
        }
        self.cursor = None;
        let Ok(Changes::Since { seats, .. }) =
            self.booking.holds.changes(&map.event, version, self.booking.now()).await
        else {
            return;
        };
        let (missed, now) = map.face(|face| {
            let now = Cursor { life: face.life(), version: face.version() };
            (face.missed_since(version, &seats), now)
        });
        if let Some(frame) = missed.filter(|_| now.life == life) {
            self.read.sent += frame.len() as u64;
            self.link.send(frame);
            self.cursor = Some(now);
        } else if version > now.version && now.life == life {
            // The list of seats was read after the map's last look.
            self.cursor = seen;
        }
    }
}

/// Whether a token is good.
async fn check(booking: &Booking, token: &str) -> Result<(), Close> {
    match tokio::time::timeout(CHECK, Caller::of_token(token, booking)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(problem)) if problem.code() == Code::Unauthenticated => Err(BAD_TOKEN),
        Ok(Err(_)) | Err(_) => Err(LATER),
    }
}
