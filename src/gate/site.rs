//! Which room a request is for: by host and path, the longest wins.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;

use super::health::Health;
use super::page::own::OwnPage;
use super::session::Sessions;
use super::shadow::Shadows;
use super::upstream::Upstreams;
use super::visitor::{CookieNames, Fields};
use crate::config::{self, Mode};
use crate::domain::id::Epoch;
use crate::domain::target;
use crate::domain::time::Timestamp;
use crate::queue::Room;

/// A protected site: its room and what the gate keeps beside it.
pub(super) struct Site {
    pub(super) room: Arc<Room>,
    pub(super) names: CookieNames,
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) sessions: Sessions,
    /// The operator's own page, while there is one.
    pub(super) page: ArcSwapOption<OwnPage>,
    pub(super) shadows: Shadows,
    pub(super) health: Health,
    /// The published draw of a line.
    drawn: Mutex<Option<(Epoch, Bytes)>>,
    /// `/queue/status?room=NAME`
    pub(super) status_url: String,
    /// `Usher-Room`
    pub(super) room_header: HeaderValue,
}

impl Site {
    pub(super) fn new(room: Arc<Room>, tls: bool) -> Self {
        let config = room.config().clone();
        Self {
            names: CookieNames::new(&config.name, tls),
            upstreams: Upstreams::new(&config.upstreams),
            sessions: Sessions::default(),
            page: ArcSwapOption::empty(),
            shadows: Shadows::default(),
            health: Health::default(),
            drawn: Mutex::default(),
            status_url: format!("/queue/status?room={}", config.name),
            room_header: HeaderValue::from_str(config.name.as_str()).expect("a room name is visible ASCII"),
            room,
        }
    }

    /// The text of that line's draw, made once.
    pub(super) fn drawn_text(&self, epoch: Epoch, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut kept = self.drawn.lock();
        match &*kept {
            Some((of, text)) if *of == epoch => text.clone(),
            _ => kept.insert((epoch, make())).1.clone(),
        }
    }

    /// Whether the room has no line now.
    pub(super) fn is_open_to_all(&self) -> bool {
        matches!(self.room.config().mode, Mode::Passthrough | Mode::Shadow)
            || self.room.view().overrides.bypass == Some(true)
    }

    /// Whether nobody joins: closed, or too early before the opening.
    pub(super) fn is_closed(&self, now: Timestamp) -> bool {
        let settings = &self.room.view().settings;
        settings.closed || settings.opening.is_some_and(|opening| opening.is_too_early(now))
    }

    /// Whether a request needs no pass. `path` must be as it will be forwarded.
    pub(super) fn bypasses(&self, path: &str, fields: &impl Fields, address: IpAddr) -> bool {
        let config = self.room.config();
        let bypass = &config.bypass;
        self.bypasses_path(path)
            || bypass.addresses.iter().any(|network| network.contains(&address))
            || bypass.header.as_ref().is_some_and(|(name, value)| {
                HeaderName::from_bytes(name.as_bytes())
                    .is_ok_and(|name| fields.single(&name).is_some_and(|shown| same(shown, value.as_bytes())))
            })
    }

    fn bypasses_path(&self, path: &str) -> bool {
        let prefixes = &self.room.config().bypass.paths;
        !prefixes.is_empty()
            && target::is_plain(path)
            && prefixes.iter().any(|prefix| target::is_under(path, prefix))
    }

    /// Whether anybody may ask for `path` here, without a pass.
    fn lets_anybody_ask(&self, path: &str) -> bool {
        self.is_open_to_all() || self.bypasses_path(path)
    }

    /// The longest a pass may still be shown in a cookie.
    pub(super) fn pass_max(&self) -> Duration {
        self.room.config().line.pass_max
    }
}

/// Comparison in constant time: the header's value is a secret.
fn same(a: &[u8], b: &[u8]) -> bool {
    use subtle::ConstantTimeEq as _;
    a.ct_eq(b).into()
}

/// All sites of a gate.
pub(super) struct Sites {
    sites: Vec<Arc<Site>>,
}

impl Sites {
    pub(super) fn new(sites: Vec<Arc<Site>>) -> Self {
        Self { sites }
    }

