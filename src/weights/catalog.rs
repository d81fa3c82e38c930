//! The tensors of one or several files, as their headers list them.

use std::collections::BTreeMap;

use super::{Coded, DType, Precision, Shape};
use crate::units::Bytes;

/// One stored tensor: what it is and where its bytes lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Name as the file has it, or as a dialect was renamed.
    pub name: String,
    /// Stored element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// Which of the catalog's files holds it.
    pub file: usize,
    /// First byte, counted from the start of that file.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// What its bytes mean, where they are no plain floats.
    pub coded: Option<Box<Coded>>,
}

impl TensorEntry {
    /// Returns the same tensor under another name. (A clone would copy the name that goes.)
    fn under(&self, name: String) -> Self {
        let Self { name: _, dtype, shape, file, start, end, coded } = self;
        Self { name, dtype: *dtype, shape: shape.clone(), file: *file, start: *start, end: *end, coded: coded.clone() }
    }

    /// Returns the stored size.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        Bytes(self.end - self.start)
    }

    /// Returns the size that it has where it is computed with in a precision: as it is stored, where it is only expanded for
    /// the moment in which it is used.
    #[must_use]
    pub fn bytes_in(&self, precision: Precision) -> Bytes {
        match self.coded {
            Some(_) => self.bytes(),
            None => Bytes(self.elements().saturating_mul(precision.bytes())),
        }
    }

    /// Returns the same tensor in the file of this number, with all that belongs to it.
    #[must_use]
    pub fn in_file(mut self, number: usize) -> Self {
        self.file = number;
        for part in self.coded.iter_mut().flat_map(|c| &mut c.beside) {
            part.file = number;
        }
        self
    }

    /// Returns the stored size with all that belongs to it.
    #[must_use]
    pub fn bytes_with_parts(&self) -> Bytes {
        self.bytes() + self.coded.iter().flat_map(|c| &c.beside).map(Self::bytes).sum()
    }

    /// Returns the number of elements. Parsers have checked that it does not overflow.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.elements().unwrap_or(u64::MAX)
    }
}

/// All tensors of a file, or of the shards of one component, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalog {
    /// In order of their names, each of which is there once.
    entries: Vec<TensorEntry>,
    metadata: BTreeMap<String, String>,
}

