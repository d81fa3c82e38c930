//! What each tensor of a source becomes, for a target.

use std::collections::BTreeMap;
use std::path::Path;

use super::ConversionError;
use super::chunk::Rows;
use super::feed::Feed;
use super::form::{Form, Product};
use super::gguf_plan::{self, known};
use super::output::Output;
use super::part_file::PartFile;
use super::source::{Opened, Part};
use crate::families::Role;
use crate::formats::{gguf, safetensors};
use crate::quant::comfy_gguf::{Architecture, is_cast, is_scaled, is_table};
use crate::quant::precision::{Container, Target, base_name};
use crate::quant::sdnq_config::{Config, group_of};
use crate::quant::sdnq_type::WeightsType;
use crate::quant::{sdnq, sdnq_names};
use crate::weights::{DType, Shape};
use crate::workflow::Kind;

/// The version of the codecs and of the rules here: another one makes other files.
const CODECS: u32 = 2;

/// Codes of SDNQ are packed within rows of whole packs: 16 numbers are the most that share words.
const SDNQ_PACK: u64 = 16;

/// Returns what is done to a source, for manifests.
#[must_use]
pub fn recipe(target: &Target, part: Part) -> String {
    format!("{target}/{part}/{CODECS}")
}

/// Returns whether a target is a GGUF file.
#[must_use]
pub fn is_gguf(target: &Target) -> bool {
    target.container() == Container::Gguf
}

/// Returns the precision that a source has.
#[must_use]
pub fn stored(source: &Opened) -> String {
    source.stored().to_string()
}

/// Returns the name of a result. A part other than the network says which it is.
#[must_use]
pub fn file_name(stem: &str, target: &Target, part: Part) -> String {
    match part {
        Part::One(Role::Denoiser) => target.file_name(stem),
        other => target.file_name(&format!("{}_{other}", base_name(stem))),
    }
}

/// Lays out the result, of a source that was laid out for its target.
pub fn output(source: &Opened, target: &Target, recipe: &str) -> Result<Output, ConversionError> {
    let stored = source.stored();
    if is_coded(&stored.name) {
        let reason = format!("it is stored as {stored}, which is not taken apart again");
        return Err(impossible(&source.path, Kind::Refused, reason, "convert the file that it was made of"));
    }
    match target {
        Target::Gguf(mix) => gguf_plan::output(source, *mix, target, recipe),
        _ => safetensors_output(source, source.feeds()?, target, recipe),
    }
}

/// Returns whether weights of this storage are codes with tables and scales in tensors beside them, which are read where a model
/// is loaded and not here.
pub(super) fn is_coded(name: &str) -> bool {
    const CODED: [&str; 8] = ["nf4", "fp4", "int8", "sdnq", "mxfp8", "nvfp4", "int8_tensorwise", "quanto"];
    CODED.contains(&name) || name.starts_with("sdnq_")
}

fn safetensors_output(source: &Opened, feeds: Vec<Feed>, target: &Target, recipe: &str) -> Result<Output, ConversionError> {
    let mut metadata = metadata(source, target, recipe);
    let rules = Rules::of(source, &feeds, target)?;
    if let Some((_, config)) = &rules.sdnq {
        metadata.insert("quantization_config".to_owned(), config.to_json());
    }
    let tensors = feeds.into_iter().map(|feed| {
        let form = rules.form(&feed);
        let products = form.products(&feed.name, &feed);
        (feed, form, products)
    });
    let tensors: Vec<_> = tensors.collect();
    if let Some((feed, ..)) = tensors.iter().find(|(feed, form, _)| form.is_by_row() && !Rows::of(&feed.shape).are_whole()) {
        let numbers = Rows::of(&feed.shape).width;
        let reason = format!("a row of `{}` has {numbers} numbers, and a row with its own scale is converted at once", feed.name);
        return Err(impossible(&source.path, Kind::Refused, reason, "choose a precision with scales for blocks, such as Q8_0 or nf4"));
    }
    let has_scales = tensors.iter().any(|(_, form, _)| *form == Form::ScaledFp8);
    let constants = if has_scales { vec![rules.marker()] } else { Vec::new() };
    Ok(Output::safetensors(tensors, &constants, &metadata))
}

