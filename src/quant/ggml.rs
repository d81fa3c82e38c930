//! The block types of ggml: which codec belongs to which type, and whole rows through it.
//!
//! Written from the layouts of `ggml/src/ggml-common.h`. Numbers that are not finite give some blocks, never a panic.

use half::f16;

use super::{QuantError, ggml_k, ggml_legacy};
use crate::weights::DType;

/// Numbers of a block of the older types.
pub const SHORT: usize = 32;
/// Numbers of a block of the K types, which ggml calls a superblock.
pub const LONG: usize = 256;

/// The types that numbers can be stored in. The others of [`DType::GGML`] are only read: what writes them needs tables that
/// ggml fits to measured activations.
pub const WRITTEN: &[DType] =
    &[DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0, DType::Q2_K, DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K];

/// Stores whole blocks of numbers, as ggml's `quantize_row_*_ref` does without an importance matrix.
///
/// `out` must have exactly the bytes that `values` take in this type ([`DType::bytes_of`]).
pub fn quantise(dtype: DType, values: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    check(dtype, values.len(), out.len())?;
    match dtype {
        DType::Q4_0 => store(values, out, ggml_legacy::q4_0),
        DType::Q4_1 => store(values, out, ggml_legacy::q4_1),
        DType::Q5_0 => store(values, out, ggml_legacy::q5_0),
        DType::Q5_1 => store(values, out, ggml_legacy::q5_1),
        DType::Q8_0 => store(values, out, ggml_legacy::q8_0),
        DType::Q2_K => store(values, out, ggml_k::q2),
        DType::Q3_K => store(values, out, ggml_k::q3),
        DType::Q4_K => store(values, out, ggml_k::q4),
        DType::Q5_K => store(values, out, ggml_k::q5),
        DType::Q6_K => store(values, out, ggml_k::q6),
        _ => return Err(QuantError::NoCodec { dtype }),
    }
    Ok(())
}

/// Brings whole blocks back, computed in single precision as ggml's `dequantize_row_*` does.
pub fn dequantise(dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    check(dtype, out.len(), bytes.len())?;
    match dtype {
        DType::Q4_0 => restore(bytes, out, ggml_legacy::from_q4_0),
        DType::Q4_1 => restore(bytes, out, ggml_legacy::from_q4_1),
        DType::Q5_0 => restore(bytes, out, ggml_legacy::from_q5_0),
        DType::Q5_1 => restore(bytes, out, ggml_legacy::from_q5_1),
        DType::Q8_0 => restore(bytes, out, ggml_legacy::from_q8_0),
        DType::Iq4Nl => restore(bytes, out, ggml_legacy::from_iq4_nl),
        DType::Iq4Xs => restore(bytes, out, ggml_k::from_iq4_xs),
        DType::Q2_K => restore(bytes, out, ggml_k::from_q2),
        DType::Q3_K => restore(bytes, out, ggml_k::from_q3),
        DType::Q4_K => restore(bytes, out, ggml_k::from_q4),
        DType::Q5_K => restore(bytes, out, ggml_k::from_q5),
        DType::Q6_K => restore(bytes, out, ggml_k::from_q6),
        _ => return Err(QuantError::NoCodec { dtype }),
    }
    Ok(())
}

/// Checks that this is a block type and that so many numbers of it are whole blocks that take so many bytes.
pub fn check(dtype: DType, values: usize, bytes: usize) -> Result<(), QuantError> {
    if !DType::GGML.contains(&dtype) {
        return Err(QuantError::NoCodec { dtype });
    }
    if dtype.bytes_of(values as u64) != Some(bytes as u64) {
        return Err(QuantError::Length { dtype, values, bytes });
    }
    Ok(())
}

fn store<const N: usize, const B: usize>(values: &[f32], out: &mut [u8], block: impl Fn(&[f32; N], &mut [u8; B])) {
    let (values, _) = values.as_chunks();
    let (out, _) = out.as_chunks_mut();
    values.iter().zip(out).for_each(|(x, out)| block(x, out));
}

