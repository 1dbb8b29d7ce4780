//! Tokens: what the gate signs and believes again.
//!
//! HMAC-SHA256 over a binary structure in which every field has a fixed width
//! or a length before it, so no two sets of values share bytes. A token for
//! one purpose, room or line is nothing elsewhere. There is no algorithm
//! field: nothing to confuse. Text form is strict unpadded base64url.
//!
//! ```text
//! version 1 | key id 4 | purpose 1 | room length 1, room | epoch 8 | number 8
//! | visitor 16 | time 8 | time 8 | count 8 | text length 2, text | HMAC 32
//! ```
//! Integers are big-endian. The text is where the visitor wants to go; only
//! tokens of visitors and links have one. A place's count is two: the position first shown in the
//! upper half, the one last shown in the lower; so is a link's. A pass's tells its copies
//! apart where passes rotate.
//!
//! ```text
//! at most 32 + 2,048 bytes of room and text: 2,904 characters, which a cookie can hold
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::config::Keys;
use crate::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use crate::domain::pass::Pass;
use crate::domain::time::Timestamp;
use crate::queue::Presented;
pub(crate) use crate::queue::{SealedPass, SealedPlace};
use std::time::Duration;

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + 1 + 1;
const FIELDS: usize = 8 + 8 + 16 + 8 + 8 + 8 + 2;
const MAC: usize = 32;
const MAX_ROOM: usize = 32;
const MAX_GO: usize = 2_048;
const MAX_BYTES: usize = HEAD + MAX_ROOM + FIELDS + MAX_GO + MAC;
const MAX_TEXT: usize = MAX_BYTES.div_ceil(3) * 4;
const SHORT_TEXT: usize = 256;
/// How far ahead of the store's time a token may have been issued.
const SKEW: Duration = Duration::from_secs(5);

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Visitor = 1,
    Place = 2,
    Pass = 3,
    /// A place on its way to another device.
    Link = 4,
}

/// What takes a place to another device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedLink {
    /// Who has the place.
    pub(crate) visitor: VisitorId,
    pub(crate) place: Presented,
    pub(crate) expires_at: Timestamp,
    /// Where its holder wants to go.
    pub(crate) go: Option<Box<str>>,
}

/// The fields of every token; unused ones are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Fields {
    epoch: u64,
    number: u64,
    visitor: [u8; 16],
    first: u64,
    second: u64,
    count: u64,
}

impl Fields {
    fn place(&self) -> Presented {
        Presented {
            epoch: Epoch(self.epoch),
            number: PlaceNumber(self.number),
            joined_at: Timestamp::from_millis(self.first),
            position: self.count & LOW,
            first: self.count >> 32,
        }
    }
}

#[derive(Clone)]
struct Key {
    id: [u8; 4],
    /// Keyed once: cloning it saves two compressions a token.
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Self {
        let digest = Sha256::digest(bytes);
        let mac = Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length");
        Self { id: [digest[0], digest[1], digest[2], digest[3]], mac }
    }

    fn sign(&self, bytes: &[u8]) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }

    fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        mac.verify_slice(tag).is_ok()
    }
}

/// The two-key ring: one signs, both are believed.
#[derive(Clone)]
pub(crate) struct Seal {
    current: Key,
    previous: Option<Key>,
}

impl Seal {
    pub(crate) fn new(keys: &Keys) -> Self {
        Self { current: Key::new(&keys.current), previous: keys.previous.as_ref().map(Key::new) }
    }

    /// `go`: where the visitor wants to go, a path of at most 2,048 bytes.
    pub(crate) fn visitor(&self, room: &RoomName, visitor: VisitorId, now: Timestamp, go: &str) -> String {
        let fields = Fields { visitor: *visitor.as_bytes(), first: now.as_millis(), ..Fields::default() };
        self.seal(Purpose::Visitor, room, &fields, if go.len() <= MAX_GO { go } else { "" })
    }

