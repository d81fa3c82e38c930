//! The text half of CLIP-L.
//!
//! Source: transformers `models/clip/modeling_clip.py`, `CLIPTextTransformer`.

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::wide::stream;
use crate::engine::nn::{LayerNorm, Linear, Scope, WeightRef, attend};
use crate::engine::residency::Residency;
use crate::families::{ClipConfig, FamilyError, Role};
use crate::units::BlockIndex;
use crate::weights::BlockTable;

const EPS: f64 = 1e-5;

/// Tokens to hidden states.
#[derive(Debug)]
pub struct ClipText {
    token_embedding: WeightRef,
    position_embedding: WeightRef,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
}

#[derive(Debug)]
struct Layer {
    block: BlockIndex,
    heads: i64,
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl ClipText {
    /// Finds the encoder's weights.
    pub fn new(config: &ClipConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::ClipL).at("text_model");
        let heads = i64::try_from(config.heads()).unwrap_or(1);
        let layers = (0..config.layers).map(|n| Layer::new(&scope.at(&format!("encoder.layers.{n}")), heads));
        Ok(Self {
            token_embedding: scope.weight("embeddings.token_embedding.weight")?,
            position_embedding: scope.weight("embeddings.position_embedding.weight")?,
            layers: layers.collect::<Result<_, _>>()?,
            final_layer_norm: LayerNorm::new(&scope.at("final_layer_norm"), EPS)?,
        })
    }

    /// `tokens [B, 77] i64` to the last hidden state after the final norm, `[B, 77, C]` in the type of a [`stream`].
    ///
    /// Products are in that type, too: a run reads its text once, and every step depends on it.
    pub fn forward(&self, residency: &Residency, tokens: &Tensor) -> Result<Tensor, EngineError> {
        let head = residency.head()?;
        let positions = head.tensor(self.position_embedding);
        let length = tokens.size()[1];
        let kind = stream(positions.kind());
        let words = Tensor::embedding(&head.tensor(self.token_embedding), tokens, -1, false, false).to_kind(kind);
        let mut x = words + positions.narrow(0, 0, length);
        for layer in &self.layers {
            x = layer.forward(residency, &x)?;
        }
        Ok(self.final_layer_norm.forward(&head, &x))
    }
}

impl Layer {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self {
            block: scope.block()?,
            heads,
            layer_norm1: LayerNorm::new(&scope.at("layer_norm1"), EPS)?,
            q_proj: linear("self_attn.q_proj")?,
            k_proj: linear("self_attn.k_proj")?,
            v_proj: linear("self_attn.v_proj")?,
            out_proj: linear("self_attn.out_proj")?,
            layer_norm2: LayerNorm::new(&scope.at("layer_norm2"), EPS)?,
            fc1: linear("mlp.fc1")?,
            fc2: linear("mlp.fc2")?,
        })
    }

    /// `x [B, L, C]` to the same shape.
    fn forward(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        let h = self.layer_norm1.forward(&held, x);
        let (q, k, v) = (self.q_proj.exact(&held, &h), self.k_proj.exact(&held, &h), self.v_proj.exact(&held, &h));
        let x = x + self.out_proj.exact(&held, &attend(&q, &k, &v, self.heads, Causal::Yes));
        let h = self.fc1.exact(&held, &self.layer_norm2.forward(&held, &x));
        Ok(x + self.fc2.exact(&held, &quick_gelu(&h)))
    }
}

/// `x · σ(1.702 x)`, the activation that CLIP-L was trained with.
fn quick_gelu(x: &Tensor) -> Tensor {
    x * (x * 1.702).sigmoid()
}
