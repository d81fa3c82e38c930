//! How long a step takes when some weights stay and the others stream in.
//!
//! Each donor has a link with its own in-order copy engine. Copies are issued in the order of
//! execution, over and over: the first unit of a step is already coming while the last ones of the
//! step before still compute. A streamed unit waits in staging memory from the start of its copy
//! until its computation ends. Nothing here knows what the units are or why they live where they do.

use serde::{Deserialize, Serialize};

use super::pipeline::{Pipeline, Waits};
use crate::units::Bytes;

/// The way from one donor to the compute device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Bytes that it carries in a second.
    pub bytes_per_second: f64,
    /// Seconds before the first byte of a copy moves.
    pub latency_s: f64,
}

impl Link {
    /// Returns how long a copy of `bytes` keeps the link busy.
    #[must_use]
    pub fn seconds(self, bytes: Bytes) -> f64 {
        self.latency_s + bytes.get() as f64 / self.bytes_per_second
    }
}

/// Memory on the compute device through which streamed units pass, shared by all links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Staging {
    /// Equal slots, each as large as the largest streamed unit; none counts as one.
    Slots(u32),
    /// One ring of bytes. A unit lies in one piece: where the end is too short, it starts over.
    Ring(Bytes),
    /// The same, where a unit comes as its place gets free, from its beginning on, and not only once all of it is.
    Flowing(Bytes),
}

impl Staging {
    /// Returns the memory taken when the largest streamed unit has `largest` bytes, none when nothing streams.
    #[must_use]
    pub fn bytes(self, largest: Option<Bytes>) -> Bytes {
        match (largest, self) {
            (None, Self::Slots(_) | Self::Ring(_) | Self::Flowing(_)) => Bytes::ZERO,
            (Some(largest), Self::Slots(slots)) => Bytes(largest.get().saturating_mul(u64::from(slots.max(1)))),
            (Some(_), Self::Ring(bytes) | Self::Flowing(bytes)) => bytes,
        }
    }

    /// Returns whether a unit can pass at all.
    #[must_use]
    pub fn passes(self, unit: Bytes) -> bool {
        match self {
            Self::Slots(_) => true,
            Self::Ring(bytes) | Self::Flowing(bytes) => unit <= bytes,
        }
    }
}

/// One unit of weights, in order of execution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// How much has to be copied.
    pub bytes: Bytes,
    /// How long it computes.
    pub seconds: f64,
    /// The link it comes over, by place in the list of links; `None` where it stays.
    pub link: Option<usize>,
}

/// What a run of equal steps takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Seconds of a step, once steps repeat.
    pub step_s: f64,
    /// Seconds of the first step, when no copy is ahead.
    pub first_step_s: f64,
    /// Seconds that the compute device waits for each unit, in the mean over steps four to eight.
    pub stalls_s: Vec<f64>,
    /// Seconds that each link copies, in a step.
    pub busy_s: Vec<f64>,
    /// Seconds of computing alone.
    pub compute_s: f64,
    /// No arrangement of these copies takes less: the computing, or the busiest link.
    pub lower_s: f64,
    /// What a step takes that never copies while it computes.
    pub serial_s: f64,
}

