//! Addresses of Redis, as the settings write them.

use std::fmt;

use super::error::ConnectError;

/// What to connect to.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// One server, as a `redis://` address.
    Server(String),
    /// The master that sentinels name.
    Sentinel {
        /// `redis://` addresses of the sentinels.
        sentinels: Vec<String>,
        /// The name they know it by.
        name: String,
        /// User and password of the master.
        login: Login,
        /// Its database.
        db: i64,
    },
    /// A cluster, by `redis://` addresses of some of its nodes.
    Cluster(Vec<String>),
}

/// User and password, decoded.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, ConnectError> {
        if let Some(rest) = url.strip_prefix("redis+sentinel://") {
            sentinel(rest)
        } else if let Some(rest) = url.strip_prefix("redis+cluster://") {
            cluster(rest)
        } else if ::redis::parse_redis_url(url).is_some() {
            Ok(Self::Server(url.to_owned()))
        } else {
            Err(bad("expected redis://, redis+sentinel:// or redis+cluster://"))
        }
    }
}

impl fmt::Display for Target {
    /// Where, never with which password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, urls) = match self {
            Self::Server(url) => ("server", std::slice::from_ref(url)),
            Self::Sentinel { sentinels, .. } => ("sentinel", sentinels.as_slice()),
            Self::Cluster(nodes) => ("cluster", nodes.as_slice()),
        };
        let places: Vec<_> = urls.iter().map(|url| place(url)).collect();
        write!(f, "{kind} {}", places.join(","))
    }
}

/// The host and port of a `redis://` address.
fn place(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (_, rest) = split_login(rest);
    rest.split_once('/').map_or(rest, |(place, _)| place)
}

/// `[user:password@]a:26379,b:26379/NAME[/DB]`
fn sentinel(rest: &str) -> Result<Target, ConnectError> {
    let (login, rest) = split_login(rest);
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, db) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return Err(bad("expected the master's name after the sentinels, as in …:26379/mymaster"));
    }
    Ok(Target::Sentinel {
        sentinels: addresses("", hosts, 26_379)?,
        name: name.to_owned(),
        login: read_login(login)?,
        db: db.parse().map_err(|_| bad("expected a database number after the master's name"))?,
    })
}

/// `[user:password@]a:6379,b:6379`
fn cluster(rest: &str) -> Result<Target, ConnectError> {
    let (login, hosts) = split_login(rest.trim_end_matches('/'));
    let login = if login.is_empty() { String::new() } else { format!("{login}@") };
    Ok(Target::Cluster(addresses(&login, hosts, 6_379)?))
}

fn split_login(rest: &str) -> (&str, &str) {
    rest.rsplit_once('@').unwrap_or(("", rest))
}

fn addresses(login: &str, hosts: &str, port: u16) -> Result<Vec<String>, ConnectError> {
    hosts
        .split(',')
        .map(|host| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let url = if has_port {
                format!("redis://{login}{host}")
            } else {
                format!("redis://{login}{host}:{port}")
            };
            let readable = !host.is_empty() && ::redis::parse_redis_url(&url).is_some();
            readable.then_some(url).ok_or_else(|| bad("expected host:port, separated by commas"))
        })
        .collect()
}

/// redis-rs decodes user and password of an address; of a sentinel's master it
/// wants them decoded, so an address is made up to have it do that.
fn read_login(login: &str) -> Result<Login, ConnectError> {
    use ::redis::IntoConnectionInfo;
    if login.is_empty() {
        return Ok(Login::default());
    }
    let info = format!("redis://{login}@localhost")
        .into_connection_info()
        .map_err(|_| bad("expected user:password before the @"))?;
    let text = |part: Option<&str>| part.map(str::to_owned);
    let settings = info.redis_settings();
    Ok(Login { user: text(settings.username()), password: text(settings.password()) })
}

fn bad(why: &str) -> ConnectError {
    ConnectError::BadUrl(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Target {
        Target::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn the_three_kinds_are_read() {
        assert!(parse("redis://127.0.0.1:6379/2") == Target::Server("redis://127.0.0.1:6379/2".into()));
        let nodes = vec!["redis://:x@a:7000".into(), "redis://:x@b:6379".into()];
        assert!(parse("redis+cluster://:x@a:7000,b") == Target::Cluster(nodes));
        let login = Login { user: Some("app".into()), password: Some("p@ss".into()) };
        let sentinel = Target::Sentinel {
            sentinels: vec!["redis://a:26379".into(), "redis://b:26380".into()],
            name: "mymaster".into(),
            login,
            db: 3,
        };
        assert!(parse("redis+sentinel://app:p%40ss@a,b:26380/mymaster/3") == sentinel);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let urls =
            ["", "http://a", "redis+sentinel://a:26379", "redis+sentinel://a/m/x", "redis+cluster://,"];
        for url in urls {
            assert!(matches!(Target::parse(url), Err(ConnectError::BadUrl(_))), "{url}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(parse("redis://u:secret@a:1/0").to_string(), "server a:1");
        assert_eq!(parse("redis://u:secret@a").to_string(), "server a");
        assert_eq!(parse("redis+cluster://u:secret@a:1,b").to_string(), "cluster a:1,b:6379");
        assert_eq!(parse("redis+sentinel://u:secret@a:1/m").to_string(), "sentinel a:1");
    }
}
