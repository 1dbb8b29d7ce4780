//! Which seats to give somebody who asks for "so many, together".
//!
//! A ladder: side by side without leaving a single seat behind; side by side;
//! in one row; in neighbouring rows of one section; anywhere. Within a rung the
//! place nearest the stage and the row's middle wins, and near-equal places are
//! drawn by lot, so that a crowd asking at once does not fall over one pair.
//! The ladder follows seats.io's, the lot revel-backend's.

use std::ops::Range;

use super::seat::SeatIndex;

/// One row: seats with consecutive indexes, side by side in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its section, any number that tells sections apart.
    pub section: u32,
    /// Rows between it and the stage.
    pub from_stage: u32,
    /// Index of its first seat.
    pub first: u32,
    /// Its seats, at least one.
    pub len: u32,
}

/// Which seats are free, one bit per seat index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreeSeats(Vec<u64>);

impl FromIterator<bool> for FreeSeats {
    fn from_iter<I: IntoIterator<Item = bool>>(free: I) -> Self {
        let mut words = Vec::new();
        for (i, free) in free.into_iter().enumerate() {
            if i % 64 == 0 {
                words.push(0);
            }
            if let Some(word) = words.last_mut() {
                *word |= u64::from(free) << (i % 64);
            }
        }
        Self(words)
    }
}

impl FreeSeats {
    /// Whether the seat is free; no for one that is not there.
    #[must_use]
    pub fn is_free(&self, seat: u32) -> bool {
        self.0.get(seat as usize / 64).is_some_and(|word| word >> (seat % 64) & 1 == 1)
    }

    /// Marks a seat; one that is not there is ignored.
    pub fn set(&mut self, seat: SeatIndex, free: bool) {
        if let Some(word) = self.0.get_mut(seat.at() / 64) {
            let bit = 1 << (seat.0 % 64);
            *word = if free { *word | bit } else { *word & !bit };
        }
    }

    /// The first index in `range` whose freeness is `wanted`, a word at a time.
    fn next(&self, range: Range<u32>, wanted: bool) -> Option<u32> {
        let mut at = range.start;
        while at < range.end {
            let word = self.0.get(at as usize / 64).copied().unwrap_or(0);
            let word = if wanted { word } else { !word } >> (at % 64);
            if word != 0 {
                let found = at + word.trailing_zeros();
                return (found < range.end).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// The longest stretches of free seats in `range`, in order.
    fn runs(&self, range: Range<u32>) -> impl Iterator<Item = Range<u32>> + '_ {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let start = self.next(at..range.end, true)?;
            let end = self.next(start..range.end, false).unwrap_or(range.end);
            at = end;
            Some(start..end)
        })
    }

    /// Up to 64 seats from `first` on, the first in the lowest bit.
    fn word(&self, first: u32, len: u32) -> u64 {
        let at = |word: u32| self.0.get(word as usize).copied().unwrap_or(0);
        let (word, shift) = (first / 64, first % 64);
        let above = if shift == 0 { 0 } else { at(word + 1) << (64 - shift) };
        (at(word) >> shift | above) & (u64::MAX >> (64 - len.clamp(1, 64)))
    }

    fn count(&self, row: &Row) -> u32 {
        (0..row.len).step_by(64).map(|at| self.word(row.first + at, row.len - at).count_ones()).sum()
    }

    /// Whether the row may have so many side by side; exact up to 64 seats a row.
    fn may_fit(&self, row: &Row, count: u32) -> bool {
        if row.len > 64 {
            return true;
        }
        let (mut starts, mut run) = (self.word(row.first, row.len), 1);
        while run < count && starts != 0 {
            let more = run.min(count - run);
            starts &= starts >> more;
            run += more;
        }
        starts != 0
    }
}

/// How the chosen seats lie, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arrangement {
    /// Side by side in one row.
    Adjacent,
    /// In one row, not all side by side.
    SameRow,
    /// In rows of one section that are close to each other.
    NearRows,
    /// In several sections.
    Apart,
}

/// Chosen seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// As many as asked for, ascending.
    pub seats: Vec<SeatIndex>,
    /// How they lie.
    pub arrangement: Arrangement,
}

/// Places this close to the best one count as equal: two seats off the middle.
const NEAR_EQUAL: u32 = 4;
/// How far behind the next row is, in the measure of [`off_middle`].
const ROW_COST: u32 = 8;
/// What a gap that the party fills exactly is worth: a row.
const NOT_FILLED: u32 = ROW_COST;
/// What it costs to leave free seats on both sides.
const CUT_IN_TWO: u32 = 4;
/// Near-equal places to draw from, at most.
const DRAWN_FROM: usize = 8;
/// Doublings of both for one who was too slow.
const MOST_DOUBLINGS: u32 = 6;

