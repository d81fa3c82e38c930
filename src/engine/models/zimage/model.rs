//! Z-Image as a whole: picture and text each alone, then as one sequence.
//!
//! Source: Tongyi-MAI `zimage/transformer.py`, `ZImageTransformer2DModel.forward`.

use tch::Tensor;

use super::layers::{Block, NORM_EPS};
use crate::engine::EngineError;
use crate::engine::nn::modulate::{Modulation, normed};
use crate::engine::nn::patch::{Order, even, pack, sides, unpack};
use crate::engine::nn::rope::Rope;
use crate::engine::nn::{Embedder, Linear, RmsNorm, Scope, WeightRef, time_embedding};
use crate::engine::residency::{Held, Residency};
use crate::families::{FamilyError, Role, ZImageConfig};
use crate::weights::BlockTable;

/// The base of the frequencies of positions.
const THETA: f64 = 256.0;
/// How many steps of time lie between nothing but noise and none.
const STEPS: f64 = 1000.0;

/// Predicts the way from picture to noise, from a noisy latent, a time and a text.
#[derive(Debug)]
pub struct ZImage {
    rope: Rope,
    x_embedder: Linear,
    caption_norm: RmsNorm,
    caption: Linear,
    time: Embedder,
    fill: Option<Fill>,
    noise_refiner: Vec<Block>,
    context_refiner: Vec<Block>,
    layers: Vec<Block>,
    last_scale: Modulation,
    out: Linear,
}

/// Tokens that sequences are filled up with.
#[derive(Debug, Clone, Copy)]
struct Fill {
    picture: WeightRef,
    caption: WeightRef,
}

impl ZImage {
    /// Finds the network's weights.
    pub fn new(config: &ZImageConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Denoiser);
        let (heads, width) = (config.heads() as i64, config.head_width as i64);
        let row = |name: &str, count: u64| -> Result<Vec<Block>, FamilyError> {
            (0..count).map(|n| Block::new(&scope.at(&format!("{name}.{n}")), heads)).collect()
        };
        let linear = |name: &str| Linear::new(&scope.at(name));
        let fill = || Ok(Fill { picture: scope.weight("x_pad_token")?, caption: scope.weight("cap_pad_token")? });
        Ok(Self {
            rope: Rope::new(THETA, [width / 4, width / 8 * 3, width / 8 * 3]),
            x_embedder: linear("x_embedder")?,
            caption_norm: RmsNorm::new(&scope.at("cap_embedder.0"), NORM_EPS)?,
            caption: linear("cap_embedder.1")?,
            time: Embedder::new(&scope.at("t_embedder"), ["mlp.0", "mlp.2"])?,
            fill: if config.fills_up { Some(fill()?) } else { None },
            noise_refiner: row("noise_refiner", config.noise_refiners)?,
            context_refiner: row("context_refiner", config.context_refiners)?,
            layers: row("layers", config.layers)?,
            last_scale: Modulation::new(&scope.at("final_layer.adaLN_modulation.1"))?,
            out: linear("final_layer.linear")?,
        })
    }

    /// `x [B, C, h, w]`, `time` in 0…1, the share of noise; `context [B, L, ctx]`; to noise − picture, `[B, C, h, w]`, in `x`'s
    /// type, which is that of the stream: the weights' own, or the wider one that [`stream`](crate::engine::nn::wide::stream)
    /// names. Inside, time is the share of the picture, and the way goes there from the noise.
    pub fn forward(&self, residency: &Residency, x: &Tensor, time: f64, context: &Tensor) -> Result<Tensor, EngineError> {
        let head = residency.head()?;
        let size = sides(x);
        let x = even(x);
        let (rows, columns) = (sides(&x).0 / 2, sides(&x).1 / 2);
        let told = time_embedding((1.0 - time) * STEPS, ZImageConfig::TIME_WIDTH as i64, x.device());
        let time = &self.time.forward(&head, &told);
        let mut picture = self.x_embedder.exact(&head, &pack(&x, Order::ChannelLast));
        let context = self.caption_norm.forward(&head, &context.to_kind(x.kind()));
        let mut caption = self.caption.forward(&head, &context).to_kind(x.kind());
        if let Some(fill) = self.fill {
            picture = filled(&head, picture, fill.picture);
            caption = filled(&head, caption, fill.caption);
        }
        let (words, tokens) = (caption.size()[1], picture.size()[1]);
        let extents = [words, rows, columns];
        let rotations = &self.rope.table(extents, x.device(), || positions(extents, tokens));
        for block in &self.noise_refiner {
            picture = block.forward(residency, picture, time, &rotations.narrow(0, words, tokens))?;
            residency.look_at(&picture)?;
        }
        for block in &self.context_refiner {
            caption = block.forward(residency, caption, time, &rotations.narrow(0, 0, words))?;
            residency.look_at(&caption)?;
        }
        let mut h = Tensor::cat(&[caption, picture], 1);
        for block in &self.layers {
            h = block.forward(residency, h, time, rotations)?;
            residency.look_at(&h)?;
        }
        let head = residency.head()?;
        let picture = normed(&h.narrow(1, words, rows * columns));
        let [scale] = self.last_scale.forward(&head, &time.silu(), picture.kind());
        let out = self.out.exact(&head, &(picture * (scale + 1.0)));
        Ok(unpack(&out, Order::ChannelLast, size).neg())
    }
}

/// Returns a sequence with the fill's token behind it, up to whole runs.
fn filled(head: &Held<'_>, x: Tensor, fill: WeightRef) -> Tensor {
    let (size, run) = (x.size(), ZImageConfig::RUN as i64);
    let short = (run - size[1] % run) % run;
    if short == 0 {
        return x;
    }
    let token = head.tensor(fill).to_kind(x.kind()).view([1, 1, size[2]]);
    Tensor::cat(&[x, token.expand([size[0], short, size[2]], false)], 1)
}

/// Text counts from 1; the picture is the next after it, in its rows and columns; what fills it up lies at the origin.
fn positions([words, rows, columns]: [i64; 3], tokens: i64) -> Vec<[i64; 3]> {
    let text = (1..=words).map(|n| [n, 0, 0]);
    let picture = (0..rows).flat_map(|row| (0..columns).map(move |column| [words + 1, row, column]));
    text.chain(picture).chain((rows * columns..tokens).map(|_| [0, 0, 0])).collect()
}
