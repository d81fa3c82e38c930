//! What text encoders made of texts, kept on disk from run to run, as long as there is room.
//!
//! ```text
//! file "<64 hex digits of the key>.embedding":  "perilune text 1\n" | blake3 of key and payload, 32 bytes | payload
//! ```
//!
//! Whoever keeps something makes the key of all that it depends on, so that nothing kept is ever wrong, and puts no text in clear
//! into the payload. Folder and files are their owner's alone. What was used longest ago leaves first.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::units::Bytes;

const MAGIC: &[u8; 16] = b"perilune text 1\n";
/// A blake3 hash.
const SUM: usize = 32;
const EXTENSION: &str = "embedding";
/// What a writer leaves that was killed; a living one needs no hour.
const HIDDEN: &str = ".new-";
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Says what something kept is, and everything that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; SUM]);

/// A folder of such files, to which several programs may keep at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embeddings {
    folder: PathBuf,
    limit: Bytes,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub count: usize,
    /// Their bytes on the disk.
    pub bytes: Bytes,
}

impl Embeddings {
    /// Returns the folder as one of which files may take so many bytes in all; with none, nothing is kept.
    #[must_use]
    pub fn new(folder: &Path, limit: Bytes) -> Option<Self> {
        (limit > Bytes::ZERO).then(|| Self { folder: folder.to_owned(), limit })
    }

    /// Returns what is kept under this key, and counts it as used now. What is damaged is told of and removed.
    #[must_use]
    pub fn find(&self, key: Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        let (file, bytes) = match read(&path, self.limit) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!("{}: a kept text cannot be read, and is read anew: {error}", path.display());
                return None;
            }
        };
        let Some(payload) = checked(key, &bytes) else {
            tracing::warn!("{}: a kept text is damaged, and is read anew", path.display());
            drop(fs::remove_file(&path));
            return None;
        };
        let payload = payload.to_vec();
        if let Err(error) = file.set_modified(SystemTime::now()) {
            tracing::debug!("{}: its use cannot be noted: {error}", path.display());
        }
        Some(payload)
    }

    /// Keeps something, and lets go of what was used longest ago where there is not room for all. A run needs none of it, so
    /// what cannot be kept is told of in the log alone.
    pub fn keep(&self, key: Key, payload: &[u8]) {
        if (MAGIC.len() + SUM + payload.len()) as u64 > self.limit.get() {
            return;
        }
        let kept = self.write(key, payload).and_then(|()| self.sweep(SystemTime::now()));
        if let Err(error) = kept {
            tracing::warn!("{}: what was made of a text cannot be kept: {error}", self.folder.display());
        }
    }

    /// Removes what is kept under this key.
    pub fn forget(&self, key: Key) {
        drop(fs::remove_file(self.path(key)));
    }

    fn path(&self, key: Key) -> PathBuf {
        self.folder.join(format!("{}.{EXTENSION}", blake3::Hash::from_bytes(key.0).to_hex()))
    }

    fn write(&self, key: Key, payload: &[u8]) -> io::Result<()> {
        private(&self.folder)?;
        // Such files are their owner's alone from the start.
        let mut file = tempfile::Builder::new().prefix(HIDDEN).tempfile_in(&self.folder)?;
        for part in [&MAGIC[..], sum(key, payload).as_bytes(), payload] {
            file.write_all(part)?;
        }
        // What the file system notes by itself may be a few milliseconds old, and another's use later than that.
        file.as_file().set_modified(SystemTime::now())?;
        file.as_file().sync_all()?;
        file.persist(self.path(key)).map_err(|e| e.error)?;
        Ok(())
    }

    /// Removes the files that were used longest ago until the others fit.
    fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let mut kept = Vec::new();
        for (path, metadata) in files(&self.folder)? {
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if is_kept(&path) {
                kept.push((used, metadata.len(), path));
            } else if is_hidden(&path) && now.duration_since(used).is_ok_and(|age| age > FORGOTTEN) {
                drop(fs::remove_file(&path));
            }
        }
        let mut all: u64 = kept.iter().map(|(_, length, _)| length).sum();
        kept.sort();
        for (_, length, path) in kept {
            if all <= self.limit.get() {
                break;
            }
            match fs::remove_file(&path) {
                // Another engine may have had the same thought.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => all -= length,
            }
        }
        Ok(())
    }
}

impl Usage {
    /// Looks at a folder; one that is not there or cannot be read holds nothing.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let kept = files(folder).unwrap_or_default().into_iter().filter(|(path, _)| is_kept(path));
        kept.fold(Self::default(), |sum, (_, file)| Self { count: sum.count + 1, bytes: sum.bytes + Bytes(file.len()) })
    }
}

fn is_kept(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(EXTENSION)) && !is_hidden(path)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HIDDEN))
}

fn files(folder: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // What another engine removes meanwhile is not there.
    let entries = entries.filter_map(Result::ok).filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    Ok(entries.filter(|(_, metadata)| metadata.is_file()).collect())
}

