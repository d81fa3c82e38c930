//! The parts of a UNet's stages.
//!
//! Sources: CompVis `ldm/modules/diffusionmodules/openaimodel.py` (`ResBlock`, `Downsample`,
//! `Upsample`) and `ldm/modules/attention.py` (`SpatialTransformer`, `BasicTransformerBlock`).

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::wide::{add, in_kind};
use crate::engine::nn::{Conv2d, GroupNorm, LayerNorm, Linear, Scope, attend};
use crate::engine::residency::{Held, Residency};
use crate::families::FamilyError;
use crate::units::BlockIndex;

const RESNET_EPS: f64 = 1e-5;
/// diffusers and CompVis agree on this one for the transformer's first norm, unlike the ResNets'.
const TRANSFORMER_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;

/// Two convolutions with the time embedding between them, and a way around.
#[derive(Debug)]
pub struct Resnet {
    first: BlockIndex,
    second: BlockIndex,
    in_norm: GroupNorm,
    in_conv: Conv2d,
    emb: Linear,
    out_norm: GroupNorm,
    out_conv: Conv2d,
    skip: Option<Conv2d>,
}

impl Resnet {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        let skip = scope.at("skip_connection");
        Ok(Self {
            first: scope.at("in_layers").block()?,
            second: scope.at("out_layers").block()?,
            in_norm: GroupNorm::new(&scope.at("in_layers.0"), RESNET_EPS)?,
            in_conv: Conv2d::same(&scope.at("in_layers.2"))?,
            emb: Linear::new(&scope.at("emb_layers.1"))?,
            out_norm: GroupNorm::new(&scope.at("out_layers.0"), RESNET_EPS)?,
            out_conv: Conv2d::same(&scope.at("out_layers.3"))?,
            skip: if skip.has("weight") { Some(Conv2d::pointwise(&skip)?) } else { None },
        })
    }

    /// `x [B, in, H, W]`, `emb [B, 4·mc]` after its activation, to `[B, out, H, W]` in `x`'s type.
    pub fn forward(&self, residency: &Residency, x: &Tensor, emb: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.first)?;
        let h = self.in_conv.forward(&held, &self.in_norm.forward(&held, x).silu_());
        let shift = self.emb.forward(&held, emb);
        let shift = in_kind(&shift.view([shift.size()[0], -1, 1, 1]), x.kind());
        let h = add(h, &shift);
        drop(held);
        let held = residency.acquire(self.second)?;
        let h = self.out_conv.forward(&held, &self.out_norm.forward(&held, &h).silu_());
        Ok(match &self.skip {
            // The whole stream passes here; rounded, it would not be wide behind it.
            Some(skip) => add(h, &skip.exact(&held, x)),
            None => add(h, x),
        })
    }
}

/// A 3 × 3 convolution of stride 2.
#[derive(Debug)]
pub struct Downsample {
    block: BlockIndex,
    op: Conv2d,
}

impl Downsample {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Ok(Self { block: scope.block()?, op: Conv2d::new(&scope.at("op"), 2, 1)? })
    }

    /// `x [B, C, H, W]` to half the size, rounded up; in its type.
    pub fn forward(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        Ok(in_kind(&self.op.forward(&residency.acquire(self.block)?, x), x.kind()))
    }
}

/// Nearest neighbour to the size of the next skip connection, then a 3 × 3 convolution.
#[derive(Debug)]
pub struct Upsample {
    block: BlockIndex,
    conv: Conv2d,
}

impl Upsample {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Ok(Self { block: scope.block()?, conv: Conv2d::same(&scope.at("conv"))? })
    }

    /// `x [B, C, H, W]` to `[B, C, size[0], size[1]]` in its type.
    pub fn forward(&self, residency: &Residency, x: &Tensor, size: [i64; 2]) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        Ok(in_kind(&self.conv.forward(&held, &x.upsample_nearest2d(size, None, None)), x.kind()))
    }
}

