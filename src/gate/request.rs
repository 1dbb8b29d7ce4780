//! What hyper lets through and the gate does not: framing, hosts, targets.
//!
//! Every check here answers 400 and closes the connection, because two
//! programs could disagree about what was asked.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

use super::decide::Upgrade;

/// Why a request is refused before anybody looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 400, with what was wrong.
    Malformed(&'static str),
    /// 405: `CONNECT` and `TRACE`.
    Method,
}

/// Names in `Connection` that are no hop's to remove.
const END_TO_END: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "cookie",
    "authorization",
];

/// More tokens than any client sends.
const CONNECTION_TOKENS: usize = 9;

/// Checks a request's head.
pub(super) fn check(parts: &Parts) -> Result<(), Refusal> {
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::Method);
    }
    check_target(parts)?;
    check_framing(parts)?;
    check_connection(&parts.headers)?;
    check_host(parts)
}

/// Whether the target is a path of visible ASCII without `\`.
pub(super) fn check_target(parts: &Parts) -> Result<(), Refusal> {
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let ok = target.starts_with('/') && target.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\');
    if ok || (target == "*" && parts.method == Method::OPTIONS) {
        Ok(())
    } else {
        Err(Refusal::Malformed("the request target has bytes that no target may have"))
    }
}

fn check_framing(parts: &Parts) -> Result<(), Refusal> {
    let headers = &parts.headers;
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        let plain = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !plain || encodings.next().is_some() || parts.version < Version::HTTP_11 {
            return Err(Refusal::Malformed("Transfer-Encoding is anything but one chunked"));
        }
        if headers.contains_key(CONTENT_LENGTH) {
            return Err(Refusal::Malformed("Content-Length beside Transfer-Encoding"));
        }
    }
    let look_alike = headers.keys().any(|name| {
        name.as_str().contains('_')
            && ["transfer_encoding", "content_length", "transfer-encoding", "content-length", "host"]
                .contains(&name.as_str())
    });
    if look_alike {
        return Err(Refusal::Malformed("a framing header spelled with an underscore"));
    }
    Ok(())
}

fn check_connection(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut count = 0;
    for token in connection_tokens(headers) {
        let token = token.trim_ascii();
        if token.is_empty() {
            continue;
        }
        count += 1;
        let is_name = token.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let protected = END_TO_END.iter().any(|name| token.eq_ignore_ascii_case(name.as_bytes()));
        if !is_name || protected || count > CONNECTION_TOKENS {
            return Err(Refusal::Malformed("Connection names what no hop may remove"));
        }
    }
    Ok(())
}

/// The tokens of every `Connection` line, as written.
pub(super) fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(|line| line.as_bytes().split(|&b| b == b','))
}

/// Whether there is one host, and one that can be.
pub(super) fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    if second.is_some() {
        return Err(Refusal::Malformed("more than one Host"));
    }
    let host = match host {
        Some(host) => Some(host.to_str().map_err(|_| Refusal::Malformed("Host is no host"))?),
        None if parts.version == Version::HTTP_11 => return Err(Refusal::Malformed("no Host")),
        None => authority,
    };
    if let (Some(host), Some(authority)) = (host, authority)
        && !host.eq_ignore_ascii_case(authority)
    {
        return Err(Refusal::Malformed("Host and target name different hosts"));
    }
    match host {
        Some(host) if !is_host(host) => Err(Refusal::Malformed("Host is no host")),
        None if parts.version >= Version::HTTP_2 => Err(Refusal::Malformed("no authority")),
        _ => Ok(()),
    }
}

/// Whether `text` is a host with an optional port (RFC 3986 3.2.2, no user part).
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port_ok = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| {
            p.is_empty() || p.parse::<u16>().is_ok_and(|_| p.bytes().all(|b| b.is_ascii_digit()))
        });
    !name.is_empty()
        && name.len() <= 253
        && port_ok
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=%".contains(&b))
}

/// The host a request is for, without its port, in lower case.
pub(super) fn host(parts: &Parts) -> String {
    let host = parts
        .headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
        .unwrap_or_default();
    host_name(host)
}

