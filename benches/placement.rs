//! How long planning takes: once, and for every point of the curve that a screen draws.
//!
//! Run with `cargo bench --no-default-features --bench placement`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up may panic")]

use perilune::placement::planner::{DonorLink, Goal, Request, Stay, UnitCost, plan};
use perilune::placement::propose::curve;
use perilune::placement::simulate::Staging;
use perilune::placement::sweep::sweep;
use perilune::placement::{Grounds, Machine, Model, OffloadAsk, Room, Speed};
use perilune::tui::screens::offload::state::Wish;
use perilune::tui::screens::offload::{Facts, work};
use perilune::units::{Bytes, DeviceId, Size};
use perilune::weights::Precision;
use perilune::wire::TuneView;
use perilune::wire::tune::TuneBlock;

/// The seconds of computing in a step, by what then limits it: the links, neither, or computing.
const COMPUTE_S: [f64; 3] = [0.05, 0.5, 5.0];

fn main() {
    divan::main();
}

/// A hundred unequal units, about ten GiB, half of them to be freed, and as many donors as asked for.
fn request(compute_s: f64, donors: u16) -> Request {
    let unit = |i: u64| UnitCost {
        stay: if i.is_multiple_of(25) { Stay::Pinned } else { Stay::Movable },
        ..UnitCost::plain(Bytes::mib(40 + (i * 37) % 120), compute_s * (1.0 + ((i * 53) % 7) as f64) / 400.0)
    };
    let donor = |k: u16| DonorLink {
        device: DeviceId::Cuda(k + 1),
        capacity: Bytes::gib(if donors == 1 { 64 } else { 2 }),
        bytes_per_second: 25e9 / (1.0 + f64::from(k) / 4.0),
        latency_s: 1e-5,
    };
    Request {
        compute: DeviceId::Cuda(0),
        units: (0..100).map(unit).collect(),
        goal: Goal::Free(Bytes::gib(5)),
        staging: Staging::Slots(2),
        donors: (0..donors).map(donor).collect(),
        calibrated: false,
    }
}

/// A hundred units over eight donors; 5 ms is the target.
#[divan::bench(args = COMPUTE_S)]
fn plan_100_units_8_donors(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let request = request(compute_s, 8);
    bencher.bench(|| plan(&request));
}

/// The same under a limit that counts the staging slots.
#[divan::bench(args = COMPUTE_S)]
fn hold_100_units_8_donors(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let request = Request { goal: Goal::Hold(Bytes::gib(5)), ..request(compute_s, 8) };
    bencher.bench(|| plan(&request));
}

/// A thousand amounts on one link; 1 s is the target.
#[divan::bench(args = COMPUTE_S, sample_count = 5, sample_size = 1)]
fn sweep_1000_points_1_donor(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let request = request(compute_s, 1);
    bencher.bench(|| sweep(&request, 1000));
}

/// A thousand amounts over eight donors; 1 s is the target.
#[divan::bench(args = COMPUTE_S, sample_count = 5, sample_size = 1)]
fn sweep_1000_points_8_donors(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let request = request(compute_s, 8);
    bencher.bench(|| sweep(&request, 1000));
}

/// The same curve as it is shown, each plan with the staging memory that it would have; 1 s is the target.
#[divan::bench(args = COMPUTE_S, sample_count = 5, sample_size = 1)]
fn curve_1000_points_8_donors(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let TuneView { compute, network, machine, .. } = facts(compute_s, 9).view;
    let donors = machine.rooms.iter().map(|r| r.device).filter(|d| *d != compute).collect();
    let ask = OffloadAsk { donors, ..OffloadAsk::default() };
    bencher.bench(|| curve(&ask, compute, &network, &machine, 1000));
}

