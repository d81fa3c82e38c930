//! Floats of 8 bits with one scale for a whole tensor: a number is its code times the scale.
//!
//! The scale brings the largest magnitude to the largest code. This is the arithmetic of ComfyUI's scaled files
//! (`comfy/ops.py`, `scaled_fp8_ops`), in singles whatever the source is.

use crate::weights::DType;

use super::floats::{E4M3, E5M2, INFINITE, MAGNITUDE, STRIP, fits, narrow, widen};
use super::{QuantError, Tally};

/// How many numbers are compared beside each other: what two registers of the widest processors hold.
const LANES: usize = 32;

/// Returns the largest magnitude among the finite values; 0 where there are none.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
#[must_use]
pub fn max_abs(values: &[f32]) -> f32 {
    // Magnitudes are in the order of their bits.
    let mut most = [0; LANES];
    let mut take = |at: usize, value: f32| {
        let magnitude = value.to_bits() & MAGNITUDE;
        let magnitude = if magnitude < INFINITE { magnitude } else { 0 };
        most[at] = most[at].max(magnitude);
    };
    let (runs, rest) = values.as_chunks::<LANES>();
    for run in runs {
        for (at, value) in run.iter().enumerate() {
            take(at, *value);
        }
    }
    for (at, value) in rest.iter().enumerate() {
        take(at, *value);
    }
    f32::from_bits(most.into_iter().fold(0, u32::max))
}

/// Returns the scale of a tensor with this largest magnitude: 1 where it has none to speak of.
///
/// A magnitude so small that the scale's reciprocal is infinite would make no number of every 0.
pub fn scale_of(dtype: DType, max_abs: f32) -> Result<f32, QuantError> {
    let largest = match dtype {
        DType::F8_E4M3 => E4M3.largest,
        DType::F8_E5M2 => E5M2.largest,
        _ => return Err(QuantError::NoCodec { dtype }),
    };
    let scale = max_abs / largest;
    Ok(if scale > 0.0 && scale.is_finite() && scale.recip().is_finite() { scale } else { 1.0 })
}

/// Writes values divided by the scale, and returns what that cost beside rounding.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn narrow_scaled(dtype: DType, values: &[f32], scale: f32, out: &mut [u8]) -> Result<Tally, QuantError> {
    fits_eight(dtype, values.len(), out.len())?;
    let inverse = scale.recip();
    let mut sum = Tally::default();
    let mut scaled = [0.0; STRIP];
    for (values, codes) in values.chunks(STRIP).zip(out.chunks_mut(STRIP)) {
        let scaled = &mut scaled[..values.len()];
        for (scaled, value) in scaled.iter_mut().zip(values) {
            *scaled = value * inverse;
        }
        sum += narrow(dtype, scaled, codes)?;
    }
    Ok(sum)
}

/// Writes what the codes stand for, times the scale.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn widen_scaled(dtype: DType, codes: &[u8], scale: f32, out: &mut [f32]) -> Result<(), QuantError> {
    fits_eight(dtype, out.len(), codes.len())?;
    widen(dtype, codes, out)?;
    for value in out {
        *value *= scale;
    }
    Ok(())
}

fn fits_eight(dtype: DType, values: usize, bytes: usize) -> Result<(), QuantError> {
    match dtype {
        DType::F8_E4M3 | DType::F8_E5M2 => fits(dtype, values, bytes),
        _ => Err(QuantError::NoCodec { dtype }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;

    #[test]
    fn scaled_codes_are_those_of_the_reference() {
        let values = golden::input();
        let scale = scale_of(DType::F8_E4M3, max_abs(&values)).unwrap();
        assert_eq!(scale.to_bits(), 0x38FE_E8B2);
        let mut codes = vec![0; values.len()];
        assert_eq!(narrow_scaled(DType::F8_E4M3, &values, scale, &mut codes), Ok(Tally::default()));
        assert_eq!(golden::hash(&codes), "a2f785a4d4390e96");
    }

    #[test]
    fn a_scale_is_never_such_that_zeros_are_lost() {
        for max in [0.0, 1e-45, 1e-38, f32::INFINITY, f32::NAN] {
            assert_eq!(scale_of(DType::F8_E4M3, max), Ok(1.0), "{max}");
        }
        assert_eq!(scale_of(DType::F8_E5M2, 57344.0 * 3.0), Ok(3.0));
        assert_eq!(scale_of(DType::F16, 1.0), Err(QuantError::NoCodec { dtype: DType::F16 }));
    }

    #[test]
    fn the_largest_magnitude_is_a_finite_one() {
        assert_eq!(max_abs(&[1.0, -3.0, f32::INFINITY, f32::NAN, -f32::NAN, 2.0]).to_bits(), 3.0_f32.to_bits());
        assert_eq!(max_abs(&[f32::NEG_INFINITY]).to_bits(), 0);
        assert_eq!(max_abs(&[]).to_bits(), 0);
    }

    #[test]
    fn what_is_no_number_is_counted_and_spoils_nothing() {
        let values = [f32::NAN, f32::INFINITY, -2.0, 1.0];
        let scale = scale_of(DType::F8_E4M3, max_abs(&values)).unwrap();
        let mut codes = [9; 4];
        let tally = narrow_scaled(DType::F8_E4M3, &values, scale, &mut codes);
        assert_eq!(tally, Ok(Tally { clipped: 1, not_a_number: 1 }));
        let mut back = [9.0; 4];
        widen_scaled(DType::F8_E4M3, &codes, scale, &mut back).unwrap();
        assert_eq!(back.map(f32::to_bits), [0.0, 2.0, -2.0, 1.0].map(f32::to_bits));
    }

    #[test]
    fn buffers_of_other_lengths_and_types_are_refused() {
        let refused = narrow_scaled(DType::F8_E4M3, &[0.0; 3], 1.0, &mut [0; 2]);
        assert_eq!(refused, Err(QuantError::Length { dtype: DType::F8_E4M3, values: 3, bytes: 2 }));
        assert_eq!(widen_scaled(DType::I8, &[0; 3], 1.0, &mut [0.0; 3]), Err(QuantError::NoCodec { dtype: DType::I8 }));
    }
}
