//! A weight of SDNQ with everything that is stored beside it, made whole: codes, scales, exchanged extents, low rank, rotation.

use super::QuantError;
use super::error::part;
use super::sdnq::{Groups, Habits, dequantise, dequantise_codebook};
use super::sdnq_rotation::{LowRank, rotate, transpose};
use super::sdnq_type::WeightsType;
use crate::weights::TensorEntry;
use crate::weights::coded::{Era, Sdnq};

/// The two factors of a part of low rank as they are stored, with their extents.
#[derive(Debug, Clone, Copy)]
pub struct StoredLowRank<'a> {
    /// `svd_up`: `[out, rank]`, or `[rank, out]`.
    pub up: (&'a [f32], [usize; 2]),
    /// `svd_down`: `[rank, in]`, or `[in, rank]`.
    pub down: (&'a [f32], [usize; 2]),
}

/// A stored weight. What is stored in other floats is widened to singles beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// The type of the codes.
    pub kind: WeightsType,
    /// How the writer reads them.
    pub habits: Habits,
    /// The bytes of `weight`.
    pub codes: &'a [u8],
    /// `scale`.
    pub scale: &'a [f32],
    /// The extents of `scale`, which say how the weight is cut.
    pub scale_shape: &'a [u64],
    /// `zero_point`; empty where there is none.
    pub zero_point: &'a [f32],
    /// Scales are levels of a codebook.
    pub codebook: bool,
    /// `svd_up` and `svd_down`.
    pub low_rank: Option<StoredLowRank<'a>>,
    /// The configuration has `use_quantized_matmul`: where extents leave it open, factors of low rank are transposed.
    pub for_matmul: bool,
    /// How many numbers are rotated together.
    pub rotated: Option<usize>,
}

/// What is stored beside a weight, as singles.
#[derive(Debug, Clone)]
pub struct Singles {
    scale: Vec<f32>,
    zero_point: Vec<f32>,
    /// The number of the first among what is stored beside, and both.
    factors: Option<(usize, [Vec<f32>; 2])>,
}

impl Singles {
    /// Has `read` give what a weight of this kind has beside it, each by its number there.
    pub fn read<E>(sdnq: &Sdnq, mut read: impl FnMut(usize) -> Result<Vec<f32>, E>) -> Result<Self, E> {
        let first = if sdnq.has_zero_point { 2 } else { 1 };
        Ok(Self {
            scale: read(0)?,
            zero_point: if sdnq.has_zero_point { read(1)? } else { Vec::new() },
            factors: match sdnq.low_rank {
                Some(_) => Some((first, [read(first)?, read(first + 1)?])),
                None => None,
            },
        })
    }

    /// Returns the weight of these codes, beside which lie tensors of these extents.
    pub fn stored<'a>(&'a self, sdnq: &Sdnq, entries: &'a [TensorEntry], codes: &'a [u8]) -> Result<Stored<'a>, QuantError> {
        let extents = |n: usize| entries.get(n).map_or([0, 0], |e| [0, 1].map(|at| e.shape.dim(at).unwrap_or(0) as usize));
        Ok(Stored {
            kind: WeightsType::parse(&sdnq.kind)?,
            habits: Habits { subnormals: sdnq.era >= Era::Subnormals, order_four: sdnq.era >= Era::Rotations },
            codes,
            scale: &self.scale,
            scale_shape: entries.first().map_or(&[], |e| &e.shape.0),
            zero_point: &self.zero_point,
            codebook: sdnq.codebook,
            low_rank: self.factors.as_ref().map(|(n, [up, down])| StoredLowRank { up: (up, extents(*n)), down: (down, extents(n + 1)) }),
            for_matmul: sdnq.low_rank == Some(true),
            rotated: sdnq.rotated.map(|r| r as usize),
        })
    }
}

impl Stored<'_> {
    /// Writes the weight, whose rows have `columns` numbers: a linear layer's inputs, or all that follows a convolution's outputs.
    pub fn read(&self, columns: usize, out: &mut [f32]) -> Result<(), QuantError> {
        if columns == 0 || !out.len().is_multiple_of(columns) {
            return Err(QuantError::Group { values: out.len(), group: columns });
        }
        if self.codebook {
            let (_, groups) = self.scale_shape.split_last().ok_or(QuantError::Missing { field: "scale" })?;
            let count = groups.iter().try_fold(1_usize, |n, e| n.checked_mul(usize::try_from(*e).ok()?));
            let group = count.and_then(|count| out.len().checked_div(count)).unwrap_or(0);
            dequantise_codebook(self.kind, self.codes, group, self.scale, out)?;
        } else {
            let groups = Groups::infer(out.len(), self.scale_shape)?;
            // Only a matrix with a scale for each column is stored with its extents exchanged.
            if self.scale_shape.len() == 2 && groups.outer == 1 && groups.inner > 1 {
                part("scale", out.len() / columns, groups.inner)?;
                let mut exchanged = vec![0.0; out.len()];
                dequantise(self.kind, self.habits, self.codes, groups, self.scale, self.zero_point, &mut exchanged)?;
                transpose(&exchanged, groups.inner, out)?;
            } else {
                dequantise(self.kind, self.habits, self.codes, groups, self.scale, self.zero_point, out)?;
            }
        }
        if let Some(low_rank) = self.low_rank {
            low_rank.add(columns, self.for_matmul, out)?;
        }
        self.rotated.map_or(Ok(()), |together| rotate(out, together, self.habits))
    }
}

