//! One step at a time, over the store in memory, with a log that can fail.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use async_trait::async_trait;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config;
use crate::domain::autotune::Word;
use crate::domain::binding::{Claim, Heard, Rotation};
use crate::domain::draw::Draw;
use crate::domain::id::{Epoch, RoomName, VisitorId};
use crate::domain::line::{Known, PutBack, Settings};
use crate::domain::pass::Pass;
use crate::domain::place::{Intent, Reason, Turn};
use crate::domain::time::Timestamp;
use crate::queue::{Arrived, Caller, How, Presented, SealedPlace};
use crate::store::{MemoryStore, Overrides, Store};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_store_is_asked_no_oftener_than_a_tick_and_the_log_need() {
    let pause = |ms| pause_until(Duration::from_millis(ms)).as_millis();
    assert_eq!([1_000, 995, 501, 500, 100, 0].map(pause), [500, 497, 250, 500, 100, 5]);
    assert_eq!(pause(3_600_000), 500);
}

/// The store in memory, whose log is away after so many more reads, which counts
/// how often room is made, and may give no answer to those who join.
struct Faulty {
    lines: MemoryStore,
    reads_left: AtomicUsize,
    rooms_made: AtomicUsize,
    is_silent: AtomicBool,
}

#[async_trait]
impl Store for Faulty {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        self.lines.open(room, epoch, settings).await
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        self.lines.reopen(room, known, window, settings).await
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        self.lines.come_back(room, places).await
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        self.lines.put_back(room, back).await
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        if self.is_silent.load(Ordering::Relaxed) {
            return Err(StoreError::Away("as the test asked".into()));
        }
        self.lines.join(room, known, arrivals).await
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        self.lines.look(room, visitors).await
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        self.lines.seen(room, signs).await
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        self.rooms_made.fetch_add(1, Ordering::Relaxed);
        self.lines.make_room(room).await
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        self.lines.admit(room, known).await
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        self.lines.draw(room, draw).await
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        self.lines.drawn(room).await
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        self.lines.end(room, visitor, reason).await
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        self.lines.extend(room, visitor, by).await
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        self.lines.show(room, shown, rotation).await
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        self.lines.claim_again(room, visitor, shown, rotation).await
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        self.lines.hand_over(room, from, number, to).await
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        self.lines.handed(room, after, limit).await
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        self.lines.holder(room, number).await
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        let less = |left: usize| left.checked_sub(1);
        if self.reads_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err() {
            return Err(StoreError::Away("as the test asked".into()));
        }
        self.lines.log(room, seq, limit).await
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        self.lines.waiting(room, after, limit).await
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        self.lines.revoked(room).await
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        self.lines.set_overrides(room, overrides).await
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        self.lines.hear(room, word).await
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        self.lines.clear(room, epoch, known).await
    }
}

/// A room whose driver is stepped by hand.
struct World {
    room: Arc<Room>,
    store: Arc<Faulty>,
    clock: Arc<ManualClock>,
    state: State,
}

impl World {
    fn new(settings: &str) -> Self {
        let tick = if settings.contains("tick") { "" } else { "tick = \"1s\"" };
        let text = format!("[[room]]\nupstreams = [\"http://127.0.0.1:1\"]\n{tick}\n{settings}\n");
        let config = config::load_text("test", &text, []).expect("valid").rooms.remove(0);
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let lines = MemoryStore::new(clock.clone());
        let (reads_left, rooms_made) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
        let store = Arc::new(Faulty { lines, reads_left, rooms_made, is_silent: AtomicBool::new(false) });
        let room = Room::new(config, store.clone(), clock.clone(), [7; 32]);
        Self { room, store, clock, state: State::default() }
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        step(&self.room, &mut self.state).await.map(drop)
    }

    async fn join(&self, visitors: impl Iterator<Item = u64>) {
        let name = self.room.config().name.clone();
        let arrivals: Vec<_> = visitors.map(|n| (visitor(n), Intent::Join)).collect();
        self.store.join(&name, None, &arrivals).await.expect("joined");
    }
}

fn visitor(n: u64) -> VisitorId {
    VisitorId::from_bytes(u128::from(n).to_be_bytes())
}

