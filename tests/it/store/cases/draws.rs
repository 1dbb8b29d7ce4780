//! A line whose first part is in a drawn order.

use std::sync::Arc;

use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber};
use usher::domain::line::{Known, Lot, Settings, Standing};
use usher::domain::opening::Opening;
use usher::domain::place::{Reason, Turn};

use crate::store::world::{SECOND, START, World, number, room, settings};

/// A draw in ten seconds, for which people gather from now on.
fn lottery() -> Settings {
    let opening = Opening { at: START + SECOND * 10, gather_from: START };
    Settings { draw: true, opening: Some(opening), capacity: 100, ..settings() }
}

async fn drawn(world: &World) -> Option<Draw> {
    world.store.drawn(&room()).await.expect("read")
}

/// A gate draws among those who wait.
async fn draw(world: &World, secret: u8, next: u64) -> Arc<Draw> {
    let waiting = world.waiting().await;
    let draw = Draw::new([secret; 32], PlaceNumber(next), |number| waiting.contains(&number.0));
    world.store.draw(&room(), &draw).await.expect("told");
    Arc::new(draw)
}

fn ranked(draw: &Draw) -> Vec<PlaceNumber> {
    let order = draw.order();
    (1..=order.count()).filter_map(|rank| order.number(rank)).collect()
}

/// A tick by a gate that thinks these are next.
async fn tick(world: &World, draw: &Arc<Draw>, turns: &[PlaceNumber], whole: bool) -> Standing {
    world.store.make_room(&room()).await.expect("made room");
    let lot = Some(Lot { draw: Arc::clone(draw), turns: turns.to_vec(), whole });
    let known = Known { epoch: Epoch(7), next: PlaceNumber(1), log_seq: 0, claimed: 0, recoveries: 0, lot };
    world.store.admit(&room(), Some(&known)).await.expect("told").standing
}

pub(super) async fn those_present_come_in_the_drawn_order_and_late_comers_behind(mut world: World) {
    world.open(lottery()).await;
    world.join_all(1..=5).await;
    let standing = world.tick().await;
    assert_eq!((standing.admitted, standing.frozen, standing.drawn), (0, None, false));
    world.pass(SECOND * 10);
    let standing = world.tick().await;
    assert_eq!((standing.admitted, standing.frozen), (0, Some(PlaceNumber(6))), "frozen, not drawn");
    world.join_all(6..=8).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 0, "nobody is admitted before the draw");
    assert_eq!(drawn(&world).await, None);
    let lot = draw(&world, 1, 6).await;
    assert_eq!(drawn(&world).await.as_ref(), Some(&*lot));
    let turns = ranked(&lot);
    for _ in 0..4 {
        world.pass(SECOND);
        assert_eq!(tick(&world, &lot, &turns, true).await.admitted, 2);
    }
    let mut expected: Vec<_> = turns.iter().map(|number| number.0).collect();
    assert!(!expected.is_sorted(), "this secret draws another order than that of arrival");
    expected.extend(6..=8);
    assert_eq!(world.out().await, expected);
}

pub(super) async fn who_joins_after_the_opening_is_not_in_the_draw_though_no_tick_was_between(
    mut world: World,
) {
    world.open(lottery()).await;
    world.join_all(1..=2).await;
    world.pass(SECOND * 10);
    assert_eq!(number(&world.join(3).await), 3);
    assert_eq!(world.standing().await.frozen, Some(PlaceNumber(3)));
    assert_eq!(world.tick().await.frozen, Some(PlaceNumber(3)));
}

