//! Blocks of ggml brought back, byte by byte instead of number by number, so that a compiler finds the vectors.

#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use crate::quant::ggml::{LONG, SHORT, half_at};
use crate::quant::ggml_k::affine_scales;

/// Runs a body for each block and its numbers. No closure: a compiler need not make it part of its caller, and then it lacks
/// the caller's instructions.
macro_rules! each {
    ($bytes:ident of $size:literal, $out:ident of $numbers:ident, |$block:ident, $v:ident| $body:block) => {
        let (bytes, _) = $bytes.as_chunks::<$size>();
        let (out, _) = $out.as_chunks_mut::<$numbers>();
        for ($block, $v) in bytes.iter().zip(out) $body
    };
}

/// Returns the halves of sixteen bytes: the low ones, then the high ones.
#[inline(always)]
fn halves(bytes: &[u8]) -> [u8; SHORT] {
    let mut halves = [0; SHORT];
    let (low, high) = halves.split_at_mut(SHORT / 2);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
    halves
}

/// Adds the fifth bits, of which number `i` has bit `i`.
#[inline(always)]
fn with_fifth(mut halves: [u8; SHORT], bits: &[u8]) -> [u8; SHORT] {
    let bits = u32::from_le_bytes([bits[0], bits[1], bits[2], bits[3]]);
    for (i, l) in halves.iter_mut().enumerate() {
        *l |= ((bits >> i & 1) << 4) as u8;
    }
    halves
}

#[inline(always)]
pub(super) fn q4_0(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 18, out of SHORT, |block, v| {
        let scale = half_at(block, 0);
        for (v, l) in v.iter_mut().zip(halves(&block[2..])) {
            *v = (f32::from(l) - 8.0) * scale;
        }
    });
}

#[inline(always)]
pub(super) fn q4_1(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 20, out of SHORT, |block, v| {
        let (scale, min) = (half_at(block, 0), half_at(block, 2));
        for (v, l) in v.iter_mut().zip(halves(&block[4..])) {
            *v = f32::from(l) * scale + min;
        }
    });
}

#[inline(always)]
pub(super) fn q5_0(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 22, out of SHORT, |block, v| {
        let scale = half_at(block, 0);
        for (v, l) in v.iter_mut().zip(with_fifth(halves(&block[6..]), &block[2..6])) {
            *v = (f32::from(l) - 16.0) * scale;
        }
    });
}

#[inline(always)]
pub(super) fn q5_1(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 24, out of SHORT, |block, v| {
        let (scale, min) = (half_at(block, 0), half_at(block, 2));
        for (v, l) in v.iter_mut().zip(with_fifth(halves(&block[8..]), &block[4..8])) {
            *v = f32::from(l) * scale + min;
        }
    });
}

#[inline(always)]
pub(super) fn q8_0(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 34, out of SHORT, |block, v| {
        let scale = half_at(block, 0);
        for (v, byte) in v.iter_mut().zip(&block[2..]) {
            *v = f32::from(byte.cast_signed()) * scale;
        }
    });
}

#[inline(always)]
pub(super) fn q2(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 84, out of LONG, |block, v| {
        let (d, dmin) = (half_at(block, 80), half_at(block, 82));
        for (j, v) in v.chunks_exact_mut(16).enumerate() {
            let (scale, min) = (d * f32::from(block[j] & 15), dmin * f32::from(block[j] >> 4));
            let shift = j % 8 / 2 * 2;
            for (v, byte) in v.iter_mut().zip(&block[16 + j / 8 * 32 + j % 2 * 16..][..16]) {
                *v = scale * (i32::from(*byte) >> shift & 3) as f32 - min;
            }
        }
    });
}

#[inline(always)]
pub(super) fn q3(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 110, out of LONG, |block, v| {
        let d = half_at(block, 108);
        for (j, v) in v.chunks_exact_mut(16).enumerate() {
            let low = block[96 + j % 8] >> (j / 8 * 4) & 15;
            let high = block[104 + j % 4] >> (j / 4 * 2) & 3;
            let scale = d * (f32::from(low | high << 4) - 32.0);
            let shift = j % 8 / 2 * 2;
            let low_bits = &block[32 + j / 8 * 32 + j % 2 * 16..][..16];
            let high_bits = &block[j % 2 * 16..][..16];
            for ((v, low), high) in v.iter_mut().zip(low_bits).zip(high_bits) {
                let bits = i32::from(*low) >> shift & 3 | (i32::from(*high) >> (j / 2) & 1) << 2;
                *v = scale * (bits - 4) as f32;
            }
        }
    });
}

#[inline(always)]
pub(super) fn q4(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 144, out of LONG, |block, v| {
        let scales = affine_scales(block);
        for (c, v) in v.chunks_exact_mut(64).enumerate() {
            let ((scale, min), (scale_above, min_above)) = (scales[2 * c], scales[2 * c + 1]);
            let (low, high) = v.split_at_mut(32);
            for ((byte, low), high) in block[16 + 32 * c..][..32].iter().zip(low).zip(high) {
                *low = scale * f32::from(byte & 15) - min;
                *high = scale_above * f32::from(byte >> 4) - min_above;
            }
        }
    });
}

#[inline(always)]
pub(super) fn q5(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 176, out of LONG, |block, v| {
        let scales = affine_scales(block);
        for (j, v) in v.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scales[j];
            let shift = j % 2 * 4;
            for ((v, byte), bits) in v.iter_mut().zip(&block[48 + j / 2 * 32..][..32]).zip(&block[16..48]) {
                *v = scale * (i32::from(*byte) >> shift & 15 | (i32::from(*bits) >> j & 1) << 4) as f32 - min;
            }
        }
    });
}

#[inline(always)]
pub(super) fn q6(bytes: &[u8], out: &mut [f32]) {
    each!(bytes of 210, out of LONG, |block, v| {
        let d = half_at(block, 208);
        for (j, v) in v.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(block[192 + j].cast_signed());
            // Which half, which group of 32 in it, and where in the group.
            let (half, k, within) = (j / 8, j % 8 / 2, j % 2 * 16);
            let low_bits = &block[64 * half + 32 * (k & 1) + within..][..16];
            let high_bits = &block[128 + 32 * half + within..][..16];
            for ((v, low), high) in v.iter_mut().zip(low_bits).zip(high_bits) {
                let bits = i32::from(*low) >> (k / 2 * 4) & 15 | (i32::from(*high) >> (2 * k) & 3) << 4;
                *v = scale * (bits - 32) as f32;
            }
        }
    });
}
