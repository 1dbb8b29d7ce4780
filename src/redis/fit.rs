//! Whether a server can keep what is entrusted to it.
//!
//! Reads `INFO` rather than `CONFIG GET`: one command tells all, and managed
//! services that forbid `CONFIG` allow it.

use super::error::ConnectError;

/// Scripts with flags, which let a full Redis still be drained, came with it.
const OLDEST: u32 = 7;

/// Why a server must not be used as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It would drop keys when memory runs out: places in a line, seats held.
    #[error(
        "redis has maxmemory-policy {0}, which drops keys when memory runs out; set maxmemory-policy noeviction"
    )]
    Evicts(String),
    /// It is too old.
    #[error("redis {0} is too old; version {OLDEST} or later is needed")]
    Old(String),
}

/// Judges a server by its `INFO`. What it does not tell is not held against it.
///
/// # Errors
/// [`ConnectError::Unfit`], or `Away` for a replica: its master is elsewhere.
pub(super) fn judge(info: &str) -> Result<(), ConnectError> {
    let value =
        |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
    if let Some(version) = value("redis_version") {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < OLDEST) {
            return Err(Unfit::Old(version.to_owned()).into());
        }
    }
    if let Some(policy) = value("maxmemory_policy").filter(|&policy| policy != "noeviction") {
        return Err(Unfit::Evicts(policy.to_owned()).into());
    }
    if value("role").is_some_and(|role| role != "master") {
        return Err(ConnectError::Away("the server is a replica".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_judged_by_what_it_tells() {
        let good = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        assert!(judge(good).is_ok());
        assert!(judge("").is_ok());
        let old = good.replace("7.0.15", "6.2.7");
        assert!(matches!(judge(&old), Err(ConnectError::Unfit(Unfit::Old(_)))));
        let evicts = judge(&good.replace("noeviction", "allkeys-lru")).expect_err("unfit").to_string();
        assert!(evicts.contains("allkeys-lru") && evicts.contains("set maxmemory-policy noeviction"));
        assert!(matches!(judge(&good.replace("master", "slave")), Err(ConnectError::Away(_))));
    }
}
