//! ggml's K types: 256 numbers in sub-blocks of 16 or 32, whose scales share a scale (`ggml/src/ggml-quants.c`).
//!
//! Storing is three steps: a search per sub-block, the scales rounded against the largest, the numbers rounded again with
//! what the scales have become. The second and third are here for the faster kernels too, which search many sub-blocks at
//! once.

#![expect(clippy::inline_always, reason = "these are compiled again into kernels, with the instructions of those")]

use super::ggml::{half_at, put_half};
use super::ggml_fit::{SEARCH_2, SEARCH_4, SEARCH_5, Search, ZERO_BELOW, affine, low_byte, nearest, swept, symmetric};
use super::ggml_legacy::uneven;

const N: usize = 256;

/// What the search of a superblock has found.
#[derive(Debug, Clone)]
pub struct Found<const SUB: usize> {
    /// The scale of each sub-block.
    pub scales: [f32; SUB],
    /// The minimum of each sub-block, its sign turned; zeros for types without.
    pub minima: [f32; SUB],
    /// The level of each number.
    pub levels: [u8; N],
}

impl<const SUB: usize> Default for Found<SUB> {
    fn default() -> Self {
        Self { scales: [0.0; SUB], minima: [0.0; SUB], levels: [0; N] }
    }
}

/// What a sub-block's scale and minimum are once they are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stored {
    /// The scale; levels are kept as found where it is zero.
    pub scale: f32,
    /// What is added before dividing.
    pub minimum: f32,
}

/// Rounds the numbers of a superblock with what its sub-blocks' scales have become; levels start at `lowest`, stored as 0.
#[inline(always)]
pub fn round_again<const SUB: usize>(x: &[f32; N], stored: &[Stored; SUB], lowest: i32, highest: i32, levels: &mut [u8; N]) {
    let size = N / SUB;
    for ((x, levels), stored) in x.chunks_exact(size).zip(levels.chunks_exact_mut(size)).zip(stored) {
        if stored.scale != 0.0 {
            for (x, l) in x.iter().zip(levels) {
                *l = low_byte(nearest((x + stored.minimum) / stored.scale).clamp(lowest, highest) - lowest);
            }
        }
    }
}

/// Returns the largest of the numbers, and 0 where none is above.
#[inline(always)]
fn largest(v: &[f32]) -> f32 {
    v.iter().fold(0.0, |most, v| if *v > most { *v } else { most })
}

/// Returns the number with the largest magnitude, the first of equals, with its sign.
#[inline(always)]
fn extreme(v: &[f32]) -> f32 {
    let (mut magnitude, mut extreme) = (0.0, 0.0);
    for v in v {
        if v.abs() > magnitude {
            magnitude = v.abs();
            extreme = *v;
        }
    }
    extreme
}

/// Searches each sub-block for scale and minimum; `weights` says how much each of its numbers matters.
fn search<const SUB: usize, const SIZE: usize>(search: &Search, x: &[f32; N], weights: impl Fn(&[f32; SIZE]) -> [f32; SIZE]) -> Found<SUB> {
    let mut found = Found::default();
    let (subs, _) = x.as_chunks::<SIZE>();
    for (j, (x, levels)) in subs.iter().zip(found.levels.chunks_exact_mut(SIZE)).enumerate() {
        (found.scales[j], found.minima[j]) = affine(search, x, &weights(x), levels);
    }
    found
}

/// Returns what the numbers of a `Q4_K` or `Q5_K` sub-block weigh: their magnitude above the root of their mean square.
fn above_root_mean_square(x: &[f32; 32]) -> [f32; 32] {
    let mut squares = 0.0;
    for v in x {
        squares += v * v;
    }
    let root = (squares / 32.0f32).sqrt();
    x.map(|v| root + v.abs())
}

pub(super) fn q2(x: &[f32; N], out: &mut [u8; 84]) {
    store_q2(x, &mut search(&SEARCH_2, x, |x: &[f32; 16]| x.map(f32::abs)), out);
}

