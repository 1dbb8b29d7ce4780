use proptest::prelude::*;

use super::*;

const ME: AccountId = AccountId::from_bits(1);
const YOU: AccountId = AccountId::from_bits(2);
const MINUTE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn floor(seats: usize) -> Floor {
    Floor::new(1, vec![Seat::Free; seats])
}

fn want(id: u128, owner: AccountId, seats: &[u32], until: Timestamp) -> Wanted {
    let seats = seats.iter().copied().map(SeatIndex).collect();
    Wanted { id: HoldId::from_bits(id), owner, seats, until, cap: 8 }
}

fn id(n: u128) -> HoldId {
    HoldId::from_bits(n)
}

#[test]
fn a_hold_takes_all_its_seats_or_none() {
    let mut floor = floor(4);
    floor.hold(want(1, ME, &[0, 1], at(60)), at(0)).expect("free");
    let refused = floor.hold(want(2, YOU, &[1, 2, 0], at(60)), at(1));
    assert_eq!(refused, Err(HoldError::Taken(vec![SeatIndex(1), SeatIndex(0)])));
    assert_eq!(floor.seats()[2], Seat::Free);
}

#[test]
fn ones_own_held_seat_counts_as_taken() {
    let mut floor = floor(2);
    floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    assert!(matches!(floor.hold(want(2, ME, &[0], at(60)), at(1)), Err(HoldError::Taken(_))));
}

#[test]
fn a_hold_past_its_time_is_gone_whether_or_not_anybody_swept() {
    let mut floor = floor(1);
    floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    assert!(floor.hold(want(2, YOU, &[0], at(90)), at(59)).is_err());
    let taken_over = floor.hold(want(3, YOU, &[0], at(120)), at(60)).expect("over at its deadline");
    assert!(floor.find(id(1), ME, at(60)).is_err());
    assert_eq!(floor.seats()[0], Seat::Held(taken_over.epoch));
}

#[test]
fn the_cap_counts_all_live_holds_of_a_buyer() {
    let mut floor = floor(10);
    floor.hold(want(1, ME, &[0, 1, 2, 3, 4], at(60)), at(0)).expect("free");
    assert_eq!(floor.hold(want(2, ME, &[5, 6, 7, 8], at(60)), at(0)), Err(HoldError::OverCap));
    floor.hold(want(3, YOU, &[5, 6, 7, 8], at(60)), at(0)).expect("another buyer");
    floor.hold(want(4, ME, &[0, 1, 2, 9], at(99)), at(61)).expect("the first hold is over");
}

#[test]
fn a_hold_is_prolonged_up_to_its_longest_life() {
    let mut floor = floor(1);
    floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    assert_eq!(floor.extend(id(1), ME, at(30), MINUTE, MINUTE * 2).map(|h| h.until), Ok(at(90)));
    assert_eq!(floor.extend(id(1), ME, at(80), MINUTE, MINUTE * 2).map(|h| h.until), Ok(at(120)));
    assert_eq!(floor.extend(id(1), ME, at(81), Duration::ZERO, MINUTE).map(|h| h.until), Ok(at(120)));
    assert_eq!(floor.extend(id(1), YOU, at(82), MINUTE, MINUTE * 2), Err(HoldError::NoHold));
    assert_eq!(floor.extend(id(1), ME, at(120), MINUTE, MINUTE * 2), Err(HoldError::NoHold));
}

#[test]
fn only_the_owner_gives_back_and_not_while_paying() {
    let mut floor = floor(1);
    floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    assert!(floor.release(id(1), YOU, at(1)).is_err());
    floor.fasten(id(1), ME, at(2)).expect("live");
    assert!(floor.release(id(1), ME, at(3)).is_err());
    floor.loosen(id(1));
    floor.release(id(1), ME, at(4)).expect("live again");
    assert_eq!(floor.seats()[0], Seat::Free);
}

#[test]
fn no_deadline_frees_a_seat_that_is_being_paid_for() {
    let mut floor = floor(1);
    let hold = floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    floor.fasten(id(1), ME, at(59)).expect("live");
    assert!(floor.expire(at(9_999)).is_empty());
    assert_eq!(floor.seats()[0], Seat::Paying(hold.epoch));
    floor.settle(&hold.seats, hold.epoch, Outcome::Sold);
    assert_eq!(floor.seats()[0], Seat::Sold(hold.epoch));
}

#[test]
fn a_loosened_hold_that_ran_out_meanwhile_is_over() {
    let mut floor = floor(1);
    floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    floor.fasten(id(1), ME, at(59)).expect("live");
    floor.loosen(id(1));
    assert_eq!(floor.expire(at(60)).len(), 1);
}

