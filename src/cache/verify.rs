//! Whether a conversion still holds what was written.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::replace;
use super::{CacheError, Item, Manifest, beside};

/// How much of a file is read at once.
const AT_ONCE: u64 = 1 << 20;

/// Bytes that belong together, and their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where they begin in the file.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// Their hash (BLAKE3), in hexadecimal.
    pub hash: String,
}

impl Segment {
    /// Returns whether these bytes are the segment's.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.hash == blake3::hash(bytes).to_hex().as_str()
    }
}

/// Writes the sums of a conversion, and returns their hash.
pub fn write_sums(target: &Path, segments: &[Segment]) -> Result<String, CacheError> {
    let lines = sums_of(segments);
    replace(&beside(target, "sums"), lines.as_bytes(), true)?;
    Ok(blake3::hash(lines.as_bytes()).to_hex().to_string())
}

/// Returns sums as they are stored.
pub(super) fn sums_of(segments: &[Segment]) -> String {
    let line = |s: &Segment| format!("{} {} {}", s.start, s.length, s.hash);
    segments.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Reads the sums of a conversion, if they are those that its manifest names.
pub(super) fn read_sums(target: &Path, content: &str) -> Result<Vec<Segment>, CacheError> {
    let path = beside(target, "sums");
    let damaged = |reason: &str| CacheError::Damaged { path: target.to_owned(), reason: reason.to_owned() };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(damaged("the sums of its bytes are missing")),
        Err(e) => return Err(CacheError::io(&path, "reading it")(e)),
    };
    parse_sums(&text, content, damaged)
}

/// Reads sums whose hash is `content`.
pub(super) fn parse_sums(text: &str, content: &str, damaged: impl Fn(&str) -> CacheError) -> Result<Vec<Segment>, CacheError> {
    if blake3::hash(text.as_bytes()).to_hex().as_str() != content {
        return Err(damaged("the sums of its bytes were changed"));
    }
    let segment = |line: &str| {
        let mut words = line.split(' ');
        let (start, length, hash) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned());
        Some(Segment { start, length, hash })
    };
    text.lines().map(|line| segment(line).ok_or_else(|| damaged("the sums of its bytes cannot be read"))).collect()
}

/// Reads all of a conversion and compares it with what was written.
pub fn verify(target: &Path, manifest: &Manifest) -> Result<(), CacheError> {
    let damaged = |reason: String| CacheError::Damaged { path: target.to_owned(), reason };
    let segments = read_sums(target, &manifest.content)?;
    let file = File::open(target).map_err(CacheError::io(target, "opening it"))?;
    let length = file.metadata().map_err(CacheError::io(target, "looking at it"))?.len();
    if length != manifest.bytes.0 {
        return Err(damaged(format!("it has {length} bytes and had {}", manifest.bytes.0)));
    }
    let mut bytes = vec![0; AT_ONCE.min(length) as usize];
    let mut at = 0;
    for segment in &segments {
        if segment.start != at {
            return Err(damaged(format!("nothing is known of the bytes from {at} on")));
        }
        if hash(&file, segment, &mut bytes).map_err(CacheError::io(target, "reading it"))? != segment.hash {
            return Err(damaged(format!("bytes {} to {} are not those that were written", segment.start, segment.start + segment.length)));
        }
        at = segment.start + segment.length;
    }
    if at == length { Ok(()) } else { Err(damaged(format!("nothing is known of the bytes from {at} on"))) }
}

/// Keeps in a manifest what was found wrong with its file, so that it is not used again; or that nothing is wrong any more.
pub fn remember(item: &Item, error: Option<&CacheError>) {
    let Some(manifest) = &item.manifest else { return };
    let damage = match error {
        Some(CacheError::Damaged { reason, .. }) => Some(reason.clone()),
        // Nothing is known of what could not be read.
        Some(
            CacheError::Io { .. } | CacheError::Place { .. } | CacheError::NoKeys { .. } | CacheError::Store { .. } | CacheError::Stopped,
        ) => return,
        None => None,
    };
    if manifest.damage != damage {
        // What cannot be kept is said all the same.
        if let Ok(Some(whole)) = Manifest::read(&item.path) {
            drop(Manifest { damage, ..whole }.write(&item.path));
        }
    }
}

/// Returns the hash of the bytes of a segment, which are read a part at a time.
fn hash(file: &File, segment: &Segment, bytes: &mut [u8]) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    let end = segment.start.saturating_add(segment.length);
    for at in (segment.start..end).step_by(bytes.len().max(1)) {
        let size = (bytes.len() as u64).min(end - at);
        let part = &mut bytes[..size as usize];
        file.read_exact_at(part, at)?;
        hasher.update(part);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
