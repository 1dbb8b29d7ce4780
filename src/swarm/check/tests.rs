//! For each rule a clean history passes, and one with the bug planted is caught.

use std::time::Duration;

use proptest::prelude::*;

use super::{Limits, Rule, Verdict, check};
use crate::domain::id::PlaceNumber;
use crate::domain::time::Timestamp;
use crate::swarm::history::{Asked, Credentials, Exchange, History, State, Status, Told, Track};

const LIMITS: Limits = Limits { capacity: Some(2), lag: Duration::from_secs(1), in_order: true };
/// Every poll is answered after so long.
const TAKES: u64 = 10;
const TOLD_MS: u32 = 1_000;
/// Passes are good for so long, by the gate's word.
const PASS_MS: u64 = 60_000;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + ms)
}

/// One visitor's track, written down in the order of its exchanges.
#[derive(Default)]
struct Script(Track);

impl Script {
    fn new() -> Self {
        Self::default()
    }

    fn exchange(mut self, ms: u64, asked: Asked, told: Told) -> Self {
        let exchange = Exchange { answered_at: at(ms + TAKES), told, ..Exchange::begun(at(ms), asked) };
        self.0.exchanges.push(exchange);
        self
    }

    fn status(self, ms: u64, asked: Asked, status: Status) -> Self {
        self.exchange(ms, asked, Told::Status(status))
    }

    fn joins(self, ms: u64, number: u64, position: u64) -> Self {
        self.status(ms, Asked::Join, waiting(number, position))
    }

    fn waits(self, ms: u64, number: u64, position: u64) -> Self {
        self.status(ms, Asked::Poll, waiting(number, position))
    }

    fn admitted(self, ms: u64, number: u64) -> Self {
        self.admitted_until(ms, number, ms + PASS_MS)
    }

    fn admitted_until(self, ms: u64, number: u64, ends: u64) -> Self {
        let status = Status { pass_expires_at: Some(at(ends)), ..state(State::Admitted, Some(number)) };
        self.status(ms, Asked::Poll, status)
    }

    fn is(self, ms: u64, what: State, number: Option<u64>) -> Self {
        self.status(ms, Asked::Poll, state(what, number))
    }

    fn page(self, ms: u64, credentials: Credentials, told: Told) -> Self {
        self.exchange(ms, Asked::Page(credentials), told)
    }

    fn leaves(self, ms: u64, number: u64) -> Self {
        self.status(ms, Asked::Leave, state(State::Left, Some(number)))
    }

    fn key(mut self, key: u64) -> Self {
        self.0.keys.push(key);
        self
    }
}

fn state(state: State, number: Option<u64>) -> Status {
    Status {
        state,
        number: number.map(PlaceNumber),
        position: None,
        poll_after_ms: 0,
        pass_expires_at: None,
        degraded: false,
    }
}

fn waiting(number: u64, position: u64) -> Status {
    Status { position: Some(position), poll_after_ms: TOLD_MS, ..state(State::Waiting, Some(number)) }
}

fn judged(scripts: Vec<Script>) -> Verdict {
    let tracks = scripts.into_iter().map(|script| script.0).collect();
    check(&History { tracks, started_at: at(0), ended_at: at(30_000) }, &LIMITS)
}

/// The rules that are broken.
fn broken(scripts: Vec<Script>) -> Vec<Rule> {
    judged(scripts).findings.iter().map(|(rule, ..)| rule).collect()
}

/// A visitor that does everything as it should be, from `ms` on.
fn fine(ms: u64, number: u64) -> Script {
    Script::new()
        .page(ms, Credentials::Nothing, Told::Held)
        .joins(ms + 20, number, 2)
        .waits(ms + 1_000, number, 1)
        .exchange(ms + 1_100, Asked::Poll, Told::TooEarly)
        .admitted(ms + 2_000, number)
        .admitted_until(ms + 2_020, number, ms + 2_000 + PASS_MS)
        .page(ms + 2_100, Credentials::Own, Told::App)
        .leaves(ms + 3_000, number)
        .page(ms + 6_000, Credentials::Old, Told::Held)
}