pub(super) fn q3(x: &[f32; N], out: &mut [u8; 110]) {
    let mut found = Found::default();
    let (subs, _) = x.as_chunks::<16>();
    for (j, (x, levels)) in subs.iter().zip(found.levels.chunks_exact_mut(16)).enumerate() {
        found.scales[j] = swept(x, levels);
    }
    store_q3(x, &mut found, out);
}

pub(super) fn q4(x: &[f32; N], out: &mut [u8; 144]) {
    store_q4(x, &mut search(&SEARCH_4, x, above_root_mean_square), out);
}

pub(super) fn q5(x: &[f32; N], out: &mut [u8; 176]) {
    store_q5(x, &mut search(&SEARCH_5, x, above_root_mean_square), out);
}

pub(super) fn q6(x: &[f32; N], out: &mut [u8; 210]) {
    let mut found = Found::default();
    let (subs, _) = x.as_chunks::<16>();
    for (j, (x, levels)) in subs.iter().zip(found.levels.chunks_exact_mut(16)).enumerate() {
        found.scales[j] = symmetric(x, levels);
    }
    store_q6(x, &mut found, out);
}

/// Lays out a `Q2_K` block: `scales[16] | levels[64] | d | dmin`, a scale and a minimum in each byte of `scales`.
#[inline(always)]
pub fn store_q2(x: &[f32; N], found: &mut Found<16>, out: &mut [u8; 84]) {
    const HIGHEST: f32 = 15.0;
    let (most, most_below) = (largest(&found.scales), largest(&found.minima));
    let factor = |most: f32| if most > 0.0 { HIGHEST / most } else { 0.0 };
    let (factor_s, factor_m) = (factor(most), factor(most_below));
    for (byte, (scale, minimum)) in out.iter_mut().zip(found.scales.iter().zip(&found.minima)) {
        *byte = low_byte(nearest(factor_s * scale)) | low_byte(nearest(factor_m * minimum)) << 4;
    }
    put_half(out, 80, if most > 0.0 { most / HIGHEST } else { 0.0 });
    put_half(out, 82, if most_below > 0.0 { most_below / HIGHEST } else { 0.0 });
    let (d, dmin) = (half_at(out, 80), half_at(out, 82));
    let stored = std::array::from_fn(|j: usize| Stored { scale: d * f32::from(out[j] & 15), minimum: dmin * f32::from(out[j] >> 4) });
    round_again::<16>(x, &stored, 0, 3, &mut found.levels);
    pack_crumbs(&found.levels, &mut out[16..80]);
}

/// Packs the low two bits of each level: numbers 32 apart share a byte.
#[inline(always)]
fn pack_crumbs(levels: &[u8; N], out: &mut [u8]) {
    for (half, out) in levels.chunks_exact(128).zip(out.chunks_exact_mut(32)) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = half[l] & 3 | (half[l + 32] & 3) << 2 | (half[l + 64] & 3) << 4 | (half[l + 96] & 3) << 6;
        }
    }
}

/// Lays out a `Q3_K` block: `high bits[32] | low bits[64] | scales[12] | d`.
#[inline(always)]
pub fn store_q3(x: &[f32; N], found: &mut Found<16>, out: &mut [u8; 110]) {
    out.fill(0);
    let most = extreme(&found.scales);
    let mut scales = [0i8; 16];
    if most != 0.0 {
        let factor = -32.0 / most;
        for (j, scale) in found.scales.iter().enumerate() {
            scales[j] = (nearest(factor * scale) as i8).clamp(-32, 31);
            let bits = (scales[j] + 32).cast_unsigned();
            out[96 + j % 8] |= (bits & 15) << (j / 8 * 4);
            out[104 + j % 4] |= (bits >> 4) << (j / 4 * 2);
        }
        put_half(out, 108, 1.0 / factor);
    }
    let d = half_at(out, 108);
    let stored = scales.map(|s| Stored { scale: d * f32::from(s), minimum: 0.0 });
    round_again::<16>(x, &stored, -4, 3, &mut found.levels);
    for (i, level) in found.levels.iter().enumerate() {
        out[i % 32] |= (level >> 2) << (i / 32);
    }
    pack_crumbs(&found.levels, &mut out[32..96]);
}

