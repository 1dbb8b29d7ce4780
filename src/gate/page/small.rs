//! Script and style of the pages, as few bytes as they can be.

/// Names of the script's own that go out as one letter, in the order of their use.
const PRIVATE: [&str; 26] = [
    "answer",
    "strangers",
    "request",
    "response",
    "truth",
    "failures",
    "arriveAt",
    "shown",
    "drawnAt",
    "soonest",
    "turnTo",
    "joined",
    "count",
    "board",
    "later",
    "retry",
    "early",
    "timer",
    "dueAt",
    "inLine",
    "painted",
    "expected",
    "spokenAt",
    "askedAt",
    "showLine",
    "moveTo",
];
/// Names of the style's own.
const COLOURS: [&str; 9] =
    ["--accent", "--card", "--glow", "--ink", "--line", "--note", "--on-accent", "--paper", "--quiet"];
const SHORT: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The script without comments and spaces, its own names cut short.
pub(super) fn script(source: &str) -> String {
    let small = minifier::js::minify(source).expect("our own script: a test sets every page").to_string();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let mut out = String::with_capacity(small.len());
    let mut rest = small.as_str();
    while let Some(start) = rest.find(is_part) {
        let (before, word) = rest.split_at(start);
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        let short = PRIVATE.iter().position(|name| *name == word).map(|n| &SHORT[n..=n]);
        out.extend([before, short.unwrap_or(word)]);
        rest = after;
    }
    out + rest
}

/// The style without comments and spaces.
pub(super) fn small_style() -> String {
    let source = include_str!("../../../web/waiting/style.css");
    minifier::css::minify(source).expect("our own style: a test sets every page").to_string()
}

/// The same, its own names cut short.
pub(super) fn style() -> String {
    shorten(small_style())
}

pub(super) fn shorten(style: String) -> String {
    let shorten =
        |text: String, (n, name): (usize, &&str)| text.replace(*name, &format!("--{}", &SHORT[n..=n]));
    COLOURS.iter().enumerate().fold(style, shorten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_cut_short_are_the_scripts_own() {
        let source =
            minifier::js::minify(include_str!("../../../web/waiting/waiting.js")).unwrap().to_string();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        for name in PRIVATE {
            let free = |&(at, _): &(usize, &str)| {
                let around = (source[..at].chars().next_back(), source[at + name.len()..].chars().next());
                !around.0.is_some_and(is_part) && !around.1.is_some_and(is_part)
            };
            let uses: Vec<_> = source.match_indices(name).filter(free).collect();
            assert!(uses.len() > 1, "{name} is used");
            for (at, _) in uses {
                let (before, after) = (&source[..at], &source[at + name.len()..]);
                let line = &source[at.saturating_sub(30)..(at + 40).min(source.len())];
                assert!(!before.ends_with('.') || before.ends_with("..."), "a property: {line}");
                assert!(!after.starts_with(':') || before.ends_with('?'), "a key: {line}");
                assert!(before.matches('\'').count() % 2 == 0, "in a string: {line}");
            }
        }
    }
}
