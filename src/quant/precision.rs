//! What weights can be converted to: names, aliases, containers, and the names of files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::weights::{DType, Precision};

/// The kind of file that a conversion is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Container {
    /// A safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

impl Container {
    /// Returns the extension of its files, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
        }
    }
}

macro_rules! mixes {
    ($($variant:ident $text:literal $base:ident $file_type:literal,)*) => {
        /// What a GGUF file is converted to: a block type, or a mix of several by what tensors do, under llama.cpp's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(non_camel_case_types, missing_docs, reason = "the format's own names")]
        pub enum Mix { $($variant,)* }

        impl Mix {
            /// Every mix.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the type of most of its tensors.
            #[must_use]
            pub fn base(self) -> DType {
                match self { $(Self::$variant => DType::$base,)* }
            }

            /// Returns its number in a header's `general.file_type` (llama.cpp `include/llama.h`, enum `llama_ftype`).
            #[must_use]
            pub fn file_type(self) -> u32 {
                match self { $(Self::$variant => $file_type,)* }
            }
        }
    };
}

mixes! {
    Q4_0 "Q4_0" Q4_0 2,
    Q4_1 "Q4_1" Q4_1 3,
    Q5_0 "Q5_0" Q5_0 8,
    Q5_1 "Q5_1" Q5_1 9,
    Q8_0 "Q8_0" Q8_0 7,
    Q2_K "Q2_K" Q2_K 10,
    Q3_K_S "Q3_K_S" Q3_K 11,
    Q3_K_M "Q3_K_M" Q3_K 12,
    Q3_K_L "Q3_K_L" Q3_K 13,
    Q4_K_S "Q4_K_S" Q4_K 14,
    Q4_K_M "Q4_K_M" Q4_K 15,
    Q5_K_S "Q5_K_S" Q5_K 16,
    Q5_K_M "Q5_K_M" Q5_K 17,
    Q6_K "Q6_K" Q6_K 18,
}

/// A storage of SDNQ, by its checked name: `int8`, `uint4`, `float4_e2m1fn`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SdnqType(String);

impl SdnqType {
    /// Returns the name that `weights_dtype` has in a configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the storage of this name or one of SDNQ's aliases (`sdnq/common.py`), if it is one of up to 16 bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.to_ascii_lowercase();
        let bits = |prefix: &str, least: u8| number(name.strip_prefix(prefix)?).filter(|n| (least..=16).contains(n));
        let canonical = match name.as_str() {
            "bool" | "int1" => "uint1".to_owned(),
            "fp2" => "float2_e1m0fn".to_owned(),
            "fp3" => "float3_e1m1fn".to_owned(),
            "fp4" => "float4_e2m1fn".to_owned(),
            "fp5" => "float5_e2m2fn".to_owned(),
            "fp6" => "float6_e3m2fn".to_owned(),
            "fp7" => "float7_e3m3fn".to_owned(),
            "fp8" => "float8_e4m3fn".to_owned(),
            "fp9" => "float9_e4m4fn".to_owned(),
            "float8_e5m2" => name.clone(),
            _ if bits("int", 2).is_some() || bits("uint", 1).is_some() => name.clone(),
            _ if let Some(n) = bits("fp", 10).filter(|n| *n < 16) => format!("float{n}_e5m{}fn", n - 6),
            _ if is_custom_float(&name) => name.clone(),
            _ => return None,
        };
        Some(Self(canonical))
    }
}

/// Returns a number that is written as numbers are: no sign, no zeros in front.
fn number(text: &str) -> Option<u8> {
    text.parse().ok().filter(|n: &u8| n.to_string() == text)
}

