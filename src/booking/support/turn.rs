//! One change at the desk, and what follows from it.

use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, Tx, millis};
use crate::domain::matching::{
    COUNSELLOR_SILENT, CUSTOMER_SILENT, CounsellorState, OFFER, Party, RequestState, SessionId,
};
use crate::domain::time::Timestamp;

/// The right to change who answers whom, until it is given back; dropped, nothing
/// was changed.
pub(super) struct Turn {
    pub(super) tx: Tx,
    now: Timestamp,
}

/// What becomes of a request whose session ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Over,
    /// Its counsellor is gone: it waits again, where it waited.
    Again,
}

impl Turn {
    pub(super) async fn run(&mut self, sql: &'static str, texts: &[&str]) -> Result<u64, DbError> {
        let mut query = sqlx::query(sql).bind(millis(self.now));
        for text in texts {
            query = query.bind((*text).to_owned());
        }
        Ok(query.execute(&mut *self.tx).await?.rows_affected())
    }

    /// Gives those who are ready those who wait, both in the order they came.
    async fn pair(&mut self) -> Result<(), DbError> {
        loop {
            // After each change one of the two is empty: this is no product of crowds.
            let next = sqlx::query(
                "SELECT c.account_id AS counsellor, r.id, r.account_id AS customer
                 FROM support_requests r JOIN counsellors c ON c.account_id <> r.account_id
                 WHERE r.state = 'QUEUED' AND c.state = 'READY'
                 ORDER BY r.created_at, r.id, c.since_at, c.account_id LIMIT 1",
            );
            let Some(next) = next.fetch_optional(&mut *self.tx).await? else { return Ok(()) };
            let (counsellor, request, customer) =
                (next.text("counsellor")?, next.text("id")?, next.text("customer")?);
            self.run(
                "UPDATE counsellors SET state = 'BUSY', since_at = $1 WHERE account_id = $2",
                &[&counsellor],
            )
            .await?;
            sqlx::query("UPDATE support_requests SET state = 'MATCHED' WHERE id = $1")
                .bind(request.as_str())
                .execute(&mut *self.tx)
                .await?;
            let offered_again = self
                .run(
                    "UPDATE support_sessions SET state = 'OFFERED', offered_at = $1, counsellor = $2
                     WHERE request_id = $3 AND state = 'WAITING'",
                    &[&counsellor, &request],
                )
                .await?;
            if offered_again == 0 {
                let id = SessionId::from_bits(uuid::Uuid::new_v4().as_u128()).to_string();
                self.run(
                    "INSERT INTO support_sessions
                       (created_at, offered_at, id, request_id, customer, counsellor, state)
                     VALUES ($1, $1, $2, $3, $4, $5, 'OFFERED')",
                    &[&id, &request, &customer, &counsellor],
                )
                .await?;
            }
        }
    }

    /// Ends a session: the counsellor is free, the session says how it ended, the
    /// request goes on or is over. Whether it was not ended before.
    pub(super) async fn end(&mut self, session: &str, by: Party, then: Then) -> Result<bool, DbError> {
        let ended = sqlx::query(
            "UPDATE support_sessions SET state = 'ENDED', ended_at = $1, ended_by = $2
             WHERE id = $3 AND state <> 'ENDED' RETURNING counsellor, request_id",
        );
        let ended = ended.bind(millis(self.now)).bind(by.as_str()).bind(session.to_owned());
        let Some(ended) = ended.fetch_optional(&mut *self.tx).await? else { return Ok(false) };
        if let Some(counsellor) = ended.maybe_text("counsellor")? {
            self.free(&counsellor, CounsellorState::AfterCall).await?;
        }
        let state = if then == Then::Over { RequestState::Ended } else { RequestState::Queued };
        sqlx::query("UPDATE support_requests SET state = $1 WHERE id = $2 AND state <> 'ENDED'")
            .bind(state.as_str())
            .bind(ended.text("request_id")?)
            .execute(&mut *self.tx)
            .await?;
        Ok(true)
    }

    async fn free(&mut self, counsellor: &str, to: CounsellorState) -> Result<(), DbError> {
        self.run(
            "UPDATE counsellors SET since_at = $1, state = $2 WHERE account_id = $3 AND state = 'BUSY'",
            &[to.as_str(), counsellor],
        )
        .await
        .map(drop)
    }

