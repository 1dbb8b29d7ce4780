//! Where a request really comes from.
//!
//! The office stands behind the gate or another proxy, which writes the visitor's
//! address into `X-Forwarded-For`; only proxies of the settings are believed.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use crate::booking::Booking;

/// The caller's address; none where the server does not say who is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub Option<IpAddr>);

impl FromRequestParts<Arc<Booking>> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, booking: &Arc<Booking>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let trusted = &booking.settings.trusted_proxies;
        Ok(Self(peer.map(|ConnectInfo(peer)| client(peer.ip(), &parts.headers, trusted))))
    }
}

/// The socket's address, or, through trusted proxies, the right-most one in
/// `X-Forwarded-For` that is none of them.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|&b| b == b',')) {
        let hop = std::str::from_utf8(hop.trim_ascii()).ok().and_then(|hop| hop.parse::<IpAddr>().ok());
        match hop {
            Some(hop) if is_trusted(&client) => client = hop.to_canonical(),
            _ => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted = ["127.0.0.0/8".parse().expect("a network")];
        let from = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.append("x-forwarded-for", forwarded.parse().expect("a value"));
            client(peer.parse().expect("an address"), &headers, &trusted).to_string()
        };
        assert_eq!(from("192.0.2.1", "1.2.3.4"), "192.0.2.1");
        assert_eq!(from("127.0.0.1", "9.9.9.9, 1.2.3.4"), "1.2.3.4");
        assert_eq!(from("127.0.0.1", "1.2.3.4, 127.0.0.2"), "1.2.3.4");
        assert_eq!(from("127.0.0.1", "1.2.3.4, junk"), "127.0.0.1");
        assert_eq!(from("::ffff:127.0.0.1", "2001:db8::1"), "2001:db8::1");
    }
}