#[test]
fn a_clean_history_passes() {
    let verdict = judged(vec![fine(0, 1).key(1).key(1), fine(100, 2).key(2), fine(4_000, 3).key(3)]);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    assert_eq!((verdict.most_active, verdict.fates.joined, verdict.fates.admitted), (2, 3, 3));
}

#[test]
fn rule_1_more_inside_than_the_capacity() {
    assert_eq!(broken(vec![fine(0, 1), fine(100, 2), fine(200, 3)]), [Rule::Capacity]);
}

#[test]
fn rule_1_a_pass_counts_only_while_it_is_surely_good() {
    let ended = |ms, number| Script::new().joins(ms, number, 1).admitted_until(ms + 100, number, ms + 2_000);
    let taken = |ms, number: u64| {
        let used = Script::new().joins(ms, number, 1).admitted(ms + 100, number);
        used.page(ms + 200, Credentials::Own, Told::App).is(ms + 5_000, State::Expired, Some(number))
    };
    assert_eq!(broken(vec![ended(0, 1), taken(0, 2), fine(1_000, 3), fine(1_000, 4)]), []);
}

#[test]
fn rule_3_a_place_that_was_inside_comes_in_again() {
    let again = Script::new().joins(0, 1, 1).admitted(1_000, 1).waits(2_000, 1, 1).admitted(3_000, 1);
    assert_eq!(broken(vec![again]), [Rule::AdmittedOnce]);
    let after_leaving = fine(0, 1).status(9_000, Asked::Join, state(State::Admitted, Some(1)));
    assert_eq!(broken(vec![after_leaving]), [Rule::AdmittedOnce]);
}

#[test]
fn rule_3_a_second_claim_gets_a_second_pass() {
    let two = Script::new().joins(0, 1, 1).admitted(1_000, 1).admitted(1_050, 1);
    assert_eq!(broken(vec![two]), [Rule::AdmittedOnce]);
    let prolonged = Script::new()
        .joins(0, 1, 1)
        .admitted(1_000, 1)
        .page(1_050, Credentials::Own, Told::App)
        .admitted(1_100, 1);
    assert_eq!(broken(vec![prolonged]), []);
}

#[test]
fn rule_3_the_one_late_call_and_a_new_place_are_allowed() {
    let late = Script::new().joins(0, 1, 1).waits(20_000, 1, 3).admitted(21_000, 1);
    assert_eq!(broken(vec![late]), []);
    let anew = fine(0, 1).joins(9_000, 7, 1).admitted(10_000, 7);
    assert_eq!(broken(vec![anew]), []);
}

#[test]
fn rule_4_the_app_answers_somebody_without_a_pass() {
    let bare = Script::new().joins(0, 1, 1).page(100, Credentials::Nothing, Told::App);
    assert_eq!(broken(vec![bare]), [Rule::AdmittedFirst]);
    let waits = Script::new().joins(0, 1, 1).page(100, Credentials::Own, Told::App);
    assert_eq!(broken(vec![waits.waits(1_000, 1, 1)]), [Rule::AdmittedFirst]);
    let left = Script::new().joins(0, 1, 1).admitted(1_000, 1).leaves(2_000, 1);
    assert_eq!(broken(vec![left.page(5_000, Credentials::Old, Told::App)]), [Rule::AdmittedFirst]);
}

#[test]
fn rule_4_a_page_request_may_claim_the_turn() {
    let claims = Script::new().joins(0, 1, 1).page(100, Credentials::Own, Told::App).admitted(1_000, 1);
    assert_eq!(broken(vec![claims]), []);
}

