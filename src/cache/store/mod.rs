//! Where back-ups of conversions lie: a folder, such as one that another program carries elsewhere, or a bucket of an
//! S3-compatible store.
//!
//! Things lie there under keys, which are paths with `/`. Nothing has its key before all of it is there.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use super::CacheError;
use crate::units::Bytes;

pub mod bucket;
pub mod folder;
pub mod upload;

pub use bucket::Access;

use self::bucket::Bucket;
use self::folder::Folder;

/// Bytes that travel at once: above the 5 MiB that S3 asks of all parts but the last, and little beside the weights.
const PART: u64 = 8 << 20;

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A bucket, and what keys in it begin with.
    Bucket {
        /// Its name.
        name: String,
        /// What keys begin with; empty or without `/` at the end.
        prefix: String,
    },
}

impl Place {
    /// Reads `s3://BUCKET/PREFIX`, `file:///FOLDER` or the path of a folder.
    pub fn parse(text: &str) -> Result<Self, CacheError> {
        let wrong = |reason: &str| CacheError::Place { place: text.to_owned(), reason: reason.to_owned() };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if name.is_empty() {
                return Err(wrong("a bucket's name is missing: s3://BUCKET/PREFIX"));
            }
            return Ok(Self::Bucket { name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned() });
        }
        let path = PathBuf::from(text.strip_prefix("file://").unwrap_or(text));
        if text.contains("://") && !text.starts_with("file:///") {
            return Err(wrong("back-ups go to s3://BUCKET/PREFIX, file:///FOLDER or a folder"));
        }
        if path.is_absolute() { Ok(Self::Folder(path)) } else { Err(wrong("the folder needs its whole path")) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { name, prefix } if prefix.is_empty() => write!(f, "s3://{name}"),
            Self::Bucket { name, prefix } => write!(f, "s3://{name}/{prefix}"),
        }
    }
}

/// Who watches something travel, and may stop it.
#[derive(Clone, Copy)]
pub struct Journey<'a> {
    /// Set by whoever wants it to stop.
    pub stop: &'a AtomicBool,
    /// Called with what has arrived, and what is to arrive.
    pub tell: &'a (dyn Fn(Bytes, Bytes) + Sync),
}

impl fmt::Debug for Journey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journey").finish_non_exhaustive()
    }
}

/// A place, and the way to it. It is gone to when it is first needed.
#[derive(Debug)]
pub struct Store {
    place: Place,
    access: Access,
    bucket: OnceLock<Bucket>,
}

impl Store {
    /// Returns the store at a place. `access` is needed for buckets only.
    #[must_use]
    pub fn new(place: Place, access: Access) -> Self {
        Self { place, access, bucket: OnceLock::new() }
    }

    /// Returns where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn bucket(&self, name: &str, prefix: &str) -> Result<&Bucket, CacheError> {
        if let Some(bucket) = self.bucket.get() {
            return Ok(bucket);
        }
        let bucket = Bucket::open(name, prefix, &self.access)?;
        Ok(self.bucket.get_or_init(|| bucket))
    }

    /// Returns how large the thing with this key is, if there is one.
    pub fn size(&self, key: &str) -> Result<Option<u64>, CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).size(key),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.size(key),
        }
    }

    /// Returns a small thing, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).get(key),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.get(key),
        }
    }

    /// Puts a small thing there, in place of an older one.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).put(key, bytes),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.put(key, bytes),
        }
    }

    /// Returns the keys under a folder of keys, without what they begin with.
    pub fn names(&self, under: &str) -> Result<Vec<String>, CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).names(under),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.names(under),
        }
    }

    /// Removes the thing with this key.
    pub fn remove(&self, key: &str) -> Result<(), CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).remove(key),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.remove(key),
        }
    }

    /// Sends a file. What was sent before it was cut off is not sent again: `journal` is where a bucket's parts are noted.
    pub fn send(&self, key: &str, file: &File, length: u64, journal: &Path, journey: Journey<'_>) -> Result<(), CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).send(key, file, length, journey),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.send(key, file, length, journal, journey),
        }
    }

    /// Fetches parts of a thing, one after another in this order.
    pub fn fetch(
        &self,
        key: &str,
        ranges: &[Range<u64>],
        journey: Journey<'_>,
        each: impl FnMut(usize, &[u8]) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        match &self.place {
            Place::Folder(path) => Folder(path).fetch(key, ranges, journey, each),
            Place::Bucket { name, prefix } => self.bucket(name, prefix)?.fetch(key, ranges, journey, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_buckets_or_folders_with_their_whole_path() {
        let check = |text: &str, expected: &str| assert_eq!(Place::parse(text).unwrap().to_string(), expected);
        check("s3://moon", "s3://moon");
        check("s3://moon/box-3/converted/", "s3://moon/box-3/converted");
        check("file:///mnt/nas", "/mnt/nas");
        check("/mnt/nas", "/mnt/nas");
        for (text, reason) in [
            ("s3:///x", "a bucket's name is missing"),
            ("mnt/nas", "the folder needs its whole path"),
            ("https://moon/x", "back-ups go to s3://BUCKET/PREFIX"),
            ("file://host/x", "back-ups go to"),
        ] {
            let error = Place::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
