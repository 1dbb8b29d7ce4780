//! What people read, in each language.
//!
//! Owns the strings under `web/waiting/*.toml`, and how numbers and times are
//! written. A missing or misspelt key fails the first test that looks at a
//! page. The script writes the same texts through the browser's `Intl`; the
//! patterns here follow it, so nothing changes its shape when the script takes
//! over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::View;
use super::language::Language;

/// A short text for the `title` or `detail` of a problem, one for each `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// `waiting`
    Waiting,
    /// `full`
    Full,
    /// `closed`
    Closed,
    /// `too_early`
    TooEarly,
    /// `bad_request`
    BadRequest,
    /// `not_found`
    NotFound,
    /// `unknown_room`
    UnknownRoom,
    /// `bad_room`
    BadRoom,
    /// `method_not_allowed`
    MethodNotAllowed,
    /// `bad_return_to`
    BadReturnTo,
    /// `upstream_unreachable`
    UpstreamUnreachable,
    /// `upstream_timeout`
    UpstreamTimeout,
    /// `payload_too_large`
    PayloadTooLarge,
    /// `too_many_requests`
    TooManyRequests,
    /// `store_down`
    StoreDown,
}

/// The text in that language: one line of plain text, no markup.
#[must_use]
pub fn text(language: Language, text: Text) -> &'static str {
    let problem = &Words::of(language).problem;
    match text {
        Text::Waiting => &problem.waiting,
        Text::Full => &problem.full,
        Text::Closed => &problem.closed,
        Text::TooEarly => &problem.too_early,
        Text::BadRequest => &problem.bad_request,
        Text::NotFound => &problem.not_found,
        Text::UnknownRoom => &problem.unknown_room,
        Text::BadRoom => &problem.bad_room,
        Text::MethodNotAllowed => &problem.method_not_allowed,
        Text::BadReturnTo => &problem.bad_return_to,
        Text::UpstreamUnreachable => &problem.upstream_unreachable,
        Text::UpstreamTimeout => &problem.upstream_timeout,
        Text::PayloadTooLarge => &problem.payload_too_large,
        Text::TooManyRequests => &problem.too_many_requests,
        Text::StoreDown => &problem.store_down,
    }
}

/// What a view says where the page's script does not know it by itself.
#[must_use]
pub fn said(language: Language, view: View) -> Option<&'static Said> {
    let unknown = !matches!(view, View::None | View::Waiting | View::Near);
    unknown.then(|| Words::of(language).state.said(view.name()))
}

/// One language's strings.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub(super) title: String,
    pub(super) state: States,
    label: Label,
    pub(super) note: Note,
    keep: Keep,
    pub(super) moving: Moving,
    time: Time,
    number: Number,
    pub(super) error: Errors,
    problem: Problem,
}

/// What a view of the waiting page says.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub(super) heading: String,
    pub(super) text: String,
    pub(super) action: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct States {
    none: Said,
    waiting: Said,
    near: Said,
    admitted: Said,
    evicted: Said,
    missed: Said,
    pass_ended: Said,
    revoked: Said,
    completed: Said,
    moved: Said,
    left: Said,
    closed: Said,
    soldout: Said,
    full: Said,
    blocked: Said,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Label {
    place: String,
    progress: String,
    wait: String,
    people: String,
    stock: String,
    next: String,
    reload: String,
    leave: String,
    leave_sure: String,
    bell: String,
    bell_on: String,
    languages: String,
    spoken: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    opening: String,
    pub(super) draw: String,
    pub(super) paused: String,
    pub(super) degraded: String,
    offline: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    heading: String,
    away: String,
    reload: String,
    turn: String,
    lost: String,
}

/// Of the page that takes a place to another device.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moving {
    /// What leads there.
    link: String,
    pub(super) give: Said,
    once: String,
    pub(super) take: Said,
    own: String,
    token: String,
    pub(super) gone: Said,
    pub(super) bad: Said,
}

