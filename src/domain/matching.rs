//! Who answers whom: the states of counsellors, of requests and of sessions.
//!
//! Owns which change is legal and when silence has lasted too long. Who is paired
//! with whom is an order, not a choice: the counsellor who is ready longest with
//! the customer who waits longest. Where the rows live is the booking office's
//! matter.

use std::time::Duration;

use super::order::hex_id;

hex_id!(
    /// A customer's wish to be answered.
    RequestId
);
hex_id!(
    /// One conversation.
    SessionId
);

/// A counsellor takes an offered session within this time, or it is offered on.
pub const OFFER: Duration = Duration::from_secs(30);
/// A counsellor without a sign of life for so long is gone.
pub const COUNSELLOR_SILENT: Duration = Duration::from_secs(2 * 60);
/// A customer without a sign of life for so long is gone.
pub const CUSTOMER_SILENT: Duration = Duration::from_secs(5 * 60);

/// What a counsellor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CounsellorState {
    /// Not at work.
    Offline,
    /// At work, not to be given anybody.
    Online,
    /// Waits for a customer.
    Ready,
    /// Has one.
    Busy,
    /// Finishes what a session left to do.
    AfterCall,
}

impl CounsellorState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Offline, Self::Online, Self::Ready, Self::Busy, Self::AfterCall];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "OFFLINE",
            Self::Online => "ONLINE",
            Self::Ready => "READY",
            Self::Busy => "BUSY",
            Self::AfterCall => "AFTER_CALL",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// What a counsellor may choose from here. Nobody chooses to be busy, and
    /// only the end of the session ends it.
    #[must_use]
    pub const fn choices(self) -> &'static [Self] {
        match self {
            Self::Offline => &[Self::Online],
            Self::Online => &[Self::Ready, Self::Offline],
            Self::Ready => &[Self::Online, Self::Offline],
            Self::Busy => &[],
            Self::AfterCall => &[Self::Ready, Self::Online, Self::Offline],
        }
    }
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// Waits for a counsellor.
    Queued,
    /// Has one.
    Matched,
    /// Is over.
    Ended,
}

impl RequestState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Matched, Self::Ended];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Matched => "MATCHED",
            Self::Ended => "ENDED",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Was offered in vain, and waits to be offered again.
    Waiting,
    /// A counsellor was asked to take it.
    Offered,
    /// Both are there.
    Active,
    /// Is over.
    Ended,
}

impl SessionState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Offered, Self::Active, Self::Ended];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Offered => "OFFERED",
            Self::Active => "ACTIVE",
            Self::Ended => "ENDED",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Who said or did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Who asked.
    Customer,
    /// Who answers.
    Counsellor,
    /// The office itself: somebody was gone.
    System,
}

impl Party {
    /// Every party.
    pub const ALL: [Self; 3] = [Self::Customer, Self::Counsellor, Self::System];

    /// The name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Counsellor => "counsellor",
            Self::System => "system",
        }
    }

    /// The party with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|party| party.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::CounsellorState::{AfterCall, Busy, Offline, Online, Ready};
    use super::*;

    #[test]
    fn nobody_chooses_to_be_busy_and_everybody_gets_home() {
        for state in CounsellorState::ALL {
            assert!(!state.choices().contains(&Busy) && !state.choices().contains(&AfterCall), "{state:?}");
            assert!(!state.choices().contains(&state), "{state:?}");
            assert_eq!(CounsellorState::from_name(state.as_str()), Some(state));
            let out = state == Busy
                || state == Offline
                || state.choices().iter().any(|next| *next == Offline || next.choices().contains(&Offline));
            assert!(out, "{state:?}");
        }
        assert_eq!(Offline.choices(), [Online]);
        assert!(Online.choices().contains(&Ready) && AfterCall.choices().contains(&Ready));
    }

    #[test]
    fn names_are_read_back() {
        assert!(RequestState::ALL.into_iter().all(|s| RequestState::from_name(s.as_str()) == Some(s)));
        assert!(SessionState::ALL.into_iter().all(|s| SessionState::from_name(s.as_str()) == Some(s)));
        assert!(Party::ALL.into_iter().all(|s| Party::from_name(s.as_str()) == Some(s)));
        assert_eq!(CounsellorState::from_name("busy"), None);
    }
}