/// Attention over the cells of a feature map, and from them to the text.
#[derive(Debug)]
pub struct SpatialTransformer {
    first: BlockIndex,
    last: BlockIndex,
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl SpatialTransformer {
    /// Finds the weights of a transformer of `depth` blocks.
    pub fn new(scope: &Scope<'_>, depth: u64, heads: i64) -> Result<Self, FamilyError> {
        let blocks = (0..depth).map(|k| TransformerBlock::new(&scope.at(&format!("transformer_blocks.{k}")), heads));
        Ok(Self {
            first: scope.at("proj_in").block()?,
            last: scope.at("proj_out").block()?,
            norm: GroupNorm::new(&scope.at("norm"), TRANSFORMER_EPS)?,
            // A 1 × 1 convolution (SD1) and a matrix over tokens (SD2, SDXL) are the same product.
            proj_in: Linear::new(&scope.at("proj_in"))?,
            blocks: blocks.collect::<Result<_, _>>()?,
            proj_out: Linear::new(&scope.at("proj_out"))?,
        })
    }

    /// `x [B, C, H, W]`, `context [B, L, ctx]` to `[B, C, H, W]` in `x`'s type.
    pub fn forward(&self, residency: &Residency, x: &Tensor, context: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.first)?;
        let of = x.size();
        let kind = self.proj_in.reads(&held, of[2] * of[3]);
        let tokens = in_kind(&self.norm.forward(&held, x), kind).flatten(2, 3).transpose(1, 2).contiguous();
        let mut h = in_kind(&self.proj_in.forward(&held, &tokens), x.kind());
        drop((tokens, held));
        for block in &self.blocks {
            h = block.forward(residency, h, context)?;
        }
        let held = residency.acquire(self.last)?;
        let out = self.proj_out.forward(&held, &h).transpose(1, 2).reshape(of);
        Ok(out + x)
    }
}

#[derive(Debug)]
struct TransformerBlock {
    attention: BlockIndex,
    feed: BlockIndex,
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    feed_in: Linear,
    feed_out: Linear,
}

impl TransformerBlock {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let norm = |name: &str| LayerNorm::new(&scope.at(name), LAYER_NORM_EPS);
        Ok(Self {
            attention: scope.at("attn1").block()?,
            feed: scope.at("ff").block()?,
            norm1: norm("norm1")?,
            attn1: Attention::new(&scope.at("attn1"), heads)?,
            norm2: norm("norm2")?,
            attn2: Attention::new(&scope.at("attn2"), heads)?,
            norm3: norm("norm3")?,
            feed_in: Linear::new(&scope.at("ff.net.0.proj"))?,
            feed_out: Linear::new(&scope.at("ff.net.2"))?,
        })
    }

    /// `x [B, L, C]`, `context [B, S, ctx]` to `[B, L, C]` in `x`'s type.
    fn forward(&self, residency: &Residency, mut x: Tensor, context: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.attention)?;
        // Three products read it: rounded once.
        let h = in_kind(&self.norm1.forward(&held, &x), self.attn1.to_q.reads(&held, x.size()[1]));
        let mut x = x.g_add_(&self.attn1.forward(&held, &h, &h));
        let h = self.norm2.forward(&held, &x);
        let mut x = x.g_add_(&self.attn2.forward(&held, &h, context));
        drop(held);
        let held = residency.acquire(self.feed)?;
        // GEGLU: the first half is the value, the second the gate.
        let h = self.feed_in.forward(&held, &self.norm3.forward(&held, &x));
        let halves = h.chunk(2, -1);
        let h = &halves[0] * halves[1].gelu("none");
        Ok(x.g_add_(&self.feed_out.forward(&held, &h)))
    }
}

#[derive(Debug)]
struct Attention {
    heads: i64,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn new(scope: &Scope<'_>, heads: i64) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self { heads, to_q: linear("to_q")?, to_k: linear("to_k")?, to_v: linear("to_v")?, to_out: linear("to_out.0")? })
    }

    fn forward(&self, held: &Held<'_>, x: &Tensor, context: &Tensor) -> Tensor {
        let (q, k, v) = (self.to_q.forward(held, x), self.to_k.forward(held, context), self.to_v.forward(held, context));
        self.to_out.forward(held, &attend(&q, &k, &v, self.heads, Causal::No))
    }
}