/// Makes the folder its owner's alone.
fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn read(path: &Path, limit: Bytes) -> io::Result<(File, Vec<u8>)> {
    let file = File::open(path)?;
    let length = file.metadata().map(|m| if m.is_file() { m.len() } else { u64::MAX })?;
    if length > limit.get() {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is longer than anything that is kept"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    (&file).take(length).read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

fn sum(key: Key, payload: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(&key.0).update(payload).finalize()
}

fn checked(key: Key, bytes: &[u8]) -> Option<&[u8]> {
    let (told, payload) = bytes.strip_prefix(MAGIC)?.split_at_checked(SUM)?;
    (sum(key, payload).as_bytes() == told).then_some(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Key {
        Key([number; SUM])
    }

    fn shop(limit: u64) -> (tempfile::TempDir, Embeddings) {
        let home = tempfile::tempdir().unwrap();
        let kept = Embeddings::new(&home.path().join("cache/embeddings"), Bytes(limit)).unwrap();
        (home, kept)
    }

    /// Says when something was used last, in seconds before now.
    fn used(kept: &Embeddings, number: u8, ago: u64) {
        let file = File::open(kept.path(key(number))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
    }

    #[test]
    fn what_is_kept_is_found_and_its_owners_alone() {
        let (_home, kept) = shop(1 << 20);
        assert_eq!((kept.find(key(1)), Usage::of(&kept.folder)), (None, Usage::default()));
        kept.keep(key(1), b"numbers");
        assert_eq!((kept.find(key(1)).as_deref(), kept.find(key(2))), (Some(&b"numbers"[..]), None));
        kept.keep(key(1), b"others");
        assert_eq!(kept.find(key(1)).as_deref(), Some(&b"others"[..]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&kept.folder), mode(&kept.path(key(1)))), (0o700, 0o600));
        assert_eq!(Usage::of(&kept.folder), Usage { count: 1, bytes: Bytes(16 + 32 + 6) });
        fs::set_permissions(&kept.folder, Permissions::from_mode(0o755)).unwrap();
        kept.keep(key(2), b"");
        assert_eq!((mode(&kept.folder), kept.find(key(2)).as_deref()), (0o700, Some(&b""[..])));
        kept.forget(key(2));
        assert_eq!(kept.find(key(2)), None);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        assert_eq!(Embeddings::new(Path::new("/nowhere"), Bytes::ZERO), None);
        let (_home, kept) = shop(60);
        kept.keep(key(1), &[0; 100]);
        assert!(!kept.folder.exists(), "it would push out everything else and not fit");
        kept.keep(key(1), &[0; 12]);
        assert!(kept.find(key(1)).is_some());
    }

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let (_home, kept) = shop(3 * 148);
        for (number, ago) in [(1, 300), (2, 200), (3, 100)] {
            kept.keep(key(number), &[number; 100]);
            used(&kept, number, ago);
        }
        assert!(kept.find(key(1)).is_some(), "and is used now");
        kept.keep(key(4), &[4; 100]);
        let there: Vec<u8> = (1..=4).filter(|n| kept.find(key(*n)).is_some()).collect();
        assert_eq!(there, [1, 3, 4]);
        // A smaller limit holds from the next time on.
        let less = Embeddings { limit: Bytes(148), ..kept };
        less.keep(key(5), &[5; 100]);
        assert_eq!(Usage::of(&less.folder), Usage { count: 1, bytes: Bytes(148) });
        assert!(less.find(key(5)).is_some());
    }

    type Damage = Box<dyn Fn(&mut Vec<u8>)>;

    #[test]
    fn damage_is_found_wherever_it_is_and_mended() {
        let (_home, kept) = shop(1 << 20);
        let whole = 16 + 32 + 7;
        let cases: Vec<Damage> = (0..whole)
            .map(|at| Box::new(move |bytes: &mut Vec<u8>| bytes[at] ^= 1) as Damage)
            .chain((0..whole).map(|length| Box::new(move |bytes: &mut Vec<u8>| bytes.truncate(length)) as _))
            .chain([Box::new(|bytes: &mut Vec<u8>| bytes.push(0)) as _])
            .collect();
        for damage in cases {
            kept.keep(key(1), b"numbers");
            let mut bytes = fs::read(kept.path(key(1))).unwrap();
            damage(&mut bytes);
            fs::write(kept.path(key(1)), bytes).unwrap();
            assert_eq!(kept.find(key(1)), None);
            assert!(!kept.path(key(1)).exists());
        }
        // Under another's name it is none of this name.
        kept.keep(key(1), b"numbers");
        fs::rename(kept.path(key(1)), kept.path(key(2))).unwrap();
        assert_eq!(kept.find(key(2)), None);
    }

    #[test]
    fn what_a_killed_writer_has_left_goes_and_strangers_stay() {
        let (_home, kept) = shop(200);
        kept.keep(key(1), &[1; 100]);
        let old = SystemTime::now() - 2 * FORGOTTEN;
        for (name, is_old) in [(".new-a", true), (".new-b", false), ("notes.txt", true)] {
            let file = File::create(kept.folder.join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        kept.keep(key(2), &[2; 100]);
        let there = |name: &str| kept.folder.join(name).exists();
        assert_eq!((there(".new-a"), there(".new-b"), there("notes.txt")), (false, true, true));
        assert_eq!(Usage::of(&kept.folder).count, 1);
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_stops_nothing() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let kept = Embeddings::new(&file, Bytes::mib(1)).unwrap();
        kept.keep(key(1), b"numbers");
        assert_eq!((kept.find(key(1)), Usage::of(&file)), (None, Usage::default()));
    }
}
