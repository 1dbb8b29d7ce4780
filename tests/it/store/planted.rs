//! Stores with a planted bug: the cases and the comparison must each notice it.
//!
//! A check that cannot fail proves nothing. The bugs sit in a wrapper round the
//! model, one in a wrapper round the Redis store; the product has no hooks for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use usher::clock::{Clock, ManualClock};
use usher::domain::autotune::Word;
use usher::domain::binding::{Binding, Claim, Heard, Rotation};
use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber, RoomName, VisitorId};
use usher::domain::line::{Known, LogEntry, PutBack, Settings};
use usher::domain::pass::Pass;
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::Timestamp;
use usher::store::{LogPage, MemoryStore, Overrides, RedisStore, Report, Store, StoreError};

use super::cases;
use super::compare::compare;
use super::world::{SECOND, START, UNHURRIED, World, connected, fresh_prefix};
use crate::support::redis_server::{RedisServer, skipped};

/// Sequences within which the comparison must see a bug.
const SEQUENCES: u64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Who joins again goes to the tail.
    JoinIsNotIdempotent,
    /// Those who arrive together are taken last come, first served.
    ArrivalsAreReversed,
    /// A due tick admits two batches.
    TickActsTwice,
    /// Those who poll are evicted all the same.
    SignsOfLifeAreLost,
    /// A repeated claim makes a new pass.
    EveryLookIssuesAPass,
    /// Numbers leave the line and gates are not told.
    LogIsEmpty,
    /// A revoked pass goes on.
    RevocationsAreForgotten,
    /// The old line goes on.
    ClearDoesNothing,
    /// Expired passes keep their slots.
    RoomIsNeverMade,
    /// Nobody gets an old number again.
    LostPlacesStayLost,
    /// What gates remember of those who were out is not kept.
    WhoWasOutComesBack,
    /// A line that is behind what a gate knew gives numbers all the same.
    NumbersAreGivenTwice,
    /// Nobody waits for the opening.
    DoorsAreAlwaysOpen,
    /// The capacity stays however the app fares.
    EveryWordIsGood,
    /// A clock that is set takes the line with it.
    ClockIsBelieved,
    /// Redis keeps the oldest slice of signs of life only.
    SlicesAreForgotten,
    /// A place is taken from whoever has it, by whoever once was told of it.
    OldLinksWork,
    /// Who has another's number now is not told to gates that start.
    HandedIsForgotten,
    /// The order is that of arrival whatever is drawn.
    NothingIsDrawn,
    /// Each tick admits by arrival those that a gate did not name.
    TurnsAreForgotten,
    /// What was shown before is not known any more.
    GenerationsAreForgotten,
    /// Old copies of a pass are as good as new ones.
    EveryCopyIsGood,
}

const BUGS: [Bug; 22] = [
    Bug::JoinIsNotIdempotent,
    Bug::ArrivalsAreReversed,
    Bug::TickActsTwice,
    Bug::SignsOfLifeAreLost,
    Bug::EveryLookIssuesAPass,
    Bug::LogIsEmpty,
    Bug::RevocationsAreForgotten,
    Bug::ClearDoesNothing,
    Bug::RoomIsNeverMade,
    Bug::LostPlacesStayLost,
    Bug::WhoWasOutComesBack,
    Bug::NumbersAreGivenTwice,
    Bug::DoorsAreAlwaysOpen,
    Bug::EveryWordIsGood,
    Bug::ClockIsBelieved,
    Bug::SlicesAreForgotten,
    Bug::OldLinksWork,
    Bug::HandedIsForgotten,
    Bug::NothingIsDrawn,
    Bug::TurnsAreForgotten,
    Bug::GenerationsAreForgotten,
    Bug::EveryCopyIsGood,
];

