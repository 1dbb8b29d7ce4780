//! How values look in Redis: arguments written, replies read.
//!
//! Numbers go through Lua's doubles, exact up to 2^53; larger ones are cut to
//! that, which as ms is 285,000 years.

use std::time::Duration;

use base64::Engine;
use base64::alphabet::Alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use redis::{RedisWrite, ToRedisArgs, Value};

use super::super::{LogPage, Overrides, Report, StoreError};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::line::{Known, LogEntry, PutBack, Settings, Standing, Totals};
use crate::domain::opening::Rescheduled;
use crate::domain::pass::Pass;
use crate::domain::place::{Reason, Turn};
use crate::domain::time::{Timestamp, millis};

const LARGEST: u64 = 1 << 53;

/// The letters of base64url in the order of their bytes: encoded ids sort as the
/// ids do, so that ties in a sorted set are in the model's order. 22 letters are
/// kept in 24 bytes, where 32 hexadecimal digits would take 40.
const ORDERED: GeneralPurpose = GeneralPurpose::new(
    &match Alphabet::new("-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz") {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("64 different letters"),
    },
    NO_PAD,
);

/// One argument of a script.
pub(super) enum Arg<'a> {
    Number(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Visitor(VisitorId),
    /// The time to use instead of Redis's, and what it is by the caller's account.
    Time {
        told: Option<Timestamp>,
        expected: Option<Timestamp>,
    },
}

impl ToRedisArgs for Arg<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match *self {
            Self::Number(number) => out.write_arg_fmt(number.min(LARGEST)),
            Self::Text(text) => out.write_arg(text.as_bytes()),
            Self::Bytes(bytes) => out.write_arg(bytes),
            Self::Visitor(visitor) => out.write_arg(visitor_text(visitor).as_bytes()),
            Self::Time { told, expected } => {
                let text = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
                out.write_arg_fmt(format_args!("{}/{}", text(told), text(expected)));
            }
        }
    }
}

fn visitor_text(visitor: VisitorId) -> String {
    ORDERED.encode(visitor.as_bytes())
}

/// The settings as fields; the script puts `base:` before each.
pub(super) fn settings(settings: &Settings) -> Vec<Arg<'static>> {
    let ms = |duration: Duration| Arg::Number(millis(duration));
    let optional = |limit: Option<u64>| limit.map_or(Arg::Text(""), Arg::Number);
    let flag = |is_set: bool| Arg::Number(u64::from(is_set));
    let instant = |at: Option<Timestamp>| optional(at.map(Timestamp::as_millis));
    let fields = [
        ("capacity", Arg::Number(settings.capacity)),
        ("batch", Arg::Number(settings.batch)),
        ("tick_ms", ms(settings.tick)),
        ("rate_per_minute", optional(settings.rate_per_minute)),
        ("max_waiting", optional(settings.max_waiting)),
        ("pass_ttl_ms", ms(settings.pass_ttl)),
        ("pass_max_ms", ms(settings.pass_max)),
        ("idle_ms", ms(settings.idle_timeout)),
        ("claim_ms", ms(settings.claim_window)),
        ("grace_ms", ms(settings.grace_reentry)),
        ("paused", flag(settings.paused)),
        ("closed", flag(settings.closed)),
        ("draining", flag(settings.draining)),
        ("overflow", flag(settings.overflow)),
        ("autotune", flag(settings.autotune)),
        ("draw", flag(settings.draw)),
        ("opens_at", instant(settings.opening.map(|opening| opening.at))),
        ("gather_from", instant(settings.opening.map(|opening| opening.gather_from))),
    ];
    fields.into_iter().flat_map(|(name, value)| [Arg::Text(name), value]).collect()
}

/// How far a gate that joins visitors knew the line; `epoch` is that line's.
pub(super) fn known<'a>(known: Option<&Known>, epoch: &'a str) -> [Arg<'a>; 5] {
    let Some(known) = known else { return [(); 5].map(|()| Arg::Text("")) };
    let drawn = if known.lot.is_some() { "1" } else { "" };
    let [next, log_seq, claimed] = [known.next.0, known.log_seq, known.claimed].map(Arg::Number);
    [Arg::Text(epoch), next, log_seq, claimed, Arg::Text(drawn)]
}

