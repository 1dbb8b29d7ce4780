use std::time::Duration;

use proptest::prelude::*;

use crate::domain::id::{Epoch, PlaceNumber, VisitorId};
use crate::domain::line::{Line, REMEMBERED, Settings};
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);

pub(in crate::domain::line) fn settings() -> Settings {
    Settings {
        capacity: 4,
        batch: 2,
        tick: SECOND,
        rate_per_minute: None,
        max_waiting: None,
        pass_ttl: SECOND * 60,
        pass_max: SECOND * 120,
        idle_timeout: SECOND * 30,
        claim_window: SECOND * 10,
        grace_reentry: SECOND * 20,
        paused: false,
        closed: false,
        draining: false,
        overflow: false,
        opening: None,
        draw: false,
        autotune: false,
    }
}

fn line(settings: Settings) -> Line {
    Line::new(Epoch(1), settings)
}

fn visitor(n: u8) -> VisitorId {
    VisitorId::from_bytes([n; 16])
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1_000)
}

fn number(turn: Turn) -> u64 {
    match turn {
        Turn::Waiting { number, .. } | Turn::Returning { number, .. } | Turn::Ended { number, .. } => {
            number.0
        }
        Turn::Admitted(pass) => pass.number.0,
        other => panic!("{other:?} has no number"),
    }
}

fn ticks(line: &mut Line, seconds: impl Iterator<Item = u64>) {
    for second in seconds {
        tick(line, at(second));
    }
}

fn tick(line: &mut Line, now: Timestamp) -> u64 {
    line.make_room(now);
    line.admit(now).admitted
}

#[test]
fn joining_again_changes_nothing() {
    let mut line = line(settings());
    for n in 1..=5 {
        assert_eq!(number(line.join(visitor(n), Intent::Join, at(0))), u64::from(n));
    }
    assert_eq!(number(line.join(visitor(3), Intent::Rejoin, at(1))), 3);
    assert_eq!(line.standing().waiting, 5);
    assert_eq!(line.standing().totals.joined, 5);
}

#[test]
fn the_earliest_are_called_first_and_one_batch_comes_of_many_callers() {
    let mut line = line(settings());
    for n in 1..=6 {
        line.join(visitor(n), Intent::Join, at(0));
    }
    assert_eq!(tick(&mut line, at(0)), 2);
    assert_eq!(tick(&mut line, at(0)), 0, "a second gate in the same tick");
    assert!(matches!(line.look(visitor(1), at(0)), Turn::Admitted(_)));
    assert!(matches!(line.look(visitor(3), at(0)), Turn::Waiting { .. }));
    assert_eq!(tick(&mut line, at(1)), 2);
    assert_eq!(tick(&mut line, at(2)), 0, "capacity is reached");
}

#[test]
fn a_repeated_claim_returns_the_same_pass() {
    let mut line = line(settings());
    line.join(visitor(1), Intent::Join, at(0));
    tick(&mut line, at(0));
    let first = line.look(visitor(1), at(2));
    assert_eq!(line.look(visitor(1), at(9)), first);
    assert_eq!(line.join(visitor(1), Intent::Rejoin, at(10)), first);
}

#[test]
fn a_late_returner_is_called_once_more_and_only_once() {
    let mut line = line(Settings { capacity: 1, batch: 1, ..settings() });
    for n in 1..=3 {
        line.join(visitor(n), Intent::Join, at(0));
    }
    ticks(&mut line, 0..=9);
    assert!(matches!(line.look(visitor(1), at(10)), Turn::Returning { ahead: 0, .. }));
    tick(&mut line, at(10));
    assert!(matches!(line.look(visitor(2), at(10)), Turn::Waiting { .. }), "returners go before the line");
    ticks(&mut line, 11..=23);
    assert_eq!(line.look(visitor(1), at(23)), Turn::Ended { number: PlaceNumber(1), reason: Reason::Missed });
}

#[test]
fn a_returner_after_the_grace_time_is_out() {
    let mut line = line(settings());
    line.join(visitor(1), Intent::Join, at(0));
    tick(&mut line, at(0));
    assert_eq!(line.look(visitor(1), at(31)), Turn::Ended { number: PlaceNumber(1), reason: Reason::Missed });
}

#[test]
fn silence_ends_a_place_after_the_idle_timeout_and_one_heartbeat() {
    let mut line = line(Settings { paused: true, ..settings() });
    for n in 1..=3 {
        line.join(visitor(n), Intent::Join, at(0));
    }
    // They count as heard until the end of the slice, five seconds on.
    for second in 0..=39 {
        line.seen(&[(PlaceNumber(3), at(second))], at(second));
        tick(&mut line, at(second));
        assert_eq!(line.standing().waiting, 3);
    }
    tick(&mut line, at(40));
    assert_eq!(line.waiting_after(PlaceNumber(0), 9), [PlaceNumber(3)]);
}

