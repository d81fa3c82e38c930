//! What kind of file this is, from its first bytes and never from its name.

use super::FormatError;

/// A kind of weight file that we open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A safetensors file.
    Safetensors,
    /// A GGUF file.
    Gguf,
}

/// How many first bytes [`sniff`] wants to see.
pub const SNIFF_BYTES: usize = 64;

/// Returns the kind of a file that starts with `head` and is `length` bytes long.
pub fn sniff(head: &[u8], length: u64) -> Result<FileKind, FormatError> {
    if length == 0 {
        return Err(FormatError::Empty);
    }
    if head.starts_with(b"GGUF") {
        return Ok(FileKind::Gguf);
    }
    // A zip holds torch.save's modern form; 0x80 and a protocol number start a bare pickle, and the length of a safetensors header
    // may look the same: behind those eight bytes there is a brace.
    let is_header = matches!(head, [_, _, _, 0, 0, 0, 0, 0, b'{', ..]);
    if head.starts_with(b"PK\x03\x04") || matches!(head, [0x80, 2..=5, ..]) && !is_header {
        return Err(FormatError::Pickle);
    }
    if head.starts_with(b"version https://git-lfs") {
        return Err(FormatError::LfsPointer);
    }
    for (magic, kind) in OTHERS {
        if head.starts_with(magic) {
            return Err(FormatError::OtherKind { kind });
        }
    }
    Ok(FileKind::Safetensors)
}

const OTHERS: &[(&[u8], &str)] = &[
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"\x1f\x8b", "a gzip archive"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tells_kinds_apart_by_content() {
        assert_eq!(sniff(b"", 0), Err(FormatError::Empty));
        assert_eq!(sniff(b"GGUF\x03\0\0\0", 999), Ok(FileKind::Gguf));
        assert_eq!(sniff(b"PK\x03\x04rest", 999), Err(FormatError::Pickle));
        assert_eq!(sniff(b"\x80\x02}q\x00", 5), Err(FormatError::Pickle));
        assert_eq!(sniff(b"\x80\x05\0\0\0\0\0\0{", 99), Ok(FileKind::Safetensors), "a header of 1408 bytes");
        assert_eq!(sniff(b"version https://git-lfs.github.com/spec/v1\n", 130), Err(FormatError::LfsPointer));
        assert_eq!(sniff(b"<html><body>404", 15), Err(FormatError::OtherKind { kind: "a web page" }));
        assert_eq!(sniff(b"\x40\0\0\0\0\0\0\0{", 99), Ok(FileKind::Safetensors));
    }

    proptest! {
        #[test]
        fn any_bytes_are_some_kind(head in prop::collection::vec(any::<u8>(), 0..SNIFF_BYTES), length in any::<u64>()) {
            prop_assert_eq!(sniff(&head, length) == Err(FormatError::Empty), length == 0);
        }
    }
}
