//! What choosing well is worth, beside taking the first seats that fit.

use super::choose;
use super::halls::{HALLS, ROW, ROWS, first_fit, sell};

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
