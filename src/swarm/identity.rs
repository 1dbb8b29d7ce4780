//! What a visitor shows to be known again.
//!
//! Owns its cookies, tokens or session header. Never judges them: the gate's
//! are sealed, so all that can be checked is that no two visitors get the same.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};

use super::answer::Tokens;
use super::options::IdentityKind;

/// A pass that no gate ever gave; well-formed as far as anybody can see.
const FORGED: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

/// One visitor's credentials, as they are now.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// By name, as a browser keeps them.
    Cookies(BTreeMap<String, String>),
    /// As the gate's JSON gave them.
    Tokens(Tokens),
    /// A header of the app's own.
    Session(HeaderName, HeaderValue),
}

impl Identity {
    /// Nobody yet; with a session header, whoever `session` names.
    pub(super) fn new(kind: &IdentityKind, session: &str) -> Self {
        match kind {
            IdentityKind::Cookie => Self::Cookies(BTreeMap::new()),
            IdentityKind::Token => Self::Tokens(Tokens::default()),
            IdentityKind::Session(name) => Self::Session(
                name.clone(),
                HeaderValue::from_str(session).expect("a session id is made of letters, digits and dashes"),
            ),
        }
    }

    /// The credentials of somebody who made a pass up.
    pub(super) fn forged(kind: &IdentityKind, room: Option<&str>) -> Self {
        match kind {
            IdentityKind::Token => {
                Self::Tokens(Tokens { pass_token: Some(FORGED.into()), ..Tokens::default() })
            }
            IdentityKind::Cookie | IdentityKind::Session(_) => {
                let suffix = room.filter(|&room| room != "main").map(|room| format!("_{room}"));
                let name = format!("usher_pass{}", suffix.unwrap_or_default());
                Self::Cookies(BTreeMap::from([(name, FORGED.into())]))
            }
        }
    }

    /// Adds the credentials to a request.
    pub(super) fn show(&self, headers: &mut HeaderMap) {
        match self {
            Self::Cookies(jar) => {
                let pairs: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
                if !pairs.is_empty() {
                    insert(headers, COOKIE, &pairs.join("; "));
                }
            }
            Self::Tokens(tokens) => {
                headers.insert("usher-client", HeaderValue::from_static("token"));
                for (name, token) in tokens.named() {
                    if let Some(token) = token {
                        insert(headers, name, token);
                    }
                }
            }
            Self::Session(name, value) => {
                headers.insert(name, value.clone());
            }
        }
    }

    /// Takes in the cookies of an answer; digests of the gate's own go to `keys`.
    pub(super) fn take_cookies(&mut self, headers: &HeaderMap, keys: &mut Vec<u64>) {
        let Self::Cookies(jar) = self else { return };
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            if value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                jar.remove(name);
                continue;
            }
            if name.trim_start_matches("__Host-").starts_with("usher_") {
                keys.push(digest(value));
            }
            jar.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Takes in the tokens of a status answer; digests of new ones go to `keys`.
    pub(super) fn take_tokens(&mut self, new: Tokens, keys: &mut Vec<u64>) {
        let Self::Tokens(tokens) = self else { return };
        for (slot, new) in [
            (&mut tokens.visitor_token, new.visitor_token),
            (&mut tokens.place_token, new.place_token),
            (&mut tokens.pass_token, new.pass_token),
        ] {
            if let Some(new) = new.filter(|new| slot.as_ref() != Some(new)) {
                keys.push(digest(&new));
                *slot = Some(new);
            }
        }
    }
}

impl Tokens {
    fn named(&self) -> [(HeaderName, Option<&str>); 3] {
        [
            (HeaderName::from_static("usher-visitor-token"), self.visitor_token.as_deref()),
            (HeaderName::from_static("usher-place-token"), self.place_token.as_deref()),
            (HeaderName::from_static("usher-pass-token"), self.pass_token.as_deref()),
        ]
    }
}

/// What cannot be a header's value is left out: the gate then sees a newcomer,
/// and the visitor's record shows it.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The same for the same text within one run.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie.parse().expect("a header value"));
        }
        headers
    }

    fn shown(identity: &Identity) -> HeaderMap {
        let mut headers = HeaderMap::new();
        identity.show(&mut headers);
        headers
    }

    #[test]
    fn cookies_come_back_until_they_are_taken_away() {
        let (mut identity, mut keys) = (Identity::new(&IdentityKind::Cookie, ""), Vec::new());
        assert!(shown(&identity).is_empty());
        identity.take_cookies(
            &answer(&[
                "usher_visitor=v=1; HttpOnly; SameSite=Lax",
                "theme=dark",
                "__Host-usher_pass=p; Path=/",
            ]),
            &mut keys,
        );
        assert_eq!(shown(&identity)[COOKIE], "__Host-usher_pass=p; theme=dark; usher_visitor=v=1");
        assert_eq!(keys.len(), 2, "the app's cookie may be everybody's");
        identity.take_cookies(&answer(&["__Host-usher_pass=; Max-Age=0", "theme=x; max-age=0"]), &mut keys);
        assert_eq!(shown(&identity)[COOKIE], "usher_visitor=v=1");
    }

    #[test]
    fn tokens_are_kept_and_noted_once() {
        let (mut identity, mut keys) = (Identity::new(&IdentityKind::Token, ""), Vec::new());
        let tokens = |visitor: &str, place: Option<&str>| Tokens {
            visitor_token: Some(visitor.into()),
            place_token: place.map(Into::into),
            pass_token: None,
        };
        identity.take_tokens(tokens("v", Some("p")), &mut keys);
        identity.take_tokens(tokens("v", None), &mut keys);
        let headers = shown(&identity);
        assert_eq!(headers["usher-client"], "token");
        assert_eq!(headers["usher-visitor-token"], "v");
        assert_eq!(headers["usher-place-token"], "p");
        assert!(!headers.contains_key("usher-pass-token"));
        assert_eq!(keys.len(), 2);
    }
}
