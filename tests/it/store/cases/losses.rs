//! What a store has lost, and what comes back of it.

use std::sync::Arc;
use std::time::Duration;

use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber};
use usher::domain::line::{Known, LogEntry, Lot, PutBack, Settings};
use usher::domain::pass::Pass;
use usher::domain::place::{Intent, Reason, Turn};
use usher::store::LogPage;

use crate::store::world::{SECOND, START, World, room, settings, visitor};

/// An empty store opened by a gate that knew line 5 up to number 9.
async fn lost(world: &mut World) {
    world.open(settings()).await;
    let standing = world.reopen(5, 10, 4).await;
    assert_eq!((standing.epoch.0, standing.next.0, standing.log_seq), (5, 10, 4));
    assert_eq!((standing.recoveries, standing.recovering_until), (1, START + SECOND * 20));
}

fn known(epoch: u64, next: u64, log_seq: u64) -> Known {
    Known { epoch: Epoch(epoch), next: PlaceNumber(next), log_seq, claimed: 0, recoveries: 0, lot: None }
}

fn waiting(number: u64) -> Turn {
    Turn::Waiting { number: PlaceNumber(number), joined_at: START }
}

pub(super) async fn a_line_that_was_lost_comes_back_under_its_old_numbers(mut world: World) {
    lost(&mut world).await;
    for (n, number) in [(3, 7), (1, 4), (2, 12)] {
        assert_eq!(world.come_back(n, number).await, waiting(number));
    }
    assert_eq!(world.come_back(3, 7).await, waiting(7), "again changes nothing");
    assert_eq!(world.come_back(4, 7).await, Turn::Unknown, "a number has one holder");
    assert_eq!(world.join(5).await, Turn::Unknown, "nobody new joins yet");
    assert_eq!(world.tick().await.admitted, 0, "nobody is admitted yet");
    world.pass(SECOND * 20);
    assert_eq!(
        world.join(5).await,
        Turn::Waiting { number: PlaceNumber(13), joined_at: START + SECOND * 20 }
    );
    assert_eq!(world.waiting().await, [4, 7, 12, 13]);
    assert_eq!(world.come_back(6, 5).await, Turn::Unknown, "too late");
    assert_eq!(world.tick().await.admitted, 2);
    assert_eq!(world.waiting().await, [12, 13], "in the old order");
}

pub(super) async fn who_was_out_does_not_come_back(mut world: World) {
    lost(&mut world).await;
    // 5, 8 and 15 by their bits, 1 and 2 by what is below.
    let out = |bits: &[u8]| PutBack::Out { below: PlaceNumber(3), from: PlaceNumber(0), bits: bits.to_vec() };
    world.put_back(out(&[0b0000_0100, 0b1000_0000])).await;
    world.put_back(out(&[0, 0b0000_0001])).await;
    for number in [1, 2, 5, 8, 15] {
        assert_eq!(world.come_back(number as u16, number).await, Turn::Unknown, "{number}");
    }
    for number in [3, 4, 6, 7, 9, 14, 16] {
        assert_eq!(world.come_back(number as u16, number).await, waiting(number));
    }
    world.put_back(PutBack::Drop([4, 5, 16].map(PlaceNumber).into())).await;
    assert_eq!(world.waiting().await, [3, 6, 7, 9, 14]);
}

pub(super) async fn passes_that_gates_remember_count_again(mut world: World) {
    lost(&mut world).await;
    let pass = |number, ends| Pass {
        number: PlaceNumber(number),
        issued_at: START,
        expires_at: START + SECOND * ends,
    };
    let passes = vec![(visitor(1), pass(1, 100)), (visitor(2), pass(2, 0)), (visitor(3), pass(1, 100))];
    world.put_back(PutBack::Passes(passes.clone())).await;
    world.put_back(PutBack::Passes(passes)).await;
    assert_eq!(world.standing().await.active, 1, "one is over, one is another's number");
    assert_eq!(world.look(1).await, Turn::Admitted(pass(1, 100)));
    for number in 4..=9 {
        world.come_back(number as u16, number).await;
    }
    world.pass(SECOND * 20);
    world.ticks(4).await;
    let standing = world.standing().await;
    assert_eq!(standing.called + standing.active, settings().capacity, "nobody is let in above it");
    assert_eq!(world.end(1, Reason::Left).await, Some(1));
}

