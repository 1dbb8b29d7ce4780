//! Who is inside, and by what right: rules 1, 3 and 4.

use std::time::Duration;

use super::{Findings, Limits, Rule, SKEW, Seen};
use crate::domain::time::Timestamp;
use crate::swarm::history::{Asked, Credentials, Exchange, Shown, State, Status, Told, Track};

/// A slot that was left is free one second after; twice that for the way there.
const REVOKED_AFTER: Duration = Duration::from_secs(2);
/// Trouble this long before an act may have kept it from the other gates.
const TROUBLED: Duration = Duration::from_secs(5);

/// A time in which one visitor's pass was surely good: `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inside {
    from: Timestamp,
    to: Timestamp,
}

/// Every time in which somebody was surely inside.
#[derive(Default)]
pub(super) struct Spells(Vec<Inside>);

impl Spells {
    pub(super) fn note(&mut self, seen: &Seen<'_>, ended_at: Timestamp) {
        self.0.extend(seen.stays.iter().filter_map(|stay| inside(stay.all, ended_at)));
    }

    /// (1) The most visitors surely inside at one instant, compared with the
    /// capacity. Those called but not yet arrived count for the gate and do not
    /// show here, so this is a lower bound.
    pub(super) fn judge(&self, limits: &Limits, findings: &mut Findings) -> u64 {
        let (most, at) = most_at_once(&self.0);
        if let Some(capacity) = limits.capacity.filter(|&capacity| most > capacity) {
            let at = findings.clock(at);
            findings.add(Rule::Capacity, || format!("{most} inside at {at}, capacity {capacity}"));
        }
        most
    }
}

/// From the answer that gave the pass until the visitor began to leave, the
/// pass's end, or the last proof of it when it was found ended later (an
/// operator or the app may have taken it at any time since).
fn inside(stay: &[Exchange], ended_at: Timestamp) -> Option<Inside> {
    let first = stay.iter().position(|exchange| admitted(exchange).is_some())?;
    let from = stay[first].answered_at;
    let (mut proven, mut ends) = (from, None);
    for exchange in &stay[first..] {
        match (exchange.asked, exchange.told) {
            (Asked::Leave, _) => return spell(from, ends.unwrap_or(proven).min(exchange.sent_at)),
            (_, Told::Status(status)) if status.state == State::Admitted => {
                proven = exchange.sent_at;
                ends = status.pass_expires_at.map(|at| at - SKEW);
            }
            (Asked::Page(Credentials::Own), Told::App) => proven = exchange.sent_at,
            (Asked::Page(Credentials::Own), Told::Held) | (_, Told::Status(_)) => return spell(from, proven),
            _ => {}
        }
    }
    spell(from, ends.unwrap_or(proven).min(ended_at))
}

fn spell(from: Timestamp, to: Timestamp) -> Option<Inside> {
    (from < to).then_some(Inside { from, to })
}

fn admitted(exchange: &Exchange) -> Option<Shown> {
    exchange.shown().filter(|shown| shown.status.state == State::Admitted)
}

/// The largest number of spells that share an instant, and the first such
/// instant. Ends come before starts at the same one.
fn most_at_once(spells: &[Inside]) -> (u64, Timestamp) {
    let mut edges: Vec<(Timestamp, bool)> =
        spells.iter().flat_map(|spell| [(spell.from, true), (spell.to, false)]).collect();
    edges.sort_unstable();
    let (mut now, mut most) = (0_u64, (0, Timestamp::default()));
    for (at, comes) in edges {
        now = if comes { now + 1 } else { now - 1 };
        if now > most.0 {
            most = (now, at);
        }
    }
    most
}

/// (3) A place that was inside and then was not never comes in again, and a
/// claim that is repeated gets the same pass. The one late call is no
/// exception: whoever missed its turn was never told `admitted` for it.
pub(super) fn admitted_once(seen: &Seen<'_>, findings: &mut Findings) {
    let Seen { visitor, track, .. } = seen;
    if let Some(shown) = came_in_again(track).or_else(|| second_pass(track)) {
        let at = findings.clock(shown.answered_at);
        let number = shown.status.number.map_or_else(|| "unknown".into(), |n| n.to_string());
        findings.add(Rule::AdmittedOnce, || {
            format!("visitor {visitor}, number {number}, was admitted once more at {at}")
        });
    }
}

