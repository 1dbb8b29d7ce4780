use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::*;

const ROTATION: Rotation = Rotation { every: Duration::from_secs(60) };
/// Within this two devices that ask at least every 20 s are found out: a
/// rotation, asking, showing, the grace time, asking; three times.
const FOUND_OUT: Duration = Duration::from_secs(3 * (60 + 20 + 20 + 10 + 20) + 60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1_000)
}

#[test]
fn a_generation_is_made_once_a_minute_for_one_who_shows_the_newest() {
    let mut binding = Binding::claimed(at(0));
    assert_eq!(binding.show(1, at(1), ROTATION).next, None);
    assert_eq!(binding.show(1, at(60), ROTATION).next, Some(2));
    let heard = binding.show(1, at(61), ROTATION);
    assert_eq!((heard.next, heard.due_at), (None, at(120)), "for one of two who have the same copy");
    assert_eq!(binding.show(2, at(62), ROTATION).next, None);
    assert_eq!(binding.show(1, at(120), ROTATION).next, None, "not for an old copy");
    assert_eq!(binding.show(2, at(120), ROTATION).next, Some(3));
}

#[test]
fn what_was_lost_on_its_way_makes_nothing_old() {
    let mut binding = Binding::claimed(at(0));
    for minute in 1..100 {
        let heard = binding.show(1, at(minute * 60), ROTATION);
        assert!(heard.next.is_some(), "another one a minute later");
        assert!(!heard.newest.is_old(1, at(minute * 60 + 59), ROTATION));
    }
    assert_eq!(binding.claim(Some(1), at(6_000), ROTATION), Claim::Given(1), "and costs no strike");
    assert!(binding.strikes.is_empty());
}

#[test]
fn the_one_before_is_good_for_requests_under_way_and_older_ones_are_not() {
    let mut newest = Newest::default();
    assert!(newest.show(4, at(0)) && newest.show(5, at(100)) && !newest.show(4, at(101)));
    assert!(!newest.is_old(5, at(9_999), ROTATION));
    assert!(!newest.is_old(4, at(109), ROTATION));
    assert!(newest.is_old(4, at(110), ROTATION));
    assert!(newest.is_old(3, at(100), ROTATION));
}

#[test]
fn many_requests_of_one_browser_are_one_claim() {
    let mut binding = Binding::new(7, at(0));
    for second in 0..10 {
        assert_eq!(binding.claim(None, at(second), ROTATION), Claim::Given(8));
        binding.show(8, at(second), ROTATION);
    }
    assert_eq!(binding.strikes.len(), 1);
    assert_eq!(binding.claim(None, at(10), ROTATION), Claim::Given(9));
}

#[test]
fn a_first_claim_whose_answer_was_lost_is_no_strike() {
    let mut binding = Binding::claimed(at(0));
    assert_eq!(binding.claim(None, at(100), ROTATION), Claim::Given(1));
    assert!(binding.strikes.is_empty());
}

#[test]
fn who_shows_an_old_copy_while_the_next_is_on_its_way_is_found_out_all_the_same() {
    let mut binding = Binding::claimed(at(0));
    binding.show(1, at(0), ROTATION);
    assert_eq!(binding.show(1, at(60), ROTATION).next, Some(2));
    binding.show(2, at(61), ROTATION);
    assert_eq!(binding.show(2, at(120), ROTATION).next, Some(3), "which nobody shows yet");
    assert_eq!(binding.claim(Some(1), at(121), ROTATION), Claim::Given(4), "and it is not given to two");
    assert_eq!(binding.strikes.len(), 1);
}

#[test]
fn three_claims_of_old_copies_end_a_pass_and_old_ones_are_forgotten() {
    let claims = |seconds: [u64; 3]| {
        let mut binding = Binding::new(1, at(0));
        seconds.map(|second| {
            let claim = binding.claim(None, at(second), ROTATION);
            if let Claim::Given(given) = claim {
                binding.show(given, at(second), ROTATION);
            }
            claim
        })
    };
    assert_eq!(claims([0, 300, 599]), [Claim::Given(2), Claim::Given(3), Claim::Shared]);
    assert_eq!(claims([0, 300, 600]), [Claim::Given(2), Claim::Given(3), Claim::Given(4)]);
}

/// What a gate could get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// Requests under way are old the moment a newer generation is shown.
    NoGrace,
    /// What was handed out makes the copy before old, lost or not.
    LostOnesCount,
    /// Both devices are handed the next generation.
    HandedToAll,
    /// Who claims an old copy is simply let in with it.
    NoStrikes,
}

/// What a gate does with a request, and the generation that its answer brings.
fn request(binding: &mut Binding, copy: u64, now: Timestamp, bug: Bug) -> Result<Option<u64>, ()> {
    let newest = &binding.newest;
    let old = match bug {
        Bug::NoGrace => copy < newest.generation,
        Bug::LostOnesCount => copy < binding.issued,
        _ => newest.is_old(copy, now, ROTATION),
    };
    if !old {
        let next = binding.show(copy, now, ROTATION).next;
        let handed = (bug == Bug::HandedToAll && binding.issued > copy).then_some(binding.issued);
        return Ok(next.or(handed));
    }
    if bug == Bug::NoStrikes {
        return Ok(None);
    }
    match binding.claim(None, now, ROTATION) {
        Claim::Given(given) => Ok(Some(given)),
        Claim::Shared => Err(()),
    }
}

