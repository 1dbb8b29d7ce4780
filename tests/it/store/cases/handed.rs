//! A place that goes to another device.

use usher::domain::id::PlaceNumber;
use usher::domain::line::{PutBack, Settings};
use usher::domain::place::{Reason, Turn};
use usher::store::LogPage;

use crate::store::world::{SECOND, START, World, room, settings, visitor};

fn paused() -> Settings {
    Settings { paused: true, ..settings() }
}

fn waiting(number: u64) -> Turn {
    Turn::Waiting { number: PlaceNumber(number), joined_at: START }
}

fn moved(number: u64) -> Turn {
    Turn::Ended { number: PlaceNumber(number), reason: Reason::Moved }
}

pub(super) async fn a_place_that_is_handed_over_stays_what_it_is_and_is_not_the_holders_before(
    mut world: World,
) {
    world.open(paused()).await;
    world.join_all(1..=3).await;
    world.pass(SECOND);
    assert_eq!(world.hand_over(2, 2, 12).await, Some(waiting(2)));
    let handed = [(PlaceNumber(2), visitor(12))];
    let LogPage::Entries(log) = world.log(0, 99).await else { panic!("nothing trimmed") };
    let [(1, entry)] = &log[..] else { panic!("{log:?}") };
    assert_eq!((&entry.out[..], &entry.revoked[..], &entry.handed[..]), (&[][..], &[][..], &handed[..]));
    assert_eq!(world.handed().await, handed);
    assert_eq!(world.store.holder(&room(), PlaceNumber(2)).await, Ok(Some(visitor(12))));
    assert_eq!((world.look(12).await, world.look(2).await), (waiting(2), moved(2)));
    assert_eq!(world.join(2).await, moved(2), "no second place by asking");
    let standing = world.standing().await;
    assert_eq!((standing.waiting, standing.next.0), (3, 4));
    let totals = standing.totals;
    assert_eq!((totals.joined, totals.left, totals.evicted, totals.expired), (3, 0, 0, 0));
    let again = Turn::Waiting { number: PlaceNumber(4), joined_at: START + SECOND };
    assert_eq!(world.rejoin(2).await, again, "at the tail");
    world.open(settings()).await;
    world.tick().await;
    assert_eq!(world.out().await, [1, 2], "in the old order");
    assert!(matches!(world.look(12).await, Turn::Admitted(pass) if pass.number.0 == 2));
}

pub(super) async fn one_of_two_who_take_a_place_has_it_and_taking_it_again_changes_nothing(mut world: World) {
    world.open(paused()).await;
    world.join(1).await;
    assert_eq!(world.hand_over(1, 1, 11).await, Some(waiting(1)));
    assert_eq!(world.hand_over(1, 1, 12).await, None);
    assert_eq!(world.hand_over(1, 1, 11).await, Some(waiting(1)));
    assert_eq!((world.look(11).await, world.look(12).await), (waiting(1), Turn::Unknown));
    assert_eq!(world.standing().await.log_seq, 1);
}

pub(super) async fn a_called_place_is_claimed_by_who_takes_it(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    world.pass(SECOND);
    let Some(Turn::Admitted(pass)) = world.hand_over(1, 1, 11).await else { panic!("called") };
    let now = START + SECOND;
    assert_eq!((pass.number.0, pass.issued_at, pass.expires_at), (1, now, now + SECOND * 60));
    assert_eq!((world.look(11).await, world.look(1).await), (Turn::Admitted(pass), moved(1)));
    let standing = world.standing().await;
    assert_eq!((standing.called, standing.active, standing.totals.claimed), (1, 1, 1));
    assert_eq!(world.store.holder(&room(), PlaceNumber(1)).await, Ok(Some(visitor(11))));
    assert_eq!(world.handed().await, [], "it is out of the line");
    world.ticks(12).await;
    assert_eq!(world.standing().await.totals.expired, 1, "the other one");
}

pub(super) async fn a_pass_goes_along_with_its_end_and_the_one_before_is_dead(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    world.tick().await;
    let Turn::Admitted(old) = world.look(1).await else { panic!("called") };
    world.ticks(10).await;
    let Some(Turn::Admitted(pass)) = world.hand_over(1, 1, 11).await else { panic!("inside") };
    assert_eq!((pass.number, pass.expires_at), (old.number, old.expires_at));
    assert_eq!(pass.issued_at.since(old.issued_at).as_millis(), 1);
    assert_eq!(world.store.revoked(&room()).await, Ok(vec![old]));
    let LogPage::Entries(log) = world.log(0, 99).await else { panic!("nothing trimmed") };
    let entry = &log.last().expect("logged").1;
    assert_eq!((&entry.revoked[..], &entry.handed[..]), (&[old][..], &[(old.number, visitor(11))][..]));
    assert_eq!((world.look(1).await, world.standing().await.active), (moved(1), 1));
    assert_eq!(world.hand_over(1, 1, 12).await, None);
    assert_eq!(world.hand_over(1, 1, 11).await, Some(Turn::Admitted(pass)), "again");
    let longest = world.store.extend(&room(), visitor(11), SECOND * 900).await.expect("asked");
    let most = START + SECOND * 120;
    assert!(longest.is_some_and(|pass| pass.expires_at.since(most).as_millis() <= 1), "{longest:?}");
    world.ticks(109).await;
    assert_eq!(world.standing().await.active, 1);
    world.ticks(2).await;
    assert_eq!(world.standing().await.active, 0);
}

