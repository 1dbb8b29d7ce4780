//! Joining, ticking, silence, outages.

use std::time::Duration;

use usher::clock::Clock;
use usher::domain::id::PlaceNumber;
use usher::domain::line::{CHUNK, REMEMBERED, SWEEP, Settings};
use usher::domain::place::{Reason, Turn};

use super::open_wide;
use crate::store::world::{SECOND, START, World, number, room, settings, visitor};

pub(super) async fn numbers_are_given_in_order_of_arrival(mut world: World) {
    world.open(settings()).await;
    let turns = world.join_all([3, 1, 2]).await;
    assert_eq!(turns.iter().map(number).collect::<Vec<_>>(), [1, 2, 3]);
    world.pass(Duration::from_millis(1));
    let later = world.join(4).await;
    let joined_at = START + Duration::from_millis(1);
    assert_eq!(later, Turn::Waiting { number: PlaceNumber(4), joined_at });
    world.pass(SECOND);
    assert_eq!(world.look(4).await, later);
    assert_eq!(world.look(9).await, Turn::Unknown);
}

pub(super) async fn joining_again_changes_nothing(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=5).await;
    assert_eq!(number(&world.join(3).await), 3);
    assert_eq!(number(&world.rejoin(3).await), 3);
    let twice_in_one_call = world.join_all([6, 6]).await;
    assert_eq!(twice_in_one_call[0], twice_in_one_call[1]);
    let standing = world.standing().await;
    assert_eq!((standing.waiting, standing.totals.joined), (6, 6));
}

pub(super) async fn a_crowd_larger_than_one_script_call_keeps_its_order(mut world: World) {
    world.open(open_wide()).await;
    let crowd = 2 * CHUNK as u16 + 7;
    let turns = world.join_all(1..=crowd).await;
    assert!(turns.iter().map(number).eq(1..=u64::from(crowd)));
    assert!(world.waiting().await.into_iter().eq(1..=u64::from(crowd)));
    assert_eq!(world.tick().await.admitted, u64::from(crowd));
    assert!(world.out().await.into_iter().eq(1..=u64::from(crowd)));
}

pub(super) async fn one_batch_comes_of_many_callers(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=6).await;
    assert_eq!(world.tick().await.admitted, 2);
    for _ in 0..10 {
        let standing = world.tick().await;
        assert_eq!((standing.admitted, standing.tick), (0, 1), "another gate in the same tick");
    }
    assert!(matches!(world.look(1).await, Turn::Admitted(_)));
    assert!(matches!(world.look(3).await, Turn::Waiting { .. }));
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 2);
    assert_eq!(world.out().await, [1, 2, 3, 4]);
}

pub(super) async fn a_late_tick_keeps_the_rhythm_and_missed_ones_are_not_made_up(mut world: World) {
    world.open(settings()).await;
    world.tick().await;
    world.pass(Duration::from_millis(1_300));
    assert_eq!(world.tick().await.due_at, START + SECOND * 2);
    world.pass(Duration::from_millis(700));
    assert_eq!(world.tick().await.tick, 3);
    world.pass(SECOND * 50);
    let standing = world.tick().await;
    assert_eq!((standing.tick, standing.due_at), (4, START + SECOND * 53));
}

pub(super) async fn silence_ends_a_place(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    world.join_all(1..=3).await;
    // They count as heard until the end of the slice, five seconds on.
    for second in 0..=39 {
        world.seen(&[(3, START + SECOND * second)]).await;
        assert_eq!(world.tick().await.waiting, 3, "after {second} s");
        world.pass(SECOND);
    }
    world.tick().await;
    assert_eq!(world.waiting().await, [3]);
    assert_eq!(world.look(1).await, Turn::Ended { number: PlaceNumber(1), reason: Reason::Evicted });
}

