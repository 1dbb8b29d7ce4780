//! Who answers whom: every change, one at a time.
//!
//! Each change takes the one turn there is, and pairs whom it can before it gives it
//! back: so nobody who is ready overlooks somebody who waits, in whatever process
//! the two came, and no two changes lock each other out. A desk sees a few changes a
//! second; what is said goes past it.

use super::turn::Then;
use super::{CounsellorView, EndedSession, RequestView};
use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis, placeholders};
use crate::booking::problem::{Code, Problem};
use crate::domain::matching::{
    COUNSELLOR_SILENT, CUSTOMER_SILENT, CounsellorState, OFFER, Party, RequestId, RequestState, SessionId,
};
use crate::domain::order::AccountId;

/// Accounts in one statement.
const CHUNK: usize = 500;

impl Booking {
    /// A request of this customer, and whether it is a new one.
    pub(super) async fn request_support(
        &self,
        customer: AccountId,
        topic: &str,
    ) -> Result<(RequestId, bool), DbError> {
        let mut turn = self.take_turn().await?;
        let live = sqlx::query("SELECT id FROM support_requests WHERE account_id = $1 AND state <> 'ENDED'")
            .bind(customer.to_string())
            .fetch_optional(&mut *turn.tx)
            .await?;
        if let Some(live) = live {
            return Ok((live.parsed("id")?, false));
        }
        let id = RequestId::from_bits(uuid::Uuid::new_v4().as_u128());
        turn.run(
            "INSERT INTO support_requests (created_at, seen_at, id, account_id, topic, state)
             VALUES ($1, $1, $2, $3, $4, 'QUEUED')",
            &[&id.to_string(), &customer.to_string(), topic],
        )
        .await?;
        self.give_turn(turn).await?;
        Ok((id, true))
    }

    /// Ends a request of this customer, and its session; nothing once it has ended.
    ///
    /// # Errors
    /// `not_found`
    pub(super) async fn withdraw_request(&self, customer: AccountId, id: RequestId) -> Result<(), Problem> {
        let mut turn = self.take_turn().await?;
        let row = sqlx::query(
            "SELECT r.state, s.id AS session_id FROM support_requests r
             LEFT JOIN support_sessions s ON s.request_id = r.id AND s.state <> 'ENDED'
             WHERE r.id = $1 AND r.account_id = $2",
        );
        let row = row.bind(id.to_string()).bind(customer.to_string()).fetch_optional(&mut *turn.tx).await?;
        let row = row.ok_or(Code::NotFound)?;
        if row.named("state", RequestState::from_name)? != RequestState::Ended {
            turn.give_up(&id.to_string(), row.maybe_text("session_id")?, Party::Customer).await?;
            self.give_turn(turn).await?;
        }
        Ok(())
    }

    /// Changes a counsellor's state; the one it has already is no change.
    ///
    /// # Errors
    /// `illegal_state` with `allowed`
    pub(super) async fn choose_state(
        &self,
        counsellor: AccountId,
        wanted: CounsellorState,
    ) -> Result<(), Problem> {
        let mut turn = self.take_turn().await?;
        let account = counsellor.to_string();
        turn.run(
            "INSERT INTO counsellors (since_at, seen_at, account_id, state) VALUES ($1, $1, $2, 'OFFLINE')
             ON CONFLICT (account_id) DO UPDATE SET seen_at = $1",
            &[&account],
        )
        .await?;
        let row = sqlx::query("SELECT state FROM counsellors WHERE account_id = $1")
            .bind(account.as_str())
            .fetch_one(&mut *turn.tx)
            .await?;
        let state = row.named("state", CounsellorState::from_name)?;
        if state != wanted {
            if !state.choices().contains(&wanted) {
                let problem = Problem::new(Code::IllegalState).with("state", state.as_str());
                return Err(problem.with("allowed", names(state)));
            }
            turn.run(
                "UPDATE counsellors SET since_at = $1, state = $2 WHERE account_id = $3",
                &[wanted.as_str(), &account],
            )
            .await?;
        }
        Ok(self.give_turn(turn).await?)
    }

