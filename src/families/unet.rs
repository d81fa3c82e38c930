//! The UNet of Stable Diffusion 1, 2 and XL, as its shapes describe it.
//!
//! Source of the layout: CompVis `ldm/modules/diffusionmodules/openaimodel.py`.

use std::cmp::Ordering;

use super::{Family, FamilyError, Role, needed};
use crate::weights::{Catalog, Shape};

/// One layer of a stage; its weights lie under `{stage}.{position}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The first convolution, 3 × 3.
    ConvIn,
    /// Two convolutions with the time embedding between them.
    Resnet {
        /// Channels that come in.
        input: u64,
        /// Channels that go out.
        output: u64,
    },
    /// Self attention, cross attention and feed-forward, `depth` times.
    Transformer {
        /// Channels.
        channels: u64,
        /// Transformer blocks in a row.
        depth: u64,
    },
    /// A 3 × 3 convolution of stride 2.
    Downsample {
        /// Channels.
        channels: u64,
    },
    /// Nearest neighbour to twice the size, then a 3 × 3 convolution.
    Upsample {
        /// Channels.
        channels: u64,
    },
}

/// Layers that run one after another and share one skip connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `input_blocks.4`, `middle_block` or `output_blocks.7`.
    pub name: String,
    /// Its layers, in order.
    pub layers: Vec<Layer>,
}

/// How channels are divided into attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// So many heads at every level.
    Count(u64),
    /// Heads of this width.
    Width(u64),
}

impl Heads {
    /// Returns the number of heads over `channels`.
    #[must_use]
    pub fn over(self, channels: u64) -> u64 {
        match self {
            Self::Count(n) => n,
            Self::Width(w) if channels.is_multiple_of(w) => channels / w,
            // Tiny models are narrower than one head; ComfyUI falls back to 8 heads too.
            Self::Width(_) => 8,
        }
    }
}

/// Everything that the forward pass must know, read from names and shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnetConfig {
    /// Channels of the network's input: 4, or 9 for inpainting.
    pub in_channels: u64,
    /// Channels of its output.
    pub out_channels: u64,
    /// Channels of the first level; also the width of the sinusoidal time embedding.
    pub model_channels: u64,
    /// Width of the text context.
    pub context_width: u64,
    /// Width of the vector condition of SDXL, if there is one.
    pub vector_width: Option<u64>,
    /// Whether the transformers project with a matrix (SD2, SDXL) or a 1 × 1 convolution (SD1).
    pub linear_projection: bool,
    /// How attention is divided.
    pub heads: Heads,
    /// Stages on the way down.
    pub input: Vec<Stage>,
    /// The stage at the bottom.
    pub middle: Stage,
    /// Stages on the way up.
    pub output: Vec<Stage>,
}

