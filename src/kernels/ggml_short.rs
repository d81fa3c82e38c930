//! ggml's older types, written so that a compiler finds the vectors: no loop that a later number can leave early.
//!
//! Magnitudes are compared as integers, in whose order floats of one sign stand too; what is no number counts as zero, for no
//! comparison of floats is true of it.

#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use crate::quant::ggml::{SHORT, put_half};

type Block = [f32; SHORT];

/// The bits of infinity: those of what is no number are above, without their sign.
const INFINITE: u32 = 0x7F80_0000;

/// Returns the number with the largest magnitude, the first of equals.
#[inline(always)]
fn extreme(x: &Block) -> f32 {
    let mut magnitudes = [0u32; SHORT];
    let mut most = 0;
    for (m, v) in magnitudes.iter_mut().zip(x) {
        let bits = v.to_bits() & !(1 << 31);
        *m = if bits > INFINITE { 0 } else { bits };
        most = most.max(*m);
    }
    let mut first = u32::MAX;
    for (i, m) in (0u32..).zip(&magnitudes) {
        first = first.min(if *m == most { i } else { u32::MAX });
    }
    if most == 0 { 0.0 } else { x[first as usize % SHORT] }
}

/// Turns the order of negative floats round, as integers; its own inverse.
#[inline(always)]
fn turned(bits: i32) -> i32 {
    bits ^ (bits >> 31 & i32::MAX)
}

/// Returns the smallest and the largest number.
#[inline(always)]
fn range(x: &Block) -> (f32, f32) {
    let mut low = turned(f32::MAX.to_bits().cast_signed());
    let mut high = turned(f32::MIN.to_bits().cast_signed());
    for v in x {
        let bits = v.to_bits();
        let number = bits & !(1 << 31) <= INFINITE;
        let key = turned(bits.cast_signed());
        low = low.min(if number { key } else { i32::MAX });
        high = high.max(if number { key } else { i32::MIN });
    }
    let (low, high) = (f32::from_bits(turned(low).cast_unsigned()), f32::from_bits(turned(high).cast_unsigned()));
    if low == 0.0 { first_zero(x, high) } else { (low, high) }
}

/// Of zeros of both signs the first is the smallest, and likewise the largest.
#[inline(never)]
fn first_zero(x: &Block, high: f32) -> (f32, f32) {
    let zero = x.iter().copied().find(|v| *v == 0.0).unwrap_or(0.0);
    (zero, if high == 0.0 { zero } else { high })
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// Returns the levels of numbers brought into their range: cut, not rounded.
#[inline(always)]
fn levels(x: &Block, min: f32, inverse: f32, middle: f32, highest: i32) -> [u8; SHORT] {
    let mut levels = [0; SHORT];
    for (l, v) in levels.iter_mut().zip(x) {
        *l = (((v - min) * inverse + middle) as i32).clamp(0, highest).cast_unsigned() as u8;
    }
    levels
}

#[inline(always)]
fn pack(levels: &[u8; SHORT], out: &mut [u8]) {
    let (low, high) = levels.split_at(SHORT / 2);
    for ((byte, low), high) in out.iter_mut().zip(low).zip(high) {
        *byte = (low & 15) | (high & 15) << 4;
    }
}

#[inline(always)]
fn fifth_bits(levels: &[u8; SHORT]) -> [u8; 4] {
    let mut bits = 0u32;
    for (i, l) in levels.iter().enumerate() {
        bits |= u32::from(l >> 4 & 1) << i;
    }
    bits.to_le_bytes()
}

/// Runs a body for each block of numbers. No closure: a compiler need not make it part of its caller, and then it lacks the
/// caller's instructions.
macro_rules! each {
    ($values:ident, $out:ident, $bytes:literal, |$x:ident, $block:ident| $body:block) => {
        let (values, _) = $values.as_chunks::<SHORT>();
        let (out, _) = $out.as_chunks_mut::<$bytes>();
        for ($x, $block) in values.iter().zip(out) $body
    };
}

#[inline(always)]
pub(super) fn q4_0(values: &[f32], out: &mut [u8]) {
    each!(values, out, 18, |x, block| {
        let scale = extreme(x) / -8.0;
        let inverse = inverse(scale);
        put_half(block, 0, scale);
        pack(&levels(x, 0.0, inverse, 8.5, 15), &mut block[2..]);
    });
}

#[inline(always)]
pub(super) fn q4_1(values: &[f32], out: &mut [u8]) {
    each!(values, out, 20, |x, block| {
        let (min, max) = range(x);
        let scale = (max - min) / 15.0;
        let inverse = inverse(scale);
        put_half(block, 0, scale);
        put_half(block, 2, min);
        pack(&levels(x, min, inverse, 0.5, 15), &mut block[4..]);
    });
}

#[inline(always)]
pub(super) fn q5_0(values: &[f32], out: &mut [u8]) {
    each!(values, out, 22, |x, block| {
        let scale = extreme(x) / -16.0;
        let inverse = inverse(scale);
        let levels = levels(x, 0.0, inverse, 16.5, 31);
        put_half(block, 0, scale);
        block[2..6].copy_from_slice(&fifth_bits(&levels));
        pack(&levels, &mut block[6..]);
    });
}

#[inline(always)]
pub(super) fn q5_1(values: &[f32], out: &mut [u8]) {
    each!(values, out, 24, |x, block| {
        let (min, max) = range(x);
        let scale = (max - min) / 31.0;
        let inverse = inverse(scale);
        let levels = levels(x, min, inverse, 0.5, 31);
        put_half(block, 0, scale);
        put_half(block, 2, min);
        block[4..8].copy_from_slice(&fifth_bits(&levels));
        pack(&levels, &mut block[8..]);
    });
}

#[inline(always)]
pub(super) fn q8_0(values: &[f32], out: &mut [u8]) {
    each!(values, out, 34, |x, block| {
        let scale = extreme(x).abs() / 127.0;
        let inverse = inverse(scale);
        put_half(block, 0, scale);
        for (l, v) in block[2..].iter_mut().zip(x) {
            *l = ((v * inverse).round() as i8).cast_unsigned();
        }
    });
}
