//! The assertion that the app may check: a compact JWS, HS256 (RFC 7515).
//!
//! Written by hand from a signer that is keyed once, because it is made for
//! every forwarded request; any JWT library reads it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::seal::Seal;
use crate::domain::id::RoomName;
use crate::domain::time::Timestamp;

/// How long an app may take the gate's word.
const GOOD_FOR_SECONDS: u64 = 60;

/// Makes assertions for one key.
#[derive(Clone)]
pub(super) struct Assertions {
    seal: Seal,
    /// `base64url(header).`
    head: String,
}

impl Assertions {
    pub(super) fn new(seal: &Seal) -> Self {
        let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, seal.key_id());
        Self { seal: seal.clone(), head: format!("{}.", URL_SAFE_NO_PAD.encode(header)) }
    }

    /// Claims `room`, `sub` (the visitor), `iat` and `exp` in seconds.
    pub(super) fn make(&self, room: &RoomName, visitor: &str, now: Timestamp) -> String {
        let iat = now.as_millis() / 1_000;
        let exp = iat + GOOD_FOR_SECONDS;
        // Room names and ids hold nothing that JSON would escape.
        let claims = format!(r#"{{"room":"{room}","sub":"{visitor}","iat":{iat},"exp":{exp}}}"#);
        let mut token = String::with_capacity(self.head.len() + claims.len() * 4 / 3 + 48);
        token.push_str(&self.head);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let tag = self.seal.sign_assertion(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut token);
        token
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    use serde::Deserialize;

    use super::*;
    use crate::config::Keys;

    #[derive(Deserialize)]
    struct Claims {
        room: String,
        sub: String,
        iat: u64,
        exp: u64,
    }

    #[test]
    fn a_jwt_library_reads_it_and_refuses_another_key() {
        let seal = Seal::new(&Keys { current: [4; 32], previous: None });
        let room = "main".parse().expect("a name");
        let token = Assertions::new(&seal).make(&room, "abc", Timestamp::from_millis(1_700_000_000_500));
        let mut rules = Validation::new(Algorithm::HS256);
        rules.validate_exp = false;
        let read = |key: u8| decode::<Claims>(&token, &DecodingKey::from_secret(&[key; 32]), &rules);
        let claims = read(4).expect("valid").claims;
        assert_eq!((claims.room.as_str(), claims.sub.as_str()), ("main", "abc"));
        assert_eq!((claims.iat, claims.exp), (1_700_000_000, 1_700_000_060));
        assert!(read(5).is_err());
    }
}
