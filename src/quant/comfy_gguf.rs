//! GGUF files as ComfyUI-GGUF's tools make them: which tensor gets which type and shape, and what the header says.
//!
//! Source: city96's ComfyUI-GGUF, `tools/convert.py` (the 16-bit step) and `tools/lcpp.patch` (the quantising step).

pub use super::comfy_tables::Architecture;
use super::comfy_tables::{FACTS, FEED_OUT, FUSED, Facts, NEVER, REFUSED, USUALLY_KEPT, VALUES};
use super::precision::Mix;
use crate::weights::{DType, Shape};

/// The version of block layouts that headers name (`general.quantization_version`).
pub const QUANTIZATION_VERSION: u32 = 2;
/// What stays exact where it comes so: at most that many numbers (`convert.py`, `QUANTIZATION_THRESHOLD`).
const FEW: u64 = 1024;
/// What is worth another shape: at least that many numbers (`convert.py`, `REARRANGE_THRESHOLD`).
const WORTH_RESHAPING: u64 = 512;
/// Numbers of a row that makes whole blocks of every type.
const ROW: u64 = 256;

/// Why a network is not made into such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComfyError {
    /// No proof of any architecture.
    #[error("its tensors are of no architecture that GGUF files hold for ComfyUI")]
    UnknownArchitecture,
    /// The names are another program's.
    #[error(
        "tensor `{tensor}` is not named as in the original layout of a diffusion network, which is all that GGUF files for ComfyUI hold"
    )]
    OtherLayout {
        /// The tensor that shows it.
        tensor: String,
    },
}

impl Architecture {
    /// Returns the architecture that these names prove. Only those of the diffusion network count, without prefix.
    pub fn detect(has: impl Fn(&str) -> bool) -> Result<Self, ComfyError> {
        let proven = |facts: &&Facts| facts.proofs.iter().any(|all| all.iter().all(|name| has(name))) || facts.banned.is_some_and(&has);
        let facts = FACTS.iter().find(proven).ok_or(ComfyError::UnknownArchitecture)?;
        match facts.banned.filter(|name| has(name)) {
            Some(tensor) => Err(ComfyError::OtherLayout { tensor: tensor.to_owned() }),
            None => Ok(facts.architecture),
        }
    }

    /// Returns the architecture of this name in a header.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FACTS.iter().find(|f| f.name == name).map(|f| f.architecture)
    }

    /// Returns its name in a header's `general.architecture`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    fn facts(self) -> &'static Facts {
        // Every architecture is in the table; a test counts them.
        FACTS.iter().find(|f| f.architecture == self).unwrap_or(&FACTS[0])
    }

    /// Returns whether a tensor, its name without prefix, is one that is not quantised.
    pub(super) fn keeps(self, name: &str) -> bool {
        self.facts().kept.iter().any(|kept| match kept.strip_prefix('=') {
            Some(whole) => name == whole,
            None => name.contains(kept),
        })
    }
}

/// How names of a diffusion network lose their prefix: the part that the tools cut, and nothing where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix(Option<&'static str>);

impl Prefix {
    /// Returns the prefix of the diffusion network among these names.
    #[must_use]
    pub fn find(names: &[&str]) -> Self {
        let found = ["model.diffusion_model.", "model."].into_iter().find(|p| names.iter().any(|n| n.starts_with(p)));
        let of_all = |p: &str| !names.is_empty() && names.iter().all(|n| n.starts_with(p));
        Self(found.or_else(|| Some("net.").filter(|p| of_all(p))))
    }

    /// Returns a name without the prefix; nothing for tensors that are no part of the diffusion network.
    #[must_use]
    pub fn strip(self, name: &str) -> Option<String> {
        match self.0 {
            // Wherever it stands, as the tools do.
            Some(prefix) => name.contains(prefix).then(|| name.replace(prefix, "")),
            None => Some(name.to_owned()),
        }
    }
}

