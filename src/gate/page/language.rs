//! Which language a visitor reads.

/// A language that the gate speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English, for everybody whose languages are not spoken here.
    #[default]
    En,
    /// Korean.
    Ko,
    /// Japanese.
    Ja,
    /// Chinese, in simplified characters.
    Zh,
    /// Spanish.
    Es,
}

/// Entries of an `Accept-Language` that are read; the rest is ignored.
const READ: usize = 32;

impl Language {
    /// Every language, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::En, Self::Ko, Self::Ja, Self::Zh, Self::Es];

    /// The language's tag, as `lang` and `Content-Language` carry it.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ko => "ko",
            Self::Ja => "ja",
            Self::Zh => "zh",
            Self::Es => "es",
        }
    }

    /// The language's own name for itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ko => "한국어",
            Self::Ja => "日本語",
            Self::Zh => "中文",
            Self::Es => "Español",
        }
    }

    /// The language with exactly this tag.
    #[must_use]
    pub fn of_own_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The language of a tag such as `en-GB` or `zh_TW`, by its first part.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }
}

/// The language to answer in, after RFC 9110 section 12.5.4: the highest
/// weight wins, among equals the first; what is malformed or not spoken here
/// is passed over.
#[must_use]
pub fn language(accept_language: Option<&str>) -> Language {
    let ranges = accept_language.unwrap_or_default().split(',').take(READ).filter_map(range);
    let best = ranges.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or_else(Language::default, |(language, _)| language)
}

/// One entry: its language and its weight, above 0 and at most 1.
fn range(entry: &str) -> Option<(Language, f32)> {
    let (tag, parameters) = entry.split_once(';').unwrap_or((entry, ""));
    let language = match tag.trim() {
        "*" => Language::default(),
        tag => Language::of_tag(tag)?,
    };
    let weight = weight(parameters)?;
    (weight > 0.0 && weight <= 1.0).then_some((language, weight))
}

fn weight(parameters: &str) -> Option<f32> {
    let parameters = parameters.trim();
    if parameters.is_empty() {
        return Some(1.0);
    }
    let (name, value) = parameters.split_once('=')?;
    if name.trim().eq_ignore_ascii_case("q") { value.trim().parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_highest_weight_that_is_spoken_here_wins() {
        for (header, expected) in [
            ("ko", Language::Ko),
            ("en-GB", Language::En),
            ("zh-TW", Language::Zh),
            ("ZH_hant", Language::Zh),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Ko),
            ("en;q=0.5, ja;q=0.9", Language::Ja),
            ("de-DE,de;q=0.9,es;q=0.3", Language::Es),
            ("fr, pt-BR", Language::En),
            ("ja;q=0.8, ko;q=0.8", Language::Ja),
            ("ja;q=0, ko;q=0.1", Language::Ko),
            ("*;q=0.5, ko;q=0.4", Language::En),
            (" es ; q = 0.4 , zh ; Q=0.5 ", Language::Zh),
        ] {
            assert_eq!(language(Some(header)), expected, "{header}");
        }
    }

    #[test]
    fn nothing_and_nonsense_are_english() {
        assert_eq!(language(None), Language::En);
        for header in
            ["", ",,,", ";;", "ko;q=", "ko;q=x", "ko;q=NaN", "ko;q=-1", "ko;q=2", "ko;level=1", "kor"]
        {
            assert_eq!(language(Some(header)), Language::En, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gets_an_answer(header in ".*") {
            let _ = language(Some(&header));
        }

        #[test]
        fn anything_like_a_header_gets_an_answer(header in "([a-z*-]{0,4};?q?=?[0-9.]{0,4},? ?){0,50}") {
            let _ = language(Some(&header));
        }
    }
}
