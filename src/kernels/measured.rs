//! Kernels that also say how far the numbers are that will be read. They go through a tensor in pieces that stay in the nearest
//! caches, so reading them back costs no way to the memory.

use super::deviation::Deviation;
use super::{compare, dequantise_int8, dequantise_nf4, dequantise_sdnq, narrow, narrow_scaled, quantise_int8, quantise_nf4, quantise_sdnq};
use super::{widen, widen_scaled};
use crate::quant::nf4::NF4;
use crate::quant::sdnq::{Groups, Habits};
use crate::quant::sdnq_type::WeightsType;
use crate::quant::{QuantError, Tally};
use crate::weights::DType;

/// How many numbers make a piece, about.
const PIECE: usize = 8192;

/// What a kernel counted, and the sums over what will be read.
type Measured = Result<(Tally, Deviation), QuantError>;

/// [`narrow`], measured.
pub fn narrow_measured(dtype: DType, values: &[f32], out: &mut [u8]) -> Measured {
    let width = dtype.bytes_of(1).and_then(|n| usize::try_from(n).ok()).ok_or(QuantError::NoCodec { dtype })?;
    if values.len().checked_mul(width) != Some(out.len()) {
        return Err(QuantError::Length { dtype, values: values.len(), bytes: out.len() });
    }
    let mut back = vec![0.0; PIECE.min(values.len())];
    let mut sum = (Tally::default(), Deviation::default());
    for (values, out) in values.chunks(PIECE).zip(out.chunks_mut(PIECE * width)) {
        sum.0 += narrow(dtype, values, out)?;
        let back = &mut back[..values.len()];
        widen(dtype, out, back)?;
        sum.1 += compare(values, back);
    }
    Ok(sum)
}

/// [`narrow_scaled`], measured.
pub fn narrow_scaled_measured(dtype: DType, values: &[f32], scale: f32, out: &mut [u8]) -> Measured {
    if values.len() != out.len() {
        return Err(QuantError::Length { dtype, values: values.len(), bytes: out.len() });
    }
    let mut back = vec![0.0; PIECE.min(values.len())];
    let mut sum = (Tally::default(), Deviation::default());
    for (values, out) in values.chunks(PIECE).zip(out.chunks_mut(PIECE)) {
        sum.0 += narrow_scaled(dtype, values, scale, out)?;
        let back = &mut back[..values.len()];
        widen_scaled(dtype, out, scale, back)?;
        sum.1 += compare(values, back);
    }
    Ok(sum)
}

/// [`quantise_nf4`], measured.
pub fn nf4_measured(values: &[f32], block: usize, packed: &mut [u8], absmax: &mut [f32]) -> Measured {
    part("the packed weight", values.len().div_ceil(2), packed.len())?;
    part("absmax", values.len().div_ceil(block.max(1)), absmax.len())?;
    // Blocks are powers of two, and even.
    let piece = PIECE.max(block);
    let mut back = vec![0.0; piece.min(values.len())];
    let mut sum = (Tally::default(), Deviation::default());
    let parts = values.chunks(piece).zip(packed.chunks_mut(piece / 2)).zip(absmax.chunks_mut(piece / block.max(1)));
    for ((values, packed), absmax) in parts {
        sum.0 += quantise_nf4(values, block, packed, absmax)?;
        let back = &mut back[..values.len()];
        dequantise_nf4(&NF4, packed, absmax, block, back)?;
        sum.1 += compare(values, back);
    }
    Ok(sum)
}

/// [`quantise_int8`], measured.
pub fn int8_measured(values: &[f32], width: usize, codes: &mut [u8], scales: &mut [f32]) -> Measured {
    part("the weight", values.len(), codes.len())?;
    let rows = (PIECE / width.max(1)).max(1);
    let piece = (rows * width).max(1);
    if !values.len().is_multiple_of(width.max(1)) || scales.len() != values.len() / width.max(1) {
        return Err(QuantError::Group { values: values.len(), group: width });
    }
    let mut back = vec![0.0; piece.min(values.len())];
    let mut sum = (Tally::default(), Deviation::default());
    for ((values, codes), scales) in values.chunks(piece).zip(codes.chunks_mut(piece)).zip(scales.chunks_mut(rows)) {
        sum.0 += quantise_int8(values, width, codes, scales)?;
        let back = &mut back[..values.len()];
        dequantise_int8(codes, scales, width, back)?;
        sum.1 += compare(values, back);
    }
    Ok(sum)
}

