//! All manifests of a folder in one file, so that listing many conversions opens few.
//!
//! It is a copy and never trusted over what it was copied from: an entry holds only for the very file of the manifest that it
//! was read from, by number, size and time. One that is lost, old or damaged costs time and nothing else.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::FOLDER;
use super::looking::Opened;
use super::manifest::{Manifest, replace};

/// The name of the file. It has no ending as what is about a conversion has.
pub(super) const NAME: &str = "index";

/// The first line: another shape of the rest gets another number.
const HEAD: &str = "perilune index 2";

/// So few manifests are read as fast one by one.
const LEAST: usize = 64;

/// A part of all manifests, one in so many, that may be read one by one before the index is written anew.
const OUTDATED: usize = 8;

/// A manifest that was written so shortly before the index may have been written again since, within one tick of the file
/// system's clock: 2 s are the longest of those in use (FAT).
const TICK_NS: i64 = 2_000_000_000;

/// What tells a file of a manifest from what takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified_ns: i64,
}

impl Stamp {
    fn of(folder: &Opened, name: &str) -> Option<Self> {
        let about = folder.look_at(name)?;
        let modified_ns = about.st_mtime.saturating_mul(1_000_000_000).saturating_add(about.st_mtime_nsec.cast_signed());
        Some(Self { inode: about.st_ino, bytes: about.st_size.cast_unsigned(), modified_ns })
    }

    /// Returns the time before which files were written that an index of now will know.
    fn settled(now: SystemTime) -> i64 {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
        now.saturating_sub(TICK_NS)
    }
}

/// The file that a manifest was read from.
#[derive(Debug, Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    stamp: Stamp,
}

/// Between an entry and its manifest; no JSON holds one.
const BETWEEN: char = '\t';

/// Reads the manifests of these files of one folder, without the tensors that lost most and what is counted beside them; nothing
/// of one that cannot be read. Where many had to be read one by one, an index is left for the next time, if that can be.
pub(super) fn manifests(folder: &Path, names: &[String]) -> Vec<Option<Box<Manifest>>> {
    let Some(about) = Opened::open(&folder.join(FOLDER)) else { return names.iter().map(|_| None).collect() };
    let index = if names.len() < LEAST { None } else { Index::read(folder, &about) };
    let known = index.as_ref().map(Index::lines).unwrap_or_default();
    let fresh = AtomicUsize::new(0);
    // What is younger than this an index does not know.
    let settled = Stamp::settled(SystemTime::now());
    let one = |name: &String| -> Option<(Stamp, Box<Manifest>)> {
        let stamp = Stamp::of(&about, &format!("{name}.json"))?;
        let line = known.get(name.as_str()).filter(|(then, _)| *then == stamp);
        if let Some(manifest) = line.and_then(|(_, manifest)| Manifest::parse(manifest.as_bytes())) {
            return Some((stamp, Box::new(manifest)));
        }
        let mut manifest = Manifest::stored(&folder.join(name)).ok()??;
        manifest.error.worst.clear();
        fresh.fetch_add(usize::from(stamp.modified_ns < settled), Ordering::Relaxed);
        Some((stamp, Box::new(manifest)))
    };
    let found: Vec<Option<(Stamp, Box<Manifest>)>> = names.par_iter().map(one).collect();
    if fresh.into_inner() > LEAST.max(names.len() / OUTDATED) {
        let entries = names.iter().zip(&found).filter_map(|(name, found)| Some((name, found.as_ref()?)));
        write(folder, entries.filter(|(_, (stamp, _))| stamp.modified_ns < settled));
    }
    found.into_iter().map(|found| found.map(|(_, manifest)| manifest)).collect()
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(NAME)
}

/// The text of an index. Of a manifest that is asked for, and that did not change, the line is read.
struct Index {
    text: String,
    /// What was written from then on may have been written again.
    last: i64,
}

impl Index {
    fn read(folder: &Path, about: &Opened) -> Option<Self> {
        let last = Stamp::of(about, NAME)?.modified_ns.saturating_sub(TICK_NS);
        Some(Self { text: fs::read_to_string(path(folder)).ok()?, last })
    }

    /// Returns what it says of files that have not changed since, as far as it knows: the manifests as JSON, by name.
    fn lines(&self) -> HashMap<Cow<'_, str>, (Stamp, &str)> {
        let lines = self.text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n'));
        let lines: Vec<&str> = lines.unwrap_or_default().lines().collect();
        let entries = lines.into_par_iter().filter_map(|line| {
            let (entry, manifest) = line.split_once(BETWEEN)?;
            let Entry { name, stamp } = serde_json::from_str(entry).ok()?;
            (stamp.modified_ns < self.last).then_some((name, (stamp, manifest)))
        });
        entries.collect()
    }
}

