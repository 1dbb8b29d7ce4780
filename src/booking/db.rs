//! The booking database: one handle over SQLite and PostgreSQL.
//!
//! Owns the connections and the few places where the two dialects differ; the
//! SQL itself is portable, with `$1` placeholders, texts, and 64-bit integers
//! (sqlx's `Any` driver speaks both). Every write is a transaction: on SQLite
//! `BEGIN IMMEDIATE` on the one writing connection, so that nobody's read turns
//! into a refused write half-way; readers have connections of their own.

mod pool;

use std::str::FromStr;
use std::time::Duration;

use sqlx::Row;
use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::migrate::Migrator;

use pool::Rules;
pub use pool::{Pool, Tx};

static SQLITE: Migrator = sqlx::migrate!("src/booking/migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("src/booking/migrations/postgres");

/// Connections to PostgreSQL; buyers beyond it wait in line inside the pool.
const POSTGRES_CONNECTIONS: usize = 24;
/// Reading connections to a SQLite file.
const SQLITE_READERS: usize = 4;
/// Connections that nobody used for so long, and those this old, are closed.
const IDLE: Duration = Duration::from_secs(10 * 60);
const LIFE: Duration = Duration::from_secs(30 * 60);
/// NORMAL under WAL survives a crash of the process, and of the host at the
/// price of the last commits, never of consistency.
const SQLITE_FIRST: [&str; 4] = [
    "PRAGMA busy_timeout = 5000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
];

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Not reachable, restarting, full or too busy; the same request may be sent again.
    #[error("the database is away")]
    Away(#[source] sqlx::Error),
    /// A unique index refused the row.
    #[error("the row is there already")]
    Duplicate(#[source] sqlx::Error),
    /// A row that is needed is gone, or one that others need was to go.
    #[error("other rows are in the way, or missing")]
    Linked(#[source] sqlx::Error),
    /// The migrations do not apply.
    #[error("the database cannot be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what no code of ours writes.
    #[error("unexpected value in the database: {0}")]
    Corrupt(String),
    /// Anything else: a mistake of ours.
    #[error("the database refused")]
    Refused(#[source] sqlx::Error),
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(e) if e.is_unique_violation() => return Self::Duplicate(error),
            sqlx::Error::Database(e) if e.is_foreign_key_violation() => return Self::Linked(error),
            sqlx::Error::Database(e) => e.code().is_some_and(|code| is_passing(&code)),
            _ => false,
        };
        if away { Self::Away(error) } else { Self::Refused(error) }
    }
}

/// Codes that go away by themselves: PostgreSQL's connection trouble (08),
/// resources (53), operator intervention (57) and lost races (40); SQLite's
/// busy (5), locked (6), I/O error (10) and full disk (13) with their
/// extended forms, whose low byte is the plain one.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 10 | 13))
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// Connections to the booking database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    kind: Kind,
    read: Pool,
    write: Pool,
}

impl Db {
    /// Connects and applies the migrations; a SQLite file is made when missing.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn open(url: &str) -> Result<Self, DbError> {
        sqlx::any::install_default_drivers();
        let db = match url.strip_prefix("sqlite:") {
            Some(_) if is_memory(url) => Self::memory()?,
            Some(_) => Self::file(url)?,
            None => Self::server(url)?,
        };
        let migrations = match db.kind {
            Kind::Sqlite => &SQLITE,
            Kind::Postgres => &POSTGRES,
        };
        db.write.run(migrations).await?;
        Ok(db)
    }

    /// One connection for everything, kept for ever: the database lives in it.
    fn memory() -> Result<Self, DbError> {
        let rules = Rules { most: 1, first: &SQLITE_FIRST, idle: None, life: None };
        let pool = Pool::new(AnyConnectOptions::from_str("sqlite::memory:")?, rules);
        Ok(Self { kind: Kind::Sqlite, read: pool.clone(), write: pool })
    }

    fn file(url: &str) -> Result<Self, DbError> {
        let rules = Rules { most: 1, first: &SQLITE_FIRST, idle: Some(IDLE), life: Some(LIFE) };
        let create = if url.contains('?') { "&mode=rwc" } else { "?mode=rwc" };
        let write = AnyConnectOptions::from_str(&format!("{url}{create}"))?;
        let read = AnyConnectOptions::from_str(url)?;
        let readers = Rules { most: SQLITE_READERS, ..rules.clone() };
        Ok(Self { kind: Kind::Sqlite, read: Pool::new(read, readers), write: Pool::new(write, rules) })
    }

    fn server(url: &str) -> Result<Self, DbError> {
        let rules = Rules { most: POSTGRES_CONNECTIONS, first: &[], idle: Some(IDLE), life: Some(LIFE) };
        let pool = Pool::new(AnyConnectOptions::from_str(url)?, rules);
        Ok(Self { kind: Kind::Postgres, read: pool.clone(), write: pool })
    }

    /// For single reads. Not while holding a [`Tx`]: in memory there is one
    /// connection, and it is the transaction's.
    #[must_use]
    pub fn read(&self) -> &Pool {
        &self.read
    }

    /// For a write of one statement, which is a transaction of its own. Not for
    /// one that returns rows: they come before it is known to have taken effect.
    #[must_use]
    pub fn write(&self) -> &Pool {
        &self.write
    }

    /// Begins a transaction that will write.
    ///
    /// # Errors
    /// [`DbError::Away`] when no connection came free in time.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        Ok(Tx::begin(&self.write, self.pick("BEGIN IMMEDIATE", "BEGIN")).await?)
    }

    /// Begins a transaction that only reads, all of it as of one moment.
    ///
    /// # Errors
    /// [`DbError::Away`] when no connection came free in time.
    pub async fn snapshot(&self) -> Result<Tx, DbError> {
        let begin = self.pick("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        Ok(Tx::begin(&self.read, begin).await?)
    }

    /// Transactions that can write at once, as far as it is worth trying.
    #[must_use]
    pub fn writers(&self) -> usize {
        match self.kind {
            Kind::Sqlite => 1,
            Kind::Postgres => 12,
        }
    }

    /// The SQL for this database, where the dialects differ.
    #[must_use]
    pub fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match self.kind {
            Kind::Sqlite => sqlite,
            Kind::Postgres => postgres,
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("SELECT 1").execute(&self.read).await?;
        Ok(())
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn is_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Reads columns as the domain's types.
pub trait RowExt {
    /// A text column.
    ///
    /// # Errors
    /// [`DbError`]
    fn text(&self, column: &str) -> Result<String, DbError>;

    /// An integer column.
    ///
    /// # Errors
    /// [`DbError`]
    fn int(&self, column: &str) -> Result<i64, DbError>;

    /// An integer column that is not negative.
    ///
    /// # Errors
    /// [`DbError`]
    fn count(&self, column: &str) -> Result<u64, DbError> {
        let value = self.int(column)?;
        u64::try_from(value).map_err(|_| DbError::Corrupt(format!("{column} = {value}")))
    }

    /// An integer column that fits 32 bits.
    ///
    /// # Errors
    /// [`DbError`]
    fn small(&self, column: &str) -> Result<u32, DbError> {
        let value = self.int(column)?;
        u32::try_from(value).map_err(|_| DbError::Corrupt(format!("{column} = {value}")))
    }

    /// An instant.
    ///
    /// # Errors
    /// [`DbError`]
    fn instant(&self, column: &str) -> Result<crate::domain::time::Timestamp, DbError> {
        self.count(column).map(crate::domain::time::Timestamp::from_millis)
    }

    /// A text column that `parse` understands.
    ///
    /// # Errors
    /// [`DbError`]
    fn parsed<T: FromStr>(&self, column: &str) -> Result<T, DbError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| DbError::Corrupt(format!("{column} = {text:?}")))
    }

    /// A name that `find` knows.
    ///
    /// # Errors
    /// [`DbError`]
    fn named<T>(&self, column: &str, find: impl Fn(&str) -> Option<T>) -> Result<T, DbError> {
        let text = self.text(column)?;
        find(&text).ok_or_else(|| DbError::Corrupt(format!("{column} = {text:?}")))
    }

    /// A text column that may be null.
    ///
    /// # Errors
    /// [`DbError`]
    fn maybe_text(&self, column: &str) -> Result<Option<String>, DbError>;

    /// An integer column that may be null.
    ///
    /// # Errors
    /// [`DbError`]
    fn maybe_int(&self, column: &str) -> Result<Option<i64>, DbError>;
}

