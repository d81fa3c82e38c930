//! Several model sets in one engine: each part once, the least recently used leave, pinned ones stay, and every picture is the
//! one that an engine of its own paints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use perilune::devices::SimulatedGpu;
use perilune::families::Role;
use perilune::library::moonlet;
use perilune::units::{Bytes, DeviceId, JobId, RunId, Size};
use perilune::weights::Precision;
use perilune::wire::work::{LoadedSet, Memory};
use perilune::wire::{Order, Report, RunOrder};
use perilune::workflow::{JobSpec, Kind, SetId};

use crate::everywhere::gpus;
use crate::fixture::sd15;
use crate::process::{Ended, Engine, job};

const SIM: DeviceId = DeviceId::Sim(0);

/// moonlet, computed in this: three sets of one file, whose autoencoder is the same.
fn moonlet_in(precision: Precision, cache: &Path) -> JobSpec {
    let path = moonlet::path(cache).unwrap();
    let spec = JobSpec { size: Size::new(64, 64).unwrap(), steps: 2, compute: SIM, precision: Some(precision), ..job(&path) };
    // So that messages tell them apart.
    let set = perilune::workflow::ModelSet { name: format!("moonlet-{precision}"), ..spec.set.clone() };
    JobSpec { set, ..spec }
}

fn simulated(memory: Bytes) -> Engine {
    Engine::on(SIM, &gpus(memory))
}

fn plenty() -> Vec<SimulatedGpu> {
    gpus(Bytes::gib(4))
}

/// What an engine says it holds after a run.
#[derive(Debug)]
struct Seen {
    memory: Memory,
    notices: Vec<String>,
    pixels: Vec<u8>,
}

impl Seen {
    fn set(&self, spec: &JobSpec) -> Option<&LoadedSet> {
        let id = SetId::of_job(spec);
        self.memory.sets.iter().find(|set| set.id == id)
    }

    fn copies(&self, spec: &JobSpec) -> Vec<(Role, u64)> {
        self.set(spec).map(copies).unwrap_or_default()
    }

    /// All bytes that weights take, each copy counted once.
    fn once(&self) -> Bytes {
        let mut seen = BTreeSet::new();
        let parts = self.memory.sets.iter().flat_map(|set| &set.parts);
        parts.filter(|part| seen.insert((part.copy, part.device))).map(|part| part.bytes).sum()
    }

    fn taken(&self) -> Bytes {
        self.memory.simulated.iter().find(|share| share.device == SIM).unwrap().bytes
    }
}

fn copies(set: &LoadedSet) -> Vec<(Role, u64)> {
    set.parts.iter().map(|part| (part.role, part.copy)).collect()
}

fn bytes_of(set: &LoadedSet) -> Bytes {
    set.parts.iter().map(|part| part.bytes).sum()
}

fn try_run(engine: &mut Engine, spec: &JobSpec) -> Result<Seen, (Kind, String, Option<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let Ended { reports, result } = engine.run(spec, folder.path());
    let finished = result.map_err(|failed| (failed.kind, failed.message, failed.hint))?;
    assert!(finished.warnings.is_empty(), "{:?}", finished.warnings);
    let last = |report: &Report| if let Report::Memory(memory) = report { Some(memory.clone()) } else { None };
    let notice = |report: &Report| if let Report::Notice { text, .. } = report { Some(text.clone()) } else { None };
    Ok(Seen {
        memory: reports.iter().rev().find_map(last).unwrap(),
        notices: reports.iter().filter_map(notice).collect(),
        pixels: image::open(&finished.images[0].path).unwrap().into_rgb8().into_raw(),
    })
}

