//! The GGUF header: `magic | version | counts | values | tensors | padding | data` (`ggml/docs/gguf.md`, `src/gguf.cpp`).
//!
//! Reading is as strict as ggml itself: tensors lie in the data in the order in which they are listed, without gaps. Names are
//! kept as the file has them; shapes are turned round, for ggml counts extents from the fastest.

use std::collections::{BTreeMap, HashSet};

use super::FormatError;
use super::error::shown;
use super::gguf_error::GgufError;
use super::gguf_value::{Array, Cursor, Value, write_text};
use crate::weights::{Catalog, DType, Shape, TensorEntry};

/// The first bytes of every such file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// The longest header accepted. Vocabularies of language models take some ten million bytes.
pub const HEADER_LIMIT: u64 = 100_000_000;
/// What tensors are aligned to where the header says nothing else.
pub const ALIGNMENT: u64 = 32;
/// The longest name of a tensor that ComfyUI-GGUF's tools write; stock ggml reads up to 63 bytes.
pub const NAME_LIMIT: usize = 127;
/// The key of the alignment.
const ALIGNMENT_KEY: &str = "general.alignment";
/// What a tensor's shape was before its rows were made whole blocks (ComfyUI-GGUF, `tools/convert.py`), by its name.
pub const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

const VERSION: u32 = 3;
const COUNT_LIMIT: u64 = 1_000_000;
/// The longest name accepted, as in safetensors files.
const READ_NAME_LIMIT: usize = 1024;
/// ggml has four; the patch embeddings of video models have five, and gguf-py stores them so.
const RANK_LIMIT: usize = 5;
/// A key of one byte with its length, a type, and a byte.
const SMALLEST_VALUE: u64 = 8 + 1 + 4 + 1;
/// A name of one byte with its length, no extents but their number, a type, and an offset.
const SMALLEST_TENSOR: u64 = 8 + 1 + 4 + 4 + 8;

/// ggml's element types: number, name, and ours where there is one (`ggml/include/ggml.h`, enum `ggml_type`).
const TYPES: &[(u32, &str, Option<DType>)] = &[
    (0, "F32", Some(DType::F32)),
    (1, "F16", Some(DType::F16)),
    (2, "Q4_0", Some(DType::Q4_0)),
    (3, "Q4_1", Some(DType::Q4_1)),
    (6, "Q5_0", Some(DType::Q5_0)),
    (7, "Q5_1", Some(DType::Q5_1)),
    (8, "Q8_0", Some(DType::Q8_0)),
    (9, "Q8_1", None),
    (10, "Q2_K", Some(DType::Q2_K)),
    (11, "Q3_K", Some(DType::Q3_K)),
    (12, "Q4_K", Some(DType::Q4_K)),
    (13, "Q5_K", Some(DType::Q5_K)),
    (14, "Q6_K", Some(DType::Q6_K)),
    (15, "Q8_K", None),
    (16, "IQ2_XXS", None),
    (17, "IQ2_XS", None),
    (18, "IQ3_XXS", None),
    (19, "IQ1_S", None),
    (20, "IQ4_NL", Some(DType::Iq4Nl)),
    (21, "IQ3_S", None),
    (22, "IQ2_S", None),
    (23, "IQ4_XS", Some(DType::Iq4Xs)),
    (24, "I8", Some(DType::I8)),
    (25, "I16", Some(DType::I16)),
    (26, "I32", Some(DType::I32)),
    (27, "I64", Some(DType::I64)),
    (28, "F64", Some(DType::F64)),
    (29, "IQ1_M", None),
    (30, "BF16", Some(DType::Bf16)),
    (34, "TQ1_0", None),
    (35, "TQ2_0", None),
    (39, "MXFP4", None),
    (40, "NVFP4", None),
    (41, "Q1_0", None),
];

/// A header that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The tensors. Plain values of the header are its metadata, as text.
    pub catalog: Catalog,
    /// The values, in the file's order.
    pub values: Vec<(String, Value)>,
    /// Where the data begins.
    pub data_start: u64,
}

impl Header {
    /// Returns the value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
}

