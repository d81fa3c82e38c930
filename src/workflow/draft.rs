//! A job as it was asked for: only what was said, nothing filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::families::Role;
use crate::placement::{OffloadAsk, PartAsks};
use crate::prompt::{Dialect, Weighting};
use crate::quant::precision::Target;
use crate::sampling::{Prediction, Sampler, Schedule};
use crate::units::{DeviceId, Seed, Size};
use crate::workflow::{Passes, Tiling};

/// A job as it was asked for. What is `None` is filled in by [`resolve`](fn@super::resolve).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobDraft {
    /// A path, or a name from the model folders.
    pub model: String,
    /// Which member of its family the model is, where its shapes do not tell.
    pub variant: Option<String>,
    /// An autoencoder to use instead of the model's own.
    pub vae: Option<String>,
    /// Text encoders to use instead of the model's own.
    pub clip: Vec<String>,
    /// Text encoders that are given for one role.
    pub encoders: BTreeMap<Role, String>,
    /// Model folders to look for all of these in, in place of the daemon's own. They are absolute.
    pub models: Vec<PathBuf>,
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show.
    pub negative: String,
    /// How both are written.
    pub dialect: Option<Dialect>,
    /// How their weights are applied.
    pub weighting: Option<Weighting>,
    /// Solver steps.
    pub steps: Option<u32>,
    /// Guidance scale; 1 is none.
    pub cfg: Option<f64>,
    /// How strongly a network that was taught guidance is told to follow the text.
    pub guidance: Option<f64>,
    /// How much of guidance's excess of contrast is taken back, 0…1.
    pub cfg_rescale: Option<f64>,
    /// How far the noise levels of flow matching are shifted upwards; the family's own rule when absent.
    pub shift: Option<f64>,
    /// Solver.
    pub sampler: Option<Sampler>,
    /// Noise schedule.
    pub schedule: Option<Schedule>,
    /// What the network predicts, where the file does not tell.
    pub prediction: Option<Prediction>,
    /// Seed of the first image; random when absent.
    pub seed: Option<Seed>,
    /// Size of each image.
    pub size: Option<Size>,
    /// Images made together; image `k` has seed + `k`.
    pub batch: Option<u32>,
    /// What to compute in, where that is something to compute in; else what the diffusion network is stored as.
    pub precision: Option<Target>,
    /// A picture to start from.
    pub init_image: Option<PathBuf>,
    /// How much of it is made anew, 0…1.
    pub denoise: Option<f64>,
    /// Whether the autoencoder works in tiles.
    pub tiling: Option<Tiling>,
    /// Whether both passes of guidance run at once.
    pub passes: Option<Passes>,
    /// Whether the file of each image keeps the latent it was decoded from.
    pub keep_latents: bool,
    /// Folder for the images.
    pub output: Option<PathBuf>,
    /// Jobs of higher priority run first.
    pub priority: Option<i32>,
    /// The device that computes.
    pub compute_device: Option<DeviceId>,
    /// Which weights of the diffusion network live elsewhere.
    pub offload: OffloadAsk,
    /// Which weights of other parts do.
    pub parts: PartAsks,
    /// Whether the job waits until it is released.
    pub held: bool,
    /// Who asks.
    pub owner: Option<String>,
}

impl JobDraft {
    /// Returns whether it names parts beside the model.
    #[must_use]
    pub fn names_parts(&self) -> bool {
        self.vae.is_some() || !self.clip.is_empty() || !self.encoders.is_empty()
    }
}