/// Returns what steps over `loads` take. A load whose link is not in the list counts as one that stays.
#[must_use]
pub fn simulate(loads: &[Load], links: &[Link], staging: Staging) -> Timing {
    let bytes: Vec<u64> = loads.iter().map(|l| l.bytes.get()).collect();
    let seconds: Vec<f64> = loads.iter().map(|l| l.seconds).collect();
    let homes: Vec<Option<usize>> = loads.iter().map(|l| l.link.filter(|&k| k < links.len())).collect();
    let mut pipeline = Pipeline::new(&seconds, &bytes, links, staging);
    let mut waits = Waits::of(loads.len());
    let steady = pipeline.step_s(&homes, f64::INFINITY, Some(&mut waits));
    let busy_s = pipeline.busy_s().to_vec();
    let compute_s: f64 = seconds.iter().sum();
    let lower_s = busy_s.iter().copied().fold(compute_s, f64::max);
    let serial_s = compute_s + busy_s.iter().sum::<f64>();
    Timing { step_s: steady, first_step_s: waits.first_step_s, stalls_s: waits.stalls_s(), busy_s, compute_s, lower_s, serial_s }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The reference's `step_time`, statement by statement.
    fn reference(c: &[f64], w: &[u64], stays: &[usize], speed: f64, slots: usize, lat: f64) -> f64 {
        let n = c.len();
        let st: Vec<usize> = (0..n).filter(|i| !stays.contains(i)).collect();
        let m = st.len();
        if m == 0 {
            return c.iter().sum();
        }
        let mut done = vec![0.0; m * 8];
        let mut freed: Vec<f64> = Vec::new();
        let (mut nxt, mut eng, mut t, mut k) = (0, 0.0_f64, 0.0_f64, 0);
        let mut marks = Vec::new();
        for _ in 0..8 {
            for (i, seconds) in c.iter().enumerate() {
                if stays.contains(&i) {
                    t += seconds;
                    continue;
                }
                while nxt <= k {
                    let s = if nxt >= slots { eng.max(freed[nxt - slots]) } else { eng };
                    eng = s + lat + w[st[nxt % m]] as f64 / speed;
                    done[nxt] = eng;
                    nxt += 1;
                }
                t = t.max(done[k]) + seconds;
                freed.push(t);
                k += 1;
            }
            marks.push(t);
        }
        (marks[7] - marks[2]) / 5.0
    }

    fn loads(c: &[f64], w: &[u64], stays: &[usize]) -> Vec<Load> {
        let link = |i| (!stays.contains(&i)).then_some(0);
        c.iter().zip(w).enumerate().map(|(i, (c, w))| Load { bytes: Bytes(*w), seconds: *c, link: link(i) }).collect()
    }

    type Golden = (u32, f64, &'static [f64], &'static [u64], &'static [usize], f64);

    /// What `distorch_sim.py`, the reference, returns for these, at 8 bytes in a second.
    const GOLDEN: [Golden; 8] = [
        (1, 0.0, &[1.87, 2.23, 2.39, 2.83, 2.22, 2.77, 0.09, 1.4, 2.83], &[42, 4, 58, 11, 8, 24, 31, 56, 16], &[0, 1, 2, 5, 7], 21.335),
        (1, 0.25, &[0.22, 1.85, 1.33, 0.4, 2.92, 0.02, 2.32, 2.88, 0.5], &[11, 19, 21, 13, 35, 57, 44, 41, 14], &[0, 2, 4, 5, 8], 23.075),
        (2, 0.0, &[1.0, 2.45, 1.76, 1.79, 2.12, 0.2, 1.07, 0.92, 2.09], &[12, 31, 31, 46, 12, 4, 17, 2, 48], &[0, 4], 24.68),
        (2, 0.25, &[2.86, 0.36, 0.74, 2.46, 1.39, 1.54, 2.68, 0.75, 1.39], &[38, 48, 50, 52, 24, 56, 19, 3, 28], &[1, 2, 5, 8], 20.61),
        (3, 0.0, &[0.95, 0.53, 0.23, 0.45, 2.07, 2.99, 0.48, 0.15, 2.96], &[35, 26, 3, 16, 48, 39, 23, 53, 17], &[2, 4, 7], 19.5),
        (3, 0.25, &[2.85, 1.89, 2.36, 0.32, 1.3, 0.45, 2.53, 0.88, 1.36], &[40, 55, 11, 34, 30, 32, 45, 47, 21], &[1, 3, 4], 26.0),
        (5, 0.0, &[1.02, 0.27, 0.82, 2.35, 2.6, 1.08, 2.36, 2.32, 2.08], &[43, 3, 49, 20, 24, 36, 46, 43, 18], &[1, 5, 6], 24.625),
        (5, 0.25, &[2.32, 0.98, 0.82, 0.87, 1.5, 2.02, 1.07, 0.82, 1.04], &[54, 27, 23, 54, 12, 56, 56, 45, 29], &[4], 45.0),
    ];

    #[test]
    fn one_link_and_slots_take_what_the_reference_takes() {
        for (slots, latency_s, c, w, stays, expected) in GOLDEN {
            let link = Link { bytes_per_second: 8.0, latency_s };
            let found = simulate(&loads(c, w, stays), &[link], Staging::Slots(slots)).step_s;
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn two_links_copy_at_once() {
        let load = |link| Load { bytes: Bytes(100), seconds: 1.0, link };
        let link = Link { bytes_per_second: 25.0, latency_s: 0.0 };
        let one = simulate(&[load(Some(0)), load(Some(0))], &[link, link], Staging::Slots(4));
        let two = simulate(&[load(Some(0)), load(Some(1))], &[link, link], Staging::Slots(4));
        assert!((one.step_s - 8.0).abs() < 1e-9 && (two.step_s - 4.0).abs() < 1e-9, "{one:?} {two:?}");
        assert_eq!((one.busy_s, two.busy_s), (vec![8.0, 0.0], vec![4.0, 4.0]));
    }

    #[test]
    fn a_link_that_falls_behind_slowly_is_waited_for_in_the_end() {
        let load = |bytes, seconds, link| Load { bytes: Bytes(bytes), seconds, link };
        let links = [100.0, 98.0].map(|bytes_per_second| Link { bytes_per_second, latency_s: 0.0 });
        let timing = simulate(&[load(100, 0.4, Some(0)), load(100, 0.0, Some(1))], &links, Staging::Slots(4));
        assert!((timing.step_s - timing.lower_s).abs() < 1e-12 && timing.step_s > 1.02, "{timing:?}");
    }

    #[test]
    fn staging_without_end_is_no_trouble() {
        let all = loads(&[1.0, 1.0], &[20, 20], &[]);
        let link = Link { bytes_per_second: 10.0, latency_s: 0.0 };
        for staging in [Staging::Slots(u32::MAX), Staging::Ring(Bytes(u64::MAX))] {
            assert!((simulate(&all, &[link], staging).step_s - 4.0).abs() < 1e-9);
        }
    }

    #[test]
    fn waits_and_computing_make_the_step() {
        let link = Link { bytes_per_second: 10.0, latency_s: 0.5 };
        let all = loads(&[1.0, 2.0, 1.0], &[45, 10, 30], &[1]);
        let timing = simulate(&all, &[link], Staging::Slots(2));
        assert!((timing.compute_s + timing.stalls_s.iter().sum::<f64>() - timing.step_s).abs() < 1e-9, "{timing:?}");
        assert!((timing.first_step_s - 9.5).abs() < 1e-9, "5 to copy, 3 to compute, half a second more of copying, and 1: {timing:?}");
        assert!((timing.lower_s - 8.5).abs() < 1e-9 && (timing.serial_s - 12.5).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn any_set_on_one_link_takes_what_the_reference_takes(
            units in prop::collection::vec((0.0..3.0f64, 0u64..80, any::<bool>()), 1..40),
            slots in 1u32..6,
            latency_s in 0.0..0.5f64,
        ) {
            let c: Vec<f64> = units.iter().map(|u| u.0).collect();
            let w: Vec<u64> = units.iter().map(|u| u.1).collect();
            let stays: Vec<usize> = (0..units.len()).filter(|&i| units[i].2).collect();
            let expected = reference(&c, &w, &stays, 16.0, slots as usize, latency_s);
            let all = loads(&c, &w, &stays);
            let link = Link { bytes_per_second: 16.0, latency_s };
            let timing = simulate(&all, &[link], Staging::Slots(slots));
            prop_assert!((timing.step_s - expected).abs() < 1e-9, "{} is not {expected}", timing.step_s);
            // The planner stops early where the steps repeat, and at the limit.
            let homes: Vec<Option<usize>> = all.iter().map(|l| l.link).collect();
            let mut pipeline = Pipeline::new(&c, &w, &[link], Staging::Slots(slots));
            let quick = pipeline.step_s(&homes, f64::INFINITY, None);
            prop_assert!((quick - expected).abs() < 1e-9, "{quick} is not {expected}");
            prop_assert!(pipeline.step_s(&homes, expected * 0.9 - 1e-6, None) >= expected - 1e-9);
        }

        #[test]
        fn no_step_beats_its_bounds(
            units in prop::collection::vec((0.0..3.0f64, 0u64..80, prop::option::of(0usize..3)), 1..40),
            speeds in prop::collection::vec(1.0..40.0f64, 3),
            staging in prop_oneof![(1u32..6).prop_map(Staging::Slots), (80u64..400).prop_map(|b| Staging::Ring(Bytes(b)))],
        ) {
            let all: Vec<Load> = units.iter().map(|u| Load { bytes: Bytes(u.1), seconds: u.0, link: u.2 }).collect();
            let links: Vec<Link> = speeds.iter().map(|s| Link { bytes_per_second: *s, latency_s: 0.01 }).collect();
            let timing = simulate(&all, &links, staging);
            prop_assert!(timing.step_s >= timing.lower_s * (1.0 - 1e-9), "{timing:?}");
            prop_assert!(timing.step_s <= timing.serial_s * (1.0 + 1e-9), "{timing:?}");
        }

        #[test]
        fn even_beats_contiguous(n in 2usize..50, percent in 0usize..=100, x in 0.1..4.0f64, slots in 2u32..5) {
            let m = (n * percent / 100).max(1);
            let (c, w) = (vec![1.0; n], vec![1_000_000; n]);
            let link = Link { bytes_per_second: 1e6 / x, latency_s: 0.0 };
            let away: Vec<usize> = (0..m).map(|j| (2 * j + 1) * n / (2 * m)).collect();
            let stays: Vec<usize> = (0..n).filter(|i| !away.contains(i)).collect();
            let run: Vec<usize> = (m..n).collect();
            let [even, contiguous] = [stays, run].map(|stays| simulate(&loads(&c, &w, &stays), &[link], Staging::Slots(slots)).step_s);
            prop_assert!(even <= contiguous + 1e-9, "{even} {contiguous}");
        }
    }
}
