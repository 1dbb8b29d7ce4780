//! Random operations on a line, made from a seed before any of them runs.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use usher::clock::{Clock, ManualClock};
use usher::domain::autotune::Word;
use usher::domain::binding::{Heard, Rotation};
use usher::domain::draw::Draw;
use usher::domain::id::{Epoch, PlaceNumber, VisitorId};
use usher::domain::line::{Known, Lot, PutBack, Settings};
use usher::domain::opening::{Opening, Rescheduled};
use usher::domain::pass::Pass;
use usher::domain::place::{Intent, Reason, Turn};
use usher::domain::time::Timestamp;
use usher::store::{Overrides, Report, Store, StoreError};

use super::world::{START, room, visitor};

const OPERATIONS: usize = 200;
const VISITORS: u16 = 24;
/// Ids beside them that take places.
const TAKERS: u16 = 40;
/// Numbers that may have been given out by then.
const NUMBERS: u64 = 60;

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Pass(Duration),
    SetBack(Duration),
    SetForward(Duration),
    Open(Settings),
    Join(Vec<(VisitorId, Intent)>),
    /// Through a gate that knew the line up to here.
    JoinFor(Known, Vec<(VisitorId, Intent)>),
    Look(Vec<VisitorId>),
    /// Number, and ms by which the time it was seen is before (or after) now.
    Seen(Vec<(PlaceNumber, i64)>),
    MakeRoom,
    Admit,
    /// By a gate that knew the line up to here.
    AdmitFor(Known),
    /// With this secret, among those who wait when the line is frozen.
    Draw(u8),
    Drawn,
    /// By a gate that knows so many of those whose turn is next, or all.
    AdmitDrawn(usize, bool),
    End(VisitorId, Reason),
    Extend(VisitorId, Duration),
    /// A generation of the pass that a visitor has, if any; and as if it were of another pass.
    Show(VisitorId, u64, Rotation),
    ClaimAgain(VisitorId, Option<u64>, Rotation),
    /// By who has the number to one visitor, then again to another.
    HandOver(PlaceNumber, [VisitorId; 2]),
    Handed(PlaceNumber, usize),
    Holder(PlaceNumber),
    Log(u64, usize),
    Waiting(PlaceNumber, usize),
    Revoked,
    Change(Overrides),
    Hear(Word),
    /// How far a gate knew the line, and the window.
    Reopen(Known, Duration, Settings),
    ComeBack(Vec<(VisitorId, PlaceNumber, Timestamp)>),
    PutBack(PutBack),
    Clear(Epoch),
}

/// The sequence that a seed stands for.
pub(crate) fn plan(seed: u64) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let grid_ms = [1, 250, 500][random.random_range(0..3)];
    let mut dice = Dice { random, grid_ms, no_gap: Duration::ZERO };
    let mut steps = vec![Step::Open(dice.settings())];
    while steps.len() < OPERATIONS {
        dice.pause(&mut steps);
        dice.steps(&mut steps);
    }
    steps
}

impl Step {
    /// Does it, and says what came of it.
    pub(crate) async fn run(&self, store: &dyn Store, clock: &ManualClock) -> String {
        let told = |answer: &dyn std::fmt::Debug| format!("{answer:?}");
        let room = &room();
        match self {
            Self::Pass(_) | Self::SetBack(_) | Self::SetForward(_) => String::new(),
            Self::Open(settings) => told(&store.open(room, Epoch(3), settings).await),
            Self::Join(arrivals) => told(&store.join(room, None, arrivals).await),
            Self::JoinFor(known, arrivals) => told(&store.join(room, Some(known), arrivals).await),
            Self::Look(visitors) => told(&store.look(room, visitors).await),
            Self::Seen(signs) => {
                let at = |ago: i64| clock.now().as_millis().saturating_add_signed(-ago);
                let sign = |&(number, ago)| (number, Timestamp::from_millis(at(ago)));
                told(&store.seen(room, &signs.iter().map(sign).collect::<Vec<_>>()).await)
            }
            Self::MakeRoom => told(&store.make_room(room).await),
            Self::Admit => told(&store.admit(room, None).await),
            Self::AdmitFor(known) => told(&store.admit(room, Some(known)).await),
            Self::Draw(secret) => told(&draw(store, *secret).await),
            Self::Drawn => {
                told(&store.drawn(room).await.map(|draw| draw.map(|draw| (draw.secret, draw.entries))))
            }
            Self::AdmitDrawn(most, whole) => told(&admit_drawn(store, *most, *whole).await),
            Self::End(visitor, reason) => told(&store.end(room, *visitor, *reason).await),
            Self::Extend(visitor, by) => told(&store.extend(room, *visitor, *by).await),
            Self::Show(visitor, generation, rotation) => {
                told(&show(store, *visitor, *generation, *rotation).await)
            }
            Self::ClaimAgain(visitor, shown, rotation) => {
                told(&store.claim_again(room, *visitor, *shown, *rotation).await)
            }
            Self::HandOver(number, takers) => {
                let from = store.holder(room, *number).await.ok().flatten().unwrap_or(takers[1]);
                let mut turns = Vec::new();
                for &to in takers {
                    turns.push(store.hand_over(room, from, *number, to).await);
                }
                told(&turns)
            }
            Self::Handed(after, limit) => told(&store.handed(room, *after, *limit).await),
            Self::Holder(number) => told(&store.holder(room, *number).await),
            Self::Log(after, limit) => told(&store.log(room, *after, *limit).await),
            Self::Waiting(after, limit) => told(&store.waiting(room, *after, *limit).await),
            Self::Revoked => told(&store.revoked(room).await),
            Self::Hear(word) => told(&store.hear(room, *word).await),
            Self::Change(changes) => told(&store.set_overrides(room, changes).await),
            Self::Reopen(known, window, settings) => {
                told(&store.reopen(room, known, *window, settings).await)
            }
            Self::ComeBack(places) => told(&store.come_back(room, places).await),
            Self::PutBack(back) => told(&store.put_back(room, back).await),
            Self::Clear(epoch) => told(&store.clear(room, *epoch, Epoch(3)).await),
        }
    }
}

