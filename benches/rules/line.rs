//! The memory line's tick.

use std::time::{Duration, Instant};

use criterion::Criterion;
use usher::domain::id::{Epoch, VisitorId};
use usher::domain::line::{Line, Settings};
use usher::domain::place::Intent;
use usher::domain::time::Timestamp;

use crate::SIZES;

const TICK: Duration = Duration::from_secs(1);
const BATCH: u64 = 1_000;

/// A line that is kept at one length while time goes on.
struct Crowd {
    line: Line,
    now: Timestamp,
    joined: u128,
}

impl Crowd {
    fn new(size: u64) -> Self {
        let settings = Settings {
            capacity: u64::MAX,
            batch: BATCH,
            tick: TICK,
            rate_per_minute: None,
            max_waiting: None,
            pass_ttl: Duration::from_secs(420),
            pass_max: Duration::from_secs(7_200),
            idle_timeout: Duration::from_secs(1_000_000_000),
            // Short, so that a tick soon gives up as many calls as it makes.
            claim_window: TICK * 5,
            grace_reentry: Duration::ZERO,
            paused: false,
            closed: false,
            draining: false,
            overflow: false,
            opening: None,
            draw: false,
            autotune: false,
        };
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut crowd = Self { line: Line::new(Epoch(1), settings), now, joined: 0 };
        crowd.join(size);
        (0..10).for_each(|_| _ = crowd.tick());
        crowd
    }

    fn join(&mut self, count: u64) {
        for _ in 0..count {
            self.joined += 1;
            let visitor = VisitorId::from_bytes(self.joined.to_be_bytes());
            self.line.join(visitor, Intent::Join, self.now);
        }
    }

    /// The time of one tick; those it called are replaced outside of it.
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    fn tick(&mut self) -> Duration {
        self.now = self.now + TICK;
        let started = Instant::now();
        self.line.make_room(self.now);
        let standing = self.line.admit(self.now);
        let took = started.elapsed();
        self.join(standing.admitted);
        took
    }
}

pub(crate) fn tick(c: &mut Criterion) {
    for (name, size) in SIZES {
        let mut crowd = Crowd::new(size);
        c.bench_function(&format!("line/tick 1000/{name}"), |b| {
            b.iter_custom(|times| (0..times).map(|_| crowd.tick()).sum());
        });
    }
}
