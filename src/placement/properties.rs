//! What holds of every plan, whatever the weights, links and budgets.

use proptest::prelude::*;

use super::machine::{Machine, Speed};
use super::planner::{DonorLink, Goal, Planned, Quota, Request, Stay, UnitCost, plan};
use super::propose::{Model, propose, smallest};
use super::shortage::Shortage;
use super::simulate::{Link, Load, Staging, simulate};
use super::sweep::{least_resident, sweep};
use super::{Grounds, OffloadAsk, Pace, Room, VirtualVram};
use crate::units::{Bytes, DeviceId};

const GPU: DeviceId = DeviceId::Cuda(0);
const DONORS: [DeviceId; 4] = [DeviceId::Cpu, DeviceId::Cuda(1), DeviceId::Disk, DeviceId::Cuda(10)];

fn unit() -> impl Strategy<Value = UnitCost> {
    let stay = prop_oneof![1 => Just(Stay::Pinned), 6 => Just(Stay::Movable)];
    // Most are stored as they are computed with, others in any size.
    let stored = prop_oneof![4 => Just(None), 1 => (0u64..120).prop_map(Some)];
    (0u64..60, stored, 0.0..2.0f64, stay).prop_map(|(bytes, stored, seconds, stay)| UnitCost {
        stored: Bytes(stored.unwrap_or(bytes)),
        stay,
        ..UnitCost::plain(Bytes(bytes), seconds)
    })
}

fn donors(most: usize) -> impl Strategy<Value = Vec<DonorLink>> {
    let donor = (0u64..400, 5.0..60.0f64, 0.0..0.1f64);
    prop::collection::vec(donor, 0..=most).prop_map(|list| {
        let link = |(device, (capacity, bytes_per_second, latency_s))| DonorLink {
            device,
            capacity: Bytes(capacity),
            bytes_per_second,
            latency_s,
        };
        DONORS.into_iter().zip(list).map(link).collect()
    })
}

fn goal() -> impl Strategy<Value = Goal> {
    let bytes = || (0u64..900).prop_map(Bytes);
    let quotas = (prop::collection::vec(bytes(), 4), prop::option::of(0usize..4)).prop_map(|(amounts, rest)| {
        let devices = [GPU, DONORS[0], DONORS[1], DONORS[2]];
        let by_device = devices.into_iter().zip(amounts).map(|(device, most)| Quota { device, most }).collect();
        Goal::Quotas { by_device, rest: rest.map(|r| devices[r]) }
    });
    prop_oneof![bytes().prop_map(Goal::Free), bytes().prop_map(Goal::Hold), quotas]
}

fn staging() -> impl Strategy<Value = Staging> {
    prop_oneof![3 => (1u32..4).prop_map(Staging::Slots), 1 => (20u64..300).prop_map(|b| Staging::Ring(Bytes(b))),
        1 => (20u64..300).prop_map(|b| Staging::Flowing(Bytes(b)))]
}

/// A unit that may also be told where to live.
fn told() -> impl Strategy<Value = UnitCost> {
    let device = prop_oneof![6 => Just(None), 1 => (0usize..3).prop_map(Some)];
    (unit(), device).prop_map(|(unit, device)| match device {
        Some(at) => UnitCost { stay: Stay::At(DONORS[at]), ..unit },
        None => unit,
    })
}

fn request(units: usize, most_donors: usize) -> impl Strategy<Value = Request> {
    of_units(unit(), units, most_donors)
}

fn of_units(unit: impl Strategy<Value = UnitCost>, units: usize, most_donors: usize) -> impl Strategy<Value = Request> {
    (prop::collection::vec(unit, 0..=units), goal(), staging(), donors(most_donors)).prop_map(|(units, goal, staging, donors)| Request {
        compute: GPU,
        units,
        goal,
        staging,
        donors,
        calibrated: false,
    })
}

fn held(request: &Request, homes: &[DeviceId], device: DeviceId) -> Bytes {
    request.units.iter().zip(homes).filter(|(_, h)| **h == device).map(|(u, _)| u.bytes).sum()
}

/// What lies on a device: donors hold units as they are stored.
fn kept(request: &Request, homes: &[DeviceId], device: DeviceId) -> Bytes {
    let size = |u: &UnitCost| if device == GPU { u.bytes } else { u.stored };
    request.units.iter().zip(homes).filter(|(_, h)| **h == device).map(|(u, _)| size(u)).sum()
}

fn total(request: &Request) -> Bytes {
    request.units.iter().map(|u| u.bytes).sum()
}

