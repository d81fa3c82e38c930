//! What an operator should know of a plan before it is carried out.

use super::Allocation;
use super::ask::{OffloadAsk, VirtualVram};
use super::budget::{self, Cut};
use super::machine::Machine;
use super::pace::Grounds;
use super::planner::{Planned, Stay};
use super::propose::{self, Model};
use super::ring::{kept, left, taken};
use crate::units::{Bytes, DeviceId};

/// From how much of a step on, waiting for weights is worth a word.
const WAITS: f64 = 1.5;

/// Returns what should be known of a plan for an ask.
#[must_use]
pub fn warnings(planned: &Planned, ask: &OffloadAsk, model: &Model, machine: &Machine) -> Vec<String> {
    let mut warnings = of_places(planned, ask, model, machine);
    warnings.extend(tight(planned, ask, model, machine).or_else(|| short(planned, model, machine)));
    let predicted = &planned.predicted;
    if !predicted.calibrated {
        let mut unmeasured: Vec<String> = std::iter::once((planned.plan.compute, model.grounds.is_measured()))
            .chain(predicted.links.iter().map(|l| (l.device, machine.speed(l.device).measured)))
            .filter(|(_, measured)| !measured)
            .map(|(device, _)| device.to_string())
            .collect();
        if model.grounds == Grounds::OtherSizes {
            unmeasured.retain(|device| *device != planned.plan.compute.to_string());
            warnings.push("computing was not measured at this size: it is reckoned from others".to_owned());
        }
        if !unmeasured.is_empty() {
            let which = unmeasured.join(" and ");
            warnings.push(format!("the speed of {which} is assumed, not measured: a run measures it, or `perilune calibrate`"));
        }
    }
    if predicted.step_s > predicted.compute_s * WAITS && !predicted.links.is_empty() {
        let waits = 100.0 * (1.0 - predicted.compute_s / predicted.step_s);
        warnings.push(format!("{waits:.0} % of a step is waiting for weights"));
    }
    warnings
}

/// Returns what should be known of where a plan puts blocks, whatever a step takes with it.
#[must_use]
pub fn of_places(planned: &Planned, ask: &OffloadAsk, model: &Model, machine: &Machine) -> Vec<String> {
    misses(planned, ask, model, machine).into_iter().chain(dearer(planned, model)).collect()
}

/// Returns what a plan does not do that was asked for.
#[must_use]
pub fn misses(planned: &Planned, ask: &OffloadAsk, model: &Model, machine: &Machine) -> Vec<String> {
    let cuts = cuts(ask, planned.plan.compute, model, machine).into_iter();
    cuts.chain(held_back(planned, ask, model)).chain(over(planned, ask, model, machine)).collect()
}

/// Returns which devices of a list have less room than was asked of them.
fn cuts(ask: &OffloadAsk, compute: DeviceId, model: &Model, machine: &Machine) -> Vec<String> {
    // What cannot be asked at all is an error of its own.
    let cuts = propose::request(ask, compute, model, machine).map(|(_, quotas)| quotas.cut).unwrap_or_default();
    cuts.iter().map(told).collect()
}

/// Tells of pins that keep more where it is computed than an amount was to leave there.
fn held_back(planned: &Planned, ask: &OffloadAsk, model: &Model) -> Option<String> {
    let (compute, left) = (planned.plan.compute, left(&planned.plan, model));
    let may_leave: Bytes = model.units.iter().filter(|unit| unit.stay != Stay::Pinned).map(|unit| unit.bytes).sum();
    match (&ask.expert, ask.virtual_vram) {
        (None, VirtualVram::AtLeast(asked)) if left < asked.min(may_leave) => Some(format!(
            "{} were to leave {compute}, and {left} do: what is pinned to {compute} stays; pin less there, or ask for less",
            asked.min(may_leave)
        )),
        _ => None,
    }
}

/// Tells where a list gives the device that computes less of its memory than weights take there, with those that pass through.
fn over(planned: &Planned, ask: &OffloadAsk, model: &Model, machine: &Machine) -> Option<String> {
    let compute = planned.plan.compute;
    let Some(Allocation::Listed(listed)) = &ask.expert else { return None };
    let given = budget::given_bytes(listed, compute, &machine.rooms)?;
    let (taken, kept, staging) = (taken(planned, model), kept(&planned.plan, model), planned.staging);
    (taken > given).then(|| {
        format!(
            "{compute} was given {given}, and weights will take {taken}: {kept} stay, and {staging} is what the others pass through; give it \
             more, or less with as much as that in mind"
        )
    })
}

/// Tells where what blocks pass through takes more than their leaving makes free.
fn dearer(planned: &Planned, model: &Model) -> Option<String> {
    let (left, staging) = (left(&planned.plan, model), planned.staging);
    (left > Bytes::ZERO && staging > left).then(|| {
        format!(
            "{left} leave {}, and {staging} is what they pass through there: it would take less if they stayed; let more leave, or none",
            planned.plan.compute
        )
    })
}

