//! What a mail says, as text and as HTML with the same words.

use std::fmt::Write as _;

use super::words::{WORDS, Words};
use crate::booking::problem::LANGUAGES;
use crate::domain::order::OrderId;
use crate::domain::time::Timestamp;

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The order is paid.
    Completed,
    /// The order is over and nothing was paid.
    Cancelled,
    /// Money went back, for all seats or some.
    Refunded,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Completed, Self::Cancelled, Self::Refunded].into_iter().find(|kind| kind.as_str() == name)
    }

    /// Which mail a message of the outbox asks for.
    pub(super) fn of_message(kind: &str) -> Option<Self> {
        match kind {
            "payment.completed" => Some(Self::Completed),
            "payment.failed" | "order.cancelled" => Some(Self::Cancelled),
            "order.refunded" => Some(Self::Refunded),
            _ => None,
        }
    }
}

/// Everything in a mail.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    pub(super) order: OrderId,
    /// Which refund, else 0.
    pub(super) part: i64,
    /// Name and address.
    pub(super) to: (String, String),
    pub(super) language: String,
    pub(super) title: String,
    pub(super) venue: String,
    pub(super) starts_at: Timestamp,
    pub(super) seats: Vec<String>,
    /// In the currency's smallest unit.
    pub(super) amount: i64,
    pub(super) currency: String,
}

impl Letter {
    /// The same for the same mail, however often it goes out.
    pub(super) fn id(&self) -> String {
        format!("{}.{}.{}", self.order, self.kind.as_str(), self.part)
    }

    fn language(&self) -> usize {
        LANGUAGES.iter().position(|language| *language == self.language).unwrap_or(0)
    }

    pub(super) fn language_tag(&self) -> &'static str {
        LANGUAGES[self.language()]
    }

    fn words(&self) -> &'static Words {
        &WORDS[self.language()]
    }

    /// `Paid: Title`
    pub(super) fn subject(&self) -> String {
        format!("{}: {}", self.words().subject[self.kind as usize], self.title)
    }

    /// Labels and values, in order.
    fn lines(&self) -> [(&'static str, String); 6] {
        let words = self.words();
        let amount = if self.kind == Kind::Refunded { words.refunded } else { words.amount };
        [
            (words.order, self.order.to_string()),
            (words.event, self.title.clone()),
            (words.when, instant(self.starts_at)),
            (words.venue, self.venue.clone()),
            (words.seats, format!("{} ({})", self.seats.join(", "), self.seats.len())),
            (amount, money(self.amount, &self.currency, self.language_tag())),
        ]
    }

    pub(super) fn text(&self) -> String {
        let words = self.words();
        let mut text = format!("{}\n\n", words.lead[self.kind as usize]);
        for (label, value) in self.lines() {
            let _ = writeln!(text, "{label}: {value}");
        }
        let _ = writeln!(text, "\n-- \n{}", words.foot);
        text
    }

    pub(super) fn html(&self) -> String {
        let words = self.words();
        let mut rows = String::new();
        for (label, value) in self.lines() {
            let _ = write!(
                rows,
                "<tr><th align=\"left\" style=\"padding-right:1em\">{}</th><td>{}</td></tr>",
                escaped(label),
                escaped(&value)
            );
        }
        format!(
            "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\"><title>{}</title></head>\
             <body><p>{}</p><table>{rows}</table><p><small>{}</small></p></body></html>",
            self.language_tag(),
            escaped(&self.subject()),
            escaped(words.lead[self.kind as usize]),
            escaped(words.foot),
        )
    }
}

/// Text that cannot become markup.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// `2026-12-21 10:30 UTC`: an event has no time zone of its own here.
fn instant(at: Timestamp) -> String {
    let ms = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_string().replace('T', " ").get(..16).unwrap_or_default().to_owned() + " UTC"
}

/// Digits after the point (ISO 4217); two unless listed.
fn decimals(currency: &str) -> usize {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// An amount of smallest units as its readers write it. The unit is spelt out:
/// `352,000원`, `KRW 352,000`, `352.000 KRW`; never a sign that several currencies share.
fn money(units: i64, currency: &str, language: &str) -> String {
    let number = number(units, decimals(currency), if language == "es" { ('.', ',') } else { (',', '.') });
    match (language, currency) {
        ("ko", "KRW") => format!("{number}원"),
        ("ja", "JPY") => format!("{number}円"),
        ("zh", "CNY") => format!("{number}元"),
        ("en", _) => format!("{currency} {number}"),
        _ => format!("{number} {currency}"),
    }
}

/// Digits in groups of three, and the fraction.
fn number(units: i64, decimals: usize, (group, point): (char, char)) -> String {
    let digits = format!("{:0width$}", units.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let mut text = String::from(if units < 0 { "-" } else { "" });
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            text.push(group);
        }
        text.push(digit);
    }
    if decimals > 0 {
        text.push(point);
        text.push_str(fraction);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(language: &str) -> Letter {
        Letter {
            kind: Kind::Completed,
            order: OrderId::from_bits(7),
            part: 0,
            to: ("Fan".into(), "fan@example.org".into()),
            language: language.into(),
            title: "<b>Rock & \"Roll\"</b>".into(),
            venue: "O'Hall".into(),
            starts_at: Timestamp::from_millis(1_795_219_200_000),
            seats: vec!["A-1-1".into(), "A-1-2".into()],
            amount: 352_000,
            currency: "KRW".into(),
        }
    }

    #[test]
    fn money_is_written_as_its_readers_do() {
        for (units, currency, language, text) in [
            (352_000, "KRW", "ko", "352,000원"),
            (352_000, "KRW", "en", "KRW 352,000"),
            (352_000, "KRW", "es", "352.000 KRW"),
            (1_200, "JPY", "ja", "1,200円"),
            (123_456, "CNY", "zh", "1,234.56元"),
            (123_456, "EUR", "es", "1.234,56 EUR"),
            (5, "USD", "en", "USD 0.05"),
            (0, "KRW", "zh", "0 KRW"),
            (-1_234, "KWD", "ja", "-1.234 KWD"),
            (i64::MIN, "JPY", "en", "JPY -9,223,372,036,854,775,808"),
        ] {
            assert_eq!(money(units, currency, language), text);
        }
    }

    #[test]
    fn every_language_says_everything_and_escapes_it() {
        for language in LANGUAGES {
            let letter = letter(language);
            for body in [letter.text(), letter.html()] {
                for part in
                    ["A-1-1, A-1-2 (2)", "2026-11-21 00:00 UTC", "352", &OrderId::from_bits(7).to_string()]
                {
                    assert!(body.contains(part), "{language}: {part}: {body}");
                }
            }
            assert!(letter.text().contains("<b>Rock & \"Roll\"</b>"));
            let html = letter.html();
            assert!(!html.contains("<b>") && html.contains("&lt;b&gt;Rock &amp; &quot;Roll&quot;"), "{html}");
            assert!(html.contains("O&#39;Hall") && html.contains(&format!("lang=\"{language}\"")), "{html}");
        }
        assert_eq!(letter("xx").language_tag(), "en");
    }

    #[test]
    fn a_mail_keeps_its_id() {
        let (a, b) = (letter("en"), letter("ko"));
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), Letter { kind: Kind::Refunded, ..b }.id());
    }
}
