//! What can be wrong with settings.

use std::io;
use std::path::PathBuf;

use crate::profile::PresetError;
use crate::workflow::{Kind, Refusal};

/// What is wrong with the settings, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no home folder and none was given.
    #[error("there is no home folder to keep files in")]
    NoHome,
    /// A file of settings could not be read.
    #[error("{}: reading it failed: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of settings is not what is expected.
    #[error("{}: {problem}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What, with line and column, or with the key and the column within its value.
        problem: String,
        /// Line and column, from 1, where the words do not say them.
        place: Option<(usize, usize)>,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
    /// A value is none that the setting can have.
    #[error("{origin}: {problem}")]
    Value {
        /// Where it was said.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// A profile cannot be read.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// There is no such profile.
    #[error("there is no profile `{name}`")]
    NoProfile {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
}

impl ConfigError {
    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome => "set HOME, or PERILUNE_HOME to a folder of your choice".to_owned(),
            Self::Io { .. } => "check the file's permissions".to_owned(),
            Self::File { hint: Some(hint), .. } | Self::Preset(PresetError { hint: Some(hint), .. }) => hint.clone(),
            Self::File { .. } | Self::Preset(_) => "mend the file; `perilune config` shows what is read from where".to_owned(),
            Self::Value { .. } => "give another value; `perilune config` shows what is read from where".to_owned(),
            Self::NoProfile { known, .. } => format!("there are {}", known.join(", ")),
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        let kind = match &error {
            ConfigError::NoProfile { .. } => Kind::NotFound,
            ConfigError::NoHome
            | ConfigError::Io { .. }
            | ConfigError::File { .. }
            | ConfigError::Value { .. }
            | ConfigError::Preset(_) => Kind::Usage,
        };
        Self::new(kind, error.to_string(), error.hint())
    }
}
