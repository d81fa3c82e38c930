//! What can be typed about conversions and their cache. The comments here are the help that users read.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};

use crate::conversion::Part;
use crate::library::FolderKind;
use crate::quant::precision::Target;
use crate::units::{Bytes, DeviceId, Seed, Size};
use crate::wire::ConversionId;

/// Conversions.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["sources", "all"]).multiple(true))]
pub struct ConvertArgs {
    /// What to convert: paths, or names from the model folders
    #[arg(value_name = "SRC")]
    pub sources: Vec<String>,
    /// Everything in the model folders of this kind: checkpoints, `diffusion_models`, `text_encoders`, vae, diffusers
    #[arg(long, value_name = "KIND", value_parser = kind)]
    pub all: Option<FolderKind>,
    /// What to convert it to, with commas between several
    #[arg(long, value_name = "PRECISION", required = true, value_delimiter = ',')]
    pub to: Vec<Target>,
    /// Which part of it: denoiser, `clip_l`, `clip_g`, t5, qwen, vae, or whole; the diffusion network when left out
    #[arg(long, value_name = "PART")]
    pub part: Option<Part>,
    /// Folder for the result, instead of the model folder's own
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Threads to convert with; as many as there are processors when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Conversions that are made at once, of those that this call asks for; they share the threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// With --json, also print a line about each conversion's progress every second
    #[arg(long)]
    pub progress: bool,
    /// Copy the results into the back-up, too
    #[arg(long)]
    pub backup: bool,
    /// What is compared, where a report is wanted.
    #[command(flatten)]
    pub compare: ReportArgs,
}

/// The quality report of a conversion.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Then paint with the source and every result, and compare: a page for FILE, a table without one or for -
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub report: Option<PathBuf>,
    /// What is painted; may be given more than once. Three prompts of ours when left out
    #[arg(long, value_name = "TEXT", requires = "report", allow_hyphen_values = true)]
    pub prompt: Vec<String>,
    /// The seeds that each prompt is painted with, with commas between several; 1 when left out
    #[arg(long, value_name = "N", value_delimiter = ',', requires = "report", allow_negative_numbers = true)]
    pub seed: Vec<Seed>,
    /// Size of the pictures; the model's own when left out
    #[arg(long, value_name = "WxH", requires = "report")]
    pub size: Option<Size>,
    /// Solver steps; the usual number when left out
    #[arg(long, value_name = "N", requires = "report", allow_negative_numbers = true)]
    pub steps: Option<u32>,
    /// The device that computes
    #[arg(long, value_name = "DEVICE", requires = "report")]
    pub compute_device: Option<DeviceId>,
}

fn kind(text: &str) -> Result<FolderKind, String> {
    let names = || FolderKind::ALL.iter().map(|k| k.name()).collect::<Vec<_>>().join(", ");
    FolderKind::from_name(text).ok_or_else(|| format!("there is no such kind of folder; there are {}", names()))
}

/// What the daemon is converting.
#[derive(Debug, Clone, Subcommand)]
pub enum ConversionsCommand {
    /// Lists conversions on their way: how far each is, and who waits for it
    List,
    /// Keeps conversions, or one, from going on; what is done is kept. It holds until the daemon ends
    Pause {
        /// Its number; all, and those to come, when left out
        conversion: Option<ConversionId>,
    },
    /// Lets conversions, or one, go on where they were
    Resume {
        /// Its number; all when left out
        conversion: Option<ConversionId>,
    },
    /// Gives conversions up: jobs that wait for them fail; what is done is kept for the next try
    Cancel {
        /// Their numbers
        #[arg(required = true)]
        conversions: Vec<ConversionId>,
    },
}

/// The cache of conversions.
#[derive(Debug, Clone, Subcommand)]
pub enum CacheCommand {
    /// Lists conversions, and how each stands to its source
    List {
        /// Only conversions to this precision
        #[arg(long, value_name = "PRECISION")]
        to: Option<Target>,
        /// Only conversions of this source: a path, or a name from the model folders
        #[arg(long, value_name = "PATH|NAME")]
        source: Option<String>,
    },
    /// Counts them: how many, how large, how often used
    Stats,
    /// Says which conversions of a source there are, and which would be made
    Check {
        /// The source: a path, or a name from the model folders
        #[arg(value_name = "SRC")]
        source: String,
        /// What it should be converted to, with commas between several
        #[arg(long, value_name = "PRECISION", required = true, value_delimiter = ',')]
        to: Vec<Target>,
        /// Which part of it
        #[arg(long, value_name = "PART")]
        part: Option<Part>,
    },
    /// Reads conversions and compares every byte with what was written
    Verify {
        /// Look at every number, too: values and scales that are none, and how far it is from its source, where that is there
        #[arg(long)]
        full: bool,
        /// Only these files
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Checks conversions and copies them to where `backup` in config.yaml says: `s3://BUCKET/PREFIX`, or a folder
    ///
    /// Each is read back there and compared before it counts as kept. A copy that was cut off goes on where it was. `convert`
    /// fetches what is kept instead of making it again, where the source is the same to the byte.
    Backup {
        /// Only these files; all that can be used when left out
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Fetches conversions from the back-up that are not here
    Restore {
        /// Only those of this name
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only show what is kept, and what would come
        #[arg(long)]
        dry_run: bool,
    },
    /// Keeps conversions: no rule removes them, and no other takes their room
    Keep {
        /// A file, or its name
        #[arg(value_name = "NAME", required = true)]
        names: Vec<PathBuf>,
    },
    /// Lets kept conversions go again when a rule says so
    Unkeep {
        /// A file, or its name
        #[arg(value_name = "NAME", required = true)]
        names: Vec<PathBuf>,
    },
    /// Removes conversions by a rule; shows what would go, until told --yes
    #[command(group = ArgGroup::new("rule").required(true).multiple(true).args(["keep", "older_than", "to_free", "useless", "files"]))]
    Clean {
        /// Only these files; all of them where no rule is given
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Of each source, all but the N made last
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// What was not used for longer: 30d, 12h
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Option<Duration>,
        /// As much as this, what is cheapest to make again first
        #[arg(long, value_name = "SIZE")]
        to_free: Option<Bytes>,
        /// What cannot be used: damaged, stale, unfinished, without its source
        #[arg(long)]
        useless: bool,
        /// Do it
        #[arg(long, short, conflicts_with = "dry_run")]
        yes: bool,
        /// Only show what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Removes every conversion
    Purge {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Reads an age, with days of 24 hours.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let wrong = |e: jiff::Error| format!("an age is a number and a unit, such as 30d or 12h ({e})");
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let whole = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    Duration::try_from(whole).map_err(|_| "an age cannot be negative".to_owned())
}
