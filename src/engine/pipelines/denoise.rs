//! From noise to clean latents.

use tch::{Device, Kind, Tensor};

use super::latent::Latent;
use super::noise::NoiseSource;
use super::solve::{Around, Asked, Denoiser, Eye, Memory};
use super::text::{Conditioning, Said};
use crate::engine::EngineError;
use crate::engine::device::kind;
use crate::engine::loading::LoadedDenoiser;
use crate::engine::nn::time_embedding;
use crate::engine::nn::wide::stream;
use crate::families::defaults::Levels;
use crate::families::{DenoiserConfig, Family, Habits};
use crate::sampling::{Course, NoiseTable, StartNoise, solve};
use crate::units::Size;
use crate::weights::Precision;
use crate::workflow::JobSpec;

/// The levels of a run and the latent it starts from.
#[derive(Debug)]
pub struct Start {
    /// Noise levels, falling.
    pub sigmas: Vec<f64>,
    /// `[B, C, h, w]` in fp32.
    pub latent: Latent,
    /// Noise for later.
    pub noise: NoiseSource,
}

/// Returns the noise levels that the model of a job was trained on.
#[must_use]
pub fn table(spec: &JobSpec) -> NoiseTable {
    let levels = Habits::of(spec.set.family, &spec.set.variant).levels;
    match (levels, spec.shift) {
        (Levels::Flow { entries, .. }, Some(shift)) => NoiseTable::flow(shift, entries),
        (Levels::Flow { .. } | Levels::Betas, _) => levels.table(spec.size),
    }
}

/// Draws the noise to start from, over `picture`'s latent `[1, C, h, w]` where there is one.
#[must_use]
pub fn start(spec: &JobSpec, table: &NoiseTable, picture: Option<&Tensor>, device: Device) -> Start {
    let denoise = spec.init.as_ref().map_or(1.0, |init| init.denoise);
    let course = Course { sampler: spec.sampler, schedule: spec.schedule, steps: spec.steps as usize, denoise };
    let sigmas = course.sigmas(table);
    let (height, width) = spec.size.latent();
    let channels = i64::try_from(spec.set.family.latent_space().channels).unwrap_or(i64::MAX);
    let noise = NoiseSource::new(spec.seed, spec.batch, [channels, height, width], device);
    let begin = StartNoise::at(sigmas.first().copied().unwrap_or(0.0), table);
    let fresh = Latent(noise.start());
    let below = picture.map_or_else(|| fresh.0.zeros_like(), |p| p.expand_as(&fresh.0));
    let latent = begin.mix(&fresh, &Latent(below));
    Start { sigmas, latent, noise }
}

/// Takes the noise away, step by step; returns clean latents `[B, C, h, w]` in fp32.
pub fn sample(
    spec: &JobSpec,
    network: &LoadedDenoiser,
    table: &NoiseTable,
    start: Start,
    conditioning: &Conditioning,
    precision: Precision,
    around: &mut dyn Around,
) -> Result<Tensor, EngineError> {
    let eye = Eye {
        network,
        table,
        prediction: spec.prediction,
        cfg: spec.cfg,
        guidance: spec.guidance,
        rescale: spec.cfg_rescale,
        passes: spec.passes,
        positive: asked(spec, network, &conditioning.positive),
        negative: conditioning.negative.as_ref().map(|said| asked(spec, network, said)),
        kind: stream(kind(precision)),
    };
    let mut denoiser = Denoiser { eye, noise: start.noise, around, memory: Memory::new(spec.sampler) };
    Ok(solve(spec.sampler, table.noising(), &start.sigmas, start.latent, &mut denoiser)?.0)
}

/// Returns what the network is told for a prompt.
fn asked(spec: &JobSpec, network: &LoadedDenoiser, said: &Said) -> Asked {
    let context = match &network.config {
        // Without T5 nobody knew its width.
        DenoiserConfig::Sd3(sd3) => {
            let missing = i64::try_from(sd3.context_width).unwrap_or(i64::MAX).saturating_sub(said.context.size()[2]);
            said.context.constant_pad_nd([0, missing.max(0)])
        }
        DenoiserConfig::Unet(_) | DenoiserConfig::Flux(_) | DenoiserConfig::ZImage(_) => said.context.shallow_clone(),
    };
    let vector = said.pooled.as_ref().map(|pooled| match spec.set.family {
        Family::Sdxl => with_sizes(pooled, spec.size),
        Family::Sd15 | Family::Sd2 | Family::SdxlRefiner | Family::Sd3 | Family::Flux | Family::ZImage => pooled.shallow_clone(),
    });
    Asked { context, vector }
}

/// The width of each number that SDXL is told of a picture.
/// Source: Stability AI's `generative-models`, `configs/inference/sd_xl_base.yaml`, `ConcatTimestepEmbedderND`.
const NUMBER_WIDTH: i64 = 256;

/// `pooled [1, P]` to `[1, P + 6 · 256]`: the whole of the text, then height and width of the original, what was cut off above and on
/// the left, and height and width of the picture. A picture is its own original.
fn with_sizes(pooled: &Tensor, size: Size) -> Tensor {
    let (height, width) = (f64::from(size.height()), f64::from(size.width()));
    let numbers = [height, width, 0.0, 0.0, height, width];
    let embedded = numbers.map(|number| time_embedding(number, NUMBER_WIDTH, pooled.device()));
    let parts: Vec<Tensor> = std::iter::once(pooled.to_kind(Kind::Float)).chain(embedded).collect();
    Tensor::cat(&parts, 1)
}
