//! Opening, clearing, and all that is read of a room.

use usher::domain::id::{Epoch, PlaceNumber};
use usher::domain::line::{CHUNK, LOG_KEPT, Settings};
use usher::domain::place::{Reason, Turn};
use usher::store::{LogPage, Overrides};

use super::open_wide;
use crate::store::world::{SECOND, START, World, expect_no_room, room, settings, visitor};

pub(super) async fn a_room_must_be_opened(mut world: World) {
    expect_no_room(&*world.store, &room()).await;
    let standing = world.open(settings()).await;
    assert_eq!((standing.epoch, standing.next, standing.tick), (Epoch(7), PlaceNumber(1), 0));
    assert_eq!((standing.now, standing.due_at), (START, START));
    let elsewhere = "elsewhere".parse().expect("a room name");
    expect_no_room(&*world.store, &elsewhere).await;
}

pub(super) async fn opening_again_keeps_the_line(mut world: World) {
    world.open(settings()).await;
    world.join(1).await;
    let again = world.store.open(&room(), Epoch(8), &settings()).await.expect("opened").standing;
    assert_eq!((again.epoch, again.waiting), (Epoch(7), 1));
    world.open(Settings { max_waiting: Some(1), ..settings() }).await;
    assert_eq!(world.join(2).await, Turn::Full, "new limits are obeyed");
}

pub(super) async fn clearing_begins_a_new_line_with_the_same_limits(mut world: World) {
    world.open(settings()).await;
    world.change(Overrides { batch: Some(1), ..Overrides::default() }).await;
    world.join_all(1..=5).await;
    world.ticks(3).await;
    world.look(1).await;
    world.end(2, Reason::Left).await;
    world.store.clear(&room(), Epoch(99), Epoch(98)).await.expect("cleared");
    let report = world.store.open(&room(), Epoch(1), &settings()).await.expect("opened");
    assert_eq!((report.standing.epoch, report.standing.next), (Epoch(99), PlaceNumber(1)));
    assert_eq!(report.standing.former, [Epoch(7), Epoch(98)]);
    assert_eq!((report.standing.tick, report.standing.log_seq, report.standing.waiting), (0, 0, 0));
    assert_eq!((report.standing.active, report.standing.totals), (0, Default::default()));
    assert_eq!(world.look(1).await, Turn::Unknown);
    world.join_all(1..=3).await;
    assert_eq!(world.tick().await.admitted, 1, "the change stays");
}

pub(super) async fn a_number_has_one_holder(mut world: World) {
    world.open(Settings { capacity: 2, ..settings() }).await;
    world.join_all(1..=3).await;
    world.tick().await;
    world.look(1).await;
    let holder = async |n| world.store.holder(&room(), PlaceNumber(n)).await.expect("read");
    for n in 1..=3 {
        assert_eq!(holder(n).await, Some(visitor(n as u16)), "inside, called, waiting");
    }
    assert_eq!(holder(4).await, None);
    world.pass(SECOND * 10);
    world.look(2).await;
    assert_eq!(holder(2).await, Some(visitor(2)), "returning");
    world.end(1, Reason::Revoked).await;
    world.end(2, Reason::Revoked).await;
    assert_eq!((holder(1).await, holder(2).await), (None, None));
}

pub(super) async fn the_line_is_read_by_ranges(mut world: World) {
    world.open(settings()).await;
    world.join_all(1..=7).await;
    world.end(4, Reason::Left).await;
    let read = async |after, limit| {
        let read = world.store.waiting(&room(), PlaceNumber(after), limit).await.expect("read");
        read.into_iter().map(|number| number.0).collect::<Vec<_>>()
    };
    assert_eq!(read(0, 3).await, [1, 2, 3]);
    assert_eq!(read(3, 9).await, [5, 6, 7]);
    assert!(read(7, 9).await.is_empty());
    assert!(read(0, 0).await.is_empty());
}

pub(super) async fn a_trimmed_log_says_so(mut world: World) {
    world.open(settings()).await;
    assert_eq!(world.log(0, 9).await, LogPage::Entries(Vec::new()));
    for _ in 0..LOG_KEPT + 5 {
        world.rejoin(1).await;
        world.end(1, Reason::Left).await;
    }
    assert_eq!(world.log(4, 1).await, LogPage::Gap);
    assert_eq!(world.log(4, 0).await, LogPage::Gap);
    let LogPage::Entries(entries) = world.log(5, 2).await else { panic!("kept") };
    assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [6, 7]);
    let last = world.standing().await.log_seq;
    assert_eq!(world.log(last, 9).await, LogPage::Entries(Vec::new()));
    assert_eq!(world.log(last + 1, 9).await, LogPage::Gap, "ahead of the store: it lost something");
}

pub(super) async fn a_log_entry_has_five_hundred_numbers_at_most(mut world: World) {
    world.open(open_wide()).await;
    let crowd = CHUNK as u16 + 1;
    world.join_all(1..=crowd).await;
    world.tick().await;
    let LogPage::Entries(entries) = world.log(0, 9).await else { panic!("kept") };
    assert_eq!(entries.iter().map(|(_, entry)| entry.out.len()).collect::<Vec<_>>(), [CHUNK, 1]);
}
