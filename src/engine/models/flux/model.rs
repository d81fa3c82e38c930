//! Flux as a whole: text and picture side by side, then as one sequence.
//!
//! Source: black-forest-labs `flux/model.py`, `Flux.forward`.

use tch::Tensor;

use super::layers::{DoubleBlock, SingleBlock};
use crate::engine::EngineError;
use crate::engine::nn::modulate::{ShiftScale, modulated};
use crate::engine::nn::patch::{Order, even, pack, sides, unpack};
use crate::engine::nn::rope::Rope;
use crate::engine::nn::{Embedder, Linear, Scope, time_embedding};
use crate::engine::residency::{Held, Residency};
use crate::families::{FamilyError, FluxConfig, Role};
use crate::weights::BlockTable;

/// The base of the frequencies of positions.
const THETA: f64 = 10_000.0;
/// How many steps of time lie between no noise and nothing else; guidance is told on the same scale.
const STEPS: f64 = 1000.0;

/// Predicts the way from picture to noise, from a noisy latent, a time, two readings of a text and a strength of guidance.
#[derive(Debug)]
pub struct Flux {
    rope: Rope,
    img_in: Linear,
    txt_in: Linear,
    time: Embedder,
    pooled: Embedder,
    guidance: Option<Embedder>,
    double_blocks: Vec<DoubleBlock>,
    single_blocks: Vec<SingleBlock>,
    last: ShiftScale,
    out: Linear,
}

impl Flux {
    /// Finds the network's weights.
    pub fn new(config: &FluxConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Denoiser);
        let (heads, width) = (config.heads() as i64, config.head_width as i64);
        let embedder = |name: &str| Embedder::new(&scope.at(name), ["in_layer", "out_layer"]);
        let doubles = (0..config.double_blocks).map(|n| DoubleBlock::new(&scope.at(&format!("double_blocks.{n}")), heads));
        let singles = (0..config.single_blocks).map(|n| SingleBlock::new(&scope.at(&format!("single_blocks.{n}")), heads));
        Ok(Self {
            rope: Rope::new(THETA, [width / 8, width / 16 * 7, width / 16 * 7]),
            img_in: Linear::new(&scope.at("img_in"))?,
            txt_in: Linear::new(&scope.at("txt_in"))?,
            time: embedder("time_in")?,
            pooled: embedder("vector_in")?,
            guidance: if config.guided { Some(embedder("guidance_in")?) } else { None },
            double_blocks: doubles.collect::<Result<_, _>>()?,
            single_blocks: singles.collect::<Result<_, _>>()?,
            last: ShiftScale::new(&scope.at("final_layer"), config.last)?,
            out: Linear::new(&scope.at("final_layer.linear"))?,
        })
    }

    /// `x [B, C, h, w]`, `time` in 0…1, the share of noise; `context [B, L, ctx]`, `pooled [B, P]`, `guidance` as it is asked for,
    /// such as 3.5, which networks without that input leave unread; to noise − picture, `[B, C, h, w]`, in `x`'s type, which is
    /// that of the stream: the weights' own, or the wider one that [`stream`](crate::engine::nn::wide::stream) names.
    pub fn forward(
        &self,
        residency: &Residency,
        x: &Tensor,
        time: f64,
        context: &Tensor,
        pooled: &Tensor,
        guidance: Option<f64>,
    ) -> Result<Tensor, EngineError> {
        let head = residency.head()?;
        let size = sides(x);
        let x = even(x);
        let vec = &self.embed(&head, time, pooled, guidance, &x);
        let mut picture = self.img_in.exact(&head, &pack(&x, Order::ChannelFirst));
        let mut text = self.txt_in.forward(&head, context).to_kind(x.kind());
        let (words, (height, width)) = (text.size()[1], sides(&x));
        let extents = [words, height / 2, width / 2];
        let rotations = &self.rope.table(extents, x.device(), || positions(extents));
        for block in &self.double_blocks {
            (picture, text) = block.forward(residency, (picture, text), vec, rotations)?;
            residency.look_at(&picture)?;
        }
        let mut h = Tensor::cat(&[text, picture], 1);
        for block in &self.single_blocks {
            h = block.forward(residency, h, vec, rotations)?;
            residency.look_at(&h)?;
        }
        let head = residency.head()?;
        let [shift, scale] = self.last.forward(&head, vec, h.kind());
        let picture = h.narrow(1, words, extents[1] * extents[2]);
        let out = self.out.exact(&head, &modulated(&picture, &shift, &scale));
        Ok(unpack(&out, Order::ChannelFirst, size))
    }

    /// Returns what every block's modulation reads, `[B, D]`.
    fn embed(&self, head: &Held<'_>, time: f64, pooled: &Tensor, guidance: Option<f64>, x: &Tensor) -> Tensor {
        let told = |number: f64| time_embedding(number * STEPS, FluxConfig::TIME_WIDTH as i64, x.device());
        let mut vec = self.time.forward(head, &told(time)) + self.pooled.forward(head, pooled);
        if let Some(embedder) = &self.guidance {
            vec += embedder.forward(head, &told(guidance.unwrap_or(FluxConfig::GUIDANCE)));
        }
        vec.silu()
    }
}

/// Text lies at the origin, and the picture's tokens in their rows and columns.
fn positions([words, rows, columns]: [i64; 3]) -> Vec<[i64; 3]> {
    let text = (0..words).map(|_| [0, 0, 0]);
    text.chain((0..rows).flat_map(|row| (0..columns).map(move |column| [0, row, column]))).collect()
}
