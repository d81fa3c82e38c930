//! What goes wrong while weights stream: the same bits after it, or an error that says what was wrong; and nothing is lost.

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::loading::{LoadedUnet, Offload};
use perilune::placement::{OffloadAsk, VirtualVram};
use perilune::units::{BlockIndex, Bytes, DeviceId};
use perilune::weights::Precision;
use perilune::wire::Report;
use perilune::workflow::{JobSpec, Kind};

use crate::fixture::sd15;
use crate::offload::{LITTLE, load, outputs, plan};
use crate::process::{Engine, job};

/// A copy of a model, for a test that damages it.
fn copy(file: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("model.safetensors");
    fs::copy(sd15().join(file), &path).unwrap();
    (folder, path)
}

/// The tiny network, with all that can stream on the disk, and what it gives where everything stays.
fn streaming(path: &Path, precision: Precision) -> (LoadedUnet, Vec<tch::Tensor>) {
    let resident = load(path, precision, Offload::Nothing).unwrap();
    let expected = outputs(&resident, precision);
    let plan = plan(resident.residency.table(), |_| true);
    (load(path, precision, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap(), expected)
}

/// A job all of whose blocks stream from the disk.
fn streamed(path: &Path, steps: u32) -> JobSpec {
    let offload = OffloadAsk { virtual_vram: VirtualVram::AtLeast(Bytes(u64::MAX)), donors: vec![DeviceId::Disk], expert: None };
    JobSpec { steps, precision: Some(Precision::Fp32), offload, ..job(path) }
}

#[test]
fn a_run_that_is_taken_back_at_any_block_leaves_no_trace() {
    let (mut unet, expected) = streaming(&sd15().join("sd15-fp16.safetensors"), Precision::Fp32);
    let count = unet.residency.table().blocks().len() as u32;
    for stop in 0..=count {
        let flag = CancelFlag::default();
        unet.residency.serve(&flag);
        for block in (0..stop).map(BlockIndex) {
            drop(unet.residency.acquire(block).unwrap());
        }
        flag.cancel();
        let taken_back = unet.residency.acquire(BlockIndex(stop.min(count - 1)));
        assert!(matches!(taken_back, Err(EngineError::Cancelled)), "block {stop}");
        unet.residency.serve(&CancelFlag::default());
        assert!(outputs(&unet, Precision::Fp32) == expected, "after a run that was taken back at block {stop}");
    }
}

#[test]
fn a_donor_that_is_written_to_or_cut_while_a_run_streams_ends_it_with_the_file_s_name() {
    let damage: [(&str, fn(&File), &str); 2] = [
        ("written to", |file| file.write_all_at(b"\0", file.metadata().unwrap().len() - 1).unwrap(), "was written to while a run"),
        ("cut", |file| file.set_len(9000).unwrap(), "it has become shorter"),
    ];
    for (what, damage, expected) in damage {
        let (_folder, path) = copy("sd15-fp16.safetensors");
        let folder = tempfile::tempdir().unwrap();
        let mut engine = Engine::start();
        engine.begin(&streamed(&path, 50), folder.path());
        let file = File::options().write(true).open(&path).unwrap();
        let ended = engine.finish(|report| {
            if matches!(report, Report::Step { step: 2, .. }) {
                damage(&file);
            }
            None
        });
        let failed = ended.result.unwrap_err();
        assert!(failed.message.contains("model.safetensors") && failed.message.contains(expected), "{what}: {}", failed.message);
        assert!(!failed.fatal && failed.hint.is_some() && matches!(failed.kind, Kind::Failed | Kind::BadFile), "{what}: {failed:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{what}: no picture is left");
        // The engine goes on, with the model that is whole.
        let whole = streamed(&sd15().join("sd15-fp16.safetensors"), 2);
        assert!(engine.paint(&whole) == engine.paint(&JobSpec { offload: OffloadAsk::default(), ..whole.clone() }), "{what}");
    }
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

#[test]
fn nothing_is_left_of_a_thousand_loads() {
    const CYCLES: usize = 1000;
    let path = sd15().join("sd15-fp16.safetensors");
    let table = load(&path, Precision::Fp32, Offload::Nothing).unwrap().residency.table().clone();
    let plan = plan(&table, |n| n % 2 == 0);
    let cycle = || {
        let unet = load(&path, Precision::Fp32, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
        let streamed = plan.streamed();
        drop(unet.residency.acquire(streamed[0]).unwrap());
        drop(unet.residency.acquire(streamed[1]).unwrap());
        unet.residency.staging().get()
    };
    // The allocator and libtorch keep some for later.
    (0..50).for_each(|_| drop(cycle()));
    let kept = ["fd", "task", "maps"].map(count);
    let (before, staging) = (anonymous(), cycle());
    (0..CYCLES).for_each(|_| drop(cycle()));
    // Other tests run beside this one: they have much less open than a thousand leaks, and what is in pages is halved.
    for (what, kept) in ["fd", "task", "maps"].into_iter().zip(kept) {
        let now = count(what);
        assert!(now < kept + CYCLES / 2, "{what}: {kept} before, {now} after");
    }
    let grown = anonymous().saturating_sub(before);
    assert!(grown < staging * CYCLES as u64 / 2, "{grown} bytes more after {CYCLES} rings of {staging}");
}
