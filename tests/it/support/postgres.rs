//! One PostgreSQL server for the whole test process, a fresh database per test;
//! and servers of a test's own, to be killed.
//!
//! Started in a scratch folder on a free loopback port, without fsync. A
//! watching shell ends it when the test process is gone, however that went.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Tries, 50 ms apart, for what a busy machine may take a minute over.
const TRIES: u32 = 1_200;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

const BIN: &str = "/usr/lib/postgresql/15/bin";

struct Server {
    port: u16,
    _folder: tempfile::TempDir,
    _watcher: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The address of an empty database, or `None` when PostgreSQL is missing and
/// the environment says that this is all right.
pub fn database() -> Option<String> {
    if skipped() {
        return None;
    }
    let server = SERVER.get_or_init(start);
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    // Cloning template0 is a file copy; two at once are refused.
    static CLONING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = CLONING.lock();
    let made = (0..TRIES).any(|_| {
        let done = psql(server.port, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        if !done {
            std::thread::sleep(BETWEEN_TRIES);
        }
        done
    });
    assert!(made, "cannot create database {name}");
    Some(url(server.port, &name))
}

fn skipped() -> bool {
    let missing = !Path::new(BIN).join("postgres").exists();
    assert!(
        !missing || std::env::var("USHER_SKIP_POSTGRES").is_ok_and(|skip| skip == "1"),
        "no PostgreSQL in {BIN}; install postgresql-15 or set USHER_SKIP_POSTGRES=1"
    );
    missing
}

fn command(port: u16, sql: &str) -> Command {
    let mut psql = Command::new(format!("{BIN}/psql"));
    psql.args(["-qXAt", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), "-c", sql]);
    psql.stdin(Stdio::null()).stderr(Stdio::null());
    psql
}

fn psql(port: u16, sql: &str) -> bool {
    command(port, sql).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What goes before a command of PostgreSQL's, which refuses to run as root.
fn as_postgres() -> &'static str {
    let root = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout == b"0\n");
    if root { "runuser -u postgres -- " } else { "" }
}

fn shell(script: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null());
    shell
}

fn start() -> Server {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let data = own(folder.path());
    init(&data);
    let port = super::ports::free_port();
    let options = "-c synchronous_commit=off -c full_page_writes=off -c max_connections=800";
    let mut watcher = launch(folder.path(), port, options);
    for _ in 0..TRIES {
        if psql(port, "SELECT 1") {
            return Server { port, _folder: folder, _watcher: watcher };
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    let _ = watcher.kill().and_then(|()| watcher.wait());
    panic!("PostgreSQL does not come up: {}", log(folder.path()));
}

fn init(data: &Path) {
    let init = format!(
        "{}{BIN}/initdb -D {} -A trust -U postgres -E UTF8 --no-sync --locale=C",
        as_postgres(),
        data.display()
    );
    assert!(shell(&init).status().is_ok_and(|status| status.success()), "initdb failed");
}

/// Runs the server of the scratch folder until it ends, or the test process does.
fn launch(scratch: &Path, port: u16, options: &str) -> Child {
    let run = format!(
        "{user}{BIN}/postgres -D {data} -p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off {options} \
         >>{scratch}/log 2>&1 & \
         while [ -d /proc/{parent} ] && kill -0 $! 2>/dev/null; do sleep 0.5; done; \
         [ -d /proc/{parent} ] && exit; \
         kill -INT $(head -n 1 {data}/postmaster.pid) 2>/dev/null; wait; rm -rf {scratch}",
        user = as_postgres(),
        data = scratch.join("data").display(),
        scratch = scratch.display(),
        parent = std::process::id(),
    );
    shell(&run).spawn().expect("a shell")
}

fn log(scratch: &Path) -> String {
    std::fs::read_to_string(scratch.join("log")).unwrap_or_default()
}

/// A folder inside the scratch folder that the server's user may write.
fn own(scratch: &Path) -> PathBuf {
    let data = scratch.join("data");
    std::fs::create_dir(&data).expect("a data folder");
    let _ = Command::new("chmod").arg("755").arg(scratch).status();
    let _ = Command::new("chmod").arg("700").arg(&data).status();
    let _ = Command::new("chown").arg("postgres").arg(&data).stderr(Stdio::null()).status();
    data
}

/// A server that is killed and started again; what it committed is on disk as far
/// as the death of a process goes.
pub(crate) struct OwnServer {
    folder: tempfile::TempDir,
    port: u16,
    watcher: Option<Child>,
}

impl OwnServer {
    /// `None` when PostgreSQL is missing and may be.
    pub(crate) fn start() -> Option<Self> {
        if skipped() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a scratch folder");
        init(&own(folder.path()));
        let mut server = Self { folder, port: super::ports::free_port(), watcher: None };
        server.start_again();
        Some(server)
    }

    /// A second server that follows this one, and is at its side right away.
    pub(crate) fn standby(&self) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let copy = format!(
            "{}{BIN}/pg_basebackup -D {} -R -X stream -c fast --no-sync -h 127.0.0.1 -U postgres -p {}",
            as_postgres(),
            own(folder.path()).display(),
            self.port
        );
        assert!(shell(&copy).status().is_ok_and(|status| status.success()), "pg_basebackup failed");
        let mut standby = Self { folder, port: super::ports::free_port(), watcher: None };
        standby.start_again();
        standby
    }

    /// Starts it, until it answers: what is left of a killed one may be in the way
    /// for a moment.
    pub(crate) fn start_again(&mut self) {
        for attempt in 0..TRIES {
            let gone = self.watcher.as_mut().is_none_or(|watcher| !matches!(watcher.try_wait(), Ok(None)));
            if gone {
                self.watcher = Some(launch(self.folder.path(), self.port, "-c max_connections=100"));
            }
            if attempt > 0 && psql(self.port, "SELECT 1") {
                return;
            }
            std::thread::sleep(BETWEEN_TRIES);
        }
        panic!("PostgreSQL does not come up: {}", log(self.folder.path()));
    }

    /// `kill -9` of the postmaster; its children end by themselves.
    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    /// What `pg_ctl stop -m immediate` does: no checkpoint, no goodbye.
    pub(crate) fn stop_at_once(&mut self) {
        self.end("QUIT");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut watcher) = self.watcher.take() else { return };
        if let Some(pid) = self.pid() {
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        }
        let _ = watcher.wait();
    }

    fn pid(&self) -> Option<String> {
        let file = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).ok()?;
        file.lines().next().map(str::to_owned)
    }

    /// Makes a standby a server of its own.
    pub(crate) fn promote(&self) {
        assert!(psql(self.port, "SELECT pg_promote()"), "cannot promote: {}", log(self.folder.path()));
    }

    /// Runs a statement that has to work.
    pub(crate) fn run(&self, sql: &str) {
        assert!(psql(self.port, sql), "{sql}: {}", log(self.folder.path()));
    }

    /// Whether a condition holds.
    pub(crate) fn says(&self, condition: &str) -> bool {
        let sql = format!("SELECT {condition}");
        let out = command(self.port, &sql).output();
        out.is_ok_and(|out| out.status.success() && out.stdout == b"t\n")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address of an empty database of that name.
    pub(crate) fn create(&self, name: &str) -> String {
        self.run(&format!("CREATE DATABASE {name} TEMPLATE template0"));
        url(self.port, name)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop_at_once();
    }
}

/// The address of a database behind a port.
pub(crate) fn url(port: u16, name: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{name}")
}