#[test]
fn an_evicted_place_is_out_and_joins_again_at_the_tail() {
    let mut line = line(Settings { paused: true, ..settings() });
    line.join(visitor(1), Intent::Join, at(0));
    ticks(&mut line, 0..=40);
    let out = Turn::Ended { number: PlaceNumber(1), reason: Reason::Evicted };
    assert_eq!(line.join(visitor(1), Intent::Join, at(41)), out);
    assert_eq!(number(line.join(visitor(1), Intent::Rejoin, at(42))), 2);
}

#[test]
fn an_outage_evicts_nobody_and_moves_claim_deadlines() {
    let mut line = line(Settings { capacity: 1, batch: 1, ..settings() });
    line.join(visitor(1), Intent::Join, at(0));
    line.join(visitor(2), Intent::Join, at(0));
    tick(&mut line, at(0));
    tick(&mut line, at(600));
    assert!(matches!(line.look(visitor(2), at(601)), Turn::Waiting { .. }));
    assert!(matches!(line.look(visitor(1), at(609)), Turn::Admitted(_)));
    assert_eq!(line.standing().tick, 2, "missed ticks are not made up");
}

#[test]
fn an_outage_moves_the_end_of_a_pass_that_was_just_claimed() {
    let ends = |claimed: u64, last: u64| {
        let mut line = line(settings());
        line.join(visitor(1), Intent::Join, at(0));
        tick(&mut line, at(0));
        let Turn::Admitted(pass) = line.look(visitor(1), at(claimed)) else { panic!("not called") };
        ticks(&mut line, 1..=last);
        tick(&mut line, at(last + 20));
        let Turn::Admitted(now) = line.look(visitor(1), at(last + 20)) else { panic!("{pass:?} is over") };
        now.expires_at.since(pass.expires_at).as_secs()
    };
    assert_eq!(ends(3, 3), 20);
    assert_eq!(ends(3, 12), 20);
    assert_eq!(ends(3, 13), 0, "a claim window later its holder has asked again");
}

#[test]
fn without_the_holiday_an_outage_would_evict() {
    let mut line = line(Settings { paused: true, ..settings() });
    line.join(visitor(1), Intent::Join, at(0));
    tick(&mut line, at(0));
    line.make_room(at(600));
    line.holiday_until = at(0);
    line.make_room(at(601));
    assert!(matches!(line.look(visitor(1), at(601)), Turn::Ended { reason: Reason::Evicted, .. }));
}

#[test]
fn the_rate_bounds_any_sixty_seconds() {
    let mut line = line(Settings {
        capacity: 100,
        batch: 2,
        rate_per_minute: Some(5),
        idle_timeout: SECOND * 300,
        ..settings()
    });
    for n in 1..=20 {
        line.join(visitor(n), Intent::Join, at(0));
    }
    let admitted: u64 = (0..60).map(|second| tick(&mut line, at(second))).sum();
    assert_eq!(admitted, 5);
    assert_eq!(tick(&mut line, at(60)), 2);
}

#[test]
fn a_full_line_takes_nobody_and_keeps_who_is_in_it() {
    let mut line = line(Settings { max_waiting: Some(2), ..settings() });
    line.join(visitor(1), Intent::Join, at(0));
    line.join(visitor(2), Intent::Join, at(0));
    assert_eq!(line.join(visitor(3), Intent::Join, at(0)), Turn::Full);
    assert_eq!(number(line.join(visitor(2), Intent::Join, at(0))), 2);
}

#[test]
fn a_draining_line_is_served_and_takes_nobody() {
    let mut line = line(settings());
    line.join(visitor(1), Intent::Join, at(0));
    line.configure(Settings { draining: true, ..settings() });
    assert_eq!(line.join(visitor(2), Intent::Join, at(0)), Turn::Closed);
    assert_eq!(tick(&mut line, at(0)), 1);
}

#[test]
fn overflow_admits_at_once_until_the_room_is_full() {
    let mut line = line(Settings { overflow: true, capacity: 2, ..settings() });
    assert!(matches!(line.join(visitor(1), Intent::Join, at(0)), Turn::Admitted(_)));
    assert!(matches!(line.join(visitor(2), Intent::Join, at(0)), Turn::Admitted(_)));
    assert!(matches!(line.join(visitor(3), Intent::Join, at(0)), Turn::Waiting { .. }));
    line.end(visitor(1), Reason::Left, at(1));
    assert!(matches!(line.join(visitor(4), Intent::Join, at(1)), Turn::Waiting { .. }), "nobody overtakes");
}

#[test]
fn leaving_is_final_for_an_hour_and_forgotten_after() {
    let mut line = line(settings());
    line.join(visitor(1), Intent::Join, at(0));
    assert_eq!(line.end(visitor(1), Reason::Left, at(1)), Some(PlaceNumber(1)));
    assert_eq!(line.end(visitor(1), Reason::Left, at(1)), None);
    assert!(matches!(
        line.join(visitor(1), Intent::Join, at(3_000)),
        Turn::Ended { reason: Reason::Left, .. }
    ));
    let later = at(1) + REMEMBERED;
    assert_eq!(number(line.join(visitor(1), Intent::Join, later)), 2);
}

