//! What can be typed about loaded model sets.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::conversions::age;
use super::part_args::{PartArgs, PlacingArgs};
use crate::quant::precision::Target;

/// The word for no end.
const EVER: &str = "ever";

/// How long a set stays that no job uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// So long.
    For(Duration),
    /// As long as nobody asks for its memory.
    Ever,
}

fn stay(text: &str) -> Result<Stay, String> {
    if text == EVER { Ok(Stay::Ever) } else { age(text).map(Stay::For) }
}

/// Model sets.
#[derive(Debug, Subcommand)]
pub enum SetsCommand {
    /// Lists what engines keep loaded, where it is, and who uses it
    List,
    /// Loads a model before a job wants it; what it shares with loaded ones is there already
    Load(Box<LoadArgs>),
    /// Has a set leave that no job uses (else exit 5)
    Unload {
        /// Its name or number; NAME@DEVICE where several devices hold it
        set: String,
    },
    /// Has a set stay, whoever asks for its memory
    Pin {
        /// Its name or number
        set: String,
    },
    /// Lets a pinned set leave again
    Unpin {
        /// Its name or number
        set: String,
    },
    /// Says how long a set stays that no job uses
    Keep {
        /// Its name or number
        set: String,
        /// 10m, 2h; `ever` is for as long as nobody asks for its memory
        #[arg(long = "for", value_name = "TIME", value_parser = stay)]
        time: Stay,
    },
}

/// What is to be loaded.
#[derive(Debug, Clone, Default, Args)]
pub struct LoadArgs {
    /// The model: a path, or a name from the model folders
    #[arg(value_name = "PATH|NAME")]
    pub model: String,
    /// What it is made of.
    #[command(flatten)]
    pub parts: PartArgs,
    /// What to compute in: fp32, bf16, fp16; or what the diffusion network is stored as, where it was converted before
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Target>,
    /// Where it is computed, and where weights live.
    #[command(flatten)]
    pub placing: PlacingArgs,
}
