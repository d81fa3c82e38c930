//! What a run samples, before it is decoded: from words to clean latents with the parts that a run is made of.

use std::path::Path;

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::Compute;
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedDenoiser, LoadedEncoder, Offload};
use perilune::engine::pipelines::solve::Around;
use perilune::engine::pipelines::{denoise, text};
use perilune::families::Role;
use perilune::units::DeviceId;
use perilune::weights::Precision;
use perilune::workflow::JobSpec;
use tch::{Device, Tensor};

use crate::fixture::tensor;

/// How far a number may be from diffusers'.
const BAR: f64 = 1e-3;

/// Nothing happens between steps.
struct Alone;

impl Around for Alone {
    fn finished_step(&mut self, _: usize, _: f64, _: &Tensor) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Returns the clean latents of a job, `[B, C, h, w]`.
fn latents(spec: &JobSpec) -> Tensor {
    let (compute, cancel) = (Compute::open(DeviceId::Cpu, None).unwrap(), CancelFlag::default());
    let target = Target { compute: &compute, precision: Precision::Fp32, cancel: &cancel, offload: Offload::Nothing };
    let files = |role: Role| spec.set.component(role).unwrap().files.clone();
    let load = |role: Role| LoadedEncoder::load(role, &files(role), spec.set.vocabularies.get(&role), target).unwrap();
    tch::no_grad(|| {
        let there = spec.set.family.encoders().filter(|role| spec.set.component(*role).is_some());
        let encoders: Vec<(Role, LoadedEncoder)> = there.map(|role| (role, load(role))).collect();
        let network = LoadedDenoiser::load(&files(Role::Denoiser), target).unwrap();
        let find = |role| encoders.iter().find(|(r, _)| *r == role).map(|(_, e)| e).ok_or_else(|| EngineError::not_loaded(role));
        let conditioning = text::condition(spec, &find, Device::Cpu, None).unwrap();
        let table = denoise::table(spec);
        let start = denoise::start(spec, &table, None, Device::Cpu);
        denoise::sample(spec, &network, &table, start, &conditioning, Precision::Fp32, &mut Alone).unwrap()
    })
}

/// Fails where a job's latents are not those that a file has under this name.
#[track_caller]
pub(crate) fn check(spec: &JobSpec, file: &Path, name: &str) {
    let (ours, theirs) = (latents(spec), tensor(file, name));
    assert_eq!(ours.size(), theirs.size(), "{name}");
    let off = (ours - theirs).abs().max().double_value(&[]);
    println!("{}, {name}: off by {off:.1e} at most", spec.set.family);
    assert!(off <= BAR, "{}, {name}: off by {off:.1e}, at most {BAR:.0e}", spec.set.family);
}