#[test]
fn rule_4_news_of_a_leave_may_be_late_in_trouble() {
    let left = || Script::new().joins(0, 1, 1).admitted(1_000, 1).leaves(2_000, 1);
    let soon = left().page(2_500, Credentials::Old, Told::App);
    assert_eq!(broken(vec![soon]), []);
    let troubled = left().page(5_000, Credentials::Old, Told::App);
    let witness = Script::new().exchange(3_000, Asked::Poll, Told::Nothing);
    assert_eq!(broken(vec![troubled, witness]), []);
}

#[test]
fn rule_5_a_later_number_goes_first() {
    let overtaken = Script::new().joins(0, 1, 1).waits(1_000, 1, 1).waits(2_500, 1, 1);
    let overtaker = Script::new().joins(100, 2, 2).admitted(1_000, 2);
    assert_eq!(broken(vec![overtaken, overtaker]), [Rule::InOrder]);
}

#[test]
fn rule_5_what_may_be_lag_or_silence_proves_nothing() {
    let overtaker = || Script::new().joins(100, 2, 2).admitted(1_000, 2);
    let within_lag = Script::new().joins(0, 1, 1).waits(1_000, 1, 1).waits(1_900, 1, 1).admitted(2_900, 1);
    assert_eq!(broken(vec![within_lag, overtaker()]), []);
    let was_away = Script::new().joins(0, 1, 1).waits(2_500, 1, 1);
    assert_eq!(broken(vec![was_away, overtaker()]), []);
    let degraded = Status { degraded: true, ..waiting(1, 1) };
    let storeless = Script::new().joins(0, 1, 1).waits(1_500, 1, 1).status(2_500, Asked::Poll, degraded);
    assert_eq!(broken(vec![storeless, overtaker()]), []);
}

#[test]
fn rule_5_who_was_called_before_its_first_answer_arrived_was_not_passed_over() {
    let overtaker = || Script::new().joins(100, 2, 2).admitted(1_000, 2);
    let lost = |told| Script::new().exchange(0, Asked::Join, told);
    assert_eq!(broken(vec![lost(Told::Nothing).joins(2_500, 1, 1), overtaker()]), []);
    assert_eq!(broken(vec![lost(Told::Held).joins(2_500, 1, 1), overtaker()]), [Rule::InOrder]);
    let heard_before = lost(Told::Nothing).joins(500, 1, 1).waits(1_500, 1, 1).waits(2_500, 1, 1);
    assert_eq!(broken(vec![heard_before, overtaker()]), [Rule::InOrder]);
}

#[test]
fn rule_6_a_position_grows() {
    let grows = Script::new().joins(0, 1, 5).waits(1_000, 1, 3).waits(2_000, 1, 4);
    assert_eq!(broken(vec![grows]), [Rule::PositionsFall]);
    let after_silence = Script::new().joins(0, 1, 1).waits(9_000, 1, 4);
    assert_eq!(broken(vec![after_silence]), []);
}

#[test]
fn rule_7_one_number_for_two_visitors() {
    let twin = || Script::new().joins(0, 1, 1);
    assert_eq!(broken(vec![twin(), twin()]), [Rule::Balance]);
}

#[test]
fn rule_7_counts_every_end() {
    let evicted = Script::new().joins(0, 1, 1).is(20_000, State::Expired, Some(1));
    let left = Script::new().joins(0, 2, 1).leaves(1_000, 2);
    let leave_unanswered = Script::new().joins(0, 3, 1).exchange(1_000, Asked::Leave, Told::Nothing);
    let verdict = judged(vec![evicted, left, leave_unanswered, Script::new().joins(0, 4, 1), fine(0, 5)]);
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
    let fates = verdict.fates;
    assert_eq!((fates.joined, fates.admitted, fates.evicted, fates.left, fates.waiting), (5, 1, 1, 2, 1));
}

