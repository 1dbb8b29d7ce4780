use std::time::Duration;

use super::*;
use crate::domain::binding::Binding;
use crate::domain::id::Epoch;
use crate::domain::pass::Pass;

const ROTATION: Rotation = Rotation { every: Duration::from_secs(60) };

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + seconds * 1_000)
}

fn copy(generation: u64) -> SealedPass {
    let pass = Pass { number: PlaceNumber(7), issued_at: at(0), expires_at: at(9_000) };
    SealedPass { visitor: VisitorId::from_bytes([1; 16]), epoch: Epoch(1), pass, generation }
}

/// A gate that was shown the first copy and told what a store says at 60 s.
fn told() -> Copies {
    let (copies, mut store) = (Copies::default(), Binding::claimed(at(0)));
    assert!(copies.show(&copy(1), at(1), ROTATION));
    copies.unsent.lock().clear();
    copies.hear(&key(&copy(1)), Some(store.show(1, at(60), ROTATION)), at(60), ROTATION);
    copies
}

#[test]
fn the_next_copy_is_handed_out_once_and_to_who_has_the_newest() {
    let copies = told();
    assert!(!copies.has_next(&copy(0)) && copies.has_next(&copy(1)));
    assert_eq!(copies.take_next(&copy(0), false, at(61), ROTATION), None);
    assert_eq!(copies.take_next(&copy(1), false, at(61), ROTATION), Some(2));
    assert_eq!(copies.take_next(&copy(1), false, at(61), ROTATION), None);
    assert!(!copies.has_next(&copy(1)));
}

#[test]
fn an_answer_that_a_cache_may_keep_carries_it_only_when_it_is_high_time() {
    let copies = told();
    assert_eq!(copies.take_next(&copy(1), true, at(89), ROTATION), None);
    assert_eq!(copies.take_next(&copy(1), true, at(90), ROTATION), Some(2));
}

#[test]
fn what_nobody_asked_for_is_dropped_before_another_gate_may_hand_out_another() {
    let copies = told();
    assert_eq!(copies.take_next(&copy(1), false, at(110), ROTATION), None);
    assert_eq!(copies.take_next(&copy(1), false, at(61), ROTATION), None, "and stays so");
}

#[test]
fn a_newer_copy_from_elsewhere_makes_what_is_here_worthless() {
    let copies = told();
    assert!(copies.show(&copy(3), at(65), ROTATION));
    assert_eq!(copies.take_next(&copy(3), false, at(66), ROTATION), None);
    assert!(!copies.is_old(&copy(1), at(74), ROTATION), "it was under way");
    assert!(copies.is_old(&copy(1), at(75), ROTATION) && !copies.show(&copy(1), at(75), ROTATION));
    assert!(copies.is_old(&copy(0), at(66), ROTATION));
}

#[test]
fn the_store_hears_what_is_new_or_due_and_nothing_else() {
    let sent = |copies: &Copies| {
        let keys = std::mem::take(&mut *copies.unsent.lock());
        keys.iter().for_each(|key| copies.known.get_mut(key).expect("known").unsent = false);
        keys.len()
    };
    let copies = told();
    copies.known.get_mut(&key(&copy(1))).expect("known").unsent = false;
    for second in 61..120 {
        assert!(copies.show(&copy(1), at(second), ROTATION));
    }
    assert_eq!(sent(&copies), 0);
    copies.show(&copy(2), at(100), ROTATION);
    copies.show(&copy(2), at(101), ROTATION);
    assert_eq!(sent(&copies), 1, "a newer one, once");
    copies.show(&copy(2), at(119), ROTATION);
    assert_eq!(sent(&copies), 0);
    copies.show(&copy(2), at(120), ROTATION);
    assert_eq!(sent(&copies), 1, "due");
    copies.show(&copy(1), at(130), ROTATION);
    assert_eq!(sent(&copies), 0, "nothing of old ones");
}

#[test]
fn a_pass_that_the_store_does_not_know_is_forgotten() {
    let copies = told();
    copies.hear(&key(&copy(1)), None, at(61), ROTATION);
    assert!(copies.known.is_empty());
}
