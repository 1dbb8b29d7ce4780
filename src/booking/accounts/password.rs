//! Passwords: argon2id, off the threads that serve, and bounded.
//!
//! A hash takes 19 MiB and some 20 ms of one core on purpose; a crowd that signs
//! up at once must neither fill the memory nor starve the polls, so no more run
//! at once than there are cores and the rest wait, for a while.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::booking::problem::{Code, Problem};

/// A hash is waited for this long before the caller is told to come again.
const WAIT: Duration = Duration::from_secs(10);

/// Hashes and checks passwords.
#[derive(Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
    /// What an unknown account's password is compared with, so that the answer
    /// takes as long as for a known one.
    nobody: String,
}

impl Passwords {
    /// As many at once as there are cores.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn new() -> Result<Self, argon2::password_hash::Error> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self { permits: Arc::new(Semaphore::new(cores)), nobody: hash(b"nobody's password")? })
    }

    /// The PHC string to store for `password`.
    ///
    /// # Errors
    /// `unavailable` when too many are waiting.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash(password.as_bytes())).await?.map_err(|why| {
            tracing::error!(%why, "cannot hash a password");
            Code::Internal.into()
        })
    }

    /// Whether `password` is the one stored; `None` = there is no such account.
    ///
    /// # Errors
    /// `unavailable` when too many are waiting.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Problem> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.nobody.clone());
        let matches = self.run(move || verify(password.as_bytes(), &stored)).await?;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Problem::new(Code::Unavailable).retry_after(5)) };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|why| {
            tracing::error!(%why, "password task ended early");
            Code::Internal.into()
        })
    }
}

fn hash(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password).map(|hash: PasswordHash| hash.to_string())
}

fn verify(password: &[u8], stored: &str) -> bool {
    Argon2::default().verify_password(password, stored).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_passes() {
        let passwords = Passwords::new().expect("random bytes");
        let stored = passwords.hash("correct horse".into()).await.expect("a core");
        assert!(stored.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.expect("a core"));
        assert!(!passwords.verify("wrong horse".into(), Some(stored)).await.expect("a core"));
        assert!(!passwords.verify("nobody's password".into(), None).await.expect("a core"));
        assert!(!passwords.verify("x".into(), Some("not a hash".into())).await.expect("a core"));
    }
}
