//! What holds for every page, in every language and state.

use super::*;

/// The promise to the fan, and a round trip less on a fresh connection.
const LARGEST: usize = 15_000;

fn shown(view: View) -> Shown<'static> {
    Shown {
        room: "main",
        view,
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
        draw_ahead: false,
        return_to: "/events/1?seats=2",
        can_move: true,
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
        .flat_map(|&language| View::ALL.map(|view| pages.waiting(language, &Shown { view, ..facts })));
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
        draw_ahead: false,
        return_to: &format!("/{}", "&".repeat(59)),
        ..shown(View::Waiting)
    };
    // Before a draw nobody knows position and wait.
    let drawing =
        Shown { draw_ahead: true, position: None, first_position: None, eta_seconds: None, ..facts };
    let pages = every(facts).into_iter().chain(every(drawing));
    let largest = pages.max_by_key(|page| page.body.len()).unwrap();
    eprintln!("largest page: {} bytes", largest.body.len());
    assert!(largest.body.len() <= LARGEST, "{}: {}", largest.body.len(), html(&largest));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for page in every(shown(View::Waiting)) {
        let html = html(&page);
        for foreign in ["http:", "https:", "//w", "url(", "@import", " src=", "<img", "<iframe", "action=\"h"]
        {
            assert!(!html.contains(foreign), "{foreign} in {html}");
        }
    }
}

#[test]
fn no_hole_and_no_expression_is_left_over() {
    for page in every(shown(View::Waiting)) {
        let html = html(&page);
        let markup = html.split_once("</style>").unwrap().1;
        let markup = markup.split_once("<script").map_or(markup, |(before, _)| before);
        for left in ["[[", "]]", "{{", "}}", "{%", "{kept_for}", "{claim_window}", "{n}", "{low}"] {
            assert!(!markup.contains(left), "{left} in {html}");
        }
    }
}

