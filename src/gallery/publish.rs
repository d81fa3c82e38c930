//! Gives a picture its name, never another file's.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::GalleryError;
use super::names::choice;
use super::save::discard;

/// Choices for a name that are tried.
const CHOICES: u32 = 10_000;

/// Returns the number by which a file is known under any name.
#[must_use]
pub fn inode(path: &Path) -> Option<u64> {
    // A file that cannot be looked at cannot be recognised later; publishing it will say why.
    fs::symlink_metadata(path).ok().map(|m| m.ino())
}

/// Renames a picture to `wanted`, or to the next free name, and returns which. Where it was renamed
/// before, its inode tells under which name it is.
pub fn publish(target: &Path, known: Option<u64>, wanted: &Path) -> Result<PathBuf, GalleryError> {
    for n in 1..=CHOICES {
        let to = choice(wanted, n);
        match rename(target, &to) {
            Ok(()) => {
                flush_folder(&to)?;
                return Ok(to);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // Linked before, and cut off before the hidden name was removed.
                if known.is_some() && inode(&to) == known {
                    discard(target);
                    return Ok(to);
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound && !target.exists() => {
                return match published_before(known, wanted) {
                    Some(path) => Ok(path),
                    None => Err(GalleryError::Lost { path: target.to_owned() }),
                };
            }
            Err(source) => return Err(GalleryError::Unnamed { path: target.to_owned(), to, source }),
        }
    }
    Err(GalleryError::Unnamed { path: target.to_owned(), to: wanted.to_owned(), source: ErrorKind::AlreadyExists.into() })
}

fn published_before(known: Option<u64>, wanted: &Path) -> Option<PathBuf> {
    let known = known?;
    let choices = (1..=CHOICES).map(|n| choice(wanted, n)).take_while(|path| path.symlink_metadata().is_ok());
    choices.into_iter().find(|path| inode(path) == Some(known))
}

/// Renames unless the new name is taken.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // File systems without this flag, such as NFS, still refuse to link over a file.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the folder's new entry survive a power cut.
fn flush_folder(path: &Path) -> Result<(), GalleryError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let flushed = File::open(folder).and_then(|f| f.sync_all());
    match flushed {
        Ok(()) => Ok(()),
        // Some file systems cannot flush a folder; their entries are as safe as they get.
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        Err(source) => Err(GalleryError::writing(path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(folder: &Path, name: &str) -> (PathBuf, Option<u64>) {
        let path = folder.join(name);
        fs::write(&path, name).unwrap();
        let number = inode(&path);
        (path, number)
    }

    #[test]
    fn no_file_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.png");
        fs::write(&wanted, "theirs").unwrap();
        fs::write(folder.path().join("a-2.png"), "theirs too").unwrap();
        let (part, number) = picture(folder.path(), ".p.part");
        assert_eq!(publish(&part, number, &wanted).unwrap(), folder.path().join("a-3.png"));
        assert_eq!(fs::read_to_string(&wanted).unwrap(), "theirs");
        assert!(!part.exists());
    }

    #[test]
    fn a_picture_that_has_its_name_already_is_found_by_its_inode() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.png");
        fs::write(&wanted, "theirs").unwrap();
        let (part, number) = picture(folder.path(), ".p.part");
        let first = publish(&part, number, &wanted).unwrap();
        assert_eq!(publish(&part, number, &wanted).unwrap(), first);
        assert_eq!(first, folder.path().join("a-2.png"));
    }

    #[test]
    fn a_lost_picture_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("a.png");
        let (part, number) = picture(folder.path(), ".p.part");
        fs::remove_file(&part).unwrap();
        assert!(matches!(publish(&part, number, &wanted), Err(GalleryError::Lost { .. })));
        let (part, number) = picture(folder.path(), ".p.part");
        let error = publish(&part, number, Path::new("/proc/none/a.png")).unwrap_err();
        assert!(matches!(error, GalleryError::Unnamed { .. }) && part.exists(), "{error}");
    }
}
