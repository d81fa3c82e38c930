//! Cuts tensors into chunks: what one thread converts at a time, and what is hashed as one.
//!
//! Where the cuts lie depends on the shape alone, so a hash over chunks says what a tensor holds whatever it is
//! converted to.

use std::ops::Range;

use crate::weights::Shape;

/// How many elements a chunk should have: 8 MiB of a 16-bit type.
const ELEMENTS: u64 = 4 << 20;

/// Rows come in multiples of this, so that a chunk holds whole blocks of every format: 256 elements are the longest.
const ROWS: u64 = 256;

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
        let rows = (ELEMENTS / self.width.max(1) / ROWS).max(1) * ROWS;
        let step = if self.count == 1 { elements } else { rows * self.width };
        (0..elements.div_ceil(step)).map(|i| i * step..((i + 1) * step).min(elements)).collect()
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
