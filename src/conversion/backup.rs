//! Conversions that go into a store, and come from there instead of being made again.

use std::path::{Path, PathBuf};

use super::convert::Wish;
use super::journal::Journal;
use super::part_file::PartFile;
use super::pipeline::Watch;
use super::room::{self, Room};
use super::source::{Opened, Part};
use super::turn::Turn;
use super::{ConversionError, place};
use crate::cache::backup::{self, Kept};
use crate::cache::{self, CacheError, Item, Journey, Manifest, Segment, Store};
use crate::library::Roots;
use crate::units::{Bytes, Timestamp};

/// Copies a conversion into a store, unless somebody makes it at the moment; returns whether that was to be done.
pub fn save(store: &Store, path: &Path, manifest: &Manifest, journey: Journey<'_>) -> Result<bool, ConversionError> {
    // With the turn, nobody removes it or makes it anew meanwhile.
    let _turn = Turn::take(path, journey.stop, || ())?;
    // A list has only a part of each manifest.
    let whole = Manifest::read(path)?;
    backup::save(store, path, whole.as_ref().unwrap_or(manifest), journey).map_err(ended)
}

/// Fetches what is wished, if a store has it. To be called by whoever has the turn at `path`.
pub(super) fn restored(
    wish: &Wish<'_>,
    source: &Opened,
    (path, recipe, length): (&Path, &str, u64),
    watch: Watch<'_>,
) -> Result<Option<Manifest>, ConversionError> {
    // What was begun to be converted is nearer.
    let Some(store) = wish.backup.filter(|_| !Journal::exists(path)) else { return Ok(None) };
    let Some(kept) = backup::find(store, source.hash()?, recipe)?.filter(|kept| kept.manifest.bytes.0 == length) else {
        return Ok(None);
    };
    let manifest = Manifest { origins: source.origins.clone(), ..kept.manifest.clone() };
    let journey = Journey { stop: watch.stop, tell: watch.tell };
    fetch(store, &kept, Manifest { used: wish.now, hits: 0, ..manifest }, path, journey).map(Some)
}

/// What came of bringing one conversion back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It is here now.
    Restored,
    /// It was here.
    There,
    /// Another file has its name.
    Taken,
}

/// Returns where a conversion belongs that a store has, and whether it is there.
pub fn home(roots: &Roots, kept: &Kept) -> Result<(PathBuf, Brought), ConversionError> {
    let manifest = &kept.manifest;
    let source = manifest.origins.first().map_or_else(PathBuf::new, |origin| origin.path.clone());
    let part = manifest.recipe.split('/').nth(1).and_then(|name| name.parse::<Part>().ok()).unwrap_or(Part::Whole);
    let is_gguf = Path::new(&kept.name).extension().is_some_and(|end| end == "gguf");
    let path = place::folder(roots, &source, part, is_gguf)?.join(&kept.name);
    if path.symlink_metadata().is_err() {
        return Ok((path, Brought::Restored));
    }
    let is_it = Manifest::read(&path)?.is_some_and(|m| m.content == manifest.content && m.damage.is_none());
    Ok((path, if is_it { Brought::There } else { Brought::Taken }))
}

/// Fetches a conversion from a store to where it belongs. Others may have to make room.
pub fn bring(
    store: &Store,
    kept: &Kept,
    roots: &Roots,
    (floor, now): (Bytes, Timestamp),
    journey: Journey<'_>,
    gone: impl Fn(&Item),
) -> Result<(PathBuf, Brought), ConversionError> {
    let (path, brought) = home(roots, kept)?;
    if brought != Brought::Restored {
        return Ok((path, brought));
    }
    let _turn = Turn::take(&path, journey.stop, || ())?;
    // Somebody may have made it meanwhile.
    let (path, brought) = home(roots, kept)?;
    if brought == Brought::Restored {
        let folders = place::folders(roots);
        let origins: Vec<PathBuf> = kept.manifest.origins.iter().map(|origin| origin.path.clone()).collect();
        room::make(&Room { floor, folders: &folders }, &path, kept.manifest.bytes.0, &origins, now)?.iter().for_each(gone);
        Journal::remove(&path)?;
        fetch(store, kept, kept.manifest.clone(), &path, journey)?;
    }
    Ok((path, brought))
}

/// Fetches all that is not in the part file yet, which may be what an earlier try has left, and gives it its name.
fn fetch(store: &Store, kept: &Kept, manifest: Manifest, path: &Path, journey: Journey<'_>) -> Result<Manifest, ConversionError> {
    let segments = backup::segments(store, kept)?;
    let in_place = path.symlink_metadata().is_ok();
    let was_begun = PartFile::is_begun(path, manifest.bytes.0);
    let part = PartFile::open(path, manifest.bytes.0)?;
    let lacking: Vec<&Segment> = if was_begun { wrong(&part, &segments)? } else { segments.iter().collect() };
    let mut failed = None;
    let fetched = backup::fetch(store, kept, &lacking, journey, |segment, bytes| {
        part.write(segment.start, bytes).map_err(|error| {
            failed = Some(error);
            CacheError::Stopped
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    fetched.map_err(ended)?;
    part.sync()?;
    if let Some(segment) = wrong(&part, &segments)?.first() {
        return Err(part.wrong(format!("bytes {} to {} differ", segment.start, segment.start + segment.length)));
    }
    let content = cache::write_sums(path, &segments)?;
    let manifest = Manifest { content, ..manifest };
    manifest.write(path)?;
    part.publish(in_place)?;
    Ok(manifest)
}

/// Returns the segments that are not in the part file as they should be.
fn wrong<'a>(part: &PartFile, segments: &'a [Segment]) -> Result<Vec<&'a Segment>, ConversionError> {
    let mut bytes = Vec::new();
    let mut wrong = Vec::new();
    for segment in segments {
        bytes.resize(segment.length as usize, 0);
        part.read(segment.start, &mut bytes)?;
        if !segment.holds(&bytes) {
            wrong.push(segment);
        }
    }
    Ok(wrong)
}

fn ended(error: CacheError) -> ConversionError {
    match error {
        CacheError::Stopped => ConversionError::Cancelled,
        other => other.into(),
    }
}
