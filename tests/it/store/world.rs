//! A room in a store, with a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use usher::clock::ManualClock;
use usher::domain::autotune::Word;
use usher::domain::binding::{Claim, Heard, Rotation};
use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use usher::domain::line::{Known, PutBack, Settings, Standing};
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::Timestamp;
use usher::redis::{ConnectError, Redis};
use usher::store::{LogPage, MemoryStore, Overrides, RedisStore, Store, StoreError};

use crate::support::redis_server::RedisServer;
use crate::support::wait::until;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Where the tests' time begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Six of these in a pass of [`settings`].
pub(crate) const ROTATION: Rotation = Rotation { every: Duration::from_secs(10) };

/// Bound on a call where its time is not what is tested, on a busy machine.
pub(crate) const UNHURRIED: Duration = Duration::from_secs(60);
/// Bound on a wait for what comes by itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A Redis that is there; connecting takes its time on a busy machine.
pub(crate) async fn connected(url: &str, call_timeout: Option<Duration>) -> Redis {
    until("a connection", DEADLINE, async || {
        let made = match call_timeout {
            Some(timeout) => Redis::connect_with(url, timeout).await,
            None => Redis::connect(url).await,
        };
        match made {
            Err(ConnectError::Away(_)) => None,
            made => Some(made.expect("fit")),
        }
    })
    .await
}

/// Small limits, so that every rule is met soon.
pub(crate) fn settings() -> Settings {
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

/// For tests whose time is Redis's: nothing happens in them by itself.
pub(crate) fn patient() -> Settings {
    let long = SECOND * 3_600;
    Settings { idle_timeout: long, claim_window: long, pass_ttl: long, pass_max: long, ..settings() }
}

pub(crate) fn visitor(n: u16) -> VisitorId {
    let mut bytes = [0x5a; 16];
    // The high byte first: many share all but the last bits.
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    VisitorId::from_bytes(bytes)
}

pub(crate) fn number(turn: &Turn) -> u64 {
    match *turn {
        Turn::Waiting { number, .. } | Turn::Returning { number, .. } | Turn::Ended { number, .. } => {
            number.0
        }
        Turn::Admitted(pass) => pass.number.0,
        Turn::Unknown | Turn::Full | Turn::Closed => panic!("{turn:?} has no number"),
    }
}

pub(crate) fn room() -> RoomName {
    "main".parse().expect("a room name")
}

/// A prefix that no other test has.
pub(crate) fn fresh_prefix() -> String {
    format!("test-{:016x}", rand::random::<u64>())
}

/// A store, its clock, and the server it may need.
pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    settings: Settings,
    _server: Option<RedisServer>,
}

impl World {
    pub(crate) fn memory() -> Self {
        let clock = Arc::new(ManualClock::at(START));
        Self::of(Arc::new(MemoryStore::new(clock.clone())), clock)
    }

    /// `None` when the tests that need Redis are left out.
    pub(crate) async fn redis() -> Option<Self> {
        if crate::support::redis_server::skipped() {
            return None;
        }
        let server = RedisServer::start();
        let clock = Arc::new(ManualClock::at(START));
        let redis = connected(&server.url(), Some(UNHURRIED)).await;
        let store = RedisStore::with_clock(redis, &fresh_prefix(), clock.clone());
        Some(Self { _server: Some(server), ..Self::of(Arc::new(store), clock) })
    }

    /// The same room in another store.
    pub(crate) fn of(store: Arc<dyn Store>, clock: Arc<ManualClock>) -> Self {
        Self { store, clock, settings: settings(), _server: None }
    }

    /// Opens the room.
    pub(crate) async fn open(&mut self, settings: Settings) -> Standing {
        self.settings = settings;
        self.standing().await
    }

    /// Opening again tells how the line stands and changes nothing.
    pub(crate) async fn standing(&self) -> Standing {
        self.store.open(&room(), Epoch(7), &self.settings).await.expect("opened").standing
    }

    /// A gate that knew the line up to here opens the room.
    pub(crate) async fn reopen(&self, epoch: u64, next: u64, log_seq: u64) -> Standing {
        let (epoch, next) = (Epoch(epoch), PlaceNumber(next));
        self.reopen_as(&Known { epoch, next, log_seq, claimed: 0, recoveries: 0, lot: None }).await
    }

    pub(crate) async fn reopen_as(&self, known: &Known) -> Standing {
        self.store.reopen(&room(), known, SECOND * 20, &self.settings).await.expect("opened").standing
    }

    /// A visitor shows the number it had.
    pub(crate) async fn come_back(&self, n: u16, number: u64) -> Turn {
        let place = (visitor(n), PlaceNumber(number), START);
        self.store.come_back(&room(), &[place]).await.expect("looked").remove(0)
    }

    pub(crate) async fn put_back(&self, back: PutBack) {
        self.store.put_back(&room(), &back).await.expect("put back");
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) async fn arrive(&self, n: u16, intent: Intent) -> Turn {
        self.store.join(&room(), None, &[(visitor(n), intent)]).await.expect("joined").remove(0)
    }

    pub(crate) async fn join(&self, n: u16) -> Turn {
        self.arrive(n, Intent::Join).await
    }

    pub(crate) async fn rejoin(&self, n: u16) -> Turn {
        self.arrive(n, Intent::Rejoin).await
    }

    /// Many at once, in this order.
    pub(crate) async fn join_all(&self, visitors: impl IntoIterator<Item = u16>) -> Vec<Turn> {
        let arrivals: Vec<_> = visitors.into_iter().map(|n| (visitor(n), Intent::Join)).collect();
        self.store.join(&room(), None, &arrivals).await.expect("joined")
    }

