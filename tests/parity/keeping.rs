//! Runs whose weights move between steps, and whose memory runs short or out: the picture is the same to the bit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::time::Duration;

use perilune::devices::SimulatedGpu;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::Compute;
use perilune::engine::keeping::Senses;
use perilune::engine::reporter::Reporter;
use perilune::engine::residency::faults::{Fault, arm, pending};
use perilune::engine::runner::Runner;
use perilune::families::Role;
use perilune::placement::budget::margin;
use perilune::placement::{OffloadAsk, Part, Share};
use perilune::sampling::Sampler;
use perilune::units::{Bytes, DeviceId, JobId, RunId, Size};
use perilune::weights::Precision;
use perilune::wire::work::{FailedRun, Finished, Placed, Rebudget};
use perilune::wire::{Report, RunOrder};
use perilune::workflow::{JobSpec, Kind, Tiling};

use crate::everywhere::gpus;
use crate::fixture::sd15;
use crate::process::job;

/// How much memory the device of these tests has.
const TOTAL: Bytes = Bytes::gib(10);

/// A device whose free memory and time a test says, step by step.
#[derive(Clone)]
struct Device {
    /// Borders between steps that were seen, the one before the first counted.
    borders: Rc<Cell<u64>>,
    /// What happens at a border, before memory is looked at.
    script: Rc<RefCell<Script>>,
}

/// What is free at the nth border.
type Script = Box<dyn FnMut(u64) -> Bytes>;

/// Seconds from border to border.
const APART: u64 = 4;

impl Device {
    fn new(script: impl FnMut(u64) -> Bytes + 'static) -> Self {
        Self { borders: Rc::default(), script: Rc::new(RefCell::new(Box::new(script))) }
    }

    /// One with plenty of memory.
    fn calm() -> Self {
        Self::new(|_| Bytes::gib(9))
    }

    fn senses(&self) -> Senses {
        let (here, there) = (self.clone(), self.clone());
        Senses {
            memory: Box::new(move |_| Some((TOTAL, (here.script.borrow_mut())(here.borders.get())))),
            now: Box::new(move || {
                let at = there.borders.replace(there.borders.get() + 1);
                Duration::from_secs(at * APART)
            }),
        }
    }
}

struct Ended {
    reports: Vec<Report>,
    result: Result<(Finished, Vec<u8>), FailedRun>,
}

impl Ended {
    fn notices(&self) -> Vec<String> {
        let notice = |report: &Report| match report {
            Report::Notice { level, text, .. } => Some(format!("{level} {text}")),
            _ => None,
        };
        self.reports.iter().filter_map(notice).collect()
    }

    fn budgets(&self) -> Vec<&Rebudget> {
        self.reports.iter().filter_map(|r| if let Report::Rebudgeted(r) = r { Some(&r.outcome) } else { None }).collect()
    }

    fn placed(&self) -> Placed {
        let placed = |report: &Report| if let Report::Memory(memory) = report { memory.sets.first()?.placed.clone() } else { None };
        *self.reports.iter().rev().find_map(placed).unwrap()
    }
}

/// An engine's runner in this very thread.
struct Bench {
    runner: Runner,
    heard: std::sync::mpsc::Receiver<Report>,
    runs: i64,
}

impl Bench {
    fn on(device: &Device) -> Self {
        Self::of(Compute::open(DeviceId::Cpu, None).unwrap(), device)
    }

    fn of(compute: Compute, device: &Device) -> Self {
        let (tell, heard) = channel();
        Self { runner: Runner::sensing(compute, Reporter::new(tell), device.senses()), heard, runs: 0 }
    }

    fn run(&mut self, spec: &JobSpec, cancel: &CancelFlag) -> Ended {
        self.runs += 1;
        let folder = tempfile::tempdir().unwrap();
        let targets = vec![folder.path().join("picture.png")];
        let order = RunOrder { run: RunId(self.runs), job: JobId(1), spec: spec.clone(), targets, known: Vec::new() };
        assert!(self.runner.run(&order, cancel), "the engine would end");
        let (mut reports, mut result) = (Vec::new(), None);
        for report in self.heard.try_iter() {
            match report {
                Report::Finished(finished) => {
                    let pixels = image::open(&finished.images[0].path).unwrap().into_rgb8().into_raw();
                    result = Some(Ok((*finished, pixels)));
                }
                Report::Failed(failed) => result = Some(Err(*failed)),
                other => reports.push(other),
            }
        }
        Ended { reports, result: result.unwrap() }
    }

