//! A result before it is made: every tensor has its place, so that chunks can be written as they come.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::feed::Feed;
use super::form::{AT_ONCE, Form, Product};
use crate::cache::Segment;
use crate::formats::FormatError;
use crate::formats::gguf::{self, NewTensor};
use crate::formats::gguf_value;
use crate::quant::fp8;
use crate::weights::DType;

/// A tensor that is converted.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What it is.
    pub feed: Feed,
    /// What it becomes.
    pub form: Form,
    /// Where each of its products begins in the file.
    pub places: Vec<u64>,
}

impl Job {
    /// Returns the scale of the whole tensor, by its largest number.
    #[must_use]
    pub fn scale(&self, file: &[u8]) -> f32 {
        let elements = self.feed.shape.elements().unwrap_or(0);
        let bytes = self.feed.slice(file, &(0..elements));
        let step = self.feed.bytes_of(&(0..AT_ONCE)) as usize;
        let mut values = vec![0.0; AT_ONCE as usize];
        let largest = bytes.chunks(step.max(1)).map(|part| {
            let count = (part.len() as u64 * AT_ONCE / step.max(1) as u64) as usize;
            // What cannot be read is an error where it is converted.
            drop(self.feed.widen(part, &mut values[..count]));
            fp8::max_abs(&values[..count])
        });
        fp8::scale_of(DType::F8_E4M3, largest.fold(0.0, f32::max)).unwrap_or(1.0)
    }
}

/// A file to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// What is converted, in the order of the file.
    pub jobs: Vec<Job>,
    /// Bytes that are known beforehand, and where they go.
    pub constants: Vec<(u64, Vec<u8>)>,
    /// How long it is.
    pub length: u64,
    /// How many tensors it has.
    pub tensors: usize,
    header: Vec<u8>,
}

/// Stands in a header where the source's hash will: as long as one.
const HASH_TO_COME: &str = "????????????????????????????????????????????????????????????????";

/// Returns what stands in a header where the source's hash will.
#[must_use]
pub fn hash_to_come() -> String {
    HASH_TO_COME.to_owned()
}

/// The header's key of the hash of the source's tensors.
pub const SOURCE_KEY: &str = "perilune.source_blake3";

impl Output {
    /// Lays out a safetensors file. As the reference library does, wider types come first, then names, so that every tensor is
    /// aligned to its type.
    #[must_use]
    pub fn safetensors(tensors: Vec<(Feed, Form, Vec<Product>)>, constants: Vec<Product>, metadata: &BTreeMap<String, String>) -> Self {
        let mut order: Vec<(&Product, usize, usize)> = Vec::new();
        for (job, (.., products)) in tensors.iter().enumerate() {
            order.extend(products.iter().enumerate().map(|(place, product)| (product, job, place)));
        }
        order.extend(constants.iter().map(|product| (product, usize::MAX, 0)));
        let width = |p: &Product| DType::SAFETENSORS.iter().position(|t| *t == p.dtype);
        order.sort_by(|(a, ..), (b, ..)| width(b).cmp(&width(a)).then_with(|| a.name.cmp(&b.name)));

        let mut header = Map::new();
        let mut all: BTreeMap<&str, &str> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        all.insert(SOURCE_KEY, HASH_TO_COME);
        header.insert("__metadata__".to_owned(), json!(all));
        let mut starts = vec![Vec::new(); tensors.len()];
        let mut known = Vec::new();
        let mut at = 0;
        for (product, job, place) in &order {
            let end = at + product.bytes();
            header.insert(product.name.clone(), json!({"dtype": product.dtype.name(), "shape": product.shape, "data_offsets": [at, end]}));
            if let Some(starts) = starts.get_mut(*job) {
                starts.push((*place, at));
            }
            if let Some(bytes) = &product.constant {
                known.push((at, bytes.clone()));
            }
            at = end;
        }
        let count = order.len();
        let header = framed(&Value::Object(header));
        let data = header.len() as u64;
        known.iter_mut().for_each(|(start, _)| *start += data);
        let jobs = tensors.into_iter().zip(starts).map(|((feed, form, _), mut starts)| {
            starts.sort_unstable();
            Job { feed, form, places: starts.into_iter().map(|(_, start)| start + data).collect() }
        });
        let mut jobs: Vec<Job> = jobs.collect();
        jobs.sort_by_key(|job| job.places.first().copied());
        Self { jobs, constants: known, length: data + at, tensors: count, header }
    }

