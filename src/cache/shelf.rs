//! All conversions of a box: what lies in the folders that conversions land in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::{FOLDER, Manifest};
use crate::units::{Bytes, Timestamp};

/// How a conversion stands to its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is what its source would become now.
    Valid,
    /// Its source was changed since.
    Stale,
    /// Its source is not where it was.
    Orphaned,
    /// It is not what was written, by its size or by what `verify` has found.
    Damaged,
    /// A part that nobody finished: the next call goes on from there.
    Unfinished,
}

/// A conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The file.
    pub path: PathBuf,
    /// What it takes on the disk.
    pub bytes: Bytes,
    /// What it was made of; nothing of an unfinished one.
    pub manifest: Option<Manifest>,
    /// How it stands.
    pub state: State,
}

impl Item {
    /// Returns whether it is a whole file, be it of use or not.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state != State::Unfinished
    }

    /// Returns when it was last used or made.
    #[must_use]
    pub fn used(&self) -> Option<Timestamp> {
        self.manifest.as_ref().map(|m| m.used.max(m.made))
    }

    /// Returns the files it was made of, as text: items of one source share it.
    #[must_use]
    pub fn source(&self) -> Option<&Path> {
        self.manifest.as_ref()?.origins.first().map(|o| o.path.as_path())
    }
}

/// What lies in some folders.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    /// The conversions, by path.
    pub items: Vec<Item>,
}

impl Shelf {
    /// Looks into these folders, and not into folders within them. Files without a manifest are somebody else's.
    #[must_use]
    pub fn look(folders: &BTreeSet<PathBuf>) -> Self {
        let mut names = Vec::new();
        for folder in folders {
            let about = folder.join(FOLDER);
            let Ok(listed) = fs::read_dir(&about) else { continue };
            for name in listed.flatten() {
                let name = name.file_name().to_string_lossy().into_owned();
                let of = |kind: &str| name.strip_suffix(kind).map(|n| folder.join(n));
                match (of(".json"), of(".part")) {
                    (Some(path), _) => names.push((path, false)),
                    (None, Some(path)) => names.push((path, true)),
                    (None, None) => {}
                }
            }
        }
        let mut items: Vec<Item> =
            names.into_par_iter().filter_map(|(path, part)| if part { unfinished(path) } else { finished(path) }).collect();
        items.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| a.is_finished().cmp(&b.is_finished())));
        Self { items }
    }

    /// Returns how many there are and how large they are together, by what they were converted to.
    #[must_use]
    pub fn by_precision(&self) -> BTreeMap<String, (u64, Bytes)> {
        let mut sums: BTreeMap<String, (u64, Bytes)> = BTreeMap::new();
        for item in &self.items {
            let Some(manifest) = &item.manifest else { continue };
            let (count, bytes) = sums.entry(manifest.to.clone()).or_default();
            *count += 1;
            *bytes = Bytes(bytes.0 + item.bytes.0);
        }
        sums
    }
}

fn unfinished(path: PathBuf) -> Option<Item> {
    let bytes = Bytes(fs::metadata(super::beside(&path, "part")).ok().filter(fs::Metadata::is_file)?.len());
    Some(Item { path, bytes, manifest: None, state: State::Unfinished })
}

/// Returns the conversion at a path. One that cannot be read, or whose file was removed by hand, is none.
fn finished(path: PathBuf) -> Option<Item> {
    let manifest = Manifest::read(&path).ok()??;
    let bytes = Bytes(fs::metadata(&path).ok()?.len());
    let is_whole = bytes == manifest.bytes && manifest.damage.is_none();
    let state = if is_whole { standing(&manifest) } else { State::Damaged };
    Some(Item { path, bytes, manifest: Some(manifest), state })
}

/// Returns how a conversion stands to its source, by what the file system says of it.
fn standing(manifest: &Manifest) -> State {
    let mut state = State::Valid;
    for origin in &manifest.origins {
        match origin.is_as_it_was() {
            Some(true) => {}
            Some(false) => return State::Stale,
            None => state = State::Orphaned,
        }
    }
    state
}