/// Returns what the header of a file of `file_length` bytes says. `head` is the file, or as much of its beginning as holds
/// the header: a map of the file will do, of which only the header is touched.
pub fn parse(head: &[u8], file_length: u64) -> Result<Header, FormatError> {
    if file_length == 0 {
        return Err(FormatError::Empty);
    }
    let mut from = Cursor::new(head, file_length, HEADER_LIMIT);
    check_version(&mut from)?;
    let tensors = count(&mut from, "tensors", SMALLEST_TENSOR)?;
    let values = count(&mut from, "values", SMALLEST_VALUE)?;
    // Both lie in one rest of the file; the tensors come after the values.
    let values = read_values(&mut from, values)?;
    let alignment = alignment(&values)?;
    let mut entries = read_tensors(&mut from, tensors, alignment)?;
    let data_start = from.at().next_multiple_of(alignment);
    let data_length = file_length.saturating_sub(data_start);
    let data_end = entries.last().map_or(0, |e| e.end);
    if data_end > data_length {
        return Err(FormatError::DataTruncated { expected: data_end, found: data_length });
    }
    for entry in &mut entries {
        entry.start += data_start;
        entry.end += data_start;
    }
    give_shapes_back(&mut entries, &values)?;
    let metadata: BTreeMap<String, String> = values.iter().filter_map(|(k, v)| Some((k.clone(), v.plain()?))).collect();
    Ok(Header { catalog: Catalog::new(entries, metadata), values, data_start })
}

fn check_version(from: &mut Cursor<'_>) -> Result<(), GgufError> {
    if from.number("its first four bytes")? != *MAGIC {
        return Err(GgufError::NoMagic);
    }
    match from.u32("its version")? {
        2 | VERSION => Ok(()),
        1 => Err(GgufError::VersionOne),
        swapped if swapped.trailing_zeros() >= 16 => Err(GgufError::BigEndian),
        version => Err(GgufError::UnknownVersion { version }),
    }
}

/// Reads how many entries there are, which is no more than the rest of the file can hold.
fn count(from: &mut Cursor<'_>, what: &'static str, smallest: u64) -> Result<u64, GgufError> {
    let claimed = from.u64("a number of entries")?;
    let room = from.room();
    let most = (room / smallest).min(COUNT_LIMIT);
    if claimed > most { Err(GgufError::TooMany { what, claimed, room, most }) } else { Ok(claimed) }
}

fn read_values(from: &mut Cursor<'_>, count: u64) -> Result<Vec<(String, Value)>, GgufError> {
    let mut seen = HashSet::new();
    let mut values = Vec::new();
    for _ in 0..count {
        let key = from.text("a key")?;
        if key.is_empty() {
            return Err(GgufError::EmptyKey);
        }
        if !seen.insert(key) {
            return Err(GgufError::DuplicateKey { key: shown(key) });
        }
        values.push((key.to_owned(), Value::read(from, key)?));
    }
    Ok(values)
}

fn alignment(values: &[(String, Value)]) -> Result<u64, GgufError> {
    let Some((key, value)) = values.iter().find(|(k, _)| k == ALIGNMENT_KEY) else { return Ok(ALIGNMENT) };
    match value {
        Value::U32(alignment) if alignment.is_power_of_two() => Ok(u64::from(*alignment)),
        Value::U32(alignment) => Err(GgufError::BadAlignment { alignment: *alignment }),
        other => Err(GgufError::WrongType { key: key.clone(), expected: "a u32", found: other.described() }),
    }
}

/// Reads the list of tensors; their ranges count from the start of the data.
fn read_tensors(from: &mut Cursor<'_>, count: u64, alignment: u64) -> Result<Vec<TensorEntry>, FormatError> {
    let mut seen = HashSet::new();
    let mut entries: Vec<TensorEntry> = Vec::new();
    let mut next = 0;
    for _ in 0..count {
        let name = from.text("a tensor's name")?;
        check_name(name)?;
        if !seen.insert(name) {
            return Err(FormatError::Duplicate { tensor: name.to_owned() });
        }
        let entry = read_tensor(from, name.to_owned(), next)?;
        // `end` is below 2^64 by more than any alignment: sizes were checked against i64.
        next = entry.end.checked_next_multiple_of(alignment).ok_or_else(|| overflow(&entry))?;
        entries.push(entry);
    }
    Ok(entries)
}

