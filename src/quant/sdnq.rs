//! Weights as SDNQ stores them: codes in groups, a scale for each group, and for unsigned codes the least number of the group.
//!
//! Arithmetic is that of `sdnq/quant_utils.py` and `sdnq/dequantizer.py` in singles. Zero points are in the weights' own unit.

use super::error::part;
use super::floats::{E4M3, E5M2, INFINITE, MAGNITUDE, tally, widen};
use super::sdnq_floats::Layout as FloatLayout;
use super::sdnq_packing::{pack, unpack, unpack_wide};
use super::sdnq_type::{Numbers, WeightsType};
use super::{QuantError, Tally, to_code};
use crate::weights::DType;

/// Where the numbers of a stored weight stand: `outer` groups of `group` numbers, with `inner` groups woven into each other.
///
/// A linear layer has nothing woven: groups lie in its rows one after the other. A convolution has a scale for every place of
/// its kernel, a weight stored transposed one for every column; there `inner` numbers with different scales lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// How many runs of groups.
    pub outer: usize,
    /// How many numbers share a scale.
    pub group: usize,
    /// How many groups are woven together.
    pub inner: usize,
}

impl Groups {
    /// Returns the groups of so many numbers whose scales have these extents: where an extent is 1 and stands for more, numbers share.
    pub fn infer(elements: usize, scale: &[u64]) -> Result<Self, QuantError> {
        let last = scale.len() <= 3 && scale.last() == Some(&1);
        let axis = if last { scale.len().checked_sub(1) } else { scale.iter().position(|extent| *extent == 1) };
        let product = |extents: &[u64]| extents.iter().try_fold(1_usize, |n, e| n.checked_mul(usize::try_from(*e).ok()?));
        let sides = axis.and_then(|axis| product(&scale[..axis]).zip(product(&scale[axis + 1..])));
        let scales = sides.and_then(|(outer, inner)| outer.checked_mul(inner));
        match (sides, scales) {
            (Some((outer, inner)), Some(scales)) if scales > 0 && elements.is_multiple_of(scales) => {
                Ok(Self { outer, group: elements / scales, inner })
            }
            _ => Err(QuantError::Described { what: "scale", found: format!("{scale:?}"), expected: "of extents that divide the weight" }),
        }
    }

    /// Returns how many numbers there are.
    #[must_use]
    pub fn elements(self) -> usize {
        self.outer * self.group * self.inner
    }

    /// Returns how many scales there are.
    #[must_use]
    pub fn scales(self) -> usize {
        self.outer * self.inner
    }
}

/// Returns whether weights can be written in this type: all of at most 8 bits, but for single ones.
#[must_use]
pub fn can_write(kind: WeightsType) -> bool {
    (2..=8).contains(&kind.bits)
}

/// Quantises whole groups of neighbours, as linear layers have them.
///
/// `codes` gets the bytes of the storage type, `scales` and for unsigned types `zeros` a single for each group. The count of
/// numbers is a multiple of what the type stores together. Infinite numbers are clamped and what is no number becomes 0; both
/// are counted.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn quantise(
    kind: WeightsType,
    values: &[f32],
    group: usize,
    codes: &mut [u8],
    scales: &mut [f32],
    zeros: &mut [f32],
) -> Result<Tally, QuantError> {
    if !can_write(kind) {
        return Err(QuantError::NoCodec { dtype: kind.storage() });
    }
    if group == 0 || !values.len().is_multiple_of(group) {
        return Err(QuantError::Group { values: values.len(), group });
    }
    let together = kind.together().0;
    let bytes = kind.bytes_of(values.len()).ok_or(QuantError::Group { values: values.len(), group: together })?;
    part("the weight", bytes, codes.len())?;
    part("scale", values.len() / group, scales.len())?;
    part("zero_point", if kind.signed { 0 } else { scales.len() }, zeros.len())?;
    let mut plain = vec![0; if kind.is_packed() { values.len() } else { 0 }];
    let target = if kind.is_packed() { plain.as_mut_slice() } else { &mut *codes };
    let range = kind.range();
    for (at, (values, codes)) in values.chunks_exact(group).zip(target.chunks_exact_mut(group)).enumerate() {
        let span = Span::of(kind.signed, range.1, values);
        scales[at] = span.scale;
        if let Some(zero) = zeros.get_mut(at) {
            *zero = span.zero;
        }
        encode(kind, range, values, span, codes);
    }
    if kind.is_packed() {
        pack(kind.bits, &plain, codes)?;
    }
    Ok(tally(values, INFINITE))
}

