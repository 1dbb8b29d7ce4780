//! One who waits or talks: what they are told, what they may say, when it ends.
//!
//! A socket remembers what it has told and tells the difference to the picture, when
//! its peer has taken all before: a slow one piles nothing up and misses nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tungstenite::Message as Wire;

use super::message::{self, MOST_BYTES, TEXT, Told, WHO, Word};
use super::picture::{Follower, Picture, Standing, Talk, Typing};
use super::{SUMMARY, words};
use crate::booking::Booking;
use crate::booking::accounts::auth::Caller;
use crate::booking::db::DbError;
use crate::booking::problem::{Code, Problem};
use crate::booking::socket::{self, BAD_TOKEN, BINARY, Budget, Close, GOING_AWAY, LATER, Link, SILENT, Step};
use crate::domain::matching::{Party, SessionId};
use crate::domain::order::AccountId;

/// Messages that may come at once, and those that may come a second after that:
/// nobody types faster, a word of `typing` for each key included.
const BURST: f64 = 60.0;
const RATE: f64 = 10.0;
/// Time to say who one is.
const WHO_IS_IT: Duration = Duration::from_secs(10);
/// Time for what the client has seen already.
const FIRST_WORD: Duration = Duration::from_millis(150);
/// Time for a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// A socket after its handshake.
pub(super) struct Socket<I> {
    booking: Arc<Booking>,
    link: Link<I>,
    budget: Budget,
    heard_at: Instant,
    /// The word of a ping under way.
    asked: Option<u64>,
}

/// Who it is, and what it has been told.
struct Side {
    me: AccountId,
    token: String,
    /// The position told last.
    position: Option<u64>,
    /// The session told last, while it goes on.
    session: Option<SessionId>,
    /// One whose end is still to be told.
    over: Option<SessionId>,
    /// Up to which message of which session.
    heard: Option<(SessionId, u64)>,
    /// Up to which message the other one has read.
    read: u64,
    /// The picture is one of after its coming, and what it has seen already is known.
    has_picture: bool,
    has_spoken: bool,
}

impl Side {
    fn new(me: AccountId, token: String) -> Self {
        Self {
            me,
            token,
            position: None,
            session: None,
            over: None,
            heard: None,
            read: 0,
            has_picture: false,
            has_spoken: false,
        }
    }

    fn heard_of(&self, session: SessionId) -> u64 {
        self.heard.filter(|(of, _)| *of == session).map_or(0, |(_, id)| id)
    }

    fn is_ready(&self) -> bool {
        self.has_picture && self.has_spoken
    }
}

