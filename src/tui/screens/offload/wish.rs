//! A wish as text: read into what is asked, and written from a plan in any of the four ways.
//!
//! Which way a text is written in can be seen from it, so there is nothing to be told beside it.

use std::fmt;

use crate::placement::ask::FullAsk;
use crate::placement::budget::AsStored;
use crate::placement::decimal::Decimal;
use crate::placement::error::Problem;
use crate::placement::expression::exact;
use crate::placement::{Allocation, AllocationError, Listed, OffloadAsk, OffloadPlan, Parts, Room, VirtualVram};
use crate::units::{Bytes, DeviceId};

/// A way to write how much goes where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// How much leaves, for the donors to share.
    #[default]
    VirtualVram,
    /// So many bytes for each device.
    Bytes,
    /// Percents of the model.
    Ratio,
    /// Fractions of each device's memory.
    Fraction,
}

impl Way {
    /// Every way, in the order of the key.
    pub const ALL: &[Self] = &[Self::VirtualVram, Self::Bytes, Self::Ratio, Self::Fraction];

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VirtualVram => "virtual VRAM",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
            Self::Fraction => "fraction",
        }
    }

    /// Returns the way after this one.
    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|w| *w == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Returns the way in which an ask is written.
    #[must_use]
    pub fn of(ask: &OffloadAsk) -> Self {
        match &ask.expert {
            None | Some(Allocation::Auto) => Self::VirtualVram,
            Some(Allocation::Listed(listed)) => match listed.parts() {
                Parts::Bytes(_) => Self::Bytes,
                Parts::Percents(_) => Self::Ratio,
                Parts::Fractions(_) => Self::Fraction,
            },
        }
    }
}

/// Reads a text on a machine that computes on `compute`; an amount alone is for the donors named beside it.
pub fn read(text: &str, compute: DeviceId, donors: &[DeviceId]) -> Result<OffloadAsk, AllocationError> {
    if text.trim().is_empty() {
        return Ok(OffloadAsk { donors: donors.to_vec(), ..OffloadAsk::default() });
    }
    if let Some((before, after)) = text.split_once('#') {
        let FullAsk { compute: named, ask } = text.parse()?;
        if named == compute {
            return Ok(ask);
        }
        let column = before.chars().count() + 2 + after.chars().take_while(|c| c.is_whitespace()).count();
        let hint = "leave `#` and what follows away: what computes is set in the form";
        return Err(AllocationError { column, problem: Problem::UnknownDevice { text: named.to_string() }, hint });
    }
    if text.contains([',', ';']) {
        return Ok(OffloadAsk { expert: Some(text.parse()?), ..OffloadAsk::default() });
    }
    Ok(OffloadAsk { virtual_vram: text.parse()?, donors: donors.to_vec(), ..OffloadAsk::default() })
}

/// Returns an ask as it is typed; nothing for nothing, so that typing begins anew.
#[must_use]
pub fn text(ask: &OffloadAsk) -> String {
    match (&ask.expert, ask.virtual_vram) {
        (Some(allocation), _) => allocation.to_string(),
        (None, VirtualVram::None) => String::new(),
        (None, amount) => amount.to_string(),
    }
}

/// Returns what an ask leaves of a model of this size where it is computed with, whether there is room for that or not.
#[must_use]
pub fn kept(ask: &OffloadAsk, compute: DeviceId, total: Bytes, rooms: &[Room]) -> Bytes {
    let Some(Allocation::Listed(listed)) = &ask.expert else {
        return match ask.virtual_vram {
            VirtualVram::AtLeast(bytes) if ask.expert.is_none() => total.saturating_sub(bytes),
            VirtualVram::AtLeast(_) | VirtualVram::None | VirtualVram::Auto => total,
        };
    };
    let given: Vec<(DeviceId, Bytes)> = match listed.parts() {
        Parts::Bytes(parts) => parts.clone(),
        Parts::Percents(parts) => {
            let sum = parts.iter().map(|(_, share)| u128::from(share.get())).sum();
            let all = if listed.rest().is_some() { u128::from(Decimal::HUNDRED.get()) } else { sum };
            parts.iter().map(|(device, share)| (*device, share.share_of(total, all))).collect()
        }
        Parts::Fractions(parts) => {
            let whole = |device| rooms.iter().find(|room| room.device == device).map_or(total, |room| room.total);
            parts.iter().map(|(device, share)| (*device, share.share_of(whole(*device), u128::from(Decimal::ONE.get())))).collect()
        }
    };
    let sum =
        |wanted: &dyn Fn(DeviceId) -> bool| given.iter().filter(|(device, _)| wanted(*device)).map(|(_, bytes)| *bytes).sum::<Bytes>();
    if listed.rest() == Some(compute) { total.saturating_sub(sum(&|d| d != compute)) } else { sum(&|d| d == compute).min(total) }
}

