//! A lottery for the places of those present when the doors open.
//!
//! What is drawn by is committed to before (a hash of the secret) and told after,
//! and it takes in who was present, so that neither who runs the line nor who
//! stands in it can choose the outcome. The order is that of hashes, because a
//! stranger's program can sort by them in five lines:
//!
//! ```text
//! commitment = SHA-256(secret)
//! digest     = SHA-256(entries)
//! key        = SHA-256(secret ‖ digest)
//! ticket(k)  = SHA-256(key ‖ k as 8 bytes, big-endian)
//! ```
//! Whoever has the smallest ticket has rank 1. `entries` has a bit for each number
//! below `next`, the highest bit of a byte first, set when that number was in the line.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use super::id::{Epoch, PlaceNumber, RoomName};
use super::time::Timestamp;

/// A SHA-256.
pub type Hash = [u8; 32];

/// Why a draw is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// Another secret than was committed to.
    #[error("the secret is not the one that was committed to")]
    Secret,
    /// The entries were changed.
    #[error("the entries do not have this digest")]
    Digest,
    /// More or fewer entries than were told.
    #[error("there are {0} entries, not as many as told")]
    Count(u64),
    /// A number that nobody had, or a length that does not fit `next`.
    #[error("the entries do not fit the numbers that were given")]
    Entries,
}

/// What a room will draw by; the operator's key makes it, and only it can.
#[must_use]
pub fn secret(key: &Hash, room: &RoomName, opens_at: Timestamp, epoch: Epoch) -> Hash {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    let room = room.as_str().as_bytes();
    mac.update(b"usher draw 1\0");
    mac.update(&(room.len() as u64).to_be_bytes());
    mac.update(room);
    mac.update(&opens_at.as_millis().to_be_bytes());
    mac.update(&epoch.0.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// What is published before the draw.
#[must_use]
pub fn commitment(secret: &Hash) -> Hash {
    Sha256::digest(secret).into()
}

/// A draw: what decides the order of those present, and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Draw {
    /// What was committed to.
    pub secret: Hash,
    /// The number that the first late comer got.
    pub next: PlaceNumber,
    /// A bit for each number below `next`; `next / 8` bytes, rounded up.
    pub entries: Vec<u8>,
}

impl std::fmt::Debug for Draw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draw").field("next", &self.next).field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Draw {
    /// A draw among the numbers below `next` of which `is_present` says so.
    #[must_use]
    pub fn new(secret: Hash, next: PlaceNumber, is_present: impl Fn(PlaceNumber) -> bool) -> Self {
        let bytes = usize::try_from(next.0.div_ceil(8)).expect("a line fits in memory");
        let mut entries = vec![0; bytes];
        for number in (1..next.0).filter(|&number| is_present(PlaceNumber(number))) {
            entries[(number / 8) as usize] |= 0x80 >> (number % 8);
        }
        Self { secret, next, entries }
    }

    /// Those that the order is drawn of.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.entries.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    /// Of the entries.
    #[must_use]
    pub fn digest(&self) -> Hash {
        Sha256::digest(&self.entries).into()
    }

    /// Numbers in the draw, in their order.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        let bits = |(i, &byte): (usize, &u8)| {
            (0..8).filter(move |bit| byte << bit & 0x80 != 0).map(move |bit| i as u64 * 8 + bit)
        };
        self.entries.iter().enumerate().flat_map(bits)
    }

    /// The order that comes of it. O(n log n): a second for a million.
    #[must_use]
    pub fn order(&self) -> Order {
        let digest = self.digest();
        let keyed =
            Sha256::new_with_prefix(Sha256::new().chain_update(self.secret).chain_update(digest).finalize());
        let ticket =
            |number: u64| -> Hash { keyed.clone().chain_update(number.to_be_bytes()).finalize().into() };
        let mut tickets: Vec<_> = self.numbers().map(|number| (ticket(number), number)).collect();
        tickets.sort_unstable();
        let mut by_number = vec![0; usize::try_from(self.next.0).expect("a line fits in memory")];
        let by_rank: Vec<_> = tickets
            .iter()
            .map(|&(_, number)| u32::try_from(number).expect("a line fits in memory"))
            .collect();
        for (rank, &number) in (1..).zip(&by_rank) {
            by_number[number as usize] = rank;
        }
        Order { by_number, by_rank }
    }

    /// Whether this is the draw that was promised, among as many as were told.
    ///
    /// # Errors
    /// [`DrawError`]: the first thing that is not as told.
    pub fn verify(&self, commitment: &Hash, digest: &Hash, count: u64) -> Result<(), DrawError> {
        if self::commitment(&self.secret) != *commitment {
            return Err(DrawError::Secret);
        }
        if self.digest() != *digest {
            return Err(DrawError::Digest);
        }
        let fits = self.entries.len() as u64 == self.next.0.div_ceil(8)
            && self.numbers().all(|number| (1..self.next.0).contains(&number));
        if !fits {
            return Err(DrawError::Entries);
        }
        match self.count() {
            found if found == count => Ok(()),
            found => Err(DrawError::Count(found)),
        }
    }
}

/// Who comes when, of those in a draw. Four bytes a number, and four a rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// 0 = not in the draw.
    by_number: Vec<u32>,
    by_rank: Vec<u32>,
}

