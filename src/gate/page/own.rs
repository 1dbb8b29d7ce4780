//! An operator's own page around the line.
//!
//! A minijinja template with nothing in it that could run away: `if`, `for`
//! and `raw`, a handful of filters, no joining or multiplying of texts, a
//! bounded number of steps and of bytes. What visitors and operators wrote is
//! escaped. `{{ usher }}` stands for the line itself, with the gate's script;
//! no other script runs. Judged whole before it is shown to anybody.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::HeaderValue;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use super::language::Language;
use super::words::Words;
use super::{Page, Pages, Shown, View};
use crate::config::load::{LoadError, Problem};
use crate::config::{Config, PageFile};

/// Bytes of a page, the line included.
const LARGEST: usize = 256 * 1024;
/// Steps of one page.
const STEPS: u64 = 50_000;
const NAME: &str = "page";
const STATEMENTS: [&str; 7] = ["if", "elif", "else", "endif", "for", "endfor", "raw"];

/// A template that has been judged.
pub struct OwnPage {
    env: Environment<'static>,
    path: PathBuf,
}

impl std::fmt::Debug for OwnPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnPage({})", self.path.display())
    }
}

impl OwnPage {
    /// Reads a template and shows it in every view and language, to nobody.
    ///
    /// # Errors
    /// [`Problem`] with file and line.
    pub fn new(file: &PageFile, pages: &Pages) -> Result<Self, Problem> {
        let problem = |line, expected| Problem {
            source: file.path.display().to_string(),
            line,
            key: String::new(),
            expected,
        };
        plain(&file.text).map_err(|(line, why)| problem(Some(line), why))?;
        let told = |why: minijinja::Error| {
            let detail =
                why.detail().map_or_else(|| why.kind().to_string(), |d| format!("{}: {d}", why.kind()));
            problem(why.line(), detail)
        };
        let mut env = Environment::empty();
        env.set_auto_escape_callback(|_| AutoEscape::Html);
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(STEPS));
        env.add_filter("upper", |text: String| text.to_uppercase());
        env.add_filter("lower", |text: String| text.to_lowercase());
        env.add_filter("default", |value: Value, other: Value| {
            match value.is_undefined() || value.is_none() {
                true => other,
                false => value,
            }
        });
        env.add_template_owned(NAME, file.text.clone()).map_err(told)?;
        let own = Self { env, path: file.path.clone() };
        for shown in samples() {
            for language in Language::ALL {
                own.render(pages, language, &shown).map_err(told)?;
            }
        }
        Ok(own)
    }

    /// The page for a visitor; the built-in one if this one fails after all.
    pub fn page(&self, pages: &Pages, language: Language, shown: &Shown<'_>) -> Page {
        let mut page = pages.waiting(language, shown);
        match self.render(pages, language, shown) {
            Ok(text) => {
                page.body = text.into();
                page.csp = pages.own_csp.clone();
            }
            Err(why) => {
                tracing::error!(page = %self.path.display(), %why, "the built-in page is shown instead")
            }
        }
        page
    }

    fn render(
        &self,
        pages: &Pages,
        language: Language,
        shown: &Shown<'_>,
    ) -> Result<String, minijinja::Error> {
        let words = Words::of(language);
        let said = words.state.said(shown.view.name());
        let built_in = pages.waiting(language, shown).body;
        let built_in = String::from_utf8_lossy(&built_in);
        let body = built_in.split_once("<body>").and_then(|(_, rest)| rest.split_once("</body>"));
        let body = body.map_or("", |(body, _)| body.trim());
        let counted = |n: Option<u64>| {
            n.map(|n| {
                let mut text = String::new();
                words.push_count(&mut text, n);
                text
            })
        };
        let mut wait = String::new();
        words.push_wait(&mut wait, shown.eta_seconds);
        let mut title = String::new();
        shown.push_title(words, &mut title);
        let context = context! {
            usher => Value::from_safe_string(body.to_owned()),
            usher_style => Value::from_safe_string(format!("<style>{}</style>", pages.own_style)),
            lang => language.tag(),
            languages => Language::ALL.map(|language| (language.tag(), language.name())),
            room => shown.room,
            view => shown.view.name(),
            title,
            heading => said.heading.as_str(),
            text => said.text.as_str(),
            action => said.action.as_deref(),
            position => counted(shown.position.filter(|_| shown.view.is_in_line())),
            waiting => counted(shown.waiting),
            stock => counted(shown.stock),
            wait,
            paused => shown.paused.then_some(words.note.paused.as_str()),
            degraded => shown.degraded.then_some(words.note.degraded.as_str()),
            message => shown.message,
        };
        let mut out = Bounded(Vec::with_capacity(built_in.len() * 2));
        self.env.get_template(NAME)?.render_captured_to(context, &mut out)?;
        Ok(String::from_utf8_lossy(&out.0).into_owned())
    }
}

