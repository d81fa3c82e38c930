//! How long a device computes, from what was measured of it: whole steps of a network, and blocks of each kind.
//!
//! A block takes the time of its operations and the time of reading its weights: `flops / F + bytes / M`. At large sizes the
//! first term counts, at small ones the second, and one figure for both is wrong by a factor. `F` and `M` of each kind of
//! block are measured by a calibration, and assumed before. Steps of a network that were measured say what it takes as a
//! whole; between two sizes it lies on the line between them, and beyond the outermost one on a line through it whose
//! slope is what is known of the device. Only networks of the same size say anything about one another.
//!
//! A GPU is given its work by a processor, which takes as long for a small matrix as for a large one. Where the GPU is done
//! sooner than that, a block takes the time of its products, whatever their size; and so does a walk as a whole.

use serde::{Deserialize, Serialize};

use super::machine::Speed;
use crate::units::{Bytes, DeviceId};
use crate::weights::{BlockKind, Effort};

/// Networks whose weights differ by less than this share are of one shape: a fine-tuned one has a few more channels.
const ALIKE: f64 = 0.05;
/// Steps that compute up to this many times more or less than a measured one are about as large.
const ABOUT: f64 = 2.0;
/// Steps that differ less than this say nothing of how time grows with size.
const APART: f64 = 4.0;

/// One walk through the blocks of a network: whose, and how much it computes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// The number of the network's weights.
    pub weights: u64,
    /// Floating-point operations.
    pub flops: f64,
}

impl Walk {
    /// Returns whether it goes through a network of the same shape.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        (self.weights as f64 - other.weights as f64).abs() <= ALIKE * self.weights.max(other.weights) as f64
    }

    /// Returns whether it is also about as large.
    #[must_use]
    pub fn is_near(&self, other: &Self) -> bool {
        self.is_like(other) && (self.flops / other.flops).ln().abs() <= ABOUT.ln()
    }
}

/// How long a walk computed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Which walk.
    pub walk: Walk,
    /// Its seconds, without those in which it waited for weights.
    pub seconds: f64,
    /// The most memory that it took of the device which computes beyond weights, where that is known.
    #[serde(default)]
    pub beyond: Option<Bytes>,
}

/// What a forecast of computing rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grounds {
    /// Steps of such a network, at about this size or at sizes on both sides of it.
    Steps,
    /// Blocks of these kinds.
    Kinds,
    /// Steps of such a network at another size.
    OtherSizes,
    /// What such a device is assumed to be.
    Assumed,
}

impl Grounds {
    /// Returns whether that was measured closely enough to be relied on.
    #[must_use]
    pub fn is_measured(self) -> bool {
        match self {
            Self::Steps | Self::Kinds => true,
            Self::OtherSizes | Self::Assumed => false,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::assumed(DeviceId::Cpu)
    }
}

/// What is known of a device's computing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// What is assumed of blocks of which nothing was measured: operations, and bytes of weights, in a second.
    pub assumed: Speed,
    /// Seconds in which a processor gives a GPU the work around one product; none where it computes itself.
    #[serde(default)]
    pub launch_s: f64,
    /// Blocks of each kind that were measured.
    pub kinds: Vec<(BlockKind, Speed)>,
    /// Walks that were measured.
    pub samples: Vec<Sample>,
}

impl Pace {
    /// Returns what is assumed of a device that nothing was measured of.
    #[must_use]
    pub fn assumed(compute: DeviceId) -> Self {
        let Speed { flops, .. } = Speed::assumed(compute);
        let assumed = Speed { flops, bytes_per_second: memory(compute), measured: false };
        Self { assumed, launch_s: launch(compute), kinds: Vec::new(), samples: Vec::new() }
    }

    /// Returns how long each block computes in one walk through a network of so many weights, and what that rests on.
    #[must_use]
    pub fn seconds(&self, weights: u64, blocks: &[Task]) -> (Vec<f64>, Grounds) {
        let flops: f64 = blocks.iter().map(|task| task.effort.flops()).sum();
        let walk = Walk { weights, flops };
        let mut samples: Vec<Sample> = self.samples.iter().filter(|s| s.walk.is_like(&walk) && s.is_sound()).copied().collect();
        let launch_s = self.launch_of(&samples, blocks);
        let apart: Vec<Timed> = blocks.iter().map(|task| self.block(task, launch_s)).collect();
        let (fixed, computing) = apart.iter().fold((0.0, 0.0), |(a, b), block| (a + block.at_least(), b + block.computing));
        let grounds = self.grounds(&walk, &samples, blocks);
        let each = || apart.iter().map(|block| block.seconds());
        if samples.is_empty() || flops <= 0.0 || fixed + computing <= 0.0 {
            return (each().collect(), grounds);
        }
        rising(&mut samples);
        let known = Line::through(&samples).unwrap_or(Line { a: fixed, b: computing / flops });
        let share = interpolate(&samples, known, flops) / each().sum::<f64>();
        (each().map(|seconds| seconds * share).collect(), grounds)
    }

