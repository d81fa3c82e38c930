//! `keys.yaml`: which keys the operator gives to actions. What they may be, the dashboard says.

use std::fs;
use std::io::ErrorKind;

use super::{ConfigError, Paths};

/// Reads the file's text; one that is not there says nothing.
pub fn read(paths: &Paths) -> Result<Option<String>, ConfigError> {
    let path = paths.keys();
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Io { path, source }),
    }
}
