//! Four bits a weight by a codebook, a scale for each block: NF4 and FP4 as bitsandbytes stores them.
//!
//! NF4 is of "`QLoRA`: Efficient Finetuning of Quantized LLMs" (Dettmers et al. 2023); layout and arithmetic are those of
//! bitsandbytes (`bitsandbytes/functional.py`, `backends/default/ops.py`). Of two codes in a byte the first is in the high bits.

use super::error::part;
use super::floats::{INFINITE, tally};
use super::fp8::max_abs;
use super::{QuantError, Tally};

/// The block size of nearly every file.
pub const BLOCK: usize = 64;
/// The smallest and the largest block size of the format; between them are powers of two.
pub const BLOCKS: (usize, usize) = (32, 4096);
/// How many scales of blocks share one where the scales are quantised too.
pub const NESTED_BLOCK: usize = 256;
/// How many numbers go through a processor's lanes together.
const RUN: usize = 32;

/// The codebook of NF4: quantiles of the normal distribution, with an exact 0.
pub const NF4: [f32; 16] = bits([
    0xBF80_0000,
    0xBF32_39B1,
    0xBF06_6B30,
    0xBECA_32A0,
    0xBE91_A24D,
    0xBE3D_353F,
    0xBDBA_7871,
    0x0000_0000,
    0x3DA2_FAFF,
    0x3E24_CAE3,
    0x3E7C_04DD,
    0x3EAD_033A,
    0x3EE1_A4B8,
    0x3F10_07AB,
    0x3F39_13B3,
    0x3F80_0000,
]);

/// The codebook of FP4: twelfths, the sign in the highest bit.
pub const FP4: [f32; 16] = {
    const TWELFTHS: [f32; 8] = [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0];
    let mut values = [0.0; 16];
    let mut code = 0;
    while code < 16 {
        let magnitude = TWELFTHS[code % 8] / 12.0;
        // There is no negative 0.
        values[code] = if code <= 8 { magnitude } else { -magnitude };
        code += 1;
    }
    values
};

/// Where the codes of NF4 meet, halfway between neighbours: a number on a threshold has the lower code.
pub(crate) const THRESHOLDS: [f32; 15] = {
    let mut thresholds = [0.0; 15];
    let mut at = 0;
    while at < 15 {
        thresholds[at] = f32::midpoint(NF4[at], NF4[at + 1]);
        at += 1;
    }
    thresholds
};

const fn bits(bits: [u32; 16]) -> [f32; 16] {
    let mut values = [0.0; 16];
    let mut at = 0;
    while at < 16 {
        values[at] = f32::from_bits(bits[at]);
        at += 1;
    }
    values
}

/// Quantises numbers to NF4. `packed` gets a byte for two numbers, `absmax` a scale for each block.
///
/// A tensor is cut into parts at ends of blocks; only its last block may be short. Infinite numbers are clamped, what is
/// no number becomes 0.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn quantise(values: &[f32], block: usize, packed: &mut [u8], absmax: &mut [f32]) -> Result<Tally, QuantError> {
    quantise_with(values, block, packed, absmax, |values, inverse, packed| pack(values, packed, |v| v * inverse))
}

/// Quantises with a way of its own to bring whole blocks, times a number, to nearest codes and to pack them.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub(crate) fn quantise_with(
    values: &[f32],
    block: usize,
    packed: &mut [u8],
    absmax: &mut [f32],
    pack_whole: impl Fn(&[f32], f32, &mut [u8]),
) -> Result<Tally, QuantError> {
    check_block(block)?;
    part("the packed weight", values.len().div_ceil(2), packed.len())?;
    part("absmax", values.len().div_ceil(block), absmax.len())?;
    for ((values, packed), absmax) in values.chunks(block).zip(packed.chunks_mut(block / 2)).zip(absmax) {
        *absmax = max_abs(values);
        let inverse = absmax.recip();
        // The reference multiplies, and divides in a short block. A reciprocal that overflows is of no use to either.
        if values.len() == block && inverse.is_finite() {
            pack_whole(values, inverse, packed);
        } else if *absmax > 0.0 {
            let most = *absmax;
            pack(values, packed, |v| v / most);
        } else {
            pack(values, packed, |_| 0.0);
        }
    }
    Ok(tally(values, INFINITE))
}

#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn pack(values: &[f32], packed: &mut [u8], scaled: impl Fn(f32) -> f32) {
    let (runs, rest) = values.as_chunks::<RUN>();
    let (bytes, last_bytes) = packed.split_at_mut(runs.len() * RUN / 2);
    for (run, bytes) in runs.iter().zip(bytes.chunks_exact_mut(RUN / 2)) {
        let scaled = run.map(&scaled);
        let codes = codes(&scaled);
        for (byte, at) in bytes.iter_mut().zip((0..RUN).step_by(2)) {
            *byte = (codes[at] << 4 | codes[at + 1]) as u8;
        }
    }
    for (byte, pair) in last_bytes.iter_mut().zip(rest.chunks(2)) {
        let [first, second] = codes(&[scaled(pair[0]), pair.get(1).map_or(0.0, |v| scaled(*v))]);
        *byte = (first << 4 | second) as u8;
    }
}

