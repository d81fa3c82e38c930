//! The blocks of Z-Image.
//!
//! Source: Tongyi-MAI `zimage/transformer.py` (`ZImageTransformerBlock`, `ZImageAttention`, `FeedForward`).

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::modulate::{Modulation, gated, within_half};
use crate::engine::nn::rope::placed;
use crate::engine::nn::wide::{add, in_kind};
use crate::engine::nn::{Linear, RmsNorm, Scope, attend};
use crate::engine::residency::{Held, Residency};
use crate::families::FamilyError;
use crate::units::BlockIndex;

/// The epsilon of every norm that has weights.
pub const NORM_EPS: f64 = 1e-5;

#[derive(Debug)]
struct Attention {
    heads: i64,
    q: Linear,
    k: Linear,
    v: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    out: Linear,
}

impl Attention {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        let norm = |name: &str| RmsNorm::new(&scope.at(name), NORM_EPS);
        Ok(Self {
            heads,
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            q_norm: norm("q_norm")?,
            k_norm: norm("k_norm")?,
            out: linear("out")?,
        })
    }

    /// `x [B, L, D]` to the same shape, queries and keys turned to their places.
    fn forward(&self, held: &Held<'_>, x: &Tensor, rotations: &Tensor) -> Tensor {
        // Three products read it: rounded once.
        let x = &in_kind(x, self.q.reads(held, x.size()[1]));
        let placed = |product: &Linear, norm: &RmsNorm| placed(held, x, product, norm, self.heads, rotations);
        let (q, k) = (placed(&self.q, &self.q_norm), placed(&self.k, &self.k_norm));
        within_half(self.out.forward(held, &attend(&q, &k, &self.v.forward(held, x), self.heads, Causal::No)))
    }
}

/// Attention and feed-forward, with norms before and after; the time, where it modulates, scales what goes in and gates what
/// comes out.
#[derive(Debug)]
pub struct Block {
    attention_at: BlockIndex,
    w1_at: BlockIndex,
    w3_at: BlockIndex,
    w2_at: BlockIndex,
    modulation: Option<Modulation>,
    norms: [RmsNorm; 4],
    attention: Attention,
    w1: Linear,
    w2: Linear,
    w3: Linear,
}

impl Block {
    /// Finds the block's weights.
    pub fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let norm = |name: &str| RmsNorm::new(&scope.at(name), NORM_EPS);
        let w = |name: &str| scope.at(&format!("feed_forward.{name}"));
        let modulation = scope.at("adaLN_modulation.0");
        Ok(Self {
            attention_at: scope.at("attention").block()?,
            w1_at: w("w1").block()?,
            w3_at: w("w3").block()?,
            w2_at: w("w2").block()?,
            modulation: if modulation.has("weight") { Some(Modulation::new(&modulation)?) } else { None },
            norms: [norm("attention_norm1")?, norm("attention_norm2")?, norm("ffn_norm1")?, norm("ffn_norm2")?],
            attention: Attention::new(&scope.at("attention"), heads)?,
            w1: Linear::new(&w("w1"))?,
            w2: Linear::new(&w("w2"))?,
            w3: Linear::new(&w("w3"))?,
        })
    }

    /// `x [B, L, D]` of the stream's type, `time [B, E]` as it is; to the same.
    pub fn forward(&self, residency: &Residency, x: Tensor, time: &Tensor, rotations: &Tensor) -> Result<Tensor, EngineError> {
        let [before_attention, after_attention, before_feed, after_feed] = &self.norms;
        let held = residency.acquire(self.attention_at)?;
        let told: Option<[Tensor; 4]> = self.modulation.as_ref().map(|modulation| modulation.forward(&held, time, x.kind()));
        let scaled = |h: Tensor, n: usize| match &told {
            Some(told) => h * (&told[n] + 1.0),
            None => h,
        };
        let joined = |x: Tensor, layer: Tensor, n: usize| match &told {
            Some(told) => gated(x, &told[n].tanh(), &layer),
            None => add(layer, &x),
        };
        let h = self.attention.forward(&held, &scaled(before_attention.forward(&held, &x), 0), rotations).to_kind(x.kind());
        let x = joined(x, after_attention.forward(&held, &h), 1);
        let h = scaled(before_feed.forward(&held, &x), 2);
        let h = in_kind(&h, self.attention.q.reads(&held, h.size()[1]));
        drop(held);
        let mut gate = self.w1.forward(&residency.acquire(self.w1_at)?, &h).silu_();
        let h = within_half(gate.g_mul_(&self.w3.forward(&residency.acquire(self.w3_at)?, &h)));
        let held = residency.acquire(self.w2_at)?;
        let h = within_half(self.w2.forward(&held, &h)).to_kind(x.kind());
        Ok(joined(x, after_feed.forward(&held, &h), 3))
    }
}
