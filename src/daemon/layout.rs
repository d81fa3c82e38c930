//! A part of a model as a plan lays it out: its blocks, its layers, and what each device holds of it.

use std::collections::BTreeMap;

use crate::families::Role;
use crate::library::{network, page_cache};
use crate::placement::ask::FullAsk;
use crate::placement::planner::UnitCost;
use crate::placement::{Learned, Machine, Model, OffloadPlan, Planned, ProposalError, Room, advice, learned, propose};
use crate::units::{BlockIndex, Bytes, DeviceId};
use crate::weights::{Block, BlockTable, Param, Precision};
use crate::wire::plan::{BlockView, DeviceShare, LayerKind, PartPlan};
use crate::workflow::{JobSpec, Refusal};

/// A part of a model and what there is for it.
#[derive(Debug)]
pub(super) struct Layout {
    /// Which it is.
    pub(super) role: Role,
    /// Its blocks.
    pub(super) table: BlockTable,
    /// The same as something to be placed.
    pub(super) model: Model,
    /// What there is.
    pub(super) machine: Machine,
}

/// What is known of the machine, before a part of a model is looked at.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The devices' memory.
    pub(super) rooms: &'a [Room],
    /// What runs have shown.
    pub(super) learned: &'a [Learned],
    /// GPUs that are simulated.
    pub(super) simulated: &'a [crate::devices::SimulatedGpu],
    /// Whether room is left for the other parts.
    pub(super) others: Others,
}

/// Whether room is left for what lies beside a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// They are there, too.
    Beside,
    /// The part has the device to itself.
    Away,
}

impl Known<'_> {
    /// Returns the machine as a part of a job sees it, with files that are so.
    pub(super) fn machine(&self, spec: &JobSpec, role: Role, files: crate::placement::Files) -> Result<Machine, Refusal> {
        let machine = learned::machine(spec.compute, self.rooms.to_vec(), self.learned, files);
        match spec.compute {
            DeviceId::Sim(_) => {
                let beside = match self.others {
                    Others::Beside => network::beside(spec, role, spec.computes_in())?,
                    Others::Away => Bytes::ZERO,
                };
                Ok(machine.seen_from(spec.compute, self.simulated, beside))
            }
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Cpu | DeviceId::Disk => Ok(machine),
        }
    }
}

/// Returns where the weights would live of each part but the diffusion network of which something is asked, and what should
/// be known of each.
pub(super) fn parts(spec: &JobSpec, known: &Known<'_>) -> Result<Vec<(PartPlan, Vec<String>)>, Refusal> {
    let others = spec.set.components.iter().filter(|c| c.role != Role::Denoiser && !spec.ask_of(c.role).is_nothing());
    others.map(|component| part(spec, component.role, &component.files, known)).collect()
}

fn part(spec: &JobSpec, role: Role, files: &[std::path::PathBuf], known: &Known<'_>) -> Result<(PartPlan, Vec<String>), Refusal> {
    let (ask, precision) = (spec.ask_of(role), network::held_in(role, spec.computes_in()));
    let table = network::part(files, role)?.1;
    let machine = known.machine(spec, role, page_cache::files(files)?)?;
    let model = network::used_once(&table, precision, &machine.pace);
    let refused = |error: ProposalError| {
        let refusal = Refusal::from(&error);
        Refusal { message: format!("{role}: {}", refusal.message), ..refusal }
    };
    let planned = propose(&ask, spec.compute, &model, &machine).map_err(refused)?;
    let misses = advice::of_places(&planned, &ask, &model, &machine).into_iter().map(|miss| format!("{role}: {miss}")).collect();
    let layout = Layout { role, table, model, machine };
    let plan = PartPlan {
        role,
        precision,
        weights: layout.model.bytes(),
        stored: layout.table.bytes(),
        pins: ask.pins.clone(),
        allocation: FullAsk { compute: spec.compute, ask }.to_string(),
        blocks: layout.blocks(&planned.plan),
        layers: layout.layers(precision),
        devices: layout.devices(&planned),
        staging: planned.staging,
        streamed_bytes_per_use: layout.streamed(&planned.plan),
    };
    Ok((plan, misses))
}

/// What torch calls the layer that a weight belongs to; nothing for a bias, which is no layer of its own.
fn layer_type(role: Role, param: &Param) -> Option<&'static str> {
    let layer = param.name.strip_suffix(".weight")?;
    Some(match param.entry.shape.rank() {
        0 | 1 => norm_type(role, layer),
        2 if role.is_encoder() && EMBEDDINGS.iter().any(|name| layer.ends_with(name)) => "Embedding",
        2 => "Linear",
        _ => "Conv2d",
    })
}

/// How the tables of text encoders are called that are looked up by a number.
const EMBEDDINGS: [&str; 4] = ["_embedding", "shared", "embed_tokens", "relative_attention_bias"];

/// What torch calls a norm: transformers for images have none that has a weight but `RMSNorm`s.
fn norm_type(role: Role, layer: &str) -> &'static str {
    let is_of_unet = ["input_blocks.", "middle_block.", "output_blocks.", "out."].iter().any(|start| layer.starts_with(start));
    match role {
        Role::ClipL | Role::ClipG => "LayerNorm",
        Role::Denoiser if layer.contains(".transformer_blocks.") => "LayerNorm",
        Role::Denoiser if !is_of_unet => "RMSNorm",
        Role::T5 | Role::Qwen => "RMSNorm",
        Role::Denoiser | Role::Vae => "GroupNorm",
    }
}

