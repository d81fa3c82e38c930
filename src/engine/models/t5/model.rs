//! The encoder of T5 1.1.
//!
//! Source: transformers `models/t5/modeling_t5.py`, `T5Stack`; "Exploring the Limits of Transfer Learning with a Unified
//! Text-to-Text Transformer", Raffel et al., 2020. Everything is computed in fp32, whatever the weights are stored in: in fp16
//! the output of `wo` is larger than the largest number (transformers keeps that layer in fp32 for the same reason), and a run
//! reads its text once.

use tch::{Device, Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::models::gated::GatedForward;
use crate::engine::nn::attention::attend_biased;
use crate::engine::nn::{Linear, RmsNorm, Scope, WeightRef};
use crate::engine::residency::Residency;
use crate::families::{FamilyError, Role, T5Config, t5};
use crate::units::BlockIndex;
use crate::weights::BlockTable;

const EPS: f64 = 1e-6;
/// Distances from here on are one class, to either side: `relative_attention_max_distance` of every released model.
const FAR: f64 = 128.0;

/// Tokens to hidden states.
#[derive(Debug)]
pub struct T5Encoder {
    layers: Vec<(Attention, GatedForward)>,
    bias: WeightRef,
    final_layer_norm: RmsNorm,
    heads: i64,
    buckets: i64,
}

#[derive(Debug)]
struct Attention {
    block: BlockIndex,
    norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
}

impl T5Encoder {
    /// Finds the encoder's weights.
    pub fn new(config: &T5Config, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::T5);
        let layer = |n| {
            let [attention, forward] = t5::parts(n).map(|part| scope.at(&part));
            Ok((Attention::new(&attention)?, feed_forward(&forward)?))
        };
        Ok(Self {
            layers: (0..config.layers).map(layer).collect::<Result<_, FamilyError>>()?,
            bias: scope.weight("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")?,
            final_layer_norm: RmsNorm::new(&scope.at("encoder.final_layer_norm"), EPS)?,
            heads: i64::try_from(config.heads).unwrap_or(1),
            buckets: i64::try_from(config.buckets).unwrap_or(4),
        })
    }

    /// Reads `tokens [B, L] i64`; returns the last hidden state after the final norm, `[B, L, C]` in fp32. Padding is read as
    /// text is, as SD3 and Flux.1 were trained.
    pub fn forward(&self, residency: &Residency, tokens: &Tensor) -> Result<Tensor, EngineError> {
        let mut x = residency.gather(t5::TOKENS, tokens)?.to_kind(Kind::Float);
        let mut bias = None;
        for (attention, forward) in &self.layers {
            x = attention.forward(residency, &x, self, &mut bias)?;
            x = forward.forward(residency, &x, |gate| gate.gelu("tanh"))?;
            residency.look_at(&x)?;
        }
        Ok(self.final_layer_norm.forward(&residency.head()?, &x))
    }

    /// Returns which class the distance between each two of `length` tokens has, `[L, L] i64`: half of the classes for keys
    /// behind the query, and of each half, half for near distances, one by one, and half for far ones, by their logarithm.
    fn classes(&self, length: i64, device: Device) -> Tensor {
        let places = Tensor::arange(length, (Kind::Int64, device));
        let distance = places.unsqueeze(0) - places.unsqueeze(1);
        let (half, near) = (self.buckets / 2, self.buckets / 4);
        let far = distance.abs();
        // In fp32 as transformers does it: the borders of classes are where its rounding has them.
        let by_logarithm = (far.to_kind(Kind::Float).clamp_min(1.0) / near as f64).log() / (FAR / near as f64).ln() * (half - near) as f64;
        let by_logarithm = (by_logarithm.to_kind(Kind::Int64) + near).clamp_max(half - 1);
        distance.gt(0).to_kind(Kind::Int64) * half + far.where_self(&far.lt(near), &by_logarithm)
    }
}

impl Attention {
    fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(&format!("SelfAttention.{name}")));
        Ok(Self {
            block: scope.block()?,
            norm: RmsNorm::new(&scope.at("layer_norm"), EPS)?,
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            o: linear("o")?,
        })
    }

    /// `x [B, L, C]` to the same shape. The first layer makes the `bias` that all of them add.
    fn forward(&self, residency: &Residency, x: &Tensor, model: &T5Encoder, bias: &mut Option<Tensor>) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        let h = self.norm.forward(&held, x);
        let bias = bias.get_or_insert_with(|| {
            let classes = model.classes(x.size()[1], x.device());
            let each = Tensor::embedding(&held.tensor(model.bias).to_kind(Kind::Float), &classes, -1, false, false);
            each.permute([2, 0, 1]).unsqueeze(0).contiguous()
        });
        let (q, k, v) = (self.q.exact(&held, &h), self.k.exact(&held, &h), self.v.exact(&held, &h));
        Ok(x + self.o.exact(&held, &attend_biased(&q, &k, &v, model.heads, bias)))
    }
}

fn feed_forward(scope: &Scope<'_>) -> Result<GatedForward, FamilyError> {
    let linear = |name: &str| Linear::new(&scope.at(&format!("DenseReluDense.{name}")));
    Ok(GatedForward {
        block: scope.block()?,
        norm: RmsNorm::new(&scope.at("layer_norm"), EPS)?,
        gate: linear("wi_0")?,
        up: linear("wi_1")?,
        down: linear("wo")?,
    })
}
