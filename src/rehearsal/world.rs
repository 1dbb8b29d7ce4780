//! A runtime of one thread in which time goes by only when nobody has anything
//! left to do.
//!
//! Owns tasks, timers and the order in which they run, which is always the same:
//! first come, first served. Rolls no dice and reads no clock, so a run replays
//! exactly. After the simulators of FoundationDB and TigerBeetle.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::timers::Timers;
use crate::clock::Clock;
use crate::domain::time::Timestamp;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that end together, as a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group(pub u32);

/// Runs tasks until they are done or time is up. Dropping it drops them.
pub struct Executor {
    world: World,
    tasks: Vec<Option<Task>>,
    /// Places in `tasks` of those that are done.
    free: Vec<usize>,
    begun: u64,
    living: usize,
    /// Steps that a group may still make.
    doomed: HashMap<Group, u64>,
    /// Groups that ended: nothing begins in them any more.
    over: HashSet<Group>,
}

struct Task {
    group: Group,
    work: Work,
    bell: Arc<Bell>,
    waker: Waker,
}

/// A task's place, and which of those that had it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ticket {
    place: usize,
    count: u64,
}

/// Wakes one task.
struct Bell {
    ticket: Ticket,
    is_rung: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::Relaxed) {
            self.shared.ready.lock().push_back(self.ticket);
        }
    }
}

/// What tasks can do to the world they are in.
#[derive(Clone)]
pub struct World(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Since the beginning, in µs.
    now: AtomicU64,
    ready: Mutex<VecDeque<Ticket>>,
    wishes: Mutex<VecDeque<Wish>>,
    timers: Mutex<Timers<Waker>>,
}

enum Wish {
    Begin(Group, Work),
    End(Group),
    EndAfter(Group, u64),
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// A world without tasks, at time zero.
    #[must_use]
    pub fn new() -> Self {
        let world = World(Arc::new(Shared::default()));
        Self {
            world,
            tasks: Vec::new(),
            free: Vec::new(),
            begun: 0,
            living: 0,
            doomed: HashMap::new(),
            over: HashSet::new(),
        }
    }

    /// The world, for its tasks.
    #[must_use]
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Tasks that are not done.
    #[must_use]
    pub const fn living(&self) -> usize {
        self.living
    }

    /// Runs until nothing can happen before `until`, which is then the time.
    pub fn run(&mut self, until: Duration) {
        loop {
            self.grant_wishes();
            let next = self.world.0.ready.lock().pop_front();
            match next {
                Some(ticket) => self.step(ticket),
                None if self.world.0.advance(micros(until)) => {}
                None => return,
            }
        }
    }

    fn grant_wishes(&mut self) {
        loop {
            let wish = self.world.0.wishes.lock().pop_front();
            match wish {
                Some(Wish::Begin(group, work)) => self.begin(group, work),
                Some(Wish::End(group)) => self.end(group),
                Some(Wish::EndAfter(group, steps)) => drop(self.doomed.insert(group, steps)),
                None => return,
            }
        }
    }

    fn begin(&mut self, group: Group, work: Work) {
        if self.over.contains(&group) {
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        self.begun += 1;
        let ticket = Ticket { place, count: self.begun };
        let shared = Arc::clone(&self.world.0);
        let bell = Arc::new(Bell { ticket, is_rung: AtomicBool::new(false), shared });
        let waker = Waker::from(Arc::clone(&bell));
        waker.wake_by_ref();
        self.tasks[place] = Some(Task { group, work, bell, waker });
        self.living += 1;
    }

    fn end(&mut self, group: Group) {
        self.doomed.remove(&group);
        self.over.insert(group);
        for (place, slot) in self.tasks.iter_mut().enumerate() {
            if slot.as_ref().is_some_and(|task| task.group == group) {
                *slot = None;
                self.free.push(place);
                self.living -= 1;
            }
        }
    }

    fn step(&mut self, ticket: Ticket) {
        let index = ticket.place;
        // Ended meanwhile: a late bell.
        let Some(mut task) = self.tasks[index].take_if(|task| task.bell.ticket == ticket) else { return };
        if let Some(steps) = self.doomed.get_mut(&task.group) {
            if *steps == 0 {
                let group = task.group;
                self.tasks[index] = Some(task);
                return self.end(group);
            }
            *steps -= 1;
        }
        task.bell.is_rung.store(false, Ordering::Relaxed);
        match task.work.as_mut().poll(&mut Context::from_waker(&task.waker)) {
            Poll::Ready(()) => {
                self.free.push(index);
                self.living -= 1;
            }
            Poll::Pending => self.tasks[index] = Some(task),
        }
    }
}

impl Shared {
    fn after(&self, pause: Duration) -> u64 {
        self.now.load(Ordering::Relaxed).saturating_add(micros(pause))
    }