/// The budgets, read off the request anew.
fn keeps_budgets(request: &Request, homes: &[DeviceId]) -> bool {
    let away = |u: &UnitCost, h: DeviceId| h != GPU && (u.stay == Stay::Pinned || !request.staging.passes(u.bytes));
    if request.units.iter().zip(homes).any(|(u, h)| matches!(u.stay, Stay::At(device) if device != *h)) {
        return false;
    }
    if request.units.iter().zip(homes).any(|(u, h)| away(u, *h)) {
        return false;
    }
    if request.donors.iter().any(|d| kept(request, homes, d.device) > d.capacity) {
        return false;
    }
    let stays = held(request, homes, GPU);
    let streamed: Vec<Bytes> = request.units.iter().zip(homes).filter(|(_, h)| **h != GPU).map(|(u, _)| u.bytes).collect();
    let movable: Bytes = request.units.iter().filter(|u| u.stay != Stay::Pinned).map(|u| u.bytes).sum();
    match &request.goal {
        Goal::Free(bytes) => streamed.iter().copied().sum::<Bytes>() >= (*bytes).min(movable),
        Goal::Hold(most) => stays + request.staging.bytes(streamed.iter().max().copied()) <= *most,
        Goal::Quotas { by_device, rest } => DONORS.into_iter().chain([GPU]).all(|device| {
            let most = by_device.iter().find(|q| q.device == device).map_or(Bytes::ZERO, |q| q.most);
            *rest == Some(device) || kept(request, homes, device) <= most
        }),
    }
}

/// Whether any placement at all keeps the budgets.
fn possible(request: &Request) -> bool {
    let seats: Vec<DeviceId> = std::iter::once(GPU).chain(request.donors.iter().map(|d| d.device)).collect();
    let all = seats.len().pow(u32::try_from(request.units.len()).unwrap());
    (0..all).any(|mut code| {
        let homes: Vec<DeviceId> = request
            .units
            .iter()
            .map(|_| {
                let seat = seats[code % seats.len()];
                code /= seats.len();
                seat
            })
            .collect();
        keeps_budgets(request, &homes)
    })
}

fn timed(request: &Request, homes: &[DeviceId]) -> f64 {
    let link = |home: &DeviceId| request.donors.iter().position(|d| d.device == *home);
    let loads: Vec<Load> =
        request.units.iter().zip(homes).map(|(u, h)| Load { bytes: u.bytes, seconds: u.seconds, link: link(h) }).collect();
    let links: Vec<Link> = request.donors.iter().map(|d| Link { bytes_per_second: d.bytes_per_second, latency_s: d.latency_s }).collect();
    simulate(&loads, &links, request.staging).step_s
}

/// What stays when units are taken in `order` as long as they fit, the rest on the one donor.
fn filled(request: &Request, order: impl Iterator<Item = usize>, budget: Bytes) -> Vec<DeviceId> {
    let mut homes: Vec<DeviceId> = request.units.iter().map(|u| if u.stay == Stay::Pinned { GPU } else { DeviceId::Cpu }).collect();
    let mut left = budget;
    for i in order.filter(|&i| request.units[i].stay == Stay::Movable) {
        if request.units[i].bytes <= left {
            left = left - request.units[i].bytes;
            homes[i] = GPU;
        }
    }
    homes
}

fn check(request: &Request, planned: &Planned) -> Result<(), TestCaseError> {
    let homes = &planned.plan.homes;
    prop_assert_eq!(homes.len(), request.units.len());
    prop_assert!(keeps_budgets(request, homes), "{:?}", homes);
    let streamed: Bytes = planned.predicted.links.iter().map(|l| l.streamed).sum();
    prop_assert_eq!(streamed, planned.predicted.streamed);
    prop_assert_eq!(streamed + held(request, homes, GPU), total(request), "bytes are conserved");
    let Predicted { step, lower, upper } =
        Predicted { step: planned.predicted.step_s, lower: planned.predicted.lower_s, upper: planned.predicted.upper_s };
    prop_assert!(step >= lower * (1.0 - 1e-9) && step <= upper * (1.0 + 1e-9), "{lower} {step} {upper}");
    Ok(())
}

struct Predicted {
    step: f64,
    lower: f64,
    upper: f64,
}

