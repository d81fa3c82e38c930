//! Tensors of a result as they are made of tensors of the source: most of one, some of several whose rows lie one after another.

use std::ops::Range;

use super::ConversionError;
use super::feed::Feed;
use crate::library::MappedFile;
use crate::quant::QuantError;
use crate::weights::{DType, Shape};

/// A tensor of the result, and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Its name in the result.
    pub name: String,
    /// The tensors whose rows it holds, one after another; all have rows of one width.
    pub parts: Vec<Feed>,
}

impl Whole {
    /// Returns a tensor that is made of this one alone, under its name.
    #[must_use]
    pub fn alone(feed: Feed) -> Self {
        Self { name: feed.name.clone(), parts: vec![feed] }
    }

    /// Returns its extents: the rows of all parts.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let mut shape = self.parts.first().map(|part| part.shape.clone()).unwrap_or_default();
        if let (true, Some(rows)) = (self.parts.len() > 1, shape.0.first_mut()) {
            *rows = self.parts.iter().filter_map(|part| part.shape.dim(0)).sum();
        }
        shape
    }

    /// Returns the type that counts as its own, the widest of its parts': what was stored in few bits is as good as halves.
    #[must_use]
    pub fn dtype(&self) -> DType {
        let own: Vec<DType> = self.parts.iter().map(Feed::plain).collect();
        [DType::F32, DType::Bf16].into_iter().find(|dtype| own.contains(dtype)).unwrap_or(DType::F16)
    }

    /// Reads these elements as numbers; they are whole blocks of each part.
    pub fn read(&self, files: &[MappedFile], elements: &Range<u64>, out: &mut Vec<f32>) -> Result<(), ConversionError> {
        out.resize((elements.end - elements.start) as usize, 0.0);
        let (mut begin, mut filled, mut bytes) = (0, 0, Vec::new());
        for part in &self.parts {
            let end = begin + part.shape.elements().unwrap_or(0);
            let (from, to) = (elements.start.max(begin), elements.end.min(end));
            if from < to {
                let file = &files[part.file];
                part.read(file, &(from - begin..to - begin), &mut bytes)?;
                let next = filled + (to - from) as usize;
                let wrong = |source: QuantError| ConversionError::Codec { path: file.path().to_owned(), tensor: part.name.clone(), source };
                part.widen(&bytes, &mut out[filled..next]).map_err(wrong)?;
                filled = next;
            }
            begin = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, start: u64, rows: u64, dtype: DType, scale: Option<f32>) -> Feed {
        Feed { name: name.to_owned(), file: 0, start, dtype, shape: [rows, 2].into(), scale }
    }

    #[test]
    fn parts_are_read_one_after_another_each_as_it_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let values = |numbers: &[f32]| numbers.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let halves = [1.0, 2.0].map(|v| half::f16::from_f32(v).to_le_bytes()).concat();
        std::fs::write(&path, [halves, values(&[3.0, 4.0, 5.0, 6.0])].concat()).unwrap();
        let files = [MappedFile::open(&path).unwrap()];
        let parts = vec![part("b", 4, 2, DType::F32, None), part("a", 0, 1, DType::F16, Some(10.0))];
        let whole = Whole { name: "w".to_owned(), parts };
        assert_eq!((whole.shape(), whole.dtype()), ([3, 2].into(), DType::F32));
        let read = |elements: Range<u64>| {
            let mut out = Vec::new();
            whole.read(&files, &elements, &mut out).unwrap();
            out
        };
        assert_eq!(read(0..6), [3.0, 4.0, 5.0, 6.0, 10.0, 20.0]);
        assert_eq!(read(2..6), [5.0, 6.0, 10.0, 20.0]);
        assert_eq!(read(4..5), [10.0]);
    }
}
