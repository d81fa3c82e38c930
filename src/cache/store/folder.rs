//! Back-ups in a folder: of another disk, of a network, or one that a program such as rclone carries elsewhere.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rustix::fs::{Advice, fadvise};

use super::{Journey, PART};
use crate::cache::CacheError;
use crate::units::Bytes;

/// A folder.
#[derive(Debug, Clone, Copy)]
pub struct Folder<'a>(pub &'a Path);

impl Folder<'_> {
    fn path(self, key: &str) -> PathBuf {
        self.0.join(key)
    }

    /// Returns how large a file is, if there is one.
    pub fn size(self, key: &str) -> Result<Option<u64>, CacheError> {
        let path = self.path(key);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(CacheError::io(&path, "looking at it")(e)),
        }
    }

    /// Returns what a file holds, if there is one.
    pub fn get(self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(CacheError::io(&path, "reading it")(e)),
        }
    }

    /// Writes a small file, whole or not at all.
    pub fn put(self, key: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.path(key);
        let part = hidden(&path);
        make_folder(&path)?;
        let write = || {
            let mut file = File::create(&part)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(CacheError::io(&path, "writing it"))?;
        name(&part, &path)
    }

    /// Returns the names of files in a folder, those that are still written left out.
    pub fn names(self, under: &str) -> Result<Vec<String>, CacheError> {
        let path = self.path(under);
        let listed = match fs::read_dir(&path) {
            Ok(listed) => listed,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(CacheError::io(&path, "listing it")(e)),
        };
        let names = listed.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        Ok(names)
    }

    /// Removes a file.
    pub fn remove(self, key: &str) -> Result<(), CacheError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(CacheError::io(&path, "removing it")(e)),
            _ => Ok(()),
        }
    }

    /// Copies a file under a hidden name, from where an earlier try ended, and then names it.
    pub fn send(self, key: &str, file: &File, length: u64, journey: Journey<'_>) -> Result<(), CacheError> {
        let path = self.path(key);
        let part = hidden(&path);
        make_folder(&path)?;
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&part);
        let mut to = opened.map_err(CacheError::io(&part, "opening it"))?;
        let held = to.metadata().map_err(CacheError::io(&part, "looking at it"))?.len();
        // One that is longer is another file's.
        let mut at = if held > length { 0 } else { held };
        to.set_len(at).and_then(|()| to.seek(SeekFrom::Start(at))).map_err(CacheError::io(&part, "sizing it"))?;
        let mut bytes = vec![0; PART as usize];
        while at < length {
            if journey.stop.load(Ordering::Relaxed) {
                return Err(CacheError::Stopped);
            }
            let bytes = &mut bytes[..PART.min(length - at) as usize];
            file.read_exact_at(bytes, at).map_err(CacheError::io(&path, "reading what it is made of"))?;
            to.write_all(bytes).map_err(CacheError::io(&path, "writing it"))?;
            at += bytes.len() as u64;
            (journey.tell)(Bytes(at), Bytes(length));
        }
        to.sync_all().map_err(CacheError::io(&path, "flushing it"))?;
        // What is read back then comes from the disk, where the kernel does as it is advised.
        let _is_advised = fadvise(&to, 0, None, Advice::DontNeed);
        name(&part, &path)
    }

    /// Reads parts of a file.
    pub fn fetch(
        self,
        key: &str,
        ranges: &[Range<u64>],
        journey: Journey<'_>,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let path = self.path(key);
        let mut file = File::open(&path).map_err(CacheError::io(&path, "opening it"))?;
        let total = ranges.iter().map(|r| r.end - r.start).sum();
        let (mut bytes, mut came) = (Vec::new(), 0);
        for (n, range) in ranges.iter().enumerate() {
            if journey.stop.load(Ordering::Relaxed) {
                return Err(CacheError::Stopped);
            }
            bytes.resize((range.end - range.start) as usize, 0);
            let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut bytes));
            read.map_err(CacheError::io(&path, "reading it"))?;
            each(n, &bytes)?;
            came += bytes.len() as u64;
            (journey.tell)(Bytes(came), Bytes(total));
        }
        Ok(())
    }
}

/// Returns the name that a file has until it is whole.
fn hidden(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.part", path.file_name().unwrap_or_default().to_string_lossy()))
}

fn make_folder(path: &Path) -> Result<(), CacheError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(CacheError::io(folder, "making the folder"))
}

/// Gives a whole file its name, and has the name on the disk.
fn name(part: &Path, path: &Path) -> Result<(), CacheError> {
    fs::rename(part, path).map_err(CacheError::io(path, "naming it"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    match File::open(folder).and_then(|f| f.sync_all()) {
        // Some file systems cannot flush a folder; their entries are as safe as they get.
        Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(CacheError::io(folder, "flushing it")),
    }
}
