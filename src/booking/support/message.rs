//! What is said on a support socket, by both ends.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::booking::socket::{BAD_FIELD, Close, NO_JSON};

/// Bytes of one message of a client: a text of 2,000 characters, four bytes each,
/// written with escapes at the worst.
pub(super) const MOST_BYTES: usize = 32 * 1_024;
/// Characters of a text.
pub(super) const TEXT: usize = 2_000;

pub(super) const UNKNOWN: Close = Close(1008, "no message of support");
pub(super) const WHO: Close = Close(4401, "the first word is auth");

/// A message of the server (`CONTRACT.md` 6).
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Told<'a> {
    /// The caller waits; 1 is next.
    Queued { position: u64 },
    /// Somebody is there to talk to.
    Matched { session_id: String, with: &'a str },
    /// Something was said, by either.
    Message { id: u64, session_id: String, from: &'static str, text: &'a str, at: u64 },
    /// The other one writes.
    Typing { session_id: String, from: &'static str },
    /// The other one has read so far.
    Read { session_id: String, id: u64, from: &'static str },
    /// The session is over.
    Ended { session_id: String, by: &'static str },
    /// What the client asked for last was not done.
    Error { code: &'static str, detail: Option<&'a str> },
}

/// A message of a client. Ids stay texts: what is none of ours is not found.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Word {
    Auth { token: String },
    Accept { session_id: String },
    Message { session_id: String, text: String },
    Typing { session_id: Option<String> },
    Read { id: u64, session_id: Option<String> },
    End { session_id: String, summary: Option<String> },
    Resume { session_id: String, after: u64 },
}

const KINDS: [&str; 7] = ["auth", "accept", "message", "typing", "read", "end", "resume"];

/// The message. Fields that are not known are ignored.
pub(super) fn read(text: &str) -> Result<Word, Close> {
    let value: Value = serde_json::from_str(text).map_err(|_| NO_JSON)?;
    let kind = value.get("type").and_then(Value::as_str).ok_or(NO_JSON)?;
    if !KINDS.contains(&kind) {
        return Err(UNKNOWN);
    }
    Word::deserialize(value).map_err(|_| BAD_FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_others_refused_with_their_reason() {
        let id = || "s".to_owned();
        for (text, message) in [
            (r#"{"type":"auth","token":"t"}"#, Word::Auth { token: "t".into() }),
            (r#"{"type":"accept","session_id":"s","x":1}"#, Word::Accept { session_id: id() }),
            (
                r#"{"type":"message","session_id":"s","text":"<b>"}"#,
                Word::Message { session_id: id(), text: "<b>".into() },
            ),
            (r#"{"type":"typing"}"#, Word::Typing { session_id: None }),
            (r#"{"type":"read","id":3}"#, Word::Read { id: 3, session_id: None }),
            (r#"{"type":"end","session_id":"s"}"#, Word::End { session_id: id(), summary: None }),
            (r#"{"type":"resume","session_id":"s","after":3}"#, Word::Resume { session_id: id(), after: 3 }),
        ] {
            assert_eq!(read(text), Ok(message));
        }
        for text in ["", "7", "[]", "{}", r#"{"type":7}"#, "{\"type\":\"end\"", &"[".repeat(4_000)] {
            assert_eq!(read(text), Err(NO_JSON), "{text}");
        }
        for text in [
            r#"{"type":"accept"}"#,
            r#"{"type":"read","id":-1}"#,
            r#"{"type":"read","id":"1"}"#,
            r#"{"type":"message","session_id":"s","text":7}"#,
        ] {
            assert_eq!(read(text), Err(BAD_FIELD), "{text}");
        }
        assert_eq!(read(r#"{"type":"snapshot"}"#), Err(UNKNOWN));
    }
}
