//! From what is asked and what there is, to how much of a model each device may hold.
//!
//! Bytes are whole and exact; nothing is placed yet. What a device cannot take goes to the next donor, and where
//! there is none, that is an error that names the missing bytes: nothing ever stays on the device that computes
//! because there was no better place for it.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::ask::{OffloadAsk, VirtualVram};
use super::decimal::{Decimal, part_of};
use super::error::BudgetError;
use super::expression::{Allocation, Listed, Parts};
use crate::units::{Bytes, DeviceId};

/// Left free on a GPU, whatever its size: what other processes and the allocator's fragments take on a headless
/// Linux box. ComfyUI's `model_management.py` keeps 400 MiB, for desktops, too.
pub const GPU_RESERVE: Bytes = Bytes::mib(256);

/// Left free on a GPU, in percent of it: fragments grow with what is allocated.
pub const GPU_RESERVE_PERCENT: u64 = 3;

/// Left free of the host's memory, whatever its size, so that the system need not end processes.
pub const HOST_RESERVE: Bytes = Bytes::gib(2);

/// Left free of the host's memory, in percent of it: the page cache from which weights are read.
pub const HOST_RESERVE_PERCENT: u64 = 10;

/// Returns how much of a device of this size stays free when nobody says otherwise.
#[must_use]
pub fn usual_reserve(device: DeviceId, total: Bytes) -> Bytes {
    let (least, percent) = match device {
        DeviceId::Cuda(_) | DeviceId::Amd(_) => (GPU_RESERVE, GPU_RESERVE_PERCENT),
        // Activations are not in simulated memory; whole pages and alignment are, and blocks are planned without.
        DeviceId::Sim(_) => (Bytes::ZERO, GPU_RESERVE_PERCENT),
        DeviceId::Cpu => (HOST_RESERVE, HOST_RESERVE_PERCENT),
        // The weights lie there already.
        DeviceId::Disk => return Bytes::ZERO,
    };
    // On a small host, or in a small container, what others need is smaller, too.
    least.min(Bytes(total.get() / RESERVE_AT_MOST)).max(Bytes(total.get() / 100 * percent))
}

/// Whatever must stay free is no more than this part of the device: a quarter.
const RESERVE_AT_MOST: u64 = 4;

/// Free memory below which a run gives weights back, on a GPU: as much as plans leave.
pub const GPU_MARGIN_PERCENT: u64 = GPU_RESERVE_PERCENT;

/// The same on the host, in percent of its memory: half of what plans leave, so that a run that gave weights back takes them
/// again when a plan would place them. It is also where earlyoom (its manual, `-m`) kills; it warns at twice as much.
pub const HOST_MARGIN_PERCENT: u64 = 5;

/// The same on the host, whatever its size: the kernel's own watermarks are tens of MiB, and a step takes more at once.
pub const HOST_MARGIN: Bytes = Bytes::mib(128);

/// Returns how much of a device of this size must be free between two steps: with less, a run gives weights back.
#[must_use]
pub fn margin(device: DeviceId, total: Bytes) -> Bytes {
    let (least, percent) = match device {
        DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) => (GPU_RESERVE, GPU_MARGIN_PERCENT),
        DeviceId::Cpu => (HOST_MARGIN, HOST_MARGIN_PERCENT),
        // Nothing is computed there.
        DeviceId::Disk => return Bytes::ZERO,
    };
    least.max(Bytes(total.get() / 100 * percent))
}

/// What is known about a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The device.
    pub device: DeviceId,
    /// All of it.
    pub total: Bytes,
    /// What nobody uses.
    pub free: Bytes,
    /// What must stay free: activations, other processes.
    pub reserve: Bytes,
    /// What is promised to others, and not yet used.
    pub committed: Bytes,
}

impl Room {
    /// Returns what weights may take.
    #[must_use]
    pub fn capacity(&self) -> Bytes {
        self.free.saturating_sub(self.reserve).saturating_sub(self.committed)
    }
}

/// A model's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// All of them.
    pub total: Bytes,
    /// Those among them that never leave the device that computes.
    pub fixed: Bytes,
    /// Those among them that must live elsewhere.
    pub away: Bytes,
    /// What donors hold of them.
    pub stored: AsStored,
}