pub(super) async fn a_gate_that_knows_too_few_admits_nobody_and_the_tick_is_still_due(mut world: World) {
    world.open(lottery()).await;
    world.join_all(1..=6).await;
    world.pass(SECOND * 10);
    world.tick().await;
    let lot = draw(&world, 1, 7).await;
    let turns = ranked(&lot);
    let first = turns[0];
    // Visitor n has number n.
    world.end(u16::try_from(first.0).expect("few"), Reason::Left).await;
    world.pass(SECOND);
    let before = world.standing().await.tick;
    let standing = tick(&world, &lot, &turns[..2], false).await;
    assert_eq!((standing.admitted, standing.tick), (0, before), "one of the two has left");
    assert_eq!(world.tick().await.tick, before, "and who knows none of them admits none");
    let standing = tick(&world, &lot, &turns[..3], false).await;
    assert_eq!((standing.admitted, standing.tick), (2, before + 1));
    world.pass(SECOND);
    let standing = tick(&world, &lot, &[], true).await;
    assert_eq!(standing.admitted, 2, "a gate that is wrong about everybody stops no line");
}

pub(super) async fn the_first_draw_stands(mut world: World) {
    world.open(lottery()).await;
    world.join_all(1..=3).await;
    draw(&world, 1, 4).await;
    assert_eq!(drawn(&world).await, None, "not before the opening");
    world.pass(SECOND * 10);
    world.tick().await;
    draw(&world, 1, 5).await;
    assert_eq!(drawn(&world).await, None, "of another line");
    let first = draw(&world, 1, 4).await;
    draw(&world, 2, 4).await;
    assert_eq!(drawn(&world).await.as_ref(), Some(&*first));
    world.store.clear(&room(), Epoch(9), Epoch(7)).await.expect("cleared");
    let standing = world.standing().await;
    assert_eq!((standing.frozen, standing.drawn, drawn(&world).await), (None, false, None));
}

pub(super) async fn a_draw_that_was_lost_is_the_same_again(mut world: World) {
    world.open(lottery()).await;
    world.pass(SECOND * 10);
    // An empty store has drawn among nobody by now.
    world.tick().await;
    draw(&world, 3, 1).await;
    let lost = Arc::new(Draw::new([1; 32], PlaceNumber(6), |_| true));
    let lot = Some(Lot { draw: Arc::clone(&lost), turns: ranked(&lost), whole: true });
    let known = Known { epoch: Epoch(5), next: PlaceNumber(8), log_seq: 4, claimed: 0, recoveries: 0, lot };
    let admitted = world.store.admit(&room(), Some(&known)).await.expect("told").standing.admitted;
    assert_eq!(admitted, 0, "another line");
    let reopened = world.store.reopen(&room(), &known, SECOND * 20, &lottery()).await.expect("opened");
    let standing = reopened.standing;
    assert_eq!((standing.epoch, standing.frozen, standing.drawn), (Epoch(5), Some(lost.next), true));
    assert_eq!(drawn(&world).await.as_ref(), Some(&*lost));
}

pub(super) async fn a_draw_that_a_copy_from_before_lacks_is_put_back(mut world: World) {
    world.open(lottery()).await;
    world.join_all(1..=3).await;
    world.pass(SECOND * 10);
    world.tick().await;
    let lost = Arc::new(Draw::new([1; 32], PlaceNumber(4), |_| true));
    assert_eq!(tick(&world, &lost, &ranked(&lost), true).await.admitted, 0, "behind what the gate knew");
    let lot = Some(Lot { draw: Arc::clone(&lost), turns: Vec::new(), whole: true });
    let known = Known { epoch: Epoch(7), next: PlaceNumber(4), log_seq: 0, claimed: 0, recoveries: 0, lot };
    let reopened = world.store.reopen(&room(), &known, SECOND * 20, &lottery()).await.expect("opened");
    assert_eq!((reopened.standing.recoveries, reopened.standing.drawn), (1, true));
    assert_eq!(drawn(&world).await.as_ref(), Some(&*lost));
}

pub(super) async fn nobody_overflows_into_a_room_before_its_draw(mut world: World) {
    world.open(Settings { overflow: true, ..lottery() }).await;
    world.pass(SECOND * 10);
    let turn = world.join(1).await;
    assert!(matches!(turn, Turn::Waiting { .. }), "{turn:?}");
    draw(&world, 1, 1).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1, "nobody was present: the late are first");
    let turn = world.join(2).await;
    assert!(matches!(turn, Turn::Admitted(_)), "{turn:?}");
}
