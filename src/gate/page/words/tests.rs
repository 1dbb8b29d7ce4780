//! That every language is complete, and writes numbers and times its own way.

use super::*;

fn written(language: Language, push: impl FnOnce(&Words, &mut String)) -> String {
    let mut out = String::new();
    push(Words::of(language), &mut out);
    out
}

fn wait(language: Language, low: u64, high: u64) -> String {
    written(language, |words, out| words.push_wait(out, Some((low, high))))
}

#[test]
fn counts_are_grouped_as_each_language_does() {
    let count = |language, n| written(language, |words, out| words.push_count(out, n));
    for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (50_211, "50,211"), (1_000_000, "1,000,000")]
    {
        assert_eq!(count(Language::Ko, n), text);
    }
    assert_eq!(count(Language::Es, 1_203), "1203");
    assert_eq!(count(Language::Es, 50_211), "50.211");
    assert_eq!(count(Language::En, u64::MAX), "18,446,744,073,709,551,615");
}

#[test]
fn a_wait_reads_as_the_browser_would_write_it() {
    assert_eq!(wait(Language::En, 240, 320), "about 4–6 minutes");
    assert_eq!(wait(Language::Ko, 240, 320), "약 4~6분");
    assert_eq!(wait(Language::Ja, 240, 320), "約 4～6 分");
    assert_eq!(wait(Language::Zh, 240, 320), "约 4-6分钟");
    assert_eq!(wait(Language::Es, 240, 320), "aprox. 4-6 minutos");
}

#[test]
fn a_wait_is_never_promised_too_short() {
    assert_eq!(wait(Language::En, 0, 59), "less than a minute");
    assert_eq!(wait(Language::En, 30, 60), "about 1 minute");
    assert_eq!(wait(Language::En, 30, 61), "about 1–2 minutes");
    assert_eq!(wait(Language::En, 3_000, 7_199), "about 50–120 minutes");
    assert_eq!(wait(Language::En, 7_000, 10_800), "about 1–3 hours");
    assert_eq!(wait(Language::En, u64::MAX, u64::MAX), "about 5,124,095,576,030,431 hours");
    assert_eq!(written(Language::En, |words, out| words.push_wait(out, None)), "not known yet");
}

#[test]
fn a_time_is_told_in_the_unit_that_says_it_whole() {
    let time = |s| written(Language::En, |words, out| words.push_duration(out, Duration::from_secs(s)));
    for (seconds, text) in [
        (1, "1 second"),
        (45, "45 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (180, "3 minutes"),
        (3_600, "60 minutes"),
        (7_200, "2 hours"),
        (9_001, "150 minutes"),
    ] {
        assert_eq!(time(seconds), text);
    }
}

#[test]
fn translators_kept_every_placeholder() {
    for words in Language::ALL.map(Words::of) {
        for (text, names) in [
            (&words.title, &["{position}"][..]),
            (&words.label.next, &["{seconds}"]),
            (&words.label.reload, &["{seconds}"]),
            (&words.label.spoken, &["{position}", "{wait}"]),
            (&words.note.offline, &["{kept_for}"]),
            (&words.keep.away, &["{kept_for}"]),
            (&words.keep.turn, &["{claim_window}"]),
            (&words.time.about, &["{range}"]),
            (&words.time.minute[1], &["{n}"]),
            (&words.time.hour[0], &["{n}"]),
        ] {
            assert!(names.iter().all(|name| text.contains(name)), "{names:?} in {text}");
            assert_eq!(text.matches('{').count(), names.len(), "{text}");
        }
    }
}

#[test]
fn a_problem_is_told_in_the_readers_language() {
    assert_eq!(text(Language::En, Text::Waiting), "You are in line.");
    assert_eq!(text(Language::Ko, Text::Waiting), "대기 중입니다.");
    assert_ne!(text(Language::Ja, Text::StoreDown), text(Language::En, Text::StoreDown));
}
