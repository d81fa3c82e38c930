//! In what precision weights are stored, from their header alone.
//!
//! By what takes most bytes, never by the first tensor nor by a file's name: safetensors files begin with their widest type,
//! so that one full-precision bias would make a half-precision file pass for something else.

use std::collections::BTreeMap;
use std::fmt;

use super::precision::{Mix, SdnqType, Target};
use crate::weights::{Catalog, Code, Coded, DType, TensorEntry};

/// The prefix of the diffusion network in whole checkpoints.
const DENOISER: &str = "model.diffusion_model.";
/// From this share on, the rest is not worth a word.
const ALMOST_ALL: f64 = 0.9;

/// The precision of a file, and what speaks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Precision {
    /// The canonical name of what most weights, or those that are marked, are stored in.
    pub name: String,
    /// Whether markers or the header's own word decided, and not the count.
    pub named: bool,
    /// The share of the bytes that are stored so.
    pub share: f64,
    /// Every storage and its bytes, the largest first.
    pub votes: Vec<(String, u64)>,
}

impl Precision {
    /// Returns the target that this file already is; nothing for mixtures and for what is no target.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        Target::named(&self.name).filter(|_| self.named || self.share >= ALMOST_ALL)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.named || self.share >= ALMOST_ALL || self.votes.is_empty() {
            return f.pad(&self.name);
        }
        let whole: u64 = self.votes.iter().map(|(_, bytes)| bytes).sum();
        let percent = |bytes: u64| (100.0 * bytes as f64 / whole.max(1) as f64).round();
        let parts = self.votes.iter().map(|(name, bytes)| (name, percent(*bytes))).filter(|(_, p)| *p >= 1.0);
        let parts: Vec<String> = parts.map(|(name, percent)| format!("{name} {percent} %")).collect();
        f.pad(&format!("mixed({})", parts.join(", ")))
    }
}

/// Returns how these weights are stored. `configuration` is the `quantization_config` beside the file, as JSON; what the
/// header itself carries of it counts too.
#[must_use]
pub fn detect(catalog: &Catalog, configuration: Option<&str>) -> Precision {
    let looked_at = Looked::at(catalog, configuration);
    let prefix = if catalog.has_prefix(DENOISER) { DENOISER } else { "" };
    let mut bytes: BTreeMap<String, u64> = BTreeMap::new();
    let storages = catalog.under(prefix).filter_map(|entry| Some((looked_at.storage(entry)?, entry)));
    // Packed weights may have a single extent.
    let (wide, narrow): (Vec<_>, Vec<_>) = storages.partition(|(storage, entry)| storage.marked || entry.shape.rank() >= 2);
    // A file of vectors alone is judged by them.
    for (storage, entry) in if wide.is_empty() { narrow } else { wide } {
        *bytes.entry(storage.name).or_default() += entry.bytes().get();
    }
    let whole: u64 = bytes.values().sum();
    let mut votes: Vec<(String, u64)> = bytes.into_iter().collect();
    votes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let (name, named) = match said(catalog, &votes).or_else(|| marked(&votes)) {
        Some(name) => (name, true),
        None => (votes.first().map_or_else(|| "unknown".to_owned(), |(name, _)| name.clone()), false),
    };
    // A mix is mostly its base.
    let counted = Target::named(&name).map_or_else(
        || name.clone(),
        |target| match target {
            Target::Gguf(mix) => mix.base().name().to_owned(),
            other => other.name(),
        },
    );
    let own = votes.iter().find(|(storage, _)| *storage == counted).map_or(0, |(_, bytes)| *bytes);
    Precision { name, named, share: if whole == 0 { 0.0 } else { own as f64 / whole as f64 }, votes }
}

/// Returns what a GGUF header says of itself, if its tensors bear it out.
fn said(catalog: &Catalog, votes: &[(String, u64)]) -> Option<String> {
    let number: u32 = catalog.metadata().get("general.file_type")?.parse().ok()?;
    let holds = |dtype: DType| votes.iter().any(|(name, bytes)| name == dtype.name() && *bytes > 0);
    let mix = Mix::ALL.iter().find(|m| m.file_type() == number).filter(|m| holds(m.base()))?;
    Some(mix.name().to_owned())
}