pub(super) async fn a_late_returner_is_handed_over_as_such(mut world: World) {
    world.open(Settings { capacity: 2, ..settings() }).await;
    world.join_all(1..=3).await;
    world.tick().await;
    world.pass(SECOND * 10);
    let returning = |number| Turn::Returning { number: PlaceNumber(number), ahead: 0 };
    assert_eq!(world.hand_over(2, 2, 12).await, Some(returning(2)), "its call was over a moment ago");
    assert_eq!(world.hand_over(2, 2, 13).await, None);
    assert_eq!(world.look(2).await, moved(2));
    assert_eq!(world.hand_over(12, 2, 22).await, Some(returning(2)));
    assert_eq!((world.look(12).await, world.look(22).await), (moved(2), returning(2)));
    world.tick().await;
    assert!(matches!(world.look(22).await, Turn::Admitted(pass) if pass.number.0 == 2));
    world.pass(SECOND * 30);
    assert_eq!(world.hand_over(1, 1, 11).await, None, "after the grace time");
}

pub(super) async fn what_is_over_or_anothers_is_not_handed_over(mut world: World) {
    world.open(paused()).await;
    world.join_all(1..=4).await;
    world.end(1, Reason::Left).await;
    assert_eq!(world.hand_over(1, 1, 11).await, None, "left");
    assert_eq!(world.hand_over(2, 3, 11).await, None, "another's number");
    assert_eq!(world.hand_over(9, 2, 11).await, None, "nobody's");
    assert_eq!(world.hand_over(2, 2, 3).await, None, "who has a place has one already");
    assert_eq!(world.hand_over(2, 2, 1).await, None, "an id that had a place is none to take one");
    assert_eq!(world.hand_over(2, 2, 2).await, Some(waiting(2)), "its own is its own");
    assert_eq!((world.waiting().await, world.standing().await.log_seq), (vec![2, 3, 4], 1));
    assert_eq!(world.look(11).await, Turn::Unknown);
}

pub(super) async fn who_takes_a_place_keeps_it_by_being_there(mut world: World) {
    world.open(paused()).await;
    world.join_all(1..=2).await;
    for _ in 0..30 {
        world.pass(SECOND);
        world.tick().await;
    }
    world.hand_over(1, 1, 11).await;
    world.ticks(34).await;
    assert_eq!(world.waiting().await, [1], "the other one was silent for 35 s");
    // The slice in which it was heard goes on until second 35.
    world.ticks(6).await;
    assert_eq!(world.look(11).await, Turn::Ended { number: PlaceNumber(1), reason: Reason::Evicted });
    assert_eq!(world.look(1).await, moved(1));
}

pub(super) async fn a_place_goes_on_and_on_and_only_the_last_has_it(mut world: World) {
    world.open(paused()).await;
    world.join_all(1..=2).await;
    for (from, to) in [(1, 11), (11, 12), (12, 13)] {
        assert_eq!(world.hand_over(from, 1, to).await, Some(waiting(1)));
    }
    for before in [1, 11, 12] {
        assert_eq!(world.look(before).await, moved(1));
        assert_eq!(world.hand_over(before, 1, 99).await, None);
    }
    assert_eq!(world.handed().await, [(PlaceNumber(1), visitor(13))]);
    assert_eq!(world.end(13, Reason::Left).await, Some(1));
    world.hand_over(2, 2, 22).await;
    assert_eq!(world.handed().await, [(PlaceNumber(2), visitor(22))], "what is out is forgotten");
}

pub(super) async fn a_handed_place_does_not_come_back_to_who_had_it(mut world: World) {
    world.open(settings()).await;
    world.reopen(5, 10, 4).await;
    assert_eq!(world.come_back(5, 5).await, waiting(5), "nobody has told yet");
    let handed = [(4, 14), (5, 15)].map(|(number, to)| (PlaceNumber(number), visitor(to)));
    world.put_back(PutBack::Handed(handed.to_vec())).await;
    world.put_back(PutBack::Handed(handed.to_vec())).await;
    for (before, number) in [(4, 4), (5, 5)] {
        assert_eq!(world.come_back(before, number).await, Turn::Unknown, "{number}");
    }
    for (now, number) in [(14, 4), (15, 5), (6, 6)] {
        assert_eq!(world.come_back(now, number).await, waiting(number));
    }
    assert_eq!((world.waiting().await, world.handed().await), (vec![4, 5, 6], handed.to_vec()));
}