/// A tensor of the source: its name without prefix, and how it is stored there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
}

/// What becomes of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its place among those given.
    pub source: usize,
    /// Its name in the file.
    pub name: String,
    /// Its type in the file.
    pub dtype: DType,
    /// The shape that is stored. Another than the source's is recorded in the header.
    pub shape: Shape,
    /// The type that the tools bring numbers to before they are quantised; quantised straight from wider ones they are no worse.
    pub through: DType,
}

/// A whole file: its tensors in order, and its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What `general.architecture` says.
    pub architecture: Architecture,
    /// What `general.file_type` says.
    pub file_type: u32,
    /// The tensors.
    pub tensors: Vec<Chosen>,
    /// The own shapes of tensors that are stored in another, by name.
    pub original_shapes: Vec<(String, Shape)>,
}

/// Returns how these tensors, in the order of their file, are stored as a mix. Names are without prefix. `known` is what else is
/// known of the architecture, for networks of another size than the tools have proofs of.
pub fn plan(given: &[Given], mix: Mix, known: Option<Architecture>) -> Result<Plan, ComfyError> {
    if let Some(tensor) = given.iter().find(|t| REFUSED.iter().any(|part| t.name.contains(part))) {
        return Err(ComfyError::OtherLayout { tensor: tensor.name.clone() });
    }
    let names: std::collections::HashSet<&str> = given.iter().map(|t| t.name.as_str()).collect();
    let architecture = match (Architecture::detect(|name| names.contains(name)), known) {
        (Err(ComfyError::UnknownArchitecture), Some(known)) => known,
        (found, _) => found?,
    };
    let skipped = |name: &str| architecture == Architecture::Cosmos && (name.contains("_extra_state") || name.contains("accum_"));
    let mut plan = Plan { architecture, file_type: mix.file_type(), tensors: Vec::new(), original_shapes: Vec::new() };
    let mut values_seen = 0;
    for (source, tensor) in given.iter().enumerate().filter(|(_, t)| !skipped(&t.name)) {
        let through = sixteen(tensor, architecture.facts().exact);
        let shape = stored_shape(architecture, &tensor.shape);
        let dtype = if is_candidate(architecture, &tensor.name, &shape) && is_floating(tensor.dtype) {
            fitting(mixed(mix, &tensor.name, &mut values_seen), &shape)
        } else {
            through
        };
        if shape != tensor.shape {
            plan.original_shapes.push((tensor.name.clone(), tensor.shape.clone()));
        }
        plan.tensors.push(Chosen { source, name: tensor.name.clone(), dtype, shape, through });
    }
    Ok(plan)
}

/// Returns the type that a tensor has after the tools' first step; parts of names in `exact` are of those in full precision. Whole
/// numbers stay what they are.
pub(super) fn sixteen(tensor: &Given, exact: &[&str]) -> DType {
    let Given { name, dtype, shape } = tensor;
    if !is_floating(*dtype) {
        return *dtype;
    }
    // Five extents are more than ggml has; the tool that stores them all the same makes them exact.
    if shape.rank() > 4 {
        return DType::F32;
    }
    let exact = shape.rank() == 1 || shape.elements().is_some_and(|n| n <= FEW) || exact.iter().any(|part| name.contains(part));
    match dtype {
        DType::F64 | DType::F32 | DType::Bf16 if exact => DType::F32,
        DType::Bf16 => DType::Bf16,
        _ => DType::F16,
    }
}

pub(super) fn is_floating(dtype: DType) -> bool {
    let whole = &[DType::Bool, DType::U8, DType::I8, DType::I16, DType::U16, DType::I32, DType::U32, DType::I64, DType::U64];
    !whole.contains(&dtype) && dtype != DType::C64
}