    pub(super) fn all(&self) -> &[Arc<Site>] {
        &self.sites
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Site>> {
        self.sites.iter().find(|site| site.room.config().name.as_str() == name)
    }

    pub(super) fn only(&self) -> Option<&Arc<Site>> {
        match self.sites.as_slice() {
            [site] => Some(site),
            _ => None,
        }
    }

    /// The site of a host and path. An ambiguous path matches `/` only, unless
    /// that would let it by without a pass: then a room with a line that the app
    /// may read it into is the one that counts.
    pub(super) fn find(&self, host: &str, path: &str) -> Option<&Arc<Site>> {
        let plain = target::is_plain(path);
        let found = self.best(|site| fit(&site.room.config(), host, path, plain))?;
        if self.sites.len() == 1 || target::reads_one_way(path) || !found.lets_anybody_ask(path) {
            return Some(found);
        }
        let readings = target::readings(path);
        let with_line = readings.iter().find_map(|reading| {
            // Of two that differ in case only, the one found stays.
            self.best(|site| {
                Some((lenient_fit(&site.room.config(), host, reading)?, Arc::ptr_eq(site, found)))
            })
            .filter(|site| !site.is_open_to_all() && !Arc::ptr_eq(site, found))
        });
        Some(with_line.unwrap_or(found))
    }

    fn best<K: Ord>(&self, fit: impl Fn(&Arc<Site>) -> Option<K>) -> Option<&Arc<Site>> {
        let fits = self.sites.iter().filter_map(|site| Some((fit(site)?, site)));
        fits.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, site)| site)
    }
}

/// How well a room fits: first by host (exact, suffix by length, any), then by
/// path length. `None` = not at all.
fn fit(room: &config::Room, host: &str, path: &str, plain: bool) -> Option<(usize, usize)> {
    let by_host = room.hosts.iter().filter_map(|pattern| host_fit(pattern, host)).max()?;
    let matches = |prefix: &&String| prefix.as_str() == "/" || (plain && target::is_under(path, prefix));
    let by_path = room.paths.iter().filter(matches).map(String::len).max()?;
    Some((by_host, by_path))
}

/// As [`fit`], for a reading of a path.
fn lenient_fit(room: &config::Room, host: &str, reading: &str) -> Option<(usize, usize)> {
    let by_host = room.hosts.iter().filter_map(|pattern| host_fit(pattern, host)).max()?;
    let prefixes = room.paths.iter().map(|prefix| target::plainest(prefix));
    let by_path = prefixes.filter(|prefix| target::is_under(reading, prefix)).map(|p| p.len()).max()?;
    Some((by_host, by_path))
}

fn host_fit(pattern: &str, host: &str) -> Option<usize> {
    match pattern.strip_prefix('*') {
        Some("") => Some(0),
        Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len()),
        None => (pattern == host).then_some(usize::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(hosts: &[&str], paths: &[&str]) -> config::Room {
        let text =
            format!("[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\nhosts = {hosts:?}\npaths = {paths:?}\n");
        let config = config::load_text("test", &text, []).expect("valid");
        config::Room::clone(&config.rooms[0])
    }

    fn best(rooms: &[config::Room], host: &str, path: &str) -> Option<usize> {
        let plain = target::is_plain(path);
        let fits = rooms.iter().enumerate().filter_map(|(i, room)| Some((fit(room, host, path, plain)?, i)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, i)| i)
    }

    #[test]
    fn the_longest_match_wins_and_ambiguous_paths_match_only_the_root() {
        let rooms = [
            room(&["*"], &["/"]),
            room(&["*"], &["/shop"]),
            room(&["*"], &["/shop/vip"]),
            room(&["a.test"], &["/"]),
            room(&["*.b.test"], &["/"]),
        ];
        assert_eq!(best(&rooms, "x", "/"), Some(0));
        assert_eq!(best(&rooms, "x", "/shop/1"), Some(1));
        assert_eq!(best(&rooms, "x", "/shop/vip"), Some(2));
        assert_eq!(best(&rooms, "x", "/shopping"), Some(0));
        assert_eq!(best(&rooms, "x", "/shop//vip"), Some(0));
        assert_eq!(best(&rooms, "x", "/shop/%2e%2e/x"), Some(0));
        assert_eq!(best(&rooms, "a.test", "/shop"), Some(3));
        assert_eq!(best(&rooms, "x.b.test", "/"), Some(4));
        assert_eq!(best(&rooms, "b.test", "/"), Some(0));
        assert_eq!(best(&rooms[1..], "x", "/else"), None);
    }
}
