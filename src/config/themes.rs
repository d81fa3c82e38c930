//! Themes: those that come with the program, and the user's own in the folder `themes`.

use std::fs;

use super::{ConfigError, Paths};
use crate::theme::Themes;

/// Reads every theme there is. A user's theme may extend and may replace any that comes before it by name.
pub fn load(paths: &Paths) -> Result<Themes, ConfigError> {
    let mut themes = Themes::shipped();
    // A folder that is not there holds no themes.
    let entries = fs::read_dir(paths.themes()).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Io { path: path.clone(), source })?;
        let source = path.display().to_string();
        themes.add(&source, &text).map_err(|e| ConfigError::File { path, problem: e.to_string(), place: None, hint: None })?;
    }
    Ok(themes)
}