fn write<'a>(folder: &Path, entries: impl Iterator<Item = (&'a String, &'a (Stamp, Box<Manifest>))>) {
    let line = |(name, (stamp, manifest)): (&'a String, &'a (Stamp, Box<Manifest>))| {
        let entry = serde_json::to_string(&Entry { name: name.into(), stamp: *stamp }).ok()?;
        Some(format!("{entry}{BETWEEN}{}\n", serde_json::to_string(manifest).ok()?))
    };
    let text = format!("{HEAD}\n") + &entries.filter_map(line).collect::<String>();
    if let Err(error) = replace(&path(folder), text.as_bytes(), false) {
        tracing::debug!("no index is left: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Errors, beside};
    use crate::units::{Bytes, Timestamp};

    fn manifest(to: &str) -> Manifest {
        Manifest {
            version: Manifest::VERSION,
            program: "perilune".to_owned(),
            recipe: String::new(),
            from: "fp16".to_owned(),
            to: to.to_owned(),
            origins: Vec::new(),
            source: String::new(),
            source_bytes: Bytes(2),
            bytes: Bytes(1),
            content: String::new(),
            tensors: 1,
            seconds: 0.1,
            made: Timestamp(0),
            used: Timestamp(0),
            hits: 0,
            error: Errors::default(),
            damage: None,
        }
    }

    fn put(folder: &Path, name: &str, to: &str) {
        fs::write(beside(&folder.join(name), "json"), serde_json::to_vec(&manifest(to)).unwrap()).unwrap();
    }

    fn age(path: &Path, seconds: u64) {
        let then = fs::metadata(path).unwrap().modified().unwrap() - std::time::Duration::from_secs(seconds);
        fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }

    fn precisions(folder: &Path, names: &[String]) -> Vec<Option<String>> {
        manifests(folder, names).into_iter().map(|m| m.map(|m| m.to)).collect()
    }

    /// How many manifests an index knows.
    fn known(folder: &Path) -> usize {
        let about = Opened::open(&folder.join(FOLDER)).unwrap();
        Index::read(folder, &about).map_or(0, |index| index.lines().len())
    }

    /// A folder with so many manifests, all of an hour ago.
    fn filled(count: usize) -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let names: Vec<String> = (0..count).map(|n| format!("{n}.gguf")).collect();
        for name in &names {
            put(folder.path(), name, "Q8_0");
            age(&beside(&folder.path().join(name), "json"), 3600);
        }
        (folder, names)
    }

    #[test]
    fn few_manifests_leave_no_index() {
        let (folder, names) = filled(LEAST);
        assert_eq!(precisions(folder.path(), &names), vec![Some("Q8_0".to_owned()); LEAST]);
        assert!(!path(folder.path()).exists());
    }

    #[test]
    fn what_an_index_says_holds_for_the_very_files_it_was_made_of() {
        let (folder, mut names) = filled(LEAST + 10);
        let here = folder.path();
        let all = vec![Some("Q8_0".to_owned()); names.len()];
        assert_eq!(precisions(here, &names), all);
        assert_eq!(known(here), names.len());

        // A copy that says otherwise of files that did not change is believed: so it is known that it was read.
        let text = fs::read_to_string(path(here)).unwrap();
        fs::write(path(here), text.replace("Q8_0", "nf4")).unwrap();
        assert_eq!(precisions(here, &names), vec![Some("nf4".to_owned()); names.len()]);

        // What was replaced, written into, removed or added is read itself.
        put(here, "new", "bf16");
        fs::rename(beside(&here.join("new"), "json"), beside(&here.join("0.gguf"), "json")).unwrap();
        put(here, "1.gguf", "bf16");
        fs::remove_file(beside(&here.join("2.gguf"), "json")).unwrap();
        put(here, "added.gguf", "bf16");
        names.push("added.gguf".to_owned());
        let found = precisions(here, &names);
        let told = |to: &str| Some(to.to_owned());
        assert_eq!(found[..4], [told("bf16"), told("bf16"), None, told("nf4")]);
        assert_eq!(found[names.len() - 1], told("bf16"));

        // One that is damaged, old, or no index costs nothing but time.
        for bad in [text[..text.len() / 2].to_owned(), text.replace(HEAD, "perilune index 0"), "\u{1}{}\n".repeat(9)] {
            fs::write(path(here), bad).unwrap();
            assert_eq!(precisions(here, &names)[3..names.len() - 1], all[3..]);
        }
        fs::remove_file(path(here)).unwrap();
        fs::create_dir(path(here)).unwrap();
        assert_eq!(precisions(here, &names)[3..names.len() - 1], all[3..]);
    }

    #[test]
    fn a_manifest_as_young_as_the_index_is_read_itself() {
        let (folder, names) = filled(LEAST + 2);
        let here = folder.path();
        let young = beside(&here.join("0.gguf"), "json");
        fs::File::options().write(true).open(&young).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        precisions(here, &names);
        assert_eq!(known(here), LEAST + 1);
        age(&path(here), 7200);
        assert_eq!(known(here), 0);
    }
}
