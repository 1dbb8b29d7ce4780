//! Positions, in lines of which every third has left.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use usher::domain::id::PlaceNumber;
use usher::domain::rank::Rank;

use crate::SIZES;

fn line_of(size: u64) -> Rank {
    let mut rank = Rank::new();
    rank.leave_all((1..=size).step_by(3).map(PlaceNumber));
    rank
}

pub(crate) fn rank(c: &mut Criterion) {
    for (name, size) in SIZES {
        let rank = line_of(size);
        let mut number = 0;
        c.bench_function(&format!("rank/ahead/{name}"), |b| {
            b.iter(|| {
                // A large prime step: no two positions in a row share a cache line.
                number = (number + 7_919) % size;
                rank.ahead(black_box(PlaceNumber(number)))
            });
        });
        // The dearest batch: at the front, so that every count behind it changes.
        let batch: Vec<_> = (2..).step_by(3).take(1_000.min(size as usize / 3)).map(PlaceNumber).collect();
        c.bench_function(&format!("rank/leave 1000/{name}"), |b| {
            b.iter_batched_ref(
                || rank.clone(),
                |rank| rank.leave_all(batch.iter().copied()),
                BatchSize::LargeInput,
            );
        });
    }
}