fn later(error: DbError) -> Close {
    tracing::warn!(error = &error as &dyn std::error::Error, "a support socket cannot be served");
    LATER
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    pub(super) fn new(booking: Arc<Booking>, io: I) -> Self {
        let (link, budget) = (Link::new(io, MOST_BYTES), Budget::new(BURST, RATE));
        Self { booking, link, budget, heard_at: Instant::now(), asked: None }
    }

    /// Serves the peer to its end.
    pub(super) async fn run(mut self) {
        let ended = self.serve().await;
        if let Err(close) = ended {
            tracing::debug!(code = close.0, reason = close.1, "a support socket is closed");
            self.link.send(socket::goodbye(close));
        }
        let goodbye = async {
            if ended.is_err() {
                // Until the peer says goodbye too; what else it says is not heard.
                while !matches!(self.link.step().await, Step::Over) {}
            }
            self.link.finish().await;
        };
        // Who takes nothing is cut.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    async fn serve(&mut self) -> Result<(), Close> {
        let hello = tokio::time::timeout(WHO_IS_IT, self.hello());
        let Some((mut side, first)) = hello.await.map_err(|_| WHO)?? else { return Ok(()) };
        let (_here, mut picture) = Follower::enter(&self.booking, side.me);
        let follower = &self.booking.support.0;
        let (mut typing, closing) = (follower.typing.subscribe(), follower.closing.clone());
        self.hear_all(&mut side, first).await?;
        let mut bell = std::pin::pin!(tokio::time::sleep(FIRST_WORD));
        let look_every = self.booking.settings.live.idle_timeout / 6;
        loop {
            self.tell(&mut side, &mut picture).await?;
            let is_idle = self.link.is_idle();
            tokio::select! {
                step = self.link.step() => match step {
                    Step::Came(messages) => self.hear_all(&mut side, messages).await?,
                    Step::Drained => {}
                    Step::Over => return Ok(()),
                    Step::Broken(why) => return Err(why),
                },
                rung = picture.changed(), if is_idle => {
                    rung.map_err(|_| GOING_AWAY)?;
                    side.has_picture = true;
                }
                writes = typing.recv(), if is_idle => self.tell_who_writes(&side, &picture, writes),
                () = bell.as_mut() => {
                    side.has_spoken = true;
                    self.listen()?;
                    check(&self.booking, &side.token, side.me).await?;
                    bell.as_mut().reset(Instant::now() + look_every);
                }
                () = closing.cancelled() => return Err(GOING_AWAY),
            }
        }
    }

    /// Who it is, and what else it said; none when it went away.
    async fn hello(&mut self) -> Result<Option<(Side, Vec<Wire>)>, Close> {
        loop {
            match self.link.step().await {
                Step::Came(mut messages) => {
                    let Some(at) = messages.iter().position(|m| matches!(m, Wire::Text(_) | Wire::Binary(_)))
                    else {
                        continue;
                    };
                    let rest = messages.split_off(at + 1);
                    let Some(Wire::Text(text)) = messages.pop() else { return Err(BINARY) };
                    self.budget.spend()?;
                    let Word::Auth { token } = message::read(&text)? else { return Err(WHO) };
                    let caller = caller(&self.booking, &token).await?;
                    return Ok(Some((Side::new(caller.account, token), rest)));
                }
                Step::Drained => {}
                Step::Over => return Ok(None),
                Step::Broken(why) => return Err(why),
            }
        }
    }

    /// Ends with a peer that says nothing, and asks one that said nothing for a while.
    fn listen(&mut self) -> Result<(), Close> {
        let (silent, patience) = (self.heard_at.elapsed(), self.booking.settings.live.idle_timeout);
        if silent >= patience {
            return Err(SILENT);
        }
        if silent >= patience / 3 && self.asked.is_none() {
            let word = rand::random();
            self.asked = Some(word);
            self.link.send(socket::ping(word));
        }
        Ok(())
    }

    async fn hear_all(&mut self, side: &mut Side, messages: Vec<Wire>) -> Result<(), Close> {
        self.heard_at = Instant::now();
        for message in messages {
            match message {
                Wire::Pong(word) if self.asked.take_if(|asked| asked.to_be_bytes() == *word).is_some() => {}
                Wire::Text(text) => {
                    self.budget.spend()?;
                    let message = message::read(&text)?;
                    let done = self.hear(side, message).await?;
                    if let Err(problem) = done {
                        let (code, detail) = (problem.code().as_str(), problem.detail());
                        self.link.send(socket::text(&Told::Error { code, detail }));
                    }
                }
                Wire::Binary(_) => return Err(BINARY),
                Wire::Ping(_) | Wire::Pong(_) => self.budget.spend()?,
                // The answer to a goodbye is written by itself.
                Wire::Close(_) | Wire::Frame(_) => {}
            }
        }
        Ok(())
    }

    async fn hear(&mut self, side: &mut Side, message: Word) -> Result<Result<(), Problem>, Close> {
        if let Word::Auth { token } = message {
            check(&self.booking, &token, side.me).await?;
            side.token = token;
            return Ok(Ok(()));
        }
        check(&self.booking, &side.token, side.me).await?;
        Ok(self.act(side, message).await)
    }

    async fn act(&mut self, side: &mut Side, message: Word) -> Result<(), Problem> {
        let (booking, me) = (Arc::clone(&self.booking), side.me);
        let id = |text: &str| text.parse::<SessionId>().map_err(|_| Problem::new(Code::NotFound));
        let this = |text: Option<String>| match text {
            Some(text) => id(&text),
            None => side.session.ok_or_else(|| Problem::new(Code::NotFound)),
        };
        match message {
            Word::Auth { .. } => Ok(()),
            Word::Accept { session_id } => booking.accept_session(me, id(&session_id)?).await,
            Word::Message { session_id, text } => {
                booking.say(me, id(&session_id)?, words("text", &text, TEXT)?).await
            }
            Word::Read { id, session_id } => Ok(booking.read_up_to(me, this(session_id)?, id).await?),
            Word::Typing { session_id } => {
                let session = this(session_id)?;
                let (from, _) = booking.side_of(me, session).await?.ok_or(Code::NotFound)?;
                // Nobody listens: nobody misses it.
                let _ = booking.support.0.typing.send(Typing { session, from });
                Ok(())
            }
            Word::End { session_id, summary } => {
                let session = id(&session_id)?;
                let summary = summary.as_deref().map(|text| words("summary", text, SUMMARY)).transpose()?;
                match booking.side_of(me, session).await?.ok_or(Code::NotFound)?.0 {
                    Party::Customer => booking.leave_session(me, session).await,
                    _ => booking.end_session(me, session, summary).await.map(drop),
                }
            }
            Word::Resume { session_id, after } => {
                let session = id(&session_id)?;
                let (_, ended_by) = booking.side_of(me, session).await?.ok_or(Code::NotFound)?;
                side.heard = Some((session, after));
                if ended_by.is_some() && side.session != Some(session) {
                    side.over = Some(session);
                }
                side.has_spoken = true;
                Ok(())
            }
        }
    }

    /// Tells what is new, when the peer is ready for it.
    async fn tell(
        &mut self,
        side: &mut Side,
        picture: &mut watch::Receiver<Arc<Picture>>,
    ) -> Result<(), Close> {
        if !side.is_ready() || !self.link.is_idle() {
            return Ok(());
        }
        let standing = picture.borrow_and_update().of(side.me).cloned();
        let talk = match &standing {
            Some(Standing::Talks(talk)) => Some(talk),
            _ => None,
        };
        if side.session.is_some() && side.session != talk.map(|talk| talk.id) {
            side.over = side.session.take();
        }
        if let Some(over) = side.over {
            if self.tell_said(side, over).await? {
                return Ok(());
            }
            side.over = None;
            self.tell_end(side.me, over).await?;
        }
        let position = match standing {
            Some(Standing::Queued(position)) => Some(position),
            _ => None,
        };
        if side.position != position {
            side.position = position;
            if let Some(position) = position {
                self.link.send(socket::text(&Told::Queued { position }));
            }
        }
        match talk {
            Some(talk) => self.tell_talk(side, talk).await,
            None => Ok(()),
        }
    }

    async fn tell_talk(&mut self, side: &mut Side, talk: &Talk) -> Result<(), Close> {
        let session_id = talk.id.to_string();
        let (with, from, read) = if talk.customer == side.me {
            (&talk.counsellor_name, Party::Counsellor, talk.counsellor_read)
        } else {
            (&talk.customer_name, Party::Customer, talk.customer_read)
        };
        if side.session != Some(talk.id) {
            (side.session, side.read) = (Some(talk.id), 0);
            self.link.send(socket::text(&Told::Matched { session_id: session_id.clone(), with }));
        }
        if talk.last_message > side.heard_of(talk.id) {
            self.tell_said(side, talk.id).await?;
        }
        if read > side.read {
            side.read = read;
            self.link.send(socket::text(&Told::Read { session_id, id: read, from: from.as_str() }));
        }
        Ok(())
    }

    /// Tells the next messages of a session, whoever sent them; whether there were any.
    async fn tell_said(&mut self, side: &mut Side, session: SessionId) -> Result<bool, Close> {
        let after = side.heard_of(session);
        let said = self.booking.said_after(side.me, session, after).await.map_err(later)?;
        for said in &said {
            side.heard = Some((session, said.id));
            self.link.send(socket::text(&Told::Message {
                id: said.id,
                session_id: session.to_string(),
                from: said.from.as_str(),
                text: &said.text,
                at: said.sent_at,
            }));
        }
        Ok(!said.is_empty())
    }

    /// Tells how a session ended; a customer who is offered to another talks on.
    async fn tell_end(&mut self, me: AccountId, session: SessionId) -> Result<(), Close> {
        let by = match self.booking.side_of(me, session).await.map_err(later)? {
            Some((_, Some(by))) => by,
            Some((Party::Customer, None)) => return Ok(()),
            _ => Party::System,
        };
        self.link.send(socket::text(&Told::Ended { session_id: session.to_string(), by: by.as_str() }));
        Ok(())
    }

    fn tell_who_writes(
        &mut self,
        side: &Side,
        picture: &watch::Receiver<Arc<Picture>>,
        writes: Result<Typing, broadcast::error::RecvError>,
    ) {
        let Ok(Typing { session, from }) = writes else { return };
        let Some(Standing::Talks(talk)) = picture.borrow().of(side.me).cloned() else { return };
        let mine = if talk.customer == side.me { Party::Customer } else { Party::Counsellor };
        if side.session == Some(session) && talk.id == session && from != mine {
            let session_id = session.to_string();
            self.link.send(socket::text(&Told::Typing { session_id, from: from.as_str() }));
        }
    }
}

async fn caller(booking: &Booking, token: &str) -> Result<Caller, Close> {
    match Caller::of_token(token, booking).await {
        Ok(caller) => Ok(caller),
        Err(problem) if problem.code() == Code::Unauthenticated => Err(BAD_TOKEN),
        Err(_) => Err(LATER),
    }
}

/// The token still counts, and is still of the same account.
async fn check(booking: &Booking, token: &str, me: AccountId) -> Result<(), Close> {
    let caller = caller(booking, token).await?;
    if caller.account == me { Ok(()) } else { Err(BAD_TOKEN) }
}
