//! A page that is written once and filled in many times.
//!
//! Words, style and script are in place before the first visitor comes; what
//! is left are a few holes such as `[[position]]`. Filling them copies the text
//! between: a full template engine per request would cost as much as the rest
//! of the answer, and the first page of a crowd is the gate's cheapest promise.

/// What a request fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    /// The document's title.
    Title,
    /// The room's name.
    Room,
    /// Where the visitor wanted to go.
    ReturnTo,
    /// The position as digits.
    PositionValue,
    /// The position when the place was taken, as digits.
    FirstPosition,
    /// The position as people read it.
    Position,
    /// How much of the way is done, 0 to 1.
    Progress,
    /// The expected wait.
    Wait,
    /// People in the line.
    Waiting,
    /// What is left, as people read it.
    Stock,
    /// The operator's message.
    Message,
    /// ` hidden` where a place cannot go to another device.
    NotMoving,
    /// ` hidden` unless the opening is ahead.
    NotOpening,
    /// That the order is drawn, while that is ahead.
    Draw,
    /// Time until the doors open.
    Opening,
    /// ` hidden` unless the room is paused.
    NotPaused,
    /// ` hidden` unless the store is away.
    NotDegraded,
    /// How long a silent visitor keeps its place.
    KeptFor,
    /// How long an admitted visitor has to show up.
    ClaimWindow,
    /// Seconds until a browser without script loads the page again.
    Refresh,
    /// The answer's status code.
    Status,
}

impl Hole {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "title" => Self::Title,
            "room" => Self::Room,
            "return_to" => Self::ReturnTo,
            "position_value" => Self::PositionValue,
            "first_position" => Self::FirstPosition,
            "position" => Self::Position,
            "progress" => Self::Progress,
            "wait" => Self::Wait,
            "waiting" => Self::Waiting,
            "stock" => Self::Stock,
            "message" => Self::Message,
            "not_moving" => Self::NotMoving,
            "not_opening" => Self::NotOpening,
            "draw" => Self::Draw,
            "opening" => Self::Opening,
            "not_paused" => Self::NotPaused,
            "not_degraded" => Self::NotDegraded,
            "kept_for" => Self::KeptFor,
            "claim_window" => Self::ClaimWindow,
            "refresh" => Self::Refresh,
            "status" => Self::Status,
            _ => return None,
        })
    }
}

/// Text with holes.
#[derive(Debug)]
pub(super) struct Template {
    /// Text, and the hole after it.
    parts: Vec<(Box<str>, Hole)>,
    /// Text after the last hole.
    end: Box<str>,
}

/// The text between `[[` and `]]` names no hole, or `]]` is missing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such hole: {0}")]
pub(super) struct UnknownHole(String);

/// Room for what goes into the holes, in bytes.
const USUAL_FILLING: usize = 512;

impl Template {
    /// Splits `text` at its holes.
    ///
    /// # Errors
    /// [`UnknownHole`] for a hole without a known name or end.
    pub(super) fn parse(mut text: &str) -> Result<Self, UnknownHole> {
        let mut parts = Vec::new();
        while let Some((before, rest)) = text.split_once("[[") {
            let unknown = || UnknownHole(rest.chars().take(40).collect());
            let (name, after) = rest.split_once("]]").ok_or_else(unknown)?;
            parts.push((before.into(), Hole::named(name).ok_or_else(unknown)?));
            text = after;
        }
        Ok(Self { parts, end: text.into() })
    }

    /// The text with `fill` having written each hole, in order.
    pub(super) fn render(&self, mut fill: impl FnMut(Hole, &mut String)) -> String {
        let fixed: usize = self.parts.iter().map(|(text, _)| text.len()).sum();
        let mut out = String::with_capacity(fixed + self.end.len() + USUAL_FILLING);
        for (text, hole) in &self.parts {
            out.push_str(text);
            fill(*hole, &mut out);
        }
        out.push_str(&self.end);
        out
    }
}

/// Appends `text` so that it is only text, in HTML content and in a quoted
/// attribute alike. Stops before it takes more than `limit` bytes; false when
/// that cut something off.
pub(super) fn push_escaped(out: &mut String, text: &str, limit: usize) -> bool {
    let end = out.len().saturating_add(limit);
    for c in text.chars() {
        let mut buffer = [0; 4];
        let escaped = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&#39;",
            c => c.encode_utf8(&mut buffer),
        };
        if out.len() + escaped.len() > end {
            return false;
        }
        out.push_str(escaped);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_in_order() {
        let template = Template::parse("a[[room]]b[[position]][[wait]]c").unwrap();
        let mut holes = Vec::new();
        let text = template.render(|hole, out| {
            holes.push(hole);
            out.push('-');
        });
        assert_eq!(text, "a-b--c");
        assert_eq!(holes, [Hole::Room, Hole::Position, Hole::Wait]);
    }

    #[test]
    fn a_misspelt_or_open_hole_is_an_error() {
        assert_eq!(Template::parse("a [[romo]] b").unwrap_err(), UnknownHole("romo]] b".into()));
        assert!(Template::parse("a [[room").is_err());
    }

    #[test]
    fn escaped_text_is_only_text() {
        let mut out = String::new();
        assert!(push_escaped(&mut out, "<a href='x'>\"&amp;한", 100));
        assert_eq!(out, "&lt;a href=&#39;x&#39;&gt;&quot;&amp;amp;한");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let mut out = "x".to_owned();
        assert!(push_escaped(&mut out, "&", 5));
        assert!(!push_escaped(&mut out, "&&", 9));
        assert!(!push_escaped(&mut out, "한한", 5));
        assert_eq!(out, "x&amp;&amp;한");
    }
}
