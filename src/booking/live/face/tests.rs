//! The face beside a plain model: whoever follows the frames ends with its seats.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::booking::events::Chair;

const STATUSES: [SeatStatus; 3] = [SeatStatus::Available, SeatStatus::Held, SeatStatus::Sold];

/// A hall whose seats are shown last to first.
fn hall(seats: u32) -> Arc<Layout> {
    let chair =
        |i| Chair { id: format!("A-1-{i}"), section: 0, row: "1".into(), number: i, accessible: false };
    let chairs = (0..seats).map(chair).collect();
    Arc::new(Layout::plain(chairs, (0..seats).rev().map(SeatIndex).collect()))
}

fn text(frame: &Bytes) -> &str {
    let at = frame.windows(2).position(|two| two == b"{\"").expect("an object");
    std::str::from_utf8(&frame[at..]).expect("UTF-8")
}

/// What a client knows that takes each frame at its word.
#[derive(Default)]
struct Client {
    cursor: Option<Cursor>,
    version: u64,
    seats: Vec<SeatStatus>,
}

impl Client {
    fn take(&mut self, frame: &Bytes, hall: &Layout) -> Result<(), String> {
        let said: Value = serde_json::from_str(text(frame)).expect("JSON");
        if said["type"] == "snapshot" {
            use base64::Engine as _;
            let bits = base64::engine::general_purpose::STANDARD
                .decode(said["seats"].as_str().expect("a text"))
                .expect("base64");
            self.version = said["version"].as_u64().expect("a version");
            self.seats = vec![SeatStatus::Available; hall.chairs.len()];
            for (i, seat) in hall.order.iter().enumerate() {
                self.seats[seat.at()] = STATUSES[usize::from(bits[i / 4] >> (2 * (i % 4)) & 3)];
            }
            return Ok(());
        }
        if said["from"] != self.version {
            return Err(format!("at {} comes {said}", self.version));
        }
        self.version = said["to"].as_u64().expect("a version");
        for change in said["seats"].as_array().expect("a list") {
            let seat = hall.chairs.iter().position(|chair| change[0] == chair.id).expect("a seat");
            let status = STATUSES.into_iter().find(|status| change[1] == status.as_str());
            self.seats[seat] = status.expect("a status");
        }
        Ok(())
    }

    fn look(&mut self, face: &mut Face, hall: &Layout) -> Result<(), String> {
        let mut out = Vec::new();
        face.after(&mut self.cursor, 3, &mut out);
        out.iter().try_for_each(|frame| self.take(frame, hall))?;
        let told = self.cursor.map(|cursor| cursor.version);
        if told == Some(self.version) { Ok(()) } else { Err(format!("{told:?} is not {}", self.version)) }
    }
}

fn seats(version: u64, statuses: Vec<SeatStatus>) -> Seats {
    Seats { version, statuses }
}

type Changes = Vec<(SeatIndex, SeatStatus)>;

/// Changes in one look, and which clients look after it.
fn looks() -> impl Strategy<Value = Vec<(Changes, u8)>> {
    let change = (0..30_u32, 0..3_usize).prop_map(|(seat, status)| (SeatIndex(seat), STATUSES[status]));
    let few = proptest::collection::vec(change.clone(), 0..6);
    let many = proptest::collection::vec(change, 1_000..1_100);
    proptest::collection::vec((prop_oneof![50 => few, 1 => many], any::<u8>()), 1..120)
}

