//! Where a request really comes from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;

use super::visitor::Fields;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The visitor's address: the socket's, or, through trusted proxies, the
/// right-most address in `X-Forwarded-For` that is none of them.
pub(super) fn client(peer: SocketAddr, fields: &impl Fields, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client) {
        return client;
    }
    // As bytes: what a visitor wrote to the left may be no text.
    let lines = fields.all(&FORWARDED_FOR).rev();
    for hop in lines.flat_map(|line| line.rsplit(|&b| b == b',')) {
        let Some(address) = std::str::from_utf8(hop.trim_ascii()).ok().and_then(parse) else { break };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// An address with or without port or brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|addr| addr.ip()))
        .or_else(|_| hop.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str]) -> String {
        from_bytes(peer, &forwarded.iter().map(|line| line.as_bytes()).collect::<Vec<_>>())
    }

    fn from_bytes(peer: &str, forwarded: &[&[u8]]) -> String {
        let mut headers = http::HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", http::HeaderValue::from_bytes(line).expect("a value"));
        }
        let trusted = ["10.0.0.0/8".parse().expect("a network")];
        client(SocketAddr::new(peer.parse().expect("an address"), 1), &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(from("192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
        assert_eq!(from("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_right_most_untrusted_hop_counts() {
        assert_eq!(from("10.0.0.1", &["9.9.9.9, 8.8.8.8", "1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(from("10.0.0.1", &["junk, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &["::ffff:1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn bytes_that_are_no_text_hide_nothing_to_their_right() {
        assert_eq!(from_bytes("10.0.0.1", &[b"\xff, 1.2.3.4"]), "1.2.3.4");
        assert_eq!(from_bytes("10.0.0.1", &[b"9.9.9.9, \xff,1.2.3.4 , 10.0.0.2"]), "1.2.3.4");
        assert_eq!(from_bytes("10.0.0.1", &[b"\xff", b"1.2.3.4"]), "1.2.3.4");
        assert_eq!(from_bytes("10.0.0.1", &[b"9.9.9.9", b"\xff, 10.0.0.2"]), "10.0.0.2");
    }
}