/// [`quantise_sdnq`], measured.
pub fn sdnq_measured(kind: WeightsType, values: &[f32], group: usize, codes: &mut [u8], scales: &mut [f32], zeros: &mut [f32]) -> Measured {
    let (together, bytes) = kind.together();
    if group == 0 || !values.len().is_multiple_of(group) {
        return Err(QuantError::Group { values: values.len(), group });
    }
    part("the weight", kind.bytes_of(values.len()).ok_or(QuantError::Group { values: values.len(), group: together })?, codes.len())?;
    part("scale", values.len() / group, scales.len())?;
    part("zero_point", if kind.signed { 0 } else { scales.len() }, zeros.len())?;
    // So many groups that their codes fill words: what codes are stored together is a power of two.
    let words = together / (1 << group.trailing_zeros().min(together.trailing_zeros()));
    let groups = (PIECE / group).max(1).next_multiple_of(words);
    let piece = groups * group;
    let mut back = vec![0.0; piece.min(values.len())];
    let mut sum = (Tally::default(), Deviation::default());
    let parts = values.chunks(piece).zip(codes.chunks_mut(piece / together * bytes)).zip(scales.chunks_mut(groups)).enumerate();
    for (at, ((values, codes), scales)) in parts {
        let zeros = if kind.signed { &mut [] } else { &mut zeros[at * groups..][..scales.len()] };
        sum.0 += quantise_sdnq(kind, values, group, codes, scales, zeros)?;
        let back = &mut back[..values.len()];
        let groups = Groups { outer: scales.len(), group, inner: 1 };
        dequantise_sdnq(kind, Habits::CURRENT, codes, groups, scales, zeros, back)?;
        sum.1 += compare(values, back);
    }
    Ok(sum)
}

