//! Whole pictures, from words to bytes, out of a real engine process.

use std::fs;

use perilune::conversion::Part;
use perilune::families::{Family, Role};
use perilune::imagery::KeptLatent;
use perilune::library::moonlet;
use perilune::prompt::{Dialect, Weighting};
use perilune::quant::{Mix, Target};
use perilune::sampling::{Prediction, Sampler, Schedule};
use perilune::units::{RunId, Seed, Size};
use perilune::weights::Precision;
use perilune::wire::{Order, Report};
use perilune::workflow::{InitImage, JobSpec, Kind, Passes};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::fixture::{converted_as, of, sd15};
use crate::process::{Engine, job, kind_of};

/// What moonlet paints in bf16 and in fp32: prompts and seeds.
const MOONLET_PICTURES: &[(&str, u64)] = &[
    ("a full moon over the sea under a blue sky", 1),
    ("a half moon over the desert, red sky at night", 1),
    ("new moon, city skyline, black sky with stars", 1),
    ("a thin crescent over dark water, green sky", 1),
];
/// The largest difference of a pixel of them, in steps of 255. Measured: 6; with its products in bf16: 7; with
/// everything in bf16: 18.
const MOONLET_WORST: u8 = 8;
/// Their mean difference. Measured: 0.266; with its products in bf16: 0.354.
const MOONLET_MEAN: f64 = 0.34;

/// The largest difference of two pictures, in steps of 255.
pub(crate) fn apart(ours: &[u8], theirs: &[u8]) -> u8 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Compares a picture, and what it was decoded from, with what diffusers wrote under a name.
pub(crate) fn as_diffusers(what: &str, (picture, latent): &(Vec<u8>, KeptLatent), theirs: &SafeTensors<'_>, name: &str) {
    let reference = theirs.tensor(&format!("{name}.latent")).unwrap();
    assert_eq!(latent.shape, reference.shape(), "{what}");
    let (numbers, _) = reference.data().as_chunks();
    let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let latents = latent.values.iter().zip(numbers).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let pixels = apart(picture, theirs.tensor(name).unwrap().data());
    println!("{what}: latents {latents:.1e}, picture {pixels}/255");
    assert!(latents <= 1e-3 && pixels <= 2, "{what}: latents {latents:.1e}, picture {pixels}/255");
}

/// Their mean difference, in the same.
fn mean_apart(ours: &[u8], theirs: &[u8]) -> f64 {
    ours.iter().zip(theirs).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / ours.len() as f64
}