pub(super) async fn silence_is_counted_from_the_end_of_its_slice(mut world: World) {
    world.open(Settings { idle_timeout: SECOND, tick: SECOND, paused: true, ..settings() }).await;
    // A slice is a sixth of a second, fractions dropped; START is 70 ms into one.
    assert_eq!(START.as_millis() % 166, 70);
    world.join_all(1..=3).await;
    world.tick().await;
    world.pass(Duration::from_millis(100));
    world.seen(&[(2, START + Duration::from_millis(95)), (3, START + Duration::from_millis(96))]).await;
    world.pass(Duration::from_millis(96 + 1_166 - 101));
    assert_eq!(world.tick().await.waiting, 3);
    world.pass(Duration::from_millis(1));
    world.tick().await;
    assert_eq!(world.waiting().await, [3], "2 was heard in the last millisecond of the first slice");
    world.pass(Duration::from_millis(165));
    assert_eq!(world.tick().await.waiting, 1);
    world.pass(Duration::from_millis(1));
    assert_eq!(world.tick().await.waiting, 0);
}

pub(super) async fn nobody_is_given_up_early_nor_more_than_an_interval_late(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    let [least, interval] = [SECOND * 35, SECOND * 5];
    let heard = |n: u16| START + Duration::from_millis(u64::from(n) * 487);
    world.join_all(1..=24).await;
    let mut given_up = [None; 25];
    while world.clock.now() < START + SECOND * 60 {
        let now = world.clock.now();
        let signs: Vec<_> = (1..=24).map(|n| (u64::from(n), heard(n))).filter(|&(_, at)| at <= now).collect();
        world.seen(&signs).await;
        world.tick().await;
        for out in world.out().await {
            given_up[out as usize].get_or_insert(now);
        }
        world.pass(Duration::from_millis(500));
    }
    for n in 1..=24 {
        let silence = given_up[usize::from(n)].expect("given up").since(heard(n));
        assert!(silence >= least && silence < least + interval + SECOND, "{n} after {silence:?}");
    }
}

pub(super) async fn evictions_are_in_order_of_silence_then_number(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    world.join_all(1..=12).await;
    world.ticks(5).await;
    let later = START + SECOND * 5;
    world.seen(&[(2, later), (11, later), (9, later)]).await;
    world.ticks(40).await;
    assert_eq!(world.out().await, [1, 3, 4, 5, 6, 7, 8, 10, 12, 2, 9, 11]);
}

pub(super) async fn signs_of_life_never_move_back_nor_ahead(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    world.join_all(1..=2).await;
    world.ticks(10).await;
    world.seen(&[(1, START + SECOND * 5), (1, START), (2, START + SECOND * 999), (77, START)]).await;
    world.ticks(35).await;
    assert_eq!(world.waiting().await, [2], "1 counts until second 10, 2 until second 15");
    world.ticks(5).await;
    assert_eq!(world.standing().await.totals.evicted, 2);
}

pub(super) async fn the_evicted_join_again_at_the_tail(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    world.join(1).await;
    world.ticks(40).await;
    let out = Turn::Ended { number: PlaceNumber(1), reason: Reason::Evicted };
    assert_eq!(world.join(1).await, out);
    assert_eq!(number(&world.rejoin(1).await), 2);
    assert_eq!(number(&world.join(1).await), 2);
}

pub(super) async fn a_sweep_is_bounded(mut world: World) {
    world.open(Settings { paused: true, ..settings() }).await;
    world.join_all(0..SWEEP as u16 + 10).await;
    world.ticks(39).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.waiting, 10);
    assert_eq!(world.tick().await.waiting, 0);
    assert!(world.out().await.into_iter().eq(1..=SWEEP as u64 + 10));
}

pub(super) async fn an_outage_costs_no_place_and_no_turn(mut world: World) {
    world.open(Settings { capacity: 1, batch: 1, ..settings() }).await;
    world.join_all(1..=2).await;
    world.tick().await;
    world.pass(SECOND * 600);
    let standing = world.tick().await;
    assert_eq!((standing.tick, standing.waiting, standing.called), (2, 1, 1));
    assert_eq!(standing.holiday_until, START + SECOND * 630);
    world.ticks(9).await;
    assert!(matches!(world.look(1).await, Turn::Admitted(_)), "its window moved by the gap");
    world.ticks(20).await;
    assert!(matches!(world.look(2).await, Turn::Waiting { .. }));
}

