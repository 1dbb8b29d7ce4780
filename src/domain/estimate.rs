//! How long the wait may be, as a range.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Timestamp;

/// How far back the speed of the line is measured.
const WINDOW: Duration = Duration::from_secs(120);
/// Less than this has been seen: the range is wider.
const SETTLED: Duration = Duration::from_secs(30);

/// An expected wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Seconds if all goes well.
    pub low_seconds: u64,
    /// Seconds if it goes slowly.
    pub high_seconds: u64,
}

/// Measures how fast numbers leave the line, whatever the reason.
#[derive(Clone, Debug, Default)]
pub struct Estimate {
    /// Cumulative numbers out, at each tick, oldest first; within [`WINDOW`].
    samples: VecDeque<(Timestamp, u64)>,
}

impl Estimate {
    /// Notes that `out` numbers have left since the line began.
    pub fn note(&mut self, now: Timestamp, out: u64) {
        if self.samples.back().is_some_and(|&(at, n)| at > now || n > out) {
            self.samples.clear();
        }
        self.samples.push_back((now, out));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|&(at, _)| now.since(at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Numbers that leave in a second, and over how long that was measured;
    /// `None` before anybody left.
    #[must_use]
    pub fn speed(&self) -> Option<(f64, Duration)> {
        let (&(from, first), &(to, last)) = (self.samples.front()?, self.samples.back()?);
        let time = to.since(from);
        (last > first && !time.is_zero()).then(|| ((last - first) as f64 / time.as_secs_f64(), time))
    }
}

/// The wait at `position` (1 = next) for a line that moves at `speed`.
#[must_use]
pub fn wait(position: u64, speed: Option<(f64, Duration)>) -> Option<Range> {
    let (per_second, measured) = speed?;
    let (fast, slow) = if measured < SETTLED { (1.5, 0.5) } else { (1.15, 0.8) };
    let seconds = |factor: f64| position as f64 / (per_second * factor);
    Some(Range {
        low_seconds: round(seconds(fast).floor() as u64),
        high_seconds: round(seconds(slow).ceil().max(1.0) as u64),
    })
}

/// What bounds how fast a line that is not held up can move.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Visitors admitted in one tick.
    pub batch: u64,
    /// Time between two ticks.
    pub tick: Duration,
    /// Visitors that may come in before anybody goes out.
    pub free: u64,
}

/// The wait at `position` when there is room for it inside already: only the
/// ticks count, whatever was measured while nobody came.
#[must_use]
pub fn clear_way(position: u64, flow: Flow) -> Option<Range> {
    if position > flow.free {
        return None;
    }
    let ticks = position.div_ceil(flow.batch.max(1));
    let after = |ticks: u64| flow.tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
    let low_seconds = round(after(ticks.saturating_sub(1)).as_secs());
    let high_seconds = round(after(ticks + 1).as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX));
    Some(Range { low_seconds, high_seconds })
}

/// To two leading digits: a range of 1,203 to 1,731 seconds pretends to know.
fn round(seconds: u64) -> u64 {
    match seconds.checked_ilog10() {
        Some(zeros @ 2..) => {
            let step = 10_u64.pow(zeros - 1);
            seconds.saturating_add(step / 2) / step * step
        }
        _ => seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn unknown_until_somebody_left() {
        let mut estimate = Estimate::default();
        assert_eq!(wait(10, estimate.speed()), None);
        estimate.note(at(0), 0);
        estimate.note(at(1), 0);
        assert_eq!(wait(10, estimate.speed()), None);
    }

    #[test]
    fn the_range_holds_the_true_wait_of_a_steady_line() {
        let mut estimate = Estimate::default();
        for second in 0..=60 {
            estimate.note(at(second), second * 10);
        }
        let range = wait(3_000, estimate.speed()).expect("the line moves");
        assert!(range.low_seconds <= 300 && 300 <= range.high_seconds, "{range:?}");
    }

    #[test]
    fn with_room_inside_only_the_ticks_count() {
        let flow = Flow { batch: 20, tick: Duration::from_secs(1), free: 50 };
        assert_eq!(clear_way(1, flow), Some(Range { low_seconds: 0, high_seconds: 2 }));
        assert_eq!(clear_way(50, flow), Some(Range { low_seconds: 2, high_seconds: 4 }));
        assert_eq!(clear_way(51, flow), None);
    }

    #[test]
    fn long_waits_keep_two_digits() {
        let rounded = [0, 99, 104, 105, 999, 1_749, 1_750, 123_456, u64::MAX].map(round);
        assert_eq!(rounded[..8], [0, 99, 100, 110, 1_000, 1_700, 1_800, 120_000]);
        assert_eq!(rounded[8], 18_000_000_000_000_000_000);
    }

    #[test]
    fn a_line_that_began_anew_is_measured_anew() {
        let mut estimate = Estimate::default();
        estimate.note(at(0), 500);
        estimate.note(at(1), 600);
        estimate.note(at(2), 0);
        assert_eq!(estimate.speed(), None);
    }
}
