//! A certificate of our own for `localhost`, made for tests.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// To be trusted by whoever shall talk to the server.
pub const CERTIFICATE: &str = "\
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

/// A server's side of TLS under the certificate.
pub fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::Pkcs8(STANDARD.decode(KEY).expect("base64").into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
}
