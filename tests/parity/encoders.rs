//! Text encoders beside those of transformers, from every layout of the same weights.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::Compute;
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedClip, Offload};
use perilune::engine::models::clip::ClipOutput;
use perilune::families::Role;
use perilune::library::open;
use perilune::units::DeviceId;
use perilune::weights::Precision;
use tch::Tensor;

use crate::fixture::{close, tensor};
use crate::made::made_by;

/// The bar of fp32 on a processor.
const FP32: f64 = 1e-5;

/// The folder that `scripts/parity/encoders.py` wrote.
fn encoders() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| made_by("encoders.py", &[]))
}

fn golden(name: &str) -> Tensor {
    tensor(&encoders().join("golden.safetensors"), name)
}

fn with_target<T>(precision: Precision, work: impl FnOnce(Target<'_>) -> T) -> T {
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    tch::no_grad(|| work(Target { compute: &compute, precision, cancel: &CancelFlag::default(), offload: Offload::Nothing }))
}

/// The files of an encoder that is a file or a part's folder.
fn files(path: &str, role: Role) -> Vec<PathBuf> {
    open(&encoders().join(path), Some(role)).unwrap().remove(0).files
}

fn clip(path: &str, role: Role) -> LoadedClip {
    with_target(Precision::Fp32, |target| LoadedClip::load_as(role, &files(path, role), target)).unwrap()
}

fn read(clip: &LoadedClip, tokens: &Tensor) -> ClipOutput {
    tch::no_grad(|| clip.model.forward(&clip.residency, tokens)).unwrap()
}

#[test]
fn clip_of_both_sizes_in_every_layout() {
    for (role, name) in [(Role::ClipL, "clip_l"), (Role::ClipG, "clip_g")] {
        let layouts = ["", ".safetensors", "-bare.safetensors", "-open.safetensors"].map(|end| format!("{name}{end}"));
        for path in layouts.into_iter().chain(["both.safetensors".to_owned()]) {
            let clip = clip(&path, role);
            let ours = read(&clip, &golden(&format!("{name}.tokens")));
            let compare = |what: &str, ours: &Tensor| close(&format!("{path}: {what}"), ours, &golden(&format!("{name}.{what}")), FP32);
            compare("last", &ours.last);
            compare("penultimate", &ours.penultimate);
            compare("unprojected", &ours.unprojected);
            if clip.config.projection.is_some() {
                compare("pooled", &ours.pooled);
            } else {
                assert!(ours.pooled == ours.unprojected, "{path}: nothing to project with");
            }
            assert_eq!(clip.config.projection.is_none(), path == "both.safetensors" && role == Role::ClipL, "{path}");
        }
    }
}
