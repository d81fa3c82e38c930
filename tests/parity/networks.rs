//! Text encoder, UNet and autoencoder, from every layout of the same weights.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::{Compute, kind};
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{Asks, LoadedClip, LoadedDenoiser, LoadedEncoder, LoadedVae, Offload};
use perilune::engine::models::denoiser::Pass;
use perilune::engine::nn::WeightRef;
use perilune::engine::nn::wide::stream;
use perilune::engine::pipelines::noise::NoiseSource;
use perilune::engine::residency::Residency;
use perilune::engine::sets::{Loading, Sets};
use perilune::families::{Role, describe};
use perilune::library::open;
use perilune::units::{DeviceId, Seed};
use perilune::weights::Precision;
use perilune::weights::block_table::Slot;
use tch::{Device, Kind};

use crate::fixture::{close, sd15, tensor};
use crate::process::job;

/// The bar of fp32 on a processor. A wrong norm epsilon shows as 1e-5 to 1e-4, so a looser one would pass it.
pub(crate) const FP32: f64 = 1e-5;
/// How far bf16 with a wide stream may be from fp32, in parts of how far bf16 without is.
const WIDE_OF_NARROW: f64 = 0.8;
/// Sums in another order.
const REORDERED: f64 = 4e-6;

fn golden(name: &str) -> tch::Tensor {
    tensor(&sd15().join("golden.safetensors"), name)
}

/// The files of one part of a model that was given as `path`.
fn files(path: &Path, role: Role) -> Vec<PathBuf> {
    let is_part = path.file_name().unwrap().to_string_lossy().starts_with("split-");
    let description = describe(&open(path, Some(role).filter(|_| is_part)).unwrap()).unwrap();
    description.components.into_iter().find(|c| c.role == role).unwrap().files
}

