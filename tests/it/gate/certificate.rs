//! The gate's own TLS, and certificates that are renewed while it serves.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::support::app::FakeApp;
use crate::support::certificates::{FIRST, RENEWED};
use crate::support::gate::{TestGate, end_of, usher};
use crate::support::wait::until;

const DEADLINE: Duration = Duration::from_secs(60);
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

fn der(pair: (&str, &str)) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.0.as_bytes()).expect("a certificate")
}

/// A handshake of somebody who trusts both certificates and speaks one version.
async fn connect(to: SocketAddr, version: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    for pair in [FIRST, RENEWED] {
        roots.add(der(pair)).expect("it can be trusted");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![version.to_vec()];
    let stream = TcpStream::connect(to).await.expect("the gate listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(version));
    stream
}

/// The certificate that a newcomer is shown.
async fn shown(gate: &TestGate) -> CertificateDer<'static> {
    let stream = connect(gate.address(), HTTP1).await;
    stream.get_ref().1.peer_certificates().expect("shown")[0].clone().into_owned()
}

async fn until_shown(gate: &TestGate, pair: (&str, &str)) {
    until("it is shown", DEADLINE, async || (shown(gate).await == der(pair)).then_some(())).await;
}

async fn until_logged(gate: &TestGate, words: &[&str]) {
    let told = async || gate.log().lines().any(|line| words.iter().all(|w| line.contains(w))).then_some(());
    until(&format!("the log has {words:?}"), DEADLINE, told).await;
}

fn put(folder: &Path, pair: (&str, &str)) {
    fs::create_dir_all(folder).expect("the scratch folder is ours");
    fs::write(folder.join("tls.crt"), pair.0).expect("the scratch folder is ours");
    fs::write(folder.join("tls.key"), pair.1).expect("the scratch folder is ours");
}

/// Swaps a link as tools do that must not be seen half way.
fn lead(link: &Path, to: &Path) {
    let new = link.with_file_name("next");
    symlink(to, &new).expect("the scratch folder is ours");
    fs::rename(new, link).expect("the scratch folder is ours");
}

/// Settings of a gate whose pair is in `folder`.
fn settings(folder: &Path, app: &FakeApp) -> String {
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    format!(
        "[gate]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n\
         [[room]]\nupstreams = [\"{}\"]\ntick = \"50ms\"\npoll = {{ min = \"0s\" }}\n",
        app.url()
    )
}

/// A gate that shows the first certificate, and the folder that holds the pair.
async fn gate(app: &FakeApp) -> (TestGate, TempDir) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    put(folder.path(), FIRST);
    let gate = TestGate::start(&settings(folder.path(), app)).await;
    assert_eq!(shown(&gate).await, der(FIRST));
    (gate, folder)
}

type Request = http::Request<Empty<bytes::Bytes>>;

fn ask(target: &str) -> Request {
    http::Request::get(target).header("host", "localhost").body(Empty::new()).expect("a request")
}

