//! Seats chosen by the office: how fast, and how well.

use std::hint::black_box;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use usher::clock::{Clock as _, SystemClock};
use usher::domain::best_available::{FreeSeats, Row, choose};

use super::halls::{HALLS, ROW, ROWS, first_fit, sell};
use super::{median, row};

const SECTIONS: u32 = 40;
const ROWS_OF_A_SECTION: u32 = 25;
const SEATS_OF_A_ROW: u32 = 50;
/// Percent of the hall that is sold.
const SOLD: [u64; 4] = [0, 50, 95, 99];
const CALLS: u64 = 2_000;

/// Four of 50,000 seats, in halls of which more and more is sold.
pub(crate) fn best() {
    let rows: Vec<_> = (0..SECTIONS * ROWS_OF_A_SECTION)
        .map(|i| Row {
            section: i / ROWS_OF_A_SECTION,
            from_stage: i % ROWS_OF_A_SECTION,
            first: i * SEATS_OF_A_ROW,
            len: SEATS_OF_A_ROW,
        })
        .collect();
    let costs = SOLD.map(|sold| (sold, best_us(&rows, sold)));
    let worst = costs.iter().map(|(_, us)| *us).fold(0.0, f64::max);
    let each: Vec<_> = costs.iter().map(|(sold, us)| format!("{us:.1} at {sold} %")).collect();
    let what = "best 4 of 50,000 seats, the worst of four halls, median call";
    row(what, &format!("{worst:.1} µs"), &format!("sold: {}", each.join(", ")), None, "≤ 20 µs");
}

fn best_us(rows: &[Row], sold: u64) -> f64 {
    let mut random = StdRng::seed_from_u64(sold);
    let seats = SECTIONS * ROWS_OF_A_SECTION * SEATS_OF_A_ROW;
    let free: FreeSeats = (0..seats).map(|_| random.random_range(0..100) >= sold).collect();
    let clock = SystemClock::new();
    let call = |lot| {
        let before = clock.monotonic();
        black_box(choose(black_box(rows), black_box(&free), 4, lot));
        (clock.monotonic() - before).as_secs_f64() * 1e6
    };
    median((0..CALLS).map(call).collect())
}

/// What became of random parties, beside the first seats that fit.
pub(crate) fn quality() {
    let ours = sell(|rows, free, count, lot| choose(rows, free, count, lot).map(|choice| choice.seats));
    let naive = sell(|rows, free, count, _| first_fit(rows, free, count));
    let halls = format!("{HALLS} halls of {} seats sold by random parties", ROWS * ROW);
    let per_mille = |split: u32, parties: u32| f64::from(split) * 1e3 / f64::from(parties);
    let (a, b) = (per_mille(ours.split, ours.parties), per_mille(naive.split, naive.parties));
    let what = format!("parties split, {halls}");
    row(&what, &format!("{a:.1} of 1,000"), &format!("first fit {b:.1}"), Some(a / b), "");
    let each = |orphans: u32| f64::from(orphans) / HALLS as f64;
    let (a, b) = (each(ours.orphans), each(naive.orphans));
    let what = "single seats left between taken ones, a hall, three quarters sold";
    row(what, &format!("{a:.1}"), &format!("first fit {b:.1}"), Some(a / b), "");
    let (a, b) = (each(ours.unsold), each(naive.unsold));
    row(
        "seats left when the next party fits nowhere, a hall",
        &format!("{a:.1}"),
        &format!("first fit {b:.1}"),
        Some(a / b),
        "",
    );
}
