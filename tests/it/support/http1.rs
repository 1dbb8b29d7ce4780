//! HTTP/1.1 as the tests read it: strict, byte-exact, and no library's opinion.

use serde_json::Value;

/// The head of a message: everything before its body, and where that begins.
///
/// `None` while the empty line has not come.
pub(crate) fn split_head(bytes: &[u8]) -> Option<(&[u8], usize)> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (&bytes[..at], at + 4))
}

/// Names and values of a head's fields, the start line left out.
pub(crate) fn fields(head: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(head);
    let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect()
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    /// Of a head; `otherwise` when it says nothing. Two lengths are a bug of the sender.
    pub(crate) fn of(head: &[u8], otherwise: Self) -> Self {
        let fields = fields(head);
        let all = |wanted: &str| -> Vec<String> {
            fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone()).collect()
        };
        match (all("transfer-encoding").as_slice(), all("content-length").as_slice()) {
            ([], []) => otherwise,
            ([], [length]) => Self::Length(length.parse().expect("a plain length")),
            ([coding], []) if coding == "chunked" => Self::Chunked,
            other => panic!("no plain framing: {other:?}"),
        }
    }
}

/// A chunked body in full: its data, its trailer fields, and the bytes it took.
pub(crate) fn dechunk(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>, usize)> {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let line = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..line]).expect("a chunk size is text");
        let size = usize::from_str_radix(size, 16).expect("a plain chunk size");
        at = line + 2;
        if size == 0 {
            break;
        }
        let end = at + size;
        data.extend_from_slice(bytes.get(at..end)?);
        assert_eq!(bytes.get(end..end + 2)?, b"\r\n", "a chunk ends with CRLF");
        at = end + 2;
    }
    if bytes.get(at..at + 2)? == b"\r\n" {
        return Some((data, Vec::new(), at + 2));
    }
    let end = bytes[at..].windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((data, bytes[at..at + end].to_vec(), at + end + 4))
}

/// An answer read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) whole: bool,
}

impl Answer {
    /// Takes the first answer from `bytes`; `closed` = no more will come.
    pub(crate) fn take(bytes: &[u8], closed: bool, to_head: bool) -> Option<(Self, usize)> {
        let (head, at) = split_head(bytes)?;
        let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().expect("a status");
        let rest = &bytes[at..];
        let bodiless = to_head || matches!(status, 100..=199 | 204 | 304);
        let framing = if bodiless { Framing::Length(0) } else { Framing::of(head, Framing::Close) };
        let found = match framing {
            Framing::Length(length) => {
                let length = usize::try_from(length).expect("it fits");
                rest.get(..length).map(|body| (body.to_vec(), length))
            }
            Framing::Chunked => dechunk(rest).map(|(body, _, taken)| (body, taken)),
            Framing::Close => closed.then(|| (rest.to_vec(), rest.len())),
        };
        let fields = fields(head);
        match found {
            Some((body, taken)) => Some((Self { status, fields, body, whole: true }, at + taken)),
            None if closed => Some((Self { status, fields, body: rest.to_vec(), whole: false }, bytes.len())),
            None => None,
        }
    }

    /// A field's value; `None` when it is missing.
    ///
    /// # Panics
    /// When it occurs twice.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} occurs {} times", values.len());
        values.first().copied()
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.text()))
    }

    /// The stable code of a problem+json body, with everything such an answer must have.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        body["code"].as_str().expect("a code").to_owned()
    }
}