/// The scale of a group, and the least number where codes have no sign.
#[derive(Debug, Clone, Copy)]
struct Span {
    scale: f32,
    zero: f32,
}

impl Span {
    #[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
    #[inline(always)]
    fn of(signed: bool, most: f32, values: &[f32]) -> Self {
        if signed {
            return Self { scale: super::fp8::max_abs(values) / most, zero: 0.0 };
        }
        // Whole numbers in the order of the singles, which lanes compare.
        let key = |value: f32| {
            let bits = value.to_bits().cast_signed();
            bits ^ (bits >> 31 & i32::MAX)
        };
        let (mut least, mut largest) = (i32::MAX, i32::MIN);
        for value in values {
            let finite = value.to_bits() & MAGNITUDE < INFINITE;
            least = least.min(if finite { key(*value) } else { i32::MAX });
            largest = largest.max(if finite { key(*value) } else { i32::MIN });
        }
        if least > largest {
            return Self { scale: 0.0, zero: 0.0 };
        }
        let number = |key: i32| f32::from_bits((key ^ (key >> 31 & i32::MAX)).cast_unsigned());
        let (least, largest) = (number(least), number(largest));
        let span = largest - least;
        // Numbers as far apart as singles can be.
        let scale = if span < f32::INFINITY { span / most } else { largest / most - least / most };
        Self { scale, zero: least }
    }
}

/// Writes a code of 8 bits or fewer for each number of a group. Nothing over nothing is 0.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn encode(kind: WeightsType, (least, most): (f32, f32), values: &[f32], span: Span, codes: &mut [u8]) {
    let scaled = |value: f32| {
        let value = if value.is_nan() { 0.0 } else { value };
        let scaled = (value - span.zero) / span.scale;
        let scaled = if scaled.is_nan() { 0.0 } else { scaled };
        if scaled < least {
            least
        } else if scaled > most {
            most
        } else {
            scaled
        }
    };
    let pairs = codes.iter_mut().zip(values);
    match kind.numbers {
        Numbers::Integers => {
            // Packed codes have no sign: they count from the least.
            let bias = if kind.signed && kind.is_packed() { 1_u8 << (kind.bits - 1) } else { 0 };
            pairs.for_each(|(code, value)| *code = to_code(scaled(*value)).wrapping_add(bias));
        }
        Numbers::Plain(DType::F8_E5M2) => pairs.for_each(|(code, value)| *code = E5M2.code(scaled(*value))),
        Numbers::Plain(_) => pairs.for_each(|(code, value)| *code = E4M3.code(scaled(*value))),
        Numbers::Floats { exponent, mantissa } => {
            let layout = FloatLayout { exponent, mantissa, signed: kind.signed };
            pairs.for_each(|(code, value)| *code = layout.code(scaled(*value)) as u8);
        }
    }
}

/// How the reference that wrote a file reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Habits {
    /// Floats without a type of their own have subnormals: since 0.2.2.
    pub subnormals: bool,
    /// Rotations use the matrix of order 4 where they can: since 0.2.1.
    pub order_four: bool,
}

impl Habits {
    /// Those of the version that the codecs are checked against.
    pub const CURRENT: Self = Self { subnormals: true, order_four: true };
}

/// Widens codes of whole runs of groups. `zeros` is empty where there are none; otherwise there is one for each scale.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn dequantise(
    kind: WeightsType,
    habits: Habits,
    codes: &[u8],
    groups: Groups,
    scales: &[f32],
    zeros: &[f32],
    out: &mut [f32],
) -> Result<(), QuantError> {
    part("the weight", groups.elements(), out.len())?;
    part("scale", groups.scales(), scales.len())?;
    if !zeros.is_empty() {
        part("zero_point", scales.len(), zeros.len())?;
    }
    widen_codes(kind, habits, codes, out)?;
    let run = groups.group * groups.inner;
    for (at, out) in out.chunks_exact_mut(run.max(1)).enumerate() {
        let scales = &scales[at * groups.inner..][..groups.inner];
        let zeros = zeros.get(at * groups.inner..).and_then(|z| z.get(..groups.inner));
        match (scales, zeros) {
            ([scale], None) => out.iter_mut().for_each(|v| *v *= scale),
            ([scale], Some([zero])) => out.iter_mut().for_each(|v| *v = v.mul_add(*scale, *zero)),
            (_, None) => {
                for row in out.chunks_exact_mut(groups.inner) {
                    row.iter_mut().zip(scales).for_each(|(v, scale)| *v *= scale);
                }
            }
            (_, Some(zeros)) => {
                for row in out.chunks_exact_mut(groups.inner) {
                    row.iter_mut().zip(scales.iter().zip(zeros)).for_each(|(v, (scale, zero))| *v = v.mul_add(*scale, *zero));
                }
            }
        }
    }
    Ok(())
}