/// Returns the shape that is stored: rows of 256 where the architecture's loaders can bring the own shape back.
fn stored_shape(architecture: Architecture, shape: &Shape) -> Shape {
    let (elements, row) = (shape.elements().unwrap_or(0), shape.0.last().copied().unwrap_or(1));
    let odd_rows = shape.rank() > 1 && elements >= WORTH_RESHAPING && elements.is_multiple_of(ROW) && !row.is_multiple_of(ROW);
    if architecture.facts().reshaped && odd_rows { Shape::from([elements / ROW, ROW]) } else { shape.clone() }
}

/// Returns whether a tensor is quantised at all: a matrix of weights that is on no list.
fn is_candidate(architecture: Architecture, name: &str, shape: &Shape) -> bool {
    // ggml does not count leading extents of one.
    let extents = shape.rank() - shape.0.iter().take(shape.rank().saturating_sub(1)).take_while(|d| **d == 1).count();
    name.ends_with("weight") && extents == 2 && !is_table(name) && !architecture.keeps(name)
}

/// What a tensor does, as far as mixes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Values,
    Fused,
    FeedOut,
    Other,
}

fn class(name: &str) -> Class {
    let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if any(VALUES) {
        Class::Values
    } else if any(FUSED) {
        Class::Fused
    } else if any(FEED_OUT) || (name.contains("experts.") && name.contains(".w2.weight")) {
        Class::FeedOut
    } else {
        Class::Other
    }
}

/// Returns the type that a mix gives to a tensor, and counts the attention's values that have come so far.
pub(super) fn mixed(mix: Mix, name: &str, values_seen: &mut u32) -> DType {
    let class = class(name);
    let nth = *values_seen;
    if class == Class::Values {
        *values_seen += 1;
    }
    match (mix, class) {
        (Mix::Q2_K, Class::Values) => DType::Q3_K,
        (Mix::Q3_K_M, Class::Values) if nth < 2 => DType::Q5_K,
        (Mix::Q3_K_M, Class::Values | Class::Fused | Class::FeedOut) | (Mix::Q3_K_L, Class::Fused) => DType::Q4_K,
        (Mix::Q4_0, Class::FeedOut) => DType::Q4_1,
        (Mix::Q4_K_S, Class::Values) if nth < 4 => DType::Q5_K,
        (Mix::Q3_K_L, Class::Values | Class::FeedOut) | (Mix::Q4_K_S, Class::FeedOut) | (Mix::Q4_K_M, Class::Fused) => DType::Q5_K,
        (Mix::Q4_K_M, Class::Values | Class::FeedOut) | (Mix::Q5_K_M, Class::Values | Class::Fused | Class::FeedOut) => DType::Q6_K,
        (Mix::Q5_0, Class::FeedOut) => DType::Q5_1,
        _ => mix.base(),
    }
}

/// Returns the type, or a half where rows are no whole blocks of it.
pub(super) fn fitting(dtype: DType, shape: &Shape) -> DType {
    let (block, _) = dtype.block();
    if shape.0.last().is_some_and(|row| row.is_multiple_of(block)) { dtype } else { DType::F16 }
}

/// Parts of a checkpoint whose numbers are never stored in 8 bits or less: autoencoders show every step of them.
const AUTOENCODERS: &[&str] = &["first_stage_model.", "vae."];

/// Returns whether a tensor is a table of positions or scales, or a norm: nobody stores these in fewer bits than they come in.
#[must_use]
pub fn is_table(name: &str) -> bool {
    NEVER.iter().any(|part| name.contains(part))
}

/// Returns whether a tensor's numbers are cast to 8-bit floats without a scale: weights of two extents or more that are on no
/// list. The others stay as they are, in 16 bits.
#[must_use]
pub fn is_cast(architecture: Option<Architecture>, name: &str, dtype: DType, shape: &Shape) -> bool {
    let listed = match architecture {
        Some(architecture) => architecture.keeps(name),
        None => USUALLY_KEPT.iter().any(|part| name.contains(part)),
    };
    let kept = listed || NEVER.iter().chain(AUTOENCODERS).any(|part| name.contains(part));
    is_floating(dtype) && shape.rank() >= 2 && name.ends_with(".weight") && !kept
}

