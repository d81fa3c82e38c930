//! ggml's older types with vectors of 256 bits: a block of 32 numbers lies in four of them.
//!
//! What is no number is passed over, as comparisons of floats that are false of it pass it over in the plain codecs.
//! Every function here is part of one that enables AVX2 and F16C, and nobody else calls it: `ggml` sees to that.

#![expect(unsafe_code, reason = "instructions beyond the baseline are unsafe by nature; the notes say why they are there")]
#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use std::arch::x86_64::{
    __m256, __m256i, _CMP_EQ_OQ, _CMP_ORD_Q, _mm_max_ps, _mm_max_ss, _mm_min_ps, _mm_min_ss, _mm_movehl_ps, _mm_shuffle_ps, _mm256_add_ps,
    _mm256_and_ps, _mm256_andnot_ps, _mm256_blendv_ps, _mm256_castps256_ps128, _mm256_cmp_ps, _mm256_cvttps_epi32, _mm256_extractf128_ps,
    _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_mul_ps, _mm256_or_ps,
    _mm256_packs_epi16, _mm256_packs_epi32, _mm256_permutevar8x32_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_slli_epi16,
    _mm256_storeu_si256, _mm256_sub_ps,
};

use crate::quant::ggml::{SHORT, put_half};

type Block = [f32; SHORT];
type Levels = [u8; SHORT];

/// The largest number below a half. Added in a number's own direction before the rest is cut, it rounds halves away from zero.
const BELOW_HALF: f32 = 0.499_999_97;

#[inline(always)]
fn load(x: &Block) -> [__m256; 4] {
    // SAFETY: a block has the 32 numbers that are read; the instructions are there by the rule at the head of this file.
    unsafe {
        let at = x.as_ptr();
        [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8)), _mm256_loadu_ps(at.add(16)), _mm256_loadu_ps(at.add(24))]
    }
}

/// Returns the number with the largest magnitude, the first of equals.
#[inline(always)]
fn extreme(x: &Block) -> f32 {
    let mut v = load(x);
    // SAFETY: the instructions are there by the rule at the head of this file.
    let (most, places) = unsafe {
        let sign = _mm256_set1_ps(-0.0);
        for v in &mut v {
            *v = _mm256_and_ps(_mm256_andnot_ps(sign, *v), _mm256_cmp_ps::<_CMP_ORD_Q>(*v, *v));
        }
        let most = _mm256_max_ps(_mm256_max_ps(v[0], v[1]), _mm256_max_ps(v[2], v[3]));
        let four = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps::<1>(most));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        let most = std::arch::x86_64::_mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)));
        let all = _mm256_set1_ps(most);
        let mut places = 0;
        for v in v.into_iter().rev() {
            places = places << 8 | _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(v, all)).cast_unsigned();
        }
        (most, places)
    };
    if most == 0.0 { 0.0 } else { x[places.trailing_zeros() as usize % SHORT] }
}

/// Returns the smallest and the largest number.
#[inline(always)]
fn range(x: &Block) -> (f32, f32) {
    let v = load(x);
    // SAFETY: the instructions are there by the rule at the head of this file.
    let (low, high) = unsafe {
        let (mut low, mut high) = (_mm256_set1_ps(f32::MAX), _mm256_set1_ps(f32::MIN));
        for v in v {
            let number = _mm256_cmp_ps::<_CMP_ORD_Q>(v, v);
            low = _mm256_min_ps(low, _mm256_blendv_ps(low, v, number));
            high = _mm256_max_ps(high, _mm256_blendv_ps(high, v, number));
        }
        let four = _mm_min_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps::<1>(low));
        let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
        let low = std::arch::x86_64::_mm_cvtss_f32(_mm_min_ss(two, _mm_shuffle_ps::<1>(two, two)));
        let four = _mm_max_ps(_mm256_castps256_ps128(high), _mm256_extractf128_ps::<1>(high));
        let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        (low, std::arch::x86_64::_mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two))))
    };
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

/// Cuts numbers between −128 and 127 to bytes.
#[inline(always)]
fn bytes(v: [__m256; 4]) -> __m256i {
    // SAFETY: the instructions are there by the rule at the head of this file.
    unsafe {
        let first = _mm256_packs_epi32(_mm256_cvttps_epi32(v[0]), _mm256_cvttps_epi32(v[1]));
        let second = _mm256_packs_epi32(_mm256_cvttps_epi32(v[2]), _mm256_cvttps_epi32(v[3]));
        let packed = _mm256_packs_epi16(first, second);
        // Packing keeps the halves of a vector apart.
        _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }
}

