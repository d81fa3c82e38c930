//! The configuration that SDNQ puts beside weights (`sdnq/quantizer.py`, `SDNQConfig`; `sdnq/utils.py`).

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::QuantError;
use super::sdnq::Habits;
use super::sdnq_names::first_match;
use super::sdnq_type::WeightsType;

/// The version that the codecs are checked against, and that files are written for.
pub const VERSION: &str = "0.2.8";
/// The name of the method in a configuration.
pub const METHOD: &str = "sdnq";
/// A weight with fewer numbers, or shorter rows, is not worth it: the reference's defaults.
pub(super) const LEAST_NUMBERS: u64 = 16384;
pub(super) const LEAST_ROW: u64 = 32;
/// The rotation's size where none is configured: since 0.2.1, and before.
const ROTATED: u64 = 256;
const ROTATED_ONCE: u64 = 128;

/// What is configured for a whole model, as far as reading and writing depends on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The type of all weights that nothing else is said of.
    pub weights_dtype: WeightsType,
    /// What scales are stored in where they are quantised too.
    pub scale_dtype: Option<String>,
    /// What zero points are stored in; none means the same as the scales.
    pub zero_point_dtype: Option<String>,
    /// How many numbers share a scale: 0 leaves it to the version that wrote the file, -1 means a whole row.
    pub group_size: i64,
    /// How many numbers are rotated together at most.
    pub hadamard_group_size: usize,
    /// Weights were rotated before they were quantised.
    pub use_hadamard: bool,
    /// Scales are levels of a codebook.
    pub use_codebook: bool,
    /// Parts of low rank are stored with transposed extents, and rows of 8 bits with transposed weights.
    pub use_quantized_matmul: bool,
    /// Names of what is not quantised.
    pub modules_to_not_convert: Vec<String>,
    /// Types for weights by names, in the order of the file.
    pub modules_dtype_dict: Vec<(String, Vec<String>)>,
    /// Fields of their own for weights by names, in the order of the file.
    pub modules_quant_config: Vec<(String, Value)>,
    /// The version that wrote the file; none counts as the current one.
    pub version: Option<String>,
}

impl Config {
    /// Returns what is configured where nothing is but the type.
    #[must_use]
    pub fn of(weights_dtype: WeightsType) -> Self {
        Self {
            weights_dtype,
            scale_dtype: None,
            zero_point_dtype: None,
            group_size: 0,
            hadamard_group_size: ROTATED as usize,
            use_hadamard: false,
            use_codebook: false,
            use_quantized_matmul: false,
            modules_to_not_convert: Vec::new(),
            modules_dtype_dict: Vec::new(),
            modules_quant_config: Vec::new(),
            version: Some(VERSION.to_owned()),
        }
    }

    /// Reads a configuration, or a model's configuration with one inside. Unknown fields are passed over, missing ones have defaults.
    pub fn parse(bytes: &[u8]) -> Result<Self, QuantError> {
        let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let ordered: Ordered = serde_json::from_slice(bytes).unwrap_or_default();
        let json = json.get("quantization_config").filter(|inner| inner.is_object()).unwrap_or(&json);
        let ordered = Ordered::inner(ordered);
        let object = json.as_object().ok_or_else(|| described("quantization_config", json, "a JSON object"))?;
        match object.get("quant_method").map(Value::as_str) {
            None | Some(Some(METHOD)) => {}
            Some(_) => return Err(described("quant_method", object.get("quant_method").unwrap_or(json), METHOD)),
        }
        let version = text(object, "sdnq_version")?;
        let rotated = if before(version.as_deref(), [0, 2, 1]) { ROTATED_ONCE } else { ROTATED };
        let weights_dtype = text(object, "weights_dtype")?.map_or(Ok(WeightsType::INT8), |name| WeightsType::parse(&name))?;
        let group_size = integer(object, "group_size", 0)?;
        let hadamard_group_size = usize::try_from(integer(object, "hadamard_group_size", rotated as i64)?).unwrap_or(0);
        Ok(Self {
            weights_dtype,
            scale_dtype: text(object, "scale_dtype")?.filter(|name| name != "none"),
            zero_point_dtype: text(object, "zero_point_dtype")?.filter(|name| name != "none"),
            group_size,
            hadamard_group_size,
            use_hadamard: switch(object, "use_hadamard")?,
            use_codebook: switch(object, "use_codebook")?,
            use_quantized_matmul: switch(object, "use_quantized_matmul")?,
            modules_to_not_convert: object.get("modules_to_not_convert").map_or_else(Vec::new, names),
            modules_dtype_dict: ordered.modules_dtype_dict.0.iter().map(|(key, value)| (key.clone(), names(value))).collect(),
            modules_quant_config: ordered.modules_quant_config.0,
            version,
        })
    }