    /// Lays out a GGUF file, its tensors in the order given.
    pub fn gguf(values: &[(String, gguf_value::Value)], tensors: Vec<(Feed, Form, NewTensor)>) -> Result<Self, FormatError> {
        let shapes: Vec<NewTensor> = tensors.iter().map(|(.., tensor)| tensor.clone()).collect();
        let gguf::Layout { header, starts, length } = gguf::layout(values, &shapes)?;
        let mut constants = Vec::new();
        let mut jobs = Vec::new();
        let ends = starts.iter().skip(1).copied().chain([length]);
        for (((feed, form, tensor), start), next) in tensors.into_iter().zip(&starts).zip(ends) {
            let bytes = tensor.shape.elements().and_then(|n| tensor.dtype.bytes_of(n)).unwrap_or(0);
            // What is left by a file of before is no padding.
            if start + bytes < next {
                constants.push((start + bytes, vec![0; (next - start - bytes) as usize]));
            }
            jobs.push(Job { feed, form, places: vec![*start] });
        }
        Ok(Self { jobs, constants, length, tensors: shapes.len(), header })
    }

    /// Returns the header of a result that was made of a source with this hash.
    #[must_use]
    pub fn header(&self, source: &str) -> Vec<u8> {
        let mut header = self.header.clone();
        // A source's own words may hold the same marks, but never behind this key: quotes within JSON are escaped, and in a GGUF
        // header ours come first.
        let in_json = format!("\"{SOURCE_KEY}\":\"{HASH_TO_COME}");
        let ends = |at: usize, found: &str| at + found.len();
        let json = memchr::memmem::find(&header, in_json.as_bytes()).map(|at| ends(at, &in_json));
        let end = json.or_else(|| memchr::memmem::find(&header, HASH_TO_COME.as_bytes()).map(|at| ends(at, HASH_TO_COME)));
        let start = end.map(|end| end - HASH_TO_COME.len());
        if let Some(place) = start.zip(end).and_then(|(start, end)| header.get_mut(start..end)) {
            place.iter_mut().zip(source.bytes()).for_each(|(byte, new)| *byte = new);
        }
        header
    }

    /// Returns how long the header is.
    #[must_use]
    pub fn header_length(&self) -> usize {
        self.header.len()
    }

    /// Returns everything that the file holds as segments, in its order: what was converted, what was known, and the header.
    #[must_use]
    pub fn with_known(&self, converted: &[Segment], source: &str) -> Vec<Segment> {
        let known =
            |start: u64, bytes: &[u8]| Segment { start, length: bytes.len() as u64, hash: blake3::hash(bytes).to_hex().to_string() };
        let header = self.header(source);
        let constants = self.constants.iter().filter(|(_, b)| !b.is_empty()).map(|(start, bytes)| known(*start, bytes));
        let mut all: Vec<Segment> = converted.iter().cloned().chain(constants).chain([known(0, &header)]).collect();
        all.sort_by_key(|s| s.start);
        all
    }

    /// Returns the hash of where everything goes.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.header);
        for job in &self.jobs {
            hasher.update(format!("{}{:?}{:?}", job.feed.identity(), job.form, job.places).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Returns a header with its length before it, filled up to whole words.
fn framed(header: &Value) -> Vec<u8> {
    let mut json = header.to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes
}
