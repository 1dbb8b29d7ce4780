//! Visitors on their way to the store, many in one call.
//!
//! While one call is under way the next group gathers, so the store is asked
//! as often as it can answer and no oftener, and arrival order is kept.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::{Room, recovery};
use crate::domain::id::{PlaceNumber, VisitorId};
use crate::domain::place::{Intent, Turn};
use crate::domain::time::Timestamp;
use crate::store::StoreError;

/// Visitors in one call, at most.
const GROUP: usize = 500;
/// Visitors on their way at once; more are told that the store is away.
const IN_FLIGHT: usize = 100_000;
/// Newcomers remembered through an outage.
const REMEMBERED: usize = 1_000_000;

type Answer = Result<Turn, StoreError>;

/// What a visitor wants of the store.
#[derive(Clone, Copy)]
pub(super) enum Wish {
    Look,
    /// In; a newcomer brought no place: an outage must not cost it its turn to join.
    Join(Intent, bool),
    /// Its place again, taken then, while the line comes back.
    ComeBack(PlaceNumber, Timestamp),
}

struct Arrival {
    visitor: VisitorId,
    wish: Wish,
    answer: oneshot::Sender<Answer>,
    _under_way: UnderWay,
}

/// Counts an arrival until it is answered, whether or not anybody still waits.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The visitors on their way.
#[derive(Default)]
pub(super) struct Arrivals {
    queue: Mutex<VecDeque<Arrival>>,
    some: Notify,
    under_way: Arc<AtomicUsize>,
    /// Newcomers of an outage, in arrival order.
    missed: Mutex<Missed>,
}

#[derive(Default)]
struct Missed {
    order: VecDeque<(VisitorId, Intent)>,
    known: HashSet<VisitorId>,
}

impl Missed {
    fn remember(&mut self, visitor: VisitorId, intent: Intent) {
        if self.order.len() < REMEMBERED && self.known.insert(visitor) {
            self.order.push_back((visitor, intent));
        }
    }

    fn take(&mut self, most: usize) -> Vec<(VisitorId, Intent)> {
        let taken: Vec<_> = self.order.drain(..most.min(self.order.len())).collect();
        for (visitor, _) in &taken {
            self.known.remove(visitor);
        }
        taken
    }

    fn put_back(&mut self, group: Vec<(VisitorId, Intent)>) {
        for (visitor, intent) in group.into_iter().rev() {
            if self.known.insert(visitor) {
                self.order.push_front((visitor, intent));
            }
        }
    }
}

impl Arrivals {
    /// Sends a visitor and waits for the answer.
    pub(super) async fn send(&self, visitor: VisitorId, wish: Wish) -> Answer {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(&self.under_way));
        if before >= IN_FLIGHT {
            return Err(StoreError::Away("too many are on their way".into()));
        }
        let (answer, answered) = oneshot::channel();
        let arrival = Arrival { visitor, wish, answer, _under_way: under_way };
        self.queue.lock().push_back(arrival);
        self.some.notify_one();
        answered.await.unwrap_or_else(|_| Err(StoreError::Away("the gate is stopping".into())))
    }

    async fn group(&self) -> Vec<Arrival> {
        loop {
            {
                let mut queue = self.queue.lock();
                if !queue.is_empty() {
                    let most = GROUP.min(queue.len());
                    return queue.drain(..most).collect();
                }
            }
            self.some.notified().await;
        }
    }
}

/// Serves arrivals for ever.
pub(super) async fn run(room: &Room) {
    loop {
        let group = room.arrivals.group().await;
        let view = room.view();
        // A line that somebody's place tells of comes first, too.
        let degraded = view.degraded || room.memory.is_told();
        let rebuilding = view.rebuilding;
        drop(view);
        if !degraded {
            serve(room, group).await;
            continue;
        }
        // While the line comes back only those who had a place are served.
        let (served, refused): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|a| rebuilding && !matches!(a.wish, Wish::Join(..)));
        refuse(room, refused, &StoreError::Away("no answer yet".into()));
        serve(room, served).await;
    }
}

/// Enqueues the newcomers of an outage; false while the line takes none yet.
pub(super) async fn catch_up(room: &Room) -> Result<bool, StoreError> {
    loop {
        let group = room.arrivals.missed.lock().take(GROUP);
        if group.is_empty() {
            return Ok(true);
        }
        let turns = match join(room, &group).await {
            Ok(turns) => turns,
            Err(why) => {
                room.arrivals.missed.lock().put_back(group);
                return Err(why);
            }
        };
        let missed = group.into_iter().zip(turns).filter(|(_, turn)| *turn == Turn::Unknown);
        let missed: Vec<_> = missed.map(|(arrival, _)| arrival).collect();
        if !missed.is_empty() {
            room.arrivals.missed.lock().put_back(missed);
            return Ok(false);
        }
    }
}

