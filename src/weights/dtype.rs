//! Element types of stored tensors, under the names of the safetensors format.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! dtypes {
    ($($variant:ident $text:literal $bits:literal,)*) => {
        /// The type of a stored tensor's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[expect(non_camel_case_types, reason = "the format's own names")]
        #[allow(missing_docs, clippy::allow_attributes, reason = "each variant is its own name")]
        pub enum DType {
            $(#[serde(rename = $text)] $variant,)*
        }

        impl DType {
            /// Every element type, in the format's order of alignment.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name used in file headers.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the size of one element in bits.
            #[must_use]
            pub fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits,)* }
            }
        }
    };
}

// Order and widths: safetensors, `safetensors/src/tensor.rs`, enum `Dtype`.
dtypes! {
    Bool "BOOL" 8,
    F4 "F4" 4,
    F6_E2M3 "F6_E2M3" 6,
    F6_E3M2 "F6_E3M2" 6,
    U8 "U8" 8,
    I8 "I8" 8,
    F8_E5M2 "F8_E5M2" 8,
    F8_E4M3 "F8_E4M3" 8,
    F8_E8M0 "F8_E8M0" 8,
    F8_E4M3Fnuz "F8_E4M3FNUZ" 8,
    F8_E5M2Fnuz "F8_E5M2FNUZ" 8,
    I16 "I16" 16,
    U16 "U16" 16,
    F16 "F16" 16,
    Bf16 "BF16" 16,
    I32 "I32" 32,
    U32 "U32" 32,
    F32 "F32" 32,
    C64 "C64" 64,
    F64 "F64" 64,
    I64 "I64" 64,
    U64 "U64" 64,
}

impl DType {
    /// Returns the type with this header name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.name() == name)
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
        for dtype in DType::ALL {
            assert_eq!(DType::from_name(dtype.name()), Some(*dtype));
            let json = serde_json::to_string(dtype).unwrap();
            assert_eq!(json, format!("\"{}\"", dtype.name()));
        }
        assert_eq!(DType::from_name("F8"), None, "there is no plain F8");
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