/// What a gate remembers of a lost line.
pub(super) fn put_back(back: &PutBack) -> Vec<Arg<'_>> {
    match back {
        PutBack::Out { below, from, bits } => {
            vec![Arg::Text("out"), Arg::Number(below.0), Arg::Number(from.0), Arg::Bytes(bits)]
        }
        PutBack::Drop(numbers) => {
            [Arg::Text("drop")].into_iter().chain(numbers.iter().map(|n| Arg::Number(n.0))).collect()
        }
        PutBack::Passes(passes) => {
            let pass = |(visitor, pass): &(VisitorId, Pass)| {
                let times = [pass.issued_at, pass.expires_at].map(|at| Arg::Number(at.as_millis()));
                [Arg::Visitor(*visitor), Arg::Number(pass.number.0)].into_iter().chain(times)
            };
            [Arg::Text("passes")].into_iter().chain(passes.iter().flat_map(pass)).collect()
        }
        PutBack::Handed(handed) => {
            let one = |&(number, to): &(PlaceNumber, VisitorId)| [Arg::Number(number.0), Arg::Visitor(to)];
            [Arg::Text("handed")].into_iter().chain(handed.iter().flat_map(one)).collect()
        }
        PutBack::Revoked(passes) => {
            let pass = |pass: &Pass| {
                [pass.number.0, pass.issued_at.as_millis(), pass.expires_at.as_millis()].map(Arg::Number)
            };
            [Arg::Text("revoked")].into_iter().chain(passes.iter().flat_map(pass)).collect()
        }
    }
}

/// The changes as fields; the script puts `set:` before each.
pub(super) fn overrides(changes: &Overrides) -> Vec<Arg<'_>> {
    let flag = |is_set: Option<bool>| is_set.map(|is_set| Arg::Number(u64::from(is_set)));
    let fields = [
        ("revision", Some(changes.revision).filter(|&revision| revision > 0).map(Arg::Number)),
        ("capacity", changes.capacity.map(Arg::Number)),
        ("batch", changes.batch.map(Arg::Number)),
        ("rate_per_minute", changes.rate_per_minute.map(Arg::Number)),
        ("max_waiting", changes.max_waiting.map(Arg::Number)),
        ("pass_ttl_ms", changes.pass_ttl.map(|ttl| Arg::Number(millis(ttl)))),
        ("paused", flag(changes.paused)),
        ("closed", flag(changes.closed)),
        ("sold_out", flag(changes.sold_out)),
        ("draining", flag(changes.draining)),
        ("bypass", flag(changes.bypass)),
        ("message", changes.message.as_deref().map(Arg::Text)),
        ("opening_of", changes.opening.map(|change| Arg::Number(change.of.as_millis()))),
        ("opens_at", changes.opening.map(|change| Arg::Number(change.at.as_millis()))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some([Arg::Text(name), value?])).flatten().collect()
}

/// A reply that is not what the script answers: another program's script or data.
#[derive(Debug)]
pub(super) struct Unexpected;

impl From<Unexpected> for StoreError {
    fn from(_: Unexpected) -> Self {
        Self::Away("an answer that no operation of this version gives".into())
    }
}

pub(super) type Read<T> = Result<T, Unexpected>;

pub(super) fn turns(reply: &Value) -> Read<Vec<Turn>> {
    list(reply)?.iter().map(turn).collect()
}

fn turn(reply: &Value) -> Read<Turn> {
    let [kind, rest @ ..] = list(reply)? else { return Err(Unexpected) };
    Ok(match (text(kind)?, rest) {
        ("U", []) => Turn::Unknown,
        ("W", [n, at]) => Turn::Waiting { number: place(n)?, joined_at: instant(at)? },
        ("R", [n, ahead]) => Turn::Returning { number: place(n)?, ahead: number(ahead)? },
        ("A", rest) => Turn::Admitted(pass(rest)?),
        ("E", [n, reason]) => Turn::Ended { number: place(n)?, reason: read_reason(reason)? },
        ("F", []) => Turn::Full,
        ("C", []) => Turn::Closed,
        _ => return Err(Unexpected),
    })
}

/// Secret and entries in one.
pub(super) fn lot(draw: &Draw) -> Vec<u8> {
    [&draw.secret[..], &draw.entries].concat()
}

/// A draw, or an empty list for none.
pub(super) fn optional_draw(reply: &Value) -> Read<Option<Draw>> {
    let [next, Value::BulkString(lot)] = list(reply)? else {
        return if list(reply)?.is_empty() { Ok(None) } else { Err(Unexpected) };
    };
    let (secret, entries) = lot.split_first_chunk().ok_or(Unexpected)?;
    Ok(Some(Draw { secret: *secret, next: place(next)?, entries: entries.to_vec() }))
}

/// A turn, or an empty list for none.
pub(super) fn optional_turn(reply: &Value) -> Read<Option<Turn>> {
    if list(reply)?.is_empty() { Ok(None) } else { turn(reply).map(Some) }
}

fn read_reason(reply: &Value) -> Read<Reason> {
    text(reply)?.chars().next().and_then(Reason::from_code).ok_or(Unexpected)
}

