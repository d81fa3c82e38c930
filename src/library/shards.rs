//! Models that are cut into several files: an index beside the shards says which tensor lies in which, and their names say how many
//! there are.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::regular;
use crate::formats::shard_index;

/// Returns whether a file of this name is an index of shards; transformers puts a variant between its words
/// (`model.safetensors.index.fp16.json`).
#[must_use]
pub fn is_index(path: &Path) -> bool {
    name(path).contains(MARK) && path.extension().is_some_and(|e| e == "json")
}

const MARK: &str = ".safetensors.index.";

/// Returns what a model is called that this index is of: the index's name without its ending.
#[must_use]
pub fn stem(index: &Path) -> PathBuf {
    let name = name(index);
    index.with_file_name(name.split_once(MARK).map_or(name, |(stem, _)| stem))
}

/// Returns the indices of a folder, in order of their names.
#[must_use]
pub fn indices(folder: &Path) -> Vec<PathBuf> {
    files(folder, is_index)
}

/// Returns the files beside an index among which it divides a model; none where it is no index, or cannot be read: whoever opens
/// it hears why.
#[must_use]
pub fn listed(index: &Path) -> Vec<PathBuf> {
    let read = || if is_index(index) { shard_index::parse(&regular::read(index).ok()?).ok() } else { None };
    let names = read().map(|index| index.files).unwrap_or_default();
    if names.len() < 2 { Vec::new() } else { names.iter().map(|name| index.with_file_name(name)).collect() }
}

/// Returns of how many parts this file is one: what an index beside it says, or else its own name. `None` is a file of its own.
#[must_use]
pub fn parts(path: &Path) -> Option<u64> {
    let by_index = || {
        let shards = indices(path.parent()?).iter().map(|index| listed(index)).find(|files| files.iter().any(|file| file == path))?;
        Some(shards.len() as u64)
    };
    by_index().or_else(|| numbered(name(path)).map(|number| number.of).filter(|of| *of > 1))
}

/// Returns whether all weights in a folder are parts of a model, so that the folder is that model.
#[must_use]
pub fn is_one_model(folder: &Path) -> bool {
    let weights = files(folder, has_weights);
    let cut: Vec<PathBuf> = indices(folder).iter().flat_map(|index| listed(index)).collect();
    let is_part = |path: &PathBuf| cut.contains(path) || is_safetensors(path) && numbered(name(path)).is_some_and(|n| n.of > 1);
    !weights.is_empty() && weights.iter().all(is_part)
}

/// Returns every part of the model in a folder without an index, by the names of those that are there; some may be missing.
#[must_use]
pub fn without_index(folder: &Path) -> Option<Vec<PathBuf>> {
    let parts = files(folder, |path| is_safetensors(path) && numbered(name(path)).is_some_and(|n| n.of > 1));
    let first = parts.into_iter().next()?;
    let Numbered { before, of, after } = numbered(name(&first))?;
    Some((1..=of).map(|k| folder.join(format!("{before}-{k:05}-of-{of:05}{after}"))).collect())
}

/// A name as transformers and llama.cpp give it to a part: `model-00001-of-00003.safetensors`.
struct Numbered<'a> {
    before: &'a str,
    of: u64,
    after: &'a str,
}

fn numbered(name: &str) -> Option<Numbered<'_>> {
    let (head, tail) = name.rsplit_once("-of-")?;
    let (before, number) = head.rsplit_once('-')?;
    let (of, after) = (tail.get(..DIGITS)?, tail.get(DIGITS..)?);
    let is_number = |text: &str| text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    let of = of.parse().ok().filter(|_| is_number(number) && is_number(of) && after.starts_with('.'))?;
    Some(Numbered { before, of, after })
}

const DIGITS: usize = 5;

fn has_weights(path: &Path) -> bool {
    is_safetensors(path) || path.extension().is_some_and(|e| e == "gguf")
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "safetensors")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// Returns the files of a folder that are not hidden and are wanted, in order of their names; one that is not there or not ours to
/// read has none. Only what is wanted is looked at beyond its name: this is asked beside every file that is opened.
fn files(folder: &Path, is_wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| !name(path).starts_with('.') && is_wanted(path) && path.is_file()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_told_from_others() {
        let of = |name: &str| numbered(name).map(|n| n.of);
        assert_eq!(of("model-00001-of-00002.safetensors"), Some(2));
        assert_eq!(of("diffusion_pytorch_model.fp16-00002-of-00003.safetensors"), Some(3));
        assert_eq!(of("model-00001-of-00002.fp16.safetensors"), Some(2));
        assert_eq!(of("Qwen3-4B-Q8_0-00001-of-00004.gguf"), Some(4));
        for name in ["night-of-00002.safetensors", "one-of-two.safetensors", "moon-1-of-2.safetensors", "a-00001-of-00002x.gguf", "-of-é"]
        {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(parts(Path::new("/nowhere/model-00001-of-00001.safetensors")), None);
        assert_eq!(parts(Path::new("/nowhere/model-00001-of-00003.gguf")), Some(3));
    }

    #[test]
    fn an_index_is_known_by_its_name() {
        assert!(is_index(Path::new("/a/model.safetensors.index.json")) && is_index(Path::new("model.safetensors.index.fp16.json")));
        assert!(!is_index(Path::new("/a/model_index.json")) && !is_index(Path::new("/a/pytorch_model.bin.index.json")));
        assert_eq!(stem(Path::new("/a/model.safetensors.index.json")), Path::new("/a/model"));
    }
}
