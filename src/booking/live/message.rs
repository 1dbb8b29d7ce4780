//! What clients say.

use serde::Deserialize;
use serde_json::Value;

use crate::booking::socket::{BAD_FIELD, Close, NO_JSON};

/// Bytes of one message.
pub(super) const MOST_BYTES: usize = 4_096;

pub(super) const UNKNOWN: Close = Close(1008, "no message of the live map");
pub(super) const OTHER_EVENT: Close = Close(1008, "a message for another event");
pub(super) const NO_EVENT: Close = Close(4404, "the event is gone");

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Who this is.
    Auth { token: String },
    /// What this client has seen already.
    Resume { version: u64 },
}

#[derive(Deserialize)]
struct Auth {
    token: String,
}

#[derive(Deserialize)]
struct Resume {
    version: u64,
}

/// The message, on a socket of `event`. Fields that are not known are ignored.
pub(super) fn read(text: &str, event: &str) -> Result<Message, Close> {
    let value: Value = serde_json::from_str(text).map_err(|_| NO_JSON)?;
    let kind = value.get("type").and_then(Value::as_str).ok_or(NO_JSON)?;
    for name in ["event", "event_id"] {
        if value.get(name).is_some_and(|other| other != event) {
            return Err(OTHER_EVENT);
        }
    }
    match kind {
        "auth" => Auth::deserialize(&value).map(|auth| Message::Auth { token: auth.token }),
        "resume" => Resume::deserialize(&value).map(|resume| Message::Resume { version: resume.version }),
        _ => return Err(UNKNOWN),
    }
    .map_err(|_| BAD_FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_others_refused_with_their_reason() {
        let read = |text: &str| read(text, "show");
        assert_eq!(read(r#"{"type":"resume","version":7}"#), Ok(Message::Resume { version: 7 }));
        assert_eq!(
            read(r#"{"type":"resume","version":7,"event":"show"}"#),
            Ok(Message::Resume { version: 7 })
        );
        assert_eq!(read(r#"{"type":"auth","token":"t"}"#), Ok(Message::Auth { token: "t".into() }));
        let deep = "[".repeat(4_000);
        for text in ["", "nonsense", "7", "[]", "{}", r#"{"type":7}"#, "{\"type\":\"resume\"", &deep] {
            assert_eq!(read(text), Err(NO_JSON), "{text}");
        }
        for version in ["-1", "\"7\"", "1.5", "null", "18446744073709551616"] {
            assert_eq!(read(&format!(r#"{{"type":"resume","version":{version}}}"#)), Err(BAD_FIELD));
        }
        assert_eq!(read(r#"{"type":"auth"}"#), Err(BAD_FIELD));
        assert_eq!(read(r#"{"type":"typing"}"#), Err(UNKNOWN));
        assert_eq!(read(r#"{"type":"resume","version":7,"event_id":"other"}"#), Err(OTHER_EVENT));
    }
}