/// Returns the nearest codes: how many thresholds are below each number. What is no number is 0.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
fn codes<const N: usize>(values: &[f32; N]) -> [u32; N] {
    let values = values.map(|v| if v.is_nan() { 0.0 } else { v });
    let mut codes = [0; N];
    for threshold in THRESHOLDS {
        for (code, value) in codes.iter_mut().zip(&values) {
            *code += u32::from(*value > threshold);
        }
    }
    codes
}

/// Widens the codes of whole blocks, but for a short last one, by a codebook: [`NF4`], [`FP4`] or the file's own.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub fn dequantise(codebook: &[f32; 16], packed: &[u8], absmax: &[f32], block: usize, out: &mut [f32]) -> Result<(), QuantError> {
    dequantise_with(packed, absmax, block, out, |packed, absmax, out| {
        for (pair, byte) in out.as_chunks_mut().0.iter_mut().zip(packed) {
            *pair = [codebook[usize::from(byte >> 4)] * absmax, codebook[usize::from(byte & 15)] * absmax];
        }
        if let ([last], Some(byte)) = (out.as_chunks_mut::<2>().1, packed.last()) {
            *last = codebook[usize::from(byte >> 4)] * absmax;
        }
    })
}

/// Widens with a way of its own for a block, of which the last of all may be short.
#[expect(clippy::inline_always, reason = "the kernels compile it for wider processors")]
#[inline(always)]
pub(crate) fn dequantise_with(
    packed: &[u8],
    absmax: &[f32],
    block: usize,
    out: &mut [f32],
    widen: impl Fn(&[u8], f32, &mut [f32]),
) -> Result<(), QuantError> {
    check_block(block)?;
    part("the packed weight", out.len().div_ceil(2), packed.len())?;
    part("absmax", out.len().div_ceil(block), absmax.len())?;
    for ((out, packed), absmax) in out.chunks_mut(block).zip(packed.chunks(block / 2)).zip(absmax) {
        widen(packed, *absmax, out);
    }
    Ok(())
}

/// Scales of blocks that are themselves quantised, to 8 bits by a codebook of their own.
#[derive(Debug, Clone, Copy)]
pub struct Nested<'a> {
    /// A code for each block of weights.
    pub absmax: &'a [u8],
    /// The codebook, `nested_quant_map`.
    pub map: &'a [f32; 256],
    /// The scale of so many codes, `nested_absmax`.
    pub scales: &'a [f32],
    /// How many codes share a scale.
    pub block: usize,
    /// What is added to each.
    pub offset: f32,
}

impl Nested<'_> {
    /// Writes the scales of the blocks.
    pub fn widen(&self, absmax: &mut [f32]) -> Result<(), QuantError> {
        part("absmax", absmax.len(), self.absmax.len())?;
        if self.block == 0 {
            return Err(QuantError::Group { values: absmax.len(), group: 0 });
        }
        part("nested_absmax", absmax.len().div_ceil(self.block), self.scales.len())?;
        for ((out, codes), scale) in absmax.chunks_mut(self.block).zip(self.absmax.chunks(self.block)).zip(self.scales) {
            for (out, code) in out.iter_mut().zip(codes) {
                *out = self.map[usize::from(*code)] * scale + self.offset;
            }
        }
        Ok(())
    }
}

