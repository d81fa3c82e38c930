//! Whether two files hold the same part: then it need be in memory only once.

use std::path::PathBuf;

use super::{LibraryError, MappedFile, network};
use crate::families::Role;
use crate::weights::TensorEntry;

/// Bytes that are compared at once.
const CHUNK: usize = 1 << 20;

/// Returns whether this part is the same in both, to the last byte of its weights. Headers are compared first, and the first
/// byte that differs ends it.
pub fn is_same(role: Role, left: &[PathBuf], right: &[PathBuf]) -> Result<bool, LibraryError> {
    let (a, b) = (network::part(left, role)?.0, network::part(right, role)?.0);
    let pairs = || a.iter().zip(b.iter());
    // What Qwen is beyond its tensors stands in words beside them.
    let says_the_same = role != Role::Qwen || a.metadata() == b.metadata();
    if !says_the_same || a.len() != b.len() || pairs().any(|(one, other)| shape_of(one) != shape_of(other)) {
        return Ok(false);
    }
    let open = |files: &[PathBuf]| files.iter().map(|file| MappedFile::open(file)).collect::<Result<Vec<_>, _>>();
    let (left, right) = (open(left)?, open(right)?);
    let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
    for (one, other) in pairs() {
        let with_parts = |entry| std::iter::once(entry).chain(beside(entry));
        for (one, other) in with_parts(one).zip(with_parts(other)) {
            if !have_same_bytes((&left, one), (&right, other), &mut buffers)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn beside(entry: &TensorEntry) -> &[TensorEntry] {
    entry.coded.as_ref().map_or(&[], |coded| &coded.beside)
}

/// A tensor without its place.
fn shape_of(entry: &TensorEntry) -> TensorEntry {
    let mut entry = entry.clone();
    let length = entry.end - entry.start;
    (entry.file, entry.start, entry.end) = (0, 0, length);
    if let Some(coded) = &mut entry.coded {
        coded.beside = coded.beside.iter().map(shape_of).collect();
    }
    entry
}

type In<'a> = (&'a [MappedFile], &'a TensorEntry);

fn have_same_bytes(left: In<'_>, right: In<'_>, buffers: &mut [Vec<u8>; 2]) -> Result<bool, LibraryError> {
    let length = left.1.end - left.1.start;
    let mut done = 0;
    while done < length {
        let size = (length - done).min(CHUNK as u64) as usize;
        for ((files, entry), buffer) in [left, right].into_iter().zip(buffers.iter_mut()) {
            if let Some(file) = files.get(entry.file) {
                file.read(entry.start + done, &mut buffer[..size])?;
            }
        }
        if buffers[0][..size] != buffers[1][..size] {
            return Ok(false);
        }
        done += size as u64;
    }
    Ok(true)
}
