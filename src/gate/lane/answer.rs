//! The head of an app's answer, read strictly.
//!
//! Pure. An answer whose end two programs could see in different places is
//! nobody's: what one of them takes for the rest of it, another takes for the
//! next visitor's answer.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

/// Bytes of an answer's head.
pub(in crate::gate) const HEAD_BYTES: usize = 64 * 1_024;
/// Fields of an answer's head.
pub(in crate::gate) const FIELDS: usize = 100;

/// Where an answer with a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gate) enum Framing {
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Why nobody may be given this answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gate) enum Broken {
    #[error("the answer is no HTTP/1")]
    Malformed,
    #[error("the answer's head is too large")]
    TooLarge,
    #[error("the answer's length is said in more ways than one, or in none that is plain")]
    Ambiguous,
    #[error("the answer switches protocols, which nobody asked for")]
    Switched,
}

/// How an answer with these fields is framed, its status left aside.
///
/// # Errors
/// [`Broken::Ambiguous`] unless there is nothing, one plain length, or one
/// `chunked` alone, which HTTP/1.0 does not know.
pub(in crate::gate) fn framing<'a>(
    version: Version,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Framing, Broken> {
    let mut framing = Framing::Close;
    for (name, value) in fields {
        let found = if name.eq_ignore_ascii_case("content-length") {
            Framing::Length(length(value).ok_or(Broken::Ambiguous)?)
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") || version != Version::HTTP_11 {
                return Err(Broken::Ambiguous);
            }
            Framing::Chunked
        } else {
            continue;
        };
        if framing != Framing::Close {
            return Err(Broken::Ambiguous);
        }
        framing = found;
    }
    Ok(framing)
}

/// Digits and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) status: StatusCode,
    pub(super) reason: &'a str,
    pub(super) framing: Framing,
    /// The connection may carry another request after this answer.
    pub(super) keeps: bool,
    /// It says something to the gate, or names fields that end here.
    pub(super) is_special: bool,
    /// Bytes of the head.
    pub(super) bytes: usize,
    fields: &'a [httparse::Header<'a>],
}

/// Reads a head at the beginning of `bytes`; `None` = more must come.
///
/// # Errors
/// When there will be none that can be used. A 101 is such a one.
pub(super) fn with_head<T>(bytes: &[u8], read: impl FnOnce(&Head<'_>) -> T) -> Result<Option<T>, Broken> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Broken::TooLarge),
        Err(_) => return Err(Broken::Malformed),
    };
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Broken::Malformed)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Broken::Switched);
    }
    let mut head = Head {
        status,
        reason: parsed.reason.unwrap_or_default(),
        framing: framing(version, parsed.headers.iter().map(|field| (field.name, field.value)))?,
        keeps: version == Version::HTTP_11,
        is_special: false,
        bytes: length,
        fields: parsed.headers,
    };
    head.look_around();
    Ok(Some(read(&head)))
}

impl Head<'_> {
    fn look_around(&mut self) {
        for field in self.fields {
            if field.name.eq_ignore_ascii_case("connection") {
                for token in field.value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    let closes = token.eq_ignore_ascii_case(b"close");
                    self.keeps &= !closes;
                    self.is_special |= !closes && !token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            let start = field.name.as_bytes().get(..6);
            self.is_special |= start.is_some_and(|start| start.eq_ignore_ascii_case(b"usher-"));
        }
    }

    /// 1xx: the answer proper is still to come.
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// The fields as the ordinary way has them.
    pub(super) fn to_map(&self) -> HeaderMap {
        let known = |(name, value): (&str, &[u8])| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        };
        let mut map = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in self.fields().filter_map(known) {
            map.append(name, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<(u16, Framing, bool)>, Broken> {
        with_head(text.as_bytes(), |head| (head.status.as_u16(), head.framing, head.keeps))
    }

    fn framed(lines: &str) -> Result<Framing, Broken> {
        let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        read(&text).map(|read| read.expect("whole").1)
    }

    #[test]
    fn one_length_one_chunked_or_nothing() {
        assert_eq!(framed("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framed("content-length: 0005\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framed("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framed("X: y\r\n"), Ok(Framing::Close));
        for bad in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked,\r\n",
        ] {
            let found = framed(bad);
            assert!(matches!(found, Err(Broken::Ambiguous | Broken::Malformed)), "{bad:?}: {found:?}");
        }
        assert_eq!(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(Broken::Ambiguous));
    }

    #[test]
    fn a_connection_is_kept_only_when_nothing_speaks_against_it() {
        let keeps = |text: &str| read(text).expect("read").expect("whole").2;
        assert!(keeps("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(read("HTTP/1.1 101 Switching\r\n\r\n"), Err(Broken::Switched));
        for bad in ["HTTP/2 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "\0\r\n\r\n"] {
            assert_eq!(read(bad), Err(Broken::Malformed), "{bad:?}");
        }
        assert_eq!(read("HTTP/1.1 200 OK\r\nA : b\r\n\r\n"), Err(Broken::Malformed));
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), Err(Broken::Malformed));
        let many = "A: b\r\n".repeat(FIELDS + 1);
        assert_eq!(framed(&many), Err(Broken::TooLarge));
        let long = format!("A: {}\r\n", "b".repeat(HEAD_BYTES));
        assert_eq!(framed(&long), Err(Broken::TooLarge));
        assert_eq!(read(&format!("HTTP/1.1 200 OK\r\n{}", &long[..HEAD_BYTES])), Err(Broken::TooLarge));
    }

    #[test]
    fn words_to_the_gate_are_noticed_in_any_spelling() {
        let special = |line: &str| {
            let text = format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
            with_head(text.as_bytes(), |head| head.is_special).expect("read").expect("whole")
        };
        assert!(special("Usher-Command: complete"));
        assert!(special("uSHER-stock: 5"));
        assert!(special("Connection: X-Own"));
        assert!(!special("X-Usher: 5"));
        assert!(!special("Ush: 5"));
    }

    proptest! {
        #[test]
        fn a_head_in_pieces_reads_as_in_one(value in "[ -~]{0,40}", at in 0_usize..40) {
            let text = format!("HTTP/1.1 200 OK\r\nX: {value}\r\nContent-Length: 7\r\n\r\n");
            let at = at.min(text.len() - 1);
            let whole = read(&text);
            let part = read(&text[..at]);
            prop_assert!(part == Ok(None) || part == whole, "{part:?}");
            let whole = whole.expect("a head").expect("whole");
            prop_assert_eq!(whole, (200, Framing::Length(7), true));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = with_head(&bytes, |head| head.bytes);
        }
    }
}
