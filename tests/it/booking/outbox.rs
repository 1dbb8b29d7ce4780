//! The relay alone, over messages of the tests' own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use usher::booking::db::Db;
use usher::booking::outbox::{Message, Relay, Target, Undelivered};
use usher::clock::{Clock as _, ManualClock};
use usher::domain::time::Timestamp;

use crate::support::booking::{Bare, Database};

/// What a target does with a message; the last argument is the number of those taken.
type Answer = dyn Fn(&Message, usize) -> Result<(), Undelivered> + Send + Sync;

/// Writes down what it took.
struct Notebook {
    taken: Mutex<Vec<(String, i64)>>,
    answer: Mutex<Box<Answer>>,
}

impl Notebook {
    fn new(answer: impl Fn(&Message, usize) -> Result<(), Undelivered> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), answer: Mutex::new(Box::new(answer)) })
    }

    fn willing() -> Arc<Self> {
        Self::new(|_, _| Ok(()))
    }

    fn becomes_willing(&self) {
        *self.answer.lock().expect("no panic") = Box::new(|_, _| Ok(()));
    }

    fn taken(&self) -> Vec<(String, i64)> {
        self.taken.lock().expect("no panic").clone()
    }

    fn subjects(&self) -> Vec<String> {
        self.taken().into_iter().map(|(subject, _)| subject).collect()
    }
}

#[async_trait]
impl Target for Notebook {
    fn wants(&self, kind: &str) -> bool {
        kind == "test"
    }

    async fn deliver(&self, message: &Message) -> Result<(), Undelivered> {
        tokio::task::yield_now().await;
        let mut taken = self.taken.lock().expect("no panic");
        (self.answer.lock().expect("no panic"))(message, taken.len())?;
        taken.push((message.subject.clone(), message.id));
        Ok(())
    }
}

/// The first subject whose messages came out of order.
fn disorder(taken: &[(String, i64)]) -> Option<&str> {
    let mut last = BTreeMap::new();
    taken.iter().find_map(|(subject, id)| {
        let before = last.insert(subject, *id);
        before.is_some_and(|before| before >= *id).then_some(subject.as_str())
    })
}

#[test]
fn disorder_is_found() {
    let history = |ids: &[i64]| ids.iter().map(|id| ("a".to_owned(), *id)).collect::<Vec<_>>();
    assert_eq!(disorder(&history(&[1, 2, 5])), None);
    assert_eq!(disorder(&history(&[1, 5, 2])), Some("a"));
    assert_eq!(disorder(&history(&[1, 1])), Some("a"));
}

struct Bench {
    bare: Bare,
    clock: Arc<ManualClock>,
}

impl Bench {
    async fn open(database: Database) -> Option<Self> {
        let bare = Bare::open(database).await?;
        Some(Self { bare, clock: Arc::new(ManualClock::at(Timestamp::from_millis(1_000_000))) })
    }

    fn db(&self) -> &Db {
        &self.bare.db
    }

    fn relay(&self, db: Db, target: &Arc<Notebook>) -> Relay {
        let target: Arc<dyn Target> = target.clone();
        Relay::new(db, self.clock.clone(), vec![target])
    }

    /// Writes messages about these subjects, each in the lane of its length.
    async fn write(&self, subjects: &[&str]) {
        let mut tx = self.db().begin().await.expect("a transaction");
        for subject in subjects {
            sqlx::query(
                "INSERT INTO outbox (kind, subject, lane, body, created_at) VALUES ('test', $1, $2, '{}', 1)",
            )
            .bind(*subject)
            .bind((subject.len() % 8) as i64)
            .execute(&mut *tx)
            .await
            .expect("a row");
        }
        tx.commit().await.expect("commits");
    }