    /// An offer that was not taken: the customer waits again where it waited, with
    /// what it said meanwhile.
    async fn take_back(&mut self, session: &str, counsellor: &str, request: &str) -> Result<(), DbError> {
        sqlx::query("UPDATE support_sessions SET state = 'WAITING', counsellor = NULL WHERE id = $1")
            .bind(session)
            .execute(&mut *self.tx)
            .await?;
        sqlx::query("UPDATE support_requests SET state = 'QUEUED' WHERE id = $1")
            .bind(request)
            .execute(&mut *self.tx)
            .await?;
        // Who did not answer this one is not asked for the next.
        self.free(counsellor, CounsellorState::Online).await
    }

    pub(super) async fn take_back_offers(&mut self) -> Result<(), DbError> {
        let late = sqlx::query(
            "SELECT id, counsellor, request_id FROM support_sessions
             WHERE state = 'OFFERED' AND offered_at <= $1 ORDER BY offered_at",
        );
        for row in late.bind(millis(self.now - OFFER)).fetch_all(&mut *self.tx).await? {
            let (session, counsellor, request) =
                (row.text("id")?, row.text("counsellor")?, row.text("request_id")?);
            tracing::info!(session, counsellor, "an offered session was not taken");
            self.take_back(&session, &counsellor, &request).await?;
        }
        Ok(())
    }

    pub(super) async fn miss_counsellors(&mut self) -> Result<(), DbError> {
        let gone = sqlx::query(
            "SELECT c.account_id, s.id AS session_id, s.state AS session_state, s.request_id
             FROM counsellors c JOIN accounts a ON a.id = c.account_id
             LEFT JOIN support_sessions s
               ON s.counsellor = c.account_id AND s.state IN ('OFFERED', 'ACTIVE')
             WHERE c.state <> 'OFFLINE' AND (c.seen_at <= $1 OR a.role <> 'counsellor')",
        );
        let gone = gone.bind(millis(self.now - COUNSELLOR_SILENT)).fetch_all(&mut *self.tx).await?;
        for row in gone {
            let counsellor = row.text("account_id")?;
            if let Some(session) = row.maybe_text("session_id")? {
                tracing::warn!(session, counsellor, "a counsellor is gone, its customer waits again");
                if row.text("session_state")? == "OFFERED" {
                    self.take_back(&session, &counsellor, &row.text("request_id")?).await?;
                } else {
                    self.end(&session, Party::System, Then::Again).await?;
                }
            }
            self.run(
                "UPDATE counsellors SET since_at = $1, state = 'OFFLINE' WHERE account_id = $2",
                &[&counsellor],
            )
            .await?;
        }
        Ok(())
    }

    pub(super) async fn miss_customers(&mut self) -> Result<(), DbError> {
        let gone = sqlx::query(
            "SELECT r.id, s.id AS session_id FROM support_requests r
             LEFT JOIN support_sessions s ON s.request_id = r.id AND s.state <> 'ENDED'
             WHERE r.state <> 'ENDED' AND r.seen_at <= $1",
        );
        let gone = gone.bind(millis(self.now - CUSTOMER_SILENT)).fetch_all(&mut *self.tx).await?;
        for row in gone {
            self.give_up(&row.text("id")?, row.maybe_text("session_id")?, Party::System).await?;
        }
        Ok(())
    }

    pub(super) async fn give_up(
        &mut self,
        request: &str,
        session: Option<String>,
        by: Party,
    ) -> Result<(), DbError> {
        if let Some(session) = session {
            return self.end(&session, by, Then::Over).await.map(drop);
        }
        sqlx::query("UPDATE support_requests SET state = 'ENDED' WHERE id = $1")
            .bind(request)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }
}

impl Booking {
    pub(super) async fn take_turn(&self) -> Result<Turn, DbError> {
        let mut tx = self.db.begin().await?;
        let lock = self.db.pick(
            "SELECT id FROM support_turn WHERE id = 0",
            "SELECT id FROM support_turn WHERE id = 0 FOR UPDATE",
        );
        sqlx::query(lock).fetch_one(&mut *tx).await?;
        Ok(Turn { tx, now: self.now() })
    }

    pub(super) async fn give_turn(&self, mut turn: Turn) -> Result<(), DbError> {
        turn.pair().await?;
        turn.tx.commit().await?;
        self.support.0.ring();
        Ok(())
    }
}
