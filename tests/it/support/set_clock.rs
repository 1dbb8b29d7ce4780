//! A server's wall clock, set by a test while the server runs.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// What is loaded before a server; see there.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/set_clock.c");

/// The clock of the servers that are started with its [`SetClock::env`].
pub(crate) struct SetClock {
    folder: TempDir,
}

impl SetClock {
    /// A clock that is right.
    pub(crate) fn right() -> Self {
        let clock = Self { folder: tempfile::tempdir().expect("a scratch folder") };
        std::fs::write(clock.file(), 0_i64.to_ne_bytes()).expect("the scratch folder is ours");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&clock.library(), &PathBuf::from(SOURCE)])
            .output()
            .expect("cc is installed");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        clock
    }

    /// Sets it to be so many seconds ahead (or behind).
    pub(crate) fn set(&self, seconds: i64) {
        let file = std::fs::File::options().write(true).open(self.file()).expect("written before");
        // In place and at once: servers have it mapped.
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the scratch folder is ours");
    }

    /// What a server needs in its environment.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        [("LD_PRELOAD", self.library()), ("SET_CLOCK_FILE", self.file())]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .into()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("seconds")
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("set_clock.so")
    }
}
