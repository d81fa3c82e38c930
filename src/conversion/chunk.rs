//! Cuts tensors into chunks: what one thread converts at a time, and what is hashed as one.
//!
//! Where the cuts lie depends on the shape alone, so a hash over chunks says what a tensor holds whatever it is
//! converted to.

use std::ops::Range;

use crate::weights::Shape;

/// How many elements a chunk should have: 8 MiB of a 16-bit type.
const ELEMENTS: u64 = 4 << 20;

/// The most: a conversion that is killed loses those that threads are at.
const MOST: u64 = 4 * ELEMENTS;

/// Chunks begin at multiples of this, and have so many rows where they can: 256 elements are the longest block of a format.
const BLOCK: u64 = 256;

/// The longest row that is converted as one, for formats with a scale for each: a thread holds it as numbers, twice.
const LONGEST: u64 = 512 << 10;

/// The version of the rules for cuts. A journal speaks of chunks by their numbers.
pub const CUTS: u32 = 2;

/// A tensor as rows: the first extent by all others. What has one extent or none is one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: u64,
    /// Elements of each.
    pub width: u64,
}

impl Rows {
    /// Returns the rows of a shape. Parsers have checked that its elements can be counted.
    #[must_use]
    pub fn of(shape: &Shape) -> Self {
        let elements = shape.elements().unwrap_or(0);
        match shape.dim(0) {
            Some(count) if shape.rank() > 1 && count > 0 => Self { count, width: elements / count },
            _ => Self { count: 1, width: elements },
        }
    }

    /// Returns the ranges of elements that are converted one by one; together all of them.
    #[must_use]
    pub fn chunks(self) -> Vec<Range<u64>> {
        let elements = self.count * self.width;
        if elements == 0 {
            return Vec::new();
        }
        let step = self.step().min(elements);
        (0..elements.div_ceil(step)).map(|i| i * step..((i + 1) * step).min(elements)).collect()
    }

    /// Returns whether chunks hold whole rows, none of which is too long to be converted at once.
    #[must_use]
    pub fn are_whole(self) -> bool {
        self.width <= LONGEST
    }

    fn step(self) -> u64 {
        let width = self.width.max(1);
        let of = |together: u64| (ELEMENTS / width / together).max(1) * together * width;
        if self.count == 1 && width <= MOST {
            width
        } else if of(BLOCK) <= MOST {
            of(BLOCK)
        } else if self.count > 1 && self.are_whole() {
            // As few rows as hold whole blocks together.
            of(BLOCK >> width.trailing_zeros().min(BLOCK.trailing_zeros()))
        } else {
            // Within rows: no block reaches from one into the next.
            ELEMENTS
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(shape: &[u64]) -> Vec<Range<u64>> {
        Rows::of(&Shape(shape.to_vec())).chunks()
    }

    #[test]
    fn small_tensors_are_one_chunk_and_empty_ones_none() {
        assert_eq!(chunks(&[]), std::iter::once(0..1).collect::<Vec<_>>());
        assert_eq!(chunks(&[5]), std::iter::once(0..5).collect::<Vec<_>>());
        assert_eq!(chunks(&[320, 4, 3, 3]), std::iter::once(0..11_520).collect::<Vec<_>>());
        assert!(chunks(&[0]).is_empty() && chunks(&[0, 7]).is_empty());
    }

    #[test]
    fn large_ones_are_cut_between_rows() {
        let parts = chunks(&[10_240, 1_280]);
        assert_eq!(parts[0], 0..3_072 * 1_280);
        assert_eq!(parts.len(), 4);
    }

    #[test]
    fn wide_rows_are_fewer_in_a_chunk_and_the_widest_are_cut_within() {
        let step = |shape: &[u64]| chunks(shape)[0].end;
        assert_eq!(step(&[1_000, 65_536]), 256 * 65_536, "as others of its kind");
        assert_eq!(step(&[1_000, 131_072]), 32 * 131_072);
        assert_eq!(step(&[1_000, 131_074]), 128 * 131_074, "blocks of 256 end with every 128th row");
        assert!(Rows::of(&Shape(vec![2, LONGEST])).are_whole() && !Rows::of(&Shape(vec![2, LONGEST + 1])).are_whole());
        for shape in [vec![3, LONGEST + 1], vec![MOST + 1], vec![1, 1 << 32], vec![7, 1 << 31]] {
            let parts = chunks(&shape);
            assert!(parts.iter().all(|part| part.start.is_multiple_of(BLOCK) && part.end - part.start <= MOST), "{shape:?}");
            assert_eq!(parts.last().unwrap().end, shape.iter().product::<u64>());
        }
    }

    proptest! {
        #[test]
        fn chunks_follow_one_another_and_hold_whole_blocks(rows in 1u64..5_000, width in 1u64..9_000) {
            let parts = chunks(&[rows, width]);
            prop_assert_eq!(parts[0].start, 0);
            prop_assert_eq!(parts.last().unwrap().end, rows * width);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert_eq!(pair[0].end % 256, 0);
                prop_assert_eq!(pair[0].end % width, 0);
            }
        }
    }
}
