//! `usher swarm --virtual`: a crowd in simulated time, the same one for a seed.

use clap::Parser;
use usher::rehearsal::{run, run_over};
use usher::swarm::{Ended, Error, Options, Report};

use crate::store::planted::Faulty;
use crate::support::gate::usher;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

const FIXED: [&str; 5] = ["swarm", "--virtual", "--quiet", "--seed", "7"];

fn options(more: &str) -> Options {
    Cli::parse_from(FIXED.into_iter().chain(more.split_whitespace())).options
}

fn rehearse(more: &str) -> Result<Report, Error> {
    run(&options(more))
}

#[test]
fn a_crowd_goes_through_a_simulated_line_and_nothing_is_broken() {
    let report = rehearse("--visitors 1000 --capacity 60 --batch 20 --rate 100").expect("a report");
    assert!(report.ok, "{report}");
    assert_eq!(report.ended, Ended::Finished, "{report}");
    assert!(report.places.joined >= 1_000 && report.places.admitted > 800, "{report}");
    assert!((40..=60).contains(&report.most_active) && report.too_early > 0, "{report}");
    let rehearsed = report.rehearsed.expect("it was simulated");
    assert!(rehearsed.most_out <= 60 && report.duration_ms > 30_000, "{report}");
}

#[test]
fn a_seed_gives_the_same_run_again_and_another_seed_another() {
    let crowd = "--visitors 300 --capacity 20 --batch 10 --rate 100 --gates 3";
    let told = |more: &str| {
        let mut report = rehearse(&format!("{crowd} {more}")).expect("a report");
        report.rehearsed = None;
        report.to_string()
    };
    assert_eq!(told(""), told(""));
    assert_ne!(told(""), told("--give-up 0.5"));
}

#[test]
fn who_still_waits_when_time_is_up_is_counted() {
    let report =
        rehearse("--visitors 300 --capacity 5 --batch 1 --rate 300 --max-time 20s").expect("a report");
    assert_eq!(report.ended, Ended::OutOfTime);
    assert!(report.ok && report.places.waiting > 200, "{report}");
    assert!(matches!(rehearse("--batch 0"), Err(Error::Usage(_))));
}

#[test]
fn a_simulated_run_has_no_targets_and_a_real_one_needs_them() {
    let parses = |more: &[&str]| Cli::try_parse_from([&["swarm"], more].concat()).is_ok();
    assert!(parses(&["--virtual", "--gates", "3"]) && parses(&["--target", "http://127.0.0.1:1"]));
    assert!(!parses(&[]) && !parses(&["--virtual", "--target", "http://127.0.0.1:1"]));
}

#[test]
fn a_store_that_evicts_who_polls_is_found() {
    let crowd = options("--visitors 400 --capacity 50 --batch 1");
    let report = run_over(&crowd, Faulty::deaf).expect("a report");
    assert!(!report.ok && report.wrong_evictions > 0, "{report}");
    let report = run(&crowd).expect("a report");
    assert!(report.ok, "{report}");
}

#[test]
fn a_line_in_which_nothing_broke_is_an_exit_of_0() {
    let crowd = ["--visitors", "300", "--capacity", "20", "--batch", "10"];
    let ran = usher().args(FIXED).args(crowd).output().expect("started");
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
}

/// A machine's memory is what bounds this; half an hour of one core.
#[test]
#[ignore = "soak"]
fn soak_a_million_visitors_go_through_a_simulated_line() {
    let report = rehearse("--visitors 1000000 --capacity 20000 --batch 1500").expect("a report");
    eprintln!("{report}");
    assert!(report.ok && report.ended == Ended::Finished, "{report}");
    assert!(report.places.joined >= 1_000_000, "{report}");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    eprintln!("peak {} MB", kilobytes / 1_024);
    assert!(kilobytes < 3 * 1_024 * 1_024, "{kilobytes} kB");
}
