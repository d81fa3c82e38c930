//! The flags that several commands share: which parts a model has, and where they live.

use clap::Args;

use crate::placement::{Donors, Expert, OfPart, Pins, VirtualVram};
use crate::units::DeviceId;

/// Which member of its family a model is, and parts to use instead of its own.
#[derive(Debug, Clone, Default, Args)]
pub struct PartArgs {
    /// Which member of its family it is, where its shapes do not tell: turbo, base, 3.5-large-turbo
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// An autoencoder to use instead of the model's own
    #[arg(long, value_name = "PATH|NAME")]
    pub vae: Option<String>,
    /// A text encoder to use instead of the model's own; may be given more than once
    #[arg(long, value_name = "PATH|NAME")]
    pub clip: Vec<String>,
    /// Text encoders, each for one role.
    #[command(flatten)]
    pub encoders: EncoderArgs,
}

/// Text encoders that are given for one role. What is given with `--clip` goes where it fits.
#[derive(Debug, Clone, Default, Args)]
pub struct EncoderArgs {
    /// CLIP-L, the first text encoder of SD1.5, SDXL, SD3 and Flux
    #[arg(long, value_name = "PATH|NAME")]
    pub clip_l: Option<String>,
    /// OpenCLIP bigG, the second text encoder of SDXL and SD3
    #[arg(long, alias = "clip2", value_name = "PATH|NAME")]
    pub clip_g: Option<String>,
    /// T5-XXL, the text encoder of SD3 and Flux
    #[arg(long, value_name = "PATH|NAME")]
    pub t5: Option<String>,
    /// Qwen3, the text encoder of Z-Image
    #[arg(long, alias = "llm", value_name = "PATH|NAME")]
    pub qwen: Option<String>,
}

/// Where a generation is computed, and where its weights live: the same for what is done and for what is planned.
#[derive(Debug, Clone, Default, Args)]
pub struct PlacingArgs {
    /// The device that computes: cuda:N or cpu
    #[arg(long, value_name = "DEVICE")]
    pub compute_device: Option<DeviceId>,
    /// Where weights live.
    #[command(flatten)]
    pub offload: OffloadArgs,
}

/// Where a generation's weights live.
#[derive(Debug, Clone, Default, Args)]
pub struct OffloadArgs {
    /// Bytes of the diffusion network's weights that leave the device that computes: 4GiB, auto. This flag and the next three
    /// may be given once for each part: clip=200MiB is about the text encoders, t5=2GiB about one of them, vae=auto about the
    /// autoencoder
    #[arg(long, value_name = "[PART=]BYTES", allow_hyphen_values = true)]
    pub virtual_vram: Vec<OfPart<VirtualVram>>,
    /// Who may take them: cpu, cuda:N, disk, with commas between; each takes what makes a step shortest. cpu when left out, and
    /// disk where cpu computes
    #[arg(long, value_name = "[PART=]DEVICES")]
    pub donor_device: Vec<OfPart<Donors>>,
    /// How much of the weights goes where, instead of the two above: "cpu,800MiB;disk,*", "cpu,10%;disk,*"; or a whole string of
    /// ComfyUI-MultiGPU, which names the device that computes, too: "cpu,10%;disk,*#cuda:0", "#cuda:0;4.0;cpu"
    #[arg(long, value_name = "[PART=]DEVICE,AMOUNT;…")]
    pub expert_mode_allocations: Vec<OfPart<Expert>>,
    /// Blocks that must live on a certain device, by the numbers of `perilune plan`: "disk,3-7+12;cpu,2"
    #[arg(long, value_name = "[PART=]DEVICE,BLOCKS;…")]
    pub pin_blocks: Vec<OfPart<Pins>>,
}
