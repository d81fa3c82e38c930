//! Puts what belongs to a weight back to it: scales, codebooks and zero points that files store as tensors of their own.
//!
//! Afterwards a catalog has one entry for each weight, under its name and with the shape of its numbers, whatever it is stored as,
//! so that a model is recognised and cut into blocks the same way in every storage.

use std::collections::{BTreeMap, BTreeSet};

use super::QuantError;
use super::nf4::BLOCKS;
use super::quant_state::{FourBit, QuantState};
use super::sdnq::{Groups, Habits};
use super::sdnq_config::Config;
use super::sdnq_rotation::rotated_together;
use super::sdnq_type::WeightsType;
use crate::weights::coded::{Era, Sdnq};
use crate::weights::{Catalog, Code, Coded, DType, Shape, TensorEntry};

/// Reads the bytes of a small tensor.
pub type Read<'a> = dyn FnMut(&TensorEntry) -> Option<Vec<u8>> + 'a;

/// Ends of names that say how 8-bit floats beside them came to be, and that nothing is computed with.
const SIGNS: &[&str] = &["scale_input", "input_scale", "comfy_quant", "scaled_fp8", "weight_format"];

/// The tensor that says of a part that its 8-bit floats are scaled.
const MARKER: &str = "scaled_fp8";
/// Ends of names of the scale of a weight in 8-bit floats.
const SCALES: [&str; 2] = ["scale_weight", "weight_scale"];

/// Returns the catalog with one entry for each weight. `configuration` is what a file beside the weights says of SDNQ.
pub fn gather(catalog: Catalog, configuration: Option<&[u8]>, read: &mut Read<'_>) -> Result<Catalog, QuantError> {
    if !is_needed(&catalog) {
        return Ok(catalog);
    }
    check_scaled(&catalog)?;
    let own = catalog.metadata().get("quantization_config").map(String::as_bytes);
    let config = configuration.or(own).map(Config::parse).transpose()?;
    let mut taken = BTreeSet::new();
    let mut coded: BTreeMap<String, (Shape, Coded)> = BTreeMap::new();
    for entry in catalog.iter() {
        let mut finder = Finder { catalog: &catalog, beside: Vec::new() };
        let Some((shape, code)) = finder.code(entry, config.as_ref(), read)? else { continue };
        taken.extend(finder.beside.iter().map(|e| e.name.clone()));
        taken.extend(FourBit::ALL.iter().map(|four| format!("{}{}", entry.name, four.key())));
        coded.insert(entry.name.clone(), (shape, Coded { code, beside: finder.beside }));
    }
    let layers: BTreeSet<String> = coded.keys().filter_map(|name| name.strip_suffix(".weight").map(str::to_owned)).collect();
    let is_sign = |name: &str| {
        let (layer, last) = name.rsplit_once('.').unwrap_or(("", name));
        SIGNS.contains(&last) && (last == MARKER || layers.contains(layer))
    };
    let entries = catalog.iter().filter(|e| !taken.contains(&e.name) && !is_sign(&e.name)).cloned().map(|mut entry| {
        if let Some((shape, coded)) = coded.remove(&entry.name) {
            entry.shape = shape;
            entry.coded = Some(Box::new(coded));
        }
        entry
    });
    let entries: Vec<TensorEntry> = entries.collect();
    Ok(Catalog::new(entries, catalog.metadata().clone()))
}

/// Returns whether there is anything to gather: files of plain floats are as they should be.
#[must_use]
pub fn is_needed(catalog: &Catalog) -> bool {
    catalog.iter().any(|e| !matches!(e.dtype, DType::F64 | DType::F32 | DType::F16 | DType::Bf16 | DType::I64 | DType::I32))
}

/// Looks for what belongs to one weight.
struct Finder<'a> {
    catalog: &'a Catalog,
    beside: Vec<TensorEntry>,
}