/// A writer that fails where a page ends that is too large.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST {
            return Err(io::Error::other("the page is larger than 256 KB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a template has only what cannot run away; else the line, and why.
fn plain(source: &str) -> Result<(), (usize, String)> {
    let mut rest = source;
    while let Some(at) = rest.find("{{").into_iter().chain(rest.find("{%")).chain(rest.find("{#")).min() {
        let line = source[..source.len() - rest.len() + at].matches('\n').count() + 1;
        let (open, inside) = rest[at..].split_at(2);
        let close = match open {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let Some((inside, after)) = inside.split_once(close) else {
            return Err((line, format!("expected {close} after {open}")));
        };
        rest = after;
        if open == "{#" {
            continue;
        }
        let inside = inside.trim_matches(['-', '+']).trim();
        if let Some(sign) = inside.chars().find(|c| matches!(c, '~' | '*' | '+')) {
            return Err((line, format!("{sign} is not for pages: texts are only shown, never joined")));
        }
        let word = inside.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        if open == "{%" && !STATEMENTS.contains(&word) {
            return Err((line, format!("expected one of {}, found {word:?}", STATEMENTS.join(", "))));
        }
        if inside.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "recursive") {
            return Err((line, "expected a loop that is not recursive".into()));
        }
        if word == "raw" {
            let ends = rest.match_indices("{%").map(|(at, _)| &rest[at..]);
            let mut ends =
                ends.filter(|end| end[2..].trim_start_matches(['-', '+']).trim_start().starts_with("endraw"));
            let Some((_, after)) = ends.next().and_then(|end| end.split_once("%}")) else {
                return Err((line, "expected endraw after raw".into()));
            };
            rest = after;
        }
    }
    Ok(())
}

/// A visitor of each view, with everything known and with nothing known.
pub(super) fn samples() -> Vec<Shown<'static>> {
    let known = |view| Shown { view, ..EXAMPLE };
    let unknown = |view| Shown {
        view,
        position: None,
        waiting: None,
        eta_seconds: None,
        first_position: None,
        message: None,
        stock: None,
        paused: true,
        degraded: true,
        ..EXAMPLE
    };
    View::ALL.into_iter().flat_map(|view| [known(view), unknown(view)]).collect()
}

/// Somebody in the middle of a long line.
pub const EXAMPLE: Shown<'static> = Shown {
    room: "main",
    view: View::Waiting,
    position: Some(1_203),
    waiting: Some(50_211),
    eta_seconds: Some((240, 320)),
    first_position: Some(2_406),
    poll_after: std::time::Duration::from_secs(5),
    kept_for: std::time::Duration::from_secs(180),
    claim_window: std::time::Duration::from_secs(120),
    paused: false,
    degraded: false,
    message: Some("Doors at ten, says <the hall> & \"everybody\"."),
    stock: Some(128),
    opens_in: None,
    draw_ahead: false,
    return_to: "/events/1?seats=2",
    can_move: true,
};