async fn http1(to: SocketAddr) -> conn::http1::SendRequest<Empty<bytes::Bytes>> {
    let io = TokioIo::new(connect(to, HTTP1).await);
    let (sender, connection) = conn::http1::handshake(io).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

async fn http2(to: SocketAddr) -> conn::http2::SendRequest<Empty<bytes::Bytes>> {
    let io = TokioIo::new(connect(to, HTTP2).await);
    let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn over_tls_both_versions_are_spoken_and_cookies_stay_with_the_host() {
    let app = FakeApp::start().await;
    let (gate, _folder) = gate(&app).await;
    let old = http1(gate.address()).await.send_request(ask("/queue/status")).await.expect("an answer");
    let new = http2(gate.address()).await;
    let new = new.clone().send_request(ask("https://localhost/queue/status")).await.expect("an answer");
    for answer in [old, new] {
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").to_owned();
        assert!(cookie.starts_with("__Host-usher_visitor="), "{cookie}");
        assert!(cookie.contains("; Secure"), "{cookie}");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert!(body.starts_with(b"{\"room\":\"main\""), "{body:?}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_newcomers_and_open_connections_go_on() {
    let app = FakeApp::start().await;
    let (gate, folder) = gate(&app).await;
    let (mut old, mut new) = (http1(gate.address()).await, http2(gate.address()).await);
    let mut polls = async || {
        let old = old.send_request(ask("/queue/status")).await.expect("an answer");
        let new = new.send_request(ask("https://localhost/queue/status")).await.expect("an answer");
        assert_eq!((old.status().as_u16(), new.status().as_u16()), (200, 200));
        old.into_body().collect().await.expect("a body");
    };
    polls().await;
    put(folder.path(), RENEWED);
    until_shown(&gate, RENEWED).await;
    polls().await;
    until_logged(&gate, &["certificate renewed"]).await;
}

#[tokio::test]
async fn what_cannot_be_shown_leaves_the_certificate_before_in_force_and_is_told() {
    let app = FakeApp::start().await;
    let (gate, folder) = gate(&app).await;
    let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
    let [cert, key] = [&cert, &key].map(|path| path.to_str().expect("text"));
    let write = |path: &str, text: &str| fs::write(path, text).expect("the scratch folder is ours");
    let cut = &FIRST.0[..FIRST.0.len() / 2];
    let cases: [(&str, &dyn Fn()); 6] = [
        ("holds no CERTIFICATE section", &|| write(cert, "garbage")),
        ("the certificate is not PEM", &|| write(cert, cut)),
        ("the key does not match the certificate", &|| write(cert, RENEWED.0)),
        ("the key is not PEM", &|| write(key, "garbage")),
        ("the key is not PEM", &|| write(key, "")),
        ("found none at", &|| fs::remove_file(cert).expect("it was there")),
    ];
    for (reason, spoil) in cases {
        put(folder.path(), FIRST);
        spoil();
        until_logged(&gate, &["certificate not renewed", reason, cert, key]).await;
        let refused = gate.admin("POST", "/admin/v1/reload", "").await;
        assert_eq!((refused.status, refused.problem().as_str()), (422, "bad_settings"));
        assert!(refused.text().contains(reason), "{reason}: {}", refused.text());
        assert_eq!(shown(&gate).await, der(FIRST), "{reason}");
    }
    gate.signal("HUP");
    until_logged(&gate, &["settings not reloaded", "found none at", cert, key]).await;
    // One file after the other, as people copy them.
    write(cert, RENEWED.0);
    until_logged(&gate, &["certificate not renewed", "does not match"]).await;
    write(key, RENEWED.1);
    until_shown(&gate, RENEWED).await;
}

/// The links of Kubernetes, of certbot, and of whole folders.
#[tokio::test]
async fn a_certificate_behind_links_is_renewed_when_any_of_them_is_swapped() {
    let (app, folder) = (FakeApp::start().await, tempfile::tempdir().expect("a scratch folder"));
    let at = |name: &str| folder.path().join(name);
    put(&at("mount/..1"), FIRST);
    put(&at("mount/..2"), RENEWED);
    put(&at("archive"), FIRST);
    put(&at("other"), RENEWED);
    lead(&at("mount/..data"), Path::new("..1"));
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), at("mount").join(name)).expect("the scratch folder is ours");
    }
    symlink("mount", at("live")).expect("the scratch folder is ours");
    let gate = TestGate::start(&settings(&at("live"), &app)).await;
    assert_eq!(shown(&gate).await, der(FIRST));
    lead(&at("mount/..data"), Path::new("..2"));
    until_shown(&gate, RENEWED).await;
    for name in ["tls.crt", "tls.key"] {
        lead(&at("mount").join(name), &at("archive").join(name));
    }
    until_shown(&gate, FIRST).await;
    lead(&at("live"), Path::new("other"));
    until_shown(&gate, RENEWED).await;
}

#[tokio::test]
async fn other_files_named_in_the_settings_are_taken_up_by_a_reload() {
    let app = FakeApp::start().await;
    let (gate, folder) = gate(&app).await;
    let other = folder.path().join("other");
    put(&other, RENEWED);
    fs::write(gate.file("usher.toml"), settings(&other, &app)).expect("the scratch folder is ours");
    let answer = gate.admin("POST", "/admin/v1/reload", "").await;
    assert_eq!(answer.json()["needs_restart"], serde_json::json!([]), "{}", answer.text());
    until_shown(&gate, RENEWED).await;
}

#[test]
fn a_pair_that_does_not_fit_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    put(folder.path(), (FIRST.0, RENEWED.1));
    fs::write(
        folder.path().join("usher.toml"),
        "[gate]\ntls = { cert = \"tls.crt\", key = \"tls.key\" }\n[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n",
    )
    .expect("the scratch folder is ours");
    for command in ["gate", "check"] {
        let mut usher = usher();
        let output = end_of(usher.args([command, "--config", "usher.toml"]).current_dir(folder.path()));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        for word in ["gate.tls", "tls.crt", "tls.key", "does not match"] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
