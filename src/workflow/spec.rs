//! A job as it will be done: nothing is open any more.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::families::cost::Work;
use crate::families::{Component, Family, Habits, Role};
use crate::placement::{OffloadAsk, Part, PartAsks};
use crate::prompt::{Dialect, Weighting};
use crate::quant::precision::Target;
use crate::sampling::{Prediction, Sampler, Schedule};
use crate::tokens::vocabulary::Place;
use crate::units::{Bytes, DeviceId, Seed, Size};
use crate::weights::Precision;

/// The files that make up one model, together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSet {
    /// What it is called on screens: the file's stem.
    pub name: String,
    /// Its family.
    pub family: Family,
    /// Which member of it.
    pub variant: String,
    /// Its parts, one per role.
    pub components: Vec<Component>,
    /// Where the words are that its text encoders know, where no program may carry them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vocabularies: BTreeMap<Role, Place>,
}

impl ModelSet {
    /// Returns the part of this role.
    #[must_use]
    pub fn component(&self, role: Role) -> Option<&Component> {
        self.components.iter().find(|c| c.role == role)
    }

    /// Has the part of this role come from elsewhere.
    pub fn replace(&mut self, component: Component) {
        if let Some(part) = self.components.iter_mut().find(|c| c.role == component.role) {
            *part = component;
        }
    }

    /// Returns the stored size of all parts.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.components.iter().map(|c| c.bytes).sum()
    }
}

/// Returns how asks name a part.
#[must_use]
pub fn part_of(role: Role) -> Part {
    match role {
        Role::Denoiser => Part::Denoiser,
        Role::ClipL => Part::ClipL,
        Role::ClipG => Part::ClipG,
        Role::T5 => Part::T5,
        Role::Qwen => Part::Qwen,
        Role::Vae => Part::Vae,
    }
}

/// The words with which a model was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// A path, or a name from the model folders.
    pub model: String,
    /// The autoencoder to use instead of the model's own.
    pub vae: Option<String>,
    /// The text encoders to use instead of the model's own.
    pub clip: Vec<String>,
    /// Which member of its family the model is, where its shapes do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Folders to look for all of these in, in place of the daemon's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<PathBuf>,
    /// Those that were given for one role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub encoders: BTreeMap<Role, String>,
}

/// A diffusion network that is run as something else than it was stored as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// Out of what.
    pub wish: Wish,
    /// Where the result lies, once it was found or made. The set has it then as its diffusion network.
    pub result: Option<PathBuf>,
}

/// What is to be converted, and to what. Those who wish the same share the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wish {
    /// The file or folder of the model.
    pub source: PathBuf,
    /// Which part of it: a role, or `whole`; the diffusion network, or what else there is, when left out.
    pub part: Option<String>,
    /// What it becomes.
    pub to: Target,
}

/// A picture to start from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InitImage {
    /// Where it is.
    pub path: PathBuf,
    /// How much of it is made anew, above 0 and up to 1.
    pub denoise: f64,
}

/// Whether the autoencoder works in tiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiling {
    /// When the whole picture would not fit.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Why a text is no tiling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a way of tiling; use auto, always or never")]
pub struct TilingError {
    /// What was typed.
    pub text: String,
}

impl FromStr for Tiling {
    type Err = TilingError;
    fn from_str(text: &str) -> Result<Self, TilingError> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(TilingError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// Whether guidance asks the network for both of its answers at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Passes {
    /// As one batch of two: faster where there is memory for it.
    #[default]
    Together,
    /// One after the other: half of the activations.
    Apart,
}

impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Together => "together",
            Self::Apart => "apart",
        })
    }
}

/// Why a text names no way of guidance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a way to run guidance; use together or apart")]
pub struct PassesError {
    /// What was typed.
    pub text: String,
}

impl FromStr for Passes {
    type Err = PassesError;
    fn from_str(text: &str) -> Result<Self, PassesError> {
        match text {
            "together" => Ok(Self::Together),
            "apart" => Ok(Self::Apart),
            _ => Err(PassesError { text: text.to_owned() }),
        }
    }
}