/// Packs eight 6-bit scales and eight 6-bit minima into 12 bytes.
#[inline(always)]
fn pack_sixes(scales: [u8; 8], minima: [u8; 8], out: &mut [u8]) {
    for j in 0..4 {
        out[j] = scales[j] | (scales[j + 4] >> 4) << 6;
        out[j + 4] = minima[j] | (minima[j + 4] >> 4) << 6;
        out[j + 8] = scales[j + 4] & 15 | (minima[j + 4] & 15) << 4;
    }
}

fn unpack_sixes(bytes: &[u8]) -> ([u8; 8], [u8; 8]) {
    let one = |j: usize, low: usize, low_bits: u8| if j < 4 { bytes[low + j] & 63 } else { low_bits | (bytes[low + j - 4] >> 6) << 4 };
    let scale = |j: usize| one(j, 0, bytes[8 + j % 4] & 15);
    let minimum = |j: usize| one(j, 4, bytes[8 + j % 4] >> 4);
    (std::array::from_fn(scale), std::array::from_fn(minimum))
}

/// Writes `d | dmin | scales[12]`, which `Q4_K` and `Q5_K` begin with, and rounds the numbers again.
#[inline(always)]
fn store_affine(x: &[f32; N], found: &mut Found<8>, highest: i32, out: &mut [u8]) {
    const HIGHEST: f32 = 63.0;
    let sixes = |v: &[f32; 8], most: f32| {
        let factor = if most > 0.0 { HIGHEST / most } else { 0.0 };
        v.map(|v| low_byte(nearest(factor * v)).min(63))
    };
    let (most, most_below) = (largest(&found.scales), largest(&found.minima));
    let (scales, minima) = (sixes(&found.scales, most), sixes(&found.minima, most_below));
    put_half(out, 0, most / HIGHEST);
    put_half(out, 2, most_below / HIGHEST);
    pack_sixes(scales, minima, &mut out[4..16]);
    let (d, dmin) = (half_at(out, 0), half_at(out, 2));
    let stored = std::array::from_fn(|j: usize| Stored { scale: d * f32::from(scales[j]), minimum: dmin * f32::from(minima[j]) });
    round_again::<8>(x, &stored, 0, highest, &mut found.levels);
}

/// Packs the low four bits of each level: numbers 32 apart share a byte.
#[inline(always)]
fn pack_nibbles(levels: &[u8; N], out: &mut [u8]) {
    for (pair, out) in levels.chunks_exact(64).zip(out.chunks_exact_mut(32)) {
        for (l, byte) in out.iter_mut().enumerate() {
            *byte = pair[l] & 15 | (pair[l + 32] & 15) << 4;
        }
    }
}

/// Lays out a `Q4_K` block: `d | dmin | scales[12] | levels[128]`.
#[inline(always)]
pub fn store_q4(x: &[f32; N], found: &mut Found<8>, out: &mut [u8; 144]) {
    store_affine(x, found, 15, out);
    pack_nibbles(&found.levels, &mut out[16..]);
}

/// Lays out a `Q5_K` block: `d | dmin | scales[12] | fifth bits[32] | levels[128]`.
#[inline(always)]
pub fn store_q5(x: &[f32; N], found: &mut Found<8>, out: &mut [u8; 176]) {
    store_affine(x, found, 31, out);
    let (bits, _) = out[16..48].as_chunks_mut::<32>();
    if let Some(bits) = bits.first_mut() {
        bits.fill(0);
        for (k, levels) in found.levels.chunks_exact(32).enumerate() {
            bits.iter_mut().zip(levels).for_each(|(bits, l)| *bits |= (l >> 4) << k);
        }
    }
    pack_nibbles(&found.levels, &mut out[48..]);
}