#[tokio::test]
async fn a_log_read_that_fails_half_way_is_made_up_for_without_a_gap() {
    let leavers = 3 * ENTRIES as u64;
    // One inside from the first: whoever leaves does so from the line.
    let mut world = World::new("capacity = 1\nbatch = 1");
    world.step().await.expect("opened");
    world.join(0..1).await;
    world.clock.advance(SECOND);
    world.step().await.expect("a tick");
    world.join(1..leavers + 3).await;
    world.step().await.expect("everybody stands");
    let name = world.room.config().name.clone();
    for n in 1..=leavers {
        world.store.end(&name, visitor(n), Reason::Left).await.expect("left").expect("a place");
    }
    let last = PlaceNumber(leavers + 3);
    for pages in [1, 2] {
        world.store.reads_left.store(pages, Ordering::Relaxed);
        assert!(world.step().await.is_err(), "the log is away after {pages} pages");
        assert_eq!(world.room.view().rank.ahead(last), leavers + 1, "nothing is half read");
    }
    world.store.reads_left.store(usize::MAX, Ordering::Relaxed);
    world.step().await.expect("back");
    assert_eq!(world.room.view().rank.ahead(last), 1, "every leaver is out");
}

#[tokio::test]
async fn room_is_made_before_each_tick_and_once_a_second_between() {
    for (tick, rounds, made) in [("1s", 40, 10..=12), ("200ms", 40, 40..=41), ("10s", 80, 20..=21)] {
        let mut world = World::new(&format!("tick = \"{tick}\""));
        for _ in 0..rounds {
            world.step().await.expect("a round");
            world.clock.advance(SECOND / 4);
        }
        let seen = world.store.rooms_made.load(Ordering::Relaxed);
        assert!(made.contains(&seen), "{seen} times, ticks of {tick}");
    }
}

#[tokio::test]
async fn a_revoked_pass_is_remembered_until_it_would_have_ended() {
    let mut world = World::new("pass_ttl = \"60s\"\nclaim_window = \"30s\"\npass_max = \"90s\"");
    world.step().await.expect("opened");
    let name = world.room.config().name.clone();
    world.join(0..1).await;
    world.clock.advance(SECOND);
    world.step().await.expect("a tick");
    let turns = world.store.look(&name, &[visitor(0)]).await.expect("looked");
    let Turn::Admitted(pass) = turns[0] else { panic!("{turns:?}") };
    let epoch = world.room.view().epoch;
    let is_good = |world: &World| world.room.admits(epoch, &pass, world.clock.now());
    assert!(is_good(&world));
    world.room.end(visitor(0), Some(&pass), Reason::Left).await.expect("ended").expect("a place");
    for _ in 0..89 {
        world.clock.advance(SECOND);
        world.step().await.expect("a tick");
        assert!(!is_good(&world));
        assert_eq!(world.room.revoked.len(), 1, "it might have been prolonged elsewhere");
    }
    for _ in 0..65 {
        world.clock.advance(SECOND);
        world.step().await.expect("a tick");
    }
    assert!(world.room.revoked.is_empty(), "it is over by itself");
    assert!(!is_good(&world));
}

/// Joins through the gate, which serves while it waits.
async fn arrive(world: &World, n: u64) -> Result<Turn, StoreError> {
    tokio::select! {
        answer = world.room.join(visitor(n), Intent::Join, true) => answer,
        () = arrivals::run(&world.room) => unreachable!("it runs for ever"),
    }
}

#[tokio::test]
async fn a_copy_from_before_gives_no_number_again_and_who_asked_for_one_is_not_forgotten() {
    let mut world = World::new("capacity = 1\nbatch = 1\npoll = { min = \"0s\", max = \"2s\" }");
    world.step().await.expect("opened");
    let number = async |world: &World, n| match arrive(world, n).await {
        Ok(Turn::Waiting { number, .. }) => number.0,
        turn => panic!("{turn:?}"),
    };
    for n in 1..=3 {
        assert_eq!(number(&world, n).await, n, "nobody shows it again");
    }
    let seen = recovery::seen(&world.room, &world.room.view()).expect("this line");
    assert_eq!(seen.next, PlaceNumber(4), "it counts all the same");
    // Six more were given, and between two ticks the store falls back to before that.
    world.room.memory.saw(seen.epoch, PlaceNumber(9));
    assert_eq!(number(&world, 1).await, 1, "who has a place there has it");
    for n in [4, 5] {
        let answer = arrive(&world, n).await;
        assert!(matches!(answer, Err(StoreError::Away(_))), "{answer:?}");
    }
    world.step().await.expect("a tick");
    assert!(world.room.is_coming_back(), "the gate notices by itself");
    for _ in 0..8 {
        world.clock.advance(SECOND);
        world.step().await.expect("a tick");
    }
    assert!(!world.room.is_coming_back());
    let numbers = [number(&world, 6).await, number(&world, 5).await, number(&world, 4).await];
    assert_eq!(numbers, [12, 11, 10], "in the order in which they first came");
}

