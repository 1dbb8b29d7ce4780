//! The certificate that a listener shows, and its change while it serves.
//!
//! A handshake takes the pair that is set when it begins; connections that
//! stand already notice nothing. Never reads a file.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why a certificate and a key cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The chain's text cannot be read.
    #[error("the certificate is not PEM: {0}")]
    Chain(pem::Error),
    /// The chain's text holds no certificate.
    #[error("the certificate's file holds no CERTIFICATE section")]
    NoCertificate,
    /// The key's text cannot be read.
    #[error("the key is not PEM: {0}")]
    Key(pem::Error),
    /// They are of two different pairs.
    #[error("the key does not match the certificate")]
    Mismatch,
    /// Anything else that TLS refuses about them.
    #[error("they cannot be used: {0}")]
    Unfit(rustls::Error),
}

/// A chain and its key that fit, ready for handshakes.
#[derive(Clone, Debug)]
pub struct Pair(Arc<ServerConfig>);

impl Pair {
    /// From PEM, for HTTP/2 and HTTP/1.1. Nothing is said of dates.
    ///
    /// # Errors
    /// [`PairError`]
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain =
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>().map_err(PairError::Chain)?;
        if chain.is_empty() {
            return Err(PairError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(PairError::Key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|why| match why {
                rustls::Error::InconsistentKeys(_) => PairError::Mismatch,
                other => PairError::Unfit(other),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// What a listener shows from now on.
#[derive(Debug)]
pub struct Certificate(ArcSwap<ServerConfig>);

impl Certificate {
    /// Begins with that pair.
    #[must_use]
    pub fn new(pair: Pair) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(pair.0)))
    }

    /// Shows that pair to every handshake that begins later. Sessions of the one
    /// before are not resumed.
    pub fn set(&self, pair: Pair) {
        self.0.store(pair.0);
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}
