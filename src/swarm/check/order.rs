//! Who comes first: rules 5 and 6.

use std::collections::HashSet;
use std::time::Duration;

use super::{Findings, Rule, Seen};
use crate::domain::id::PlaceNumber;
use crate::domain::time::Timestamp;
use crate::swarm::history::{Exchange, Shown, State, Told};

/// A place's first `admitted` answer.
#[derive(Clone, Copy)]
pub(super) struct Admission {
    answered_at: Timestamp,
    number: PlaceNumber,
    visitor: usize,
}

/// (5) An overtaking is sure when somebody who kept polling asked *after* a
/// later number had its `admitted` in hand, by more than `lag`, and was still
/// told to wait. Answers given without the store prove nothing: they repeat
/// what was known before. Nor does a place whose first answers were lost, when the
/// other came in before one arrived: it may have been called in vain meanwhile.
pub(super) fn in_order(seen: &Seen<'_>, highest: &[Admission], lag: Duration, findings: &mut Findings) {
    let visitor = seen.visitor;
    for stay in &seen.stays {
        let unheard_until = unheard_until(stay.kept);
        let overtaken =
            waiting(stay.kept).filter(|(shown, _)| !shown.status.degraded).find_map(|(shown, own)| {
                let before = highest.partition_point(|a| a.answered_at + lag < shown.sent_at);
                let other = highest.get(before.checked_sub(1)?)?;
                let was_here = unheard_until.is_none_or(|until| until <= other.answered_at);
                (was_here && other.number > own).then_some((shown, own, *other))
            });
        if let Some((shown, own, other)) = overtaken {
            let (asked, let_in) = (findings.clock(shown.sent_at), findings.clock(other.answered_at));
            findings.add(Rule::InOrder, || {
                format!(
                    "visitor {visitor}, number {own}, asked at {asked} and was told to wait; \
                     visitor {}, number {}, was in at {let_in}",
                    other.visitor, other.number
                )
            });
        }
    }
}

/// When the place was first shown, where requests before that had no answer: one of
/// those may have taken it long ago.
fn unheard_until(stay: &[Exchange]) -> Option<Timestamp> {
    let first =
        stay.iter().position(|exchange| exchange.shown().is_some_and(|s| s.status.number.is_some()))?;
    let is_lost = |exchange: &Exchange| matches!(exchange.told, Told::Nothing | Told::Trouble);
    stay[..first].iter().any(is_lost).then(|| stay[first].answered_at)
}

/// Everybody's first admissions.
#[derive(Default)]
pub(super) struct Admissions(Vec<Admission>);

impl Admissions {
    pub(super) fn note(&mut self, seen: &Seen<'_>) {
        let visitor = seen.visitor;
        let mut known = HashSet::new();
        for shown in seen.track.shown().filter(|shown| shown.status.state == State::Admitted) {
            if let Some(number) = shown.status.number.filter(|&number| known.insert(number)) {
                self.0.push(Admission { answered_at: shown.answered_at, number, visitor });
            }
        }
    }

    /// In the order of their answers, each with the highest number so far in place
    /// of its own.
    pub(super) fn highest(self) -> Vec<Admission> {
        let mut admissions = self.0;
        admissions.sort_by_key(|admission| (admission.answered_at, admission.number));
        let mut highest: Option<Admission> = None;
        for admission in &mut admissions {
            match highest {
                Some(high) if high.number > admission.number => *admission = high_at(high, *admission),
                _ => highest = Some(*admission),
            }
        }
        admissions
    }
}

/// `high`, kept sorted under the time of the admission it stands in for.
fn high_at(high: Admission, stands_for: Admission) -> Admission {
    Admission { answered_at: stands_for.answered_at, ..high }
}

/// (6) Compared with the lowest position shown in the stay, while the visitor
/// kept polling: a late returner stands in another, shorter line.
pub(super) fn positions_fall(seen: &Seen<'_>, findings: &mut Findings) {
    let visitor = seen.visitor;
    for stay in &seen.stays {
        let mut lowest: Option<(PlaceNumber, u64)> = None;
        for (shown, number) in waiting(stay.kept) {
            let Some(position) = shown.status.position else { continue };
            match lowest {
                Some((same, low)) if same == number && position > low => {
                    let at = findings.clock(shown.answered_at);
                    findings.add(Rule::PositionsFall, || {
                        format!("visitor {visitor}, number {number}: position {low}, then {position} at {at}")
                    });
                    break;
                }
                _ => lowest = Some((number, position)),
            }
        }
    }
}

/// `waiting` answers that name a number.
fn waiting(stay: &[Exchange]) -> impl Iterator<Item = (Shown, PlaceNumber)> {
    stay.iter()
        .filter_map(Exchange::shown)
        .filter(|shown| shown.status.state == State::Waiting)
        .filter_map(|shown| Some((shown, shown.status.number?)))
}