#[test]
fn rule_8_somebody_who_kept_polling_is_evicted() {
    let heard = Script::new().joins(0, 1, 1).waits(1_000, 1, 1).waits(2_000, 1, 1);
    assert_eq!(broken(vec![heard.is(3_000, State::Expired, Some(1))]), [Rule::NoWrongEviction]);
    let silent = Script::new().joins(0, 1, 1).waits(1_000, 1, 1);
    assert_eq!(broken(vec![silent.is(9_000, State::Expired, Some(1))]), []);
    let unheard = Script::new().joins(0, 1, 1).exchange(1_000, Asked::Poll, Told::Nothing);
    assert_eq!(broken(vec![unheard.is(3_000, State::Expired, Some(1))]), []);
}

#[test]
fn rule_8_a_pass_may_run_out() {
    let over = Script::new().joins(0, 1, 1).admitted_until(1_000, 1, 2_000);
    assert_eq!(broken(vec![over.is(2_500, State::Expired, Some(1))]), []);
}

#[test]
fn rule_9_a_place_is_gone_or_has_another_number() {
    let gone = Script::new().joins(0, 1, 1).is(1_000, State::None, None);
    let verdict = judged(vec![gone]);
    assert_eq!(verdict.findings.count(Rule::PlacesKept), 1);
    assert_eq!(verdict.fates.lost, 1);
    let renumbered = Script::new().joins(0, 1, 1).waits(1_000, 9, 1);
    assert_eq!(judged(vec![renumbered]).findings.count(Rule::PlacesKept), 1);
    let pass_gone = Script::new().joins(0, 1, 1).admitted(1_000, 1).is(2_000, State::None, None);
    assert_eq!(broken(vec![pass_gone]), [Rule::PlacesKept]);
}

#[test]
fn rule_11_somebody_else_s_answer() {
    let victim = Script::new().joins(0, 1, 1).waits(1_000, 2, 1);
    let other = Script::new().joins(100, 2, 2).waits(1_100, 2, 2);
    assert!(broken(vec![victim, other]).contains(&Rule::OwnAnswers));
    let one_token = |number| Script::new().joins(0, number, 1).key(77);
    assert_eq!(broken(vec![one_token(1), one_token(2)]), [Rule::OwnAnswers]);
}

proptest! {
    /// A line that is served by the book stays clean however its visitors'
    /// polls fall, and an early one passed over is always caught.
    #[test]
    fn an_honest_line_is_clean_and_one_passed_over_is_caught(
        offsets in prop::collection::vec(0_u64..900, 4..40),
        batch in 1_usize..5,
        over in any::<prop::sample::Index>(),
    ) {
        let serve = |passed_over: Option<usize>| {
            let line = |(i, &offset): (usize, &u64)| {
                let turn = (i / batch + 1) as u64 * 1_000;
                let number = i as u64 + 1;
                let mut script = Script::new().joins(offset, number, number);
                let mut now = offset + 1_000;
                while now < turn || (passed_over == Some(i) && now < 60_000) {
                    let ahead = number.saturating_sub(now / 1_000 * batch as u64).max(1);
                    script = script.waits(now, number, ahead);
                    now += 1_000;
                }
                if passed_over == Some(i) { script } else { script.admitted_until(now, number, now + 50) }
            };
            offsets.iter().enumerate().map(line).collect::<Vec<_>>()
        };
        let limits = Limits { capacity: None, ..LIMITS };
        let judge = |scripts: Vec<Script>| {
            let tracks = scripts.into_iter().map(|script| script.0).collect();
            check(&History { tracks, started_at: at(0), ended_at: at(90_000) }, &limits)
        };
        let honest = judge(serve(None));
        prop_assert!(honest.findings.is_empty(), "{:?}", honest.findings);
        // Somebody must stand behind the one that is passed over.
        let over = over.index(offsets.len() - 1);
        prop_assert_eq!(judge(serve(Some(over))).findings.count(Rule::InOrder), 1);
    }
}
