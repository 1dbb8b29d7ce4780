//! Signs of life as the scripts take them: 512 numbers to a page, a bit each, one
//! page for each slice of time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::id::{PlaceNumber, RoomName};
use crate::domain::time::{Timestamp, millis};

/// Numbers in a page, as the scripts have it.
const PAGE: u64 = 512;
const BYTES: usize = PAGE as usize / 8;

/// Those of 512 numbers that were heard in one slice of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The number of its first bit, divided by 512.
    pub(super) index: u64,
    /// When the last of them was.
    pub(super) at: Timestamp,
    /// A bit a number, the lowest of the first byte first.
    pub(super) bits: [u8; BYTES],
}

/// How long the slices of each room are, as its settings had it last.
///
/// The scripts go by the room's own: where another gate has told it others since,
/// a sign of life counts as late as the last in the slice of here, never as earlier.
#[derive(Default)]
pub(super) struct Slices(Mutex<HashMap<RoomName, Duration>>);

impl Slices {
    pub(super) fn note(&self, room: &RoomName, slice: Duration) {
        self.0.lock().insert(room.clone(), slice);
    }

    /// These signs by page, and within a page by slice.
    pub(super) fn pages(&self, room: &RoomName, signs: &[(PlaceNumber, Timestamp)]) -> Vec<Page> {
        let slice = self.0.lock().get(room).map_or(1, |&slice| millis(slice).max(1));
        let mut pages = BTreeMap::new();
        for &(PlaceNumber(number), at) in signs {
            let index = number / PAGE;
            let page =
                pages.entry((index, at.as_millis() / slice)).or_insert(Page { index, at, bits: [0; BYTES] });
            page.at = page.at.max(at);
            let bit = number % PAGE;
            page.bits[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        pages.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(number: u64, ms: u64) -> (PlaceNumber, Timestamp) {
        (PlaceNumber(number), Timestamp::from_millis(ms))
    }

    #[test]
    fn signs_of_one_slice_share_a_page_and_its_last_instant() {
        let room: RoomName = "main".parse().expect("a name");
        let slices = Slices::default();
        slices.note(&room, Duration::from_secs(1));
        let pages = slices.pages(&room, &[sign(1, 1_900), sign(9, 1_100), sign(1, 2_000), sign(512, 1_500)]);
        let told: Vec<_> = pages.iter().map(|p| (p.index, p.at.as_millis(), p.bits[0], p.bits[1])).collect();
        assert_eq!(told, [(0, 1_900, 0b10, 0b10), (0, 2_000, 0b10, 0), (1, 1_500, 1, 0)]);
    }
}