/// Eight clients follow, each at its own pace; the face takes in what `heard` makes
/// of each look's version and changes. What they see in the end, beside the truth.
fn follow(looks: &[(Changes, u8)], mut heard: impl FnMut(&mut u64, &mut Changes)) -> Result<(), String> {
    let hall = hall(30);
    let mut truth = vec![SeatStatus::Available; 30];
    let mut version = 100;
    let mut face = Face::new(1, Arc::clone(&hall), seats(version, truth.clone()));
    let mut clients: Vec<Client> = (0..8).map(|_| Client::default()).collect();
    for (changes, looking) in looks {
        for (seat, status) in changes {
            truth[seat.at()] = *status;
        }
        version += changes.len() as u64;
        let (mut to, mut changes) = (version, changes.clone());
        heard(&mut to, &mut changes);
        face.apply(to, &changes).expect("known seats");
        for (_, client) in clients.iter_mut().enumerate().filter(|(i, _)| looking >> i & 1 == 1) {
            client.look(&mut face, &hall)?;
        }
    }
    for client in &mut clients {
        for _ in 0..FRAMES {
            client.look(&mut face, &hall)?;
        }
        if (client.version, &client.seats) != (version, &truth) {
            return Err(format!(
                "{:?} at {} instead of {truth:?} at {version}",
                client.seats, client.version
            ));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_follows_however_slowly_ends_with_the_seats_as_they_are(looks in looks()) {
        prop_assert_eq!(follow(&looks, |_, _| {}), Ok(()));
    }
}

#[test]
fn a_change_left_out_reversed_or_under_a_wrong_version_is_noticed() {
    let held = |seat| (SeatIndex(seat), SeatStatus::Held);
    let sold = |seat| (SeatIndex(seat), SeatStatus::Sold);
    let looks: Vec<(Changes, u8)> =
        vec![(vec![], 255), (vec![held(1), held(2)], 3), (vec![sold(1), held(3), sold(3)], 255)];
    assert_eq!(follow(&looks, |_, _| {}), Ok(()));
    let caught = |bug: fn(&mut u64, &mut Changes)| follow(&looks, bug).is_err();
    assert!(caught(|_, changes| changes.truncate(changes.len().saturating_sub(1))), "a skipped change");
    assert!(caught(|_, changes| changes.reverse()), "the older one wins");
    assert!(caught(|to, _| *to += 1), "a version that nothing has");
    assert!(caught(|_, changes| changes.iter_mut().for_each(|(seat, _)| seat.0 += 1)), "another seat");
}

fn one(seat: u32, status: SeatStatus) -> [(SeatIndex, SeatStatus); 1] {
    [(SeatIndex(seat), status)]
}

fn next(face: &mut Face, cursor: &mut Option<Cursor>) -> Vec<String> {
    let mut out = Vec::new();
    face.after(cursor, 9, &mut out);
    out.iter().map(|frame| text(frame)[1..].to_owned()).collect()
}

#[test]
fn one_delta_is_shared_and_one_who_comes_between_gets_their_own() {
    let mut face = Face::new(1, hall(4), seats(10, vec![SeatStatus::Available; 4]));
    face.apply(12, &[(SeatIndex(0), SeatStatus::Held), (SeatIndex(1), SeatStatus::Held)]).expect("known");
    face.apply(13, &one(0, SeatStatus::Sold)).expect("known");
    let at = |version| Some(Cursor { life: 1, version });
    let (mut a, mut b) = (at(12), at(12));
    let mut frames = [Vec::new(), Vec::new()];
    face.after(&mut a, 9, &mut frames[0]);
    face.after(&mut b, 9, &mut frames[1]);
    assert_eq!(frames[0][0].as_ptr(), frames[1][0].as_ptr(), "encoded once");
    let mut between = at(11);
    assert_eq!(
        next(&mut face, &mut between),
        [r#""type":"delta","from":11,"to":13,"seats":[["A-1-1","HELD"],["A-1-0","SOLD"]]}"#]
    );
    assert_eq!(between, at(13));
    assert_eq!(next(&mut face, &mut between), [""; 0], "nothing twice");
}

#[test]
fn another_face_or_a_version_from_before_it_is_answered_with_all_seats() {
    let mut face = Face::new(2, hall(4), seats(10, vec![SeatStatus::Sold; 4]));
    let all = r#""type":"snapshot","version":10,"seats":"qg=="}"#;
    for cursor in [None, Some(Cursor { life: 1, version: 10 }), Some(Cursor { life: 2, version: 9 })] {
        assert_eq!(next(&mut face, &mut cursor.clone()), [all]);
    }
    let mut ahead = Some(Cursor { life: 2, version: 11 });
    assert_eq!(next(&mut face, &mut ahead), [""; 0], "the list of seats may be newer");
    face.apply(12, &[(SeatIndex(0), SeatStatus::Held), (SeatIndex(1), SeatStatus::Held)]).expect("known");
    assert_eq!(
        next(&mut face, &mut ahead),
        [r#""type":"delta","from":11,"to":12,"seats":[["A-1-1","HELD"]]}"#]
    );
    assert_eq!(face.apply(13, &one(4, SeatStatus::Held)), Err(Outgrown));
}

#[test]
fn what_was_missed_long_ago_is_told_up_to_this_face_and_no_further() {
    let face = Face::new(1, hall(4), seats(10, vec![SeatStatus::Available; 4]));
    let changes = [(SeatIndex(2), SeatStatus::Sold), (SeatIndex(3), SeatStatus::Held)];
    let told = face.missed_since(9, &changes).expect("one is enough");
    assert!(told.ends_with(br#""from":9,"to":10,"seats":[["A-1-2","SOLD"]]}"#), "{told:?}");
    assert_eq!(face.missed_since(7, &changes), None, "one is missing");
    assert_eq!(face.missed_since(11, &changes), None);
}

#[test]
fn frames_are_kept_in_bounds() {
    let mut face = Face::new(1, hall(1_000), seats(0, vec![SeatStatus::Available; 1_000]));
    for look in 0..200_u64 {
        let changes: Vec<_> = (0..900).map(|seat| (SeatIndex(seat), STATUSES[look as usize % 3])).collect();
        face.apply(900 * (look + 1), &changes).expect("known");
        assert!(face.delta_bytes <= FRAME_BYTES && face.deltas.len() <= FRAMES && face.log.len() <= CHANGES);
        assert_eq!(face.delta_bytes, face.deltas.iter().map(|delta| delta.frame.len()).sum::<usize>());
    }
}