fn part(what: &'static str, expected: usize, found: usize) -> Result<(), QuantError> {
    if expected == found { Ok(()) } else { Err(QuantError::Part { what, expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of a spread, with a few that are nothing of the kind; two pieces and a half.
    fn values() -> Vec<f32> {
        let mut state = 7_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        let mut values: Vec<f32> = (0..20_480).map(|_| draw() * draw()).collect();
        (values[5], values[9000]) = (f32::NAN, f32::INFINITY);
        values
    }

    /// Holds the sums against those over the whole tensor.
    fn check(what: &str, values: &[f32], back: &[f32], measured: (Tally, Deviation), whole: Tally, most: f64) {
        let sums = compare(values, back);
        let near = |a: f64, b: f64| (a - b).abs() <= b * 1e-12;
        assert!(near(measured.1.error, sums.error) && near(measured.1.signal, sums.signal), "{what} {measured:?} {sums:?}");
        assert_eq!((measured.0, whole), (Tally { clipped: 1, not_a_number: 1 }, whole), "{what}");
        assert!(measured.1.relative() > 0.0 && measured.1.relative() < most, "{what} {}", measured.1.relative());
    }

    #[test]
    fn pieces_are_the_whole() {
        let values = values();
        let mut back = vec![0.0; values.len()];
        for (dtype, most) in [(DType::F16, 1e-3), (DType::Bf16, 3e-3), (DType::F8_E4M3, 0.05), (DType::F8_E5M2, 0.06)] {
            let (mut ours, mut whole) = (vec![0; values.len() * dtype.bytes_of(1).unwrap() as usize], Vec::new());
            let measured = narrow_measured(dtype, &values, &mut ours).unwrap();
            whole.resize(ours.len(), 0);
            let tally = narrow(dtype, &values, &mut whole).unwrap();
            assert_eq!(ours, whole);
            widen(dtype, &whole, &mut back).unwrap();
            check(dtype.name(), &values, &back, measured, tally, most);
        }
        let (mut ours, mut whole) = (vec![0; values.len()], vec![0; values.len()]);
        let measured = narrow_scaled_measured(DType::F8_E4M3, &values, 1e-3, &mut ours).unwrap();
        let tally = narrow_scaled(DType::F8_E4M3, &values, 1e-3, &mut whole).unwrap();
        widen_scaled(DType::F8_E4M3, &whole, 1e-3, &mut back).unwrap();
        assert_eq!(ours, whole);
        check("scaled", &values, &back, measured, tally, 0.05);
    }

    #[test]
    fn pieces_of_blocks_and_rows_are_the_whole() {
        let values = values();
        let mut back = vec![0.0; values.len()];
        let (mut ours, mut whole) = ((vec![0; 10_240], vec![0.0; 320]), (vec![0; 10_240], vec![0.0; 320]));
        let measured = nf4_measured(&values, 64, &mut ours.0, &mut ours.1).unwrap();
        let tally = quantise_nf4(&values, 64, &mut whole.0, &mut whole.1).unwrap();
        dequantise_nf4(&NF4, &whole.0, &whole.1, 64, &mut back).unwrap();
        assert_eq!(ours, whole);
        check("nf4", &values, &back, measured, tally, 0.12);

        let (mut ours, mut whole) = ((vec![0; 20_480], vec![0.0; 64]), (vec![0; 20_480], vec![0.0; 64]));
        let measured = int8_measured(&values, 320, &mut ours.0, &mut ours.1).unwrap();
        let tally = quantise_int8(&values, 320, &mut whole.0, &mut whole.1).unwrap();
        dequantise_int8(&whole.0, &whole.1, 320, &mut back).unwrap();
        assert_eq!(ours, whole);
        check("int8", &values, &back, measured, tally, 0.02);

        for (name, group, most) in
            [("int8", 5120, 0.02), ("uint4", 64, 0.12), ("int5", 20, 0.1), ("int7", 4, 0.02), ("uint8", 20_480, 0.02)]
        {
            let kind = WeightsType::parse(name).unwrap();
            let count = values.len() / group;
            let parts =
                || (vec![0; kind.bytes_of(values.len()).unwrap()], vec![0.0; count], vec![0.0; if kind.signed { 0 } else { count }]);
            let (mut ours, mut whole) = (parts(), parts());
            let measured = sdnq_measured(kind, &values, group, &mut ours.0, &mut ours.1, &mut ours.2).unwrap();
            let tally = quantise_sdnq(kind, &values, group, &mut whole.0, &mut whole.1, &mut whole.2).unwrap();
            assert_eq!(ours, whole, "{name}");
            let groups = Groups { outer: count, group, inner: 1 };
            dequantise_sdnq(kind, Habits::CURRENT, &whole.0, groups, &whole.1, &whole.2, &mut back).unwrap();
            check(name, &values, &back, measured, tally, most);
        }
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        assert!(narrow_measured(DType::F16, &[0.0; 4], &mut [0; 7]).is_err());
        assert!(narrow_measured(DType::I8, &[0.0; 4], &mut [0; 4]).is_err());
        assert!(narrow_scaled_measured(DType::F8_E4M3, &[0.0; 4], 1.0, &mut [0; 3]).is_err());
        assert!(nf4_measured(&[0.0; 64], 0, &mut [0; 32], &mut [0.0]).is_err());
        assert!(nf4_measured(&[0.0; 64], 64, &mut [0; 31], &mut [0.0]).is_err());
        assert!(int8_measured(&[0.0; 4], 0, &mut [0; 4], &mut [0.0; 4]).is_err());
        assert!(int8_measured(&[0.0; 4], 3, &mut [0; 4], &mut [0.0]).is_err());
        assert!(sdnq_measured(WeightsType::INT8, &[0.0; 4], 0, &mut [0; 4], &mut [], &mut []).is_err());
        assert!(sdnq_measured(WeightsType::integers(4, false), &[0.0; 4], 2, &mut [0; 2], &mut [0.0; 2], &mut []).is_err());
    }
}
