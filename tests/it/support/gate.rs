//! The real binary as a gate of a test's own: free loopback ports, settings in
//! a scratch folder, gone with the value. Only processes started here are ever
//! signalled.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Client, request};
use super::http1::Answer;
use super::ports::free_port;
use super::set_clock::SetClock;
use super::wait::until;

/// Time for a gate to come up on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// The command, ready for arguments; no setting of the environment reaches it.
pub(crate) fn usher() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("USHER__")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    end_of(usher().args(args))
}

/// What a command that must end by itself printed, and how it ended.
///
/// # Panics
/// When it does not end in time: it is killed then.
pub(crate) fn end_of(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let pid = child.id().to_string();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    let Ok(output) = told.recv_timeout(READY) else {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("still running after {READY:?}: {command:?}");
    };
    output.expect("our own child")
}

/// Resident memory of a running process in KB.
pub(crate) fn resident_of(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("running");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A running gate.
pub(crate) struct TestGate {
    folder: TempDir,
    env: Vec<(String, String)>,
    child: Child,
    /// Which handed its listeners over to `child`.
    before: Option<Child>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl TestGate {
    /// A gate with these settings; its listeners are chosen here.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub(crate) async fn start(settings: &str) -> Self {
        Self::start_with(settings, Vec::new()).await
    }

    /// The same, by that clock.
    pub(crate) async fn start_under(settings: &str, clock: &SetClock) -> Self {
        Self::start_with(settings, clock.env()).await
    }

    /// The same, with a log on a disk that is full from the start.
    pub(crate) async fn start_on_a_full_disk(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::os::unix::fs::symlink("/dev/full", folder.path().join("log")).expect("a link");
        Self::start_at(folder, settings, Vec::new()).await
    }

    async fn start_with(settings: &str, env: Vec<(String, String)>) -> Self {
        Self::start_at(tempfile::tempdir().expect("a scratch folder"), settings, env).await
    }

    async fn start_at(folder: TempDir, settings: &str, env: Vec<(String, String)>) -> Self {
        std::fs::write(folder.path().join("usher.toml"), settings).expect("the scratch folder is ours");
        let [address, admin] = std::array::from_fn(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let child = spawn(&folder, &env, address, admin, &[]);
        let mut gate = Self { folder, env, child, before: None, address, admin };
        gate.wait_until_ready().await;
        gate
    }

    /// One room named `main` before `app`, quick enough for tests, with `more` settings.
    pub(crate) async fn before(app: &super::app::FakeApp, more: &str) -> Self {
        Self::start(&room(&app.url(), more)).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// A newcomer with cookies.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A visitor whose turn has come, with a pass in its cookies.
    pub(crate) async fn admitted(&self) -> Client {
        let mut client = self.client();
        client.admit().await;
        client
    }

    /// A file of the gate's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        let is_file = std::fs::metadata(self.file("log")).is_ok_and(|log| log.is_file());
        if is_file { std::fs::read_to_string(self.file("log")).unwrap_or_default() } else { String::new() }
    }

    /// A call to the admin API.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.admin, method, path, &[("host", "localhost")], body.as_bytes()).await
    }

    /// A room as operators read it.
    pub(crate) async fn room(&self, name: &str) -> Value {
        self.admin("GET", &format!("/admin/v1/rooms/{name}"), "").await.json()
    }

    /// The room `main`, once the admission of the one visitor so far shows in it.
    pub(crate) async fn settled_room(&self) -> Value {
        until("the claim is counted", READY, || async {
            Some(self.room("main").await).filter(|room| room["claimed_total"] == 1)
        })
        .await
    }

    /// Sets something of the room `main`.
    pub(crate) async fn change(&self, change: &str) {
        self.is_done("PATCH", "/admin/v1/rooms/main", change).await;
    }

    /// An act on the room `main`.
    pub(crate) async fn act(&self, act: &str) {
        self.is_done("POST", &format!("/admin/v1/rooms/main/{act}"), "").await;
    }

    /// Repeats a call while the store is away: a busy machine may delay it.
    async fn is_done(&self, method: &str, path: &str, body: &str) {
        until("the operator's call", READY, async || {
            let answer = self.admin(method, path, body).await;
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Requests that the gate says it forwarded.
    pub(crate) async fn forwarded(&self) -> usize {
        let text = self.admin("GET", "/metrics", "").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix("usher_gate_forwarded_total "));
        line.unwrap_or_else(|| panic!("no such metric in {text}")).parse().expect("a count")
    }

    /// What the room `main` shows after two ticks that begin from here on: all
    /// that was done before has been read from the store by then.
    pub(crate) async fn after_two_ticks(&self) -> Value {
        let tick = async || self.room("main").await["tick"].as_u64().expect("a count");
        let now = tick().await;
        until("two more ticks", READY, || async {
            let room = self.room("main").await;
            (room["tick"].as_u64() >= Some(now + 2)).then_some(room)
        })
        .await
    }

    pub(crate) async fn is_ready(&self) -> bool {
        for listener in [self.admin, self.address] {
            if tokio::net::TcpStream::connect(listener).await.is_err() {
                return false;
            }
        }
        self.admin("GET", "/readyz", "").await.status == 200
    }

    /// Whether the process runs, and has panicked nowhere.
    pub(crate) fn is_well(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None)) && !self.log().contains("panicked")
    }

    /// Resident memory in KB.
    pub(crate) fn resident(&self) -> u64 {
        resident_of(&self.child)
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
    }

    /// How the process ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the gate's end", READY, || {
            let ended = child.try_wait().expect("our own child");
            async move { ended }
        })
        .await
    }

    /// Kills the process and starts another in its place.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.revive().await;
    }

    /// Starts another process in the place of one that ended.
    pub(crate) async fn revive(&mut self) {
        self.child = spawn(&self.folder, &self.env, self.address, self.admin, &[]);
        self.wait_until_ready().await;
    }

    /// Hands the listeners to a new process; waits for the end of the old one, and
    /// says how that ended.
    pub(crate) async fn upgrade(&mut self) -> ExitStatus {
        let new = spawn(&self.folder, &self.env, self.address, self.admin, &["--upgrade"]);
        let socket = self.file(&format!("usher-{}.sock", self.address.port()));
        until("the new process waits for the listeners", READY, || async { socket.exists().then_some(()) })
            .await;
        self.signal("QUIT");
        let old = self.before.insert(std::mem::replace(&mut self.child, new));
        let ended = until("the old process ends", READY, || {
            let ended = old.try_wait().expect("our own child");
            async move { ended }
        })
        .await;
        self.wait_until_ready().await;
        ended
    }

    async fn wait_until_ready(&mut self) {
        let deadline = tokio::time::Instant::now() + READY;
        while !self.is_ready().await {
            assert!(matches!(self.child.try_wait(), Ok(None)), "the gate ended: {}", self.log());
            assert!(tokio::time::Instant::now() < deadline, "not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        for child in self.before.iter_mut().chain([&mut self.child]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for TestGate {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The room `main` of tests: quick ticks, no pacing, everybody's turn at once.
pub(crate) fn room(upstream: &str, more: &str) -> String {
    let (gate, room) = more.split_once("[[room]]").unwrap_or(("", more));
    let poll = if room.contains("poll") { "" } else { "poll = { min = \"0s\" }\n" };
    format!("{gate}\n[[room]]\nupstreams = [\"{upstream}\"]\ntick = \"50ms\"\n{poll}{room}\n")
}

fn spawn(
    folder: &TempDir,
    env: &[(String, String)],
    address: SocketAddr,
    admin: SocketAddr,
    more: &[&str],
) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log"));
    usher()
        .args(["gate", "--config", "usher.toml"])
        .args(more)
        .current_dir(folder.path())
        .env("XDG_RUNTIME_DIR", folder.path())
        .env("USHER__GATE__LISTEN", address.to_string())
        .env("USHER__GATE__THREADS", "2")
        .env("USHER__ADMIN__LISTEN", admin.to_string())
        .envs(env.iter().cloned())
        .stdout(Stdio::null())
        .stderr(log.expect("the scratch folder is ours"))
        .spawn()
        .expect("the binary runs")
}
