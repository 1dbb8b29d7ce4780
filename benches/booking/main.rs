//! What the booking office's inner parts cost: rows for the table of `compare/`.
//!
//! Prints one row a line, as JSON, for each subject named; `benches/compare/run`
//! names them, starts what they need and keeps the table.

#![expect(clippy::print_stdout, reason = "the rows are the result")]

#[path = "../../src/domain/best_available/halls.rs"]
mod halls;
mod holds;
mod live;
mod seats;

use serde_json::{Value, json};
use usher::domain::best_available::{Arrangement, FreeSeats, Row, arrangement};
use usher::domain::seat::SeatIndex;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(subject) = words.next() {
        match subject.as_str() {
            "best" => seats::best(),
            "quality" => seats::quality(),
            "holds" => holds::holds(&words.next().ok_or("holds: expected the address of an empty Redis")?)?,
            "live" => {
                let mut word = || words.next().ok_or("live: expected ADDRESS PID EVENT SOCKETS REDIS");
                let (office, pid) = (word()?.parse()?, word()?.parse()?);
                let task =
                    live::Task { office, pid, event: word()?, sockets: word()?.parse()?, redis: word()? };
                live::live(&task).map_err(|why| why.to_string())?;
            }
            other => {
                return Err(format!("{other}: expected best, quality, holds URL or live …").into());
            }
        }
    }
    Ok(())
}

/// A row of the table; texts as they are to be read.
fn row(what: &str, measured: &str, beside: &str, ratio: Option<f64>, target: &str) {
    let ratio = ratio.map_or(Value::from(""), |ratio| Value::from(format!("{ratio:.2}")));
    println!(
        "{}",
        json!({"what": what, "measured": measured, "beside": beside, "ratio": ratio, "target": target})
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
