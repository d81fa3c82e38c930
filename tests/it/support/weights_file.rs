//! Builds safetensors and GGUF files, whole and hostile ones.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use perilune::formats::gguf::{Layout, NewTensor, layout};
use perilune::formats::gguf_value::Value;
use perilune::weights::{DType, Shape};

/// A file of `json` after its length, then `data` zero bytes.
pub(crate) fn raw(json: &str, data: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// A file of fp16 tensors of zeros with these names and shapes.
pub(crate) fn zeros(tensors: &[(String, Vec<u64>)], metadata: &str) -> Vec<u8> {
    let mut json = format!("{{\"__metadata__\":{{{metadata}}}");
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + shape.iter().product::<u64>() * 2;
        write!(json, ",\"{name}\":{{\"dtype\":\"F16\",\"shape\":{shape:?},\"data_offsets\":[{at},{end}]}}").unwrap();
        at = end;
    }
    json.push('}');
    raw(&json, at as usize)
}

/// A GGUF file of zeros with these texts, and tensors of these types and shapes.
pub(crate) fn gguf(texts: &[(&str, &str)], tensors: &[(String, DType, Vec<u64>)]) -> Vec<u8> {
    let values: Vec<_> = texts.iter().map(|(key, text)| ((*key).to_owned(), Value::Text((*text).to_owned()))).collect();
    let tensor =
        |(name, dtype, shape): &(String, DType, Vec<u64>)| NewTensor { name: name.clone(), dtype: *dtype, shape: Shape(shape.clone()) };
    let Layout { header: mut bytes, length, .. } = layout(&values, &tensors.iter().map(tensor).collect::<Vec<_>>()).unwrap();
    bytes.resize(length as usize, 0);
    bytes
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Names and shapes of a tiny SD1.5 model: 32 channels, one level, one ResNet.
pub(crate) fn tiny_unet() -> Vec<(String, Vec<u64>)> {
    use perilune::families::UnetConfig;
    use perilune::families::unet::{Heads, Layer, Stage};

    let stage = |name: &str, layers: Vec<Layer>| Stage { name: name.to_owned(), layers };
    let transformer = Layer::Transformer { channels: 32, depth: 1 };
    let same = Layer::Resnet { input: 32, output: 32 };
    let up = Layer::Resnet { input: 64, output: 32 };
    let config = UnetConfig {
        in_channels: 4,
        out_channels: 4,
        model_channels: 32,
        context_width: 64,
        vector_width: None,
        linear_projection: false,
        heads: Heads::Count(8),
        input: vec![stage("input_blocks.0", vec![Layer::ConvIn]), stage("input_blocks.1", vec![same, transformer])],
        middle: stage("middle_block", vec![same, transformer, same]),
        output: vec![stage("output_blocks.0", vec![up, transformer]), stage("output_blocks.1", vec![up, transformer])],
    };
    let names = config.expected().into_iter().map(|(name, shape)| (name, shape.0));
    names.collect()
}

pub(crate) fn tiny_clip() -> Vec<(String, Vec<u64>)> {
    tiny_clip_of(64)
}

/// One that makes text of this width.
pub(crate) fn tiny_clip_of(width: u64) -> Vec<(String, Vec<u64>)> {
    let config = perilune::families::ClipConfig {
        role: perilune::families::Role::ClipL,
        vocabulary: 100,
        positions: 77,
        width,
        inner_width: 128,
        layers: 1,
        activation: perilune::families::ClipActivation::QuickGelu,
        projection: None,
    };
    config.expected().into_iter().map(|(name, shape)| (name, shape.0)).collect()
}

pub(crate) fn tiny_t5() -> Vec<(String, Vec<u64>)> {
    let config =
        perilune::families::T5Config { vocabulary: 100, width: 64, inner_width: 128, layers: 1, heads: 1, head_width: 64, buckets: 32 };
    config.expected().into_iter().map(|(name, shape)| (name, shape.0)).collect()
}

pub(crate) fn tiny_vae() -> Vec<(String, Vec<u64>)> {
    tiny_vae_of(4)
}

pub(crate) fn tiny_vae_of(latent_channels: u64) -> Vec<(String, Vec<u64>)> {
    use perilune::families::VaeConfig;
    use perilune::families::vae::HalfConfig;

    let half = |blocks: usize| HalfConfig { levels: vec![vec![(32, 32); blocks]], middle: 32, resamples: vec![false] };
    let config = VaeConfig { latent_channels, picture_channels: 3, quant_convs: true, encoder: Some(half(1)), decoder: half(2) };
    config.expected().into_iter().map(|(name, shape)| (name, shape.0)).collect()
}

pub(crate) fn under(prefix: &str, tensors: Vec<(String, Vec<u64>)>) -> Vec<(String, Vec<u64>)> {
    tensors.into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
}

/// A whole tiny checkpoint in the single-file layout.
pub(crate) fn tiny_checkpoint() -> Vec<(String, Vec<u64>)> {
    let mut all = under("model.diffusion_model.", tiny_unet());
    all.extend(under("cond_stage_model.transformer.", tiny_clip()));
    all.extend(under("first_stage_model.", tiny_vae()));
    all
}
