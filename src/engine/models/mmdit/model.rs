//! SD3 as a whole: text and picture side by side, to the last block.
//!
//! Source: Stability's `mmditx.py`, `MMDiTX.forward`.

use tch::Tensor;

use super::layers::JointBlock;
use crate::engine::EngineError;
use crate::engine::nn::modulate::{ShiftScale, modulated};
use crate::engine::nn::patch::{Order, even, sides, unpack};
use crate::engine::nn::{Conv2d, Embedder, Linear, Scope, WeightRef, time_embedding};
use crate::engine::residency::{Held, Residency};
use crate::families::{Family, FamilyError, Role, Sd3Config};
use crate::weights::BlockTable;

/// How many steps of time lie between no noise and nothing else.
const STEPS: f64 = 1000.0;

/// Predicts the way from picture to noise, from a noisy latent, a time and two readings of a text.
#[derive(Debug)]
pub struct Mmdit {
    positions: i64,
    x_embedder: Conv2d,
    pos_embed: WeightRef,
    context_embedder: Linear,
    time: Embedder,
    pooled: Embedder,
    blocks: Vec<JointBlock>,
    last: ShiftScale,
    out: Linear,
}

impl Mmdit {
    /// Finds the network's weights.
    pub fn new(config: &Sd3Config, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Denoiser);
        let heads = config.heads() as i64;
        let last = config.dual.len().saturating_sub(1);
        let block = |(n, dual): (usize, &bool)| {
            let last_text = (n == last).then_some(config.last_text);
            JointBlock::new(&scope.at(&format!("joint_blocks.{n}")), heads, *dual, last_text)
        };
        let embedder = |name: &str| Embedder::new(&scope.at(name), ["mlp.0", "mlp.2"]);
        Ok(Self {
            positions: config.positions as i64,
            x_embedder: Conv2d::new(&scope.at("x_embedder.proj"), Sd3Config::PATCH as i64, 0)?,
            pos_embed: scope.weight("pos_embed")?,
            context_embedder: Linear::new(&scope.at("context_embedder"))?,
            time: embedder("t_embedder")?,
            pooled: embedder("y_embedder")?,
            blocks: config.dual.iter().enumerate().map(block).collect::<Result<_, _>>()?,
            last: ShiftScale::new(&scope.at("final_layer"), config.last)?,
            out: Linear::new(&scope.at("final_layer.linear"))?,
        })
    }

    /// `x [B, C, h, w]`, `time` in 0…1, the share of noise; `context [B, L, ctx]`, `pooled [B, P]`; to noise − picture,
    /// `[B, C, h, w]`, in `x`'s type, which is that of the stream: the weights' own, or the wider one that
    /// [`stream`](crate::engine::nn::wide::stream) names.
    pub fn forward(&self, residency: &Residency, x: &Tensor, time: f64, context: &Tensor, pooled: &Tensor) -> Result<Tensor, EngineError> {
        let head = residency.head()?;
        let size = sides(x);
        let x = even(x);
        let told = time_embedding(time * STEPS, Sd3Config::TIME_WIDTH as i64, x.device());
        let emb = &(self.time.forward(&head, &told) + self.pooled.forward(&head, pooled)).silu();
        let patches = self.x_embedder.exact(&head, &x);
        let places = self.places(&head, sides(&patches))?.to_kind(x.kind());
        let mut picture = patches.flatten(2, 3).transpose(1, 2) + places;
        let mut text = self.context_embedder.forward(&head, context).to_kind(x.kind());
        for block in &self.blocks {
            (picture, text) = block.forward(residency, (picture, text), emb)?;
            residency.look_at(&picture)?;
        }
        let head = residency.head()?;
        let [shift, scale] = self.last.forward(&head, emb, picture.kind());
        let out = self.out.exact(&head, &modulated(&picture, &shift, &scale));
        Ok(unpack(&out, Order::ChannelLast, size))
    }

    /// Returns the middle of the table of positions, `[1, rows · columns, D]`.
    fn places(&self, head: &Held<'_>, (rows, columns): (i64, i64)) -> Result<Tensor, EngineError> {
        let n = self.positions;
        if rows.max(columns) > n {
            let (what, value) = ("number of patches on a side", rows.max(columns).unsigned_abs());
            let source = FamilyError::OddNumber { role: Role::Denoiser, family: Family::Sd3, what, value };
            return Err(EngineError::Family { path: std::path::PathBuf::new(), source });
        }
        let table = head.tensor(self.pos_embed).view([n, n, -1]);
        let middle = table.narrow(0, (n - rows) / 2, rows).narrow(1, (n - columns) / 2, columns);
        Ok(middle.reshape([1, rows * columns, -1]))
    }
}
