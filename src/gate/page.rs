//! What a fan sees of the gate.
//!
//! Owns the waiting page, the error pages, their languages and the headers that
//! belong to them. Never reads a request, the clock or the line: it is given
//! what to show. Each page is one response under 15 KB that loads nothing else
//! and works without script; the shape of such pages follows what WCAG asks
//! and what fans of other waiting rooms missed (numbers that stand still, not
//! knowing what loses the place).

mod language;
pub mod moving;
pub mod own;
mod press;
pub mod preview;
mod small;
mod template;
mod words;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    REFRESH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use sha2::{Digest as _, Sha256};

use crate::domain::place::Reason;
use crate::domain::target;
use crate::domain::time::millis;

pub use language::{Language, language};
pub use words::{Said, Text, said, text};

use press::Press;
use small::small_style;
use template::{Hole, Template, push_escaped};
use words::{Words, push_digits};

/// Bytes that an operator's message may take, escaped; a longer one is cut.
const MESSAGE_BYTES: usize = 400;
/// Bytes that `return_to` may take, escaped; for a longer one the script takes
/// the page's own address, which is the same path.
const RETURN_TO_BYTES: usize = 200;
/// A closed or full room is not asked more often by browsers without script.
const SLOW_REFRESH: Duration = Duration::from_secs(10);

/// What a visitor sees when its page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// No place yet: the next answer to the cookie gives one.
    None,
    /// In the line.
    Waiting,
    /// In the line, and less than a minute from the front.
    Near,
    /// What the line is for is gone, for now.
    SoldOut,
    /// The place ended: silence.
    Evicted,
    /// The turn came, and nobody.
    Missed,
    /// The pass ended by itself.
    PassEnded,
    /// An operator ended place or pass.
    Revoked,
    /// The app said that the visit is done.
    Completed,
    /// Taken to another device.
    Moved,
    /// Left by its own act.
    Left,
    /// The room takes nobody.
    Closed,
    /// The line takes nobody more.
    Full,
}

impl View {
    /// Every view, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Waiting,
        Self::Near,
        Self::SoldOut,
        Self::Evicted,
        Self::Missed,
        Self::PassEnded,
        Self::Revoked,
        Self::Completed,
        Self::Moved,
        Self::Left,
        Self::Closed,
        Self::Full,
    ];

    /// The view's name: in `data-view`, in the words, for templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Waiting => "waiting",
            Self::Near => "near",
            Self::SoldOut => "soldout",
            Self::Evicted => "evicted",
            Self::Missed => "missed",
            Self::PassEnded => "pass_ended",
            Self::Revoked => "revoked",
            Self::Completed => "completed",
            Self::Moved => "moved",
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Full => "full",
        }
    }

    /// What a visitor sees whose number is out.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Evicted => Self::Evicted,
            Reason::Missed => Self::Missed,
            Reason::PassEnded => Self::PassEnded,
            Reason::Moved => Self::Moved,
            Reason::Left => Self::Left,
            Reason::Revoked => Self::Revoked,
            Reason::Completed => Self::Completed,
        }
    }

    /// A line with a number to look at.
    const fn is_in_line(self) -> bool {
        matches!(self, Self::Waiting | Self::Near)
    }

    /// Nothing happens any more unless the visitor wants it.
    const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Evicted
                | Self::Missed
                | Self::PassEnded
                | Self::Revoked
                | Self::Completed
                | Self::Moved
                | Self::Left
        )
    }
}

/// What the waiting page shows; unknown values stay unknown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The room's name.
    pub room: &'a str,
    /// How the visitor stands.
    pub view: View,
    /// 1 is next.
    pub position: Option<u64>,
    /// People in the line.
    pub waiting: Option<u64>,
    /// Expected wait in seconds, at best and at worst.
    pub eta_seconds: Option<(u64, u64)>,
    /// The position when the place was taken, for the progress.
    pub first_position: Option<u64>,
    /// When a browser without script loads the page again.
    pub poll_after: Duration,
    /// The room's idle timeout: how long a silent visitor keeps its place.
    pub kept_for: Duration,
    /// How long an admitted visitor has to show up.
    pub claim_window: Duration,
    /// Nobody is let in at the moment.
    pub paused: bool,
    /// The store is away; the numbers are the last known.
    pub degraded: bool,
    /// The operator's words: plain text, line breaks kept.
    pub message: Option<&'a str>,
    /// What is left of what the line is for.
    pub stock: Option<u64>,
    /// Time until the doors open, while that is ahead.
    pub opens_in: Option<Duration>,
    /// The order of those present is drawn at the opening, which is ahead.
    pub draw_ahead: bool,
    /// Path on this site that the visitor wanted; anything else is left out.
    pub return_to: &'a str,
    /// A place here can go to another device.
    pub can_move: bool,
}

