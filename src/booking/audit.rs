//! The sweep over what must always hold (DESIGN, 7: 12–21).
//!
//! Plain questions to the database, each of which must find nothing. Read in
//! one snapshot, so a sale under way is no finding. Never mends anything.

mod rules;

use std::time::Duration;

use serde::Serialize;
use sqlx::any::AnyRow;

use super::db::{DbError, RowExt as _, millis};
use super::{Booking, outbox};
pub use rules::Rule;
use rules::{ALWAYS, LATELY, MAILED};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: &'static str,
    /// Where: an order, a seat, a wallet.
    pub subject: String,
}

/// Messages are looked for this much before they may be dropped: the clocks of
/// processes differ.
const MARGIN: Duration = Duration::from_secs(24 * 3_600);

/// Every rule there is.
pub fn rules() -> impl Iterator<Item = Rule> {
    ALWAYS.into_iter().chain(LATELY).chain([MAILED])
}

impl Booking {
    /// Everything that must not be, at this moment; nothing, if all is well.
    ///
    /// # Errors
    /// [`DbError`]
    pub async fn audit(&self) -> Result<Vec<Finding>, DbError> {
        let since = millis(self.now() - (outbox::KEPT - MARGIN));
        let mut tx = self.db.snapshot().await?;
        let mut findings = Vec::new();
        for rule in ALWAYS {
            let rows = sqlx::query(rule.sql).fetch_all(&mut *tx).await?;
            note(&mut findings, rule, &rows)?;
        }
        let mailed = (self.mailer.is_some() && self.kafka.is_none()).then_some(MAILED);
        for rule in LATELY.into_iter().chain(mailed) {
            let rows = sqlx::query(rule.sql).bind(since).fetch_all(&mut *tx).await?;
            note(&mut findings, rule, &rows)?;
        }
        tx.rollback().await?;
        Ok(findings)
    }
}

fn note(findings: &mut Vec<Finding>, rule: Rule, rows: &[AnyRow]) -> Result<(), DbError> {
    for row in rows {
        findings.push(Finding { rule: rule.says, subject: row.text("subject")? });
    }
    Ok(())
}
