//! The values of a GGUF header: their types, reading them from bytes that may lie, and writing them.
//!
//! Layout: `ggml/docs/gguf.md`. Lengths are compared with what the file still holds before anything is allocated.

use super::error::shown;
use super::gguf_error::GgufError;

macro_rules! kinds {
    ($($variant:ident $number:literal $size:literal $text:literal,)*) => {
        /// The type of a value, or of an array's elements.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each variant is its own name")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the number that stands for it in a file.
            #[must_use]
            pub fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// Returns the bytes of a value, or the least that one takes.
            #[must_use]
            pub fn size(self) -> u64 {
                match self { $(Self::$variant => $size,)* }
            }

            /// Returns what it is called in messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

kinds! {
    U8 0 1 "a u8",
    I8 1 1 "an i8",
    U16 2 2 "a u16",
    I16 3 2 "an i16",
    U32 4 4 "a u32",
    I32 5 4 "an i32",
    F32 6 4 "an f32",
    Bool 7 1 "a truth value",
    Text 8 8 "a text",
    Array 9 12 "an array",
    U64 10 8 "a u64",
    I64 11 8 "an i64",
    F64 12 8 "an f64",
}

/// A value as a header holds it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is its own name")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Text(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array, its elements as the file has them: a vocabulary has hundreds of thousands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// What its elements are; never arrays.
    pub of: Kind,
    /// How many there are.
    pub count: u64,
    bytes: Vec<u8>,
}

impl Array {
    /// Returns an array of these numbers.
    #[must_use]
    pub fn of_i32(numbers: &[i32]) -> Self {
        Self { of: Kind::I32, count: numbers.len() as u64, bytes: numbers.iter().flat_map(|n| n.to_le_bytes()).collect() }
    }

    /// Returns an array of these numbers.
    #[must_use]
    pub fn of_f32(numbers: &[f32]) -> Self {
        Self { of: Kind::F32, count: numbers.len() as u64, bytes: numbers.iter().flat_map(|n| n.to_le_bytes()).collect() }
    }

    /// Returns an array of these bytes.
    #[must_use]
    pub fn of_u8(bytes: &[u8]) -> Self {
        Self { of: Kind::U8, count: bytes.len() as u64, bytes: bytes.to_vec() }
    }

    /// Returns an array of these texts.
    #[must_use]
    pub fn of_texts(texts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for text in texts {
            write_text(text, &mut bytes);
        }
        Self { of: Kind::Text, count: texts.len() as u64, bytes }
    }

    /// Returns its elements where they are `i32`.
    #[must_use]
    pub fn i32s(&self) -> Option<Vec<i32>> {
        let (elements, _) = self.bytes.as_chunks();
        (self.of == Kind::I32).then(|| elements.iter().map(|b| i32::from_le_bytes(*b)).collect())
    }
}

impl Array {
    /// Returns its elements where they are `f32`.
    #[must_use]
    pub fn f32s(&self) -> Option<Vec<f32>> {
        let (elements, _) = self.bytes.as_chunks();
        (self.of == Kind::F32).then(|| elements.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    /// Returns its elements where they are single bytes, signed or not.
    #[must_use]
    pub fn octets(&self) -> Option<&[u8]> {
        matches!(self.of, Kind::U8 | Kind::I8).then_some(self.bytes.as_slice())
    }

    /// Returns its elements where they are texts; bytes that are no UTF-8 become marks of replacement.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        if self.of != Kind::Text {
            return None;
        }
        let mut rest = self.bytes.as_slice();
        let mut texts = Vec::new();
        // Lengths were checked when the array was read.
        while let Some((length, after)) = rest.split_first_chunk() {
            let (text, next) = after.split_at_checked(u64::from_le_bytes(*length) as usize)?;
            texts.push(String::from_utf8_lossy(text).into_owned());
            rest = next;
        }
        Some(texts)
    }
}

impl Value {
    /// Returns its elements, where it is an array.
    #[must_use]
    pub fn array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Returns its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::U8(_) => Kind::U8,
            Self::I8(_) => Kind::I8,
            Self::U16(_) => Kind::U16,
            Self::I16(_) => Kind::I16,
            Self::U32(_) => Kind::U32,
            Self::I32(_) => Kind::I32,
            Self::F32(_) => Kind::F32,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
            Self::Array(_) => Kind::Array,
            Self::U64(_) => Kind::U64,
            Self::I64(_) => Kind::I64,
            Self::F64(_) => Kind::F64,
        }
    }

    /// Returns what it is, in words.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Array(array) => format!("an array of which each element is {}", array.of.name()),
            other => other.kind().name().to_owned(),
        }
    }

    /// Returns a text, number or truth value as text; nothing for arrays.
    #[must_use]
    pub fn plain(&self) -> Option<String> {
        match self {
            Self::U8(v) => Some(v.to_string()),
            Self::I8(v) => Some(v.to_string()),
            Self::U16(v) => Some(v.to_string()),
            Self::I16(v) => Some(v.to_string()),
            Self::U32(v) => Some(v.to_string()),
            Self::I32(v) => Some(v.to_string()),
            Self::F32(v) => Some(v.to_string()),
            Self::Bool(v) => Some(v.to_string()),
            Self::Text(v) => Some(v.clone()),
            Self::Array(_) => None,
            Self::U64(v) => Some(v.to_string()),
            Self::I64(v) => Some(v.to_string()),
            Self::F64(v) => Some(v.to_string()),
        }
    }

    /// Appends its type and itself.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.kind().number().to_le_bytes());
        match self {
            Self::U8(v) => out.push(*v),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push(u8::from(*v)),
            Self::Text(v) => write_text(v, out),
            Self::Array(array) => {
                out.extend(array.of.number().to_le_bytes());
                out.extend(array.count.to_le_bytes());
                out.extend(&array.bytes);
            }
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
        }
    }

    /// Reads the value of `key`, its type first.
    pub(super) fn read(from: &mut Cursor<'_>, key: &str) -> Result<Self, GgufError> {
        Ok(match kind(from, key)? {
            Kind::U8 => Self::U8(u8::from_le_bytes(from.number("a value")?)),
            Kind::I8 => Self::I8(i8::from_le_bytes(from.number("a value")?)),
            Kind::U16 => Self::U16(u16::from_le_bytes(from.number("a value")?)),
            Kind::I16 => Self::I16(i16::from_le_bytes(from.number("a value")?)),
            Kind::U32 => Self::U32(from.u32("a value")?),
            Kind::I32 => Self::I32(i32::from_le_bytes(from.number("a value")?)),
            Kind::F32 => Self::F32(f32::from_le_bytes(from.number("a value")?)),
            Kind::Bool => Self::Bool(truth(from, key)?),
            Kind::Text => Self::Text(from.text("a value")?.to_owned()),
            Kind::Array => Self::Array(array(from, key)?),
            Kind::U64 => Self::U64(from.u64("a value")?),
            Kind::I64 => Self::I64(i64::from_le_bytes(from.number("a value")?)),
            Kind::F64 => Self::F64(f64::from_le_bytes(from.number("a value")?)),
        })
    }
}