/// Storages that a marker names, which say what a file is however few their bytes; the first in this order counts.
const MARKED: &[&str] =
    &["nf4", "fp4", "int8", "sdnq_", "sdnq", "mxfp8", "nvfp4", "int8_tensorwise", "fp8_e4m3fn_scaled", "fp8_e5m2_scaled", "quanto"];

fn marked(votes: &[(String, u64)]) -> Option<String> {
    let is = |storage: &str, mark: &str| if mark.ends_with('_') { storage.starts_with(mark) } else { storage == mark };
    let place = |storage: &str| MARKED.iter().position(|mark| is(storage, mark)).map(|place| (place < 3, (3..5).contains(&place), place));
    // Formats of ComfyUI may stand side by side; there the larger counts, and votes are in that order.
    let rank = |(first, sdnq, place): (bool, bool, usize)| {
        if first {
            place
        } else if sdnq {
            3
        } else {
            4
        }
    };
    votes.iter().filter_map(|(storage, _)| Some((rank(place(storage)?), storage))).min_by_key(|(rank, _)| *rank).map(|(_, s)| s.clone())
}

/// How a weight is stored.
struct Storage {
    name: String,
    /// Whether something beside the weight says so.
    marked: bool,
}

/// A catalog and what its markers say.
struct Looked<'a> {
    catalog: &'a Catalog,
    sdnq: Option<String>,
    scaled: bool,
}

/// Ends of names of what belongs to a weight and is none: scales, tables and markers.
const BESIDES: &[&str] = &[
    ".scale_weight",
    ".weight_scale",
    ".weight_scale_2",
    ".scale_input",
    ".input_scale",
    ".pre_quant_scale",
    ".comfy_quant",
    "scaled_fp8",
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    ".bitsandbytes__nf4",
    ".bitsandbytes__fp4",
    ".SCB",
    ".weight_format",
    ".zero_point",
    ".scale",
    ".svd_up",
    ".svd_down",
    "._scale",
];

impl<'a> Looked<'a> {
    fn at(catalog: &'a Catalog, configuration: Option<&str>) -> Self {
        let configured = configuration.or_else(|| catalog.metadata().get("quantization_config").map(String::as_str));
        let json = configured.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let text = |key: &str| json.as_ref().and_then(|j| j.get(key)).and_then(|v| v.as_str());
        let sdnq = text("quant_method").filter(|m| *m == "sdnq").map(|_| text("weights_dtype").unwrap_or("int8").to_owned());
        let scaled = catalog.iter().any(|e| e.name == "scaled_fp8" || e.name.ends_with(".scaled_fp8"));
        Self { catalog, sdnq, scaled }
    }

    /// Returns the storage of a weight; nothing for what is none, or holds no fractions.
    fn storage(&self, entry: &TensorEntry) -> Option<Storage> {
        if BESIDES.iter().any(|end| entry.name.ends_with(end)) && !self.is_norm(entry) {
            return None;
        }
        if let Some(name) = entry.coded.as_deref().and_then(|coded| gathered(&coded.code, entry, !coded.beside.is_empty())) {
            return Some(Storage { name, marked: true });
        }
        let layer = entry.name.strip_suffix(".weight");
        let marked = layer.and_then(|layer| self.marked(layer, entry));
        match marked.or_else(|| entry.name.ends_with("._data").then(|| "quanto".to_owned())) {
            Some(name) => Some(Storage { name, marked: true }),
            None => plain(entry.dtype).map(|name| Storage { name: name.to_owned(), marked: false }),
        }
    }

    /// Returns whether this is a norm's weight that is called `scale`, as Flux has them: no weight stands beside it.
    fn is_norm(&self, entry: &TensorEntry) -> bool {
        entry.name.strip_suffix(".scale").is_some_and(|layer| !self.catalog.has(&format!("{layer}.weight")))
    }