fn diffusers_painted(name: &str) -> Vec<u8> {
    let bytes = fs::read(sd15().join("pictures.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

fn tiny() -> JobSpec {
    job(&sd15().join("sd15.safetensors"))
}

#[test]
fn pictures_are_those_of_diffusers() {
    let mut engine = Engine::start();
    let mut check = |name: &str, spec: &JobSpec| {
        let off = apart(&engine.paint(spec)[0], &diffusers_painted(name));
        println!("{name}: {off}/255");
        assert!(off <= 2, "{name}: {off}/255");
    };
    for (sampler, schedule) in [
        (Sampler::Euler, Schedule::Normal),
        (Sampler::Euler, Schedule::Karras),
        (Sampler::Euler, Schedule::Exponential),
        (Sampler::Dpmpp2m, Schedule::Karras),
    ] {
        check(&format!("epsilon.{sampler}-{schedule}"), &JobSpec { sampler, schedule, ..tiny() });
    }
    for (sampler, schedule) in [(Sampler::Euler, Schedule::Normal), (Sampler::Euler, Schedule::Karras)] {
        check(&format!("v_prediction.{sampler}-{schedule}"), &JobSpec { sampler, schedule, prediction: Prediction::V, ..tiny() });
    }
    // The same, from a folder, and with guidance in two passes.
    check("epsilon.euler-normal", &job(&sd15().join("folder")));
    check("epsilon.euler-normal", &JobSpec { passes: Passes::Apart, ..tiny() });

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("start.png");
    image::RgbImage::from_raw(64, 96, diffusers_painted("start.picture")).unwrap().save(&path).unwrap();
    check("img2img", &JobSpec { steps: 6, init: Some(InitImage { path, denoise: 0.5 }), ..tiny() });
}

#[test]
fn a_seed_gives_the_same_bytes_again_and_the_same_picture_in_a_batch() {
    let mut engine = Engine::of_threads(2);
    for sampler in [Sampler::Euler, Sampler::DpmppSde] {
        let batch = JobSpec { sampler, steps: 4, batch: 3, ..tiny() };
        let first = engine.paint(&batch);
        assert_eq!(first, engine.paint(&batch), "{sampler}: the same again");
        assert_eq!(first, Engine::of_threads(2).paint(&batch), "{sampler}: the same in another process");
        assert!(first[0] != first[1] && first[1] != first[2]);
        let alone = engine.paint(&JobSpec { batch: 1, seed: Seed(1236), ..batch.clone() });
        let off = apart(&alone[0], &first[2]);
        assert!(off <= 2, "{sampler}: image 2 of the batch is {off}/255 from the same seed alone");
    }
}

#[test]
fn every_sampler_paints_with_every_schedule() {
    let mut engine = Engine::start();
    for sampler in Sampler::ALL {
        for schedule in Schedule::ALL {
            let spec = JobSpec { sampler: *sampler, schedule: *schedule, steps: 3, size: Size::new(16, 16).unwrap(), ..tiny() };
            assert_eq!(engine.paint(&spec)[0].len(), 16 * 16 * 3, "{sampler} {schedule}");
        }
    }
}

#[test]
fn emphasis_and_long_prompts_change_the_picture() {
    let mut engine = Engine::start();
    let mut paint = |prompt: &str, weighting| {
        let spec = JobSpec { prompt: prompt.to_owned(), weighting, dialect: Dialect::A1111, steps: 3, ..tiny() };
        engine.paint(&spec).remove(0)
    };
    let plain = paint("a moon", Weighting::Interpolate);
    assert_eq!(plain, paint("(a moon:1.0)", Weighting::Interpolate), "weight 1 is no weight");
    let variants = [
        paint("a (moon:1.4)", Weighting::Interpolate),
        paint("a (moon:1.4)", Weighting::Original),
        paint("a [moon]", Weighting::Interpolate),
        paint("a BREAK moon", Weighting::Interpolate),
        paint(&"a moon, ".repeat(60), Weighting::Interpolate),
    ];
    for (i, variant) in variants.iter().enumerate() {
        assert!(*variant != plain && !variants[..i].contains(variant), "variant {i}");
    }
}

#[test]
fn a_run_is_cancelled_held_and_goes_on() {
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    let long = JobSpec { steps: 400, ..tiny() };

    let run = engine.begin(&long, folder.path());
    let ended = engine.finish(|report| matches!(report, Report::Step { step: 1, .. }).then_some(Order::Cancel(run)));
    assert_eq!(kind_of(&ended), Some(Kind::Interrupted));
    assert!(ended.reports.len() < 400, "it stopped early");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");

    // Held after a step, then released: pings are answered meanwhile, and the picture is the same.
    let spec = tiny();
    let expected = engine.paint(&spec);
    let run = engine.begin(&spec, folder.path());
    let ended = engine.finish(|report| match report {
        Report::Started(_) => Some(Order::Pause(run)),
        Report::Paused(_) => Some(Order::Ping(7)),
        Report::Pong(7) => Some(Order::Resume(run)),
        _ => None,
    });
    assert!(ended.reports.contains(&Report::Resumed(run)));
    let path = &ended.result.unwrap().images[0].path;
    assert_eq!(image::open(path).unwrap().into_rgb8().into_raw(), expected[0]);
}

#[test]
fn steps_phases_previews_and_memory_are_reported() {
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    let ended = engine.run(&tiny(), folder.path());
    let steps: Vec<u32> = ended.reports.iter().filter_map(|r| if let Report::Step { step, .. } = r { Some(*step) } else { None }).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let phases = ended.reports.iter().filter(|r| matches!(r, Report::Phase { .. })).count();
    assert_eq!(phases, 5);
    let finished = ended.result.unwrap();
    let total: f64 = finished.timing.per_step.iter().sum();
    let previews = ended.reports.iter().filter(|r| matches!(r, Report::Preview { .. })).count();
    assert!(previews >= 1 && previews as f64 <= 2.0 + total / 0.5, "{previews} previews in {total:.1} s");
    let Some(Report::Memory(memory)) = ended.reports.iter().rev().find(|r| matches!(r, Report::Memory(_))) else {
        panic!("no memory report")
    };
    let [set] = &memory.sets[..] else { panic!("one set") };
    let held: u64 = set.parts.iter().map(|p| p.bytes.get()).sum();
    assert_eq!(finished.placement.measured[0].bytes.get(), held);
    assert_eq!(finished.placement.asked, finished.placement.measured);
    assert_eq!(finished.precision, "fp32");
}

#[test]
fn values_that_are_not_numbers_are_traced_to_their_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    fs::write(&path, not_a_number_in("model.diffusion_model.output_blocks.4.0.out_layers.3.weight")).unwrap();

    let mut engine = Engine::start();
    let failed = engine.run(&job(&path), folder.path()).result.unwrap_err();
    assert_eq!(failed.kind, Kind::Failed);
    let names_the_block = failed.message.starts_with("denoiser block ") && failed.message.contains("(`output_blocks.4.0.");
    assert!(names_the_block && failed.message.ends_with("gave values that are not numbers, in step 1"), "{}", failed.message);
    assert!(failed.hint.is_some() && !failed.fatal);
    assert_eq!(engine.paint(&tiny()).len(), 1, "the engine goes on");
}

/// A norm's or a bias's would be in every value of the picture, and is looked for before anything is loaded.
#[test]
fn a_norm_that_is_no_number_is_named_and_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (role, name)) in [
        ("denoiser", "model.diffusion_model.output_blocks.4.0.in_layers.0.weight"),
        ("denoiser", "model.diffusion_model.out.2.bias"),
        ("vae", "first_stage_model.decoder.norm_out.weight"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("broken-{number}.safetensors"));
        fs::write(&path, not_a_number_in(name)).unwrap();
        let mut engine = Engine::start();
        let ended = engine.run(&job(&path), folder.path());
        let held =
            ended.reports.iter().rev().find_map(|report| if let Report::Memory(memory) = report { Some(&memory.sets) } else { None });
        assert!(held.is_some_and(Vec::is_empty), "nobody sees it among the loaded ones: {held:?}");
        let failed = ended.result.unwrap_err();
        let named = failed.message.starts_with(&format!("{}: the {role}'s tensor `{name}` ", path.display()));
        assert!(named, "as the file has it: {}", failed.message);
        assert_eq!((failed.kind, failed.fatal), (Kind::BadFile, false), "{}", failed.message);
        assert_eq!(engine.paint(&tiny()).len(), 1, "the engine goes on");
    }
}

