//! What an error of Redis means to a caller and to the connection.

use ::redis::{ErrorKind, RedisError, ServerErrorKind};

use super::fit::Unfit;

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read.
    #[error("bad redis address: {0}")]
    BadUrl(String),
    /// The server answers but must not be used as it is.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody answers, or not as a master that can be written to.
    #[error("redis is away: {0}")]
    Away(String),
}

impl ConnectError {
    /// What a call is told that finds no connection.
    pub(super) fn why(self) -> String {
        match self {
            Self::Away(why) => why,
            error => error.to_string(),
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not reachable, not writable or not answering. What the call did is unknown.
    #[error("redis is away: {0}")]
    Away(String),
    /// Out of memory: the call did nothing.
    #[error("redis is out of memory")]
    Full,
    /// Redis answered with another error: a mistake of ours, or rights it withholds.
    #[error("redis refused the call: {code} {detail}")]
    Refused {
        /// The error's first word, such as `WRONGTYPE`.
        code: String,
        /// The rest of it.
        detail: String,
    },
}

impl CallError {
    /// The error's first word, if Redis gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Away(_) | Self::Full => None,
        }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The connection is of no more use.
    Reconnect,
    /// The server may have been replaced without knowing it.
    Doubt,
    /// The server cannot serve now and may again soon.
    Wait,
    Full,
    Refused,
}

impl Verdict {
    pub(super) fn on(error: &RedisError) -> Self {
        match error.kind() {
            // A server that became a replica: look for the master again.
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::Reconnect,
            ErrorKind::Server(_) | ErrorKind::Extension => Self::on_code(error.code().unwrap_or_default()),
            ErrorKind::UnexpectedReturnType | ErrorKind::Client => Self::Refused,
            _ => Self::Reconnect,
        }
    }

    fn on_code(code: &str) -> Self {
        match code {
            "OOM" => Self::Full,
            "NOREPLICAS" | "MASTERDOWN" => Self::Doubt,
            "LOADING" | "CLUSTERDOWN" | "TRYAGAIN" | "MISCONF" | "BUSY" => Self::Wait,
            _ => Self::Refused,
        }
    }

    pub(super) fn call_error(self, error: &RedisError) -> CallError {
        match self {
            Self::Reconnect | Self::Doubt | Self::Wait => CallError::Away(said(error)),
            Self::Full => CallError::Full,
            Self::Refused => CallError::Refused {
                code: error.code().unwrap_or("ERR").to_owned(),
                detail: error.detail().unwrap_or_default().to_owned(),
            },
        }
    }
}

/// The error as Redis worded it; redis-rs shows its own name of the kind.
pub(super) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reply: &str) -> Verdict {
        let reply = ::redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).expect("an error reply");
        Verdict::on(&reply.extract_error().expect_err("an error"))
    }

    #[test]
    fn each_refusal_has_its_consequence() {
        assert_eq!(verdict("READONLY You can't write against a read only replica."), Verdict::Reconnect);
        assert_eq!(verdict("LOADING Redis is loading the dataset in memory"), Verdict::Wait);
        assert_eq!(verdict("MASTERDOWN Link with MASTER is down"), Verdict::Doubt);
        assert_eq!(verdict("NOREPLICAS Not enough good replicas to write."), Verdict::Doubt);
        assert_eq!(verdict("MISCONF Errors writing to the AOF file"), Verdict::Wait);
        assert_eq!(verdict("CLUSTERDOWN The cluster is down"), Verdict::Wait);
        assert_eq!(verdict("BUSY Redis is busy running a script"), Verdict::Wait);
        assert_eq!(verdict("OOM command not allowed when used memory > 'maxmemory'."), Verdict::Full);
        assert_eq!(verdict("WRONGTYPE Operation against a key"), Verdict::Refused);
        assert_eq!(verdict("NOSCRIPT No matching script."), Verdict::Refused);
    }

    #[test]
    fn a_lost_connection_is_replaced() {
        let gone = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(Verdict::on(&gone), Verdict::Reconnect);
        let away = Verdict::Reconnect.call_error(&gone);
        assert_eq!(away.to_string(), "redis is away: broken pipe");
    }
}
