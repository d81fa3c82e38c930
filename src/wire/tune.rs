//! What a tuner needs to work out plans by itself, however often the wish changes.

use serde::{Deserialize, Serialize};

use super::work::Placed;
use crate::placement::{History, Machine, Model, Share};
use crate::units::{Bytes, DeviceId, Size};
use crate::weights::Precision;

/// A job's diffusion network and the machine it is to live on, as the planner sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneView {
    /// The model set.
    pub model: String,
    /// Its family.
    pub family: String,
    /// What is computed in.
    pub precision: Precision,
    /// The device that computes.
    pub compute: DeviceId,
    /// The size of each picture.
    pub size: Size,
    /// Pictures made together.
    pub batch: u32,
    /// Its blocks, in order of execution.
    pub blocks: Vec<TuneBlock>,
    /// The same as something to be placed.
    pub network: Model,
    /// The memory and the speed of every device. What the engine has counts as free, since others would take its place.
    pub machine: Machine,
    /// What that is, with what of this network lies in the page cache.
    pub held: Vec<Share>,
    /// What an engine holds now of these files in this precision.
    pub active: Option<Box<Placed>>,
    /// How good forecasts have been on this box, where there were any.
    pub history: Option<History>,
}

/// What a block is called and what it takes where it is stored; what it takes where it is computed with stands in the
/// network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuneBlock {
    /// The common part of its tensors' names.
    pub name: String,
    /// Its size as stored.
    pub stored: Bytes,
}
