//! Which instructions the processor has, and each codec compiled for them.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "only a caller knows that the processor has what a function is compiled for")
)]

use super::deviation::Deviation;
#[cfg(target_arch = "x86_64")]
use super::{four_bits, halves};
use crate::quant::sdnq::{Groups, Habits};
use crate::quant::sdnq_type::WeightsType;
use crate::quant::{QuantError, Tally, floats, fp8, int8, nf4, sdnq};
use crate::weights::DType;

/// What the processor can do, as far as there are kernels for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of its kind can.
    Scalar,
    /// Eight singles at once: AVX2, FMA and F16C, as x86-64-v3 has them.
    Eight,
    /// Sixteen singles at once: AVX-512 with words and bytes, as x86-64-v4 has it.
    Sixteen,
}

impl Level {
    /// Every level, narrowest first.
    pub const ALL: &[Self] = &[Self::Scalar, Self::Eight, Self::Sixteen];

    /// Returns the widest that this processor has.
    #[must_use]
    pub fn here() -> Self {
        Self::ALL.iter().rev().copied().find(|level| level.is_here()).unwrap_or(Self::Scalar)
    }

    /// Returns whether this processor has it. What the standard library found out once, it remembers.
    #[must_use]
    pub fn is_here(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Eight => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"),
            #[cfg(target_arch = "x86_64")]
            Self::Sixteen => {
                Self::Eight.is_here()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Eight | Self::Sixteen => false,
        }
    }
}

/// Makes a function of the codec's signature that calls it compiled for the widest level, and one for a level of choice. A codec
/// that compiles badly has functions of its own in brackets.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident / $at:ident = $codec:path $([$own_eight:path, $own_sixteen:path])?, ($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            pub fn $name($($argument: $kind),*) -> $result {
                levels::$at(Level::here(), $($argument),*)
            }
        )*

        /// The same at a level of choice, which falls to the narrowest where the processor does not have it.
        pub(super) mod levels {
            use super::*;

            $(
                #[allow(clippy::too_many_arguments, clippy::allow_attributes, reason = "those of the codec, and the level")]
                pub(in super::super) fn $at(level: Level, $($argument: $kind),*) -> $result {
                    #[cfg(target_arch = "x86_64")]
                    {
                        #[target_feature(enable = "avx2,fma,f16c")]
                        fn eight($($argument: $kind),*) -> $result {
                            kernels!(@ $codec $(, $own_eight)?)($($argument),*)
                        }
                        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                        fn sixteen($($argument: $kind),*) -> $result {
                            kernels!(@ $codec $(, $own_sixteen)?)($($argument),*)
                        }
                        if level == Level::Sixteen && level.is_here() {
                            // SAFETY: the processor has every feature that the function is compiled for; `is_here` has just asked.
                            return unsafe { sixteen($($argument),*) };
                        }
                        if level == Level::Eight && level.is_here() {
                            // SAFETY: as above, for the features of this function.
                            return unsafe { eight($($argument),*) };
                        }
                    }
                    #[cfg(not(target_arch = "x86_64"))]
                    let _: Level = level;
                    $codec($($argument),*)
                }
            )*
        }
    };
    (@ $codec:path) => { $codec };
    (@ $codec:path, $own:path) => { $own };
}

