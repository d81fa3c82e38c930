//! A request in numbers: what must leave, what may, and where there is room for it.

use super::budget::AsStored;
use super::simulate::{Link, Staging};
use crate::units::Bytes;

/// The home of each unit, in order of execution: a donor by its place in [`Case::caps`], or the compute device.
pub(super) type Homes = Vec<Option<usize>>;

/// One question to the portfolio. Budgets for staging memory are already taken off.
#[derive(Debug, Clone)]
pub(super) struct Case {
    /// The size of each unit, in order of execution.
    pub(super) bytes: Vec<u64>,
    /// What a donor holds of each: it keeps them as they are stored.
    pub(super) stored: Vec<u64>,
    /// The computing of each unit.
    pub(super) seconds: Vec<f64>,
    /// The homes of units that must leave; their bytes are taken off as well.
    pub(super) fixed: Homes,
    /// The units that may leave or stay, in order of execution.
    pub(super) movable: Vec<usize>,
    /// At least so many bytes of them must.
    pub(super) need: u64,
    /// What each donor can hold of them as stored, the fastest first.
    pub(super) caps: Vec<u64>,
    /// The way from each donor.
    pub(super) links: Vec<Link>,
    /// What streamed units pass through.
    pub(super) staging: Staging,
    /// The compute device and the donors in the order of their names, as the original walks them.
    pub(super) by_name: Vec<Option<usize>>,
    /// The donors in the order in which they were listed.
    pub(super) as_listed: Vec<usize>,
    /// Homes that keep every budget, where some are known beforehand.
    pub(super) known: Option<Homes>,
}

impl Case {
    /// Returns the size of all units that may leave or stay.
    pub(super) fn movable_bytes(&self) -> u64 {
        self.movable.iter().map(|&i| self.bytes[i]).sum()
    }

    /// Returns what may stay of them.
    pub(super) fn stay(&self) -> u64 {
        self.movable_bytes().saturating_sub(self.need)
    }

    /// Returns the least that donors take where as much leaves as must.
    pub(super) fn least_stored(&self) -> u64 {
        let mut units: Vec<AsStored> = self.sizes().collect();
        units.sort_by(AsStored::by_density);
        let (mut need, mut stored) = (self.need, 0u64);
        for AsStored { computed: Bytes(bytes), stored: Bytes(whole) } in units {
            let part = need.min(bytes);
            stored += u64::try_from(u128::from(whole) * u128::from(part) / u128::from(bytes)).unwrap_or(u64::MAX);
            need -= part;
        }
        stored
    }

    /// Returns the sizes of the units that may leave and take anything.
    fn sizes(&self) -> impl Iterator<Item = AsStored> {
        let sizes = self.movable.iter().map(|&i| AsStored { computed: Bytes(self.bytes[i]), stored: Bytes(self.stored[i]) });
        sizes.filter(|sizes| sizes.computed > Bytes::ZERO)
    }

    /// Returns what these units take on donors.
    pub(super) fn stored_bytes(&self, units: &[usize]) -> u64 {
        units.iter().map(|&i| self.stored[i]).sum()
    }

    /// Returns the sizes of the unit that takes the least room on a donor for what it is.
    pub(super) fn densest(&self) -> AsStored {
        let densest = self.sizes().min_by(AsStored::by_density).unwrap_or(AsStored::SAME);
        AsStored { stored: densest.stored.max(Bytes(1)), ..densest }
    }

    /// Returns what all donors hold together.
    pub(super) fn room(&self) -> u64 {
        self.caps.iter().fold(0, |sum, cap| sum.saturating_add(*cap))
    }

    /// Returns a time that no placement of this case goes below.
    pub(super) fn bound_s(&self) -> f64 {
        let compute: f64 = self.seconds.iter().sum();
        let first = self.movable.first().map_or(0, |&i| self.bytes[i]);
        let equal = self.movable.iter().all(|&i| self.bytes[i] == first);
        let need = if equal && first > 0 { self.need.div_ceil(first) * first } else { self.need } as f64;
        // The links share the bytes so that they end together, but for those that have nothing more to give.
        let AsStored { computed: Bytes(bytes), stored: Bytes(stored) } = self.densest();
        let most = |cap: u64| cap as f64 * (bytes as f64 / stored as f64);
        let carried = |s: f64| -> f64 { self.caps.iter().zip(&self.links).map(|(cap, l)| most(*cap).min(l.bytes_per_second * s)).sum() };
        let (mut low, mut high) = (0.0, compute);
        if carried(high) >= need {
            return compute;
        }
        while carried(high) < need && high < 1e15 {
            (low, high) = (high, (high * 2.0).max(1e-9));
        }
        for _ in 0..48 {
            let middle = f64::midpoint(low, high);
            if carried(middle) >= need { high = middle } else { low = middle }
        }
        low
    }
}
