//! The long wait of a visitor who only waits: its polls, one by one, without it.
//!
//! Each is asked of its gate, in its time, as the visitor would; only the visitor
//! itself is not woken for answers that it would sleep on after. Of a million who
//! wait most are between two such answers. Never judges: what is not plainly more
//! of the same ends it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Place;
use super::door::Kept;
use crate::swarm::gates::{Calm, Dozed, Reply};
use crate::swarm::history::{Asked, Exchange, Told};

/// Dozes until a poll is due whose answer only the store has, or one was answered
/// with something new; and what the visitor has then.
pub(super) async fn doze(place: Arc<Place>, kept: Kept, pause: Duration, lot: u64) -> (Dozed, Kept) {
    let dozer = Arc::new(Dozer { place, state: Mutex::new(State::new(kept, lot)) });
    dozer.place.world.set_timer(pause, Waker::from(Arc::clone(&dozer)));
    poll_fn(|context| {
        let state = &mut *dozer.state.lock();
        if state.is_over {
            return Poll::Ready((state.dozed(), state.kept));
        }
        state.sleeper = Some(context.waker().clone());
        Poll::Pending
    })
    .await
}

struct Dozer {
    place: Arc<Place>,
    state: Mutex<State>,
}

struct State {
    kept: Kept,
    rng: SmallRng,
    first: Option<Calm>,
    last: Option<Calm>,
    /// Whether there were others between those two.
    spans: bool,
    news: Option<Box<(Exchange, Reply)>>,
    is_over: bool,
    sleeper: Option<Waker>,
}

impl Wake for Dozer {
    fn wake(self: Arc<Self>) {
        let next = self.state.lock().poll(&self.place);
        match next {
            Next::After(pause) => self.place.world.set_timer(pause, Waker::from(Arc::clone(&self))),
            Next::Over(sleeper) => sleeper.into_iter().for_each(Waker::wake),
        }
    }
}

enum Next {
    After(Duration),
    Over(Option<Waker>),
}

impl State {
    fn new(kept: Kept, lot: u64) -> Self {
        let rng = SmallRng::seed_from_u64(lot);
        Self { kept, rng, first: None, last: None, spans: false, news: None, is_over: false, sleeper: None }
    }

    fn poll(&mut self, place: &Place) -> Next {
        let door = &place.doors[self.rng.random_range(0..place.doors.len())];
        let Some((reply, kept)) = door.poll_in_view(self.kept) else { return self.over() };
        let Reply::Status(standing) = &reply else { return self.over() };
        self.kept = kept;
        let now = place.clock.now();
        let told = Told::Status(standing.status);
        let exchange = Exchange { answered_at: now, told, ..Exchange::begun(now, Asked::Poll) };
        let before = self.last.or(self.first);
        let goes_on = before.is_none_or(|before| before.goes_on(&exchange));
        let Some(calm) = Calm::of(&exchange).filter(|_| goes_on) else {
            self.news = Some(Box::new((exchange, reply)));
            return self.over();
        };
        if self.first.is_none() {
            self.first = Some(calm);
        } else {
            self.spans = self.last.replace(calm).is_some();
        }
        Next::After(Duration::from_millis(standing.status.poll_after_ms.into()))
    }

    fn over(&mut self) -> Next {
        self.is_over = true;
        Next::Over(self.sleeper.take())
    }

    fn dozed(&mut self) -> Dozed {
        let last = self.last.map(|last| Exchange { spans: self.spans, ..last.exchange() });
        let mut polls: Vec<_> = self.first.map(|first| first.exchange()).into_iter().chain(last).collect();
        let reply = self.news.take().map(|news| {
            polls.push(news.0);
            news.1
        });
        Dozed { polls, reply }
    }
}
