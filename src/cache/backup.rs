//! Copies of conversions in a store, by the source that they were made of.
//!
//! ```text
//! weights/CONTENT/NAME            the file
//! weights/CONTENT/NAME.sums       which bytes are where
//! index/SOURCE-RECIPE.json        what it is; there once the file is there, was read back, and is right
//! ```

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::{Journey, Store};
use super::verify::{read_sums, sums_of};
use super::{CacheError, Manifest, Segment, beside, verify};

/// The version of what lies in a store. A changed meaning gets a new number, and another folder.
const VERSION: u32 = 1;

/// Bytes that are fetched at once, where segments are smaller.
const AT_ONCE: u64 = 8 << 20;

/// A conversion that a store has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The version of this shape.
    pub version: u32,
    /// The file's name.
    pub name: String,
    /// What it is.
    pub manifest: Manifest,
}

impl Kept {
    fn weights(&self) -> String {
        format!("weights/{}/{}", self.manifest.content, self.name)
    }
}

fn index(source: &str, recipe: &str) -> String {
    // A recipe is the name of a precision, of a part, and a number.
    format!("index/{source}-{}.json", recipe.replace('/', "-"))
}

/// Returns what a store has of a source's conversion.
pub fn find(store: &Store, source: &str, recipe: &str) -> Result<Option<Kept>, CacheError> {
    read(store, &index(source, recipe), |kept| kept.manifest.source == source && kept.manifest.recipe == recipe)
}