/// Of the pass that the visitor has, and of one that was issued a moment later.
async fn show(
    store: &dyn Store,
    visitor: VisitorId,
    generation: u64,
    rotation: Rotation,
) -> Result<Vec<Option<Heard>>, StoreError> {
    let issued_at = match store.look(&room(), &[visitor]).await?[..] {
        [Turn::Admitted(pass)] => pass.issued_at,
        _ => START,
    };
    let shown = [issued_at, issued_at + Duration::from_millis(1)].map(|at| (visitor, at, generation));
    store.show(&room(), &shown, rotation).await
}

async fn draw(store: &dyn Store, secret: u8) -> Result<Option<Draw>, StoreError> {
    let Some(next) = store.admit(&room(), None).await?.standing.frozen else { return Ok(None) };
    let waiting = store.waiting(&room(), PlaceNumber(0), 20_000).await?;
    let draw = Draw::new([secret; 32], next, |number| waiting.contains(&number));
    store.draw(&room(), &draw).await?;
    Ok(Some(draw))
}

async fn admit_drawn(store: &dyn Store, most: usize, whole: bool) -> Result<Report, StoreError> {
    let report = store.admit(&room(), None).await?;
    let Some(draw) = store.drawn(&room()).await? else { return Ok(report) };
    let waiting = store.waiting(&room(), PlaceNumber(0), 20_000).await?;
    let order = draw.order();
    let mut turns = waiting;
    turns.retain(|&number| number >= draw.next || order.rank(number).is_some());
    turns.sort_unstable_by_key(|&number| order.rank(number).unwrap_or(number.0 + 1_000));
    turns.truncate(most);
    let standing = report.standing;
    let known = Known {
        epoch: standing.epoch,
        next: standing.next,
        log_seq: standing.log_seq,
        claimed: standing.totals.claimed,
        recoveries: 0,
        lot: Some(Lot { draw: Arc::new(draw), turns, whole }),
    };
    store.admit(&room(), Some(&known)).await
}

/// All that can be read of a line.
pub(crate) fn everything(settings: &Settings) -> Vec<Step> {
    let mut steps = vec![
        Step::Open(settings.clone()),
        Step::Log(0, usize::MAX),
        Step::Waiting(PlaceNumber(0), 20_000),
        Step::Revoked,
        Step::Handed(PlaceNumber(0), 20_000),
        Step::Drawn,
    ];
    steps.extend((1..=NUMBERS).map(|number| Step::Holder(PlaceNumber(number))));
    let rotation = Rotation { every: Duration::from_secs(1) };
    steps.extend((0..VISITORS + TAKERS).map(|n| Step::Show(visitor(n), 0, rotation)));
    steps.push(Step::Look((0..VISITORS + TAKERS).map(visitor).collect()));
    steps.push(Step::Open(settings.clone()));
    steps
}

struct Dice {
    random: StdRng,
    /// All times are multiples of it: the coarser, the more meet exactly.
    grid_ms: u64,
    /// Between two calls that keep the room in service.
    no_gap: Duration,
}

impl Dice {
    fn upto(&mut self, most: u64) -> u64 {
        self.random.random_range(0..=most)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.upto(n - 1) == 0
    }

    fn ms(&mut self, least: u64, most: u64) -> Duration {
        let ms = self.random.random_range(least..=most);
        Duration::from_millis((ms / self.grid_ms * self.grid_ms).max(least))
    }

