//! What holds for every page, in every language and state.

use super::*;

/// The promise to the fan, and a round trip less on a fresh connection.
const LARGEST: usize = 15_000;

fn shown(state: State) -> Shown<'static> {
    Shown {
        room: "main",
        state,
        position: Some(1_203),
        waiting: Some(50_211),
        eta_seconds: Some((240, 320)),
        first_position: Some(2_406),
        poll_after: Duration::from_millis(4_200),
        kept_for: Duration::from_secs(180),
        claim_window: Duration::from_secs(120),
        paused: false,
        degraded: false,
        message: None,
        stock: None,
        opens_in: None,
        return_to: "/events/1?seats=2",
        status_url: "/queue/status?room=main",
    }
}

fn html(page: &Page) -> &str {
    std::str::from_utf8(&page.body).unwrap()
}

/// Every page that can be made of `facts`, with every language and state.
fn every(facts: Shown<'_>) -> Vec<Page> {
    let pages = Pages::new();
    let waiting = Language::ALL
        .iter()
        .flat_map(|&language| State::ALL.map(|state| pages.waiting(language, &Shown { state, ..facts })));
    let errors = Language::ALL
        .iter()
        .flat_map(|&language| ErrorKind::ALL.map(|kind| pages.error(language, 502, kind)));
    waiting.chain(errors).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[test]
fn the_largest_page_is_under_15_kb() {
    let facts = Shown {
        room: &"r".repeat(32),
        position: Some(999_999_999),
        waiting: Some(999_999_999),
        first_position: Some(999_999_999),
        eta_seconds: Some((9_999_999, 99_999_999)),
        paused: true,
        degraded: true,
        message: Some(&"<한>".repeat(1_000)),
        stock: Some(999_999_999),
        opens_in: Some(Duration::from_secs(9_999_999)),
        return_to: &format!("/{}", "&".repeat(59)),
        status_url: &format!("/queue/status?room={}", "r".repeat(32)),
        ..shown(State::Waiting)
    };
    let largest = every(facts).into_iter().max_by_key(|page| page.body.len()).unwrap();
    assert!(largest.body.len() <= LARGEST, "{}: {}", largest.body.len(), html(&largest));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for page in every(shown(State::Waiting)) {
        let html = html(&page);
        for foreign in ["http:", "https:", "//w", "url(", "@import", " src=", "<img", "<iframe", "<form"] {
            assert!(!html.contains(foreign), "{foreign} in {html}");
        }
    }
}

#[test]
fn no_hole_and_no_expression_is_left_over() {
    for page in every(shown(State::Waiting)) {
        let html = html(&page);
        let markup = html.split_once("<script>").map_or(html, |(before, _)| before);
        for left in ["[[", "]]", "{{", "}}", "{%", "{kept_for}", "{claim_window}", "{n}", "{low}"] {
            assert!(!markup.contains(left), "{left} in {html}");
        }
    }
}

#[test]
fn the_policy_names_exactly_this_style_and_script() {
    for page in every(shown(State::Waiting)) {
        let (csp, html) = (page.csp.to_str().unwrap(), html(&page));
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        assert!(csp.starts_with("default-src 'none'; "), "{csp}");
        assert!(csp.contains(&format!("style-src {};", hash(between(html, "<style>", "</style>")))));
        assert_eq!(html.contains("<script"), csp.contains("script-src"));
        if html.contains("<script") {
            assert!(csp.contains(&format!("script-src {};", hash(between(html, "<script>", "</script>")))));
        }
        assert!(!html.contains(" style="), "the policy forbids style attributes");
        assert!(!html.contains(" onclick="), "the policy forbids script attributes");
    }
}

#[test]
fn words_of_operators_and_visitors_are_only_text() {
    let pages = Pages::new();
    let facts = Shown {
        room: "\"><script>alert(0)</script>",
        message: Some("<script>alert(1)</script> \"it's\" & <b>"),
        stock: None,
        return_to: "/x\"onload='alert(2)'><script>",
        status_url: "/queue/status?room=\"><b>",
        ..shown(State::Waiting)
    };
    let page = pages.waiting(Language::En, &facts);
    let html = html(&page);
    assert_eq!(html.matches("<script").count(), 1, "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;it&#39;s&quot; &amp; &lt;b&gt;"));
    assert!(html.contains("data-return-to=\"/x&quot;onload=&#39;alert(2)&#39;&gt;&lt;script&gt;\""));
    assert!(html.contains("data-room=\"&quot;&gt;&lt;script&gt;alert(0)&lt;/script&gt;\""));
}

#[test]
fn only_a_path_of_this_site_is_a_way_back() {
    let pages = Pages::new();
    let way_back = |return_to| {
        let page = pages.waiting(Language::En, &Shown { return_to, ..shown(State::Waiting) });
        between(html(&page), "data-return-to=\"", "\"").to_owned()
    };
    for elsewhere in ["//evil.example/", "https://evil.example/", "javascript:alert(1)", ""] {
        assert_eq!(way_back(elsewhere), "", "{elsewhere}");
    }
    assert_eq!(way_back("/events/1?a=1&b=2"), "/events/1?a=1&amp;b=2");
    assert_eq!(way_back(&format!("/{}", "a".repeat(RETURN_TO_BYTES))), ".", "the page's own address");
}

