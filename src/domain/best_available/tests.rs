use proptest::prelude::*;

use super::*;

/// Rows as drawn: `.` free, `x` taken; row 0 is nearest the stage.
fn hall(rows: &[&str]) -> (Vec<Row>, FreeSeats) {
    let mut first = 0;
    let table = rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let len = row.len() as u32;
            first += len;
            Row { section: 0, from_stage: i as u32, first: first - len, len }
        })
        .collect();
    (table, rows.iter().flat_map(|row| row.chars().map(|c| c == '.')).collect())
}

fn seats(choice: Option<Choice>) -> Vec<u32> {
    choice.map(|choice| choice.seats.iter().map(|seat| seat.0).collect()).unwrap_or_default()
}

#[test]
fn the_front_rows_middle_is_best() {
    let (rows, free) = hall(&["..........", ".........."]);
    let mut seen = std::collections::BTreeSet::new();
    for lot in 0..20 {
        let chosen = seats(choose(&rows, &free, 2, lot));
        assert!((2..=6).contains(&chosen[0]), "{chosen:?}");
        seen.insert(chosen[0]);
    }
    assert!(seen.len() > 1, "near-equal places are drawn by lot");
}

#[test]
fn no_single_seat_is_left_behind_if_that_can_be_helped() {
    let (rows, free) = hall(&["xx...xxxxx", "...xxxxxxx", "xxxx..xxxx"]);
    for lot in 0..20 {
        let choice = choose(&rows, &free, 2, lot).expect("there are pairs");
        assert_eq!(seats(Some(choice.clone())), [24, 25], "the pair that leaves nobody alone");
        assert_eq!(choice.arrangement, Arrangement::Adjacent);
    }
}

#[test]
fn rather_an_orphan_than_apart() {
    let (rows, free) = hall(&["...xx.x.xx"]);
    let choice = choose(&rows, &free, 2, 3).expect("three in a row");
    assert_eq!(choice.arrangement, Arrangement::Adjacent);
}

#[test]
fn then_one_row_then_near_rows_then_anywhere() {
    let (rows, free) = hall(&["x.x.x.x.", "xxxxxxxx", ".xxxxxxx"]);
    let row = choose(&rows, &free, 3, 0).expect("four in the first row");
    assert_eq!((row.arrangement, seats(Some(row))), (Arrangement::SameRow, vec![1, 3, 5]));
    let near = choose(&rows, &free, 5, 0).expect("five in the section");
    assert_eq!(near.arrangement, Arrangement::NearRows);

    let (mut rows, free) = hall(&[".xxxxxxx", ".xxxxxxx"]);
    rows[1].section = 1;
    let apart = choose(&rows, &free, 2, 0).expect("one in each section");
    assert_eq!((apart.arrangement, seats(Some(apart))), (Arrangement::Apart, vec![0, 8]));
    assert_eq!(choose(&rows, &free, 3, 0), None);
}

#[test]
fn rows_longer_than_a_word_are_searched_across_it() {
    let long = format!("{}....{}", "x".repeat(62), "x".repeat(62));
    let (rows, free) = hall(&[&long]);
    assert_eq!(seats(choose(&rows, &free, 4, 0)), [62, 63, 64, 65]);
}

#[test]
fn named_seats_are_judged_alike() {
    let (mut rows, _) = hall(&["....", "....", "...."]);
    rows[2].section = 1;
    let judge = |seats: &[u32]| arrangement(&rows, &seats.iter().copied().map(SeatIndex).collect::<Vec<_>>());
    assert_eq!(judge(&[2, 1]), Arrangement::Adjacent);
    assert_eq!(judge(&[0, 2]), Arrangement::SameRow);
    assert_eq!(judge(&[3, 4]), Arrangement::NearRows);
    assert_eq!(judge(&[0, 8]), Arrangement::Apart);
    assert_eq!(judge(&[7]), Arrangement::Adjacent);
}

proptest! {
    #[test]
    fn a_choice_is_free_complete_and_as_close_as_it_says(
        taken in prop::collection::vec(prop::collection::vec(any::<bool>(), 1..90), 1..6),
        count in 1..9_u32,
        lot in any::<u64>(),
    ) {
        let drawn: Vec<String> =
            taken.iter().map(|row| row.iter().map(|t| if *t { 'x' } else { '.' }).collect()).collect();
        let (rows, free) = hall(&drawn.iter().map(String::as_str).collect::<Vec<_>>());
        let left = taken.iter().flatten().filter(|taken| !**taken).count();
        match choose(&rows, &free, count, lot) {
            None => prop_assert!(left < count as usize),
            Some(choice) => {
                prop_assert_eq!(choice.seats.len(), count as usize);
                prop_assert!(choice.seats.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(choice.seats.iter().all(|seat| free.is_free(seat.0)));
                prop_assert!(arrangement(&rows, &choice.seats) <= choice.arrangement);
                let run = drawn.iter().flat_map(|row| row.split('x')).map(str::len).max().unwrap_or(0);
                prop_assert_eq!(choice.arrangement == Arrangement::Adjacent, run >= count as usize);
            }
        }
    }

    #[test]
    fn three_quarters_of_a_hall_go_in_pairs_side_by_side(lots in prop::collection::vec(any::<u64>(), 30)) {
        let (rows, mut free) = hall(&["...................."; 4]);
        for lot in lots {
            let choice = choose(&rows, &free, 2, lot).expect("a place for each pair");
            prop_assert_eq!(choice.arrangement, Arrangement::Adjacent);
            choice.seats.iter().for_each(|seat| free.set(*seat, false));
        }
    }
}
