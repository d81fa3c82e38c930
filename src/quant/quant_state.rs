//! What bitsandbytes writes beside weights of 4 bits: the JSON of `quant_state` (`functional.py`, `QuantState.as_dict`).

use serde_json::Value;

use super::QuantError;
use super::nf4::{BLOCK, BLOCKS, FP4, NESTED_BLOCK, NF4};
use crate::weights::{DType, Shape};

/// Which codebook weights of 4 bits have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FourBit {
    /// Quantiles of the normal distribution.
    Nf4,
    /// A float of 4 bits.
    Fp4,
}

impl FourBit {
    /// Both.
    pub const ALL: &[Self] = &[Self::Nf4, Self::Fp4];

    /// Returns the format's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }

    /// Returns its own codebook, for files that bring none.
    #[must_use]
    pub fn codebook(self) -> &'static [f32; 16] {
        match self {
            Self::Nf4 => &NF4,
            Self::Fp4 => &FP4,
        }
    }

    /// Returns the codebook of a weight: what its file brings, or its own.
    #[must_use]
    pub fn codebook_or(self, brought: Option<&[f32]>) -> &[f32; 16] {
        brought.and_then(|book| book.try_into().ok()).unwrap_or_else(|| self.codebook())
    }

    /// Returns the end of the key that the JSON is stored under, after the weight's own key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Nf4 => ".quant_state.bitsandbytes__nf4",
            Self::Fp4 => ".quant_state.bitsandbytes__fp4",
        }
    }
}

/// What the JSON says of scales that are quantised too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NestedState {
    /// How many scales share one.
    pub block: usize,
    /// What is added to each.
    pub offset: f32,
}

/// How a weight of 4 bits is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantState {
    /// The codebook.
    pub code: FourBit,
    /// How many weights share a scale.
    pub block: usize,
    /// What weights are widened to: F16, BF16 or F32.
    pub dtype: DType,
    /// The weight's extents, which its stored bytes do not show.
    pub shape: Shape,
    /// Present where the scales are quantised too.
    pub nested: Option<NestedState>,
}

