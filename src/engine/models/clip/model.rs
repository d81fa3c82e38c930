//! The text half of CLIP-L and of `OpenCLIP`'s bigG.
//!
//! Source: transformers `models/clip/modeling_clip.py`, `CLIPTextTransformer` and `CLIPTextModelWithProjection`.

use tch::{Kind, Tensor};

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::wide::stream;
use crate::engine::nn::{LayerNorm, Linear, Scope, WeightRef, attend};
use crate::engine::residency::{Held, Residency};
use crate::families::{ClipActivation, ClipConfig, FamilyError, clip};
use crate::units::BlockIndex;
use crate::weights::BlockTable;

const EPS: f64 = 1e-5;

/// Tokens to hidden states.
#[derive(Debug)]
pub struct ClipText {
    position_embedding: WeightRef,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    projection: Option<Projection>,
    end: i64,
}

/// What an encoder makes of windows of tokens; `L` is their length. All in the type of a [`stream`].
#[derive(Debug)]
pub struct ClipOutput {
    /// The last hidden state after the final norm, `[B, L, C]`.
    pub last: Tensor,
    /// The output of the second last layer, without a norm, `[B, L, C]`.
    pub penultimate: Tensor,
    /// `last` at each text's first end mark, `[B, C]`.
    pub unprojected: Tensor,
    /// The same, multiplied with the projection where the file holds one, `[B, P]`.
    pub pooled: Tensor,
}

#[derive(Debug)]
enum Projection {
    /// `[in, out]`.
    Bare(WeightRef),
    /// `[out, in]`.
    Layer(Linear),
}

#[derive(Debug)]
struct Layer {
    block: BlockIndex,
    heads: i64,
    activation: ClipActivation,
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
        let root = Scope::root(table, config.role);
        let scope = root.at("text_model");
        let layers = (0..config.layers).map(|n| Layer::new(&scope.at(&format!("encoder.layers.{n}")), config));
        let projection = |is_bare: bool| {
            let name = "text_projection";
            if is_bare { root.weight(name).map(Projection::Bare) } else { Linear::new(&root.at(name)).map(Projection::Layer) }
        };
        Ok(Self {
            position_embedding: scope.weight("embeddings.position_embedding.weight")?,
            layers: layers.collect::<Result<_, _>>()?,
            final_layer_norm: LayerNorm::new(&scope.at("final_layer_norm"), EPS)?,
            projection: config.projection.map(|p| projection(p.is_bare)).transpose()?,
            end: i64::try_from(config.end()).unwrap_or(i64::MAX),
        })
    }

    /// Reads `tokens [B, L] i64`, at most 77 of each text.
    ///
    /// Products are in the stream's type, too: a run reads its text once, and every step depends on it.
    pub fn forward(&self, residency: &Residency, tokens: &Tensor) -> Result<ClipOutput, EngineError> {
        let head = residency.head()?;
        let positions = head.tensor(self.position_embedding);
        let length = tokens.size()[1];
        let kind = stream(positions.kind());
        let words = residency.gather(clip::TOKENS, tokens)?.to_kind(kind);
        let mut x = words + positions.narrow(0, 0, length);
        let mut penultimate = x.shallow_clone();
        for layer in &self.layers {
            penultimate = x;
            x = layer.forward(residency, &penultimate)?;
        }
        let last = self.final_layer_norm.forward(&head, &x);
        let unprojected = self.at_end(&last, tokens);
        let pooled = self.projection.as_ref().map_or_else(|| unprojected.shallow_clone(), |p| p.forward(&head, &unprojected));
        Ok(ClipOutput { last, penultimate, unprojected, pooled })
    }

    /// Returns `last` at the first end mark of each text.
    fn at_end(&self, last: &Tensor, tokens: &Tensor) -> Tensor {
        let first = tokens.eq(self.end).to_kind(Kind::Int64).argmax(-1, false);
        let texts = Tensor::arange(tokens.size()[0], (Kind::Int64, tokens.device()));
        last.index(&[Some(texts), Some(first)])
    }
}

impl Projection {
    /// `x [B, C]` to `[B, P]`.
    fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        match self {
            Self::Bare(weight) => x.matmul(&held.tensor(*weight).to_kind(x.kind())),
            Self::Layer(linear) => linear.exact(held, x),
        }
    }
}

impl Layer {
    fn new(scope: &Scope<'_>, config: &ClipConfig) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self {
            block: scope.block()?,
            heads: i64::try_from(config.heads()).unwrap_or(1),
            activation: config.activation,
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
        let h = match self.activation {
            ClipActivation::QuickGelu => quick_gelu(&h),
            ClipActivation::Gelu => h.gelu("none"),
        };
        Ok(x + self.fc2.exact(&held, &h))
    }
}

/// `x · σ(1.702 x)`.
fn quick_gelu(x: &Tensor) -> Tensor {
    x * (x * 1.702).sigmoid()
}
