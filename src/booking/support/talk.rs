//! What is said in a session: numbered from 1, without gaps, kept.

use sqlx::any::AnyRow;

use crate::booking::Booking;
use crate::booking::db::{DbError, RowExt as _, millis};
use crate::booking::problem::{Code, Problem};
use crate::domain::matching::{Party, SessionId, SessionState};
use crate::domain::order::AccountId;

/// Messages in one look.
const AT_ONCE: i64 = 100;

/// One message.
pub(super) struct Said {
    pub(super) id: u64,
    pub(super) from: Party,
    pub(super) text: String,
    pub(super) sent_at: u64,
}

impl Booking {
    /// Says something in a session of the caller's. A counsellor who does takes it.
    ///
    /// # Errors
    /// `not_found` when the session is over, or somebody else's.
    pub(super) async fn say(&self, who: AccountId, session: SessionId, text: &str) -> Result<(), Problem> {
        let mut tx = self.db.begin().await?;
        // The row's lock puts messages in order.
        let row = sqlx::query(
            "UPDATE support_sessions SET last_message = last_message + 1
             WHERE id = $1 AND state <> 'ENDED' AND (customer = $2 OR counsellor = $2)
             RETURNING last_message, customer, state",
        );
        let row = row.bind(session.to_string()).bind(who.to_string()).fetch_optional(&mut *tx).await?;
        let row = row.ok_or(Code::NotFound)?;
        let is_customer = row.text("customer")? == who.to_string();
        let sender = if is_customer { Party::Customer } else { Party::Counsellor };
        sqlx::query(
            "INSERT INTO support_messages (session_id, id, sender, text, sent_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(session.to_string())
        .bind(row.int("last_message")?)
        .bind(sender.as_str())
        .bind(text)
        .bind(millis(self.now()))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.support.0.ring();
        if !is_customer && row.named("state", SessionState::from_name)? == SessionState::Offered {
            self.accept_session(who, session).await?;
        }
        Ok(())
    }

    /// Notes that the caller has read up to message `id` of the session.
    pub(super) async fn read_up_to(
        &self,
        who: AccountId,
        session: SessionId,
        id: u64,
    ) -> Result<(), DbError> {
        let id = i64::try_from(id).unwrap_or(i64::MAX);
        let mut tx = self.db.begin().await?;
        for sql in [
            "UPDATE support_sessions SET customer_read = $1
             WHERE id = $2 AND customer = $3 AND customer_read < $1 AND $1 <= last_message AND state <> 'ENDED'",
            "UPDATE support_sessions SET counsellor_read = $1
             WHERE id = $2 AND counsellor = $3 AND counsellor_read < $1 AND $1 <= last_message AND state <> 'ENDED'",
        ] {
            let query = sqlx::query(sql).bind(id).bind(session.to_string()).bind(who.to_string());
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        self.support.0.ring();
        Ok(())
    }

    /// What was said after message `after`, oldest first, a hundred at most; nothing
    /// of a session that is not the caller's.
    pub(super) async fn said_after(
        &self,
        who: AccountId,
        session: SessionId,
        after: u64,
    ) -> Result<Vec<Said>, DbError> {
        let rows = sqlx::query(
            "SELECT m.id, m.sender, m.text, m.sent_at FROM support_messages m
             JOIN support_sessions s ON s.id = m.session_id
             WHERE m.session_id = $1 AND m.id > $2 AND (s.customer = $3 OR s.counsellor = $3)
             ORDER BY m.id LIMIT $4",
        );
        let rows = rows
            .bind(session.to_string())
            .bind(i64::try_from(after).unwrap_or(i64::MAX))
            .bind(who.to_string())
            .bind(AT_ONCE);
        rows.fetch_all(self.db.read()).await?.iter().map(said_of).collect()
    }

    /// The caller's side of a session, and who ended it; none when it is not, or no
    /// longer, the caller's.
    pub(super) async fn side_of(
        &self,
        who: AccountId,
        session: SessionId,
    ) -> Result<Option<(Party, Option<Party>)>, DbError> {
        let row = sqlx::query(
            "SELECT customer, ended_by FROM support_sessions
             WHERE id = $1 AND (customer = $2 OR counsellor = $2)",
        );
        let row = row.bind(session.to_string()).bind(who.to_string());
        let Some(row) = row.fetch_optional(self.db.read()).await? else { return Ok(None) };
        let is_customer = row.text("customer")? == who.to_string();
        let by = row.maybe_text("ended_by")?.as_deref().and_then(Party::from_name);
        Ok(Some((if is_customer { Party::Customer } else { Party::Counsellor }, by)))
    }
}

fn said_of(row: &AnyRow) -> Result<Said, DbError> {
    Ok(Said {
        id: row.count("id")?,
        from: row.named("sender", Party::from_name)?,
        text: row.text("text")?,
        sent_at: row.count("sent_at")?,
    })
}