fn restore<const N: usize, const B: usize>(bytes: &[u8], out: &mut [f32], block: impl Fn(&[u8; B], &mut [f32; N])) {
    let (bytes, _) = bytes.as_chunks();
    let (out, _) = out.as_chunks_mut();
    bytes.iter().zip(out).for_each(|(bytes, out)| block(bytes, out));
}

/// Writes a scale as a half at `at`, to nearest even.
#[inline]
pub(crate) fn put_half(out: &mut [u8], at: usize, value: f32) {
    out[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// Returns the half at `at`.
#[inline]
pub(crate) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// The input of the hashes below: pseudo-random numbers near a bell curve, then zeros, a constant, tiny numbers, and
    /// numbers of one sign.
    fn golden() -> Vec<f32> {
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as i64
        };
        let mut values: Vec<f32> = (0..4096)
            .map(|_| {
                let sum: i64 = (0..4).map(|_| draw()).sum();
                (sum - 2 * ((1 << 24) - 1)) as f32 * 2f32.powi(-29)
            })
            .collect();
        values[1280..1536].fill(0.0);
        values[1536..1792].fill(0.01);
        values[1792..2048].iter_mut().for_each(|v| *v *= 2f32.powi(-20));
        values[2048..2304].iter_mut().for_each(|v| *v = v.abs());
        values
    }

    fn hash(bytes: impl AsRef<[u8]>) -> String {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        format!("{:016x}", u64::from_be_bytes(*digest.first_chunk().unwrap()))
    }

    fn stored(dtype: DType, values: &[f32]) -> Vec<u8> {
        let mut out = vec![0xAA; dtype.bytes_of(values.len() as u64).unwrap() as usize];
        quantise(dtype, values, &mut out).unwrap();
        out
    }

    fn restored(dtype: DType, bytes: &[u8]) -> Vec<f32> {
        let (together, size) = dtype.block();
        let mut out = vec![f32::NAN; bytes.len() / size as usize * together as usize];
        dequantise(dtype, bytes, &mut out).unwrap();
        out
    }

    fn bytes_of(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// SHA-256, first half of the first half, of what ggml's reference quantisers and dequantisers make (gcc -O2, no FMA).
    const HASHES: &[(DType, &str, &str)] = &[
        (DType::Q4_0, "aa6bef812c9be5de", "c7b1b60cad3e1b54"),
        (DType::Q4_1, "a8ba4bca20c4cfd5", "740308430e718320"),
        (DType::Q5_0, "4ab63b5bc96d55ea", "b21dde8130164565"),
        (DType::Q5_1, "358d8d87008b9564", "a706351cc433db2a"),
        (DType::Q8_0, "b9d620392380101c", "b550ad877fe7aa02"),
        (DType::Q2_K, "7d8545440dc13469", "e1b4eeeede429d9e"),
        (DType::Q3_K, "dfd1cf01567eb1f7", "d62b33cb2ad3534a"),
        (DType::Q4_K, "9cc1fc5d7fd27d68", "a58cf1376eea5793"),
        (DType::Q5_K, "0373bb95b88846e3", "8c3f26963d657bb5"),
        (DType::Q6_K, "db2fa5ec808a0aa5", "fac9e4084f3fdae9"),
    ];

    #[test]
    fn blocks_are_those_of_ggml_to_the_bit() {
        let values = golden();
        assert_eq!(hash(bytes_of(&values)), "5fe91fda05b80700", "the input itself");
        for (dtype, blocks, numbers) in HASHES {
            let bytes = stored(*dtype, &values);
            assert_eq!(hash(&bytes), *blocks, "{dtype}");
            assert_eq!(hash(bytes_of(&restored(*dtype, &bytes))), *numbers, "{dtype} back");
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        for dtype in WRITTEN {
            for zero in [0.0, -0.0, 1e-42] {
                let back = restored(*dtype, &stored(*dtype, &[zero; 512]));
                assert!(back.iter().all(|v| v.abs() <= 1e-42), "{dtype} of {zero}");
            }
        }
    }

    #[test]
    fn constants_come_back_within_a_step() {
        for dtype in WRITTEN {
            for constant in [0.01f32, -0.01, 3.0e4, -7.5e-3] {
                let back = restored(*dtype, &stored(*dtype, &[constant; 256]));
                // The halves that hold the scales have 11 bits.
                assert!(back.iter().all(|v| (v - constant).abs() <= constant.abs() * 2e-2), "{dtype} of {constant}: {}", back[0]);
            }
        }
    }

    #[test]
    fn tiny_blocks_beside_large_ones_vanish_and_harm_nothing() {
        for dtype in [DType::Q2_K, DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K] {
            let mut values: Vec<f32> = golden()[..256].to_vec();
            values[64..96].iter_mut().for_each(|v| *v *= 1e-20);
            let back = restored(dtype, &stored(dtype, &values));
            assert!(back[64..96].iter().all(|v| v.abs() < 1e-3), "{dtype}");
            assert!(back.iter().any(|v| v.abs() > 1e-3), "{dtype}");
        }
    }

    #[test]
    fn what_is_no_number_harms_nobody() {
        for dtype in WRITTEN {
            for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45] {
                let mut values = golden();
                values[37] = strange;
                values[300..556].fill(strange);
                restored(*dtype, &stored(*dtype, &values));
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |dtype: DType, values: usize, bytes: usize| quantise(dtype, &vec![0.0; values], &mut vec![0; bytes]).unwrap_err();
        assert_eq!(refused(DType::Q4_0, 33, 18), QuantError::Length { dtype: DType::Q4_0, values: 33, bytes: 18 });
        assert_eq!(refused(DType::Q4_K, 256, 143), QuantError::Length { dtype: DType::Q4_K, values: 256, bytes: 143 });
        assert_eq!(refused(DType::F16, 32, 64), QuantError::NoCodec { dtype: DType::F16 });
        assert_eq!(refused(DType::Iq4Nl, 32, 18), QuantError::NoCodec { dtype: DType::Iq4Nl });
        assert_eq!(dequantise(DType::U8, &[0; 32], &mut [0.0; 32]), Err(QuantError::NoCodec { dtype: DType::U8 }));
        assert_eq!(quantise(DType::Q6_K, &[], &mut []), Ok(()), "nothing is whole blocks of anything");
    }

    /// Half of the widest step between two levels, as a share of the largest number of a sub-block; the fits minimise the
    /// square error and may be worse at single numbers.
    const COARSENESS: &[(DType, f32)] = &[
        (DType::Q4_0, 1.0 / 8.0),
        (DType::Q4_1, 1.0 / 15.0),
        (DType::Q5_0, 1.0 / 16.0),
        (DType::Q5_1, 1.0 / 31.0),
        (DType::Q8_0, 1.0 / 254.0),
    ];

    proptest! {
        #[test]
        fn numbers_come_back_within_half_a_step(values in prop::collection::vec(-8f32..8.0, 32), power in -12i32..12) {
            let values: Vec<f32> = values.iter().map(|v| v * 2f32.powi(power)).collect();
            let largest = values.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (dtype, step) in COARSENESS {
                let back = restored(*dtype, &stored(*dtype, &values));
                for (v, b) in values.iter().zip(&back) {
                    prop_assert!((v - b).abs() <= largest * (step + 2e-3) + 1e-6, "{dtype}: {v} became {b}");
                }
            }
        }

        #[test]
        fn k_types_keep_their_promise_on_the_whole(values in prop::collection::vec(-1f32..1.0, 256)) {
            let norm: f32 = values.iter().map(|v| v * v).sum();
            for (dtype, share) in [(DType::Q2_K, 0.2), (DType::Q3_K, 0.08), (DType::Q4_K, 0.02), (DType::Q5_K, 0.005), (DType::Q6_K, 0.002)] {
                let back = restored(dtype, &stored(dtype, &values));
                let error: f32 = values.iter().zip(&back).map(|(v, b)| (v - b) * (v - b)).sum();
                prop_assert!(error <= norm * share, "{dtype}: {error} of {norm}");
            }
        }

        #[test]
        fn any_bits_are_stored_and_any_blocks_are_read(bits in prop::collection::vec(any::<u32>(), 256), bytes in prop::collection::vec(any::<u8>(), 210)) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            for dtype in WRITTEN {
                stored(*dtype, &values);
            }
            for dtype in DType::GGML {
                restored(*dtype, &bytes[..dtype.block().1 as usize]);
            }
        }
    }
}
