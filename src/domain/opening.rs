//! When a room's doors open, and from when on people may gather before them.

use super::time::Timestamp;

/// An opening. Nobody is admitted before [`Opening::at`], nobody joins before
/// [`Opening::gather_from`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The first tick from here on admits.
    pub at: Timestamp,
    /// Places are given from here on; later than `at` means from `at` on.
    pub gather_from: Timestamp,
}

impl Opening {
    /// Whether nobody is admitted yet.
    #[must_use]
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        now < self.at
    }

    /// Whether nobody joins yet. Doors that are open let people join, too.
    #[must_use]
    pub fn is_too_early(&self, now: Timestamp) -> bool {
        now < self.at && now < self.gather_from
    }
}

/// An operator's word on one opening.
///
/// It names the opening it changes, so that it says nothing of the next one
/// that somebody writes into the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescheduled {
    /// The instant in the settings; the epoch's beginning where they have none.
    pub of: Timestamp,
    /// When the doors open instead.
    pub at: Timestamp,
}

impl Rescheduled {
    /// Moves the opening in the settings to `at`.
    #[must_use]
    pub fn new(set: Option<Opening>, at: Timestamp) -> Self {
        Self { of: set.map(|opening| opening.at).unwrap_or_default(), at }
    }

    /// The opening that the settings have, as changed. People who may gather
    /// already go on doing so when the doors open later.
    #[must_use]
    pub fn apply(change: Option<Self>, set: Option<Opening>) -> Option<Opening> {
        match change {
            Some(change) if change.of == set.map(|opening| opening.at).unwrap_or_default() => {
                let gather_from = set.map(|opening| opening.gather_from).unwrap_or_default();
                Some(Opening { at: change.at, gather_from })
            }
            _ => set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    const SET: Opening = Opening { at: Timestamp::from_millis(100), gather_from: Timestamp::from_millis(60) };

    #[test]
    fn people_gather_before_the_doors_open() {
        let seen = [59, 60, 99, 100].map(|ms| (SET.is_too_early(at(ms)), SET.is_ahead(at(ms))));
        assert_eq!(seen, [(true, true), (false, true), (false, true), (false, false)]);
    }

    #[test]
    fn a_change_is_of_one_opening_only() {
        let earlier = Some(Rescheduled::new(Some(SET), at(20)));
        let opened = Rescheduled::apply(earlier, Some(SET)).expect("an opening");
        assert!(!opened.is_ahead(at(20)) && !opened.is_too_early(at(20)), "open doors take everybody");
        let next = Opening { at: at(900), gather_from: at(800) };
        assert_eq!(Rescheduled::apply(earlier, Some(next)), Some(next));
        assert_eq!(Rescheduled::apply(earlier, None), None);
    }

    #[test]
    fn a_later_opening_sends_nobody_away() {
        let later = Rescheduled::apply(Some(Rescheduled::new(Some(SET), at(500))), Some(SET));
        assert_eq!(later, Some(Opening { at: at(500), gather_from: at(60) }));
        let out_of_nothing = Rescheduled::apply(Some(Rescheduled::new(None, at(500))), None);
        assert!(out_of_nothing.is_some_and(|o| o.is_ahead(at(499)) && !o.is_too_early(at(1))));
    }
}
