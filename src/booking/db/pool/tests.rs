//! When connections are closed; over SQLite, where a temporary table tells one
//! connection from another.

use super::*;

const MARK: &str = "CREATE TEMP TABLE mark (n INTEGER)";
const SEE: &str = "SELECT n FROM mark";

fn pool(most: usize, idle: Option<Duration>, life: Option<Duration>) -> Pool {
    sqlx::any::install_default_drivers();
    let options = "sqlite::memory:".parse().expect("an address");
    Pool::new(options, Rules { most, first: &[], idle, life })
}

async fn marks(pool: &Pool) -> bool {
    sqlx::query(SEE).execute(pool).await.is_ok()
}

#[tokio::test]
async fn one_that_is_kept_for_ever_is_the_same_each_time() {
    let pool = pool(1, None, None);
    sqlx::query(MARK).execute(&pool).await.expect("a mark");
    let tx = Tx::begin(&pool, "BEGIN").await.expect("begins");
    drop(tx);
    assert!(marks(&pool).await);
}

#[tokio::test]
async fn one_that_is_kept_for_ever_survives_a_caller_who_gives_up() {
    let pool = pool(1, None, None);
    sqlx::query(MARK).execute(&pool).await.expect("a mark");
    tokio::time::sleep(REST + Duration::from_millis(100)).await;
    drop(futures_util::poll!(std::pin::pin!(pool.acquire())));
    drop(futures_util::poll!(std::pin::pin!(sqlx::query(SEE).execute(&pool))));
    assert!(marks(&pool).await);
}

#[tokio::test]
async fn one_that_is_too_old_is_not_lent_again() {
    let pool = pool(1, None, Some(Duration::ZERO));
    sqlx::query(MARK).execute(&pool).await.expect("a mark");
    assert!(!marks(&pool).await);
}

#[tokio::test]
async fn one_that_nobody_used_for_long_is_closed_when_another_comes_back() {
    let pool = pool(2, Some(Duration::from_secs(2)), Some(Duration::from_secs(60)));
    let (first, second) = (pool.acquire().await, pool.acquire().await);
    for lent in [first, second] {
        let mut lent = lent.expect("a connection");
        let marked = lent.conn().execute(MARK).await;
        lent.done(marked).expect("a mark");
    }
    assert_eq!(pool.0.resting.lock().len(), 2);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(marks(&pool).await, "the one used last");
    assert_eq!(pool.0.resting.lock().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_sqlite_undid_by_itself_leaves_a_good_connection() {
    let pool = pool(1, None, None);
    sqlx::query(MARK).execute(&pool).await.expect("a mark");
    let mut tx = Tx::begin(&pool, "BEGIN IMMEDIATE").await.expect("begins");
    tx.execute("ROLLBACK").await.expect("undone");
    drop(tx);
    assert!(marks(&pool).await);
}