/// The size of weights where they are computed with, beside what a donor takes for them: it keeps them as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsStored {
    /// Where they are computed with.
    pub computed: Bytes,
    /// The same as stored.
    pub stored: Bytes,
}

impl AsStored {
    /// What is stored as it is computed with.
    pub const SAME: Self = Self { computed: Bytes(1), stored: Bytes(1) };

    /// Orders sizes by the room that they take on a donor for what they are, the least first.
    #[must_use]
    pub fn by_density(&self, other: &Self) -> Ordering {
        let product = |a: Bytes, b: Bytes| u128::from(a.get()) * u128::from(b.get());
        product(self.stored, other.computed).cmp(&product(other.stored, self.computed))
    }

    /// Returns what weights that take so much where they are stored take where they are computed with.
    #[must_use]
    pub fn computed(self, stored: Bytes) -> Bytes {
        part_of(stored, u128::from(self.computed.get()), u128::from(self.stored.get().max(1)))
    }

    /// Returns what weights that take so much where they are computed with take where they are stored.
    #[must_use]
    pub fn stored(self, computed: Bytes) -> Bytes {
        let product = u128::from(computed.get()) * u128::from(self.stored.get());
        Bytes(u64::try_from(product.div_ceil(u128::from(self.computed.get().max(1)))).unwrap_or(u64::MAX))
    }
}

/// A device's part of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The device.
    pub device: DeviceId,
    /// What it is to hold; the model is the sum of these.
    pub wanted: Bytes,
    /// The most it may hold, where whole blocks do not come out even.
    pub most: Bytes,
    /// The same as it lies there: a donor holds weights as they are stored.
    pub held: Bytes,
}

/// Each device's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// The part of the device that computes.
    pub compute: Quota,
    /// The others' parts, in the order in which they are to be filled.
    pub donors: Vec<Quota>,
    /// What must leave the device that computes, at least.
    pub leaving: Bytes,
    /// What a list asked of devices that have less room.
    pub cut: Vec<Cut>,
}

/// A device that has less room than was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The device.
    pub device: DeviceId,
    /// What was asked of it, as it would lie there.
    pub asked: Bytes,
    /// What it has room for.
    pub room: Bytes,
    /// Who takes what it cannot; the others of the list where nobody is named.
    pub rest: Option<DeviceId>,
}

/// Works out each device's part. `rooms` are all devices of the machine; a disk without a room takes any number of
/// bytes, for a model's file is on one already.
pub fn quotas(ask: &OffloadAsk, compute: DeviceId, load: Load, rooms: &[Room]) -> Result<Quotas, BudgetError> {
    ask.check(compute)?;
    let bench = Bench { compute, load, rooms };
    bench.fits_compute(load.fixed.min(load.total))?;
    match &ask.expert {
        Some(Allocation::Listed(listed)) => bench.by_list(listed),
        Some(Allocation::Auto) => bench.relieved(ask, bench.overflow()?),
        None => match ask.virtual_vram {
            VirtualVram::None => bench.relieved(ask, Bytes::ZERO),
            VirtualVram::Auto => bench.relieved(ask, bench.overflow()?),
            VirtualVram::AtLeast(bytes) => bench.relieved(ask, bytes.min(bench.movable())),
        },
    }
}

/// Returns the bytes that a list gives a device; nothing where it gives it a share of the model, or the rest.
#[must_use]
pub fn given_bytes(listed: &Listed, device: DeviceId, rooms: &[Room]) -> Option<Bytes> {
    match listed.parts() {
        Parts::Bytes(parts) => parts.iter().find(|(to, _)| *to == device).map(|(_, bytes)| *bytes),
        Parts::Fractions(parts) => {
            let (_, share) = parts.iter().find(|(to, _)| *to == device)?;
            let room = rooms.iter().find(|room| room.device == device)?;
            Some(share.share_of(room.total, u128::from(Decimal::ONE.get())))
        }
        Parts::Percents(_) => None,
    }
}

/// Returns who may take weights of an ask for an amount, with all that they have room for, whatever the amount is.
pub fn all_of(ask: &OffloadAsk, compute: DeviceId, load: Load, rooms: &[Room]) -> Result<Vec<Quota>, BudgetError> {
    ask.check(compute)?;
    let bench = Bench { compute, load, rooms };
    bench.fits_compute(load.fixed.min(load.total))?;
    bench.takers(ask).into_iter().map(|device| bench.given(device, None)).collect()
}

