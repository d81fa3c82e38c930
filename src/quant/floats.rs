//! Plain floats of 64, 32, 16 and 8 bits: widened to singles, and narrowed from them by rounding to nearest, ties to even.
//!
//! Rounding is that of libtorch's casts (`c10/util/Half.h`, `BFloat16.h`, `Float8_e4m3fn.h`, `Float8_e5m2.h`), subnormals
//! included. What leaves the range of 8 bits is clamped, where libtorch makes it no number or infinite: a clamped
//! weight is a small error, and a weight that is no number is a black picture.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::weights::DType;

use super::{QuantError, Tally};

/// How many numbers are converted and counted at once, so that both find them in the processor's nearest cache.
pub(super) const STRIP: usize = 1024;
/// The bits of a single without its sign.
pub(super) const MAGNITUDE: u32 = 0x7FFF_FFFF;
/// The bits of infinity: what is larger is no number.
pub(super) const INFINITE: u32 = 0x7F80_0000;
/// The number that stands for what is none, in each type of 16 bits.
const NO_F16: u16 = 0x7E00;
const NO_BF16: u16 = 0x7FC0;

/// Writes what `bytes` hold as singles. Exact, but for doubles, which are rounded.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn widen(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    fits(dtype, out.len(), bytes.len())?;
    match dtype {
        DType::F32 => each(bytes, out, f32::from_le_bytes),
        DType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::Bf16 => each(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        DType::F16 => widen_f16(bytes, out),
        DType::F8_E4M3 => each(bytes, out, |[b]| E4M3.value(b)),
        DType::F8_E5M2 => each(bytes, out, |[b]| E5M2.value(b)),
        _ => return Err(QuantError::NoCodec { dtype }),
    }
    Ok(())
}

/// Writes `values` in the type, and returns what that cost beside rounding.
///
/// Beyond the range is what rounds to nothing finite. It is infinite in 16 bits and clamped in 8. What is no number stays none in
/// 16 bits, and is 0 in 8.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn narrow(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<Tally, QuantError> {
    fits(dtype, values.len(), out.len())?;
    Ok(match dtype {
        DType::F32 => write(values, out, INFINITE, f32::to_le_bytes),
        DType::F64 => write(values, out, INFINITE, |v| f64::from(v).to_le_bytes()),
        DType::Bf16 => write(values, out, BF16_BEYOND, |v| bf16_bits(v).to_le_bytes()),
        DType::F16 => narrow_f16(values, out),
        DType::F8_E4M3 => write(values, out, E4M3.beyond, |v| [E4M3.code(v)]),
        DType::F8_E5M2 => write(values, out, E5M2.beyond, |v| [E5M2.code(v)]),
        _ => return Err(QuantError::NoCodec { dtype }),
    })
}

/// The bits of the least magnitude that is infinite in fp16: half way from the largest number, 65504, to the next.
const F16_BEYOND: u32 = 65520.0_f32.to_bits();
/// The same of bf16, whose largest number is `7F7F`.
const BF16_BEYOND: u32 = 0x7F7F_8000;

/// Counts values from this magnitude on, and those that are no numbers. `beyond` is in bits, up to infinity.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub(super) fn tally(values: &[f32], beyond: u32) -> Tally {
    let mut sum = Tally::default();
    // Counters of 32 bits go through a processor's lanes with the numbers; a strip is too short to fill them.
    for strip in values.chunks(STRIP) {
        let (mut clipped, mut none) = (0_u32, 0_u32);
        for value in strip {
            let magnitude = value.to_bits() & MAGNITUDE;
            none += u32::from(magnitude > INFINITE);
            clipped += u32::from(magnitude >= beyond) & u32::from(magnitude <= INFINITE);
        }
        sum += Tally { clipped: u64::from(clipped), not_a_number: u64::from(none) };
    }
    sum
}

