//! Qwen3 up to its second last layer, whose output Z-Image reads.
//!
//! Source: transformers `models/qwen3/modeling_qwen3.py`, `Qwen3Model`. Everything is computed in fp32, whatever the weights are
//! stored in: some channels of its hidden state are larger than fp16's largest number, and a run reads its text once.

use tch::{Device, Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::models::gated::GatedForward;
use crate::engine::nn::{Linear, RmsNorm, Scope};
use crate::engine::residency::Residency;
use crate::families::{FamilyError, QwenConfig, Role, qwen};
use crate::units::BlockIndex;
use crate::weights::BlockTable;

const EPS: f64 = 1e-6;

/// Tokens to hidden states.
#[derive(Debug)]
pub struct QwenEncoder {
    layers: Vec<(Attention, GatedForward)>,
    heads: Heads,
}

#[derive(Debug, Clone, Copy)]
struct Heads {
    queries: i64,
    pairs: i64,
    width: i64,
    theta: f64,
}

#[derive(Debug)]
struct Attention {
    block: BlockIndex,
    norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
}

/// Cosines and sines of every place's rotations, `[L, d]`.
struct Rotations {
    cos: Tensor,
    sin: Tensor,
}

impl QwenEncoder {
    /// Finds the model's weights.
    pub fn new(config: &QwenConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Qwen);
        let home = |n: u64, part: &str| scope.at(&format!("model.layers.{n}.{part}"));
        let layer = |n: u64| {
            let layer = scope.at(&format!("model.layers.{n}"));
            let attention = Attention::new(&layer, home(n, "self_attn").block()?)?;
            Ok((attention, feed_forward(&layer, home(n, "mlp").block()?)?))
        };
        let whole = |count: u64| i64::try_from(count).unwrap_or(1);
        let heads =
            Heads { queries: whole(config.heads), pairs: whole(config.pair_heads), width: whole(config.head_width), theta: config.theta };
        Ok(Self { layers: (0..config.layers).map(layer).collect::<Result<_, FamilyError>>()?, heads })
    }

    /// Reads `tokens [B, L] i64`, each text without padding in front; returns the output of the second last layer, without a
    /// norm, `[B, L, C]` in fp32. Later tokens are hidden from earlier ones, so that what follows a text changes nothing in it.
    pub fn forward(&self, residency: &Residency, tokens: &Tensor) -> Result<Tensor, EngineError> {
        let mut x = residency.gather(qwen::TOKENS, tokens)?.to_kind(Kind::Float);
        let rotations = self.heads.rotations(x.size()[1], x.device());
        for (attention, forward) in &self.layers {
            x = attention.forward(residency, &x, self.heads, &rotations)?;
            x = forward.forward(residency, &x, |gate| gate.silu())?;
            residency.look_at(&x)?;
        }
        Ok(x)
    }
}

impl Heads {
    /// In fp32 as transformers computes them, and as the model was trained with.
    fn rotations(self, length: i64, device: Device) -> Rotations {
        let exponents = Tensor::arange_start_step(0, self.width, 2, (Kind::Float, device)) / self.width as f64;
        let frequencies = exponents.new_full(exponents.size(), self.theta, (Kind::Float, device)).pow(&exponents).reciprocal();
        let angles = Tensor::arange(length, (Kind::Float, device)).unsqueeze(1) * frequencies.unsqueeze(0);
        let angles = Tensor::cat(&[&angles, &angles], -1);
        Rotations { cos: angles.cos(), sin: angles.sin() }
    }
}

impl Rotations {
    /// Turns the first half of `x [B, H, L, d]` against the second.
    fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
        x * &self.cos + turned * &self.sin
    }
}

impl Attention {
    fn new(layer: &Scope<'_>, block: BlockIndex) -> Result<Self, FamilyError> {
        let scope = layer.at("self_attn");
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self {
            block,
            norm: RmsNorm::new(&layer.at("input_layernorm"), EPS)?,
            q: linear("q_proj")?,
            k: linear("k_proj")?,
            v: linear("v_proj")?,
            o: linear("o_proj")?,
            q_norm: RmsNorm::new(&scope.at("q_norm"), EPS)?,
            k_norm: RmsNorm::new(&scope.at("k_norm"), EPS)?,
        })
    }

    /// `x [B, L, C]` to the same shape.
    fn forward(&self, residency: &Residency, x: &Tensor, heads: Heads, rotations: &Rotations) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        let h = self.norm.forward(&held, x);
        let split = |x: Tensor, count: i64| x.view([h.size()[0], -1, count, heads.width]);
        let q = self.q_norm.forward(&held, &split(self.q.exact(&held, &h), heads.queries)).transpose(1, 2);
        let k = self.k_norm.forward(&held, &split(self.k.exact(&held, &h), heads.pairs)).transpose(1, 2);
        let v = split(self.v.exact(&held, &h), heads.pairs).transpose(1, 2);
        // Each pair of key and value serves neighbouring queries.
        let shared = |x: &Tensor| x.repeat_interleave_self_int(heads.queries / heads.pairs, 1, None);
        let (q, k, v) = (rotations.apply(&q), shared(&rotations.apply(&k)), shared(&v));
        let out = Tensor::scaled_dot_product_attention::<Tensor>(&q, &k, &v, None, 0.0, true, None, false);
        Ok(x + self.o.exact(&held, &out.transpose(1, 2).flatten(2, 3)))
    }
}

fn feed_forward(layer: &Scope<'_>, block: BlockIndex) -> Result<GatedForward, FamilyError> {
    let linear = |name: &str| Linear::new(&layer.at(&format!("mlp.{name}")));
    Ok(GatedForward {
        block,
        norm: RmsNorm::new(&layer.at("post_attention_layernorm"), EPS)?,
        gate: linear("gate_proj")?,
        up: linear("up_proj")?,
        down: linear("down_proj")?,
    })
}