impl UnetConfig {
    /// Reads the configuration of a UNet in the original layout, prefix stripped.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, Role::Denoiser, name, axis);
        let stages = |kind: &str| -> Result<Vec<Stage>, FamilyError> {
            let stage = |n| read_stage(catalog, format!("{kind}.{n}")).and_then(some_layers);
            (0..catalog.count(&format!("{kind}."))).map(stage).collect()
        };
        let input = stages("input_blocks")?;
        let middle = read_stage(catalog, "middle_block".to_owned())?;
        let output = stages("output_blocks")?;
        let transformer = first_transformer(&input, &middle, &output)
            .ok_or_else(|| missing("input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"))?;
        let proj_in = format!("{transformer}.proj_in.weight");
        // A 1 × 1 convolution has exactly two trailing ones. stable-diffusion.cpp gives them to the matrices of SDXL too; what
        // takes a vector has matrices only.
        let shape = &catalog.get(&proj_in).ok_or_else(|| missing(&proj_in))?.shape;
        let linear_projection = shape.rank() == 2 || catalog.has("label_emb.0.0.weight");
        let config = Self {
            in_channels: dim("input_blocks.0.0.weight", 1)?,
            out_channels: dim("out.2.weight", 0)?,
            model_channels: dim("input_blocks.0.0.weight", 0)?,
            context_width: dim(&format!("{transformer}.transformer_blocks.0.attn2.to_k.weight"), 1)?,
            vector_width: catalog.dim("label_emb.0.0.weight", 1),
            linear_projection,
            heads: if linear_projection { Heads::Width(64) } else { Heads::Count(8) },
            input,
            middle,
            output,
        };
        config.check_numbers()?;
        config.check_layers()?;
        Ok(config)
    }

    /// Fails where a layer seems to be lost: networks that were cut down on purpose were so evenly.
    fn check_layers(&self) -> Result<(), FamilyError> {
        let depth = |stage: &Stage| {
            let of = |layer: &Layer| if let Layer::Transformer { depth, .. } = layer { Some(*depth) } else { None };
            stage.layers.iter().find_map(of).unwrap_or(0)
        };
        let is_down = |stage: &Stage| stage.layers.iter().any(|l| matches!(l, Layer::Downsample { .. }));
        for level in self.input.get(1..).unwrap_or_default().split(is_down) {
            let most = level.iter().map(depth).max().unwrap_or(0);
            if let Some(stage) = level.iter().find(|stage| depth(stage) < most) {
                return Err(missing(&format!("{}.1.transformer_blocks.{}.attn1.to_q.weight", stage.name, depth(stage))));
            }
        }
        // Smaller networks, of one ResNet in a stage, do without a middle.
        let is_whole = RELEASED_STAGES.contains(&self.input.len());
        let is_resnet = |place: usize| matches!(self.middle.layers.get(place), Some(Layer::Resnet { .. }));
        match self.middle.layers.len() {
            0 if !is_whole => Ok(()),
            _ if !is_resnet(0) => Err(missing("middle_block.0.in_layers.2.weight")),
            2 => Err(missing("middle_block.2.in_layers.2.weight")),
            _ => Ok(()),
        }
    }

    fn check_numbers(&self) -> Result<(), FamilyError> {
        let family = if self.vector_width.is_some() { Family::Sdxl } else { Family::Sd15 };
        let odd = |what, value| Err(FamilyError::OddNumber { role: Role::Denoiser, family, what, value });
        if !self.model_channels.is_multiple_of(32) || self.model_channels == 0 || self.model_channels > 4096 {
            return odd("number of channels", self.model_channels);
        }
        // Each way down has its way up.
        match self.input.len().cmp(&self.output.len()) {
            Ordering::Less => Err(missing(&format!("input_blocks.{}.0.in_layers.2.weight", self.input.len()))),
            Ordering::Greater => Err(missing(&format!("output_blocks.{}.0.in_layers.2.weight", self.output.len()))),
            Ordering::Equal => Ok(()),
        }
    }

    /// Returns every stage in order of execution.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.input.iter().chain([&self.middle]).chain(&self.output)
    }

    /// Returns the factor between the input and its smallest inner picture.
    #[must_use]
    pub fn downscale(&self) -> u64 {
        let downs = self.input.iter().flat_map(|s| &s.layers).filter(|l| matches!(l, Layer::Downsample { .. })).count();
        1 << downs.min(16)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let width = self.model_channels * 4;
        list.linear("time_embed.0", self.model_channels, width);
        list.linear("time_embed.2", width, width);
        if let Some(vector) = self.vector_width {
            list.linear("label_emb.0.0", vector, width);
            list.linear("label_emb.0.2", width, width);
        }
        for stage in self.stages() {
            for (place, layer) in stage.layers.iter().enumerate() {
                self.expect_layer(&mut list, &format!("{}.{place}", stage.name), *layer);
            }
        }
        list.norm("out.0", self.model_channels);
        list.conv("out.2", self.model_channels, self.out_channels, 3);
        list.0
    }

    fn expect_layer(&self, list: &mut Expected, at: &str, layer: Layer) {
        match layer {
            Layer::ConvIn => list.conv(at, self.in_channels, self.model_channels, 3),
            Layer::Downsample { channels } => list.conv(&format!("{at}.op"), channels, channels, 3),
            Layer::Upsample { channels } => list.conv(&format!("{at}.conv"), channels, channels, 3),
            Layer::Resnet { input, output } => {
                list.norm(&format!("{at}.in_layers.0"), input);
                list.conv(&format!("{at}.in_layers.2"), input, output, 3);
                list.linear(&format!("{at}.emb_layers.1"), self.model_channels * 4, output);
                list.norm(&format!("{at}.out_layers.0"), output);
                list.conv(&format!("{at}.out_layers.3"), output, output, 3);
                if input != output {
                    list.conv(&format!("{at}.skip_connection"), input, output, 1);
                }
            }
            Layer::Transformer { channels, depth } => self.expect_transformer(list, at, channels, depth),
        }
    }

    fn expect_transformer(&self, list: &mut Expected, at: &str, channels: u64, depth: u64) {
        list.norm(&format!("{at}.norm"), channels);
        for projection in ["proj_in", "proj_out"] {
            let name = format!("{at}.{projection}");
            if self.linear_projection {
                list.linear(&name, channels, channels);
            } else {
                list.conv(&name, channels, channels, 1);
            }
        }
        for k in 0..depth {
            let block = format!("{at}.transformer_blocks.{k}");
            for n in 1..=3 {
                list.norm(&format!("{block}.norm{n}"), channels);
            }
            for (attention, context) in [("attn1", channels), ("attn2", self.context_width)] {
                list.matrix(&format!("{block}.{attention}.to_q"), channels, channels);
                list.matrix(&format!("{block}.{attention}.to_k"), context, channels);
                list.matrix(&format!("{block}.{attention}.to_v"), context, channels);
                list.linear(&format!("{block}.{attention}.to_out.0"), channels, channels);
            }
            list.linear(&format!("{block}.ff.net.0.proj"), channels, channels * 8);
            list.linear(&format!("{block}.ff.net.2"), channels * 4, channels);
        }
    }
}

