//! The real binary as a booking office of a test's own: a free loopback port,
//! settings in a scratch folder, gone with the value.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::booking::{PASSWORD, sign_in};
use super::gate::{resident_of, usher};
use super::http::Client;
use super::ports::free_port;
use super::wait::until;

/// Time for an office to come up on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// A running (or killed) office.
pub(crate) struct OfficeProcess {
    folder: TempDir,
    address: SocketAddr,
    prefix: Vec<String>,
    child: Option<Child>,
    pub(crate) client: Client,
}

impl OfficeProcess {
    /// An office with the sample event and these settings, of which the listener
    /// is chosen here; FOLDER stands for its folder.
    pub(crate) async fn start(settings: &str) -> Self {
        Self::start_behind(settings, Vec::new()).await
    }

    /// The same as the last words of another command.
    pub(crate) async fn start_behind(settings: &str, prefix: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path();
        let settings = settings.replace("FOLDER", &path.display().to_string());
        std::fs::write(path.join("usher.toml"), settings).expect("the scratch folder is ours");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let client = Client::of(address);
        let mut office = Self { folder, address, prefix, child: None, client };
        office.start_again().await;
        office
    }

    /// Starts it, until it listens.
    pub(crate) async fn start_again(&mut self) {
        let mut command = self.command(&["booking", "--sample"]);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        command.stdout(Stdio::null()).stderr(log.expect("the scratch folder is ours"));
        self.child = Some(command.spawn().expect("the binary runs"));
        let address = self.address;
        let is_up = async || tokio::net::TcpStream::connect(address).await.ok();
        until("the office listens", READY, is_up).await;
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut plain = usher();
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(plain.get_program()).stdin(Stdio::null());
                for (name, _) in plain.get_envs() {
                    command.env_remove(name);
                }
                command
            }
            None => std::mem::replace(&mut plain, Command::new("true")),
        };
        // By its whole path: another command may go elsewhere first.
        command.args(args).arg("--config").arg(self.folder.path().join("usher.toml"));
        command.current_dir(self.folder.path());
        command.env("USHER__BOOKING__LISTEN", self.address.to_string());
        command
    }

    /// What `usher booking audit` says.
    pub(crate) fn audit(&self) -> Output {
        super::gate::end_of(&mut self.command(&["booking", "audit"]))
    }

    /// Asserts that it finds nothing.
    #[track_caller]
    pub(crate) fn assert_sound(&self) {
        let audit = self.audit();
        assert!(audit.status.success(), "{audit:?}");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Resident memory in KB.
    pub(crate) fn resident(&self) -> u64 {
        resident_of(self.child.as_ref().expect("running"))
    }

    /// Asks the process to end.
    pub(crate) fn terminate(&self) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM {pid}");
    }

    /// How it ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("running");
        until("the office's end", READY, || {
            let ended = child.try_wait().expect("our own child");
            async move { ended }
        })
        .await
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }

    /// A signed-up fan with points to spend.
    pub(crate) async fn fan(&self, name: &str, points: i64) -> Client {
        let email = format!("{name}@example.org");
        let new = json!({"email": email, "password": PASSWORD, "name": name});
        self.client.post("/api/accounts", new).await.expect(201);
        let fan = sign_in(&self.client, &email, PASSWORD).await;
        fan.post("/api/wallet/charges", json!({"amount": points})).await.expect(201);
        fan
    }
}

impl Drop for OfficeProcess {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the office's log:\n{}", self.log());
        }
    }
}
