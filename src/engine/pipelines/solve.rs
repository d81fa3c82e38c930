//! Lets a solver of `sampling` work on latents with a UNet.

use std::time::Instant;

use tch::{Kind, Tensor};

use super::latent::Latent;
use super::noise::NoiseSource;
use crate::engine::EngineError;
use crate::engine::loading::LoadedDenoiser;
use crate::engine::models::denoiser::Pass;
use crate::sampling::solver::Field;
use crate::sampling::{Brownian, NoiseTable, Prediction, Sampler, TimeRule, guide, guide_rescaled};
use crate::workflow::Passes;

/// What goes on around a run's steps.
pub trait Around {
    /// Has the network look at the latents once. Where memory runs out it may make room and have it look again: solver and
    /// noise were not touched meanwhile, so the repeated step is the same step.
    fn look(&mut self, look: &dyn Fn() -> Result<Latent, EngineError>) -> Result<Latent, EngineError> {
        look()
    }

    /// Hears of every finished step: its number from 0, its seconds, and the newest estimate of the clean latent.
    /// An error stops the run. It may wait, too: this is where a run is held, and where its weights move.
    fn finished_step(&mut self, step: usize, seconds: f64, denoised: &Tensor) -> Result<(), EngineError>;
}

/// Everything that a denoising run needs besides its solver.
pub struct Denoiser<'a> {
    /// What looks at the latents.
    pub eye: Eye<'a>,
    /// Noise for stochastic solvers.
    pub noise: NoiseSource,
    /// What goes on around the steps.
    pub around: &'a mut dyn Around,
    /// See [`Memory`].
    pub memory: Memory,
}

/// The network and all that its answers depend on besides the latents.
pub struct Eye<'a> {
    /// The network.
    pub network: &'a LoadedDenoiser,
    /// Noise level to time.
    pub table: &'a NoiseTable,
    /// What the network's output means.
    pub prediction: Prediction,
    /// Guidance scale; 1 is none.
    pub cfg: f64,
    /// How strongly to follow the text, to networks that are told so.
    pub guidance: Option<f64>,
    /// How much of guidance's excess of contrast is taken back, 0…1.
    pub rescale: f64,
    /// Whether both passes of guidance run together.
    pub passes: Passes,
    /// What the picture shows.
    pub positive: Asked,
    /// What it must not show; without it there is no guidance.
    pub negative: Option<Asked>,
    /// The type of the network's stream.
    pub kind: Kind,
}

/// What a network is told besides the latents and their time.
#[derive(Debug)]
pub struct Asked {
    /// The text, `[1, L, C]`.
    pub context: Tensor,
    /// What is said of the picture as a whole, `[1, V]`.
    pub vector: Option<Tensor>,
}

impl Asked {
    /// Returns the same for a batch.
    fn wide(&self, batch: i64) -> Self {
        let vector = self.vector.as_ref().map(|v| v.expand([batch, -1], false));
        Self { context: self.context.expand([batch, -1, -1], false), vector }
    }

    /// Returns both, one after the other in one batch; nothing where their texts are of different lengths.
    fn joined(&self, other: &Self) -> Option<Self> {
        let vector = match (&self.vector, &other.vector) {
            (Some(a), Some(b)) => Some(Tensor::cat(&[a, b], 0)),
            _ => None,
        };
        let same = self.context.size()[1..] == other.context.size()[1..];
        same.then(|| Self { context: Tensor::cat(&[&self.context, &other.context], 0), vector })
    }
}

/// What a run remembers between calls.
#[derive(Debug)]
pub struct Memory {
    brownian: Option<Brownian<Latent>>,
    draws: u64,
    step: usize,
    began: Instant,
}

impl Memory {
    /// Returns the memory of a run that begins now.
    #[must_use]
    pub fn new(sampler: Sampler) -> Self {
        // Only this solver asks for stretches of noise that overlap.
        let brownian = (sampler == Sampler::DpmppSde).then(Brownian::default);
        Self { brownian, draws: 0, step: 0, began: Instant::now() }
    }
}