    /// Goes on to the next timer; false when there is none until then.
    fn advance(&self, until: u64) -> bool {
        let next = self.timers.lock().next(until);
        let now = next.as_ref().map_or(until, |&(at, _)| at);
        self.now.fetch_max(now, Ordering::Relaxed);
        next.map(|(_, waker)| waker.wake()).is_some()
    }
}

impl World {
    /// Time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.now.load(Ordering::Relaxed))
    }

    /// Begins a task, behind all that are ready now.
    pub fn spawn(&self, group: Group, work: impl Future<Output = ()> + Send + 'static) {
        self.0.wishes.lock().push_back(Wish::Begin(group, Box::pin(work)));
    }

    /// Drops the tasks of a group before anything else runs; it ends for good.
    pub fn end(&self, group: Group) {
        self.0.wishes.lock().push_back(Wish::End(group));
    }

    /// Drops the tasks of a group once they have made so many steps.
    pub fn end_after(&self, group: Group, steps: u64) {
        self.0.wishes.lock().push_back(Wish::EndAfter(group, steps));
    }

    /// Wakes this when so much time went by.
    pub fn set_timer(&self, pause: Duration, waker: Waker) {
        self.0.timers.lock().set(self.0.after(pause), waker);
    }

    /// Ready when so much time went by. To be awaited in one task.
    #[must_use]
    pub fn sleep(&self, pause: Duration) -> Sleep {
        Sleep { shared: Arc::clone(&self.0), at: self.0.after(pause), is_set: false }
    }

    /// What `work` comes to, if that takes no longer than `limit`.
    pub async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(limit) => None,
        }
    }
}

/// See [`World::sleep`].
pub struct Sleep {
    shared: Arc<Shared>,
    at: u64,
    is_set: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.shared.now.load(Ordering::Relaxed) >= self.at {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.is_set, true) {
            self.shared.timers.lock().set(self.at, context.waker().clone());
        }
        Poll::Pending
    }
}

/// The world's own time, right and steady.
pub struct TrueClock {
    world: World,
    started_at: Timestamp,
}

impl TrueClock {
    /// A clock that stood at `started_at` at the beginning of the world.
    #[must_use]
    pub const fn new(world: World, started_at: Timestamp) -> Self {
        Self { world, started_at }
    }
}

impl Clock for TrueClock {
    fn now(&self) -> Timestamp {
        self.started_at + self.world.elapsed()
    }

    fn monotonic(&self) -> Duration {
        self.world.elapsed()
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.world.sleep(pause))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Two tasks that write down when they were woken; the first ends early when `end` says so.
    fn diary(end: impl FnOnce(&World)) -> Vec<(u32, Duration)> {
        let mut executor = Executor::new();
        let diary = Arc::new(Mutex::new(Vec::new()));
        for group in 0..2 {
            let (world, diary) = (executor.world(), Arc::clone(&diary));
            executor.world().spawn(Group(group), async move {
                for _ in 0..3 {
                    world.sleep(SECOND * (group + 1)).await;
                    diary.lock().push((group, world.elapsed()));
                }
            });
        }
        end(&executor.world());
        executor.run(SECOND * 100);
        assert_eq!((executor.living(), executor.world().elapsed()), (0, SECOND * 100));
        Arc::into_inner(diary).expect("all tasks are gone").into_inner()
    }

    #[test]
    fn time_goes_by_when_all_wait_and_ties_keep_their_order() {
        let seconds: Vec<_> = diary(|_| {}).into_iter().map(|(task, at)| (task, at.as_secs())).collect();
        assert_eq!(seconds, [(0, 1), (1, 2), (0, 2), (0, 3), (1, 4), (1, 6)]);
    }

    #[test]
    fn a_group_ends_after_its_steps_and_the_others_go_on() {
        // Its first step only begins.
        let after_two = diary(|world| world.end_after(Group(0), 2));
        assert_eq!(after_two.iter().filter(|(task, _)| *task == 0).count(), 1);
        assert_eq!(after_two.iter().filter(|(task, _)| *task == 1).count(), 3);
        assert!(diary(|world| world.end(Group(0))).iter().all(|(task, _)| *task == 1));
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        let mut executor = Executor::new();
        let (world, seen) = (executor.world(), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&seen);
        executor.world().spawn(Group(0), async move {
            for limit in [1, 3] {
                let done = world.within(SECOND * limit, world.sleep(SECOND * 2)).await;
                notes.lock().push((done.is_some(), world.elapsed().as_secs()));
            }
        });
        executor.run(SECOND * 10);
        assert_eq!(*seen.lock(), [(false, 1), (true, 3)]);
    }
}
