//! ggml's older block types: 32 numbers with one scale, some with a minimum (`ggml/src/ggml-quants.c`).
//!
//! A byte holds numbers `i` and `i + 16`, the first of them in its low half.

use super::ggml::{half_at, put_half};

const N: usize = 32;
const HALF: usize = N / 2;

/// Returns the number with the largest magnitude, the first of equals, with its sign.
fn extreme(x: &[f32; N]) -> f32 {
    let (mut magnitude, mut extreme) = (0.0, 0.0);
    for v in x {
        if magnitude < v.abs() {
            magnitude = v.abs();
            extreme = *v;
        }
    }
    extreme
}

/// Returns the smallest and the largest number.
fn range(x: &[f32; N]) -> (f32, f32) {
    let (mut min, mut max) = (f32::MAX, f32::MIN);
    for v in x {
        if *v < min {
            min = *v;
        }
        if *v > max {
            max = *v;
        }
    }
    (min, max)
}

/// Returns one over the scale, which is kept unrounded for storing; 0 where the scale is.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Returns the level of a number that was brought into the range of levels: cut, not rounded.
fn level(v: f32, highest: i32) -> u8 {
    (v as i32).clamp(0, highest).cast_unsigned() as u8
}

fn pack(levels: &[u8; N], out: &mut [u8]) {
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = (levels[i] & 15) | (levels[i + HALF] & 15) << 4;
    }
}

fn unpack(nibbles: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| if i < HALF { nibbles[i] & 15 } else { nibbles[i - HALF] >> 4 })
}

/// Returns the fifth bits, number `i` in bit `i`.
fn fifth_bits(levels: &[u8; N]) -> [u8; 4] {
    let bits = levels.iter().enumerate().fold(0u32, |bits, (i, l)| bits | u32::from(l >> 4 & 1) << i);
    bits.to_le_bytes()
}

fn with_fifth_bits(nibbles: [u8; N], bits: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| nibbles[i] | (bits[i / 8] >> (i % 8) & 1) << 4)
}

pub(super) fn q4_0(x: &[f32; N], out: &mut [u8; 18]) {
    let scale = extreme(x) / -8.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    pack(&x.map(|v| level(v * inverse + 8.5, 15)), &mut out[2..]);
}

pub(super) fn q4_1(x: &[f32; N], out: &mut [u8; 20]) {
    let (min, max) = range(x);
    let scale = (max - min) / 15.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    put_half(out, 2, min);
    pack(&x.map(|v| level((v - min) * inverse + 0.5, 15)), &mut out[4..]);
}

pub(super) fn q5_0(x: &[f32; N], out: &mut [u8; 22]) {
    let scale = extreme(x) / -16.0;
    let inverse = inverse(scale);
    let levels = x.map(|v| level(v * inverse + 16.5, 31));
    put_half(out, 0, scale);
    out[2..6].copy_from_slice(&fifth_bits(&levels));
    pack(&levels, &mut out[6..]);
}

pub(super) fn q5_1(x: &[f32; N], out: &mut [u8; 24]) {
    let (min, max) = range(x);
    let scale = (max - min) / 31.0;
    let inverse = inverse(scale);
    let levels = x.map(|v| level((v - min) * inverse + 0.5, 31));
    put_half(out, 0, scale);
    put_half(out, 2, min);
    out[4..8].copy_from_slice(&fifth_bits(&levels));
    pack(&levels, &mut out[8..]);
}

pub(super) fn q8_0(x: &[f32; N], out: &mut [u8; 34]) {
    let scale = extreme(x).abs() / 127.0;
    let inverse = inverse(scale);
    put_half(out, 0, scale);
    for (v, byte) in x.iter().zip(&mut out[2..]) {
        // Half away from zero, as C's roundf.
        *byte = ((v * inverse).round() as i8).cast_unsigned();
    }
}

pub(super) fn from_q4_0(block: &[u8; 18], out: &mut [f32; N]) {
    let scale = half_at(block, 0);
    *out = unpack(&block[2..]).map(|l| (f32::from(l) - 8.0) * scale);
}

pub(super) fn from_q4_1(block: &[u8; 20], out: &mut [f32; N]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    *out = unpack(&block[4..]).map(|l| f32::from(l) * scale + min);
}

pub(super) fn from_q5_0(block: &[u8; 22], out: &mut [f32; N]) {
    let scale = half_at(block, 0);
    *out = with_fifth_bits(unpack(&block[6..]), &block[2..6]).map(|l| (f32::from(l) - 16.0) * scale);
}

pub(super) fn from_q5_1(block: &[u8; 24], out: &mut [f32; N]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    *out = with_fifth_bits(unpack(&block[8..]), &block[4..8]).map(|l| f32::from(l) * scale + min);
}

pub(super) fn from_q8_0(block: &[u8; 34], out: &mut [f32; N]) {
    let scale = half_at(block, 0);
    for (v, byte) in out.iter_mut().zip(&block[2..]) {
        *v = f32::from(byte.cast_signed()) * scale;
    }
}

/// The levels of the IQ4 types, which are not evenly spaced (`kvalues_iq4nl`).
pub const UNEVEN: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Restores 32 numbers of an IQ4 type from their nibbles.
pub(super) fn uneven(nibbles: &[u8], scale: f32, out: &mut [f32]) {
    for (v, l) in out.iter_mut().zip(unpack(nibbles)) {
        *v = scale * f32::from(UNEVEN[usize::from(l)]);
    }
}

pub(super) fn from_iq4_nl(block: &[u8; 18], out: &mut [f32; N]) {
    uneven(&block[2..], half_at(block, 0), out);
}
