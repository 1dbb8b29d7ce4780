//! Exact positions for millions of places in about a bit each.
//!
//! A bitmap of the numbers that left the line, with a running count per
//! block: a position is one table look-up and at most eight pop-counts,
//! whatever the length of the line.

use super::id::PlaceNumber;

const WORD: u64 = 64;
/// 512 numbers: one cache line of bits.
const BLOCK_WORDS: usize = 8;
const BLOCK: u64 = WORD * BLOCK_WORDS as u64;

/// Which numbers of a line are out.
///
/// Numbers below the first block that has anybody in it are forgotten (all of
/// them are out), so a room that runs for months stays small.
#[derive(Clone, Debug, Default)]
pub struct Rank {
    /// Every number below this is out; a multiple of [`BLOCK`].
    base: u64,
    words: Vec<u64>,
    /// Numbers out in the blocks before this one, for each block.
    before: Vec<u32>,
}

impl Rank {
    /// A line that nobody left, whose first number is 1.
    #[must_use]
    pub fn new() -> Self {
        let mut rank = Self::default();
        rank.leave_all([PlaceNumber(0)]);
        rank
    }

    /// Marks numbers as out; those already out stay so. O(numbers + blocks
    /// after the lowest of them).
    pub fn leave_all(&mut self, numbers: impl IntoIterator<Item = PlaceNumber>) {
        let mut lowest = u64::MAX;
        for PlaceNumber(number) in numbers {
            let Some(offset) = number.checked_sub(self.base) else { continue };
            let word = usize::try_from(offset / WORD).expect("a line fits in memory");
            if word >= self.words.len() {
                let blocks = word / BLOCK_WORDS + 1;
                self.words.resize(blocks * BLOCK_WORDS, 0);
            }
            self.words[word] |= 1 << (offset % WORD);
            lowest = lowest.min(offset / BLOCK);
        }
        if lowest != u64::MAX {
            self.recount(usize::try_from(lowest).expect("a line fits in memory"));
        }
    }

    /// Marks every number in `from..to` as out.
    pub fn leave_range(&mut self, from: PlaceNumber, to: PlaceNumber) {
        self.leave_all((from.0..to.0).map(PlaceNumber));
    }

    /// Counts anew from a block on, and whatever was never counted before it.
    fn recount(&mut self, from: usize) {
        let blocks = self.words.len() / BLOCK_WORDS;
        let from = from.min(self.before.len());
        self.before.resize(blocks, 0);
        for block in from..blocks {
            self.before[block] = match block.checked_sub(1) {
                Some(prev) => self.before[prev] + self.count(prev),
                None => 0,
            };
        }
    }

    fn count(&self, block: usize) -> u32 {
        self.words[block * BLOCK_WORDS..][..BLOCK_WORDS].iter().map(|w| w.count_ones()).sum()
    }

    /// Whether `number` is out.
    #[must_use]
    pub fn is_out(&self, PlaceNumber(number): PlaceNumber) -> bool {
        let Some(offset) = number.checked_sub(self.base) else { return true };
        usize::try_from(offset / WORD)
            .ok()
            .and_then(|word| self.words.get(word))
            .is_some_and(|word| word >> (offset % WORD) & 1 == 1)
    }

    /// Numbers below `number` that are still in the line.
    #[must_use]
    pub fn ahead(&self, PlaceNumber(number): PlaceNumber) -> u64 {
        let Some(offset) = number.checked_sub(self.base) else { return 0 };
        offset - self.out_below(offset)
    }

    /// Numbers out below `base + offset`, those under `base` left aside.
    fn out_below(&self, offset: u64) -> u64 {
        let word = usize::try_from(offset / WORD).unwrap_or(usize::MAX);
        if word >= self.words.len() {
            let Some(last) = self.before.len().checked_sub(1) else { return 0 };
            return u64::from(self.before[last] + self.count(last));
        }
        let block = word / BLOCK_WORDS;
        let whole: u32 = self.words[block * BLOCK_WORDS..word].iter().map(|w| w.count_ones()).sum();
        let part = self.words[word] & ((1 << (offset % WORD)) - 1);
        u64::from(self.before[block] + whole + part.count_ones())
    }

    /// Drops leading blocks in which everybody is out. O(blocks).
    pub fn forget_front(&mut self) {
        let full = (0..self.before.len()).take_while(|&b| u64::from(self.count(b)) == BLOCK).count();
        if full > 0 {
            self.words.drain(..full * BLOCK_WORDS);
            self.before.drain(..full);
            self.base += full as u64 * BLOCK;
            self.recount(0);
        }
    }

    /// A bit for each number from [`Rank::base`] on, set when it is out; the
    /// highest bit of a byte first.
    #[must_use]
    pub fn bits(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).map(u8::reverse_bits).collect()
    }

    /// Lowest number this structure still tells apart.
    #[must_use]
    pub fn base(&self) -> PlaceNumber {
        PlaceNumber(self.base)
    }

    /// Bytes held for bits and counts.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.words.capacity() * size_of::<u64>() + self.before.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_million_places_take_a_quarter_of_a_megabyte_at_most() {
        let mut rank = Rank::new();
        rank.leave_all((1..1_000_000).step_by(3).map(PlaceNumber));
        assert!(rank.memory() <= 262_144, "{}", rank.memory());
    }

    #[test]
    fn a_number_far_ahead_leaves_the_blocks_between_counted() {
        let mut rank = Rank::new();
        rank.leave_all([PlaceNumber(1_536)]);
        assert_eq!(
            [512, 1_024, 1_536, 1_537].map(|n| rank.ahead(PlaceNumber(n))),
            [511, 1_023, 1_535, 1_535]
        );
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(
            steps in prop::collection::vec((prop::collection::vec(1_u64..3_000, 0..40), any::<bool>()), 1..20),
            front in 0_u64..1_500,
            asked in prop::collection::vec(1_u64..4_000, 1..50),
        ) {
            let mut rank = Rank::new();
            let mut out: BTreeSet<u64> = (0..=front).collect();
            rank.leave_range(PlaceNumber(1), PlaceNumber(front + 1));
            for (numbers, forget) in steps {
                rank.leave_all(numbers.iter().copied().map(PlaceNumber));
                out.extend(numbers);
                if forget {
                    rank.forget_front();
                }
            }
            for number in asked {
                prop_assert_eq!(rank.is_out(PlaceNumber(number)), out.contains(&number));
                let ahead = number - out.range(..number).count() as u64;
                prop_assert_eq!(rank.ahead(PlaceNumber(number)), ahead);
            }
        }
    }
}
