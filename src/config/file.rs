//! `config.yaml` as it is written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;
use crate::profile::{Misread, Preset};
use crate::units::DeviceId;

/// The file's values, each of which may be left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Model folders, laid out as `ComfyUI`'s.
    pub models: Option<Vec<PathBuf>>,
    /// `ComfyUI`'s `extra_model_paths.yaml`.
    pub extra_model_paths: Option<PathBuf>,
    /// Folders with vocabularies of text encoders.
    pub tokenizers: Option<Vec<PathBuf>>,
    /// Folder for the images.
    pub output: Option<PathBuf>,
    /// The device that computes where a job names none.
    pub compute_device: Option<DeviceId>,
    /// The engine's program.
    pub engine: Option<PathBuf>,
    /// Processor threads of an engine.
    pub engine_threads: Option<u32>,
    /// Seconds after which an idle engine ends and gives its memory back.
    pub engine_idle_s: Option<f64>,
    /// How much of a disk conversions leave free.
    pub disk_floor: Option<String>,
    /// How much what text encoders made of texts may take of the disk; with 0 nothing of it is kept.
    pub embeddings_cache: Option<String>,
    /// The most conversions that the daemon makes at once.
    pub conversions_at_once: Option<u32>,
    /// Where back-ups of conversions go: `s3://BUCKET/PREFIX`, or a folder.
    pub backup: Option<String>,
    /// NVIDIA's management library.
    pub nvml: Option<PathBuf>,
    /// The program that reaches other machines.
    pub ssh: Option<String>,
    /// The least level of log lines: `error`, `warn`, `info`, `debug`, `trace`.
    pub log: Option<String>,
    /// The profile in use.
    pub profile: Option<String>,
    /// Colours of the dashboard.
    pub theme: Option<String>,
    /// Pictures in the dashboard: `auto`, `kitty`, `sixel`, `halfblocks`, `off`.
    pub preview: Option<String>,
    /// Whether the mouse selects in the dashboard.
    pub mouse: Option<bool>,
    /// What a run is like where nothing else is said.
    pub run: Preset,
    /// Patience with engines.
    pub supervision: SupervisionFile,
}

/// Patience with engines, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionFile {
    /// Between two questions whether an engine lives.
    pub heartbeat_s: Option<f64>,
    /// Without an answer, until it counts as dead.
    pub silence_s: Option<f64>,
    /// From a cancellation until the engine is killed.
    pub grace_s: Option<f64>,
    /// Before an engine that died is started again; doubled each time.
    pub backoff_s: Option<f64>,
    /// The longest such pause.
    pub backoff_max_s: Option<f64>,
}

impl ConfigFile {
    /// Reads the file; one that is not there says nothing.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ConfigError::Io { path: path.to_owned(), source }),
        }
    }

    /// Reads the file's text. `path` is named in the error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let read: Result<Option<Self>, _> = serde_yaml::from_str(text);
        let read = read.map(Option::unwrap_or_default);
        let misread = match &read {
            Ok(file) => file.run.contradiction(file.compute_device).map(|misread| misread.under("run")),
            Err(_) => Misread::find(text, &["run"]),
        };
        let failed = |problem, place, hint| ConfigError::File { path: path.to_owned(), problem, place, hint };
        match misread {
            Some(misread) => Err(failed(misread.to_string(), Some(misread.place(text)), Some(misread.hint))),
            None => read.map_err(|e| failed(e.to_string(), None, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        let check = |text: &str, expected: &str| {
            let message = ConfigFile::parse(text, Path::new("config.yaml")).unwrap_err().to_string();
            assert!(message.starts_with("config.yaml: ") && message.contains(expected), "{message}");
        };
        check("output: /a\nmodles: [/b]\n", "unknown field `modles`");
        check("output: /a\nmodles: [/b]\n", "line 2 column 1");
        check("compute_device: gpu\n", "`gpu` is not a device");
        check("run:\n  steps: many\n", "line 2");
        check("models: [", "line");
        check("compute_device: cuda:0\nrun:\n  expert_mode_allocations: '#cpu;0.004;disk'\n", "name two devices that compute");
    }

    #[test]
    fn nothing_said_is_fine() {
        for text in ["", "# only a comment\n", "{}"] {
            assert_eq!(ConfigFile::parse(text, Path::new("config.yaml")).unwrap(), ConfigFile::default());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "models", "output", "run", "steps", "size", "supervision", "grace_s", "compute_device", "cuda:0", "512x512", "20", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "> ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "1e99", "\u{0}", "é",
        ]), 0..30)) {
            drop(ConfigFile::parse(&parts.concat(), Path::new("config.yaml")));
        }
    }
}
