//! A result before it is made: every tensor has its place, so that chunks can be written as they come.

use std::collections::BTreeMap;

use serde::Serialize;

use super::feed::Feed;
use super::form::{AT_ONCE, Form, Product};
use crate::cache::Segment;
use crate::formats::FormatError;
use crate::formats::gguf::{self, NewTensor};
use crate::formats::gguf_value;
use crate::kernels;
use crate::library::{LibraryError, MappedFile};
use crate::quant::fp8;
use crate::weights::{DType, Shape};

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
    pub fn scale(&self, file: &MappedFile) -> Result<f32, LibraryError> {
        let elements = self.feed.shape.elements().unwrap_or(0);
        let (mut bytes, mut values, mut largest) = (Vec::new(), Vec::new(), 0.0_f32);
        for start in (0..elements).step_by(AT_ONCE as usize) {
            let part = start..(start + AT_ONCE).min(elements);
            self.feed.read(file, &part, &mut bytes)?;
            values.resize((part.end - part.start) as usize, 0.0);
            // What is no number is an error where it is converted.
            drop(self.feed.widen(&bytes, &mut values));
            largest = largest.max(kernels::max_abs(&values));
        }
        Ok(fp8::scale_of(DType::F8_E4M3, largest).unwrap_or(1.0))
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
    pub fn safetensors(tensors: Vec<(Feed, Form, Vec<Product>)>, constants: &[Product], metadata: &BTreeMap<String, String>) -> Self {
        let width = |p: &Product| DType::SAFETENSORS.iter().position(|t| *t == p.dtype);
        let mut order: Vec<(Option<usize>, &Product, usize, usize)> = Vec::new();
        for (job, (.., products)) in tensors.iter().enumerate() {
            order.extend(products.iter().enumerate().map(|(place, product)| (width(product), product, job, place)));
        }
        order.extend(constants.iter().map(|product| (width(product), product, usize::MAX, 0)));
        order.sort_by(|(wide, a, ..), (wider, b, ..)| wider.cmp(wide).then_with(|| a.name.cmp(&b.name)));

        let mut all: BTreeMap<&str, &str> = metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        all.insert(SOURCE_KEY, HASH_TO_COME);
        let mut header = BTreeMap::from([("__metadata__", Listed::Metadata(all))]);
        let mut starts = vec![Vec::new(); tensors.len()];
        let mut known = Vec::new();
        let mut at = 0;
        for (_, product, job, place) in &order {
            let end = at + product.bytes();
            header.insert(&product.name, Listed::Tensor { data_offsets: [at, end], dtype: product.dtype.name(), shape: &product.shape });
            if let Some(starts) = starts.get_mut(*job) {
                starts.push((*place, at));
            }
            if let Some(bytes) = &product.constant {
                known.push((at, bytes.clone()));
            }
            at = end;
        }
        let count = order.len();
        let header = framed(&header);
        let data = header.len() as u64;
        for (start, _) in &mut known {
            *start += data;
        }
        let jobs = tensors.into_iter().zip(starts).map(|((feed, form, _), mut starts)| {
            starts.sort_unstable();
            Job { feed, form, places: starts.into_iter().map(|(_, start)| start + data).collect() }
        });
        let mut jobs: Vec<Job> = jobs.collect();
        jobs.sort_by_key(|job| job.places.first().copied());
        Self { jobs, constants: known, length: data + at, tensors: count, header }
    }

    /// Lays out a GGUF file, its tensors in the order given. What a tensor is made of follows one another in it.
    pub fn gguf(values: &[(String, gguf_value::Value)], tensors: Vec<(Vec<(Feed, Form)>, NewTensor)>) -> Result<Self, FormatError> {
        let shapes: Vec<NewTensor> = tensors.iter().map(|(_, tensor)| tensor.clone()).collect();
        let gguf::Layout { header, starts, length } = gguf::layout(values, &shapes)?;
        let mut constants = Vec::new();
        let mut jobs = Vec::new();
        let ends = starts.iter().skip(1).copied().chain([length]);
        for (((parts, tensor), start), next) in tensors.into_iter().zip(&starts).zip(ends) {
            let bytes = |elements: Option<u64>| elements.and_then(|n| tensor.dtype.bytes_of(n)).unwrap_or(0);
            let mut at = *start;
            for (feed, form) in parts {
                let place = at;
                at += bytes(feed.shape.elements());
                jobs.push(Job { feed, form, places: vec![place] });
            }
            // What is left by a file of before is no padding.
            if at < next {
                constants.push((at, vec![0; (next - at) as usize]));
            }
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

/// What a header lists under a name. The order of the fields is that of all headers written before.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Metadata(BTreeMap<&'a str, &'a str>),
    Tensor { data_offsets: [u64; 2], dtype: &'static str, shape: &'a Shape },
}

/// Returns a header with its length before it, filled up to whole words.
fn framed(header: &BTreeMap<&str, Listed<'_>>) -> Vec<u8> {
    // Words and whole numbers under words always are JSON.
    let mut json = serde_json::to_vec(header).unwrap_or_default();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conversion::chunk::Rows;
    use crate::formats::{gguf, safetensors};
    use crate::quant::sdnq_type::WeightsType;

    /// Tensors of all kinds that a network has, by number.
    fn feeds() -> impl Strategy<Value = Vec<Feed>> {
        let dtype = prop::sample::select(vec![DType::F32, DType::F16, DType::Bf16, DType::F8_E4M3, DType::I64, DType::U8]);
        let shape = prop_oneof![
            Just(vec![]),
            (0_u64..70).prop_map(|n| vec![n]),
            (1_u64..40, 1_u64..9).prop_map(|(rows, words)| vec![rows, words * 32]),
            (1_u64..20, 1_u64..5, 1_u64..4).prop_map(|(o, i, k)| vec![o, i, k, k]),
        ];
        prop::collection::vec((dtype, shape), 0..24).prop_map(|all| {
            let feed = |(n, (dtype, shape)): (usize, (DType, Vec<u64>))| Feed {
                name: format!("blocks.{n}.lin.weight"),
                file: 0,
                start: 0,
                dtype,
                shape: Shape(shape),
                scale: None,
            };
            all.into_iter().enumerate().map(feed).collect()
        })
    }

    /// A form that fits a tensor, by a number.
    fn form(feed: &Feed, choice: usize) -> Form {
        let floats = matches!(feed.dtype, DType::F32 | DType::F16 | DType::Bf16 | DType::F8_E4M3);
        let is_matrix = feed.shape.rank() == 2;
        let uint4 = WeightsType::parse("uint4").unwrap();
        match choice % 7 {
            0 if floats => Form::Float(DType::Bf16),
            1 if floats && is_matrix => Form::ScaledFp8,
            2 if floats && is_matrix => Form::Nf4(DType::F16),
            3 if floats && is_matrix => Form::Int8,
            4 if floats && is_matrix => Form::Sdnq(uint4, 32),
            5 if floats && is_matrix => Form::Float(DType::F8_E5M2),
            _ => Form::Copy,
        }
    }

    /// The ranges that are written, of constants and of every chunk's products.
    fn written(output: &Output) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = output.constants.iter().map(|(start, bytes)| (*start, bytes.len() as u64)).collect();
        all.push((0, output.header_length() as u64));
        for job in &output.jobs {
            for elements in Rows::of(&job.feed.shape).chunks() {
                if job.form.copies() {
                    all.push((job.places[0] + job.feed.bytes_of(&(0..elements.start)), job.feed.bytes_of(&elements)));
                    continue;
                }
                let bytes = vec![0; job.feed.bytes_of(&elements) as usize];
                let mut scratch = crate::conversion::form::Scratch::default();
                let encoder = crate::conversion::form::Encoder { form: &job.form, feed: &job.feed, scale: 1.0 };
                encoder.encode(&bytes, &elements, &mut scratch).unwrap();
                // Places of constants come last.
                assert!(scratch.made.len() <= job.places.len());
                all.extend(scratch.made.iter().zip(&job.places).map(|(made, place)| (place + made.at, made.bytes().len() as u64)));
            }
        }
        all.retain(|(_, length)| *length > 0);
        all.sort_unstable();
        all
    }

    /// Every byte of the file is written once.
    fn is_covered(output: &Output) {
        let mut at = 0;
        for (start, length) in written(output) {
            assert_eq!(start, at, "overlap or gap");
            at = start + length;
        }
        assert_eq!(at, output.length);
    }

    fn image(output: &Output) -> Vec<u8> {
        let mut bytes = output.header(&"ab".repeat(32));
        bytes.resize(output.length as usize, 0);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn safetensors_files_are_covered_aligned_and_read_by_both_readers(feeds in feeds(), choice in 0_usize..7, words in "[a-z?\"\\\\ ]{0,80}") {
            let tensors: Vec<_> = feeds.into_iter().enumerate().map(|(n, feed)| {
                let form = form(&feed, choice + n);
                let products = form.products(&feed.name, &feed);
                (feed, form, products)
            }).collect();
            let output = Output::safetensors(tensors, &[], &BTreeMap::from([("a".to_owned(), words.clone()), ("z".to_owned(), HASH_TO_COME.to_owned())]));
            is_covered(&output);
            let bytes = image(&output);
            let ours = safetensors::parse(&bytes[safetensors::PREFIX..output.header_length()], output.length).unwrap();
            let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!((ours.len(), theirs.len()), (output.tensors, output.tensors));
            for entry in ours.iter() {
                let width = entry.dtype.bytes_of(1).unwrap_or(1).max(1);
                prop_assert_eq!(entry.start % width, 0, "{} is not aligned", entry.name);
                let view = theirs.tensor(&entry.name).unwrap();
                prop_assert_eq!(view.shape().iter().map(|n| *n as u64).collect::<Vec<_>>(), entry.shape.0.clone());
            }
            let (_, header) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
            let held = header.metadata().clone().unwrap();
            prop_assert_eq!((&held["a"], &held["z"], &held[SOURCE_KEY]), (&words, &HASH_TO_COME.to_owned(), &"ab".repeat(32)));
        }

        #[test]
        fn gguf_files_are_covered_aligned_and_read(feeds in feeds(), choice in 0_usize..4) {
            let tensors: Vec<_> = feeds.into_iter().filter(|f| f.shape.rank() > 0 && f.shape.elements() > Some(0)).enumerate().map(|(n, mut feed)| {
                feed.dtype = DType::F16;
                let is_matrix = feed.shape.rank() == 2;
                let dtype = match (choice + n) % 4 {
                    0 if is_matrix => DType::Q8_0,
                    1 if is_matrix => DType::Q4_0,
                    2 => DType::F32,
                    _ => DType::F16,
                };
                let form = match dtype {
                    DType::F16 => Form::Copy,
                    DType::F32 => Form::Float(dtype),
                    _ => Form::Blocks(dtype, feed.shape.clone()),
                };
                let tensor = NewTensor { name: feed.name.clone(), dtype, shape: feed.shape.clone() };
                (vec![(feed, form)], tensor)
            }).collect();
            let count = tensors.len();
            let values = [(SOURCE_KEY.to_owned(), gguf_value::Value::Text(hash_to_come()))];
            let output = Output::gguf(&values, tensors).unwrap();
            is_covered(&output);
            let bytes = image(&output);
            let read = gguf::parse(&bytes[..output.header_length()], output.length).unwrap().catalog;
            prop_assert_eq!(read.len(), count);
            prop_assert!(read.iter().all(|entry| entry.start % 32 == 0));
            prop_assert!(memchr::memmem::find(&bytes, "ab".repeat(32).as_bytes()).is_some());
        }
    }
}
