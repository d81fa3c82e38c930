//! What can be typed. The comments here are the help that users read.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use super::conversions::{CacheCommand, ConversionsCommand, ConvertArgs};
use super::global::Global;
use super::part_args::{OffloadArgs, PartArgs, PlacingArgs};
use super::set_args::SetsCommand;
use super::watching::{ConfigCommand, RecordArgs, ReplayArgs, ServeArgs};
use crate::jobs::{JobState, Move};
use crate::placement::compat::Rules;
use crate::prompt::{Dialect, Weighting};
use crate::quant::precision::Target;
use crate::sampling::{Prediction, Sampler, Schedule};
use crate::units::{DeviceId, JobId, Seed, Size};
use crate::weights::Precision;
use crate::workflow::{Passes, Tiling};

/// The terminal workstation for GPU boxes: see the memory, stretch it, run diffusion on it, over SSH.
///
/// Without a command, opens the dashboard.
#[derive(Debug, Parser)]
#[command(name = "perilune", version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a picture: waits for it and shows progress, or `--detach`
    ///
    /// Prints the path of each picture. Ctrl-C cancels the job and ends with code 130; a second
    /// Ctrl-C does not wait for it to stop. When the terminal goes away, the job goes on.
    Run(Box<RunArgs>),
    /// Looks at the queue and changes it
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Shows devices, engines and the queue at this moment
    Status {
        /// Show it again every second
        #[arg(long, short)]
        watch: bool,
    },
    /// Shows devices only
    Devices,
    /// Prints devices, sets, queue and conversions as text for Prometheus
    ///
    /// Labels are names of devices, sets, precisions and states, never prompts or paths. What cannot be read has no sample.
    /// `perilune serve --metrics` answers the same over HTTP.
    Metrics,
    /// Records what the dashboard is told, until Ctrl-C; without prompts, unless they are asked for
    Record(RecordArgs),
    /// Plays a recording on the dashboard: space stops, left and right jump, + and - change the speed
    ///
    /// A file that is cut off, damaged or no recording ends with code 6.
    Replay(ReplayArgs),
    /// Looks at model files
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Looks at loaded model sets, and changes which are
    #[command(subcommand)]
    Sets(SetsCommand),
    /// Says where each block of a model would go, and what a step would take
    ///
    /// Nothing is loaded: headers and the devices' memory are read. A run with the same flags is placed the same way.
    /// Seconds rest on what runs have shown of this box; before the first one, speeds are assumed.
    ///
    /// With --blocks and --compat, says for blocks in a file what `ComfyUI-MultiGPU` makes of a string, block by block,
    /// its errors included. Where the file says what is expected, ends with code 1 if a case differs.
    Plan(Box<PlanArgs>),
    /// Converts weights into another precision, once
    ///
    /// Of a checkpoint, its diffusion network is converted, without text encoders and autoencoder, unless --part says
    /// otherwise. What was converted before is used again; what was cut off goes on from there. Results lie in
    /// `diffusion_models/converted` and `diffusion_models/gguf` of the model folder, where `ComfyUI` sees them too.
    ///
    /// GGUF files are made of networks, also of those in diffusers folders, as `ComfyUI-GGUF` reads them; of T5 and Qwen3 as
    /// llama.cpp and `ComfyUI-GGUF` do; of CLIP's encoders and of whole checkpoints as stable-diffusion.cpp does.
    Convert(ConvertArgs),
    /// Looks at conversions, and cleans them up
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Looks at what the daemon is converting, and changes it
    #[command(subcommand)]
    Conversions(ConversionsCommand),
    /// Measures this box once, for `plan`: links, and blocks of each kind
    ///
    /// Reads past the page cache and from it, copies memory, and computes with blocks of each kind at two sizes; with a
    /// model, also its network at three. What is found holds for this device, precision, library and driver, and later runs
    /// correct it. The device must be idle. Ctrl-C ends it, and nothing is kept.
    Calibrate(CalibrateArgs),
    /// Makes a picture with the model that comes with the program
    Demo {
        /// Folder for the picture
        #[arg(long, short, value_name = "DIR")]
        output: Option<PathBuf>,
        /// The device that computes
        #[arg(long, value_name = "DEVICE")]
        compute_device: Option<DeviceId>,
    },
    /// Runs the daemon in the foreground
    ///
    /// It keeps the queue, supervises an engine per device and answers clients. Commands start one in
    /// the background where there is none. Ends in order on Ctrl-C; at once on a second one.
    Serve(ServeArgs),
    /// Ends the daemon in order; running jobs wait for the next one
    Stop,
    /// Converts what the daemon says on standard input, for the daemon
    #[command(hide = true)]
    Converter,
    /// Carries the daemon's protocol over standard input and output, for `--host`
    Bridge,
    /// Checks what is needed and says how to mend it
    Doctor,
    /// Shows every setting and where it comes from, or checks the files that say them
    Config {
        /// What to do; `print` when left out.
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
}