impl Eye<'_> {
    /// `x [B, C, h, w]` in the stream's type to the network's output, guidance not yet applied: without, with.
    fn passes(&self, x: &Tensor, time: f64) -> Result<(Option<Tensor>, Tensor), EngineError> {
        let batch = x.size()[0];
        let forward = |x: &Tensor, asked: &Asked| -> Result<Tensor, EngineError> {
            let pass = Pass { x, time, context: &asked.context, vector: asked.vector.as_ref(), guidance: self.guidance };
            Ok(self.network.model.forward(&self.network.residency, pass)?.to_kind(Kind::Float))
        };
        let positive = self.positive.wide(batch);
        let Some(negative) = self.negative.as_ref().map(|asked| asked.wide(batch)) else {
            return Ok((None, forward(x, &positive)?));
        };
        let together = match self.passes {
            Passes::Together => negative.joined(&positive),
            Passes::Apart => None,
        };
        if let Some(asked) = together {
            let both = forward(&Tensor::cat(&[x, x], 0), &asked)?;
            return Ok((Some(both.narrow(0, 0, batch)), both.narrow(0, batch, batch)));
        }
        let without = forward(x, &negative)?;
        Ok((Some(without), forward(x, &positive)?))
    }

    /// Returns the estimate of the clean latent in `x`, both in fp32.
    fn look(&self, x: &Latent, sigma: f64, step: usize) -> Result<Latent, EngineError> {
        // A look that was broken off may have left it so.
        self.network.residency.watch(false);
        let input = (&x.0 * self.prediction.input_scale(sigma)).to_kind(self.kind);
        let (without, with) = self.passes(&input, self.table.time_of(sigma, TimeRule::Interpolated))?;
        let clean = |output: &Latent| self.prediction.denoised(x, output, sigma);
        let with = Latent(with);
        let denoised = match without.map(Latent) {
            None => clean(&with),
            Some(without) if self.rescale > 0.0 => clean(&guide_rescaled(&with, &without, self.cfg, self.rescale)),
            Some(without) => guide(&clean(&with), &clean(&without), self.cfg),
        };
        let finite = denoised.0.isfinite().all().int64_value(&[]) != 0;
        if finite { Ok(denoised) } else { Err(self.find_culprit(&x.0, sigma, step)) }
    }

    /// Runs the last call again with every block's output looked at, to name the first that is not finite.
    fn find_culprit(&self, x: &Tensor, sigma: f64, step: usize) -> EngineError {
        let residency = &self.network.residency;
        residency.watch(true);
        let input = (x * self.prediction.input_scale(sigma)).to_kind(self.kind);
        let found = self.passes(&input, self.table.time_of(sigma, TimeRule::Interpolated));
        residency.watch(false);
        match found {
            Err(EngineError::NotFinite { place, .. }) => EngineError::NotFinite { place, step },
            Err(other) => other,
            Ok(_) => EngineError::NotFinite { place: "guidance".to_owned(), step },
        }
    }
}

impl Field<Latent> for Denoiser<'_> {
    type Error = EngineError;

    fn denoise(&mut self, x: &Latent, sigma: f64) -> Result<Latent, EngineError> {
        let (eye, step) = (&self.eye, self.memory.step + 1);
        self.around.look(&|| eye.look(x, sigma, step))
    }

    fn noise(&mut self, from: f64, to: f64) -> Result<Latent, EngineError> {
        let fresh = Latent(self.noise.later(self.memory.draws));
        self.memory.draws += 1;
        Ok(match &mut self.memory.brownian {
            Some(brownian) => brownian.noise(from, to, fresh),
            None => fresh,
        })
    }

    fn finished_step(&mut self, step: usize, _x: &Latent, denoised: &Latent) -> Result<(), EngineError> {
        let seconds = self.memory.began.elapsed().as_secs_f64();
        self.memory.step = step + 1;
        self.around.finished_step(step, seconds, &denoised.0)?;
        self.memory.began = Instant::now();
        Ok(())
    }
}
