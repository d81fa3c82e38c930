//! The safetensors header: `u64 length | JSON | data`.
//!
//! Stricter than the reference library (`safetensors/src/tensor.rs`), which lets the last of two
//! equal names win: here every name is listed once, the ranges tile the data without hole or
//! overlap, and the file ends with its last tensor.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::FormatError;
use super::error::shown;
use crate::weights::{Catalog, DType, Shape, TensorEntry};

/// Bytes in front of the header that give its length.
pub const PREFIX: usize = 8;
/// The longest header accepted, as in the reference library.
pub const HEADER_LIMIT: u64 = 100_000_000;
const TENSOR_LIMIT: usize = 1_000_000;
const RANK_LIMIT: usize = 16;
const NAME_LIMIT: usize = 1024;
const DEPTH_LIMIT: usize = 4;

/// Returns the header's length from the first bytes of a file of `file_length` bytes.
pub fn header_length(head: &[u8], file_length: u64) -> Result<usize, FormatError> {
    if file_length == 0 {
        return Err(FormatError::Empty);
    }
    let Some(prefix) = head.first_chunk::<PREFIX>() else {
        return Err(FormatError::TooShort { found: file_length });
    };
    let claimed = u64::from_le_bytes(*prefix);
    if claimed > HEADER_LIMIT {
        return Err(FormatError::HeaderTooLarge { claimed, limit: HEADER_LIMIT });
    }
    let available = file_length.saturating_sub(PREFIX as u64);
    if claimed > available {
        return Err(FormatError::HeaderTruncated { claimed, available });
    }
    usize::try_from(claimed).map_err(|_| FormatError::HeaderTooLarge { claimed, limit: HEADER_LIMIT })
}

/// Returns the catalog of a file of `file_length` bytes whose header is `header`.
pub fn parse(header: &[u8], file_length: u64) -> Result<Catalog, FormatError> {
    if header.first() != Some(&b'{') {
        return Err(FormatError::NotAnObject);
    }
    let text = std::str::from_utf8(header).map_err(|e| FormatError::NotUtf8 { at: e.valid_up_to() })?;
    check_depth(text)?;
    let raw: RawHeader = serde_json::from_str(text).map_err(|e| FormatError::Json { reason: shown(&e.to_string()) })?;
    if let Some(problem) = raw.problem {
        return Err(problem);
    }
    let data_start = PREFIX as u64 + header.len() as u64;
    let data_length = file_length.saturating_sub(data_start);
    let mut entries = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        entries.push(entry_of(name, tensor)?);
    }
    check_tiling(&mut entries, data_length)?;
    for entry in &mut entries {
        entry.start += data_start;
        entry.end += data_start;
    }
    Ok(Catalog::new(entries, raw.metadata))
}

/// Refuses deep nesting before the JSON parser sees it; strings may hold any brackets.
fn check_depth(text: &str) -> Result<(), FormatError> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_LIMIT {
                    return Err(FormatError::TooDeep { at, limit: DEPTH_LIMIT });
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Returns where the quote is that ends a string, or a place behind the text where none does.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at;
        }
        // A backslash and what it escapes.
        at += 2;
    }
    bytes.len()
}

fn entry_of(name: String, raw: RawTensor<'_>) -> Result<TensorEntry, FormatError> {
    let Some(dtype) = DType::from_name(&raw.dtype) else {
        return Err(FormatError::UnknownDtype { tensor: name, dtype: shown(&raw.dtype) });
    };
    if raw.shape.len() > RANK_LIMIT {
        return Err(FormatError::RankTooHigh { tensor: name, rank: raw.shape.len(), limit: RANK_LIMIT });
    }
    let shape = Shape(raw.shape);
    let (together, _) = dtype.block();
    let Some(elements) = shape.elements() else {
        return Err(FormatError::ShapeOverflow { tensor: name, shape });
    };
    if !elements.is_multiple_of(together) {
        return Err(FormatError::NotWholeBytes { tensor: name, shape });
    }
    let Some(expected) = dtype.bytes_of(elements) else {
        return Err(FormatError::ShapeOverflow { tensor: name, shape });
    };
    let [begin, end] = raw.data_offsets;
    if end.checked_sub(begin) != Some(expected) {
        return Err(FormatError::SizeMismatch { tensor: name, shape, expected, begin, end });
    }
    Ok(TensorEntry { name, dtype, shape, file: 0, start: begin, end, coded: None })
}

