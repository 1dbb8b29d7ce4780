//! What becomes of a request: facts in, decision out.
//!
//! Pure. The one place that says who is forwarded.

/// The gate's own endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Status,
    Join,
    Leave,
    Draw,
    /// The language of the pages is chosen.
    Language,
    /// A place goes to another device.
    Move,
    Authz,
    /// Any other path below `/queue/`.
    Unknown,
}

impl Endpoint {
    /// The endpoint of a path; `None` = the app's.
    pub(super) fn of(path: &str) -> Option<Self> {
        let rest = match path.strip_prefix("/queue") {
            Some("") => return Some(Self::Unknown),
            Some(rest) => rest.strip_prefix('/')?,
            None => return None,
        };
        Some(match rest {
            "status" => Self::Status,
            "join" => Self::Join,
            "leave" => Self::Leave,
            "draw" => Self::Draw,
            "language" => Self::Language,
            "move" => Self::Move,
            "authz" => Self::Authz,
            _ if rest.starts_with("authz/") => Self::Authz,
            // Not plain: an app may have such a path, the gate does not.
            _ if !crate::domain::target::is_plain(path) => return None,
            _ => Self::Unknown,
        })
    }

    /// The one method it takes; `None` = more than one.
    pub(super) fn method(self) -> Option<http::Method> {
        match self {
            Self::Status | Self::Draw => Some(http::Method::GET),
            Self::Join | Self::Leave | Self::Language => Some(http::Method::POST),
            Self::Move | Self::Authz | Self::Unknown => None,
        }
    }
}

/// What an `Upgrade` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    None,
    /// A well-formed WebSocket handshake without a body.
    WebSocket,
    /// A WebSocket handshake that is not well-formed.
    Malformed,
}

/// Everything that decides about a request to the app.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// A pass that is live, of this line, and not revoked.
    pub(super) has_pass: bool,
    /// The room has no line now: mode or operator.
    pub(super) open_to_all: bool,
    /// The request matches one of the room's bypass rules.
    pub(super) bypass: bool,
    /// The store is away and the room closes then.
    pub(super) shut: bool,
    /// A browser asks for a page: GET or HEAD, and `Accept` has `text/html`.
    pub(super) wants_page: bool,
    pub(super) upgrade: Upgrade,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Forward,
    /// Upgrade the connection towards the app.
    Tunnel,
    /// The waiting page: the visitor may be given a place, and may turn out to be admitted.
    WaitPage,
    /// The short answer for programs.
    WaitApi,
    /// 400
    Malformed,
    /// 503: the store is away and the room closes then.
    Shut,
}

/// The gate's rule.
pub(super) fn decide(facts: &Facts) -> Decision {
    let may_pass = facts.open_to_all || facts.bypass || facts.has_pass;
    match (may_pass, facts.upgrade) {
        _ if facts.shut && !facts.bypass => Decision::Shut,
        (true, Upgrade::Malformed) => Decision::Malformed,
        (true, Upgrade::WebSocket) => Decision::Tunnel,
        (true, Upgrade::None) => Decision::Forward,
        (false, _) if facts.wants_page => Decision::WaitPage,
        (false, _) => Decision::WaitApi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Facts = Facts {
        has_pass: false,
        open_to_all: false,
        bypass: false,
        shut: false,
        wants_page: false,
        upgrade: Upgrade::None,
    };

    #[test]
    fn nothing_is_forwarded_without_a_reason() {
        for bits in 0_u8..64 {
            let bit = |n: u8| bits >> n & 1 == 1;
            for upgrade in [Upgrade::None, Upgrade::WebSocket, Upgrade::Malformed] {
                let facts = Facts {
                    has_pass: bit(0),
                    open_to_all: bit(1),
                    bypass: bit(2),
                    shut: bit(3),
                    wants_page: bit(4),
                    upgrade,
                };
                let forwarded = matches!(decide(&facts), Decision::Forward | Decision::Tunnel);
                let allowed = facts.has_pass || facts.open_to_all || facts.bypass;
                assert!(!forwarded || allowed, "{facts:?}");
                assert!(!(forwarded && facts.shut) || facts.bypass, "{facts:?}");
            }
        }
    }

    #[test]
    fn browsers_get_the_page_and_programs_the_short_answer() {
        assert_eq!(decide(&Facts { wants_page: true, ..NOBODY }), Decision::WaitPage);
        assert_eq!(decide(&NOBODY), Decision::WaitApi);
        assert_eq!(decide(&Facts { upgrade: Upgrade::WebSocket, ..NOBODY }), Decision::WaitApi);
        assert_eq!(
            decide(&Facts { has_pass: true, upgrade: Upgrade::WebSocket, ..NOBODY }),
            Decision::Tunnel
        );
        assert_eq!(
            decide(&Facts { has_pass: true, upgrade: Upgrade::Malformed, ..NOBODY }),
            Decision::Malformed
        );
    }

    #[test]
    fn only_plain_paths_below_queue_are_the_gates() {
        assert_eq!(Endpoint::of("/queue/status"), Some(Endpoint::Status));
        assert_eq!(Endpoint::of("/queue/authz/some/path"), Some(Endpoint::Authz));
        assert_eq!(Endpoint::of("/queue/nothing"), Some(Endpoint::Unknown));
        for app in ["/", "/queues", "/queue/../seats/1", "/queue//status", "/QUEUE/status", "/queue/%2e%2e/x"]
        {
            assert_eq!(Endpoint::of(app), None, "{app}");
        }
    }
}
