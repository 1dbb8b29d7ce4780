//! Mail under TLS: the real binary, which trusts the certificates that its host
//! names, and a mail server with one of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::support::booking::{PASSWORD, sign_in, until};
use crate::support::gate::usher;
use crate::support::http::Client;
use crate::support::ports::free_port;
use crate::support::smtp::{Sink, Tls};
use crate::support::tls::{CERTIFICATE, acceptor};
use crate::support::wait;

/// An office whose mail goes to the sink; it ends with this value.
struct Office {
    child: Child,
    client: Client,
    _folder: TempDir,
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Office {
    /// `smtp` is the address with PORT for the sink's port.
    async fn start(sink: &Sink, smtp: &str, trusts: &str) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let smtp = smtp.replace("PORT", &sink.address.port().to_string());
        let settings = format!(
            "[booking]\nlisten = \"{address}\"\ndatabase = \"sqlite::memory:\"\n\
             [booking.mail]\nsmtp = \"{smtp}\"\nfrom = \"Tickets <tickets@usher.test>\"\n"
        );
        std::fs::write(folder.path().join("usher.toml"), settings).expect("writes");
        std::fs::write(folder.path().join("trusted.pem"), trusts).expect("writes");
        let mut command = usher();
        command.args(["booking", "--config", "usher.toml", "--sample"]).current_dir(folder.path());
        command.env("SSL_CERT_FILE", folder.path().join("trusted.pem")).env_remove("SSL_CERT_DIR");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let is_up = async || tokio::net::TcpStream::connect(address).await.ok();
        wait::until("the office listens", Duration::from_secs(60), is_up).await;
        Self { child, client: Client::of(address), _folder: folder }
    }

    /// A fan buys a seat.
    async fn sell(&self) {
        let new = json!({"email": "fan@example.org", "password": PASSWORD, "name": "Fan"});
        self.client.post("/api/accounts", new).await.expect(201);
        let fan = sign_in(&self.client, "fan@example.org", PASSWORD).await;
        fan.post("/api/wallet/charges", json!({"amount": 1_000_000})).await.expect(201);
        assert_eq!(fan.buy(&["A-1-1"]).await.json["status"], "COMPLETED");
    }
}

/// What may be said before TLS: who calls, and that it wants TLS.
fn assert_nothing_told(sink: &Sink) {
    for line in sink.in_the_clear() {
        let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        assert!(["EHLO", "STARTTLS", "QUIT"].contains(&verb.as_str()), "in the clear: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_starttls_and_under_tls_from_the_first_byte_mail_and_password_go_out() {
    join_all([
        arrives(Tls::Offered(acceptor()), "smtp://user:secret@localhost:PORT"),
        arrives(Tls::Offered(acceptor()), "smtp://localhost:PORT"),
        arrives(Tls::AtOnce(acceptor()), "smtps://user:secret@localhost:PORT"),
    ])
    .await;
}

async fn arrives(tls: Tls, smtp: &str) {
    let sink = Sink::start_with(tls).await;
    let office = Office::start(&sink, smtp, CERTIFICATE).await;
    office.sell().await;
    let mail = until(async || sink.mails().pop()).await;
    assert_eq!(mail.to, "fan@example.org", "{smtp}");
    assert_eq!(sink.logins().len(), usize::from(smtp.contains('@')), "{smtp}");
    assert!(sink.handshakes().1 >= 1, "{smtp}");
    assert_nothing_told(&sink);
}

/// A certificate of nobody's, one of another name, and TLS that is not offered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_trusted_gets_neither_mail_nor_password() {
    join_all([
        stays(Tls::Offered(acceptor()), "smtp://user:secret@localhost:PORT", ""),
        stays(Tls::Offered(acceptor()), "smtp://localhost:PORT", ""),
        stays(Tls::Offered(acceptor()), "smtp://user:secret@127.0.0.1:PORT", CERTIFICATE),
        stays(Tls::Never, "smtp://user:secret@localhost:PORT", CERTIFICATE),
    ])
    .await;
}

async fn stays(tls: Tls, smtp: &str, trusts: &str) {
    let sink = Sink::start_with(tls).await;
    let office = Office::start(&sink, smtp, trusts).await;
    office.sell().await;
    // Two tries: the first has come to nothing when the second begins.
    let tries = || sink.in_the_clear().iter().filter(|line| line.starts_with("EHLO")).count();
    until(async || (tries() >= 2).then_some(())).await;
    assert_eq!((sink.mails().len(), sink.logins().len(), sink.handshakes().1), (0, 0, 0), "{smtp}");
    assert_nothing_told(&sink);
}