fn pass(reply: &[Value]) -> Read<Pass> {
    let [n, issued_at, expires_at] = reply else { return Err(Unexpected) };
    Ok(Pass { number: place(n)?, issued_at: instant(issued_at)?, expires_at: instant(expires_at)? })
}

/// A pass, or an empty list for none.
pub(super) fn optional_pass(reply: &Value) -> Read<Option<Pass>> {
    match list(reply)? {
        [] => Ok(None),
        reply => pass(reply).map(Some),
    }
}

/// A number, or 0 for none.
pub(super) fn optional_place(reply: &Value) -> Read<Option<PlaceNumber>> {
    Ok(Some(place(reply)?).filter(|number| number.0 > 0))
}

/// A visitor, or nothing for none.
pub(super) fn optional_visitor(reply: &Value) -> Read<Option<VisitorId>> {
    let text = text(reply)?;
    if text.is_empty() {
        return Ok(None);
    }
    visitor(text).map(Some)
}

fn visitor(text: &str) -> Read<VisitorId> {
    let bytes = ORDERED.decode(text).map_err(|_| Unexpected)?;
    bytes.try_into().map(VisitorId::from_bytes).map_err(|_| Unexpected)
}

/// Members `number:visitor` with scores.
pub(super) fn handed(reply: &Value) -> Read<Vec<(PlaceNumber, VisitorId)>> {
    list(reply)?.chunks_exact(2).map(|pair| handed_number(text(&pair[0])?)).collect()
}

/// `number:visitor`
fn handed_number(text: &str) -> Read<(PlaceNumber, VisitorId)> {
    let (number, to) = text.split_once(':').ok_or(Unexpected)?;
    Ok((PlaceNumber(digits(number)?), visitor(to)?))
}

/// Members with scores, of which the scores are place numbers.
pub(super) fn scores(reply: &Value) -> Read<Vec<PlaceNumber>> {
    list(reply)?.chunks_exact(2).map(|pair| place(&pair[1])).collect()
}

/// Members `number issued_at` with scores `expires_at`, in the order of the numbers.
pub(super) fn revoked(reply: &Value) -> Read<Vec<Pass>> {
    let mut passes = list(reply)?
        .chunks_exact(2)
        .map(|pair| {
            let (number, issued_at) = text(&pair[0])?.split_once(' ').ok_or(Unexpected)?;
            Ok(Pass {
                number: PlaceNumber(digits(number)?),
                issued_at: Timestamp::from_millis(digits(issued_at)?),
                expires_at: instant(&pair[1])?,
            })
        })
        .collect::<Read<Vec<_>>>()?;
    passes.sort_unstable_by_key(|pass| (pass.number, pass.issued_at));
    Ok(passes)
}

/// Entries, or a number for a gap.
pub(super) fn log_page(reply: &Value) -> Read<LogPage> {
    match reply {
        Value::Int(_) => Ok(LogPage::Gap),
        reply => list(reply)?.iter().map(log_entry).collect::<Read<_>>().map(LogPage::Entries),
    }
}

fn log_entry(reply: &Value) -> Read<(u64, LogEntry)> {
    let [seq, out, revoked, handed] = list(reply)? else { return Err(Unexpected) };
    let out = text(out)?.split_ascii_whitespace().map(|number| digits(number).map(PlaceNumber));
    let revoked = text(revoked)?.split_ascii_whitespace().map(revoked_pass);
    let handed = text(handed)?.split_ascii_whitespace().map(handed_number);
    let entry = LogEntry {
        out: out.collect::<Read<_>>()?,
        revoked: revoked.collect::<Read<_>>()?,
        handed: handed.collect::<Read<_>>()?,
    };
    Ok((number(seq)?, entry))
}

/// `number:issued_at:expires_at`
fn revoked_pass(text: &str) -> Read<Pass> {
    let mut parts = text.split(':').map(digits);
    let mut next = || parts.next().unwrap_or(Err(Unexpected));
    Ok(Pass {
        number: PlaceNumber(next()?),
        issued_at: Timestamp::from_millis(next()?),
        expires_at: Timestamp::from_millis(next()?),
    })
}

pub(super) fn report(reply: &Value) -> Read<Report> {
    let [standing, changes, former] = list(reply)? else { return Err(Unexpected) };
    let former = text(former)?.split_ascii_whitespace().map(|epoch| digits(epoch).map(Epoch));
    let standing = Standing { former: former.collect::<Read<_>>()?, ..read_standing(standing)? };
    Ok(Report { standing, overrides: read_overrides(changes)? })
}