impl Finder<'_> {
    /// Returns the shape of a weight's numbers and how they are stored; nothing for plain ones.
    fn code(&mut self, entry: &TensorEntry, config: Option<&Config>, read: &mut Read<'_>) -> Result<Option<(Shape, Code)>, QuantError> {
        if DType::GGML.contains(&entry.dtype) {
            return Ok(Some((entry.shape.clone(), Code::Blocks)));
        }
        for four in FourBit::ALL {
            if let Some(state) = self.catalog.get(&format!("{}{}", entry.name, four.key())) {
                let json = read(state).unwrap_or_default();
                return self.four_bit(entry, &QuantState::parse(&json, *four)?, *four).map(Some);
            }
        }
        let Some(layer) = entry.name.strip_suffix(".weight") else {
            return Ok(is_float8(entry.dtype).then(|| (entry.shape.clone(), Code::Float8)));
        };
        if entry.dtype == DType::I8 && self.take(&format!("{layer}.SCB")) {
            let rows = entry.shape.dim(0).unwrap_or(0);
            self.expect(&entry.name, rows)?;
            return Ok(Some((entry.shape.clone(), Code::Rows8)));
        }
        if is_float8(entry.dtype) && SCALES.iter().any(|end| self.take(&format!("{layer}.{end}"))) {
            self.expect(&entry.name, 1)?;
            return Ok(Some((entry.shape.clone(), Code::Float8)));
        }
        if let Some(config) = config
            && self.take(&format!("{layer}.scale"))
        {
            return self.sdnq(entry, layer, config).map(Some);
        }
        Ok(is_float8(entry.dtype).then(|| (entry.shape.clone(), Code::Float8)))
    }

    /// Adds the tensor of this name to what belongs to the weight.
    fn take(&mut self, name: &str) -> bool {
        let found = self.catalog.get(name).cloned();
        let is_there = found.is_some();
        self.beside.extend(found.map(|entry| TensorEntry { coded: Coded::alone(Code::Part), ..entry }));
        is_there
    }

    /// Fails where what was added last has another count of numbers.
    fn expect(&self, weight: &str, wanted: u64) -> Result<(), QuantError> {
        let found = self.beside.last().map_or(0, TensorEntry::elements);
        if found == wanted { Ok(()) } else { Err(described(weight, format!("{found} numbers beside it"), "as many as its rows or blocks")) }
    }

    fn four_bit(&mut self, entry: &TensorEntry, state: &QuantState, four: FourBit) -> Result<(Shape, Code), QuantError> {
        let name = &entry.name;
        let elements = state.shape.elements().unwrap_or(u64::MAX);
        let is_block = (BLOCKS.0..=BLOCKS.1).contains(&state.block) && state.block.is_power_of_two();
        if !is_block || entry.bytes().get() != elements.div_ceil(2) {
            return Err(described(name, format!("{} bytes for {}", entry.bytes().get(), state.shape), "half a byte for each number"));
        }
        let blocks = elements.div_ceil(state.block as u64);
        self.require(&format!("{name}.absmax"))?;
        self.expect(name, blocks)?;
        if let Some(nested) = state.nested {
            self.require(&format!("{name}.nested_absmax"))?;
            self.expect(name, blocks.div_ceil((nested.block as u64).max(1)))?;
            self.require(&format!("{name}.nested_quant_map"))?;
            self.expect(name, 256)?;
        }
        if self.take(&format!("{name}.quant_map")) {
            self.expect(name, 16)?;
        }
        let nested = state.nested.map(|n| (n.block as u64, n.offset.to_bits()));
        Ok((state.shape.clone(), Code::FourBit { fp4: four == FourBit::Fp4, block: state.block as u64, nested }))
    }

    fn require(&mut self, name: &str) -> Result<(), QuantError> {
        if self.take(name) { Ok(()) } else { Err(described(name, "nothing".to_owned(), "a tensor beside the weight")) }
    }

    fn sdnq(&mut self, entry: &TensorEntry, layer: &str, config: &Config) -> Result<(Shape, Code), QuantError> {
        let name = &entry.name;
        let own = config.layer(name)?;
        let kind = own.weights_dtype;
        let scale = self.beside.last().map(|e| e.shape.clone()).unwrap_or_default();
        let shape = sdnq_shape(entry, kind, &scale, own.use_codebook)
            .ok_or_else(|| described(name, format!("{} with scales {scale}", entry.shape), "codes in whole groups"))?;
        if !own.use_codebook {
            Groups::infer(shape.elements().unwrap_or(0) as usize, &scale.0)?;
        }
        let has_zero_point = self.take(&format!("{layer}.zero_point"));
        let has_low_rank = self.take(&format!("{layer}.svd_up"));
        if has_low_rank {
            self.require(&format!("{layer}.svd_down"))?;
        }
        let columns = shape.elements().unwrap_or(0) / shape.dim(0).unwrap_or(1).max(1);
        let rotated = own.use_hadamard.then(|| rotated_together(columns as usize, own.hadamard_group_size)).flatten();
        let habits = own.habits();
        let code = Sdnq {
            kind: kind.name(),
            era: match habits {
                Habits { subnormals: true, .. } => Era::Subnormals,
                Habits { order_four: true, .. } => Era::Rotations,
                Habits { .. } => Era::First,
            },
            codebook: own.use_codebook,
            has_zero_point,
            low_rank: has_low_rank.then_some(own.use_quantized_matmul),
            rotated: rotated.map(|r| r as u64),
        };
        Ok((shape, Code::Sdnq(code)))
    }
}