/// Returns whether a name is `float{n}_e{E}m{M}fn`, of n bits with the sign, or `…fnu` without a sign.
fn is_custom_float(name: &str) -> bool {
    let parts = || {
        let (bits, rest) = name.strip_prefix("float")?.split_once("_e")?;
        let (exponent, rest) = rest.split_once('m')?;
        let (mantissa, kind) = rest.split_once("fn")?;
        let sign = match kind {
            "" => 1,
            "u" => 0,
            _ => return None,
        };
        Some((number(bits)?, number(exponent)?, number(mantissa)?, sign))
    };
    parts().is_some_and(|(bits, e, m, sign)| bits <= 16 && e >= 1 && u16::from(e) + u16::from(m) + sign == u16::from(bits))
}

/// What weights can be converted to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// IEEE single precision.
    Fp32,
    /// IEEE half precision.
    Fp16,
    /// The upper half of a single.
    Bf16,
    /// 8-bit floats with 4 bits of exponent.
    Fp8E4m3fn,
    /// 8-bit floats with 5 bits of exponent.
    Fp8E5m2,
    /// 8-bit floats with a scale per layer.
    Fp8E4m3fnScaled,
    /// bitsandbytes' 4 bits.
    Nf4,
    /// bitsandbytes' 8-bit integers.
    Int8,
    /// A block type of ggml, or a mix of them.
    Gguf(Mix),
    /// A storage of SDNQ.
    Sdnq(SdnqType),
}

/// Why a text names nothing to convert to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The beginning of several names.
    #[error("`{text}` may be any of {choices}; say which")]
    Ambiguous {
        /// What was typed.
        text: String,
        /// What it may mean.
        choices: String,
    },
    /// No name at all.
    #[error("`{text}` is nothing to convert to; use one of {choices}, or sdnq_TYPE such as sdnq_uint4")]
    Unknown {
        /// What was typed.
        text: String,
        /// All names.
        choices: String,
    },
}

/// Other spellings of names, in lower case.
const ALIASES: &[(&str, Target)] = &[
    ("f32", Target::Fp32),
    ("float32", Target::Fp32),
    ("float", Target::Fp32),
    ("f16", Target::Fp16),
    ("float16", Target::Fp16),
    ("half", Target::Fp16),
    ("bfloat16", Target::Bf16),
    ("fp8", Target::Fp8E4m3fn),
    ("float8", Target::Fp8E4m3fn),
    ("f8_e4m3", Target::Fp8E4m3fn),
    ("float8_e4m3fn", Target::Fp8E4m3fn),
    ("f8_e5m2", Target::Fp8E5m2),
    ("float8_e5m2", Target::Fp8E5m2),
    ("fp8_scaled", Target::Fp8E4m3fnScaled),
    ("uint8", Target::Int8),
    // llama-quantize's own aliases.
    ("q3_k", Target::Gguf(Mix::Q3_K_M)),
    ("q4_k", Target::Gguf(Mix::Q4_K_M)),
    ("q5_k", Target::Gguf(Mix::Q5_K_M)),
];

