//! The types that SDNQ stores weights in (`sdnq/common.py`, `dtype_dict`): integers and floats of nearly any width.

use super::QuantError;
use crate::weights::DType;

/// What the codes of a type stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// Integers.
    Integers,
    /// Floats without infinities and with subnormals; the bias is 2^(exponent-1)-1.
    Floats {
        /// Bits of the exponent.
        exponent: u32,
        /// Bits of the mantissa.
        mantissa: u32,
    },
    /// A float that files have a type for.
    Plain(DType),
}

/// A type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightsType {
    /// What codes stand for.
    pub numbers: Numbers,
    /// Bits of a code.
    pub bits: u32,
    /// Unsigned codes come with a zero point, or with a codebook.
    pub signed: bool,
}

/// Short names and what they mean, of floats: bits, exponent.
const SIGNED_FLOATS: [(u32, u32); 13] =
    [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (9, 4), (10, 5), (11, 5), (12, 5), (13, 5), (14, 5), (15, 5)];
const UNSIGNED_FLOATS: [(u32, u32); 16] =
    [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3), (7, 3), (8, 4), (9, 4), (10, 5), (11, 5), (12, 5), (13, 5), (14, 5), (15, 5), (16, 5)];
/// The widest exponent of a float that has no type of its own.
const MOST_EXPONENT: u32 = 5;
/// The name of the float of 8 bits that has the extents of `float8_e4m3fn` and no codes that are no numbers.
const E4M3_OWN: &str = "float8_e4m3fn_sdnq";

impl WeightsType {
    /// Eight signed bits, the type that nothing else is asked for by.
    pub const INT8: Self = Self::integers(8, true);

    /// Returns the type of integers of so many bits.
    #[must_use]
    pub const fn integers(bits: u32, signed: bool) -> Self {
        Self { numbers: Numbers::Integers, bits, signed }
    }

    /// Reads a name or a short one, in any case.
    pub fn parse(name: &str) -> Result<Self, QuantError> {
        let lower = name.to_ascii_lowercase();
        read_integers(&lower).or_else(|| read_plain(&lower)).or_else(|| read_short(&lower)).or_else(|| read_floats(&lower)).ok_or_else(
            || {
                let expected = "a type that can be read here, such as int8, uint4 or float8_e4m3fn";
                QuantError::Described { what: "weights_dtype", found: name.chars().take(40).collect(), expected }
            },
        )
    }

    /// Returns the full name.
    #[must_use]
    pub fn name(self) -> String {
        match self.numbers {
            Numbers::Integers => format!("{}int{}", if self.signed { "" } else { "u" }, self.bits),
            Numbers::Plain(DType::F8_E4M3) => "float8_e4m3fn".to_owned(),
            Numbers::Plain(DType::F8_E5M2) => "float8_e5m2".to_owned(),
            Numbers::Plain(DType::Bf16) => "bfloat16".to_owned(),
            Numbers::Plain(_) => format!("float{}", self.bits),
            Numbers::Floats { exponent: 4, mantissa: 3 } if self.signed => E4M3_OWN.to_owned(),
            Numbers::Floats { exponent, mantissa } => {
                format!("float{}_e{exponent}m{mantissa}fn{}", self.bits, if self.signed { "" } else { "u" })
            }
        }
    }

    /// Returns whether codes of several weights share words.
    #[must_use]
    pub fn is_packed(self) -> bool {
        !matches!(self.bits, 8 | 16 | 32)
    }

    /// Returns the type that the codes, or the words with them, have in a file.
    #[must_use]
    pub fn storage(self) -> DType {
        match (self.numbers, self.bits) {
            (Numbers::Plain(dtype), _) => dtype,
            (Numbers::Integers, 8) if self.signed => DType::I8,
            (Numbers::Integers, 16) if self.signed => DType::I16,
            (_, 16) => DType::U16,
            // Libtorch widens what is shifted, and the reference stores it so.
            (_, 1) => DType::I64,
            (_, 9..) => DType::I16,
            _ => DType::U8,
        }
    }