/// What decides about a tensor.
struct Rules<'a> {
    target: &'a Target,
    part: Part,
    /// Whether the network lies among other parts.
    is_checkpoint: bool,
    architecture: Option<Architecture>,
    /// What narrow types are widened to, where a file says so: what most of the source is stored in.
    wide: DType,
    /// The 16 bits of what comes in 32 and need not stay so: halves hold all of a UNet.
    half: DType,
    sdnq: Option<(WeightsType, Config)>,
}

impl<'a> Rules<'a> {
    fn of(source: &Opened, feeds: &[Feed], target: &'a Target) -> Result<Self, ConversionError> {
        let architecture = source.architecture();
        let wide = match source.catalog.main_dtype() {
            Some(dtype @ (DType::F32 | DType::F16)) => dtype,
            _ => DType::Bf16,
        };
        let sdnq = match target {
            Target::Sdnq(storage) => {
                let kind = WeightsType::parse(storage.name()).ok().filter(|kind| sdnq::can_write(*kind));
                let Some(kind) = kind else {
                    return Err(impossible(
                        &source.path,
                        Kind::Refused,
                        format!("{target} can be read, but not written"),
                        "choose a type of 2 to 8 bits",
                    ));
                };
                Some((kind, config(kind, feeds)))
            }
            _ => None,
        };
        let half = if known(source).is_some() { DType::F16 } else { DType::Bf16 };
        Ok(Self { target, part: source.part, is_checkpoint: source.catalog.has_prefix(DENOISER), architecture, wide, half, sdnq })
    }

    fn form(&self, feed: &Feed) -> Form {
        let (name, dtype, shape) = (&feed.name, feed.dtype, &feed.shape);
        if !is_number(dtype) {
            return Form::Copy;
        }
        let narrow = |wanted: DType| if wanted == dtype && feed.scale.is_none() { Form::Copy } else { Form::Float(wanted) };
        match (self.target, &self.sdnq) {
            (Target::Fp32, _) => narrow(DType::F32),
            (Target::Fp16, _) => narrow(DType::F16),
            (Target::Bf16, _) => narrow(DType::Bf16),
            (Target::Fp8E4m3fn, _) if is_cast(self.architecture, name, DType::F32, shape) => narrow(DType::F8_E4M3),
            (Target::Fp8E5m2, _) if is_cast(self.architecture, name, DType::F32, shape) => narrow(DType::F8_E5M2),
            (Target::Fp8E4m3fnScaled, _) if self.is_network(name) && is_scaled(self.architecture, name, DType::F32, shape) => {
                Form::ScaledFp8
            }
            // Such files have the rest in 16 bits; small tensors stay as wide as they were.
            (Target::Fp8E4m3fnScaled, _) if dtype == DType::F32 && shape.rank() >= 2 => Form::Float(self.half),
            (Target::Nf4, _) if self.is_linear(name, shape) => Form::Nf4(self.wide),
            (Target::Int8, _) if self.is_linear(name, shape) => Form::Int8,
            (Target::Sdnq(_), Some((kind, config))) if is_sdnq(name, shape, config) => {
                let width = shape.dim(1).unwrap_or(1) as usize;
                Form::Sdnq(*kind, group_of(*kind, config.group_size, width) as u64)
            }
            // What these formats' programs do not quantise they leave in the 16 bits that a model is computed in.
            (Target::Nf4 | Target::Int8 | Target::Sdnq(_), _) if dtype == DType::F32 && shape.rank() >= 2 && !is_table(name) => {
                Form::Float(self.half)
            }
            // What stays is stored as wide as it was; what came in fewer bits, as most of a model is computed with.
            _ if matches!(dtype, DType::F32 | DType::F16 | DType::Bf16) => Form::Copy,
            _ => Form::Float(self.wide),
        }
    }

    /// Returns whether a tensor is one of the part that is converted, where a checkpoint holds others beside it.
    fn is_network(&self, name: &str) -> bool {
        self.part != Part::Whole || !self.is_checkpoint || name.starts_with(DENOISER)
    }

