//! The embedded pages, made into templates once, at the start.

use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};

use super::small::{script, style};
use super::template::Template;
use super::words::Words;
use super::{ErrorKind, Language, View};

/// Sets words, style and script into the page.
pub(super) struct Press {
    env: Environment<'static>,
    pub(super) style: String,
    pub(super) script: String,
}

impl Press {
    pub(super) fn new() -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        Self { env, style: style(), script: script(include_str!("../../../web/waiting/waiting.js")) }
    }

    pub(super) fn waiting(&self, language: Language, view: View) -> Template {
        let words = Words::of(language);
        let page = context! {
            lang => language.tag(),
            languages => Language::ALL.map(|language| (language.tag(), language.name())),
            style => self.style.as_str(),
            script => self.script.as_str(),
            now => view.name(),
            in_line => view.is_in_line(),
            is_over => view.is_over(),
            said => Serde(words.state.said(view.name())),
            states => words.state.json(),
            ..Serde(words)
        };
        self.set("page.html", include_str!("../../../web/waiting/page.html"), page)
    }

    pub(super) fn error(&self, language: Language, kind: ErrorKind) -> Template {
        let words = Words::of(language);
        let said = kind.said(words);
        let (href, action) = match kind {
            ErrorKind::BadRequest => ("/", &words.error.home),
            _ => ("", &words.error.again),
        };
        let page = context! {
            lang => language.tag(),
            style => self.style.as_str(),
            said => Serde(said),
            href,
            action,
        };
        self.set("error.html", include_str!("../../../web/waiting/error.html"), page)
    }

    fn set(&self, name: &str, source: &str, page: Value) -> Template {
        let text = self.env.render_named_str(name, source, page);
        let text = text.expect("the embedded pages fit their words: a test renders them all");
        Template::parse(&text).expect("the embedded pages have only known holes: a test renders them all")
    }
}
