//! What bounds a room.

use std::time::Duration;

use usher::domain::autotune::Word;
use usher::domain::id::Epoch;
use usher::domain::line::Settings;
use usher::domain::opening::{Opening, Rescheduled};
use usher::domain::place::{Reason, Turn};
use usher::store::Overrides;

use crate::store::world::{SECOND, START, World, number, patient, room, settings};

const MS: Duration = Duration::from_millis(1);

pub(super) async fn capacity_counts_calls_and_passes(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=9).await;
    world.ticks(1).await;
    world.look(1).await;
    world.pass(SECOND);
    let standing = world.tick().await;
    assert_eq!((standing.called, standing.active, standing.admitted), (3, 1, 0));
    assert_eq!(standing.totals.claimed, 1);
    assert_eq!(world.end(2, Reason::Left).await, Some(2));
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1);
}

pub(super) async fn the_rate_bounds_any_sixty_seconds(mut world: World) {
    let idle_timeout = SECOND * 300;
    world.open(Settings { rate_per_minute: Some(5), idle_timeout, capacity: 100, ..settings() }).await;
    world.join_all(1..=20).await;
    let standing = world.ticks(59).await;
    assert_eq!(standing.totals.admitted, 5);
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 2);
    world.pass(SECOND * 300);
    assert_eq!(world.tick().await.admitted, 2, "long ago is forgotten at once");
}

pub(super) async fn a_full_line_takes_nobody(mut world: World) {
    world.open(Settings { max_waiting: Some(2), ..settings() }).await;
    world.join_all(1..=2).await;
    assert_eq!(world.join(3).await, Turn::Full);
    assert_eq!(number(&world.join(2).await), 2);
    world.end(1, Reason::Left).await;
    assert_eq!(number(&world.join(3).await), 3);
}

pub(super) async fn a_closed_room_takes_and_admits_nobody(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    world.change(Overrides { closed: Some(true), ..Overrides::default() }).await;
    assert_eq!(world.join(2).await, Turn::Closed);
    assert_eq!(number(&world.join(1).await), 1);
    let standing = world.tick().await;
    assert_eq!((standing.admitted, standing.tick), (0, 1));
}

pub(super) async fn a_paused_room_takes_and_does_not_admit(mut world: World) {
    world.open(settings()).await;
    world.change(Overrides { paused: Some(true), ..Overrides::default() }).await;
    world.join(1).await;
    assert_eq!(world.ticks(3).await.totals.admitted, 0);
    world.change(Overrides::default()).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1);
}

pub(super) async fn before_the_opening_people_gather_and_nobody_goes_in(mut world: World) {
    let opening = Opening { at: START + SECOND * 20, gather_from: START + SECOND * 5 };
    // Overflow lets nobody by, either.
    let settings = Settings { opening: Some(opening), overflow: true, ..settings() };
    world.open(settings.clone()).await;
    world.pass(SECOND * 5 - MS);
    assert_eq!(world.join(1).await, Turn::Closed, "too early to gather");
    world.pass(MS);
    assert_eq!(
        [world.join(1).await, world.join(2).await, world.join(3).await].map(|t| number(&t)),
        [1, 2, 3]
    );
    let standing = world.ticks(14).await;
    assert_eq!((standing.totals.admitted, standing.waiting), (0, 3));
    world.pass(SECOND - MS);
    assert_eq!(world.tick().await.totals.admitted, 0);
    world.pass(MS);
    assert_eq!(world.tick().await.admitted, 2, "a whole batch, in the instant of the opening");
    assert_eq!(world.out().await, [1, 2]);
    // A room without an opening is open.
    world.open(Settings { opening: None, ..settings }).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1);
}

pub(super) async fn an_operators_word_moves_one_opening_only(mut world: World) {
    let opening = Opening { at: START + SECOND * 20, gather_from: START + SECOND * 20 };
    let settings = Settings { opening: Some(opening), ..settings() };
    world.open(settings.clone()).await;
    let mut changes = Overrides::default();
    changes.open_doors(&settings, START);
    world.change(changes.clone()).await;
    world.join(1).await;
    assert_eq!(world.tick().await.admitted, 1, "the doors are open, and to newcomers, too");
    let next = Opening { at: START + SECOND * 40, gather_from: START };
    world.open(Settings { opening: Some(next), ..settings.clone() }).await;
    world.join(2).await;
    assert_eq!(world.ticks(2).await.totals.admitted, 1, "the next opening is another");
    changes.opening = Some(Rescheduled::new(Some(next), START + SECOND * 4));
    world.change(changes).await;
    assert_eq!(world.ticks(2).await.totals.admitted, 2);
    world.change(Overrides::default()).await;
    world.join(3).await;
    assert_eq!(world.ticks(2).await.totals.admitted, 2, "as in the settings again");
}

