//! A draw as it is published: before the opening the promise, after it all.
//!
//! The document that `GET /queue/draw` answers and `usher draw verify` reads. It
//! tells nothing of who has a number. How to recompute it: [`crate::domain::draw`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::draw::{self, Draw, DrawError, Hash};
use crate::domain::id::{Epoch, PlaceNumber, RoomName};
use crate::domain::time::Timestamp;

/// How the order comes of secret and entries; another way gets another name.
const METHOD: &str = "usher-draw-1";

/// What is published. Hashes and the secret are 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Published {
    /// The room's name.
    pub room: String,
    /// Which line of it.
    pub epoch: u64,
    /// When the doors open, as the settings say: what the secret was made for.
    pub opening_at: u64,
    /// `usher-draw-1`
    pub method: String,
    /// Whether the rest is known.
    pub drawn: bool,
    /// SHA-256 of the secret.
    pub commitment: String,
    /// What was committed to.
    pub secret: Option<String>,
    /// The number of the first late comer.
    pub next: Option<u64>,
    /// Those present at the opening.
    pub count: Option<u64>,
    /// SHA-256 of the entries.
    pub digest: Option<String>,
    /// Base64: a bit for each number below `next`, the highest bit of a byte first.
    pub entries: Option<String>,
}

/// Why a document proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Of before the opening.
    #[error("this is the promise alone: the draw has not taken place")]
    NotDrawn,
    /// Another version's.
    #[error("the method is not {METHOD}: {0:?}")]
    Method(String),
    /// A field is missing or cannot be read.
    #[error("{0} is missing or cannot be read")]
    Field(&'static str),
    /// The fields do not fit each other.
    #[error(transparent)]
    Draw(#[from] DrawError),
}

impl Published {
    /// Before the opening: the promise.
    #[must_use]
    pub fn promise(room: &RoomName, epoch: Epoch, opens_at: Timestamp, secret: &Hash) -> Self {
        Self {
            room: room.to_string(),
            epoch: epoch.0,
            opening_at: opens_at.as_millis(),
            method: METHOD.into(),
            drawn: false,
            commitment: to_hex(&draw::commitment(secret)),
            secret: None,
            next: None,
            count: None,
            digest: None,
            entries: None,
        }
    }

    /// After it: all.
    #[must_use]
    pub fn all(room: &RoomName, epoch: Epoch, opens_at: Timestamp, draw: &Draw) -> Self {
        Self {
            drawn: true,
            secret: Some(to_hex(&draw.secret)),
            next: Some(draw.next.0),
            count: Some(draw.count()),
            digest: Some(to_hex(&draw.digest())),
            entries: Some(STANDARD.encode(&draw.entries)),
            ..Self::promise(room, epoch, opens_at, &draw.secret)
        }
    }

    /// The draw, when all of it fits together.
    ///
    /// # Errors
    /// [`Doubt`]: the first thing that does not.
    pub fn verified(&self) -> Result<Draw, Doubt> {
        if self.method != METHOD {
            return Err(Doubt::Method(self.method.clone()));
        }
        if !self.drawn {
            return Err(Doubt::NotDrawn);
        }
        let hash = |name, text: Option<&str>| text.and_then(from_hex).ok_or(Doubt::Field(name));
        let commitment = hash("commitment", Some(&self.commitment))?;
        let secret = hash("secret", self.secret.as_deref())?;
        let digest = hash("digest", self.digest.as_deref())?;
        let next = self.next.filter(|&next| u32::try_from(next).is_ok()).ok_or(Doubt::Field("next"))?;
        let count = self.count.ok_or(Doubt::Field("count"))?;
        let entries = self.entries.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let entries = entries.ok_or(Doubt::Field("entries"))?;
        let draw = Draw { secret, next: PlaceNumber(next), entries };
        draw.verify(&commitment, &digest, count)?;
        Ok(draw)
    }
}

/// 64 digits.
pub fn to_hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 digits, of either case.
pub fn from_hex(text: &str) -> Option<Hash> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok());
    if digits.len() != 64 { None } else { bytes.collect::<Option<Vec<_>>>()?.try_into().ok() }
}
