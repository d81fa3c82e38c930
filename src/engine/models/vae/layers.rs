//! The parts of the autoencoder.
//!
//! Source: CompVis `ldm/modules/diffusionmodules/model.py` (`ResnetBlock`, `AttnBlock`,
//! `Downsample`, `Upsample`).

use tch::Tensor;

use crate::engine::EngineError;
use crate::engine::nn::{Conv2d, GroupNorm, Linear, Moments, Scope};
use crate::engine::residency::{Held, Residency};
use crate::families::FamilyError;
use crate::families::vae::HalfConfig;
use crate::units::BlockIndex;

pub(super) const EPS: f64 = 1e-6;

/// Two convolutions and a way around.
#[derive(Debug, Clone)]
pub(super) struct Resnet {
    pub(super) block: BlockIndex,
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Resnet {
    fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        let shortcut = scope.at("nin_shortcut");
        Ok(Self {
            block: scope.block()?,
            norm1: GroupNorm::new(&scope.at("norm1"), EPS)?,
            conv1: Conv2d::same(&scope.at("conv1"))?,
            norm2: GroupNorm::new(&scope.at("norm2"), EPS)?,
            conv2: Conv2d::same(&scope.at("conv2"))?,
            shortcut: if shortcut.has("weight") { Some(Conv2d::pointwise(&shortcut)?) } else { None },
        })
    }

    fn forward(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        let held = residency.acquire(self.block)?;
        let h = self.conv1.forward(&held, &self.norm1.forward(&held, x).silu_());
        let h = self.conv2.forward(&held, &self.norm2.forward(&held, &h).silu_());
        Ok(self.around(&held, h, x))
    }

    fn around(&self, held: &Held<'_>, mut h: Tensor, x: &Tensor) -> Tensor {
        match &self.shortcut {
            Some(shortcut) => h.g_add_(&shortcut.forward(held, x)),
            None => h.g_add_(x),
        }
    }

    /// Returns how many channels it makes.
    pub(super) fn channels(&self, held: &Held<'_>) -> i64 {
        self.conv1.channels(held)
    }

    /// What comes out of the first convolution, of a part of a map by the moments of the whole.
    pub(super) fn part_until_second_norm(&self, held: &Held<'_>, x: &Tensor, first: &Moments) -> Tensor {
        self.conv1.forward(held, &self.norm1.forward_part(held, x, first).silu_())
    }

    /// All of it, of a part of a map by the moments of the whole before both norms.
    pub(super) fn part(&self, held: &Held<'_>, x: &Tensor, first: &Moments, second: &Moments) -> Tensor {
        let h = self.part_until_second_norm(held, x, first);
        let normed = self.norm2.forward_part(held, &h, second).silu_();
        drop(h);
        let h = self.conv2.forward(held, &normed);
        drop(normed);
        self.around(held, h, x)
    }
}

/// One head of attention over all cells.
#[derive(Debug, Clone)]
struct Attention {
    block: BlockIndex,
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    proj_out: Linear,
}

/// Queries that attend at a time: scores of `1024 × cells` instead of `cells²`, 64 MiB at 1024² pixels.
const QUERY_SLICE: i64 = 1024;

impl Attention {
    fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        let linear = |name: &str| Linear::new(&scope.at(name));
        Ok(Self {
            block: scope.block()?,
            norm: GroupNorm::new(&scope.at("norm"), EPS)?,
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            proj_out: linear("proj_out")?,
        })
    }

    fn forward(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        let held = &residency.acquire(self.block)?;
        let tokens = self.norm.forward(held, x).flatten(2, 3).transpose(1, 2).contiguous();
        let (q, k, v) = (self.q.forward(held, &tokens), self.k.forward(held, &tokens), self.v.forward(held, &tokens));
        drop(tokens);
        let (keys, values) = (k.unsqueeze(1), v.unsqueeze(1));
        // One 512-wide head is too wide for the fused kernels of GPUs, whose fallback keeps all scores at once.
        let slices: Vec<Tensor> = q.split(QUERY_SLICE, 1).iter().map(|q| attend_one_head(q, &keys, &values)).collect();
        let out = self.proj_out.forward(held, &Tensor::cat(&slices, 1));
        Ok(out.transpose(1, 2).reshape(x.size()) + x)
    }
}

fn attend_one_head(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention::<Tensor>(&q.unsqueeze(1), k, v, None, 0.0, false, None, false).squeeze_dim(1)
}

/// The bottom of a half: ResNet, attention, ResNet.
#[derive(Debug, Clone)]
pub(super) struct Middle {
    block_1: Resnet,
    attn_1: Attention,
    block_2: Resnet,
}

impl Middle {
    pub(super) fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Ok(Self {
            block_1: Resnet::new(&scope.at("block_1"))?,
            attn_1: Attention::new(&scope.at("attn_1"))?,
            block_2: Resnet::new(&scope.at("block_2"))?,
        })
    }

    pub(super) fn forward(&self, residency: &Residency, x: &Tensor) -> Result<Tensor, EngineError> {
        let h = self.block_1.forward(residency, x)?;
        let h = self.attn_1.forward(residency, &h)?;
        self.block_2.forward(residency, &h)
    }
}

/// One resolution: ResNets, then a change of size.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub(super) blocks: Vec<Resnet>,
    pub(super) resample: Option<Resampling>,
}

/// A convolution that changes the size, and the block that it travels with.
#[derive(Debug, Clone)]
pub(super) struct Resampling {
    pub(super) block: BlockIndex,
    pub(super) conv: Conv2d,
}

/// How a level's convolution changes the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resample {
    /// Padded right and below by one, stride 2.
    Down,
    /// After nearest neighbour to twice the size.
    Up,
}

impl Level {
    /// Finds the weights of every level of a half, the finest first.
    pub(super) fn all(scope: &Scope<'_>, half: &HalfConfig, resample: Resample) -> Result<Vec<Self>, FamilyError> {
        let level = |(number, blocks): (usize, &Vec<(u64, u64)>)| {
            let scope = scope.at(&number.to_string());
            let blocks = (0..blocks.len()).map(|b| Resnet::new(&scope.at(&format!("block.{b}"))));
            let conv = match resample {
                Resample::Down => scope.at("downsample.conv"),
                Resample::Up => scope.at("upsample.conv"),
            };
            let convolution = || {
                let block = conv.block()?;
                let conv = match resample {
                    Resample::Down => Conv2d::new(&conv, 2, 0)?,
                    Resample::Up => Conv2d::same(&conv)?,
                };
                Ok(Resampling { block, conv })
            };
            Ok(Self {
                blocks: blocks.collect::<Result<_, _>>()?,
                resample: if half.resamples[number] { Some(convolution()?) } else { None },
            })
        };
        half.levels.iter().enumerate().map(level).collect()
    }

    pub(super) fn forward(&self, residency: &Residency, x: Tensor, resample: Resample) -> Result<Tensor, EngineError> {
        let mut h = x;
        for block in &self.blocks {
            h = block.forward(residency, &h)?;
        }
        match &self.resample {
            None => Ok(h),
            Some(Resampling { block, conv }) => Ok(resample.forward(conv, &residency.acquire(*block)?, &h)),
        }
    }
}

impl Resample {
    pub(super) fn forward(self, conv: &Conv2d, held: &Held<'_>, x: &Tensor) -> Tensor {
        match self {
            Self::Down => conv.forward(held, &x.constant_pad_nd([0, 1, 0, 1])),
            Self::Up => {
                let size = x.size();
                conv.forward(held, &x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None))
            }
        }
    }
}