impl QuantState {
    /// Returns the JSON, with the reference's spaces and order of keys.
    #[must_use]
    pub fn to_json(&self) -> String {
        let extents: Vec<String> = self.shape.0.iter().map(u64::to_string).collect();
        let dtype = DTYPES.iter().find(|(_, d)| *d == self.dtype).map_or("float32", |(name, _)| name);
        let nested = self.nested.map_or_else(String::new, |nested| {
            let (block, offset) = (nested.block, f64::from(nested.offset));
            format!(r#", "nested_blocksize": {block}, "nested_dtype": "float32", "nested_offset": {}"#, number(offset))
        });
        let (code, block, extents) = (self.code.name(), self.block, extents.join(", "));
        format!(r#"{{"quant_type": "{code}", "blocksize": {block}, "dtype": "{dtype}", "shape": [{extents}]{nested}}}"#)
    }

    /// Reads the JSON, whose key says which codebook it is. The order of fields is free, and unknown ones are passed over.
    pub fn parse(bytes: &[u8], named: FourBit) -> Result<Self, QuantError> {
        let text = String::from_utf8_lossy(bytes);
        let json = serde_json::from_str::<Value>(text.trim_matches(['\0', ' ', '\n'])).ok().filter(Value::is_object);
        let json = json.ok_or_else(|| described("quant_state", text.chars().take(80).collect::<String>(), "a JSON object"))?;
        let shape = json.get("shape").ok_or(QuantError::Missing { field: "shape" })?;
        let extents = shape.as_array().and_then(|extents| extents.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
        let extents = extents.map(Shape).filter(|shape| shape.elements().is_some());
        let nested = match json.get("nested_offset").filter(|v| !v.is_null()) {
            None => None,
            Some(offset) => {
                let number = offset.as_f64().filter(|o| o.is_finite());
                let offset = number.ok_or_else(|| described("nested_offset", offset.to_string(), "a number"))?;
                Some(NestedState { block: block(&json, "nested_blocksize", NESTED_BLOCK)?, offset: offset as f32 })
            }
        };
        Ok(Self {
            code: name(&json, "quant_type", named, "nf4 or fp4", |name| FourBit::ALL.iter().copied().find(|c| c.name() == name))?,
            block: block(&json, "blocksize", BLOCK)?,
            dtype: name(&json, "dtype", DType::F32, "float16, bfloat16 or float32", dtype_of)?,
            shape: extents.ok_or_else(|| described("shape", shape.to_string(), "a list of extents"))?,
            nested,
        })
    }
}

/// Writes a number as Python does, with two digits of a small exponent at least.
fn number(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once("e-") {
        Some((digits, exponent)) if exponent.len() == 1 => format!("{digits}e-0{exponent}"),
        _ => text,
    }
}

/// The types that weights are widened to, by libtorch's names.
const DTYPES: [(&str, DType); 3] = [("float16", DType::F16), ("bfloat16", DType::Bf16), ("float32", DType::F32)];

fn dtype_of(name: &str) -> Option<DType> {
    let name = name.strip_prefix("torch.").unwrap_or(name);
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

fn name<T>(
    json: &Value,
    what: &'static str,
    otherwise: T,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, QuantError> {
    match json.get(what).filter(|v| !v.is_null()) {
        None => Ok(otherwise),
        Some(found) => found.as_str().and_then(read).ok_or_else(|| described(what, found.to_string(), expected)),
    }
}

fn block(json: &Value, what: &'static str, otherwise: usize) -> Result<usize, QuantError> {
    let Some(found) = json.get(what).filter(|v| !v.is_null()) else { return Ok(otherwise) };
    let size = found.as_u64().and_then(|n| usize::try_from(n).ok());
    let size = size.filter(|n| n.is_power_of_two() && (BLOCKS.0..=BLOCKS.1).contains(n));
    size.ok_or_else(|| described(what, found.to_string(), "a power of two from 32 to 4096"))
}

fn described(what: &'static str, found: impl Into<String>, expected: &'static str) -> QuantError {
    QuantError::Described { what, found: found.into(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> QuantState {
        QuantState { code: FourBit::Nf4, block: 64, dtype: DType::Bf16, shape: Shape::from([3072, 64]), nested: None }
    }

    #[test]
    fn the_json_is_that_of_the_reference() {
        let text = r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [3072, 64]}"#;
        assert_eq!(state().to_json(), text);
        assert_eq!(QuantState::parse(text.as_bytes(), FourBit::Fp4), Ok(state()), "what the JSON says counts");
    }

    #[test]
    fn quantised_scales_are_described_too() {
        let nested = QuantState { nested: Some(NestedState { block: 256, offset: 0.011_718_75 }), ..state() };
        let text = nested.to_json();
        assert!(text.contains(r#", "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.01171875"#), "{text}");
        assert_eq!(QuantState::parse(text.as_bytes(), FourBit::Nf4), Ok(nested));
    }

    #[test]
    fn what_others_write_is_read() {
        let text = b"{\"shape\":[8,8],\"more\":{},\"dtype\":\"torch.float16\",\"nested_offset\":null}\n\0";
        let read = QuantState::parse(text, FourBit::Fp4).unwrap();
        assert_eq!(read, QuantState { code: FourBit::Fp4, dtype: DType::F16, shape: Shape::from([8, 8]), ..state() });
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |text: &str| QuantState::parse(text.as_bytes(), FourBit::Nf4).unwrap_err().to_string();
        assert_eq!(refused("[1"), "quant_state of quantised weights: `[1` is not a JSON object");
        assert_eq!(refused("{}"), "the description of quantised weights has no `shape`");
        assert_eq!(refused(r#"{"shape":[-1]}"#), "shape of quantised weights: `[-1]` is not a list of extents");
        let huge = format!(r#"{{"shape":[{0},{0}]}}"#, u64::MAX);
        assert!(refused(&huge).contains("is not a list of extents"));
        for size in ["0", "63", "8192", "-64", "\"64\""] {
            let text = format!(r#"{{"shape":[1],"blocksize":{size}}}"#);
            assert!(refused(&text).contains("is not a power of two from 32 to 4096"), "{size}");
        }
        assert!(refused(r#"{"shape":[1],"dtype":"int8"}"#).contains("is not float16, bfloat16 or float32"));
        assert!(refused(r#"{"shape":[1],"quant_type":"nf5"}"#).contains("is not nf4 or fp4"));
    }
}