    fn paint(&mut self, spec: &JobSpec) -> Vec<u8> {
        self.run(spec, &CancelFlag::default()).result.unwrap().1
    }
}

/// Weights are expanded on the way, so what is resident has memory of its own.
fn expanded() -> JobSpec {
    JobSpec { size: Size::new(32, 32).unwrap(), steps: 6, ..job(&sd15().join("sd15-fp16.safetensors")) }
}

fn asking(virtual_vram: &str) -> OffloadAsk {
    OffloadAsk { virtual_vram: virtual_vram.parse().unwrap(), ..OffloadAsk::default() }
}

#[test]
fn weights_move_between_steps_and_the_picture_stays() {
    let expected = Bench::on(&Device::calm()).paint(&expanded());
    let cancel = CancelFlag::default();
    let flag = cancel.clone();
    // Behind the second border all leaves, behind the third some returns, behind the fifth all does.
    let device = Device::new(move |border| {
        match border {
            1 => flag.rebudget(asking("1GiB")),
            3 => {
                flag.rebudget(asking("1MiB"));
                flag.rebudget(OffloadAsk { expert: Some("cpu,50%;disk,*".parse().unwrap()), ..OffloadAsk::default() });
            }
            5 => flag.rebudget(asking("0")),
            _ => {}
        }
        Bytes::gib(9)
    });
    let mut bench = Bench::on(&device);
    let ended = bench.run(&expanded(), &cancel);
    let (finished, pixels) = ended.result.as_ref().unwrap();
    assert!(*pixels == expected);
    let moved: Vec<usize> =
        ended.budgets().iter().map(|b| if let Rebudget::Moved(m) = b { m.plan.streamed().len() } else { 999 }).collect();
    let [all, some, half, none] = moved[..] else { panic!("{moved:?}") };
    assert!(all > 20 && some > 0 && some < half && half < all && none == 0, "{moved:?}");
    assert_eq!((finished.placement.predicted.as_ref(), finished.warnings.len()), (None, 0), "{:?}", finished.warnings);
    assert_eq!(finished.placement.asked, finished.placement.measured);
    assert!(ended.placed().ask.is_nothing());
}

/// A donor that takes nothing of what was planned for it is told of at once, and the run's record says so; the picture is the same.
#[test]
fn a_donor_that_is_not_used_is_told_of() {
    let spread = || JobSpec {
        compute: DeviceId::Sim(0),
        offload: OffloadAsk { expert: Some("sim:0,40%;cpu,60%".parse().unwrap()), ..OffloadAsk::default() },
        ..expanded()
    };
    let bench = || Bench::of(Compute::simulated(DeviceId::Sim(0), None, &gpus(Bytes::mib(256))).unwrap(), &Device::calm());
    let sound = bench().run(&spread(), &CancelFlag::default());
    assert_eq!((sound.notices(), &sound.result.as_ref().unwrap().0.warnings), (vec![], &vec![]));
    arm(Fault::Donor, &[(0, Bytes::ZERO)]);
    let ended = bench().run(&spread(), &CancelFlag::default());
    assert_eq!(pending(), 0);
    let (finished, pixels) = ended.result.as_ref().unwrap();
    let on = |shares: &[Share], device| shares.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
    let planned = on(&finished.placement.asked, DeviceId::Cpu);
    assert_eq!((planned > Bytes::ZERO, on(&finished.placement.measured, DeviceId::Cpu)), (true, Bytes::ZERO));
    assert_eq!(finished.warnings, [format!("denoiser: the donor cpu holds 0 B of {planned} planned")]);
    assert_eq!(ended.notices(), [format!("warn {}", finished.warnings[0])]);
    let told = finished.placement.parts.iter().find(|p| p.part == Part::Denoiser).unwrap();
    assert_eq!((on(&told.asked, DeviceId::Cpu), on(&told.measured, DeviceId::Cpu)), (planned, Bytes::ZERO));
    let views = |report: &Report| if let Report::Memory(memory) = report { Some(memory.sets.first()?.parts.clone()) } else { None };
    let views = ended.reports.iter().rev().find_map(views).unwrap();
    let view = views.iter().find(|v| v.role == Role::Denoiser && v.device == DeviceId::Cpu).expect("it stays on the screen");
    assert_eq!((view.planned, view.bytes), (planned, Bytes::ZERO));
    assert!(on(&told.measured, DeviceId::Disk) > Bytes::ZERO && *pixels == sound.result.unwrap().1);
}