    /// Returns the memory beyond weights that such a walk has been seen to take; at about its size, where not at just that.
    #[must_use]
    #[expect(clippy::cast_sign_loss, reason = "neither is below 0")]
    pub fn beyond(&self, walk: &Walk) -> Option<Bytes> {
        let apart = |sample: &Sample| (walk.flops / sample.walk.flops).ln().abs();
        let near = self.samples.iter().filter(|s| s.is_sound() && s.walk.is_near(walk)).filter_map(|s| Some((s, s.beyond?)));
        let (sample, bytes) = near.min_by(|(a, _), (b, _)| apart(a).total_cmp(&apart(b)))?;
        // It grows with the cells of a latent; attention, and with it what is computed, grows sooner.
        Some(Bytes((bytes.get() as f64 * (walk.flops / sample.walk.flops).max(1.0)).ceil() as u64))
    }

    fn block(&self, task: &Task, launch_s: f64) -> Timed {
        let computing = |kind: BlockKind| task.effort.flops_of(kind) / self.kind(kind).flops.max(1.0);
        Timed {
            launching: task.products as f64 * launch_s,
            reading: task.bytes.get() as f64 / self.kind(task.effort.kind()).bytes_per_second.max(1.0),
            computing: BlockKind::ALL.into_iter().map(computing).sum(),
        }
    }

    /// The seconds of giving out one product: no walk that was measured took less than that of all of its own.
    fn launch_of(&self, samples: &[Sample], blocks: &[Task]) -> f64 {
        let products: u64 = blocks.iter().map(|task| task.products).sum();
        let least = samples.iter().map(|sample| sample.seconds).reduce(f64::min);
        least.map_or(self.launch_s, |seconds| (seconds / products.max(1) as f64).min(self.launch_s * SLOWEST))
    }

    fn kind(&self, kind: BlockKind) -> Speed {
        self.kinds.iter().find(|(known, _)| *known == kind).map_or(self.assumed, |(_, speed)| *speed)
    }

    fn grounds(&self, walk: &Walk, samples: &[Sample], blocks: &[Task]) -> Grounds {
        let smaller = samples.iter().any(|s| s.walk.flops <= walk.flops);
        let larger = samples.iter().any(|s| s.walk.flops >= walk.flops);
        let known = |effort: &Effort| {
            BlockKind::ALL.into_iter().filter(|kind| effort.flops_of(*kind) > 0.0).all(|kind| self.kinds.iter().any(|(k, _)| *k == kind))
        };
        if (smaller && larger) || samples.iter().any(|s| s.walk.is_near(walk)) {
            Grounds::Steps
        } else if blocks.iter().all(|task| known(&task.effort)) {
            Grounds::Kinds
        } else if samples.is_empty() {
            Grounds::Assumed
        } else {
            Grounds::OtherSizes
        }
    }
}

/// What a block computes in one walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Task {
    /// Operations.
    pub effort: Effort,
    /// The size of its weights, as they are computed with.
    pub bytes: Bytes,
    /// Its matrices and kernels: each is a product, with a norm, an activation or a sum around it.
    pub products: u64,
}

/// The times of a block, of which the device's own are one after the other, and beside that of being given its work.
#[derive(Debug, Clone, Copy)]
struct Timed {
    launching: f64,
    reading: f64,
    computing: f64,
}

impl Timed {
    fn seconds(self) -> f64 {
        self.launching.max(self.reading + self.computing)
    }

    /// What it takes where it computes next to nothing.
    fn at_least(self) -> f64 {
        self.launching.max(self.reading)
    }
}

/// How much longer giving out a product may take than is assumed.
const SLOWEST: f64 = 3.0;

