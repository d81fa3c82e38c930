//! Whole pictures of the flow-matching families, from words to bytes, beside diffusers' own pipelines.

use std::fs;
use std::path::PathBuf;

use perilune::families::{Family, Role};
use perilune::sampling::Schedule;
use perilune::workflow::{JobSpec, Passes};

use crate::made::made_with;
use crate::pictures::as_diffusers;
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