/// Leaves one record in each field of signs of life, the one that ends first.
const FORGET_SLICES: &str = "
    for _, key in ipairs(redis.call('KEYS', '*:heard')) do
        for _, field in ipairs(redis.call('HKEYS', key)) do
            local kept, first, oldest = redis.call('HGET', key, field), math.huge, nil
            for i = 1, #kept, 70 do
                local ends = struct.unpack('>I6', kept, i)
                if ends < first then first, oldest = ends, kept:sub(i, i + 69) end
            end
            redis.call('HSET', key, field, oldest)
        end
    end";

#[tokio::test]
async fn the_cases_notice_every_planted_bug() {
    assert_eq!(failing_cases(Bug::None).await, [""; 0]);
    for bug in bugs() {
        let failing = failing_cases(bug).await;
        assert!(!failing.is_empty(), "no case notices {bug:?}");
        eprintln!("{bug:?}: {failing:?}");
    }
}

#[tokio::test]
async fn the_comparison_notices_every_planted_bug() {
    assert_eq!(first_difference(Bug::None).await, None);
    for bug in bugs() {
        assert!(first_difference(bug).await.is_some(), "no sequence notices {bug:?}");
    }
}

fn bugs() -> impl Iterator<Item = Bug> {
    let without_redis = skipped();
    BUGS.into_iter().filter(move |&bug| !without_redis || bug != Bug::SlicesAreForgotten)
}

/// The server that the store with this bug needs.
fn server(bug: Bug) -> Option<Arc<RedisServer>> {
    (bug == Bug::SlicesAreForgotten).then(|| Arc::new(RedisServer::start()))
}

async fn failing_cases(bug: Bug) -> Vec<&'static str> {
    let (mut failing, server) = (Vec::new(), server(bug));
    for &(name, case) in cases::ALL {
        let (store, clock) = Faulty::new(bug, server.clone()).await;
        if tokio::spawn(case(World::of(Arc::new(store), clock))).await.is_err() {
            failing.push(name);
        }
    }
    failing
}

async fn first_difference(bug: Bug) -> Option<u64> {
    let server = server(bug);
    for seed in 0..SEQUENCES {
        let (store, clock) = Faulty::new(bug, server.clone()).await;
        if compare(&store, &clock, seed).await.is_err() {
            return Some(seed);
        }
    }
    None
}

/// A clock whose monotonic time is set with the other.
struct OneClock(Arc<ManualClock>);

impl Clock for OneClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.now().since(Timestamp::default())
    }
}

/// A store with a bug: the model, or Redis where there is a server.
pub(crate) struct Faulty {
    bug: Bug,
    inner: Arc<dyn Store>,
    server: Option<Arc<RedisServer>>,
    /// The time the model sees; the bug may bend it.
    clock: Arc<ManualClock>,
}

