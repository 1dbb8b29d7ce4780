//! The page that takes a place to another device: shows the link, or takes by it.
//!
//! Its picture of the link is drawn here, so that nothing of it goes elsewhere.
//! Works without script: then the link is pasted, for what stands behind its `#`
//! reaches no server.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::HeaderValue;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use qrcode::{Color, EcLevel, QrCode};

use super::small::shorten;
use super::words::{Said, Words};
use super::{Language, Page, Pages, View, csp};

const NAME: &str = "move.html";
/// Modules of white around the picture (ISO/IEC 18004, 9.1).
const MARGIN: usize = 4;
/// Without script the page loads itself again: a picture must stand that long.
const LEAST_REFRESH: Duration = Duration::from_secs(20);

/// What the page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer<'a> {
    /// The visitor has a place: the link that takes it along, and when a waiting
    /// visitor should ask again.
    Place {
        /// The whole link.
        url: &'a str,
        /// `None` = inside.
        poll: Option<Duration>,
    },
    /// The visitor has none; it may take one.
    Nothing,
    /// What it had is over.
    Over(View),
    /// The link was good, its place is not there any more.
    Gone,
    /// No link, or too old.
    Bad,
    /// A visitor that keeps nothing could not keep a place.
    NoCookies,
}

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Moving<'a> {
    /// The room's name.
    pub room: &'a str,
    /// What it is about.
    pub offer: Offer<'a>,
    /// The visitor has a place of its own, which it gives up by taking another.
    pub has_own: bool,
    /// A path on this site: where the line or the app is.
    pub way: &'a str,
    /// Where the script asks.
    pub status_url: &'a str,
    /// The room's idle timeout.
    pub kept_for: Duration,
}

/// Sets the page.
#[derive(Debug)]
pub(super) struct Press {
    env: Environment<'static>,
    style: String,
    script: String,
    csp: HeaderValue,
}

impl Press {
    /// `style`: what all pages share.
    pub(super) fn new(style: &str) -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.add_template(NAME, include_str!("../../../web/waiting/move.html")).expect("our own page");
        let own = minifier::css::minify(include_str!("../../../web/waiting/move.css"));
        let style = format!("{style}{}", shorten(own.expect("our own style").to_string()));
        let script = minifier::js::minify(include_str!("../../../web/waiting/move.js"));
        let script = script.expect("our own script").to_string();
        Self { env, csp: csp(Some(&script), &style), style, script }
    }
}

impl Pages {
    /// The page that takes a place to another device.
    #[must_use]
    pub fn moving(&self, language: Language, shown: &Moving<'_>) -> Page {
        let (press, words) = (&self.moving, Words::of(language));
        let (url, poll) = match shown.offer {
            Offer::Place { url, poll } => (Some(url), poll),
            _ => (None, None),
        };
        let picture = url.and_then(picture).map(Value::from_safe_string);
        let refresh = poll.map(|poll| poll.max(LEAST_REFRESH.min(shown.kept_for / 4)).as_secs().max(1));
        let page = context! {
            lang => language.tag(),
            style => press.style.as_str(),
            script => press.script.as_str(),
            said => Serde(said(words, shown.offer)),
            room => shown.room,
            way => shown.way,
            status_url => url.map(|_| shown.status_url),
            waits => poll.is_some(),
            has_own => shown.has_own,
            can_take => shown.offer != Offer::NoCookies,
            url,
            picture,
            refresh,
            leave => leave(words, shown.offer),
            ..Serde(words)
        };
        let body = press.env.get_template(NAME).and_then(|template| template.render(page));
        Page {
            body: body.expect("the page fits its words: a test sets every one").into(),
            language: HeaderValue::from_static(language.tag()),
            csp: press.csp.clone(),
            refresh: None,
        }
    }
}

fn said<'a>(words: &'a Words, offer: Offer<'_>) -> &'a Said {
    match offer {
        Offer::Place { .. } => &words.moving.give,
        Offer::Nothing => &words.moving.take,
        Offer::Over(view) => words.state.said(view.name()),
        Offer::Gone => &words.moving.gone,
        Offer::Bad => &words.moving.bad,
        Offer::NoCookies => words.state.said("blocked"),
    }
}

/// What leads away from the page.
fn leave<'a>(words: &'a Words, offer: Offer<'_>) -> &'a str {
    let over = matches!(offer, Offer::Over(_) | Offer::NoCookies);
    let action = said(words, offer).action.as_deref().filter(|_| over);
    action.or(words.moving.give.action.as_deref()).unwrap_or_default()
}

