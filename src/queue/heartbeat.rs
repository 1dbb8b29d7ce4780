//! Signs of life, gathered; the same table paces polls.
//!
//! Eight bytes a place: numbers are dense, so a page of 4,096 of them is an
//! array, and a poll is one compare-and-swap in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::domain::id::PlaceNumber;
use crate::domain::pace::Pace;
use crate::domain::time::{Timestamp, millis};

const PAGE: u64 = 4_096;

/// One place: 42 bits of time in ms, 20 of the pause last told in ms, one for
/// "not yet sent" and one for "left here". 42 bits of milliseconds last until
/// the year 2109.
#[derive(Clone, Copy)]
struct Beat {
    accepted_at: u64,
    told_ms: u64,
    unsent: bool,
    gone: bool,
}

impl Beat {
    const TOLD: u64 = (1 << 20) - 1;
    const UNSENT: u64 = 1 << 1;

    fn unpack(bits: u64) -> Self {
        Self {
            accepted_at: bits >> 22,
            told_ms: bits >> 2 & Self::TOLD,
            unsent: bits >> 1 & 1 == 1,
            gone: bits & 1 == 1,
        }
    }

    fn pack(self) -> u64 {
        self.accepted_at << 22
            | self.told_ms.min(Self::TOLD) << 2
            | u64::from(self.unsent) << 1
            | u64::from(self.gone)
    }
}

type Page = Arc<[AtomicU64]>;

/// Whether a poll came in time.
pub(super) enum Heard {
    InTime,
    /// Time until it would have.
    TooEarly(Duration),
    /// The place was left through this gate; the log will say so in a moment.
    Gone,
}

/// Last accepted poll, pause told and sign of life of every place seen here.
///
/// A place that polls too early keeps its accepted time, so pacing is measured
/// from it; its sign of life is that time too, at most one pause too old,
/// which is a quarter of the idle timeout at most and covered by the extra
/// heartbeat interval before an eviction.
#[derive(Default)]
pub(super) struct Heartbeats {
    pages: RwLock<BTreeMap<u64, Page>>,
}

impl Heartbeats {
    fn page(&self, number: PlaceNumber) -> Page {
        let key = number.0 / PAGE;
        if let Some(page) = self.pages.read().get(&key) {
            return Arc::clone(page);
        }
        let fresh = || (0..PAGE).map(|_| AtomicU64::new(0)).collect();
        Arc::clone(self.pages.write().entry(key).or_insert_with(fresh))
    }