fn overflow(entry: &TensorEntry) -> FormatError {
    FormatError::ShapeOverflow { tensor: entry.name.clone(), shape: entry.shape.clone() }
}

fn check_name(name: &str) -> Result<(), FormatError> {
    let problem = match name {
        "" => "empty",
        n if n.len() > READ_NAME_LIMIT => "longer than 1024 bytes",
        n if n.contains('\0') => "spelt with a NUL byte",
        _ => return Ok(()),
    };
    Err(FormatError::BadName { problem })
}

fn read_tensor(from: &mut Cursor<'_>, tensor: String, expected: u64) -> Result<TensorEntry, FormatError> {
    let rank = from.u32("a tensor's number of dimensions")? as usize;
    if rank > RANK_LIMIT {
        return Err(FormatError::RankTooHigh { tensor, rank, limit: RANK_LIMIT });
    }
    let mut extents = Vec::with_capacity(rank);
    for _ in 0..rank {
        extents.push(from.u64("a tensor's extent")?);
    }
    let row = extents.first().copied();
    extents.reverse();
    let shape = Shape(extents);
    let dtype = dtype(from.u32("a tensor's type")?, &tensor)?;
    let start = from.u64("a tensor's offset")?;
    let elements = shape.elements().filter(|n| i64::try_from(*n).is_ok() && shape.0.iter().all(|d| i64::try_from(*d).is_ok()));
    let Some(elements) = elements else { return Err(FormatError::ShapeOverflow { tensor, shape }) };
    let bytes = size(&tensor, dtype, elements, row.unwrap_or(1))?;
    if start != expected {
        return Err(GgufError::OutOfPlace { tensor, found: start, expected }.into());
    }
    match bytes.and_then(|bytes| start.checked_add(bytes)).filter(|end| i64::try_from(*end).is_ok()) {
        Some(end) => Ok(TensorEntry { name: tensor, dtype, shape, file: 0, start, end, coded: None }),
        None => Err(FormatError::ShapeOverflow { tensor, shape }),
    }
}

fn dtype(number: u32, tensor: &str) -> Result<DType, GgufError> {
    match TYPES.iter().find(|(n, _, _)| *n == number) {
        Some((_, _, Some(dtype))) => Ok(*dtype),
        Some((_, name, None)) => Err(GgufError::UnsupportedType { tensor: tensor.to_owned(), name }),
        None => Err(GgufError::UnknownType { tensor: tensor.to_owned(), number }),
    }
}

/// Returns the bytes of a tensor whose rows are whole blocks, nothing where they are too many to count.
fn size(tensor: &str, dtype: DType, elements: u64, row: u64) -> Result<Option<u64>, GgufError> {
    let (block, _) = dtype.block();
    if !row.is_multiple_of(block) {
        return Err(GgufError::PartialBlocks { tensor: tensor.to_owned(), row, block });
    }
    Ok(dtype.bytes_of(elements))
}

/// Gives tensors the shapes that were recorded for them.
fn give_shapes_back(entries: &mut [TensorEntry], values: &[(String, Value)]) -> Result<(), FormatError> {
    let recorded: BTreeMap<&str, &Value> = values.iter().filter_map(|(k, v)| Some((k.strip_prefix(ORIGINAL_SHAPE)?, v))).collect();
    for entry in entries {
        let Some(value) = recorded.get(entry.name.as_str()) else { continue };
        let extents = match value {
            Value::Array(array) => array.i32s(),
            _ => None,
        };
        let Some(extents) = extents else {
            let key = shown(&format!("{ORIGINAL_SHAPE}{}", entry.name));
            return Err(GgufError::WrongType { key, expected: "an array of i32", found: value.described() }.into());
        };
        let shape: Option<Vec<u64>> = extents.iter().map(|d| u64::try_from(*d).ok()).collect();
        let shape = shape.map(Shape).filter(|s| s.rank() <= RANK_LIMIT && s.elements() == entry.shape.elements());
        let Some(shape) = shape else {
            let shape = shown(&format!("{extents:?}"));
            return Err(GgufError::BadOriginalShape { tensor: entry.name.clone(), shape, elements: entry.elements() }.into());
        };
        entry.shape = shape;
    }
    Ok(())
}

