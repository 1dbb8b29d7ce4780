//! How the generations of passes look in Redis: arguments written, replies read.

use redis::Value;

use super::wire::{Arg, Read, Unexpected, instant, list, number, text};
use crate::domain::binding::{Claim, Heard, Newest, Rotation};
use crate::domain::id::VisitorId;
use crate::domain::time::{Timestamp, millis};

pub(super) fn shown(shown: &[(VisitorId, Timestamp, u64)], rotation: Rotation) -> Vec<Arg<'static>> {
    let one = |&(visitor, issued_at, generation): &(VisitorId, Timestamp, u64)| {
        [Arg::Visitor(visitor), Arg::Number(issued_at.as_millis()), Arg::Number(generation)]
    };
    [every(rotation)].into_iter().chain(shown.iter().flat_map(one)).collect()
}

pub(super) fn claim(visitor: VisitorId, shown: Option<u64>, rotation: Rotation) -> Vec<Arg<'static>> {
    vec![every(rotation), Arg::Visitor(visitor), shown.map_or(Arg::Text(""), Arg::Number)]
}

fn every(rotation: Rotation) -> Arg<'static> {
    Arg::Number(millis(rotation.every))
}

/// An empty list for each that is no pass.
pub(super) fn heard(reply: &Value) -> Read<Vec<Option<Heard>>> {
    list(reply)?.iter().map(optional_heard).collect()
}

fn optional_heard(reply: &Value) -> Read<Option<Heard>> {
    let [generation, shown_at, before, next, due_at] = list(reply)? else {
        return if list(reply)?.is_empty() { Ok(None) } else { Err(Unexpected) };
    };
    let (generation, shown_at) = (number(generation)?, instant(shown_at)?);
    let newest = Newest { generation, shown_at, before: number(before)? };
    // What is made is above 0.
    let next = Some(number(next)?).filter(|&next| next > 0);
    Ok(Some(Heard { newest, next, due_at: instant(due_at)? }))
}

/// An empty list for no pass.
pub(super) fn optional_claim(reply: &Value) -> Read<Option<Claim>> {
    let [kind, rest @ ..] = list(reply)? else { return Ok(None) };
    match (text(kind)?, rest) {
        ("G", [generation]) => Ok(Some(Claim::Given(number(generation)?))),
        ("S", []) => Ok(Some(Claim::Shared)),
        _ => Err(Unexpected),
    }
}
