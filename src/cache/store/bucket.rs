//! Back-ups in a bucket of an S3-compatible store.
//!
//! Large files travel as multipart uploads: the store has nothing under a file's key before it has all of its parts, and keeps
//! those that came where an upload is cut off.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, path};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::upload::{Upload, UploadJournal};
use super::{Journey, PART};
use crate::cache::CacheError;
use crate::units::Bytes;

/// The most parts that S3 takes of an upload.
const PARTS: u64 = 10_000;

/// Parts that are under way at once: enough to hide the way to a store and back, and [`PART`] each in memory.
const AT_ONCE: usize = 4;

/// How long one part may take: 8 MiB over a line of 0.25 Mbit/s.
const PATIENCE: Duration = Duration::from_mins(5);

/// Tries after the first that failed, where the store or the line may recover.
const TRIES: usize = 4;

/// Where a store has no regions, and wants one to be named.
const REGION: &str = "us-east-1";

/// Who asks, and whom. What is secret is never shown.
#[derive(Clone, Default)]
pub struct Access {
    /// The name of the key.
    pub key_id: Option<String>,
    /// The key.
    pub secret: Option<String>,
    /// What makes a key hold for some time only.
    pub token: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// The store's address, where it is not Amazon's.
    pub endpoint: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("region", &self.region).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A bucket.
pub struct Bucket {
    client: Arc<AmazonS3>,
    runtime: Runtime,
    name: String,
    prefix: String,
    endpoint: Option<String>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Bucket {
    /// Prepares the way to a bucket; nothing is asked of it yet.
    pub fn open(name: &str, prefix: &str, access: &Access) -> Result<Self, CacheError> {
        let place = format!("s3://{name}");
        let (Some(id), Some(secret)) = (&access.key_id, &access.secret) else { return Err(CacheError::NoKeys { place }) };
        // Somebody else of this process may have chosen the same before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let retry = RetryConfig { max_retries: TRIES, retry_timeout: Duration::from_mins(2), ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_region(access.region.as_deref().unwrap_or(REGION))
            .with_client_options(ClientOptions::new().with_timeout(PATIENCE))
            .with_retry(retry);
        if let Some(token) = &access.token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &access.endpoint {
            // Who names an address without TLS means it: a store in the same rack.
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let client = builder.build().map_err(|e| CacheError::store(&place, "preparing the way there")(e))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CacheError::io(Path::new(&place), "preparing the way there"))?;
        let (name, prefix) = (name.to_owned(), prefix.to_owned());
        Ok(Self { client: Arc::new(client), runtime, name, prefix, endpoint: access.endpoint.clone() })
    }

    fn path(&self, key: &str) -> path::Path {
        path::Path::from(if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) })
    }

    fn shown(&self, path: &path::Path) -> String {
        format!("s3://{}/{path}", self.name)
    }

    fn failed(&self, path: &path::Path, doing: &'static str) -> impl FnOnce(Error) -> CacheError + use<> {
        let shown = self.shown(path);
        move |error| CacheError::store(&shown, doing)(error)
    }