/// A tensor to be written: its shape is that of its rows as they are stored, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
}

/// What a file begins with, and where its tensors go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The header with the padding in front of the data.
    pub header: Vec<u8>,
    /// Where each tensor starts in the file, in order. What lies between a tensor's end and the next start is zeros.
    pub starts: Vec<u64>,
    /// The length of the whole file, which ends with the last tensor's padding.
    pub length: u64,
}

/// Lays out a file of version 3 with tensors aligned to [`ALIGNMENT`], in the order given.
///
/// What it refuses is what [`parse`] would: equal names or keys, shapes that are no whole blocks, types that ggml lacks.
pub fn layout(values: &[(String, Value)], tensors: &[NewTensor]) -> Result<Layout, FormatError> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((values.len() as u64).to_le_bytes());
    write_values(values, &mut header)?;
    let mut offset = 0u64;
    let mut offsets = Vec::with_capacity(tensors.len());
    let mut seen = HashSet::new();
    for tensor in tensors {
        check_new_name(&tensor.name)?;
        if !seen.insert(&tensor.name) {
            return Err(FormatError::Duplicate { tensor: tensor.name.clone() });
        }
        write_tensor(tensor, offset, &mut header)?;
        offsets.push(offset);
        offset = end_of(tensor, offset)?;
    }
    header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
    let data_start = header.len() as u64;
    let starts = offsets.into_iter().map(|o| o + data_start).collect();
    Ok(Layout { starts, length: data_start + offset, header })
}

/// Returns the value by which a tensor's own shape is recorded where another is stored.
#[must_use]
pub fn original_shape(tensor: &str, shape: &Shape) -> (String, Value) {
    let extents: Vec<i32> = shape.0.iter().map(|d| i32::try_from(*d).unwrap_or(i32::MAX)).collect();
    (format!("{ORIGINAL_SHAPE}{tensor}"), Value::Array(Array::of_i32(&extents)))
}

fn write_values(values: &[(String, Value)], out: &mut Vec<u8>) -> Result<(), GgufError> {
    let mut seen = HashSet::new();
    for (key, value) in values {
        if key.is_empty() {
            return Err(GgufError::EmptyKey);
        }
        if !seen.insert(key) {
            return Err(GgufError::DuplicateKey { key: shown(key) });
        }
        if key == ALIGNMENT_KEY && *value != Value::U32(ALIGNMENT as u32) {
            return Err(GgufError::WrongType { key: key.clone(), expected: "32", found: value.plain().unwrap_or_default() });
        }
        write_text(key, out);
        value.write(out);
    }
    Ok(())
}

fn check_new_name(name: &str) -> Result<(), FormatError> {
    if name.len() > NAME_LIMIT {
        return Err(FormatError::BadName { problem: "longer than the 127 bytes that loaders of GGUF files read" });
    }
    check_name(name)
}

fn write_tensor(tensor: &NewTensor, offset: u64, out: &mut Vec<u8>) -> Result<(), FormatError> {
    let NewTensor { name, dtype, shape } = tensor;
    let Some((number, _, _)) = TYPES.iter().find(|(_, _, t)| *t == Some(*dtype)) else {
        return Err(GgufError::Unwritable { tensor: name.clone(), dtype: *dtype }.into());
    };
    if shape.rank() > RANK_LIMIT {
        return Err(FormatError::RankTooHigh { tensor: name.clone(), rank: shape.rank(), limit: RANK_LIMIT });
    }
    write_text(name, out);
    out.extend((shape.rank() as u32).to_le_bytes());
    shape.0.iter().rev().for_each(|d| out.extend(d.to_le_bytes()));
    out.extend(number.to_le_bytes());
    out.extend(offset.to_le_bytes());
    Ok(())
}

