//! What streaming has done: how much came over each link, how long that took, and how long computing waited for it.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::jobs::StreamedOver;
use crate::placement::Subject;
use crate::units::Bytes;

/// What streaming has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// Seconds that computing waited for blocks.
    pub stalled: f64,
    /// What came over each link. The page cache is told apart from the disk.
    pub flows: BTreeMap<Subject, Flow>,
    /// What was used where it lies, since it came before: nothing moved.
    pub at_hand: Bytes,
}

/// What came over a link.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flow {
    /// Bytes, as they are stored.
    pub bytes: Bytes,
    /// Seconds in which something was coming.
    pub busy: f64,
}

impl Traffic {
    /// Returns what was used of donors, over whatever link it came.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.flows.values().map(|f| f.bytes).sum::<Bytes>() + self.at_hand
    }

    /// Returns what was used of donors over each link; what was at hand is the page cache's.
    #[must_use]
    pub fn by_link(&self) -> Vec<StreamedOver> {
        let mut flows = self.flows.clone();
        if self.at_hand > Bytes::ZERO {
            flows.entry(Subject::PageCache).or_default().bytes += self.at_hand;
        }
        let over =
            |(link, flow): (Subject, Flow)| StreamedOver { link: link.to_string(), bytes_per_step: flow.bytes, busy_s_per_step: flow.busy };
        flows.into_iter().filter(|(_, flow)| flow.bytes > Bytes::ZERO).map(over).collect()
    }

    /// Returns what came over one.
    #[must_use]
    pub fn over(&self, link: Subject) -> Flow {
        self.flows.get(&link).copied().unwrap_or_default()
    }

    /// Returns the bytes of the step with the median of them, over the links that it had, and the medians of their seconds. Of
    /// steps that used as much, that counts for which most was at hand: the first fetches what later ones have.
    #[must_use]
    pub fn typical(steps: &[Self]) -> Self {
        let mut by_bytes: Vec<&Self> = steps.iter().collect();
        by_bytes.sort_by_key(|traffic| (traffic.bytes(), traffic.at_hand));
        let Some(middle) = by_bytes.get(by_bytes.len() / 2) else { return Self::default() };
        let busy = |link: Subject| median(steps.iter().map(|traffic| traffic.over(link).busy), f64::total_cmp);
        Self {
            stalled: median(steps.iter().map(|t| t.stalled), f64::total_cmp),
            flows: middle.flows.iter().map(|(link, flow)| (*link, Flow { bytes: flow.bytes, busy: busy(*link) })).collect(),
            at_hand: middle.at_hand,
        }
    }
}

fn median<T: Copy + Default>(values: impl Iterator<Item = T>, order: impl Fn(&T, &T) -> std::cmp::Ordering) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable_by(order);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How long something was coming over a link: blocks may come at the same time.
#[derive(Debug, Default)]
pub struct Meter {
    until: Option<Instant>,
    flow: Flow,
}

impl Meter {
    /// Counts what has begun to come.
    pub fn count(&mut self, bytes: Bytes) {
        self.flow.bytes += bytes;
    }

    /// Counts the time of what has come.
    pub fn arrived(&mut self, begun: Instant) {
        let now = Instant::now();
        let from = self.until.map_or(begun, |until| until.max(begun));
        self.flow.busy += now.saturating_duration_since(from).as_secs_f64();
        self.until = Some(now);
    }
}

/// A meter for each link.
#[derive(Debug, Default)]
pub struct Meters(BTreeMap<Subject, Meter>);

impl Meters {
    /// Returns a link's meter.
    pub fn of(&mut self, link: Subject) -> &mut Meter {
        self.0.entry(link).or_default()
    }

    /// Returns what was counted since this was last asked.
    pub fn take(&mut self) -> BTreeMap<Subject, Flow> {
        self.0.iter_mut().map(|(link, meter)| (*link, std::mem::take(&mut meter.flow))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DeviceId;

    #[test]
    fn the_typical_step_is_one_that_was() {
        let (disk, cache) = (Subject::Device(DeviceId::Disk), Subject::PageCache);
        let step = |link, bytes, busy| Traffic {
            stalled: busy,
            flows: [(link, Flow { bytes: Bytes(bytes), busy })].into(),
            at_hand: Bytes(bytes),
        };
        let typical = Traffic::typical(&[step(disk, 5, 3.0), step(disk, 7, 1.0), step(cache, 9, 2.0)]);
        assert_eq!((typical.stalled, typical.over(disk)), (2.0, Flow { bytes: Bytes(7), busy: 1.0 }));
        assert_eq!((typical.over(cache), typical.bytes()), (Flow::default(), Bytes(7 + 7)));
        let told: Vec<(String, Bytes)> = typical.by_link().into_iter().map(|over| (over.link, over.bytes_per_step)).collect();
        assert_eq!(told, [("disk".to_owned(), Bytes(7)), ("page cache".to_owned(), Bytes(7))]);
        // What the first step brought, the second has: two steps of 9, not one of 18.
        let first = Traffic { at_hand: Bytes::ZERO, ..step(cache, 9, 1.0) };
        let second = Traffic { at_hand: Bytes(9), ..Traffic::default() };
        assert_eq!(Traffic::typical(&[first, second]).bytes(), Bytes(9));
        assert_eq!(Traffic::typical(&[]), Traffic::default());
    }
}
