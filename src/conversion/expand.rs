//! Tensors of a finished file as numbers, whatever they are stored as.

use std::ops::Range;

use super::ConversionError;
use super::chunk::Rows;
use crate::kernels;
use crate::library::MappedFile;
use crate::quant::QuantError;
use crate::quant::nf4::Nested;
use crate::quant::quant_state::FourBit;
use crate::quant::sdnq_reading::Singles;
use crate::weights::coded::Sdnq;
use crate::weights::{Code, DType, TensorEntry};

/// A stored tensor, and the files that it lies in.
#[derive(Debug, Clone, Copy)]
pub struct Expander<'a> {
    /// The tensor.
    pub entry: &'a TensorEntry,
    /// The files, by number.
    pub files: &'a [MappedFile],
}

impl Expander<'_> {
    fn code(&self) -> Option<&Code> {
        self.entry.coded.as_deref().map(|coded| &coded.code)
    }

    /// Returns the ranges of elements that can be read one by one.
    #[must_use]
    pub fn chunks(&self) -> Vec<Range<u64>> {
        match self.code() {
            // Rotations and factors of low rank need all of it.
            Some(Code::Sdnq(_)) => std::iter::once(0..self.entry.elements()).filter(|r| r.end > 0).collect(),
            _ => Rows::of(&self.entry.shape).chunks(),
        }
    }

    /// Reads these elements.
    pub fn read(&self, elements: &Range<u64>, out: &mut Vec<f32>) -> Result<(), ConversionError> {
        out.resize((elements.end - elements.start) as usize, 0.0);
        let file = &self.files[self.entry.file];
        let wrong = |source| ConversionError::Codec { path: file.path().to_owned(), tensor: self.entry.name.clone(), source };
        match self.code() {
            None | Some(Code::Part) => {
                let bytes = self.bytes(self.entry, self.entry.dtype, elements)?;
                kernels::widen(self.entry.dtype, &bytes, out).map_err(wrong)
            }
            Some(Code::Float8) => {
                let bytes = self.bytes(self.entry, self.entry.dtype, elements)?;
                kernels::widen(self.entry.dtype, &bytes, out).map_err(wrong)?;
                if let Some(scale) = self.singles(0)?.and_then(|s| s.first().copied()) {
                    for value in out.iter_mut() {
                        *value *= scale;
                    }
                }
                Ok(())
            }
            Some(Code::Blocks) => {
                let bytes = self.bytes(self.entry, self.entry.dtype, elements)?;
                kernels::ggml::dequantise(self.entry.dtype, &bytes, out).map_err(wrong)
            }
            Some(Code::Rows8) => {
                let bytes = self.bytes(self.entry, DType::I8, elements)?;
                let scales = self.singles(0)?.unwrap_or_default();
                let width = Rows::of(&self.entry.shape).width.max(1);
                let rows = (elements.start / width) as usize..(elements.end / width) as usize;
                let scales = scales.get(rows).unwrap_or_default();
                kernels::dequantise_int8(&bytes, scales, width as usize, out).map_err(wrong)
            }
            Some(Code::FourBit { fp4, block, nested }) => {
                let halves = elements.start / 2..elements.end.div_ceil(2);
                let bytes = self.bytes(self.entry, DType::U8, &halves)?;
                let absmax = self.absmax(*block, *nested)?;
                let scales = (elements.start / block) as usize..elements.end.div_ceil(*block) as usize;
                let own = self.singles(if nested.is_some() { 3 } else { 1 })?;
                let book = if *fp4 { FourBit::Fp4 } else { FourBit::Nf4 }.codebook_or(own.as_deref());
                kernels::dequantise_nf4(book, &bytes, absmax.get(scales).unwrap_or_default(), *block as usize, out).map_err(wrong)
            }
            Some(Code::Sdnq(sdnq)) => self.sdnq(sdnq, out),
        }
    }

    /// Returns the numbers that values are multiplied with, of those that are stored as numbers.
    pub fn scales(&self) -> Result<Vec<f32>, ConversionError> {
        match self.code() {
            None | Some(Code::Part | Code::Blocks) => Ok(Vec::new()),
            Some(Code::Float8 | Code::Rows8 | Code::Sdnq(_)) => Ok(self.singles(0)?.unwrap_or_default()),
            Some(Code::FourBit { block, nested, .. }) => self.absmax(*block, *nested),
        }
    }

    fn absmax(&self, block: u64, nested: Option<(u64, u32)>) -> Result<Vec<f32>, ConversionError> {
        let Some((group, offset)) = nested else { return Ok(self.singles(0)?.unwrap_or_default()) };
        let lacking = |field| self.wrong(QuantError::Missing { field });
        let beside = self.entry.coded.as_deref().map(|coded| coded.beside.as_slice()).unwrap_or_default();
        let codes = beside.first().ok_or_else(|| lacking("absmax"))?;
        let codes = self.bytes(codes, codes.dtype, &(0..codes.elements()))?;
        let (own, book) = (self.singles(1)?.unwrap_or_default(), self.singles(2)?.unwrap_or_default());
        let map: &[f32; 256] = book.as_slice().try_into().map_err(|_| lacking("nested_quant_map"))?;
        let mut absmax = vec![0.0; self.entry.elements().div_ceil(block) as usize];
        let nested = Nested { absmax: &codes, map, scales: &own, block: group as usize, offset: f32::from_bits(offset) };
        nested.widen(&mut absmax).map_err(|source| self.wrong(source))?;
        Ok(absmax)
    }

    fn sdnq(&self, sdnq: &Sdnq, out: &mut [f32]) -> Result<(), ConversionError> {
        let entries = self.entry.coded.as_deref().map(|coded| coded.beside.as_slice()).unwrap_or_default();
        let codes = self.bytes(self.entry, DType::U8, &(0..self.entry.bytes().get()))?;
        let singles = Singles::read(sdnq, |n| Ok::<_, ConversionError>(self.singles(n)?.unwrap_or_default()))?;
        let read = |width: u64, out: &mut [f32]| singles.stored(sdnq, entries, &codes)?.read(width as usize, out);
        read(Rows::of(&self.entry.shape).width, out).map_err(|source| self.wrong(source))
    }

    fn wrong(&self, source: QuantError) -> ConversionError {
        ConversionError::Codec { path: self.files[self.entry.file].path().to_owned(), tensor: self.entry.name.clone(), source }
    }

    /// Returns what belongs to the weight as number `n`, widened.
    fn singles(&self, n: usize) -> Result<Option<Vec<f32>>, ConversionError> {
        let Some(entry) = self.entry.coded.as_deref().and_then(|coded| coded.beside.get(n)) else { return Ok(None) };
        let bytes = self.bytes(entry, entry.dtype, &(0..entry.elements()))?;
        let mut values = vec![0.0; entry.elements() as usize];
        kernels::widen(entry.dtype, &bytes, &mut values).map_err(|source| self.wrong(source))?;
        Ok(Some(values))
    }

    /// Returns the bytes of elements of a tensor, counted in this type.
    fn bytes(&self, entry: &TensorEntry, dtype: DType, elements: &Range<u64>) -> Result<Vec<u8>, ConversionError> {
        let at = |n: u64| dtype.bytes_of(n).unwrap_or(0);
        let mut bytes = vec![0; (at(elements.end) - at(elements.start)) as usize];
        self.files[entry.file].read(entry.start + at(elements.start), &mut bytes)?;
        Ok(bytes)
    }
}
