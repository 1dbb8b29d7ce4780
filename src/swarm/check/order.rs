//! Who comes first: rules 5 and 6.

use std::collections::HashSet;
use std::time::Duration;

use super::{Findings, Rule};
use crate::domain::id::PlaceNumber;
use crate::domain::time::Timestamp;
use crate::swarm::history::{Exchange, History, Record, Shown, State, kept_polling};

/// A place's first `admitted` answer.
#[derive(Clone, Copy)]
struct Admission {
    answered_at: Timestamp,
    number: PlaceNumber,
    visitor: usize,
}

/// (5) An overtaking is sure when somebody who kept polling asked *after* a
/// later number had its `admitted` in hand, by more than `lag`, and was still
/// told to wait. Answers given without the store prove nothing: they repeat
/// what was known before.
pub(super) fn in_order<T: Record>(history: &History<T>, lag: Duration, findings: &mut Findings) {
    let highest = highest_admitted(history);
    history.each(|visitor, track| {
        for stay in track.stays() {
            let overtaken = waiting(&stay[..kept_polling(stay)])
                .filter(|(shown, _)| !shown.status.degraded)
                .find_map(|(shown, own)| {
                    let before = highest.partition_point(|a| a.answered_at + lag < shown.sent_at);
                    let other = highest.get(before.checked_sub(1)?)?;
                    (other.number > own).then_some((shown, own, *other))
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
    });
}

/// First admissions in the order of their answers, each with the highest number
/// so far in place of its own.
fn highest_admitted<T: Record>(history: &History<T>) -> Vec<Admission> {
    let mut admissions = Vec::new();
    history.each(|visitor, track| {
        let mut known = HashSet::new();
        for shown in track.shown().filter(|shown| shown.status.state == State::Admitted) {
            if let Some(number) = shown.status.number.filter(|&number| known.insert(number)) {
                admissions.push(Admission { answered_at: shown.answered_at, number, visitor });
            }
        }
    });
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

/// `high`, kept sorted under the time of the admission it stands in for.
fn high_at(high: Admission, stands_for: Admission) -> Admission {
    Admission { answered_at: stands_for.answered_at, ..high }
}

/// (6) Compared with the lowest position shown in the stay, while the visitor
/// kept polling: a late returner stands in another, shorter line.
pub(super) fn positions_fall<T: Record>(history: &History<T>, findings: &mut Findings) {
    history.each(|visitor, track| {
        for stay in track.stays() {
            let mut lowest: Option<(PlaceNumber, u64)> = None;
            for (shown, number) in waiting(&stay[..kept_polling(stay)]) {
                let Some(position) = shown.status.position else { continue };
                match lowest {
                    Some((same, low)) if same == number && position > low => {
                        let at = findings.clock(shown.answered_at);
                        findings.add(Rule::PositionsFall, || {
                            format!(
                                "visitor {visitor}, number {number}: position {low}, then {position} at {at}"
                            )
                        });
                        break;
                    }
                    _ => lowest = Some((number, position)),
                }
            }
        }
    });
}

/// `waiting` answers that name a number.
fn waiting(stay: &[Exchange]) -> impl Iterator<Item = (Shown, PlaceNumber)> {
    stay.iter()
        .filter_map(Exchange::shown)
        .filter(|shown| shown.status.state == State::Waiting)
        .filter_map(|shown| Some((shown, shown.status.number?)))
}
