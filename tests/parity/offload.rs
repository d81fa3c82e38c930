//! Streaming changes nothing: the same bits come out whatever lives where.

use std::path::{Path, PathBuf};

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::{Compute, kind};
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedClip, LoadedDenoiser, LoadedVae, Offload};
use perilune::engine::models::denoiser::Pass;
use perilune::engine::nn::wide::stream;
use perilune::engine::residency::Placing;
use perilune::engine::residency::faults::{Fault, arm, pending};
use perilune::engine::residency::poison;
use perilune::families::{Family, Role, describe};
use perilune::library::open;
use perilune::placement::{OffloadPlan, Subject};
use perilune::units::{BlockIndex, Bytes, DeviceId};
use perilune::weights::{BlockTable, Precision};
use tch::{Kind, Tensor};

use crate::fixture::{close, converted, models_of, sd15, storages_of, tensor};
use crate::transformers;

/// Every model of SD1.5 that there is, in whatever it is stored, and everything that it can be computed with in.
fn cases() -> impl Iterator<Item = (PathBuf, Precision)> {
    models_of(Family::Sd15).into_iter().flat_map(|path| Precision::ALL.iter().map(move |precision| (path.clone(), *precision)))
}

pub(crate) fn with_target<T>(
    path: &Path,
    role: Role,
    precision: Precision,
    offload: Offload<'_>,
    load: impl FnOnce(&[PathBuf], Target<'_>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let description = describe(&open(path, None).unwrap()).unwrap();
    let files = description.components.into_iter().find(|c| c.role == role).unwrap().files;
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    // Who reads staging memory behind its time computes with what is no number.
    poison::ask_for();
    tch::no_grad(|| load(&files, Target { compute: &compute, precision, cancel: &CancelFlag::default(), offload }))
}

pub(crate) fn load(path: &Path, precision: Precision, offload: Offload<'_>) -> Result<LoadedDenoiser, EngineError> {
    with_target(path, Role::Denoiser, precision, offload, LoadedDenoiser::load)
}

/// What two passes in a row give: the second meets staging memory that is in use.
pub(crate) fn outputs(unet: &LoadedDenoiser, precision: Precision) -> Vec<Tensor> {
    let kind = stream(kind(precision));
    if let Some(family) = transformers::family_of(&unet.config) {
        return [0.9, 0.1].map(|time| transformers::output(unet, family, "a", Some(time), kind)).into_iter().collect();
    }
    let input = |name: &str| tensor(&sd15().join("golden.safetensors"), &format!("unet.a.{name}")).to_kind(kind);
    let pass = |time: f64| unet.model.forward(&unet.residency, Pass::of_text(&input("x"), time, &input("context"))).unwrap();
    tch::no_grad(|| [981.0, 1.0].map(pass).into_iter().collect())
}

/// Every `n`th block and those where `n` says so; the head stays.
pub(crate) fn plan(table: &BlockTable, is_streamed: impl Fn(u32) -> bool) -> OffloadPlan {
    let mut plan = OffloadPlan::all_resident(DeviceId::Cpu, table);
    for (index, home) in (0u32..).zip(&mut plan.homes).skip(1) {
        if is_streamed(index) {
            *home = DeviceId::Disk;
        }
    }
    plan
}

/// Staging memory for so many tenths of the largest block; what is too little becomes enough for one.
fn room(table: &BlockTable, tenths: u64) -> Bytes {
    let largest = table.blocks().iter().map(|b| b.bytes().get()).max().unwrap();
    Bytes(largest * tenths / 10)
}

/// As much as the largest block needs.
pub(crate) const LITTLE: Bytes = Bytes::ZERO;

#[test]
fn streamed_blocks_give_the_same_bits() {
    streamed_blocks_are_the_same(cases());
}

#[test]
fn streamed_blocks_of_transformers_give_the_same_bits() {
    streamed_blocks_are_the_same(transformers::cases());
}

fn streamed_blocks_are_the_same(cases: impl Iterator<Item = (PathBuf, Precision)>) {
    for (path, precision) in cases {
        let file = path.file_name().unwrap().display();
        let resident = load(&path, precision, Offload::Nothing).unwrap();
        let expected = outputs(&resident, precision);
        let count = resident.residency.table().blocks().len() as u32;
        assert!(count > 10, "{count} blocks");
        let policies: [(&str, &dyn Fn(u32) -> bool); 6] = [
            ("all", &|_| true),
            ("every second", &|n| n % 2 == 0),
            ("the head of the model", &|n| n < count / 2),
            ("its tail", &|n| n > count / 2),
            ("one", &|n| n == 7),
            ("pseudo-random", &|n| n.wrapping_mul(2_654_435_761) >> 31 == 1),
        ];
        for (n, (policy, is_streamed)) in policies.into_iter().enumerate() {
            // What 16 bits have of their own is tried with every policy and with every room, not with every pair of these.
            let rooms = [0, 13, 20, 35];
            let rooms = if precision == Precision::Fp32 { &rooms[..] } else { &rooms[n % rooms.len()..][..1] };
            for tenths in rooms.iter().copied() {
                let plan = plan(resident.residency.table(), is_streamed);
                let staging = room(resident.residency.table(), tenths);
                let unet = load(&path, precision, Offload::Exactly { plan: &plan, staging }).unwrap();
                assert!(outputs(&unet, precision) == expected, "{file} in {precision}, streamed: {policy}, staging {staging}");
                assert_eq!(unet.residency.asked(), unet.residency.measured(), "{file} in {precision}, {policy}");
            }
        }
    }
}

/// The test takes every storage that there is from where they are named.
#[test]
fn networks_of_every_storage_stream_to_the_same_bits() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    storages_stream_to_the_same_bits(&sd15().join("sd15.safetensors"), folder.path(), |_, _| Precision::ALL);
}