#[track_caller]
fn run(engine: &mut Engine, spec: &JobSpec) -> Seen {
    try_run(engine, spec).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn jobs_of_two_sets_take_turns_and_nothing_is_loaded_twice() {
    let cache = tempfile::tempdir().unwrap();
    let [full, half] = [Precision::Fp32, Precision::Bf16].map(|precision| moonlet_in(precision, cache.path()));
    let expected = [&full, &half].map(|spec| Engine::on(SIM, &plenty()).paint(spec).remove(0));
    let mut engine = Engine::on(SIM, &plenty());
    let alone = run(&mut engine, &full);
    let both = run(&mut engine, &half);
    let held = (both.copies(&full), both.copies(&half));
    let vae = |copies: &[(Role, u64)]| copies.iter().find(|(role, _)| *role == Role::Vae).map(|(_, copy)| *copy);
    assert!(vae(&held.0).is_some() && vae(&held.0) == vae(&held.1), "both decode with one autoencoder: {held:?}");
    assert!(held.0.iter().filter(|part| held.1.contains(part)).count() == 1, "all else is held in another precision: {held:?}");
    // To the byte: the second set has taken what it does not share.
    let shared = both.set(&full).unwrap().parts.iter().find(|part| part.role == Role::Vae).unwrap().bytes;
    assert_eq!(both.taken(), alone.taken() + bytes_of(both.set(&half).unwrap()) - shared);
    assert_eq!(both.taken(), both.once());
    assert!(alone.pixels == expected[0] && both.pixels == expected[1]);
    for (turn, spec) in [&full, &half, &full, &half].into_iter().enumerate() {
        let seen = run(&mut engine, spec);
        assert_eq!((seen.copies(&full), seen.copies(&half)), held, "turn {turn}");
        assert_eq!((seen.taken(), seen.notices.len(), &seen.memory.sets[0].id), (both.taken(), 0, &SetId::of_job(spec)));
        assert!(seen.pixels == expected[turn % 2], "turn {turn}");
    }
}

/// What counts are bytes, not names: two checkpoints with the same encoder and autoencoder have one of each in memory.
#[test]
fn the_same_part_of_two_files_is_held_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(sd15().join("sd15.safetensors")).unwrap();
    let paths = ["first", "second", "third"].map(|name| folder.path().join(format!("{name}.safetensors")));
    fs::write(&paths[0], &bytes).unwrap();
    fs::write(&paths[1], &bytes).unwrap();
    let at = {
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let last = "model.diffusion_model.out.2.bias";
        file.tensor(last).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at] ^= 1;
    fs::write(&paths[2], &bytes).unwrap();
    let specs = paths.each_ref().map(|path| JobSpec { steps: 2, compute: SIM, ..job(path) });
    let expected = specs.each_ref().map(|spec| Engine::on(SIM, &plenty()).paint(spec).remove(0));
    let mut engine = Engine::on(SIM, &plenty());
    let first = run(&mut engine, &specs[0]);
    let second = run(&mut engine, &specs[1]);
    assert_eq!((second.copies(&specs[1]), second.taken()), (first.copies(&specs[0]), first.taken()), "all of it is the same");
    let third = run(&mut engine, &specs[2]);
    let own: Vec<Role> =
        third.copies(&specs[2]).into_iter().filter(|part| !first.copies(&specs[0]).contains(part)).map(|(role, _)| role).collect();
    assert_eq!(own, [Role::Denoiser], "one bit of the network is another");
    assert!(first.pixels == expected[0] && second.pixels == expected[1] && third.pixels == expected[2]);
    // The file that was read is replaced: what the others name is theirs all the same.
    bytes[at] ^= 2;
    fs::write(folder.path().join("new"), &bytes).unwrap();
    fs::rename(folder.path().join("new"), &paths[0]).unwrap();
    assert!(run(&mut engine, &specs[1]).pixels == expected[1]);
    let fresh = Engine::on(SIM, &plenty()).paint(&specs[0]).remove(0);
    assert!(run(&mut engine, &specs[0]).pixels == fresh);
}

#[test]
fn only_when_memory_is_asked_for_the_least_recently_used_leaves() {
    let cache = tempfile::tempdir().unwrap();
    let specs = [Precision::Fp32, Precision::Bf16, Precision::Fp16].map(|precision| moonlet_in(precision, cache.path()));
    let [full, half, other] = &specs;
    let expected = specs.each_ref().map(|spec| Engine::on(SIM, &plenty()).paint(spec).remove(0));
    let all = {
        let mut engine = Engine::on(SIM, &plenty());
        let [_, _, last] = specs.each_ref().map(|spec| run(&mut engine, spec));
        last.taken()
    };
    for (memory, stays) in [(all, true), (all - Bytes(1), false)] {
        let mut engine = simulated(memory);
        for spec in [full, half, full] {
            assert!(run(&mut engine, spec).notices.is_empty());
        }
        let seen = run(&mut engine, other);
        assert_eq!(seen.set(half).is_some(), stays, "the one that was used least recently leaves where a byte is missing");
        assert!(seen.set(full).is_some() && seen.set(other).is_some() && seen.taken() <= memory);
        let left = seen.notices.iter().filter(|n| n.starts_with("`moonlet-bf16` left sim:0 to make room: ")).count();
        assert_eq!((left, seen.notices.len()), if stays { (0, 0) } else { (1, 1) }, "{:?}", seen.notices);
        assert!(seen.pixels == expected[2]);
        assert!(run(&mut engine, half).pixels == expected[1], "it comes again");
    }
}