    /// Returns the storage that what stands beside a weight shows.
    fn marked(&self, layer: &str, entry: &TensorEntry) -> Option<String> {
        let beside = |end: &str| self.catalog.get(&format!("{layer}.{end}"));
        let has = |end: &str| beside(end).is_some();
        let narrow = matches!(entry.dtype, DType::U8 | DType::I8 | DType::I16 | DType::U16 | DType::F8_E4M3 | DType::F8_E5M2);
        let scale = beside("weight_scale");
        let blocks = scale.is_some_and(|s| matches!(s.dtype, DType::U8 | DType::F8_E8M0));
        let name = match entry.dtype {
            _ if has("weight.quant_state.bitsandbytes__nf4") => "nf4",
            _ if has("weight.quant_state.bitsandbytes__fp4") => "fp4",
            DType::I8 if has("SCB") => "int8",
            _ if narrow && has("scale") && !has("scale_weight") => return Some(self.sdnq(entry.dtype)),
            DType::F8_E4M3 if blocks => "mxfp8",
            DType::U8 if scale.is_some() => "nvfp4",
            DType::I8 if scale.is_some() => "int8_tensorwise",
            DType::F8_E4M3 if self.scaled || scale.is_some() || has("scale_weight") => "fp8_e4m3fn_scaled",
            DType::F8_E5M2 if self.scaled || scale.is_some() || has("scale_weight") => "fp8_e5m2_scaled",
            _ => return None,
        };
        Some(name.to_owned())
    }

    fn sdnq(&self, dtype: DType) -> String {
        let by_type = match dtype {
            DType::I8 => Some("int8"),
            DType::F8_E4M3 => Some("float8_e4m3fn"),
            DType::F8_E5M2 => Some("float8_e5m2"),
            // Packed: without the configuration nobody can say how.
            _ => None,
        };
        let named = self.sdnq.as_deref().or(by_type).and_then(SdnqType::parse);
        named.map_or_else(|| "sdnq".to_owned(), |storage| Target::Sdnq(storage).name())
    }
}

/// Returns what most of a part's bytes stay stored as while it is computed with: the storage of its codes. Nothing where plain numbers
/// are most of it, which are held in what is computed in. Tensors are those that [`gather`](super::gather::gather) made.
#[must_use]
pub fn held<'a>(tensors: impl Iterator<Item = &'a TensorEntry>) -> Option<String> {
    let mut bytes: BTreeMap<Option<String>, u64> = BTreeMap::new();
    for entry in tensors {
        let storage = match entry.coded.as_deref() {
            Some(Coded { code: Code::Part, .. }) => continue,
            Some(coded) => gathered(&coded.code, entry, !coded.beside.is_empty()).or_else(|| plain(entry.dtype).map(str::to_owned)),
            None => None,
        };
        *bytes.entry(storage).or_default() += entry.bytes().get();
    }
    bytes.into_iter().max_by_key(|(_, bytes)| *bytes).and_then(|(storage, _)| storage)
}

/// Returns the storage of a weight that has what belongs to it already; nothing where its type says all.
fn gathered(code: &Code, entry: &TensorEntry, has_scale: bool) -> Option<String> {
    match code {
        Code::FourBit { fp4, .. } => Some(if *fp4 { "fp4" } else { "nf4" }.to_owned()),
        Code::Rows8 => Some("int8".to_owned()),
        Code::Sdnq(sdnq) => Some(SdnqType::parse(&sdnq.kind).map_or_else(|| "sdnq".to_owned(), |kind| Target::Sdnq(kind).name())),
        Code::Float8 if has_scale => Some(if entry.dtype == DType::F8_E5M2 { "fp8_e5m2_scaled" } else { "fp8_e4m3fn_scaled" }.to_owned()),
        Code::Float8 | Code::Blocks | Code::Part => None,
    }
}