kernels! {
    /// [`floats::widen`].
    widen / widen_at = floats::widen [halves::widen_eight, halves::widen_sixteen], (dtype: DType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError>;
    /// [`floats::narrow`].
    narrow / narrow_at = floats::narrow, (dtype: DType, values: &[f32], out: &mut [u8]) -> Result<Tally, QuantError>;
    /// [`fp8::max_abs`].
    max_abs / max_abs_at = fp8::max_abs, (values: &[f32]) -> f32;
    /// [`fp8::narrow_scaled`].
    narrow_scaled / narrow_scaled_at = fp8::narrow_scaled,
        (dtype: DType, values: &[f32], scale: f32, out: &mut [u8]) -> Result<Tally, QuantError>;
    /// [`fp8::widen_scaled`].
    widen_scaled / widen_scaled_at = fp8::widen_scaled, (dtype: DType, codes: &[u8], scale: f32, out: &mut [f32]) -> Result<(), QuantError>;
    /// [`nf4::quantise`].
    quantise_nf4 / quantise_nf4_at = nf4::quantise [four_bits::quantise_eight, four_bits::quantise_sixteen],
        (values: &[f32], block: usize, packed: &mut [u8], absmax: &mut [f32]) -> Result<Tally, QuantError>;
    /// [`nf4::dequantise`].
    dequantise_nf4 / dequantise_nf4_at = nf4::dequantise [nf4::dequantise, four_bits::dequantise_sixteen],
        (codebook: &[f32; 16], packed: &[u8], absmax: &[f32], block: usize, out: &mut [f32]) -> Result<(), QuantError>;
    /// [`int8::quantise`].
    quantise_int8 / quantise_int8_at = int8::quantise,
        (values: &[f32], width: usize, codes: &mut [u8], scales: &mut [f32]) -> Result<Tally, QuantError>;
    /// [`int8::dequantise`].
    dequantise_int8 / dequantise_int8_at = int8::dequantise,
        (codes: &[u8], scales: &[f32], width: usize, out: &mut [f32]) -> Result<(), QuantError>;
    /// [`sdnq::quantise`].
    quantise_sdnq / quantise_sdnq_at = sdnq::quantise,
        (kind: WeightsType, values: &[f32], group: usize, codes: &mut [u8], scales: &mut [f32], zeros: &mut [f32]) -> Result<Tally, QuantError>;
    /// [`sdnq::dequantise`].
    dequantise_sdnq / dequantise_sdnq_at = sdnq::dequantise,
        (kind: WeightsType, habits: Habits, codes: &[u8], groups: Groups, scales: &[f32], zeros: &[f32], out: &mut [f32]) -> Result<(), QuantError>;
    /// Returns how far numbers are from what they were.
    compare / compare_at = Deviation::between, (before: &[f32], after: &[f32]) -> Deviation;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of every kind, more of those that weights are like.
    fn numbers() -> impl Strategy<Value = Vec<f32>> {
        let number = prop_oneof![
            8 => -2.0_f32..2.0,
            2 => any::<u32>().prop_map(f32::from_bits),
            1 => prop::sample::select(vec![0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, 65520.0, 448.0, 464.0]),
        ];
        prop::collection::vec(number, 0..3000)
    }

    /// Bytes and bits of what a kernel wrote, and the bits of what it returned.
    type Written = (Vec<u8>, Vec<u32>, String);

    type Quantise<'a> = &'a dyn Fn(&mut [u8], &mut [f32]) -> Result<Tally, QuantError>;
    type QuantiseGroups<'a> = &'a dyn Fn(&mut [u8], &mut [f32], &mut [f32]) -> Result<Tally, QuantError>;

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|v| v.to_bits()).collect()
    }

    /// Holds every level that is here, and the function that chooses, against the codec.
    fn same(chosen: impl Fn() -> Written, codec: impl Fn() -> Written, at: impl Fn(Level) -> Written) -> Result<(), TestCaseError> {
        let expected = codec();
        prop_assert_eq!(&chosen(), &expected);
        for level in Level::ALL {
            prop_assert_eq!(&at(*level), &expected, "{:?}", level);
        }
        Ok(())
    }

    const PLAIN: [DType; 6] = [DType::F32, DType::F64, DType::F16, DType::Bf16, DType::F8_E4M3, DType::F8_E5M2];

    proptest! {
        // Several strips of numbers each; more of them tell no more.
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn casts_are_the_codecs(values in numbers(), dtype in prop::sample::select(PLAIN.to_vec())) {
            let bytes = || vec![0_u8; dtype.bytes_of(values.len() as u64).unwrap() as usize];
            let narrowed = |run: &dyn Fn(&mut [u8]) -> Result<Tally, QuantError>| {
                let mut out = bytes();
                let tally = run(&mut out);
                (out, Vec::new(), format!("{tally:?}"))
            };
            same(
                || narrowed(&|out| narrow(dtype, &values, out)),
                || narrowed(&|out| floats::narrow(dtype, &values, out)),
                |level| narrowed(&|out| levels::narrow_at(level, dtype, &values, out)),
            )?;
            let stored = narrowed(&|out| floats::narrow(dtype, &values, out)).0;
            let widened = |run: &dyn Fn(&mut [f32]) -> Result<(), QuantError>| {
                let mut out = vec![0.0; values.len()];
                let result = run(&mut out);
                (Vec::new(), bits(&out), format!("{result:?}"))
            };
            same(
                || widened(&|out| widen(dtype, &stored, out)),
                || widened(&|out| floats::widen(dtype, &stored, out)),
                |level| widened(&|out| levels::widen_at(level, dtype, &stored, out)),
            )?;
        }

        #[test]
        fn scaled_floats_are_the_codecs(values in numbers(), dtype in prop::sample::select(vec![DType::F8_E4M3, DType::F8_E5M2])) {
            let most = |found: f32| (Vec::new(), vec![found.to_bits()], String::new());
            same(|| most(max_abs(&values)), || most(fp8::max_abs(&values)), |level| most(levels::max_abs_at(level, &values)))?;
            let scale = fp8::scale_of(dtype, max_abs(&values)).unwrap();
            let mut stored = vec![0; values.len()];
            let narrowed = |run: &dyn Fn(&mut [u8]) -> Result<Tally, QuantError>| {
                let mut out = vec![0; values.len()];
                let tally = run(&mut out);
                (out, Vec::new(), format!("{tally:?}"))
            };
            same(
                || narrowed(&|out| narrow_scaled(dtype, &values, scale, out)),
                || narrowed(&|out| fp8::narrow_scaled(dtype, &values, scale, out)),
                |level| narrowed(&|out| levels::narrow_scaled_at(level, dtype, &values, scale, out)),
            )?;
            narrow_scaled(dtype, &values, scale, &mut stored).unwrap();
            let widened = |run: &dyn Fn(&mut [f32]) -> Result<(), QuantError>| {
                let mut out = vec![0.0; values.len()];
                let result = run(&mut out);
                (Vec::new(), bits(&out), format!("{result:?}"))
            };
            same(
                || widened(&|out| widen_scaled(dtype, &stored, scale, out)),
                || widened(&|out| fp8::widen_scaled(dtype, &stored, scale, out)),
                |level| widened(&|out| levels::widen_scaled_at(level, dtype, &stored, scale, out)),
            )?;
        }

        #[test]
        fn four_bits_are_the_codecs(values in numbers(), block in prop::sample::select(vec![32_usize, 64, 256])) {
            let quantised = |run: Quantise<'_>| {
                let (mut packed, mut absmax) = (vec![0; values.len().div_ceil(2)], vec![0.0; values.len().div_ceil(block)]);
                let tally = run(&mut packed, &mut absmax);
                (packed, bits(&absmax), format!("{tally:?}"))
            };
            same(
                || quantised(&|packed, absmax| quantise_nf4(&values, block, packed, absmax)),
                || quantised(&|packed, absmax| nf4::quantise(&values, block, packed, absmax)),
                |level| quantised(&|packed, absmax| levels::quantise_nf4_at(level, &values, block, packed, absmax)),
            )?;
            let (packed, absmax, _) = quantised(&|packed, absmax| nf4::quantise(&values, block, packed, absmax));
            let absmax: Vec<f32> = absmax.into_iter().map(f32::from_bits).collect();
            let widened = |run: &dyn Fn(&mut [f32]) -> Result<(), QuantError>| {
                let mut out = vec![0.0; values.len()];
                let result = run(&mut out);
                (Vec::new(), bits(&out), format!("{result:?}"))
            };
            same(
                || widened(&|out| dequantise_nf4(&nf4::NF4, &packed, &absmax, block, out)),
                || widened(&|out| nf4::dequantise(&nf4::NF4, &packed, &absmax, block, out)),
                |level| widened(&|out| levels::dequantise_nf4_at(level, &nf4::NF4, &packed, &absmax, block, out)),
            )?;
        }

        #[test]
        fn rows_of_eight_bits_are_the_codecs(mut values in numbers(), width in 1_usize..500) {
            values.truncate(values.len() / width * width);
            let quantised = |run: Quantise<'_>| {
                let (mut codes, mut scales) = (vec![0; values.len()], vec![0.0; values.len() / width]);
                let tally = run(&mut codes, &mut scales);
                (codes, bits(&scales), format!("{tally:?}"))
            };
            same(
                || quantised(&|codes, scales| quantise_int8(&values, width, codes, scales)),
                || quantised(&|codes, scales| int8::quantise(&values, width, codes, scales)),
                |level| quantised(&|codes, scales| levels::quantise_int8_at(level, &values, width, codes, scales)),
            )?;
            let (codes, scales, _) = quantised(&|codes, scales| int8::quantise(&values, width, codes, scales));
            let scales: Vec<f32> = scales.into_iter().map(f32::from_bits).collect();
            let widened = |run: &dyn Fn(&mut [f32]) -> Result<(), QuantError>| {
                let mut out = vec![0.0; values.len()];
                let result = run(&mut out);
                (Vec::new(), bits(&out), format!("{result:?}"))
            };
            same(
                || widened(&|out| dequantise_int8(&codes, &scales, width, out)),
                || widened(&|out| int8::dequantise(&codes, &scales, width, out)),
                |level| widened(&|out| levels::dequantise_int8_at(level, &codes, &scales, width, out)),
            )?;
        }

        #[test]
        fn groups_are_the_codecs(
            mut values in numbers(),
            name in prop::sample::select(vec!["int8", "uint8", "int7", "int6", "int5", "uint4", "int4", "uint3", "uint2", "float4_e2m1fn", "float8_e4m3fn"]),
            group in prop::sample::select(vec![8_usize, 64, 200]),
        ) {
            let kind = WeightsType::parse(name).unwrap();
            values.truncate(values.len() / group * group);
            let groups = Groups { outer: values.len() / group, group, inner: 1 };
            let zeros_count = if kind.signed { 0 } else { groups.outer };
            let quantised = |run: QuantiseGroups<'_>| {
                let mut codes = vec![0; kind.bytes_of(values.len()).unwrap()];
                let (mut scales, mut zeros) = (vec![0.0; groups.outer], vec![0.0; zeros_count]);
                let tally = run(&mut codes, &mut scales, &mut zeros);
                (codes, bits(&[scales, zeros].concat()), format!("{tally:?}"))
            };
            same(
                || quantised(&|codes, scales, zeros| quantise_sdnq(kind, &values, group, codes, scales, zeros)),
                || quantised(&|codes, scales, zeros| sdnq::quantise(kind, &values, group, codes, scales, zeros)),
                |level| quantised(&|codes, scales, zeros| levels::quantise_sdnq_at(level, kind, &values, group, codes, scales, zeros)),
            )?;
            let (codes, parts, _) = quantised(&|codes, scales, zeros| sdnq::quantise(kind, &values, group, codes, scales, zeros));
            let parts: Vec<f32> = parts.into_iter().map(f32::from_bits).collect();
            let (scales, zeros) = parts.split_at(groups.outer);
            let widened = |run: &dyn Fn(&mut [f32]) -> Result<(), QuantError>| {
                let mut out = vec![0.0; values.len()];
                let result = run(&mut out);
                (Vec::new(), bits(&out), format!("{result:?}"))
            };
            same(
                || widened(&|out| dequantise_sdnq(kind, Habits::CURRENT, &codes, groups, scales, zeros, out)),
                || widened(&|out| sdnq::dequantise(kind, Habits::CURRENT, &codes, groups, scales, zeros, out)),
                |level| widened(&|out| levels::dequantise_sdnq_at(level, kind, Habits::CURRENT, &codes, groups, scales, zeros, out)),
            )?;
        }

        #[test]
        fn sums_do_not_depend_on_the_processor(before in numbers(), after in numbers()) {
            let count = before.len().min(after.len());
            let (before, after) = (&before[..count], &after[..count]);
            let seen = |sums: Deviation| (Vec::new(), Vec::new(), format!("{:x} {:x}", sums.error.to_bits(), sums.signal.to_bits()));
            same(|| seen(compare(before, after)), || seen(Deviation::between(before, after)), |level| seen(levels::compare_at(level, before, after)))?;
        }
    }
}