fn kind(from: &mut Cursor<'_>, key: &str) -> Result<Kind, GgufError> {
    let number = from.u32("a value's type")?;
    let kind = Kind::ALL.iter().copied().find(|k| k.number() == number);
    kind.ok_or_else(|| GgufError::UnknownValueType { key: shown(key), number })
}

fn truth(from: &mut Cursor<'_>, key: &str) -> Result<bool, GgufError> {
    match from.number("a value")? {
        [0] => Ok(false),
        [1] => Ok(true),
        [byte] => Err(GgufError::BadBool { key: shown(key), byte }),
    }
}

fn array(from: &mut Cursor<'_>, key: &str) -> Result<Array, GgufError> {
    let of = kind(from, key)?;
    if of == Kind::Array {
        return Err(GgufError::NestedArray { key: shown(key) });
    }
    let count = from.u64("an array's length")?;
    let room = from.room();
    let least = count.checked_mul(of.size()).filter(|n| *n <= room);
    let Some(least) = least else {
        return Err(GgufError::ArrayTooLong { key: shown(key), count, room });
    };
    let begin = from.at;
    match of {
        Kind::Text => (0..count).try_for_each(|_| from.raw_text("an array's text").map(drop))?,
        Kind::Bool => (0..count).try_for_each(|_| truth(from, key).map(drop))?,
        _ => drop(from.take(least, "an array")?),
    }
    Ok(Array { of, count, bytes: from.bytes[begin..from.at].to_vec() })
}

/// Appends a text and its length in front.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Where reading has come in the first bytes of a file.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    file_length: u64,
    limit: u64,
}

impl<'a> Cursor<'a> {
    /// Returns a cursor at the start of a file of which `head` is known, at least its header.
    pub(super) fn new(head: &'a [u8], file_length: u64, limit: u64) -> Self {
        let known = head.len().min(usize::try_from(limit.min(file_length)).unwrap_or(usize::MAX));
        Self { bytes: &head[..known], at: 0, file_length, limit }
    }

    /// Returns how many bytes were read.
    pub(super) fn at(&self) -> u64 {
        self.at as u64
    }

    /// Returns how many bytes of the file are left.
    pub(super) fn room(&self) -> u64 {
        self.file_length.saturating_sub(self.at())
    }

    fn take(&mut self, length: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let piece = usize::try_from(length).ok().and_then(|n| self.bytes[self.at..].get(..n));
        let Some(piece) = piece else {
            let too_long = self.bytes.len() as u64 == self.limit && self.limit < self.file_length;
            let truncated = GgufError::Truncated { at: self.at(), what };
            return Err(if too_long { GgufError::HeaderTooLarge { limit: self.limit } } else { truncated });
        };
        self.at += piece.len();
        Ok(piece)
    }

    pub(super) fn number<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let at = self.at();
        self.take(N as u64, what)?.first_chunk().copied().ok_or(GgufError::Truncated { at, what })
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.number(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.number(what).map(u64::from_le_bytes)
    }

    fn raw_text(&mut self, what: &'static str) -> Result<&'a [u8], GgufError> {
        let length = self.u64(what)?;
        let room = self.room();
        if length > room {
            return Err(GgufError::TextTooLong { what, length, room });
        }
        self.take(length, what)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, GgufError> {
        let at = self.at();
        std::str::from_utf8(self.raw_text(what)?).map_err(|_| GgufError::NotUtf8 { what, at })
    }
}