/// Seconds in which a processor is assumed to give out the work around one product.
const fn launch(compute: DeviceId) -> f64 {
    match compute {
        // What is simulated computes on the processor.
        DeviceId::Cpu | DeviceId::Disk | DeviceId::Sim(_) => 0.0,
        DeviceId::Cuda(_) | DeviceId::Amd(_) => 4e-5,
    }
}

/// Bytes of weights in a second that computing is assumed to read where they lie on its device.
const fn memory(compute: DeviceId) -> f64 {
    match compute {
        // Two channels of memory.
        DeviceId::Cpu | DeviceId::Disk => 12e9,
        // A card of the middle class.
        DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) => 4e11,
    }
}

impl Sample {
    fn is_sound(&self) -> bool {
        self.seconds.is_finite() && self.seconds > 0.0 && self.walk.flops.is_finite() && self.walk.flops > 0.0
    }
}

/// `a + b · flops` seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    a: f64,
    b: f64,
}

impl Line {
    fn at(self, flops: f64) -> f64 {
        self.a + self.b * flops
    }

    /// The line that is least off, in shares of what was measured; where sizes are far enough apart to tell.
    fn through(samples: &[Sample]) -> Option<Self> {
        let (first, last) = (samples.first()?, samples.last()?);
        if last.walk.flops < APART * first.walk.flops {
            return None;
        }
        // Each is divided by its seconds, so that small steps count as much as large ones.
        let sum = |of: &dyn Fn(f64, f64) -> f64| samples.iter().map(|s| of(1.0 / s.seconds, s.walk.flops / s.seconds)).sum::<f64>();
        let (uu, uv, vv) = (sum(&|u, _| u * u), sum(&|u, v| u * v), sum(&|_, v| v * v));
        let (u, v) = (sum(&|u, _| u), sum(&|_, v| v));
        let (a, b) = ((u * vv - v * uv) / (uu * vv - uv * uv), (v * uu - u * uv) / (uu * vv - uv * uv));
        let fits = a.is_finite() && b.is_finite();
        Some(match (a >= 0.0, b > 0.0) {
            (true, true) if fits => Self { a, b },
            _ => Self { a: 0.0, b: v / vv },
        })
    }

    /// The line through a sample: the term that counts there is made to fit, the other one is kept.
    fn through_one(self, sample: &Sample) -> Self {
        let (seconds, flops) = (sample.seconds, sample.walk.flops);
        let rest = if self.b * flops >= self.a { seconds - self.a } else { seconds - self.b * flops };
        if rest <= 0.0 {
            let share = seconds / self.at(flops);
            return Self { a: self.a * share, b: self.b * share };
        }
        if self.b * flops >= self.a { Self { a: self.a, b: rest / flops } } else { Self { a: rest, b: self.b } }
    }
}

/// Sorts samples by size; none takes less than a smaller one, and of one size there is one, the newest.
fn rising(samples: &mut Vec<Sample>) {
    samples.reverse();
    samples.sort_by(|a, b| a.walk.flops.total_cmp(&b.walk.flops));
    samples.dedup_by(|later, first| later.walk.flops <= first.walk.flops);
    let mut most = 0.0f64;
    for sample in samples {
        most = most.max(sample.seconds);
        sample.seconds = most;
    }
}

