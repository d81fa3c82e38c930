//! Several sub-blocks at once: one in each lane of a vector, so that every lane does the reference's operations in the
//! reference's order.
//!
//! The types here stand for instructions that the processor may lack. They are named only by functions of `ggml_k` that
//! enable these instructions, and those are called only where they were found.

#![expect(unsafe_code, reason = "instructions beyond the baseline are unsafe by nature; the note below says why they are there")]
#![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

use std::arch::x86_64 as arch;

/// The most lanes of any type.
pub(super) const MOST: usize = 16;

/// Numbers of several sub-blocks at the same place.
pub(super) type Column = [f32; MOST];

/// What the searches need. Comparisons with what is no number are false, as those of the language.
pub(super) trait Lanes {
    /// How many lanes there are.
    const COUNT: usize;
    /// A number per lane.
    type Floats: Copy;
    /// A truth per lane.
    type Mask: Copy;

    fn load(from: &Column) -> Self::Floats;
    fn store(v: Self::Floats, to: &mut Column);
    fn splat(v: f32) -> Self::Floats;
    fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sqrt(a: Self::Floats) -> Self::Floats;
    fn abs(a: Self::Floats) -> Self::Floats;
    fn less(a: Self::Floats, b: Self::Floats) -> Self::Mask;
    fn equal(a: Self::Floats, b: Self::Floats) -> Self::Mask;
    fn both(a: Self::Mask, b: Self::Mask) -> Self::Mask;
    fn any(a: Self::Mask) -> bool;
    fn select(mask: Self::Mask, yes: Self::Floats, no: Self::Floats) -> Self::Floats;
    /// Returns the nearest integers as `quant::ggml_fit::nearest` has them, within bounds.
    fn level(a: Self::Floats, lowest: i32, highest: i32) -> Self::Floats;
}

macro_rules! with {
    ($($name:ident($($arg:ident: $of:ty),*) -> $gives:ty { $body:expr })*) => {
        $(
            #[inline(always)]
            fn $name($($arg: $of),*) -> $gives {
                // SAFETY: the processor has the instruction, by the rule at the head of this file; where memory is touched, a
                // `Column` has room for all lanes.
                unsafe { $body }
            }
        )*
    };
}

/// Sixteen lanes of AVX-512 (F, BW, DQ and VL).
pub(super) struct Sixteen;

impl Lanes for Sixteen {
    const COUNT: usize = 16;
    type Floats = arch::__m512;
    type Mask = u16;

    with! {
        load(from: &Column) -> arch::__m512 { arch::_mm512_loadu_ps(from.as_ptr()) }
        store(v: arch::__m512, to: &mut Column) -> () { arch::_mm512_storeu_ps(to.as_mut_ptr(), v) }
        splat(v: f32) -> arch::__m512 { arch::_mm512_set1_ps(v) }
        add(a: arch::__m512, b: arch::__m512) -> arch::__m512 { arch::_mm512_add_ps(a, b) }
        sub(a: arch::__m512, b: arch::__m512) -> arch::__m512 { arch::_mm512_sub_ps(a, b) }
        mul(a: arch::__m512, b: arch::__m512) -> arch::__m512 { arch::_mm512_mul_ps(a, b) }
        div(a: arch::__m512, b: arch::__m512) -> arch::__m512 { arch::_mm512_div_ps(a, b) }
        sqrt(a: arch::__m512) -> arch::__m512 { arch::_mm512_sqrt_ps(a) }
        abs(a: arch::__m512) -> arch::__m512 { arch::_mm512_abs_ps(a) }
        less(a: arch::__m512, b: arch::__m512) -> u16 { arch::_mm512_cmp_ps_mask::<{ arch::_CMP_LT_OQ }>(a, b) }
        equal(a: arch::__m512, b: arch::__m512) -> u16 { arch::_mm512_cmp_ps_mask::<{ arch::_CMP_EQ_OQ }>(a, b) }
        select(mask: u16, yes: arch::__m512, no: arch::__m512) -> arch::__m512 { arch::_mm512_mask_blend_ps(mask, no, yes) }
        level(a: arch::__m512, lowest: i32, highest: i32) -> arch::__m512 {{
            let sum = arch::_mm512_castps_si512(arch::_mm512_add_ps(a, arch::_mm512_set1_ps(ROUNDER)));
            let low = arch::_mm512_and_si512(sum, arch::_mm512_set1_epi32(LOW_BITS));
            let nearest = arch::_mm512_sub_epi32(low, arch::_mm512_set1_epi32(MIDDLE));
            let bounded = arch::_mm512_max_epi32(arch::_mm512_min_epi32(nearest, arch::_mm512_set1_epi32(highest)), arch::_mm512_set1_epi32(lowest));
            arch::_mm512_cvtepi32_ps(bounded)
        }}
    }

    #[inline(always)]
    fn both(a: u16, b: u16) -> u16 {
        a & b
    }

    #[inline(always)]
    fn any(a: u16) -> bool {
        a != 0
    }
}

/// Eight lanes of AVX2.
pub(super) struct Eight;

impl Lanes for Eight {
    const COUNT: usize = 8;
    type Floats = arch::__m256;
    type Mask = arch::__m256;

    with! {
        load(from: &Column) -> arch::__m256 { arch::_mm256_loadu_ps(from.as_ptr()) }
        store(v: arch::__m256, to: &mut Column) -> () { arch::_mm256_storeu_ps(to.as_mut_ptr(), v) }
        splat(v: f32) -> arch::__m256 { arch::_mm256_set1_ps(v) }
        add(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_add_ps(a, b) }
        sub(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_sub_ps(a, b) }
        mul(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_mul_ps(a, b) }
        div(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_div_ps(a, b) }
        sqrt(a: arch::__m256) -> arch::__m256 { arch::_mm256_sqrt_ps(a) }
        abs(a: arch::__m256) -> arch::__m256 { arch::_mm256_andnot_ps(arch::_mm256_set1_ps(-0.0), a) }
        less(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_cmp_ps::<{ arch::_CMP_LT_OQ }>(a, b) }
        equal(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_cmp_ps::<{ arch::_CMP_EQ_OQ }>(a, b) }
        both(a: arch::__m256, b: arch::__m256) -> arch::__m256 { arch::_mm256_and_ps(a, b) }
        any(a: arch::__m256) -> bool { arch::_mm256_movemask_ps(a) != 0 }
        select(mask: arch::__m256, yes: arch::__m256, no: arch::__m256) -> arch::__m256 { arch::_mm256_blendv_ps(no, yes, mask) }
        level(a: arch::__m256, lowest: i32, highest: i32) -> arch::__m256 {{
            let sum = arch::_mm256_castps_si256(arch::_mm256_add_ps(a, arch::_mm256_set1_ps(ROUNDER)));
            let low = arch::_mm256_and_si256(sum, arch::_mm256_set1_epi32(LOW_BITS));
            let nearest = arch::_mm256_sub_epi32(low, arch::_mm256_set1_epi32(MIDDLE));
            let bounded = arch::_mm256_max_epi32(arch::_mm256_min_epi32(nearest, arch::_mm256_set1_epi32(highest)), arch::_mm256_set1_epi32(lowest));
            arch::_mm256_cvtepi32_ps(bounded)
        }}
    }
}

use crate::quant::ggml_fit::ROUNDER;

/// The bits of a sum with [`ROUNDER`] that hold the integer, and the integer that stands for 0 (`quant::ggml_fit::nearest`).
const LOW_BITS: i32 = 0x007F_FFFF;
const MIDDLE: i32 = 0x0040_0000;