pub(super) async fn a_pass_that_was_given_back_is_not_good_again(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    let Turn::Admitted(pass) = world.look(1).await else { panic!("inside") };
    let Turn::Admitted(other) = world.look(2).await else { panic!("inside") };
    assert_eq!(world.reopen(7, 9, 4).await.active, 2, "a copy from before");
    let newer = Pass { issued_at: other.issued_at + SECOND, ..other };
    world.put_back(PutBack::Revoked(vec![pass, newer])).await;
    world.put_back(PutBack::Passes(vec![(visitor(1), pass)])).await;
    world.put_back(PutBack::Revoked(vec![pass])).await;
    assert_eq!(world.standing().await.active, 1, "one was given back, the other is another pass");
    let told = LogEntry { revoked: vec![pass, newer], ..LogEntry::default() };
    assert_eq!(world.log(4, 9).await, LogPage::Entries(vec![(5, told)]), "gates are told, and once");
    let turn = world.look(1).await;
    assert!(matches!(turn, Turn::Ended { reason: Reason::Completed, .. }), "{turn:?}");
    assert_eq!(world.look(2).await, Turn::Admitted(other));
    let revoked = world.store.revoked(&room()).await.expect("read");
    assert_eq!(revoked, [pass, newer], "and no gate takes it");
}

pub(super) async fn who_gave_a_pass_back_gets_no_other_where_a_copy_has_it_before_that(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=4).await;
    world.tick().await;
    let standing = world.reopen(7, 9, 4).await;
    assert_eq!((standing.called, standing.waiting), (2, 2), "a copy from before");
    // Two of them came in and left since.
    let pass = |number| Pass {
        number: PlaceNumber(number),
        issued_at: START + SECOND,
        expires_at: START + SECOND * 100,
    };
    world.put_back(PutBack::Revoked(vec![pass(1), pass(3), pass(5)])).await;
    for n in [1, 3] {
        let turn = world.look(n).await;
        assert!(matches!(turn, Turn::Ended { reason: Reason::Completed, .. }), "{n}: {turn:?}");
    }
    let standing = world.standing().await;
    assert_eq!((standing.called, standing.active, standing.waiting), (1, 0, 1));
    assert!(matches!(world.look(2).await, Turn::Admitted(_)));
    assert_eq!(world.look(4).await, waiting(4));
}

pub(super) async fn a_pass_that_was_prolonged_after_a_copy_keeps_its_end(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.tick().await;
    let Turn::Admitted(pass) = world.look(1).await else { panic!("inside") };
    let Turn::Admitted(other) = world.look(2).await else { panic!("inside") };
    assert_eq!(world.reopen(7, 9, 4).await.active, 2, "a copy from before");
    let prolonged = |pass: Pass| Pass { expires_at: pass.expires_at + SECOND * 30, ..pass };
    let newer = Pass { issued_at: other.issued_at + SECOND, ..prolonged(other) };
    // The last gate has not heard of it.
    for pass in [prolonged(pass), newer, pass] {
        let visitor = visitor(if pass.number == other.number { 2 } else { 1 });
        world.put_back(PutBack::Passes(vec![(visitor, pass)])).await;
    }
    assert_eq!(world.look(1).await, Turn::Admitted(prolonged(pass)));
    assert_eq!(world.look(2).await, Turn::Admitted(other), "that would be another pass");
    assert_eq!(world.standing().await.active, 2);
}