/// Refuses where so many values do not take so many bytes.
pub(super) fn fits(dtype: DType, values: usize, bytes: usize) -> Result<(), QuantError> {
    if dtype.bytes_of(values as u64) == Some(bytes as u64) { Ok(()) } else { Err(QuantError::Length { dtype, values, bytes }) }
}

/// Reads every value from its bytes.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], read: impl Fn([u8; N]) -> f32) {
    for (value, stored) in out.iter_mut().zip(bytes.as_chunks().0) {
        *value = read(*stored);
    }
}

/// Writes every value to its bytes, and counts.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub(super) fn write<const N: usize>(values: &[f32], out: &mut [u8], beyond: u32, store: impl Fn(f32) -> [u8; N]) -> Tally {
    let mut sum = Tally::default();
    for (values, out) in values.chunks(STRIP).zip(out.chunks_mut(N * STRIP)) {
        for (value, stored) in values.iter().zip(out.as_chunks_mut().0) {
            *stored = store(*value);
        }
        sum += tally(values, beyond);
    }
    sum
}

#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn widen_f16(bytes: &[u8], out: &mut [f32]) {
    let mut halves = [f16::ZERO; STRIP];
    for (strip, values) in bytes.chunks(2 * STRIP).zip(out.chunks_mut(STRIP)) {
        let halves = &mut halves[..values.len()];
        for (half, stored) in halves.iter_mut().zip(strip.as_chunks().0) {
            *half = f16::from_le_bytes(*stored);
        }
        halves.convert_to_f32_slice(values);
    }
}

#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn narrow_f16(values: &[f32], out: &mut [u8]) -> Tally {
    let mut sum = Tally::default();
    let mut halves = [f16::ZERO; STRIP];
    for (values, strip) in values.chunks(STRIP).zip(out.chunks_mut(2 * STRIP)) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        for (half, stored) in halves.iter().zip(strip.as_chunks_mut().0) {
            let bits = half.to_bits();
            let none = bits & 0x7FFF > f16::INFINITY.to_bits();
            *stored = if none { NO_F16 } else { bits }.to_le_bytes();
        }
        sum += tally(values, F16_BEYOND);
    }
    sum
}

/// Returns the bits of the nearest bf16.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16) as u16;
    if value.is_nan() { NO_BF16 } else { rounded }
}

/// A float of 8 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eight {
    /// Bits of the mantissa.
    mantissa: u32,
    /// What is subtracted from the exponent field.
    bias: u32,
    /// The largest finite number.
    pub(super) largest: f32,
    /// The bits of the least magnitude that rounds to nothing finite.
    pub(super) beyond: u32,
    /// The code of infinity, or where there is none the last one; those after it are no numbers.
    unbounded: u32,
    /// What the last code before those stands for.
    bound: f32,
}

/// `float8_e4m3fn`: no infinities, one pattern of each sign that is no number. 464 still rounds to 448, its even neighbour.
pub(super) const E4M3: Eight =
    Eight { mantissa: 3, bias: 7, largest: 448.0, beyond: 464.0_f32.to_bits() + 1, unbounded: 0x7F, bound: f32::NAN };
/// `float8_e5m2`: a half with fewer bits of mantissa.
pub(super) const E5M2: Eight =
    Eight { mantissa: 2, bias: 15, largest: 57344.0, beyond: 61440.0_f32.to_bits(), unbounded: 0x7C, bound: f32::INFINITY };

impl Eight {
    /// Returns the number that a code stands for.
    #[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
    #[inline(always)]
    pub(super) fn value(self, code: u8) -> f32 {
        let magnitude = u32::from(code & 0x7F);
        // In the place of a single's fields it is the number divided by a power of two, subnormals and all.
        let scale = f32::from_bits((254 - self.bias) << 23);
        let finite = f32::from_bits(magnitude << (23 - self.mantissa)) * scale;
        let bound = if magnitude > self.unbounded { f32::NAN } else { self.bound };
        let value = if magnitude >= self.unbounded { bound } else { finite };
        f32::from_bits(value.to_bits() | u32::from(code & 0x80) << 24)
    }