    /// Returns how many weights are stored together, and in how many bytes: what a part of a tensor consists of.
    #[must_use]
    pub fn together(self) -> (usize, usize) {
        match self.bits {
            1 => (8, 8),
            2 => (4, 1),
            3 | 5 | 7 | 10 | 14 => (8, self.bits as usize),
            4 => (2, 1),
            6 => (4, 3),
            9 | 11 | 13 | 15 => (16, 2 * self.bits as usize),
            12 => (4, 6),
            bits => (1, bits as usize / 8),
        }
    }

    /// Returns the bytes of so many weights; nothing where they do not fill their words.
    #[must_use]
    pub fn bytes_of(self, weights: usize) -> Option<usize> {
        let (together, bytes) = self.together();
        weights.is_multiple_of(together).then(|| (weights / together).checked_mul(bytes)).flatten()
    }

    /// Returns the range of what codes stand for.
    #[must_use]
    pub fn range(self) -> (f32, f32) {
        match self.numbers {
            Numbers::Integers if self.signed => (-(2.0_f32.powi(self.bits as i32 - 1)), 2.0_f32.powi(self.bits as i32 - 1) - 1.0),
            Numbers::Integers => (0.0, 2.0_f32.powi(self.bits as i32) - 1.0),
            Numbers::Plain(dtype) => {
                let most = match dtype {
                    DType::F8_E4M3 => 448.0,
                    DType::F8_E5M2 => 57344.0,
                    DType::F16 => 65504.0,
                    // The reference's figures, which are a little short.
                    DType::Bf16 => 3.389_53e38,
                    _ => 3.402_82e38,
                };
                (-most, most)
            }
            Numbers::Floats { exponent, mantissa } => {
                let most = (2.0 - 2.0_f32.powi(-(mantissa as i32))) * 2.0_f32.powi(1 << (exponent - 1));
                (if self.signed { -most } else { 0.0 }, most)
            }
        }
    }
}

fn read_integers(name: &str) -> Option<WeightsType> {
    if matches!(name, "int1" | "bool") {
        return Some(WeightsType::integers(1, false));
    }
    let (signed, bits) = match name.strip_prefix("uint") {
        Some(bits) => (false, bits),
        None => (true, name.strip_prefix("int")?),
    };
    let bits: u32 = bits.parse().ok()?;
    let fine = if signed { (2..=16).contains(&bits) } else { (1..=16).contains(&bits) };
    fine.then(|| WeightsType::integers(bits, signed))
}

fn read_plain(name: &str) -> Option<WeightsType> {
    let (dtype, bits) = match name {
        "fp8" | "float8_e4m3fn" => (DType::F8_E4M3, 8),
        "float8_e5m2" => (DType::F8_E5M2, 8),
        "fp16" | "float16" => (DType::F16, 16),
        "bf16" | "bfloat16" => (DType::Bf16, 16),
        "fp32" | "float32" => (DType::F32, 32),
        _ => return None,
    };
    Some(WeightsType { numbers: Numbers::Plain(dtype), bits, signed: true })
}

fn read_short(name: &str) -> Option<WeightsType> {
    let (signed, bits) = match name.strip_prefix("ufp") {
        Some(bits) => (false, bits),
        None => (name != "fp1", name.strip_prefix("fp")?),
    };
    let bits: u32 = bits.parse().ok()?;
    let known: &[(u32, u32)] = if signed { &SIGNED_FLOATS } else { &UNSIGNED_FLOATS };
    known.iter().find(|(b, _)| *b == bits).and_then(|(_, exponent)| floats(bits, *exponent, signed))
}

/// Reads `float4_e2m1fn` and its like.
fn read_floats(name: &str) -> Option<WeightsType> {
    let (rest, signed) = match name.strip_suffix("fnu") {
        Some(rest) => (rest, false),
        None => (name.strip_suffix("_sdnq").unwrap_or(name).strip_suffix("fn")?, true),
    };
    let (bits, rest) = rest.strip_prefix("float")?.split_once("_e")?;
    let (exponent, mantissa) = rest.split_once('m')?;
    let kind = floats(bits.parse().ok()?, exponent.parse().ok()?, signed)?;
    let Numbers::Floats { mantissa: expected, .. } = kind.numbers else { return None };
    (mantissa.parse() == Ok(expected)).then_some(kind)
}

