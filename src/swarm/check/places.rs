//! Whose place is whose, and where each went: rules 7, 8, 9 and 11.

use std::collections::{HashMap, HashSet};

use super::{Fates, Findings, Rule, SKEW, Seen, Stay};
use crate::domain::id::PlaceNumber;
use crate::swarm::history::{Asked, Exchange, Shown, State, Told};

/// The first number that a stay was shown.
fn own_number(stay: &[Exchange]) -> Option<PlaceNumber> {
    stay.iter().filter_map(Exchange::shown).find_map(|shown| shown.status.number)
}

/// How a stay ended, as far as its visitor saw.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Admitted,
    Evicted,
    Left,
    Waiting,
    Lost,
}

fn fate(stay: &[Exchange]) -> Fate {
    let mut fate = Fate::Waiting;
    for exchange in stay {
        let left = exchange.asked == Asked::Leave;
        fate = match exchange.told {
            Told::Status(status) if status.degraded => fate,
            Told::Status(status) => match status.state {
                State::Admitted => return Fate::Admitted,
                State::Waiting => Fate::Waiting,
                State::Expired => Fate::Evicted,
                State::Left => Fate::Left,
                State::None | State::Full if left => Fate::Left,
                State::None | State::Full => Fate::Lost,
                State::Closed => fate,
            },
            _ if left => Fate::Left,
            _ => fate,
        };
    }
    fate
}

/// (7) Counts the numbers given and the places' ends, each for itself, and
/// compares: a number that two visitors hold, or a second number in one stay,
/// leaves the two sums apart.
#[derive(Default)]
pub(super) struct Balance {
    fates: Fates,
    given: HashSet<PlaceNumber>,
    owners: HashMap<PlaceNumber, usize>,
}

impl Balance {
    pub(super) fn note(&mut self, seen: &Seen<'_>, findings: &mut Findings) {
        let visitor = seen.visitor;
        self.given.extend(seen.track.shown().filter_map(|shown| shown.status.number));
        for (own, fate) in places(seen) {
            if let Some(other) = self.owners.insert(own, visitor) {
                findings.add(Rule::Balance, || {
                    format!("number {own} was given to visitor {other} and to visitor {visitor}")
                });
            }
            self.fates.count(fate);
        }
    }

    pub(super) fn judge(self, findings: &mut Findings) -> Fates {
        let joined = self.given.len() as u64;
        let fates = Fates { joined, ..self.fates };
        let accounted = fates.admitted + fates.evicted + fates.left + fates.waiting;
        if joined != accounted {
            findings.add(Rule::Balance, || {
                format!(
                    "{joined} numbers were given; {accounted} places are waiting, admitted, evicted or left"
                )
            });
        }
        fates
    }
}

/// A visitor's places in order, each with its end.
fn places(seen: &Seen<'_>) -> Vec<(PlaceNumber, Fate)> {
    let mut places: Vec<(PlaceNumber, Fate)> = Vec::new();
    for Stay { all, .. } in &seen.stays {
        let Some(own) = own_number(all) else { continue };
        let ended = fate(&all[first_numbered(all)..]);
        match places.last_mut() {
            // A leave that was lost on the way: the place went on.
            Some(last) if last.0 == own => *last = (own, ended),
            _ => places.push((own, ended)),
        }
    }
    places
}

impl Fates {
    fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::Admitted => &mut self.admitted,
            Fate::Evicted => &mut self.evicted,
            Fate::Left => &mut self.left,
            Fate::Waiting => &mut self.waiting,
            Fate::Lost => &mut self.lost,
        } += 1;
    }
}

fn first_numbered(stay: &[Exchange]) -> usize {
    let numbered = |exchange: &Exchange| exchange.shown().is_some_and(|shown| shown.status.number.is_some());
    stay.iter().position(numbered).unwrap_or(stay.len())
}

