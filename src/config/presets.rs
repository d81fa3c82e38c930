//! Profiles: the user's own first, then those that come with the program.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

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

/// What becomes of a profile that there is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is kept, and nothing is saved.
    Kept,
    /// The new one takes its place.
    Replaced,
}

/// What became of a profile that was to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// It is in this file.
    In(PathBuf),
    /// There is one of this name, and it was kept.
    Exists,
    /// One of this name comes with the program, whose place it would take.
    Ships,
}

/// Saves a profile of the user's own. What is there is either the old one or the new one, never half of one.
pub fn save(folder: &Path, name: &str, preset: &Preset, existing: Existing) -> Result<Saved, ConfigError> {
    let path = folder.join(format!("{name}.yaml"));
    if existing == Existing::Kept && Preset::embedded(name).is_some() && !path.exists() {
        return Ok(Saved::Ships);
    }
    let failed = |source| ConfigError::Io { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let text = preset.write();
    let written = match existing {
        Existing::Kept => OpenOptions::new().write(true).create_new(true).open(&path).and_then(|file| put(file, &text)),
        Existing::Replaced => {
            let beside = folder.join(format!(".{name}.yaml.new"));
            File::create(&beside).and_then(|file| put(file, &text)).and_then(|()| fs::rename(&beside, &path))
        }
    };
    match written {
        Ok(()) => Ok(Saved::In(path)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists && existing == Existing::Kept => Ok(Saved::Exists),
        Err(source) => Err(failed(source)),
    }
}

fn put(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Returns the user's own profiles of a folder that can be read, by their names.
#[must_use]
pub fn saved(folder: &Path) -> Vec<(String, Preset)> {
    // A folder that is not there holds no profiles.
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let read = |path: PathBuf| {
        let name = path.file_stem()?.to_str().filter(|name| !name.starts_with('.'))?.to_owned();
        let text = fs::read_to_string(&path).ok().filter(|_| path.extension().is_some_and(|e| e == "yaml"))?;
        let preset = Preset::parse(&text, &path.display().to_string());
        preset.inspect_err(|error| tracing::warn!("{error}")).ok().map(|preset| (name, preset))
    };
    let mut saved: Vec<(String, Preset)> = paths.filter_map(read).collect();
    saved.sort_by(|(a, _), (b, _)| a.cmp(b));
    saved
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_never_replaced_without_having_been_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("profiles");
        let preset = |steps| Preset { steps: Some(steps), donor_device: vec![crate::units::DeviceId::Disk], ..Preset::default() };
        let path = folder.join("night.yaml");
        assert_eq!(save(&folder, "night", &preset(4), Existing::Kept).unwrap(), Saved::In(path.clone()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "steps: 4\ndonor_device:\n- disk\n");
        assert_eq!(save(&folder, "night", &preset(8), Existing::Kept).unwrap(), Saved::Exists);
        assert_eq!(save(&folder, "night", &preset(8), Existing::Replaced).unwrap(), Saved::In(path.clone()));
        let read = Preset::parse(&fs::read_to_string(&path).unwrap(), "night.yaml").unwrap();
        assert_eq!((read, fs::read_dir(&folder).unwrap().count()), (preset(8), 1));
        assert_eq!(save(&folder, "cpu", &preset(4), Existing::Kept).unwrap(), Saved::Ships, "one of this name comes with the program");
        assert!(!folder.join("cpu.yaml").exists());
        // What is no profile is passed over.
        fs::write(folder.join("broken.yaml"), "steps: [").unwrap();
        fs::write(folder.join("notes.txt"), "steps: 2").unwrap();
        assert_eq!(saved(&folder), [("night".to_owned(), preset(8))]);
        assert_eq!(saved(&home.path().join("nowhere")), []);
    }
}