/// What a plan gives each device.
#[derive(Debug, Clone)]
pub struct Amounts<'a> {
    /// The device that computes.
    pub compute: DeviceId,
    /// All devices that hold something, and how much of the model.
    pub held: Vec<(DeviceId, Bytes)>,
    /// The same in the same order, as it lies there: donors hold blocks as they are stored.
    lies: Vec<Bytes>,
    /// The memory of the machine.
    pub rooms: &'a [Room],
}

impl<'a> Amounts<'a> {
    /// Returns the amounts of a plan for blocks of such sizes where they are computed with, and where they are stored.
    #[must_use]
    pub fn of(plan: &OffloadPlan, bytes: &[Bytes], stored: &[Bytes], rooms: &'a [Room]) -> Self {
        let mut held: Vec<(DeviceId, Bytes)> = plan.shares(bytes).into_iter().map(|s| (s.device, s.bytes)).collect();
        // What is without a size of its own can only take the rest, which stands last.
        held.sort_by_key(|(device, _)| (*device != plan.compute, *device == DeviceId::Disk));
        let shares = plan.shares(stored);
        let stored = |device| shares.iter().filter(|s| s.device == device).map(|s| s.bytes).sum();
        let lies = held.iter().map(|(device, bytes)| if *device == plan.compute { *bytes } else { stored(*device) }).collect();
        Self { compute: plan.compute, held, lies, rooms }
    }

    /// Returns the size of the model.
    #[must_use]
    pub fn total(&self) -> Bytes {
        self.held.iter().map(|(_, bytes)| *bytes).sum()
    }

    /// Returns what of it a device holds, as it is computed with.
    #[must_use]
    pub fn on(&self, device: DeviceId) -> Bytes {
        self.held.iter().filter(|(d, _)| *d == device).map(|(_, bytes)| *bytes).sum()
    }

    /// Returns what a device gives for that: a donor holds it as it is stored.
    #[must_use]
    pub fn lies_on(&self, device: DeviceId) -> Bytes {
        self.held.iter().zip(&self.lies).filter(|((d, _), _)| *d == device).map(|(_, bytes)| *bytes).sum()
    }

    /// Returns what is held elsewhere than where it is computed with.
    #[must_use]
    pub fn away(&self) -> Bytes {
        self.total() - self.on(self.compute)
    }

    /// Returns the donors.
    #[must_use]
    pub fn donors(&self) -> Vec<DeviceId> {
        self.held.iter().map(|(device, _)| *device).filter(|device| *device != self.compute).collect()
    }

    /// Writes the same in a way; `None` where it cannot be written so.
    #[must_use]
    pub fn write(&self, way: Way) -> Option<String> {
        if way == Way::VirtualVram {
            return Some(leaving(self.away(), self.total()));
        }
        let Some(rest) = self.donors().last().copied() else {
            // With nothing away the amount alone tells the way.
            let amount = self.amount(way, self.compute, self.total())?;
            let list = match way {
                Way::VirtualVram | Way::Bytes => List { parts: Vec::new(), rest: Some(self.compute) },
                Way::Ratio | Way::Fraction => List { parts: vec![(self.compute, amount)], rest: None },
            };
            return Some(list.to_string());
        };
        let mut list = List { parts: Vec::new(), rest: Some(rest) };
        let listed = std::iter::once((self.compute, self.on(self.compute)));
        let others = self.held.iter().copied().filter(|(device, _)| *device != self.compute);
        for (device, bytes) in listed.chain(others).filter(|(device, _)| *device != rest) {
            list.parts.push((device, self.amount(way, device, bytes)?));
        }
        Some(list.to_string())
    }

    /// Returns what so much of the model takes of a device.
    fn takes(&self, device: DeviceId, bytes: Bytes) -> Bytes {
        let sizes = || self.held.iter().zip(&self.lies).filter(|((d, _), _)| *d != self.compute);
        let sum = |wanted: &dyn Fn(DeviceId) -> bool| {
            sizes().filter(|((d, _), _)| wanted(*d)).fold(
                AsStored { computed: Bytes::ZERO, stored: Bytes::ZERO },
                |sum, ((_, held), lies)| AsStored { computed: sum.computed + *held, stored: sum.stored + *lies },
            )
        };
        let known = [sum(&|d| d == device), sum(&|_| true)].into_iter().find(|s| s.computed > Bytes::ZERO);
        known.filter(|_| device != self.compute).map_or(bytes, |sizes| sizes.stored(bytes))
    }

