//! A tensor of the source as numbers.

use std::ops::Range;

use crate::kernels;
use crate::library::{LibraryError, MappedFile};
use crate::quant::QuantError;
use crate::weights::{DType, Shape, TensorEntry};

/// Where a tensor's bytes lie, and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Feed {
    /// Its name in the source.
    pub name: String,
    /// The file, by its number.
    pub file: usize,
    /// Its first byte there.
    pub start: u64,
    /// Its type.
    pub dtype: DType,
    /// Its extents.
    pub shape: Shape,
    /// What its numbers are multiplied with, where the file says so.
    pub scale: Option<f32>,
}

impl Feed {
    /// Returns the feed of an entry.
    #[must_use]
    pub fn of(entry: &TensorEntry, scale: Option<f32>) -> Self {
        let TensorEntry { name, dtype, shape, file, start, .. } = entry.clone();
        Self { name, file, start, dtype, shape, scale }
    }

    /// Returns how many bytes these elements take; they are whole blocks.
    #[must_use]
    pub fn bytes_of(&self, elements: &Range<u64>) -> u64 {
        self.dtype.bytes_of(elements.end - elements.start).unwrap_or(0)
    }

    /// Returns the bytes of these elements in the mapped file.
    #[must_use]
    pub fn slice<'a>(&self, file: &'a [u8], elements: &Range<u64>) -> &'a [u8] {
        let start = (self.start + self.bytes_of(&(0..elements.start))) as usize;
        file.get(start..start + self.bytes_of(elements) as usize).unwrap_or_default()
    }

    /// Reads the bytes of these elements from its file.
    pub fn read(&self, file: &MappedFile, elements: &Range<u64>, into: &mut Vec<u8>) -> Result<(), LibraryError> {
        into.resize(self.bytes_of(elements) as usize, 0);
        file.read(self.start + self.bytes_of(&(0..elements.start)), into)
    }

    /// Has these elements' bytes on their way into the page cache, where they are not there yet.
    pub fn will_need(&self, file: &MappedFile, elements: &Range<u64>) {
        file.will_need(self.start + self.bytes_of(&(0..elements.start)), self.bytes_of(elements));
    }

    /// Reads numbers.
    pub fn widen(&self, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
        if DType::GGML.contains(&self.dtype) {
            return kernels::ggml::dequantise(self.dtype, bytes, out);
        }
        kernels::widen(self.dtype, bytes, out)?;
        if let Some(scale) = self.scale {
            for value in out {
                *value *= scale;
            }
        }
        Ok(())
    }

    /// Returns the type that counts as the tensor's own: what was stored in few bits is as good as halves.
    #[must_use]
    pub fn plain(&self) -> DType {
        if matches!(self.dtype, DType::F32 | DType::Bf16 | DType::F16) && self.scale.is_none() { self.dtype } else { DType::F16 }
    }

    /// Returns what tells this tensor from others, but for its bytes.
    #[must_use]
    pub fn identity(&self) -> String {
        let scale = self.scale.map_or(0, f32::to_bits);
        format!("{} {} {} {scale:08x}\n", self.name, self.dtype, self.shape)
    }
}
