//! Sets of row numbers that are dense except for a few holes.

use std::collections::BTreeMap;

/// Numbers of a block.
const BLOCK: u64 = 1 << 16;
const WORDS: usize = (BLOCK / 64) as usize;

/// First and last of consecutive numbers.
pub type Range = (u64, u64);

/// Numbers in any order, with one bit for each.
#[derive(Default)]
pub(super) struct Numbers(BTreeMap<u64, Box<[u64; WORDS]>>);

/// Numbers as ranges, sorted and not adjacent.
#[derive(Default)]
pub(super) struct Ranges(Vec<Range>);

// === impl Numbers ===

impl Numbers {
    /// Adds a number; whether it is new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let block = self.0.entry(number / BLOCK).or_insert_with(|| Box::new([0; WORDS]));
        let (word, bit) = ((number % BLOCK / 64) as usize, 1 << (number % 64));
        let is_new = block[word] & bit == 0;
        block[word] |= bit;
        is_new
    }

    pub(super) fn ranges(&self) -> Ranges {
        let mut ranges = Ranges::default();
        for (block, words) in &self.0 {
            for (word, bits) in words.iter().enumerate() {
                let base = block * BLOCK + word as u64 * 64;
                let (mut at, mut rest) = (0, *bits);
                while rest != 0 {
                    let skipped = rest.trailing_zeros();
                    rest >>= skipped;
                    let length = rest.trailing_ones();
                    at += skipped;
                    ranges.push((base + u64::from(at), base + u64::from(at + length) - 1));
                    rest = rest.checked_shr(length).unwrap_or(0);
                    at += length;
                }
            }
        }
        ranges
    }
}

// === impl Ranges ===

impl Ranges {
    pub(super) fn of(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut merged = Self::default();
        ranges.into_iter().for_each(|range| merged.push(range));
        merged
    }

    /// Adds a range that does not begin before the last one.
    fn push(&mut self, (first, last): Range) {
        match self.0.last_mut() {
            Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
            _ => self.0.push((first, last)),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        match (self.0.last(), other.0.first()) {
            // Usually they come later.
            (Some(end), Some(begin)) if begin.0 < end.0 => {
                *self = Self::of(self.0.iter().chain(&other.0).copied().collect())
            }
            _ => other.0.iter().for_each(|range| self.push(*range)),
        }
    }

    pub(super) fn as_slice(&self) -> &[Range] {
        &self.0
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    /// The numbers in both.
    pub(super) fn common(&self, other: &Self) -> Vec<Range> {
        let meets = |(first, last): Range| {
            let from = other.0.partition_point(|it| it.1 < first);
            other.0[from..].iter().take_while(move |it| it.0 <= last).map(move |it| (it.0.max(first), it.1.min(last)))
        };
        self.0.iter().flat_map(|range| meets(*range)).collect()
    }

    /// The numbers of `first..end` that are not in it.
    pub(super) fn holes(&self, first: u64, end: u64) -> Vec<Range> {
        let (mut holes, mut next) = (Vec::new(), first);
        for (begin, last) in self.0.iter().filter(|range| range.1 >= first) {
            if *begin >= end {
                break;
            }
            if *begin > next {
                holes.push((next, begin - 1));
            }
            next = next.max(last + 1);
        }
        if next < end {
            holes.push((next, end - 1));
        }
        holes
    }
}

/// Ranges of rows, as shown to people.
pub(super) fn rows_shown(ranges: impl IntoIterator<Item = Range>) -> String {
    let shown: Vec<_> = ranges.into_iter().map(|(first, last)| format!("{first} to {last}")).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(set: &BTreeSet<u64>) -> Ranges {
        let mut numbers = Numbers::default();
        set.iter().rev().for_each(|n| assert!(numbers.insert(*n)));
        assert!(set.iter().all(|n| !numbers.insert(*n)));
        numbers.ranges()
    }

    fn spread(ranges: &[Range]) -> BTreeSet<u64> {
        ranges.iter().flat_map(|(first, last)| *first..=*last).collect()
    }

    proptest! {
        #[test]
        fn they_are_sets(a: BTreeSet<u8>, b: BTreeSet<u8>, base in 65_400u64..65_600) {
            let [a, b] = [a, b].map(|set| set.into_iter().map(|n| base + u64::from(n)).collect::<BTreeSet<u64>>());
            let (of_a, of_b) = (numbers(&a), numbers(&b));
            prop_assert_eq!(spread(of_a.as_slice()), a.clone());
            prop_assert_eq!(spread(&of_a.common(&of_b)), &a & &b);
            let all: BTreeSet<u64> = (base..base + 256).collect();
            prop_assert_eq!(spread(&of_a.holes(base, base + 256)), &all - &a);
            let mut both = Ranges::default();
            both.add(&of_a);
            both.add(&of_b);
            prop_assert_eq!(spread(both.as_slice()), &a | &b);
            prop_assert!(both.as_slice().windows(2).all(|w| w[0].1 + 1 < w[1].0));
        }
    }
}
