//! Who waits and who talks, as all sockets of this process see it.
//!
//! One task reads it, when something was done here and a few times a second for
//! what was done elsewhere; sockets compare it with what they have told. Nothing is
//! passed from hand to hand that could be lost on the way, but for who is writing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::any::AnyRow;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _};
use crate::booking::socket::Slots;
use crate::domain::matching::{Party, SessionId};
use crate::domain::order::AccountId;

/// Between two looks at what other processes did.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What is done within this time is one look.
const SPACING: Duration = Duration::from_millis(15);
/// Between two signs of life of those whose socket is open.
const HEAR_EVERY: Duration = Duration::from_secs(20);
/// Between two looks for those who are gone.
const MIND_EVERY: Duration = Duration::from_secs(1);
/// Words of who is writing that may wait for a slow socket.
const TYPING: usize = 256;

/// One who writes, told to the other at once or never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Typing {
    pub(super) session: SessionId,
    pub(super) from: Party,
}

/// A session that goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Talk {
    pub(super) id: SessionId,
    pub(super) customer: AccountId,
    pub(super) customer_name: String,
    pub(super) counsellor_name: String,
    pub(super) last_message: u64,
    pub(super) customer_read: u64,
    pub(super) counsellor_read: u64,
}

/// Where an account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Waits; 1 is next.
    Queued(u64),
    /// Talks, or is offered to.
    Talks(Arc<Talk>),
}

/// Where everybody stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picture(HashMap<AccountId, Standing>);

impl Picture {
    pub(super) fn of(&self, account: AccountId) -> Option<&Standing> {
        self.0.get(&account)
    }
}

/// Keeps the picture.
pub(super) struct Follower {
    picture: watch::Sender<Arc<Picture>>,
    bell: Notify,
    /// Somebody came who has seen no picture yet.
    newcomer: AtomicBool,
    pub(super) typing: broadcast::Sender<Typing>,
    /// Open sockets by account.
    here: Mutex<HashMap<AccountId, usize>>,
    pub(super) slots: Arc<Slots>,
    /// The process is about to end.
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// An open socket's account; counted until dropped.
pub(super) struct Here {
    booking: Arc<Booking>,
    account: AccountId,
}

impl Drop for Here {
    fn drop(&mut self) {
        let mut here = self.booking.support.0.here.lock();
        if let Some(sockets) = here.get_mut(&self.account) {
            *sockets -= 1;
            if *sockets == 0 {
                here.remove(&self.account);
            }
        }
    }
}

impl Follower {
    pub(super) fn new(sockets: usize, per_address: usize) -> Self {
        Self {
            picture: watch::Sender::new(Arc::default()),
            bell: Notify::new(),
            newcomer: AtomicBool::new(false),
            typing: broadcast::Sender::new(TYPING),
            here: Mutex::default(),
            slots: Slots::new(sockets, per_address),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Something was changed here.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// The account has a socket now; the next picture is new to it.
    pub(super) fn enter(booking: &Arc<Booking>, account: AccountId) -> (Here, watch::Receiver<Arc<Picture>>) {
        let follower = &booking.support.0;
        *follower.here.lock().entry(account).or_default() += 1;
        let picture = follower.picture.subscribe();
        follower.newcomer.store(true, Ordering::Release);
        follower.ring();
        (Here { booking: Arc::clone(booking), account }, picture)
    }
}

impl Booking {
    /// Until `shutdown`.
    pub(super) async fn follow_support(self: &Arc<Self>, shutdown: &CancellationToken) {
        let follower = &self.support.0;
        let (mut heard, mut minded) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = follower.bell.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look_around(&mut heard, &mut minded).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "support is behind");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            tokio::time::sleep(SPACING).await;
        }
    }

    async fn look_around(&self, heard: &mut Instant, minded: &mut Instant) -> Result<(), DbError> {
        if minded.elapsed() >= MIND_EVERY {
            self.mind_desk_once().await?;
            *minded = Instant::now();
        }
        let follower = &self.support.0;
        let here: Vec<_> = follower.here.lock().keys().copied().collect();
        if here.is_empty() {
            return Ok(());
        }
        let is_new = follower.newcomer.swap(false, Ordering::AcqRel);
        if is_new || heard.elapsed() >= HEAR_EVERY {
            self.hear_of(&here).await?;
            *heard = Instant::now();
        }
        let picture = match self.support_picture().await {
            Ok(picture) => Arc::new(picture),
            Err(error) => {
                follower.newcomer.fetch_or(is_new, Ordering::AcqRel);
                return Err(error);
            }
        };
        follower.picture.send_if_modified(|shown| {
            let is_news = is_new || *shown != picture;
            *shown = picture;
            is_news
        });
        Ok(())
    }

    async fn support_picture(&self) -> Result<Picture, DbError> {
        let mut tx = self.db.snapshot().await?;
        let queue = sqlx::query(
            "SELECT account_id FROM support_requests WHERE state = 'QUEUED' ORDER BY created_at, id",
        );
        let queue = queue.fetch_all(&mut *tx).await?;
        let talks = sqlx::query(
            "SELECT s.id, s.customer, s.counsellor, s.last_message, s.customer_read, s.counsellor_read,
                    c.name AS customer_name, a.name AS counsellor_name
             FROM support_sessions s JOIN accounts c ON c.id = s.customer JOIN accounts a ON a.id = s.counsellor
             WHERE s.state IN ('OFFERED', 'ACTIVE')",
        );
        let talks = talks.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let mut all = HashMap::with_capacity(queue.len() + 2 * talks.len());
        for (row, position) in queue.iter().zip(1..) {
            all.insert(row.parsed("account_id")?, Standing::Queued(position));
        }
        for row in &talks {
            let talk = Arc::new(talk_of(row)?);
            all.insert(row.parsed("counsellor")?, Standing::Talks(Arc::clone(&talk)));
            all.insert(talk.customer, Standing::Talks(talk));
        }
        Ok(Picture(all))
    }
}

fn talk_of(row: &AnyRow) -> Result<Talk, DbError> {
    Ok(Talk {
        id: row.parsed("id")?,
        customer: row.parsed("customer")?,
        customer_name: row.text("customer_name")?,
        counsellor_name: row.text("counsellor_name")?,
        last_message: row.count("last_message")?,
        customer_read: row.count("customer_read")?,
        counsellor_read: row.count("counsellor_read")?,
    })
}