/// Checks that the ranges, sorted, cover `0..length` exactly once.
fn check_tiling(entries: &mut [TensorEntry], length: u64) -> Result<(), FormatError> {
    entries.sort_by_key(|e| (e.start, e.end));
    let mut previous_end = 0;
    for entry in entries.iter() {
        let (tensor, begin) = (&entry.name, entry.start);
        if begin < previous_end {
            return Err(FormatError::Overlap { tensor: tensor.clone(), begin, previous_end });
        }
        if begin > previous_end {
            return Err(FormatError::Hole { tensor: tensor.clone(), begin, previous_end });
        }
        previous_end = entry.end;
    }
    if previous_end > length {
        return Err(FormatError::DataTruncated { expected: previous_end, found: length });
    }
    if previous_end < length {
        return Err(FormatError::TrailingBytes { extra: length - previous_end });
    }
    Ok(())
}

/// A name, which is a piece of the header wherever nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct RawTensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header as written. A problem that is ours rather than JSON's is carried out of serde here.
struct RawHeader<'a> {
    tensors: Vec<(String, RawTensor<'a>)>,
    metadata: BTreeMap<String, String>,
    problem: Option<FormatError>,
}

impl<'de> Deserialize<'de> for RawHeader<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader<'de>, A::Error> {
        let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new(), problem: None };
        let mut seen = HashSet::new();
        while let Some(Name(name)) = map.next_key()? {
            let is_new = seen.insert(name.clone());
            let problem = name_problem(&name, is_new, header.tensors.len());
            if name == "__metadata__" {
                header.metadata = map.next_value()?;
            } else {
                header.tensors.push((name.into_owned(), map.next_value()?));
            }
            header.problem = header.problem.or(problem);
            if header.problem.is_some() {
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(header)
    }
}