/// Returns whether a tensor is a matrix that gets scales of its own: in scaled 8-bit floats and in bitsandbytes' types.
#[must_use]
pub fn is_scaled(architecture: Option<Architecture>, name: &str, dtype: DType, shape: &Shape) -> bool {
    shape.rank() == 2 && is_cast(architecture, name, dtype, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<const N: usize>(name: &str, dtype: DType, shape: [u64; N]) -> Given {
        Given { name: name.to_owned(), dtype, shape: shape.into() }
    }

    fn types(given: &[Given], mix: Mix) -> Vec<&'static str> {
        plan(given, mix, None).unwrap().tensors.iter().map(|t| t.dtype.name()).collect()
    }

    /// Tensors of a Flux network, small.
    fn flux() -> Vec<Given> {
        let matrix = |name: &str| given(name, DType::Bf16, [512, 256]);
        vec![
            matrix("double_blocks.0.img_attn.proj.weight"),
            matrix("double_blocks.0.img_attn.qkv.weight"),
            given("double_blocks.0.img_attn.qkv.bias", DType::Bf16, [1536]),
            given("double_blocks.0.img_attn.norm.key_norm.scale", DType::Bf16, [128]),
            matrix("double_blocks.0.txt_attn.qkv.weight"),
            matrix("double_blocks.0.img_mlp.2.weight"),
            matrix("double_blocks.0.img_mod.lin.weight"),
            matrix("single_blocks.0.linear1.weight"),
            matrix("single_blocks.0.linear2.weight"),
            given("img_in.weight", DType::Bf16, [3072, 64]),
            matrix("time_in.in_layer.weight"),
            matrix("final_layer.linear.weight"),
        ]
    }

    #[test]
    fn flux_mixes_differ_in_what_holds_queries_keys_and_values() {
        let all =
            |base: &'static str, fused: &'static str| [base, fused, "F32", "F32", fused, base, base, base, base, "BF16", "BF16", "BF16"];
        assert_eq!(types(&flux(), Mix::Q4_K_M), all("Q4_K", "Q5_K"));
        assert_eq!(types(&flux(), Mix::Q5_K_M), all("Q5_K", "Q6_K"));
        for mix in [Mix::Q4_K_S, Mix::Q5_K_S, Mix::Q4_0, Mix::Q5_0, Mix::Q8_0, Mix::Q2_K, Mix::Q3_K_S, Mix::Q6_K] {
            assert_eq!(types(&flux(), mix), all(mix.base().name(), mix.base().name()), "{}", mix.name());
        }
        let plan = plan(&flux(), Mix::Q4_K_M, None).unwrap();
        assert_eq!((plan.architecture.name(), plan.file_type, plan.original_shapes.len()), ("flux", 15, 0));
    }

    fn unet(dtype: DType) -> Vec<Given> {
        let mut tensors: Vec<Given> =
            ["3.0.op", "6.0.op", "9.0.op"].iter().map(|n| given(&format!("input_blocks.{n}.weight"), dtype, [320, 320, 3, 3])).collect();
        for name in ["2.1.conv", "5.2.conv", "8.2.conv"] {
            tensors.push(given(&format!("output_blocks.{name}.weight"), dtype, [1280, 1280, 3, 3]));
        }
        let block = "input_blocks.1.1.transformer_blocks.0";
        for n in 1..=5 {
            tensors.push(given(&format!("{block}.attn{n}.to_v.weight"), dtype, [320, 320]));
        }
        tensors.push(given(&format!("{block}.ff.net.2.weight"), dtype, [320, 1280]));
        tensors.push(given(&format!("{block}.attn1.to_q.weight"), dtype, [320, 320]));
        tensors.push(given("input_blocks.0.0.weight", dtype, [320, 4, 3, 3]));
        tensors.push(given("time_embed.0.weight", dtype, [1280, 320]));
        tensors.push(given("input_blocks.1.0.in_layers.0.weight", dtype, [320]));
        tensors.push(given("input_blocks.1.0.skip_connection.weight", dtype, [7, 5, 1, 1]));
        tensors
    }

    #[test]
    fn unets_are_reshaped_and_mixed_in_file_order() {
        let f16 = unet(DType::F16);
        let rest = ["F16", "F16", "F16", "F16"];
        let with =
            |convs: &'static str, values: [&'static str; 5], out: &'static str| [&[convs; 6][..], &values, &[out, convs], &rest].concat();
        assert_eq!(types(&f16, Mix::Q4_K_S), with("Q4_K", ["Q5_K", "Q5_K", "Q5_K", "Q5_K", "Q4_K"], "Q5_K"));
        assert_eq!(types(&f16, Mix::Q4_K_M), with("Q4_K", ["Q6_K"; 5], "Q6_K"));
        assert_eq!(types(&f16, Mix::Q3_K_M), with("Q3_K", ["Q5_K", "Q5_K", "Q4_K", "Q4_K", "Q4_K"], "Q4_K"));
        assert_eq!(types(&f16, Mix::Q3_K_L), with("Q3_K", ["Q5_K"; 5], "Q5_K"));
        assert_eq!(types(&f16, Mix::Q4_0), with("Q4_0", ["Q4_0"; 5], "Q4_1"));
        assert_eq!(types(&f16, Mix::Q5_0), with("Q5_0", ["Q5_0"; 5], "Q5_1"));
        assert_eq!(types(&f16, Mix::Q2_K), with("Q2_K", ["Q3_K"; 5], "Q2_K"));
        assert_eq!(types(&f16, Mix::Q8_0), with("Q8_0", ["Q8_0"; 5], "Q8_0"));
        let plan = plan(&f16, Mix::Q4_K_M, None).unwrap();
        assert_eq!(plan.tensors[0].shape, Shape::from([3600, 256]), "a convolution");
        assert_eq!(plan.tensors[6].shape, Shape::from([400, 256]), "and a matrix of rows of 320");
        assert_eq!(plan.tensors[11].shape, Shape::from([320, 1280]), "rows of 1280 are whole blocks");
        let recorded: Vec<&str> = plan.original_shapes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(recorded.len(), 6 + 5 + 1 + 2, "{recorded:?}");
        assert!(recorded.contains(&"input_blocks.0.0.weight") && recorded.contains(&"time_embed.0.weight"), "the kept ones too");
        assert_eq!(plan.original_shapes[0].1, Shape::from([320, 320, 3, 3]));
    }

    #[test]
    fn full_precision_stays_where_it_is_cheap() {
        let f32s = plan(&unet(DType::F32), Mix::Q4_0, None).unwrap();
        let dtype = |name: &str| f32s.tensors.iter().find(|t| t.name == name).map(|t| t.dtype).unwrap();
        assert_eq!(dtype("input_blocks.1.0.in_layers.0.weight"), DType::F32, "one extent");
        assert_eq!(dtype("input_blocks.1.0.skip_connection.weight"), DType::F32, "few numbers");
        assert_eq!(dtype("time_embed.0.weight"), DType::F16);
        let f8 = [given("double_blocks.0.img_attn.proj.weight", DType::F8_E4M3, [64, 64]), given("b", DType::F8_E4M3, [4])];
        assert_eq!(types(&f8, Mix::Q4_K_M), ["F16", "F16"], "rows of 64 are no whole blocks of 256");
        assert_eq!(types(&f8, Mix::Q4_0), ["Q4_0", "F16"]);
    }

    #[test]
    fn what_holds_no_weights_is_copied() {
        let mut tensors = flux();
        tensors.push(given("position_ids", DType::I64, [1, 77]));
        tensors.push(given("thin.weight", DType::Bf16, [1, 2560]));
        tensors.push(given("patch.weight", DType::Bf16, [1536, 16, 1, 2, 2]));
        let all = types(&tensors, Mix::Q8_0);
        assert_eq!(all[all.len() - 3..], ["I64", "BF16", "F32"], "a leading extent of one does not count");
    }

    #[test]
    fn architectures_are_told_apart_by_name() {
        for facts in FACTS {
            for proof in facts.proofs {
                let found = Architecture::detect(|name| proof.contains(&name)).unwrap();
                // A plain UNet's proof is part of SDXL's, which is asked for first.
                assert_eq!(found, facts.architecture);
            }
            assert_eq!(Architecture::named(facts.name), Some(facts.architecture));
            assert_eq!(facts.architecture.name(), facts.name);
            if let Some(banned) = facts.banned {
                let error = Architecture::detect(|name| name == banned);
                assert_eq!(error, Err(ComfyError::OtherLayout { tensor: banned.to_owned() }));
            }
        }
        assert_eq!(Architecture::detect(|_| false), Err(ComfyError::UnknownArchitecture));
        let error = plan(&[given("single_transformer_blocks.0.norm.weight", DType::F16, [3])], Mix::Q8_0, None).unwrap_err();
        assert!(error.to_string().contains("`single_transformer_blocks.0.norm.weight` is not named as in the original layout"), "{error}");
    }

    #[test]
    fn prefixes_are_cut_and_other_parts_left_out() {
        let names = ["first_stage_model.x", "model.diffusion_model.out.2.weight", "model_ema.decay"];
        let prefix = Prefix::find(&names);
        let stripped: Vec<Option<String>> = names.iter().map(|n| prefix.strip(n)).collect();
        assert_eq!(stripped, [None, Some("out.2.weight".to_owned()), None]);
        assert_eq!(Prefix::find(&["net.a", "net.b"]).strip("net.a").as_deref(), Some("a"));
        assert_eq!(Prefix::find(&["net.a", "b"]).strip("net.a").as_deref(), Some("net.a"));
        assert_eq!(Prefix::find(&[]).strip("a").as_deref(), Some("a"));
    }

    #[test]
    fn eight_bits_are_for_weights_that_are_on_no_list() {
        let matrix = Shape::from([320, 320]);
        let conv = Shape::from([320, 320, 3, 3]);
        let flux = Some(Architecture::Flux);
        assert!(is_cast(flux, "model.diffusion_model.double_blocks.0.img_mlp.0.weight", DType::Bf16, &matrix));
        assert!(!is_cast(flux, "double_blocks.0.img_mlp.0.bias", DType::Bf16, &Shape::from([320])));
        assert!(!is_cast(flux, "img_in.weight", DType::Bf16, &matrix));
        assert!(!is_cast(flux, "double_blocks.0.img_attn.norm.key_norm.scale", DType::F32, &Shape::from([128])));
        let unet = Some(Architecture::Sd1);
        assert!(is_cast(unet, "input_blocks.1.0.in_layers.2.weight", DType::F16, &conv));
        assert!(!is_scaled(unet, "input_blocks.1.0.in_layers.2.weight", DType::F16, &conv));
        assert!(is_scaled(unet, "middle_block.1.transformer_blocks.0.attn1.to_q.weight", DType::F16, &matrix));
        assert!(!is_cast(unet, "first_stage_model.decoder.mid.attn_1.q.weight", DType::F16, &conv));
        assert!(is_scaled(None, "encoder.block.0.layer.0.SelfAttention.q.weight", DType::F16, &matrix));
        assert!(!is_cast(None, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", DType::F16, &matrix));
        assert!(!is_cast(None, "shared.weight", DType::F16, &matrix));
        assert!(!is_cast(None, "a.weight", DType::I64, &matrix));
    }
}
