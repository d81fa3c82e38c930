//! How much a pass through a network computes, block by block: what predictions of time rest on.
//!
//! A weight is used once for every cell or token that it sees, which is a multiplication and an addition; attention adds
//! its two products of tokens with tokens. Norms and activations are not counted.

use super::UnetConfig;
use super::unet::Layer;
use crate::units::{BlockIndex, Size};
use crate::weights::{BlockKind, BlockTable, Effort};

/// Tokens of one window of text.
pub(super) const WINDOW: u64 = 77;

/// What a network is given in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Height and width of the latent.
    pub latent: (u64, u64),
    /// Latents that pass through it in a step: pictures, twice with guidance, times the solver's evaluations.
    pub rows: u64,
    /// Times that a step walks through the network: what is streamed comes that often.
    pub walks: u64,
}

impl Work {
    /// Returns the work of a step for so many pictures of a size, with guidance or without, by a solver that evaluates the
    /// network so often in a step.
    #[must_use]
    pub fn of(size: Size, batch: u32, cfg: f64, evaluations: u64) -> Self {
        #[expect(clippy::float_cmp, reason = "exactly 1 is how no guidance is asked for")]
        let passes = if cfg == 1.0 { 1 } else { 2 };
        let latent = (u64::from(size.height()) / 8, u64::from(size.width()) / 8);
        Self { latent, rows: u64::from(batch) * passes * evaluations, walks: evaluations }
    }

    /// Returns the tokens of a latent that is cut into patches of so many cells a side; what is left over makes patches, too.
    #[must_use]
    pub fn patches(self, side: u64) -> u64 {
        self.latent.0.div_ceil(side) * self.latent.1.div_ceil(side)
    }
}

/// Returns what each block of a UNet computes in a step, in the table's order.
#[must_use]
pub fn unet_efforts(config: &UnetConfig, table: &BlockTable, work: Work) -> Vec<Effort> {
    let mut tally = Tally { table, efforts: vec![Effort::default(); table.blocks().len()], rows: work.rows as f64 };
    let halved = |(h, w): (u64, u64)| (h.div_ceil(2), w.div_ceil(2));
    let mut levels = vec![work.latent];
    tally.weights("time_embed", 1);
    tally.weights("out", cells(work.latent));
    for stage in config.stages() {
        for (place, layer) in stage.layers.iter().enumerate() {
            let name = format!("{}.{place}", stage.name);
            let here = levels.last().copied().unwrap_or_default();
            match layer {
                Layer::ConvIn => tally.weights(&name, cells(here)),
                Layer::Resnet { .. } => tally.resnet(&name, cells(here)),
                Layer::Transformer { channels, depth } => tally.transformer(&name, cells(here), *channels, *depth),
                Layer::Downsample { .. } => {
                    levels.push(halved(here));
                    tally.weights(&name, cells(halved(here)));
                }
                Layer::Upsample { .. } => {
                    levels.pop();
                    tally.weights(&name, cells(levels.last().copied().unwrap_or(work.latent)));
                }
            }
        }
    }
    tally.efforts
}

/// Returns what each block of a text encoder or autoencoder computes, up to a factor that is the same for all: every weight
/// is used as often as the others.
#[must_use]
pub fn weight_efforts(table: &BlockTable) -> Vec<Effort> {
    let flops = |elements: u64| 2.0 * elements as f64 * WINDOW as f64;
    table.blocks().iter().map(|block| Effort::of(BlockKind::FeedForward, flops(block.elements()))).collect()
}

fn cells((height, width): (u64, u64)) -> u64 {
    height * width
}

/// What a weight of this name is used for.
fn kind_of(tensor: &str) -> BlockKind {
    if tensor.contains(".attn") {
        BlockKind::Attention
    } else if tensor.contains(".ff.") {
        BlockKind::FeedForward
    } else {
        BlockKind::Convolution
    }
}

struct Tally<'a> {
    table: &'a BlockTable,
    efforts: Vec<Effort>,
    rows: f64,
}

impl Tally<'_> {
    fn add(&mut self, block: BlockIndex, kind: BlockKind, flops: f64) {
        if let Some(effort) = self.efforts.get_mut(block.0 as usize) {
            effort.add(kind, flops * self.rows);
        }
    }

    /// Matrices and kernels below `prefix`, each used once for every one of `places`.
    fn weights(&mut self, prefix: &str, places: u64) {
        self.weights_but(prefix, places, &|_| false);
    }

    fn weights_but(&mut self, prefix: &str, places: u64, is_left_out: &dyn Fn(&str) -> bool) {
        let prefix = format!("{prefix}.");
        let used: Vec<(BlockIndex, BlockKind, u64)> = self
            .table
            .under(&prefix)
            .filter(|(name, _)| !is_left_out(name))
            .filter_map(|(name, slot)| Some((slot.block, kind_of(name), self.table.entry(name)?)))
            .filter(|(_, _, entry)| entry.shape.rank() >= 2)
            .map(|(block, kind, entry)| (block, kind, entry.elements()))
            .collect();
        for (block, kind, elements) in used {
            self.add(block, kind, 2.0 * elements as f64 * places as f64);
        }
    }

    fn resnet(&mut self, name: &str, cells: u64) {
        self.weights_but(name, cells, &|tensor| tensor.contains(".emb_layers."));
        self.weights(&format!("{name}.emb_layers"), 1);
    }

    fn transformer(&mut self, name: &str, cells: u64, channels: u64, depth: u64) {
        // Keys and values of the text are made from its tokens, not from the picture's.
        let reads_text = |tensor: &str| tensor.contains(".attn2.to_k.") || tensor.contains(".attn2.to_v.");
        self.weights_but(name, cells, &reads_text);
        for k in 0..depth {
            let block = format!("{name}.transformer_blocks.{k}");
            self.weights(&format!("{block}.attn2.to_k"), WINDOW);
            self.weights(&format!("{block}.attn2.to_v"), WINDOW);
            if let Some(home) = self.table.slot(&format!("{block}.attn1.to_q.weight")).map(|slot| slot.block) {
                let tokens = (cells + WINDOW) as f64;
                self.add(home, BlockKind::Attention, 4.0 * cells as f64 * tokens * channels as f64);
            }
        }
    }
}