    /// Returns the tensor by which ComfyUI knows that weights have scales: at the root of what has them.
    fn marker(&self) -> Product {
        let name = if self.part == Part::Whole && self.is_checkpoint { "model.diffusion_model.scaled_fp8" } else { "scaled_fp8" };
        // Two elements have ComfyUI multiply in full precision: nobody has measured the scales of what comes in.
        Product { name: name.to_owned(), dtype: DType::F8_E4M3, shape: [2].into(), constant: Some(vec![0; 2]) }
    }

    /// Returns whether a tensor is the weight of a linear layer of a network or an encoder.
    fn is_linear(&self, name: &str, shape: &Shape) -> bool {
        self.is_network(name) && shape.rank() == 2 && name.ends_with(".weight") && !TABLES.iter().any(|end| name.ends_with(end))
    }
}

/// What the diffusion network's names begin with in a checkpoint.
const DENOISER: &str = "model.diffusion_model.";

/// Endings of matrices that are looked up in or added, and not multiplied with.
const TABLES: &[&str] = &["embedding.weight", "embed_tokens.weight", "shared.weight", "relative_attention_bias.weight", "lm_head.weight"];

pub(super) fn is_number(dtype: DType) -> bool {
    let floating = matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::Bf16 | DType::F8_E4M3 | DType::F8_E5M2);
    floating || DType::GGML.contains(&dtype)
}

fn is_sdnq(name: &str, shape: &Shape, config: &Config) -> bool {
    let has_packs = shape.dim(1).is_some_and(|width| width.is_multiple_of(SDNQ_PACK));
    // A parameter of its own, such as a projection or a token, is no layer's weight and would not be known again.
    name.ends_with(".weight") && has_packs && sdnq_names::converts(name, shape, config)
}

/// Returns the configuration of a file of this type: what stays is named, as the reference does.
fn config(kind: WeightsType, feeds: &[Feed]) -> Config {
    let mut config = Config { modules_to_not_convert: Vec::new(), ..Config::of(kind) };
    let usual = sdnq_names::left_alone("");
    config.modules_to_not_convert = usual.iter().map(|name| (*name).to_owned()).collect();
    let stays = |feed: &&Feed| feed.name.ends_with(".weight") && feed.shape.rank() == 2 && !is_sdnq(&feed.name, &feed.shape, &config);
    let names: Vec<String> = feeds.iter().filter(stays).map(|feed| feed.name.clone()).collect();
    config.modules_to_not_convert.extend(names);
    config
}

/// The source's own words, and ours.
fn metadata(source: &Opened, target: &Target, recipe: &str) -> BTreeMap<String, String> {
    let mut metadata = source.catalog.metadata().clone();
    metadata.retain(|key, _| !matches!(key.as_str(), "quantization_config" | "_quantization_metadata"));
    metadata.insert("format".to_owned(), "pt".to_owned());
    metadata.insert("perilune.precision".to_owned(), target.to_string());
    metadata.insert("perilune.recipe".to_owned(), recipe.to_owned());
    metadata
}

/// Reads the header that was written back, and compares it with what was meant.
pub fn check(output: &Output, part: &PartFile, target: &Target) -> Result<(), ConversionError> {
    let mut header = vec![0; output.header_length()];
    part.read(0, &mut header)?;
    let read = match target.container() {
        Container::Safetensors => safetensors::parse(header.get(safetensors::PREFIX..).unwrap_or_default(), output.length),
        Container::Gguf => gguf::parse(&header, output.length).map(|header| header.catalog),
    };
    match read {
        Ok(catalog) if catalog.len() == output.tensors => Ok(()),
        Ok(catalog) => Err(part.wrong(format!("it has {} tensors and should have {}", catalog.len(), output.tensors))),
        Err(error) => Err(part.wrong(error.to_string())),
    }
}

pub(super) fn impossible(path: &Path, kind: Kind, reason: String, hint: &'static str) -> ConversionError {
    ConversionError::Impossible { path: path.to_owned(), reason, kind, hint }
}
