//! Called, claimed, missed; passes and their ends.

use usher::domain::id::PlaceNumber;
use usher::domain::line::Settings;
use usher::domain::place::{Reason, Turn};
use usher::store::LogPage;

use crate::store::world::{SECOND, START, World, room, settings, visitor};

pub(super) async fn a_repeated_claim_returns_the_same_pass(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    world.tick().await;
    world.pass(SECOND * 2);
    let first = world.look(1).await;
    let Turn::Admitted(pass) = first else { panic!("{first:?}") };
    assert_eq!((pass.issued_at, pass.expires_at), (START + SECOND * 2, START + SECOND * 62));
    world.pass(SECOND * 7);
    assert_eq!(world.look(1).await, first);
    assert_eq!(world.rejoin(1).await, first);
}

pub(super) async fn a_missed_turn_goes_on_and_comes_back_once(mut world: World) {
    world.open(Settings { capacity: 1, batch: 1, ..settings() }).await;
    world.join_all(1..=3).await;
    world.ticks(9).await;
    world.pass(SECOND);
    assert_eq!(world.look(1).await, Turn::Returning { number: PlaceNumber(1), ahead: 0 });
    let standing = world.tick().await;
    assert_eq!((standing.returning, standing.called, standing.totals.expired), (0, 1, 1));
    assert!(matches!(world.look(2).await, Turn::Waiting { .. }), "returners go before the line");
    world.ticks(13).await;
    assert_eq!(world.look(1).await, Turn::Ended { number: PlaceNumber(1), reason: Reason::Missed });
}

pub(super) async fn a_returner_after_the_grace_time_is_out(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    world.pass(SECOND * 29);
    assert!(matches!(world.look(1).await, Turn::Returning { .. }));
    world.pass(SECOND);
    assert_eq!(world.look(2).await, Turn::Ended { number: PlaceNumber(2), reason: Reason::Missed });
}

pub(super) async fn a_call_past_its_deadline_is_missed_before_the_sweep_says_so(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    world.pass(SECOND * 10);
    assert_eq!(world.look(2).await, Turn::Returning { number: PlaceNumber(2), ahead: 0 });
    assert_eq!(world.look(1).await, Turn::Returning { number: PlaceNumber(1), ahead: 0 });
    assert_eq!(world.look(2).await, Turn::Returning { number: PlaceNumber(2), ahead: 1 });
    assert_eq!(world.tick().await.admitted, 2);
}

pub(super) async fn nobody_overtakes_a_returner(mut world: World) {
    world.open(Settings { overflow: true, capacity: 1, ..settings() }).await;
    world.join_all(1..=2).await;
    world.end(1, Reason::Left).await;
    world.tick().await;
    world.pass(SECOND * 10);
    assert!(matches!(world.look(2).await, Turn::Returning { .. }));
    assert!(matches!(world.join(3).await, Turn::Waiting { .. }));
}

pub(super) async fn a_pass_runs_out(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    world.look(1).await;
    world.look(2).await;
    world.ticks(59).await;
    assert_eq!(world.standing().await.active, 2);
    world.pass(SECOND);
    let out = Turn::Ended { number: PlaceNumber(1), reason: Reason::PassEnded };
    assert_eq!(world.look(1).await, out, "before the sweep");
    let standing = world.tick().await;
    assert_eq!((standing.active, standing.totals.expired), (0, 2));
    assert_eq!(world.look(1).await, out);
    assert_eq!(world.end(1, Reason::Left).await, None);
    assert_eq!(world.store.revoked(&room()).await.expect("read"), []);
}

pub(super) async fn a_revoked_pass_is_told_until_it_would_have_ended(mut world: World) {
    world.open(Settings { capacity: 1, ..settings() }).await;
    world.join_all(1..=2).await;
    world.tick().await;
    let Turn::Admitted(pass) = world.look(1).await else { panic!("called") };
    assert_eq!(world.end(1, Reason::Completed).await, Some(1));
    let LogPage::Entries(log) = world.log(0, 99).await else { panic!("nothing trimmed") };
    assert_eq!(log.last().expect("logged").1.revoked, [pass]);
    assert_eq!(world.store.revoked(&room()).await.expect("read"), [pass]);
    world.pass(SECOND);
    assert_eq!(world.tick().await.admitted, 1, "its slot goes on");
    world.ticks(58).await;
    assert_eq!(world.store.revoked(&room()).await.expect("read"), [pass]);
    world.ticks(1).await;
    assert_eq!(world.store.revoked(&room()).await.expect("read"), []);
}

pub(super) async fn an_extension_stops_at_the_longest_life(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    assert_eq!(extend(&world, 1, 10).await, None, "waits");
    world.tick().await;
    assert_eq!(extend(&world, 1, 10).await, None, "called");
    world.look(1).await;
    assert_eq!(extend(&world, 1, 10).await, Some(60));
    world.pass(SECOND * 10);
    assert_eq!(extend(&world, 1, 90).await, Some(100));
    world.pass(SECOND);
    assert_eq!(extend(&world, 1, 900).await, Some(120));
    assert!(matches!(world.look(1).await, Turn::Admitted(pass) if pass.expires_at == START + SECOND * 120));
    world.pass(SECOND * 109);
    assert_eq!(extend(&world, 1, 1).await, None);
    assert_eq!(extend(&world, 2, 1).await, None);
}

/// The new end in seconds after [`START`].
async fn extend(world: &World, n: u16, seconds: u32) -> Option<u64> {
    let pass = world.store.extend(&room(), visitor(n), SECOND * seconds).await.expect("extended");
    pass.map(|pass| pass.expires_at.since(START).as_secs())
}
