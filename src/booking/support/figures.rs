//! A counsellor's day in figures.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Figures;
use crate::booking::Booking;
use crate::booking::db::RowExt as _;
use crate::booking::problem::{Code, Problem};
use crate::domain::order::AccountId;

/// The day's first and its next day's first millisecond, UTC.
fn bounds(date: &str) -> Option<(i64, i64)> {
    let day: Date = date.parse().ok().filter(|day: &Date| day.to_string() == date)?;
    let start = |day: Date| Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond());
    Some((start(day)?, start(day.checked_add(1.day()).ok()?)?))
}

impl Booking {
    /// # Errors
    /// `malformed`
    pub(super) async fn figures_of(&self, counsellor: AccountId, date: &str) -> Result<Figures, Problem> {
        let malformed = || Problem::new(Code::Malformed).because("date: expected a day such as 2026-12-24");
        let (from, to) = bounds(date).ok_or_else(malformed)?;
        let row = sqlx::query(
            "SELECT COUNT(*) AS sessions,
                    CAST(COALESCE(SUM(s.ended_at - COALESCE(s.accepted_at, s.offered_at)), 0) AS BIGINT) AS handling_ms,
                    CAST(COALESCE(SUM(s.offered_at - r.created_at), 0) AS BIGINT) AS waiting_ms
             FROM support_sessions s JOIN support_requests r ON r.id = s.request_id
             WHERE s.counsellor = $1 AND s.state = 'ENDED' AND s.ended_at >= $2 AND s.ended_at < $3",
        );
        let row = row.bind(counsellor.to_string()).bind(from).bind(to).fetch_one(self.db.read()).await?;
        let sessions = row.count("sessions")?;
        Ok(Figures {
            date: date.to_owned(),
            sessions,
            mean_handling_ms: row.count("handling_ms")?.checked_div(sessions),
            mean_waiting_ms: row.count("waiting_ms")?.checked_div(sessions),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(bounds("1970-01-01"), Some((0, 86_400_000)));
        assert_eq!(bounds("2028-02-29").map(|(from, to)| to - from), Some(86_400_000));
        for bad in
            ["", "2027-02-29", "2026-13-01", "24-12-2026", "2026-12-24T00:00", "2026-1-1", " 2026-12-24"]
        {
            assert_eq!(bounds(bad), None, "{bad}");
        }
        // The calendar's last day has no next one.
        assert_eq!(bounds("9999-12-31"), None);
    }
}
