//! A track in little memory: a dozen bytes for an exchange instead of seventy, and
//! of a long wait only its ends.
//!
//! Owns the encoding: times as differences, small numbers in few bytes. What
//! goes in comes out as it was, but that polls within a wait are left out which no
//! rule could find fault with.

use super::history::{Asked, Credentials, Exchange, Record, Recorder, State, Status, Told, Track};
use crate::domain::id::PlaceNumber;
use crate::domain::time::{Timestamp, millis};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Packed {
    bytes: Vec<u8>,
    /// When the last request went out that is in the bytes.
    last: Timestamp,
    /// One that goes on, or was cut short.
    pending: Option<(Timestamp, Asked)>,
    /// The exchange before the last.
    before: Option<Calm>,
    /// The last exchange that ended, not yet in the bytes.
    held: Option<Exchange>,
    keys: Vec<u64>,
}

/// A poll that was told to wait, by a gate that knew: what a later one is
/// measured by.
#[derive(Clone, Copy, Debug)]
pub struct Calm {
    sent_at: Timestamp,
    number: PlaceNumber,
    position: u64,
    told_ms: u64,
}

impl Calm {
    /// This exchange, if it is one.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Option<Self> {
        let status = exchange.shown()?.status;
        let waits = status.state == State::Waiting && !status.degraded && status.poll_after_ms > 0;
        (exchange.asked == Asked::Poll && waits).then_some(())?;
        let (number, position) = (status.number?, status.position?);
        Some(Self { sent_at: exchange.sent_at, number, position, told_ms: status.poll_after_ms.into() })
    }

    /// It again, answered at once.
    #[must_use]
    pub fn exchange(&self) -> Exchange {
        let status = Status {
            state: State::Waiting,
            number: Some(self.number),
            position: Some(self.position),
            poll_after_ms: u32::try_from(self.told_ms).unwrap_or(u32::MAX),
            pass_expires_at: None,
            degraded: false,
        };
        let told = Told::Status(status);
        Exchange { told, ..Exchange::begun(self.sent_at, Asked::Poll) }
    }

    /// Whether `next` came in time and no further back, in the same place: then no
    /// rule can find fault with it, nor with what it leaves unsaid.
    #[must_use]
    pub fn goes_on(&self, next: &Exchange) -> bool {
        let in_time = millis(next.answered_at.since(self.sent_at)) <= 2 * self.told_ms;
        Self::of(next)
            .is_some_and(|next| in_time && next.number == self.number && next.position <= self.position)
    }
}

const HAS_NUMBER: u64 = 1;
const HAS_POSITION: u64 = 2;
const HAS_END: u64 = 4;
const DEGRADED: u64 = 8;
/// Of the code of what was asked and told.
const SPANS: u8 = 0x80;

impl Packed {
    fn put(&mut self, mut value: u64) {
        // LEB128: seven bits a byte, the lowest first.
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn put_told(&mut self, told: Told) {
        let Told::Status(status) = told else { return };
        let flag = |is: bool, flag: u64| if is { flag } else { 0 };
        let flags = flag(status.number.is_some(), HAS_NUMBER)
            | flag(status.position.is_some(), HAS_POSITION)
            | flag(status.pass_expires_at.is_some(), HAS_END)
            | flag(status.degraded, DEGRADED);
        self.put(flags << 3 | state_code(status.state));
        status.number.into_iter().for_each(|number| self.put(number.0));
        status.position.into_iter().for_each(|position| self.put(position));
        self.put(status.poll_after_ms.into());
        // An end may be before the request.
        let base = self.last.as_millis();
        status.pass_expires_at.into_iter().for_each(|end| self.put(zigzag(end.as_millis(), base)));
    }

    fn put_exchange(&mut self, exchange: &Exchange) {
        self.put(zigzag(exchange.sent_at.as_millis(), self.last.as_millis()));
        self.last = exchange.sent_at;
        self.put(millis(exchange.answered_at.since(exchange.sent_at)));
        let spans = if exchange.spans { SPANS } else { 0 };
        self.bytes.push(spans | asked_code(exchange.asked) << 4 | told_code(exchange.told));
        self.put_told(exchange.told);
    }

    /// The last exchange stays out of the bytes until the next shows whether it
    /// is needed.
    fn hold(&mut self, mut exchange: Exchange) {
        if let Some(held) = self.held.take() {
            let before = self.before.filter(|before| held.spans || before.goes_on(&held));
            let calm = Calm::of(&held);
            if before.is_some() && calm.is_some_and(|calm| calm.goes_on(&exchange)) {
                exchange.spans = true;
            } else {
                self.put_exchange(&held);
                self.before = calm;
            }
        }
        self.held = Some(exchange);
    }

    fn unpack(&self) -> Track {
        let mut reader = Reader { bytes: &self.bytes, last: 0 };
        let mut exchanges = Vec::with_capacity(self.bytes.len() / 8 + 2);
        while !reader.bytes.is_empty() {
            exchanges.push(reader.exchange());
        }
        exchanges.extend(self.held);
        exchanges.extend(self.pending.map(|(at, asked)| Exchange::begun(at, asked)));
        Track { exchanges, keys: self.keys.clone() }
    }
}

impl Recorder for Packed {
    fn begin(&mut self, at: Timestamp, asked: Asked) {
        self.pending = Some((at, asked));
    }

