//! A changed file taken up without a restart.
//!
//! Publishes a whole new [`Config`] or changes nothing. What it means for a
//! room or a key is for the subscribers; what cannot change in a running
//! process is said, not guessed.
//!
//! A certificate is renewed by others, behind links that are swapped in any of
//! its path's folders. So its files are not watched but read again every
//! second, and taken up alone: a settings file that cannot be used must not
//! keep an old certificate in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::load::Problem;
use super::{Config, LoadError, Room, Tls, load};

/// Editors write a file in several steps: look at it when they are done.
const SETTLE: Duration = Duration::from_millis(200);
/// Between two looks at the certificate's files. They are taken up when two looks
/// found the same: who renews them writes one after the other.
const LOOK: Duration = Duration::from_secs(1);

/// The settings in force, and the file they come from.
#[derive(Debug)]
pub struct Reloader {
    path: PathBuf,
    config: watch::Sender<Arc<Config>>,
    judge: fn(&Config) -> Result<(), LoadError>,
    /// One change at a time: each builds on the settings in force.
    changing: Mutex<()>,
}

/// An order is promised to those who stand in the line.
fn same_orders(path: &Path, old: &Config, new: &Config) -> Result<(), LoadError> {
    let changed = new.rooms.iter().enumerate().filter(|(_, room)| {
        old.rooms.iter().any(|before| before.name == room.name && before.order != room.order)
    });
    let problem = |(i, room): (usize, &Arc<Room>)| Problem {
        source: path.display().to_string(),
        line: None,
        key: format!("room[{i}].order"),
        expected: format!(
            "the order of room {:?} cannot change while people may stand in its line: clear the room, then restart",
            room.name.as_str()
        ),
    };
    let problems: Vec<_> = changed.map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(LoadError::Invalid(problems)) }
}

/// What a look at the certificate's files found.
type Look = Result<Tls, (&'static str, String)>;

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
        let config = watch::Sender::new(config);
        Arc::new(Self { path: path.to_owned(), config, judge, changing: Mutex::new(()) })
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
        let _one = self.changing.lock();
        let new = Arc::new(load(&self.path, std::env::vars())?);
        (self.judge)(&new)?;
        same_orders(&self.path, &self.config.borrow(), &new)?;
        let needs_restart = needs_restart(&self.config.borrow(), &new);
        self.config.send_replace(new);
        Ok(needs_restart)
    }

    /// What is now in the certificate's files, when that is not what is in force.
    fn look(&self) -> Option<Look> {
        let config = Arc::clone(&self.config.borrow());
        let tls = config.gate.tls.as_ref()?;
        let found = Tls::read(&tls.cert, &tls.key);
        (found.as_ref() != Ok(tls)).then_some(found)
    }

    /// Takes up what is in the certificate's files; all other settings stay.
    ///
    /// # Errors
    /// [`LoadError`]: nothing changed.
    fn renew(&self) -> Result<(), LoadError> {
        let _one = self.changing.lock();
        let Some(found) = self.look() else { return Ok(()) };
        let mut new = Config::clone(&self.config.borrow());
        new.gate.tls = Some(found.map_err(|(key, expected)| {
            let source = self.path.display().to_string();
            LoadError::Invalid(vec![Problem { source, line: None, key: key.into(), expected }])
        })?);
        (self.judge)(&new)?;
        self.config.send_replace(Arc::new(new));
        Ok(())
    }

    /// Takes up a renewed certificate, for ever.
    async fn follow_certificate(self: Arc<Self>) {
        if self.config.borrow().gate.tls.is_none() {
            return;
        }
        let (mut before, mut tried) = (None, None);
        loop {
            tokio::time::sleep(LOOK).await;
            // Not on a thread of the line: the disk may not answer.
            let this = Arc::clone(&self);
            let Ok(now) = tokio::task::spawn_blocking(move || this.look()).await else { continue };
            if now.is_none() {
                tried = None;
            } else if now == before && now != tried {
                match self.renew() {
                    Ok(()) => tracing::info!("certificate renewed"),
                    Err(why) => {
                        tracing::error!(%why, "certificate not renewed: the one before stays in force")
                    }
                }
                tried.clone_from(&now);
            }
            before = now;
        }
    }

    /// Reloads on SIGHUP and when the file changes, for ever.
    pub async fn run(self: Arc<Self>) {
        tokio::spawn(Arc::clone(&self).follow_certificate());
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
        (old.gate.tls.is_some() == new.gate.tls.is_some(), "gate.tls"),
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
    fn a_certificate_is_renewed_whatever_is_in_the_settings_file_by_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        write("cert.pem", "old");
        write("key.pem", "old key");
        write("usher.toml", &format!("[gate]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n{ROOM}"));
        let path = folder.path().join("usher.toml");
        let judge = |config: &Config| match &config.gate.tls {
            Some(tls) if tls.chain_pem == b"bad" => Err(LoadError::Invalid(Vec::new())),
            _ => Ok(()),
        };
        let reloader = Reloader::judged_by(&path, Arc::new(load(&path, []).expect("valid")), judge);
        let in_force = || reloader.subscribe().borrow().gate.tls.clone().expect("TLS");
        assert_eq!(reloader.look(), None);
        write("usher.toml", "[[room]\n");
        write("cert.pem", "new");
        reloader.renew().expect("not the settings file's business");
        assert_eq!((in_force().chain_pem, in_force().key_pem), (b"new".to_vec(), b"old key".to_vec()));
        write("cert.pem", "bad");
        reloader.renew().expect_err("judged");
        std::fs::remove_file(&key).expect("it was there");
        let why = reloader.renew().expect_err("no key").to_string();
        assert!(why.contains("cert.pem") && why.contains("key.pem") && why.contains("gate.tls.key"), "{why}");
        assert_eq!(in_force().chain_pem, b"new");
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
