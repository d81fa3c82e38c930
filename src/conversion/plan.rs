//! What each tensor of a source becomes, for a target.

use std::collections::BTreeMap;

use super::ConversionError;
use super::feed::Feed;
use super::form::{Form, Product};
use super::output::Output;
use super::part_file::PartFile;
use super::source::{Opened, Part};
use super::target::Target;
use crate::formats::safetensors;
use crate::weights::DType;

/// The version of the codecs and of the rules here: another one makes other files.
const CODECS: u32 = 1;

/// Returns what is done to a source, for manifests.
#[must_use]
pub fn recipe(target: &Target, part: Part) -> String {
    format!("{target}/{part}/{CODECS}")
}

/// Returns whether a target is a GGUF file.
#[must_use]
pub fn is_gguf(_target: &Target) -> bool {
    false
}

/// Returns the precision that a source has.
#[must_use]
pub fn stored(source: &Opened) -> String {
    match source.catalog.main_dtype() {
        Some(DType::F32) => "fp32".to_owned(),
        Some(DType::F16) => "fp16".to_owned(),
        Some(DType::Bf16) => "bf16".to_owned(),
        other => other.map_or_else(|| "nothing".to_owned(), |d| d.name().to_lowercase()),
    }
}

/// Returns the name of a result. A part other than the network says which it is.
#[must_use]
pub fn file_name(stem: &str, target: &Target, part: Part) -> String {
    let part = match part {
        Part::One(crate::families::Role::Denoiser) => String::new(),
        other => format!("_{other}"),
    };
    format!("{stem}{part}_{target}.safetensors")
}

/// Lays out the result.
pub fn output(source: &Opened, target: &Target, recipe: &str) -> Result<Output, ConversionError> {
    let feeds = source.feeds()?;
    let tensors = feeds.into_iter().map(|feed| {
        let form = form(&feed, target);
        let products = form.products(&feed.name, &feed);
        (feed, form, products)
    });
    let constants = if *target == Target::ScaledFp8 { vec![marker(source.part)] } else { Vec::new() };
    Ok(Output::safetensors(tensors.collect(), constants, &metadata(source, target, recipe)))
}

fn form(feed: &Feed, target: &Target) -> Form {
    let floating = matches!(feed.dtype, DType::F64 | DType::F32 | DType::F16 | DType::Bf16 | DType::F8_E4M3 | DType::F8_E5M2);
    let wanted = match target {
        Target::Fp32 => DType::F32,
        Target::Fp16 => DType::F16,
        Target::Bf16 => DType::Bf16,
        Target::Fp8 | Target::ScaledFp8 => DType::F8_E4M3,
        Target::Fp8E5m2 => DType::F8_E5M2,
    };
    if !floating || (wanted == feed.dtype && feed.scale.is_none()) {
        return Form::Copy;
    }
    if *target == Target::ScaledFp8 && feed.shape.rank() == 2 {
        return Form::ScaledFp8;
    }
    Form::Float(wanted)
}

fn marker(part: Part) -> Product {
    let name = if part == Part::Whole { "model.diffusion_model.scaled_fp8" } else { "scaled_fp8" };
    Product { name: name.to_owned(), dtype: DType::F8_E4M3, shape: [2].into(), constant: Some(vec![0; 2]) }
}

/// The source's own words, and ours.
fn metadata(source: &Opened, target: &Target, recipe: &str) -> BTreeMap<String, String> {
    let mut metadata = source.catalog.metadata().clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    metadata.insert("perilune.precision".to_owned(), target.to_string());
    metadata.insert("perilune.recipe".to_owned(), recipe.to_owned());
    metadata
}

/// Reads the header that was written back, and compares it with what was meant.
pub fn check(output: &Output, part: &PartFile, _target: &Target) -> Result<(), ConversionError> {
    let mut header = vec![0; output.header_length()];
    part.read(0, &mut header)?;
    match safetensors::parse(header.get(safetensors::PREFIX..).unwrap_or_default(), output.length) {
        Ok(catalog) if catalog.len() == output.tensors => Ok(()),
        Ok(catalog) => Err(part.wrong(format!("it has {} tensors and should have {}", catalog.len(), output.tensors))),
        Err(error) => Err(part.wrong(error.to_string())),
    }
}
