//! How far a picture is from another, in numbers.

/// Grey levels of a channel of 8 bits, less one.
const PEAK: f64 = 255.0;

/// The differences of samples of 8 bits, added up; of several pictures, too.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Difference {
    squared: f64,
    absolute: f64,
    samples: u64,
}

impl Difference {
    /// Returns the difference of two pictures' samples, where they have as many.
    #[must_use]
    pub fn between(one: &[u8], other: &[u8]) -> Option<Self> {
        if one.len() != other.len() {
            return None;
        }
        let apart = one.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)));
        let (squared, absolute) = apart.fold((0.0, 0.0), |(squared, absolute), d| (d.mul_add(d, squared), absolute + d));
        Some(Self { squared, absolute, samples: one.len() as u64 })
    }

    /// Returns whether every sample is the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.absolute == 0.0
    }

    /// Returns the peak signal-to-noise ratio in dB, over all samples together; `None` where there is no difference.
    #[must_use]
    pub fn psnr(&self) -> Option<f64> {
        (!self.is_none()).then(|| 10.0 * (PEAK * PEAK * self.samples as f64 / self.squared).log10())
    }

    /// Returns the mean absolute difference of a sample, in grey levels.
    #[must_use]
    pub fn mean_absolute(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.absolute / self.samples as f64 }
    }
}

impl std::iter::Sum for Difference {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, d| Self {
            squared: sum.squared + d.squared,
            absolute: sum.absolute + d.absolute,
            samples: sum.samples + d.samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|v| (v - expected).abs() < 1e-3), "{value:?} is not {expected}");
    }

    #[test]
    fn known_pictures_have_known_numbers() {
        let black = [0_u8; 300];
        let between = |other: &[u8]| Difference::between(&black, other).unwrap();
        close(between(&[255; 300]).psnr(), 0.0);
        close(between(&[1; 300]).psnr(), 48.1308);
        close(between(&[16; 300]).psnr(), 24.0484);
        assert!((between(&[16; 300]).mean_absolute() - 16.0).abs() < 1e-12);
        assert_eq!((between(&black).psnr(), between(&black).is_none()), (None, true));
        assert_eq!(Difference::between(&black, &[0; 299]), None, "pictures of different sizes");
    }

    #[test]
    fn several_pictures_are_as_one() {
        let halves = [Difference::between(&[0; 8], &[2; 8]).unwrap(), Difference::between(&[9; 8], &[9; 8]).unwrap()];
        let whole = Difference::between(&[[0; 8], [9; 8]].concat(), &[[2; 8], [9; 8]].concat()).unwrap();
        assert_eq!(halves.into_iter().sum::<Difference>(), whole);
        close(whole.psnr(), 45.1205);
    }
}
