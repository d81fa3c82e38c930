//! Element types of stored tensors, under the names of the safetensors format and of ggml.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! dtypes {
    ($(#[$which:meta] $list:ident { $($variant:ident $text:literal $elements:literal in $bytes:literal,)* })*) => {
        /// The type of a stored tensor's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(non_camel_case_types, reason = "the format's own names")]
        #[allow(missing_docs, clippy::allow_attributes, reason = "each variant is its own name")]
        pub enum DType {
            $($(#[serde(rename = $text)] $variant,)*)*
        }

        impl DType {
            $(
                #[$which]
                pub const $list: &[Self] = &[$(Self::$variant,)*];
            )*

            /// Returns the name used in file headers.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Self::$variant => $text,)*)* }
            }

            /// Returns how many elements are stored together, and in how many bytes.
            #[must_use]
            pub fn block(self) -> (u64, u64) {
                match self { $($(Self::$variant => ($elements, $bytes),)*)* }
            }
        }
    };
}

dtypes! {
    /// What a safetensors file can hold, in that format's order of alignment (`safetensors/src/tensor.rs`, enum `Dtype`).
    SAFETENSORS {
        Bool "BOOL" 1 in 1,
        F4 "F4" 2 in 1,
        F6_E2M3 "F6_E2M3" 4 in 3,
        F6_E3M2 "F6_E3M2" 4 in 3,
        U8 "U8" 1 in 1,
        I8 "I8" 1 in 1,
        F8_E5M2 "F8_E5M2" 1 in 1,
        F8_E4M3 "F8_E4M3" 1 in 1,
        F8_E8M0 "F8_E8M0" 1 in 1,
        F8_E4M3Fnuz "F8_E4M3FNUZ" 1 in 1,
        F8_E5M2Fnuz "F8_E5M2FNUZ" 1 in 1,
        I16 "I16" 1 in 2,
        U16 "U16" 1 in 2,
        F16 "F16" 1 in 2,
        Bf16 "BF16" 1 in 2,
        I32 "I32" 1 in 4,
        U32 "U32" 1 in 4,
        F32 "F32" 1 in 4,
        C64 "C64" 1 in 8,
        F64 "F64" 1 in 8,
        I64 "I64" 1 in 8,
        U64 "U64" 1 in 8,
    }
    /// The block types that only GGUF files hold (`ggml/src/ggml-common.h`): elements of a block, and its bytes.
    GGML {
        Q4_0 "Q4_0" 32 in 18,
        Q4_1 "Q4_1" 32 in 20,
        Q5_0 "Q5_0" 32 in 22,
        Q5_1 "Q5_1" 32 in 24,
        Q8_0 "Q8_0" 32 in 34,
        Q2_K "Q2_K" 256 in 84,
        Q3_K "Q3_K" 256 in 110,
        Q4_K "Q4_K" 256 in 144,
        Q5_K "Q5_K" 256 in 176,
        Q6_K "Q6_K" 256 in 210,
        Iq4Nl "IQ4_NL" 32 in 18,
        Iq4Xs "IQ4_XS" 256 in 136,
    }
}

impl DType {
    /// Returns the type with this name in the header of a safetensors file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::SAFETENSORS.iter().copied().find(|t| t.name() == name)
    }

    /// Returns the bytes that so many elements take; nothing where they fill no whole blocks, or the sum is too large.
    #[must_use]
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        let (together, bytes) = self.block();
        elements.is_multiple_of(together).then(|| (elements / together).checked_mul(bytes)).flatten()
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The number format that a model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single precision, 4 bytes.
    Fp32,
    /// The upper half of a single, 2 bytes.
    Bf16,
    /// IEEE half precision, 2 bytes.
    Fp16,
}

/// Why a text names no precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a precision to compute in; use fp32, bf16 or fp16")]
pub struct PrecisionError {
    /// What was typed.
    pub text: String,
}

impl Precision {
    /// Every precision, widest first.
    pub const ALL: &[Self] = &[Self::Fp32, Self::Bf16, Self::Fp16];

    /// Returns the name used in flags, files and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }

    /// Returns the bytes of one element.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Fp32 => 4,
            Self::Bf16 | Self::Fp16 => 2,
        }
    }

    /// Returns the precision that a stored type already has, if it is one to compute in.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Self::Fp32),
            DType::Bf16 => Some(Self::Bf16),
            DType::F16 => Some(Self::Fp16),
            _ => None,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = PrecisionError;
    fn from_str(text: &str) -> Result<Self, PrecisionError> {
        match text.to_ascii_lowercase().as_str() {
            "fp32" | "f32" | "float32" => Ok(Self::Fp32),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            "fp16" | "f16" | "float16" | "half" => Ok(Self::Fp16),
            _ => Err(PrecisionError { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_type() {
        for dtype in [DType::SAFETENSORS, DType::GGML].concat() {
            let safetensors = DType::SAFETENSORS.contains(&dtype);
            assert_eq!(DType::from_name(dtype.name()), safetensors.then_some(dtype));
            let json = serde_json::to_string(&dtype).unwrap();
            assert_eq!(json, format!("\"{}\"", dtype.name()));
        }
        assert_eq!(DType::from_name("F8"), None, "there is no plain F8");
    }

    #[test]
    fn whole_blocks_have_a_size_and_others_none() {
        assert_eq!(DType::F16.bytes_of(3), Some(6));
        assert_eq!((DType::F4.bytes_of(4), DType::F4.bytes_of(3)), (Some(2), None));
        assert_eq!((DType::Q4_K.bytes_of(512), DType::Q4_K.bytes_of(500)), (Some(288), None));
        assert_eq!(DType::F64.bytes_of(u64::MAX / 2), None);
    }

    #[test]
    fn precisions_read_back_and_name_the_choices() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(*precision));
        }
        assert_eq!(
            "fp8".parse::<Precision>().map_err(|e| e.to_string()),
            Err("`fp8` is not a precision to compute in; use fp32, bf16 or fp16".to_owned())
        );
    }
}