#[test]
fn transformers_of_every_storage_stream_to_the_same_bits() {
    for (model, _) in transformers::smallest() {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Each in one precision, in turn. SDNQ's types are all expanded by one piece of code, which the UNet's test goes through.
        let is_tried = |target: &str| !target.starts_with("sdnq_") || ["sdnq_int8", "sdnq_uint4"].contains(&target);
        let one = |n: usize, target: &str| if is_tried(target) { &Precision::ALL[n % Precision::ALL.len()..][..1] } else { &[] };
        storages_stream_to_the_same_bits(&model, folder.path(), one);
    }
}

fn storages_stream_to_the_same_bits(model: &Path, folder: &Path, precisions: impl Fn(usize, &str) -> &'static [Precision]) {
    let exact = outputs(&load(model, Precision::Fp32, Offload::Nothing).unwrap(), Precision::Fp32);
    for (n, (target, path)) in storages_of(model, folder).into_iter().enumerate() {
        transformers::parts_are_rows_of_the_whole(&path, &target.to_string());
        for precision in precisions(n, &target.to_string()) {
            let resident = load(&path, *precision, Offload::Nothing).unwrap();
            let expected = outputs(&resident, *precision);
            let table = resident.residency.table();
            // It is the same network: what two bits a number leave of it still points the same way.
            let alike = cosine(&expected[0], &exact[0]);
            assert!(alike > 0.8, "{target} in {precision}: {alike}");
            let plan = plan(table, |n| *precision != Precision::Fp32 || n % 2 == 1);
            let unet = load(&path, *precision, Offload::Exactly { plan: &plan, staging: room(table, 13) }).unwrap();
            assert!(outputs(&unet, *precision) == expected, "{target} in {precision}");
            assert_eq!(unet.residency.asked(), unet.residency.measured(), "{target} in {precision}");
        }
    }
}

fn cosine(a: &Tensor, b: &Tensor) -> f64 {
    let flat = |t: &Tensor| t.to_kind(Kind::Double).flatten(0, -1);
    let (a, b) = (flat(a), flat(b));
    (a.dot(&b) / (a.norm() * b.norm())).double_value(&[])
}

