//! Access tokens: JWT, HS256, short-lived, revocable by their id.
//!
//! Whether a token was revoked is the database's to say ([`super::auth`]); this
//! only makes and reads them. Times are checked against our own clock.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::domain::order::AccountId;
use crate::domain::time::Timestamp;

/// How long a sign-in lasts.
pub(super) const LIFE: Duration = Duration::from_secs(2 * 3_600);

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    jti: String,
    iat: u64,
    exp: u64,
}

/// A token that was read and is within its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whose it is.
    pub account: AccountId,
    /// Its own id, for revocation.
    pub token_id: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Makes and reads tokens with one key.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(hidden)")
    }
}

impl Tokens {
    /// With this secret, of any length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // Our clock decides, not the library's.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
        }
    }

    /// A new token for `account`, and when it ends.
    ///
    /// # Errors
    /// The library's; not with a key of bytes.
    pub fn issue(
        &self,
        account: AccountId,
        now: Timestamp,
    ) -> Result<(String, Timestamp), jsonwebtoken::errors::Error> {
        let expires = now.as_millis() / 1_000 + LIFE.as_secs();
        let claims = Claims {
            sub: account.to_string(),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            iat: now.as_millis() / 1_000,
            exp: expires,
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)?;
        Ok((token, Timestamp::from_millis(expires * 1_000)))
    }

    /// The token's content, if we signed it and it has not run out.
    #[must_use]
    pub fn read(&self, token: &str, now: Timestamp) -> Option<Access> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).ok()?.claims;
        let expires_at = Timestamp::from_millis(claims.exp.checked_mul(1_000)?);
        let account = claims.sub.parse().ok()?;
        (now < expires_at).then_some(Access { account, token_id: claims.jti, expires_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: AccountId = AccountId::from_bits(7);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_token_is_good_until_its_end_and_only_under_its_key() {
        let tokens = Tokens::new(b"one secret");
        let (token, expires_at) = tokens.issue(ME, at(1_000)).expect("signs");
        assert_eq!(tokens.read(&token, at(1_000)).map(|access| access.account), Some(ME));
        assert_eq!(tokens.read(&token, expires_at), None);
        assert_eq!(Tokens::new(b"another").read(&token, at(1_000)), None);
        assert_eq!(tokens.read("a.b.c", at(1_000)), None);
    }

    #[test]
    fn a_token_without_a_signature_is_nothing() {
        let tokens = Tokens::new(b"one secret");
        // {"alg":"none"} . {"sub":"00000000000000000000000000000007","jti":"x","iat":0,"exp":9999999999} .
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwNyIsImp0aSI6IngiLCJpYXQiOjAsImV4cCI6OTk5OTk5OTk5OX0.";
        assert_eq!(tokens.read(unsigned, at(0)), None);
    }
}
