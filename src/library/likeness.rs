//! Whether two files hold the same part: then it need be in memory only once.

use std::path::PathBuf;

use super::{LibraryError, MappedFile, network};
use crate::families::Role;
use crate::weights::{BlockTable, TensorEntry};

/// Bytes that are compared at once.
const CHUNK: usize = 1 << 20;

/// Returns whether this part is the same in both, to the last byte of the weights that are used: what else a file holds, such as
/// `position_ids` or a table that is there twice, makes no other part. Headers are compared first, and the first byte that differs
/// ends it.
pub fn is_same(role: Role, left: &[PathBuf], right: &[PathBuf]) -> Result<bool, LibraryError> {
    let (a, b) = (network::part(left, role)?, network::part(right, role)?);
    // What Qwen is beyond its tensors stands in words beside them.
    let says_the_same = role != Role::Qwen || a.0.metadata() == b.0.metadata();
    let (a, b) = (by_name(&a.1), by_name(&b.1));
    let pairs = || a.iter().zip(&b);
    let looks_the_same =
        |((name, one), (other_name, other)): (&Named<'_>, &Named<'_>)| name == other_name && shape_of(one) == shape_of(other);
    if !says_the_same || a.len() != b.len() || !pairs().all(looks_the_same) {
        return Ok(false);
    }
    let open = |files: &[PathBuf]| files.iter().map(|file| MappedFile::open(file)).collect::<Result<Vec<_>, _>>();
    let (left, right) = (open(left)?, open(right)?);
    let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
    for ((_, one), (_, other)) in pairs() {
        if !have_same_bytes((&left, one), (&right, other), &mut buffers)? {
            return Ok(false);
        }
    }
    Ok(true)
}

type Named<'a> = (&'a str, &'a TensorEntry);

/// Returns every tensor of a part that is used, with what belongs to it.
fn by_name(table: &BlockTable) -> Vec<Named<'_>> {
    let mut stored = table.stored();
    stored.sort_by_key(|(name, _)| *name);
    stored
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
