//! What can be typed about watching a box: metrics, recordings, and the files that say how things look.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exporter::parse_address;
use crate::tui::player::SPEEDS;

/// How the daemon runs.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Answer Prometheus on this port or address: `GET /metrics`; without an address, this machine alone can read it
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub metrics: Option<SocketAddr>,
    /// Let --metrics listen where other machines reach it; there is no password
    #[arg(long, requires = "metrics")]
    pub metrics_from_anywhere: bool,
    /// Say on standard output when clients can come, and leave the terminal
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What is recorded.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The file to write; one that is there is not replaced
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Keep prompts and previews, which are left out otherwise
    #[arg(long)]
    pub prompts: bool,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = seconds)]
    pub seconds: Option<f64>,
}

/// What is played.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// A file that `perilune record` has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Recorded seconds for each that goes by, from 0.125 to 1024
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Begin so many seconds after the beginning
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, hide_default_value = true, value_parser = seconds)]
    pub from: f64,
    /// Play what there is of a recording that was cut off
    #[arg(long)]
    pub partial: bool,
}

/// A week is the longest that anything is recorded at once.
const LONGEST_S: f64 = 604_800.0;

fn seconds(text: &str) -> Result<f64, String> {
    number(text, [0.0, LONGEST_S])
}

fn speed(text: &str) -> Result<f64, String> {
    number(text, SPEEDS)
}

fn number(text: &str, [least, most]: [f64; 2]) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| format!("write a number from {least} to {most}"))
}

/// The files of settings.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Shows every setting and where it comes from
    Print,
    /// Prints where `config.yaml` lies
    Path,
    /// Lists what keys do in the dashboard, by the names that `keys.yaml` uses
    Keys,
    /// Checks `config.yaml`, `keys.yaml`, your profiles and your themes, and tells every mistake with line and column
    ///
    /// Ends with code 2 where there is one.
    Validate {
        /// Only these: files, or names of profiles or themes
        #[arg(value_name = "FILE|NAME")]
        files: Vec<PathBuf>,
    },
}
