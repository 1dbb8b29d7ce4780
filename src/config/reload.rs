//! A changed file taken up without a restart.
//!
//! Publishes a whole new [`Config`] or changes nothing. What it means for a
//! room or a key is for the subscribers; what cannot change in a running
//! process is said, not guessed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::{Config, LoadError, load};

/// Editors write a file in several steps: look at it when they are done.
const SETTLE: Duration = Duration::from_millis(200);

/// The settings in force, and the file they come from.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    config: watch::Sender<Arc<Config>>,
    judge: fn(&Config) -> Result<(), LoadError>,
}

impl Reloader {
    /// Starts from settings already loaded from `path`.
    #[must_use]
    pub fn new(path: &Path, config: Arc<Config>) -> Arc<Self> {
        Self::judged_by(path, config, |_| Ok(()))
    }

    /// The same, where somebody else has a say in what can be used.
    #[must_use]
    pub fn judged_by(
        path: &Path,
        config: Arc<Config>,
        judge: fn(&Config) -> Result<(), LoadError>,
    ) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), config: watch::Sender::new(config), judge })
    }

    /// Hears of every change from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// Reads the file again. The answer names what changed in it that needs a
    /// restart; everything else is in force.
    ///
    /// # Errors
    /// [`LoadError`]: nothing changed.
    pub fn reload(&self) -> Result<Vec<&'static str>, LoadError> {
        let new = Arc::new(load(&self.path, std::env::vars())?);
        (self.judge)(&new)?;
        let needs_restart = needs_restart(&self.config.borrow(), &new);
        self.config.send_replace(new);
        Ok(needs_restart)
    }

    /// Reloads on SIGHUP and when the file changes, for ever.
    pub async fn run(&self) {
        let (changed, mut changes) = mpsc::channel(1);
        // The folder is watched, not the file: many editors replace files.
        let _watcher = self.watch(changed);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                Some(()) = changes.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    let _ = changes.try_recv();
                }
            }
            match self.reload() {
                Ok(needs_restart) => {
                    tracing::info!(file = %self.path.display(), "settings reloaded");
                    for what in needs_restart {
                        tracing::warn!("{what} changed in the file: a restart is needed for that");
                    }
                }
                Err(why) => tracing::error!(%why, "settings not reloaded: the ones before stay in force"),
            }
        }
    }

    fn watch(&self, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let name = self.path.file_name()?.to_owned();
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let ours = event.is_ok_and(|event| {
                !event.kind.is_access() && event.paths.iter().any(|path| path.file_name() == Some(&name))
            });
            if ours {
                // Full: a change is already on its way.
                let _ = changed.try_send(());
            }
        })
        .ok()?;
        watcher.watch(folder, RecursiveMode::NonRecursive).ok()?;
        Some(watcher)
    }
}

/// What differs between two settings and cannot change in a running process.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let rooms = |config: &Config| -> Vec<_> {
        config.rooms.iter().map(|room| (room.name.clone(), room.upstreams.clone())).collect()
    };
    let same = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") == format!("{b:?}");
    let checks = [
        (old.gate.listen == new.gate.listen, "gate.listen"),
        (old.gate.threads == new.gate.threads, "gate.threads"),
        (same(&old.gate.tls, &new.gate.tls), "gate.tls"),
        (same(&old.gate.limits, &new.gate.limits), "gate.limits"),
        (old.gate.trusted_proxies == new.gate.trusted_proxies, "gate.trusted_proxies"),
        (old.gate.public_url == new.gate.public_url, "gate.public_url"),
        (old.gate.drain_delay == new.gate.drain_delay, "gate.drain_delay"),
        (old.gate.stop_timeout == new.gate.stop_timeout, "gate.stop_timeout"),
        (same(&old.admin, &new.admin), "[admin]"),
        (same(&old.store, &new.store), "[store]"),
        (rooms(old) == rooms(new), "the rooms' names or upstreams"),
        (same(&old.booking, &new.booking), "[booking]"),
        (same(&old.log, &new.log), "[log]"),
    ];
    checks.into_iter().filter(|(same, _)| !same).map(|(_, what)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: &str = "[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n";

    fn folder_with(text: &str) -> (tempfile::TempDir, Arc<Reloader>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("usher.toml");
        std::fs::write(&path, text).expect("written");
        let config = load(&path, []).expect("valid");
        let reloader = Reloader::new(&path, Arc::new(config));
        (folder, reloader)
    }

    #[test]
    fn a_bad_file_changes_nothing_and_says_why() {
        let (folder, reloader) = folder_with(ROOM);
        std::fs::write(folder.path().join("usher.toml"), format!("{ROOM}batch = 0\n")).expect("written");
        let why = reloader.reload().expect_err("batch 0").to_string();
        assert!(why.contains("usher.toml:3: room[0].batch: expected at least 1"), "{why}");
        assert_eq!(reloader.subscribe().borrow().rooms[0].line.batch, 120);
    }

    #[test]
    fn limits_change_live_and_listeners_do_not() {
        let (folder, reloader) = folder_with(ROOM);
        let text = format!("[gate]\nlisten = \"127.0.0.1:1\"\n{ROOM}batch = 7\n");
        std::fs::write(folder.path().join("usher.toml"), text).expect("written");
        assert_eq!(reloader.reload().expect("valid"), ["gate.listen"]);
        assert_eq!(reloader.subscribe().borrow().rooms[0].line.batch, 7);
    }

    #[test]
    fn what_the_running_process_keeps_is_said() {
        let (folder, reloader) = folder_with(ROOM);
        let gate = "[gate]\npublic_url = \"https://t.test\"\ndrain_delay = \"1s\"\nstop_timeout = \"2s\"\n";
        std::fs::write(folder.path().join("usher.toml"), format!("{gate}{ROOM}")).expect("written");
        let expected = ["gate.public_url", "gate.drain_delay", "gate.stop_timeout"];
        assert_eq!(reloader.reload().expect("valid"), expected);
    }
}
