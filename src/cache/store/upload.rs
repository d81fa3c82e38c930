//! What a bucket has of a file whose upload was cut off: a small file of lines beside the conversion.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::CacheError;

/// Which upload it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The store, bucket and key.
    pub to: String,
    /// The size of the file.
    pub length: u64,
    /// The size of its parts but the last.
    pub part: u64,
    /// The store's name of it.
    pub id: String,
}

/// A part that the store has.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    n: usize,
    tag: String,
}

/// The file, and what it says.
#[derive(Debug)]
pub struct UploadJournal {
    path: PathBuf,
    file: File,
    /// The store's tags of the parts that it has.
    pub parts: BTreeMap<usize, String>,
}

impl UploadJournal {
    /// Returns which upload was begun, and which parts of it are there. What cannot be read is none.
    pub fn read(path: &Path) -> Result<Option<(Upload, Self)>, CacheError> {
        let file = match File::options().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(CacheError::io(path, "opening it")(e)),
        };
        let mut lines = BufReader::new(&file).lines();
        let Some(Ok(first)) = lines.next() else { return Ok(None) };
        let Ok(upload) = serde_json::from_str(&first) else { return Ok(None) };
        // A line that a kill or a power cut has cut off is a part that is sent again.
        let parts = lines.map_while(Result::ok).filter_map(|line| serde_json::from_str::<Part>(&line).ok());
        let parts = parts.map(|part| (part.n, part.tag)).collect();
        Ok(Some((upload, Self { path: path.to_owned(), file, parts })))
    }

    /// Begins a new one, in place of what was there.
    pub fn begin(path: &Path, upload: &Upload) -> Result<Self, CacheError> {
        let file = File::create(path).map_err(CacheError::io(path, "opening it"))?;
        let mut journal = Self { path: path.to_owned(), file, parts: BTreeMap::new() };
        journal.write("", upload)?;
        Ok(journal)
    }

    /// Notes a part.
    pub fn keep(&mut self, n: usize, tag: String) -> Result<(), CacheError> {
        // Before it, so that one that was cut off spoils no other.
        self.write("\n", &Part { n, tag: tag.clone() })?;
        self.parts.insert(n, tag);
        Ok(())
    }

    fn write(&mut self, before: &str, value: &impl Serialize) -> Result<(), CacheError> {
        let line = serde_json::to_string(value).map_err(|e| CacheError::io(&self.path, "describing it")(e.into()))?;
        let text = format!("{before}{line}");
        self.file.write_all(text.as_bytes()).map_err(CacheError::io(&self.path, "writing it"))
    }

    /// Removes it, if it is there.
    pub fn remove(path: &Path) -> Result<(), CacheError> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(CacheError::io(path, "removing it")(e)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_line_costs_one_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.upload");
        let upload = Upload { to: "s3://b/k".to_owned(), length: 30, part: 10, id: "x".to_owned() };
        assert!(UploadJournal::read(&path).unwrap().is_none());
        let mut journal = UploadJournal::begin(&path, &upload).unwrap();
        journal.keep(2, "c".to_owned()).unwrap();
        journal.keep(0, "a".to_owned()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let (read, mut journal) = UploadJournal::read(&path).unwrap().unwrap();
        assert_eq!((read, journal.parts.clone()), (upload, BTreeMap::from([(2, "c".to_owned())])));
        journal.keep(1, "b".to_owned()).unwrap();
        assert_eq!(UploadJournal::read(&path).unwrap().unwrap().1.parts.len(), 2);
        fs::write(&path, "{\"to\":").unwrap();
        assert!(UploadJournal::read(&path).unwrap().is_none());
        UploadJournal::remove(&path).unwrap();
        UploadJournal::remove(&path).unwrap();
    }
}