    fn some(&mut self, most: u64) -> Option<u64> {
        let n = self.upto(most);
        (!self.one_in(3)).then_some(n)
    }

    fn visitor(&mut self) -> VisitorId {
        visitor(self.random.random_range(0..VISITORS))
    }

    /// Mostly an id that never had a place.
    fn taker(&mut self) -> VisitorId {
        visitor(self.random.random_range(VISITORS..VISITORS + TAKERS))
    }

    fn few<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.upto(3)).map(|_| one(self)).collect()
    }

    fn settings(&mut self) -> Settings {
        let pass_ttl = self.ms(1_000, 60_000);
        let idle_timeout = self.ms(1_000, 40_000);
        self.no_gap = idle_timeout / 7;
        Settings {
            capacity: 1 + self.upto(6),
            batch: 1 + self.upto(4),
            tick: self.ms(50, 2_500),
            rate_per_minute: self.some(12).filter(|&rate| rate > 0),
            max_waiting: self.some(15).filter(|&most| most > 0),
            pass_ttl,
            pass_max: pass_ttl + self.ms(0, 60_000),
            idle_timeout,
            claim_window: self.ms(1_000, 15_000),
            grace_reentry: self.ms(0, 30_000),
            paused: self.one_in(20),
            closed: self.one_in(20),
            draining: self.one_in(20),
            overflow: self.one_in(4),
            opening: self.one_in(6).then(|| self.opening()),
            draw: self.one_in(4),
            autotune: self.one_in(2),
        }
    }

    fn opening(&mut self) -> Opening {
        let [at, gather_from] = [240, 120].map(|s| START + self.ms(0, s * 1_000));
        Opening { at, gather_from }
    }

    /// Of the opening that the settings may have, or of another.
    fn reschedule(&mut self) -> Rescheduled {
        let set = self.one_in(2).then(|| self.opening());
        Rescheduled::new(set, START + self.ms(0, 240_000))
    }

    fn changes(&mut self) -> Overrides {
        let flag = |dice: &mut Self| dice.one_in(4).then(|| dice.one_in(4));
        Overrides {
            revision: self.upto(3),
            capacity: self.some(8),
            batch: self.some(6),
            rate_per_minute: self.some(20),
            max_waiting: self.some(20),
            pass_ttl: self.one_in(2).then(|| self.ms(1_000, 60_000)),
            paused: flag(self),
            closed: flag(self),
            sold_out: flag(self),
            draining: flag(self),
            bypass: flag(self),
            opening: self.one_in(6).then(|| self.reschedule()),
            message: self.one_in(2).then(|| "잠시 후 시작합니다 — soon".repeat(1 + self.upto(3) as usize)),
        }
    }

    fn rotation(&mut self) -> Rotation {
        Rotation { every: self.ms(500, 9_000) }
    }

    fn reason(&mut self) -> Reason {
        [Reason::Left, Reason::Revoked, Reason::Completed][self.upto(2) as usize]
    }

    /// Time between two operations: mostly little, sometimes an outage, and now
    /// and then somebody sets the clock.
    fn pause(&mut self, steps: &mut Vec<Step>) {
        let pause = match self.upto(199) {
            0..=99 => return,
            100..=169 => self.ms(1, 1_500),
            170..=189 => self.ms(1_500, 12_000),
            190..=196 => self.ms(12_000, 60_000),
            197 => self.ms(3_500_000, 3_700_000),
            198 => {
                let by = self.ms(1, 3_600_000);
                return steps.push(Step::SetBack(by));
            }
            _ => {
                let by = self.ms(1, 3_600_000);
                return steps.push(Step::SetForward(by));
            }
        };
        steps.push(Step::Pass(pause));
    }

    fn steps(&mut self, steps: &mut Vec<Step>) {
        let step = match self.upto(199) {
            0..=5 => return self.service(steps),
            6..=55 => {
                steps.push(Step::MakeRoom);
                if self.one_in(2) { Step::Admit } else { self.drawing() }
            }
            56..=57 => Step::MakeRoom,
            58..=59 => Step::Hear(if self.one_in(3) { Word::Well } else { Word::Unwell }),
            60 => Step::Admit,
            61 => Step::Drawn,
            62..=63 => Step::AdmitFor(self.known()),
            64..=99 => Step::Join(self.few(|dice| (dice.visitor(), Intent::Join))),
            100..=103 => Step::JoinFor(self.known(), self.few(|dice| (dice.visitor(), Intent::Rejoin))),
            104..=113 => Step::Join(self.few(|dice| (dice.visitor(), Intent::Rejoin))),
            114..=130 => Step::Look(self.few(Self::visitor)),
            131..=138 => Step::Show(self.visitor(), self.upto(6), self.rotation()),
            139..=143 => Step::ClaimAgain(self.visitor(), self.some(6), self.rotation()),
            144..=159 => Step::Seen(self.few(Self::sign)),
            160..=169 => Step::End(self.visitor(), self.reason()),
            170..=171 => Step::HandOver(PlaceNumber(self.upto(NUMBERS)), [self.taker(), self.taker()]),
            172..=178 => Step::Extend(self.visitor(), self.ms(0, 90_000)),
            179..=182 => Step::Holder(PlaceNumber(self.upto(NUMBERS))),
            183 => Step::HandOver(PlaceNumber(self.upto(NUMBERS)), [self.taker(), self.taker()]),
            184 => Step::Handed(PlaceNumber(self.upto(NUMBERS)), self.upto(9) as usize),
            185..=187 => Step::Log(self.upto(40), self.upto(9) as usize),
            188..=190 => Step::Waiting(PlaceNumber(self.upto(NUMBERS)), self.upto(9) as usize),
            191..=192 => Step::Revoked,
            193..=195 => Step::Change(self.changes()),
            196..=197 => Step::Open(self.settings()),
            198 => return self.loss(steps),
            _ => Step::Clear(Epoch(self.upto(u64::MAX))),
        };
        steps.push(step);
    }

    /// A gate finds that the store is behind, and what it knows is put back.
    fn loss(&mut self, steps: &mut Vec<Step>) {
        let known = self.known();
        let window = self.ms(0, 20_000);
        steps.push(Step::Reopen(known, window, self.settings()));
        for _ in 0..self.random.random_range(4..=14) {
            let step = match self.upto(9) {
                0..=3 => Step::ComeBack(self.few(|dice| {
                    let at = START.as_millis() + dice.upto(90_000);
                    (dice.visitor(), PlaceNumber(dice.upto(NUMBERS)), Timestamp::from_millis(at))
                })),
                4..=7 => Step::PutBack(self.memory()),
                8 => Step::Join(self.few(|dice| (dice.visitor(), Intent::Join))),
                _ => Step::Admit,
            };
            steps.push(step);
        }
    }

    fn known(&mut self) -> Known {
        Known {
            epoch: Epoch(if self.one_in(4) { 4 } else { 3 }),
            next: PlaceNumber(self.upto(NUMBERS)),
            log_seq: self.upto(30),
            claimed: self.upto(9),
            recoveries: self.upto(2),
            lot: self.one_in(4).then(|| self.lot()),
        }
    }

    fn lot(&mut self) -> Lot {
        let next = PlaceNumber(1 + self.upto(NUMBERS));
        let draw = Arc::new(Draw::new([self.random.random(); 32], next, |number| number.0 % 3 > 0));
        Lot { draw, turns: Vec::new(), whole: self.one_in(2) }
    }

    fn drawing(&mut self) -> Step {
        match self.upto(3) {
            0 => Step::Draw(self.random.random()),
            _ => Step::AdmitDrawn(self.upto(6) as usize, self.one_in(4)),
        }
    }

    fn memory(&mut self) -> PutBack {
        match self.upto(5) {
            5 => PutBack::Handed(self.few(|dice| (PlaceNumber(1 + dice.upto(NUMBERS)), dice.visitor()))),
            4 => PutBack::Revoked(self.few(|dice| {
                let [issued_at, expires_at] = [0, 30_000]
                    .map(|least| Timestamp::from_millis(START.as_millis() + least + dice.upto(120_000)));
                Pass { number: PlaceNumber(1 + dice.upto(NUMBERS)), issued_at, expires_at }
            })),
            0 => PutBack::Drop(self.few(|dice| PlaceNumber(dice.upto(NUMBERS)))),
            1 => PutBack::Passes(self.few(|dice| {
                let [issued_at, expires_at] = [0, 30_000]
                    .map(|least| Timestamp::from_millis(START.as_millis() + least + dice.upto(120_000)));
                (dice.visitor(), Pass { number: PlaceNumber(1 + dice.upto(NUMBERS)), issued_at, expires_at })
            })),
            _ => PutBack::Out {
                below: PlaceNumber(if self.one_in(3) { self.upto(NUMBERS) } else { 0 }),
                from: PlaceNumber(self.upto(4) * 8),
                bits: self.few(|dice| dice.random.random()),
            },
        }
    }

    /// A while without an outage, in which the silent are evicted.
    fn service(&mut self, steps: &mut Vec<Step>) {
        for _ in 0..self.random.random_range(4..=11) {
            steps.push(Step::Pass(self.no_gap));
            if self.one_in(2) {
                steps.push(Step::Seen(self.few(Self::sign)));
            }
            steps.extend([Step::MakeRoom, Step::Admit]);
        }
    }

    fn sign(&mut self) -> (PlaceNumber, i64) {
        let number = PlaceNumber(self.upto(NUMBERS));
        (number, self.random.random_range(-5_000..=20_000))
    }
}
