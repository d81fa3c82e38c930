//! The UNet as a whole: down, through the middle, and up again along the skip connections.
//!
//! Source: CompVis `ldm/modules/diffusionmodules/openaimodel.py`, `UNetModel.forward`.

use tch::Tensor;

use super::layers::{Downsample, Resnet, SpatialTransformer, Upsample};
use crate::engine::EngineError;
use crate::engine::models::denoiser::Pass;
use crate::engine::nn::wide::in_kind;
use crate::engine::nn::{Conv2d, Embedder, GroupNorm, Scope, time_embedding};
use crate::engine::residency::Residency;
use crate::families::unet::{Layer, Stage};
use crate::families::{FamilyError, Role, UnetConfig};
use crate::weights::BlockTable;

/// Predicts noise, or velocity, from a noisy latent, a time and a text.
#[derive(Debug)]
pub struct Unet {
    model_channels: i64,
    time: Embedder,
    label: Option<Embedder>,
    input: Vec<Vec<Part>>,
    middle: Vec<Part>,
    output: Vec<Vec<Part>>,
    out_norm: GroupNorm,
    out_conv: Conv2d,
}

#[derive(Debug)]
enum Part {
    ConvIn(Conv2d),
    Resnet(Resnet),
    Transformer(SpatialTransformer),
    Downsample(Downsample),
    Upsample(Upsample),
}

impl Unet {
    /// Finds the network's weights.
    pub fn new(config: &UnetConfig, table: &BlockTable) -> Result<Self, FamilyError> {
        let scope = Scope::root(table, Role::Denoiser);
        let stages = |stages: &[Stage]| stages.iter().map(|s| parts(config, &scope, s)).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            model_channels: i64::try_from(config.model_channels).unwrap_or(i64::MAX),
            time: Embedder::new(&scope.at("time_embed"), ["0", "2"])?,
            label: config.vector_width.map(|_| Embedder::new(&scope.at("label_emb.0"), ["0", "2"])).transpose()?,
            input: stages(&config.input)?,
            middle: parts(config, &scope, &config.middle)?,
            output: stages(&config.output)?,
            out_norm: GroupNorm::new(&scope.at("out.0"), 1e-5)?,
            out_conv: Conv2d::same(&scope.at("out.2"))?,
        })
    }

    /// `x [B, in, h, w]`, `time` 0…999, `context [B, L, ctx]`, `vector [B, adm]` to `[B, out, h, w]` in `x`'s type, which is that
    /// of the stream: the weights' own, or the wider one that [`stream`](crate::engine::nn::wide::stream) names.
    ///
    /// A network that listens to a vector and is given none hears nothing of it.
    pub fn forward(&self, residency: &Residency, pass: Pass<'_>) -> Result<Tensor, EngineError> {
        let (head, x) = (residency.head()?, pass.x);
        let sinusoid = time_embedding(pass.time, self.model_channels, x.device()).to_kind(x.kind());
        // Every transformer reads it: rounded once, where it is rounded.
        let context = &in_kind(pass.context, self.time.reads(&head, pass.context.size()[1]));
        let emb = self.time.forward(&head, &sinusoid);
        // One time for all, and a vector for each: the sum is as wide as the batch.
        let emb = match (&self.label, pass.vector) {
            (Some(label), Some(vector)) => emb + label.forward(&head, &vector.to_kind(x.kind())),
            _ => emb,
        };
        // Every ResNet begins with the activation of the embedding; one is enough.
        let emb = emb.silu();
        let run = |parts: &[Part], mut x: Tensor, size: [i64; 2]| -> Result<Tensor, EngineError> {
            for part in parts {
                x = match part {
                    Part::ConvIn(conv) => conv.exact(&residency.head()?, &x),
                    Part::Resnet(resnet) => resnet.forward(residency, &x, &emb)?,
                    Part::Transformer(transformer) => transformer.forward(residency, &x, context)?,
                    Part::Downsample(down) => down.forward(residency, &x)?,
                    Part::Upsample(up) => up.forward(residency, &x, size)?,
                };
                residency.look_at(&x)?;
            }
            Ok(x)
        };
        let mut skips = Vec::with_capacity(self.input.len());
        let mut h = x.shallow_clone();
        for stage in &self.input {
            h = run(stage, h, [0, 0])?;
            skips.push(h.shallow_clone());
        }
        h = run(&self.middle, h, [0, 0])?;
        for stage in &self.output {
            if let Some(skip) = skips.pop() {
                h = Tensor::cat(&[h, skip], 1);
            }
            let size = skips.last().map_or([0, 0], spatial);
            h = run(stage, h, size)?;
        }
        let head = residency.head()?;
        Ok(self.out_conv.exact(&head, &self.out_norm.forward(&head, &h).silu_()))
    }
}

fn parts(config: &UnetConfig, scope: &Scope<'_>, stage: &Stage) -> Result<Vec<Part>, FamilyError> {
    let part = |(place, layer): (usize, &Layer)| {
        let scope = scope.at(&format!("{}.{place}", stage.name));
        Ok(match layer {
            Layer::ConvIn => Part::ConvIn(Conv2d::same(&scope)?),
            Layer::Resnet { .. } => Part::Resnet(Resnet::new(&scope)?),
            Layer::Transformer { channels, depth } => {
                let heads = i64::try_from(config.heads.over(*channels)).unwrap_or(1);
                Part::Transformer(SpatialTransformer::new(&scope, *depth, heads)?)
            }
            Layer::Downsample { .. } => Part::Downsample(Downsample::new(&scope)?),
            Layer::Upsample { .. } => Part::Upsample(Upsample::new(&scope)?),
        })
    };
    stage.layers.iter().enumerate().map(part).collect()
}

fn spatial(x: &Tensor) -> [i64; 2] {
    let size = x.size();
    [size[2], size[3]]
}