fn with_target<T>(precision: Precision, work: impl FnOnce(Target<'_>) -> T) -> T {
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    tch::no_grad(|| work(Target { compute: &compute, precision, cancel: &CancelFlag::default(), offload: Offload::Nothing }))
}

pub(crate) fn denoiser(path: &Path, precision: Precision) -> LoadedDenoiser {
    with_target(precision, |target| LoadedDenoiser::load(&files(path, Role::Denoiser), target)).unwrap()
}

/// The text encoder of this role, in fp32.
pub(crate) fn encoder(path: &Path, role: Role) -> LoadedEncoder {
    with_target(Precision::Fp32, |target| LoadedEncoder::load(role, &files(path, role), None, target)).unwrap()
}

fn clip(path: &Path, precision: Precision) -> LoadedClip {
    with_target(precision, |target| LoadedClip::load(Role::ClipL, &files(path, Role::ClipL), target)).unwrap()
}

/// The autoencoder.
pub(crate) fn vae(path: &Path, precision: Precision) -> LoadedVae {
    with_target(precision, |target| LoadedVae::load(&files(path, Role::Vae), target)).unwrap()
}

fn unet_output(unet: &LoadedDenoiser, case: &str, kind: Kind) -> tch::Tensor {
    let input = |name: &str| golden(&format!("unet.{case}.{name}"));
    let time = input("time").double_value(&[0]);
    let (x, context) = (input("x").to_kind(kind), input("context").to_kind(kind));
    tch::no_grad(|| unet.model.forward(&unet.residency, Pass::of_text(&x, time, &context))).unwrap()
}

#[test]
fn text_encoder_in_fp32() {
    let clip = clip(&sd15().join("sd15.safetensors"), Precision::Fp32);
    let hidden = tch::no_grad(|| clip.model.forward(&clip.residency, &golden("text.tokens"))).unwrap().last;
    close("text encoder", &hidden, &golden("text.hidden"), FP32);
}

#[test]
fn unet_in_fp32() {
    let unet = denoiser(&sd15().join("sd15.safetensors"), Precision::Fp32);
    close("unet, 16 x 16, batch of 2", &unet_output(&unet, "a", Kind::Float), &golden("unet.a.out"), FP32);
    close("unet, 9 x 11, two windows of text", &unet_output(&unet, "b", Kind::Float), &golden("unet.b.out"), FP32);
}

#[test]
fn autoencoder_in_fp32() {
    let vae = vae(&sd15().join("sd15.safetensors"), Precision::Fp32);
    let mean = tch::no_grad(|| vae.model.encode(&vae.residency, &golden("vae.picture"))).unwrap().unwrap();
    close("vae encode", &mean, &golden("vae.mean"), FP32);
    let decoded = tch::no_grad(|| vae.model.decode(&vae.residency, &golden("vae.latent"))).unwrap();
    close("vae decode", &decoded, &golden("vae.decoded"), FP32);
}

/// What is decoded with belongs to what was sampled with, whatever happens to the file's name meanwhile.
#[test]
fn a_model_that_is_replaced_while_it_runs_is_still_the_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sd15.safetensors");
    fs::copy(sd15().join("sd15.safetensors"), &path).unwrap();
    let (spec, compute, cancel) = (job(&path), Compute::open(DeviceId::Cpu, None).unwrap(), CancelFlag::default());
    let nothing = Asks::default();
    let mut sets = Sets::default();
    let how = Loading { compute: &compute, precision: Precision::Fp32, asks: &nothing, cancel: &cancel, texts: None };
    sets.take_up(&spec, &how).unwrap();
    sets.load_encoders(&spec, &how).unwrap();
    sets.load_network(&spec.set, &how).unwrap();
    fs::write(folder.path().join("new"), b"another model").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    sets.load_vae(&compute, &cancel).unwrap();
    let vae = sets.vae().unwrap();
    let decoded = tch::no_grad(|| vae.model.decode(&vae.residency, &golden("vae.latent"))).unwrap();
    close("vae decode, file replaced", &decoded, &golden("vae.decoded"), FP32);
    sets.check_files().unwrap();
    sets.take_up(&spec, &how).unwrap();
    let next = sets.load_encoders(&spec, &how);
    assert!(matches!(next, Err(EngineError::Library(_))), "{next:?}");
}

/// Fails where two residencies do not hold the same weights under the same names.
pub(crate) fn check_same_weights(a: &Residency, b: &Residency, what: &str) {
    for (name, slot) in a.table().names() {
        let other = b.table().slot(name).unwrap_or_else(|| panic!("{what} has no {name}"));
        let weight = |r: &Residency, slot: Slot| r.acquire(slot.block).unwrap().tensor(WeightRef(slot)).shallow_clone();
        // A matrix and a 1 x 1 convolution are the same numbers.
        assert!(weight(a, slot).flatten(0, -1) == weight(b, other).flatten(0, -1), "{name} in {what}");
    }
}

/// The same weights under other names and in other files are the same numbers, bit for bit. What is computed with them
/// is not: weights that stay where they lie in a file lie otherwise in another, and BLAS adds in another order then.
#[test]
fn every_layout_holds_the_same_weights() {
    let root = sd15();
    let whole = root.join("sd15.safetensors");
    let reference = denoiser(&whole, Precision::Fp32);
    let expected = unet_output(&reference, "a", Kind::Float);
    for layout in ["folder", "sharded", "split-unet.safetensors"] {
        let unet = denoiser(&root.join(layout), Precision::Fp32);
        check_same_weights(&reference.residency, &unet.residency, layout);
        close(layout, &unet_output(&unet, "a", Kind::Float), &expected, REORDERED);
    }
    for (text, autoencoder) in [("folder", "folder"), ("sharded", "sharded"), ("split-clip.safetensors", "split-vae.safetensors")] {
        let precision = Precision::Fp32;
        check_same_weights(&clip(&whole, precision).residency, &clip(&root.join(text), precision).residency, text);
        check_same_weights(&vae(&whole, precision).residency, &vae(&root.join(autoencoder), precision).residency, autoencoder);
    }
}

