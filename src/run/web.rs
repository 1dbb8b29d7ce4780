//! axum routers on Pingora's listeners, and certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt as _;

use crate::config::Tls;
use crate::server::Handler;

/// A router as a listener's handler.
pub(crate) struct Web {
    router: axum::Router,
}

impl Web {
    pub(crate) fn new(router: axum::Router) -> Self {
        Self { router }
    }
}

impl Handler for Web {
    type Body = axum::body::Body;
    type Relay = std::convert::Infallible;

    async fn handle(
        self: &Arc<Self>,
        peer: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Response<Self::Body> {
        request.extensions_mut().insert(ConnectInfo(peer));
        match self.router.clone().oneshot(request.map(axum::body::Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The gate's certificate, for HTTP/2 and HTTP/1.1.
pub(super) fn acceptor(tls: &Tls) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("gate.tls.cert: {}", tls.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .with_context(|| format!("gate.tls.key: {}", tls.key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("gate.tls: no protocol version")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("gate.tls: certificate and key do not fit")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