/// A generation.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// The model: a path, or a name from the model folders
    #[arg(short, long, value_name = "PATH|NAME")]
    pub model: String,
    /// What it is made of.
    #[command(flatten)]
    pub parts: PartArgs,
    /// What the picture shows
    #[arg(short, long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub prompt: String,
    /// What it must not show
    #[arg(short, long, default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub negative: String,
    /// Solver steps
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// Guidance scale; 1 is none
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    pub cfg: Option<f64>,
    /// How strongly a network that was taught guidance follows the text: Flux dev
    #[arg(long, value_name = "STRENGTH", allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// How much of guidance's excess of contrast is taken back, 0 to 1
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub cfg_rescale: Option<f64>,
    /// How far the noise levels of SD3, Flux and Z-Image are shifted upwards, instead of by the family's own rule
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub shift: Option<f64>,
    /// Solver: euler, `euler_ancestral`, heun, `dpm_2`, `dpmpp_2s_ancestral`, `dpmpp_2m`, `dpmpp_2m_sde`,
    /// `dpmpp_3m_sde`, `dpmpp_sde`, ddim, lcm, `uni_pc`
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<Sampler>,
    /// Noise schedule: normal, karras, exponential, `sgm_uniform`, simple, beta, `ddim_uniform`,
    /// `linear_quadratic`, `kl_optimal`
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<Schedule>,
    /// What the network predicts, where its file does not tell: eps, v
    #[arg(long, value_name = "NAME")]
    pub prediction: Option<Prediction>,
    /// Seed of the first picture; random when left out
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<Seed>,
    /// Size in pixels, each side divisible by 8
    #[arg(long, value_name = "WxH")]
    pub size: Option<Size>,
    /// Pictures made together; picture k has seed + k
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch: Option<u32>,
    /// What to compute in: fp32, bf16, fp16. Any other precision of `convert`, such as fp8 or `Q4_K_M`, is what the diffusion
    /// network is stored as: it is converted once, and kept
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Target>,
    /// A picture to start from
    #[arg(long, value_name = "PATH")]
    pub init_image: Option<PathBuf>,
    /// How much of it is made anew, above 0 and up to 1
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub denoise: Option<f64>,
    /// Whether the autoencoder works in tiles: auto, always, never
    #[arg(long, value_name = "WHEN")]
    pub tiling: Option<Tiling>,
    /// Whether both passes of guidance run at once: together, or apart in half the memory
    #[arg(long, value_name = "HOW")]
    pub passes: Option<Passes>,
    /// How prompts are written: a1111, comfy
    #[arg(long, value_name = "NAME")]
    pub dialect: Option<Dialect>,
    /// How their weights are applied: interpolate, original
    #[arg(long, value_name = "NAME")]
    pub weighting: Option<Weighting>,
    /// Keep the latent that each picture was decoded from, in the picture's own file, where other programs pass it over
    #[arg(long)]
    pub keep_latents: bool,
    /// Folder for the pictures
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Jobs of higher priority run first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// Where it is computed, and where weights live.
    #[command(flatten)]
    pub placing: PlacingArgs,
    /// Print the job's number and do not wait
    #[arg(short, long)]
    pub detach: bool,
    /// Let the job wait until `queue resume`; implies --detach
    #[arg(long)]
    pub held: bool,
}