/// What the parts are worked out from.
struct Bench<'a> {
    compute: DeviceId,
    load: Load,
    rooms: &'a [Room],
}

impl Bench<'_> {
    fn room(&self, device: DeviceId) -> Result<Room, BudgetError> {
        let known = self.rooms.iter().copied().find(|r| r.device == device);
        match device {
            DeviceId::Disk => Ok(known.unwrap_or(Room {
                device,
                total: Bytes(u64::MAX),
                free: Bytes(u64::MAX),
                reserve: Bytes::ZERO,
                committed: Bytes::ZERO,
            })),
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) | DeviceId::Cpu => known.ok_or(BudgetError::Absent { device }),
        }
    }

    /// What of this model a device has room for.
    fn capacity(&self, device: DeviceId) -> Result<Bytes, BudgetError> {
        Ok(self.computed(device, self.room(device)?.capacity()).min(self.load.total))
    }

    /// What weights that take so much of a device take where they are computed with.
    fn computed(&self, device: DeviceId, bytes: Bytes) -> Bytes {
        if device == self.compute { bytes } else { self.load.stored.computed(bytes) }
    }

    /// What a device is to hold that was given so many of its bytes, or all that it has.
    fn given(&self, device: DeviceId, bytes: Option<Bytes>) -> Result<Quota, BudgetError> {
        let room = self.room(device)?.capacity();
        let most = bytes.map_or(self.load.total, |bytes| self.computed(device, bytes));
        Ok(Quota {
            device,
            wanted: bytes.map_or(Bytes::ZERO, |bytes| self.computed(device, bytes)),
            most: self.capacity(device)?.min(most),
            held: bytes.map_or(room, |bytes| bytes.min(room)),
        })
    }

    fn movable(&self) -> Bytes {
        self.load.total.saturating_sub(self.load.fixed)
    }

    fn overflow(&self) -> Result<Bytes, BudgetError> {
        Ok(self.load.total.saturating_sub(self.capacity(self.compute)?))
    }

    fn fits_compute(&self, needed: Bytes) -> Result<(), BudgetError> {
        let capacity = self.room(self.compute)?.capacity();
        let missing = needed.saturating_sub(capacity);
        let fixed = self.load.fixed.min(self.load.total);
        if missing == Bytes::ZERO { Ok(()) } else { Err(BudgetError::Compute { device: self.compute, needed, fixed, capacity, missing }) }
    }

    /// So many bytes leave, to each donor in turn what it has room for.
    fn relieved(&self, ask: &OffloadAsk, leaving: Bytes) -> Result<Quotas, BudgetError> {
        let leaving = leaving.max(self.load.away);
        let stays = self.load.total.saturating_sub(leaving);
        self.fits_compute(stays)?;
        let names = if leaving == Bytes::ZERO { Vec::new() } else { self.takers(ask) };
        let mut donors = Vec::with_capacity(names.len());
        let mut rest = leaving;
        for device in names {
            let quota = self.given(device, None)?;
            let wanted = rest.min(quota.most);
            rest = rest.saturating_sub(wanted);
            donors.push(Quota { wanted, ..quota });
        }
        self.nothing_left(&donors, leaving, rest)?;
        let compute = Quota { device: self.compute, wanted: stays, most: stays, held: stays };
        Ok(Quotas { compute, donors, leaving, cut: Vec::new() })
    }

    /// Who is named, and who is pinned to.
    fn takers(&self, ask: &OffloadAsk) -> Vec<DeviceId> {
        let mut names = ask.donors_of(self.compute);
        names.extend(ask.pins.devices().into_iter().filter(|d| *d != self.compute && !names.contains(d)).collect::<Vec<_>>());
        names
    }

    fn nothing_left(&self, donors: &[Quota], needed: Bytes, missing: Bytes) -> Result<(), BudgetError> {
        if missing == Bytes::ZERO {
            return Ok(());
        }
        let devices = donors.iter().map(|q| q.device).collect();
        // As it would lie there, for what there is room for is known so.
        let [needed, missing] = [needed, missing].map(|bytes| self.load.stored.stored(bytes));
        Err(BudgetError::Donors { compute: self.compute, devices, needed, taken: needed.saturating_sub(missing), missing })
    }

    /// Each device as listed; what never moves is charged to the device that computes before anything else.
    fn by_list(&self, listed: &Listed) -> Result<Quotas, BudgetError> {
        let mut donors = self.asked(listed)?;
        let here = donors.iter().position(|q| q.device == self.compute).map(|at| donors.remove(at));
        let takes_rest = listed.rest() == Some(self.compute);
        let mut compute = here.unwrap_or(Quota { device: self.compute, wanted: Bytes::ZERO, most: Bytes::ZERO, held: Bytes::ZERO });
        let mut cut = Vec::new();
        let mut cut_to = |quota: &Quota, meant: Bytes| {
            let lacks = meant > quota.most;
            cut.extend(lacks.then(|| self.cut(listed, quota, meant)));
            meant.min(quota.most)
        };
        if takes_rest {
            compute.most = self.capacity(self.compute)?;
        }
        compute.wanted = cut_to(&compute, compute.wanted.min(self.load.total)).max(self.load.fixed);
        // A share of the model is a budget, too: where blocks do not come out even, others hold more of them.
        compute.most = if takes_rest { compute.most.max(self.load.fixed) } else { compute.wanted };
        let mut rest = self.load.total.saturating_sub(compute.wanted);
        for quota in &mut donors {
            quota.wanted = cut_to(quota, quota.wanted.min(rest));
            rest = rest.saturating_sub(quota.wanted);
        }
        for quota in &mut donors {
            let more = match (listed.parts(), listed.rest()) {
                // Without a device for the rest, shares are goals: what one cannot hold is the next one's.
                (Parts::Percents(_), None) => rest.min(quota.most.saturating_sub(quota.wanted)),
                (_, Some(device)) if device == quota.device => rest.min(quota.most),
                (Parts::Bytes(_) | Parts::Percents(_) | Parts::Fractions(_), _) => Bytes::ZERO,
            };
            quota.wanted += more;
            rest = rest.saturating_sub(more);
        }
        if takes_rest {
            compute.wanted += rest;
            rest = Bytes::ZERO;
            self.fits_compute(compute.wanted)?;
        }
        let leaving = self.load.total.saturating_sub(compute.wanted);
        self.nothing_left(&donors, leaving, rest)?;
        compute.held = compute.most;
        Ok(Quotas { compute, donors, leaving, cut })
    }

    /// Says of a device that it has less room than it was asked for; of both as it lies there.
    fn cut(&self, listed: &Listed, quota: &Quota, meant: Bytes) -> Cut {
        let lies = |bytes| if quota.device == self.compute { bytes } else { self.load.stored.stored(bytes) };
        let asked = given_bytes(listed, quota.device, self.rooms);
        Cut { device: quota.device, asked: asked.unwrap_or(lies(meant)), room: quota.held, rest: listed.rest() }
    }

    /// What the list says of each device, and what it has room for; the device that takes the rest comes last, with nothing.
    fn asked(&self, listed: &Listed) -> Result<Vec<Quota>, BudgetError> {
        let mut quotas = Vec::new();
        let one = u128::from(Decimal::ONE.get());
        match listed.parts() {
            Parts::Bytes(parts) => {
                for (device, bytes) in parts {
                    quotas.push(self.given(*device, Some(*bytes))?);
                }
            }
            Parts::Fractions(parts) => {
                for (device, share) in parts {
                    let bytes = share.share_of(self.room(*device)?.total, one);
                    quotas.push(self.given(*device, Some(bytes))?);
                }
            }
            Parts::Percents(parts) => {
                let sum: u128 = parts.iter().map(|(_, share)| u128::from(share.get())).sum();
                let all = if listed.rest().is_some() { u128::from(Decimal::HUNDRED.get()) } else { sum };
                let (mut shares, mut before) = (0u128, Bytes::ZERO);
                for (device, share) in parts {
                    // Rounded sums, not rounded parts, so that the parts add up to the model.
                    shares += u128::from(share.get());
                    let until = part_of(self.load.total, shares, all);
                    quotas.push(Quota { wanted: until.saturating_sub(before), ..self.given(*device, None)? });
                    before = until;
                }
            }
        }
        if let Some(device) = listed.rest().filter(|device| *device != self.compute) {
            quotas.push(self.given(device, None)?);
        }
        Ok(quotas)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GPU: DeviceId = DeviceId::Cuda(0);

    fn room(device: DeviceId, gib: u64) -> Room {
        let total = Bytes::gib(gib);
        Room { device, total, free: total, reserve: Bytes::ZERO, committed: Bytes::ZERO }
    }

    fn machine() -> Vec<Room> {
        vec![room(GPU, 8), room(DeviceId::Cuda(1), 4), room(DeviceId::Cpu, 64)]
    }

    #[test]
    fn what_never_leaves_is_not_asked_to_leave() {
        let hint = |fixed: u64, ask: &OffloadAsk| {
            let load = Load { total: Bytes::gib(12), fixed: Bytes::gib(fixed), away: Bytes::ZERO, stored: AsStored::SAME };
            quotas(ask, GPU, load, &machine()).unwrap_err().hint()
        };
        let free = "free 1073741824 bytes of cuda:0, or compute on another device: what lies in no block never leaves it";
        assert_eq!(hint(9, &vram("auto", &[])), free);
        assert_eq!(hint(9, &vram("1GiB", &[])), free);
        assert_eq!(hint(0, &vram("1GiB", &[])), "let 3221225472 bytes more leave it, or let virtual VRAM be `auto`");
    }

    fn expert(text: &str) -> OffloadAsk {
        OffloadAsk { expert: Some(text.parse().unwrap()), ..OffloadAsk::default() }
    }

    fn vram(amount: &str, donors: &[&str]) -> OffloadAsk {
        let donors = donors.iter().map(|d| d.parse().unwrap()).collect();
        OffloadAsk { virtual_vram: amount.parse().unwrap(), donors, ..OffloadAsk::default() }
    }

    /// Eight gibibytes of model: what each device is to hold, in MiB.
    #[track_caller]
    fn check(ask: &OffloadAsk, rooms: &[Room], expected: &str) {
        let load = Load { total: Bytes::gib(8), fixed: Bytes::ZERO, away: Bytes::ZERO, stored: AsStored::SAME };
        let shown = match quotas(ask, GPU, load, rooms) {
            Ok(quotas) => {
                let all = std::iter::once(&quotas.compute).chain(&quotas.donors);
                all.map(|q| format!("{} {}", q.device, q.wanted.get() >> 20)).collect::<Vec<_>>().join(", ")
            }
            Err(error) => {
                assert!(!error.hint().is_empty());
                error.to_string()
            }
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn virtual_vram_leaves_for_the_donors_in_their_order() {
        check(&vram("0", &[]), &machine(), "cuda:0 8192");
        check(&vram("4gb", &["cpu"]), &machine(), "cuda:0 4096, cpu 4096");
        check(&vram("0.5gb", &["cpu"]), &machine(), "cuda:0 7680, cpu 512");
        check(&vram("99gb", &[]), &machine(), "cuda:0 0, cpu 8192");
        check(&vram("6gb", &["cuda:1", "cpu"]), &machine(), "cuda:0 2048, cuda:1 4096, cpu 2048");
        check(&vram("6gb", &["cpu", "cuda:1"]), &machine(), "cuda:0 2048, cpu 6144, cuda:1 0");
        check(&vram("auto", &["disk"]), &machine(), "cuda:0 8192");
        check(&vram("auto", &["disk"]), &[room(GPU, 5)], "cuda:0 5120, disk 3072");
    }

    #[test]
    fn what_has_no_place_is_named_to_the_byte() {
        let little = "6.0 GiB of weights leave cuda:0, but cuda:1 can take only 4.0 GiB: 2147483648 bytes are missing";
        check(&vram("6gb", &["cuda:1"]), &machine(), little);
        let small = [room(GPU, 4), room(DeviceId::Cpu, 64)];
        check(&vram("0", &[]), &small, "8.0 GiB of weights stay on cuda:0, which has room for 4.0 GiB: 4294967296 bytes are missing");
        check(&vram("2gb", &[]), &small, "6.0 GiB of weights stay on cuda:0, which has room for 4.0 GiB: 2147483648 bytes are missing");
        check(&vram("2gb", &["cuda:7"]), &machine(), "there is no device cuda:7 here");
        let no_rest = "6.0 GiB of weights leave cuda:0, but other devices can take only 0 B: 6442450944 bytes are missing";
        check(&expert("cuda:0,2gb"), &machine(), no_rest);
    }

    #[test]
    fn a_list_gives_each_device_what_it_says() {
        check(&expert("cuda:0,3gb;cpu,*"), &machine(), "cuda:0 3072, cpu 5120");
        check(&expert("cuda:0,500mb;cuda:1,3.0g;cpu,*"), &machine(), "cuda:0 500, cuda:1 3072, cpu 4620");
        check(&expert("cuda:0,1tb;cpu,*"), &machine(), "cuda:0 8192, cpu 0");
        check(&expert("cuda:0,1tb;cpu,*"), &[room(GPU, 3), room(DeviceId::Cpu, 64)], "cuda:0 3072, cpu 5120");
        check(&expert("cuda:1,6gb;cuda:0,*"), &machine(), "cuda:0 4096, cuda:1 4096");
        check(&expert("cuda:0,50%;cpu,*"), &machine(), "cuda:0 4096, cpu 4096");
        check(&expert("cuda:0,8%;cuda:1,8%;cpu,4%"), &machine(), "cuda:0 3276, cuda:1 3276, cpu 1638");
        check(&expert("cuda:1,75%;cpu,25%"), &machine(), "cuda:0 0, cuda:1 4096, cpu 4096");
        check(&expert("cuda:0,0.5;cpu,0.1"), &machine(), "cuda:0 4096, cpu 4096");
        check(&expert("auto"), &[room(GPU, 5), room(DeviceId::Cpu, 64)], "cuda:0 5120, cpu 3072");
        let fractions = "6.0 GiB of weights leave cuda:0, but cpu can take only 655.4 MiB: 5755256177 bytes are missing";
        check(&expert("cuda:0,0.25;cpu,0.01"), &machine(), fractions);
    }

    #[test]
    fn the_device_that_computes_holds_no_more_than_was_listed() {
        let load = Load { total: Bytes::gib(8), fixed: Bytes::ZERO, away: Bytes::ZERO, stored: AsStored::SAME };
        for text in ["cuda:0,50%;cpu,*", "cuda:0,50%;cpu,50%", "cuda:0,4gb;cpu,*", "cuda:0,0.5;cpu,*"] {
            assert_eq!(quotas(&expert(text), GPU, load, &machine()).unwrap().compute.most, Bytes::gib(4), "{text}");
        }
    }

    #[test]
    fn what_never_moves_is_charged_first() {
        let load = Load { total: Bytes::gib(8), fixed: Bytes::gib(1), away: Bytes::ZERO, stored: AsStored::SAME };
        let of = |ask: &OffloadAsk| quotas(ask, GPU, load, &machine()).unwrap();
        assert_eq!((of(&vram("99gb", &[])).compute.wanted, of(&vram("99gb", &[])).leaving), (Bytes::gib(1), Bytes::gib(7)));
        assert_eq!(of(&expert("cuda:0,100mb;cpu,*")).compute.most, Bytes::gib(1));
        assert_eq!(of(&expert("cpu,*")).compute.wanted, Bytes::gib(1));
        let rooms = [Room { committed: Bytes::mib(7500), ..room(GPU, 8) }, room(DeviceId::Cpu, 64)];
        let error = quotas(&vram("99gb", &[]), GPU, load, &rooms).unwrap_err();
        assert_eq!(error.missing(), Some(Bytes::mib(332)));
    }

    #[test]
    fn what_is_reserved_or_promised_is_no_room() {
        let room = Room { reserve: Bytes::gib(1), committed: Bytes::gib(2), free: Bytes::gib(5), ..room(GPU, 8) };
        assert_eq!(room.capacity(), Bytes::gib(2));
        assert_eq!(Room { committed: Bytes::gib(9), ..room }.capacity(), Bytes::ZERO);
        assert_eq!(usual_reserve(GPU, Bytes::gib(4)), Bytes::mib(256));
        assert_eq!(usual_reserve(GPU, Bytes::gib(100)), Bytes::gib(3));
        assert_eq!(usual_reserve(DeviceId::Cpu, Bytes::gib(100)), Bytes::gib(10));
        assert_eq!(usual_reserve(DeviceId::Cpu, Bytes::gib(12)), Bytes::gib(2));
        assert_eq!(usual_reserve(DeviceId::Cpu, Bytes::gib(4)), Bytes::gib(1));
        assert_eq!(usual_reserve(DeviceId::Disk, Bytes::gib(4)), Bytes::ZERO);
        assert_eq!(margin(GPU, Bytes::gib(4)), usual_reserve(GPU, Bytes::gib(4)));
        assert_eq!((margin(DeviceId::Cpu, Bytes::gib(100)), margin(DeviceId::Cpu, Bytes::gib(1))), (Bytes::gib(5), Bytes::mib(128)));
    }

    fn asks() -> impl Strategy<Value = OffloadAsk> {
        let lists = "((cuda:0|cuda:1|cpu|disk),[0-9]{1,2}gb;)?(sim:0|cuda:1),([0-9]gb|\\*)|(cuda:0|cpu),[1-9]%;cuda:1,[1-9]%(;(disk|sim:0),\\*)?|cuda:0,0\\.[0-9];cpu,0\\.[0-9]|auto|(cuda:0|cpu|disk),\\*";
        let donors = prop::sample::subsequence(vec![DeviceId::Cuda(1), DeviceId::Cpu, DeviceId::Disk], 0..=3).prop_shuffle();
        let virtual_vram = prop_oneof![
            Just(VirtualVram::Auto),
            Just(VirtualVram::None),
            (1..20_000_000_000u64).prop_map(|n| VirtualVram::AtLeast(Bytes(n)))
        ];
        prop_oneof![
            (virtual_vram, donors).prop_map(|(virtual_vram, donors)| OffloadAsk { virtual_vram, donors, ..OffloadAsk::default() }),
            lists.prop_filter_map("a list", |text| Some(OffloadAsk { expert: Some(text.parse().ok()?), ..OffloadAsk::default() })),
        ]
    }

    fn rooms() -> impl Strategy<Value = Vec<Room>> {
        let sizes = prop::collection::vec((0..12_000_000_000u64, 0..12_000_000_000u64, 0..2_000_000_000u64), 4);
        sizes.prop_map(|sizes| {
            let devices = [GPU, DeviceId::Cuda(1), DeviceId::Cpu, DeviceId::Sim(0)];
            let room = |(device, (total, free, less)): (DeviceId, (u64, u64, u64))| Room {
                device,
                total: Bytes(total),
                free: Bytes(free.min(total)),
                reserve: Bytes(less),
                committed: Bytes(less / 2),
            };
            devices.into_iter().zip(sizes).map(room).collect()
        })
    }

    proptest! {
        /// The parts add up to the model, none exceeds its room, and what is missing is more than nothing.
        #[test]
        fn parts_add_up_and_fit(
            ask in asks(),
            rooms in rooms(),
            total in 1..16_000_000_000u64,
            fixed in 0..500_000_000u64,
            (computed, stored) in (1..9u64, 1..9u64),
        ) {
            let as_stored = AsStored { computed: Bytes(computed), stored: Bytes(stored) };
            let load = Load { total: Bytes(total), fixed: Bytes(fixed.min(total)), away: Bytes::ZERO, stored: as_stored };
            match quotas(&ask, GPU, load, &rooms) {
                Ok(Quotas { compute, donors, leaving, cut: _ }) => {
                    let capacity = |device| rooms.iter().find(|r| r.device == device).map_or(Bytes(u64::MAX), Room::capacity);
                    let all: Vec<Quota> = donors.iter().copied().chain([compute]).collect();
                    prop_assert_eq!(all.iter().map(|q| q.wanted).sum::<Bytes>(), load.total);
                    for quota in &all {
                        let lies = if quota.device == GPU { quota.wanted } else { as_stored.stored(quota.wanted) };
                        prop_assert!(quota.wanted <= quota.most && quota.held <= capacity(quota.device), "{:?}", quota);
                        prop_assert!(lies <= quota.held, "{:?}", quota);
                    }
                    prop_assert!(compute.wanted >= load.fixed);
                    prop_assert_eq!(leaving, load.total - compute.wanted);
                    prop_assert!(donors.iter().all(|q| q.device != GPU));
                    if let VirtualVram::AtLeast(bytes) = ask.virtual_vram {
                        prop_assert!(leaving == bytes.min(load.total - load.fixed));
                    }
                }
                Err(error) => prop_assert!(error.missing().is_none_or(|n| n > Bytes::ZERO), "{}", error),
            }
        }
    }
}
