//! The rules, as plain values.
//!
//! Owns what a line, a pass, a seat and an order may do. Imports nothing of
//! ours, waits for nothing, reads no clock and rolls no dice: `now` and chance
//! are parameters, so every failing case replays exactly.

pub mod admission;
pub mod autotune;
pub mod best_available;
pub mod binding;
pub mod draw;
pub mod estimate;
pub mod id;
pub mod line;
pub mod matching;
pub mod opening;
pub mod order;
pub mod pace;
pub mod pass;
pub mod payment;
pub mod place;
pub mod rank;
pub mod refund;
pub mod seat;
pub mod target;
pub mod time;
pub mod wallet;
