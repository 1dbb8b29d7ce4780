//! A visitor's way to the gates, over a bad network and a balancer, with the
//! tokens that gates gave it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt;
use tokio::sync::oneshot;
use usher::config::Keys;
use usher::domain::id::{PlaceNumber, RoomName, VisitorId};
use usher::domain::pass::Pass;
use usher::domain::time::Timestamp;
use usher::gate::ring::Ring;
use usher::queue::SealedPass;
use usher::rehearsal::door::{Door, Kept};
use usher::swarm::gates::{Failure, Gates, Page, Reply, Who};
use usher::swarm::history::{Asked, State};

use super::Bug;
use super::fleet::{Fleet, Gate};
use super::wire::Weather;

const SECOND: Duration = Duration::from_secs(1);
/// A visitor waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a visitor carries, as a browser keeps cookies.
#[derive(Clone, Default)]
pub struct Carried {
    visitor: Option<String>,
    place: Option<String>,
    pass: Option<String>,
}

/// The gates' keys at one time, and one that they retired, which leaked.
pub struct Rings {
    gates: Ring,
    retired: Ring,
    is_retired_believed: bool,
}

impl Rings {
    /// After so many rotations of the keys.
    pub fn new(rotations: u8, room: &RoomName, bug: Option<Bug>) -> Self {
        let key = |n: u8| [n; 32];
        let keys = Keys { current: key(rotations + 2), previous: Some(key(rotations + 1)) };
        let retired = Keys { current: key(rotations), previous: None };
        Self {
            gates: Ring::new(&keys, room.clone()),
            retired: Ring::new(&retired, room.clone()),
            is_retired_believed: bug == Some(Bug::AcceptsRetiredKeys),
        }
    }

    /// What a gate believes of it.
    fn open(&self, carried: &Carried, now: Timestamp) -> Kept {
        let tokens = [&carried.visitor, &carried.place, &carried.pass].map(Option::as_deref);
        let (visitor, place, pass) = self.gates.open(tokens, now);
        if self.is_retired_believed && visitor.is_none() {
            let (visitor, place, pass) = self.retired.open(tokens, now);
            return Kept { visitor, place, pass };
        }
        Kept { visitor, place, pass }
    }

    /// What a visitor carries after an answer that changed what it has.
    fn seal(&self, carried: Carried, before: Kept, after: Kept, now: Timestamp) -> Carried {
        let ring = &self.gates;
        let Carried { mut visitor, mut place, mut pass } = carried;
        if after.visitor != before.visitor {
            visitor = after.visitor.map(|id| ring.visitor(id, now));
        }
        if after.place != before.place {
            place = after.place.map(|sealed| ring.place(&sealed));
        }
        if after.pass != before.pass {
            pass = after.pass.map(|sealed| ring.pass(&sealed));
        }
        Carried { visitor, place, pass }
    }

    /// A pass that somebody made who has the retired key.
    fn forge(&self, door: &Door, number: u64) -> Carried {
        let (now, epoch) = (door.room().now(), door.room().view().epoch);
        let pass = Pass { number: PlaceNumber(number), issued_at: now, expires_at: now + SECOND * 20 };
        let sealed = SealedPass { visitor: VisitorId::from_bytes([0xff; 16]), epoch, pass, generation: 0 };
        Carried { pass: Some(self.retired.pass(&sealed)), ..Carried::default() }
    }
}

/// One visitor's way.
pub struct Way {
    pub fleet: Arc<Fleet>,
    pub weather: Arc<Weather>,
    pub carried: Carried,
}

