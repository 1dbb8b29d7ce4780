//! An operator's own page: shown, taken up, refused with file and line, previewed.

use std::path::Path;

use crate::support::app::FakeApp;
use crate::support::gate::{TestGate, end_of, run, usher};
use crate::support::raw::DEADLINE;
use crate::support::wait::until;

const OWN: &str = "<!doctype html>\n<html lang=\"{{ lang }}\"><title>{{ title }}</title>\n\
                   {{ usher_style }}<h1>The Concert Hall</h1>\n{{ usher }}</html>\n";

/// Settings with one room whose page is `page`.
fn settings(page: &Path, upstream: &str) -> String {
    format!("[[room]]\nupstreams = [\"{upstream}\"]\ncapacity = 1\ntick = \"50ms\"\npage = {page:?}\n")
}

#[tokio::test]
async fn it_is_shown_changed_without_a_restart_and_kept_when_the_new_one_is_bad() {
    let app = FakeApp::start().await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let page = folder.path().join("own.html");
    std::fs::write(&page, OWN).expect("written");
    let gate = TestGate::start(&settings(&page, &app.url())).await;
    let _inside = gate.admitted().await;
    let mut fan = gate.client();
    let shown = fan.page("/").await;
    let text = shown.text();
    assert!(text.contains("The Concert Hall") && text.contains("<main data-view="), "{text}");
    let policy = shown.field("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("script-src 'sha256-") && policy.contains("frame-ancestors 'none'"), "{policy}");
    std::fs::write(&page, OWN.replace("Concert", "Opera")).expect("written");
    assert_eq!(gate.admin("POST", "/admin/v1/reload", "").await.status, 200);
    until("the new page", DEADLINE, async || {
        fan.page("/").await.text().contains("The Opera Hall").then_some(())
    })
    .await;
    std::fs::write(&page, "<p>\n{% set x = 1 %}").expect("written");
    let refused = gate.admin("POST", "/admin/v1/reload", "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "bad_settings"));
    assert!(refused.text().contains("own.html:2: expected one of"), "{}", refused.text());
    assert!(fan.page("/").await.text().contains("The Opera Hall"), "a bad one changes nothing");
}

#[test]
fn a_bad_page_is_told_by_check_and_at_the_start() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let page = folder.path().join("own.html");
    std::fs::write(&page, "<p>\n\n{{ positon }}").expect("written");
    let file = folder.path().join("usher.toml");
    std::fs::write(&file, settings(&page, "http://127.0.0.1:1")).expect("written");
    let file = file.to_str().expect("a name");
    for command in ["check", "gate"] {
        let output = run(&[command, "--config", file]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("own.html:3: undefined value"), "{told}");
    }
    std::fs::write(&page, "x".repeat(70_000)).expect("written");
    let output = run(&["check", "--config", file]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("at most 64 KB"), "{output:?}");
}

#[test]
fn a_preview_has_every_view_in_every_language() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let page = folder.path().join("own.html");
    std::fs::write(&page, OWN).expect("written");
    std::fs::write(folder.path().join("usher.toml"), settings(&page, "http://127.0.0.1:1")).expect("written");
    let preview =
        |args: &[&str]| end_of(usher().current_dir(folder.path()).args(["page", "preview"]).args(args));
    let output = preview(&["--config", "usher.toml", "--to", "seen"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "seen/index.html");
    let files = std::fs::read_dir(folder.path().join("seen")).expect("made").count();
    assert_eq!(files, 18 * 5 + 1);
    let korean = std::fs::read_to_string(folder.path().join("seen/soldout-ko.html")).expect("there");
    assert!(korean.contains("현재 매진되었습니다") && korean.contains("The Concert Hall"), "{korean}");
    assert!(!korean.contains("<script"), "nothing asks a gate that is not there");
    assert!(preview(&[]).status.success(), "the built-in page needs no settings");
    assert_eq!(preview(&["--config", "usher.toml", "--room", "nowhere"]).status.code(), Some(2));
}