impl Layout {
    /// Returns every block and where it lives.
    pub(super) fn blocks(&self, plan: &OffloadPlan) -> Vec<BlockView> {
        let blocks = (0..).map(BlockIndex).zip(self.table.blocks()).zip(&self.model.units);
        let view = |((index, block), unit): ((BlockIndex, &Block), &UnitCost)| BlockView {
            index,
            name: block.name.clone(),
            bytes: unit.bytes,
            stored: block.bytes(),
            device: plan.home(index),
            pinned: block.pinned,
            layers: block.params.iter().filter_map(|param| layer_type(self.role, param)).count().try_into().unwrap_or(u32::MAX),
        };
        blocks.map(view).collect()
    }

    /// Returns its layers by type.
    pub(super) fn layers(&self, precision: Precision) -> Vec<LayerKind> {
        let mut kinds: BTreeMap<&'static str, (u32, Bytes)> = BTreeMap::new();
        let params: Vec<&Param> = self.table.blocks().iter().flat_map(|block| &block.params).collect();
        let types: BTreeMap<&str, &'static str> =
            params.iter().filter_map(|p| Some((p.name.strip_suffix(".weight")?, layer_type(self.role, p)?))).collect();
        for param in params {
            let layer = param.name.rsplit_once('.').map_or(param.name.as_str(), |(layer, _)| layer);
            let (count, bytes) = kinds.entry(types.get(layer).copied().unwrap_or("Parameter")).or_default();
            *count += u32::from(layer_type(self.role, param).is_some());
            *bytes += param.entry.bytes_in(precision);
        }
        let kind = |(name, (count, bytes)): (&str, (u32, Bytes))| LayerKind { name: name.to_owned(), count, bytes };
        kinds.into_iter().map(kind).collect()
    }

    /// Returns what comes from other devices each time all walks through it are done.
    pub(super) fn streamed(&self, plan: &OffloadPlan) -> Bytes {
        let once: Bytes = plan.streamed().into_iter().filter_map(|index| self.table.block(index)).map(Block::bytes).sum();
        Bytes(once.get().saturating_mul(self.model.walks))
    }

    /// Returns each device's part, that of the device that computes first.
    pub(super) fn devices(&self, planned: &Planned) -> Vec<DeviceShare> {
        let (compute, blocks) = (planned.plan.compute, self.blocks(&planned.plan));
        let mut ids: Vec<DeviceId> = planned.plan.homes.iter().copied().filter(|home| *home != compute).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.insert(0, compute);
        let whole = self.model.bytes().get().max(1) as f64;
        let share = |id: DeviceId| {
            let here = || blocks.iter().filter(|b| b.device == id);
            let bytes: Bytes = here().map(|b| b.bytes).sum();
            let held = if id == compute { bytes } else { here().map(|b| b.stored).sum() };
            let taken = if id == compute { held + planned.staging } else { held };
            let room = self.machine.rooms.iter().find(|r| r.device == id);
            DeviceShare {
                id,
                bytes,
                held,
                share: bytes.get() as f64 / whole,
                total: room.map(|r| r.total),
                free_after: room.map(|r| r.free.saturating_sub(taken)),
            }
        };
        ids.into_iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DType, Shape, TensorEntry};

    #[test]
    fn layers_are_called_as_torch_calls_them() {
        let called = |role, name: &str, rank| {
            let shape = Shape(vec![4; rank]);
            let entry = TensorEntry { name: name.to_owned(), dtype: DType::F32, shape, file: 0, start: 0, end: 0, coded: None };
            layer_type(role, &Param { name: name.to_owned(), entry })
        };
        let unet = "input_blocks.1.1.transformer_blocks.0.norm1.weight";
        for (role, name, rank, expected) in [
            (Role::Denoiser, unet, 1, Some("LayerNorm")),
            (Role::Denoiser, "input_blocks.1.0.in_layers.0.weight", 1, Some("GroupNorm")),
            (Role::Denoiser, "out.0.weight", 1, Some("GroupNorm")),
            (Role::Denoiser, "out.2.weight", 4, Some("Conv2d")),
            (Role::Denoiser, "time_embed.0.weight", 2, Some("Linear")),
            (Role::Denoiser, "time_embed.0.bias", 1, None),
            (Role::Denoiser, "joint_blocks.0.x_block.attn.ln_q.weight", 1, Some("RMSNorm")),
            (Role::Denoiser, "layers.0.attention_norm1.weight", 1, Some("RMSNorm")),
            (Role::ClipL, "text_model.embeddings.position_embedding.weight", 2, Some("Embedding")),
            (Role::ClipL, "text_model.encoder.layers.0.layer_norm1.weight", 1, Some("LayerNorm")),
            (Role::T5, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", 2, Some("Embedding")),
            (Role::T5, "encoder.block.0.layer.0.layer_norm.weight", 1, Some("RMSNorm")),
            (Role::Qwen, "model.layers.0.self_attn.q_norm.weight", 1, Some("RMSNorm")),
            (Role::Vae, "decoder.norm_out.weight", 1, Some("GroupNorm")),
        ] {
            assert_eq!(called(role, name, rank), expected, "{role} {name}");
        }
    }
}
