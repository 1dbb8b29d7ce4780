//! One PostgreSQL server for the whole test process, a fresh database per test.
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
    if !Path::new(BIN).join("postgres").exists() {
        assert!(
            std::env::var("USHER_SKIP_POSTGRES").is_ok_and(|skip| skip == "1"),
            "no PostgreSQL in {BIN}; install postgresql-15 or set USHER_SKIP_POSTGRES=1"
        );
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
    Some(format!("postgres://postgres@127.0.0.1:{}/{name}", server.port))
}

fn psql(port: u16, sql: &str) -> bool {
    let mut psql = Command::new(format!("{BIN}/psql"));
    psql.args(["-qX", "-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string(), "-c", sql]);
    psql.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
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
    let (scratch, data_path, user) = (folder.path().display(), data.display(), as_postgres());
    let init = format!("{user}{BIN}/initdb -D {data_path} -A trust -U postgres -E UTF8 --no-sync --locale=C");
    assert!(shell(&init).status().is_ok_and(|status| status.success()), "initdb failed");
    let port = super::ports::free_port();
    let run = format!(
        "{user}{BIN}/postgres -D {data_path} -p {port} -k {data_path} -c listen_addresses=127.0.0.1 \
         -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=800 \
         >{scratch}/log 2>&1 & \
         while [ -d /proc/{parent} ] && kill -0 $! 2>/dev/null; do sleep 0.5; done; \
         kill -INT $(head -n 1 {data_path}/postmaster.pid) 2>/dev/null; wait; rm -rf {scratch}",
        parent = std::process::id(),
    );
    let mut watcher = shell(&run).spawn().expect("a shell");
    for _ in 0..TRIES {
        if psql(port, "SELECT 1") {
            return Server { port, _folder: folder, _watcher: watcher };
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    let _ = watcher.kill().and_then(|()| watcher.wait());
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    panic!("PostgreSQL does not come up: {log}");
}

/// A folder inside the scratch folder that the server's user may write.
fn own(scratch: &Path) -> PathBuf {
    let data = scratch.join("data");
    std::fs::create_dir(&data).expect("a data folder");
    let _ = Command::new("chmod").arg("755").arg(scratch).status();
    let _ = Command::new("chown").arg("postgres").arg(&data).stderr(Stdio::null()).status();
    data
}