/// Fails where 8-bit floats have lost their scale, so that they would be a constant off: in a part whose marker says that its
/// floats are scaled and that holds not a single scale, and where weights of the same place in other blocks have one.
fn check_scaled(catalog: &Catalog) -> Result<(), QuantError> {
    let place = |layer: &str| layer.replace(|c: char| c.is_ascii_digit(), "");
    let scales = catalog.iter().filter_map(|e| SCALES.iter().find_map(|end| e.name.strip_suffix(end)?.strip_suffix('.')));
    let scaled: BTreeSet<&str> = scales.collect();
    let places: BTreeSet<String> = scaled.iter().map(|layer| place(layer)).collect();
    // A part is what is under its marker, and under no other within.
    let parts: Vec<&str> = catalog.iter().filter_map(|e| e.name.strip_suffix(MARKER)).collect();
    let part = |name: &str| parts.iter().copied().filter(|prefix| name.starts_with(prefix)).max_by_key(|prefix| prefix.len());
    let with_scales: BTreeSet<Option<&str>> = scaled.iter().map(|layer| part(layer)).collect();
    for entry in catalog.iter().filter(|e| is_float8(e.dtype) && e.shape.rank() > 1) {
        let (layer, part) = (entry.name.strip_suffix(".weight").unwrap_or(&entry.name), part(&entry.name));
        let expected = if part.is_some() && !with_scales.contains(&part) {
            "those of which `scaled_fp8` says that they have one"
        } else if places.contains(&place(layer)) {
            "one, as the same weight of other blocks has"
        } else {
            continue;
        };
        if !scaled.contains(layer) {
            return Err(described(&entry.name, "8-bit floats without a scale".to_owned(), expected));
        }
    }
    Ok(())
}

fn is_float8(dtype: DType) -> bool {
    matches!(dtype, DType::F8_E4M3 | DType::F8_E5M2)
}

fn described(what: &str, found: String, expected: &'static str) -> QuantError {
    QuantError::Stored { tensor: what.to_owned(), found, expected }
}