/// The seconds of a walk, from those of others, the smallest first, and from what is known beyond them.
fn interpolate(samples: &[Sample], known: Line, flops: f64) -> f64 {
    let after = samples.partition_point(|s| s.walk.flops < flops);
    match (after.checked_sub(1).and_then(|k| samples.get(k)), samples.get(after)) {
        (Some(below), Some(above)) => {
            let share = (flops - below.walk.flops) / (above.walk.flops - below.walk.flops);
            below.seconds + share * (above.seconds - below.seconds)
        }
        (Some(one), None) | (None, Some(one)) => known.through_one(one).at(flops),
        (None, None) => known.at(flops),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_beyond_weights_is_what_such_a_walk_took() {
        let walk = |weights, flops| Walk { weights, flops };
        let sample = |weights, flops, mib| Sample { walk: walk(weights, flops), seconds: 1.0, beyond: Some(Bytes::mib(mib)) };
        let mut pace = Pace::assumed(DeviceId::Cuda(0));
        pace.samples.push(Sample { beyond: None, ..sample(WEIGHTS, 1e12, 0) });
        assert_eq!(pace.beyond(&walk(WEIGHTS, 1e12)), None, "nobody has looked");
        pace.samples.extend([sample(WEIGHTS, 2e12, 300), sample(WEIGHTS, 8e12, 1000), sample(WEIGHTS / 3, 2e12, 50)]);
        let mib = |flops| pace.beyond(&walk(WEIGHTS, flops)).map(|bytes| bytes.get() >> 20);
        assert_eq!((mib(2e12), mib(8e12), mib(7e12)), (Some(300), Some(1000), Some(1000)));
        assert_eq!((mib(3e12), mib(1e15)), (Some(450), None), "a larger one takes more, and of one much larger nothing is known");
    }

    const WEIGHTS: u64 = 860_000_000;

    fn pace(samples: &[(f64, f64)]) -> Pace {
        let sample =
            |(flops, seconds): &(f64, f64)| Sample { walk: Walk { weights: WEIGHTS, flops: *flops }, seconds: *seconds, beyond: None };
        Pace { samples: samples.iter().map(sample).collect(), ..Pace::assumed(DeviceId::Cpu) }
    }

    fn task(kind: BlockKind, flops: f64, bytes: u64) -> Task {
        Task { effort: Effort::of(kind, flops), bytes: Bytes(bytes), products: 2 }
    }

    /// One block with 3.44 GB of weights, on a processor that is assumed to do 3e11 operations and 12e9 bytes a second.
    fn at(pace: &Pace, flops: f64) -> (f64, Grounds) {
        let (seconds, grounds) = pace.seconds(WEIGHTS, &[task(BlockKind::Convolution, flops, 4 * WEIGHTS)]);
        (seconds.iter().sum(), grounds)
    }

    #[track_caller]
    fn check(pace: &Pace, flops: f64, seconds: f64, grounds: Grounds) {
        let (found, rests_on) = at(pace, flops);
        assert!((found - seconds).abs() < 1e-9 * seconds && rests_on == grounds, "{found} s by {rests_on:?}");
    }

    #[test]
    fn small_steps_are_bound_by_reading_weights_and_large_ones_by_computing() {
        let assumed = pace(&[]);
        check(&assumed, 3e9, 0.01 + 3.44 / 12.0, Grounds::Assumed);
        check(&assumed, 3e12, 10.0 + 3.44 / 12.0, Grounds::Assumed);
    }

    #[test]
    fn what_was_measured_is_foretold_and_sizes_between_lie_on_a_line() {
        let two = pace(&[(1e10, 0.4), (1.6e12, 11.9)]);
        check(&two, 1e10, 0.4, Grounds::Steps);
        check(&two, 1.6e12, 11.9, Grounds::Steps);
        check(&two, 8.05e11, 6.15, Grounds::Steps);
        // Beyond: on the same line, which is `0.328 + 7.23e-12 flops`.
        let slope = 11.5 / 1.59e12;
        check(&two, 3.2e12, 11.9 + 1.6e12 * slope, Grounds::Steps);
        check(&two, 6.4e12, 11.9 + 4.8e12 * slope, Grounds::OtherSizes);
    }

    #[test]
    fn one_size_tells_of_the_term_that_counts_there() {
        // A small step says how fast weights are read, and nothing of computing.
        let small = pace(&[(1e10, 0.5)]);
        check(&small, 1e10, 0.5, Grounds::Steps);
        check(&small, 1.6e12, 0.5 + 1.59e12 / 3e11, Grounds::OtherSizes);
        // A large one the other way round.
        let large = pace(&[(1.6e12, 12.0)]);
        check(&large, 1e10, 3.44 / 12.0 + 1e10 * (12.0 - 3.44 / 12.0) / 1.6e12, Grounds::OtherSizes);
        // One that took less than reading alone was assumed to take.
        check(&pace(&[(1e10, 0.03)]), 1e10, 0.03, Grounds::Steps);
    }

    #[test]
    fn another_network_says_nothing() {
        let mut tiny = pace(&[]);
        tiny.samples.push(Sample { walk: Walk { weights: WEIGHTS / 100, flops: 1e10 }, seconds: 55.0, beyond: None });
        tiny.samples.push(Sample { walk: Walk { weights: WEIGHTS, flops: 1e10 }, seconds: f64::NAN, beyond: None });
        check(&tiny, 1e10, 1.0 / 30.0 + 3.44 / 12.0, Grounds::Assumed);
        tiny.samples.push(Sample { walk: Walk { weights: WEIGHTS + 20_000, flops: 1e10 }, seconds: 0.7, beyond: None });
        check(&tiny, 1e10, 0.7, Grounds::Steps);
    }

    #[test]
    fn kinds_that_were_measured_are_relied_on_and_share_out_what_steps_take() {
        let speed = |flops, bytes_per_second| Speed { flops, bytes_per_second, measured: true };
        let mut pace = pace(&[]);
        pace.kinds = vec![(BlockKind::Convolution, speed(1e11, 1e10))];
        check(&pace, 1e12, 10.0 + 0.344, Grounds::Kinds);
        let blocks = [task(BlockKind::Convolution, 1e12, 0), task(BlockKind::Attention, 1e12, 0)];
        assert_eq!(pace.seconds(WEIGHTS, &blocks).1, Grounds::Assumed, "one of them was not");
        pace.kinds.push((BlockKind::Attention, speed(2e11, 1e10)));
        assert_eq!(pace.seconds(WEIGHTS, &blocks), (vec![10.0, 5.0], Grounds::Kinds));
        pace.samples.push(Sample { walk: Walk { weights: WEIGHTS, flops: 2e12 }, seconds: 30.0, beyond: None });
        let (seconds, grounds) = pace.seconds(WEIGHTS, &blocks);
        assert!((seconds[0] - 20.0).abs() < 1e-9 && (seconds[1] - 10.0).abs() < 1e-9 && grounds == Grounds::Steps, "{seconds:?}");
    }

    #[test]
    fn the_newest_of_one_size_counts_and_no_larger_step_takes_less() {
        check(&pace(&[(1e12, 5.0), (1e12, 7.0)]), 1e12, 7.0, Grounds::Steps);
        check(&pace(&[(1e12, 5.0), (2e12, 4.0)]), 2e12, 5.0, Grounds::Steps);
    }

    /// Two blocks of as many products, of which one is a hundred times larger.
    #[test]
    fn what_a_gpu_is_done_with_sooner_than_it_is_told_takes_the_time_of_being_told() {
        let mut pace = Pace::assumed(DeviceId::Cuda(0));
        pace.kinds = vec![(BlockKind::Convolution, Speed { flops: 1e14, bytes_per_second: 1e12, measured: true })];
        let blocks = |flops: f64| [task(BlockKind::Convolution, flops, 1_000_000), task(BlockKind::Convolution, flops / 100.0, 10_000)];
        let seconds = |pace: &Pace, flops: f64| pace.seconds(WEIGHTS, &blocks(flops)).0;
        let is_near = |found: &[f64], expected: [f64; 2]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(is_near(&seconds(&pace, 1e9), [80e-6, 80e-6]));
        assert!(is_near(&seconds(&pace, 1e12), [0.01 + 1e-6, 0.0001 + 1e-8]));
        // A walk that was measured says how long being told takes here; a slow one does not make all of it that.
        let walk = |flops: f64| Walk { weights: WEIGHTS, flops: flops * 1.01 };
        pace.samples.push(Sample { walk: walk(1e9), seconds: 200e-6, beyond: None });
        assert!(is_near(&seconds(&pace, 1e9), [100e-6, 100e-6]));
        pace.samples.push(Sample { walk: walk(1e9), seconds: 10e-3, beyond: None });
        assert!(is_near(&seconds(&pace, 1e9), [5e-3, 5e-3]));
        let [large, small] = <[f64; 2]>::try_from(seconds(&pace, 1e13)).unwrap();
        assert!(large > 50.0 * small, "{large} {small}");
    }

    proptest! {
        #[test]
        fn time_is_positive_and_grows_with_size(
            samples in proptest::collection::vec((1e6..1e15f64, 1e-4..1e3f64), 0..6),
            sizes in proptest::collection::vec(1e5..1e16f64, 2..20),
        ) {
            let pace = pace(&samples);
            let mut sizes = sizes;
            sizes.sort_by(f64::total_cmp);
            let seconds: Vec<f64> = sizes.iter().map(|flops| at(&pace, *flops).0).collect();
            prop_assert!(seconds.iter().all(|s| s.is_finite() && *s > 0.0), "{seconds:?}");
            prop_assert!(seconds.windows(2).all(|w| w[0] <= w[1] * (1.0 + 1e-9)), "{seconds:?}");
        }
    }
}
