//! A server with a certificate for `localhost` that only tests know.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::*;
use crate::booking::providers::{Fault, Toss};
use crate::config;

#[expect(unreachable_pub, reason = "the integration tests' own file")]
#[path = "../../../../tests/it/support/tls.rs"]
mod tls;

async fn server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = tls::acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 4_096]).await;
            let body = r#"{"code":"NOT_FOUND_PAYMENT","message":""}"#;
            let head = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    port
}

fn toss(base_url: String, roots: Option<RootCertStore>) -> Toss {
    let settings = config::Toss {
        base_url,
        secret_key: "k".to_owned(),
        timeout: Duration::from_secs(15),
        refund_unknown: false,
        window: None,
    };
    Toss::over(&settings, Connector::new(roots).expect("a connector")).expect("a client")
}

fn trusting() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(tls::CERTIFICATE.as_bytes()).expect("a certificate"))
        .expect("a root");
    roots
}

#[tokio::test]
async fn only_a_certificate_of_a_known_authority_and_this_name_gets_the_key() {
    let port = server().await;
    let ask = async |host: &str, roots| toss(format!("https://{host}:{port}"), roots).by_key("k").await;
    assert!(matches!(ask("localhost", Some(trusting())).await, Err(Fault::Unknown(_))));
    for doubtful in [
        ask("localhost", Some(RootCertStore::empty())).await,
        ask("127.0.0.1", Some(trusting())).await,
        ask("localhost", None).await,
    ] {
        assert!(matches!(&doubtful, Err(Fault::Doubt(_))), "{doubtful:?}");
    }
}