/// Widens codes by a codebook of their group: `levels` has one for each of the `2^bits` codes of each group, which are neighbours.
pub fn dequantise_codebook(kind: WeightsType, codes: &[u8], group: usize, levels: &[f32], out: &mut [f32]) -> Result<(), QuantError> {
    let count = 1_usize << kind.bits.min(16);
    if group == 0 || !out.len().is_multiple_of(group) {
        return Err(QuantError::Group { values: out.len(), group });
    }
    part("scale", out.len() / group * count, levels.len())?;
    widen_codes(WeightsType::integers(kind.bits, false), Habits::CURRENT, codes, out)?;
    for (out, levels) in out.chunks_exact_mut(group).zip(levels.chunks_exact(count)) {
        for value in out {
            #[expect(clippy::cast_sign_loss, reason = "it is an unsigned code, below 2^bits")]
            let code = *value as usize;
            *value = levels[code];
        }
    }
    Ok(())
}

/// Writes what codes stand for, before any scale.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn widen_codes(kind: WeightsType, habits: Habits, codes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    let bytes = kind.bytes_of(out.len()).ok_or(QuantError::Group { values: out.len(), group: kind.together().0 })?;
    part("the weight", bytes, codes.len())?;
    let layout = match kind.numbers {
        Numbers::Plain(dtype) => return widen(dtype, codes, out),
        Numbers::Integers => None,
        Numbers::Floats { exponent, mantissa } => Some(FloatLayout { exponent, mantissa, signed: kind.signed }),
    };
    if kind.bits > 8 {
        let mut wide = vec![0; out.len()];
        unpack_wide(kind.bits, codes, &mut wide)?;
        let bias = if kind.signed && kind.bits < 16 { 1 << (kind.bits - 1) } else { 0 };
        for (value, code) in out.iter_mut().zip(wide) {
            *value = match layout {
                Some(layout) => layout.value(code, habits.subnormals),
                None if kind.signed && kind.bits == 16 => f32::from(code.cast_signed()),
                None => (i32::from(code) - bias) as f32,
            };
        }
        return Ok(());
    }
    let mut plain = vec![0; if kind.is_packed() { out.len() } else { 0 }];
    if kind.is_packed() {
        unpack(kind.bits, codes, &mut plain)?;
    }
    let codes = if kind.is_packed() { &plain } else { codes };
    let pairs = out.iter_mut().zip(codes);
    match layout {
        Some(layout) => {
            let table: [f32; 256] = std::array::from_fn(|code| layout.value(code as u16, habits.subnormals));
            pairs.for_each(|(value, code)| *value = table[usize::from(*code)]);
        }
        None if kind.signed && !kind.is_packed() => pairs.for_each(|(value, code)| *value = f32::from(code.cast_signed())),
        None => {
            let bias = if kind.signed { 1 << (kind.bits - 1) } else { 0 };
            pairs.for_each(|(value, code)| *value = (i32::from(*code) - bias) as f32);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    fn kind(name: &str) -> WeightsType {
        WeightsType::parse(name).unwrap()
    }

    /// Codes, scales and zero points.
    type Stored = (Vec<u8>, Vec<f32>, Vec<f32>);

    fn quantised(kind: WeightsType, values: &[f32], group: usize) -> (Stored, Tally) {
        let count = values.len() / group;
        let mut codes = vec![0; kind.bytes_of(values.len()).unwrap()];
        let (mut scales, mut zeros) = (vec![0.0; count], vec![0.0; if kind.signed { 0 } else { count }]);
        let tally = quantise(kind, values, group, &mut codes, &mut scales, &mut zeros).unwrap();
        ((codes, scales, zeros), tally)
    }

    fn widened(kind: WeightsType, stored: &Stored, group: usize) -> Vec<f32> {
        let groups = Groups { outer: stored.1.len(), group, inner: 1 };
        let mut out = vec![f32::NAN; groups.elements()];
        dequantise(kind, Habits::CURRENT, &stored.0, groups, &stored.1, &stored.2, &mut out).unwrap();
        out
    }

    /// Digests of codes, scales, zero points and numbers; an empty one is not known.
    #[test]
    fn codes_scales_and_numbers_are_those_of_the_reference() {
        let known = [
            ("int8", 1024, ["c5fc88987b029819", "e059e9befa54774b", "", "53c97562e07c87f3"]),
            ("uint8", 1024, ["8f6485352f644e8a", "44d86ac265a1ea88", "692c90485bb89f95", "c885fee4af5c5bd4"]),
            ("uint4", 64, ["f0d1b227ae8ccc46", "9526acea372d5e47", "012d8fed8dbc9b5d", "8896823011c7359b"]),
            ("int4", 64, ["1289e7b34489deeb", "29e91763366068fc", "", "622438cc099a6682"]),
            ("uint3", 64, ["be433b93107ee45d", "", "", "98f0575fa01bcf23"]),
            ("uint2", 64, ["7802fa3c18cfd2bd", "", "", "41c22d8290a334e8"]),
            ("int5", 128, ["41767ef95e9cc452", "", "", "6905c7094291bb91"]),
            ("int6", 128, ["8890c614d50c139c", "", "", "9bbcfeb9bd1708b5"]),
            ("int7", 128, ["4243a0d8bcbda92d", "", "", "df7df6ebfda8c369"]),
            ("float4_e2m1fn", 64, ["66b4abdd9d11d2c0", "be8e5d470055e6a6", "", "623071b925b1ff32"]),
        ];
        for (name, group, digests) in known {
            let (stored, tally) = quantised(kind(name), &golden::input(), group);
            let numbers = widened(kind(name), &stored, group);
            let found = [golden::hash(&stored.0), golden::hash_f32(&stored.1), golden::hash_f32(&stored.2), golden::hash_f32(&numbers)];
            for (found, digest) in found.iter().zip(digests) {
                assert!(digest.is_empty() || found == digest, "{name} {found} {digest}");
            }
            assert_eq!(tally, Tally::default());
        }
    }

    #[test]
    fn groups_are_found_in_the_scales() {
        let found = |elements, scale: &[u64]| Groups::infer(elements, scale).map(|g| (g.outer, g.group, g.inner));
        assert_eq!(found(32 * 64, &[32, 1]), Ok((32, 64, 1)), "a scale for each row");
        assert_eq!(found(32 * 64, &[32, 4, 1]), Ok((128, 16, 1)), "four for each row");
        assert_eq!(found(64 * 64, &[1, 64]), Ok((1, 64, 64)), "stored transposed, though it is square");
        assert_eq!(found(32 * 64, &[1, 1]), Ok((1, 2048, 1)), "one for all");
        assert_eq!(found(8 * 4 * 9, &[8, 1, 3, 3]), Ok((8, 4, 9)), "one for each place of a kernel");
        assert_eq!(found(8 * 4 * 9, &[8, 2, 1, 3, 3]), Ok((16, 2, 9)), "the same in groups");
        assert_eq!(found(8 * 4 * 9, &[1, 4, 3, 3]), Ok((1, 8, 36)), "a transposed convolution");
        for scale in [&[][..], &[32, 2], &[0, 1], &[33, 1], &[u64::MAX, u64::MAX, 1]] {
            assert!(found(32 * 64, scale).is_err(), "{scale:?}");
        }
    }

    #[test]
    fn woven_groups_have_their_own_scales() {
        let codes = [1, 2, 3, 4, 5, 6, 7, 8];
        let groups = Groups { outer: 2, group: 2, inner: 2 };
        let mut out = [0.0; 8];
        dequantise(kind("uint8"), Habits::CURRENT, &codes, groups, &[1.0, 10.0, 100.0, 1000.0], &[0.0, 0.5, 0.0, 1.0], &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "1 20.5 3 40.5 500 6001 700 8001");
        dequantise(kind("int8"), Habits::CURRENT, &codes, groups, &[1.0, 10.0, 100.0, 1000.0], &[], &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "1 20 3 40 500 6000 700 8000");
    }

    #[test]
    fn a_codebook_gives_each_group_its_levels() {
        let mut out = [0.0; 8];
        dequantise_codebook(kind("uint2"), &[0b1110_0100, 0b0001_1011], 4, &[0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0], &mut out)
            .unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "0 1 2 3 13 12 11 10");
        let refused = dequantise_codebook(kind("uint2"), &[0; 2], 4, &[0.0; 7], &mut out);
        assert_eq!(refused, Err(QuantError::Part { what: "scale", expected: 8, found: 7 }));
    }

    #[test]
    fn groups_without_extent_come_back() {
        for name in ["int8", "uint8", "int4", "uint4", "float4_e2m1fn", "float8_e4m3fn", "float8_e5m2"] {
            let values = [[0.0_f32; 8], [0.25; 8], [-0.75; 8], [1e-45; 8]].concat();
            let (stored, tally) = quantised(kind(name), &values, 8);
            let back = widened(kind(name), &stored, 8);
            assert_eq!(tally, Tally::default());
            for (before, after) in values.iter().zip(&back) {
                assert!((before - after).abs() <= before.abs() * 1e-6 + 1e-44, "{name} {before} {after}");
            }
        }
    }

    #[test]
    fn what_is_no_number_spoils_no_group() {
        for name in ["int8", "uint8", "uint4", "float4_e2m1fn", "float8_e4m3fn"] {
            let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, 0.5, 0.0, -0.5];
            let (stored, tally) = quantised(kind(name), &values, 8);
            assert_eq!(tally, Tally { clipped: 2, not_a_number: 1 });
            let back = widened(kind(name), &stored, 8);
            for (at, expected) in [(0, 0.0), (1, 1.0), (2, -1.0), (3, 1.0), (4, -1.0), (5, 0.5)] {
                assert!((back[at] - expected).abs() < 0.1, "{name} {back:?}");
            }
        }
        let (stored, _) = quantised(kind("uint8"), &[f32::MAX, f32::MIN, 0.0, f32::NAN], 4);
        assert!(widened(kind("uint8"), &stored, 4).iter().all(|v| v.is_finite()));
        let (stored, _) = quantised(kind("uint8"), &[f32::INFINITY, f32::NAN], 2);
        assert!(widened(kind("uint8"), &stored, 2).iter().all(|v| v.to_bits() == 0));
    }

    #[test]
    fn wide_codes_are_read_and_not_written() {
        let mut out = [0.0; 4];
        let groups = Groups { outer: 1, group: 4, inner: 1 };
        let codes: Vec<u8> = [0_u16, 1, 0x7FFF, 0x8000].iter().flat_map(|c| c.to_le_bytes()).collect();
        dequantise(kind("int16"), Habits::CURRENT, &codes, groups, &[2.0], &[], &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "0 2 65534 -65536");
        dequantise(kind("int12"), Habits::CURRENT, &[0; 6], groups, &[1.0], &[], &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "-2048 -2048 -2048 -2048");
        dequantise(kind("float16"), Habits::CURRENT, &[0, 0x3C, 0, 0xC0, 0, 0, 0, 0x80], groups, &[1.0], &[], &mut out).unwrap();
        assert_eq!(out.map(|v| v.to_string()).join(" "), "1 -2 0 -0");
        assert!(quantise(kind("int9"), &[0.0; 16], 16, &mut [0; 18], &mut [0.0], &mut []).is_err());
        assert!(quantise(kind("uint1"), &[0.0; 8], 8, &mut [0; 8], &mut [0.0], &mut [0.0]).is_err());
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let refused = quantise(kind("int7"), &[0.0; 12], 6, &mut [0; 11], &mut [0.0; 2], &mut []);
        assert_eq!(refused, Err(QuantError::Group { values: 12, group: 8 }));
        let refused = quantise(kind("uint4"), &[0.0; 12], 6, &mut [0; 6], &mut [0.0; 2], &mut []);
        assert_eq!(refused, Err(QuantError::Part { what: "zero_point", expected: 2, found: 0 }));
        let refused = quantise(kind("int8"), &[0.0; 12], 5, &mut [0; 12], &mut [0.0; 2], &mut []);
        assert_eq!(refused, Err(QuantError::Group { values: 12, group: 5 }));
        let groups = Groups { outer: 2, group: 4, inner: 1 };
        let refused = dequantise(kind("int8"), Habits::CURRENT, &[0; 7], groups, &[0.0; 2], &[], &mut [0.0; 8]);
        assert_eq!(refused, Err(QuantError::Part { what: "the weight", expected: 8, found: 7 }));
    }

    proptest! {
        /// No type is further away than half a step, and parts give the bytes of the whole.
        #[test]
        fn numbers_come_back(
            values in prop::collection::vec(-3.0_f32..3.0, 64),
            name in prop::sample::select(vec!["int8", "uint8", "int7", "int6", "int5", "uint5", "int4", "uint4", "int3", "uint3", "uint2"]),
        ) {
            let kind = kind(name);
            let (stored, _) = quantised(kind, &values, 16);
            for (at, (before, after)) in values.iter().zip(widened(kind, &stored, 16)).enumerate() {
                prop_assert!((before - after).abs() <= stored.1[at / 16] * 0.501, "{name} {before} {after}");
            }
            let (first, second) = (quantised(kind, &values[..32], 16).0, quantised(kind, &values[32..], 16).0);
            prop_assert_eq!(stored.0, [first.0, second.0].concat());
        }
    }
}
