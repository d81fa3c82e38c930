//! Halves as singles in a processor's own words: it has an instruction for a register full of them.

#![expect(unsafe_code, reason = "numbers are loaded and stored through pointers")]

use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_storeu_ps, _mm512_cvtph_ps, _mm512_storeu_ps};

use crate::quant::{QuantError, floats};
use crate::weights::DType;

/// [`floats::widen`], with eight halves at once.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen_eight(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if dtype != DType::F16 || bytes.len() != 2 * out.len() {
        return floats::widen(dtype, bytes, out);
    }
    let (runs, rest) = out.as_chunks_mut::<8>();
    let (halves, last) = bytes.split_at(16 * runs.len());
    for (run, halves) in runs.iter_mut().zip(halves.as_chunks::<16>().0) {
        // SAFETY: the arrays have the eight halves and singles that are loaded and stored, and neither asks for alignment.
        unsafe { _mm256_storeu_ps(run.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()))) };
    }
    floats::widen(dtype, last, rest)
}

/// [`floats::widen`], with sixteen halves at once.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn widen_sixteen(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if dtype != DType::F16 || bytes.len() != 2 * out.len() {
        return floats::widen(dtype, bytes, out);
    }
    let (runs, rest) = out.as_chunks_mut::<16>();
    let (halves, last) = bytes.split_at(32 * runs.len());
    for (run, halves) in runs.iter_mut().zip(halves.as_chunks::<32>().0) {
        // SAFETY: the arrays have the sixteen halves and singles that are loaded and stored, and neither asks for alignment.
        unsafe { _mm512_storeu_ps(run.as_mut_ptr(), _mm512_cvtph_ps(_mm256_loadu_si256(halves.as_ptr().cast()))) };
    }
    floats::widen(dtype, last, rest)
}