#[tokio::test]
async fn an_outage_that_is_over_holds_up_only_those_who_want_a_number() {
    let mut world = World::new("capacity = 1\nbatch = 1");
    world.step().await.expect("opened");
    world.join(0..2).await;
    world.clock.advance(SECOND * 2);
    let answer = arrive(&world, 4).await;
    assert!(matches!(answer, Err(StoreError::Away(_))), "not yet: {answer:?}");
    world.step().await.expect("a tick");
    let view = world.room.view().clone();
    assert!(!view.degraded && view.standing.as_ref().is_some_and(|s| s.called == 1), "the store is there");
    world.clock.advance(SECOND);
    world.step().await.expect("a tick");
    let found = world.store.look(&world.room.config().name.clone(), &[visitor(4)]).await.expect("looked");
    assert!(matches!(found[..], [Turn::Waiting { number: PlaceNumber(3), .. }]), "by itself: {found:?}");
}

#[tokio::test]
async fn a_copy_that_lacks_only_a_claim_is_noticed_and_the_pass_counts_again() {
    let mut world = World::new("capacity = 1\nbatch = 1\npoll = { min = \"0s\", max = \"2s\" }");
    world.step().await.expect("opened");
    world.join(0..2).await;
    world.clock.advance(SECOND);
    world.step().await.expect("a tick, by which one is called");
    let copy = world.store.lines.lines();
    let Ok(Turn::Admitted(pass)) = arrive(&world, 0).await else { panic!("called") };
    world.clock.advance(SECOND);
    world.step().await.expect("a tick, by which the claim is known");
    assert!(!world.room.is_coming_back(), "nothing is lost yet");
    world.store.lines.replace(copy);
    world.step().await.expect("a round");
    assert!(world.room.is_coming_back(), "the gate notices by itself");
    for _ in 0..6 {
        world.clock.advance(SECOND);
        world.step().await.expect("a round");
    }
    assert!(!world.room.is_coming_back());
    let standing = world.room.view().standing.clone().expect("heard");
    assert_eq!((standing.called, standing.active, standing.waiting), (0, 1, 1));
    assert_eq!((standing.recoveries, standing.totals.claimed), (1, 1), "lost once, claimed once");
    world.room.end(visitor(0), Some(&pass), Reason::Left).await.expect("ended").expect("a place");
    let told = world.store.revoked(&world.room.config().name.clone()).await.expect("read");
    assert_eq!(told, [pass], "every gate is told");
}

#[tokio::test]
async fn a_pass_that_ended_at_another_gate_is_dead_here_while_the_line_comes_back() {
    let mut world = World::new("capacity = 9\nbatch = 9\npoll = { min = \"0s\", max = \"30s\" }");
    world.step().await.expect("opened");
    world.join(1..4).await;
    world.clock.advance(SECOND);
    world.step().await.expect("a tick");
    let (name, epoch) = (world.room.config().name.clone(), world.room.view().epoch);
    let turns = world.store.look(&name, &[1, 2, 3].map(visitor)).await.expect("looked");
    let passes: Vec<_> = turns
        .into_iter()
        .map(|turn| if let Turn::Admitted(pass) = turn { pass } else { panic!("{turn:?}") })
        .collect();
    world.step().await.expect("a tick");
    let good =
        |world: &World| passes.iter().filter(|p| world.room.admits(epoch, p, world.clock.now())).count();
    assert_eq!(good(&world), 3);
    // Another gate knew more of the log, of which the store has nothing any more.
    let standing = world.store.admit(&name, None).await.expect("a report").standing;
    let settings = world.room.view().settings.clone();
    let (next, log_seq) = (standing.next, standing.log_seq + 2);
    let known = Known { epoch, next, log_seq, claimed: 0, recoveries: 0, lot: None };
    world.store.reopen(&name, &known, SECOND * 60, &settings).await.expect("reopened");
    for (ended, pass) in passes.iter().enumerate() {
        assert_eq!(good(&world), 3 - ended);
        world.store.put_back(&name, &PutBack::Revoked(vec![*pass])).await.expect("told");
        world.step().await.expect("a round");
        assert!(world.room.is_coming_back());
        assert_eq!(good(&world), 2 - ended, "at the next round");
    }
}