impl StoredLowRank<'_> {
    fn add(&self, columns: usize, for_matmul: bool, out: &mut [f32]) -> Result<(), QuantError> {
        let rows = out.len() / columns;
        let (up, down) = (self.up.1, self.down.1);
        let straight = up[0] == rows && down[1] == columns && up[1] == down[0];
        let exchanged = up[1] == rows && down[0] == columns && up[0] == down[1];
        part("svd_up", up[0].saturating_mul(up[1]), self.up.0.len())?;
        part("svd_down", down[0].saturating_mul(down[1]), self.down.0.len())?;
        match (straight, exchanged) {
            (true, true) if for_matmul => self.add_exchanged(columns, out),
            (true, _) => LowRank { up: self.up.0, down: self.down.0, rank: up[1] }.add(0, columns, out),
            (false, true) => self.add_exchanged(columns, out),
            (false, false) => Err(QuantError::Described {
                what: "svd_up and svd_down",
                found: format!("{up:?} {down:?}"),
                expected: "a pair of factors of the weight",
            }),
        }
    }

    fn add_exchanged(&self, columns: usize, out: &mut [f32]) -> Result<(), QuantError> {
        let (mut up, mut down) = (vec![0.0; self.up.0.len()], vec![0.0; self.down.0.len()]);
        transpose(self.up.0, self.up.1[1], &mut up)?;
        transpose(self.down.0, self.down.1[1], &mut down)?;
        LowRank { up: &up, down: &down, rank: self.up.1[0] }.add(0, columns, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored<'a>(codes: &'a [u8], scale: &'a [f32], scale_shape: &'a [u64]) -> Stored<'a> {
        let kind = WeightsType::INT8;
        let (habits, zero_point, low_rank, rotated) = (Habits::CURRENT, &[][..], None, None);
        Stored { kind, habits, codes, scale, scale_shape, zero_point, codebook: false, low_rank, for_matmul: false, rotated }
    }

    fn read(stored: &Stored<'_>, columns: usize, count: usize) -> String {
        let mut out = vec![0.0; count];
        stored.read(columns, &mut out).unwrap();
        out.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn rows_and_columns_change_places_where_the_scales_say_so() {
        let codes = [1, 2, 3, 4, 5, 6];
        assert_eq!(read(&stored(&codes, &[1.0, 10.0], &[2, 1]), 3, 6), "1 2 3 40 50 60");
        assert_eq!(read(&stored(&codes, &[1.0, 10.0], &[1, 2]), 3, 6), "1 3 5 20 40 60");
        assert_eq!(read(&stored(&codes, &[10.0], &[1, 1]), 3, 6), "10 20 30 40 50 60");
        assert!(stored(&codes, &[1.0, 10.0], &[1, 2]).read(2, &mut [0.0; 6]).is_err());
    }

    #[test]
    fn factors_are_told_by_their_extents_and_else_by_the_configuration() {
        let zeros = [0; 6];
        let plain = stored(&zeros, &[1.0, 1.0], &[2, 1]);
        let straight = StoredLowRank { up: (&[1.0, 2.0], [2, 1]), down: (&[1.0, 2.0, 3.0], [1, 3]) };
        assert_eq!(read(&Stored { low_rank: Some(straight), ..plain }, 3, 6), "1 2 3 2 4 6");
        let exchanged = StoredLowRank { up: (&[1.0, 2.0], [1, 2]), down: (&[1.0, 2.0, 3.0], [3, 1]) };
        assert_eq!(read(&Stored { low_rank: Some(exchanged), ..plain }, 3, 6), "1 2 3 2 4 6");
        let neither = StoredLowRank { up: (&[1.0, 2.0], [1, 2]), down: (&[1.0, 2.0, 3.0], [1, 3]) };
        assert!(Stored { low_rank: Some(neither), ..plain }.read(3, &mut [0.0; 6]).is_err());
        let square = StoredLowRank { up: (&[1.0, 2.0, 3.0, 4.0], [2, 2]), down: (&[1.0, 0.0, 0.0, 10.0], [2, 2]) };
        let four = Stored { low_rank: Some(square), codes: &zeros[..4], ..plain };
        assert_eq!(read(&four, 2, 4), "1 20 3 40");
        assert_eq!(read(&Stored { for_matmul: true, ..four }, 2, 4), "1 30 2 40");
    }

    #[test]
    fn a_rotation_comes_last() {
        let rotated = Stored { rotated: Some(4), ..stored(&[2, 0, 0, 0, 0, 0, 0, 2], &[1.0, 1.0], &[2, 1]) };
        assert_eq!(read(&rotated, 4, 8), "1 1 1 -1 -1 1 1 1");
    }

    #[test]
    fn a_codebook_is_read_by_the_extents_of_its_levels() {
        let kind = WeightsType::integers(2, false);
        let levels = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        let book = Stored { kind, codebook: true, ..stored(&[0b1110_0100, 0b0001_1011], &levels, &[2, 1, 4]) };
        assert_eq!(read(&book, 4, 8), "0 1 2 3 13 12 11 10");
    }
}
