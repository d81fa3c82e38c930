//! Profiles: the user's own first, then those that come with the program.

use std::fs;
use std::io::ErrorKind;

use super::{ConfigError, Paths};
use crate::profile::{EMBEDDED, Preset};

/// Returns the profile of this name.
pub fn load(paths: &Paths, name: &str) -> Result<Preset, ConfigError> {
    let no_profile = || ConfigError::NoProfile { name: name.to_owned(), known: names(paths) };
    // A name is one file's, never a way out of the folder.
    if name.contains('/') || name.starts_with('.') {
        return Err(no_profile());
    }
    let path = paths.profiles().join(format!("{name}.yaml"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Preset::parse(&text, &path.display().to_string())?),
        Err(e) if e.kind() == ErrorKind::NotFound => Preset::embedded(name).ok_or_else(no_profile)?.map_err(ConfigError::from),
        Err(source) => Err(ConfigError::Io { path, source }),
    }
}

/// Returns the names of all profiles.
#[must_use]
pub fn names(paths: &Paths) -> Vec<String> {
    let mut names: Vec<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    // A folder that is not there holds no profiles.
    let own = fs::read_dir(paths.profiles()).into_iter().flatten().flatten().map(|e| e.path());
    let own = own.filter(|p| p.extension().is_some_and(|e| e == "yaml"));
    names.extend(own.filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned())));
    names.sort();
    names.dedup();
    names
}