/// What the tuner knows of the same units on a machine with that many devices, all measured.
fn facts(compute_s: f64, devices: u16) -> Facts {
    let units = request(compute_s, 1).units;
    let ids: Vec<DeviceId> = (0..devices - 1).map(DeviceId::Cuda).chain([DeviceId::Cpu]).collect();
    let room = |device: &DeviceId| {
        let total = Bytes::gib(if *device == DeviceId::Cuda(0) { 24 } else { 3 });
        Room { device: *device, total, free: total, reserve: Bytes::ZERO, committed: Bytes::ZERO }
    };
    let speed = |(k, device): (u32, &DeviceId)| {
        (*device, Speed { flops: 3e13, bytes_per_second: 25e9 / (1.0 + f64::from(k) / 4.0), measured: true })
    };
    Facts::of(TuneView {
        model: "night".to_owned(),
        family: "sd15".to_owned(),
        precision: Precision::Bf16,
        compute: DeviceId::Cuda(0),
        size: Size::new(1024, 1024).expect("both sides are divisible by 8"),
        batch: 1,
        blocks: units.iter().map(|u| TuneBlock { name: "block".to_owned(), stored: u.bytes }).collect(),
        network: Model { units, stored_share: 1.0, grounds: Grounds::Steps, walks: 1, activations: Bytes::ZERO },
        machine: Machine { rooms: ids.iter().map(room).collect(), speeds: (0..).zip(&ids).map(speed).collect(), ..Machine::default() },
        held: Vec::new(),
        active: None,
        history: None,
    })
}

/// A key in the tuner: a hundred blocks on eight devices; 5 ms is the target.
#[divan::bench(args = COMPUTE_S)]
fn tuner_amount_100_blocks_8_devices(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let facts = facts(compute_s, 8);
    let donors = facts.view.machine.rooms.iter().skip(1).map(|r| r.device).collect();
    let wish = Wish { text: "5GiB".to_owned(), donors, ..Wish::default() };
    assert!(work(&facts, &wish).outcome.is_ok());
    bencher.bench(|| work(&facts, &wish));
}

/// What the tuner knows where the processor computes, which has one donor: the disk.
fn facts_of_the_processor(compute_s: f64) -> Facts {
    let mut view = facts(compute_s, 2).view;
    view.compute = DeviceId::Cpu;
    view.machine.rooms.retain(|room| room.device == DeviceId::Cpu);
    view.machine.rooms.iter_mut().for_each(|room| (room.total, room.free) = (Bytes::gib(24), Bytes::gib(24)));
    view.machine.speeds = vec![(DeviceId::Disk, Speed { flops: 0.0, bytes_per_second: 3.5e9, measured: true })];
    Facts::of(view)
}

/// The same where the processor computes, by how much of it hides the disk: less, as much, and more.
#[divan::bench(args = [1.0, 3.0, 10.0])]
fn tuner_amount_100_blocks_processor(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let facts = facts_of_the_processor(compute_s);
    let wish = Wish { text: "5GiB".to_owned(), donors: vec![DeviceId::Disk], ..Wish::default() };
    assert!(work(&facts, &wish).outcome.is_ok());
    bencher.bench(|| work(&facts, &wish));
}

/// The curve of the same; 1 s is the target.
#[divan::bench(args = [1.0, 3.0, 10.0], sample_count = 5, sample_size = 1)]
fn curve_1000_points_processor(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let TuneView { compute, network, machine, .. } = facts_of_the_processor(compute_s).view;
    let ask = OffloadAsk { donors: vec![DeviceId::Disk], ..OffloadAsk::default() };
    bencher.bench(|| curve(&ask, compute, &network, &machine, 1000));
}

/// The same with a list, and blocks that are pinned.
#[divan::bench(args = COMPUTE_S)]
fn tuner_list_100_blocks_8_devices(bencher: divan::Bencher<'_, '_>, compute_s: f64) {
    let facts = facts(compute_s, 8);
    let donors: Vec<String> = facts.view.machine.rooms.iter().skip(1).map(|r| format!("{},900MiB", r.device)).collect();
    let text = format!("{};cuda:0,*", donors.join(";"));
    let wish = Wish { text, pins: "cuda:3,10-12;cpu,40".parse().expect("these are pins"), ..Wish::default() };
    assert!(work(&facts, &wish).outcome.is_ok());
    bencher.bench(|| work(&facts, &wish));
}