/// 16 bits lose digits but not the picture. Weights and activations of random networks are larger than real ones'.
#[test]
fn half_precisions_stay_near() {
    for (precision, kind, file, bar) in
        [(Precision::Bf16, Kind::BFloat16, "sd15-bf16.safetensors", 6e-2), (Precision::Fp16, Kind::Half, "sd15-fp16.safetensors", 1e-2)]
    {
        let unet = denoiser(&sd15().join(file), precision);
        let output = unet_output(&unet, "a", stream(kind)).to_kind(Kind::Float);
        let reference = golden("unet.a.out");
        let off = (&output - &reference).abs().max().double_value(&[]) / reference.abs().max().double_value(&[]);
        println!("unet in {precision}: {off:.1e}");
        assert!(off < bar, "{precision}: {off:.1e}");
    }
}

/// Small products compute in fp32: of bf16 nothing is left but how the weights were rounded.
#[test]
fn small_products_of_bf16_are_those_of_fp32() {
    let file = sd15().join("sd15-bf16.safetensors");
    let [exact, half] = [Precision::Fp32, Precision::Bf16].map(|precision| unet_output(&denoiser(&file, precision), "a", Kind::Float));
    close("a small unet in bf16", &half, &exact, FP32);
}

/// Products that are large compute in bf16: the stream between them in fp32, and in bf16, beside what the same rounded weights give
/// in fp32.
#[test]
fn a_wide_stream_brings_bf16_nearer_to_fp32() {
    let file = sd15().join("sd15-bf16.safetensors");
    let [full, half] = [Precision::Fp32, Precision::Bf16].map(|precision| denoiser(&file, precision));
    let width = i64::try_from(full.config.context_width()).unwrap();
    let output = |unet: &LoadedDenoiser, kind: Kind, time: f64| {
        // As the sampler gives it: of about unit variance.
        let x = NoiseSource::new(Seed(7), 1, [4, 96, 96], Device::Cpu).start().to_kind(kind);
        let context = NoiseSource::new(Seed(8), 1, [1, 77, width], Device::Cpu).start().squeeze_dim(1).to_kind(kind);
        tch::no_grad(|| unet.model.forward(&unet.residency, Pass::of_text(&x, time, &context))).unwrap().to_kind(Kind::Float)
    };
    let off = |kind: Kind| {
        let one = |time: f64| {
            let exact = output(&full, Kind::Float, time);
            ((output(&half, kind, time) - &exact).norm() / exact.norm()).double_value(&[])
        };
        [981.0, 461.0].map(one).iter().sum::<f64>() / 2.0
    };
    let (wide, narrow) = (off(stream(Kind::BFloat16)), off(Kind::BFloat16));
    println!("a unet in bf16, relative to fp32 of its weights: {wide:.2e} with a wide stream, {narrow:.2e} without");
    assert!(wide > 0.0, "nothing was computed in bf16");
    assert!(wide < WIDE_OF_NARROW * narrow, "{wide:.2e} with a wide stream, {narrow:.2e} without");
}

#[test]
fn weights_are_counted_from_the_tensors() {
    let path = sd15().join("sd15-fp16.safetensors");
    let stored = describe(&open(&path, None).unwrap()).unwrap().components[0].bytes;
    for (precision, factor) in [(Precision::Fp16, 1), (Precision::Fp32, 2)] {
        let unet = denoiser(&path, precision);
        assert_eq!(unet.residency.measured()[0].bytes.get(), 0, "weights come when they are first used");
        drop(unet_output(&unet, "a", kind(precision)));
        assert_eq!(unet.residency.measured()[0].bytes.get(), stored.get() * factor);
        assert_eq!(unet.residency.asked(), unet.residency.measured());
    }
}
