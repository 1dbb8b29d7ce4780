//! Whether the gate let the caller in: its `Usher-Assertion`.
//!
//! A compact JWS, HS256, claims `room`, `sub`, `iat`, `exp`, under one of the
//! gate's keys. The header's `kid` is the first eight hex digits of the key's
//! SHA-256; an unknown one is tried against every key, so that a rotation needs
//! no agreement on names.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Booking;
use super::problem::{Code, Problem};
use crate::domain::time::Timestamp;

/// The header that carries the assertion.
pub const HEADER: &str = "usher-assertion";
/// The gate's clock and ours may differ by this much.
const LEEWAY_SECONDS: u64 = 5;

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(rename = "room")]
    _room: String,
    #[serde(rename = "sub")]
    _sub: String,
    iat: u64,
    exp: u64,
}

/// Checks assertions against the gate's keys.
pub struct Passes {
    keys: Vec<(String, DecodingKey)>,
    validation: Validation,
}

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passes({} keys)", self.keys.len())
    }
}

impl Passes {
    /// With these keys; without any, nothing passes.
    #[must_use]
    pub fn new(keys: &[[u8; 32]]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Our clock decides, not the library's.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let keys = keys.iter().map(|key| (key_id(key), DecodingKey::from_secret(key))).collect();
        Self { keys, validation }
    }

    /// Whether `assertion` is the gate's word, and still counts.
    #[must_use]
    pub fn accepts(&self, assertion: &str, now: Timestamp) -> bool {
        let Ok(header) = jsonwebtoken::decode_header(assertion) else { return false };
        let named = header.kid.and_then(|kid| self.keys.iter().find(|(id, _)| *id == kid));
        let read = |key| jsonwebtoken::decode::<Claims>(assertion, key, &self.validation).ok();
        let claims = match named {
            Some((_, key)) => read(key),
            None => self.keys.iter().find_map(|(_, key)| read(key)),
        };
        let seconds = now.as_millis() / 1_000;
        claims.is_some_and(|found| {
            seconds < found.claims.exp.saturating_add(LEEWAY_SECONDS)
                && found.claims.iat <= seconds.saturating_add(LEEWAY_SECONDS)
        })
    }
}

/// The name of a key: the first eight hex digits of its SHA-256.
#[must_use]
pub fn key_id(key: &[u8; 32]) -> String {
    Sha256::digest(key)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Proof that the caller came through the gate, or that nobody asks for it.
#[derive(Clone, Copy, Debug)]
pub struct ThroughGate;

impl FromRequestParts<Arc<Booking>> for ThroughGate {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, booking: &Arc<Booking>) -> Result<Self, Problem> {
        let assertion = parts.headers.get(HEADER).and_then(|value| value.to_str().ok());
        let ok = !booking.settings.require_pass
            || assertion.is_some_and(|assertion| booking.passes.accepts(assertion, booking.now()));
        if ok { Ok(Self) } else { Err(Code::PassRequired.into()) }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn assertion(key: &[u8; 32], kid: Option<String>, iat: u64, exp: u64) -> String {
        let header = Header { kid, ..Header::new(Algorithm::HS256) };
        let claims = json!({"room": "main", "sub": "someone", "iat": iat, "exp": exp});
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key)).expect("signs")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn the_gates_word_counts_within_its_time() {
        let passes = Passes::new(&[[1; 32], KEY]);
        let good = assertion(&KEY, Some(key_id(&KEY)), 100, 200);
        assert!(passes.accepts(&good, at(100)));
        assert!(passes.accepts(&good, at(204)));
        assert!(!passes.accepts(&good, at(205)));
        assert!(!passes.accepts(&good, at(94)));
    }

    #[test]
    fn an_unknown_key_name_is_tried_with_every_key_and_a_foreign_key_fails() {
        let passes = Passes::new(&[[1; 32], KEY]);
        assert!(passes.accepts(&assertion(&KEY, None, 0, 9), at(1)));
        assert!(passes.accepts(&assertion(&KEY, Some("other".into()), 0, 9), at(1)));
        assert!(!passes.accepts(&assertion(&[9; 32], None, 0, 9), at(1)));
        assert!(!passes.accepts(&assertion(&KEY, Some(key_id(&[1; 32])), 0, 9), at(1)));
        assert!(!passes.accepts("nonsense", at(1)));
        assert!(!Passes::new(&[]).accepts(&assertion(&KEY, None, 0, 9), at(1)));
    }
}