/// Returns what to expect where the processor has no room for what stays: of which nothing was asked, that is begun all the same.
fn short(planned: &Planned, model: &Model, machine: &Machine) -> Option<String> {
    let device = planned.plan.compute;
    let room = machine.rooms.iter().find(|r| r.device == device && device == DeviceId::Cpu)?;
    let (taken, capacity) = (taken(planned, model), room.capacity());
    (taken > capacity).then(|| {
        format!(
            "{taken} of weights stay on {device}, which has room for {capacity}: a run begins, and gives weights back while memory is short; \
             --virtual-vram auto has them leave before"
        )
    })
}

/// Returns what to expect where a GPU would have too little left for a step.
fn tight(planned: &Planned, ask: &OffloadAsk, model: &Model, machine: &Machine) -> Option<String> {
    let device = planned.plan.compute;
    let room = machine.rooms.iter().find(|r| r.device == device && device.is_card())?;
    let taken = taken(planned, model);
    // What is to stay free between two steps is not there for them.
    let (needed, left) = (model.activations, room.capacity().saturating_sub(taken));
    (needed > left).then(|| {
        let mend = if ask.is_auto() { "free some of its memory" } else { "let them leave now, or let virtual VRAM be `auto`" };
        format!(
            "a step is expected to take {needed} of {device} beyond weights, and {left} will be left: more blocks may have to leave \
             while it runs; {mend}"
        )
    })
}

fn told(Cut { device, asked, room, rest }: &Cut) -> String {
    let rest = rest.map_or_else(|| "the other devices".to_owned(), |device| device.to_string());
    format!(
        "{asked} were asked of {device}, which has room for {room}: what is over goes to {rest}; ask less of {device}, free some of it, \
         or give another device a part"
    )
}

#[cfg(test)]
mod tests {
    use super::super::planner::UnitCost;
    use super::super::propose::propose;
    use super::super::{Pace, Room};
    use super::*;

    #[test]
    fn a_gpu_without_room_for_a_step_is_named() {
        let unit = UnitCost::plain(Bytes::mib(64), 0.1);
        let (units, activations) = (vec![unit; 8], Bytes::mib(300));
        let model = Model { units, stored_share: 1.0, grounds: Grounds::Steps, walks: 1, activations };
        let room = |device, mib| {
            let total = Bytes::mib(mib);
            Room { device, total, free: total, reserve: Bytes::ZERO, committed: Bytes::ZERO }
        };
        let told = |compute, text: &str| {
            let machine =
                Machine { rooms: vec![room(compute, 700), room(DeviceId::Cpu, 4096)], pace: Pace::assumed(compute), ..Machine::default() };
            let ask = OffloadAsk { virtual_vram: text.parse().unwrap(), ..OffloadAsk::default() };
            let planned = propose(&ask, compute, &model, &machine).unwrap();
            let is_tight = |line: &String| line.contains("beyond weights");
            warnings(&planned, &ask, &model, &machine).into_iter().find(is_tight)
        };
        let of_all = told(DeviceId::Cuda(0), "0").unwrap();
        assert!(
            of_all.starts_with("a step is expected to take 300.0 MiB of cuda:0 beyond weights, and 188.0 MiB will be left"),
            "{of_all}"
        );
        assert_eq!(told(DeviceId::Cuda(0), "256MiB"), None, "two blocks pass through where four live");
        // What is simulated has no activations in its memory.
        assert_eq!((told(DeviceId::Cuda(0), "auto"), told(DeviceId::Sim(0), "0")), (None, None));
    }

    #[test]
    fn what_was_asked_for_and_is_not_done_is_told() {
        let cpu = DeviceId::Cpu;
        let unit = UnitCost::plain(Bytes::mib(64), 0.1);
        let model = Model {
            units: [vec![UnitCost { stay: Stay::Pinned, ..unit }], vec![unit; 7]].concat(),
            stored_share: 1.0,
            grounds: Grounds::Steps,
            walks: 1,
            activations: Bytes::ZERO,
        };
        let units = model.units.iter().map(|unit| UnitCost { expanded: unit.bytes, ..*unit }).collect();
        let expanding = Model { units, ..model.clone() };
        let misses = |model: &Model, ask: OffloadAsk| {
            let room = Room { device: cpu, total: Bytes::gib(4), free: Bytes::gib(4), reserve: Bytes::ZERO, committed: Bytes::ZERO };
            let machine = Machine { rooms: vec![room], pace: Pace::assumed(cpu), ..Machine::default() };
            let planned = propose(&ask, cpu, model, &machine).unwrap();
            of_places(&planned, &ask, model, &machine)
        };
        let amount = |text: &str, pins: &str| OffloadAsk {
            virtual_vram: text.parse().unwrap(),
            pins: if pins.is_empty() { crate::placement::Pins::default() } else { pins.parse().unwrap() },
            ..OffloadAsk::default()
        };
        let list = |text: &str| OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
        for (ask, told) in [
            (amount("99GiB", ""), ""),
            (amount("256MiB", ""), ""),
            (amount("256MiB", "cpu,1-5"), "256.0 MiB were to leave cpu, and 128.0 MiB do: what is pinned to cpu stays"),
            (amount("64MiB", ""), ""),
            (list("cpu,320MiB;disk,*"), "cpu was given 320.0 MiB, and weights will take 448.0 MiB: 320.0 MiB stay, and 128.0 MiB is what"),
            (list("cpu,0.0625;disk,*"), "cpu was given 256.0 MiB, and weights will take 384.0 MiB: 256.0 MiB stay, and 128.0 MiB is what"),
            (list("cpu,1KiB;disk,*"), "cpu was given 1.0 KiB, and weights will take 192.0 MiB: 64.0 MiB stay"),
            (list("disk,256MiB;cpu,*"), ""),
            (list("cpu,50%;disk,50%"), ""),
        ] {
            let found = misses(&model, ask).join("\n");
            assert!(if told.is_empty() { found.is_empty() } else { found.starts_with(told) }, "{told}: {found}");
        }
        let found = misses(&expanding, amount("64MiB", "")).join("\n");
        assert!(found.starts_with("64.0 MiB leave cpu, and 128.0 MiB is what they pass through there: it would take less"), "{found}");
    }

