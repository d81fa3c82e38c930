//! Noise: drawn on the processor in fp32, image by image, so that it is the same everywhere.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::units::Seed;

/// libtorch has one generator for the processor; whoever seeds and draws holds this.
static GENERATOR: Mutex<()> = Mutex::new(());

/// The noise of a run. Every draw depends on the image's seed and its own number only, so an image is
/// the same alone and in a batch, and a repeated step gets the same noise again.
#[derive(Debug, Clone)]
pub struct NoiseSource {
    seeds: Vec<Seed>,
    shape: [i64; 3],
    device: Device,
}

impl NoiseSource {
    /// Returns the noise of `batch` images with consecutive seeds; `shape` is one latent's `[C, h, w]`.
    #[must_use]
    pub fn new(first: Seed, batch: u32, shape: [i64; 3], device: Device) -> Self {
        Self { seeds: (0..batch).map(|k| first.of_image(k)).collect(), shape, device }
    }

    /// Returns the noise to start from, `[B, C, h, w]`: what torch draws first after `manual_seed(seed)`.
    pub fn start(&self) -> Tensor {
        self.draw(crate::units::seed::Seed::as_torch)
    }

    /// Returns the noise of draw number `n`, `[B, C, h, w]`.
    pub fn later(&self, n: u64) -> Tensor {
        self.draw(|seed| mixed(seed, n).cast_signed())
    }

    fn draw(&self, torch_seed: impl Fn(Seed) -> i64) -> Tensor {
        let [c, h, w] = self.shape;
        let one = |seed: &Seed| {
            let _one_at_a_time = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
            tch::manual_seed(torch_seed(*seed));
            Tensor::randn([1, c, h, w], (Kind::Float, Device::Cpu))
        };
        let images: Vec<Tensor> = self.seeds.iter().map(one).collect();
        Tensor::cat(&images, 0).to_device(self.device)
    }
}

/// SplitMix64 (Steele et al. 2014): neighbouring seeds and draws give unrelated streams, so the noise of
/// image 2's start is not the noise of image 1's first step.
fn mixed(seed: Seed, n: u64) -> u64 {
    let mut z = seed.0.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_noise_does_not_depend_on_its_batch() {
        let shape = [4, 8, 8];
        let batch = NoiseSource::new(Seed(7), 3, shape, Device::Cpu);
        let alone = NoiseSource::new(Seed(9), 1, shape, Device::Cpu);
        assert!(batch.start().narrow(0, 2, 1) == alone.start());
        assert!(batch.later(5).narrow(0, 2, 1) == alone.later(5));
        assert!(batch.later(5) == batch.later(5), "a repeated draw is the same");
    }

    #[test]
    fn draws_are_unrelated() {
        let source = NoiseSource::new(Seed(7), 2, [4, 16, 16], Device::Cpu);
        let draws = [source.start(), source.later(0), source.later(1)].map(|d| [d.get(0), d.get(1)]).into_iter().flatten();
        let draws: Vec<Tensor> = draws.map(|d| d.flatten(0, -1)).collect();
        for (i, a) in draws.iter().enumerate() {
            for b in &draws[..i] {
                let correlation = (a.dot(b) / (a.norm() * b.norm())).double_value(&[]);
                assert!(correlation.abs() < 0.12, "{correlation}");
            }
        }
    }
}