/// The best free seats of `rows`, or `None` when fewer than `count` are free.
///
/// `count` is at least one; `lot` is any random number.
#[must_use]
pub fn choose(rows: &[Row], free: &FreeSeats, count: u32, lot: u64) -> Option<Choice> {
    choose_in_a_crowd(rows, free, count, lot, 0)
}

/// The same after `lost` choices were taken by others while they were made: each
/// doubles what counts as near-equal, so that a crowd spreads instead of falling
/// over the same few places again.
#[must_use]
pub fn choose_in_a_crowd(rows: &[Row], free: &FreeSeats, count: u32, lot: u64, lost: u32) -> Option<Choice> {
    side_by_side(rows, free, count, lot, lost.min(MOST_DOUBLINGS))
        .map(|start| Choice {
            seats: (start..start + count).map(SeatIndex).collect(),
            arrangement: Arrangement::Adjacent,
        })
        .or_else(|| scattered(rows, free, count))
}

/// How named seats lie.
#[must_use]
pub fn arrangement(rows: &[Row], seats: &[SeatIndex]) -> Arrangement {
    let row_of =
        |seat: &SeatIndex| rows.iter().find(|row| (row.first..row.first + row.len).contains(&seat.0));
    let mut found = seats.iter().map(row_of);
    let Some(Some(first)) = found.next() else { return Arrangement::Apart };
    let others: Vec<_> = found.collect();
    if others.iter().all(|row| *row == Some(first)) {
        let low = seats.iter().map(|seat| seat.0).min().unwrap_or(0);
        let high = seats.iter().map(|seat| seat.0).max().unwrap_or(0);
        let adjacent = (high - low) as usize + 1 == seats.len();
        return if adjacent { Arrangement::Adjacent } else { Arrangement::SameRow };
    }
    let one_section = others.iter().all(|row| row.is_some_and(|row| row.section == first.section));
    if one_section { Arrangement::NearRows } else { Arrangement::Apart }
}

/// A stretch of seats side by side, and what speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    orphans: bool,
    cost: u32,
    start: u32,
}

/// The first seat of the place to give.
fn side_by_side(rows: &[Row], free: &FreeSeats, count: u32, lot: u64, doublings: u32) -> Option<u32> {
    let mut best = Best::new(NEAR_EQUAL << doublings, DRAWN_FROM << doublings);
    for row in rows.iter().filter(|row| row.len >= count) {
        if best.is_full_below(row.from_stage * ROW_COST) || !free.may_fit(row, count) {
            continue;
        }
        for run in free.runs(row.first..row.first + row.len) {
            places_in(row, run, count).for_each(|place| best.offer(place));
        }
    }
    best.draw(lot)
}

/// The few places of a run worth comparing: around the row's middle and at
/// both ends, where no orphan is left on one side.
fn places_in(row: &Row, run: Range<u32>, count: u32) -> impl Iterator<Item = Place> {
    let last = (run.end - run.start).checked_sub(count).map(|slack| run.start + slack);
    let middle = row.first + (row.len - count.min(row.len)) / 2;
    let row = row.clone();
    last.into_iter().flat_map(move |last| {
        let ideal = middle.clamp(run.start, last);
        let around = ideal.saturating_sub(2).max(run.start)..=(ideal + 2).min(last);
        let ends = [run.start, last].into_iter().filter({
            let around = around.clone();
            move |end| !around.contains(end)
        });
        let (row, run) = (row.clone(), run.clone());
        around.chain(ends).map(move |start| Place {
            orphans: start - run.start == 1 || run.end - (start + count) == 1,
            cost: row.from_stage * ROW_COST
                + off_middle(&row, start, count)
                + left_over(&row, &run, start, count),
            start,
        })
    })
}

/// What speaks against the free seats that stay beside the place: the fewer and
/// larger stretches are left, the longer parties find room.
fn left_over(row: &Row, run: &Range<u32>, start: u32, count: u32) -> u32 {
    let cuts = start != run.start && start + count != run.end;
    let untouched = run.end - run.start == row.len;
    let fills = run.end - run.start == count;
    if fills { 0 } else { NOT_FILLED + if cuts && !untouched { CUT_IN_TWO } else { 0 } }
}

/// Half seats between the middle of the place and that of its row.
fn off_middle(row: &Row, start: u32, count: u32) -> u32 {
    (2 * (start - row.first) + count).abs_diff(row.len)
}

