//! What SDNQ does to weights before it quantises them, undone: rotations by Hadamard matrices, parts of low rank, and storage
//! with rows and columns exchanged (`sdnq/quant_utils.py`, `sdnq/dequantizer.py`).

use super::QuantError;
use super::error::part;
use super::sdnq::Habits;

/// A rotation of fewer numbers is none.
const LEAST: usize = 4;

/// Returns how many numbers of a row are rotated together: the largest power of two within the configured one that divides the row.
/// Nothing where the reference leaves the weight as it is.
#[must_use]
pub fn rotated_together(channels: usize, configured: usize) -> Option<usize> {
    let mut together = channels.min(configured).checked_next_power_of_two()?;
    while together > 0 && !channels.is_multiple_of(together) {
        together /= 2;
    }
    (together >= LEAST).then_some(together)
}

/// Rotates each run of so many numbers in place. The matrix is its own inverse, so this undoes what it does.
///
/// It is a Kronecker power of the matrix of order 4 with one -1 in each row where the size is a power of 4, and otherwise, as always
/// before version 0.2.1, of [[1, 1], [1, -1]]; either is divided by the root of the size.
pub fn rotate(values: &mut [f32], together: usize, habits: Habits) -> Result<(), QuantError> {
    if !together.is_power_of_two() || !values.len().is_multiple_of(together) {
        return Err(QuantError::Group { values: values.len(), group: together });
    }
    let order_four = habits.order_four && together.trailing_zeros().is_multiple_of(2);
    let root = (together as f32).sqrt();
    for run in values.chunks_exact_mut(together) {
        let mut stride = 1;
        while stride < together {
            if order_four {
                turn_four(run, stride);
                stride *= 4;
            } else {
                turn_two(run, stride);
                stride *= 2;
            }
        }
        for value in run {
            *value /= root;
        }
    }
    Ok(())
}

fn turn_two(run: &mut [f32], stride: usize) {
    for block in run.chunks_exact_mut(2 * stride) {
        let (a, b) = block.split_at_mut(stride);
        for (a, b) in a.iter_mut().zip(b) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// Rows of the matrix: ++++ with the -1 at the fourth, third, second and first place.
fn turn_four(run: &mut [f32], stride: usize) {
    for block in run.chunks_exact_mut(4 * stride) {
        let (low, high) = block.split_at_mut(2 * stride);
        let ((a, b), (c, d)) = (low.split_at_mut(stride), high.split_at_mut(stride));
        for ((a, b), (c, d)) in a.iter_mut().zip(b).zip(c.iter_mut().zip(d)) {
            let (one, two) = (*a + *b, *c + *d);
            let (first, second) = (*a - *b, *c - *d);
            (*a, *b, *c, *d) = (one + second, one - second, first + two, two - first);
        }
    }
}

/// Writes the columns of `values`, which has rows of `columns` numbers, as rows.
pub fn transpose(values: &[f32], columns: usize, out: &mut [f32]) -> Result<(), QuantError> {
    part("the transposed weight", values.len(), out.len())?;
    if columns == 0 || !values.len().is_multiple_of(columns) {
        return Err(QuantError::Group { values: values.len(), group: columns });
    }
    let rows = values.len() / columns;
    for (at, row) in out.chunks_exact_mut(rows.max(1)).enumerate() {
        for (value, from) in row.iter_mut().zip(values[at..].iter().step_by(columns)) {
            *value = *from;
        }
    }
    Ok(())
}

/// A part of low rank, in the order in which its numbers are used: `up` has rows of `rank`, `down` has `rank` rows.
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// `[out, rank]`.
    pub up: &'a [f32],
    /// `[rank, in]`.
    pub down: &'a [f32],
    /// How many terms each number is a sum of.
    pub rank: usize,
}

impl LowRank<'_> {
    /// Adds the product to whole rows, of which `first` is the first.
    pub fn add(&self, first: usize, columns: usize, rows: &mut [f32]) -> Result<(), QuantError> {
        if columns == 0 || !rows.len().is_multiple_of(columns) {
            return Err(QuantError::Group { values: rows.len(), group: columns });
        }
        part("svd_down", self.rank.saturating_mul(columns), self.down.len())?;
        let last = (first + rows.len() / columns).saturating_mul(self.rank);
        let up = self.up.get(first * self.rank..last).ok_or(QuantError::Part { what: "svd_up", expected: last, found: self.up.len() })?;
        for (row, factors) in rows.chunks_exact_mut(columns).zip(up.chunks_exact(self.rank.max(1))) {
            for (factor, down) in factors.iter().zip(self.down.chunks_exact(columns)) {
                for (value, down) in row.iter_mut().zip(down) {
                    *value += factor * down;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    fn matrix(together: usize, habits: Habits) -> Vec<f32> {
        let mut values = vec![0.0; together * together];
        values.iter_mut().step_by(together + 1).for_each(|v| *v = 1.0);
        rotate(&mut values, together, habits).unwrap();
        values
    }

    #[test]
    fn matrices_are_those_of_the_reference() {
        let known = [
            (4, "b78983a5548f056b"),
            (16, "ed943da7dec88d5c"),
            (256, "bc514e8392b41eb0"),
            (8, "c3575b6192c511ff"),
            (128, "6b407544270e0bc0"),
        ];
        for (together, digest) in known {
            assert_eq!(golden::hash_f32(&matrix(together, Habits::CURRENT)), digest, "{together}");
        }
        let old = matrix(4, Habits { order_four: false, ..Habits::CURRENT });
        assert_eq!(old.iter().map(|v| v * 2.0).map(|v| v.to_string()).collect::<String>(), "11111-11-111-1-11-1-11");
    }

    #[test]
    fn a_rotation_undoes_itself() {
        for together in [4, 8, 64, 256] {
            let before = golden::input();
            let mut values = before.clone();
            rotate(&mut values, together, Habits::CURRENT).unwrap();
            rotate(&mut values, together, Habits::CURRENT).unwrap();
            assert!(before.iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-6));
        }
        assert!(rotate(&mut [0.0; 12], 8, Habits::CURRENT).is_err());
        assert!(rotate(&mut [0.0; 12], 12, Habits::CURRENT).is_err());
    }

    #[test]
    fn a_row_is_rotated_in_runs_that_divide_it() {
        let together = |channels| rotated_together(channels, 256);
        assert_eq!(
            [together(3072), together(320), together(64), together(100), together(6), together(3), together(0)],
            [Some(256), Some(64), Some(64), Some(4), None, None, None]
        );
        assert_eq!(rotated_together(100, 0), None);
    }

    #[test]
    fn columns_become_rows() {
        let mut out = [0.0; 6];
        transpose(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).concat(), "142536");
        assert!(transpose(&[0.0; 6], 4, &mut out).is_err());
    }

    #[test]
    fn a_part_of_low_rank_is_added_to_any_rows() {
        let low = LowRank { up: &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0], down: &[1.0, 2.0, 0.5, 0.25], rank: 2 };
        let mut rows = [1.0; 6];
        low.add(0, 2, &mut rows).unwrap();
        assert_eq!(rows.map(|v| v.to_string()).join(" "), "7 5.5 13 10 19 14.5");
        let mut last = [1.0; 2];
        low.add(2, 2, &mut last).unwrap();
        assert_eq!(last.map(f32::to_bits), [rows[4], rows[5]].map(f32::to_bits));
        assert!(low.add(2, 2, &mut rows).is_err());
        assert!(low.add(0, 3, &mut rows).is_err());
    }
}