fn came_in_again(track: &Track) -> Option<Shown> {
    let mut was_inside = None;
    let mut out = false;
    for shown in track.shown().filter(|shown| !shown.status.degraded) {
        match (shown.status.state, shown.status.number) {
            (State::Admitted, Some(number)) if out && was_inside == Some(number) => return Some(shown),
            (State::Admitted, number) => (was_inside, out) = (number, false),
            _ => out = true,
        }
    }
    None
}

/// Two answers in a row, with nothing between that could have prolonged the
/// pass (the app's answer, or its renewal at half-life), must name one end.
fn second_pass(track: &Track) -> Option<Shown> {
    track.exchanges.windows(2).find_map(|pair| {
        let (first, second) = (admitted(&pair[0])?, admitted(&pair[1])?);
        let (ends, again) = (first.status.pass_expires_at?, second.status.pass_expires_at?);
        let half_life = first.answered_at + ends.since(first.answered_at) / 2;
        let same_place = first.status.number == second.status.number;
        (same_place && ends != again && second.answered_at < half_life).then_some(second)
    })
}

/// (4) The app never answers a request that carries no pass, one of a visitor
/// that waits before and after it, or one with the pass of a visitor that left.
pub(super) fn admitted_first(seen: &Seen<'_>, troubles: &[Timestamp], findings: &mut Findings) {
    let Seen { visitor, track, .. } = seen;
    for (i, exchange) in track.exchanges.iter().enumerate() {
        let Asked::Page(credentials) = exchange.asked else { continue };
        let wrong = exchange.told == Told::App
            && match credentials {
                Credentials::Nothing => true,
                Credentials::Own => waits_around(&track.exchanges, i),
                Credentials::Old => outlived_leave(&track.exchanges[..i], exchange.sent_at, troubles),
            };
        if wrong {
            let at = findings.clock(exchange.sent_at);
            findings.add(Rule::AdmittedFirst, || {
                format!("visitor {visitor} reached the app at {at} with {}", named(credentials))
            });
        }
    }
}

const fn named(credentials: Credentials) -> &'static str {
    match credentials {
        Credentials::Nothing => "no pass",
        Credentials::Own => "a place in the line",
        Credentials::Old => "the pass it had before it left",
    }
}

/// Whether the visitor surely waited in one place when it sent exchange `i`.
fn waits_around(exchanges: &[Exchange], i: usize) -> bool {
    let before = exchanges[..i].iter().rev().find_map(Exchange::shown);
    let after = exchanges[i + 1..].iter().find_map(Exchange::shown).filter(|shown| !shown.status.degraded);
    let waiting = |shown: Option<Shown>| match shown?.status {
        Status { state: State::Waiting, number, .. } => number,
        _ => None,
    };
    waiting(before).is_some() && waiting(before) == waiting(after)
}

/// Whether a pass that was left worked long after, with nothing that could have
/// kept the news from a gate.
fn outlived_leave(before: &[Exchange], sent_at: Timestamp, troubles: &[Timestamp]) -> bool {
    let left =
        before.iter().rev().filter_map(Exchange::shown).find(|shown| shown.status.state == State::Left);
    left.is_some_and(|left| {
        let from = left.sent_at - TROUBLED;
        let next = troubles.partition_point(|&at| at < from);
        let calm = troubles.get(next).is_none_or(|&at| at > sent_at);
        calm && left.answered_at + REVOKED_AFTER < sent_at
    })
}

/// When anybody had no answer, an error, or one given without the store.
#[derive(Default)]
pub(super) struct Troubles(Vec<Timestamp>);

impl Troubles {
    pub(super) fn note(&mut self, track: &Track) {
        let troubled = |exchange: &&Exchange| match exchange.told {
            Told::Nothing | Told::Trouble => true,
            Told::Status(status) => status.degraded,
            _ => false,
        };
        self.0.extend(track.exchanges.iter().filter(troubled).map(|exchange| exchange.answered_at));
    }

    pub(super) fn sorted(self) -> Vec<Timestamp> {
        let mut times = self.0;
        times.sort_unstable();
        times
    }
}