/// The cheapest places seen so far, cheapest first, of the better kind only.
struct Best {
    places: Vec<Place>,
    /// Above the best one's cost and still drawn from.
    near_equal: u32,
    most: usize,
}

impl Best {
    fn new(near_equal: u32, most: usize) -> Self {
        Self { places: Vec::with_capacity(most + 1), near_equal, most }
    }

    fn offer(&mut self, place: Place) {
        let limit = |best: &Place| (best.orphans, best.cost + self.near_equal);
        let full = self.places.len() == self.most;
        if self.places.first().is_some_and(|best| (place.orphans, place.cost) > limit(best))
            || full && self.places.last().is_some_and(|last| *last < place)
        {
            return;
        }
        let at = self.places.partition_point(|other| *other < place);
        self.places.insert(at, place);
        if at == 0 {
            let limit = limit(&place);
            self.places.retain(|place| (place.orphans, place.cost) <= limit);
        }
        self.places.truncate(self.most);
    }

    /// Whether nothing that costs `cost` or more can still be drawn.
    fn is_full_below(&self, cost: u32) -> bool {
        self.places.first().is_some_and(|best| !best.orphans && best.cost + self.near_equal < cost)
    }

    fn draw(&self, lot: u64) -> Option<u32> {
        let places = self.places.len() as u64;
        (places > 0).then(|| self.places[(lot % places) as usize].start)
    }
}

/// Seats that are not side by side, as close as can be.
fn scattered(rows: &[Row], free: &FreeSeats, count: u32) -> Option<Choice> {
    let counts: Vec<u32> = rows.iter().map(|row| free.count(row)).collect();
    if counts.iter().sum::<u32>() < count {
        return None;
    }
    one_row(rows, &counts, free, count)
        .or_else(|| near_rows(rows, &counts, free, count))
        .or_else(|| anywhere(rows, free, count))
}

/// The nearest row that has enough free seats, not all side by side: the ones
/// in it that lie closest together.
fn one_row(rows: &[Row], counts: &[u32], free: &FreeSeats, count: u32) -> Option<Choice> {
    let enough = rows.iter().zip(counts).filter(|(_, free)| **free >= count);
    let (row, _) = enough.min_by_key(|(row, _)| row.from_stage)?;
    let seats: Vec<u32> = free.runs(row.first..row.first + row.len).flatten().collect();
    let window = seats
        .windows(count as usize)
        .min_by_key(|window| (window[window.len() - 1] - window[0], window[0]))?;
    Some(Choice { seats: window.iter().copied().map(SeatIndex).collect(), arrangement: Arrangement::SameRow })
}

/// Seats from as few neighbouring rows of one section as possible.
fn near_rows(rows: &[Row], counts: &[u32], free: &FreeSeats, count: u32) -> Option<Choice> {
    let mut best: Option<(u32, u32, Range<usize>)> = None;
    // A window of rows that has enough; its ends only move on.
    let (mut end, mut kept) = (0, 0);
    for (start, first) in rows.iter().enumerate() {
        if end < start {
            (end, kept) = (start, 0);
        }
        while kept < count && rows.get(end).is_some_and(|row| row.section == first.section) {
            kept += counts[end];
            end += 1;
        }
        if kept >= count {
            let key = (rows[end - 1].from_stage.abs_diff(first.from_stage), first.from_stage);
            if best.as_ref().is_none_or(|(used, from, _)| key < (*used, *from)) {
                best = Some((key.0, key.1, start..end));
            }
        }
        kept = kept.saturating_sub(counts[start]);
    }
    let (.., window) = best?;
    let seats = rows[window].iter().flat_map(|row| free.runs(row.first..row.first + row.len).flatten());
    let seats = seats.take(count as usize).map(SeatIndex).collect();
    Some(Choice { seats, arrangement: Arrangement::NearRows })
}

/// Whatever is left, nearest the stage first.
fn anywhere(rows: &[Row], free: &FreeSeats, count: u32) -> Option<Choice> {
    let mut order: Vec<&Row> = rows.iter().collect();
    order.sort_by_key(|row| row.from_stage);
    let mut seats: Vec<_> = order
        .into_iter()
        .flat_map(|row| free.runs(row.first..row.first + row.len).flatten())
        .take(count as usize)
        .map(SeatIndex)
        .collect();
    seats.sort_unstable();
    (seats.len() == count as usize).then_some(Choice { seats, arrangement: Arrangement::Apart })
}

#[cfg(test)]
mod halls;
#[cfg(test)]
mod quality;
#[cfg(test)]
mod tests;