/// What was asked of a donor beyond its room is told as a plan tells it, by each run that finds the weights where they went instead.
#[test]
fn what_a_donor_has_no_room_for_is_told_of() {
    let [first, second] = [0, 1].map(|_| gpus(Bytes::mib(256))[0].clone());
    let cards = [first, SimulatedGpu { memory: Bytes::kib(4), ..second }];
    let spec = JobSpec {
        compute: DeviceId::Sim(0),
        offload: OffloadAsk { expert: Some("sim:1,400KiB;sim:0,*".parse().unwrap()), ..OffloadAsk::default() },
        ..expanded()
    };
    let mut bench = Bench::of(Compute::simulated(DeviceId::Sim(0), None, &cards).unwrap(), &Device::calm());
    for run in ["that loads them", "that finds them"] {
        let ended = bench.run(&spec, &CancelFlag::default());
        let finished = &ended.result.as_ref().unwrap_or_else(|failed| panic!("{}", failed.message)).0;
        let [told] = &finished.warnings[..] else { panic!("the run {run}: {:?}", finished.warnings) };
        let beginning = "400.0 KiB were asked of sim:1, which has room for 3.9 KiB: what is over goes to sim:0;";
        assert!(told.starts_with(beginning), "the run {run}: {told}");
        assert_eq!(ended.notices(), [format!("warn {told}")], "{run}");
    }
}

/// However it is said how much the device that computes may hold: in bytes, as a share, or by what must leave.
#[test]
fn no_run_holds_more_of_the_weights_than_its_budget() {
    let mut bench = Bench::on(&Device::calm());
    let mut held = |ask: OffloadAsk| {
        let ended = bench.run(&JobSpec { offload: ask, steps: 1, ..expanded() }, &CancelFlag::default());
        assert!(ended.result.is_ok());
        let parts = |report: &Report| if let Report::Memory(memory) = report { Some(memory.sets.first()?.parts.clone()) } else { None };
        let parts = ended.reports.iter().rev().find_map(parts).unwrap();
        parts.iter().find(|p| p.role == Role::Denoiser && p.device == DeviceId::Cpu).unwrap().bytes
    };
    let all = held(OffloadAsk::default());
    let expert = |text: String| OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
    for percent in [20, 50, 80] {
        let budget = Bytes(all.get() * percent / 100);
        for ask in [
            expert(format!("cpu,{percent}%;disk,*")),
            expert(format!("cpu,{percent}%;disk,{}%", 100 - percent)),
            expert(format!("cpu,{}b;disk,*", budget.get())),
            asking(&format!("{}b", (all - budget).get())),
        ] {
            let held = held(ask.clone());
            assert!(held <= budget && held > Bytes::ZERO, "{held} of {budget} for {ask:?}");
        }
    }
}

