//! Passes that rotate: their generations.

use usher::domain::binding::Claim::{Given, Shared};
use usher::domain::place::{Reason, Turn};

use crate::store::world::{ROTATION, SECOND, START, World, room, settings, visitor};

/// The first visitor is inside since [`START`].
async fn inside(world: &mut World) {
    world.open(settings()).await;
    world.join(1).await;
    world.tick().await;
    assert!(matches!(world.look(1).await, Turn::Admitted(_)));
}

pub(super) async fn another_generation_is_made_once_for_who_shows_the_newest(mut world: World) {
    inside(&mut world).await;
    assert_eq!(world.claim_again(1, None).await, Some(Given(1)));
    let heard = world.show(1, 1).await.expect("inside");
    assert_eq!((heard.next, heard.due_at, heard.newest.before), (None, START + SECOND * 10, 0));
    world.pass(SECOND * 10);
    assert_eq!(world.show(1, 1).await.expect("inside").next, Some(2));
    assert_eq!(world.show(1, 1).await.expect("inside").next, None, "once");
    world.pass(SECOND);
    let newest = world.show(1, 2).await.expect("inside").newest;
    assert_eq!((newest.generation, newest.shown_at, newest.before), (2, START + SECOND * 11, 1));
    world.pass(SECOND * 9);
    let heard = world.show(1, 1).await.expect("inside");
    assert_eq!((heard.newest, heard.next), (newest, None), "an old copy gets none");
    assert_eq!(world.show(1, 2).await.expect("inside").next, Some(3));
}

pub(super) async fn three_claims_of_old_copies_are_one_too_many(mut world: World) {
    inside(&mut world).await;
    world.show(1, 5).await;
    world.show(1, 6).await;
    assert_eq!(world.claim_again(1, Some(5)).await, Some(Given(5)), "on its way when 6 was shown");
    world.pass(SECOND * 2);
    assert_eq!(world.claim_again(1, Some(6)).await, Some(Given(6)), "a good copy");
    assert_eq!(world.claim_again(1, Some(5)).await, Some(Given(7)));
    assert_eq!(world.claim_again(1, Some(5)).await, Some(Given(7)), "a browser asks many times");
    for strike in 2..=3 {
        world.show(1, 5 + strike).await;
        world.pass(SECOND * 2);
        let claim = if strike == 3 { Shared } else { Given(8) };
        assert_eq!(world.claim_again(1, Some(5)).await, Some(claim));
    }
    assert_eq!(world.claim_again(1, Some(8)).await, Some(Shared), "whoever asks");
    world.pass(SECOND * 50);
    assert!(matches!(world.show(1, 8).await, Some(heard) if heard.newest.generation == 8));
}

pub(super) async fn a_first_claim_is_given_again_until_it_is_shown(mut world: World) {
    inside(&mut world).await;
    for _ in 0..4 {
        assert_eq!(world.claim_again(1, None).await, Some(Given(1)));
        world.pass(SECOND * 2);
    }
    world.show(1, 1).await;
    assert_eq!(world.claim_again(1, None).await, Some(Given(2)));
}

pub(super) async fn what_is_known_of_a_pass_goes_with_it(mut world: World) {
    inside(&mut world).await;
    world.show(1, 9).await;
    world.end(1, Reason::Completed).await;
    assert_eq!((world.show(1, 9).await, world.claim_again(1, None).await), (None, None));
    world.rejoin(1).await;
    world.ticks(1).await;
    world.look(1).await;
    assert_eq!(world.claim_again(1, None).await, Some(Given(1)));
    world.pass(SECOND * 60);
    assert_eq!(world.claim_again(1, Some(1)).await, None, "it ran out");
}

pub(super) async fn who_takes_a_pass_along_begins_anew(mut world: World) {
    inside(&mut world).await;
    world.show(1, 9).await;
    assert!(matches!(world.hand_over(1, 1, 30).await, Some(Turn::Admitted(_))));
    assert_eq!(world.show(30, 0).await.expect("inside").newest.generation, 0);
    assert_eq!(world.claim_again(1, Some(9)).await, None);
}

pub(super) async fn only_who_has_that_pass_is_heard(mut world: World) {
    inside(&mut world).await;
    world.join(2).await;
    let shown = [(visitor(1), START + SECOND, 3), (visitor(2), START, 3), (visitor(1), START, 3)];
    let heard = world.store.show(&room(), &shown, ROTATION).await.expect("shown");
    assert!(matches!(heard[..], [None, None, Some(_)]), "{heard:?}");
    assert_eq!(world.claim_again(2, None).await, None, "it waits");
}