#[test]
fn the_policy_names_exactly_this_style_and_script() {
    for page in every(shown(View::Waiting)) {
        let (csp, html) = (page.csp.to_str().unwrap(), html(&page));
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        assert!(csp.starts_with("default-src 'none'; "), "{csp}");
        assert!(csp.contains(&format!("style-src {};", hash(between(html, "<style>", "</style>")))));
        assert_eq!(html.contains("<script"), csp.contains("script-src"));
        if html.contains("<script") {
            let script = html.rsplit_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
            assert!(csp.contains(&format!("script-src {};", hash(script))));
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
        ..shown(View::Waiting)
    };
    let page = pages.waiting(Language::En, &facts);
    let html = html(&page);
    assert_eq!(html.matches("<script").count(), 2, "{html}");
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;it&#39;s&quot; &amp; &lt;b&gt;"));
    assert!(
        html.contains("name=\"return_to\" value=\"/x&quot;onload=&#39;alert(2)&#39;&gt;&lt;script&gt;\"")
    );
    assert!(html.contains("data-room=\"&quot;&gt;&lt;script&gt;alert(0)&lt;/script&gt;\""));
}

#[test]
fn only_a_path_of_this_site_is_a_way_back() {
    let pages = Pages::new();
    let way_back = |return_to| {
        let page = pages.waiting(Language::En, &Shown { return_to, ..shown(View::Waiting) });
        between(html(&page), "name=\"return_to\" value=\"", "\"").to_owned()
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
    let page = Pages::new().waiting(Language::Ko, &Shown { message: Some(&message), ..shown(View::Waiting) });
    let text = between(html(&page), "data-at=\"message\" dir=\"auto\">", "</p>");
    assert!(text.ends_with('…') && text.len() <= MESSAGE_BYTES + '…'.len_utf8(), "{text}");
}

#[test]
fn without_script_every_number_is_there() {
    let page = Pages::new().waiting(Language::En, &shown(View::Waiting));
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
        ..shown(View::Waiting)
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
fn a_view_shows_its_own_words_and_knows_the_others() {
    let pages = Pages::new();
    for language in Language::ALL {
        let all = Words::of(language).state.each();
        for view in View::ALL {
            let page = pages.waiting(language, &shown(view));
            let html = html(&page);
            let words = Words::of(language).state.said(view.name());
            assert_eq!(between(html, "<h1>", "</h1>"), words.heading, "{view:?}");
            assert_eq!(html.contains("<div class=\"ticket\" data-when=\"waiting near\">"), view.is_in_line());
            let text = between(html, "<script type=\"application/json\">", "</script>");
            let known: serde_json::Value = serde_json::from_str(text).unwrap();
            for (name, words) in &all {
                // With the page or with the status, never from nowhere.
                let told = View::ALL
                    .into_iter()
                    .find(|view| view.name() == *name)
                    .and_then(|view| said(language, view));
                assert_ne!(known.get(name).is_some(), told.is_some(), "{name}");
                assert!(known.get(name).is_none_or(|known| known["heading"] == words.heading), "{name}");
            }
        }
    }
}

#[test]
fn every_reason_has_a_view_and_every_view_its_name() {
    for reason in ['e', 'm', 'p', 'l', 'r', 'c', 'd'].map(|code| Reason::from_code(code).unwrap()) {
        assert_eq!(View::of(reason).name(), reason.name(), "the script goes by the status's `reason`");
        assert!(View::of(reason).is_over());
    }
    for view in View::ALL {
        assert!(
            Words::of(Language::En).state.each().iter().any(|(name, _)| *name == view.name()),
            "{view:?}"
        );
    }
}

#[test]
fn the_language_can_be_changed_unless_a_reload_would_join_again() {
    let pages = Pages::new();
    for view in View::ALL {
        let page = pages.waiting(Language::Ja, &shown(view));
        let form = between(html(&page), "<form", "</form>");
        assert_eq!(
            form.starts_with(" method=\"post\" action=\"/queue/language\" aria-label=\"言語\" hidden>"),
            view.is_over()
        );
        for language in Language::ALL {
            let button = format!("value=\"{}\"", language.tag());
            assert!(form.contains(&button) && form.contains(language.name()), "{form}");
        }
        assert!(form.contains("lang=\"ja\" aria-current=\"true\""), "{form}");
    }
}

#[test]
fn notes_show_when_they_are_true() {
    let pages = Pages::new();
    let note = |paused, degraded, name: &str| {
        let page = pages.waiting(Language::En, &Shown { paused, degraded, ..shown(View::Waiting) });
        html(&page).contains(&format!("data-note=\"{name}\">"))
    };
    assert!(note(true, false, "paused") && !note(true, false, "degraded"));
    assert!(note(false, true, "degraded") && !note(false, true, "paused"));
}

#[test]
fn a_page_loads_itself_again_unless_that_would_join_again() {
    let pages = Pages::new();
    let refresh = |view| {
        let page = pages.waiting(Language::En, &shown(view));
        page.refresh.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(refresh(View::Waiting).as_deref(), Some("5"));
    assert_eq!(refresh(View::None).as_deref(), Some("5"));
    assert_eq!(refresh(View::Full).as_deref(), Some("10"));
    assert_eq!(refresh(View::SoldOut).as_deref(), Some("10"));
    assert_eq!(refresh(View::Evicted), None);
    assert_eq!(refresh(View::Left), None);
    assert_eq!(pages.error(Language::En, 502, ErrorKind::Unreachable).refresh, None);
    assert!(pages.error(Language::En, 503, ErrorKind::Full).refresh.is_some());
}

#[test]
fn every_header_that_belongs_to_a_page_is_set() {
    let page = Pages::new().waiting(Language::Ko, &shown(View::Waiting));
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
        |position, first_position| Shown { position, first_position, ..shown(View::Waiting) }.progress();
    assert_eq!(progress(Some(1), Some(400)), 1.0);
    assert_eq!(progress(Some(400), Some(400)), 1.0 / 400.0);
    assert_eq!(progress(Some(500), Some(400)), 1.0 / 500.0);
    assert_eq!(progress(Some(0), Some(0)), 1.0);
    assert_eq!(progress(None, Some(400)), 0.0);
}
