//! Who is forwarded and who waits: modes, bypass, pages and programs.

use crate::support::app::FakeApp;
use crate::support::gate::TestGate;
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

#[tokio::test]
async fn a_browser_gets_the_waiting_page_and_a_program_a_problem() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "capacity = 1\nwaiting_status = 202").await;
    let _holder = gate.admitted().await;
    let mut browser = gate.client();
    let page = browser.page("/seats?x=1").await;
    assert_eq!((page.status, page.field("content-type")), (202, Some("text/html; charset=utf-8")));
    assert!(
        page.field("refresh").is_some() || page.text().contains("http-equiv=\"refresh\""),
        "no script needed"
    );
    assert_eq!(page.field("cache-control"), Some("no-store"));
    assert!(
        page.field("content-security-policy").is_some_and(|csp| csp.contains("frame-ancestors 'none'")),
        "H16"
    );
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"), "G19");
    assert!(page.body.len() < 15_000, "{}", page.body.len());
    assert_eq!(gate.room("main").await["waiting"], 0, "H01: the first touch takes no place");
    let head = browser.send("HEAD", "/", &[("accept", "text/html")], "").await;
    assert_eq!((head.status, head.body.len()), (202, 0));
    let mut program = gate.client();
    for method in ["GET", "POST", "DELETE", "OPTIONS", "HEAD"] {
        let answer = program.send(method, "/seats", &[("accept", "application/json")], "").await;
        assert_eq!(answer.status, 429, "{method}");
        assert!(
            answer.field("retry-after").is_some_and(|s| s.parse::<u64>().is_ok_and(|s| s > 0)),
            "{method}"
        );
        if method != "HEAD" {
            assert_eq!(answer.problem(), "waiting");
            assert_eq!(answer.json()["status_url"], "/queue/status?room=main");
        }
    }
    let posted = program.send("POST", "/seats", &[("accept", "text/html")], "x=1").await;
    assert_eq!((posted.status, posted.problem().as_str()), (429, "waiting"), "a form is no page load");
    assert!(program.cookies.is_empty(), "a program's request takes neither id nor place");
    let korean = browser.send("GET", "/", &[("accept", "text/html"), ("accept-language", "ko")], "").await;
    assert_eq!(korean.field("content-language"), Some("ko"));
}

#[tokio::test]
async fn a_page_load_or_a_programs_request_claims_a_turn() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut browser = gate.client();
    browser.page("/seats").await;
    let inside = until("the page is the app's", DEADLINE, || {
        let mut browser = browser.clone();
        async move { Some(browser.page("/seats").await).filter(|page| page.text().starts_with("GET /seats")) }
    })
    .await;
    assert!(inside.all("set-cookie").iter().any(|line| line.starts_with("usher_pass=")), "with the pass");
    let mut program = gate.client();
    program.stand().await;
    let answer = program.until_inside("/api").await;
    assert!(answer.all("set-cookie").iter().any(|line| line.starts_with("usher_pass=")), "with the pass");
    until("both are counted", DEADLINE, || async {
        (gate.room("main").await["claimed_total"] == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn overflow_lets_the_first_straight_in_and_the_next_wait() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "mode = \"overflow\"\ncapacity = 1").await;
    let mut first = gate.client();
    let page = first.page("/").await;
    assert!(page.text().contains("</html>"), "the first load gives the id");
    assert!(first.page("/in").await.text().starts_with("GET /in "), "the next one is the app's");
    let mut second = gate.client();
    second.page("/").await;
    assert!(second.page("/in").await.text().contains("</html>"));
    assert_eq!(second.status().await["state"], "waiting");
    assert_eq!(app.seen_at("/in").len(), 1);
}

#[tokio::test]
async fn passthrough_forwards_everybody_and_closed_nobody() {
    let app = FakeApp::start().await;
    let open = TestGate::before(&app, "mode = \"passthrough\"").await;
    assert!(open.client().get("/x").await.text().starts_with("GET /x "));
    assert_eq!(open.client().status().await["state"], "admitted");
    let closed = TestGate::before(&app, "mode = \"closed\"").await;
    let mut visitor = closed.client();
    assert_eq!(visitor.stand().await["state"], "closed");
    let answer = visitor.get("/x").await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "closed"));
    assert!(visitor.page("/x").await.text().contains("</html>"));
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn bypass_rules_open_what_they_name_and_nothing_beside() {
    let app = FakeApp::start().await;
    let bypass = "bypass = { paths = [\"/assets\"], header = \"X-Let-Me-In: s3same\" }";
    let gate = TestGate::before(&app, bypass).await;
    let mut visitor = gate.client();
    for open in ["/assets", "/assets/", "/assets/logo.svg?v=1"] {
        assert_eq!(visitor.get(open).await.status, 200, "{open}");
    }
    for shut in ["/assetsx", "/ASSETS/x", "/assets/../x", "/assets//x", "/assets/%2e%2e/x", "/x/assets"] {
        assert_eq!(visitor.get(shut).await.status, 429, "{shut}");
    }
    let with = async |fields: &[(&str, &str)]| gate.client().send("GET", "/x", fields, "").await.status;
    assert_eq!(with(&[("x-let-me-in", "s3same")]).await, 200);
    for wrong in ["s3sam", "s3same2", "S3SAME", ""] {
        assert_eq!(with(&[("x-let-me-in", wrong)]).await, 429, "{wrong}");
    }
    assert_eq!(with(&[("x-let-me-in", "s3same"), ("x-let-me-in", "s3same")]).await, 429, "once");
    let loopback = TestGate::before(&app, "bypass = { addresses = [\"127.0.0.0/8\"] }").await;
    assert_eq!(loopback.client().get("/x").await.status, 200);
}

#[tokio::test]
async fn a_paused_line_stands_still_and_its_passes_work() {
    let app = FakeApp::start().await;
    let gate = TestGate::before(&app, "").await;
    let mut holder = gate.admitted().await;
    gate.act("pause").await;
    let mut visitor = gate.client();
    assert_eq!(visitor.stand().await["state"], "waiting");
    let tick = gate.room("main").await["tick"].as_u64();
    until("five more ticks", DEADLINE, || async {
        (gate.room("main").await["tick"].as_u64() > tick.map(|n| n + 5)).then_some(())
    })
    .await;
    let status = visitor.status().await;
    assert_eq!((status["state"].as_str(), status["paused"].as_bool()), (Some("waiting"), Some(true)));
    assert!(status["eta_seconds"].is_null(), "unknown is null: {status}");
    assert_eq!(holder.get("/x").await.status, 200);
    gate.act("resume").await;
    visitor.admit().await;
}
