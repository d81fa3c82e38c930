//! The block types of ggml, as fast as the processor allows and to the bit what `quant::ggml` makes of finite numbers.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "functions with more instructions than the baseline are called; the notes say why")
)]

use crate::quant::{QuantError, ggml};
use crate::weights::DType;

/// Instructions that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// What every processor of the kind has: the plain codecs.
    Plain,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Instructions {
    /// All kinds, the plainest first.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Avx2, Self::Avx512];

    /// Returns whether this processor has them. Asked once by the standard library, and remembered.
    #[must_use]
    pub fn are_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Plain => true,
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c"),
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
        };
        #[cfg(not(target_arch = "x86_64"))]
        return self == Self::Plain;
    }

    /// Returns the best that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|i| i.are_here()).unwrap_or(Self::Plain)
    }
}

/// Stores whole blocks of numbers, as [`ggml::quantise`] does.
pub fn quantise(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    quantise_with(Instructions::best(), dtype, values, out)
}

/// Brings whole blocks back, as [`ggml::dequantise`] does.
pub fn dequantise(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    dequantise_with(Instructions::best(), dtype, bytes, out)
}

/// Stores whole blocks with these instructions, plainly where they are not here.
pub fn quantise_with(instructions: Instructions, dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    ggml::check(dtype, values.len(), out.len())?;
    #[cfg(target_arch = "x86_64")]
    if ggml::WRITTEN.contains(&dtype) && instructions.are_here() {
        match instructions {
            Instructions::Plain => {}
            Instructions::Avx2 => {
                // SAFETY: the line above found the instructions.
                unsafe { vectors::store_avx2(dtype, values, out) };
                return Ok(());
            }
            Instructions::Avx512 => {
                // SAFETY: the line above found the instructions.
                unsafe { vectors::store_avx512(dtype, values, out) };
                return Ok(());
            }
        }
    }
    ggml::quantise(dtype, values, out)
}

/// Brings whole blocks back with these instructions, plainly where they are not here.
pub fn dequantise_with(instructions: Instructions, dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    ggml::check(dtype, out.len(), bytes.len())?;
    #[cfg(target_arch = "x86_64")]
    if ggml::WRITTEN.contains(&dtype) && instructions.are_here() {
        match instructions {
            Instructions::Plain => {}
            Instructions::Avx2 => {
                // SAFETY: the line above found the instructions.
                unsafe { vectors::restore_avx2(dtype, bytes, out) };
                return Ok(());
            }
            Instructions::Avx512 => {
                // SAFETY: the line above found the instructions.
                unsafe { vectors::restore_avx512(dtype, bytes, out) };
                return Ok(());
            }
        }
    }
    ggml::dequantise(dtype, bytes, out)
}

/// The same code, compiled for each kind of instructions.
#[cfg(target_arch = "x86_64")]
mod vectors {
    #![expect(clippy::inline_always, reason = "what is not part of the caller has not the caller's instructions")]