    pub(crate) async fn look(&self, n: u16) -> Turn {
        self.store.look(&room(), &[visitor(n)]).await.expect("looked").remove(0)
    }

    pub(crate) async fn end(&self, n: u16, reason: Reason) -> Option<u64> {
        self.store.end(&room(), visitor(n), reason).await.expect("ended").map(|number| number.0)
    }

    /// `to` takes `from`'s place.
    pub(crate) async fn hand_over(&self, from: u16, number: u64, to: u16) -> Option<Turn> {
        let handed = self.store.hand_over(&room(), visitor(from), PlaceNumber(number), visitor(to)).await;
        handed.expect("asked")
    }

    pub(crate) async fn handed(&self) -> Vec<(PlaceNumber, VisitorId)> {
        self.store.handed(&room(), PlaceNumber(0), 20_000).await.expect("read")
    }

    /// A visitor shows a generation of the pass that it has.
    pub(crate) async fn show(&self, n: u16, generation: u64) -> Option<Heard> {
        let Turn::Admitted(pass) = self.look(n).await else { return None };
        let shown = (visitor(n), pass.issued_at, generation);
        self.store.show(&room(), &[shown], ROTATION).await.expect("shown").remove(0)
    }

    /// A visitor claims its pass again, with this generation or none.
    pub(crate) async fn claim_again(&self, n: u16, shown: Option<u64>) -> Option<Claim> {
        self.store.claim_again(&room(), visitor(n), shown, ROTATION).await.expect("claimed")
    }

    pub(crate) async fn seen(&self, signs: &[(u64, Timestamp)]) {
        let signs: Vec<_> = signs.iter().map(|&(number, at)| (PlaceNumber(number), at)).collect();
        self.store.seen(&room(), &signs).await.expect("seen");
    }

    /// Both halves of a tick.
    pub(crate) async fn tick(&self) -> Standing {
        self.store.make_room(&room()).await.expect("made room");
        self.store.admit(&room(), None).await.expect("admitted").standing
    }

    /// A tick at once and one after each of so many seconds.
    pub(crate) async fn ticks(&self, seconds: u32) -> Standing {
        let mut standing = self.tick().await;
        for _ in 0..seconds {
            self.pass(SECOND);
            standing = self.tick().await;
        }
        standing
    }

    pub(crate) async fn waiting(&self) -> Vec<u64> {
        let waiting = self.store.waiting(&room(), PlaceNumber(0), 20_000).await.expect("read");
        waiting.into_iter().map(|number| number.0).collect()
    }

    pub(crate) async fn log(&self, after: u64, limit: usize) -> LogPage {
        self.store.log(&room(), after, limit).await.expect("read")
    }

    /// All numbers that left the line, in the order in which they did.
    pub(crate) async fn out(&self) -> Vec<u64> {
        match self.log(0, usize::MAX).await {
            LogPage::Entries(entries) => {
                entries.into_iter().flat_map(|(_, entry)| entry.out).map(|number| number.0).collect()
            }
            LogPage::Gap => panic!("the log has a gap"),
        }
    }

    pub(crate) async fn change(&self, overrides: Overrides) {
        self.store.set_overrides(&room(), &overrides).await.expect("changed");
    }
}

/// What every operation answers when the room is not there.
pub(crate) async fn expect_no_room(store: &dyn Store, room: &RoomName) {
    let gone = Err(StoreError::NoRoom);
    let number = PlaceNumber(1);
    assert_eq!(store.join(room, None, &[(visitor(1), Intent::Join)]).await.map(drop), gone);
    assert_eq!(store.join(room, None, &[]).await.map(drop), gone);
    assert_eq!(store.look(room, &[visitor(1)]).await.map(drop), gone);
    assert_eq!(store.seen(room, &[(number, START)]).await, gone);
    assert_eq!(store.make_room(room).await, gone);
    assert_eq!(store.admit(room, None).await.map(drop), gone);
    let draw = Draw::new([0; 32], number, |_| false);
    assert_eq!(store.draw(room, &draw).await, gone);
    assert_eq!(store.drawn(room).await.map(drop), gone);
    assert_eq!(store.end(room, visitor(1), Reason::Left).await.map(drop), gone);
    assert_eq!(store.extend(room, visitor(1), SECOND).await.map(drop), gone);
    assert_eq!(store.show(room, &[(visitor(1), START, 1)], ROTATION).await.map(drop), gone);
    assert_eq!(store.show(room, &[], ROTATION).await.map(drop), gone);
    assert_eq!(store.claim_again(room, visitor(1), None, ROTATION).await.map(drop), gone);
    assert_eq!(store.hand_over(room, visitor(1), number, visitor(2)).await.map(drop), gone);
    assert_eq!(store.handed(room, PlaceNumber(0), 1).await.map(drop), gone);
    assert_eq!(store.holder(room, number).await.map(drop), gone);
    assert_eq!(store.log(room, 0, 1).await.map(drop), gone);
    assert_eq!(store.waiting(room, PlaceNumber(0), 1).await.map(drop), gone);
    assert_eq!(store.revoked(room).await.map(drop), gone);
    assert_eq!(store.hear(room, Word::Well).await, gone);
    assert_eq!(store.set_overrides(room, &Overrides::default()).await, gone);
    assert_eq!(store.come_back(room, &[(visitor(1), number, START)]).await.map(drop), gone);
    assert_eq!(store.put_back(room, &PutBack::Drop(vec![number])).await, gone);
    assert_eq!(store.clear(room, Epoch(9), Epoch(9)).await, gone);
}