/// Lays out a `Q6_K` block: `low bits[128] | high bits[64] | scales[16] | d`.
#[inline(always)]
pub fn store_q6(x: &[f32; N], found: &mut Found<16>, out: &mut [u8; 210]) {
    let most = extreme(&found.scales);
    if most.abs() < ZERO_BELOW {
        out.fill(0);
        return;
    }
    let factor = -128.0 / most;
    put_half(out, 208, 1.0 / factor);
    let d = half_at(out, 208);
    let mut stored = [Stored { scale: 0.0, minimum: 0.0 }; 16];
    for (j, scale) in found.scales.iter().enumerate() {
        let scale = nearest(factor * scale).min(127) as i8;
        out[192 + j] = scale.cast_unsigned();
        stored[j].scale = d * f32::from(scale);
    }
    round_again::<16>(x, &stored, -32, 31, &mut found.levels);
    for (c, half) in found.levels.chunks_exact(128).enumerate() {
        for l in 0..32 {
            let [a, b, c2, d2] = [half[l], half[l + 32], half[l + 64], half[l + 96]];
            out[64 * c + l] = a & 15 | (c2 & 15) << 4;
            out[64 * c + 32 + l] = b & 15 | (d2 & 15) << 4;
            out[128 + 32 * c + l] = a >> 4 | (b >> 4) << 2 | (c2 >> 4) << 4 | (d2 >> 4) << 6;
        }
    }
}

/// Returns the two bits of number `i`.
fn crumb(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}

pub(super) fn from_q2(block: &[u8; 84], out: &mut [f32; N]) {
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (i, v) in out.iter_mut().enumerate() {
        let scale = block[i / 16];
        *v = d * f32::from(scale & 15) * f32::from(crumb(&block[16..80], i)) - dmin * f32::from(scale >> 4);
    }
}

pub(super) fn from_q3(block: &[u8; 110], out: &mut [f32; N]) {
    let d = half_at(block, 108);
    let scale = |j: usize| {
        let low = block[96 + j % 8] >> (j / 8 * 4) & 15;
        let high = block[104 + j % 4] >> (j / 4 * 2) & 3;
        d * (f32::from(low | high << 4) - 32.0)
    };
    let scales: [f32; 16] = std::array::from_fn(scale);
    for (i, v) in out.iter_mut().enumerate() {
        let below = if block[i % 32] >> (i / 32) & 1 == 1 { 0.0 } else { 4.0 };
        *v = scales[i / 16] * (f32::from(crumb(&block[32..96], i)) - below);
    }
}

/// Returns scale and minimum of the eight sub-blocks of a `Q4_K` or `Q5_K` block.
#[inline]
pub(crate) fn affine_scales(block: &[u8]) -> [(f32, f32); 8] {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, minima) = unpack_sixes(&block[4..16]);
    std::array::from_fn(|j| (d * f32::from(scales[j]), dmin * f32::from(minima[j])))
}

/// Returns the four bits of number `i`.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15
}

pub(super) fn from_q4(block: &[u8; 144], out: &mut [f32; N]) {
    let scales = affine_scales(block);
    for (i, v) in out.iter_mut().enumerate() {
        let (scale, minimum) = scales[i / 32];
        *v = scale * f32::from(nibble(&block[16..], i)) - minimum;
    }
}

pub(super) fn from_q5(block: &[u8; 176], out: &mut [f32; N]) {
    let scales = affine_scales(block);
    for (i, v) in out.iter_mut().enumerate() {
        let (scale, minimum) = scales[i / 32];
        let fifth = block[16 + i % 32] >> (i / 32) & 1;
        *v = scale * f32::from(nibble(&block[48..], i) | fifth << 4) - minimum;
    }
}

pub(super) fn from_q6(block: &[u8; 210], out: &mut [f32; N]) {
    let d = half_at(block, 208);
    for (i, v) in out.iter_mut().enumerate() {
        let (half, k, l) = (i / 128, i % 128 / 32, i % 32);
        let low = block[64 * half + 32 * (k & 1) + l] >> (k / 2 * 4) & 15;
        let high = block[128 + 32 * half + l] >> (2 * k) & 3;
        *v = d * f32::from(block[192 + i / 16].cast_signed()) * (f32::from(low | high << 4) - 32.0);
    }
}

/// `IQ4_XS`: `d | high bits of scales u16 | low bits of scales[4] | levels[128]`.
pub(super) fn from_iq4_xs(block: &[u8; 136], out: &mut [f32; N]) {
    let d = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let low = block[4 + j / 2] >> (j % 2 * 4) & 15;
        let scale = f32::from(low | ((high >> (2 * j) & 3) as u8) << 4) - 32.0;
        uneven(&block[8 + 16 * j..][..16], d * scale, out);
    }
}