    /// Returns the JSON with every field of the reference, in its order.
    #[must_use]
    pub fn to_json(&self) -> String {
        let types: Vec<String> = self.modules_dtype_dict.iter().map(|(k, v)| format!("{}: {}", json!(k), json!(v))).collect();
        let own: Vec<String> = self.modules_quant_config.iter().map(|(k, v)| format!("{}: {v}", json!(k))).collect();
        let integers = self.weights_dtype.numbers == super::sdnq_type::Numbers::Integers;
        let object = |entries: Vec<String>| format!("{{{}}}", entries.join(", "));
        let fields: Vec<(&str, Value)> = vec![
            ("weights_dtype", json!(self.weights_dtype.name())),
            ("scale_dtype", json!(self.scale_dtype)),
            ("zero_point_dtype", json!(self.zero_point_dtype)),
            ("quantized_matmul_dtype", Value::Null),
            ("is_training", json!(false)),
            ("hadamard_group_size", json!(self.hadamard_group_size)),
            ("group_size", json!(self.group_size)),
            ("svd_rank", json!(32)),
            ("dynamic_loss_threshold", Value::Null),
            ("use_svd", json!(false)),
            ("svd_steps", json!(8)),
            ("codebook_steps", json!(24)),
            ("use_hadamard", json!(self.use_hadamard)),
            ("use_codebook", json!(self.use_codebook)),
            ("use_codebook_scale", json!(false)),
            ("use_grad_ckpt", json!(true)),
            ("quant_conv", json!(false)),
            ("quant_embedding", json!(false)),
            ("use_quantized_matmul", json!(self.use_quantized_matmul)),
            ("use_quantized_matmul_conv", json!(false)),
            ("use_static_quantization", json!(true)),
            ("use_dynamic_quantization", json!(false)),
            ("use_stochastic_rounding", json!(false)),
            ("dequantize_fp32", json!(true)),
            ("non_blocking", json!(false)),
            ("add_skip_keys", json!(true)),
            ("minimum_allowed_numel", json!(LEAST_NUMBERS)),
            ("minimum_allowed_channel_size", json!(LEAST_ROW)),
            ("modules_to_not_convert", json!(self.modules_to_not_convert)),
            ("modules_to_not_use_matmul", json!([])),
            ("modules_dtype_dict", json!({})),
            ("modules_quant_config", json!({})),
            ("quantization_device", Value::Null),
            ("return_device", Value::Null),
            ("sdnq_version", json!(self.version.as_deref().unwrap_or(VERSION))),
            ("is_integer", json!(integers)),
            ("is_unsigned", json!(!self.weights_dtype.signed)),
            ("quant_method", json!(METHOD)),
        ];
        let (types, own) = (object(types), object(own));
        let line = |(key, value): &(&str, Value)| match *key {
            // A map of values would be in the order of the alphabet.
            "modules_dtype_dict" => format!("  \"{key}\": {types}"),
            "modules_quant_config" => format!("  \"{key}\": {own}"),
            _ => format!("  \"{key}\": {value}"),
        };
        format!("{{\n{}\n}}\n", fields.iter().map(line).collect::<Vec<_>>().join(",\n"))
    }

    /// Returns how the version that wrote the file reads it.
    #[must_use]
    pub fn habits(&self) -> Habits {
        let before = |version| before(self.version.as_deref(), version);
        Habits { subnormals: !before([0, 2, 2]), order_four: !before([0, 2, 1]) }
    }

