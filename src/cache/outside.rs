//! Conversions that were made into a folder of the operator's: where they are, so that lists have them.
//!
//! A link is a small file that names one. It says nothing that its manifest does not say; losing it costs a line of a list.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::manifest::replace;
use super::{CacheError, Item, Origin, Shelf, State};
use crate::units::Bytes;

/// A conversion outside of the model folders, as it was when it was made or last used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Link {
    path: PathBuf,
    bytes: Bytes,
    modified_ns: i128,
}

/// Notes a conversion in the folder of links.
pub fn note(links: &Path, target: &Path) -> Result<(), CacheError> {
    let Origin { path, bytes, modified_ns, .. } = Origin::of(target)?;
    let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    fs::create_dir_all(links).map_err(CacheError::io(links, "making the folder"))?;
    let text = serde_json::to_vec(&Link { path, bytes, modified_ns }).map_err(|e| CacheError::io(target, "describing it")(e.into()))?;
    replace(&links.join(format!("{name}.json")), &text, false)
}

/// Returns the conversions that are noted and still there, by path. A link to what is gone goes, unless its whole folder is gone:
/// a disk may be away for a while.
pub fn items(links: &Path) -> Result<Vec<Item>, CacheError> {
    let listed = match fs::read_dir(links) {
        Ok(listed) => listed,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(CacheError::io(links, "listing it")(e)),
    };
    let mut noted: BTreeMap<PathBuf, Link> = BTreeMap::new();
    for entry in listed.flatten() {
        let Some(link) = fs::read(entry.path()).ok().and_then(|bytes| serde_json::from_slice::<Link>(&bytes).ok()) else { continue };
        if link.path.symlink_metadata().is_ok() {
            noted.insert(link.path.clone(), link);
        } else if link.path.parent().is_some_and(Path::is_dir) {
            // What cannot be removed is passed over next time, too.
            drop(fs::remove_file(entry.path()));
        }
    }
    let folders: BTreeSet<PathBuf> = noted.keys().filter_map(|path| path.parent().map(Path::to_owned)).collect();
    let mut found: BTreeMap<PathBuf, Item> = BTreeMap::new();
    for item in Shelf::look(&folders).items.into_iter().filter(|item| item.is_finished() && noted.contains_key(&item.path)) {
        found.insert(item.path.clone(), item);
    }
    for (path, link) in noted {
        // What says what it is was lost, and it is still that file.
        let is_it = Origin::of(&path).is_ok_and(|now| (now.bytes, now.modified_ns) == (link.bytes, link.modified_ns));
        if is_it && !found.contains_key(&path) {
            found.insert(path.clone(), Item { path, bytes: link.bytes, manifest: None, state: State::Damaged, kept: false });
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_what_is_gone_go_and_those_to_folders_that_are_away_stay() {
        let folder = tempfile::tempdir().unwrap();
        let links = folder.path().join("links");
        assert!(items(&links).unwrap().is_empty());
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).unwrap();
        for name in ["a.gguf", "b.gguf"] {
            fs::write(disk.join(name), name).unwrap();
            note(&links, &disk.join(name)).unwrap();
        }
        note(&links, &disk.join("a.gguf")).unwrap();
        let names = || items(&links).unwrap().iter().map(|item| item.path.file_name().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(), ["a.gguf", "b.gguf"], "without a manifest they are damaged");
        fs::rename(&disk, folder.path().join("away")).unwrap();
        assert!(names().is_empty());
        fs::rename(folder.path().join("away"), &disk).unwrap();
        fs::remove_file(disk.join("a.gguf")).unwrap();
        fs::write(disk.join("b.gguf"), "theirs").unwrap();
        assert!(names().is_empty(), "another file is none of ours");
        assert_eq!(fs::read_dir(&links).unwrap().count(), 1);
    }
}