/// Norms may be stored in 8 bits, as everything else.
#[test]
fn a_norm_of_eight_bits_that_is_no_number_is_named() {
    let name = "model.diffusion_model.output_blocks.4.0.in_layers.0.weight";
    let bytes = fs::read(sd15().join("sd15.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = file.tensor(name).unwrap().shape().to_vec();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eight.safetensors");
    for (code, is_named) in [(0x7F_u8, true), (0x38, false)] {
        let codes = vec![code; shape.iter().product()];
        let eight = TensorView::new(Dtype::F8_E4M3, shape.clone(), &codes).unwrap();
        let tensors = file.tensors().into_iter().map(|(n, tensor)| if n == name { (n, eight.clone()) } else { (n, tensor) });
        safetensors::serialize_to_file(tensors, None, &path).unwrap();
        let failed = Engine::start().run(&job(&path), folder.path()).result.err().map(|failed| failed.message);
        let expected =
            is_named.then(|| format!("{}: the denoiser's tensor `{name}` holds a value that is no finite number", path.display()));
        assert_eq!(failed, expected, "{code:#x}");
    }
}

/// The tiny checkpoint, the first value of one of whose tensors is no number.
fn not_a_number_in(name: &str) -> Vec<u8> {
    let mut bytes = fs::read(sd15().join("sd15.safetensors")).unwrap();
    let at = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        file.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    bytes
}

/// The daemon refuses such a set; an engine that is given one all the same must not stay, half alive.
#[test]
fn an_engine_whose_numbers_cannot_be_trusted_ends_itself_after_its_last_report() {
    let wide = of(Family::Sdxl).join("split-clip-g.safetensors");
    let mut spec = tiny();
    let encoder = spec.set.components.iter_mut().find(|c| c.role == Role::ClipL).unwrap();
    encoder.files = vec![wide];
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    let failed = engine.run(&spec, folder.path()).result.unwrap_err();
    assert!(failed.fatal && failed.message.ends_with("shapes cannot be multiplied (154x128 and 64x32)"), "{failed:?}");
    assert!(engine.child.wait().unwrap().success(), "in order, with the socket still open");
}

#[test]
fn out_of_memory_names_the_block_and_the_engine_lives_on() {
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    engine.paint(&tiny());
    // From here on the process may not grow by more than 200 MiB, three activations of the first block.
    let pid = rustix::process::Pid::from_child(&engine.child);
    let status = fs::read_to_string(format!("/proc/{}/status", engine.child.id())).unwrap();
    let held: u64 = status.lines().find_map(|l| l.strip_prefix("VmSize:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    let limit = rustix::process::Rlimit { current: Some(held * 1024 + (200 << 20)), maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::As, limit).unwrap();

    let huge = JobSpec { size: Size::new(4096, 4096).unwrap(), steps: 1, ..tiny() };
    let failed = engine.run(&huge, folder.path()).result.unwrap_err();
    println!("{}", failed.message);
    assert!(failed.message.starts_with("out of memory on cpu in denoiser block"), "{}", failed.message);
    let tells_who_holds_what = failed.message.contains(" more were needed; cpu holds ") && failed.message.ends_with(" are free");
    assert!(tells_who_holds_what, "{}", failed.message);
    assert!(!failed.fatal && failed.hint.is_some());
    assert_eq!(engine.paint(&tiny()).len(), 1, "the engine goes on");
}

#[test]
fn half_precisions_run_whole() {
    let mut engine = Engine::start();
    let full = engine.paint(&tiny()).remove(0);
    for precision in [Precision::Bf16, Precision::Fp16] {
        let half = engine.paint(&JobSpec { precision: Some(precision), ..tiny() }).remove(0);
        println!("{precision}: {}/255 from fp32", apart(&half, &full));
        assert_ne!(half, full, "{precision} was not used");
    }
}

/// A trained network amplifies what is rounded away: guidance multiplies it and every step builds on the last. Rounding
/// nothing but the network's weights to bf16 moves pictures like these by 2 to 13/255, by 0.23 in the mean.
#[test]
fn moonlet_in_bf16_is_near_its_fp32() {
    let cache = tempfile::tempdir().unwrap();
    let path = moonlet::path(cache.path()).unwrap();
    let mut engine = Engine::start();
    let mut differences = Vec::new();
    for (prompt, seed) in MOONLET_PICTURES {
        let spec = JobSpec {
            prompt: (*prompt).to_owned(),
            negative: String::new(),
            cfg: 5.0,
            steps: 20,
            size: Size::new(64, 64).unwrap(),
            seed: Seed(*seed),
            ..job(&path)
        };
        let full = engine.paint(&spec).remove(0);
        let half = engine.paint(&JobSpec { precision: Some(Precision::Bf16), ..spec }).remove(0);
        println!("`{prompt}`, seed {seed}: at most {}/255, mean {:.3}", apart(&half, &full), mean_apart(&half, &full));
        differences.push((apart(&half, &full), mean_apart(&half, &full)));
    }
    let worst = differences.iter().map(|d| d.0).max().unwrap();
    let mean = differences.iter().map(|d| d.1).sum::<f64>() / differences.len() as f64;
    println!("all: at most {worst}/255, mean {mean:.3}");
    assert!(worst <= MOONLET_WORST, "{worst}/255");
    assert!(mean <= MOONLET_MEAN, "mean {mean:.3}");
}

#[test]
fn a_full_disk_and_an_unwritable_folder_are_named_and_nothing_is_left() {
    let mut engine = Engine::start();
    let engine_pid = engine.child.id().cast_signed();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let failed = engine.run(&tiny(), &file).result.unwrap_err();
    assert!(failed.message.starts_with(&format!("{} cannot be written to", file.display())), "{}", failed.message);
    assert!(!failed.fatal);
    fs::remove_file(&file).unwrap();

    // A limit on the size of files is the nearest to a small disk that needs no privileges.
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Pid::from_raw(engine_pid), Resource::Fsize, limit).unwrap();
    };
    limit(Some(20));
    let failed = engine.run(&JobSpec { batch: 2, ..tiny() }, folder.path()).result.unwrap_err();
    limit(None);
    assert!(failed.message.starts_with("the disk is full"), "{}", failed.message);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
    assert_eq!(engine.paint(&tiny()).len(), 1, "the engine lives on");
}

#[test]
fn the_engine_ends_with_its_socket_even_while_it_computes() {
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    engine.begin(&JobSpec { steps: 1000, ..tiny() }, folder.path());
    while !matches!(engine.hear(), Report::Step { .. }) {}
    engine.hang_up();
    assert!(!engine.child.wait().unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn orders_for_other_runs_change_nothing() {
    let mut engine = Engine::start();
    engine.tell(&Order::Cancel(RunId(99)));
    engine.tell(&Order::Pause(RunId(99)));
    assert_eq!(engine.paint(&tiny()).len(), 1);
}

#[test]
fn pictures_carry_what_they_were_made_with() {
    let mut engine = Engine::start();
    let folder = tempfile::tempdir().unwrap();
    let spec = JobSpec { prompt: "a moon over 東京".to_owned(), steps: 2, batch: 2, ..tiny() };
    let finished = engine.run(&spec, folder.path()).result.unwrap();
    for image in finished.images {
        let reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(&image.path).unwrap())).read_info().unwrap();
        let info = reader.info();
        let json = info.utf8_text.iter().find(|t| t.keyword == "perilune").unwrap().get_text().unwrap();
        let parameters = perilune::imagery::Parameters::from_json(&json).unwrap();
        assert_eq!((parameters.prompt.as_str(), parameters.seed, parameters.size), (spec.prompt.as_str(), image.seed, spec.size));
        assert_eq!(parameters.precision.as_deref(), Some("fp32"));
        assert!(info.utf8_text.iter().any(|t| t.keyword == "parameters"));
    }
}

/// Network, text encoder and autoencoder in one GGUF file: what 8 bits leave of a picture.
#[test]
fn a_checkpoint_in_blocks_paints_nearly_the_same() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = moonlet::path(folder.path()).unwrap();
    let blocks = converted_as(&path, Part::Whole, Target::Gguf(Mix::Q8_0), folder.path());
    let mut engine = Engine::start();
    let [expected, painted] = [&path, &blocks].map(|path| engine.paint(&job(path)).remove(0));
    println!("moonlet in Q8_0: the worst pixel {}/255 off, {:.3} in the mean", apart(&painted, &expected), mean_apart(&painted, &expected));
    assert!(painted != expected && mean_apart(&painted, &expected) < 2.0);
}
