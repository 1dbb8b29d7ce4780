//! What the rules cost: one binary, so that it links once.
//!
//! Short runs on purpose: they are to notice a rule that became ten times
//! slower, within a minute. `compare/` measures whole requests.

mod line;
mod rank;
mod seats;
mod tokens;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [(&str, u64); 3] = [("1k", 1_000), ("100k", 100_000), ("1M", 1_000_000)];

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group! { name = rules; config = short(); targets = rank::rank, line::tick, seats::best, tokens::tokens, tokens::page }
criterion_main!(rules);
