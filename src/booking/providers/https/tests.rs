//! A server with a certificate of its own for `localhost`, made for this test.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;
use crate::booking::providers::{Fault, Toss};
use crate::config;

const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBkjCCATigAwIBAgIUJmdnN7ULkmC4ogPu3ILB+swBjJMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNDAzMzQxM1oYDzIxMjYxMDMx
MDMzNDEzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAS0Ceuj480KilO2mJyyqY5pazpOwhz7YW6RuoBFFnulhDAq3LduJQZI
u9Ml4ULjfWJVQ6mq/aMkttE9JdeTLrSso2YwZDAdBgNVHQ4EFgQU3FzaKHkiF35U
wAR/bKKs+z34xDwwHwYDVR0jBBgwFoAU3FzaKHkiF35UwAR/bKKs+z34xDwwFAYD
VR0RBA0wC4IJbG9jYWxob3N0MAwGA1UdEwEB/wQCMAAwCgYIKoZIzj0EAwIDSAAw
RQIhAPjNjGaMKoLuak6wg/5OG9EF+x6n60EejAyXbv9LzlZbAiA83VrPlna5Fk/y
IHhdVs1Ti2BwcvboLA2OZZFGDSZksQ==
-----END CERTIFICATE-----
";
/// Of the certificate, as PKCS #8.
const KEY: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnL0OjSmOjQVP8xCY",
    "h/7kjQHJtEk89qxYFh4P8wpTMiKhRANCAAS0Ceuj480KilO2mJyyqY5pazpOwhz7",
    "YW6RuoBFFnulhDAq3LduJQZIu9Ml4ULjfWJVQ6mq/aMkttE9JdeTLrSs",
);

async fn server() -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::Pkcs8(STANDARD.decode(KEY).expect("base64").into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .expect("they fit");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
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
        .add(CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate"))
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