impl Way {
    async fn ask<T: Send + 'static>(
        &self,
        gate: usize,
        work: impl FnOnce(Arc<Door>) -> BoxFuture<'static, T> + Send,
    ) -> Result<T, Failure> {
        let world = &self.fleet.world;
        let (there, back) = (self.weather.packet(), self.weather.packet());
        let Some(there) = there else {
            world.sleep(PATIENCE).await;
            return Err(Failure::TimedOut);
        };
        world.sleep(there).await;
        let Some(running) = self.fleet.gates[gate].running.lock().clone() else {
            return Err(Failure::Connect);
        };
        let is_ready = |gate: &Gate| gate.running.lock().as_ref().is_some_and(|r| r.door.room().is_ready());
        // A balancer sends nobody to a gate that says it is not ready, while there is another.
        if !running.door.room().is_ready() && self.fleet.gates.iter().any(is_ready) {
            return Err(Failure::Connect);
        }
        let (answer, answered) = oneshot::channel();
        let asked = work(running.door);
        world.spawn(running.group, async move {
            let _ = answer.send(asked.await);
        });
        let answered = world.within(PATIENCE, answered).await.ok_or(Failure::TimedOut)?;
        let answered = answered.map_err(|_| Failure::Broken)?;
        let Some(back) = back else {
            world.sleep(PATIENCE).await;
            return Err(Failure::TimedOut);
        };
        world.sleep(back).await;
        Ok(answered)
    }

    fn spoil(&self, reply: &mut Reply) {
        let Reply::Status(standing) = reply else { return };
        let status = &mut standing.status;
        match self.fleet.bug {
            Some(Bug::RenewsByPolling) => {
                let now = self.now();
                status.pass_expires_at = status.pass_expires_at.map(|_| now + SECOND * 20);
            }
            Some(Bug::WrongPosition) if status.state == State::Waiting => {
                let other = self.fleet.dice.lock().random_range(1..10);
                status.position = status.position.map(|_| other);
            }
            _ => {}
        }
    }
}

impl Gates for Way {
    type Identity = Carried;

    fn count(&self) -> usize {
        self.fleet.gates.len()
    }

    fn now(&self) -> Timestamp {
        self.fleet.starts_at + self.fleet.world.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.fleet.world.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        self.fleet.world.sleep(pause).await;
    }

    fn identity(&self) -> Carried {
        self.carried.clone()
    }

    async fn queue(&mut self, gate: usize, asked: Asked) -> Result<Reply, Failure> {
        let (fleet, carried) = (Arc::clone(&self.fleet), self.carried.clone());
        let work = move |door: Arc<Door>| -> BoxFuture<'static, _> {
            Box::pin(async move {
                let now = door.room().now();
                let kept = fleet.rings().open(&carried, now);
                let (reply, after) = door.queue(kept, asked).await;
                (reply, fleet.rings().seal(carried, kept, after, now))
            })
        };
        let (mut reply, carried) = self.ask(gate, work).await?;
        self.carried = carried;
        self.spoil(&mut reply);
        Ok(reply)
    }

    async fn page(
        &mut self,
        gate: usize,
        _path: &str,
        who: Who<'_, Carried>,
        as_browser: bool,
    ) -> Result<Page, Failure> {
        let shown = match who {
            Who::Nobody => Some(Carried::default()),
            Who::Forger => None,
            Who::Own => Some(self.carried.clone()),
            Who::Before(carried) => Some(carried.clone()),
        };
        let (fleet, number) = (Arc::clone(&self.fleet), self.fleet.dice.lock().random_range(1..60));
        let work = move |door: Arc<Door>| -> BoxFuture<'static, _> {
            Box::pin(async move {
                let now = door.room().now();
                let shown = shown.unwrap_or_else(|| fleet.rings().forge(&door, number));
                let kept = fleet.rings().open(&shown, now);
                let (mut page, after) = door.page(kept, as_browser).await;
                if matches!(page, Page::App) {
                    page = fleet.app.forward().await;
                }
                (page, fleet.rings().seal(shown, kept, after, now))
            })
        };
        let (page, carried) = self.ask(gate, work).await?;
        if matches!(who, Who::Own) || matches!(who, Who::Nobody) && as_browser {
            self.carried = carried;
        }
        Ok(page)
    }
}
