//! pingora-proxy as a reference for the comparison: answers polls by itself,
//! forwards everything else, checks nothing.
//!
//! Usage: `pingora-proxy-reference PORT APP_PORT`. One thread.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As many bytes as the app sends.
const ANSWER: &[u8] = b"thirty-seven bytes that the app sends";

struct Reference {
    app: String,
}

#[async_trait]
impl ProxyHttp for Reference {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> Result<bool> {
        if !session.req_header().uri.path().starts_with("/queue/") {
            return Ok(false);
        }
        let mut head = ResponseHeader::build(200, Some(2))?;
        head.insert_header("content-type", "text/plain")?;
        head.insert_header("content-length", "37")?;
        session.write_response_header(Box::new(head), false).await?;
        session.write_response_body(Some(Bytes::from_static(ANSWER)), true).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&self.app, false, String::new())))
    }
}

fn main() {
    let mut ports = std::env::args().skip(1);
    let (Some(port), Some(app)) = (ports.next(), ports.next()) else {
        eprintln!("usage: pingora-proxy-reference PORT APP_PORT");
        std::process::exit(2);
    };
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy =
        http_proxy_service(&Arc::clone(&server.configuration), Reference { app: format!("127.0.0.1:{app}") });
    proxy.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(proxy);
    server.run_forever();
}