impl RowExt for AnyRow {
    fn text(&self, column: &str) -> Result<String, DbError> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &str) -> Result<i64, DbError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, DbError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, DbError> {
        Ok(self.try_get(column)?)
    }
}

/// A stored form of an instant.
#[must_use]
pub fn millis(at: crate::domain::time::Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// `($from, $from+1, …)`, `len` placeholders for `IN`.
#[must_use]
pub fn placeholders(from: usize, len: usize) -> String {
    let list: Vec<_> = (from..from + len).map(|n| format!("${n}")).collect();
    format!("({})", list.join(", "))
}

/// `($1, $2), ($3, $4), …`: `rows` tuples of `columns` placeholders for `VALUES`.
#[must_use]
pub fn tuples(rows: usize, columns: usize) -> String {
    let list: Vec<_> = (0..rows).map(|row| placeholders(row * columns + 1, columns)).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_apart() {
        for code in ["57P01", "08006", "40001", "53100", "5", "6", "261", "10", "13", "778"] {
            assert!(is_passing(code), "{code}");
        }
        for code in ["23505", "42601", "2067", "1555", "1", "nonsense"] {
            assert!(!is_passing(code), "{code}");
        }
    }

    #[test]
    fn placeholders_are_numbered_on() {
        assert_eq!(placeholders(2, 3), "($2, $3, $4)");
        assert_eq!(tuples(2, 2), "($1, $2), ($3, $4)");
    }
}