pub(super) async fn an_outage_costs_nobody_a_pass_that_it_was_not_told_of(mut world: World) {
    // More than one script call moves at once.
    let late = 2..=2 * CHUNK as u16 + 10;
    world.open(open_wide()).await;
    world.join(1).await;
    world.tick().await;
    world.look(1).await;
    world.join_all(late.clone()).await;
    world.ticks(10).await;
    let visitors: Vec<_> = late.map(visitor).collect();
    world.store.look(&room(), &visitors[..CHUNK]).await.expect("looked");
    world.store.look(&room(), &visitors[CHUNK..]).await.expect("looked");
    world.pass(SECOND * 600);
    assert_eq!(world.tick().await.active, visitors.len() as u64);
    let out = Turn::Ended { number: PlaceNumber(1), reason: Reason::PassEnded };
    assert_eq!(world.look(1).await, out, "it was claimed a claim window before");
    for turn in world.store.look(&room(), &visitors).await.expect("looked") {
        let Turn::Admitted(pass) = turn else { panic!("{turn:?}") };
        assert_eq!(pass.expires_at, pass.issued_at + SECOND * 660);
    }
    world.ticks(61).await;
    assert_eq!(world.standing().await.active, 0);
}

pub(super) async fn a_clock_set_back_neither_stops_the_line_nor_ticks_twice(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=9).await;
    world.tick().await;
    world.clock.set_back(SECOND * 3_600);
    assert_eq!(world.tick().await.admitted, 0);
    world.pass(SECOND);
    let standing = world.tick().await;
    assert_eq!((standing.admitted, standing.now), (2, START + SECOND));
    assert_eq!(world.tick().await.admitted, 0);
    let standing = world.ticks(20).await;
    assert_eq!((standing.now, standing.tick), (START + SECOND * 21, 22));
}

pub(super) async fn a_clock_set_forward_ends_no_pass_and_no_place(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=9).await;
    world.tick().await;
    let inside = world.look(1).await;
    world.ticks(5).await;
    world.clock.set_forward(SECOND * 3_600);
    // Before a tick, too.
    assert_eq!(world.look(1).await, inside);
    assert!(matches!(world.look(2).await, Turn::Admitted(_)), "a turn is not missed by it");
    assert!(matches!(world.join(9).await, Turn::Waiting { .. }));
    let standing = world.tick().await;
    assert_eq!((standing.now, standing.skew_ms), (START + SECOND * 5, 3_600_000));
    assert_eq!((standing.active, standing.called, standing.waiting), (2, 2, 5));
    assert_eq!(standing.holiday_until.as_millis(), 0, "nothing happened");
    world.ticks(54).await;
    assert_eq!(world.look(1).await, inside);
    world.pass(SECOND);
    assert!(matches!(world.look(1).await, Turn::Ended { .. }), "it lasts as long as it was to");
    world.clock.set_back(SECOND * 3_600);
    let standing = world.tick().await;
    assert_eq!((standing.now, standing.skew_ms), (START + SECOND * 60, 0));
}

pub(super) async fn leaving_is_remembered_an_hour(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    assert_eq!(world.end(1, Reason::Left).await, Some(1));
    assert_eq!(world.end(1, Reason::Left).await, None);
    assert_eq!(world.end(2, Reason::Left).await, None);
    world.pass(REMEMBERED - SECOND);
    assert_eq!(world.join(1).await, Turn::Ended { number: PlaceNumber(1), reason: Reason::Left });
    world.pass(SECOND);
    assert_eq!(world.look(1).await, Turn::Unknown);
    world.tick().await;
    assert_eq!(number(&world.join(1).await), 2);
    assert_eq!(world.standing().await.totals.left, 1);
}
