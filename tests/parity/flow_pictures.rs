//! Whole pictures of the flow-matching families, from words to bytes, beside diffusers' own pipelines.

use std::fs;
use std::path::PathBuf;

use perilune::families::Family;
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
    let root = whole(family);
    let bytes = fs::read(root.join("pictures.safetensors")).unwrap();
    let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut engine = Engine::start();
    for (name, cfg, guidance) in runs {
        let spec = JobSpec { steps: 8, cfg: *cfg, guidance: *guidance, schedule, ..job(&root.join("folder")) };
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

/// Their scale counts from 0, ours from 1.
#[test]
fn z_image_paints_as_diffusers_does() {
    check(Family::ZImage, Schedule::Simple, &[("turbo", 1.0, None), ("guided", 4.0, None)]);
}