    fn update(&self, number: PlaceNumber, change: impl Fn(Beat) -> Option<Beat>) {
        let page = self.page(number);
        let cell = &page[usize::try_from(number.0 % PAGE).expect("a page is small")];
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            change(Beat::unpack(bits)).map(Beat::pack)
        });
    }

    /// A poll at `now`.
    pub(super) fn poll(&self, number: PlaceNumber, now: Timestamp, pace: &Pace) -> Heard {
        let now = now.as_millis();
        let heard = std::cell::Cell::new(Heard::InTime);
        self.update(number, |beat| {
            if beat.gone {
                heard.set(Heard::Gone);
                return None;
            }
            let since = Duration::from_millis(now.saturating_sub(beat.accepted_at));
            let told = Duration::from_millis(beat.told_ms);
            if beat.accepted_at != 0 && pace.too_early(since, told) {
                heard.set(Heard::TooEarly((told / 2).saturating_sub(since)));
                return (!beat.unsent).then_some(Beat { unsent: true, ..beat });
            }
            heard.set(Heard::InTime);
            Some(Beat { accepted_at: now.max(beat.accepted_at), unsent: true, ..beat })
        });
        heard.into_inner()
    }

    /// An accepted visit at `now` was answered with this pause.
    pub(super) fn told(&self, number: PlaceNumber, now: Timestamp, pause: Duration) {
        let now = now.as_millis();
        self.update(number, |beat| {
            Some(Beat {
                accepted_at: now.max(beat.accepted_at),
                told_ms: millis(pause),
                unsent: true,
                ..beat
            })
        });
    }

    /// The place was left: it is out before the log says so, and may be asked
    /// about at once.
    pub(super) fn leave(&self, number: PlaceNumber) {
        self.update(number, |beat| Some(Beat { gone: true, told_ms: 0, ..beat }));
    }

    /// A number out of the line was answered for from the store, with this pause.
    pub(super) fn told_out(&self, number: PlaceNumber, now: Timestamp, pause: Duration) {
        let accepted_at = now.as_millis();
        self.update(number, |_| {
            Some(Beat { accepted_at, told_ms: millis(pause), unsent: false, gone: true })
        });
    }

    /// Time left before the store may be asked about a number out of the line
    /// again; `None` = now. Whoever was just called is never too early.
    pub(super) fn too_early_out(&self, number: PlaceNumber, now: Timestamp, pace: &Pace) -> Option<Duration> {
        let page = self.page(number);
        let cell = &page[usize::try_from(number.0 % PAGE).expect("a page is small")];
        let beat = Beat::unpack(cell.load(Ordering::Relaxed));
        let since = Duration::from_millis(now.as_millis().saturating_sub(beat.accepted_at));
        let told = Duration::from_millis(beat.told_ms);
        (beat.gone && pace.too_early(since, told)).then(|| (told / 2).saturating_sub(since))
    }

    /// Whether the place was left through this gate.
    pub(super) fn is_gone(&self, number: PlaceNumber) -> bool {
        let page = self.page(number);
        Beat::unpack(page[usize::try_from(number.0 % PAGE).expect("a page is small")].load(Ordering::Relaxed))
            .gone
    }

    /// Takes what was gathered since the last call, at most one entry a place.
    pub(super) fn take(&self) -> Vec<(PlaceNumber, Timestamp)> {
        let pages: Vec<(u64, Page)> = self.pages.read().iter().map(|(&k, p)| (k, Arc::clone(p))).collect();
        let mut signs = Vec::new();
        for (key, page) in pages {
            for (i, cell) in page.iter().enumerate() {
                if !Beat::unpack(cell.load(Ordering::Relaxed)).unsent {
                    continue;
                }
                let beat = Beat::unpack(cell.fetch_and(!Beat::UNSENT, Ordering::Relaxed));
                if !beat.gone {
                    let number = PlaceNumber(key * PAGE + i as u64);
                    signs.push((number, Timestamp::from_millis(beat.accepted_at)));
                }
            }
        }
        signs
    }

    /// Puts back what could not be sent.
    pub(super) fn put_back(&self, signs: &[(PlaceNumber, Timestamp)]) {
        for &(number, _) in signs {
            self.update(number, |beat| Some(Beat { unsent: true, ..beat }));
        }
    }

    /// Forgets pages whose numbers are all below `base`.
    pub(super) fn forget_below(&self, base: PlaceNumber) {
        self.pages.write().retain(|&key, _| (key + 1) * PAGE > base.0);
    }

    /// Forgets everything: another line began.
    pub(super) fn clear(&self) {
        self.pages.write().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        min: Duration::from_secs(2),
        max: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(180),
        claim_window: Duration::from_secs(120),
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + ms)
    }

    fn accepts(beats: &Heartbeats, number: u64, ms: u64) -> bool {
        matches!(beats.poll(PlaceNumber(number), at(ms), &PACE), Heard::InTime)
    }

    #[test]
    fn a_poll_sooner_than_half_the_pause_is_too_early_counted_from_the_last_accepted() {
        let beats = Heartbeats::default();
        assert!(accepts(&beats, 7, 0));
        beats.told(PlaceNumber(7), at(0), Duration::from_secs(4));
        assert!(!accepts(&beats, 7, 1_000));
        assert!(!accepts(&beats, 7, 1_999));
        assert!(accepts(&beats, 7, 2_000));
        assert!(accepts(&beats, 8, 1), "another place has its own pace");
    }

    #[test]
    fn signs_of_life_are_taken_once_and_early_polls_count() {
        let beats = Heartbeats::default();
        beats.told(PlaceNumber(5_000), at(10), Duration::from_secs(4));
        assert_eq!(beats.take(), [(PlaceNumber(5_000), at(10))]);
        assert!(beats.take().is_empty());
        assert!(!accepts(&beats, 5_000, 20));
        let signs = beats.take();
        assert_eq!(signs.len(), 1);
        beats.put_back(&signs);
        assert_eq!(beats.take(), signs);
    }

    #[test]
    fn pages_behind_the_line_are_forgotten() {
        let beats = Heartbeats::default();
        beats.told(PlaceNumber(1), at(0), Duration::from_secs(1));
        beats.told(PlaceNumber(5_000), at(0), Duration::from_secs(1));
        beats.forget_below(PlaceNumber(4_096));
        assert_eq!(beats.pages.read().len(), 1);
    }
}