    pub(crate) fn place(&self, room: &RoomName, sealed: &SealedPlace) -> String {
        let fields = Fields {
            epoch: sealed.place.epoch.0,
            number: sealed.place.number.0,
            visitor: *sealed.visitor.as_bytes(),
            first: sealed.place.joined_at.as_millis(),
            second: sealed.seen_at.as_millis(),
            count: pair(sealed.place.first, sealed.place.position),
        };
        self.seal(Purpose::Place, room, &fields, "")
    }

    pub(crate) fn pass(&self, room: &RoomName, sealed: &SealedPass) -> String {
        let fields = Fields {
            epoch: sealed.epoch.0,
            number: sealed.pass.number.0,
            visitor: *sealed.visitor.as_bytes(),
            first: sealed.pass.issued_at.as_millis(),
            second: sealed.pass.expires_at.as_millis(),
            count: sealed.generation,
        };
        self.seal(Purpose::Pass, room, &fields, "")
    }

    pub(crate) fn link(&self, room: &RoomName, link: &SealedLink) -> String {
        let fields = Fields {
            epoch: link.place.epoch.0,
            number: link.place.number.0,
            visitor: *link.visitor.as_bytes(),
            first: link.place.joined_at.as_millis(),
            second: link.expires_at.as_millis(),
            count: pair(link.place.first, link.place.position),
        };
        let go = link.go.as_deref().filter(|go| go.len() <= MAX_GO).unwrap_or_default();
        self.seal(Purpose::Link, room, &fields, go)
    }

    /// A link, unless it is over.
    pub(crate) fn open_link(&self, room: &RoomName, token: &[u8], now: Timestamp) -> Option<SealedLink> {
        let (fields, go) = self.open(Purpose::Link, room, token)?;
        let expires_at = Timestamp::from_millis(fields.second);
        (now < expires_at).then(|| SealedLink {
            visitor: VisitorId::from_bytes(fields.visitor),
            place: fields.place(),
            expires_at,
            go,
        })
    }

    /// The id under which a visitor has what it takes with a link: the same for
    /// the same two, another for any other.
    pub(crate) fn taker(&self, visitor: VisitorId, link: &[u8]) -> VisitorId {
        let digest = self.current.sign(&[b"usher taker\0", &visitor.as_bytes()[..], link].concat());
        VisitorId::from_bytes(digest[..16].try_into().expect("a digest is longer"))
    }

    /// The visitor, and where it wants to go.
    pub(crate) fn open_visitor(
        &self,
        room: &RoomName,
        token: &[u8],
    ) -> Option<(VisitorId, Option<Box<str>>)> {
        let (fields, go) = self.open(Purpose::Visitor, room, token)?;
        Some((VisitorId::from_bytes(fields.visitor), go))
    }

    pub(crate) fn open_place(&self, room: &RoomName, token: &[u8]) -> Option<SealedPlace> {
        let (fields, _) = self.open(Purpose::Place, room, token)?;
        Some(SealedPlace {
            visitor: VisitorId::from_bytes(fields.visitor),
            place: fields.place(),
            seen_at: Timestamp::from_millis(fields.second),
        })
    }

    /// A pass, unless it was issued in the future; its end is the caller's to judge.
    pub(crate) fn open_pass(&self, room: &RoomName, token: &[u8], now: Timestamp) -> Option<SealedPass> {
        let (fields, _) = self.open(Purpose::Pass, room, token)?;
        let pass = Pass {
            number: PlaceNumber(fields.number),
            issued_at: Timestamp::from_millis(fields.first),
            expires_at: Timestamp::from_millis(fields.second),
        };
        (pass.issued_at <= now + SKEW).then_some(SealedPass {
            visitor: VisitorId::from_bytes(fields.visitor),
            epoch: Epoch(fields.epoch),
            pass,
            generation: fields.count,
        })
    }

    /// The name of somebody without a token, for counting only: tells nothing of
    /// address and browser to whoever has no key.
    pub(crate) fn stranger(&self, room: &RoomName, address: &str, browser: &[u8]) -> VisitorId {
        let text = [b"usher stranger\0", room.as_str().as_bytes(), b"\0", address.as_bytes(), b"\0", browser];
        let digest = self.current.sign(&text.concat());
        VisitorId::from_bytes(digest[..16].try_into().expect("a digest is longer"))
    }

