//! The blocks of Flux.
//!
//! Source: black-forest-labs `flux/modules/layers.py` (`DoubleStreamBlock`, `SingleStreamBlock`).

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::modulate::{Modulation, gated, modulated, within_half};
use crate::engine::nn::rope::placed;
use crate::engine::nn::wide::in_kind;
use crate::engine::nn::{Linear, RmsNorm, Scope, attend};
use crate::engine::residency::{Held, Residency};
use crate::families::FamilyError;
use crate::units::BlockIndex;

const NORM_EPS: f64 = 1e-6;

/// Queries, keys and values, with a norm for each head's queries and keys.
#[derive(Debug)]
struct Qkv {
    heads: i64,
    q: Linear,
    k: Linear,
    v: Linear,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
}

impl Qkv {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self {
            heads,
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            query_norm: RmsNorm::new(&scope.at("norm.query_norm"), NORM_EPS)?,
            key_norm: RmsNorm::new(&scope.at("norm.key_norm"), NORM_EPS)?,
        })
    }

    /// `x [B, L, D]` to q, k and v, each `[B, L, D]`, the first two turned to their places.
    fn forward(&self, held: &Held<'_>, x: &Tensor, rotations: &Tensor) -> [Tensor; 3] {
        // Three products read it: rounded once.
        let x = &in_kind(x, self.q.reads(held, x.size()[1]));
        let placed = |product: &Linear, norm: &RmsNorm| placed(held, x, product, norm, self.heads, rotations);
        [placed(&self.q, &self.query_norm), placed(&self.k, &self.key_norm), self.v.forward(held, x)]
    }
}

/// The half of a double block that belongs to the picture or to the text.
#[derive(Debug)]
struct Half {
    modulation_at: BlockIndex,
    attention_at: BlockIndex,
    in_at: BlockIndex,
    out_at: BlockIndex,
    modulation: Modulation,
    qkv: Qkv,
    proj: Linear,
    mlp_in: Linear,
    mlp_out: Linear,
}

impl Half {
    fn new(scope: &Scope<'_>, stream: &str, heads: i64) -> Result<Self, FamilyError> {
        let at = |part: &str| scope.at(&format!("{stream}_{part}"));
        Ok(Self {
            modulation_at: at("mod").block()?,
            attention_at: at("attn.q").block()?,
            in_at: at("mlp.0").block()?,
            out_at: at("mlp.2").block()?,
            modulation: Modulation::new(&at("mod.lin"))?,
            qkv: Qkv::new(&at("attn"), heads)?,
            proj: Linear::new(&at("attn.proj"))?,
            mlp_in: Linear::new(&at("mlp.0"))?,
            mlp_out: Linear::new(&at("mlp.2"))?,
        })
    }

    /// Returns the modulation, and what attends.
    fn begin(
        &self,
        residency: &Residency,
        x: &Tensor,
        vec: &Tensor,
        rotations: &Tensor,
    ) -> Result<([Tensor; 6], [Tensor; 3]), EngineError> {
        let modulation: [Tensor; 6] = self.modulation.forward(&residency.acquire(self.modulation_at)?, vec, x.kind());
        let [shift, scale, ..]: &[Tensor; 6] = &modulation;
        let qkv = self.qkv.forward(&residency.acquire(self.attention_at)?, &modulated(x, shift, scale), rotations);
        Ok((modulation, qkv))
    }

    /// Adds what attention gave, and what the feed-forward makes of it.
    fn end(&self, residency: &Residency, x: Tensor, attended: &Tensor, modulation: &[Tensor; 6]) -> Result<Tensor, EngineError> {
        let [_, _, attention_gate, shift, scale, gate] = modulation;
        let held = residency.acquire(self.in_at)?;
        let x = gated(x, attention_gate, &self.proj.forward(&held, attended));
        let h = self.mlp_in.forward(&held, &modulated(&x, shift, scale)).gelu_("tanh");
        drop(held);
        let x = gated(x, gate, &self.mlp_out.forward(&residency.acquire(self.out_at)?, &h));
        Ok(within_half(x))
    }
}

/// Text and picture attend together, and have weights of their own.
#[derive(Debug)]
pub struct DoubleBlock {
    heads: i64,
    picture: Half,
    text: Half,
}

impl DoubleBlock {
    /// Finds the block's weights.
    pub fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        Ok(Self { heads, picture: Half::new(scope, "img", heads)?, text: Half::new(scope, "txt", heads)? })
    }

    /// `picture [B, I, D]`, `text [B, T, D]` of the stream's type, `vec [B, D]` after its activation, rotations of text and
    /// then picture; to the same two.
    pub fn forward(
        &self,
        residency: &Residency,
        (picture, text): (Tensor, Tensor),
        vec: &Tensor,
        rotations: &Tensor,
    ) -> Result<(Tensor, Tensor), EngineError> {
        let (tokens, words) = (picture.size()[1], text.size()[1]);
        let (of_picture, [pq, pk, pv]) = self.picture.begin(residency, &picture, vec, &rotations.narrow(0, words, tokens))?;
        let (of_text, [tq, tk, tv]) = self.text.begin(residency, &text, vec, &rotations.narrow(0, 0, words))?;
        let both = |text: Tensor, picture: Tensor| Tensor::cat(&[text, picture], 1);
        let attended = attend(&both(tq, pq), &both(tk, pk), &both(tv, pv), self.heads, Causal::No);
        let picture = self.picture.end(residency, picture, &attended.narrow(1, words, tokens), &of_picture)?;
        let text = self.text.end(residency, text, &attended.narrow(1, 0, words), &of_text)?;
        Ok((picture, text))
    }
}

/// Text and picture are one sequence; attention and feed-forward read the same.
#[derive(Debug)]
pub struct SingleBlock {
    attention_at: BlockIndex,
    mlp_at: BlockIndex,
    out_at: BlockIndex,
    modulation: Modulation,
    qkv: Qkv,
    mlp: Linear,
    linear2: Linear,
}

impl SingleBlock {
    /// Finds the block's weights.
    pub fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        Ok(Self {
            attention_at: scope.at("q").block()?,
            mlp_at: scope.at("mlp").block()?,
            out_at: scope.at("linear2").block()?,
            modulation: Modulation::new(&scope.at("modulation.lin"))?,
            qkv: Qkv::new(scope, heads)?,
            mlp: Linear::new(&scope.at("mlp"))?,
            linear2: Linear::new(&scope.at("linear2"))?,
        })
    }

    /// `x [B, T + I, D]` of the stream's type, `vec [B, D]` after its activation; to the same.
    pub fn forward(&self, residency: &Residency, x: Tensor, vec: &Tensor, rotations: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.attention_at)?;
        let [shift, scale, gate] = self.modulation.forward(&held, vec, x.kind());
        let h = modulated(&x, &shift, &scale);
        let h = in_kind(&h, self.qkv.q.reads(&held, h.size()[1]));
        let [q, k, v] = self.qkv.forward(&held, &h, rotations);
        drop(held);
        let attended = attend(&q, &k, &v, self.qkv.heads, Causal::No);
        drop((q, k, v));
        let inner = self.mlp.forward(&residency.acquire(self.mlp_at)?, &h).gelu_("tanh");
        drop(h);
        let h = Tensor::cat(&[attended, inner], 2);
        Ok(within_half(gated(x, &gate, &self.linear2.forward(&residency.acquire(self.out_at)?, &h))))
    }
}