/// Collects names and shapes of expected tensors, by the kind of layer.
pub(super) struct Expected(pub(super) Vec<(String, Shape)>);

impl Expected {
    pub(super) fn push(&mut self, name: String, shape: impl Into<Shape>) {
        self.0.push((name, shape.into()));
    }

    pub(super) fn matrix(&mut self, at: &str, input: u64, output: u64) {
        self.push(format!("{at}.weight"), [output, input]);
    }

    pub(super) fn linear(&mut self, at: &str, input: u64, output: u64) {
        self.matrix(at, input, output);
        self.push(format!("{at}.bias"), [output]);
    }

    pub(super) fn conv(&mut self, at: &str, input: u64, output: u64, kernel: u64) {
        self.push(format!("{at}.weight"), [output, input, kernel, kernel]);
        self.push(format!("{at}.bias"), [output]);
    }

    pub(super) fn norm(&mut self, at: &str, width: u64) {
        self.push(format!("{at}.weight"), [width]);
        self.push(format!("{at}.bias"), [width]);
    }
}

/// Stages on the way down of Stable Diffusion 1 and 2, and of SDXL.
const RELEASED_STAGES: [usize; 2] = [12, 9];

fn missing(tensor: &str) -> FamilyError {
    FamilyError::Missing { role: Role::Denoiser, tensor: tensor.to_owned() }
}

fn read_stage(catalog: &Catalog, name: String) -> Result<Stage, FamilyError> {
    let layer = |place| {
        let at = format!("{name}.{place}");
        read_layer(catalog, &at).ok_or_else(|| missing(&format!("{at}.in_layers.2.weight")))
    };
    let layers = (0..catalog.count(&format!("{name}."))).map(layer).collect::<Result<_, _>>()?;
    Ok(Stage { name, layers })
}

fn some_layers(stage: Stage) -> Result<Stage, FamilyError> {
    if stage.layers.is_empty() { Err(missing(&format!("{}.0.in_layers.2.weight", stage.name))) } else { Ok(stage) }
}

fn read_layer(catalog: &Catalog, at: &str) -> Option<Layer> {
    let dim = |name: &str, axis| catalog.dim(&format!("{at}.{name}"), axis);
    if let (Some(input), Some(output)) = (dim("in_layers.2.weight", 1), dim("out_layers.3.weight", 0)) {
        return Some(Layer::Resnet { input, output });
    }
    let depth = catalog.count(&format!("{at}.transformer_blocks."));
    if let (true, Some(channels)) = (depth > 0, dim("norm.weight", 0)) {
        return Some(Layer::Transformer { channels, depth });
    }
    if let Some(channels) = dim("op.weight", 0) {
        return Some(Layer::Downsample { channels });
    }
    if let Some(channels) = dim("conv.weight", 0) {
        return Some(Layer::Upsample { channels });
    }
    dim("weight", 0).map(|_| Layer::ConvIn)
}

fn first_transformer(input: &[Stage], middle: &Stage, output: &[Stage]) -> Option<String> {
    input.iter().chain([middle]).chain(output).find_map(|stage| {
        let place = stage.layers.iter().position(|l| matches!(l, Layer::Transformer { .. }))?;
        Some(format!("{}.{place}", stage.name))
    })
}
