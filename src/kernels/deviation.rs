//! How far numbers that were stored are from what they were.

use std::ops::AddAssign;

/// How many sums run beside each other: what the widest processors hold in their lanes.
const LANES: usize = 16;

/// Sums of squares over numbers and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Deviation {
    /// Of the differences.
    pub error: f64,
    /// Of the numbers themselves.
    pub signal: f64,
}

impl Deviation {
    /// Returns the relative error: the length of the differences by the length of the numbers; 0 where nothing differs.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.error > 0.0 { (self.error / self.signal).sqrt() } else { 0.0 }
    }

    /// Returns the sums over these numbers. The order of adding depends on their count alone, so the bits do not depend on the processor.
    ///
    /// Numbers that are not finite before or after are passed over: they are counted elsewhere.
    #[expect(clippy::inline_always, reason = "it is compiled for wider processors")]
    #[inline(always)]
    pub(super) fn between(before: &[f32], after: &[f32]) -> Self {
        let (mut error, mut signal) = ([0.0_f64; LANES], [0.0_f64; LANES]);
        let mut add = |at: usize, before: f32, after: f32| {
            let finite = before.is_finite() && after.is_finite();
            let (before, after) = if finite { (f64::from(before), f64::from(after)) } else { (0.0, 0.0) };
            let difference = after - before;
            error[at] += difference * difference;
            signal[at] += before * before;
        };
        let ((runs, rest), (after_runs, after_rest)) = (before.as_chunks::<LANES>(), after.as_chunks::<LANES>());
        for (before, after) in runs.iter().zip(after_runs) {
            for at in 0..LANES {
                add(at, before[at], after[at]);
            }
        }
        for (at, (before, after)) in rest.iter().zip(after_rest).enumerate() {
            add(at, *before, *after);
        }
        Self { error: error.iter().sum(), signal: signal.iter().sum() }
    }
}

impl AddAssign for Deviation {
    fn add_assign(&mut self, other: Self) {
        self.error += other.error;
        self.signal += other.signal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_what_is_finite() {
        let before: Vec<f32> = (0..37_u8).map(f32::from).collect();
        let mut after = before.clone();
        (after[3], after[36], after[20]) = (5.0, 33.0, f32::INFINITY);
        let sums = Deviation::between(&before, &after);
        let signal: f64 = (0..37).filter(|i| *i != 20).map(|i| f64::from(i * i)).sum();
        assert_eq!(sums, Deviation { error: 4.0 + 9.0, signal });
        assert!((sums.relative() - (13.0 / signal).sqrt()).abs() < 1e-15);
        assert_eq!(Deviation::default().relative().to_bits(), 0);
    }
}
