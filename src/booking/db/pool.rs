//! Connections that stay open between uses.
//!
//! sqlx's own pool asks every connection whether it is well before and after
//! each use, which for one statement is three round trips instead of one. Here
//! one is asked only after a rest, or when its last use did not come to its end;
//! and when one turns out broken, those that rest are not trusted either. A
//! transaction that nobody ended is undone before its connection is lent again.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use sqlx::any::{Any, AnyConnectOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::migrate::Migrator;
use sqlx::{
    AnyConnection, ConnectOptions as _, Connection as _, Describe, Either, Error, Execute, Executor, SqlStr,
};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::DbError;

#[cfg(test)]
mod tests;

/// A connection is waited for this long, then the caller is told to come again.
const ACQUIRE: Duration = Duration::from_secs(5);
/// After a rest of this, a connection is asked whether it is well.
const REST: Duration = Duration::from_secs(1);
/// A server that does not listen yet is asked again after this.
const KNOCK_AGAIN: Duration = Duration::from_millis(50);
/// What was under way on a connection that comes back is given up within this.
const UNDO: Duration = Duration::from_secs(5);

/// What a pool may do.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Connections at once; whoever wants more waits.
    pub(super) most: usize,
    /// Run on each new connection.
    pub(super) first: &'static [&'static str],
    /// Closed when nobody used it for so long; `None`: never.
    pub(super) idle: Option<Duration>,
    /// Closed when it is older; `None`: never.
    pub(super) life: Option<Duration>,
}

/// Connections to one database. Cheap to clone; an executor of single statements.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AnyConnectOptions,
    rules: Rules,
    free: Arc<Semaphore>,
    /// The one used last at the back, which is used next.
    resting: Mutex<VecDeque<Resting>>,
}

#[derive(Debug)]
struct Resting {
    conn: AnyConnection,
    opened: Instant,
    since: Instant,
}

/// A connection in use; comes back when dropped.
#[derive(Debug)]
pub(super) struct Lent {
    pool: Arc<Inner>,
    conn: Option<AnyConnection>,
    opened: Instant,
    permit: Option<OwnedSemaphorePermit>,
    before: Before,
}

/// What comes before a connection may be lent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It answers: a statement may be under way, or what it said unread.
    Answer,
    /// It undid its transaction.
    Undo,
}

impl Pool {
    pub(super) fn new(options: AnyConnectOptions, rules: Rules) -> Self {
        let free = Arc::new(Semaphore::new(rules.most));
        Self(Arc::new(Inner { options, rules, free, resting: Mutex::default() }))
    }

    /// A connection, first come, first served.
    pub(super) async fn acquire(&self) -> Result<Lent, Error> {
        let deadline = Instant::now() + ACQUIRE;
        let permit = timeout_at(deadline, Arc::clone(&self.0.free).acquire_owned()).await;
        let permit = permit.map_err(|_| Error::PoolTimedOut)?.map_err(|_| Error::PoolClosed)?;
        let found = timeout_at(deadline, self.0.find()).await.map_err(|_| Error::PoolTimedOut)?;
        let (conn, opened) = found?;
        let (pool, before) = (Arc::clone(&self.0), Before::Answer);
        Ok(Lent { pool, conn: Some(conn), opened, permit: Some(permit), before })
    }

    /// Brings the database up to date.
    pub(super) async fn run(&self, migrations: &Migrator) -> Result<(), DbError> {
        let mut lent = self.acquire().await?;
        migrations.run(lent.conn()).await?;
        Ok(())
    }

    /// Closes the connections, waiting for those in use.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.0.rules.most).unwrap_or(u32::MAX);
        let in_use = self.0.free.acquire_many(all).await;
        self.0.free.close();
        drop(in_use);
        let resting = std::mem::take(&mut *self.0.resting.lock());
        for Resting { conn, .. } in resting {
            // It is over either way.
            let _ = conn.close().await;
        }
    }
}

impl Inner {
    async fn find(&self) -> Result<(AnyConnection, Instant), Error> {
        loop {
            let Some(Resting { mut conn, opened, since }) = self.resting.lock().pop_back() else { break };
            // One that is kept for ever may not be lost with a caller who gives up here.
            let is_trusted = since.elapsed() < REST || self.rules.life.is_none();
            if is_trusted || conn.ping().await.is_ok() {
                return Ok((conn, opened));
            }
            self.distrust();
        }
        let mut conn = self.connect().await?;
        for statement in self.rules.first {
            conn.execute(*statement).await?;
        }
        Ok((conn, Instant::now()))
    }

