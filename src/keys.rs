//! Signing keys: made, kept, found again.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::{Keys, check};

/// 32 random bytes.
///
/// # Panics
/// When the system gives no randomness.
#[must_use]
pub fn generate() -> [u8; 32] {
    let mut key = [0; 32];
    getrandom::fill(&mut key).expect("the system gives random bytes");
    key
}

/// A key as text: base64url, 43 characters.
#[must_use]
pub fn to_text(key: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// The keys of a state file: the current one in the first line, the one before
/// it in the second. Makes the file when it is missing; two processes that
/// start together agree on one key.
///
/// # Errors
/// When the file cannot be made or read, or holds no key.
pub fn load_or_make(path: &Path) -> io::Result<Keys> {
    if !path.exists() {
        make(path)?;
    }
    let text = fs::read_to_string(path)?;
    let mut keys = text.lines().map(|line| check::key(line.trim()).map_err(io::Error::other));
    let current = keys.next().unwrap_or_else(|| Err(io::Error::other("holds no key")))?;
    Ok(Keys { current, previous: keys.next().transpose()? })
}

/// Writes whole, then names: nobody ever reads half a key.
fn make(path: &Path) -> io::Result<()> {
    let draft = path.with_extension(format!("keys.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", to_text(&generate()))?;
    file.sync_all()?;
    let named = match fs::hard_link(&draft, path) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&draft)?;
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usher.keys");
        let first = load_or_make(&path).expect("made");
        assert_eq!(load_or_make(&path).expect("found").current, first.current);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn the_second_line_is_the_previous_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usher.keys");
        fs::write(&path, format!("{}\n{}\n", to_text(&[1; 32]), to_text(&[2; 32]))).expect("written");
        let keys = load_or_make(&path).expect("read");
        assert_eq!((keys.current, keys.previous), ([1; 32], Some([2; 32])));
        fs::write(&path, "nonsense").expect("written");
        assert!(load_or_make(&path).is_err());
    }
}