impl Target {
    /// Every target with a fixed name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let plain = [Self::Fp32, Self::Fp16, Self::Bf16, Self::Fp8E4m3fn, Self::Fp8E5m2, Self::Fp8E4m3fnScaled, Self::Nf4, Self::Int8];
        plain.into_iter().chain(Mix::ALL.iter().copied().map(Self::Gguf)).collect()
    }

    /// Returns the canonical name, which stands in file names.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Fp32 => "fp32".to_owned(),
            Self::Fp16 => "fp16".to_owned(),
            Self::Bf16 => "bf16".to_owned(),
            Self::Fp8E4m3fn => "fp8_e4m3fn".to_owned(),
            Self::Fp8E5m2 => "fp8_e5m2".to_owned(),
            Self::Fp8E4m3fnScaled => "fp8_e4m3fn_scaled".to_owned(),
            Self::Nf4 => "nf4".to_owned(),
            Self::Int8 => "int8".to_owned(),
            Self::Gguf(mix) => mix.name().to_owned(),
            Self::Sdnq(storage) => format!("sdnq_{}", storage.name()),
        }
    }

    /// Returns the target with exactly this canonical name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let sdnq = || name.strip_prefix("sdnq_").and_then(SdnqType::parse).map(Self::Sdnq).filter(|t| t.name() == name);
        Self::all().into_iter().find(|t| t.name() == name).or_else(sdnq)
    }

    /// Returns what a device computes in where it is asked for this; nothing for what weights are only stored as.
    #[must_use]
    pub fn to_compute_in(&self) -> Option<Precision> {
        match self {
            Self::Fp32 => Some(Precision::Fp32),
            Self::Fp16 => Some(Precision::Fp16),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Fp8E4m3fn | Self::Fp8E5m2 | Self::Fp8E4m3fnScaled | Self::Nf4 | Self::Int8 | Self::Gguf(_) | Self::Sdnq(_) => None,
        }
    }

    /// Returns the kind of file that holds it.
    #[must_use]
    pub fn container(&self) -> Container {
        match self {
            Self::Gguf(_) => Container::Gguf,
            Self::Fp32
            | Self::Fp16
            | Self::Bf16
            | Self::Fp8E4m3fn
            | Self::Fp8E5m2
            | Self::Fp8E4m3fnScaled
            | Self::Nf4
            | Self::Int8
            | Self::Sdnq(_) => Container::Safetensors,
        }
    }

    /// Returns the name of the file that a model is converted to, from the stem of the file it comes from.
    #[must_use]
    pub fn file_name(&self, stem: &str) -> String {
        format!("{}_{}.{}", base_name(stem), self.name(), self.container().extension())
    }
}

/// Returns a file's stem without the precision at its end, if it names one: the longest known, for names hold underscores
/// themselves.
#[must_use]
pub fn base_name(stem: &str) -> &str {
    let lower = stem.to_ascii_lowercase();
    let fixed = Target::all().into_iter().map(|t| t.name().to_ascii_lowercase());
    let known = fixed.chain(ALIASES.iter().map(|(alias, _)| (*alias).to_owned()));
    let cut = |name: String| lower.strip_suffix(&name)?.strip_suffix(['_', '-']).map(str::len);
    let sdnq = lower.match_indices("sdnq_").filter_map(|(at, mark)| {
        SdnqType::parse(&lower[at + mark.len()..])?;
        lower[..at].strip_suffix(['_', '-']).map(str::len)
    });
    // Never all of the name: a file called `fp16` is called so.
    let shortest = known.filter_map(cut).chain(sdnq).filter(|end| *end > 0).min();
    shortest.map_or(stem, |end| &stem[..end])
}

impl From<Precision> for Target {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Self::Fp32,
            Precision::Fp16 => Self::Fp16,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let typed = text.to_ascii_lowercase();
        let all = Self::all();
        if let Some(target) = all.iter().find(|t| t.name().to_ascii_lowercase() == typed) {
            return Ok(target.clone());
        }
        if let Some((_, target)) = ALIASES.iter().find(|(alias, _)| *alias == typed) {
            return Ok(target.clone());
        }
        if let Some(storage) = typed.strip_prefix("sdnq_").and_then(SdnqType::parse) {
            return Ok(Self::Sdnq(storage));
        }
        let list = |names: Vec<String>| names.join(", ");
        let choices: Vec<String> =
            all.iter().map(Self::name).filter(|n| n.to_ascii_lowercase().starts_with(&format!("{typed}_"))).collect();
        if choices.is_empty() || typed.is_empty() {
            return Err(TargetError::Unknown { text: text.to_owned(), choices: list(all.iter().map(Self::name).collect()) });
        }
        Err(TargetError::Ambiguous { text: text.to_owned(), choices: list(choices) })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<String, String> {
        text.parse::<Target>().map(|t| t.name()).map_err(|e| e.to_string())
    }