pub(super) async fn a_pass_counts_again_where_a_copy_has_its_holder_returning_or_out(mut world: World) {
    world.open(Settings { capacity: 2, ..settings() }).await;
    world.join_all(1..=4).await;
    // The first two miss their call, and one of them is back for a second.
    world.ticks(11).await;
    assert!(matches!(world.join(1).await, Turn::Returning { .. }), "{:?}", world.look(1).await);
    let standing = world.reopen(7, 9, 9).await;
    assert_eq!((standing.returning, standing.called), (1, 2), "a copy from before");
    let pass = |number| Pass {
        number: PlaceNumber(number),
        issued_at: START + SECOND * 11,
        expires_at: START + SECOND * 100,
    };
    world.put_back(PutBack::Passes(vec![(visitor(1), pass(1)), (visitor(2), pass(2))])).await;
    world.put_back(PutBack::Passes(vec![(visitor(2), pass(3))])).await;
    for n in [1, 2] {
        assert_eq!(world.look(n).await, Turn::Admitted(pass(u64::from(n))));
    }
    let standing = world.standing().await;
    assert_eq!((standing.active, standing.returning, standing.called, standing.waiting), (2, 0, 2, 0));
}

pub(super) async fn a_line_that_is_behind_is_brought_up_and_gives_no_number_twice(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=3).await;
    // A gate has seen six numbers, and number 2 admitted.
    let known = known(7, 7, 1);
    let report = world.store.admit(&room(), Some(&known)).await.expect("told");
    assert_eq!(
        (report.standing.admitted, report.standing.tick),
        (0, 0),
        "nobody is admitted from what is behind"
    );
    let standing = world.reopen(7, 7, 1).await;
    assert_eq!((standing.next.0, standing.recoveries, standing.waiting), (7, 1, 3));
    world.put_back(PutBack::Drop(vec![PlaceNumber(2)])).await;
    assert_eq!(world.come_back(5, 5).await, waiting(5));
    world.pass(SECOND * 20);
    world.join(9).await;
    assert_eq!(world.waiting().await, [1, 3, 5, 7]);
}

pub(super) async fn a_line_that_is_behind_gives_no_number_before_it_is_brought_up(mut world: World) {
    let join = async |world: &World, n, intent, known: &Known| {
        world.store.join(&room(), Some(known), &[(visitor(n), intent)]).await.expect("asked").remove(0)
    };
    world.open(settings()).await;
    world.join_all(1..=2).await;
    world.end(1, Reason::Left).await;
    assert_eq!(join(&world, 3, Intent::Join, &known(7, 3, 1)).await, waiting(3), "as it was, and not behind");
    assert_eq!(join(&world, 4, Intent::Join, &known(7, 3, 1)).await, waiting(4), "further by now");
    for known in [known(7, 6, 1), known(7, 5, 2), known(8, 5, 1)] {
        assert_eq!(join(&world, 5, Intent::Join, &known).await, Turn::Unknown, "nobody new: {known:?}");
        assert_eq!(join(&world, 1, Intent::Rejoin, &known).await, Turn::Unknown, "nor again: {known:?}");
        assert_eq!(
            join(&world, 2, Intent::Join, &known).await,
            waiting(2),
            "who has a place has it: {known:?}"
        );
    }
    assert_eq!(world.waiting().await, [2, 3, 4]);
    let frozen = Draw::new([7; 32], PlaceNumber(5), |_| true);
    let lot = Some(Lot { draw: Arc::new(frozen), turns: Vec::new(), whole: true });
    let drawn = Known { lot, ..known(7, 5, 1) };
    assert_eq!(join(&world, 5, Intent::Join, &drawn).await, Turn::Unknown, "it lost its draw");
    assert_eq!(join(&world, 5, Intent::Join, &known(7, 5, 1)).await, waiting(5));
}

pub(super) async fn no_number_is_given_after_an_outage_before_all_gates_were_heard(mut world: World) {
    let join = async |world: &World, n| {
        let joined = world.store.join(&room(), Some(&known(7, 3, 0)), &[(visitor(n), Intent::Join)]).await;
        joined.expect("asked").remove(0)
    };
    world.open(settings()).await;
    world.join_all(1..=2).await;
    // Number 3 may have been given by another gate, and be lost.
    world.pass(SECOND + Duration::from_millis(1));
    assert_eq!(join(&world, 3).await, Turn::Unknown);
    assert_eq!(join(&world, 1).await, waiting(1), "who has a place has it");
    world.pass(SECOND - Duration::from_millis(1));
    assert_eq!(join(&world, 3).await, Turn::Unknown);
    let standing = world.reopen(7, 4, 0).await;
    assert_eq!(standing.recoveries, 1, "the other gate tells");
    assert_eq!(world.come_back(4, 3).await, waiting(3));
    // Whole, and heard all the time.
    for _ in 0..20 {
        world.pass(SECOND);
        world.tick().await;
    }
    let at = START + SECOND * 22;
    assert_eq!(join(&world, 3).await, Turn::Waiting { number: PlaceNumber(4), joined_at: at });
}