/// Returns the offset of what follows a tensor.
fn end_of(tensor: &NewTensor, offset: u64) -> Result<u64, FormatError> {
    let NewTensor { name, dtype, shape } = tensor;
    let too_large = || FormatError::ShapeOverflow { tensor: name.clone(), shape: shape.clone() };
    let elements = shape.elements().ok_or_else(too_large)?;
    let bytes = size(name, *dtype, elements, shape.0.last().copied().unwrap_or(1))?.ok_or_else(too_large)?;
    offset.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(ALIGNMENT)).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gguf_value::Kind;
    use super::*;
    use crate::units::Bytes;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn key(key: &str, value: Value) -> (String, Value) {
        (key.to_owned(), value)
    }

    fn tensor<const N: usize>(name: &str, dtype: DType, shape: [u64; N]) -> NewTensor {
        NewTensor { name: name.to_owned(), dtype, shape: shape.into() }
    }

    /// A whole file of zeros.
    fn file(values: &[(String, Value)], tensors: &[NewTensor]) -> Vec<u8> {
        let Layout { mut header, length, .. } = layout(values, tensors).unwrap();
        header.resize(length as usize, 0);
        header
    }

    fn read(bytes: &[u8]) -> Result<Header, FormatError> {
        parse(bytes, bytes.len() as u64)
    }

    fn rejects(bytes: &[u8], expected: &str) {
        match read(bytes) {
            Ok(header) => panic!("accepted {header:?}"),
            Err(e) => assert_eq!(e.to_string(), expected),
        }
    }

    /// Returns the bytes with `old` replaced where it stands alone.
    fn with(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
        let at = bytes.windows(old.len()).position(|w| w == old).unwrap();
        [&bytes[..at], new, &bytes[at + old.len()..]].concat()
    }

    fn plain() -> Vec<u8> {
        file(
            &[key("general.architecture", text("flux")), key("general.file_type", Value::U32(15))],
            &[tensor("a.weight", DType::Q4_K, [3, 512]), tensor("b.bias", DType::F32, [5]), tensor("mark", DType::F16, [])],
        )
    }

    #[test]
    fn reads_a_plain_file() {
        let bytes = plain();
        let header = read(&bytes).unwrap();
        assert_eq!(header.catalog.metadata()["general.file_type"], "15");
        assert_eq!(header.value("general.architecture"), Some(&text("flux")));
        let a = header.catalog.get("a.weight").unwrap();
        assert_eq!((a.dtype, &a.shape, a.bytes(), a.start), (DType::Q4_K, &Shape::from([3, 512]), Bytes(3 * 288), header.data_start));
        let b = header.catalog.get("b.bias").unwrap();
        assert_eq!((b.start, b.bytes()), (header.data_start + 864, Bytes(20)));
        let mark = header.catalog.get("mark").unwrap();
        assert_eq!((mark.shape.rank(), mark.start, mark.bytes()), (0, b.start + 32, Bytes(2)));
        assert_eq!((header.data_start % 32, bytes.len() as u64), (0, mark.start + 32));
        // Only the header is needed, and version 2 is laid out alike.
        assert_eq!(parse(&bytes[..header.data_start as usize], bytes.len() as u64), Ok(header.clone()));
        assert_eq!(read(&with(&bytes, b"GGUF\x03", b"GGUF\x02")), Ok(header));
    }

    #[test]
    fn extents_are_counted_from_the_fastest() {
        let bytes = file(&[], &[tensor("conv", DType::F16, [320, 4, 3, 2])]);
        let extents: Vec<u8> = [2u64, 3, 4, 320].iter().flat_map(|d| d.to_le_bytes()).collect();
        assert!(bytes.windows(extents.len()).any(|w| w == extents));
        assert_eq!(read(&bytes).unwrap().catalog.get("conv").unwrap().shape, Shape::from([320, 4, 3, 2]));
    }

    #[test]
    fn a_recorded_shape_is_given_back() {
        let shape = Shape::from([320, 320, 3, 3]);
        let stored = tensor("in.weight", DType::Q4_K, [3600, 256]);
        let header = read(&file(&[original_shape("in.weight", &shape)], std::slice::from_ref(&stored))).unwrap();
        let entry = header.catalog.get("in.weight").unwrap();
        assert_eq!((&entry.shape, entry.bytes()), (&shape, Bytes(3600 * 144)));
        let recorded = |extents: &[i32]| {
            file(&[key("comfy.gguf.orig_shape.in.weight", Value::Array(Array::of_i32(extents)))], std::slice::from_ref(&stored))
        };
        rejects(&recorded(&[320, 320]), "the recorded shape [320, 320] of tensor `in.weight` is not that of its 921600 numbers");
        rejects(&recorded(&[-960, -960]), "the recorded shape [-960, -960] of tensor `in.weight` is not that of its 921600 numbers");
        rejects(
            &file(&[key("comfy.gguf.orig_shape.in.weight", Value::U32(1))], &[stored]),
            "the value of `comfy.gguf.orig_shape.in.weight` is a u32, not an array of i32",
        );
    }

    #[test]
    fn files_of_other_kinds_and_versions() {
        assert_eq!(read(&[]), Err(FormatError::Empty));
        rejects(b"GG", "the file ends inside its header, at byte 0, where its first four bytes should be: it is truncated");
        rejects(b"GGML\x03\0\0\0", "the file does not start with `GGUF`");
        rejects(b"GGUF\x01\0\0\0\0\0\0\0\0\0\0\0", "the file is of GGUF version 1, which is not supported");
        rejects(b"GGUF\0\0\0\x03", "the file was written for big-endian machines, which is not supported");
        rejects(b"GGUF\x04\0\0\0", "the file is of GGUF version 4; 2 and 3 are supported");
    }

    #[test]
    fn truncation_anywhere() {
        let bytes = plain();
        let data_start = read(&bytes).unwrap().data_start as usize;
        for end in 0..bytes.len() {
            let error = read(&bytes[..end]).map(|h| h.data_start);
            let padding = end >= data_start + 864 + 32 + 2;
            assert_eq!(error.is_ok(), padding, "cut at {end}: {error:?}");
        }
        assert!(matches!(read(&bytes[..data_start + 900]), Ok(_) | Err(FormatError::DataTruncated { .. })));
    }

    #[test]
    fn counts_beyond_the_file() {
        let head = |tensors: u64, values: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &values.to_le_bytes(), &[0; 100]].concat();
        rejects(&head(u64::MAX, 0), "the header claims 18446744073709551615 tensors, but the 108 bytes after it hold at most 4");
        rejects(&head(0, 8), "the header claims 8 values, but the 100 bytes after it hold at most 7");
    }

    #[test]
    fn texts_and_arrays_beyond_the_file() {
        let bytes = file(&[key("k", text("abc"))], &[]);
        rejects(
            &with(&bytes, b"\x01\0\0\0\0\0\0\0k", b"\xff\0\0\0\0\0\0\xffk"),
            "a key claims 18374686479671623935 bytes, but 32 are left in the file",
        );
        rejects(
            &with(&bytes, b"\x03\0\0\0\0\0\0\0abc", b"\x03\0\0\0\0\0\0\x80abc"),
            "a value claims 9223372036854775811 bytes, but 19 are left in the file",
        );
        let bytes = file(&[key("k", Value::Array(Array::of_i32(&[7])))], &[]);
        rejects(
            &with(&bytes, b"\x01\0\0\0\0\0\0\0\x07", b"\x01\0\0\0\0\0\0\x40\x07"),
            "the array `k` claims 4611686018427387905 elements, but 15 bytes are left in the file",
        );
        rejects(&with(&bytes, b"\x05\0\0\0\x01", b"\x09\0\0\0\x01"), "the value of `k` is an array of arrays, which is not supported");
        let bytes = file(&[key("k", Value::Array(Array::of_i32(&[100])))], &[]);
        rejects(&with(&bytes, b"\x05\0\0\0\x01", b"\x08\0\0\0\x01"), "an array's text claims 100 bytes, but 7 are left in the file");
    }

    #[test]
    fn a_header_without_end() {
        // Nothing of the file behind the limit is looked at, so the file need not be that long.
        let mut head = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x08\0\0\0".to_vec();
        head.extend((HEADER_LIMIT * 2).to_le_bytes());
        head.resize(HEADER_LIMIT as usize + 1, b'x');
        assert_eq!(parse(&head, HEADER_LIMIT * 4), Err(GgufError::HeaderTooLarge { limit: HEADER_LIMIT }.into()));
    }

    #[test]
    fn values_that_are_none() {
        let bytes = file(&[key("k", Value::Bool(true)), key("l", Value::U8(3))], &[]);
        rejects(&with(&bytes, b"k\x07\0\0\0\x01", b"k\x07\0\0\0\x02"), "the value of `k` is neither true nor false but 2");
        rejects(&with(&bytes, b"k\x07", b"k\x0d"), "the value of `k` has the unknown type 13");
        rejects(&with(&bytes, b"l\0\0\0\0", b"k\0\0\0\0"), "the key `k` is listed twice");
        rejects(&with(&bytes, b"k\x07", b"\xff\x07"), "a key at byte 24 is not UTF-8");
        let empty = [&b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"[..], &[0; 32]].concat();
        rejects(&empty, "a value has an empty key");
    }

    #[test]
    fn alignments_that_are_none() {
        let aligned = |value| with(&file(&[key("general.alignmenx", value)], &[]), b"alignmenx", b"alignment");
        rejects(&aligned(Value::U32(48)), "tensors are said to be aligned to 48 bytes, which is no power of two");
        rejects(&aligned(Value::U32(0)), "tensors are said to be aligned to 0 bytes, which is no power of two");
        rejects(&aligned(Value::U64(32)), "the value of `general.alignment` is a u64, not a u32");
        let header = read(&aligned(Value::U32(4096))).unwrap();
        assert_eq!(header.data_start, 4096);
    }

    #[test]
    fn tensors_that_are_none() {
        let one = |tensor: NewTensor| file(&[], &[tensor]);
        let bytes = one(tensor("a", DType::F16, [2, 3]));
        let listed = |dims: &[u64], number: u32, offset: u64| {
            let mut new = (dims.len() as u32).to_le_bytes().to_vec();
            dims.iter().rev().for_each(|d| new.extend(d.to_le_bytes()));
            new.extend(number.to_le_bytes());
            new.extend(offset.to_le_bytes());
            let at = bytes.iter().position(|b| *b == b'a').unwrap() + 1;
            [&bytes[..at], &new, &[0; 4096]].concat()
        };
        rejects(&listed(&[1; 6], 0, 0), "tensor `a` has 6 dimensions; at most 5 are allowed");
        rejects(&listed(&[1 << 40, 1 << 40], 0, 0), "tensor `a` of shape [1099511627776, 1099511627776] is larger than any memory");
        rejects(&listed(&[1, u64::MAX], 24, 0), "tensor `a` of shape [1, 18446744073709551615] is larger than any memory");
        rejects(&listed(&[0, u64::MAX], 24, 0), "tensor `a` of shape [0, 18446744073709551615] is larger than any memory");
        rejects(&listed(&[1 << 62], 0, 0), "tensor `a` of shape [4611686018427387904] is larger than any memory");
        rejects(&listed(&[256, 255], 12, 0), "tensor `a` has rows of 255 numbers, which are no whole blocks of 256");
        rejects(&listed(&[2], 42, 0), "tensor `a` has the unknown type 42");
        rejects(&listed(&[2], 4, 0), "tensor `a` has the unknown type 4");
        rejects(&listed(&[256], 16, 0), "tensor `a` is stored as IQ2_XXS, which is not supported");
        rejects(&listed(&[32], 39, 0), "tensor `a` is stored as MXFP4, which is not supported");
        rejects(&listed(&[2], 0, 32), "tensor `a` is at 32 of the data, but the tensors before it end at 0");
        rejects(&listed(&[4000], 0, 0), "the tensors take 16000 bytes but the file holds 4089: it is truncated, 11.6 KiB are missing");
        assert!(read(&listed(&[2, 2, 2, 2, 2], 0, 0)).is_ok(), "patch embeddings of video models have five dimensions");
        let twice = file(&[], &[tensor("aa", DType::F32, [1]), tensor("ab", DType::F32, [1])]);
        rejects(&with(&twice, b"ab", b"aa"), "tensor `aa` is listed twice");
        rejects(&with(&one(tensor("a", DType::F32, [1])), b"a\x01", b"\0\x01"), "a tensor's name is spelt with a NUL byte");
        rejects(&with(&one(tensor("a", DType::F32, [1])), b"a\x01", b"\xfe\x01"), "a tensor's name at byte 24 is not UTF-8");
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        let refused = |values: &[(String, Value)], tensors: &[NewTensor]| layout(values, tensors).unwrap_err().to_string();
        assert_eq!(refused(&[], &[tensor("a", DType::F8_E4M3, [2])]), "tensor `a` of type F8_E4M3 cannot be stored in a GGUF file");
        assert_eq!(
            refused(&[], &[tensor("a", DType::Q8_0, [2, 33])]),
            "tensor `a` has rows of 33 numbers, which are no whole blocks of 32"
        );
        assert_eq!(refused(&[], &[tensor("a", DType::F16, [1; 6])]), "tensor `a` has 6 dimensions; at most 5 are allowed");
        let twice = [tensor("a", DType::F16, [1]), tensor("a", DType::F32, [1])];
        assert_eq!(refused(&[], &twice), "tensor `a` is listed twice");
        assert_eq!(
            refused(&[], &[tensor(&"n".repeat(128), DType::F16, [1])]),
            "a tensor's name is longer than the 127 bytes that loaders of GGUF files read"
        );
        assert_eq!(refused(&[key("k", Value::U8(1)), key("k", Value::U8(2))], &[]), "the key `k` is listed twice");
        assert_eq!(refused(&[key("general.alignment", Value::U32(64))], &[]), "the value of `general.alignment` is 64, not 32");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u8>().prop_map(Value::U8),
            any::<i8>().prop_map(Value::I8),
            any::<u16>().prop_map(Value::U16),
            any::<i16>().prop_map(Value::I16),
            any::<u32>().prop_map(Value::U32),
            any::<i32>().prop_map(Value::I32),
            (-1e9f32..1e9).prop_map(Value::F32),
            any::<bool>().prop_map(Value::Bool),
            ".{0,8}".prop_map(Value::Text),
            prop::collection::vec(any::<i32>(), 0..5).prop_map(|v| Value::Array(Array::of_i32(&v))),
            any::<u64>().prop_map(Value::U64),
            any::<i64>().prop_map(Value::I64),
            (-1e9f64..1e9).prop_map(Value::F64),
        ]
    }

    fn any_tensor() -> impl Strategy<Value = (DType, Vec<u64>)> {
        let dtypes: Vec<DType> = TYPES.iter().filter_map(|(_, _, t)| *t).collect();
        (prop::sample::select(dtypes), prop::collection::vec(0u64..4, 0..4), 0u64..3).prop_map(|(dtype, mut shape, rows)| {
            let (block, _) = dtype.block();
            if block > 1 || rows > 0 {
                shape.push(rows * block);
            }
            (dtype, shape)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            values in prop::collection::btree_map("[a-z.]{1,9}", any_value(), 0..9),
            tensors in prop::collection::btree_map("[a-z.]{1,9}", any_tensor(), 0..9),
        ) {
            let values: Vec<(String, Value)> = values.into_iter().collect();
            let tensors: Vec<NewTensor> =
                tensors.into_iter().map(|(name, (dtype, shape))| NewTensor { name, dtype, shape: Shape(shape) }).collect();
            let bytes = file(&values, &tensors);
            let header = read(&bytes).unwrap();
            prop_assert_eq!(&header.values, &values);
            prop_assert_eq!(header.catalog.len(), tensors.len());
            let starts = layout(&values, &tensors).unwrap().starts;
            for (tensor, start) in tensors.iter().zip(starts) {
                let entry = header.catalog.get(&tensor.name).unwrap();
                prop_assert_eq!((entry.dtype, &entry.shape, entry.start), (tensor.dtype, &tensor.shape, start));
                prop_assert_eq!(start % ALIGNMENT, 0);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), length in any::<u64>()) {
            drop(parse(&bytes, length));
            drop(parse(&[&b"GGUF\x03\0\0\0"[..], &bytes].concat(), length));
        }

        #[test]
        fn a_damaged_file_is_read_or_refused(at in 0usize..400, byte in any::<u8>(), cut in 0usize..1200) {
            let mut bytes = plain();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            if let Ok(header) = read(&bytes) {
                prop_assert!(header.catalog.iter().all(|t| bytes.get(t.start as usize..t.end as usize).is_some()));
            }
        }
    }

    #[test]
    fn every_type_of_value_has_its_own_number() {
        assert_eq!(Kind::ALL.iter().map(|k| k.number()).collect::<Vec<_>>(), (0..13).collect::<Vec<_>>());
    }
}
