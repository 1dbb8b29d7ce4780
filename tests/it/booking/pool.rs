//! What the office's connections promise whoever borrows one, over PostgreSQL.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Row as _;
use tokio::time::Instant;
use usher::booking::db::{Db, DbError, Pool};

use crate::support::booking::until;
use crate::support::postgres;

/// The office's own limit.
const MOST: usize = 24;
/// Divides by zero, two seconds after it began.
const FAILS_LATE: &str = "SELECT 1 / length(pg_sleep(2)::text)";
/// Divides by zero after its first row.
const FAILS_AFTER_A_ROW: &str = "SELECT 1 / (3 - n) FROM generate_series(1, 3) AS n";

/// A database of the test's own; another way to the same one, to look and to cut.
async fn open() -> Option<(Db, Db)> {
    let url = postgres::database()?;
    let open = async || Db::open(&url).await.expect("a database");
    Some((open().await, open().await))
}

async fn number(pool: &Pool, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(pool).await.expect("a row").get(0)
}

async fn give_up_on<T>(work: impl Future<Output = T>) {
    assert!(tokio::time::timeout(Duration::from_millis(100), work).await.is_err(), "it was over too soon");
}

/// So many uses at once that every connection has one, and what failed of them.
async fn use_all(db: &Db) -> Vec<DbError> {
    let one = async || {
        let mut tx = db.begin().await?;
        sqlx::query("SELECT pg_sleep(0.05)").execute(&mut *tx).await?;
        Ok::<_, DbError>(tx.commit().await?)
    };
    join_all((0..MOST).map(|_| one())).await.into_iter().filter_map(Result::err).collect()
}

/// Every session but the looker's own: its process, and when that began.
async fn sessions(look: &Db) -> Vec<String> {
    let asked = sqlx::query(
        "SELECT pid || ' since ' || backend_start::text FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend'
           AND pid <> pg_backend_pid() ORDER BY pid",
    );
    let rows = asked.fetch_all(look.read()).await.expect("the sessions");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Ends every session but the looker's own, and waits for their end; answers how many
/// there were.
async fn cut(look: &Db) -> i64 {
    let cut = number(
        look.read(),
        "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    until(async || sessions(look).await.is_empty().then_some(())).await;
    cut
}

#[tokio::test]
async fn what_was_given_up_is_nobody_elses_error() {
    let Some((db, look)) = open().await else { return };
    assert!(use_all(&db).await.is_empty());
    let before = sessions(&look).await;
    give_up_on(sqlx::query(FAILS_LATE).execute(db.read())).await;
    let mut tx = db.begin().await.expect("begins");
    give_up_on(sqlx::query(FAILS_LATE).execute(&mut *tx)).await;
    drop(tx);
    let busy = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
                AND pid <> pg_backend_pid() AND state <> 'idle'";
    until(async || (number(look.read(), busy).await == 0).then_some(())).await;
    let failed = use_all(&db).await;
    assert!(failed.is_empty(), "{failed:?}");
    let after = sessions(&look).await;
    let lost = before.iter().filter(|session| !after.contains(session)).count();
    assert!(lost <= 2, "{lost} were closed for it");
}

#[tokio::test]
async fn what_is_never_done_keeps_no_connection_for_long() {
    let Some((db, _)) = open().await else { return };
    let held = join_all((0..MOST).map(|_| db.begin())).await;
    join_all(held.into_iter().map(async |tx| {
        let mut tx = tx.expect("begins");
        give_up_on(sqlx::query("SELECT pg_sleep(90)").execute(&mut *tx)).await;
    }))
    .await;
    until(async || use_all(&db).await.is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_error_of_a_statement_costs_no_connection() {
    let Some((db, look)) = open().await else { return };
    assert!(use_all(&db).await.is_empty());
    let before = sessions(&look).await;
    for _ in 0..3 {
        assert!(sqlx::query("SELECT 1 / 0").execute(db.read()).await.is_err());
        let mut tx = db.begin().await.expect("begins");
        assert!(sqlx::query("SELECT 1 / 0").execute(&mut *tx).await.is_err());
        tx.rollback().await.expect("undone");
        assert!(use_all(&db).await.is_empty());
    }
    assert_eq!(sessions(&look).await, before, "opened anew");
}

#[tokio::test]
async fn an_error_after_the_first_row_is_the_statements_own() {
    let Some((db, _)) = open().await else { return };
    let asked = sqlx::query(FAILS_AFTER_A_ROW).fetch_optional(db.read()).await;
    assert!(asked.is_err(), "half an answer");
    let failed = use_all(&db).await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_undone_and_its_connection_used_again() {
    let Some((db, look)) = open().await else { return };
    sqlx::query("CREATE TABLE t (n BIGINT)").execute(db.write()).await.expect("a table");
    for _ in 0..3 * MOST {
        let mut tx = db.begin().await.expect("begins");
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.expect("a row");
    }
    assert!(use_all(&db).await.is_empty());
    assert_eq!(number(look.read(), "SELECT COUNT(*) FROM t").await, 0);
}

#[tokio::test]
async fn no_more_connections_than_agreed_and_each_is_used_again() {
    let Some((db, look)) = open().await else { return };
    let work = join_all((0..3 * MOST).map(|_| sqlx::query("SELECT pg_sleep(0.3)").execute(db.read())));
    let watch = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        sessions(&look).await.len()
    };
    let (done, seen) = tokio::join!(work, watch);
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!((2..=MOST).contains(&seen), "{seen} sessions");
    let before = sessions(&look).await;
    assert_eq!(before.len(), MOST, "{before:?}");
    for _ in 0..5 {
        assert!(use_all(&db).await.is_empty());
    }
    assert_eq!(sessions(&look).await, before, "opened anew");
}

#[tokio::test]
async fn who_waits_for_a_connection_is_sent_away_in_time() {
    let Some((db, _)) = open().await else { return };
    let held = join_all((0..MOST).map(|_| db.begin())).await;
    assert!(held.iter().all(Result::is_ok));
    let since = Instant::now();
    assert!(matches!(db.begin().await, Err(DbError::Away(_))));
    assert!((3..30).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    drop(held);
    assert!(use_all(&db).await.is_empty());
}

#[tokio::test]
async fn one_that_broke_takes_with_it_those_that_rest() {
    let Some((db, look)) = open().await else { return };
    assert!(use_all(&db).await.is_empty());
    assert!(cut(&look).await > 3, "sessions to cut");
    let mut failed = 0;
    for _ in 0..MOST {
        failed += i32::from(db.ping().await.is_err());
    }
    assert!(failed <= 1, "{failed} failed");
    assert!(use_all(&db).await.is_empty());
}

#[tokio::test]
async fn after_a_rest_a_connection_is_asked_first() {
    let Some((db, look)) = open().await else { return };
    assert!(use_all(&db).await.is_empty());
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(cut(&look).await > 3, "sessions to cut");
    let failed = use_all(&db).await;
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn closing_waits_for_those_in_use() {
    let Some((db, look)) = open().await else { return };
    sqlx::query("CREATE TABLE t (n BIGINT)").execute(db.write()).await.expect("a table");
    let mut tx = db.begin().await.expect("begins");
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.expect("a row");
        tx.commit().await.expect("commits");
    };
    tokio::join!(work, db.close());
    assert_eq!(number(look.read(), "SELECT COUNT(*) FROM t").await, 1);
    assert!(matches!(db.ping().await, Err(DbError::Away(_))));
}