    fn end(&mut self, at: Timestamp, told: Told) {
        let Some((sent_at, asked)) = self.pending.take() else { return };
        self.hold(Exchange { answered_at: at, told, ..Exchange::begun(sent_at, asked) });
    }

    fn put(&mut self, exchange: Exchange) {
        self.hold(exchange);
    }

    fn key(&mut self, digest: u64) {
        self.keys.push(digest);
    }
}

impl Record for Packed {
    fn read(&self, of: &mut dyn FnMut(&Track)) {
        of(&self.unpack());
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    last: u64,
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let (&first, rest) = self.bytes.split_first().expect("written whole");
        self.bytes = rest;
        first
    }

    fn take(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    fn exchange(&mut self) -> Exchange {
        let since = self.take();
        self.last = unzigzag(since, self.last);
        let took = self.take();
        let codes = self.byte();
        let told = match codes & 0xf {
            0 => Told::Nothing,
            1 => Told::TooEarly,
            2 => Told::App,
            3 => Told::Held,
            4 => Told::Trouble,
            _ => Told::Status(self.status()),
        };
        Exchange {
            sent_at: Timestamp::from_millis(self.last),
            answered_at: Timestamp::from_millis(self.last + took),
            asked: ASKED[usize::from((codes & !SPANS) >> 4)],
            told,
            spans: codes & SPANS != 0,
        }
    }

    fn status(&mut self) -> Status {
        let bits = self.take();
        let (flags, state) = (bits >> 3, STATES[(bits & 7) as usize]);
        let mut when = |flag: u64| (flags & flag != 0).then(|| self.take());
        let (number, position) = (when(HAS_NUMBER).map(PlaceNumber), when(HAS_POSITION));
        let poll_after_ms = u32::try_from(self.take()).expect("it was one");
        let end = (flags & HAS_END != 0).then(|| unzigzag(self.take(), self.last));
        Status {
            state,
            number,
            position,
            poll_after_ms,
            pass_expires_at: end.map(Timestamp::from_millis),
            degraded: flags & DEGRADED != 0,
        }
    }
}

const ASKED: [Asked; 6] = [
    Asked::Join,
    Asked::Poll,
    Asked::Leave,
    Asked::Page(Credentials::Nothing),
    Asked::Page(Credentials::Own),
    Asked::Page(Credentials::Old),
];

const STATES: [State; 7] =
    [State::None, State::Waiting, State::Admitted, State::Expired, State::Left, State::Closed, State::Full];

fn asked_code(asked: Asked) -> u8 {
    ASKED.iter().position(|one| *one == asked).expect("all are listed") as u8
}

fn state_code(state: State) -> u64 {
    STATES.iter().position(|one| *one == state).expect("all are listed") as u64
}

const fn told_code(told: Told) -> u8 {
    match told {
        Told::Nothing => 0,
        Told::TooEarly => 1,
        Told::App => 2,
        Told::Held => 3,
        Told::Trouble => 4,
        Told::Status(_) => 5,
    }
}

/// A difference either way, small when it is.
const fn zigzag(to: u64, from: u64) -> u64 {
    let by = to.wrapping_sub(from) as i64;
    ((by << 1) ^ (by >> 63)) as u64
}

const fn unzigzag(value: u64, from: u64) -> u64 {
    from.wrapping_add((value >> 1) ^ (value & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::swarm::history::kept_polling;

    fn status() -> impl Strategy<Value = Told> {
        let end = prop::option::of(0_u64..u64::MAX / 4);
        let (number, position) = (prop::option::of(1_u64..u64::MAX), prop::option::of(1_u64..2_000_000));
        (0_usize..7, number, position, any::<u32>(), end, any::<bool>()).prop_map(
            |(state, number, position, poll_after_ms, end, degraded)| {
                Told::Status(Status {
                    state: STATES[state],
                    number: number.map(PlaceNumber),
                    position,
                    poll_after_ms,
                    pass_expires_at: end.map(Timestamp::from_millis),
                    degraded,
                })
            },
        )
    }

    fn told() -> impl Strategy<Value = Told> {
        let plain = [Told::Nothing, Told::TooEarly, Told::App, Told::Held, Told::Trouble];
        prop_oneof![prop::sample::select(plain.to_vec()), status()]
    }

    fn waits(ms: u64, position: u64) -> (u64, Told) {
        let status = Status {
            state: State::Waiting,
            number: Some(PlaceNumber(900)),
            position: Some(position),
            poll_after_ms: 1_000,
            pass_expires_at: None,
            degraded: false,
        };
        (ms, Told::Status(status))
    }

    /// The polls of a wait, packed and not.
    fn both(polls: &[(u64, Told)]) -> (Packed, Track) {
        let (mut packed, mut track) = (Packed::default(), Track::default());
        let recorders: [&mut dyn Recorder; 2] = [&mut packed, &mut track];
        for recorder in recorders {
            for &(ms, told) in polls {
                recorder.begin(Timestamp::from_millis(ms), Asked::Poll);
                recorder.end(Timestamp::from_millis(ms + 5), told);
            }
        }
        (packed, track)
    }

    /// How many exchanges are left, and how many of them, or of all, kept polling.
    fn kept(polls: &[(u64, Told)]) -> (usize, bool, bool) {
        let (packed, track) = both(polls);
        let unpacked = packed.unpack();
        let kept_up = |track: &Track| kept_polling(&track.exchanges) == track.exchanges.len();
        (unpacked.exchanges.len(), kept_up(&unpacked), kept_up(&track))
    }

    #[test]
    fn of_a_long_wait_only_the_ends_are_kept() {
        let wait: Vec<_> = (0..500).map(|i| waits(i * 1_000, 800 - i)).collect();
        assert_eq!(kept(&wait), (2, true, true));
        assert!(both(&wait).0.bytes.len() < 60);
    }

    #[test]
    fn what_a_rule_could_find_is_kept() {
        let wait = |odd: (u64, Told)| {
            let mut wait: Vec<_> = (0..9).map(|i| waits(i * 1_000, 80 - i)).collect();
            wait.extend([odd]);
            wait.extend((1..9).map(|i| waits(odd.0 + i * 1_000, 60 - i)));
            wait
        };
        let grown = wait(waits(9_000, 79));
        let positions: Vec<_> = both(&grown).0.unpack().shown().map(|s| s.status.position).collect();
        assert!(positions.windows(2).any(|pair| pair[0] < pair[1]), "{positions:?}");
        let (_, unpacked, all) = kept(&wait(waits(29_000, 70)));
        assert_eq!((unpacked, all), (false, false), "it was silent for long");
        let expired = Told::Status(Status { state: State::Expired, ..status_of(waits(0, 1).1) });
        assert!(both(&wait((9_000, expired))).0.unpack().exchanges.iter().any(|e| e.told == expired));
    }

    fn status_of(told: Told) -> Status {
        let Told::Status(status) = told else { panic!("{told:?}") };
        status
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            exchanges in prop::collection::vec((0_u64..1 << 50, 0_u64..100_000, 0_usize..6, told()), 0..20),
            cut_short: bool,
        ) {
            let (mut packed, mut track) = (Packed::default(), Track::default());
            let mut recorders: [&mut dyn Recorder; 2] = [&mut packed, &mut track];
            for recorder in &mut recorders {
                for &(at, took, asked, told) in &exchanges {
                    let at = Timestamp::from_millis(at);
                    recorder.begin(at, ASKED[asked]);
                    recorder.end(at + std::time::Duration::from_millis(took), told);
                    recorder.key(took);
                }
                if cut_short {
                    recorder.begin(Timestamp::from_millis(7), Asked::Poll);
                }
            }
            packed.read(&mut |unpacked| {
                assert_eq!(unpacked.exchanges, track.exchanges);
                assert_eq!(unpacked.keys, track.keys);
            });
        }
    }
}
