//! What text encoders made of texts is found again on the disk: no encoder is loaded, and the picture is the same to the bit.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::families::Family;
use perilune::prompt::{Dialect, Weighting};
use perilune::units::Size;
use perilune::weights::Precision;
use perilune::wire::Report;
use perilune::workflow::JobSpec;

use crate::fixture::{of, sd15};
use crate::flow_pictures::whole;
use crate::process::{Engine, job};

fn small(model: &Path) -> JobSpec {
    JobSpec { size: Size::new(32, 32).unwrap(), steps: 2, ..job(model) }
}

/// Paints, and says whether any text encoder was loaded for it.
fn paint(engine: &mut Engine, spec: &JobSpec) -> (Vec<u8>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let ended = engine.run(spec, folder.path());
    let finished = ended.result.unwrap();
    let is_encoder = |report: &Report| {
        let Report::Memory(memory) = report else { return false };
        memory.sets.iter().flat_map(|set| &set.parts).any(|part| part.role.is_encoder())
    };
    let read = ended.reports.iter().any(is_encoder);
    (image::open(&finished.images[0].path).unwrap().into_rgb8().into_raw(), read)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_text_that_was_read_needs_no_encoder_in_any_family() {
    let models = [
        sd15().join("sd15-fp16.safetensors"),
        of(Family::Sdxl).join("sdxl.safetensors"),
        whole(Family::Flux).join("folder"),
        whole(Family::Sd3).join("folder"),
        whole(Family::ZImage).join("folder"),
    ];
    for model in models {
        let kept = tempfile::tempdir().unwrap();
        for precision in [Precision::Fp32, Precision::Bf16] {
            let spec = JobSpec { precision: Some(precision), cfg: 3.0, ..small(&model) };
            let (expected, _) = paint(&mut Engine::start(), &spec);
            for is_first in [true, false] {
                let (pixels, read) = paint(&mut Engine::keeping(kept.path()), &spec);
                assert!(pixels == expected, "{}, {precision}, first {is_first}", model.display());
                assert_eq!(read, is_first, "{}, {precision}", model.display());
            }
        }
        let named = |path: &Path| path.to_string_lossy().contains("moon");
        let told = |path: &Path| fs::read(path).unwrap().windows(4).any(|w| w == b"moon");
        assert!(files(kept.path()).iter().all(|path| !named(path) && !told(path)), "no prompt in clear");
    }
}

/// Whatever changes a bit of it is another text; what changes nothing is not.
#[test]
fn only_what_changes_the_numbers_has_a_text_read_again() {
    let kept = tempfile::tempdir().unwrap();
    let root = sd15();
    let spec = JobSpec { prompt: "a (full:1.3) moon".to_owned(), ..small(&root.join("sd15.safetensors")) };
    assert!(paint(&mut Engine::keeping(kept.path()), &spec).1);
    let long = "moon ".repeat(100);
    let copy = kept.path().join("copy.safetensors");
    fs::copy(root.join("sd15.safetensors"), &copy).unwrap();
    let others = [
        ("the prompt", JobSpec { prompt: "a (full:1.4) moon".to_owned(), ..spec.clone() }, true),
        ("the other prompt", JobSpec { negative: "rain".to_owned(), ..spec.clone() }, true),
        ("the length of the other prompt", JobSpec { negative: long.clone(), ..spec.clone() }, true),
        ("the dialect", JobSpec { dialect: Dialect::Comfy, ..spec.clone() }, spec.dialect != Dialect::Comfy),
        ("how weights count", JobSpec { weighting: Weighting::Original, ..spec.clone() }, spec.weighting != Weighting::Original),
        ("the precision", JobSpec { precision: Some(Precision::Bf16), ..spec.clone() }, true),
        ("the storage", JobSpec { set: job(&root.join("sd15-fp16.safetensors")).set, ..spec.clone() }, true),
        ("no guidance", JobSpec { cfg: 1.0, ..spec.clone() }, false),
        ("steps and seed", JobSpec { steps: 1, seed: perilune::units::Seed(5), ..spec.clone() }, false),
        ("the same model under another name", JobSpec { set: job(&copy).set, ..spec.clone() }, false),
    ];
    for (what, other, expected) in others {
        assert_eq!(paint(&mut Engine::keeping(kept.path()), &other).1, expected, "{what}");
        let (pixels, read) = paint(&mut Engine::keeping(kept.path()), &other);
        assert!(!read && pixels == paint(&mut Engine::start(), &other).0, "{what}");
    }
}

#[test]
fn a_changed_encoder_and_damage_on_the_disk_are_noticed() {
    let (kept, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = models.path().join("model.safetensors");
    fs::copy(sd15().join("sd15.safetensors"), &model).unwrap();
    let spec = small(&model);
    let (expected, _) = paint(&mut Engine::keeping(kept.path()), &spec);
    for path in files(kept.path()) {
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    let (pixels, read) = paint(&mut Engine::keeping(kept.path()), &spec);
    assert!(read && pixels == expected, "what is damaged is read anew");
    let (pixels, read) = paint(&mut Engine::keeping(kept.path()), &spec);
    assert!(!read && pixels == expected, "and mended");

    // Another number in the same place of a file of the same length.
    let mut bytes = fs::read(&model).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let at = &tensors["cond_stage_model.transformer.text_model.final_layer_norm.bias"]["data_offsets"][0];
    let at = 8 + header + at.as_u64().unwrap() as usize;
    bytes[at..at + 4].copy_from_slice(&3.0_f32.to_le_bytes());
    fs::write(&model, bytes).unwrap();
    let (pixels, read) = paint(&mut Engine::keeping(kept.path()), &spec);
    assert!(read && pixels != expected);
    assert!(paint(&mut Engine::start(), &spec).0 == pixels);
}
