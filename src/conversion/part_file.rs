//! The file that a conversion writes into until it is whole: beside its target, under a name that no loader takes.
//!
//! Beside a target `converted/a_nf4.safetensors` lie, while it is made:
//!
//! ```text
//! converted/.perilune/a_nf4.safetensors.part      the bytes
//! converted/.perilune/a_nf4.safetensors.journal   which of them are on the disk
//! converted/.perilune/a_nf4.safetensors.lock      whose turn it is
//! ```

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FallocateFlags, OFlags, RenameFlags, fallocate, renameat_with, statvfs};
use rustix::io::Errno;
use rustix::param::page_size;

use super::ConversionError;
use super::tray::Tray;
use crate::cache::beside;
use crate::units::Bytes;

/// The bytes of a target to be.
#[derive(Debug)]
pub struct PartFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
    /// The same past the page cache, where the file system can do that.
    direct: Option<File>,
    page: u64,
    length: u64,
}

/// Fewer bytes in whole pages than these go through the page cache, which gathers small writes. Blocks of network file systems are larger.
const DIRECT: u64 = 64 << 10;

/// What journal and manifest beside a file take at most, by far.
const NOTES: u64 = 1 << 20;

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl PartFile {
    /// Opens the part file of `target`, whether it was begun before or not, with room for `length` bytes on the disk.
    pub fn open(target: &Path, length: u64) -> Result<Self, ConversionError> {
        let path = beside(target, "part");
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.map_err(ConversionError::io(&path, "opening it"))?;
        // Blocks of a file system may be larger than pages; its page cache then holds whole ones.
        let block = file.metadata().map_err(ConversionError::io(&path, "looking at it"))?.blksize().max(page_size() as u64);
        let is_usual = block.is_power_of_two() && block <= DIRECT;
        // What cannot be opened this way is written the other way.
        let opened = || File::options().write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(&path).ok();
        let direct = if is_usual { opened() } else { None };
        let page = if is_usual { block } else { page_size() as u64 };
        let part = Self { target: target.to_owned(), path, file, direct, page, length };
        part.reserve()?;
        Ok(part)
    }

    /// Returns whether there is one of this length that was begun before: whoever begins one sizes it first.
    #[must_use]
    pub fn is_begun(target: &Path, length: u64) -> bool {
        fs::metadata(beside(target, "part")).is_ok_and(|m| m.is_file() && m.len() == length)
    }

    fn reserve(&self) -> Result<(), ConversionError> {
        let held = self.file.metadata().map_err(ConversionError::io(&self.path, "reading its size"))?;
        if held.len() > self.length {
            self.file.set_len(self.length).map_err(ConversionError::io(&self.path, "cutting it"))?;
        }
        // A disk that is too small is not filled first to find that out.
        let needed = self.length.saturating_sub(held.blocks() * 512);
        if statvfs(&self.path).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < needed) {
            return Err(self.no_space());
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, self.length.max(1)) {
            // File systems that cannot reserve, such as NFS, tell when they are full.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(Errno::NOSPC | Errno::DQUOT) => return Err(self.no_space()),
            Err(errno) => return Err(ConversionError::io(&self.path, "reserving room for it")(errno.into())),
        }
        self.file.set_len(self.length).map_err(ConversionError::io(&self.path, "sizing it"))
    }

    /// Returns what is missing on the disk, as far as it can be told.
    fn no_space(&self) -> ConversionError {
        let held = self.file.metadata().map_or(0, |m| m.blocks() * 512);
        let free = statvfs(&self.path).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
        let needed = self.length.saturating_sub(held).max(NOTES);
        ConversionError::NoSpace {
            path: self.target.clone(),
            needed: Bytes(needed),
            free: Bytes(free),
            floor: Bytes::ZERO,
            missing: Bytes(needed.saturating_sub(free)),
        }
    }

    /// Writes bytes to their place.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), ConversionError> {
        self.file.write_all_at(bytes, at).map_err(|error| self.refused(error))
    }

    /// Returns what is missing on the disk, where a file beside this one found no room, and otherwise the error as it is.
    #[must_use]
    pub fn or_no_space(&self, error: ConversionError) -> ConversionError {
        match error {
            ConversionError::Io { source, .. } if is_full(&source) => self.no_space(),
            other => other,
        }
    }

    fn refused(&self, error: std::io::Error) -> ConversionError {
        if is_full(&error) { self.no_space() } else { ConversionError::io(&self.path, "writing it")(error) }
    }

    /// Returns where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the pages that the page cache and this file share, or do not.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page
    }

    /// Writes the bytes of a tray to their place, whole pages past the page cache: the disk takes them faster so, and other
    /// programs' pages stay. No page is ever written both ways at once, as tensors share pages at their ends only.
    pub fn write_tray(&self, tray: &Tray) -> Result<(), ConversionError> {
        let (start, bytes) = (tray.start(), tray.bytes());
        let end = start + bytes.len() as u64;
        let (from, to) = (start.next_multiple_of(self.page), end / self.page * self.page);
        let Some(direct) = self.direct.as_ref().filter(|_| from + DIRECT <= to) else { return self.write(start, bytes) };
        let (head, rest) = bytes.split_at((from - start) as usize);
        let (pages, tail) = rest.split_at((to - from) as usize);
        match direct.write_all_at(pages, from) {
            Ok(()) => {}
            // Disks with blocks larger than pages, and file systems that find out late.
            Err(error) if error.kind() == ErrorKind::InvalidInput => self.write(from, pages)?,
            Err(error) => return Err(self.refused(error)),
        }
        [(start, head), (to, tail)].into_iter().filter(|(_, bytes)| !bytes.is_empty()).try_for_each(|(at, bytes)| self.write(at, bytes))
    }

    /// Reads bytes back.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), ConversionError> {
        self.file.read_exact_at(bytes, at).map_err(ConversionError::io(&self.path, "reading it back"))
    }

    /// Gives the file its name, and takes it from nobody.
    fn name_anew(&self) -> Result<(), ConversionError> {
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(ConversionError::Taken { path: self.target.clone() }),
            // File systems that cannot do both at once.
            Err(Errno::INVAL | Errno::NOSYS) if self.target.symlink_metadata().is_ok() => {
                Err(ConversionError::Taken { path: self.target.clone() })
            }
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::rename(&self.path, &self.target).map_err(ConversionError::io(&self.target, "naming it"))
            }
            Err(errno) => Err(ConversionError::io(&self.target, "naming it")(errno.into())),
        }
    }

    /// Returns the error of a file that is not what it should be.
    #[must_use]
    pub fn wrong(&self, reason: String) -> ConversionError {
        ConversionError::Damaged { path: self.target.clone(), reason }
    }

    /// Has everything that was written on the disk.
    pub fn sync(&self) -> Result<(), ConversionError> {
        self.file.sync_data().map_err(ConversionError::io(&self.path, "flushing it"))
    }

    /// Gives the file its name, in place of an older result of ours or where nothing is. Afterwards the name is on the disk too.
    pub fn publish(self, in_place: bool) -> Result<(), ConversionError> {
        self.file.sync_all().map_err(ConversionError::io(&self.path, "flushing it"))?;
        if in_place {
            fs::rename(&self.path, &self.target).map_err(ConversionError::io(&self.target, "naming it"))?;
        } else {
            self.name_anew()?;
        }
        let folder = self.target.parent().unwrap_or(Path::new("."));
        match File::open(folder).and_then(|f| f.sync_all()) {
            // Some file systems cannot flush a folder; their entries are as safe as they get.
            Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(ConversionError::io(folder, "flushing it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversion::tray::Trays;

    #[test]
    fn bytes_lie_beside_the_target_until_it_is_published() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a_nf4.safetensors");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let part = PartFile::open(&target, 6).unwrap();
        part.write(2, b"cd").unwrap();
        assert!(PartFile::is_begun(&target, 6) && !PartFile::is_begun(&target, 5) && !target.exists());
        drop(part);
        let part = PartFile::open(&target, 4).unwrap();
        let mut bytes = [1; 4];
        part.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0cd", "what was written before stays");
        part.publish(false).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"\0\0cd");
        assert_eq!(fs::read_dir(folder.path().join(".perilune")).unwrap().count(), 0, "nothing stays behind");
    }

    #[test]
    fn a_disk_that_is_full_beside_it_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a_nf4.safetensors");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let part = PartFile::open(&target, 6).unwrap();
        let told = |kind: ErrorKind| part.or_no_space(ConversionError::io(&target, "writing it")(kind.into()));
        assert!(matches!(told(ErrorKind::StorageFull), ConversionError::NoSpace { needed: Bytes(NOTES), .. }));
        assert!(matches!(told(ErrorKind::PermissionDenied), ConversionError::Io { .. }));
    }

    /// Every byte of trays that begin and end anywhere is where it belongs, whichever way it went.
    #[test]
    fn trays_are_written_past_the_page_cache_and_beside_it() {
        // The target folder lies on a disk, where temporary files may lie in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let target = folder.path().join("a.gguf");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let cuts = [0, 5, 200_001, 1_200_005, 1_200_006, 1_204_224, 1_400_832, 2_000_003];
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let bytes: Vec<u8> = (0..2_000_003).map(|_| next()).collect();
        let part = PartFile::open(&target, bytes.len() as u64).unwrap();
        let trays = Trays::new(2, part.page()).unwrap();
        for pair in cuts.windows(2).rev() {
            let mut tray = trays.take(pair[0] as u64, || false).unwrap();
            let held = &bytes[pair[0]..pair[1]];
            tray.room()[..held.len()].copy_from_slice(held);
            tray.fill(held.len());
            part.write_tray(&tray).unwrap();
            trays.give(tray);
        }
        part.publish(false).unwrap();
        assert!(fs::read(&target).unwrap() == bytes);
    }

    #[test]
    fn a_name_that_somebody_took_meanwhile_stays_theirs() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let part = PartFile::open(&target, 4).unwrap();
        fs::write(&target, "theirs").unwrap();
        assert!(matches!(part.publish(false), Err(ConversionError::Taken { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        PartFile::open(&target, 4).unwrap().publish(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), [0; 4]);
    }

    #[test]
    fn a_file_larger_than_any_disk_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.safetensors");
        fs::create_dir(folder.path().join(".perilune")).unwrap();
        let error = PartFile::open(&target, 1 << 42).unwrap_err();
        let ConversionError::NoSpace { needed, free, missing, .. } = error else { panic!("{error}") };
        assert_eq!(needed, missing + free);
        assert!(fs::metadata(beside(&target, "part")).unwrap().blocks() < 8, "the disk was not filled to find out");
    }
}
