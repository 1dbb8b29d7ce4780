//! What choosing well is worth: a hall sold through by random parties, here and
//! by taking the first seats that fit.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const ROWS: u32 = 40;
const ROW: u32 = 30;
const HALLS: u64 = 40;

/// What became of the parties of several halls.
#[derive(Debug, Default)]
struct Tally {
    parties: u32,
    /// Parties of two and more that do not sit side by side.
    split: u32,
    /// Single free seats between taken ones, summed over the halls when three
    /// quarters were sold.
    orphans: u32,
    /// The last seats that no party fits into any more.
    unsold: u32,
}

fn hall() -> Vec<Row> {
    (0..ROWS).map(|i| Row { section: 0, from_stage: i, first: i * ROW, len: ROW }).collect()
}

/// Single free seats with nobody free beside them.
fn orphans(rows: &[Row], free: &FreeSeats) -> u32 {
    let single = |row: &Row| free.runs(row.first..row.first + row.len).filter(|run| run.len() == 1).count();
    rows.iter().map(|row| u32::try_from(single(row)).expect("few")).sum()
}

/// The first seats side by side; failing that, the first free ones.
fn first_fit(rows: &[Row], free: &FreeSeats, count: u32) -> Option<Vec<SeatIndex>> {
    let runs = || rows.iter().flat_map(|row| free.runs(row.first..row.first + row.len));
    let together = runs().find(|run| run.end - run.start >= count).map(|run| run.start..run.start + count);
    let seats: Vec<_> = match together {
        Some(run) => run.map(SeatIndex).collect(),
        None => runs().flatten().take(count as usize).map(SeatIndex).collect(),
    };
    (seats.len() == count as usize).then_some(seats)
}

/// Sells halls through. Parties are of 1 to 6, pairs most often; one in eight
/// gives its seats back later, as holds run out.
fn sell(choose: impl Fn(&[Row], &FreeSeats, u32, u64) -> Option<Vec<SeatIndex>>) -> Tally {
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

#[test]
fn fewer_orphans_and_fewer_split_parties_than_by_first_fit() {
    let ours = sell(|rows, free, count, lot| choose(rows, free, count, lot).map(|choice| choice.seats));
    let naive = sell(|rows, free, count, _| first_fit(rows, free, count));
    eprintln!("{HALLS} halls of {} seats", ROWS * ROW);
    eprintln!("  ours:      {ours:?}");
    eprintln!("  first fit: {naive:?}");
    assert!(ours.orphans * 5 < naive.orphans, "orphans: {ours:?} {naive:?}");
    assert!(ours.split * 5 < naive.split * 4, "split: {ours:?} {naive:?}");
    assert!(ours.unsold <= naive.unsold + HALLS as u32 * 3, "nobody is turned away for it");
}
