//! What every WebSocket of the office shares: handshake, frames, bounds, goodbyes.

mod link;
mod slots;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use tokio::time::Instant;
use tungstenite::handshake::server::create_response;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, Utf8Bytes};

use super::problem::{Code, Problem};

pub(super) use link::{Link, Step};
pub(super) use slots::Slots;

/// Why a socket ends: a code of RFC 6455, 7.4, or one of ours from 4000, and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Close(pub(super) u16, pub(super) &'static str);

pub(super) const GOING_AWAY: Close = Close(1001, "the server is going away");
pub(super) const BAD_FRAME: Close = Close(1002, "not the WebSocket protocol");
pub(super) const BINARY: Close = Close(1003, "text only");
pub(super) const NO_TEXT: Close = Close(1007, "not UTF-8");
pub(super) const NO_JSON: Close = Close(1007, "not a JSON object with a type");
pub(super) const BAD_FIELD: Close = Close(1007, "a field is missing or of the wrong kind");
pub(super) const TOO_MANY: Close = Close(1008, "too many messages");
pub(super) const SILENT: Close = Close(1008, "no sign of life");
pub(super) const TOO_BIG: Close = Close(1009, "the message is too big");
pub(super) const LATER: Close = Close(1013, "come again a little later");
pub(super) const BAD_TOKEN: Close = Close(4401, "the token is not good");

/// Answers a WebSocket handshake; the socket opens once the answer is out.
///
/// # Errors
/// `upgrade_required`
pub(super) fn handshake(request: &mut Request) -> Result<(Response, OnUpgrade), Problem> {
    let mut asked = axum::http::Request::new(());
    *asked.method_mut() = request.method().clone();
    *asked.version_mut() = request.version();
    *asked.headers_mut() = request.headers().clone();
    let answer = create_response(&asked).map_err(|why| {
        Problem::new(Code::UpgradeRequired).because(format!("no WebSocket handshake: {why}"))
    })?;
    let answer = answer.map(|()| axum::body::Body::empty()).into_response();
    Ok((answer, hyper::upgrade::on(request)))
}

/// A message as one text frame.
pub(super) fn text(message: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(message).unwrap_or_default();
    whole(Frame::message(text, OpCode::Data(Data::Text), true))
}

/// A question whether the peer still listens.
pub(super) fn ping(word: u64) -> Bytes {
    whole(Frame::ping(word.to_be_bytes().to_vec()))
}

/// The last frame of ours.
pub(super) fn goodbye(Close(code, reason): Close) -> Bytes {
    let reason = Utf8Bytes::from_static(reason);
    whole(Frame::close(Some(CloseFrame { code: CloseCode::from(code), reason })))
}

fn whole(frame: Frame) -> Bytes {
    let mut bytes = Vec::with_capacity(frame.len());
    // Writing into memory does not fail.
    let _ = frame.format(&mut bytes);
    bytes.into()
}

/// Messages a client may still send.
pub(super) struct Budget {
    burst: f64,
    rate: f64,
    left: f64,
    at: Instant,
}

impl Budget {
    /// So many at once, and after that so many a second.
    pub(super) fn new(burst: f64, rate: f64) -> Self {
        Self { burst, rate, left: burst, at: Instant::now() }
    }

    pub(super) fn spend(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        self.left = (self.left + self.rate * (now - self.at).as_secs_f64()).min(self.burst);
        self.at = now;
        if self.left < 1.0 {
            return Err(TOO_MANY);
        }
        self.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_unmasked_texts() {
        let said = text(&serde_json::json!({"type": "presence"}));
        let words = br#"{"type":"presence"}"#;
        assert_eq!((said[0], usize::from(said[1]), &said[2..]), (0x81, words.len(), &words[..]));
        assert_eq!(&goodbye(Close(1001, "bye"))[..], b"\x88\x05\x03\xe9bye");
    }
}