    #[test]
    fn the_processor_without_room_for_what_stays_is_named() {
        let unit = UnitCost::plain(Bytes::mib(64), 0.1);
        let (units, walks, activations) = (vec![unit; 8], 1, Bytes::ZERO);
        let model = Model { units, stored_share: 1.0, grounds: Grounds::Steps, walks, activations };
        let told = |device, mib| {
            let room = Room { device, total: Bytes::gib(4), free: Bytes::mib(mib), reserve: Bytes::ZERO, committed: Bytes::ZERO };
            let machine = Machine { rooms: vec![room], pace: Pace::assumed(device), ..Machine::default() };
            let plan = crate::placement::OffloadPlan { compute: device, homes: vec![device; 8] };
            let planned = propose::expect(&plan, &model, &machine, None);
            warnings(&planned, &OffloadAsk::default(), &model, &machine).into_iter().find(|line| line.contains("a run begins"))
        };
        assert!(told(DeviceId::Cpu, 500).unwrap().starts_with("512.0 MiB of weights stay on cpu, which has room for 500.0 MiB"));
        assert_eq!((told(DeviceId::Cpu, 512), told(DeviceId::Sim(0), 500)), (None, None));
    }

    #[test]
    fn a_device_with_less_room_than_was_asked_of_it_is_named() {
        let (here, donor) = (DeviceId::Sim(0), DeviceId::Sim(1));
        let unit = UnitCost::plain(Bytes::mib(1), 0.1);
        let model = Model { units: vec![unit; 8], stored_share: 1.0, grounds: Grounds::Steps, walks: 1, activations: Bytes::ZERO };
        let room = |device, total| Room { device, total, free: total, reserve: Bytes::ZERO, committed: Bytes::ZERO };
        let machine = |donor| {
            let rooms = vec![room(here, Bytes::mib(64)), donor, room(DeviceId::Cpu, Bytes::mib(64))];
            Machine { rooms, pace: Pace::assumed(here), ..Machine::default() }
        };
        let (some, none) = (machine(room(donor, Bytes::mib(2))), machine(room(donor, Bytes::kib(4))));
        let cut_on = |machine: &Machine, text: &str| {
            let ask = OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() };
            let planned = propose(&ask, here, &model, machine).unwrap();
            let is_cut = |line: &String| line.contains("were asked of");
            warnings(&planned, &ask, &model, machine).into_iter().filter(is_cut).collect::<Vec<_>>()
        };
        let cut = |text: &str| cut_on(&some, text);
        let told = |asked: &str, rest: &str| {
            vec![format!(
                "{asked} were asked of sim:1, which has room for 2.0 MiB: what is over goes to {rest}; ask less of sim:1, free some of it, \
                 or give another device a part"
            )]
        };
        assert_eq!(cut("sim:1,6MiB;sim:0,*"), told("6.0 MiB", "sim:0"));
        assert_eq!(cut("sim:1,6MiB;cpu,*"), told("6.0 MiB", "cpu"));
        assert_eq!(cut("sim:1,50%;cpu,*"), told("4.0 MiB", "cpu"));
        assert_eq!(cut("sim:1,75%;cpu,25%"), told("6.0 MiB", "the other devices"));
        for fine in ["sim:1,2MiB;sim:0,*", "sim:1,25%;cpu,*", "sim:0,7MiB;sim:1,6MiB;cpu,*", "sim:1,1.0;cpu,*"] {
            assert_eq!(cut(fine), [""; 0], "{fine}");
        }
        let cuts = cut_on(&none, "sim:1,6MiB;sim:0,*");
        let [told] = &cuts[..] else { panic!("{cuts:?}") };
        assert!(told.starts_with("6.0 MiB were asked of sim:1, which has room for 4.0 KiB:"), "no block has room there: {told}");
    }
}
