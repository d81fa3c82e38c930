//! Opens files that a stranger may have put there: regular ones only, and small ones whole.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::LibraryError;

/// The longest index or description read into memory. Real ones of the largest models take less than 1 MiB.
const TEXT_LIMIT: u64 = 64 << 20;

/// Opens a regular file for reading. A pipe would keep its reader waiting for ever, and a device never ends.
pub fn open(path: &Path) -> Result<File, LibraryError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| LibraryError::io(path, "opening it", e))?;
    let metadata = file.metadata().map_err(|e| LibraryError::io(path, "looking at it", e))?;
    if metadata.is_file() { Ok(file) } else { Err(LibraryError::NotAFile { path: path.to_owned() }) }
}

/// Returns the bytes of a file that is read whole.
pub fn read(path: &Path) -> Result<Vec<u8>, LibraryError> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(TEXT_LIMIT + 1).read_to_end(&mut bytes).map_err(|e| LibraryError::io(path, "reading it", e))?;
    if bytes.len() as u64 > TEXT_LIMIT {
        return Err(LibraryError::TooLong { path: path.to_owned(), limit: TEXT_LIMIT });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn refused(path: &Path) -> String {
        read(path).unwrap_err().to_string().replace(&format!("{}: ", path.display()), "")
    }

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
        for path in [pipe, folder.path().to_owned(), PathBuf::from("/dev/zero")] {
            assert_eq!(refused(&path), "this is no regular file");
        }
    }

    #[test]
    fn a_text_without_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refused(&path), "the file is longer than 67108864 bytes, the most that is read of its kind");
    }
}