/// Returns the shape of a weight's numbers, which its scales show: their first extent is the rows, but for weights that are stored
/// with their extents exchanged.
fn sdnq_shape(entry: &TensorEntry, kind: WeightsType, scale: &Shape, codebook: bool) -> Option<Shape> {
    let numbers = if kind.is_packed() {
        let (weights, bytes) = kind.together();
        entry.bytes().get().checked_mul(weights as u64)? / (bytes as u64).max(1)
    } else {
        entry.elements()
    };
    let extents = if codebook { scale.0.split_last()?.1 } else { &scale.0 };
    let exchanged = extents.len() == 2 && extents[0] == 1 && extents[1] > 1;
    let rows = if exchanged { extents[1] } else { *extents.first()? };
    if rows == 0 || numbers % rows != 0 {
        return None;
    }
    let inner = numbers / rows;
    // Convolutions keep the places of their kernel.
    let kernel: &[u64] = match extents.len() {
        4 => &extents[2..],
        5 => &extents[3..],
        _ => &[],
    };
    let places: u64 = kernel.iter().product();
    let channels = inner.checked_div(places)?;
    (channels * places == inner).then(|| Shape([&[rows, channels], kernel].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, dtype: DType, shape: &[u64]) -> TensorEntry {
        let shape = Shape(shape.to_vec());
        let end = dtype.bytes_of(shape.elements().unwrap()).unwrap();
        TensorEntry { name: name.to_owned(), dtype, shape, file: 0, start: 0, end, coded: None }
    }

    fn gathered(entries: Vec<TensorEntry>, config: Option<&str>, json: &str) -> Result<Catalog, QuantError> {
        gather(Catalog::new(entries, BTreeMap::new()), config.map(str::as_bytes), &mut |_| Some(json.as_bytes().to_vec()))
    }

    #[test]
    fn four_bits_have_their_own_shape_and_everything_beside_them() {
        let json = r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "float16", "shape": [32, 8]}"#;
        let mut entries = vec![
            entry("a.weight", DType::U8, &[128, 1]),
            entry("a.weight.absmax", DType::F32, &[4]),
            entry("a.weight.quant_map", DType::F32, &[16]),
            entry("a.weight.quant_state.bitsandbytes__nf4", DType::U8, &[70]),
            entry("a.bias", DType::F16, &[32]),
        ];
        let catalog = gathered(entries.clone(), None, json).unwrap();
        let weight = catalog.get("a.weight").unwrap();
        assert_eq!((catalog.len(), weight.shape.clone()), (2, Shape::from([32, 8])));
        let coded = weight.coded.as_deref().unwrap();
        assert_eq!(coded.code, Code::FourBit { fp4: false, block: 64, nested: None });
        assert_eq!(coded.beside.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a.weight.absmax", "a.weight.quant_map"]);
        assert_eq!(weight.bytes_with_parts().get(), 128 + 16 + 64);
        entries[1] = entry("a.weight.absmax", DType::F32, &[3]);
        assert!(gathered(entries.clone(), None, json).is_err(), "a scale is missing");
        entries.remove(1);
        assert!(gathered(entries, None, json).is_err(), "all are");
    }

    #[test]
    fn eight_bits_take_their_scale_in_either_spelling() {
        for end in ["scale_weight", "weight_scale"] {
            let entries = vec![
                entry("scaled_fp8", DType::F8_E4M3, &[2]),
                entry("a.weight", DType::F8_E4M3, &[4, 4]),
                entry(&format!("a.{end}"), DType::F32, &[]),
                entry("a.scale_input", DType::F32, &[]),
                entry("n.scale", DType::Bf16, &[4]),
            ];
            let catalog = gathered(entries, None, "").unwrap();
            assert_eq!(catalog.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["a.weight", "n.scale"]);
            assert_eq!(catalog.get("a.weight").unwrap().coded.as_deref().unwrap().beside.len(), 1);
        }
        let rows = vec![entry("a.weight", DType::I8, &[4, 4]), entry("a.SCB", DType::F32, &[4]), entry("a.weight_format", DType::U8, &[])];
        let catalog = gathered(rows, None, "").unwrap();
        assert_eq!(catalog.len(), 1);
        assert_eq!(catalog.get("a.weight").unwrap().coded.as_deref().unwrap().code, Code::Rows8);
    }

    #[test]
    fn a_scale_that_is_missing_is_told_with_its_weight() {
        let weight = |name: &str| entry(&format!("{name}.weight"), DType::F8_E4M3, &[4, 4]);
        let scale = |name: &str| entry(&format!("{name}.scale_weight"), DType::F32, &[]);
        let marker = || entry("scaled_fp8", DType::F8_E4M3, &[2]);
        let told = |entries: Vec<TensorEntry>| gathered(entries, None, "").map(|c| c.len()).map_err(|e| e.to_string());
        let lost = told(vec![weight("b.0.a"), scale("b.0.a"), weight("b.11.a")]).unwrap_err();
        assert!(lost.contains("`b.11.a.weight`") && lost.contains("other blocks"), "{lost}");
        let all = told(vec![marker(), weight("b.0.a")]).unwrap_err();
        assert!(all.contains("`b.0.a.weight`") && all.contains("scaled_fp8"), "{all}");
        let two = ["net", "t5"].map(|part| entry(&format!("{part}.scaled_fp8"), DType::F8_E4M3, &[2])).to_vec();
        let other = told([two, vec![weight("net.0.a"), scale("net.0.a"), weight("t5.0.b")]].concat()).unwrap_err();
        assert!(other.contains("`t5.0.b.weight`") && other.contains("scaled_fp8"), "another part's scales are no help: {other}");
        assert_eq!(told(vec![weight("b.0.a"), scale("b.0.a"), weight("b.11.c")]), Ok(2), "which no other block has scaled");
        assert_eq!(told(vec![weight("b.0.a"), weight("b.11.a")]), Ok(2), "plain ones");
    }

    #[test]
    fn codes_of_sdnq_take_their_shape_from_their_scales() {
        let shape = |dtype, weight: &[u64], scale: &[u64], kind: &str| {
            let entries = vec![entry("a.weight", dtype, weight), entry("a.scale", DType::F32, scale)];
            let config = format!(r#"{{"quant_method": "sdnq", "weights_dtype": "{kind}"}}"#);
            gathered(entries, Some(&config), "").unwrap().get("a.weight").unwrap().shape.0.clone()
        };
        assert_eq!(shape(DType::I8, &[64, 3, 32], &[64, 3, 1], "int8"), [64, 96]);
        assert_eq!(shape(DType::I8, &[96, 64], &[1, 64], "int8"), [64, 96]);
        assert_eq!(shape(DType::U8, &[64 * 96 / 2], &[64, 2, 1], "int4"), [64, 96]);
        assert_eq!(shape(DType::I8, &[8, 32, 3, 3], &[8, 1, 3, 3], "int8"), [8, 32, 3, 3]);
    }
}