/// What is to be placed, and by whose rules.
#[derive(Debug, Clone, Default, Args)]
pub struct PlanArgs {
    /// The model: a path, or a name from the model folders
    #[arg(value_name = "PATH|NAME", conflicts_with = "blocks")]
    pub model: Option<String>,
    /// What it is made of.
    #[command(flatten)]
    pub parts: PartArgs,
    /// Guidance scale; 1 is none, which halves a step
    #[arg(long, value_name = "SCALE", allow_negative_numbers = true)]
    pub cfg: Option<f64>,
    /// Solver, as for `run`
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<Sampler>,
    /// Size in pixels, each side divisible by 8
    #[arg(long, value_name = "WxH")]
    pub size: Option<Size>,
    /// Pictures made together
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch: Option<u32>,
    /// What to compute in, or what the diffusion network is stored as, as for `run`
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Target>,
    /// Whether both passes of guidance run at once: together, or apart in half the memory
    #[arg(long, value_name = "HOW")]
    pub passes: Option<Passes>,
    /// Where it is computed, and where weights live.
    #[command(flatten)]
    pub placing: PlacingArgs,
    /// Show a step's time for each of N amounts that leave, from none to all
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "11", conflicts_with = "blocks")]
    pub sweep: Option<u32>,
    /// A JSON file: `models`, lists of blocks by name, and `examples`, cases with devices and an allocation
    #[arg(long, value_name = "FILE")]
    pub blocks: Option<PathBuf>,
    /// Whose rules: distorch2, distorch-v1
    #[arg(long, value_name = "RULES")]
    pub compat: Option<Rules>,
    /// Print the tables that the original prints; about a model, of where our planner puts it
    #[arg(long)]
    pub tables: bool,
}

/// What is to be measured.
#[derive(Debug, Clone, Default, Args)]
pub struct CalibrateArgs {
    /// A model whose steps are measured too, from whose files the disk's speed is taken: a path, or a name from the model
    /// folders
    #[arg(value_name = "PATH|NAME")]
    pub model: Option<String>,
    /// The device that computes: cuda:N or cpu
    #[arg(long, value_name = "DEVICE")]
    pub compute_device: Option<DeviceId>,
    /// What to compute in: fp32, bf16, fp16
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Precision>,
}

/// The queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Lists jobs: unfinished ones in their order, then finished ones, the newest first
    List {
        /// Only jobs in this state: queued, held, running, paused, done, failed, cancelled
        #[arg(long, value_name = "STATE")]
        state: Vec<JobState>,
        /// The most jobs to list, at least 1; `perilune status` has the counts alone
        #[arg(long, short = 'l', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
    },
    /// Shows one job
    Show {
        /// Its number
        job: JobId,
    },
    /// Takes jobs back: waiting ones at once, running ones when their engine has stopped
    Cancel {
        /// Their numbers; one cancelled before stays so (exit 0), one that is done or failed is refused (exit 5)
        #[arg(required = true)]
        jobs: Vec<JobId>,
    },
    /// Tries failed or cancelled jobs again
    Retry {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<JobId>,
    },
    /// Gives a waiting job another place
    Move {
        /// Its number
        job: JobId,
        /// Where to: up, down, first, last, before:JOB
        to: Move,
    },
    /// Has the weights of a job's diffusion network live elsewhere: a running job's from its next step on, to the same picture
    ///
    /// The other parts are used before the first step and after the last one: what a flag says of them is refused.
    #[command(group = ArgGroup::new("budget").required(true).multiple(true).args(["virtual_vram", "expert_mode_allocations", "pin_blocks"]))]
    Rebudget {
        /// Its number
        job: JobId,
        /// Where its weights live.
        #[command(flatten)]
        offload: OffloadArgs,
    },
    /// Writes the jobs that wait to a file, as the commands that submit them again; they go on waiting
    Save {
        /// The file; one that is there is not replaced
        file: PathBuf,
    },
    /// Keeps the queue, or one job, from going on
    Pause {
        /// Its number; the queue as a whole when left out
        job: Option<JobId>,
    },
    /// Lets the queue, or one job, go on
    Resume {
        /// Its number; the queue as a whole when left out
        job: Option<JobId>,
    },
    /// Forgets finished jobs; their pictures stay
    Clear {
        /// Only jobs in this state: done, failed, cancelled
        #[arg(long, value_name = "STATE")]
        state: Vec<JobState>,
    },
}

/// Model files.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Lists the models in the model folders
    List,
    /// Says what a file or folder holds, from its header alone, and which precisions suit this box
    ///
    /// Precisions are suggested for the devices that a daemon reads which runs already, else for the processor alone; no daemon
    /// is started. What a device needs is the network, the other parts that the file holds, and what plans leave free;
    /// `perilune plan` says where each block would live. With --host there is no advice.
    Inspect {
        /// A path, or a name from the model folders
        #[arg(value_name = "PATH|NAME")]
        model: String,
    },
}
