//! Nearest codes of NF4 in a processor's own words, how many of 15 thresholds lie below a number, and what codes stand for.

#![expect(unsafe_code, reason = "numbers are loaded through pointers")]

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _CMP_GT_OQ, _CMP_ORD_Q, _mm_cvtsi64_si128, _mm_cvtsi128_si32, _mm_cvtsi128_si64, _mm_set1_epi32,
    _mm_shuffle_epi8, _mm256_and_ps, _mm256_castps_si256, _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_loadu_ps, _mm256_mul_ps,
    _mm256_or_si256, _mm256_permutevar8x32_epi32, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_slli_epi64,
    _mm256_srli_epi64, _mm256_sub_epi32, _mm512_add_epi32, _mm512_cmp_ps_mask, _mm512_cvtepi64_epi8, _mm512_cvtepu8_epi64, _mm512_loadu_ps,
    _mm512_mask_add_epi32, _mm512_maskz_mov_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_permutexvar_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_ps,
};

use crate::quant::nf4::{THRESHOLDS, dequantise_with, quantise_with};
use crate::quant::{QuantError, Tally};

/// [`crate::quant::nf4::quantise`] for eight numbers at once.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn quantise_eight(values: &[f32], block: usize, packed: &mut [u8], absmax: &mut [f32]) -> Result<Tally, QuantError> {
    quantise_with(values, block, packed, absmax, |values, factor, packed| {
        for (run, bytes) in values.as_chunks().0.iter().zip(packed.as_chunks_mut().0) {
            *bytes = pack_eight(run, factor);
        }
    })
}

/// [`crate::quant::nf4::quantise`] for sixteen numbers at once.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn quantise_sixteen(values: &[f32], block: usize, packed: &mut [u8], absmax: &mut [f32]) -> Result<Tally, QuantError> {
    quantise_with(values, block, packed, absmax, |values, factor, packed| {
        for (run, bytes) in values.as_chunks().0.iter().zip(packed.as_chunks_mut().0) {
            *bytes = pack_sixteen(run, factor);
        }
    })
}

/// [`crate::quant::nf4::dequantise`] for sixteen numbers at once.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn dequantise_sixteen(
    codebook: &[f32; 16],
    packed: &[u8],
    absmax: &[f32],
    block: usize,
    out: &mut [f32],
) -> Result<(), QuantError> {
    dequantise_with(packed, absmax, block, out, |packed, absmax, out| {
        let (runs, rest) = out.as_chunks_mut();
        // A short block of 15 has bytes for 16.
        let (bytes, last) = packed.split_at(runs.len() * 8);
        for (run, bytes) in runs.iter_mut().zip(bytes.as_chunks().0) {
            *run = unpack_sixteen(codebook, *bytes, absmax);
        }
        for (pair, byte) in rest.chunks_mut(2).zip(last) {
            for (value, code) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
                *value = codebook[usize::from(code)] * absmax;
            }
        }
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn pack_eight(run: &[f32; 8], factor: f32) -> [u8; 4] {
    // SAFETY: the array has the eight singles that are loaded, and loading asks for no alignment.
    let values: __m256 = unsafe { _mm256_loadu_ps(run.as_ptr()) };
    let scaled = _mm256_mul_ps(values, _mm256_set1_ps(factor));
    // What is no number becomes 0.
    let scaled = _mm256_and_ps(scaled, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
    let mut codes: __m256i = _mm256_setzero_si256();
    for threshold in THRESHOLDS {
        // A lane that compares is -1.
        let above = _mm256_cmp_ps::<_CMP_GT_OQ>(scaled, _mm256_set1_ps(threshold));
        codes = _mm256_sub_epi32(codes, _mm256_castps_si256(above));
    }
    let pairs = _mm256_or_si256(_mm256_slli_epi64::<4>(codes), _mm256_srli_epi64::<32>(codes));
    let low = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
    // The lowest byte of each of four lanes.
    _mm_cvtsi128_si32(_mm_shuffle_epi8(low, _mm_set1_epi32(0x0C08_0400))).to_le_bytes()
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
fn pack_sixteen(run: &[f32; 16], factor: f32) -> [u8; 8] {
    /// The thresholds and one that no search looks at.
    const TABLE: [f32; 16] = {
        let mut table = [f32::INFINITY; 16];
        let mut at = 0;
        while at < THRESHOLDS.len() {
            table[at] = THRESHOLDS[at];
            at += 1;
        }
        table
    };
    // SAFETY: either array has the sixteen singles that are loaded, and loading asks for no alignment.
    let (values, table): (__m512, __m512) = unsafe { (_mm512_loadu_ps(run.as_ptr()), _mm512_loadu_ps(TABLE.as_ptr())) };
    let scaled = _mm512_mul_ps(values, _mm512_set1_ps(factor));
    // What is no number becomes 0.
    let scaled = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_ORD_Q>(scaled, scaled), scaled);
    let mut codes: __m512i = _mm512_setzero_si512();
    // The thresholds ascend, so that halving finds how many are below.
    for step in [8, 4, 2, 1] {
        let threshold = _mm512_permutexvar_ps(_mm512_add_epi32(codes, _mm512_set1_epi32(step - 1)), table);
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(scaled, threshold);
        codes = _mm512_mask_add_epi32(codes, above, codes, _mm512_set1_epi32(step));
    }
    let pairs = _mm512_or_si512(_mm512_slli_epi64::<4>(codes), _mm512_srli_epi64::<32>(codes));
    _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(pairs)).to_le_bytes()
}

#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
fn unpack_sixteen(codebook: &[f32; 16], bytes: [u8; 8], absmax: f32) -> [f32; 16] {
    // A byte in each lane of 64 bits: its high half below, its low half above.
    let lanes = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
    let codes = _mm512_or_si512(_mm512_srli_epi64::<4>(lanes), _mm512_slli_epi64::<32>(lanes));
    // SAFETY: the array has the sixteen singles that are loaded, and loading asks for no alignment.
    let table: __m512 = unsafe { _mm512_loadu_ps(codebook.as_ptr()) };
    // Of a lane the lowest four bits are looked at.
    let scaled = _mm512_mul_ps(_mm512_permutexvar_ps(codes, table), _mm512_set1_ps(absmax));
    let mut run = [0.0; 16];
    // SAFETY: the array has room for the sixteen singles that are stored, and storing asks for no alignment.
    unsafe { _mm512_storeu_ps(run.as_mut_ptr(), scaled) };
    run
}
