//! axum routers on Pingora's listeners, and the gate's certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::config::{Problem, Tls};
use crate::server::{Handler, Pair};

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

/// The gate's certificate and key, if they can be shown.
///
/// # Errors
/// A [`Problem`] that names both files.
pub(super) fn pair(tls: &Tls) -> Result<Pair, Problem> {
    Pair::new(&tls.chain_pem, &tls.key_pem).map_err(|why| Problem {
        source: format!("{} and {}", tls.cert.display(), tls.key.display()),
        line: None,
        key: "gate.tls".into(),
        expected: format!("expected a certificate and its key in PEM: {why}"),
    })
}