    /// Signs the assertion's first two parts; see [`super::assertion`].
    pub(crate) fn sign_assertion(&self, signed: &[u8]) -> [u8; MAC] {
        self.current.sign(signed)
    }

    /// The signing key's name: the first 8 hex digits of its SHA-256.
    pub(crate) fn key_id(&self) -> String {
        self.current.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn seal(&self, purpose: Purpose, room: &RoomName, fields: &Fields, text: &str) -> String {
        let mut buffer = Buffer::new();
        buffer.put(&[VERSION]);
        buffer.put(&self.current.id);
        let room = room.as_str().as_bytes();
        buffer.put(&[purpose as u8, u8::try_from(room.len()).expect("a room name is short")]);
        buffer.put(room);
        buffer.put(&fields.epoch.to_be_bytes());
        buffer.put(&fields.number.to_be_bytes());
        buffer.put(&fields.visitor);
        for value in [fields.first, fields.second, fields.count] {
            buffer.put(&value.to_be_bytes());
        }
        buffer.put(&u16::try_from(text.len()).expect("checked by the caller").to_be_bytes());
        buffer.put(text.as_bytes());
        let tag = self.current.sign(buffer.filled());
        buffer.put(&tag);
        URL_SAFE_NO_PAD.encode(buffer.filled())
    }

    fn open(&self, purpose: Purpose, room: &RoomName, token: &[u8]) -> Option<(Fields, Option<Box<str>>)> {
        if token.len() <= SHORT_TEXT {
            // Every place and pass, and visitors that go nowhere far: no 3 KB are cleared for them.
            self.open_in(&mut [0; SHORT_TEXT], purpose, room, token)
        } else if token.len() <= MAX_TEXT {
            self.open_in(&mut [0; MAX_TEXT], purpose, room, token)
        } else {
            None
        }
    }

    fn open_in(
        &self,
        bytes: &mut [u8],
        purpose: Purpose,
        room: &RoomName,
        token: &[u8],
    ) -> Option<(Fields, Option<Box<str>>)> {
        let decoded = URL_SAFE_NO_PAD.decode_slice(token, bytes).ok()?;
        let (signed, tag) = bytes[..decoded].split_at_checked(decoded.checked_sub(MAC)?)?;
        let (head, rest) = signed.split_at_checked(HEAD)?;
        let id: [u8; 4] = head[1..5].try_into().ok()?;
        let key =
            [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|key| key.id == id)?;
        if !key.verifies(signed, tag) {
            return None;
        }
        let room = room.as_str().as_bytes();
        let expected = [purpose as u8, u8::try_from(room.len()).ok()?];
        let rest = rest.strip_prefix(room).filter(|_| head[0] == VERSION && head[5..] == expected)?;
        let (fields, text) = rest.split_at_checked(FIELDS)?;
        let int = |at: usize| Some(u64::from_be_bytes(fields.get(at..at + 8)?.try_into().ok()?));
        let length = u16::from_be_bytes(fields.get(FIELDS - 2..)?.try_into().ok()?);
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == usize::from(length))?;
        let fields = Fields {
            epoch: int(0)?,
            number: int(8)?,
            visitor: fields.get(16..32)?.try_into().ok()?,
            first: int(32)?,
            second: int(40)?,
            count: int(48)?,
        };
        Some((fields, (!text.is_empty()).then(|| text.into())))
    }
}

/// The lower half of a count.
const LOW: u64 = u32::MAX as u64;

/// Two positions in one field, each cut to 32 bits: no line is that long.
fn pair(high: u64, low: u64) -> u64 {
    high.min(LOW) << 32 | low.min(LOW)
}

/// A token being written, on the stack.
struct Buffer {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl Buffer {
    fn new() -> Self {
        Self { bytes: [0; MAX_BYTES], length: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;
