//! A `redis-server` of a test's own: free loopback port, scratch folder, gone with
//! the value. Only processes started here are ever signalled.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::free_port;
use super::set_clock::SetClock;

/// A server that is started answers within a minute, and so does one that runs.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// A running (or killed) server.
pub(crate) struct RedisServer {
    folder: TempDir,
    port: u16,
    args: Vec<String>,
    env: Vec<(String, String)>,
    child: Option<Child>,
}

/// Whether the tests that need Redis are to be left out; said aloud.
pub(crate) fn skipped() -> bool {
    let skip = std::env::var("USHER_SKIP_REDIS").is_ok_and(|value| value == "1");
    if skip {
        eprintln!("left out: USHER_SKIP_REDIS=1");
    }
    skip
}

impl RedisServer {
    /// A server that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// When there is no `redis-server`, or it does not answer within a minute.
    pub(crate) fn start_with(more: &[&str]) -> Self {
        let mut server = Self::prepare(more);
        server.spawn(&[]);
        server
    }

    /// The same, by that clock.
    pub(crate) fn start_under(clock: &SetClock, more: &[&str]) -> Self {
        let mut server = Self::prepare(more);
        server.env = clock.env();
        server.spawn(&[]);
        server
    }

    /// A sentinel that watches `master` as `mymaster`, alone; patient until it
    /// is told otherwise, so that a busy machine is no failure.
    pub(crate) fn sentinel(master: u16) -> Self {
        let mut sentinel = Self::prepare(&[]);
        let rules = format!(
            "sentinel monitor mymaster 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds mymaster 60000\n\
             sentinel failover-timeout mymaster 2000\n"
        );
        let file = sentinel.folder.path().join("sentinel.conf");
        std::fs::write(&file, rules).expect("the scratch folder is ours");
        let file = file.display().to_string();
        sentinel.args.clear();
        sentinel.spawn(&[&file, "--sentinel"]);
        sentinel
    }

    fn prepare(more: &[&str]) -> Self {
        let args = ["--save", "", "--appendonly", "no"].iter().chain(more).map(ToString::to_string).collect();
        let folder = tempfile::tempdir().expect("a scratch folder");
        Self { folder, port: free_port(), args, env: Vec::new(), child: None }
    }

    fn spawn(&mut self, first: &[&str]) {
        self.launch(first);
        self.wait_for_answer();
    }

    fn launch(&mut self, first: &[&str]) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("the scratch folder is ours");
        let child = Command::new("redis-server")
            .args(first)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.args)
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed (or leave its tests out with USHER_SKIP_REDIS=1)");
        self.child = Some(child);
    }

    fn wait_for_answer(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if self.try_command(&["PING"]).is_ok() {
                return;
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        panic!("redis-server does not answer:\n{}", self.log());
    }

    /// What it printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Runs a command over a connection of its own.
    ///
    /// # Panics
    /// When it fails.
    pub(crate) fn command(&self, words: &[&str]) -> redis::Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) fn try_command(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    }

    /// One field of `INFO`.
    pub(crate) fn info(&self, field: &str) -> String {
        let info: String = redis::from_redis_value(self.command(&["INFO", "all"])).expect("text");
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO has no {field}")).trim().to_owned()
    }

    /// Lets a save fail, after which it refuses to write until `save` is emptied; needs
    /// `--enable-protected-configs local`.
    pub(crate) async fn cannot_save(&self) {
        let folder = self.folder().join("gone");
        std::fs::create_dir(&folder).expect("the scratch folder is ours");
        self.command(&["CONFIG", "SET", "dir", &folder.display().to_string()]);
        std::fs::remove_dir(&folder).expect("empty");
        self.command(&["CONFIG", "SET", "save", "3600 1"]);
        self.command(&["BGSAVE"]);
        let failed = async || (self.info("rdb_last_bgsave_status") == "err").then_some(());
        super::wait::until("the save fails", PATIENCE, failed).await;
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same port and folder.
    pub(crate) fn restart(&mut self) {
        self.restart_unawaited();
        self.wait_for_answer();
    }

    /// The same without waiting until it has loaded what it kept.
    pub(crate) fn restart_unawaited(&mut self) {
        self.kill();
        self.launch(&[]);
    }

    /// Stops the process as a debugger would.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("running").id();
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