/// Why a page shows an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The app cannot be reached or takes too long (502, 504).
    Unreachable,
    /// The line takes nobody more (503).
    Full,
    /// The room takes nobody (503).
    Closed,
    /// The request could not be read (400).
    BadRequest,
}

impl ErrorKind {
    const ALL: [Self; 4] = [Self::Unreachable, Self::Full, Self::Closed, Self::BadRequest];

    fn said(self, words: &Words) -> &Said {
        match self {
            Self::Unreachable => &words.error.unreachable,
            Self::Full => words.state.said("full"),
            Self::Closed => words.state.said("closed"),
            Self::BadRequest => &words.error.bad_request,
        }
    }
}

/// A page as it goes out.
#[derive(Clone, Debug)]
pub struct Page {
    /// HTML, UTF-8, at most 15,000 bytes.
    pub body: Bytes,
    /// `Content-Language`.
    pub language: HeaderValue,
    /// `Content-Security-Policy`.
    pub csp: HeaderValue,
    /// `Refresh`, where loading the page again helps.
    pub refresh: Option<HeaderValue>,
}

impl Page {
    /// Sets every header that belongs to the page; the status, the cookies and
    /// the length are the caller's.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_LANGUAGE, self.language.clone());
        headers.insert(CONTENT_SECURITY_POLICY, self.csp.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Cookie, Accept-Language"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(refresh) = &self.refresh {
            headers.insert(REFRESH, refresh.clone());
        }
    }
}

/// Every page in every language, ready to be filled in.
#[derive(Debug)]
pub struct Pages {
    /// By [`Language`], then by [`View`].
    waiting: [[Template; 13]; 5],
    /// By [`Language`], then by [`ErrorKind`].
    errors: [[Template; 4]; 5],
    waiting_csp: HeaderValue,
    error_csp: HeaderValue,
    own_csp: HeaderValue,
    moving: moving::Press,
    /// The style with the names that it was written with, for pages of operators' own.
    own_style: String,
}

impl Default for Pages {
    fn default() -> Self {
        Self::new()
    }
}

impl Pages {
    /// Prepares the embedded pages: 85 templates, a megabyte.
    #[must_use]
    pub fn new() -> Self {
        let press = Press::new();
        Self {
            waiting: Language::ALL.map(|language| View::ALL.map(|view| press.waiting(language, view))),
            errors: Language::ALL.map(|language| ErrorKind::ALL.map(|kind| press.error(language, kind))),
            waiting_csp: csp(Some(&press.script), &press.style),
            error_csp: csp(None, &press.style),
            own_csp: own::csp(&hash(&press.script)),
            moving: moving::Press::new(&press.style),
            own_style: small_style(),
        }
    }

    /// The waiting page, complete without script.
    #[must_use]
    pub fn waiting(&self, language: Language, facts: &Shown<'_>) -> Page {
        let words = Words::of(language);
        let refresh = refresh(facts);
        let template = &self.waiting[language as usize][facts.view as usize];
        let body = template.render(|hole, out| facts.fill(words, refresh.unwrap_or_default(), hole, out));
        Page {
            body: body.into(),
            language: HeaderValue::from_static(language.tag()),
            csp: self.waiting_csp.clone(),
            refresh: refresh.map(HeaderValue::from),
        }
    }

    /// A page that says what went wrong and what is safe; `status` is shown
    /// small, for whoever is asked about it.
    #[must_use]
    pub fn error(&self, language: Language, status: u16, kind: ErrorKind) -> Page {
        let body = self.errors[language as usize][kind as usize].render(|hole, out| {
            debug_assert_eq!(hole, Hole::Status);
            push_digits(out, u64::from(status));
        });
        let again = matches!(kind, ErrorKind::Full | ErrorKind::Closed);
        Page {
            body: body.into(),
            language: HeaderValue::from_static(language.tag()),
            csp: self.error_csp.clone(),
            refresh: again.then(|| HeaderValue::from(SLOW_REFRESH.as_secs())),
        }
    }
}