/// Weights are expanded to exactly what a file of plain floats would hold. Products of the same numbers may still differ in the last
/// bits: libraries look at where they lie.
#[test]
fn what_is_expanded_is_what_is_converted_back() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let model = sd15().join("sd15.safetensors");
    let mut compared = 0;
    for (target, path) in storages_of(&model, folder.path()) {
        let can_be_converted = matches!(target, perilune::quant::Target::Gguf(_)) || target.to_string().starts_with("fp8");
        if can_be_converted {
            let back = converted(&path, perilune::quant::Target::Fp32, &folder.path().join(target.to_string()));
            let [coded, plain] = [&path, &back].map(|p| outputs(&load(p, Precision::Fp32, Offload::Nothing).unwrap(), Precision::Fp32));
            for (coded, plain) in coded.iter().zip(&plain) {
                close(&target.to_string(), coded, plain, 1e-5);
            }
            compared += 1;
        }
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn text_encoder_and_autoencoder_stream_too() {
    let golden = |name: &str| tensor(&sd15().join("golden.safetensors"), name);
    let both = |work: &dyn Fn(Offload<'_>) -> (BlockTable, Vec<Tensor>), what: &str| {
        let (table, expected) = work(Offload::Nothing);
        for is_streamed in [&(|_| true) as &dyn Fn(u32) -> bool, &|n| n % 2 == 1] {
            let plan = plan(&table, is_streamed);
            let staging = room(&table, 20);
            assert!(work(Offload::Exactly { plan: &plan, staging }).1 == expected, "{what}");
        }
    };
    for (file, precision) in [("sd15.safetensors", Precision::Fp32), ("sd15-fp16.safetensors", Precision::Fp32)] {
        let path = sd15().join(file);
        let encode = |offload: Offload<'_>| {
            let clip =
                with_target(&path, Role::ClipL, precision, offload, |files, target| LoadedClip::load(Role::ClipL, files, target)).unwrap();
            let pass = || tch::no_grad(|| clip.model.forward(&clip.residency, &golden("text.tokens"))).unwrap().last;
            (clip.residency.table().clone(), vec![pass(), pass()])
        };
        both(&encode, "text encoder");
        let decode = |offload: Offload<'_>| {
            let vae = with_target(&path, Role::Vae, precision, offload, LoadedVae::load).unwrap();
            let latent = || tch::no_grad(|| vae.model.encode(&vae.residency, &golden("vae.picture"))).unwrap().unwrap();
            let picture = || tch::no_grad(|| vae.model.decode(&vae.residency, &golden("vae.latent"))).unwrap();
            (vae.residency.table().clone(), vec![latent(), picture(), latent()])
        };
        both(&decode, "autoencoder");
    }
}

/// What the page cache holds is used where it lies; what it does not hold is read into staging memory. A test that finds its file
/// in the cache would never see the second.
#[test]
fn blocks_that_the_page_cache_does_not_hold_give_the_same_bits() {
    let files = [("sd15.safetensors", Precision::Fp32), ("sd15-fp16.safetensors", Precision::Fp32)];
    for ((file, precision), tenths) in files.into_iter().flat_map(|case| [0, 3, 6].map(|tenths| (case, tenths))) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::copy(sd15().join(file), &path).unwrap();
        let resident = load(&sd15().join(file), precision, Offload::Nothing).unwrap();
        let expected = outputs(&resident, precision);
        let plan = plan(resident.residency.table(), |_| true);
        let staging = LITTLE + room(resident.residency.table(), tenths);
        let unet = load(&path, precision, Offload::Exactly { plan: &plan, staging }).unwrap();
        let copy = std::fs::File::open(&path).unwrap();
        copy.sync_all().unwrap();
        rustix::fs::fadvise(&copy, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        assert!(outputs(&unet, precision) == expected, "{file} in {precision}");
        let traffic = unet.residency.take_traffic();
        let (cached, all) = (traffic.over(Subject::PageCache).bytes, traffic.bytes());
        assert!(cached.get() * 10 < all.get(), "the page cache held {cached} of {all}");
    }
}