#[test]
fn a_pinned_set_stays_and_who_has_no_room_beside_it_is_told_so() {
    let cache = tempfile::tempdir().unwrap();
    let [full, half] = [Precision::Fp32, Precision::Bf16].map(|precision| moonlet_in(precision, cache.path()));
    let (id, expected) = (SetId::of_job(&full), Engine::on(SIM, &plenty()).paint(&half).remove(0));
    let alone = run(&mut Engine::on(SIM, &plenty()), &full);
    // Room for the first, and for a little of the second.
    let mut engine = simulated(alone.taken() + Bytes::kib(64));
    let held = run(&mut engine, &full).copies(&full);
    engine.tell(&Order::Pin(id.clone()));
    let (kind, message, hint) = try_run(&mut engine, &half).unwrap_err();
    assert_eq!(
        (kind, hint.unwrap().as_str()),
        (Kind::Refused, "`perilune sets unpin moonlet-fp32` lets it leave; or let more leave the device")
    );
    let told = message.contains(" of sim:0 are needed, and ") && message.contains("; pinned there, and held by no run, are ");
    assert!(told && message.ends_with(" of moonlet-fp32"), "{message}");
    let again = run(&mut engine, &full);
    assert_eq!(again.copies(&full), held, "it was not touched");
    assert!(again.pixels == alone.pixels);
    engine.tell(&Order::Unpin(id));
    let seen = run(&mut engine, &half);
    assert!(seen.set(&full).is_none() && seen.pixels == expected);
}

#[test]
fn what_has_no_room_on_a_simulated_gpu_is_told_before_the_first_step() {
    let cache = tempfile::tempdir().unwrap();
    let full = moonlet_in(Precision::Fp32, cache.path());
    let held = run(&mut Engine::on(SIM, &plenty()), &full).taken();
    let folder = tempfile::tempdir().unwrap();
    let ended = simulated(held - Bytes(1)).run(&full, folder.path());
    let failed = ended.result.unwrap_err();
    assert!(failed.message.contains("vae block") && failed.message.contains(" of sim:0 are needed, and "), "{}", failed.message);
    assert!(!ended.reports.iter().any(|report| matches!(report, Report::Step { .. })), "it has sampled");
    assert!(simulated(held).run(&full, folder.path()).result.is_ok(), "to the byte");
}

#[test]
fn sets_are_loaded_ahead_and_unloaded_between_runs_and_in_them() {
    let cache = tempfile::tempdir().unwrap();
    let [full, half] = [Precision::Fp32, Precision::Bf16].map(|precision| moonlet_in(precision, cache.path()));
    let mut engine = Engine::on(SIM, &plenty());
    let ahead = copies(&load_ahead(&mut engine, &full).sets[0]);
    assert_eq!(ahead.len(), 3, "network, encoder, autoencoder: {ahead:?}");
    let seen = run(&mut engine, &full);
    assert_eq!(seen.copies(&full), ahead, "the run has loaded nothing");
    assert!(seen.pixels == Engine::on(SIM, &plenty()).paint(&full).remove(0));
    // In a run of another set: the idle one leaves at once, the one in use does not.
    let folder = tempfile::tempdir().unwrap();
    engine.begin(&half, folder.path());
    let mut asked = [&full, &half].map(|spec| Order::Unload(SetId::of_job(spec))).to_vec();
    let ended = engine.finish(|report| if matches!(report, Report::Phase { .. }) { asked.pop() } else { None });
    let answers: Vec<(SetId, Option<Kind>)> = ended
        .reports
        .iter()
        .filter_map(
            |r| if let Report::Unloaded { set, refusal } = r { Some((set.clone(), refusal.as_ref().map(|r| r.kind))) } else { None },
        )
        .collect();
    assert_eq!(answers, [(SetId::of_job(&half), Some(Kind::Refused)), (SetId::of_job(&full), None)]);
    engine.tell(&Order::Unload(SetId::of_job(&half)));
    let mut last = None;
    let memory: Memory = loop {
        match engine.hear() {
            Report::Memory(memory) => last = Some(memory),
            Report::Unloaded { refusal, .. } => {
                assert_eq!(refusal, None);
                break last.unwrap();
            }
            _ => {}
        }
    };
    assert!(memory.sets.is_empty() && memory.simulated.iter().all(|share| share.bytes == Bytes::ZERO), "{memory:?}");
    // What it read last is known without the encoder; the next job may say something else.
    assert_eq!(copies(&load_ahead(&mut engine, &half).sets[0]).len(), 3);
}

/// Has a job's set loaded, and returns what the engine then holds.
fn load_ahead(engine: &mut Engine, spec: &JobSpec) -> Memory {
    let order = RunOrder { run: RunId(-1), job: JobId(0), spec: spec.clone(), targets: Vec::new(), known: Vec::new() };
    engine.tell(&Order::Load(Box::new(order)));
    let mut last = None;
    loop {
        match engine.hear() {
            Report::Memory(memory) => last = Some(memory),
            Report::Loaded { run, failure } => {
                assert_eq!((run, failure), (RunId(-1), None));
                return last.unwrap();
            }
            _ => {}
        }
    }
}
