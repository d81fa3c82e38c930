//! Whole pictures of the flow-matching families, from words to bytes, beside diffusers' own pipelines.

use std::fs;
use std::path::PathBuf;

use perilune::families::{Family, Role};
use perilune::quant::{Mix, Target};
use perilune::sampling::Schedule;
use perilune::tokens::vocabulary::Place;
use perilune::workflow::{JobSpec, Passes};

use crate::fixture::converted_part;
use crate::made::made_with;
use crate::pictures::{apart, as_diffusers};
use crate::process::{Engine, job};

/// The folder that `scripts/parity/flow_pictures.py` wrote for a family.
pub(crate) fn whole(family: Family) -> PathBuf {
    let imports = ["clip_tokens.py", "dit_layout.py", "ldm_layout.py", "painted.py", "seeded.py", &format!("{family}.py")];
    made_with("flow_pictures.py", &[family.name()], &imports)
}

/// Paints with diffusers' numbers of each run and says how far the worst pixel is off, and the worst number of the latent.
fn check(family: Family, schedule: Schedule, runs: &[(&str, f64, Option<f64>)]) {
    check_as(family, schedule, runs, |spec| spec);
}

/// The same of models that are changed before they paint.
fn check_as(family: Family, schedule: Schedule, runs: &[(&str, f64, Option<f64>)], changed: impl Fn(JobSpec) -> JobSpec) {
    let root = whole(family);
    let bytes = fs::read(root.join("pictures.safetensors")).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut engine = Engine::start();
    for (name, cfg, guidance) in runs {
        let spec = changed(JobSpec { steps: 8, cfg: *cfg, guidance: *guidance, schedule, ..job(&root.join("folder")) });
        for passes in [Passes::Together, Passes::Apart] {
            let ours = engine.paint_and_keep(&JobSpec { passes, ..spec.clone() });
            as_diffusers(&format!("{family}, {name}, both passes {passes}"), &ours, &theirs, name);
        }
    }
}

#[test]
fn flux_paints_as_diffusers_does() {
    check(Family::Flux, Schedule::Simple, &[("told", 1.0, Some(3.5)), ("guided", 3.0, Some(2.0))]);
}

/// Their levels are shifted once by the scheduler's table and once more by its steps, which is what `normal` does.
#[test]
fn sd3_paints_as_diffusers_does() {
    check(Family::Sd3, Schedule::Normal, &[("plain", 1.0, None), ("guided", 5.0, None)]);
}

/// What stands for T5 are as many zeros as it would have tokens.
#[test]
fn sd3_without_t5_paints_as_diffusers_does() {
    let runs = [("without-t5-plain", 1.0, None), ("without-t5-guided", 5.0, None)];
    check_as(Family::Sd3, Schedule::Normal, &runs, |mut spec| {
        spec.set.components.retain(|part| part.role != Role::T5);
        spec.set.vocabularies.clear();
        spec
    });
}

/// Their scale counts from 0, ours from 1.
#[test]
fn z_image_paints_as_diffusers_does() {
    check(Family::ZImage, Schedule::Simple, &[("turbo", 1.0, None), ("guided", 4.0, None)]);
}

/// Network and encoders of a diffusers folder in GGUF files, each with its own words: what 8 bits leave of a picture.
#[test]
fn folders_in_gguf_files_paint_nearly_the_same() {
    let mut engine = Engine::start();
    for family in [Family::Flux, Family::Sd3, Family::ZImage] {
        let (folder, made) = (whole(family).join("folder"), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let spec = JobSpec { steps: 4, cfg: 1.0, ..job(&folder) };
        let expected = engine.paint(&spec).remove(0);
        let mut blocks = spec.clone();
        for part in blocks.set.components.iter_mut().filter(|part| part.role != Role::Vae) {
            let file = converted_part(&folder, part.role, Target::Gguf(Mix::Q8_0), made.path());
            blocks
                .set
                .vocabularies
                .iter_mut()
                .filter(|(role, _)| **role == part.role)
                .for_each(|(_, place)| *place = Place::Gguf(file.clone()));
            part.files = vec![file];
        }
        let painted = engine.paint(&blocks).remove(0);
        let mean = painted.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / expected.len() as f64;
        println!("{family} in Q8_0: the worst pixel {}/255 off, {mean:.3} in the mean", apart(&painted, &expected));
        assert!(painted != expected && mean < MEAN_OFF, "{family}: {mean}");
    }
}

/// By how much pixels may be off in the mean where everything but the autoencoder is stored in 8 bits, in steps of 255.
const MEAN_OFF: f64 = 3.0;