/// One request: made so long after the one before, so long on its way there, and
/// its answer so long on its way back, or lost.
#[derive(Clone, Debug)]
struct Act {
    after_ms: u64,
    there_ms: u64,
    back_ms: Option<u64>,
    who: usize,
}

fn acts(pause_ms: std::ops::Range<u64>) -> impl Strategy<Value = Vec<Act>> {
    let back = prop_oneof![3 => (0..4_000_u64).prop_map(Some), 1 => Just(None)];
    let act = (pause_ms, 0..5_000_u64, back, 0..2_usize);
    let act = act.prop_map(|(after_ms, there_ms, back_ms, who)| Act { after_ms, there_ms, back_ms, who });
    prop::collection::vec(act, 1..300)
}

/// A browser that does not wait for its answers. How many strikes it got, or that
/// a generation was handed out twice.
fn one_browser(acts: &[Act], bug: Bug) -> Result<usize, String> {
    enum Event {
        Ask,
        Arrive(u64),
        Take(u64),
    }
    let mut events = std::collections::BTreeMap::new();
    let mut made = at(0);
    for (i, act) in acts.iter().enumerate() {
        made = made + Duration::from_millis(act.after_ms);
        events.insert((made, 2 * i), (Event::Ask, act));
    }
    let (mut binding, mut jar) = (Binding::claimed(at(0)), 1);
    let mut handed = BTreeSet::from([1]);
    while let Some(((now, i), (event, act))) = events.pop_first() {
        match event {
            Event::Ask => {
                let there = now + Duration::from_millis(act.there_ms);
                events.insert((there, i + 1), (Event::Arrive(jar), act));
            }
            Event::Arrive(copy) => {
                let given = request(&mut binding, copy, now, bug).map_err(|()| "it ended".to_owned())?;
                if given.is_some_and(|given| !handed.insert(given)) {
                    return Err("handed out twice".into());
                }
                if let (Some(given), Some(ms)) = (given, act.back_ms) {
                    events.insert((now + Duration::from_millis(ms), i + 1), (Event::Take(given), act));
                }
            }
            Event::Take(given) => jar = given,
        }
    }
    Ok(binding.strikes.len())
}

/// Two devices that begin with the same cookies: whether the pass ends in time.
fn two_devices(acts: &[Act], bug: Bug) -> bool {
    let mut binding = Binding::claimed(at(0));
    let (mut jars, mut now) = ([1, 1], at(0));
    for act in acts.iter().cycle() {
        for who in [act.who, 1 - act.who] {
            now = now + Duration::from_millis(act.after_ms);
            match request(&mut binding, jars[who], now, bug) {
                Ok(given) => jars[who] = given.unwrap_or(jars[who]),
                Err(()) => return true,
            }
        }
        if now > at(0) + FOUND_OUT {
            return false;
        }
    }
    false
}

proptest! {
    #[test]
    fn one_browser_never_gets_a_strike(acts in acts(0..90_000)) {
        prop_assert_eq!(one_browser(&acts, Bug::None), Ok(0));
    }

    #[test]
    fn two_devices_end_a_pass(acts in acts(500..10_000)) {
        prop_assert!(two_devices(&acts, Bug::None));
    }

    /// What a gate is told by the store is what it would say itself.
    #[test]
    fn the_newest_only_grows(shown in prop::collection::vec((0..9_u64, 0..40_000_u64), 1..60)) {
        let (mut binding, mut now) = (Binding::new(0, at(0)), at(0));
        let mut highest = 0;
        for (generation, after_ms) in shown {
            now = now + Duration::from_millis(after_ms);
            highest = highest.max(generation);
            let heard = binding.show(generation, now, ROTATION);
            prop_assert_eq!(heard.newest.generation, highest);
            prop_assert!(heard.newest.before <= highest && heard.newest.shown_at <= now);
            prop_assert!(!heard.newest.is_old(highest, now, ROTATION));
            prop_assert!(heard.next.is_none_or(|next| generation == highest && next > highest));
        }
    }
}

/// A hundred of these, the same each time.
fn some(pause_ms: std::ops::Range<u64>) -> impl Iterator<Item = Vec<Act>> {
    let (mut runner, acts) = (TestRunner::deterministic(), acts(pause_ms));
    (0..100).map(move |_| acts.new_tree(&mut runner).expect("acts").current())
}

#[test]
fn what_a_gate_gets_wrong_is_noticed() {
    for bug in [Bug::NoGrace, Bug::LostOnesCount] {
        assert!(some(0..90_000).any(|acts| one_browser(&acts, bug) != Ok(0)), "{bug:?}");
    }
    for bug in [Bug::HandedToAll, Bug::NoStrikes] {
        assert!(some(500..10_000).any(|acts| !two_devices(&acts, bug)), "{bug:?}");
    }
}