#[tokio::test]
async fn what_is_told_without_an_answer_of_the_store_says_so() {
    let mut world = World::new("capacity = 1\nbatch = 1");
    world.step().await.expect("opened");
    world.join(0..1).await;
    world.clock.advance(SECOND);
    world.step().await.expect("a tick, by which it is called");
    let (now, epoch) = (world.clock.now(), world.room.view().epoch);
    let place = Presented { epoch, number: PlaceNumber(1), joined_at: now, position: 1, first: 1 };
    let place = Some(SealedPlace { visitor: visitor(0), place, seen_at: now });
    let caller = Caller { visitor: visitor(0), place, pass: None };
    for is_silent in [true, false] {
        world.store.is_silent.store(is_silent, Ordering::Relaxed);
        let room = &world.room;
        let arrived = tokio::select! {
            arrived = room.arrive(&caller, How::Join, now, || 0.5, || true) => arrived,
            () = arrivals::run(room) => unreachable!("it runs for ever"),
        };
        assert!(!room.view().degraded, "it has not noticed yet");
        assert_eq!(arrived.is_stale(), is_silent, "{arrived:?}");
        assert_eq!(matches!(arrived, Arrived::Admitted(_)), !is_silent, "{arrived:?}");
    }
}

#[tokio::test]
async fn what_an_operator_changes_is_not_undone_by_a_report_from_before() {
    let mut world = World::new("capacity = 5");
    world.step().await.expect("opened");
    let name = world.room.config().name.clone();
    let before = world.room.changes();
    let report = world.store.admit(&name, None).await.expect("a report");
    world.room.override_with(|overrides| overrides.capacity = Some(7)).await.expect("changed");
    let rank = Arc::clone(&world.room.view().rank);
    publish(&world.room, &mut world.state, report, rank, before);
    assert_eq!(world.room.view().settings.capacity, 7);
    world.step().await.expect("a tick");
    assert_eq!(world.room.view().settings.capacity, 7);
}

#[tokio::test]
async fn a_copy_that_lacks_the_last_moments_is_waited_for_less_long_than_an_empty_store() {
    let mut world = World::new("poll = { min = \"2s\", max = \"10s\" }");
    let name = world.room.config().name.clone();
    world.step().await.expect("opened");
    let empty = world.store.admit(&name, None).await.expect("a report").standing;
    let (mut window, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        world.clock.advance(SECOND);
        world.step().await.expect("a tick");
        copies.push(world.store.admit(&name, None).await.expect("a report").standing);
    }
    let other = Standing { epoch: Epoch(1), ..copies[29].clone() };
    let unborn = Standing { tick: 0, ..empty };
    for found in [None, Some(&unborn), Some(&other), Some(&copies[2]), Some(&copies[12]), Some(&copies[29])] {
        window.push(recovery::window(&world.room, found).as_secs());
    }
    assert_eq!(window, [20, 20, 20, 20, 11, 11]);
}

#[tokio::test]
async fn while_the_store_is_away_those_far_back_ask_at_their_own_pace() {
    let mut world = World::new("batch = 1\npoll = { min = \"2s\", max = \"30s\" }");
    world.step().await.expect("opened");
    degrade(&world.room, &mut world.state, &StoreError::Away("for a test".into()));
    let pause = |position| world.room.while_away(position, 0.5);
    assert_eq!(pause(1), SECOND * 2, "the next one");
    assert_eq!(pause(10_000), SECOND * 45 / 2, "not at the front's pace: half way from 15 s to 30");
    assert_eq!(pause(0), SECOND * 4, "whose position is not known");
}

#[test]
fn signs_of_life_go_out_soon_after_the_start_and_then_once_an_interval() {
    let (mut sent_at, mut sent) = (Duration::ZERO, Vec::new());
    for now in (0..=120).map(Duration::from_secs) {
        if signs_are_due(sent_at, now, SECOND * 30) {
            sent_at = now;
            sent.push(now.as_secs());
        }
    }
    assert_eq!(sent, [1, 2, 4, 8, 16, 32, 62, 92]);
    assert!(
        signs_are_due(Duration::ZERO, SECOND / 6, SECOND / 6),
        "a short interval is kept to from the first"
    );
}
