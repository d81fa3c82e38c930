//! Reads a weight file's header, and nothing else of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{LibraryError, regular};
use crate::formats::sniff::SNIFF_BYTES;
use crate::formats::{FileKind, FormatError, GgufError, gguf, safetensors, sniff};
use crate::quant::gather;
use crate::weights::{Catalog, TensorEntry};

/// Returns the weights of a file, each with what belongs to it.
pub fn read(path: &Path) -> Result<Catalog, LibraryError> {
    gathered(stored(path)?, std::slice::from_ref(&path))
}

/// Returns weights with what belongs to them, of files by the numbers of the catalog.
pub fn gathered<P: AsRef<Path>>(catalog: Catalog, files: &[P]) -> Result<Catalog, LibraryError> {
    if !gather::is_needed(&catalog) {
        return Ok(catalog);
    }
    let first = files.first().map_or(Path::new(""), AsRef::as_ref);
    // SDNQ's words about its weights, or a model's configuration with them inside.
    let beside = ["quantization_config.json", "config.json"].into_iter().find_map(|name| regular::read(&first.with_file_name(name)).ok());
    let beside = beside.filter(|text| memchr::memmem::find(text, b"sdnq").is_some());
    let mut read = |entry: &TensorEntry| {
        let mut bytes = vec![0; usize::try_from(entry.bytes().get()).ok().filter(|n| *n <= SMALL)?];
        let file = regular::open(files.get(entry.file)?.as_ref()).ok()?;
        file.read_exact_at(&mut bytes, entry.start).ok().map(|()| bytes)
    };
    let wrong = |source| LibraryError::Storage { path: first.to_owned(), source };
    gather::gather(catalog, beside.as_deref(), &mut read).map_err(wrong)
}

/// The longest description of a weight that is read.
const SMALL: usize = 64 << 10;

/// Returns the header of a GGUF file, values and all.
pub fn gguf(path: &Path) -> Result<gguf::Header, LibraryError> {
    let io = |doing| move |e| LibraryError::io(path, doing, e);
    let file = regular::open(path)?;
    let length = file.metadata().map_err(io("reading its size"))?.len();
    let header = read_gguf(file, Vec::new(), length).map_err(io("reading its header"))?;
    header.map_err(|source| LibraryError::Format { path: path.to_owned(), source })
}

/// Returns the tensors of a safetensors file or of a GGUF file, as they are stored.
pub fn stored(path: &Path) -> Result<Catalog, LibraryError> {
    let io = |doing| move |e| LibraryError::io(path, doing, e);
    let wrong = |source: FormatError| LibraryError::Format { path: path.to_owned(), source };
    let mut file = regular::open(path)?;
    let length = file.metadata().map_err(io("reading its size"))?.len();
    let mut head = Vec::new();
    (&mut file).take(SNIFF_BYTES as u64).read_to_end(&mut head).map_err(io("reading it"))?;
    if sniff(&head, length).map_err(wrong)? == FileKind::Gguf {
        let header = read_gguf(file, head, length).map_err(io("reading its header"))?;
        return header.map(|h| h.catalog).map_err(wrong);
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

/// Returns the name that a file itself has for the tensor that this byte belongs to: ours may be another, and of a part of it.
#[must_use]
pub fn name_at(path: &Path, byte: u64) -> Option<String> {
    let catalog = stored(path).ok()?;
    catalog.iter().find(|entry| (entry.start..entry.end).contains(&byte)).map(|entry| entry.name.clone())
}

/// The header of most GGUF files fits into this; those with a vocabulary take some ten times as much.
const GGUF_FIRST_BYTES: usize = 1 << 20;

/// Reads a header that does not say how long it is: ever more of the file's beginning, until it is whole or wrong.
fn read_gguf(mut file: File, mut head: Vec<u8>, length: u64) -> io::Result<Result<gguf::Header, FormatError>> {
    let mut wanted = GGUF_FIRST_BYTES;
    loop {
        let missing = wanted.saturating_sub(head.len()) as u64;
        let got = (&mut file).take(missing).read_to_end(&mut head)?;
        match gguf::parse(&head, length) {
            Err(FormatError::Gguf(GgufError::Truncated { .. })) if got > 0 => wanted = wanted.saturating_mul(4),
            read => return Ok(read),
        }
    }
}