/// A job as it will be done. Stored in the ledger as JSON; new fields need a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What to load.
    pub set: ModelSet,
    /// The words that named it, to ask for it again.
    pub named: Named,
    /// What the picture shows.
    pub prompt: String,
    /// What it must not show.
    pub negative: String,
    /// How both are written.
    #[serde(default)]
    pub dialect: Dialect,
    /// How their weights are applied.
    #[serde(default)]
    pub weighting: Weighting,
    /// Solver steps, at least 1.
    pub steps: u32,
    /// Guidance scale; 1 is none.
    pub cfg: f64,
    /// How strongly a network that was taught guidance is told to follow the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// How much of guidance's excess of contrast is taken back, 0…1.
    #[serde(default)]
    pub cfg_rescale: f64,
    /// How far the noise levels of flow matching are shifted upwards; the family's own rule when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shift: Option<f64>,
    /// Solver.
    pub sampler: Sampler,
    /// Noise schedule.
    pub schedule: Schedule,
    /// What the network predicts.
    pub prediction: Prediction,
    /// Seed of the first image.
    pub seed: Seed,
    /// Size of each image.
    pub size: Size,
    /// Images made together, at least 1.
    pub batch: u32,
    /// What to compute in; `None` is what is usual: fp32 on a processor, the family's own 16 bits on a GPU.
    pub precision: Option<Precision>,
    /// What becomes of the diffusion network before it is run.
    #[serde(default)]
    pub conversion: Option<Conversion>,
    /// A picture to start from.
    pub init: Option<InitImage>,
    /// Whether the autoencoder works in tiles.
    pub tiling: Tiling,
    /// Whether both passes of guidance run at once.
    #[serde(default)]
    pub passes: Passes,
    /// Whether the file of each image keeps the latent it was decoded from.
    #[serde(default)]
    pub keep_latents: bool,
    /// Folder for the images, absolute.
    pub output: PathBuf,
    /// Jobs of higher priority run first.
    pub priority: i32,
    /// The device that computes.
    pub compute: DeviceId,
    /// Which weights of the diffusion network live elsewhere.
    #[serde(default)]
    pub offload: OffloadAsk,
    /// Which weights of other parts do.
    #[serde(default)]
    pub parts: PartAsks,
    /// Who asked.
    pub owner: String,
    /// What was decided for the operator, to be told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl JobSpec {
    /// Returns whether more is known of it than its line in the list. A record that cannot be read has no steps,
    /// which no job has that was ever taken.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.steps > 0
    }

    /// Returns what is asked to be offloaded of a part.
    #[must_use]
    pub fn ask_of(&self, role: Role) -> OffloadAsk {
        match part_of(role) {
            Part::Denoiser => self.offload.clone(),
            part => self.parts.of(part),
        }
    }

    /// Returns whether the network is asked twice, with the text and with what the picture must not show.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "exactly 1 is how no guidance is asked for")]
    pub fn is_guided(&self) -> bool {
        self.cfg != 1.0
    }

    /// Returns what the network is given in a step.
    #[must_use]
    pub fn work(&self) -> Work {
        let work = Work::of(self.size, self.batch, self.cfg, self.sampler.evaluations());
        match self.passes {
            Passes::Apart if self.is_guided() => Work { walks: work.walks * 2, ..work },
            Passes::Apart | Passes::Together => work,
        }
    }

    /// Returns the precision that was asked for: what the network is stored as, or what is computed in.
    #[must_use]
    pub fn asked_precision(&self) -> Option<Target> {
        self.conversion.as_ref().map(|c| c.wish.to.clone()).or_else(|| self.precision.map(Target::from))
    }

    /// Returns what is computed in: what was asked for, or what is usual for such a model on such a device.
    #[must_use]
    pub fn computes_in(&self) -> Precision {
        self.precision.unwrap_or(match self.compute {
            // A simulated GPU computes on the processor.
            DeviceId::Cpu | DeviceId::Sim(_) => Precision::Fp32,
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Disk => Habits::of(self.set.family, &self.set.variant).narrow,
        })
    }
}