impl Catalog {
    /// Returns a catalog of these tensors; of two with one name the later stays.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = TensorEntry>, metadata: BTreeMap<String, String>) -> Self {
        let mut entries: Vec<TensorEntry> = entries.into_iter().collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries.dedup_by(|later, earlier| {
            let is_same = later.name == earlier.name;
            if is_same {
                std::mem::swap(later, earlier);
            }
            is_same
        });
        Self { entries, metadata }
    }

    /// Returns the tensor of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.entries.get(self.entries.binary_search_by(|e| e.name.as_str().cmp(name)).ok()?)
    }

    /// Returns whether a tensor of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns extent `axis` of the named tensor.
    #[must_use]
    pub fn dim(&self, name: &str, axis: usize) -> Option<u64> {
        self.get(name)?.shape.dim(axis)
    }

    /// Returns the tensors in order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &TensorEntry> {
        self.entries.iter()
    }

    /// Returns the number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no tensor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the free-text metadata of the header.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Returns the same catalog with one more word of metadata.
    #[must_use]
    pub fn with_note(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Returns the stored size of all tensors.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.iter().map(TensorEntry::bytes_with_parts).sum()
    }

    /// Returns whether any name starts with `prefix`.
    #[must_use]
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.under(prefix).next().is_some()
    }

    /// Returns the tensors whose names start with `prefix`.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a TensorEntry> {
        let first = self.entries.partition_point(|e| e.name.as_str() < prefix);
        self.entries.iter().skip(first).take_while(move |e| e.name.starts_with(prefix))
    }

    /// Returns one more than the largest `N` in names `{prefix}N.…`, so 0 where there is none.
    #[must_use]
    pub fn count(&self, prefix: &str) -> u64 {
        let numbers = self.under(prefix).filter_map(|e| {
            let rest = e.name.get(prefix.len()..)?;
            let (number, _) = rest.split_once('.')?;
            number.parse::<u64>().ok()
        });
        numbers.max().map_or(0, |n| n.saturating_add(1))
    }

    /// Returns the tensors under `prefix` with their names cut by it.
    #[must_use]
    pub fn strip(&self, prefix: &str) -> Self {
        self.under_names(self.under(prefix).map(|e| (e, e.name[prefix.len()..].to_owned())))
    }

    /// Returns the tensors that `rename` keeps, under the names it gives.
    #[must_use]
    pub fn renamed(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        self.under_names(self.iter().filter_map(|e| Some((e, rename(&e.name)?))))
    }

    fn under_names<'a>(&self, entries: impl Iterator<Item = (&'a TensorEntry, String)>) -> Self {
        Self::new(entries.map(|(e, name)| e.under(name)), self.metadata.clone())
    }

    /// Returns the tensors whose names these are, and the others.
    #[must_use]
    pub fn parted(self, is_first: impl Fn(&str) -> bool) -> (Self, Self) {
        let (first, others) = self.entries.into_iter().partition(|e| is_first(&e.name));
        (Self { entries: first, metadata: self.metadata.clone() }, Self { entries: others, metadata: self.metadata })
    }

    /// Returns this catalog with the tensors of `other`, whose files follow ours.
    #[must_use]
    pub fn joined(self, other: Self, first_file: usize) -> Self {
        let others = other.entries.into_iter().map(|entry| {
            let number = entry.file + first_file;
            entry.in_file(number)
        });
        let mut metadata = self.metadata;
        metadata.extend(other.metadata);
        Self::new(self.entries.into_iter().chain(others), metadata)
    }

    /// Returns the element type that holds most elements: what people call a file's precision.
    #[must_use]
    pub fn main_dtype(&self) -> Option<DType> {
        let mut elements: BTreeMap<DType, u64> = BTreeMap::new();
        for entry in self.iter() {
            let sum = elements.entry(entry.dtype).or_default();
            *sum = sum.saturating_add(entry.elements());
        }
        elements.into_iter().max_by_key(|(_, n)| *n).map(|(dtype, _)| dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, shape: [u64; 2]) -> TensorEntry {
        TensorEntry {
            name: name.to_owned(),
            dtype: DType::F16,
            shape: shape.into(),
            file: 0,
            start: 0,
            end: shape[0] * shape[1] * 2,
            coded: None,
        }
    }

    #[test]
    fn looks_up_by_name_and_prefix() {
        let catalog =
            Catalog::new([entry("a.0.w", [2, 3]), entry("a.10.w", [1, 1]), entry("a.x.w", [1, 1]), entry("b.w", [4, 4])], BTreeMap::new());
        assert_eq!(catalog.count("a."), 11);
        assert_eq!(catalog.count("c."), 0);
        assert!(catalog.has_prefix("a.1") && !catalog.has_prefix("c"));
        assert_eq!(catalog.dim("b.w", 1), Some(4));
        assert_eq!(catalog.dim("b.w", 2), None);
        assert_eq!(catalog.bytes(), Bytes(12 + 2 + 2 + 32));
        let stripped = catalog.strip("a.");
        assert_eq!(stripped.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["0.w", "10.w", "x.w"]);
    }

    #[test]
    fn shards_keep_their_file() {
        let one = Catalog::new([entry("a", [1, 1])], BTreeMap::new());
        let two = Catalog::new([entry("b", [1, 1])], BTreeMap::new());
        let both = one.joined(two, 1);
        assert_eq!(both.get("a").map(|e| e.file), Some(0));
        assert_eq!(both.get("b").map(|e| e.file), Some(1));
    }
}