/// A host without its port, in lower case.
pub(super) fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(host, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// What the request's `Upgrade` asks for; anything but a WebSocket is ignored
/// and never forwarded.
pub(super) fn upgrade(parts: &Parts) -> Upgrade {
    let asks = parts.headers.get_all(UPGRADE).iter().any(|v| {
        v.as_bytes().split(|&b| b == b',').any(|t| t.trim_ascii().eq_ignore_ascii_case(b"websocket"))
    });
    if !asks {
        return Upgrade::None;
    }
    let one = |name: &str, ok: &dyn Fn(&[u8]) -> bool| {
        let mut values = parts.headers.get_all(name).iter();
        values.next().is_some_and(|v| ok(v.as_bytes())) && values.next().is_none()
    };
    let well_formed = parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && connection_tokens(&parts.headers).any(|t| t.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && one("upgrade", &|v| v.eq_ignore_ascii_case(b"websocket"))
        && one("sec-websocket-version", &|v| v == b"13")
        && one("sec-websocket-key", &|v| v.len() == 24 && v.ends_with(b"=="))
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && parts.headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if well_formed { Upgrade::WebSocket } else { Upgrade::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn hosts() {
        for good in ["t.test", "t.test:80", "localhost", "127.0.0.1:8080", "[::1]", "[::1]:80", "t.test:"] {
            assert_eq!(check(&parts("/", &[("host", good)])), Ok(()), "{good}");
        }
        let long = "a".repeat(300);
        for bad in [
            "",
            "user@t.test",
            "t.test:80:80",
            "t.test\t",
            "t test",
            "[::1",
            "t.test:x",
            "t.test:+1",
            &long,
            "a/b",
        ] {
            assert!(check(&parts("/", &[("host", bad)])).is_err(), "{bad}");
        }
        assert!(check(&parts("/", &[])).is_err());
        assert!(check(&parts("/", &[("host", "a"), ("host", "a")])).is_err());
        assert_eq!(check(&parts("http://t.test/x", &[("host", "t.test")])), Ok(()));
        assert!(check(&parts("http://other.test/x", &[("host", "t.test")])).is_err());
    }

    #[test]
    fn connection_may_not_name_what_no_hop_may_remove() {
        for good in ["", "close,", "keep-alive, Upgrade", "Usher-Visitor", "x-own"] {
            assert_eq!(check(&parts("/", &[("host", "t"), ("connection", good)])), Ok(()), "{good}");
        }
        for bad in ["Host", "X-Forwarded-For", ":authority", "\"X\"", "a,b,c,d,e,f,g,h,i,j"] {
            assert!(check(&parts("/", &[("host", "t"), ("connection", bad)])).is_err(), "{bad}");
        }
    }

    #[test]
    fn framing_must_be_plain() {
        for bad in [
            &[("transfer-encoding", "identity, chunked")][..],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "\"chunked\"")],
            &[("transfer-encoding", "chunked"), ("content-length", "5")],
            &[("transfer_encoding", "chunked")],
        ] {
            let mut headers = vec![("host", "t")];
            headers.extend(bad);
            assert!(check(&parts("/", &headers)).is_err(), "{bad:?}");
        }
        assert_eq!(check(&parts("/", &[("host", "t"), ("transfer-encoding", "Chunked")])), Ok(()));
    }

    #[test]
    fn only_a_whole_handshake_is_a_websocket() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(upgrade(&parts("/", &good)), Upgrade::WebSocket);
        for missing in 0..good.len() {
            let mut headers = good.to_vec();
            let (name, _) = headers.remove(missing);
            let expected = if name == "upgrade" { Upgrade::None } else { Upgrade::Malformed };
            assert_eq!(upgrade(&parts("/", &headers)), expected, "without {name}");
        }
        let mut with_body = good.to_vec();
        with_body.push(("content-length", "40"));
        assert_eq!(upgrade(&parts("/", &with_body)), Upgrade::Malformed);
        assert_eq!(upgrade(&parts("/", &[("upgrade", "h2c")])), Upgrade::None);
    }
}