    /// A counsellor takes the session it was offered.
    ///
    /// # Errors
    /// `not_found` when it is not, or no longer, offered to this one.
    pub(super) async fn accept_session(&self, counsellor: AccountId, id: SessionId) -> Result<(), Problem> {
        let mut turn = self.take_turn().await?;
        let taken = turn
            .run(
                "UPDATE support_sessions SET state = 'ACTIVE', accepted_at = COALESCE(accepted_at, $1)
                 WHERE id = $2 AND counsellor = $3 AND state IN ('OFFERED', 'ACTIVE')",
                &[&id.to_string(), &counsellor.to_string()],
            )
            .await?;
        if taken == 0 {
            return Err(Code::NotFound.into());
        }
        Ok(self.give_turn(turn).await?)
    }

    /// A counsellor ends its session, or adds the summary to one that has ended.
    ///
    /// # Errors
    /// `not_found`
    pub(super) async fn end_session(
        &self,
        counsellor: AccountId,
        id: SessionId,
        summary: Option<&str>,
    ) -> Result<EndedSession, Problem> {
        let (session, counsellor) = (id.to_string(), counsellor.to_string());
        let mut turn = self.take_turn().await?;
        let mine = sqlx::query("SELECT 1 FROM support_sessions WHERE id = $1 AND counsellor = $2");
        let mine = mine.bind(session.as_str()).bind(counsellor).fetch_optional(&mut *turn.tx).await?;
        mine.ok_or(Code::NotFound)?;
        turn.end(&session, Party::Counsellor, Then::Over).await?;
        if let Some(summary) = summary {
            sqlx::query("UPDATE support_sessions SET summary = COALESCE(summary, $1) WHERE id = $2")
                .bind(summary)
                .bind(session.as_str())
                .execute(&mut *turn.tx)
                .await?;
        }
        self.give_turn(turn).await?;
        let row = sqlx::query("SELECT ended_by, ended_at, summary FROM support_sessions WHERE id = $1")
            .bind(session.as_str())
            .fetch_one(self.db.read())
            .await?;
        Ok(EndedSession {
            session_id: session,
            state: "ENDED",
            by: row.text("ended_by")?,
            ended_at: row.count("ended_at")?,
            summary: row.maybe_text("summary")?,
        })
    }

    /// A customer ends its session.
    ///
    /// # Errors
    /// `not_found`
    pub(super) async fn leave_session(&self, customer: AccountId, id: SessionId) -> Result<(), Problem> {
        let mut turn = self.take_turn().await?;
        let mine = sqlx::query("SELECT 1 FROM support_sessions WHERE id = $1 AND customer = $2");
        let mine = mine.bind(id.to_string()).bind(customer.to_string()).fetch_optional(&mut *turn.tx).await?;
        mine.ok_or(Code::NotFound)?;
        turn.end(&id.to_string(), Party::Customer, Then::Over).await?;
        Ok(self.give_turn(turn).await?)
    }

    /// One look for offers nobody took and for people who are gone.
    ///
    /// # Errors
    /// [`DbError`]; what was not done is done by the next.
    pub async fn mind_desk_once(&self) -> Result<(), DbError> {
        if !self.is_somebody_missed().await? {
            return Ok(());
        }
        let mut turn = self.take_turn().await?;
        turn.take_back_offers().await?;
        turn.miss_counsellors().await?;
        turn.miss_customers().await?;
        self.give_turn(turn).await
    }

