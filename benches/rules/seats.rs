//! Choosing seats, in a hall of 50,000.

use std::hint::black_box;

use criterion::Criterion;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use usher::domain::best_available::{FreeSeats, Row, choose};

const SECTIONS: u32 = 40;
const ROWS: u32 = 25;
const ROW: u32 = 50;

fn hall() -> Vec<Row> {
    let row = |i| Row { section: i / ROWS, from_stage: i % ROWS, first: i * ROW, len: ROW };
    (0..SECTIONS * ROWS).map(row).collect()
}

pub(crate) fn best(c: &mut Criterion) {
    let rows = hall();
    let mut lot = 0;
    for sold in [0, 50, 95, 99] {
        let mut random = StdRng::seed_from_u64(sold);
        let free: FreeSeats =
            (0..SECTIONS * ROWS * ROW).map(|_| random.random_range(0..100) >= sold).collect();
        c.bench_function(&format!("best 4 of 50000/{sold} % sold"), |b| {
            b.iter(|| {
                lot += 1;
                choose(black_box(&rows), black_box(&free), 4, lot)
            });
        });
    }
}