/// Asks for numbers of a line that is not behind what this gate knows of it: after a
/// failover this may meet a copy from before sooner than the tick does.
async fn join(room: &Room, arrivals: &[(VisitorId, Intent)]) -> Result<Vec<Turn>, StoreError> {
    let known = recovery::seen(room, &room.view());
    let turns = room.store.join(&room.config().name, known.as_ref(), arrivals).await?;
    let given = turns.iter().filter_map(|turn| match turn {
        Turn::Waiting { number, .. } => Some(*number),
        Turn::Admitted(pass) => Some(pass.number),
        _ => None,
    });
    if let Some((known, last)) = known.zip(given.max()) {
        room.memory.saw(known.epoch, last);
    }
    Ok(turns)
}

/// What those are told who can have no place yet.
fn line_first() -> StoreError {
    StoreError::Away("the line comes back first".into())
}

/// Answers a group by three calls at most: those who look, those who had a place,
/// then those who join, after those who came during an outage, for they were here
/// first.
async fn serve(room: &Room, group: Vec<Arrival>) {
    let name = room.config().name.clone();
    let (looking, group): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|arrival| matches!(arrival.wish, Wish::Look));
    let visitors: Vec<_> = looking.iter().map(|a| a.visitor).collect();
    if !visitors.is_empty() {
        let turns = room.store.look(&name, &visitors).await;
        answer(room, looking, turns);
    }
    let (returning, joining): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|arrival| matches!(arrival.wish, Wish::ComeBack(..)));
    let place = |arrival: &Arrival| match arrival.wish {
        Wish::ComeBack(number, joined_at) => Some((arrival.visitor, number, joined_at)),
        _ => None,
    };
    let places: Vec<_> = returning.iter().filter_map(place).collect();
    if !places.is_empty() {
        let turns = room.store.come_back(&name, &places).await;
        answer(room, returning, turns);
    }
    if joining.is_empty() {
        return;
    }
    match catch_up(room).await {
        Ok(true) => {}
        Ok(false) => return refuse(room, joining, &line_first()),
        Err(why) => return refuse(room, joining, &why),
    }
    let wishes: Vec<_> =
        joining.iter().filter_map(|a| a.wish.intent().map(|intent| (a.visitor, intent))).collect();
    let turns = join(room, &wishes).await;
    answer(room, joining, turns);
}

impl Wish {
    /// How to join after an outage; `None` = not.
    fn intent(self) -> Option<Intent> {
        match self {
            Self::Look => None,
            Self::Join(intent, _) => Some(intent),
            Self::ComeBack(..) => Some(Intent::Join),
        }
    }
}

fn answer(room: &Room, group: Vec<Arrival>, turns: Result<Vec<Turn>, StoreError>) {
    let turns = match turns {
        Ok(turns) => turns,
        Err(why) => return refuse(room, group, &why),
    };
    for (arrival, turn) in group.into_iter().zip(turns) {
        if let Turn::Admitted(pass) = turn {
            room.memory.is_inside(arrival.visitor, pass);
        }
        // Nobody who wants in is unknown afterwards, but while the line comes back.
        if turn == Turn::Unknown && !matches!(arrival.wish, Wish::Look) {
            if let Some(intent) = arrival.wish.intent() {
                room.arrivals.missed.lock().remember(arrival.visitor, intent);
            }
            let _ = arrival.answer.send(Err(line_first()));
            continue;
        }
        // The visitor may have gone away meanwhile; its place stands.
        let _ = arrival.answer.send(Ok(turn));
    }
}

fn refuse(room: &Room, group: Vec<Arrival>, why: &StoreError) {
    if matches!(why, StoreError::Away(_)) {
        let mut missed = room.arrivals.missed.lock();
        for arrival in &group {
            if let Wish::Join(intent, true) = arrival.wish {
                missed.remember(arrival.visitor, intent);
            }
        }
    }
    for arrival in group {
        let _ = arrival.answer.send(Err(why.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISITOR: VisitorId = VisitorId::from_bytes([7; 16]);

    fn under_way(arrivals: &Arrivals) -> usize {
        arrivals.under_way.load(Ordering::Relaxed)
    }

    /// A visitor that goes away while it waits for its answer.
    async fn give_up(arrivals: &Arrivals) {
        tokio::select! {
            biased;
            answer = arrivals.send(VISITOR, Wish::Join(Intent::Join, true)) => panic!("{answer:?}"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn who_goes_away_is_counted_until_the_store_has_been_asked_and_no_longer() {
        let arrivals = Arrivals::default();
        for _ in 0..3 {
            give_up(&arrivals).await;
        }
        assert_eq!(under_way(&arrivals), 3, "the store will still be asked");
        for arrival in arrivals.group().await {
            let _ = arrival.answer.send(Ok(Turn::Unknown));
        }
        assert_eq!(under_way(&arrivals), 0);
    }

    #[tokio::test]
    async fn too_many_at_once_are_refused_and_not_counted() {
        let arrivals = Arrivals::default();
        arrivals.under_way.store(IN_FLIGHT, Ordering::Relaxed);
        for _ in 0..3 {
            let refused = arrivals.send(VISITOR, Wish::Look).await;
            assert!(matches!(refused, Err(StoreError::Away(_))), "{refused:?}");
            assert_eq!(under_way(&arrivals), IN_FLIGHT);
        }
        arrivals.under_way.store(0, Ordering::Relaxed);
    }
}
