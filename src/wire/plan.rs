//! What would become of a job's weights, before it is asked for. Fields may be added, never renamed.

use serde::{Deserialize, Serialize};

use crate::families::Role;
use crate::placement::planner::LinkUse;
use crate::placement::{History, Origin, Pins, Planned};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::Precision;
use crate::workflow::JobDraft;

/// What is to be planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanAsk {
    /// The job. What it is to show does not matter.
    pub draft: JobDraft,
    /// For how many amounts that leave the compute device a step's time is wanted, too.
    pub sweep: Option<u32>,
}

/// Where a job's diffusion network would live, and what a step would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// The model set.
    pub model: String,
    /// Its family.
    pub family: String,
    /// What is computed in.
    pub precision: Precision,
    /// The device that computes.
    pub compute: DeviceId,
    /// The network's size on that device.
    pub weights: Bytes,
    /// Its size as stored.
    pub stored: Bytes,
    /// Its blocks, in order of execution.
    pub blocks: Vec<BlockView>,
    /// Its layers by type, in the order of their names; sizes as on the device that computes.
    pub layers: Vec<LayerKind>,
    /// The devices that hold them, the one that computes first.
    pub devices: Vec<DeviceShare>,
    /// What was asked, in DisTorch's words: `<expert>#<compute>;<virtual VRAM>;<donors>`.
    pub allocation: String,
    /// The blocks that must live on a certain device, for which those have no word: `disk,3-7+12`; empty where there are none.
    pub pins: Pins,
    /// The other parts of which something is asked, in the order of the model's parts.
    pub parts: Vec<PartPlan>,
    /// What a step would take.
    pub predicted: PredictedView,
    /// The smallest virtual VRAM with which weights and staging fit; `None` where none does.
    pub minimum_virtual_vram: Option<Bytes>,
    /// Memory of the compute device through which blocks pass.
    pub staging: Bytes,
    /// What comes from other devices in a step, as it is stored.
    pub streamed_bytes_per_step: Bytes,
    /// Whether an engine holds the network so already.
    pub loaded: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// A step's time for each amount that leaves, where it was asked for.
    pub sweep: Option<Vec<SweepPoint>>,
}

/// Where the weights of a part would live that a run uses once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartPlan {
    /// Which part.
    pub role: Role,
    /// What it is held in.
    pub precision: Precision,
    /// Its size on the device that computes.
    pub weights: Bytes,
    /// Its size as stored.
    pub stored: Bytes,
    /// What was asked, in DisTorch's words.
    pub allocation: String,
    /// Blocks that must live on a certain device.
    pub pins: Pins,
    /// Its blocks, in order of execution.
    pub blocks: Vec<BlockView>,
    /// Its layers by type, in the order of their names.
    pub layers: Vec<LayerKind>,
    /// The devices that hold them, the one that computes first.
    pub devices: Vec<DeviceShare>,
    /// Memory of the compute device through which blocks pass.
    pub staging: Bytes,
    /// What comes from other devices each time it is used, as it is stored.
    pub streamed_bytes_per_use: Bytes,
}

/// One block of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockView {
    /// Its place in the order of execution.
    pub index: BlockIndex,
    /// The common part of its tensors' names.
    pub name: String,
    /// Its size on the device that computes.
    pub bytes: Bytes,
    /// Its size as stored.
    pub stored: Bytes,
    /// Where it lives.
    pub device: DeviceId,
    /// Whether it must be where it is computed with.
    pub pinned: bool,
    /// Layers in it.
    pub layers: u32,
}

/// All layers of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerKind {
    /// What torch calls such a layer.
    pub name: String,
    /// How many there are.
    pub count: u32,
    /// Their weights.
    pub bytes: Bytes,
}

/// One device's part in a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceShare {
    /// The device.
    pub id: DeviceId,
    /// What of the network lives there, counted as on the device that computes.
    pub bytes: Bytes,
    /// The same, as it lies there: a donor holds blocks as they are stored.
    pub held: Bytes,
    /// Its part of the network, 0…1.
    pub share: f64,
    /// All its memory, where anything is known.
    pub total: Option<Bytes>,
    /// What would be free there then. `None` where nothing is written, or nothing is known.
    pub free_after: Option<Bytes>,
}

/// What a step would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictedView {
    /// Seconds of a step, once steps repeat.
    pub step_s: f64,
    /// Seconds of computing in it.
    pub compute_s: f64,
    /// Seconds of copying in it, of all links.
    pub transfer_s: f64,
    /// Whether this rests on measurements; if not, speeds are assumed, and only bytes are sure.
    pub calibrated: bool,
    /// No order of these copies takes less.
    pub lower_s: f64,
    /// What it takes if nothing overlaps.
    pub upper_s: f64,
    /// Seconds of the first step.
    pub first_step_s: f64,
    /// The traffic of each donor that holds weights, the fastest first; bytes as they are stored.
    pub links: Vec<LinkUse>,
    /// How good such forecasts have been on this box, where there were any.
    pub history: Option<History>,
    /// What it rests on: computing first, then each link.
    pub rests_on: Vec<RestsOn>,
}

/// What a term of a forecast rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestsOn {
    /// The term: `computing`, a donor, or `page cache`.
    pub what: String,
    /// What it rests on.
    pub on: Ground,
    /// How it was found out, where it was.
    pub origin: Option<Origin>,
    /// Seconds since then.
    pub age_s: Option<f64>,
}

/// What a term of a forecast can rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// Steps of such a network, at about this size or at sizes on both sides of it.
    Steps,
    /// Blocks of these kinds.
    Kinds,
    /// Steps of such a network at another size.
    OtherSizes,
    /// The speed of that link.
    Link,
    /// What such a device is assumed to be.
    Assumed,
}

/// One point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// At least so much leaves the compute device.
    pub freed: Bytes,
    /// Seconds of a step then.
    pub step_s: f64,
    /// No order of the copies takes less.
    pub lower_s: f64,
    /// Whether what stays, and staging, fit into the memory that is free.
    pub fits: bool,
}

impl PredictedView {
    /// Returns what a plan foretells.
    #[must_use]
    pub fn of(planned: &Planned, history: Option<History>, rests_on: Vec<RestsOn>) -> Self {
        let predicted = &planned.predicted;
        Self {
            step_s: predicted.step_s,
            compute_s: predicted.compute_s,
            transfer_s: predicted.links.iter().map(|l| l.transfer_s).sum(),
            calibrated: predicted.calibrated,
            lower_s: predicted.lower_s,
            upper_s: predicted.upper_s,
            first_step_s: predicted.first_step_s,
            links: predicted.links.clone(),
            history,
            rests_on,
        }
    }
}