/// Returns what plain numbers of a type are called.
fn plain(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F32 => Some("fp32"),
        DType::F16 => Some("fp16"),
        DType::Bf16 => Some("bf16"),
        DType::F8_E4M3 => Some("fp8_e4m3fn"),
        DType::F8_E5M2 => Some("fp8_e5m2"),
        DType::F64 => Some("fp64"),
        DType::I8 | DType::U8 => Some("unknown-int8"),
        DType::Bool | DType::I16 | DType::U16 | DType::I32 | DType::U32 | DType::I64 | DType::U64 => None,
        other => Some(other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Shape;

    fn entry<const N: usize>(name: &str, dtype: DType, shape: [u64; N]) -> TensorEntry {
        let shape = Shape::from(shape);
        let end = dtype.bytes_of(shape.elements().unwrap()).unwrap();
        TensorEntry { name: name.to_owned(), dtype, shape, file: 0, start: 0, end, coded: None }
    }

    fn catalog(entries: &[TensorEntry], metadata: &[(&str, &str)]) -> Catalog {
        let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Catalog::new(entries.to_vec(), metadata)
    }

    fn shown(entries: &[TensorEntry], metadata: &[(&str, &str)]) -> (String, Option<String>) {
        let found = detect(&catalog(entries, metadata), None);
        (found.to_string(), found.target().map(|t| t.name()))
    }

    fn same(name: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(name.to_owned()))
    }

    #[test]
    fn most_bytes_decide_and_not_the_first_tensor() {
        let fp16 = [entry("a.weight", DType::F32, [4, 4]), entry("b.weight", DType::F16, [64, 64]), entry("c", DType::F32, [9999])];
        assert_eq!(shown(&fp16, &[]), same("fp16"));
        let mixed = [entry("a.weight", DType::F32, [14, 10]), entry("b.weight", DType::Bf16, [72, 10])];
        assert_eq!(shown(&mixed, &[]), ("mixed(bf16 72 %, fp32 28 %)".to_owned(), None));
        assert_eq!(shown(&[entry("a", DType::F32, [4])], &[]), same("fp32"));
        assert_eq!(shown(&[], &[]), ("unknown".to_owned(), None));
        assert_eq!(shown(&[entry("a.weight", DType::U8, [8, 8])], &[]), ("unknown-int8".to_owned(), None));
    }

    #[test]
    fn the_diffusion_network_speaks_for_a_checkpoint() {
        let entries =
            [entry("model.diffusion_model.a.weight", DType::F8_E4M3, [8, 8]), entry("first_stage_model.a.weight", DType::F32, [800, 8])];
        assert_eq!(shown(&entries, &[]), same("fp8_e4m3fn"));
    }

    #[test]
    fn gguf_headers_are_believed_if_their_tensors_agree() {
        let entries =
            [entry("a.weight", DType::Q4_K, [80, 256]), entry("b.weight", DType::Q6_K, [20, 256]), entry("norm.weight", DType::F32, [64])];
        assert_eq!(shown(&entries, &[("general.file_type", "15")]), same("Q4_K_M"));
        assert_eq!(shown(&entries, &[("general.file_type", "14")]), same("Q4_K_S"));
        let doubtful = ("mixed(Q4_K 73 %, Q6_K 27 %)".to_owned(), None);
        assert_eq!(shown(&entries, &[("general.file_type", "7")]), doubtful, "there is no Q8_0");
        assert_eq!(shown(&entries, &[("general.file_type", "x")]), doubtful);
        assert_eq!(shown(&entries, &[]), doubtful);
        assert_eq!(shown(&entries[..1], &[]), ("Q4_K".to_owned(), None), "neither Q4_K_S nor Q4_K_M");
        assert_eq!(shown(&[entry("a.weight", DType::Q8_0, [8, 32])], &[]), same("Q8_0"));
        let found = detect(&catalog(&entries, &[("general.file_type", "15")]), None);
        assert!((found.share - 80.0 * 144.0 / (80.0 * 144.0 + 20.0 * 210.0)).abs() < 1e-12);
    }

    #[test]
    fn bitsandbytes_is_known_by_what_it_leaves_beside() {
        let nf4 = [
            entry("a.weight", DType::U8, [512, 1]),
            entry("a.weight.absmax", DType::F32, [16]),
            entry("a.weight.quant_map", DType::F32, [16]),
            entry("a.weight.quant_state.bitsandbytes__nf4", DType::U8, [80]),
            entry("conv.weight", DType::Bf16, [64, 64]),
        ];
        assert_eq!(shown(&nf4, &[]), same("nf4"));
        let int8 = [entry("a.weight", DType::I8, [64, 64]), entry("a.SCB", DType::F32, [64])];
        assert_eq!(shown(&int8, &[]), same("int8"));
    }

    #[test]
    fn scaled_floats_have_scales_or_a_marker() {
        for scale in ["scale_weight", "weight_scale"] {
            let entries = [entry("a.weight", DType::F8_E4M3, [64, 64]), entry(&format!("a.{scale}"), DType::F32, [])];
            assert_eq!(shown(&entries, &[]), same("fp8_e4m3fn_scaled"));
        }
        let entries = [entry("a.weight", DType::F8_E5M2, [64, 64]), entry("scaled_fp8", DType::F8_E4M3, [2])];
        assert_eq!(shown(&entries, &[]).0, "fp8_e5m2_scaled");
        let entries = [entry("a.weight", DType::F8_E4M3, [64, 64]), entry("a.weight_scale", DType::F8_E8M0, [64, 2])];
        assert_eq!(shown(&entries, &[]).0, "mxfp8");
        let entries = [entry("a.weight", DType::I8, [64, 64]), entry("a.weight_scale", DType::F32, [64, 1])];
        assert_eq!(shown(&entries, &[]).0, "int8_tensorwise");
        let entries = [entry("a.weight", DType::U8, [64, 32]), entry("a.weight_scale", DType::F8_E4M3, [64, 4])];
        assert_eq!(shown(&entries, &[]).0, "nvfp4");
    }

    #[test]
    fn sdnq_is_named_by_its_configuration() {
        let uint4 = [
            entry("a.weight", DType::U8, [2048]),
            entry("a.scale", DType::F32, [64, 1, 1]),
            entry("a.zero_point", DType::F32, [64, 1, 1]),
            entry("b.weight", DType::Bf16, [4, 4]),
        ];
        let json = r#"{"quant_method":"sdnq","weights_dtype":"uint4"}"#;
        assert_eq!(detect(&catalog(&uint4, &[]), Some(json)).to_string(), "sdnq_uint4", "packed weights have one extent");
        let grouped = [entry("a.weight", DType::U8, [64, 32]), entry("a.scale", DType::F32, [64, 1])];
        assert_eq!(detect(&catalog(&grouped, &[]), Some(json)).target().map(|t| t.name()).as_deref(), Some("sdnq_uint4"));
        assert_eq!(shown(&grouped, &[("quantization_config", json)]), same("sdnq_uint4"));
        assert_eq!(shown(&grouped, &[]).0, "sdnq");
        let int8 = [entry("a.weight", DType::I8, [64, 64]), entry("a.scale", DType::F32, [64, 1])];
        assert_eq!(shown(&int8, &[]), same("sdnq_int8"));
        let norms = [entry("n.query_norm.scale", DType::F8_E4M3, [64]), entry("q.weight", DType::F8_E4M3, [64, 64])];
        assert_eq!(shown(&norms, &[]), same("fp8_e4m3fn"), "Flux calls its norms' weights so");
        let quanto = [entry("a.weight._data", DType::I8, [64, 64]), entry("a.weight._scale", DType::F32, [64, 1])];
        assert_eq!(shown(&quanto, &[]).0, "quanto");
    }

    #[test]
    fn what_is_held_is_what_most_bytes_stay_stored_as() {
        let coded = |name: &str, dtype, rows: u64, code: Code, beside: Vec<TensorEntry>| {
            let mut entry = entry(name, dtype, [rows, 32]);
            entry.coded = Some(Box::new(Coded { code, beside }));
            entry
        };
        let plain = entry("n.weight", DType::F32, [16, 32]);
        let scale = TensorEntry { coded: Coded::alone(Code::Part), ..entry("a.scale", DType::F32, [999, 999]) };
        let scaled = coded("a.weight", DType::F8_E4M3, 96, Code::Float8, vec![scale.clone()]);
        assert_eq!(held([&plain, &scaled, &scale].into_iter()).as_deref(), Some("fp8_e4m3fn_scaled"), "parts beside do not count");
        let blocks = coded("a.weight", DType::Q8_0, 96, Code::Blocks, Vec::new());
        assert_eq!(held([&plain, &blocks].into_iter()).as_deref(), Some("Q8_0"));
        let little = coded("a.weight", DType::Q8_0, 32, Code::Blocks, Vec::new());
        assert_eq!(held([&plain, &little].into_iter()), None);
        assert_eq!(held(std::iter::empty()), None);
    }
}