    use super::super::ggml_lanes::{Eight, Lanes, Sixteen};
    use super::super::{ggml_k, ggml_read, ggml_short};
    use super::DType;

    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn store_avx2(dtype: DType, values: &[f32], out: &mut [u8]) {
        store::<Eight>(dtype, values, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn store_avx512(dtype: DType, values: &[f32], out: &mut [u8]) {
        store::<Sixteen>(dtype, values, out);
    }

    #[target_feature(enable = "avx2,f16c")]
    pub(super) fn restore_avx2(dtype: DType, bytes: &[u8], out: &mut [f32]) {
        restore(dtype, bytes, out);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn restore_avx512(dtype: DType, bytes: &[u8], out: &mut [f32]) {
        restore(dtype, bytes, out);
    }

    /// The caller has checked that the type is one of those that are written.
    #[inline(always)]
    fn store<L: Lanes>(dtype: DType, values: &[f32], out: &mut [u8]) {
        match dtype {
            DType::Q4_0 => ggml_short::q4_0(values, out),
            DType::Q4_1 => ggml_short::q4_1(values, out),
            DType::Q5_0 => ggml_short::q5_0(values, out),
            DType::Q5_1 => ggml_short::q5_1(values, out),
            DType::Q8_0 => ggml_short::q8_0(values, out),
            DType::Q2_K => ggml_k::store::<L, ggml_k::Q2, _, _, _>(values, out),
            DType::Q3_K => ggml_k::store::<L, ggml_k::Q3, _, _, _>(values, out),
            DType::Q4_K => ggml_k::store::<L, ggml_k::Q4, _, _, _>(values, out),
            DType::Q5_K => ggml_k::store::<L, ggml_k::Q5, _, _, _>(values, out),
            DType::Q6_K => ggml_k::store::<L, ggml_k::Q6, _, _, _>(values, out),
            _ => {}
        }
    }

    #[inline(always)]
    fn restore(dtype: DType, bytes: &[u8], out: &mut [f32]) {
        match dtype {
            DType::Q4_0 => ggml_read::q4_0(bytes, out),
            DType::Q4_1 => ggml_read::q4_1(bytes, out),
            DType::Q5_0 => ggml_read::q5_0(bytes, out),
            DType::Q5_1 => ggml_read::q5_1(bytes, out),
            DType::Q8_0 => ggml_read::q8_0(bytes, out),
            DType::Q2_K => ggml_read::q2(bytes, out),
            DType::Q3_K => ggml_read::q3(bytes, out),
            DType::Q4_K => ggml_read::q4(bytes, out),
            DType::Q5_K => ggml_read::q5(bytes, out),
            DType::Q6_K => ggml_read::q6(bytes, out),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(instructions: Instructions, dtype: DType, values: &[f32]) -> Vec<u8> {
        let mut out = vec![0xAA; dtype.bytes_of(values.len() as u64).unwrap() as usize];
        quantise_with(instructions, dtype, values, &mut out).unwrap();
        out
    }

    fn restored(instructions: Instructions, dtype: DType, bytes: &[u8]) -> Vec<u32> {
        let (together, size) = dtype.block();
        let mut out = vec![f32::NAN; bytes.len() / size as usize * together as usize];
        dequantise_with(instructions, dtype, bytes, &mut out).unwrap();
        out.into_iter().map(f32::to_bits).collect()
    }

    fn same(values: &[f32]) {
        for dtype in ggml::WRITTEN {
            let plain = stored(Instructions::Plain, *dtype, values);
            let back = restored(Instructions::Plain, *dtype, &plain);
            for instructions in [Instructions::Avx2, Instructions::Avx512] {
                assert_eq!(stored(instructions, *dtype, values), plain, "{dtype} with {instructions:?}");
                assert_eq!(restored(instructions, *dtype, &plain), back, "{dtype} with {instructions:?}");
            }
        }
    }

    /// A sub-block of some kind: numbers of a scale, zeros of either sign, a constant, numbers of one sign, few levels.
    fn sub_block() -> impl Strategy<Value = Vec<f32>> {
        let scale = (-30i32..16).prop_map(|p| 2f32.powi(p));
        let spread = (prop::collection::vec(-1f32..1.0, 16), scale.clone()).prop_map(|(v, s)| v.iter().map(|v| v * s).collect());
        let constant = (prop::sample::select(vec![0.0f32, -0.0, 0.01, -0.01, 1e-20, -1e-30, 3e-39, 60000.0]), 0usize..16, scale.clone())
            .prop_map(|(v, at, odd)| (0..16).map(|i| if i == at && odd > 0.1 { odd } else { v }).collect());
        let signs = prop::collection::vec(prop::sample::select(vec![0.0f32, -0.0]), 16);
        let coarse = (prop::collection::vec(-8i8..8, 16), scale).prop_map(|(v, s)| v.iter().map(|v| f32::from(*v) * s).collect());
        prop_oneof![4 => spread, 1 => constant, 1 => signs, 3 => coarse]
    }

    proptest! {
        #[test]
        fn kernels_are_the_plain_codecs_to_the_bit(subs in prop::collection::vec(sub_block(), 80)) {
            // Five superblocks: lanes that hold two of them are left half empty once.
            same(&subs.concat());
        }

        #[test]
        fn any_blocks_are_read_alike(bytes in prop::collection::vec(any::<u8>(), 210 * 3)) {
            for dtype in ggml::WRITTEN {
                let bytes = &bytes[..dtype.block().1 as usize * 3];
                let plain = restored(Instructions::Plain, *dtype, bytes);
                for instructions in [Instructions::Avx2, Instructions::Avx512] {
                    let numbers = |bits: &[u32]| -> Vec<Option<u32>> {
                        bits.iter().map(|b| Some(*b).filter(|b| !f32::from_bits(*b).is_nan())).collect()
                    };
                    prop_assert_eq!(numbers(&restored(instructions, *dtype, bytes)), numbers(&plain), "{} {:?}", dtype, instructions);
                }
            }
        }

        #[test]
        fn what_is_no_number_harms_nobody(bits in prop::collection::vec(any::<u32>(), 768)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            for dtype in ggml::WRITTEN {
                for instructions in Instructions::ALL {
                    stored(instructions, *dtype, &values);
                }
            }
        }
    }

    #[test]
    fn nothing_is_stored_and_other_types_are_refused() {
        assert_eq!(quantise(DType::Q4_K, &[], &mut []), Ok(()));
        assert_eq!(quantise(DType::Iq4Nl, &[0.0; 32], &mut [0; 18]), Err(QuantError::NoCodec { dtype: DType::Iq4Nl }));
        assert!(quantise(DType::Q4_K, &[0.0; 256], &mut [0; 143]).is_err());
        let mut out = [1.0; 32];
        assert_eq!(dequantise(DType::Iq4Nl, &[0; 18], &mut out), Ok(()));
        assert!(out.iter().all(|v| *v == 0.0));
        assert!(Instructions::best().are_here());
    }
}