    /// Writes one device's amount in a way, rounded up, for it is the most that the device holds.
    #[must_use]
    pub fn amount(&self, way: Way, device: DeviceId, bytes: Bytes) -> Option<String> {
        // Shares are of the model, bytes and fractions of the device.
        let bytes = if way == Way::Ratio { bytes } else { self.takes(device, bytes) };
        let per_mille = |whole: Bytes, steps: u64| {
            let share = u128::from(bytes.get()) * u128::from(steps);
            u64::try_from(share.div_ceil(u128::from(whole.get().max(1)))).unwrap_or(steps).min(steps)
        };
        match way {
            Way::VirtualVram | Way::Bytes => Some(exact(Bytes(bytes.get().div_ceil(self.unit()) * self.unit()))),
            Way::Ratio => {
                let tenths = per_mille(self.total(), 1000);
                Some(format!("{}.{}%", tenths / 10, tenths % 10))
            }
            Way::Fraction => {
                let room = self.rooms.iter().find(|r| r.device == device)?;
                let steps = per_mille(room.total, 10_000);
                Some(format!("{}.{:04}", steps / 10_000, steps % 10_000))
            }
        }
    }

    fn unit(&self) -> u64 {
        unit(self.total())
    }
}

/// What amounts are rounded to: what matters little to a model of this size.
fn unit(total: Bytes) -> u64 {
    [1 << 20, 1 << 10].into_iter().find(|unit| unit * 1000 <= total.get()).unwrap_or(1)
}

/// Writes how much of a model leaves, rounded down, for it is the least that does.
#[must_use]
pub fn leaving(bytes: Bytes, total: Bytes) -> String {
    let least = bytes.get() / unit(total) * unit(total);
    if least == 0 { String::new() } else { exact(Bytes(least)) }
}

/// Writes all of a model, rounded up.
#[must_use]
pub fn whole(total: Bytes) -> String {
    exact(Bytes(total.get().div_ceil(unit(total)) * unit(total)))
}

/// A list as it is written, to be changed in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Devices and their amounts.
    pub parts: Vec<(DeviceId, String)>,
    /// Who takes the rest.
    pub rest: Option<DeviceId>,
}

impl List {
    /// Returns what is written in an allocation.
    #[must_use]
    pub fn of(listed: &Listed) -> Self {
        let parts = match listed.parts() {
            Parts::Bytes(parts) => parts.iter().map(|(device, bytes)| (*device, exact(*bytes))).collect(),
            Parts::Percents(parts) => parts.iter().map(|(device, share)| (*device, format!("{share}%"))).collect(),
            Parts::Fractions(parts) => parts.iter().map(|(device, share)| (*device, share.to_string())).collect(),
        };
        Self { parts, rest: listed.rest() }
    }

    /// Gives a device this amount.
    pub fn set(&mut self, device: DeviceId, amount: String) {
        match self.parts.iter_mut().find(|(d, _)| *d == device) {
            Some((_, old)) => *old = amount,
            None => self.parts.push((device, amount)),
        }
    }