pub(super) async fn the_capacity_follows_the_app_and_comes_back(mut world: World) {
    let settings = Settings { autotune: true, capacity: 50, batch: 50, ..patient() };
    world.open(settings.clone()).await;
    world.join_all(1..=30).await;
    assert_eq!(world.tick().await.tuned, None);
    let hear = async |word| world.store.hear(&room(), word).await.expect("heard");
    hear(Word::Well).await;
    assert_eq!(world.standing().await.tuned, None, "there is nothing to raise");
    hear(Word::Unwell).await;
    hear(Word::Unwell).await;
    assert_eq!(world.standing().await.tuned, Some(24), "four fifths of who is inside, once a step");
    world.join_all(31..=60).await;
    for n in 1..=6 {
        world.end(n, Reason::Left).await;
    }
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 0, "24 are called still");
    world.end(7, Reason::Left).await;
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1);
    world.pass(SECOND * 3);
    hear(Word::Unwell).await;
    assert_eq!(world.standing().await.tuned, Some(19));
    world.pass(SECOND * 30 - MS);
    hear(Word::Well).await;
    assert_eq!(world.standing().await.tuned, Some(19), "held after it was lowered");
    world.pass(MS);
    hear(Word::Well).await;
    assert_eq!(world.standing().await.tuned, Some(20));
    for _ in 0..30 {
        world.pass(SECOND * 5);
        hear(Word::Well).await;
    }
    assert_eq!(world.standing().await.tuned, None, "as set, and no further");
    hear(Word::Unwell).await;
    world.open(Settings { autotune: false, ..settings }).await;
    assert_eq!(world.standing().await.tuned, None, "nobody asks any more");
}

pub(super) async fn an_operators_capacity_stands_whatever_the_app_does(mut world: World) {
    world.open(Settings { autotune: true, capacity: 50, batch: 50, ..patient() }).await;
    world.join_all(1..=40).await;
    world.store.hear(&room(), Word::Unwell).await.expect("heard");
    assert_eq!(world.standing().await.tuned, Some(1));
    world.change(Overrides { capacity: Some(30), ..Overrides::default() }).await;
    world.pass(SECOND * 5);
    world.store.hear(&room(), Word::Unwell).await.expect("heard");
    let standing = world.tick().await;
    assert_eq!((standing.admitted, standing.tuned), (30, None));
    world.change(Overrides::default()).await;
    assert_eq!(world.standing().await.tuned, Some(1), "as before the operator's word");
}

pub(super) async fn overflow_admits_at_once_while_there_is_room_and_nobody_waits(mut world: World) {
    world.open(Settings { overflow: true, capacity: 2, rate_per_minute: Some(3), ..settings() }).await;
    let turns = world.join_all(1..=3).await;
    assert!(matches!(turns[..], [Turn::Admitted(_), Turn::Admitted(_), Turn::Waiting { .. }]), "{turns:?}");
    assert_eq!(world.out().await, [1, 2], "they never were in the line");
    world.end(1, Reason::Left).await;
    assert!(matches!(world.join(4).await, Turn::Waiting { .. }), "nobody overtakes");
    world.end(3, Reason::Left).await;
    world.end(4, Reason::Left).await;
    assert!(matches!(world.join(5).await, Turn::Admitted(_)));
    world.end(5, Reason::Left).await;
    assert!(matches!(world.join(6).await, Turn::Waiting { .. }), "three came in this minute");
}

pub(super) async fn changes_hold_until_replaced(mut world: World) {
    world.open(Settings { rate_per_minute: Some(1), max_waiting: Some(1), ..settings() }).await;
    let changes = Overrides {
        revision: 3,
        capacity: Some(9),
        batch: Some(3),
        rate_per_minute: Some(0),
        max_waiting: Some(0),
        pass_ttl: Some(SECOND * 5),
        paused: Some(false),
        closed: None,
        sold_out: Some(true),
        draining: Some(false),
        bypass: Some(true),
        message: Some("곧 시작합니다: 1 + 1".into()),
        opening: Some(Rescheduled { of: START, at: START }),
    };
    world.change(changes.clone()).await;
    world.join_all(1..=9).await;
    world.tick().await;
    let report = world.store.admit(&room(), None).await.expect("admitted");
    assert_eq!((report.standing.called, &report.overrides), (3, &changes));
    assert!(matches!(world.look(1).await, Turn::Admitted(pass) if pass.expires_at == START + SECOND * 5));
    let report = world.store.open(&room(), Epoch(1), &settings()).await.expect("opened");
    assert_eq!(report.overrides, changes, "kept through new settings");
    world.change(Overrides { revision: 2, ..Overrides::default() }).await;
    let report = world.store.open(&room(), Epoch(1), &settings()).await.expect("opened");
    assert_eq!(report.overrides, changes, "an older word does not undo a later one");
    let none = Overrides { revision: 3, ..Overrides::default() };
    world.change(none.clone()).await;
    let report = world.store.open(&room(), Epoch(1), &settings()).await.expect("opened");
    assert_eq!((report.overrides, report.standing.epoch), (none, Epoch(7)));
}
