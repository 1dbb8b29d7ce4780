//! A concert to try things with.

use std::time::Duration;

use super::{Kind, NewEvent, NewRow, NewSection, RowLabel};
use crate::domain::time::Timestamp;

/// The sample event's id.
pub const ID: &str = "winter-night-live";

/// Sections as code, name, price in won, rows, seats in a row; 2,000 seats together.
const SECTIONS: [(&str, &str, i64, u32, u32); 8] = [
    ("A", "Floor A", 176_000, 10, 20),
    ("B", "Floor B", 176_000, 10, 20),
    ("C", "Lower ring left", 143_000, 12, 18),
    ("D", "Lower ring centre", 154_000, 12, 26),
    ("E", "Lower ring right", 143_000, 12, 18),
    ("F", "Upper ring left", 99_000, 14, 18),
    ("G", "Upper ring centre", 110_000, 14, 26),
    ("H", "Upper ring right", 99_000, 12, 20),
];

/// The concert, thirty days from `now` at half past seven in Seoul, on sale for an hour.
#[must_use]
pub fn event(now: Timestamp) -> NewEvent {
    const DAY_MS: u64 = 86_400_000;
    // 19:30 in Seoul is 10:30 UTC.
    let midnight = now.as_millis() / DAY_MS * DAY_MS;
    NewEvent {
        series_id: None,
        title: "HAEDAL — Winter Night Live".into(),
        venue: "Hangang Hall, Seoul".into(),
        starts_at: midnight + 30 * DAY_MS + 10 * 3_600_000 + 30 * 60_000,
        sale_opens_at: (now - Duration::from_secs(3_600)).as_millis(),
        refund_until_at: None,
        refund_fee_percent: None,
        currency: "KRW".into(),
        sections: SECTIONS.into_iter().map(section).collect(),
    }
}

fn section((code, name, price, rows, seats): (&str, &str, i64, u32, u32)) -> NewSection {
    NewSection {
        code: Some(code.to_owned()),
        name: name.to_owned(),
        kind: Kind::Seated,
        price,
        rows: (1..=rows)
            .map(|row| NewRow { row: RowLabel::Number(row), seats, accessible: Vec::new() })
            .collect(),
        capacity: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_two_thousand_seats() {
        let seats: u32 = SECTIONS.iter().map(|(.., rows, seats)| rows * seats).sum();
        assert_eq!(seats, 2_000);
    }
}
