//! The gates of a simulated world, their clocks, and what ends and cuts them off.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::sync::oneshot;
use usher::clock::Clock;
use usher::config;
use usher::domain::time::Timestamp;
use usher::queue::Room;
use usher::rehearsal::door::Door;
use usher::rehearsal::world::{Group, World};

use super::app::App;
use super::host::Host;
use super::way::Rings;
use super::wire::{Weather, Wire};
use super::{Bug, CHAOS};

const SECOND: Duration = Duration::from_secs(1);
/// Things go wrong until then.
const STORM: Duration = Duration::from_secs(60);

/// A gate's clocks: the wall an hour off, the other too fast or too slow.
struct GateClock {
    world: World,
    started: Duration,
    starts_at: Timestamp,
    ahead: Duration,
    is_behind: bool,
    rate: f64,
}

impl Clock for GateClock {
    fn now(&self) -> Timestamp {
        let right = self.starts_at + self.world.elapsed();
        if self.is_behind { right - self.ahead } else { right + self.ahead }
    }

    fn monotonic(&self) -> Duration {
        self.world.elapsed().saturating_sub(self.started).mul_f64(self.rate)
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.world.sleep(pause.div_f64(self.rate)))
    }
}

/// A gate's process.
#[derive(Clone)]
pub struct Running {
    pub group: Group,
    pub door: Arc<Door>,
}

pub struct Gate {
    pub running: Mutex<Option<Running>>,
    pub weather: Arc<Weather>,
}

pub struct Fleet {
    pub world: World,
    pub starts_at: Timestamp,
    pub room: Arc<config::Room>,
    pub host: Arc<Host>,
    pub gates: Vec<Gate>,
    pub app: App,
    pub bug: Option<Bug>,
    pub dice: Mutex<SmallRng>,
    pub rings: Mutex<Arc<Rings>>,
    pub groups: AtomicU64,
}

impl Fleet {
    /// The keys of this moment.
    pub fn rings(&self) -> Arc<Rings> {
        Arc::clone(&self.rings.lock())
    }

    /// Changes the keys once, on all gates.
    pub async fn rotate(self: Arc<Self>) {
        let pause = self.dice.lock().random_range(5..60);
        self.world.sleep(SECOND * pause).await;
        *self.rings.lock() = Arc::new(Rings::new(1, &self.room.name, self.bug));
    }

    /// Loses the line, or its end, now and then.
    pub async fn lose(self: Arc<Self>) {
        let (world, fleet) = (self.world.clone(), Arc::clone(&self));
        world.clone().spawn(CHAOS, async move {
            while world.elapsed() < STORM {
                fleet.host.copy();
                world.sleep(SECOND).await;
            }
        });
        loop {
            let (pause, copy) = {
                let mut dice = self.dice.lock();
                (dice.random_range(5..40), dice.random_bool(0.6).then(|| dice.random_range(0..8)))
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            self.host.lose(&self.room.name, copy).await;
        }
    }

    /// Sets the clock of the store's machine now and then.
    pub async fn set_clock(self: Arc<Self>) {
        loop {
            let (pause, ahead_ms) = {
                let mut dice = self.dice.lock();
                (dice.random_range(5..30), [3_600_000, 20_000, 4_000][dice.random_range(0..3)])
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            self.host.set_clock(self.dice.lock().random_range(-ahead_ms..ahead_ms));
        }
    }

    /// Starts a gate; the receiver fails when its process is over.
    pub fn start(&self, index: usize) -> oneshot::Receiver<()> {
        let group = Group(100 + self.groups.fetch_add(1, Ordering::Relaxed) as u32);
        let (rate, off, is_behind, seed) = {
            let mut dice = self.dice.lock();
            let off = [0, 0, 3_600][dice.random_range(0..3)];
            (dice.random_range(0.998..1.002), SECOND * off, dice.random(), dice.random())
        };
        let ahead = if self.bug == Some(Bug::LocalClock) { SECOND * 3_600 * (index as u32) } else { off };
        let clock: Arc<dyn Clock> = Arc::new(GateClock {
            world: self.world.clone(),
            started: self.world.elapsed(),
            starts_at: self.starts_at,
            ahead,
            is_behind,
            rate,
        });
        let wire = Wire {
            world: self.world.clone(),
            host: Arc::clone(&self.host),
            weather: Arc::clone(&self.gates[index].weather),
            bug: self.bug,
            wall_ahead: ahead,
        };
        let room = Room::new(Arc::clone(&self.room), Arc::new(wire), clock, [7; 32]);
        let (life, over) = oneshot::channel::<()>();
        self.world.spawn(group, Arc::clone(&room).run());
        self.world.spawn(group, async move {
            let _life = life;
            std::future::pending::<()>().await;
        });
        *self.gates[index].running.lock() = Some(Running { group, door: Arc::new(Door::new(room, seed)) });
        over
    }

    /// Crashes gates at any of their steps and starts them again.
    pub async fn crash(self: Arc<Self>, index: usize, mut over: oneshot::Receiver<()>) {
        loop {
            let (pause, steps, down) = {
                let mut dice = self.dice.lock();
                (dice.random_range(8..60), dice.random_range(0..400), dice.random_range(0..4_000))
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            let group = self.gates[index].running.lock().as_ref().map(|running| running.group);
            group.into_iter().for_each(|group| self.world.end_after(group, steps));
            let _ = over.await;
            *self.gates[index].running.lock() = None;
            self.world.sleep(Duration::from_millis(down)).await;
            over = self.start(index);
        }
    }

    /// Cuts gates off their store for less than an idle timeout each, or all of them for longer.
    pub async fn cut(self: Arc<Self>) {
        loop {
            let (pause, one, long, short) = {
                let mut dice = self.dice.lock();
                let one = dice.random_range(0..self.gates.len() * 2);
                (dice.random_range(2..20), one, dice.random_range(5..30), dice.random_range(1..5))
            };
            self.world.sleep(SECOND * pause).await;
            if self.world.elapsed() > STORM {
                return;
            }
            let all = one >= self.gates.len();
            let cut = |is_cut| {
                for (index, gate) in self.gates.iter().enumerate() {
                    if all || index == one {
                        gate.weather.is_cut.store(is_cut, Ordering::Relaxed);
                    }
                }
            };
            cut(true);
            self.world.sleep(SECOND * if all { long } else { short }).await;
            cut(false);
        }
    }
}