#[test]
fn a_revoked_pass_is_logged_and_its_slot_goes_on() {
    let mut line = line(Settings { capacity: 1, ..settings() });
    line.join(visitor(1), Intent::Join, at(0));
    line.join(visitor(2), Intent::Join, at(0));
    tick(&mut line, at(0));
    let Turn::Admitted(pass) = line.look(visitor(1), at(0)) else { panic!("called") };
    line.end(visitor(1), Reason::Completed, at(1));
    let log = line.log_after(0, 99).expect("nothing trimmed");
    assert_eq!(log.last().expect("logged").1.revoked, [pass]);
    assert_eq!(line.revoked(), [pass]);
    assert_eq!(tick(&mut line, at(1)), 1);
}

#[test]
fn an_extension_stops_at_the_longest_life() {
    let mut line = line(settings());
    line.join(visitor(1), Intent::Join, at(0));
    tick(&mut line, at(0));
    line.look(visitor(1), at(0));
    assert_eq!(line.extend(visitor(1), SECOND * 10, at(1)).expect("live").expires_at, at(60));
    assert_eq!(line.extend(visitor(1), SECOND * 90, at(10)).expect("live").expires_at, at(100));
    assert_eq!(line.extend(visitor(1), SECOND * 900, at(11)).expect("live").expires_at, at(120));
    assert_eq!(line.extend(visitor(1), SECOND, at(120)), None);
}

#[test]
fn a_trimmed_log_says_so() {
    let mut line = line(settings());
    for _ in 0..super::super::LOG_KEPT + 5 {
        line.join(visitor(1), Intent::Rejoin, at(0));
        line.end(visitor(1), Reason::Left, at(0));
    }
    assert_eq!(line.log_after(4, 1), None);
    assert_eq!(line.log_after(5, 1).expect("kept")[0].0, 6);
    assert_eq!(line.log_after(u64::MAX, 1), None, "ahead of the store: it lost something");
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8),
    Rejoin(u8),
    Look(u8),
    Seen(u64),
    Tick,
    Leave(u8),
    Complete(u8),
    Extend(u8, u64),
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let visitor = 0_u8..24;
    let step = prop_oneof![
        4 => visitor.clone().prop_map(Step::Join),
        1 => visitor.clone().prop_map(Step::Rejoin),
        4 => visitor.clone().prop_map(Step::Look),
        2 => (1_u64..60).prop_map(Step::Seen),
        6 => Just(Step::Tick),
        1 => visitor.clone().prop_map(Step::Leave),
        1 => visitor.clone().prop_map(Step::Complete),
        1 => (visitor, 0_u64..200).prop_map(|(v, s)| Step::Extend(v, s)),
    ];
    (step, prop_oneof![8 => 0_u64..1_500, 1 => 1_500_u64..40_000])
}

proptest! {
    /// The line's promises over any history: capacity, order, nobody twice.
    #[test]
    fn every_history_keeps_the_promises(steps in prop::collection::vec(step(), 1..300)) {
        let mut line = line(settings());
        let mut now = at(0);
        let mut last_called = 0;
        for (step, pause) in steps {
            now = now + Duration::from_millis(pause);
            match step {
                Step::Join(v) => { line.join(visitor(v), Intent::Join, now); }
                Step::Rejoin(v) => { line.join(visitor(v), Intent::Rejoin, now); }
                Step::Look(v) => { line.look(visitor(v), now); }
                Step::Seen(n) => line.seen(&[(PlaceNumber(n), now)], now),
                Step::Leave(v) => { line.end(visitor(v), Reason::Left, now); }
                Step::Complete(v) => { line.end(visitor(v), Reason::Completed, now); }
                Step::Extend(v, s) => { line.extend(visitor(v), SECOND * s as u32, now); }
                Step::Tick => {
                    let front = line.waiting_after(PlaceNumber(0), 1);
                    line.make_room(now);
                    let standing = line.admit(now);
                    prop_assert!(standing.called + standing.active <= 4);
                    prop_assert!(standing.admitted <= 2);
                    if let (Some(front), Some(new_front)) = (front.first(), line.waiting_after(PlaceNumber(0), 1).first()) {
                        prop_assert!(new_front >= front, "the front only moves on");
                    }
                }
            }
            line.check().map_err(TestCaseError::fail)?;
            let standing = line.standing();
            prop_assert!(standing.next.0 > last_called);
            last_called = standing.next.0 - 1;
            let out: u64 = line.log_after(0, usize::MAX).expect("short").iter().map(|(_, e)| e.out.len() as u64).sum();
            prop_assert_eq!(standing.waiting + out, standing.totals.joined, "each number waits or was logged out, once");
        }
    }
}
