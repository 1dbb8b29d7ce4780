//! The body of an app's answer: where it ends, and what of it the visitor gets.
//!
//! Pure. Chunks are taken apart and put together anew, so that what a visitor
//! reads is framed as the gate understood it. Trailers end here.

use std::io::Write as _;

use super::answer::Framing;

/// Bytes of chunk extensions and trailers; nobody needs more.
const LEFT_OUT: usize = 16 * 1_024;

/// An answer's body on its way.
#[derive(Debug)]
pub(super) enum Body {
    /// Its end has come.
    Done,
    /// This many bytes are to come.
    Length(u64),
    Chunked(Chunks),
    /// It ends with the connection.
    Close,
}

/// The body is not framed as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Body {
    /// A body that begins.
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::Close => Self::Close,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Reads `input` and writes what the visitor gets; how many bytes were this body's.
    ///
    /// # Errors
    /// When the body cannot be read on.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let start = out.len();
        match self {
            Self::Done => Ok(0),
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                out.extend_from_slice(&input[..here]);
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(here)
            }
            Self::Close => {
                out.extend_from_slice(input);
                frame(out, start);
                Ok(input.len())
            }
            Self::Chunked(chunks) => {
                let used = chunks.take(input, out)?;
                frame(out, start);
                if chunks.at == At::End {
                    out.extend_from_slice(LAST);
                    *self = Self::Done;
                }
                Ok(used)
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the body has not.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Done => Ok(()),
            Self::Close => {
                out.extend_from_slice(LAST);
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Malformed),
        }
    }
}

const LAST: &[u8] = b"0\r\n\r\n";

/// Makes one chunk of what was written since `start`.
fn frame(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length == 0 {
        return;
    }
    let mut size = [0; 18];
    let mut rest = &mut size[..];
    write!(rest, "{length:x}\r\n").expect("16 digits fit");
    let digits = 18 - rest.len();
    out.splice(start..start, size[..digits].iter().copied());
    out.extend_from_slice(b"\r\n");
}

/// A chunked body being read (RFC 9112 7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of extensions and trailers so far.
    left_out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size {
        value: u64,
        digits: u8,
    },
    /// Blanks after a size: some servers pad it.
    Padding {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the empty one.
    Line,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

impl Default for At {
    fn default() -> Self {
        Self::Size { value: 0, digits: 0 }
    }
}

impl Chunks {
    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Malformed> {
        let mut used = 0;
        while used < input.len() && self.at != At::End {
            if let At::Data { left } = self.at {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
                out.extend_from_slice(&input[used..used + here]);
                used += here;
                let left = left - here as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
            } else {
                self.at = self.step(input[used])?;
                used += 1;
            }
        }
        Ok(used)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size { value, digits }, _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                At::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (At::Size { digits: 0, .. }, _) => return Err(Malformed),
            (At::Size { value, .. } | At::Padding { value }, b' ' | b'\t') => {
                self.leave_out()?;
                At::Padding { value }
            }
            (At::Size { value, .. } | At::Padding { value }, b';') => At::Extension { value },
            (At::Size { value, .. } | At::Padding { value } | At::Extension { value }, b'\r') => {
                At::SizeLf { value }
            }
            (At::Extension { value }, _) if byte != b'\n' => {
                self.leave_out()?;
                At::Extension { value }
            }
            (At::SizeLf { value: 0 }, b'\n') => At::Line,
            (At::SizeLf { value }, b'\n') => At::Data { left: value },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::default(),
            (At::Line, b'\r') => At::LastLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Line | At::Trailer, _) if byte != b'\n' => {
                self.leave_out()?;
                At::Trailer
            }
            (At::TrailerLf, b'\n') => At::Line,
            (At::LastLf, b'\n') => At::End,
            _ => return Err(Malformed),
        })
    }

    fn leave_out(&mut self) -> Result<(), Malformed> {
        self.left_out += 1;
        if self.left_out > LEFT_OUT { Err(Malformed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads pieces to the end; what the visitor gets, and the bytes that were not the body's.
    fn read(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let (mut body, mut out, mut over) = (Body::new(framing), Vec::new(), 0);
        for piece in pieces {
            over += piece.len() - body.take(piece, &mut out)?;
        }
        Ok((out, over, body.is_done()))
    }

    #[test]
    fn a_length_ends_where_it_says() {
        assert_eq!(read(Framing::Length(5), &[b"hel", b"lo"]), Ok((b"hello".to_vec(), 0, true)));
        assert_eq!(read(Framing::Length(5), &[b"hello, HTTP/1.1 200"]), Ok((b"hello".to_vec(), 14, true)));
        assert_eq!(read(Framing::Length(5), &[b"hel"]), Ok((b"hel".to_vec(), 0, false)));
        assert_eq!(read(Framing::Length(0), &[b"x"]), Ok((vec![], 1, true)));
    }

    #[test]
    fn only_a_body_that_ends_with_its_connection_may() {
        let mut out = Vec::new();
        assert_eq!(Body::new(Framing::Length(1)).end(&mut out), Err(Malformed));
        assert_eq!(Body::new(Framing::Chunked).end(&mut out), Err(Malformed));
        assert!(out.is_empty());
        assert_eq!(Body::new(Framing::Close).end(&mut out), Ok(()));
        assert_eq!(out, b"0\r\n\r\n");
    }

    #[test]
    fn chunks_are_written_anew_without_extensions_and_trailers() {
        let whole = b"5;a=b\r\nhello\r\n01 \r\n!\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\nHTTP/1.1";
        assert_eq!(read(Framing::Chunked, &[whole]), Ok((b"6\r\nhello!\r\n0\r\n\r\n".to_vec(), 8, true)));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for bad in [
            &b"\r\n"[..],
            b"x\r\n",
            b"+5\r\nhello\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5_0\r\n",
            b"5\nhello\r\n",
            b"5;a\nb\r\nhello\r\n",
            b"5\r;a\r\n",
            b"5\r\nhelloXX0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"0\r\n\n",
            b"0\r\nA: b\n\r\n",
            b"11111111111111111\r\n",
        ] {
            assert_eq!(read(Framing::Chunked, &[bad]), Err(Malformed), "{:?}", String::from_utf8_lossy(bad));
        }
        let endless = [b"0\r\n".to_vec(), vec![b'a'; LEFT_OUT + 1]].concat();
        assert_eq!(read(Framing::Chunked, &[&endless]), Err(Malformed));
    }

    proptest! {
        #[test]
        fn chunks_in_any_pieces_give_the_same_data(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6),
            cuts in proptest::collection::vec(0_usize..400, 0..6),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:X};x=y\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nT: u\r\n\r\nmore");
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            let (out, over, done) = read(Framing::Chunked, &pieces).expect("well-formed");
            prop_assert!(done && over == 4);
            // Read again as a visitor would.
            let (mut chunks_again, mut data) = (Chunks::default(), Vec::new());
            prop_assert_eq!(chunks_again.take(&out, &mut data), Ok(out.len()));
            prop_assert_eq!((chunks_again.at, data), (At::End, chunks.concat()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Framing::Chunked, &[&bytes]);
        }
    }
}