#[test]
fn the_next_job_finds_what_a_move_has_left() {
    let cancel = CancelFlag::default();
    cancel.rebudget(asking("2MiB"));
    let mut bench = Bench::on(&Device::calm());
    let ended = bench.run(&expanded(), &cancel);
    let moved = ended.placed();
    assert_eq!(moved.ask, asking("2MiB"));
    assert!(!moved.plan.streamed().is_empty());
    // Nothing is brought again: what stays has stayed.
    let next = bench.run(&JobSpec { offload: asking("2MiB"), ..expanded() }, &CancelFlag::default());
    assert_eq!(next.placed(), moved);
    assert!(next.result.unwrap().1 == ended.result.unwrap().1);
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused_and_the_run_goes_on() {
    let spec = expanded();
    let expected = Bench::on(&Device::calm()).paint(&spec);
    let cancel = CancelFlag::default();
    cancel.rebudget(OffloadAsk { donors: vec![DeviceId::Cuda(9)], ..asking("1MiB") });
    let flag = cancel.clone();
    let device = Device::new(move |border| {
        if border == 1 {
            arm(Fault::Room, &[(0, Bytes::mib(3))]);
            flag.rebudget(asking("1MiB"));
        }
        Bytes::gib(9)
    });
    let ended = Bench::on(&device).run(&spec, &cancel);
    assert!(ended.result.as_ref().unwrap().1 == expected);
    let refused: Vec<(Kind, String)> = ended
        .budgets()
        .into_iter()
        .map(|b| if let Rebudget::Refused(r) = b { (r.kind, r.message.clone()) } else { panic!("{b:?}") })
        .collect();
    assert_eq!(refused[0].0, Kind::NotFound, "{refused:?}");
    assert!(refused[1].1.starts_with("out of memory on cpu in ") && refused[1].1.ends_with(": 3.0 MiB more were needed"), "{refused:?}");
    assert!(ended.placed().ask.is_nothing());
}

/// Another process takes memory for a while.
#[test]
fn memory_that_others_take_is_given_back_and_taken_again() {
    let spec = JobSpec { steps: 10, ..expanded() };
    let expected = Bench::on(&Device::calm()).paint(&spec);
    let least = margin(DeviceId::Cpu, TOTAL);
    // It is looked at twice where it is short.
    let device = Device::new(move |look| if (2..4).contains(&look) { least - Bytes::mib(1) } else { Bytes::gib(9) });
    let mut bench = Bench::on(&device);
    let ended = bench.run(&spec, &CancelFlag::default());
    let (finished, pixels) = ended.result.as_ref().unwrap();
    assert!(*pixels == expected);
    let notices = ended.notices();
    let [shrunk, grown] = &notices[..] else { panic!("{notices:?}") };
    assert!(shrunk.starts_with("warn memory of cpu was short by 1.0 MiB: ") && shrunk.ends_with(" and come from disk"), "{shrunk}");
    assert!(grown.starts_with("warn cpu has memory again: ") && grown.ends_with("all of them are back"), "{grown}");
    let told: Vec<String> = finished.warnings.iter().map(|w| format!("warn {w}")).collect();
    assert_eq!(told, notices, "the run's own account says the same");
    assert!(ended.placed().plan.streamed().is_empty());
    assert!(finished.placement.predicted.is_none());
}

/// A donor without room is passed over: weights that must leave find the next one, whether memory was seen to be short or ran out.
#[test]
fn weights_that_must_leave_pass_over_a_donor_that_is_full() {
    let [first, second] = [0, 1].map(|_| gpus(Bytes::mib(256))[0].clone());
    let cards = [first, SimulatedGpu { memory: Bytes::kib(4), ..second }];
    let spec = JobSpec {
        compute: DeviceId::Sim(0),
        offload: OffloadAsk { donors: vec![DeviceId::Sim(1), DeviceId::Cpu], ..OffloadAsk::default() },
        ..expanded()
    };
    let bench = |device: &Device| Bench::of(Compute::simulated(DeviceId::Sim(0), None, &cards).unwrap(), device);
    let expected = bench(&Device::calm()).paint(&spec);
    let least = margin(DeviceId::Sim(0), TOTAL);
    let short = Device::new(move |look| if (2..4).contains(&look) { least - Bytes::mib(1) } else { least });
    for device in [short, failing(&[(90, Bytes::kib(200))])] {
        let ended = bench(&device).run(&spec, &CancelFlag::default());
        let pixels = &ended.result.as_ref().unwrap_or_else(|failed| panic!("{}", failed.message)).1;
        assert!(*pixels == expected);
        let first = ended.notices().into_iter().next().unwrap();
        assert!(first.contains(" of weights left ") && first.contains(" and come from cpu"), "{first}");
    }
}

/// Before a run's own weights, sets leave that no run works with.
#[test]
fn sets_that_no_run_works_with_leave_before_its_weights_do() {
    let (first, second) = (expanded(), JobSpec { precision: Some(Precision::Bf16), ..expanded() });
    let expected = Bench::on(&Device::calm()).paint(&second);
    let least = margin(DeviceId::Cpu, TOTAL);
    // Behind the second step of the second run; each run looks before its first step and after each.
    let at = u64::from(first.steps) + 3;
    let mut bench = Bench::on(&Device::new(move |look| if look == at { least - Bytes::mib(1) } else { Bytes::gib(9) }));
    bench.paint(&first);
    let ended = bench.run(&second, &CancelFlag::default());
    let notices = ended.notices();
    let [left] = &notices[..] else { panic!("{notices:?}") };
    assert!(left.starts_with("info `tiny` left cpu to make room: ") && left.ends_with(" became free"), "{left}");
    assert!(ended.placed().plan.streamed().is_empty());
    let sets = ended.reports.iter().rev().find_map(|r| if let Report::Memory(memory) = r { Some(memory.sets.len()) } else { None });
    assert_eq!(sets, Some(1));
    assert!(ended.result.unwrap().1 == expected);
}

/// Blocks that are pinned to the device that computes are the last that memory pressure takes, and that is told.
#[test]
fn pinned_blocks_give_way_last_and_that_is_told() {
    let blocks = {
        let ended = Bench::on(&Device::calm()).run(&JobSpec { steps: 1, ..expanded() }, &CancelFlag::default());
        ended.placed().plan.homes.len()
    };
    let free = 5;
    let spec = JobSpec {
        offload: OffloadAsk { pins: format!("cpu,1-{}", blocks - 1 - free).parse().unwrap(), ..OffloadAsk::default() },
        ..expanded()
    };
    let expected = Bench::on(&Device::calm()).paint(&spec);
    let least = margin(DeviceId::Cpu, TOTAL);
    let short = |by: Bytes| {
        // It is looked at twice where it is short.
        let device = Device::new(move |look| if (2..4).contains(&look) { least - by } else { least });
        let ended = Bench::on(&device).run(&spec, &CancelFlag::default());
        assert!(ended.result.as_ref().unwrap().1 == expected);
        let streamed = ended.placed().plan.streamed();
        (ended.notices(), streamed)
    };
    let (notices, streamed) = short(Bytes(1));
    assert!(!streamed.is_empty() && streamed.iter().all(|block| block.0 as usize >= blocks - free), "{streamed:?} {notices:?}");
    assert!(notices.len() == 1 && !notices[0].contains("pinned"), "{notices:?}");
    let (notices, streamed) = short(least);
    assert_eq!(streamed.len(), blocks - 1, "all that may leave has left");
    assert!(
        notices[0].contains("come from disk, though pinned: blocks 1, 2, ") && notices[0].ends_with("for no others had any left to give"),
        "{notices:?}"
    );
}

#[test]
fn a_run_that_ended_short_of_memory_grows_in_the_next() {
    let least = margin(DeviceId::Cpu, TOTAL);
    let device = Device::new(move |look| if (5..12).contains(&look) { least - Bytes::mib(1) } else { Bytes::gib(9) });
    let mut bench = Bench::on(&device);
    let spec = expanded();
    let first = bench.run(&spec, &CancelFlag::default());
    assert!(!first.placed().plan.streamed().is_empty());
    let mut last = bench.run(&spec, &CancelFlag::default());
    assert!(last.result.as_ref().unwrap().1 == first.result.as_ref().unwrap().1);
    last = bench.run(&spec, &CancelFlag::default());
    assert!(last.placed().plan.streamed().is_empty(), "{:?}", last.notices());
    assert!(last.result.unwrap().1 == first.result.unwrap().1);
}

#[test]
fn memory_that_is_short_without_help_is_told_once() {
    let spec = JobSpec { size: Size::new(32, 32).unwrap(), steps: 5, ..job(&sd15().join("sd15.safetensors")) };
    let ended = Bench::on(&Device::new(|_| Bytes::mib(7))).run(&spec, &CancelFlag::default());
    let notices = ended.notices();
    let [told] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!(
        told,
        "warn memory of cpu is short (7.0 MiB of 10.0 GiB are free), and the run has no weights there that it could give back"
    );
    assert!(ended.result.is_ok());
}

/// A device whose memory runs out when so many blocks were asked for, counted from the first step on: the text encoder's blocks
/// are no step's matter.
fn failing(at: &[(u64, Bytes)]) -> Device {
    let mut faults = Some(at.to_vec());
    Device::new(move |_| {
        if let Some(faults) = faults.take() {
            arm(Fault::Loan, &faults);
        }
        Bytes::gib(9)
    })
}

/// Whatever solver, whichever block: the step that memory ran out in is repeated with the same noise.
#[test]
fn a_step_that_runs_out_of_memory_is_repeated_and_the_picture_stays() {
    let times: [&[u64]; 3] = [&[90], &[150, 151, 152], &[100, 140, 200]];
    for (sampler, at) in Sampler::ALL.iter().zip(times.into_iter().cycle()) {
        let spec = JobSpec { sampler: *sampler, steps: 4, ..expanded() };
        let expected = Bench::on(&Device::calm()).paint(&spec);
        let faults: Vec<(u64, Bytes)> = at.iter().map(|n| (*n, Bytes::kib(200))).collect();
        let ended = Bench::on(&failing(&faults)).run(&spec, &CancelFlag::default());
        assert_eq!(pending(), 0, "{sampler} {at:?}");
        let (finished, pixels) = ended.result.unwrap_or_else(|failed| panic!("{sampler} {at:?}: {}", failed.message));
        assert!(pixels == expected, "{sampler} {at:?}");
        let repeated = |w: &&String| w.contains(" of weights left cpu and come from disk, and step ");
        assert_eq!(finished.warnings.iter().filter(repeated).count(), at.len(), "{:?}", finished.warnings);
    }
}

#[test]
fn memory_that_runs_out_again_and_again_is_an_error_that_says_who_holds_it() {
    let faults = [100, 101, 102, 103].map(|n| (n, Bytes::kib(10)));
    let mut bench = Bench::on(&failing(&faults));
    let spec = expanded();
    let expected = Bench::on(&Device::calm()).paint(&spec);
    let ended = bench.run(&spec, &CancelFlag::default());
    let failed = ended.result.as_ref().unwrap_err();
    assert!(failed.message.starts_with("out of memory on cpu in denoiser block "), "{}", failed.message);
    let told = failed.message.contains(": 10.0 KiB more were needed, after 3 repeats of the step; cpu holds ");
    assert!(told && failed.message.ends_with("; 9.0 GiB of 10.0 GiB are free"), "{}", failed.message);
    assert!(failed.message.contains(" denoiser, ") && failed.message.contains(" beyond weights"), "{}", failed.message);
    assert_eq!((ended.notices().len(), failed.fatal, failed.kind), (3, false, Kind::Failed));
    assert!(bench.paint(&spec) == expected, "the engine goes on");
}

/// The decoder comes last and finds no room: the network's weights, which it does not need, make it.
#[test]
fn decoding_that_runs_out_of_memory_has_the_network_give_way() {
    let spec = JobSpec { steps: 2, tiling: Tiling::Never, ..expanded() };
    let expected = Bench::on(&Device::calm()).paint(&spec);
    let run = |at: u64| {
        arm(Fault::Room, &[(at, Bytes::kib(10))]);
        let mut bench = Bench::on(&Device::calm());
        let ended = bench.run(&spec, &CancelFlag::default());
        (bench, ended)
    };
    let gave_way = |ended: &Ended| ended.notices().iter().any(|n| n.contains("of weights that decoding does not need were let go"));
    let (mut bench, ended) = (0..100).map(run).find(|(_, ended)| gave_way(ended)).expect("no block of the decoder was refused");
    let (finished, pixels) = ended.result.unwrap_or_else(|failed| panic!("{}", failed.message));
    assert!(pixels == expected && finished.warnings.len() == 1, "{:?}", finished.warnings);
    arm(Fault::Room, &[]);
    assert!(bench.paint(&spec) == expected, "what was let go comes again");
}