#[test]
fn what_streams_is_counted() {
    let path = sd15().join("sd15-fp16.safetensors");
    let resident = load(&path, Precision::Fp16, Offload::Nothing).unwrap();
    let table = resident.residency.table();
    let plan = plan(table, |n| n % 2 == 0);
    let unet = load(&path, Precision::Fp16, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
    let streamed: Bytes = plan.streamed().into_iter().map(|b| table.block(b).unwrap().bytes()).sum();
    let share = |device| unet.residency.measured().into_iter().find(|s| s.device == device).unwrap().bytes;
    assert_eq!((share(DeviceId::Disk), share(DeviceId::Disk) + share(DeviceId::Cpu)), (streamed, table.bytes()));
    outputs(&unet, Precision::Fp16);
    let begun = unet.residency.take_traffic().bytes();
    // Two passes, and the first blocks of a third.
    assert!(begun >= Bytes(2 * streamed.get()) && begun < Bytes(3 * streamed.get()), "{begun} of {streamed}");
    let largest = plan.streamed().into_iter().map(|b| table.block(b).unwrap().bytes()).max().unwrap();
    assert!(unet.residency.staging() < Bytes(largest.get() + 64 * 4096), "{} for {largest}", unet.residency.staging());
}

#[test]
fn a_pass_that_is_broken_off_leaves_no_trace() {
    let path = sd15().join("sd15.safetensors");
    let expected = outputs(&load(&path, Precision::Fp32, Offload::Nothing).unwrap(), Precision::Fp32);
    let table = load(&path, Precision::Fp32, Offload::Nothing).unwrap().residency.table().clone();
    let plan = plan(&table, |_| true);
    let unet = load(&path, Precision::Fp32, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
    for stop in [1u32, 2, 5, 9] {
        for block in 1..=stop {
            unet.residency.acquire(BlockIndex(block)).unwrap();
        }
        assert!(outputs(&unet, Precision::Fp32) == expected, "after a pass of {stop} blocks");
    }
}

/// Says which blocks are streamed.
type Streams<'a> = &'a dyn Fn(u32) -> bool;

/// Blocks move to and fro between passes, through staging memory of any size; the bits stay, and so do the sums.
#[test]
fn blocks_that_move_between_passes_give_the_same_bits() {
    moved_blocks_are_the_same(cases());
}

#[test]
fn blocks_of_transformers_that_move_between_passes_give_the_same_bits() {
    moved_blocks_are_the_same(transformers::cases());
}

fn moved_blocks_are_the_same(cases: impl Iterator<Item = (PathBuf, Precision)>) {
    for (path, precision) in cases {
        let file = path.display();
        let unet = load(&path, precision, Offload::Nothing).unwrap();
        let expected = outputs(&unet, precision);
        let table = unet.residency.table();
        let plans: [(&str, Streams<'_>, u64); 8] = [
            ("nine of ten", &|n| n % 10 != 0, 0),
            ("none", &|_| false, 0),
            ("all", &|_| true, 20),
            ("every second", &|n| n % 2 == 0, 35),
            ("the others", &|n| n % 2 == 1, 35),
            ("the others, through less", &|n| n % 2 == 1, 0),
            ("one", &|n| n == 7, 13),
            ("none again", &|_| false, 0),
        ];
        for (what, is_streamed, tenths) in plans {
            let placing =
                Placing { plan: plan(table, is_streamed), staging: room(table, tenths), ..Placing::all_resident(DeviceId::Cpu, table) };
            tch::no_grad(|| unet.residency.rebudget(&placing)).unwrap();
            assert_eq!(*unet.residency.plan(), placing.plan);
            assert_eq!(unet.residency.asked(), unet.residency.measured(), "{file} in {precision}, {what}");
            assert_eq!(unet.residency.staging() == Bytes::ZERO, placing.plan.streamed().is_empty(), "{what}");
            assert!(outputs(&unet, precision) == expected, "{file} in {precision}, streamed: {what}");
        }
    }
}

/// Memory for the new plan cannot be had: for its staging, for the first block that comes, for a later one.
#[test]
fn a_move_that_fails_leaves_the_blocks_where_they_were() {
    let path = sd15().join("sd15-fp16.safetensors");
    let unet = load(&path, Precision::Fp32, Offload::Nothing).unwrap();
    let expected = outputs(&unet, Precision::Fp32);
    let table = unet.residency.table();
    let at = |is_streamed: &dyn Fn(u32) -> bool| Placing {
        plan: plan(table, is_streamed),
        staging: room(table, 13),
        ..Placing::all_resident(DeviceId::Cpu, table)
    };
    let (before, after) = (at(&|n| n % 3 == 0), at(&|n| n % 3 == 1));
    unet.residency.rebudget(&before).unwrap();
    for k in [0, 1, 3] {
        arm(Fault::Room, &[(k, Bytes::mib(1))]);
        let error = unet.residency.rebudget(&after).unwrap_err();
        assert_eq!(pending(), 0);
        assert!(matches!(error, EngineError::OutOfMemory { asked: Some(Bytes(1_048_576)), .. }), "{error}");
        assert_eq!(*unet.residency.plan(), before.plan);
        assert!(outputs(&unet, Precision::Fp32) == expected, "after failure {k}");
        assert_eq!(unet.residency.asked(), unet.residency.measured());
        // Even the way back may fail: then what is missing comes when it is asked for.
        arm(Fault::Room, &[(k, Bytes::mib(1)), (k + 1, Bytes::mib(1))]);
        unet.residency.rebudget(&after).unwrap_err();
        assert_eq!(pending(), 0);
        assert!(outputs(&unet, Precision::Fp32) == expected, "after two failures from {k}");
    }
    unet.residency.rebudget(&after).unwrap();
    assert!(outputs(&unet, Precision::Fp32) == expected);
}

#[test]
fn what_is_given_up_is_really_free_and_comes_back() {
    let path = sd15().join("sd15-fp16.safetensors");
    let unet = load(&path, Precision::Fp32, Offload::Nothing).unwrap();
    let expected = outputs(&unet, Precision::Fp32);
    let own = unet.residency.own();
    let need = Bytes(own.get() / 3);
    let given = unet.residency.give_up(need, DeviceId::Disk).unwrap();
    assert!(given >= need && given == unet.residency.given_up(), "{given} of {need}");
    assert!(own - unet.residency.own() >= need, "staging was not counted: {} of {own} are left", unet.residency.own());
    assert!(outputs(&unet, Precision::Fp32) == expected);
    assert_eq!(unet.residency.asked(), unet.residency.measured());
    // As little as comes back, as much as can, and then the rest.
    assert_eq!(unet.residency.take_back(Bytes(1)).unwrap(), Bytes::ZERO);
    let some = unet.residency.take_back(Bytes(given.get() / 2)).unwrap();
    assert!(some > Bytes::ZERO && some <= Bytes(given.get() / 2) && unet.residency.given_up() == given - some);
    assert!(outputs(&unet, Precision::Fp32) == expected);
    unet.residency.take_back(given).unwrap();
    assert_eq!((unet.residency.given_up(), unet.residency.own()), (Bytes::ZERO, own));
    assert!(outputs(&unet, Precision::Fp32) == expected);
    // All of it, and no more than there is: the head stays.
    unet.residency.give_up(Bytes::gib(1), DeviceId::Disk).unwrap();
    assert_eq!(unet.residency.plan().streamed().len(), unet.residency.table().blocks().len() - 1);
    assert_eq!(unet.residency.give_up(Bytes(1), DeviceId::Disk).unwrap(), Bytes::ZERO);
    assert!(outputs(&unet, Precision::Fp32) == expected);
    // Weights that lie in the page cache have nothing to give.
    let mapped = load(&sd15().join("sd15.safetensors"), Precision::Fp32, Offload::Nothing).unwrap();
    outputs(&mapped, Precision::Fp32);
    assert_eq!(mapped.residency.give_up(Bytes(1), DeviceId::Disk).unwrap(), Bytes::ZERO);
}

#[test]
fn a_donor_file_that_goes_wrong_is_an_error_with_its_name() {
    // Before anything was streamed from it, and when all of it has been, so that its pages are at hand.
    for passes in [0, 1] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::copy(sd15().join("sd15.safetensors"), &path).unwrap();
        let table = load(&path, Precision::Fp32, Offload::Nothing).unwrap().residency.table().clone();
        let plan = plan(&table, |_| true);
        let unet = load(&path, Precision::Fp32, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
        let mut blocks = (0..passes).flat_map(|_| 1..table.blocks().len() as u32);
        blocks.try_for_each(|n| unet.residency.acquire(BlockIndex(n)).map(drop)).unwrap();
        unet.residency.check_files().unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(9000).unwrap();
        // Those that had begun to come before it changed may still do so.
        let first = (0..2).flat_map(|_| 1..table.blocks().len() as u32).find_map(|n| unet.residency.acquire(BlockIndex(n)).err());
        let error = first.expect("a file of 9000 bytes still gives every block").to_string();
        assert!(error.contains("model.safetensors") && error.contains("shorter"), "{error}");
        assert!(unet.residency.check_files().unwrap_err().to_string().contains("written to"));
    }
}