pub(super) async fn an_outage_ends_with_a_call_for_nobody(mut world: World) {
    let join = async |world: &World| {
        let arrival = [(visitor(1), Intent::Join)];
        world.store.join(&room(), Some(&known(7, 1, 0)), &arrival).await.expect("asked").remove(0)
    };
    world.open(settings()).await;
    world.pass(SECOND * 2);
    assert!(world.join_all([]).await.is_empty());
    world.pass(SECOND / 2);
    assert_eq!(join(&world).await, Turn::Unknown);
    world.pass(SECOND / 2);
    assert!(matches!(join(&world).await, Turn::Waiting { .. }));
}

pub(super) async fn a_copy_that_lacks_only_a_claim_is_behind(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=3).await;
    let standing = world.tick().await;
    assert_eq!((standing.called, standing.waiting, standing.totals.claimed), (2, 1, 0), "a copy from before");
    world.pass(SECOND);
    // Another gate had heard that one of the two came in.
    let known = Known { claimed: 1, ..known(7, 4, 1) };
    let report = world.store.admit(&room(), Some(&known)).await.expect("told");
    assert_eq!((report.standing.admitted, report.standing.tick), (0, 1), "nobody is admitted from it");
    let joined = world.store.join(&room(), Some(&known), &[(visitor(4), Intent::Join)]).await;
    assert_eq!(joined.expect("asked"), [Turn::Unknown], "and nobody new joins");
    for _ in 0..2 {
        let standing = world.reopen_as(&known).await;
        assert_eq!((standing.recoveries, standing.totals.claimed), (1, 1), "once brought up it is as known");
    }
    let pass = Pass { number: PlaceNumber(1), issued_at: START, expires_at: START + SECOND * 100 };
    world.put_back(PutBack::Passes(vec![(visitor(1), pass)])).await;
    assert!(matches!(world.look(2).await, Turn::Admitted(_)), "the other comes in meanwhile");
    let standing = world.standing().await;
    assert_eq!((standing.called, standing.active, standing.totals.claimed), (0, 2, 2));
    for _ in 0..20 {
        world.pass(SECOND);
        world.store.make_room(&room()).await.expect("made room");
    }
    let report = world.store.admit(&room(), Some(&known)).await.expect("told");
    assert_eq!(report.standing.admitted, 1, "it stands again");
    assert_eq!(world.end(1, Reason::Left).await, Some(1));
    assert_eq!(world.store.revoked(&room()).await.expect("read"), [pass], "every gate is told");
    // Of a line that was cleared nothing is known of the next.
    world.store.clear(&room(), Epoch(9), Epoch(7)).await.expect("cleared");
    let standing = world.reopen_as(&known).await;
    assert_eq!((standing.epoch.0, standing.recoveries, standing.totals.claimed), (9, 0, 0));
}

pub(super) async fn a_line_that_nobody_lost_does_not_come_back(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=3).await;
    for (epoch, next, log_seq) in [(7, 4, 0), (7, 1, 0), (8, 99, 99)] {
        let standing = world.reopen(epoch, next, log_seq).await;
        assert_eq!((standing.epoch.0, standing.next.0, standing.recoveries), (7, 4, 0), "{epoch} {next}");
    }
    assert_eq!(world.come_back(8, 3).await, Turn::Unknown);
    world.put_back(PutBack::Drop(vec![PlaceNumber(1)])).await;
    assert_eq!(world.waiting().await, [1, 2, 3]);
}
