//! What each tensor of a source becomes in a GGUF file.

use std::path::Path;

use super::ConversionError;
use super::form::Form;
use super::gguf_file;
use super::output::{Output, SOURCE_KEY, hash_to_come};
use super::plan::impossible;
use super::source::{Opened, Part};
use super::whole::Whole;
use crate::families::{Family, Role};
use crate::formats::FormatError;
use crate::formats::gguf::NewTensor;
use crate::formats::gguf_value::Value;
use crate::quant::comfy_gguf::{self, Architecture, Chosen, ComfyError, Given};
use crate::quant::precision::{Mix, Target};
use crate::quant::{llama_gguf, sd_cpp_gguf};
use crate::weights::DType;
use crate::workflow::Kind;

/// The hint where there is another kind of file.
const OTHERWISE: &str = "choose a precision that is stored as safetensors";

/// Lays out the result, of a source that was laid out for it.
pub fn output(source: &Opened, mix: Mix, target: &Target, recipe: &str) -> Result<Output, ConversionError> {
    let wholes = source.wholes()?;
    let given: Vec<Given> =
        wholes.iter().map(|whole| Given { name: whole.name.clone(), dtype: whole.dtype(), shape: whole.shape() }).collect();
    let ours = [
        (SOURCE_KEY.to_owned(), Value::Text(hash_to_come())),
        ("perilune.precision".to_owned(), Value::Text(target.to_string())),
        ("perilune.recipe".to_owned(), Value::Text(recipe.to_owned())),
    ];
    let (values, chosen) = match source.part {
        Part::One(Role::Denoiser) => {
            let wrong = |error: ComfyError| impossible(&source.path, Kind::Refused, error.to_string(), OTHERWISE);
            let plan = comfy_gguf::plan(&given, mix, known(source)).map_err(wrong)?;
            (gguf_file::values(&plan, &ours), plan.tensors)
        }
        Part::One(role @ (Role::T5 | Role::Qwen)) => {
            let words = source.words(role)?;
            let values = gguf_file::values_of(Some(words.architecture), mix, &[&ours[..], &words.values[..]].concat());
            (values, llama_gguf::plan(&given, mix, words.pairs))
        }
        Part::One(Role::ClipL | Role::ClipG) => (gguf_file::values_of(None, mix, &ours), sd_cpp_gguf::plan(&given, mix, None)),
        Part::Whole => {
            let architecture = source.architecture().or_else(|| known(source));
            let values = gguf_file::values_of(architecture.map(Architecture::name), mix, &ours);
            (values, sd_cpp_gguf::plan(&given, mix, architecture))
        }
        Part::One(Role::Vae) => {
            let reason = format!("an autoencoder has nothing that {target} is for: its convolutions stay in 16 bits");
            return Err(impossible(&source.path, Kind::Refused, reason, "convert it to fp16 or bf16"));
        }
    };
    // Of a network ComfyUI-GGUF's tools make such a file all the same.
    if source.part != Part::One(Role::Denoiser) && !chosen.iter().any(|chosen| DType::GGML.contains(&chosen.dtype)) {
        let reason = format!("none of its tensors can be stored as {target}");
        return Err(impossible(&source.path, Kind::Refused, reason, OTHERWISE));
    }
    laid_out(&source.path, &values, wholes, chosen)
}

fn laid_out(path: &Path, values: &[(String, Value)], wholes: Vec<Whole>, chosen: Vec<Chosen>) -> Result<Output, ConversionError> {
    let mut wholes: Vec<Option<Whole>> = wholes.into_iter().map(Some).collect();
    let mut tensors = Vec::new();
    for Chosen { source, name, dtype, shape, .. } in chosen {
        let Some(whole) = wholes.get_mut(source).and_then(Option::take) else { continue };
        let is_alone = whole.parts.len() == 1;
        let parts = whole.parts.into_iter().map(|part| {
            let form = match dtype {
                // A part has rows of its own, and what is alone may be stored as other rows.
                _ if DType::GGML.contains(&dtype) => Form::Blocks(dtype, if is_alone { shape.clone() } else { part.shape.clone() }),
                _ if dtype == part.dtype && part.scale.is_none() => Form::Copy,
                _ => Form::Float(dtype),
            };
            (part, form)
        });
        tensors.push((parts.collect(), NewTensor { name, dtype, shape }));
    }
    let refused = |error: FormatError| impossible(path, Kind::Refused, error.to_string(), OTHERWISE);
    Output::gguf(values, tensors).map_err(refused)
}

/// Returns the architecture of a network by its shapes: of those whose sizes differ.
pub(super) fn known(source: &Opened) -> Option<Architecture> {
    let name = match source.family()? {
        Family::Sd15 | Family::Sd2 => "sd1",
        Family::Sdxl | Family::SdxlRefiner => "sdxl",
        Family::Sd3 | Family::Flux | Family::ZImage => return None,
    };
    Architecture::named(name)
}
