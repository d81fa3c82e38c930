//! What goes wrong while weights stream: the same bits after it, or an error that says what was wrong; and nothing is lost.

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use perilune::devices::SimulatedGpu;
use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::Compute;
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedDenoiser, Offload};
use perilune::engine::residency::faults::slow;
use perilune::families::{Role, describe};
use perilune::library::open;
use perilune::placement::{OffloadAsk, OffloadPlan, Part, Share, Subject, VirtualVram};
use perilune::units::{BlockIndex, Bytes, DeviceId};
use perilune::weights::Precision;
use perilune::wire::{Order, Report};
use perilune::workflow::{JobSpec, Kind, Refusal};

use crate::everywhere::gpus;
use crate::fixture::sd15;
use crate::offload::{LITTLE, load, outputs, plan};
use crate::process::{Ended, Engine, job};

/// A copy of a model, for a test that damages it.
fn copy(file: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("model.safetensors");
    fs::copy(sd15().join(file), &path).unwrap();
    (folder, path)
}

/// The tiny network, with all that can stream on the disk, and what it gives where everything stays.
fn streaming(path: &Path, precision: Precision) -> (LoadedDenoiser, Vec<tch::Tensor>) {
    let resident = load(path, precision, Offload::Nothing).unwrap();
    let expected = outputs(&resident, precision);
    let plan = plan(resident.residency.table(), |_| true);
    (load(path, precision, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap(), expected)
}

/// A job all of whose blocks stream from the disk.
fn streamed(path: &Path, steps: u32) -> JobSpec {
    let offload = OffloadAsk { virtual_vram: VirtualVram::AtLeast(Bytes(u64::MAX)), donors: vec![DeviceId::Disk], ..OffloadAsk::default() };
    JobSpec { steps, precision: Some(Precision::Fp32), offload, ..job(path) }
}

#[test]
fn a_run_that_is_taken_back_at_any_block_leaves_no_trace() {
    let (mut unet, expected) = streaming(&sd15().join("sd15-fp16.safetensors"), Precision::Fp32);
    let count = unet.residency.table().blocks().len() as u32;
    // Every third block is enough to meet each kind of moment: copies ahead, behind the end, before the first.
    for stop in (0..=count).step_by(3) {
        let flag = CancelFlag::default();
        unet.residency.serve(&flag);
        for block in (0..stop).map(BlockIndex) {
            drop(unet.residency.acquire(block).unwrap());
        }
        flag.cancel();
        let taken_back = unet.residency.acquire(BlockIndex(stop.min(count - 1))).err();
        assert!(matches!(taken_back, Some(EngineError::Cancelled)), "block {stop}");
        unet.residency.serve(&CancelFlag::default());
        assert!(outputs(&unet, Precision::Fp32) == expected, "after a run that was taken back at block {stop}");
    }
}

#[test]
fn a_donor_that_is_written_to_while_a_run_streams_ends_it_with_the_file_s_name() {
    let (_folder, path) = copy("sd15-fp16.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Engine::start();
    engine.begin(&streamed(&path, 4), folder.path());
    let file = File::options().write(true).open(&path).unwrap();
    let ended = engine.finish(|report| {
        if matches!(report, Report::Step { step: 2, .. }) {
            file.write_all_at(b"\0", file.metadata().unwrap().len() - 1).unwrap();
        }
        None
    });
    let failed = ended.result.unwrap_err();
    assert!(failed.message.contains("model.safetensors") && failed.message.contains("was written to while a run"), "{failed:?}");
    assert!(!failed.fatal && failed.hint.is_some() && matches!(failed.kind, Kind::Failed | Kind::BadFile), "{failed:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no picture is left");
    // The engine goes on, with the model that is whole.
    let whole = streamed(&sd15().join("sd15-fp16.safetensors"), 1);
    assert!(engine.paint(&whole) == engine.paint(&JobSpec { offload: OffloadAsk::default(), ..whole.clone() }));
}

/// Entries of a folder of `/proc/self`, or lines of a file in it.
fn count(of: &str) -> usize {
    let path = Path::new("/proc/self").join(of);
    if path.is_dir() { fs::read_dir(path).unwrap().count() } else { fs::read_to_string(path).unwrap().lines().count() }
}

fn anonymous() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Goes through so many cycles, each of which tells how much memory it took: nothing may be left of them.
fn leaves_nothing(cycles: usize, cycle: impl Fn() -> u64) {
    // The allocator and libtorch keep some for later.
    for _ in 0..50 {
        cycle();
    }
    let kept = ["fd", "task", "maps"].map(count);
    let (before, taken) = (anonymous(), cycle());
    for _ in 0..cycles {
        cycle();
    }
    // Other tests run beside this one: they have much less open than a thousand leaks, and what is in pages is halved.
    for (what, kept) in ["fd", "task", "maps"].into_iter().zip(kept) {
        let now = count(what);
        assert!(now < kept + cycles / 2, "{what}: {kept} before, {now} after");
    }
    let grown = anonymous().saturating_sub(before);
    assert!(grown < taken * cycles as u64 / 2, "{grown} bytes more after {cycles} times {taken}");
}

const CYCLES: usize = 1000;

#[test]
fn nothing_is_left_of_a_thousand_loads() {
    let path = sd15().join("sd15-fp16.safetensors");
    let table = load(&path, Precision::Fp32, Offload::Nothing).unwrap().residency.table().clone();
    let plan = plan(&table, |n| n % 2 == 0);
    leaves_nothing(CYCLES, || {
        let unet = load(&path, Precision::Fp32, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
        let streamed = plan.streamed();
        drop(unet.residency.acquire(streamed[0]).unwrap());
        drop(unet.residency.acquire(streamed[1]).unwrap());
        unet.residency.staging().get()
    });
}

#[test]
fn nothing_is_left_of_a_thousand_loads_onto_a_simulated_gpu_and_its_donors() {
    let (plan, compute) = (spread(), simulated(Bytes::gib(1), 1e12));
    let held = || compute.simulated.as_ref().unwrap().held();
    let full = {
        let _unet = on(&compute, &plan).unwrap();
        held()
    };
    assert!(full.iter().all(|share| share.bytes > Bytes::ZERO), "{full:?}");
    leaves_nothing(CYCLES, || {
        let unet = on(&compute, &plan).unwrap();
        for block in plan.streamed().into_iter().take(3) {
            drop(unet.residency.acquire(block).unwrap());
        }
        assert_eq!(held(), full);
        drop(unet);
        assert_eq!(used(&compute), Bytes::ZERO);
        full.iter().map(|share| share.bytes.get()).sum()
    });
}

/// Two engines have one GPU for their donor. Who comes second is refused what is not left, and runs as soon as it is: to the
/// byte, and whatever has become of the first.
#[test]
fn engines_that_share_a_simulated_gpu_do_not_overdraw_it() {
    let tally = tempfile::tempdir().unwrap();
    let spec = |compute| {
        let offload = OffloadAsk { expert: "sim:2,*".parse().ok(), ..OffloadAsk::default() };
        JobSpec { compute, offload, steps: 1, ..streamed(&sd15().join("sd15.safetensors"), 1) }
    };
    let cards = |shared| [gpus(Bytes::mib(256)), vec![SimulatedGpu { memory: shared, ..gpus(Bytes::mib(1))[0].clone() }]].concat();
    let start = |n, shared| Engine::beside(DeviceId::Sim(n), &cards(shared), Some(tally.path().to_owned()));
    let on_shared = |ended: &Ended| holds(ended).iter().find(|s| s.device == DeviceId::Sim(2)).unwrap().bytes;
    let run = |engine: &mut Engine, spec: &JobSpec| engine.run(spec, tempfile::tempdir().unwrap().path());
    let one = {
        let mut alone = start(0, Bytes::gib(1));
        let ended = run(&mut alone, &spec(DeviceId::Sim(0)));
        assert!(ended.result.is_ok());
        on_shared(&ended)
    };
    assert!(one > Bytes::ZERO);
    // Room for both, to the byte; and for all of both but one. Plans leave some free, which one without budget does not see.
    for (shared, fits) in [(Bytes(one.get() * 2 + one.get() / 8), true), (Bytes(one.get() * 2 - 1), false)] {
        let (mut first, mut second) = (start(0, shared), start(1, shared));
        assert!(run(&mut first, &spec(DeviceId::Sim(0))).result.is_ok());
        let ended = run(&mut second, &spec(DeviceId::Sim(1)));
        if fits {
            assert!(ended.result.is_ok(), "{:?}", ended.result);
            continue;
        }
        let refused = ended.result.unwrap_err();
        assert_eq!((refused.kind, refused.fatal), (Kind::Refused, false), "{refused:?}");
        assert!(refused.message.contains("sim:2") && refused.hint.is_some(), "{refused:?}");
        drop(first);
        let mut expected = Engine::on(DeviceId::Sim(1), &gpus(Bytes::mib(256)));
        let resident = JobSpec { offload: OffloadAsk::default(), ..spec(DeviceId::Sim(1)) };
        assert!(second.paint(&spec(DeviceId::Sim(1))) == expected.paint(&resident), "what the first had is free");
    }
}

/// Has the page cache forget a file.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

#[test]
fn a_disk_that_takes_ten_times_as_long_gives_the_same_bits() {
    let (_folder, path) = copy("sd15-fp16.safetensors");
    let expected = outputs(&load(&sd15().join("sd15-fp16.safetensors"), Precision::Fp32, Offload::Nothing).unwrap(), Precision::Fp32);
    let mut busy = Vec::new();
    for times in [1, 10] {
        slow(&path, times);
        let (unet, _) = streaming(&path, Precision::Fp32);
        forget(&path);
        drop(unet.residency.take_traffic());
        assert!(outputs(&unet, Precision::Fp32) == expected, "{times} times as long");
        let traffic = unet.residency.take_traffic();
        let (disk, all) = (traffic.over(Subject::Device(DeviceId::Disk)), traffic.bytes());
        assert!(disk.bytes.get() * 10 > all.get() * 9, "{} of {all} came from the disk", disk.bytes);
        busy.push(disk.busy / disk.bytes.get() as f64);
    }
    assert!(busy[1] > busy[0], "{busy:?} seconds a byte");
}

/// Where everything streams: network, text encoder and autoencoder.
fn all_streamed(compute: DeviceId) -> JobSpec {
    let spec = streamed(&sd15().join("sd15-fp16.safetensors"), 2);
    let parts = [Part::Clip, Part::Vae].map(|part| (part, spec.offload.clone()));
    JobSpec { compute, parts: parts.into_iter().collect(), ..spec }
}

/// What an engine says of itself, without what changes from run to run.
fn holds(ended: &Ended) -> Vec<Share> {
    let memory = |report: &Report| if let Report::Memory(memory) = report { Some(memory.simulated.clone()) } else { None };
    ended.reports.iter().rev().find_map(memory).unwrap()
}

#[test]
fn a_run_that_is_cancelled_at_any_event_leaves_nothing_but_what_is_loaded() {
    for (mut engine, compute) in
        [(Engine::start(), DeviceId::Cpu), (Engine::on(DeviceId::Sim(0), &gpus(Bytes::mib(256))), DeviceId::Sim(0))]
    {
        let spec = all_streamed(compute);
        let folder = tempfile::tempdir().unwrap();
        let pixels = |ended: &Ended| image::open(&ended.result.as_ref().unwrap().images[0].path).unwrap().into_rgb8().into_raw();
        let whole = engine.run(&spec, folder.path());
        let (expected, held, events) = (pixels(&whole), holds(&whole), whole.reports.len());
        assert!(events > 8, "{events} events");
        let mut cancelled = 0;
        for at in 0..events {
            let folder = tempfile::tempdir().unwrap();
            let run = engine.begin(&spec, folder.path());
            let mut heard = 0;
            let ended = engine.finish(|_| {
                heard += 1;
                (heard == at + 1).then_some(Order::Cancel(run))
            });
            match &ended.result {
                Ok(_) => assert!(pixels(&ended) == expected, "too late at event {at}"),
                Err(failed) => {
                    assert_eq!((failed.kind, failed.fatal), (Kind::Interrupted, false), "event {at}: {failed:?}");
                    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a picture is left of event {at}");
                    cancelled += 1;
                }
            }
        }
        assert!(cancelled > 1, "{cancelled} of {events}");
        let again = engine.run(&spec, folder.path());
        assert!(pixels(&again) == expected && holds(&again) == held, "on {compute}");
    }
}

/// A simulated GPU with so much memory, whose links are that fast.
fn simulated(memory: Bytes, bytes_per_second: f64) -> Compute {
    let gpu = SimulatedGpu {
        name: "card".to_owned(),
        memory,
        from_cpu: bytes_per_second,
        from_disk: bytes_per_second,
        from_sim: bytes_per_second,
        latency_s: 0.0,
    };
    let other = SimulatedGpu { memory: Bytes::gib(1), ..gpu.clone() };
    Compute::simulated(DeviceId::Sim(0), None, &[gpu, other]).unwrap()
}

fn on(compute: &Compute, plan: &OffloadPlan) -> Result<LoadedDenoiser, EngineError> {
    let path = sd15().join("sd15-fp16.safetensors");
    let files = describe(&open(&path, None).unwrap()).unwrap().components.into_iter().find(|c| c.role == Role::Denoiser).unwrap().files;
    let offload = Offload::Exactly { plan, staging: LITTLE };
    let target = Target { compute, precision: Precision::Fp32, cancel: &CancelFlag::default(), offload };
    tch::no_grad(|| LoadedDenoiser::load(&files, target))
}

/// A plan for a simulated GPU: every third block on each of its donors.
fn spread() -> OffloadPlan {
    let table = load(&sd15().join("sd15-fp16.safetensors"), Precision::Fp32, Offload::Nothing).unwrap().residency.table().clone();
    let mut plan = OffloadPlan::all_resident(DeviceId::Sim(0), &table);
    let donors = [DeviceId::Sim(0), DeviceId::Cpu, DeviceId::Sim(1), DeviceId::Disk];
    for (n, home) in plan.homes.iter_mut().enumerate().skip(1) {
        *home = donors[n % donors.len()];
    }
    plan
}

fn used(compute: &Compute) -> Bytes {
    compute.simulated.as_ref().unwrap().held().into_iter().map(|s| s.bytes).sum()
}

#[test]
fn memory_that_is_refused_at_any_call_is_an_error_at_load_and_all_is_free_again() {
    let plan = spread();
    let roomy = simulated(Bytes::gib(1), 1e12);
    let unet = on(&roomy, &plan).unwrap();
    let all = roomy.simulated.as_ref().unwrap().held()[0].bytes;
    drop(unet);
    assert_eq!(used(&roomy), Bytes::ZERO);
    // With one byte too little the last call fails, with less and less an earlier one.
    let (mut enough, mut failures) = (all, 0);
    while let Some(less) = enough.get().checked_sub(1) {
        let compute = simulated(Bytes(less.max(1)), 1e12);
        let Err(EngineError::Budget { place, full }) = on(&compute, &plan) else { panic!("{less} B of {all} are enough") };
        assert!(full.needed > full.free && full.device == DeviceId::Sim(0) && !place.is_empty(), "{place}: {full}");
        assert_eq!(used(&compute), Bytes::ZERO, "{place}: {full}");
        let refusal = Refusal::from(&EngineError::Budget { place, full });
        assert!(refusal.message.contains(&format!("{} B of sim:0 are needed, and {} B are free", full.needed.get(), full.free.get())));
        assert_eq!(refusal.kind.exit_code(), 5);
        // What was there when this call failed, and not this call's: the one before it is the next to fail.
        enough = Bytes(less) - full.free;
        failures += 1;
    }
    assert!(failures > 5, "{failures} calls");
    assert!(on(&simulated(all, 1e12), &plan).is_ok(), "to the byte");
}

#[test]
fn slow_links_take_ten_times_as_long_and_give_the_same_bits() {
    let plan = spread();
    let bytes: u64 = {
        let unet = on(&simulated(Bytes::gib(1), 1e12), &plan).unwrap();
        plan.streamed().into_iter().map(|b| unet.residency.table().block(b).unwrap().bytes().get()).sum()
    };
    // A pass streams for 0.2 s over three links, or for ten times as long.
    let passes = [10.0, 1.0].map(|times| {
        let unet = on(&simulated(Bytes::gib(1), bytes as f64 / 0.2 * times), &plan).unwrap();
        let given = outputs(&unet, Precision::Fp32);
        (given, unet.residency.take_traffic())
    });
    let [(fast, quick), (slow, long)] = passes;
    assert!(fast == slow);
    for device in [DeviceId::Cpu, DeviceId::Sim(1), DeviceId::Disk] {
        let busy = [&quick, &long].map(|traffic| traffic.over(Subject::Device(device)).busy);
        assert!((busy[1] / busy[0] - 10.0).abs() < 1.0 && busy[0] > 0.0, "{device}: {busy:?}");
    }
    assert!(long.stalled > quick.stalled, "{} and {} s", long.stalled, quick.stalled);
}