#[test]
fn an_older_epoch_never_overwrites_a_newer_one() {
    let mut floor = floor(1);
    let old = floor.hold(want(1, ME, &[0], at(60)), at(0)).expect("free");
    let new = floor.hold(want(2, YOU, &[0], at(120)), at(60)).expect("over");
    floor.settle(&old.seats, old.epoch, Outcome::Sold);
    assert_eq!(floor.seats()[0], Seat::Held(new.epoch));
    floor.settle(&old.seats, old.epoch, Outcome::Free);
    assert_eq!(floor.seats()[0], Seat::Held(new.epoch));
}

#[test]
fn a_sale_reaches_a_floor_that_lost_the_hold() {
    let mut floor = floor(1);
    floor.settle(&[SeatIndex(0)], HoldEpoch::start(1), Outcome::Sold);
    assert_eq!(floor.seats()[0].status(), SeatStatus::Sold);
}

#[test]
fn every_visible_change_has_a_version_of_its_own() {
    let mut floor = floor(2);
    let mut last = floor.version();
    let mut grew = |floor: &Floor| {
        let grew = floor.version() > last;
        last = floor.version();
        grew
    };
    let hold = floor.hold(want(1, ME, &[0, 1], at(60)), at(0)).expect("free");
    assert!(grew(&floor));
    floor.fasten(id(1), ME, at(1)).expect("live");
    assert!(!grew(&floor), "held and being paid look alike");
    floor.settle(&hold.seats, hold.epoch, Outcome::Sold);
    assert!(grew(&floor));
    floor.settle(&hold.seats, hold.epoch, Outcome::Free);
    assert!(grew(&floor));
    floor.expire(at(99));
    assert!(!grew(&floor));
}

#[derive(Clone, Debug)]
enum Step {
    Hold(u8, Vec<u32>),
    Extend(u8, u8),
    Release(u8, u8),
    Fasten(u8, u8),
    Loosen(u8),
    Settle(u8, bool),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let hold = any::<u8>();
    prop_oneof![
        4 => (0..4_u8, prop::collection::btree_set(0..12_u32, 1..4))
            .prop_map(|(owner, seats)| Step::Hold(owner, seats.into_iter().collect())),
        1 => (hold, 0..4_u8).prop_map(|(h, o)| Step::Extend(h, o)),
        1 => (hold, 0..4_u8).prop_map(|(h, o)| Step::Release(h, o)),
        2 => (hold, 0..4_u8).prop_map(|(h, o)| Step::Fasten(h, o)),
        1 => hold.prop_map(Step::Loosen),
        2 => (hold, any::<bool>()).prop_map(|(h, sold)| Step::Settle(h, sold)),
        2 => (0..40_u8).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order, a sold seat changes only by its own
    /// order's word, and [`Floor::check`] holds after each step.
    #[test]
    fn a_sold_seat_is_never_given_to_another(steps in prop::collection::vec(step(), 1..120)) {
        let mut floor = floor(12);
        let mut now = at(0);
        let mut given: Vec<Hold> = Vec::new();
        for step in steps {
            let before = floor.seats().to_vec();
            let pick = |n: u8| given.get(n as usize % given.len().max(1)).cloned();
            let mut touched = None;
            match step {
                Step::Hold(owner, seats) => {
                    let id = given.len() as u128;
                    let wanted = want(id, AccountId::from_bits(owner.into()), &seats, now + MINUTE);
                    if let Ok(hold) = floor.hold(wanted, now) {
                        given.push(hold);
                    }
                }
                Step::Extend(h, o) => if let Some(hold) = pick(h) {
                    let _ = floor.extend(hold.id, AccountId::from_bits(o.into()), now, MINUTE, MINUTE * 3);
                },
                Step::Release(h, o) => if let Some(hold) = pick(h) {
                    let _ = floor.release(hold.id, AccountId::from_bits(o.into()), now);
                },
                Step::Fasten(h, o) => if let Some(hold) = pick(h) {
                    let _ = floor.fasten(hold.id, AccountId::from_bits(o.into()), now);
                },
                Step::Loosen(h) => if let Some(hold) = pick(h) { floor.loosen(hold.id) },
                Step::Settle(h, sold) => if let Some(hold) = pick(h) {
                    let outcome = if sold { Outcome::Sold } else { Outcome::Free };
                    floor.settle(&hold.seats, hold.epoch, outcome);
                    touched = Some(hold.epoch);
                },
                Step::Wait(seconds) => {
                    now = now + Duration::from_secs(seconds.into());
                    floor.expire(now);
                }
            }
            for (was, is) in before.iter().zip(floor.seats()) {
                if let Seat::Sold(epoch) = was {
                    prop_assert!(was == is || touched >= Some(*epoch));
                }
            }
        }
    }
}
