//! The hostile weight files of `tests/fixtures/hostile`: how each is built, and the words it is refused with.

use std::path::{Path, PathBuf};

use super::weights_file::raw;

/// An attack, or an accident.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// What is said of it after its path.
    pub(crate) message: &'static str,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile")
}

impl Hostile {
    pub(crate) fn path(&self) -> PathBuf {
        folder().join(format!("{}.safetensors", self.name))
    }
}

/// A length, and whatever follows it.
fn claiming(length: u64, rest: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], rest].concat()
}

fn tensor(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn of(tensors: &[(&str, String)], data: usize) -> Vec<u8> {
    let listed: Vec<String> = tensors.iter().map(|(name, tensor)| format!("\"{name}\":{tensor}")).collect();
    raw(&format!("{{{}}}", listed.join(",")), data)
}

/// Every one of them.
pub(crate) fn all() -> Vec<Hostile> {
    let file = |name, bytes, message| Hostile { name, bytes, message };
    let u8s = |begin: u64, end: u64| tensor("U8", &format!("[{}]", end - begin), begin, end);
    vec![
        file("zero-bytes", Vec::new(), "the file is empty"),
        file("three-bytes", b"\x10\0\0".to_vec(), "the file ends after 3 bytes, inside the 8 that give the header's length"),
        file("gigantic-header", claiming(u64::MAX, b"{}"), "the header claims 18446744073709551615 bytes; at most 100000000 are allowed"),
        file(
            "header-past-the-end",
            claiming(4096, br#"{"a":"#),
            "the header claims 4096 bytes but the file has only 5 after its length: it is truncated",
        ),
        file("header-no-json", claiming(9, br#"{"a":{"b""#), "the header is not valid: "),
        file("header-no-text", claiming(5, b"{\"\xff\"}"), "the header is not UTF-8 at byte 2"),
        file("header-no-object", claiming(2, b"[]"), "the header does not start with `{`"),
        file("header-too-deep", raw(r#"{"a":[[[[[[[[1]]]]]]]]}"#, 0), "the header nests deeper than 4 levels at byte 8"),
        file(
            "truncated",
            of(&[("a", tensor("F32", "[4,4]", 0, 64))], 40),
            "the tensors take 64 bytes but the file holds 40: it is truncated, 24 B are missing",
        ),
        file(
            "overlapping",
            of(&[("a", u8s(0, 4)), ("b", u8s(2, 6))], 6),
            "tensor `b` starts at 2, inside the tensor before it, which ends at 4",
        ),
        file("hole", of(&[("a", u8s(0, 4)), ("b", u8s(8, 12))], 12), "tensor `b` starts at 8 but the tensor before it ends at 4"),
        file("trailing-bytes", of(&[("a", u8s(0, 4))], 9), "5 bytes follow the last tensor and belong to nothing"),
        file("duplicate-key", of(&[("a", u8s(0, 4)), ("a", tensor("F32", "[1]", 0, 4))], 4), "tensor `a` is listed twice"),
        file("wrong-dtype", of(&[("a", tensor("F12", "[4]", 0, 6))], 6), "tensor `a` has the unknown type `F12`"),
        file("dtype-no-name", raw(r#"{"a":{"dtype":7,"shape":[4],"data_offsets":[0,4]}}"#, 4), "the header is not valid: "),
        file(
            "shape-too-large",
            of(&[("a", tensor("F32", "[4294967296,4294967296,4]", 0, 4))], 4),
            "tensor `a` of shape [4294967296, 4294967296, 4] is larger than any memory",
        ),
        file(
            "range-of-another-size",
            of(&[("a", tensor("F32", "[4]", 0, 8))], 8),
            "tensor `a` of shape [4] takes 16 bytes but its range 0..8 holds another number",
        ),
        file("range-backwards", of(&[("a", tensor("U8", "[4]", 4, 0))], 4), "tensor `a` of shape [4] takes 4 bytes but its range 4..0"),
        file("name-empty", of(&[("", u8s(0, 1))], 1), "a tensor's name is empty"),
        // A name that clears the screen and turns the direction of writing.
        file(
            "name-obeyed-by-terminals",
            of(&[(r"\u001b[2J\u202e", tensor("F12", "[4]", 0, 6))], 6),
            "tensor ` [2J ` has the unknown type `F12`",
        ),
        file("pickle-in-disguise", b"PK\x03\x04archive/data.pkl".to_vec(), "this is a pickle, which can run code when it is opened"),
        file("bare-pickle-in-disguise", b"\x80\x02}q\x00.".to_vec(), "this is a pickle, which can run code when it is opened"),
    ]
}
