//! Reference files of the models.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use perilune::conversion::{Outcome, Part, Watch, Wish, convert};
use perilune::families::{Family, Role, describe};
use perilune::library::{Roots, open};
use perilune::quant::{Mix, Target};
use perilune::units::{Bytes, Timestamp};
use tch::{Device, Kind, Tensor};

use crate::flow_pictures::whole;
use crate::made::made_by;

/// The folder that `scripts/parity/sd15.py` wrote.
pub(crate) fn sd15() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| made_by("sd15.py", &["ldm_layout.py", "clip_tokens.py", "seeded.py"]))
}

/// The folder with tiny models of a family, by the script of its name.
pub(crate) fn of(family: Family) -> PathBuf {
    if family == Family::Sd15 {
        return sd15().to_owned();
    }
    made_by(
        &format!("{family}.py"),
        &["ldm_layout.py", "clip_tokens.py", "sd15.py", "encoders.py", "dit_layout.py", "painted.py", "seeded.py"],
    )
}

/// Every model of a family in its folder that can paint, whatever it is stored as: files and folders.
pub(crate) fn models_of(family: Family) -> Vec<PathBuf> {
    let folder = match family {
        Family::Sd15 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => of(family),
        // Their own scripts write networks alone.
        Family::Sd3 | Family::Flux | Family::ZImage => whole(family),
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let is_whole = |path: &PathBuf| {
        let description = open(path, None).ok().and_then(|source| describe(&source).ok());
        // What paints into a picture does not run from words alone.
        let paints = |variant: Option<&str>| variant.is_some_and(|name| !name.contains("inpaint"));
        description.is_some_and(|d| d.family == Some(family) && d.missing.is_empty() && paints(d.variant.as_deref()))
    };
    paths.retain(is_whole);
    assert!(!paths.is_empty(), "scripts/parity/{family}.py writes no model of {family}");
    paths
}

/// The network of a model as everything that weights can be converted to: what, and where.
pub(crate) fn storages_of(model: &Path, folder: &Path) -> Vec<(Target, PathBuf)> {
    storages_of_part(model, Role::Denoiser, folder)
}

/// The same of any part of a model. How each type of SDNQ and of GGUF files is read is known from networks; of autoencoders there are no
/// GGUF files.
pub(crate) fn storages_of_part(model: &Path, role: Role, folder: &Path) -> Vec<(Target, PathBuf)> {
    let sdnq = ["int8", "uint8", "int7", "int6", "int5", "uint4", "int4", "uint3", "uint2", "float4_e2m1fn", "float8_e4m3fn"];
    let sdnq = sdnq
        .into_iter()
        .filter(|kind| role == Role::Denoiser || ["int8", "uint4"].contains(kind))
        .map(|kind| format!("sdnq_{kind}").parse().unwrap());
    let convert = |target: Target| (target.clone(), converted_part(model, role, target, folder));
    let is_made = |target: &Target| match target {
        Target::Gguf(mix) => role == Role::Denoiser || (role.is_encoder() && [Mix::Q8_0, Mix::Q4_0].contains(mix)),
        _ => true,
    };
    Target::all().into_iter().chain(sdnq).filter(is_made).map(convert).collect()
}

/// Converts the network of a model.
pub(crate) fn converted(model: &Path, target: Target, folder: &Path) -> PathBuf {
    converted_part(model, Role::Denoiser, target, folder)
}

/// Converts a part of a model.
pub(crate) fn converted_part(model: &Path, role: Role, target: Target, folder: &Path) -> PathBuf {
    converted_as(model, Part::One(role), target, folder)
}

/// Converts a part of a model, or all of it.
pub(crate) fn converted_as(model: &Path, part: Part, target: Target, folder: &Path) -> PathBuf {
    let roots = Roots::default();
    let wish = Wish {
        source: model,
        part: Some(part),
        target,
        folder: Some(folder),
        roots: &roots,
        now: Timestamp(0),
        floor: Bytes::ZERO,
        backup: None,
    };
    let watch = Watch { stop: &AtomicBool::new(false), tell: &|_, _| (), threads: 2 };
    match convert(&wish, watch, |_| ()).unwrap() {
        Outcome::Converted { path, .. } | Outcome::Cached { path, .. } | Outcome::Restored { path, .. } => path,
        Outcome::Skipped { .. } => model.to_owned(),
    }
}

/// A tensor of a safetensors file, read without the engine's own loader.
pub(crate) fn tensor(file: &Path, name: &str) -> Tensor {
    tensor_if_there(file, name).unwrap_or_else(|| panic!("{} holds no {name}", file.display()))
}

/// The same of a tensor that not every file holds.
pub(crate) fn tensor_if_there(file: &Path, name: &str) -> Option<Tensor> {
    let bytes = fs::read(file).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).ok()?;
    let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
    let kind = match view.dtype() {
        safetensors::Dtype::F32 => Kind::Float,
        safetensors::Dtype::I64 => Kind::Int64,
        other => panic!("{name} is {other:?}"),
    };
    Some(Tensor::from_data_size(view.data(), &shape, kind).to_device(Device::Cpu))
}

/// Fails where `ours` differs by more than `bar · max |theirs|`, or points elsewhere; says by how much.
pub(crate) fn close(what: &str, ours: &Tensor, theirs: &Tensor, bar: f64) {
    assert_eq!(ours.size(), theirs.size(), "{what}: shapes");
    let (ours, theirs) = (ours.to_kind(Kind::Double).flatten(0, -1), theirs.to_kind(Kind::Double).flatten(0, -1));
    let off = (&ours - &theirs).abs().max().double_value(&[]) / theirs.abs().max().double_value(&[]);
    let cosine = (ours.dot(&theirs) / (ours.norm() * theirs.norm())).double_value(&[]);
    println!("{what}: largest difference {off:.2e} of the largest value, cosine 1 - {:.1e}", 1.0 - cosine);
    assert!(off <= bar, "{what}: off by {off:.2e} of the largest value, at most {bar:.0e}");
    assert!(cosine > 0.999_999, "{what}: cosine {cosine}");
}