/// (8) Whoever was heard within every time it was told, and never came in, is
/// never told `expired`.
pub(super) fn no_wrong_eviction(seen: &Seen<'_>, findings: &mut Findings) {
    let visitor = seen.visitor;
    for stay in &seen.stays {
        let mut shown = stay.kept.iter().filter_map(Exchange::shown).filter(|shown| !shown.status.degraded);
        let waited = shown.any(|shown| shown.status.state == State::Waiting);
        let next = shown.find(|shown| shown.status.state != State::Waiting);
        let evicted = next.filter(|shown| waited && shown.status.state == State::Expired);
        if let Some(evicted) = evicted {
            let at = findings.clock(evicted.answered_at);
            findings.add(Rule::NoWrongEviction, || {
                format!("visitor {visitor} kept polling and was told at {at} that its place expired")
            });
        }
    }
}

/// Whose each number is.
#[derive(Default)]
pub(super) struct Owners(HashMap<PlaceNumber, usize>);

impl Owners {
    pub(super) fn note(&mut self, seen: &Seen<'_>) {
        let own = |stay: &Stay<'_>| Some((own_number(stay.all)?, seen.visitor));
        self.0.extend(seen.stays.iter().filter_map(own));
    }

    fn other(&self, number: PlaceNumber, visitor: usize) -> Option<usize> {
        self.0.get(&number).copied().filter(|&owner| owner != visitor)
    }
}

/// (9) and (11) A visitor with a place is never told that it has none, nor
/// shown another number: one that nobody holds is a place lost, one that
/// somebody else holds is somebody else's answer.
pub(super) fn kept(seen: &Seen<'_>, owners: &Owners, findings: &mut Findings) {
    let visitor = seen.visitor;
    for Stay { all, .. } in &seen.stays {
        let Some(own) = own_number(all) else { continue };
        let Some((shown, loss)) = first_loss(all, own) else { continue };
        let at = findings.clock(shown.answered_at);
        match loss {
            Loss::Gone => findings.add(Rule::PlacesKept, || {
                format!("visitor {visitor}, number {own}, was told at {at} that it has no place")
            }),
            Loss::Renumbered(number) => match owners.other(number, visitor) {
                Some(owner) => findings.add(Rule::OwnAnswers, || {
                    format!(
                        "visitor {visitor}, number {own}, was shown number {number} of visitor {owner} at {at}"
                    )
                }),
                None => findings.add(Rule::PlacesKept, || {
                    format!("visitor {visitor}, number {own}, was shown number {number} at {at}")
                }),
            },
        }
    }
}

enum Loss {
    Gone,
    Renumbered(PlaceNumber),
}

/// The first answer of a stay that took its place away without saying why.
fn first_loss(stay: &[Exchange], own: PlaceNumber) -> Option<(Shown, Loss)> {
    let held = &stay[first_numbered(stay)..];
    let left = held.iter().position(|exchange| exchange.asked == Asked::Leave).unwrap_or(held.len());
    let mut lasts_until = None;
    for shown in held[..left].iter().filter_map(Exchange::shown).filter(|shown| !shown.status.degraded) {
        if let Some(number) = shown.status.number.filter(|&number| number != own) {
            return Some((shown, Loss::Renumbered(number)));
        }
        match shown.status.state {
            State::None | State::Full if lasts_until.is_none_or(|end| shown.answered_at < end) => {
                return Some((shown, Loss::Gone));
            }
            State::Expired => return None,
            State::Admitted => lasts_until = shown.status.pass_expires_at.map(|end| end - SKEW),
            _ => {}
        }
    }
    None
}

/// (11) No cookie or token of the gate is ever seen by two visitors.
#[derive(Default)]
pub(super) struct Keys(HashMap<u64, usize>);

impl Keys {
    pub(super) fn note(&mut self, seen: &Seen<'_>, findings: &mut Findings) {
        let visitor = seen.visitor;
        for &key in &seen.track.keys {
            let owner = *self.0.entry(key).or_insert(visitor);
            if owner != visitor {
                findings.add(Rule::OwnAnswers, || {
                    format!("visitor {visitor} was given a token of visitor {owner}")
                });
            }
        }
    }
}
