//! The swarm against a small gate that keeps the contract, and against one for
//! each rule that does not.

mod fake_gate;

use std::time::Duration;

use clap::Parser;
use usher::swarm::check::Rule;
use usher::swarm::{Ended, Error, Options, Report, run};

use crate::support::gate::usher;
use crate::support::wait::until;
use fake_gate::{CAPACITY, Cheat, FakeGate};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

/// Visitors that come one after another and stay half a second.
const USUAL: &str = "--rate 80 --seed 1 --quiet --visit 500ms --think 200ms --away 300ms --leave 1 \
                     --lag 300ms";

fn options(targets: &str, more: &[&str]) -> Options {
    let capacity = CAPACITY.to_string();
    let fixed = ["swarm", "--target", targets, "--capacity", &capacity];
    Cli::parse_from(fixed.into_iter().chain(USUAL.split_whitespace()).chain(more.iter().copied())).options
}

async fn report_of(cheat: Cheat, visitors: &str) -> Report {
    let gate = FakeGate::start(cheat).await;
    let target = format!("http://{}", gate.address);
    run(options(&target, &["--visitors", visitors, "--max-time", "300s"])).await.expect("the gate is up")
}

#[tokio::test]
async fn a_line_that_keeps_the_contract_is_clean() {
    let report = report_of(Cheat::Nothing, "200").await;
    assert!(report.ok, "{report}");
    assert_eq!(report.ended, Ended::Finished, "{report}");
    assert!(report.errors.is_empty(), "{report}");
    assert!(report.places.joined >= 200 && report.places.admitted > 150, "{report}");
    assert!((1..=CAPACITY).contains(&report.most_active), "{report}");
    assert!(report.forwarded > report.places.admitted && report.too_early > 0, "{report}");
}

#[tokio::test]
async fn a_gate_that_falters_is_counted_and_loses_nobody() {
    let report = report_of(Cheat::Falters, "100").await;
    assert!(report.ok, "{report}");
    assert_eq!(report.ended, Ended::Finished, "{report}");
    assert!(report.resent > 0, "{report}");
    assert!(report.errors.contains_key("http_503 store_down"), "{report}");
}

#[tokio::test]
async fn a_broken_promise_is_an_exit_of_1() {
    let gate = FakeGate::start(Cheat::Nothing).await;
    for (capacity, code) in [(CAPACITY, 0), (1, 1)] {
        let mut swarm = usher();
        swarm.args(["swarm", "--target", &format!("http://{}", gate.address), "--visitors", "60"]);
        swarm.args(["--capacity", &capacity.to_string()]).args(USUAL.split_whitespace());
        let ran = tokio::task::spawn_blocking(move || swarm.output()).await.expect("no panic");
        let ran = ran.expect("started");
        assert_eq!(ran.status.code(), Some(code), "capacity {capacity}: {ran:?}");
    }
}

#[tokio::test]
async fn visitors_fall_over_to_the_gate_that_is_up() {
    let gate = FakeGate::start(Cheat::Nothing).await;
    // Port 1 refuses.
    let report = run(options(
        &format!("http://127.0.0.1:1,http://{}", gate.address),
        &["--visitors", "100", "--max-time", "300s"],
    ))
    .await;
    let report = report.expect("one gate is up");
    assert!(report.ok, "{report}");
    assert_eq!(report.ended, Ended::Finished, "{report}");
    assert!(report.errors["connect"] > 50, "{report}");
}

#[tokio::test]
async fn a_run_that_is_cut_short_still_reports() {
    let gate = FakeGate::start(Cheat::Nothing).await;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("report.json");
    let target = format!("http://{}", gate.address);
    let file_name = file.to_str().expect("a plain name");
    let mut longer = 1;
    // Those who come to wait in this time are as many as the machine lets come.
    let report = until("a run with some in line", Duration::from_secs(120), async || {
        let time = format!("{}ms", 1_500 * longer);
        let more = ["--visitors", "2000", "--max-time", &time, "--report", file_name];
        let report = run(options(&target, &more)).await.expect("the gate is up");
        assert_eq!(report.ended, Ended::OutOfTime);
        assert!(report.ok, "{report}");
        longer += 1;
        Some(report).filter(|report| report.places.waiting > 0)
    })
    .await;
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("valid JSON");
    assert_eq!(json["ended"], "out_of_time");
    assert_eq!(json["places"]["joined"], report.places.joined);
}

#[tokio::test]
async fn wrong_usage_and_a_wrong_address_are_told_apart() {
    let stranger = run(options("http://192.0.2.1:80", &[])).await;
    assert!(matches!(stranger, Err(Error::Usage(_))));
}

/// All at once: visitors mostly sleep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_rule_is_caught() {
    let planted = [
        (Cheat::LetsInTooMany, Rule::Capacity),
        (Cheat::GivesTwoPasses, Rule::AdmittedOnce),
        (Cheat::Leaks, Rule::AdmittedFirst),
        (Cheat::HonoursOldPasses, Rule::AdmittedFirst),
        (Cheat::PassesOver, Rule::InOrder),
        (Cheat::Grows, Rule::PositionsFall),
        (Cheat::EvictsThePatient, Rule::NoWrongEviction),
        (Cheat::Forgets, Rule::PlacesKept),
        (Cheat::MixesUp, Rule::OwnAnswers),
    ];
    let runs = planted.map(|(cheat, rule)| (rule, tokio::spawn(caught(cheat, rule))));
    for (rule, run) in runs {
        let report = run.await.expect("a report");
        let broken = broken_in(&report);
        assert!(!report.ok && broken.contains(&rule), "{rule:?} {report}");
        // Whoever loses a place, or is taken for another, may well see two numbers.
        let is_place = |rule| matches!(rule, Rule::PlacesKept | Rule::OwnAnswers);
        assert!(is_place(rule) || broken == [rule], "{rule:?} {report}");
    }
}

/// The swarm is sure only of what no delay excuses, and a starved machine
/// excuses much: ten crowds may try.
async fn caught(cheat: Cheat, rule: Rule) -> Report {
    let mut report = report_of(cheat, "100").await;
    for _ in 0..9 {
        if !broken_in(&report).contains(&rule) {
            report = report_of(cheat, "100").await;
        }
    }
    report
}

fn broken_in(report: &Report) -> Vec<Rule> {
    report.broken.iter().map(|broken| broken.rule).collect()
}