    /// Returns how large an object is, if there is one.
    pub fn size(&self, key: &str) -> Result<Option<u64>, CacheError> {
        let path = self.path(key);
        match self.runtime.block_on(self.client.head(&path)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&path, "looking at it")(error)),
        }
    }

    /// Returns what an object holds, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path(key);
        match self.runtime.block_on(async { self.client.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&path, "reading it")(error)),
        }
    }

    /// Writes a small object.
    pub fn put(&self, key: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.path(key);
        let put = self.runtime.block_on(self.client.put(&path, PutPayload::from(bytes.to_vec())));
        put.map(drop).map_err(self.failed(&path, "writing it"))
    }

    /// Returns the names of objects under a folder of keys.
    pub fn names(&self, under: &str) -> Result<Vec<String>, CacheError> {
        let path = self.path(under);
        let listed = self.runtime.block_on(self.client.list_with_delimiter(Some(&path)));
        let listed = listed.map_err(self.failed(&path, "listing it"))?;
        Ok(listed.objects.iter().filter_map(|meta| meta.location.filename().map(str::to_owned)).collect())
    }

    /// Removes an object.
    pub fn remove(&self, key: &str) -> Result<(), CacheError> {
        let path = self.path(key);
        match self.runtime.block_on(self.client.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&path, "removing it")(error)),
        }
    }

    /// Sends a file in parts, from where an earlier try ended.
    pub fn send(&self, key: &str, file: &File, length: u64, journal: &Path, journey: Journey<'_>) -> Result<(), CacheError> {
        let path = self.path(key);
        let to = format!("{} {}", self.endpoint.as_deref().unwrap_or_default(), self.shown(&path));
        let part = PART.max(length.div_ceil(PARTS).next_multiple_of(1 << 20));
        let wanted = |upload: &Upload| (upload.to == to) && (upload.length, upload.part) == (length, part);
        if let Some((upload, parts)) = UploadJournal::read(journal)? {
            if wanted(&upload) {
                match self.go_on(&path, &upload, parts, file, journey) {
                    // The store has given up what nobody completed for long.
                    Err(Trouble::Gone) => {}
                    done => return self.over(&path, done, journal),
                }
            } else {
                // What another file's upload has left; what is not there any more needs no end.
                drop(self.runtime.block_on(self.client.abort_multipart(&path, &upload.id)));
            }
        }
        let begun = self.runtime.block_on(self.client.create_multipart(&path));
        let id = begun.map_err(self.failed(&path, "beginning an upload"))?;
        let upload = Upload { to, length, part, id };
        let parts = UploadJournal::begin(journal, &upload)?;
        let done = self.go_on(&path, &upload, parts, file, journey);
        self.over(&path, done, journal)
    }

    fn over(&self, path: &path::Path, done: Result<(), Trouble>, journal: &Path) -> Result<(), CacheError> {
        match done {
            Ok(()) => UploadJournal::remove(journal),
            Err(Trouble::Known(error)) => Err(error),
            Err(Trouble::Gone) => {
                UploadJournal::remove(journal)?;
                Err(self.failed(path, "sending it")(Error::NotFound { path: path.to_string(), source: "the upload is gone".into() }))
            }
        }
    }

    /// Sends the parts that the store does not have yet, and completes the upload.
    fn go_on(
        &self,
        path: &path::Path,
        upload: &Upload,
        mut journal: UploadJournal,
        file: &File,
        journey: Journey<'_>,
    ) -> Result<(), Trouble> {
        let count = upload.length.div_ceil(upload.part) as usize;
        let size = |n: usize| upload.part.min(upload.length - n as u64 * upload.part);
        journal.parts.retain(|n, _| *n < count);
        let mut open = (0..count).filter(|n| !journal.parts.contains_key(n)).collect::<Vec<_>>().into_iter();
        let mut came: u64 = journal.parts.keys().map(|n| size(*n)).sum();
        let mut under_way: VecDeque<(usize, JoinHandle<Result<PartId, Error>>)> = VecDeque::new();
        loop {
            while under_way.len() < AT_ONCE
                && !journey.stop.load(Ordering::Relaxed)
                && let Some(n) = open.next()
            {
                let mut bytes = vec![0; size(n) as usize];
                let read = file.read_exact_at(&mut bytes, n as u64 * upload.part);
                read.map_err(CacheError::io(Path::new(path.as_ref()), "reading what it is made of"))?;
                let (client, path, id) = (Arc::clone(&self.client), path.clone(), upload.id.clone());
                let sent = async move { client.put_part(&path, &id, n, PutPayload::from(bytes)).await };
                under_way.push_back((n, self.runtime.spawn(sent)));
            }
            let Some((n, sent)) = under_way.pop_front() else { break };
            let tag = self.joined(path, sent)?.content_id;
            journal.keep(n, tag)?;
            came += size(n);
            (journey.tell)(Bytes(came), Bytes(upload.length));
        }
        if journal.parts.len() < count {
            return Err(CacheError::Stopped.into());
        }
        let parts = std::mem::take(&mut journal.parts).into_values().map(|content_id| PartId { content_id }).collect();
        match self.runtime.block_on(self.client.complete_multipart(path, &upload.id, parts)) {
            Ok(_) => Ok(()),
            Err(error) if is_gone(&error) => Err(Trouble::Gone),
            Err(error) => Err(self.failed(path, "completing the upload")(error).into()),
        }
    }

    fn joined(&self, path: &path::Path, sent: JoinHandle<Result<PartId, Error>>) -> Result<PartId, Trouble> {
        match self.runtime.block_on(sent).unwrap_or_else(|e| Err(Error::from(e))) {
            Ok(part) => Ok(part),
            Err(error) if is_gone(&error) => Err(Trouble::Gone),
            Err(error) => Err(self.failed(path, "sending it")(error).into()),
        }
    }

    /// Fetches parts of an object, some at once, and hands them on in their order.
    pub fn fetch(
        &self,
        key: &str,
        ranges: &[Range<u64>],
        journey: Journey<'_>,
        mut each: impl FnMut(usize, &[u8]) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let path = self.path(key);
        let total = ranges.iter().map(|r| r.end - r.start).sum();
        let (mut came, mut next) = (0, 0);
        let mut under_way = VecDeque::new();
        for n in 0..ranges.len() {
            if journey.stop.load(Ordering::Relaxed) {
                return Err(CacheError::Stopped);
            }
            while under_way.len() < AT_ONCE && next < ranges.len() {
                let (client, path, range) = (Arc::clone(&self.client), path.clone(), ranges[next].clone());
                under_way.push_back(self.runtime.spawn(async move { client.get_range(&path, range).await }));
                next += 1;
            }
            let Some(fetched) = under_way.pop_front() else { break };
            let bytes = self.runtime.block_on(fetched).unwrap_or_else(|e| Err(Error::from(e)));
            let bytes = bytes.map_err(self.failed(&path, "reading it"))?;
            each(n, &bytes)?;
            came += bytes.len() as u64;
            (journey.tell)(Bytes(came), Bytes(total));
        }
        Ok(())
    }
}

/// Why an upload did not end well.
enum Trouble {
    /// The store does not know it any more.
    Gone,
    /// Anything else.
    Known(CacheError),
}

impl From<CacheError> for Trouble {
    fn from(error: CacheError) -> Self {
        Self::Known(error)
    }
}

/// Returns whether a store says that there is no such upload. The crate has no variant for it where an upload is completed.
fn is_gone(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) || error.to_string().contains("NoSuchUpload")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_shown() {
        let access = Access { key_id: Some("AKIA".into()), secret: Some("hush".into()), token: Some("hush".into()), ..Access::default() };
        assert_eq!(format!("{access:?}"), "Access { region: None, endpoint: None, .. }");
        let bucket = Bucket::open("moon", "x", &access).unwrap();
        assert_eq!(format!("{bucket:?}"), "Bucket { name: \"moon\", prefix: \"x\", .. }");
        let error = Bucket::open("moon", "x", &Access::default()).unwrap_err();
        assert_eq!(error.to_string(), "s3://moon: there are no keys for it");
    }
}
