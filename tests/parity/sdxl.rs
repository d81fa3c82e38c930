//! Stable Diffusion XL: its network, its two readings of a text, and whole pictures, beside diffusers.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::engine::models::denoiser::Pass;
use perilune::families::{Family, Role};
use perilune::sampling::Schedule;
use perilune::weights::Precision;
use perilune::workflow::{JobSpec, ModelSet, Passes};

use crate::fixture::{close, of, tensor};
use crate::latents;
use crate::networks::{FP32, check_same_weights, denoiser, encoder};
use crate::pictures::apart;
use crate::process::{Engine, job};

fn folder() -> PathBuf {
    of(Family::Sdxl)
}

fn painted(name: &str) -> Vec<u8> {
    let bytes = fs::read(folder().join("pictures.safetensors")).unwrap();
    safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
}

#[test]
fn network_in_fp32() {
    let (root, golden) = (folder(), folder().join("golden.safetensors"));
    for layout in ["sdxl.safetensors", "folder", "split-unet.safetensors"] {
        let network = denoiser(&root.join(layout), Precision::Fp32);
        for case in ["a", "b"] {
            let input = |name: &str| tensor(&golden, &format!("unet.{case}.{name}"));
            let (x, time, context, vector) = (input("x"), input("time").double_value(&[0]), input("context"), input("vector"));
            let pass = Pass { vector: Some(&vector), ..Pass::of_text(&x, time, &context) };
            let output = tch::no_grad(|| network.model.forward(&network.residency, pass)).unwrap();
            close(&format!("SDXL's unet, {layout}, {case}"), &output, &input("out"), FP32);
        }
    }
}

#[test]
fn every_layout_holds_the_same_weights() {
    let root = folder();
    let whole = root.join("sdxl.safetensors");
    for layout in ["folder", "split-unet.safetensors"] {
        let (a, b) = (denoiser(&whole, Precision::Fp32), denoiser(&root.join(layout), Precision::Fp32));
        check_same_weights(&a.residency, &b.residency, layout);
    }
    for (role, split) in [(Role::ClipL, "split-clip-l.safetensors")] {
        let a = encoder(&whole, role);
        for layout in ["folder", split] {
            check_same_weights(a.residency(), encoder(&root.join(layout), role).residency(), layout);
        }
    }
}

/// From words to bytes, in files of every layout; both passes of guidance together and apart; guidance rescaled.
#[test]
fn pictures_are_those_of_diffusers() {
    let mut engine = Engine::start();
    let root = folder();
    let spec = JobSpec { steps: 8, ..job(&root.join("sdxl.safetensors")) };
    let split = [(Role::Denoiser, "unet"), (Role::ClipL, "clip-l"), (Role::ClipG, "clip-g"), (Role::Vae, "vae")];
    let mut check = |name: &str, spec: &JobSpec| {
        let off = apart(&engine.paint(spec)[0], &painted(name));
        println!("{name}: {off}/255");
        assert!(off <= 2, "{name}: {off}/255");
    };
    for (schedule, name) in [(Schedule::Normal, "euler-normal"), (Schedule::Karras, "euler-karras")] {
        let golden = root.join("pictures.safetensors");
        latents::check(&JobSpec { schedule, ..spec.clone() }, &golden, &format!("{name}.latents"));
        let rescaled = JobSpec { schedule, cfg_rescale: 0.7, ..spec.clone() };
        latents::check(&rescaled, &golden, &format!("{name}-rescaled.latents"));
        check(name, &JobSpec { schedule, ..spec.clone() });
        check(&format!("{name}-rescaled"), &JobSpec { schedule, cfg_rescale: 0.7, ..spec.clone() });
    }
    check("euler-normal", &JobSpec { steps: 8, ..job(&root.join("folder")) });
    check("euler-normal", &JobSpec { passes: Passes::Apart, ..spec.clone() });
    check("euler-normal", &JobSpec { set: apart_in(&root, &spec.set, &split), ..spec });
}

/// The same set from a file for each part.
fn apart_in(root: &Path, set: &ModelSet, files: &[(Role, &str)]) -> ModelSet {
    let mut set = set.clone();
    for component in &mut set.components {
        let (_, name) = files.iter().find(|(role, _)| *role == component.role).unwrap();
        component.files = vec![root.join(format!("split-{name}.safetensors"))];
    }
    set
}