/// Seconds until the page loads itself again; `None` where that would take a
/// new place that nobody asked for.
fn refresh(facts: &Shown<'_>) -> Option<u64> {
    let after = match facts.view {
        view if view.is_over() => return None,
        View::Closed | View::Full | View::SoldOut => facts.poll_after.max(SLOW_REFRESH),
        _ => facts.poll_after,
    };
    Some(after.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX).max(1))
}

impl Shown<'_> {
    fn fill(&self, words: &Words, refresh: u64, hole: Hole, out: &mut String) {
        match hole {
            Hole::Title => self.push_title(words, out),
            Hole::Room => _ = push_escaped(out, self.room, usize::MAX),
            Hole::ReturnTo => push_return_to(out, self.return_to),
            Hole::PositionValue => self.position.into_iter().for_each(|n| push_digits(out, n)),
            Hole::FirstPosition => self.first_position.into_iter().for_each(|n| push_digits(out, n)),
            Hole::Position => push_known(words, self.position, out),
            Hole::Waiting => push_known(words, self.waiting, out),
            Hole::Progress => out.push_str(&format!("{:.3}", self.progress())),
            Hole::Wait => words.push_wait(out, self.eta_seconds),
            Hole::Message => push_message(out, self.message.unwrap_or_default()),
            Hole::Stock => self.stock.into_iter().for_each(|n| words.push_count(out, n)),
            Hole::NotMoving => out.push_str(hidden_unless(self.can_move)),
            Hole::NotOpening => out.push_str(hidden_unless(self.opens_in.is_some())),
            Hole::Draw if self.draw_ahead => {
                out.push(' ');
                out.push_str(&words.note.draw);
            }
            Hole::Draw => {}
            Hole::Opening => {
                let seconds = self.opens_in.map_or(0, |wait| millis(wait).div_ceil(1_000));
                words.push_wait(out, Some((seconds, seconds)));
            }
            Hole::NotPaused => out.push_str(hidden_unless(self.paused)),
            Hole::NotDegraded => out.push_str(hidden_unless(self.degraded)),
            Hole::KeptFor => words.push_duration(out, self.kept_for),
            Hole::ClaimWindow => words.push_duration(out, self.claim_window),
            Hole::Refresh => push_digits(out, refresh),
            Hole::Status => debug_assert!(false, "only error pages show their status"),
        }
    }

    fn push_title(&self, words: &Words, out: &mut String) {
        match self.position.filter(|_| self.view.is_in_line()) {
            Some(position) => words.push_title(out, position),
            None => out.push_str(&words.state.said(self.view.name()).heading),
        }
    }

    /// How much of the way is done, 0 to 1.
    fn progress(&self) -> f64 {
        let Some(position) = self.position.map(|position| position.max(1)) else { return 0.0 };
        let first = self.first_position.unwrap_or(position).max(position);
        (first - position + 1) as f64 / first as f64
    }
}

const fn hidden_unless(shown: bool) -> &'static str {
    if shown { "" } else { " hidden" }
}

fn push_known(words: &Words, count: Option<u64>, out: &mut String) {
    match count {
        Some(count) => words.push_count(out, count),
        None => out.push('–'),
    }
}

fn push_message(out: &mut String, message: &str) {
    if !push_escaped(out, message, MESSAGE_BYTES) {
        out.push('…');
    }
}

fn push_return_to(out: &mut String, path: &str) {
    let start = out.len();
    if target::is_local(path) && !push_escaped(out, path, RETURN_TO_BYTES) {
        out.truncate(start);
        out.push('.');
    }
}

/// How a policy names a style or script.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// Nothing may run, show or be asked but what this page brings and its own gate.
fn csp(script: Option<&str>, style: &str) -> HeaderValue {
    let script = script.map(|script| format!("script-src {}; connect-src 'self'; ", hash(script)));
    let policy = format!(
        "default-src 'none'; {}style-src {}; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        script.unwrap_or_default(),
        hash(style),
    );
    HeaderValue::from_str(&policy).expect("a policy is visible ASCII")
}

#[cfg(test)]
mod tests;
