use proptest::prelude::*;

use super::*;

fn room(name: &str) -> RoomName {
    name.parse().expect("a room name")
}

fn seal(current: u8, previous: Option<u8>) -> Seal {
    Seal::new(&Keys { current: [current; 32], previous: previous.map(|byte| [byte; 32]) })
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn pass() -> SealedPass {
    SealedPass {
        visitor: VisitorId::from_bytes([7; 16]),
        epoch: Epoch(1_700_000_000_000),
        pass: Pass { number: PlaceNumber(48_211), issued_at: at(1_000), expires_at: at(421_000) },
        generation: 3,
    }
}

fn place() -> SealedPlace {
    SealedPlace {
        visitor: VisitorId::from_bytes([9; 16]),
        place: Presented {
            epoch: Epoch(5),
            number: PlaceNumber(12),
            joined_at: at(3),
            position: 4,
            first: 6,
        },
        seen_at: at(8),
    }
}

fn link() -> SealedLink {
    let SealedPlace { visitor, place, .. } = place();
    SealedLink { visitor, place, expires_at: at(301_000), go: Some("/a?b".into()) }
}

#[test]
fn a_token_opens_to_what_was_sealed() {
    let seal = seal(1, None);
    let main = room("main");
    let id = VisitorId::from_bytes([3; 16]);
    let token = |go: &str| seal.visitor(&main, id, at(1), go);
    assert_eq!(seal.open_visitor(&main, token("").as_bytes()), Some((id, None)));
    assert_eq!(seal.open_visitor(&main, token("/a?b").as_bytes()), Some((id, Some("/a?b".into()))));
    let longest = format!("/{}", "a".repeat(2_047));
    assert_eq!(seal.open_visitor(&main, token(&longest).as_bytes()), Some((id, Some(longest.into()))));
    assert_eq!(seal.open_place(&main, seal.place(&main, &place()).as_bytes()), Some(place()));
    assert_eq!(seal.open_pass(&main, seal.pass(&main, &pass()).as_bytes(), at(1_000)), Some(pass()));
    assert_eq!(seal.open_link(&main, seal.link(&main, &link()).as_bytes(), at(300_999)), Some(link()));
}

#[test]
fn a_link_ends_to_the_millisecond() {
    let (seal, main) = (seal(1, None), room("main"));
    let token = seal.link(&main, &link());
    assert!(seal.open_link(&main, token.as_bytes(), at(300_999)).is_some());
    assert_eq!(seal.open_link(&main, token.as_bytes(), at(301_000)), None);
}

#[test]
fn who_takes_with_a_link_is_one_id_for_these_two_and_no_other() {
    let seal = seal(1, None);
    let [one, other] = [3, 4].map(|byte| VisitorId::from_bytes([byte; 16]));
    let taker = seal.taker(one, b"link");
    assert_eq!(seal.taker(one, b"link"), taker);
    assert!(![one, seal.taker(other, b"link"), seal.taker(one, b"another")].contains(&taker));
}

#[test]
fn every_flipped_bit_is_rejected() {
    let seal = seal(1, None);
    let main = room("main");
    let token = seal.pass(&main, &pass());
    let bytes = URL_SAFE_NO_PAD.decode(&token).expect("own token");
    assert!(bytes.len() * 8 >= 700);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(seal.open_pass(&main, token.as_bytes(), at(1_000)), None, "bit {bit}");
    }
}

#[test]
fn only_the_canonical_text_is_accepted() {
    let seal = seal(1, None);
    let main = room("main");
    let token = seal.pass(&main, &pass());
    let mut others = vec![
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token} "),
        token.replace(['-', '_'], "+"),
        String::new(),
    ];
    // Bits of the last character that carry nothing must be zero.
    let last = token.pop_last();
    others.extend((b'A'..=b'Z').map(char::from).filter(|c| *c != last.1).map(|c| format!("{}{c}", last.0)));
    for other in others.iter().filter(|other| **other != token) {
        assert_eq!(seal.open_pass(&main, other.as_bytes(), at(1_000)), None, "{other}");
    }
}

trait PopLast {
    fn pop_last(&self) -> (String, char);
}

impl PopLast for String {
    fn pop_last(&self) -> (String, char) {
        let mut rest = self.clone();
        let last = rest.pop().expect("not empty");
        (rest, last)
    }
}

#[test]
fn a_token_is_nothing_for_another_purpose_or_room() {
    let seal = seal(1, None);
    let (main, vip) = (room("main"), room("vip"));
    let pass_token = seal.pass(&main, &pass());
    let place_token = seal.place(&main, &place());
    let link_token = seal.link(&main, &link());
    assert_eq!(seal.open_pass(&main, place_token.as_bytes(), at(9_000)), None);
    assert_eq!(seal.open_place(&main, pass_token.as_bytes()), None);
    assert_eq!(seal.open_visitor(&main, pass_token.as_bytes()), None);
    assert_eq!(seal.open_pass(&main, link_token.as_bytes(), at(9_000)), None);
    assert_eq!(seal.open_place(&main, link_token.as_bytes()), None);
    assert_eq!(seal.open_visitor(&main, link_token.as_bytes()), None);
    for other in [&pass_token, &place_token] {
        assert_eq!(seal.open_link(&main, other.as_bytes(), at(9_000)), None);
    }
    assert_eq!(seal.open_link(&vip, link_token.as_bytes(), at(9_000)), None);
    assert_eq!(seal.open_pass(&vip, pass_token.as_bytes(), at(9_000)), None);
    assert_eq!(seal.open_pass(&room("mai"), pass_token.as_bytes(), at(9_000)), None);
}

#[test]
fn a_pass_from_the_future_is_rejected_beyond_the_skew() {
    let seal = seal(1, None);
    let main = room("main");
    let mut pass = pass();
    pass.pass.issued_at = at(66_000);
    let token = seal.pass(&main, &pass);
    assert_eq!(seal.open_pass(&main, token.as_bytes(), at(5_000)), None);
    assert_eq!(seal.open_pass(&main, token.as_bytes(), at(61_000)), Some(pass));
}

#[test]
fn a_rotated_key_is_believed_until_it_is_dropped() {
    let main = room("main");
    let token = seal(1, None).pass(&main, &pass());
    assert!(seal(2, Some(1)).open_pass(&main, token.as_bytes(), at(1_000)).is_some());
    assert!(seal(2, None).open_pass(&main, token.as_bytes(), at(1_000)).is_none());
    let newer = seal(2, Some(1)).pass(&main, &pass());
    assert!(seal(1, Some(2)).open_pass(&main, newer.as_bytes(), at(1_000)).is_some(), "a gate told late");
}

proptest! {
    #[test]
    fn arbitrary_bytes_open_to_nothing(token in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(seal(1, Some(2)).open_pass(&room("main"), &token, at(1_000)), None);
    }
}