fn name_problem(name: &str, is_new: bool, count: usize) -> Option<FormatError> {
    if !is_new {
        return Some(FormatError::Duplicate { tensor: name.to_owned() });
    }
    if count >= TENSOR_LIMIT {
        return Some(FormatError::TooManyTensors { limit: TENSOR_LIMIT });
    }
    let problem = match name {
        "" => "empty",
        n if n.len() > NAME_LIMIT => "longer than 1024 bytes",
        n if n.contains('\0') => "spelt with a NUL byte",
        _ => return None,
    };
    Some(FormatError::BadName { problem })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Bytes;

    /// Parses a file made of `json` and `data` bytes of zeros.
    fn read(json: &str, data: u64) -> Result<Catalog, FormatError> {
        parse(json.as_bytes(), PREFIX as u64 + json.len() as u64 + data)
    }

    fn rejects(json: &str, data: u64, expected: &str) {
        match read(json, data) {
            Ok(_) => panic!("accepted {json}"),
            Err(e) => assert_eq!(e.to_string(), expected, "{json}"),
        }
    }

    #[test]
    fn reads_a_plain_file() {
        let json = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"mark":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[16,16]}}  "#;
        let catalog = read(json, 16).unwrap();
        assert_eq!(catalog.len(), 3);
        assert_eq!(catalog.metadata().get("format").map(String::as_str), Some("pt"));
        let b = catalog.get("b").unwrap();
        assert_eq!((b.dtype, b.bytes()), (DType::F16, Bytes(12)));
        assert_eq!(b.start, PREFIX as u64 + json.len() as u64 + 4);
        assert_eq!(catalog.get("mark").map(TensorEntry::elements), Some(0));
    }

    #[test]
    fn header_length_is_checked_before_anything_is_read() {
        assert_eq!(header_length(&[], 0), Err(FormatError::Empty));
        assert_eq!(header_length(&[1, 0, 0], 3), Err(FormatError::TooShort { found: 3 }));
        assert_eq!(header_length(&u64::MAX.to_le_bytes(), 50), Err(FormatError::HeaderTooLarge { claimed: u64::MAX, limit: HEADER_LIMIT }));
        assert_eq!(header_length(&60u64.to_le_bytes(), 50), Err(FormatError::HeaderTruncated { claimed: 60, available: 42 }));
        assert_eq!(header_length(&42u64.to_le_bytes(), 50), Ok(42));
    }

    #[test]
    fn truncated_data() {
        rejects(
            r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
            12,
            "the tensors take 16 bytes but the file holds 12: it is truncated, 4 B are missing",
        );
    }

    #[test]
    fn trailing_bytes() {
        rejects(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#, 5, "1 bytes follow the last tensor and belong to nothing");
    }

    #[test]
    fn overlapping_tensors() {
        rejects(
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
            6,
            "tensor `b` starts at 2, inside the tensor before it, which ends at 4",
        );
    }

    #[test]
    fn a_hole_between_tensors() {
        rejects(
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}"#,
            6,
            "tensor `b` starts at 5 but the tensor before it ends at 4: the bytes between belong to nothing",
        );
    }

    #[test]
    fn duplicate_keys_even_with_another_type() {
        rejects(
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
            4,
            "tensor `a` is listed twice",
        );
        rejects(r#"{"__metadata__":{},"__metadata__":{}}"#, 0, "tensor `__metadata__` is listed twice");
    }

    #[test]
    fn wrong_types_and_shapes() {
        rejects(r#"{"a":{"dtype":"F8","shape":[4],"data_offsets":[0,4]}}"#, 4, "tensor `a` has the unknown type `F8`");
        rejects(
            r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}"#,
            4,
            "tensor `a` of shape [4] takes 16 bytes but its range 0..4 holds another number",
        );
        rejects(
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}"#,
            4,
            "tensor `a` of shape [4] takes 4 bytes but its range 4..0 holds another number",
        );
        rejects(r#"{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#, 2, "tensor `a` of shape [3] does not fill whole bytes");
        rejects(
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#,
            4,
            "tensor `a` of shape [4294967296, 4294967296] is larger than any memory",
        );
        let deep = format!(r#"{{"a":{{"dtype":"U8","shape":[{}1],"data_offsets":[0,1]}}}}"#, "1,".repeat(16));
        rejects(&deep, 1, "tensor `a` has 17 dimensions; at most 16 are allowed");
    }

    #[test]
    fn names_that_are_no_names() {
        rejects(r#"{"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, "a tensor's name is empty");
        rejects(r#"{"a\u0000":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, "a tensor's name is spelt with a NUL byte");
        let long = format!(r#"{{"{}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#, "n".repeat(1025));
        rejects(&long, 1, "a tensor's name is longer than 1024 bytes");
    }

    #[test]
    fn headers_that_are_no_headers() {
        rejects(" {}", 0, "the header does not start with `{`: this is not a safetensors file");
        rejects("[]", 0, "the header does not start with `{`: this is not a safetensors file");
        rejects(r#"{"a":[[[[1]]]]}"#, 0, "the header nests deeper than 4 levels at byte 8");
        assert!(matches!(read(r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#, 1), Err(FormatError::Json { .. })));
        assert!(matches!(read(r#"{"__metadata__":{"a":1}}"#, 0), Err(FormatError::Json { .. })));
        assert!(matches!(read("{} x", 0), Err(FormatError::Json { .. })));
        assert_eq!(parse(b"{\"a\xff\"}", 13), Err(FormatError::NotUtf8 { at: 3 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), length in any::<u64>()) {
            drop(header_length(&bytes, length));
            drop(parse(&bytes, length));
        }

        #[test]
        fn any_json_like_header_is_read_or_refused(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"a\"", "\"dtype\"", "\"F32\"", "\"shape\"", "\"data_offsets\"", "0", "4",
                "18446744073709551615", "-1", "1e99", "\"__metadata__\"", "null", "\"\\\"{\"",
            ]), 0..60),
            data in 0u64..64,
        ) {
            drop(read(&parts.concat(), data));
        }

        #[test]
        fn what_the_reference_library_writes_is_read_alike(
            lengths in prop::collection::vec(0usize..9, 0..12),
        ) {
            let buffers: Vec<(String, Vec<u8>)> =
                lengths.iter().enumerate().map(|(i, n)| (format!("layer.{i}"), vec![i as u8; n * 2])).collect();
            let views = buffers.iter().map(|(name, b)| {
                (name.clone(), ::safetensors::tensor::TensorView::new(::safetensors::Dtype::F16, vec![b.len() / 2], b).unwrap())
            });
            let file = ::safetensors::serialize(views, None).unwrap();
            let n = header_length(&file, file.len() as u64).unwrap();
            let catalog = parse(&file[PREFIX..PREFIX + n], file.len() as u64).unwrap();
            prop_assert_eq!(catalog.len(), buffers.len());
            for (name, bytes) in &buffers {
                let entry = catalog.get(name).unwrap();
                prop_assert_eq!(&file[entry.start as usize..entry.end as usize], bytes.as_slice());
            }
        }
    }
}