proptest! {
    #[test]
    fn plans_keep_budgets_and_are_the_same_every_time(request in of_units(told(), 14, 4)) {
        let found = plan(&request);
        prop_assert_eq!(&found, &plan(&request));
        if let Ok(planned) = &found {
            check(&request, planned)?;
        }
    }

    #[test]
    fn a_shortage_is_real(request in of_units(told(), 6, 3)) {
        match plan(&request) {
            Ok(planned) => check(&request, &planned)?,
            Err(Shortage::Unmeasured { .. }) => prop_assert!(false, "all links are measured"),
            Err(shortage) => {
                prop_assert!(!possible(&request), "{shortage}");
                prop_assert!(shortage.missing() > Bytes::ZERO, "{shortage}");
            }
        }
    }

    #[test]
    fn no_simple_set_is_faster(mut request in request(24, 1), percent in 0u64..=100) {
        request.staging = Staging::Slots(2);
        request.donors = vec![DonorLink { device: DeviceId::Cpu, capacity: Bytes(u64::MAX), bytes_per_second: 20.0, latency_s: 0.0 }];
        let movable: u64 = request.units.iter().filter(|u| u.stay == Stay::Movable).map(|u| u.bytes.get()).sum();
        let stays = movable * percent / 100;
        request.goal = Goal::Free(Bytes(movable - stays));
        let planned = plan(&request).unwrap();
        let n = request.units.len();
        // The original walks from the tail; names decide whether the compute device or the donor comes first, and
        // the processor comes last.
        let tail = filled(&request, (0..n).rev(), Bytes(stays));
        let forth = filled(&request, 0..n, Bytes(stays));
        let end = forth.iter().position(|h| *h != GPU).unwrap_or(n);
        let mut head = forth.clone();
        for (i, home) in head.iter_mut().enumerate().skip(end) {
            *home = if request.units[i].stay == Stay::Pinned { GPU } else { DeviceId::Cpu };
        }
        for homes in [tail, head] {
            prop_assert!(planned.predicted.step_s <= timed(&request, &homes) * (1.0 + 1e-9));
        }
    }

    #[test]
    fn equal_blocks_on_one_link_stream_at_even_places(n in 1usize..60, percent in 0usize..=100, x in 0.1..4.0f64, slots in 2u32..4) {
        let m = (n * percent / 100).max(1);
        let request = Request {
            compute: GPU,
            units: vec![UnitCost::plain(Bytes(1 << 20), 1.0); n],
            goal: Goal::Free(Bytes((m as u64) << 20)),
            staging: Staging::Slots(slots),
            donors: vec![DonorLink { device: DeviceId::Cpu, capacity: Bytes(u64::MAX), bytes_per_second: f64::from(1 << 20) / x, latency_s: 0.0 }],
            calibrated: false,
        };
        let homes = plan(&request).unwrap().plan.homes;
        let away: Vec<usize> = (0..n).filter(|&i| homes[i] != GPU).collect();
        prop_assert_eq!(away, (0..m).map(|j| (2 * j + 1) * n / (2 * m)).collect::<Vec<_>>());
    }

    #[test]
    fn the_smallest_budget_fits_and_a_byte_less_does_not(
        request in request(14, 0),
        free in 0u64..600,
        is_measured in any::<bool>(),
    ) {
        let room = |device, bytes| Room { device, total: Bytes(bytes), free: Bytes(bytes), reserve: Bytes::ZERO, committed: Bytes::ZERO };
        let speed = Speed { flops: 0.0, bytes_per_second: 20.0, measured: is_measured };
        let rooms = vec![room(GPU, free), room(DeviceId::Cpu, u64::MAX)];
        let machine = Machine { rooms, speeds: vec![(DeviceId::Cpu, speed)], pace: Pace::assumed(GPU), latencies: Vec::new() };
        // Stored as it is computed with.
        let units = request.units.iter().map(|unit| UnitCost { stored: unit.bytes, ..*unit }).collect();
        let grounds = Grounds::Steps;
        let model = Model { units, stored_share: 1.0, grounds, walks: 1, activations: Bytes::ZERO };
        let placed = |bytes| {
            let ask = OffloadAsk { virtual_vram: VirtualVram::AtLeast(Bytes(bytes)), ..OffloadAsk::default() };
            propose(&ask, GPU, &model, &machine)
        };
        let nothing = OffloadAsk::default();
        if let Ok(least) = smallest(&nothing, GPU, &model, &machine) {
            let planned = placed(least.get()).unwrap();
            prop_assert!(held(&request, &planned.plan.homes, GPU) + planned.staging <= Bytes(free));
            prop_assert!(least == Bytes::ZERO || placed(least.get() - 1).is_err(), "{least} is not the least");
            let largest = request.units.iter().map(|u| u.bytes).max().unwrap_or_default();
            prop_assert!(least <= total(&request).saturating_sub(Bytes(free)) + largest + largest, "two of any block fit");
        } else {
            prop_assert!(placed(total(&request).get()).is_err());
        }
        let donor = DonorLink { device: DeviceId::Cpu, capacity: Bytes(u64::MAX), bytes_per_second: 20.0, latency_s: 0.0 };
        let request = Request { donors: vec![donor], staging: Staging::Slots(2), ..request };
        let least = least_resident(&request);
        let compute_s: f64 = request.units.iter().map(|u| u.seconds).sum();
        let pinned: Bytes = request.units.iter().filter(|u| u.stay == Stay::Pinned).map(|u| u.bytes).sum();
        prop_assert!(least >= pinned && least <= total(&request));
        prop_assert!(least == pinned || (total(&request) - least).get() as f64 <= 20.0 * compute_s);
    }

    #[test]
    fn freeing_more_never_predicts_a_shorter_step(request in request(14, 3)) {
        let curve = sweep(&request, 20);
        prop_assert!(curve.windows(2).all(|w| w[0].step_s <= w[1].step_s && w[0].freed <= w[1].freed));
        prop_assert!(curve.iter().all(|p| p.lower_s <= p.step_s * (1.0 + 1e-9)));
    }
}