/// Each unit has the form for 1 and the form for the rest.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Time {
    about: String,
    under_minute: String,
    unknown: String,
    dash: String,
    second: [String; 2],
    minute: [String; 2],
    hour: [String; 2],
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Number {
    /// Between groups of three digits.
    group: String,
    /// Smaller numbers are written without it.
    group_from: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Errors {
    pub(super) again: String,
    pub(super) home: String,
    pub(super) unreachable: Said,
    pub(super) bad_request: Said,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Problem {
    waiting: String,
    full: String,
    closed: String,
    too_early: String,
    bad_request: String,
    not_found: String,
    unknown_room: String,
    bad_room: String,
    method_not_allowed: String,
    bad_return_to: String,
    upstream_unreachable: String,
    upstream_timeout: String,
    payload_too_large: String,
    too_many_requests: String,
    store_down: String,
}

impl States {
    /// What a view says; `name` as in [`States::each`].
    pub(super) fn said(&self, name: &str) -> &Said {
        self.each().into_iter().find(|(n, _)| *n == name).map_or(&self.none, |(_, said)| said)
    }

    /// Every view with the name it has in `data-view`.
    pub(super) fn each(&self) -> [(&'static str, &Said); 15] {
        [
            ("none", &self.none),
            ("waiting", &self.waiting),
            ("near", &self.near),
            ("admitted", &self.admitted),
            ("evicted", &self.evicted),
            ("missed", &self.missed),
            ("pass_ended", &self.pass_ended),
            ("revoked", &self.revoked),
            ("completed", &self.completed),
            ("moved", &self.moved),
            ("left", &self.left),
            ("closed", &self.closed),
            ("soldout", &self.soldout),
            ("full", &self.full),
            ("blocked", &self.blocked),
        ]
    }

    /// Those that the script shows by itself, by name, fit to stand inside a
    /// script element; the rest comes with the status.
    pub(super) fn json(&self) -> String {
        let own = ["none", "waiting", "near", "admitted", "blocked"];
        let all: BTreeMap<_, _> = own.iter().map(|name| (name, self.said(name))).collect();
        let text = serde_json::to_string(&all).expect("plain data serialises");
        text.replace('<', "\\u003c")
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
/// A wait that long is told in hours.
const LONG: u64 = 2 * HOUR;

impl Words {
    /// The strings of a language; read once, never changed.
    pub(super) fn of(language: Language) -> &'static Self {
        static ALL: LazyLock<[Words; 5]> = LazyLock::new(|| Language::ALL.map(Words::read));
        &ALL[language as usize]
    }

    fn read(language: Language) -> Self {
        let source = match language {
            Language::En => include_str!("../../../web/waiting/en.toml"),
            Language::Ko => include_str!("../../../web/waiting/ko.toml"),
            Language::Ja => include_str!("../../../web/waiting/ja.toml"),
            Language::Zh => include_str!("../../../web/waiting/zh.toml"),
            Language::Es => include_str!("../../../web/waiting/es.toml"),
        };
        toml::from_str(source).expect("the embedded strings have every key: a test reads them all")
    }

    /// Appends a count with its digits in groups.
    pub(super) fn push_count(&self, out: &mut String, count: u64) {
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(count);
        if count < self.number.group_from {
            return out.push_str(digits);
        }
        let (first, rest) = digits.split_at(1 + (digits.len() - 1) % 3);
        out.push_str(first);
        for start in (0..rest.len()).step_by(3) {
            out.push_str(&self.number.group);
            out.push_str(&rest[start..start + 3]);
        }
    }

    /// Appends a time in the largest unit that says it whole: `3 minutes`.
    pub(super) fn push_duration(&self, out: &mut String, time: Duration) {
        let (count, unit) = match time.as_secs() {
            s if s >= LONG && s.is_multiple_of(HOUR) => (s / HOUR, &self.time.hour),
            s if s >= MINUTE && s.is_multiple_of(MINUTE) => (s / MINUTE, &self.time.minute),
            s if s >= 10 * MINUTE => (s / MINUTE, &self.time.minute),
            s => (s, &self.time.second),
        };
        self.push_counted(out, unit, count, |out| self.push_count(out, count));
    }

    /// Appends an expected wait, given in seconds at best and at worst:
    /// `about 4–6 minutes`.
    pub(super) fn push_wait(&self, out: &mut String, wait: Option<(u64, u64)>) {
        let Some((low, high)) = wait else { return out.push_str(&self.time.unknown) };
        let (low, high, unit) = match high {
            0..MINUTE => return out.push_str(&self.time.under_minute),
            MINUTE..LONG => (low / MINUTE, high.div_ceil(MINUTE), &self.time.minute),
            _ => (low / HOUR, high.saturating_add(HOUR / 2) / HOUR, &self.time.hour),
        };
        let low = low.max(1);
        let mut range = String::new();
        self.push_counted(&mut range, unit, high, |out| {
            if low < high {
                self.push_count(out, low);
                out.push_str(&self.time.dash);
            }
            self.push_count(out, high);
        });
        push_filled(out, &self.time.about, "{range}", |out| out.push_str(&range));
    }

    /// Appends the title of a page that shows a position.
    pub(super) fn push_title(&self, out: &mut String, position: u64) {
        push_filled(out, &self.title, "{position}", |out| self.push_count(out, position));
    }

    fn push_counted(
        &self,
        out: &mut String,
        unit: &[String; 2],
        count: u64,
        write: impl FnOnce(&mut String),
    ) {
        push_filled(out, &unit[usize::from(count != 1)], "{n}", write);
    }
}

/// Appends `pattern` with `name` in it replaced by what `write` appends.
fn push_filled(out: &mut String, pattern: &str, name: &str, write: impl FnOnce(&mut String)) {
    let (before, after) = pattern.split_once(name).unwrap_or((pattern, ""));
    out.push_str(before);
    write(out);
    out.push_str(after);
}

/// Appends a number's digits as they are.
pub(super) fn push_digits(out: &mut String, number: u64) {
    let written = write!(out, "{number}");
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests;
