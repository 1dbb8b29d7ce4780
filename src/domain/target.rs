//! Request paths: which are plain enough to be matched against settings.
//!
//! The gate never normalises a path. One that two programs could read
//! differently matches nothing but `/`, and is forwarded byte for byte.

/// Whether `path` reads the same to every program: no empty or dot segment, no
/// `;`, no escaped slash, dot or backslash, no escaped control byte, and no
/// escape of a character that needs none (RFC 3986 2.3).
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let body = rest.strip_suffix('/').unwrap_or(rest);
    (rest.is_empty() || !body.is_empty())
        && (body.is_empty() || body.split('/').all(|s| !matches!(s, "" | "." | "..")))
        && !path.contains(';')
        && !has_ambiguous_escape(path.as_bytes())
}

fn has_ambiguous_escape(path: &[u8]) -> bool {
    path.iter().enumerate().filter(|&(_, &b)| b == b'%').any(|(i, _)| {
        let digits = path.get(i + 1..i + 3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => matches!(byte, 0..=0x1f | 0x7f | b'/' | b'\\' | b'%' | b';') || is_unreserved(byte),
            None => true,
        }
    })
}

/// RFC 3986 2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Programs behind one another that may each unescape a path once.
const UNESCAPES: usize = 3;

/// Whether even a program that ignores case reads `path` in one way: its only
/// reading is itself.
#[must_use]
pub fn reads_one_way(path: &str) -> bool {
    is_plain(path) && !path.bytes().any(|b| b == b'%' || b.is_ascii_uppercase())
}

/// Every path that a lenient program could take `path` for: unescaped again and
/// again, in lower case, `\` as `/`, without empty segments, without what `;`,
/// `?`, `#` or a NUL cuts off, with dot segments kept and resolved.
///
/// Only for comparing: a path is forwarded as it came.
#[must_use]
pub fn readings(path: &str) -> Vec<String> {
    let mut text = path.as_bytes().to_vec();
    let mut found = Vec::with_capacity(2 * (UNESCAPES + 1));
    for _ in 0..=UNESCAPES {
        let segments = segments(&text);
        found.push(joined(&segments));
        found.push(joined(&resolved(&segments)));
        let next = unescaped(&text);
        if next == text {
            break;
        }
        text = next;
    }
    found
}

/// The plainest reading: wholly unescaped, dot segments resolved.
#[must_use]
pub fn plainest(path: &str) -> String {
    readings(path).pop().unwrap_or_default()
}

/// The segments that are left, each up to where a program may cut it.
fn segments(path: &[u8]) -> Vec<&[u8]> {
    let cut = |segment| <[u8]>::split(segment, |b| b";?#\0".contains(b)).next().unwrap_or_default();
    path.split(|b| b"/\\".contains(b)).map(cut).filter(|segment| !segment.is_empty()).collect()
}

fn resolved<'a>(segments: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut kept = Vec::with_capacity(segments.len());
    for &segment in segments {
        match segment {
            b"." => {}
            b".." => _ = kept.pop(),
            _ => kept.push(segment),
        }
    }
    kept
}

fn joined(segments: &[&[u8]]) -> String {
    let path = [b"/", segments.join(&b'/').as_slice()].concat().to_ascii_lowercase();
    String::from_utf8_lossy(&path).into_owned()
}

/// One round of unescaping; a broken escape stays.
fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let escape = path.get(at + 1..at + 3).filter(|digits| byte == b'%' && digits.is_ascii());
        let digits = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|d| !d.starts_with('+')).and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(escaped) => {
                text.push(escaped);
                at += 3;
            }
            None => {
                text.push(byte);
                at += 1;
            }
        }
    }
    text
}

/// Whether the plain `path` is `prefix` or lies below it, by whole segments.
#[must_use]
pub fn is_under(path: &str, prefix: &str) -> bool {
    prefix == "/" || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `text` is a path on this site and can be nothing else: one leading
/// slash, only visible ASCII, no backslash, at most 2,048 bytes, and no second
/// slash even after one round of unescaping.
#[must_use]
pub fn is_local(text: &str) -> bool {
    let second = |rest: &str| {
        let rest = rest.to_ascii_lowercase();
        ["/", "\\", "%2f", "%5c"].iter().any(|bad| rest.starts_with(bad))
    };
    text.len() <= 2_048
        && text.strip_prefix('/').is_some_and(|rest| !second(rest))
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_paths_are_not_plain() {
        for path in ["/", "/seats", "/seats/", "/seats/1", "/a.b", "/..a", "/%20x", "/%ED%95%9C"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "",
            "seats",
            "//",
            "//seats",
            "/seats//1",
            "/./seats",
            "/seats/.",
            "/../x",
            "/queue/../seats/1",
            "/seats;x=1",
            "/seats%2f1",
            "/seats%2F1",
            "/%2e%2e/",
            "/seats%00",
            "/%5c",
            "/%",
            "/%zz",
            "/%252f",
            "/%63heckout",
            "/%7Euser",
            "/a%2Db",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    #[test]
    fn a_lenient_program_may_find_another_path() {
        for path in [
            "//checkout",
            "/checkout;x",
            "/;x/checkout",
            "/CHECKOUT",
            "/%63heckout",
            "/%2563heckout",
            "/%252563heckout",
            "/./checkout",
            "/x/../checkout",
            "/x/%2e%2E/checkout",
            "/x/..;/checkout",
            "/x%2f..%2fcheckout",
            "/%5ccheckout",
            "/checkout%00",
            "/checkout%3fx",
        ] {
            assert!(!reads_one_way(path), "{path}");
            assert!(readings(path).contains(&"/checkout".to_owned()), "{path}: {:?}", readings(path));
        }
        let kept = readings("/checkout/../x");
        assert_eq!(kept, ["/checkout/../x", "/x"], "both: not every program resolves dots");
        assert_eq!(readings("/%zz%+1%"), ["/%zz%+1%", "/%zz%+1%"]);
        assert_eq!(plainest("/Shop/%ED%95%9C"), "/shop/한");
    }

    #[test]
    fn a_plain_path_in_lower_case_reads_one_way() {
        for path in ["/", "/seats", "/seats/", "/seats/1", "/a.b", "/..a"] {
            assert!(reads_one_way(path), "{path}");
            let bare = if path == "/" { path } else { path.trim_end_matches('/') };
            assert_eq!(readings(path), [bare, bare]);
        }
    }

    #[test]
    fn prefixes_match_by_whole_segments() {
        assert!(is_under("/shop", "/shop"));
        assert!(is_under("/shop/1", "/shop"));
        assert!(!is_under("/shopping", "/shop"));
        assert!(!is_under("/SHOP", "/shop"));
        assert!(is_under("/anything", "/"));
    }

    #[test]
    fn only_paths_of_this_site_are_local() {
        for path in ["/", "/a", "/a?b=c#d", "/a//b"] {
            assert!(is_local(path), "{path}");
        }
        for path in [
            "",
            "a",
            "//evil",
            "/\\evil",
            "https:evil",
            "https://evil",
            "javascript:alert(1)",
            "/%2fevil",
            "/%2F%2Fevil",
            "%2f%2fevil",
            "/%5Cevil",
            "/x\r\nSet-Cookie: a",
            "/x y",
            "/한",
        ] {
            assert!(!is_local(path), "{path}");
        }
        assert!(!is_local(&format!("/{}", "a".repeat(8_192))));
    }
}