/// Returns all that a store has. What another version has left is none of ours.
pub fn all(store: &Store) -> Result<Vec<Kept>, CacheError> {
    let names = store.names("index")?;
    let kept = names.iter().map(|name| read(store, &format!("index/{name}"), |_| true));
    Ok(kept.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn read(store: &Store, key: &str, is_it: impl Fn(&Kept) -> bool) -> Result<Option<Kept>, CacheError> {
    let Some(bytes) = store.get(key)? else { return Ok(None) };
    let kept: Option<Kept> = serde_json::from_slice(&bytes).ok();
    // A name is a file's, and leads to no other folder.
    let is_name = |name: &str| !name.starts_with('.') && Path::new(name).file_name().is_some_and(|n| n == name);
    Ok(kept.filter(|k| k.version == VERSION && k.manifest.version <= Manifest::VERSION && is_name(&k.name) && is_it(k)))
}

/// Returns where it is noted what a store has of an upload that was cut off.
#[must_use]
pub fn journal(target: &Path) -> PathBuf {
    beside(target, "upload")
}

/// Checks a conversion, copies it into a store, and reads it back there; returns whether that was to be done.
pub fn save(store: &Store, target: &Path, manifest: &Manifest, journey: Journey<'_>) -> Result<bool, CacheError> {
    verify(target, manifest)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_this = |kept: &Kept| kept.manifest.content == manifest.content;
    if let Some(kept) = find(store, &manifest.source, &manifest.recipe)?.filter(is_this)
        && store.size(&kept.weights())? == Some(manifest.bytes.0)
    {
        return Ok(false);
    }
    let kept = Kept { version: VERSION, name, manifest: Manifest { damage: None, ..manifest.clone() } };
    let key = kept.weights();
    let segments = read_sums(target, &manifest.content)?;
    if store.size(&key)? != Some(manifest.bytes.0) {
        let file = File::open(target).map_err(CacheError::io(target, "opening it"))?;
        store.send(&key, &file, manifest.bytes.0, &journal(target), journey)?;
    }
    if let Err(error) = check(store, &key, manifest.bytes.0, &segments, journey) {
        if matches!(error, CacheError::Damaged { .. }) {
            store.remove(&key)?;
        }
        return Err(error);
    }
    store.put(&format!("{key}.sums"), sums_of(&segments).as_bytes())?;
    let text = serde_json::to_vec(&kept).map_err(|e| CacheError::io(target, "describing it")(e.into()))?;
    store.put(&index(&manifest.source, &manifest.recipe), &text)?;
    Ok(true)
}

/// Reads back all of a file and compares it with what was sent.
fn check(store: &Store, key: &str, length: u64, segments: &[Segment], journey: Journey<'_>) -> Result<(), CacheError> {
    let damaged = |reason: String| CacheError::Damaged { path: PathBuf::from(format!("{}/{key}", store.place())), reason };
    match store.size(key)? {
        Some(size) if size == length => {}
        Some(size) => return Err(damaged(format!("it has {size} bytes there and {length} here"))),
        None => return Err(damaged("it is not there after it was sent".to_owned())),
    }
    let all: Vec<&Segment> = segments.iter().collect();
    each_segment(store, key, &all, journey, |segment, bytes| {
        if segment.holds(bytes) {
            return Ok(());
        }
        Err(damaged(format!("bytes {} to {} are not those that were sent", segment.start, segment.start + segment.length)))
    })
}

/// Returns which bytes of a copy are where.
pub fn segments(store: &Store, kept: &Kept) -> Result<Vec<Segment>, CacheError> {
    let key = format!("{}.sums", kept.weights());
    let damaged = |reason: &str| CacheError::Damaged { path: PathBuf::from(format!("{}/{key}", store.place())), reason: reason.to_owned() };
    let text = store.get(&key)?.ok_or_else(|| damaged("the sums of its bytes are missing"))?;
    let text = String::from_utf8(text).map_err(|_| damaged("the sums of its bytes cannot be read"))?;
    super::verify::parse_sums(&text, &kept.manifest.content, damaged)
}

/// Fetches these segments of a copy, in their order, and hands each to `take` if it is what was saved.
pub fn fetch(
    store: &Store,
    kept: &Kept,
    segments: &[&Segment],
    journey: Journey<'_>,
    mut take: impl FnMut(&Segment, &[u8]) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let key = kept.weights();
    each_segment(store, &key, segments, journey, |segment, bytes| {
        if segment.holds(bytes) {
            return take(segment, bytes);
        }
        let reason = format!("bytes {} to {} are not those that were saved", segment.start, segment.start + segment.length);
        Err(CacheError::Damaged { path: PathBuf::from(format!("{}/{key}", store.place())), reason })
    })
}

/// Fetches segments, small ones together, and hands on one after another.
fn each_segment(
    store: &Store,
    key: &str,
    segments: &[&Segment],
    journey: Journey<'_>,
    mut take: impl FnMut(&Segment, &[u8]) -> Result<(), CacheError>,
) -> Result<(), CacheError> {
    let together = together(segments);
    let ranges: Vec<Range<u64>> =
        together.iter().map(|r| segments[r.start].start..segments[r.end - 1].start + segments[r.end - 1].length).collect();
    store.fetch(key, &ranges, journey, |n, bytes| {
        let mut rest = bytes;
        for segment in &segments[together[n].clone()] {
            let Some((bytes, after)) = rest.split_at_checked(segment.length as usize) else {
                let reason = format!("it ends before byte {}", segment.start + segment.length);
                return Err(CacheError::Damaged { path: PathBuf::from(format!("{}/{key}", store.place())), reason });
            };
            rest = after;
            take(segment, bytes)?;
        }
        Ok(())
    })
}

/// Returns which segments follow one another and are fetched in one go.
fn together(segments: &[&Segment]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    for (n, segment) in segments.iter().enumerate() {
        let end = segment.start + segment.length;
        match all.last_mut() {
            Some(last)
                if segments[n - 1].start + segments[n - 1].length == segment.start && end - segments[last.start].start <= AT_ONCE =>
            {
                last.end = n + 1;
            }
            _ => all.push(n..n + 1),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_segments_travel_together_and_gaps_apart() {
        let segment = |start, length| Segment { start, length, hash: String::new() };
        let segments =
            [segment(0, 10), segment(10, AT_ONCE - 10), segment(AT_ONCE, 5), segment(AT_ONCE + 6, 1), segment(AT_ONCE + 7, 2 * AT_ONCE)];
        let all: Vec<&Segment> = segments.iter().collect();
        assert_eq!(together(&all), [0..2, 2..3, 3..4, 4..5]);
        assert!(together(&[]).is_empty());
    }
}