    /// Returns what is configured for one weight, by its whole name with `.weight`.
    pub fn layer(&self, name: &str) -> Result<Self, QuantError> {
        let mut own = self.clone();
        let config = self.modules_quant_config.iter().find(|(key, _)| first_match(name, [key.as_str()]).is_some());
        if let Some(fields) = config.and_then(|(_, fields)| fields.as_object()) {
            own.weights_dtype = text(fields, "weights_dtype")?.map_or(Ok(own.weights_dtype), |name| WeightsType::parse(&name))?;
            own.group_size = integer(fields, "group_size", own.group_size)?;
            let rotated = integer(fields, "hadamard_group_size", own.hadamard_group_size as i64)?;
            own.hadamard_group_size = usize::try_from(rotated).unwrap_or(0);
            own.scale_dtype = text(fields, "scale_dtype")?.or(own.scale_dtype);
            own.zero_point_dtype = text(fields, "zero_point_dtype")?.or(own.zero_point_dtype);
            for (which, key) in [
                (&mut own.use_hadamard, "use_hadamard"),
                (&mut own.use_codebook, "use_codebook"),
                (&mut own.use_quantized_matmul, "use_quantized_matmul"),
            ] {
                *which = if fields.contains_key(key) { switch(fields, key)? } else { *which };
            }
        }
        let entry = self.modules_dtype_dict.iter().find(|(_, names)| first_match(name, names.iter().map(String::as_str)).is_some());
        if let Some((key, _)) = entry {
            own.weights_dtype = raised(own.weights_dtype, key)?;
        }
        Ok(own)
    }
}

/// Returns the type that a key of `modules_dtype_dict` makes of this one: its own name, or a least number of bits.
fn raised(kind: WeightsType, key: &str) -> Result<WeightsType, QuantError> {
    let lower = key.to_ascii_lowercase();
    let bare = lower.strip_suffix("bits").or_else(|| lower.strip_suffix("bit"));
    let least = lower.strip_prefix("minimum");
    if bare.is_none() && least.is_none() {
        return WeightsType::parse(&lower);
    }
    let bits = bare.unwrap_or(&lower);
    let bits = bits.strip_prefix("minimum").unwrap_or(bits).trim_matches(['-', '_']);
    let (unsigned, bits) = match bits.strip_prefix("uint") {
        Some(bits) => (true, bits),
        None => (false, bits.strip_prefix("int").unwrap_or(bits)),
    };
    let expected = "a type, or minimum_ and a number of bits";
    let count: u32 = bits.parse().map_err(|_| QuantError::Described { what: "modules_dtype_dict", found: key.to_owned(), expected })?;
    if kind.bits >= count {
        return Ok(kind);
    }
    // The reference has no use for signs where there are few codes.
    let sign = if unsigned || count <= 4 { "u" } else { "" };
    WeightsType::parse(&format!("{sign}int{count}"))
}

/// Returns how many numbers of a row share a scale in a file of the current version, where the configured size is 0 or any other.
///
/// A linear layer's row of `channels` numbers is cut into equal groups of about the size.
#[must_use]
pub fn group_of(kind: WeightsType, configured: i64, channels: usize) -> usize {
    let wanted = match usize::try_from(configured) {
        Ok(0) => 1_usize << (2 + kind.bits.min(32)),
        Ok(size) => size,
        Err(_) => return channels,
    };
    let mut groups = channels / wanted;
    if groups * wanted != channels {
        // The reference counts down from here even where this count would do.
        groups = groups.saturating_sub(1);
    }
    while groups > 1 && !channels.is_multiple_of(groups) {
        groups -= 1;
    }
    channels / groups.max(1)
}

/// Returns whether a version is before another. What is no version, and none, is the current one.
fn before(version: Option<&str>, other: [u32; 3]) -> bool {
    let Some(version) = version else { return false };
    let mut numbers = version.split('.').map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>());
    let mut next = || numbers.next().and_then(Result::ok);
    match (next(), next()) {
        (Some(major), Some(minor)) => [major, minor, next().unwrap_or(0)] < other,
        _ => false,
    }
}

fn described(what: &'static str, found: &Value, expected: &'static str) -> QuantError {
    QuantError::Described { what, found: found.to_string().chars().take(80).collect(), expected }
}

fn text(object: &Map<String, Value>, what: &'static str) -> Result<Option<String>, QuantError> {
    match object.get(what) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(found) => Err(described(what, found, "a text")),
    }
}

fn integer(object: &Map<String, Value>, what: &'static str, otherwise: i64) -> Result<i64, QuantError> {
    match object.get(what) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(found) => found.as_i64().ok_or_else(|| described(what, found, "an integer")),
    }
}

fn switch(object: &Map<String, Value>, what: &'static str) -> Result<bool, QuantError> {
    match object.get(what) {
        None | Some(Value::Null) => Ok(false),
        Some(found) => found.as_bool().ok_or_else(|| described(what, found, "true or false")),
    }
}

/// Reads one name or a list of them.
fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// The fields whose order says what comes first.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ordered {
    modules_dtype_dict: Entries,
    modules_quant_config: Entries,
    quantization_config: Option<Box<Ordered>>,
}

impl Ordered {
    fn inner(mut self) -> Self {
        self.quantization_config.take().map_or(self, |inner| *inner)
    }
}