fn floats(bits: u32, exponent: u32, signed: bool) -> Option<WeightsType> {
    let mantissa = bits.checked_sub(exponent + u32::from(signed))?;
    let fine = (1..=16).contains(&bits) && (1..=MOST_EXPONENT).contains(&exponent);
    fine.then_some(WeightsType { numbers: Numbers::Floats { exponent, mantissa }, bits, signed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_type() {
        let integers = (2..=16).map(|b| WeightsType::integers(b, true)).chain((1..=16).map(|b| WeightsType::integers(b, false)));
        let plain = ["float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32"].map(|n| WeightsType::parse(n).unwrap());
        let pairs = (1..=16).flat_map(|bits| (1..=5).flat_map(move |e| [true, false].map(|signed| floats(bits, e, signed))));
        let mut count = 0;
        for kind in integers.chain(plain).chain(pairs.flatten()) {
            assert_eq!(WeightsType::parse(&kind.name()), Ok(kind), "{}", kind.name());
            count += 1;
        }
        // The reference's own 139 types with a range, less those of 32 bits that nobody stores.
        assert!(count > 130, "{count}");
    }

    #[test]
    fn short_names_are_read() {
        let full = |name: &str| WeightsType::parse(name).unwrap().name();
        let signed = ["fp2", "fp3", "fp4", "fp5", "fp6", "fp7", "fp8", "fp9", "fp15", "FP16", "bf16"].map(full);
        assert_eq!(
            signed,
            [
                "float2_e1m0fn",
                "float3_e1m1fn",
                "float4_e2m1fn",
                "float5_e2m2fn",
                "float6_e3m2fn",
                "float7_e3m3fn",
                "float8_e4m3fn",
                "float9_e4m4fn",
                "float15_e5m9fn",
                "float16",
                "bfloat16"
            ]
        );
        assert_eq!(
            ["fp1", "ufp4", "ufp8", "int1", "bool"].map(full),
            ["float1_e1m0fnu", "float4_e2m2fnu", "float8_e4m4fnu", "uint1", "uint1"]
        );
    }

    #[test]
    fn names_of_nothing_are_refused() {
        for name in [
            "",
            "int",
            "int17",
            "int32",
            "uint0",
            "fp17",
            "float8_e9m3fn",
            "float8_e4m2fn",
            "float8_e8m0fnu",
            "float8_e4m3fnuz",
            "float4_e0m3fn",
        ] {
            assert!(WeightsType::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn ranges_are_those_of_the_reference() {
        let range = |name: &str| WeightsType::parse(name).unwrap().range();
        let expected = [
            ("int8", (-128.0, 127.0)),
            ("uint4", (0.0, 15.0)),
            ("float4_e2m1fn", (-6.0, 6.0)),
            ("float6_e3m2fn", (-28.0, 28.0)),
            ("float8_e4m3fn_sdnq", (-480.0, 480.0)),
            ("float2_e1m0fn", (-2.0, 2.0)),
            ("float4_e2m2fnu", (0.0, 7.0)),
            ("float16_e5m10fn", (-131_008.0, 131_008.0)),
        ];
        for (name, ends) in expected {
            assert_eq!(range(name), ends, "{name}");
        }
    }

    #[test]
    fn storage_says_what_a_file_holds() {
        let stored = |name: &str| WeightsType::parse(name).map(|k| (k.storage(), k.bytes_of(48))).unwrap();
        assert_eq!(stored("int8"), (DType::I8, Some(48)));
        assert_eq!(stored("uint4"), (DType::U8, Some(24)));
        assert_eq!(stored("int7"), (DType::U8, Some(42)));
        assert_eq!(stored("uint1"), (DType::I64, Some(48)));
        assert_eq!(stored("int12"), (DType::I16, Some(72)));
        assert_eq!(stored("float16_e5m10fn"), (DType::U16, Some(96)));
        assert_eq!(stored("float8_e4m3fn"), (DType::F8_E4M3, Some(48)));
        assert_eq!(WeightsType::INT8.name(), "int8");
        assert_eq!(WeightsType::parse("uint3").unwrap().bytes_of(12), None);
    }
}