    /// Relays until nothing is due.
    async fn drain(&self, relay: &Relay) {
        while relay.once(self.clock.now()).await.expect("a step").is_some() {}
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

macro_rules! on_each {
    ($(async fn $name:ident($bench:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn case($bench: Bench) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_memory() {
                case(Bench::open(Database::Memory).await.expect("SQLite")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite_file() {
                case(Bench::open(Database::File).await.expect("SQLite")).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(bench) = Bench::open(Database::Postgres).await {
                    case(bench).await;
                }
            }
        }
    )*};
}

on_each! {
    async fn several_relays_share_the_work_and_keep_each_subjects_order(bench) {
        let subjects: Vec<String> = (1..=24).map(|n| "x".repeat(n)).collect();
        for _ in 0..10 {
            bench.write(&subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let target = Notebook::willing();
        let relays = join_all((0..4).map(|_| bench.bare.again())).await;
        let relays: Vec<_> = relays.into_iter().map(|db| bench.relay(db, &target)).collect();
        join_all(relays.iter().map(|relay| bench.drain(relay))).await;
        let taken = target.taken();
        assert_eq!((taken.len(), disorder(&taken)), (240, None));
    }

    async fn what_fails_holds_up_its_own_subject_only(bench) {
        bench.write(&["bad", "good", "bad", "fine", "good"]).await;
        let target = Notebook::new(|message, _| match message.subject.as_str() {
            "bad" => Err(Undelivered::Refused("planted".into())),
            _ => Ok(()),
        });
        let relay = bench.relay(bench.db().clone(), &target);
        bench.drain(&relay).await;
        let mut taken = target.subjects();
        taken.sort();
        assert_eq!(taken, ["fine", "good", "good"]);

        target.becomes_willing();
        bench.drain(&relay).await;
        assert_eq!(target.taken().len(), 3, "its pause is not over");
        bench.advance(2);
        bench.drain(&relay).await;
        assert_eq!(target.subjects()[3..], ["bad", "bad"]);
        assert_eq!(disorder(&target.taken()), None);
    }

    async fn what_is_refused_for_ever_is_set_aside_and_what_waits_for_a_target_is_not(bench) {
        bench.write(&["bad", "bad"]).await;
        let target = Notebook::new(|message, _| match message.id {
            1 => Err(Undelivered::Refused("planted".into())),
            _ => Ok(()),
        });
        let relay = bench.relay(bench.db().clone(), &target);
        for _ in 0..12 {
            bench.drain(&relay).await;
            bench.advance(301);
        }
        assert_eq!(target.taken(), [("bad".to_owned(), 2)]);

        bench.write(&["later"]).await;
        let away = Notebook::new(|_, _| Err(Undelivered::Away("planted".into())));
        let relay = bench.relay(bench.db().clone(), &away);
        for _ in 0..30 {
            bench.drain(&relay).await;
            bench.advance(301);
        }
        away.becomes_willing();
        bench.drain(&relay).await;
        assert_eq!(away.subjects(), ["later"]);
    }

    async fn what_a_dead_relay_had_goes_out_when_its_lease_is_over(bench) {
        bench.write(&["a", "a"]).await;
        let target = Notebook::willing();
        let stuck = bench.relay(bench.db().clone(), &Arc::new(Notebook {
            taken: Mutex::default(),
            answer: Mutex::new(Box::new(|_, _| panic!("dies here"))),
        }));
        let now = bench.clock.now();
        assert!(tokio::spawn(async move { stuck.once(now).await }).await.is_err());
        let relay = bench.relay(bench.db().clone(), &target);
        assert_eq!(relay.once(bench.clock.now()).await.expect("a step"), None);
        bench.advance(61);
        bench.drain(&relay).await;
        assert_eq!(target.subjects(), ["a", "a"]);
    }

    async fn a_relay_that_lost_its_lease_writes_nothing_down(bench) {
        bench.write(&["a"]).await;
        let notebook = Notebook::willing();
        let quick = bench.relay(bench.db().clone(), &notebook);
        let slow = Overtaken { quick, clock: bench.clock.clone() };
        let slow = Relay::new(bench.db().clone(), bench.clock.clone(), vec![Arc::new(slow)]);
        slow.once(bench.clock.now()).await.expect("a step");
        assert_eq!(notebook.subjects(), ["a"]);
        let failed = "SELECT id FROM outbox WHERE attempts > 0";
        assert!(sqlx::query(failed).fetch_optional(bench.db().read()).await.expect("runs").is_none());
    }
}

/// Fails so late that another relay has done the work.
struct Overtaken {
    quick: Relay,
    clock: Arc<ManualClock>,
}

#[async_trait]
impl Target for Overtaken {
    fn wants(&self, _: &str) -> bool {
        true
    }

    async fn deliver(&self, _: &Message) -> Result<(), Undelivered> {
        self.clock.advance(Duration::from_secs(61));
        assert_eq!(self.quick.once(self.clock.now()).await.expect("a step"), Some(1));
        Err(Undelivered::Refused("too late to matter".into()))
    }
}
