//! Flags that every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::tui::options::ColorChoice;

/// Flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Everywhere")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Global {
    /// Print JSON: one object, or one object per line for what goes on
    #[arg(long, global = true)]
    pub json: bool,
    /// Speak with the daemon of another machine, through ssh; the dashboard shows several, `local` among them
    #[arg(long, global = true, value_name = "USER@BOX")]
    pub host: Vec<String>,
    /// Keep settings, state, cache and socket in this folder [env: `PERILUNE_HOME`]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// A model folder, laid out as `ComfyUI`'s; may be given more than once [env: `PERILUNE_MODELS`]
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Vec<PathBuf>,
    /// A profile: `cpu`, `one-24gb`, `two-unequal`, `eight-h100`, `simulated`, `simulated-dual`, `fast`, `sd15`, or yours [env: `PERILUNE_PROFILE`]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// No colours [env: `NO_COLOR`]
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Colours of the dashboard: auto, always, never, 16, 256, truecolor
    #[arg(long, global = true, value_name = "WHEN", conflicts_with = "no_color")]
    pub color: Option<ColorChoice>,
    /// Tell line by line what changes, instead of drawing the dashboard: for screen readers and logs
    #[arg(long, global = true, conflicts_with = "json")]
    pub plain: bool,
    /// Start no daemon where there is none
    #[arg(long, global = true)]
    pub no_spawn: bool,
}