    /// Returns the code of the nearest number, within the range; 0 for what is no number.
    #[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
    #[inline(always)]
    pub(super) fn code(self, value: f32) -> u8 {
        let bits = value.to_bits();
        let sign = bits >> 24 & 0x80;
        let magnitude = (bits & MAGNITUDE).min(self.largest.to_bits());
        let drop = 23 - self.mantissa;
        // Below the least normal number, a sum with a number whose last bit is the least subnormal's rounds for us.
        let anchor = (127 + 1 + drop - self.bias) << 23;
        let subnormal = (f32::from_bits(magnitude) + f32::from_bits(anchor)).to_bits().wrapping_sub(anchor);
        let odd = (magnitude >> drop) & 1;
        let normal = magnitude.wrapping_sub((127 - self.bias) << 23).wrapping_add((1 << (drop - 1)) - 1 + odd) >> drop;
        let code = if magnitude < (127 + 1 - self.bias) << 23 { subnormal } else { normal } | sign;
        if value.is_nan() { 0 } else { code as u8 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    const NARROW: [DType; 4] = [DType::F16, DType::Bf16, DType::F8_E4M3, DType::F8_E5M2];

    fn narrowed(dtype: DType, values: &[f32]) -> (Vec<u8>, Tally) {
        let mut bytes = vec![0; dtype.bytes_of(values.len() as u64).unwrap() as usize];
        let tally = narrow(dtype, values, &mut bytes).unwrap();
        (bytes, tally)
    }

    fn widened(dtype: DType, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / dtype.bytes_of(1).unwrap() as usize];
        widen(dtype, bytes, &mut values).unwrap();
        values
    }

    /// Every pattern of the type.
    fn patterns(dtype: DType) -> Vec<u8> {
        match dtype.bytes_of(1) {
            Some(1) => (0..=u8::MAX).collect(),
            _ => (0..=u16::MAX).flat_map(u16::to_le_bytes).collect(),
        }
    }

    #[test]
    fn casts_are_those_of_the_reference() {
        let values = golden::input();
        let hashes = NARROW.map(|dtype| golden::hash(&narrowed(dtype, &values).0));
        assert_eq!(hashes, ["ac8c92324879b55f", "13ed53574cda187c", "9ab30443079cce7c", "4ef2be31c76bd62f"]);
    }

    /// Rounding by the definition: the nearest value of the type, and of two the one with an even code.
    fn nearest(dtype: DType, value: f32) -> f64 {
        let all = widened(dtype, &patterns(dtype));
        let finite = all.iter().enumerate().filter(|(_, v)| v.is_finite());
        let distance = |v: f32| (f64::from(v) - f64::from(value)).abs();
        let best = finite.min_by(|a, b| distance(*a.1).total_cmp(&distance(*b.1)).then((a.0 % 2).cmp(&(b.0 % 2))));
        f64::from(*best.unwrap().1)
    }

    #[test]
    fn eight_bits_round_by_the_definition() {
        for dtype in [DType::F8_E4M3, DType::F8_E5M2] {
            let all: Vec<f32> = widened(dtype, &patterns(dtype)).into_iter().filter(|v| v.is_finite()).collect();
            let mut near = Vec::new();
            for pair in all.windows(2) {
                let middle = f32::midpoint(pair[0], pair[1]);
                near.extend([pair[0], middle, middle.next_up(), middle.next_down()]);
            }
            let (codes, _) = narrowed(dtype, &near);
            for (value, stored) in near.iter().zip(widened(dtype, &codes)) {
                assert!((f64::from(stored) - nearest(dtype, *value)).abs() == 0.0, "{dtype} {value} {stored}");
            }
        }
    }

    #[test]
    fn every_pattern_comes_back() {
        for dtype in NARROW {
            let bytes = patterns(dtype);
            let values = widened(dtype, &bytes);
            let (again, tally) = narrowed(dtype, &values);
            let width = dtype.bytes_of(1).unwrap() as usize;
            for ((before, after), value) in bytes.chunks(width).zip(again.chunks(width)).zip(&values) {
                let kept = value.is_finite() || (value.is_infinite() && width == 2);
                assert!(!kept || before == after, "{dtype} {value} {before:?} {after:?}");
            }
            let count = |f: fn(&&f32) -> bool| values.iter().filter(f).count() as u64;
            assert_eq!(tally, Tally { clipped: count(|v| v.is_infinite()), not_a_number: count(|v| v.is_nan()) });
        }
    }

    #[test]
    fn the_range_ends_where_nothing_finite_is_nearest() {
        let ends = [(65519.996, 65504.0), (f32::from_bits(BF16_BEYOND - 1), 3.389_531_4e38), (464.0, 448.0), (61439.996, 57344.0)];
        for (dtype, (last, largest)) in NARROW.into_iter().zip(ends) {
            let values = [last, last.next_up(), -last.next_up()];
            let (bytes, tally) = narrowed(dtype, &values);
            let beyond = if dtype.bytes_of(1) == Some(1) { largest } else { f32::INFINITY };
            assert_eq!(widened(dtype, &bytes), [largest, beyond, -beyond], "{dtype}");
            assert_eq!(tally, Tally { clipped: 2, not_a_number: 0 }, "{dtype}");
        }
    }

    #[test]
    fn what_is_no_number_is_zero_in_eight_bits_and_none_in_sixteen() {
        for dtype in NARROW {
            let (bytes, tally) = narrowed(dtype, &[f32::NAN, -f32::NAN, -0.0]);
            assert_eq!(tally, Tally { clipped: 0, not_a_number: 2 });
            let back = widened(dtype, &bytes);
            assert_eq!(back[2].to_bits(), (-0.0_f32).to_bits(), "{dtype}");
            let eight = dtype.bytes_of(1) == Some(1);
            assert!(back[..2].iter().all(|v| if eight { v.to_bits() == 0 } else { v.is_nan() }), "{dtype} {back:?}");
        }
    }

    #[test]
    fn doubles_are_rounded_to_singles() {
        let bytes: Vec<u8> = [0.1_f64, -1e300, 1e-320].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(widened(DType::F64, &bytes), [0.1, f32::NEG_INFINITY, 0.0]);
        assert_eq!(narrowed(DType::F64, &[0.5]).0, 0.5_f64.to_le_bytes());
    }

    #[test]
    fn buffers_that_do_not_fit_and_other_types_are_refused() {
        assert_eq!(widen(DType::F16, &[0; 3], &mut [0.0; 2]), Err(QuantError::Length { dtype: DType::F16, values: 2, bytes: 3 }));
        assert_eq!(narrow(DType::I8, &[0.0; 2], &mut [0; 2]), Err(QuantError::NoCodec { dtype: DType::I8 }));
        assert_eq!(widen(DType::Q8_0, &[0; 34], &mut [0.0; 32]), Err(QuantError::NoCodec { dtype: DType::Q8_0 }));
    }

    proptest! {
        /// Lengths that fill no strip, any bits.
        #[test]
        fn any_bits_are_rounded_as_one_by_one(bits in prop::collection::vec(any::<u32>(), 0..600)) {
            let values: Vec<f32> = bits.iter().map(|b| f32::from_bits(*b)).collect();
            for dtype in NARROW {
                let (bytes, tally) = narrowed(dtype, &values);
                let single: Vec<(Vec<u8>, Tally)> = values.iter().map(|v| narrowed(dtype, &[*v])).collect();
                let mut sum = Tally::default();
                for one in &single {
                    sum += one.1;
                }
                prop_assert_eq!(&bytes, &single.iter().flat_map(|s| s.0.clone()).collect::<Vec<u8>>());
                prop_assert_eq!(tally, sum);
            }
        }
    }
}