    /// Waits for a server that is about to start.
    async fn connect(&self) -> Result<AnyConnection, Error> {
        loop {
            match self.options.connect().await {
                Err(Error::Io(why)) if why.kind() == ErrorKind::ConnectionRefused => {}
                // It starts up or shuts down, or has no connection left.
                Err(Error::Database(why)) if matches!(why.code().as_deref(), Some("57P03" | "53300")) => {}
                other => return other,
            }
            tokio::time::sleep(KNOCK_AGAIN).await;
        }
    }

    /// One broke: the others that rest may have, with the same server.
    fn distrust(&self) {
        if self.rules.life.is_some() {
            self.resting.lock().clear();
        }
    }

    fn take_back(&self, conn: AnyConnection, opened: Instant) {
        let Rules { idle, life, .. } = self.rules;
        if self.free.is_closed() || life.is_some_and(|life| opened.elapsed() > life) {
            return;
        }
        let mut resting = self.resting.lock();
        resting.push_back(Resting { conn, opened, since: Instant::now() });
        if let Some(idle) = idle {
            while resting.front().is_some_and(|first| first.since.elapsed() > idle) {
                resting.pop_front();
            }
        }
    }
}

impl Lent {
    fn conn(&mut self) -> &mut AnyConnection {
        self.conn.as_mut().expect("only gone when dropped")
    }

    /// What came of the one statement it was lent for, all of it read.
    fn done<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if result.as_ref().is_err_and(breaks) {
            self.pool.distrust();
        } else {
            self.before = Before::Nothing;
        }
        result
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(mut conn), pool, opened) = (self.conn.take(), Arc::clone(&self.pool), self.opened) else {
            return;
        };
        let before = self.before;
        if before == Before::Nothing {
            return pool.take_back(conn, opened);
        }
        let (permit, Ok(runtime)) = (self.permit.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            match timeout(UNDO, clear(&mut conn, before)).await {
                Ok(Ok(())) => pool.take_back(conn, opened),
                // An error of the statement that was given up: it is not known how far this got.
                Ok(Err(error)) if !breaks(&error) => {}
                _ => pool.distrust(),
            }
            drop(permit);
        });
    }
}

/// Lets what is under way come to its end, and undoes what it must.
async fn clear(conn: &mut AnyConnection, before: Before) -> Result<(), Error> {
    if before != Before::Undo {
        return conn.ping().await;
    }
    match conn.execute("ROLLBACK").await {
        // SQLite has nothing to undo, for one when a full disk made it do so by itself.
        Err(Error::Database(why)) if why.code().as_deref() == Some("1") => Ok(()),
        result => result.map(drop),
    }
}

/// Whether a connection is of no use after this: all but what the database says
/// of a statement, unless it says that it ends the session (class 57P).
fn breaks(error: &Error) -> bool {
    match error {
        Error::Database(why) => why.code().is_some_and(|code| code.starts_with("57P")),
        _ => true,
    }
}

/// A transaction; dropping it undoes it.
#[derive(Debug)]
pub struct Tx(Lent);

impl Tx {
    pub(super) async fn begin(pool: &Pool, begin: &'static str) -> Result<Self, Error> {
        let mut tx = Self(pool.acquire().await?);
        tx.0.before = Before::Undo;
        tx.execute(begin).await?;
        Ok(tx)
    }

    /// Lets all of it take effect.
    ///
    /// # Errors
    /// sqlx's; what became of it is then not known.
    pub async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    /// Undoes it, and waits until it is undone.
    ///
    /// # Errors
    /// sqlx's; it is undone then, too.
    pub async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<(), Error> {
        self.execute(how).await?;
        self.0.before = Before::Nothing;
        Ok(())
    }
}

impl Deref for Tx {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        self.0.conn.as_ref().expect("only gone when dropped")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        self.0.conn()
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let all = async move {
            let mut lent = self.acquire().await?;
            let all = lent.conn().fetch_many(query).try_collect::<Vec<_>>().await;
            lent.done(all).map(|all| stream::iter(all.into_iter().map(Ok::<_, Error>)))
        };
        stream::once(all).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        // Not the connection's own, which leaves unread what comes after the row.
        Box::pin(async move { self.fetch(query).try_next().await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.conn().prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.conn().describe(sql).await })
    }
}