/// The link as a QR code in SVG; `None` when it is too long for one.
fn picture(url: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(url, EcLevel::M).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                let (x, y, long) = (x + MARGIN, y + MARGIN, run.len());
                let _ = write!(path, "M{x} {y}h{long}v1h-{long}z");
            }
            x += run.len();
        }
    }
    let side = width + 2 * MARGIN;
    Some(format!(
        "<svg viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"QR\"><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://tickets.example/queue/move#AbC-_";

    fn shown(offer: Offer<'_>) -> Moving<'_> {
        Moving {
            room: "main",
            offer,
            has_own: true,
            way: "/events/1?seats=2",
            status_url: "/queue/status?room=main",
            kept_for: Duration::from_secs(180),
        }
    }

    fn every() -> Vec<(Offer<'static>, Page)> {
        let pages = Pages::new();
        let offers = [
            Offer::Place { url: URL, poll: Some(Duration::from_secs(2)) },
            Offer::Place { url: URL, poll: None },
            Offer::Nothing,
            Offer::Over(View::Moved),
            Offer::Gone,
            Offer::Bad,
            Offer::NoCookies,
        ];
        let page = |language| offers.map(|offer| (offer, pages.moving(language, &shown(offer))));
        Language::ALL.into_iter().flat_map(page).collect()
    }

    fn html(page: &Page) -> String {
        std::str::from_utf8(&page.body).expect("text").replace("&#x2f;", "/")
    }

    #[test]
    fn every_page_is_whole_and_loads_and_leaks_nothing() {
        for (offer, page) in every() {
            let html = html(&page);
            for foreign in ["src=", "@import", "url(", "{{", "{%", " style=", " onclick="] {
                assert!(!html.replace(URL, "").contains(foreign), "{offer:?}: {foreign} in {html}");
            }
            let csp = page.csp.to_str().expect("text");
            let script =
                html.split_once("<script>").expect("one").1.split_once("</script>").expect("an end").0;
            assert!(csp.contains(&format!("script-src {};", super::super::hash(script))), "{csp}");
            let style = html.split_once("<style>").expect("one").1.split_once("</style>").expect("an end").0;
            assert!(csp.contains(&format!("style-src {};", super::super::hash(style))), "{csp}");
        }
    }

    #[test]
    fn a_place_is_shown_as_a_link_and_a_picture_and_all_but_the_cookieless_may_take_one() {
        for (offer, page) in every() {
            let html = html(&page);
            let has_place = matches!(offer, Offer::Place { .. });
            assert_eq!(html.contains(&format!("href=\"{URL}\"")), has_place, "{offer:?}: {html}");
            assert_eq!(html.contains("<svg viewBox="), has_place);
            assert_eq!(
                html.contains("http-equiv=\"refresh\" content=\"20\""),
                has_place && offer != Offer::Place { url: URL, poll: None }
            );
            assert_eq!(
                html.contains("<form method=\"post\" action=\"/queue/move\""),
                offer != Offer::NoCookies
            );
        }
    }

    #[test]
    fn words_of_others_are_only_text() {
        let offer = Offer::Place { url: "https://a.test/\"><script>x</script>", poll: None };
        let page =
            Pages::new().moving(Language::En, &Moving { room: "\"><b>", way: "/\"><i>", ..shown(offer) });
        let html = html(&page);
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        assert!(!html.contains("<b>") && !html.contains("<i>"), "{html}");
    }

    #[test]
    fn the_picture_is_the_links_code() {
        let svg = picture(URL).expect("short");
        let code = QrCode::with_error_correction_level(URL, EcLevel::M).expect("short");
        let side = code.width() + 8;
        assert!(svg.contains(&format!("viewBox=\"0 0 {side} {side}\"")));
        // Drawn again from the path, module by module.
        let mut dark = vec![false; side * side];
        let path = svg.split_once("d=\"").expect("a path").1.split_once('"').expect("an end").0;
        for run in path.split('M').skip(1) {
            let (at, rest) = run.split_once('h').expect("a run");
            let (x, y) = at.split_once(' ').expect("two numbers");
            let long = rest.split_once('v').expect("a length").0;
            let [x, y, long] = [x, y, long].map(|text| text.parse::<usize>().expect("a number"));
            dark[y * side + x..][..long].fill(true);
        }
        for y in 0..side {
            for x in 0..side {
                let inside = (4..side - 4).contains(&x) && (4..side - 4).contains(&y);
                let expected = inside && code[(x.wrapping_sub(4), y.wrapping_sub(4))] == Color::Dark;
                assert_eq!(dark[y * side + x], expected, "{x} {y}");
            }
        }
        assert_eq!(picture(&"x".repeat(4_000)), None);
    }
}