    /// Takes a device out; what it held is the rest's, or else the last device's that is left.
    pub fn remove(&mut self, device: DeviceId) {
        self.parts.retain(|(d, _)| *d != device);
        if self.rest.is_none_or(|rest| rest == device) {
            self.rest = self.parts.pop().map(|(last, _)| last);
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter().map(|(device, amount)| format!("{device},{amount}"));
        let entries: Vec<String> = parts.chain(self.rest.map(|device| format!("{device},*"))).collect();
        f.write_str(&entries.join(";"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: DeviceId = DeviceId::Cuda(0);

    fn rooms() -> Vec<Room> {
        let room =
            |device, gib| Room { device, total: Bytes::gib(gib), free: Bytes::gib(gib), reserve: Bytes::ZERO, committed: Bytes::ZERO };
        vec![room(GPU, 8), room(DeviceId::Cuda(1), 4), room(DeviceId::Cpu, 64)]
    }

    fn amounts<'a>(homes: &[DeviceId], rooms: &'a [Room]) -> Amounts<'a> {
        let plan = OffloadPlan { compute: GPU, homes: homes.to_vec() };
        Amounts::of(&plan, &vec![Bytes::mib(512); homes.len()], &vec![Bytes::mib(512); homes.len()], rooms)
    }

    #[test]
    fn a_plan_is_written_in_every_way_and_reads_back_in_it() {
        let rooms = rooms();
        let three = amounts(&[GPU, GPU, DeviceId::Disk, DeviceId::Cuda(1), DeviceId::Cpu, GPU], &rooms);
        for (way, text) in [
            (Way::VirtualVram, "1536MiB"),
            (Way::Bytes, "cuda:0,1536MiB;cpu,512MiB;cuda:1,512MiB;disk,*"),
            (Way::Ratio, "cuda:0,50.0%;cpu,16.7%;cuda:1,16.7%;disk,*"),
            (Way::Fraction, "cuda:0,0.1875;cpu,0.0079;cuda:1,0.1250;disk,*"),
        ] {
            let mut written = three.write(way).unwrap();
            if way != Way::VirtualVram {
                // The order of donors does not matter.
                let mut parts: Vec<&str> = written.split(';').collect();
                parts[1..3].sort_unstable();
                written = parts.join(";");
            }
            assert_eq!(written, text);
            assert_eq!(Way::of(&read(&written, GPU, &[]).unwrap()), way);
        }
        // An amount in bytes is the donor's, who holds blocks as they are stored.
        let plan = OffloadPlan { compute: GPU, homes: vec![GPU, DeviceId::Cpu, DeviceId::Disk] };
        let halves = Amounts::of(&plan, &[Bytes::mib(512); 3], &[Bytes::mib(256); 3], &rooms);
        assert_eq!(halves.write(Way::Bytes).as_deref(), Some("cuda:0,512MiB;cpu,256MiB;disk,*"));
        assert_eq!(halves.write(Way::Fraction).as_deref(), Some("cuda:0,0.0625;cpu,0.0040;disk,*"));
        assert_eq!(halves.write(Way::Ratio).as_deref(), Some("cuda:0,33.4%;cpu,33.4%;disk,*"));
        let here = amounts(&[GPU, GPU], &rooms);
        assert_eq!((here.write(Way::VirtualVram).as_deref(), here.write(Way::Bytes).as_deref()), (Some(""), Some("cuda:0,*")));
    }

    #[test]
    fn a_text_says_by_itself_how_it_is_meant() {
        let of = |text: &str| read(text, GPU, &[DeviceId::Cpu]).map(|ask| (Way::of(&ask), super::text(&ask), ask.donors.len()));
        assert_eq!(of(" 4 gb "), Ok((Way::VirtualVram, "4GiB".to_owned(), 1)));
        assert_eq!(of("auto"), Ok((Way::VirtualVram, "auto".to_owned(), 1)));
        assert_eq!((of(""), of("none")), (Ok((Way::VirtualVram, String::new(), 1)), Ok((Way::VirtualVram, String::new(), 1))));
        assert_eq!(of("cuda:0,25%; cpu,*"), Ok((Way::Ratio, "cuda:0,25%;cpu,*".to_owned(), 0)));
        assert_eq!(of("#cuda:0;4.0;cpu,disk"), Ok((Way::VirtualVram, "4GiB".to_owned(), 2)));
        assert_eq!(of("cpu,*#cuda:1").unwrap_err().column, 7);
        assert_eq!(of("cuda:0,2gb;mps,1gb").unwrap_err().column, 12);
    }

    #[test]
    fn what_is_kept_is_known_of_a_wish_that_has_no_room() {
        let kept = |text: &str| kept(&read(text, GPU, &[]).unwrap(), GPU, Bytes::gib(100), &rooms());
        for (text, gib) in [("", 100), ("auto", 100), ("60gb", 40), ("200gb", 0)] {
            assert_eq!(kept(text), Bytes::gib(gib), "{text}");
        }
        for (text, gib) in [("cuda:0,2gb;cpu,*", 2), ("cpu,30gb;cuda:0,*", 70), ("cpu,*", 0), ("cuda:0,300gb;cpu,*", 100)] {
            assert_eq!(kept(text), Bytes::gib(gib), "{text}");
        }
        for (text, gib) in [("cuda:0,25%;cpu,*", 25), ("cuda:0,1%;cpu,3%", 25), ("cuda:0,0.25;cpu,*", 2)] {
            assert_eq!(kept(text), Bytes::gib(gib), "{text}");
        }
    }

    #[test]
    fn one_place_of_a_list_is_changed() {
        let Some(Allocation::Listed(listed)) = read("cuda:0,2gb;cuda:1,1gb;cpu,*", GPU, &[]).unwrap().expert else { panic!() };
        let mut list = List::of(&listed);
        list.set(GPU, "3GiB".to_owned());
        list.set(DeviceId::Disk, "1GiB".to_owned());
        assert_eq!(list.to_string(), "cuda:0,3GiB;cuda:1,1GiB;disk,1GiB;cpu,*");
        list.remove(DeviceId::Cpu);
        list.remove(DeviceId::Cuda(1));
        assert_eq!(list.to_string(), "cuda:0,3GiB;disk,*");
    }
}