impl Order {
    /// Ranks that there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_rank.len() as u64
    }

    /// The rank of a number, 1 is the first; `None` when it is not in the draw.
    #[must_use]
    pub fn rank(&self, PlaceNumber(number): PlaceNumber) -> Option<u64> {
        let rank = *self.by_number.get(usize::try_from(number).ok()?)?;
        (rank > 0).then_some(u64::from(rank))
    }

    /// The number with this rank.
    #[must_use]
    pub fn number(&self, rank: u64) -> Option<PlaceNumber> {
        let at = usize::try_from(rank.checked_sub(1)?).ok()?;
        self.by_rank.get(at).map(|&number| PlaceNumber(u64::from(number)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn room() -> RoomName {
        "main".parse().expect("a name")
    }

    fn drawn(secret: u8, numbers: &BTreeSet<u64>, next: u64) -> Draw {
        Draw::new([secret; 32], PlaceNumber(next), |number| numbers.contains(&number.0))
    }

    #[test]
    fn a_strangers_program_finds_the_same_order() {
        // python3: sha, key = hashlib.sha256, sha(b'\7'*32 + sha(b'\x7f\xc0').digest()).digest()
        //          sorted(range(1, 10), key=lambda k: sha(key + k.to_bytes(8, 'big')).digest())
        let draw = drawn(7, &(1..10).collect(), 10);
        assert_eq!(draw.entries, [0x7f, 0xc0]);
        let order = draw.order();
        let numbers: Vec<_> = (1..=9).filter_map(|rank| order.number(rank)).map(|number| number.0).collect();
        assert_eq!(numbers, [8, 5, 1, 4, 2, 6, 7, 3, 9]);
    }

    #[test]
    fn the_secret_is_of_one_room_opening_line_and_key() {
        let at = Timestamp::from_millis(5);
        let own = secret(&[1; 32], &room(), at, Epoch(9));
        assert_eq!(own, secret(&[1; 32], &room(), at, Epoch(9)));
        let others = [
            secret(&[2; 32], &room(), at, Epoch(9)),
            secret(&[1; 32], &"mai".parse().expect("a name"), at, Epoch(9)),
            secret(&[1; 32], &room(), Timestamp::from_millis(6), Epoch(9)),
            secret(&[1; 32], &room(), at, Epoch(8)),
        ];
        assert!(!others.contains(&own));
    }

    #[test]
    fn no_place_in_the_line_is_a_better_one_in_the_draw() {
        // Over many secrets the mean rank of the first, the middle and the last is the same.
        let numbers: BTreeSet<u64> = (1..=100).collect();
        let mut sums = [0; 3];
        for secret in 0..=255 {
            let order = drawn(secret, &numbers, 101).order();
            for (sum, number) in sums.iter_mut().zip([1, 50, 100]) {
                *sum += order.rank(PlaceNumber(number)).expect("in the draw");
            }
        }
        // 256 draws of 1..=100: mean 50.5, deviation of the mean 1.8.
        for sum in sums {
            assert!((42..=59).contains(&(sum / 256)), "{sums:?}");
        }
    }

    proptest! {
        #[test]
        fn everybody_present_has_one_rank_and_nobody_else_has_any(
            numbers in prop::collection::btree_set(1_u64..400, 0..200),
            more in 0_u64..20,
            secret: u8,
        ) {
            let next = numbers.last().map_or(1, |last| last + 1) + more;
            let draw = drawn(secret, &numbers, next);
            let order = draw.order();
            prop_assert_eq!(order.count(), numbers.len() as u64);
            prop_assert_eq!(draw.count(), order.count());
            let ranked: BTreeSet<_> = (1..=order.count()).filter_map(|rank| order.number(rank)).map(|n| n.0).collect();
            prop_assert_eq!(&ranked, &numbers);
            for number in 0..next + 10 {
                let rank = order.rank(PlaceNumber(number));
                prop_assert_eq!(rank.is_some(), numbers.contains(&number));
                prop_assert!(rank.is_none_or(|rank| order.number(rank) == Some(PlaceNumber(number))));
            }
            prop_assert_eq!(draw.verify(&commitment(&draw.secret), &draw.digest(), draw.count()), Ok(()));
        }

        #[test]
        fn whatever_is_changed_is_found(
            numbers in prop::collection::btree_set(1_u64..400, 1..100),
            bit in 0_usize..256,
            at: prop::sample::Index,
            by in 1_u64..9,
        ) {
            let next = numbers.last().map_or(1, |last| last + 1);
            let draw = drawn(3, &numbers, next);
            let (promise, digest, count) = (commitment(&draw.secret), draw.digest(), draw.count());
            let flipped = |mut hash: Hash| { hash[bit / 8] ^= 1 << (bit % 8); hash };
            let other = Draw { secret: flipped(draw.secret), ..draw.clone() };
            prop_assert_eq!(other.verify(&promise, &digest, count), Err(DrawError::Secret));
            prop_assert_eq!(draw.verify(&flipped(promise), &digest, count), Err(DrawError::Secret));
            prop_assert_eq!(draw.verify(&promise, &flipped(digest), count), Err(DrawError::Digest));
            prop_assert_eq!(draw.verify(&promise, &digest, count + by), Err(DrawError::Count(count)));
            let mut entries = draw.entries.clone();
            let at = at.index(entries.len());
            entries[at] ^= 1 << (bit % 8);
            let other = Draw { entries, ..draw.clone() };
            prop_assert_eq!(other.verify(&promise, &digest, count), Err(DrawError::Digest));
            let longer = Draw { next: PlaceNumber(next + 8 * by), ..draw.clone() };
            prop_assert_eq!(longer.verify(&promise, &digest, count), Err(DrawError::Entries));
            let shorter = Draw { next: PlaceNumber(next - 1), ..draw };
            prop_assert_eq!(shorter.verify(&promise, &digest, count), Err(DrawError::Entries));
        }
    }
}
