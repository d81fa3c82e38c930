//! What a conversion was made of: a small file of JSON beside it.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::index;
use super::uses::Uses;
use super::{CacheError, beside};
use crate::units::{Bytes, Timestamp};

/// The version of this file's shape. Fields may be added; a changed meaning gets a new number and a way from the old.
const VERSION: u32 = 1;

/// A file of the source, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Where it was.
    pub path: PathBuf,
    /// Its size.
    pub bytes: Bytes,
    /// When it was last written, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// The file system's number of it.
    pub inode: u64,
    /// The number of its file system.
    pub device: u64,
}

impl Origin {
    /// Returns what a file is now.
    pub fn of(path: &Path) -> Result<Self, CacheError> {
        let metadata = fs::metadata(path).map_err(CacheError::io(path, "looking at it"))?;
        let path = fs::canonicalize(path).map_err(CacheError::io(path, "looking at it"))?;
        Ok(Self::from_metadata(path, &metadata))
    }

    /// Returns what the file at a path is now, under that path; nothing where it is gone.
    #[must_use]
    pub(super) fn found(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from_metadata(path.to_owned(), &metadata))
    }

    /// Returns whether the file is as it was, by what the file system says of it; nothing where it is gone.
    #[must_use]
    pub fn is_as_it_was(&self) -> Option<bool> {
        Self::found(&self.path).map(|now| now.is_same_file(self))
    }

    fn from_metadata(path: PathBuf, metadata: &Metadata) -> Self {
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { path, bytes: Bytes(metadata.len()), modified_ns, inode: metadata.ino(), device: metadata.dev() }
    }

    /// Returns whether both are one file with the same bytes, wherever it lies: a file keeps its number and its time when it
    /// is renamed.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.bytes, self.modified_ns, self.inode, self.device) == (other.bytes, other.modified_ns, other.inode, other.device)
    }
}

/// A tensor that lost much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Which.
    pub tensor: String,
    /// The norm of the difference by the norm of the source.
    pub rel_l2: f64,
}

/// What storing the weights otherwise cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// The largest relative error of a tensor.
    pub rel_l2_max: f64,
    /// The relative error of all weights together.
    pub rel_l2_mean: f64,
    /// Values beyond the range of the type.
    pub clipped: u64,
    /// Values that were no numbers.
    pub not_a_number: u64,
    /// The ten tensors that lost most.
    pub worst: Vec<Worst>,
}

/// What a conversion is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this shape.
    pub version: u32,
    /// Which program made it.
    pub program: String,
    /// What was done: the precision, which part, and the version of the codecs.
    pub recipe: String,
    /// The precision of the source.
    pub from: String,
    /// The precision of the result.
    pub to: String,
    /// The files it was made of.
    pub origins: Vec<Origin>,
    /// The hash of the source's tensors (BLAKE3, over chunks).
    pub source: String,
    /// The size of the source's tensors that went into it.
    pub source_bytes: Bytes,
    /// The size of the file.
    pub bytes: Bytes,
    /// The hash of its sums (BLAKE3).
    pub content: String,
    /// How many tensors it has.
    pub tensors: usize,
    /// How long it took to make.
    pub seconds: f64,
    /// When it was made.
    pub made: Timestamp,
    /// When it was last used.
    pub used: Timestamp,
    /// How often it was used instead of making it again.
    pub hits: u64,
    /// What it lost.
    pub error: Errors,
    /// What was found wrong with the file when all of it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl Manifest {
    /// The version that this program writes.
    pub const VERSION: u32 = VERSION;

    /// Reads the manifest of a conversion, and what is counted beside it; nothing where there is none, or one that this program
    /// cannot read.
    pub fn read(target: &Path) -> Result<Option<Self>, CacheError> {
        let mut manifest = Self::stored(target)?;
        if let Some(manifest) = &mut manifest {
            manifest.count(Uses::read(target));
        }
        Ok(manifest)
    }

    /// Returns the manifest that this text is; nothing where it is none, or one of a later program.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(text).ok().filter(|manifest| manifest.version <= VERSION)
    }

    /// Reads the manifest alone.
    pub(super) fn stored(target: &Path) -> Result<Option<Self>, CacheError> {
        let path = beside(target, "json");
        match fs::read(&path) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => Ok(None),
            Err(error) => Err(CacheError::io(&path, "reading it")(error)),
        }
    }

    /// Adds what was counted since it was written.
    pub(super) fn count(&mut self, uses: Option<Uses>) {
        if let Some(Uses { hits, last }) = uses {
            (self.hits, self.used) = (self.hits.max(hits), self.used.max(last));
        }
    }

    /// Writes the manifest, in place of an older one, whole or not at all.
    pub fn write(&self, target: &Path) -> Result<(), CacheError> {
        replace(&beside(target, "json"), &self.text(target)?, true)
    }

    /// Counts a use, and keeps where the source is now. It is not waited for until the disk has it: a power cut costs the count.
    pub fn count_use(&mut self, target: &Path, now: Timestamp) -> Result<(), CacheError> {
        self.hits += 1;
        self.used = now;
        if Self::stored(target)?.is_none_or(|stored| stored.origins != self.origins) {
            replace(&beside(target, "json"), &self.text(target)?, false)?;
        }
        Uses { hits: self.hits, last: now }.keep(target)
    }

    fn text(&self, target: &Path) -> Result<Vec<u8>, CacheError> {
        serde_json::to_vec(self).map_err(|e| CacheError::io(target, "describing it")(e.into()))
    }
}

/// What the names of files begin with that are about to replace `path`.
fn new_name(path: &Path) -> String {
    format!(".new-{}-", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what writers of `target`'s manifest and sums, and of its folder's index, left behind when they were killed. To be
/// called by whoever has the turn at it; who lists meanwhile leaves no index.
pub fn sweep(target: &Path) {
    let index = beside(target, "json").with_file_name(index::NAME);
    let about = [beside(target, "json"), beside(target, "sums"), index];
    let Some(Ok(names)) = about[0].parent().map(fs::read_dir) else { return };
    for entry in names.flatten() {
        let name = entry.file_name();
        if about.iter().any(|path| name.to_string_lossy().starts_with(&new_name(path))) {
            // What cannot be removed is in nobody's way.
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Writes a file in place of an older one, whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8], durably: bool) -> Result<(), CacheError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut named = tempfile::Builder::new();
    let prefix = new_name(path);
    // As readable as the weights beside it: a box's users share them.
    named.prefix(&prefix).permissions(Permissions::from_mode(0o666));
    let written = named.tempfile_in(folder).and_then(|mut file| {
        file.write_all(bytes)?;
        if durably {
            file.as_file().sync_data()?;
        }
        file.persist(path).map_err(|e| e.error)?;
        if durably { File::open(folder)?.sync_all() } else { Ok(()) }
    });
    written.map_err(CacheError::io(path, "writing it"))
}