fn check_block(block: usize) -> Result<(), QuantError> {
    let fine = block.is_power_of_two() && (BLOCKS.0..=BLOCKS.1).contains(&block);
    let refused = || QuantError::Described { what: "blocksize", found: block.to_string(), expected: "a power of two from 32 to 4096" };
    if fine { Ok(()) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;

    fn quantised(values: &[f32], block: usize) -> (Vec<u8>, Vec<f32>, Tally) {
        let (mut packed, mut absmax) = (vec![0; values.len().div_ceil(2)], vec![0.0; values.len().div_ceil(block)]);
        let tally = quantise(values, block, &mut packed, &mut absmax).unwrap();
        (packed, absmax, tally)
    }

    fn dequantised(codebook: &[f32; 16], packed: &[u8], absmax: &[f32], block: usize, count: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; count];
        dequantise(codebook, packed, absmax, block, &mut out).unwrap();
        out
    }

    #[test]
    fn codes_scales_and_numbers_are_those_of_the_reference() {
        let values = golden::input();
        let (packed, absmax, tally) = quantised(&values, BLOCK);
        assert_eq!(packed[..8], [118, 184, 95, 94, 65, 147, 9, 151]);
        assert_eq!((golden::hash(&packed).as_str(), golden::hash_f32(&absmax).as_str()), ("20368af6857d8f2b", "048cf3dee08bcc2a"));
        assert_eq!(golden::hash_f32(&dequantised(&NF4, &packed, &absmax, BLOCK, values.len())), "a2725319dcf93adb");
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn thresholds_lie_between_the_codes() {
        let bits = [
            0xBF59_1CD8,
            0xBF1C_5270,
            0xBEEB_8480,
            0xBEAD_EA76,
            0xBE70_3CEC,
            0xBE0D_38BC,
            0xBD3A_7871,
            0x3D22_FAFF,
            0x3DF6_4862,
            0x3E50_67E0,
            0x3E95_82D4,
            0x3EC7_53F9,
            0x3F00_6D04,
            0x3F24_8DAF_u32,
            0x3F5C_89DA,
        ];
        assert_eq!(THRESHOLDS.map(f32::to_bits), bits);
        for (at, threshold) in THRESHOLDS.iter().enumerate() {
            assert_eq!(codes(&[*threshold, threshold.next_up()]), [at as u32, at as u32 + 1]);
        }
    }

    #[test]
    fn an_odd_count_ends_with_a_zero() {
        let (packed, absmax, _) = quantised(&[0.5, -1.0, 1.0], 64);
        assert_eq!((packed.as_slice(), absmax.as_slice()), ([0xC0, 0xF7].as_slice(), [1.0].as_slice()));
        assert_eq!(dequantised(&NF4, &packed, &absmax, 64, 3), [NF4[12], -1.0, 1.0]);
    }

    #[test]
    fn blocks_of_zeros_and_of_the_tiniest_numbers_come_back() {
        let (packed, absmax, _) = quantised(&[0.0; 64], 64);
        assert_eq!((packed, absmax), (vec![0x77; 32], vec![0.0]));
        let tiny = [f32::from_bits(3); 64];
        let (packed, absmax, _) = quantised(&tiny, 64);
        assert_eq!(dequantised(&NF4, &packed, &absmax, 64, 64), tiny);
    }

    #[test]
    fn what_is_no_number_spoils_no_block() {
        let mut values = [0.25; 64];
        (values[0], values[1], values[2]) = (f32::NAN, f32::INFINITY, -1.0);
        let (packed, absmax, tally) = quantised(&values, 64);
        assert_eq!((tally, absmax[0].to_bits()), (Tally { clipped: 1, not_a_number: 1 }, 1.0_f32.to_bits()));
        assert_eq!(dequantised(&NF4, &packed, &absmax, 64, 64)[..3], [0.0, 1.0, -1.0]);
    }

    #[test]
    fn the_float_of_four_bits_is_read() {
        let packed = [0x01, 0x23, 0x45, 0x67, 0x8B];
        let twelfths = dequantised(&FP4, &packed, &[12.0], 64, 10);
        assert_eq!(twelfths, [0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0, 0.0, -12.0]);
    }

    #[test]
    fn quantised_scales_are_widened() {
        let mut map = [0.0; 256];
        (map[0], map[255]) = (-1.0, 1.0);
        let absmax: Vec<u8> = (0..600).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect();
        let nested = Nested { absmax: &absmax, map: &map, scales: &[0.5, 0.25, 0.125], block: 256, offset: 2.0 };
        let mut out = vec![0.0; 600];
        nested.widen(&mut out).unwrap();
        assert_eq!((out[0], out[1], out[257], out[599]), (1.5, 2.5, 2.25, 2.125));
        let refused = Nested { scales: &[0.5], ..nested }.widen(&mut out);
        assert_eq!(refused, Err(QuantError::Part { what: "nested_absmax", expected: 3, found: 1 }));
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let refused = quantise(&[0.0; 64], 64, &mut [0; 31], &mut [0.0]);
        assert_eq!(refused, Err(QuantError::Part { what: "the packed weight", expected: 32, found: 31 }));
        let refused = dequantise(&NF4, &[0; 64], &[0.0], 64, &mut [0.0; 128]);
        assert_eq!(refused, Err(QuantError::Part { what: "absmax", expected: 2, found: 1 }));
        assert!(quantise(&[], 48, &mut [], &mut []).is_err());
    }

    proptest! {
        /// A weight that is cut at ends of blocks gives the same bytes.
        #[test]
        fn parts_give_the_bytes_of_the_whole(values in prop::collection::vec(-4.0_f32..4.0, 0..700), at in 0_usize..6, size in 5_u32..8) {
            let block = 1 << size;
            let at = (at * block).min(values.len() / block * block);
            let (packed, absmax, _) = quantised(&values, block);
            let (first, second) = (quantised(&values[..at], block), quantised(&values[at..], block));
            prop_assert_eq!(&packed, &[first.0, second.0].concat());
            prop_assert_eq!(&absmax, &[first.1, second.1].concat());
            for (block, (before, after)) in dequantised(&NF4, &packed, &absmax, block, values.len()).iter().zip(&values).enumerate().map(|(i, p)| (i / block, p)) {
                // Half of the widest gap between codes.
                prop_assert!((before - after).abs() <= 0.16 * absmax[block]);
            }
        }
    }
}