    /// A look before the turn is taken: an idle desk writes nothing.
    async fn is_somebody_missed(&self) -> Result<bool, DbError> {
        let now = self.now();
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM support_sessions WHERE state = 'OFFERED' AND offered_at <= $1)
                  + (SELECT COUNT(*) FROM counsellors c JOIN accounts a ON a.id = c.account_id
                     WHERE c.state <> 'OFFLINE' AND (c.seen_at <= $2 OR a.role <> 'counsellor'))
                  + (SELECT COUNT(*) FROM support_requests WHERE state <> 'ENDED' AND seen_at <= $3) AS missed",
        );
        let row = row
            .bind(millis(now - OFFER))
            .bind(millis(now - COUNSELLOR_SILENT))
            .bind(millis(now - CUSTOMER_SILENT));
        Ok(row.fetch_one(self.db.read()).await?.int("missed")? > 0)
    }

    /// These accounts are there.
    pub(super) async fn hear_of(&self, accounts: &[AccountId]) -> Result<(), DbError> {
        for chunk in accounts.chunks(CHUNK) {
            let list = placeholders(2, chunk.len());
            for sql in [
                format!("UPDATE counsellors SET seen_at = $1 WHERE account_id IN {list}"),
                format!(
                    "UPDATE support_requests SET seen_at = $1 WHERE state <> 'ENDED' AND account_id IN {list}"
                ),
            ] {
                let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(millis(self.now()));
                for account in chunk {
                    query = query.bind(account.to_string());
                }
                let mut tx = self.db.begin().await?;
                query.execute(&mut *tx).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn support_request(
        &self,
        customer: AccountId,
        id: RequestId,
    ) -> Result<Option<RequestView>, DbError> {
        let row = sqlx::query(
            "SELECT r.topic, r.state, r.created_at,
                    (SELECT s.id FROM support_sessions s WHERE s.request_id = r.id AND s.state <> 'WAITING'
                     ORDER BY s.created_at DESC LIMIT 1) AS session_id,
                    (SELECT COUNT(*) FROM support_requests o WHERE o.state = 'QUEUED'
                     AND (o.created_at < r.created_at OR o.created_at = r.created_at AND o.id <= r.id)) AS position
             FROM support_requests r WHERE r.id = $1 AND r.account_id = $2",
        );
        let row = row.bind(id.to_string()).bind(customer.to_string()).fetch_optional(self.db.read()).await?;
        let Some(row) = row else { return Ok(None) };
        let state = row.named("state", RequestState::from_name)?;
        let is_queued = state == RequestState::Queued;
        Ok(Some(RequestView {
            request_id: id.to_string(),
            topic: row.text("topic")?,
            state: state.as_str(),
            position: if is_queued { Some(row.count("position")?) } else { None },
            session_id: if is_queued { None } else { row.maybe_text("session_id")? },
            created_at: row.count("created_at")?,
        }))
    }

    pub(super) async fn counsellor_view(&self, account: AccountId) -> Result<CounsellorView, DbError> {
        let row = sqlx::query(
            "SELECT c.state, c.since_at, s.id AS session_id, s.accepted_at FROM counsellors c
             LEFT JOIN support_sessions s ON s.counsellor = c.account_id AND s.state IN ('OFFERED', 'ACTIVE')
             WHERE c.account_id = $1",
        );
        let row = row.bind(account.to_string()).fetch_optional(self.db.read()).await?;
        let (state, since_at, session_id, accepted_at) = match row {
            Some(row) => (
                row.named("state", CounsellorState::from_name)?,
                row.count("since_at")?,
                row.maybe_text("session_id")?,
                row.maybe_int("accepted_at")?.and_then(|at| u64::try_from(at).ok()),
            ),
            None => (CounsellorState::Offline, self.now().as_millis(), None, None),
        };
        Ok(CounsellorView {
            account_id: account.to_string(),
            state: state.as_str(),
            since_at,
            allowed: names(state),
            session_id,
            accepted_at,
        })
    }
}

fn names(state: CounsellorState) -> Vec<&'static str> {
    state.choices().iter().map(|state| state.as_str()).collect()
}