/// An object's fields as they stand; none where there is something else.
#[derive(Debug, Default)]
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or null")
            }
            fn visit_unit<E>(self) -> Result<Entries, E> {
                Ok(Entries::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_any(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut config = Config::of(WeightsType::integers(4, false));
        config.modules_to_not_convert = vec!["x_embedder".to_owned(), ".proj_out".to_owned()];
        config.modules_dtype_dict =
            vec![("minimum_6bit".to_owned(), vec!["to_q".to_owned()]), ("int8".to_owned(), vec!["norm*".to_owned()])];
        config.modules_quant_config = vec![("b".to_owned(), json!({"group_size": 8})), ("a".to_owned(), json!({"use_hadamard": true}))];
        let text = config.to_json();
        assert!(text.starts_with("{\n  \"weights_dtype\": \"uint4\",\n  \"scale_dtype\": null,"), "{text}");
        assert!(text.contains(r#""is_integer": true,"#) && text.contains(r#""is_unsigned": true,"#), "{text}");
        assert!(text.ends_with("\"quant_method\": \"sdnq\"\n}\n"), "{text}");
        assert_eq!(Config::parse(text.as_bytes()), Ok(config.clone()));
        let outer = format!(r#"{{"_class_name": "X", "quantization_config": {text}}}"#);
        assert_eq!(Config::parse(outer.as_bytes()), Ok(config));
    }

    #[test]
    fn missing_fields_have_the_defaults_of_their_version() {
        let read = |text: &str| Config::parse(text.as_bytes()).unwrap();
        assert_eq!(read("{}"), Config { version: None, ..Config::of(WeightsType::INT8) });
        let rotated = |version: &str| read(&format!(r#"{{"sdnq_version": "{version}"}}"#));
        let all =
            ["0.1.9", "0.2.0", "0.2.1", "0.2.2", "0.2.10", "1.0", "new"].map(|v| (rotated(v).hadamard_group_size, rotated(v).habits()));
        let habits = |subnormals, order_four| Habits { subnormals, order_four };
        let (old, new) = ((128, habits(false, false)), (256, Habits::CURRENT));
        assert_eq!(all, [old, old, (256, habits(false, true)), new, new, new, new]);
        assert_eq!(read(r#"{"modules_to_not_convert": "lm_head", "modules_dtype_dict": null}"#).modules_to_not_convert, ["lm_head"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in
            ["", "[]", r#"{"quant_method": "gptq"}"#, r#"{"weights_dtype": "int33"}"#, r#"{"group_size": "64"}"#, r#"{"use_hadamard": 1}"#]
        {
            assert!(Config::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(raised(WeightsType::INT8, "minimum_bits").is_err());
    }

    #[test]
    fn a_weight_may_have_a_type_of_its_own() {
        let text = r#"{"weights_dtype": "uint4", "modules_dtype_dict": {"minimum_6bit": ["to_q"], "uint2": ["to_q", "to_k"], "uint3bits": ["to_v"]},
            "modules_quant_config": {"ff": {"weights_dtype": "int8", "group_size": -1, "use_hadamard": true}}}"#;
        let config = Config::parse(text.as_bytes()).unwrap();
        let own = |name: &str| config.layer(name).map(|c| (c.weights_dtype.name(), c.group_size, c.use_hadamard)).unwrap();
        assert_eq!(own("a.to_q.weight"), ("int6".to_owned(), 0, false), "the first that names it");
        assert_eq!(own("a.to_k.weight"), ("uint2".to_owned(), 0, false));
        assert_eq!(own("a.to_v.weight"), ("uint4".to_owned(), 0, false), "it has more bits already");
        assert_eq!(own("a.ff.weight"), ("int8".to_owned(), -1, true));
        assert_eq!(own("a.weight"), ("uint4".to_owned(), 0, false));
    }

    #[test]
    fn rows_are_cut_as_in_the_reference() {
        let groups = |name: &str, configured, channels| group_of(WeightsType::parse(name).unwrap(), configured, channels);
        assert_eq!([groups("int8", 0, 3072), groups("int8", 0, 1024), groups("int8", -1, 3072)], [1024, 1024, 3072]);
        assert_eq!([groups("uint4", 0, 3072), groups("uint4", 0, 48), groups("uint4", 0, 1100)], [64, 48, 100]);
        assert_eq!([groups("uint4", 0, 130), groups("uint4", 32, 64), groups("int8", 0, 0)], [130, 32, 0]);
    }
}