fn read_standing(reply: &Value) -> Read<Standing> {
    let [epoch, skew, rest @ ..] = list(reply)? else { return Err(Unexpected) };
    let mut rest = rest.iter().map(number);
    let mut next = || rest.next().unwrap_or(Err(Unexpected));
    Ok(Standing {
        epoch: Epoch(digits(text(epoch)?)?),
        skew_ms: text(skew)?.parse().map_err(|_| Unexpected)?,
        now: Timestamp::from_millis(next()?),
        tick: next()?,
        due_at: Timestamp::from_millis(next()?),
        next: PlaceNumber(next()?),
        log_seq: next()?,
        waiting: next()?,
        returning: next()?,
        called: next()?,
        active: next()?,
        admitted: next()?,
        holiday_until: Timestamp::from_millis(next()?),
        recovering_until: Timestamp::from_millis(next()?),
        recoveries: next()?,
        tuned: Some(next()?).filter(|&capacity| capacity > 0),
        frozen: Some(PlaceNumber(next()?)).filter(|number| number.0 > 0),
        drawn: next()? > 0,
        former: Vec::new(),
        totals: Totals {
            joined: next()?,
            admitted: next()?,
            claimed: next()?,
            evicted: next()?,
            expired: next()?,
            left: next()?,
        },
    })
}

fn read_overrides(reply: &Value) -> Read<Overrides> {
    let mut changes = Overrides::default();
    let mut opening = [None; 2];
    for pair in list(reply)?.chunks_exact(2) {
        let value = text(&pair[1])?;
        let flag = || Some(value == "1");
        match text(&pair[0])? {
            "revision" => changes.revision = digits(value)?,
            "capacity" => changes.capacity = Some(digits(value)?),
            "batch" => changes.batch = Some(digits(value)?),
            "rate_per_minute" => changes.rate_per_minute = Some(digits(value)?),
            "max_waiting" => changes.max_waiting = Some(digits(value)?),
            "pass_ttl_ms" => changes.pass_ttl = Some(Duration::from_millis(digits(value)?)),
            "paused" => changes.paused = flag(),
            "closed" => changes.closed = flag(),
            "sold_out" => changes.sold_out = flag(),
            "draining" => changes.draining = flag(),
            "bypass" => changes.bypass = flag(),
            "message" => changes.message = Some(value.to_owned()),
            "opening_of" => opening[0] = Some(Timestamp::from_millis(digits(value)?)),
            "opens_at" => opening[1] = Some(Timestamp::from_millis(digits(value)?)),
            // A newer version's; it is kept, since changes are replaced as a whole
            // only by those who know what they replace.
            _ => {}
        }
    }
    if let [Some(of), Some(at)] = opening {
        changes.opening = Some(Rescheduled { of, at });
    }
    Ok(changes)
}

pub(super) fn list(reply: &Value) -> Read<&[Value]> {
    if let Value::Array(items) = reply { Ok(items) } else { Err(Unexpected) }
}

pub(super) fn text(reply: &Value) -> Read<&str> {
    match reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| Unexpected),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Unexpected),
    }
}

/// A whole number, which as a sorted set's score may read `1e+15`.
pub(super) fn number(reply: &Value) -> Read<u64> {
    match reply {
        Value::Int(number) => u64::try_from(*number).map_err(|_| Unexpected),
        reply => digits(text(reply)?).or_else(|_| {
            let number: f64 = text(reply)?.parse().map_err(|_| Unexpected)?;
            if number >= 0.0 { Ok(number as u64) } else { Err(Unexpected) }
        }),
    }
}

fn digits(text: &str) -> Read<u64> {
    text.parse().map_err(|_| Unexpected)
}

fn place(reply: &Value) -> Read<PlaceNumber> {
    number(reply).map(PlaceNumber)
}

pub(super) fn instant(reply: &Value) -> Read<Timestamp> {
    number(reply).map(Timestamp::from_millis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn encoded_visitors_sort_as_they_do_and_read_back(a: [u8; 16], b: [u8; 16]) {
            let (a, b) = (VisitorId::from_bytes(a), VisitorId::from_bytes(b));
            prop_assert_eq!(a.cmp(&b), visitor_text(a).cmp(&visitor_text(b)));
            let reply = Value::BulkString(visitor_text(a).into_bytes());
            prop_assert_eq!(optional_visitor(&reply).expect("just written"), Some(a));
        }
    }

    #[test]
    fn a_score_may_come_with_an_exponent() {
        let score = |text: &str| number(&Value::BulkString(text.into())).ok();
        assert_eq!(score("1700000000123"), Some(1_700_000_000_123));
        assert_eq!(score("1e+15"), Some(1_000_000_000_000_000));
        assert_eq!(score("-1"), None);
        assert_eq!(score("x"), None);
    }
}
