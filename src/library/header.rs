//! Reads a weight file's header, and nothing else of it.

use std::io::Read;
use std::path::Path;

use super::{LibraryError, regular};
use crate::formats::sniff::SNIFF_BYTES;
use crate::formats::{FileKind, FormatError, safetensors, sniff};
use crate::weights::Catalog;

/// Returns the tensors of a safetensors file.
pub fn read(path: &Path) -> Result<Catalog, LibraryError> {
    let io = |doing| move |e| LibraryError::io(path, doing, e);
    let wrong = |source: FormatError| LibraryError::Format { path: path.to_owned(), source };
    let mut file = regular::open(path)?;
    let length = file.metadata().map_err(io("reading its size"))?.len();
    let mut head = Vec::new();
    (&mut file).take(SNIFF_BYTES as u64).read_to_end(&mut head).map_err(io("reading it"))?;
    if sniff(&head, length).map_err(wrong)? == FileKind::Gguf {
        return Err(LibraryError::Gguf { path: path.to_owned() });
    }
    let header_length = safetensors::header_length(&head, length).map_err(wrong)?;
    let end = safetensors::PREFIX + header_length;
    // The length was checked against the file's own, so this allocates no more than the file holds.
    let mut header = head.split_off(safetensors::PREFIX);
    header.truncate(header_length);
    let missing = end.saturating_sub(safetensors::PREFIX + header.len());
    file.take(missing as u64).read_to_end(&mut header).map_err(io("reading its header"))?;
    safetensors::parse(&header, length).map_err(wrong)
}
