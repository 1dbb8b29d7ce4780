//! Halls sold through by random parties, by any way of choosing seats.
//!
//! For the test that judges the choice and the bench that prints what it is
//! worth; each takes this file in as a module of its own.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Arrangement, FreeSeats, Row, SeatIndex, arrangement};

pub(crate) const ROWS: u32 = 40;
pub(crate) const ROW: u32 = 30;
pub(crate) const HALLS: u64 = 40;

/// What became of the parties of several halls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) parties: u32,
    /// Parties of two and more that do not sit side by side.
    pub(crate) split: u32,
    /// Single free seats between taken ones, summed over the halls when three
    /// quarters were sold.
    pub(crate) orphans: u32,
    /// The last seats that no party fits into any more.
    pub(crate) unsold: u32,
}

fn hall() -> Vec<Row> {
    (0..ROWS).map(|i| Row { section: 0, from_stage: i, first: i * ROW, len: ROW }).collect()
}

/// Free seats side by side, as many as there are, in order.
fn runs(row: &Row, free: &FreeSeats) -> Vec<Vec<SeatIndex>> {
    let seats: Vec<_> = (row.first..row.first + row.len).map(SeatIndex).collect();
    let alike = seats.chunk_by(|a, b| free.is_free(a.0) == free.is_free(b.0));
    alike.filter(|run| free.is_free(run[0].0)).map(<[_]>::to_vec).collect()
}

/// Single free seats with nobody free beside them.
fn orphans(rows: &[Row], free: &FreeSeats) -> u32 {
    let single = |row: &Row| runs(row, free).iter().filter(|run| run.len() == 1).count();
    rows.iter().map(|row| u32::try_from(single(row)).expect("few")).sum()
}

/// The first seats side by side; failing that, the first free ones.
pub(crate) fn first_fit(rows: &[Row], free: &FreeSeats, count: u32) -> Option<Vec<SeatIndex>> {
    let runs: Vec<_> = rows.iter().flat_map(|row| runs(row, free)).collect();
    let count = count as usize;
    let together = runs.iter().find(|run| run.len() >= count);
    let seats: Vec<_> = match together {
        Some(run) => run[..count].to_vec(),
        None => runs.into_iter().flatten().take(count).collect(),
    };
    (seats.len() == count).then_some(seats)
}

/// Sells halls through. Parties are of 1 to 6, pairs most often; one in eight
/// gives its seats back later, as holds run out.
pub(crate) fn sell(choose: impl Fn(&[Row], &FreeSeats, u32, u64) -> Option<Vec<SeatIndex>>) -> Tally {
    let rows = hall();
    let mut tally = Tally::default();
    for seed in 0..HALLS {
        let mut random = StdRng::seed_from_u64(seed);
        let mut free: FreeSeats = (0..ROWS * ROW).map(|_| true).collect();
        let (mut left, mut looked) = (ROWS * ROW, false);
        let mut leaving: Vec<Vec<SeatIndex>> = Vec::new();
        loop {
            let count = [1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6][random.random_range(0..11)];
            let (lot, gives_back) = (random.random(), random.random_range(0..8) == 0);
            let Some(seats) = choose(&rows, &free, count, lot) else { break };
            assert_eq!(seats.len(), count as usize);
            assert!(seats.iter().all(|seat| free.is_free(seat.0)));
            tally.parties += 1;
            tally.split += u32::from(arrangement(&rows, &seats) != Arrangement::Adjacent);
            seats.iter().for_each(|seat| free.set(*seat, false));
            left -= count;
            if gives_back {
                leaving.push(seats);
            }
            if leaving.len() > 10 {
                let back = leaving.swap_remove(random.random_range(0..leaving.len()));
                left += u32::try_from(back.len()).expect("few");
                back.iter().for_each(|seat| free.set(*seat, true));
            }
            if !looked && left <= ROWS * ROW / 4 {
                tally.orphans += orphans(&rows, &free);
                looked = true;
            }
        }
        tally.unsold += left;
    }
    tally
}