    #[test]
    fn names_lead_back_to_themselves_in_any_case() {
        for target in Target::all() {
            assert_eq!(named(&target.name()), Ok(target.name()));
            assert_eq!(named(&target.name().to_ascii_uppercase()), Ok(target.name()));
            assert_eq!(named(&target.name().to_ascii_lowercase()), Ok(target.name()));
            assert_eq!(Target::named(&target.name()), Some(target));
        }
        assert_eq!(Target::named("q4_k_m"), None, "no canonical name");
        assert_eq!(Target::named("Q4_K"), None, "an alias is no canonical name");
    }

    #[test]
    fn aliases_are_names_too() {
        for (alias, name) in [
            ("FP8", "fp8_e4m3fn"),
            ("float8", "fp8_e4m3fn"),
            ("f8_e4m3", "fp8_e4m3fn"),
            ("fp8_scaled", "fp8_e4m3fn_scaled"),
            ("uint8", "int8"),
            ("half", "fp16"),
            ("float", "fp32"),
            ("Q4_K", "Q4_K_M"),
            ("sdnq_FP4", "sdnq_float4_e2m1fn"),
            ("sdnq_uint4", "sdnq_uint4"),
            ("sdnq_fp12", "sdnq_float12_e5m6fn"),
            ("sdnq_float4_e2m2fnu", "sdnq_float4_e2m2fnu"),
        ] {
            assert_eq!(named(alias).as_deref(), Ok(name), "{alias}");
        }
    }

    #[test]
    fn three_of_them_are_computed_in() {
        let computed: Vec<_> = Target::all().iter().filter_map(Target::to_compute_in).collect();
        assert_eq!(computed, [Precision::Fp32, Precision::Fp16, Precision::Bf16]);
        assert!(Precision::ALL.iter().all(|p| Target::from(*p).to_compute_in() == Some(*p)));
    }

    #[test]
    fn half_a_name_lists_what_it_may_mean() {
        assert_eq!(named("Q4").unwrap_err(), "`Q4` may be any of Q4_0, Q4_1, Q4_K_S, Q4_K_M; say which");
        assert!(named("int4").unwrap_err().starts_with("`int4` is nothing to convert to; use one of fp32, fp16, bf16, fp8_e4m3fn,"));
        for wrong in
            ["", "sdnq_", "sdnq_int17", "sdnq_uint0", "sdnq_float4_e2m2fn", "sdnq_float8_e4m3", "Q4_K_L", "sdnq_int+8", "sdnq_int08"]
        {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn files_are_named_after_their_source() {
        let name = |stem: &str, target: &str| target.parse::<Target>().unwrap().file_name(stem);
        assert_eq!(name("dream", "fp8"), "dream_fp8_e4m3fn.safetensors");
        assert_eq!(name("dream_fp8_e4m3fn", "fp8_scaled"), "dream_fp8_e4m3fn_scaled.safetensors");
        assert_eq!(name("dream-Q4_K_M", "Q8_0"), "dream_Q8_0.gguf");
        assert_eq!(name("flux1-dev_fp8_e4m3fn_scaled", "nf4"), "flux1-dev_nf4.safetensors");
        assert_eq!(name("night_sdnq_uint4", "int8"), "night_int8.safetensors");
        assert_eq!(name("v1-5-pruned-fp16", "Q4_0"), "v1-5-pruned_Q4_0.gguf");
        assert_eq!(name("fp16", "Q4_0"), "fp16_Q4_0.gguf");
        assert_eq!(name("_fp16", "Q4_0"), "_fp16_Q4_0.gguf");
        assert_eq!(name("twice_fp16_fp16", "bf16"), "twice_fp16_bf16.safetensors", "one suffix is ours");
        assert_eq!(name("ünï_half", "fp32"), "ünï_fp32.safetensors");
    }

    #[test]
    fn numbers_of_file_types_are_llama_cpps() {
        let numbers: Vec<u32> = Mix::ALL.iter().map(|m| m.file_type()).collect();
        assert_eq!(numbers, [2, 3, 8, 9, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
        assert!(Mix::ALL.iter().all(|m| DType::GGML.contains(&m.base())));
    }
}