#[test]
fn a_long_message_is_cut() {
    let message = "공지 ".repeat(1_000);
    let page =
        Pages::new().waiting(Language::Ko, &Shown { message: Some(&message), ..shown(State::Waiting) });
    let text = between(html(&page), "data-at=\"message\" dir=\"auto\">", "</p>");
    assert!(text.ends_with('…') && text.len() <= MESSAGE_BYTES + '…'.len_utf8(), "{text}");
}

#[test]
fn without_script_every_number_is_there() {
    let page = Pages::new().waiting(Language::En, &shown(State::Waiting));
    let html = html(&page);
    for text in [
        "<title>1,203 · Waiting room</title>",
        ">1,203</p>",
        ">about 4–6 minutes</dd>",
        ">50,211</dd>",
        "value=\"0.500\"",
        "kept for 3 minutes",
        "you have 2 minutes",
        "<noscript>This page loads itself again every 5 s.</noscript>",
    ] {
        assert!(html.contains(text), "{text} not in {html}");
    }
}

#[test]
fn what_is_unknown_is_not_made_up() {
    let facts = Shown {
        position: None,
        waiting: None,
        eta_seconds: None,
        first_position: None,
        ..shown(State::Waiting)
    };
    let page = Pages::new().waiting(Language::En, &facts);
    let html = html(&page);
    for text in
        ["<title>You are in line</title>", ">–</p>", ">not known yet</dd>", ">–</dd>", "data-position=\"\""]
    {
        assert!(html.contains(text), "{text} not in {html}");
    }
}

#[test]
fn a_state_shows_its_own_words_only() {
    let pages = Pages::new();
    for state in State::ALL {
        let page = pages.waiting(Language::En, &shown(state));
        let html = html(&page);
        for name in ["none", "waiting", "admitted", "expired", "left", "closed", "full", "blocked"] {
            let open = html.contains(&format!("<header data-when=\"{name}\"><h1>"));
            assert_eq!(open, name == state.name(), "{name} in {state:?}");
        }
        assert_eq!(html.contains("<div class=\"ticket\" data-when=\"waiting\">"), state == State::Waiting);
    }
}

#[test]
fn notes_show_when_they_are_true() {
    let pages = Pages::new();
    let note = |paused, degraded, name: &str| {
        let page = pages.waiting(Language::En, &Shown { paused, degraded, ..shown(State::Waiting) });
        html(&page).contains(&format!("data-note=\"{name}\">"))
    };
    assert!(note(true, false, "paused") && !note(true, false, "degraded"));
    assert!(note(false, true, "degraded") && !note(false, true, "paused"));
}

#[test]
fn a_page_loads_itself_again_unless_that_would_join_again() {
    let pages = Pages::new();
    let refresh = |state| {
        let page = pages.waiting(Language::En, &shown(state));
        page.refresh.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(refresh(State::Waiting).as_deref(), Some("5"));
    assert_eq!(refresh(State::None).as_deref(), Some("5"));
    assert_eq!(refresh(State::Full).as_deref(), Some("10"));
    assert_eq!(refresh(State::Expired), None);
    assert_eq!(refresh(State::Left), None);
    assert_eq!(pages.error(Language::En, 502, ErrorKind::Unreachable).refresh, None);
    assert!(pages.error(Language::En, 503, ErrorKind::Full).refresh.is_some());
}

#[test]
fn every_header_that_belongs_to_a_page_is_set() {
    let page = Pages::new().waiting(Language::Ko, &shown(State::Waiting));
    let mut headers = HeaderMap::new();
    page.write_headers(&mut headers);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-language", "ko"),
        ("cache-control", "no-store"),
        ("vary", "Cookie, Accept-Language"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("refresh", "5"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert!(headers.contains_key("content-security-policy"));
}

#[test]
fn an_error_says_what_is_safe_and_what_to_do() {
    let page = Pages::new().error(Language::En, 504, ErrorKind::Unreachable);
    let html = html(&page);
    for text in ["your pass is kept", "href=\"\">Try again</a>", ">504<"] {
        assert!(html.contains(text), "{text} not in {html}");
    }
}

#[test]
fn progress_ends_at_the_front_and_never_leaves_its_range() {
    let progress =
        |position, first_position| Shown { position, first_position, ..shown(State::Waiting) }.progress();
    assert_eq!(progress(Some(1), Some(400)), 1.0);
    assert_eq!(progress(Some(400), Some(400)), 1.0 / 400.0);
    assert_eq!(progress(Some(500), Some(400)), 1.0 / 500.0);
    assert_eq!(progress(Some(0), Some(0)), 1.0);
    assert_eq!(progress(None, Some(400)), 0.0);
}