impl Faulty {
    async fn new(bug: Bug, server: Option<Arc<RedisServer>>) -> (Self, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(START));
        let inner: Arc<dyn Store> = match (&server, bug) {
            (Some(server), _) => {
                let redis = connected(&server.url(), Some(UNHURRIED)).await;
                Arc::new(RedisStore::with_clock(redis, &fresh_prefix(), clock.clone()))
            }
            (None, Bug::ClockIsBelieved) => Arc::new(MemoryStore::new(Arc::new(OneClock(clock.clone())))),
            (None, _) => Arc::new(MemoryStore::new(clock.clone())),
        };
        (Self { bug, inner, server, clock: clock.clone() }, clock)
    }

    /// One that loses signs of life, in this time.
    pub(crate) fn deaf(clock: Arc<dyn Clock>) -> Self {
        Self {
            bug: Bug::SignsOfLifeAreLost,
            inner: Arc::new(MemoryStore::new(clock)),
            server: None,
            clock: Arc::new(ManualClock::at(START)),
        }
    }

    fn bent(&self, turn: Turn) -> Turn {
        match turn {
            Turn::Admitted(pass) if self.bug == Bug::EveryLookIssuesAPass => {
                Turn::Admitted(Pass { issued_at: self.clock.now(), ..pass })
            }
            turn => turn,
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn open(&self, room: &RoomName, epoch: Epoch, settings: &Settings) -> Result<Report, StoreError> {
        let open = Settings { opening: None, ..settings.clone() };
        let undrawn = Settings { draw: false, ..settings.clone() };
        let settings = match self.bug {
            Bug::DoorsAreAlwaysOpen => &open,
            Bug::NothingIsDrawn => &undrawn,
            _ => settings,
        };
        self.inner.open(room, epoch, settings).await
    }

    async fn reopen(
        &self,
        room: &RoomName,
        known: &Known,
        window: Duration,
        settings: &Settings,
    ) -> Result<Report, StoreError> {
        self.inner.reopen(room, known, window, settings).await
    }

    async fn come_back(
        &self,
        room: &RoomName,
        places: &[(VisitorId, PlaceNumber, Timestamp)],
    ) -> Result<Vec<Turn>, StoreError> {
        if self.bug == Bug::LostPlacesStayLost {
            let visitors: Vec<_> = places.iter().map(|(visitor, ..)| *visitor).collect();
            return self.inner.look(room, &visitors).await;
        }
        self.inner.come_back(room, places).await
    }

    async fn put_back(&self, room: &RoomName, back: &PutBack) -> Result<(), StoreError> {
        if self.bug == Bug::WhoWasOutComesBack {
            return self.inner.seen(room, &[]).await;
        }
        self.inner.put_back(room, back).await
    }

    async fn join(
        &self,
        room: &RoomName,
        known: Option<&Known>,
        arrivals: &[(VisitorId, Intent)],
    ) -> Result<Vec<Turn>, StoreError> {
        let mut arrivals = arrivals.to_vec();
        if self.bug == Bug::ArrivalsAreReversed {
            arrivals.reverse();
        }
        if self.bug == Bug::JoinIsNotIdempotent {
            for (visitor, intent) in &mut arrivals {
                self.inner.end(room, *visitor, Reason::Left).await?;
                *intent = Intent::Rejoin;
            }
        }
        let known = known.filter(|_| self.bug != Bug::NumbersAreGivenTwice);
        let mut turns = self.inner.join(room, known, &arrivals).await?;
        if self.bug == Bug::ArrivalsAreReversed {
            turns.reverse();
        }
        Ok(turns)
    }

    async fn look(&self, room: &RoomName, visitors: &[VisitorId]) -> Result<Vec<Turn>, StoreError> {
        let turns = self.inner.look(room, visitors).await?;
        Ok(turns.into_iter().map(|turn| self.bent(turn)).collect())
    }

    async fn seen(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Result<(), StoreError> {
        let signs = if self.bug == Bug::SignsOfLifeAreLost { &[] } else { signs };
        self.inner.seen(room, signs).await?;
        if let Some(server) = &self.server {
            server.command(&["EVAL", FORGET_SLICES, "0"]);
        }
        Ok(())
    }

    async fn make_room(&self, room: &RoomName) -> Result<(), StoreError> {
        if self.bug == Bug::RoomIsNeverMade {
            return self.inner.seen(room, &[]).await;
        }
        self.inner.make_room(room).await
    }

    async fn admit(&self, room: &RoomName, known: Option<&Known>) -> Result<Report, StoreError> {
        let mut told = known.cloned();
        if let Some(lot) = told.as_mut().and_then(|known| known.lot.as_mut())
            && self.bug == Bug::TurnsAreForgotten
        {
            (lot.turns, lot.whole) = (Vec::new(), true);
        }
        let known = told.as_ref();
        let first = self.inner.admit(room, known).await?;
        if self.bug == Bug::TickActsTwice && first.standing.admitted > 0 {
            self.clock.advance(SECOND);
            let second = self.inner.admit(room, known).await;
            self.clock.set_back(SECOND);
            return second;
        }
        Ok(first)
    }

    async fn draw(&self, room: &RoomName, draw: &Draw) -> Result<(), StoreError> {
        self.inner.draw(room, draw).await
    }

    async fn drawn(&self, room: &RoomName) -> Result<Option<Draw>, StoreError> {
        self.inner.drawn(room).await
    }

    async fn end(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        reason: Reason,
    ) -> Result<Option<PlaceNumber>, StoreError> {
        self.inner.end(room, visitor, reason).await
    }

    async fn extend(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        by: Duration,
    ) -> Result<Option<Pass>, StoreError> {
        self.inner.extend(room, visitor, by).await
    }

    async fn show(
        &self,
        room: &RoomName,
        shown: &[(VisitorId, Timestamp, u64)],
        rotation: Rotation,
    ) -> Result<Vec<Option<Heard>>, StoreError> {
        if self.bug == Bug::GenerationsAreForgotten {
            let now = self.clock.now();
            let heard = |&(.., shown): &(_, _, u64)| Binding::new(shown, now).show(shown, now, rotation);
            return Ok(shown.iter().map(|shown| Some(heard(shown))).collect());
        }
        self.inner.show(room, shown, rotation).await
    }

    async fn claim_again(
        &self,
        room: &RoomName,
        visitor: VisitorId,
        shown: Option<u64>,
        rotation: Rotation,
    ) -> Result<Option<Claim>, StoreError> {
        if self.bug == Bug::EveryCopyIsGood {
            return Ok(Some(Claim::Given(shown.unwrap_or(1))));
        }
        self.inner.claim_again(room, visitor, shown, rotation).await
    }

    async fn hand_over(
        &self,
        room: &RoomName,
        from: VisitorId,
        number: PlaceNumber,
        to: VisitorId,
    ) -> Result<Option<Turn>, StoreError> {
        let handed = self.inner.hand_over(room, from, number, to).await?;
        if self.bug == Bug::OldLinksWork
            && handed.is_none()
            && let Some(holder) = self.inner.holder(room, number).await?
        {
            return self.inner.hand_over(room, holder, number, to).await;
        }
        Ok(handed)
    }

    async fn handed(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<(PlaceNumber, VisitorId)>, StoreError> {
        let handed = self.inner.handed(room, after, limit).await?;
        Ok(if self.bug == Bug::HandedIsForgotten { Vec::new() } else { handed })
    }

    async fn holder(&self, room: &RoomName, number: PlaceNumber) -> Result<Option<VisitorId>, StoreError> {
        self.inner.holder(room, number).await
    }

    async fn log(&self, room: &RoomName, seq: u64, limit: usize) -> Result<LogPage, StoreError> {
        let page = self.inner.log(room, seq, limit).await?;
        Ok(match page {
            LogPage::Entries(entries) if self.bug == Bug::LogIsEmpty => {
                LogPage::Entries(entries.into_iter().map(|(seq, _)| (seq, LogEntry::default())).collect())
            }
            page => page,
        })
    }

    async fn waiting(
        &self,
        room: &RoomName,
        after: PlaceNumber,
        limit: usize,
    ) -> Result<Vec<PlaceNumber>, StoreError> {
        self.inner.waiting(room, after, limit).await
    }

    async fn revoked(&self, room: &RoomName) -> Result<Vec<Pass>, StoreError> {
        let revoked = self.inner.revoked(room).await?;
        Ok(if self.bug == Bug::RevocationsAreForgotten { Vec::new() } else { revoked })
    }

    async fn set_overrides(&self, room: &RoomName, overrides: &Overrides) -> Result<(), StoreError> {
        self.inner.set_overrides(room, overrides).await
    }

    async fn hear(&self, room: &RoomName, word: Word) -> Result<(), StoreError> {
        let word = if self.bug == Bug::EveryWordIsGood { Word::Well } else { word };
        self.inner.hear(room, word).await
    }

    async fn clear(&self, room: &RoomName, epoch: Epoch, known: Epoch) -> Result<(), StoreError> {
        if self.bug == Bug::ClearDoesNothing {
            return self.inner.seen(room, &[]).await;
        }
        self.inner.clear(room, epoch, known).await
    }
}
