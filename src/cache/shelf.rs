//! All conversions of a box: what lies in the folders that conversions land in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::looking::Opened;
use super::{FOLDER, Manifest, Origin, Uses, index, kept, uses};
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
    /// What it was made of, without the tensors that lost most; nothing of an unfinished one.
    pub manifest: Option<Box<Manifest>>,
    /// How it stands.
    pub state: State,
    /// Whether the operator keeps it, whatever rule cleans.
    pub kept: bool,
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
        let mut items: Vec<Item> = folders.iter().flat_map(|folder| Names::of(folder).items(folder)).collect();
        // Many conversions have one source.
        let origins: HashSet<&OsStr> =
            items.iter().filter_map(|i| i.manifest.as_ref()).flat_map(|m| &m.origins).map(|o| o.path.as_os_str()).collect();
        let origins: HashMap<OsString, Option<Origin>> =
            origins.into_par_iter().map(|path| (path.to_owned(), Origin::found(Path::new(path)))).collect();
        for item in &mut items {
            if let (State::Valid, Some(manifest)) = (item.state, &item.manifest) {
                item.state = standing(manifest, &origins);
            }
        }
        items.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()).then_with(|| a.is_finished().cmp(&b.is_finished())));
        Self { items }
    }

    /// Returns which of these are not among its own, by path.
    #[must_use]
    pub fn others(&self, mut items: Vec<Item>) -> Vec<Item> {
        if !items.is_empty() {
            let own: HashSet<&Path> = self.items.iter().map(|item| item.path.as_path()).collect();
            items.retain(|item| !own.contains(item.path.as_path()));
        }
        items
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

/// What lies in a folder, by name.
#[derive(Default)]
struct Names {
    manifests: Vec<String>,
    parts: Vec<String>,
    used: HashSet<String>,
    kept: HashSet<String>,
}

impl Names {
    fn of(folder: &Path) -> Self {
        let mut names = Self::default();
        for entry in fs::read_dir(folder.join(FOLDER)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.rsplit_once('.') {
                Some((name, "json")) => names.manifests.push(name.to_owned()),
                Some((name, "part")) => names.parts.push(name.to_owned()),
                Some((name, uses::KIND)) => drop(names.used.insert(name.to_owned())),
                Some((name, kept::KIND)) => drop(names.kept.insert(name.to_owned())),
                _ => {}
            }
        }
        // What is in order already is sorted fast.
        names.manifests.sort_unstable();
        names
    }

    /// Returns what these names are about. Of finished ones it is not looked yet whether their sources are as they were.
    fn items(&self, folder: &Path) -> Vec<Item> {
        let Some(here) = Opened::open(folder) else { return Vec::new() };
        let manifests = index::manifests(folder, &self.manifests);
        let finished = self.manifests.par_iter().zip(manifests).filter_map(|(name, manifest)| {
            let (path, mut manifest) = (folder.join(name), manifest?);
            if self.used.contains(name) {
                manifest.count(Uses::read(&path));
            }
            // One whose file was removed by hand is none.
            let bytes = Bytes(here.look_at(name)?.st_size.cast_unsigned());
            Some(Item { kept: self.kept.contains(name), ..finished(path, bytes, manifest) })
        });
        let unfinished = self.parts.par_iter().filter_map(|name| unfinished(folder.join(name)));
        finished.chain(unfinished).collect()
    }
}

fn unfinished(path: PathBuf) -> Option<Item> {
    let bytes = Bytes(fs::metadata(super::beside(&path, "part")).ok().filter(fs::Metadata::is_file)?.len());
    Some(Item { path, bytes, manifest: None, state: State::Unfinished, kept: false })
}

/// Returns the conversion at a path, of this size.
fn finished(path: PathBuf, bytes: Bytes, manifest: Box<Manifest>) -> Item {
    let is_whole = bytes == manifest.bytes && manifest.damage.is_none();
    let state = if is_whole { State::Valid } else { State::Damaged };
    Item { path, bytes, manifest: Some(manifest), state, kept: false }
}

/// Returns how a conversion stands to its source, by what the file system says of it.
fn standing(manifest: &Manifest, found: &HashMap<OsString, Option<Origin>>) -> State {
    let mut state = State::Valid;
    for origin in &manifest.origins {
        match found.get(origin.path.as_os_str()).and_then(Option::as_ref) {
            Some(now) if now.is_same_file(origin) => {}
            Some(_) => return State::Stale,
            None => state = State::Orphaned,
        }
    }
    state
}