/// Judges every page that the settings name.
///
/// # Errors
/// [`LoadError`] with file and line of each that cannot be shown.
pub fn check(config: &Config) -> Result<(), LoadError> {
    if config.rooms.iter().all(|room| room.page.is_none()) {
        return Ok(());
    }
    let pages = Pages::new();
    let files = config.rooms.iter().filter_map(|room| room.page.as_ref());
    let problems: Vec<_> = files.filter_map(|file| OwnPage::new(file, &pages).err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(LoadError::Invalid(problems)) }
}

/// The page of one room, if it has one that can be shown.
pub(in crate::gate) fn of(file: Option<&PageFile>, pages: &Pages) -> Option<Arc<OwnPage>> {
    let own = file.map(|file| OwnPage::new(file, pages))?;
    own.inspect_err(|why| tracing::error!(%why, "the built-in page is shown instead")).ok().map(Arc::new)
}

/// What a page of an operator may load and run: the gate's own script, pictures
/// and styles, nothing that could send a visitor elsewhere.
pub(super) fn csp(script: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src {script}; connect-src 'self'; style-src 'self' 'unsafe-inline'; \
         img-src 'self' https: data:; font-src 'self' https: data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("a policy is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<OwnPage, String> {
        let file = PageFile { path: "own.html".into(), text: text.to_owned() };
        OwnPage::new(&file, &Pages::new()).map_err(|why| why.to_string())
    }

    #[test]
    fn a_page_of_ones_own_has_the_line_in_it_and_escapes_words() {
        let text = "<html lang=\"{{ lang }}\"><title>{{ title }}</title>{{ usher_style }}\n\
                    {% if message %}<i>{{ message }}</i>{% endif %}{{ usher }}\n\
                    {% for language in languages %}{{ language[0] | upper }} {% endfor %}{% raw %}{{ x }}{% endraw %}";
        let own = judged(text).unwrap();
        let pages = Pages::new();
        let page = own.page(&pages, Language::En, &EXAMPLE);
        let html = std::str::from_utf8(&page.body).unwrap();
        assert!(html.contains("<title>1,203 · Waiting room</title>"), "{html}");
        assert!(html.contains("says &lt;the hall&gt; &amp; &quot;everybody&quot;"), "{html}");
        assert!(html.contains("EN KO JA ZH ES {{ x }}") && html.contains("<main data-view=\"waiting\""));
        let script = html.rsplit_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
        let named = format!("script-src {};", super::super::hash(script));
        assert!(page.csp.to_str().unwrap().contains(&named));
        assert!(html.contains("--accent:#9c1c3c"), "colours that the page can set");
        assert!(!page.csp.to_str().unwrap().contains("script-src 'unsafe"));
    }

    #[test]
    fn what_is_wrong_is_said_with_file_and_line() {
        for (text, told) in [
            ("a\n{{ positon }}", "own.html:2: undefined value"),
            ("a\n\n{% if view %}", "own.html:3: syntax error"),
            ("{{ position | join }}", "own.html:1: "),
            ("{{ usher", "own.html:1: expected }} after {{"),
            ("\n{% raw %}", "own.html:2: expected endraw after raw"),
            ("\n{% set x = 1 %}", "own.html:2: expected one of if"),
            ("{%- include 'x' %}", "own.html:1: expected one of if"),
            ("\n\n{{ heading ~ text }}", "own.html:3: ~ is not for pages"),
            ("{% if 'a' * 9 %}{% endif %}", "own.html:1: * is not for pages"),
            ("{% for x in languages recursive %}{% endfor %}", "own.html:1: expected a loop"),
            ("{{ range(9) }}", "own.html:1: "),
        ] {
            let why = judged(text).expect_err(text);
            assert!(why.starts_with(told), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_page_that_runs_away_is_refused() {
        let nested = |depth: usize, inside: &str| {
            format!("{}{inside}{}", "{% for x in languages %}".repeat(depth), "{% endfor %}".repeat(depth))
        };
        assert!(judged(&nested(2, "x")).is_ok());
        assert!(judged(&nested(12, "")).is_err(), "steps without a byte");
        assert!(judged(&nested(3, "{{ usher }}")).is_err(), "bytes in few steps");
    }
}