/// Returns the levels of numbers brought into their range: cut, not rounded; and the fifth bits of all.
#[inline(always)]
fn levels(x: &Block, min: f32, inverse: f32, middle: f32, highest: f32) -> (Levels, u32) {
    let mut v = load(x);
    let mut levels = [0; SHORT];
    // SAFETY: the levels are the 32 bytes that are written; the instructions are there by the rule at the head of this file.
    let fifths = unsafe {
        let (min, inverse, middle) = (_mm256_set1_ps(min), _mm256_set1_ps(inverse), _mm256_set1_ps(middle));
        let (zero, highest) = (_mm256_set1_ps(0.0), _mm256_set1_ps(highest));
        for v in &mut v {
            let moved = _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(*v, min), inverse), middle);
            // In this order what is no number becomes zero.
            *v = _mm256_max_ps(_mm256_min_ps(highest, moved), zero);
        }
        let bytes = bytes(v);
        _mm256_storeu_si256(levels.as_mut_ptr().cast(), bytes);
        _mm256_movemask_epi8(_mm256_slli_epi16::<3>(bytes)).cast_unsigned()
    };
    (levels, fifths)
}

/// Returns the nearest integers, halves away from zero.
#[inline(always)]
fn rounded(x: &Block, inverse: f32) -> Levels {
    let mut v = load(x);
    let mut levels = [0; SHORT];
    // SAFETY: the levels are the 32 bytes that are written; the instructions are there by the rule at the head of this file.
    unsafe {
        let (inverse, sign, half) = (_mm256_set1_ps(inverse), _mm256_set1_ps(-0.0), _mm256_set1_ps(BELOW_HALF));
        let (low, high) = (_mm256_set1_ps(-128.0), _mm256_set1_ps(127.0));
        for v in &mut v {
            let scaled = _mm256_mul_ps(*v, inverse);
            let moved = _mm256_add_ps(scaled, _mm256_or_ps(_mm256_and_ps(scaled, sign), half));
            let bounded = _mm256_max_ps(_mm256_min_ps(high, moved), low);
            *v = _mm256_and_ps(bounded, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
        }
        _mm256_storeu_si256(levels.as_mut_ptr().cast(), bytes(v));
    }
    levels
}

#[inline(always)]
fn pack(levels: &Levels, out: &mut [u8]) {
    let (low, high) = levels.split_at(SHORT / 2);
    for ((byte, low), high) in out.iter_mut().zip(low).zip(high) {
        *byte = (low & 15) | (high & 15) << 4;
    }
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
        put_half(block, 0, scale);
        pack(&levels(x, 0.0, inverse(scale), 8.5, 15.0).0, &mut block[2..]);
    });
}

#[inline(always)]
pub(super) fn q4_1(values: &[f32], out: &mut [u8]) {
    each!(values, out, 20, |x, block| {
        let (min, max) = range(x);
        let scale = (max - min) / 15.0;
        put_half(block, 0, scale);
        put_half(block, 2, min);
        pack(&levels(x, min, inverse(scale), 0.5, 15.0).0, &mut block[4..]);
    });
}

#[inline(always)]
pub(super) fn q5_0(values: &[f32], out: &mut [u8]) {
    each!(values, out, 22, |x, block| {
        let scale = extreme(x) / -16.0;
        let (levels, fifths) = levels(x, 0.0, inverse(scale), 16.5, 31.0);
        put_half(block, 0, scale);
        block[2..6].copy_from_slice(&fifths.to_le_bytes());
        pack(&levels, &mut block[6..]);
    });
}

#[inline(always)]
pub(super) fn q5_1(values: &[f32], out: &mut [u8]) {
    each!(values, out, 24, |x, block| {
        let (min, max) = range(x);
        let scale = (max - min) / 31.0;
        let (levels, fifths) = levels(x, min, inverse(scale), 0.5, 31.0);
        put_half(block, 0, scale);
        put_half(block, 2, min);
        block[4..8].copy_from_slice(&fifths.to_le_bytes());
        pack(&levels, &mut block[8..]);
    });
}

#[inline(always)]
pub(super) fn q8_0(values: &[f32], out: &mut [u8]) {
    each!(values, out, 34, |x, block| {
        let scale = extreme(x).abs() / 127.0;
        put_half(block, 0, scale);
        block[2..].copy_from_slice(&rounded(x, inverse(scale)));
    });
}
