//! Eight bits a weight and one scale for each row: LLM.int8 as bitsandbytes stores it.
//!
//! The format is of "`LLM.int8()`: 8-bit Matrix Multiplication for Transformers at Scale" (Dettmers et al. 2022); layout and
//! arithmetic are those of bitsandbytes on a processor (`backends/default/ops.py`, `int8_vectorwise_quant`), which reads
//! fp16. Outliers are a matter of activations and leave no trace in the file.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::error::part;
use super::floats::{INFINITE, STRIP, tally};
use super::fp8::max_abs;
use super::{QuantError, Tally, to_code};

/// The largest code.
const MOST: f32 = 127.0;
/// The reference's constant for a 127th.
const PER_CODE: f32 = 7.874_016e-3;

/// Quantises whole rows of this width. `codes` gets a signed byte for each number, `scales` the largest magnitude of each row.
///
/// Numbers beyond the range of fp16 are clamped and what is no number becomes 0; both are counted. A row of zeros has the scale 0.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn quantise(values: &[f32], width: usize, codes: &mut [u8], scales: &mut [f32]) -> Result<Tally, QuantError> {
    part("the weight", values.len(), codes.len())?;
    part("SCB", rows(values.len(), width)?, scales.len())?;
    let mut sum = Tally::default();
    for ((values, codes), scale) in values.chunks(width.max(1)).zip(codes.chunks_mut(width.max(1))).zip(scales) {
        // Rounding keeps the order of numbers, so the largest is still the largest.
        *scale = f16::from_f32(max_abs(values)).to_f32().min(f16::MAX.to_f32());
        // Libtorch divides a number by a tensor so.
        let factor = if *scale > 0.0 { scale.recip() * MOST } else { 0.0 };
        for (values, codes) in values.chunks(STRIP).zip(codes.chunks_mut(STRIP)) {
            sum += strip(values, factor, codes);
        }
    }
    Ok(sum)
}

#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn strip(values: &[f32], factor: f32, codes: &mut [u8]) -> Tally {
    let (mut halves, mut rounded) = ([f16::ZERO; STRIP], [0.0; STRIP]);
    let (halves, rounded) = (&mut halves[..values.len()], &mut rounded[..values.len()]);
    halves.convert_from_f32_slice(values);
    halves.convert_to_f32_slice(rounded);
    for (code, value) in codes.iter_mut().zip(&*rounded) {
        // A code is within one step of the range anyway, unless the number is infinite, or none. Nothing times infinity is none too.
        let scaled = value * factor;
        let within = scaled.clamp(-MOST, MOST);
        *code = to_code(if within.is_nan() { 0.0 } else { within });
    }
    tally(rounded, INFINITE)
}

/// Widens whole rows of codes.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn dequantise(codes: &[u8], scales: &[f32], width: usize, out: &mut [f32]) -> Result<(), QuantError> {
    part("the weight", out.len(), codes.len())?;
    part("SCB", rows(codes.len(), width)?, scales.len())?;
    for ((out, codes), scale) in out.chunks_mut(width.max(1)).zip(codes.chunks(width.max(1))).zip(scales) {
        for (out, code) in out.iter_mut().zip(codes) {
            *out = f32::from(code.cast_signed()) * scale * PER_CODE;
        }
    }
    Ok(())
}

/// Returns how many rows of this width so many numbers fill.
fn rows(values: usize, width: usize) -> Result<usize, QuantError> {
    match values.checked_div(width) {
        Some(rows) if values.is_multiple_of(width) => Ok(rows),
        None if values == 0 => Ok(0),
        _ => Err(QuantError::Group { values, group: width }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    fn quantised(values: &[f32], width: usize) -> (Vec<u8>, Vec<f32>, Tally) {
        let (mut codes, mut scales) = (vec![9; values.len()], vec![9.0; values.len() / width]);
        let tally = quantise(values, width, &mut codes, &mut scales).unwrap();
        (codes, scales, tally)
    }

    #[test]
    fn codes_and_scales_are_those_of_the_reference() {
        let (codes, scales, tally) = quantised(&golden::input(), 1024);
        assert_eq!((golden::hash(&codes).as_str(), golden::hash_f32(&scales).as_str()), ("fb3e5a609bf3cee6", "fe087326d1374d5d"));
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn codes_and_scales_make_the_numbers() {
        let mut out = [0.0; 4];
        dequantise(&[127, 0x81, 64, 0], &[1.0, 254.0], 2, &mut out).unwrap();
        assert_eq!(out.map(f32::to_bits), [127.0 * PER_CODE, -127.0 * PER_CODE, 64.0 * 254.0 * PER_CODE, 0.0].map(f32::to_bits));
        assert_eq!(PER_CODE.to_bits(), (7.874_015_718_698_502e-3_f64 as f32).to_bits());
    }

    #[test]
    fn a_row_of_zeros_stays_one() {
        let (codes, scales, _) = quantised(&[0.0, -0.0, 1e-9, 2e-9, 1.0, 1.0], 2);
        assert_eq!((codes, scales), (vec![0, 0, 0, 0, 127, 127], vec![0.0, 0.0, 1.0]));
    }

    #[test]
    fn numbers_beyond_the_range_are_clamped_and_counted() {
        let (codes, scales, tally) = quantised(&[1e6, -65504.0, f32::NAN, 0.0, f32::NEG_INFINITY, 2.0, f32::NAN, -1.0], 4);
        assert_eq!(scales, [65504.0, 2.0]);
        assert_eq!(codes, [127, 0x81, 0, 0, 0x81, 127, 0, 0_u8.wrapping_sub(64)]);
        assert_eq!(tally, Tally { clipped: 2, not_a_number: 2 });
    }

    #[test]
    fn rows_that_are_not_whole_are_refused() {
        assert_eq!(quantise(&[0.0; 5], 2, &mut [0; 5], &mut [0.0; 2]), Err(QuantError::Group { values: 5, group: 2 }));
        assert_eq!(quantise(&[0.0; 5], 0, &mut [0; 5], &mut []), Err(QuantError::Group { values: 5, group: 0 }));
        assert_eq!(quantise(&[], 0, &mut [], &mut []), Ok(Tally::default()));
        let refused = dequantise(&[0; 4], &[0.0; 3], 2, &mut [0.0; 4]);
        assert_eq!(refused, Err(QuantError::Part { what: "SCB", expected: 2, found: 3 }));
    }

    proptest! {
        #[test]
        fn a_number_comes_back_within_half_a_step(values in prop::collection::vec(-3.0_f32..3.0, 1..600)) {
            let (codes, scales, _) = quantised(&values, values.len());
            let mut back = vec![0.0; values.len()];
            dequantise(&codes, &scales, values.len(), &mut back).unwrap();
            for (before, after) in values.iter().zip(&back) {
                // A half of 11 bits, then half a code.
                prop_assert!((before - after).abs() <= scales[0] * (0.5 / 127.0 + 1.0 / 2048.0) * 1.001);
            }
        }
    }
}
