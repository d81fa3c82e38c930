//! Cuts a stored weight between its rows, without touching its bytes.
//!
//! Files of the original layouts store some matrices joined (query, key and value of an attention; a whole block's first
//! products); other files of the same models store them apart. Apart is what the networks here have: rows lie one after
//! another in every storage, so that a part of a joined matrix is a range of its bytes.

use std::ops::Range;

use super::{Code, Coded, Shape, TensorEntry};

/// As many numbers of SDNQ share words at most.
const SDNQ_PACK: u64 = 16;

impl TensorEntry {
    /// Returns these rows of the weight, under another name; nothing where they have no bytes of their own.
    #[must_use]
    pub fn rows(&self, name: impl Into<String>, rows: Range<u64>) -> Option<Self> {
        let all = self.shape.dim(0)?;
        let width = self.elements().checked_div(all)?;
        if rows.start > rows.end || rows.end > all {
            return None;
        }
        let elements = rows.start * width..rows.end * width;
        let coded = match &self.coded {
            None => None,
            Some(coded) => Some(Box::new(coded.of_elements(&elements, &rows, all)?)),
        };
        let bytes = |count: u64| match &self.coded {
            Some(coded) if matches!(coded.code, Code::FourBit { .. }) => count.is_multiple_of(2).then_some(count / 2),
            // Rows of whole packs, each of as many bytes.
            Some(coded) if matches!(coded.code, Code::Sdnq(_)) => {
                let row = self.bytes().get() / all;
                (width.is_multiple_of(SDNQ_PACK) && row * all == self.bytes().get()).then_some(count / width * row)
            }
            Some(_) | None => self.dtype.bytes_of(count),
        };
        let end = if rows.end == all { self.end } else { self.start + bytes(elements.end)? };
        let mut shape = self.shape.clone();
        *shape.0.first_mut()? = rows.end - rows.start;
        Some(Self { name: name.into(), shape, start: self.start + bytes(elements.start)?, end, coded, ..self.clone() })
    }

    /// Returns a stretch of a plain tensor's numbers as one without rows.
    fn stretch(&self, elements: Range<u64>) -> Option<Self> {
        if elements.end > self.elements() {
            return None;
        }
        let at = |count| Some(self.start + self.dtype.bytes_of(count)?);
        let shape = Shape::from([elements.end - elements.start]);
        Some(Self { start: at(elements.start)?, end: at(elements.end)?, shape, ..self.clone() })
    }
}

impl Coded {
    fn of_elements(&self, elements: &Range<u64>, rows: &Range<u64>, all: u64) -> Option<Self> {
        let mut beside = self.beside.clone();
        match &self.code {
            // What belongs to them is of the whole weight.
            Code::Part | Code::Float8 | Code::Blocks => {}
            Code::Rows8 => {
                let scales = beside.first_mut()?;
                *scales = scales.stretch(rows.clone())?;
            }
            Code::FourBit { block, nested, .. } => {
                let blocks = whole(elements, *block)?;
                let absmax = beside.first_mut()?;
                *absmax = absmax.stretch(blocks.clone())?;
                if let Some((together, _)) = nested {
                    let scales = beside.get_mut(1)?;
                    *scales = scales.stretch(whole(&blocks, *together)?)?;
                }
            }
            Code::Sdnq(sdnq) => {
                // Levels of a codebook, and factors that may be stored with their extents exchanged, are not told apart by rows.
                if sdnq.codebook || sdnq.low_rank == Some(true) {
                    return None;
                }
                // The second factor is of the whole weight.
                let own = beside.len() - usize::from(sdnq.low_rank.is_some());
                for part in &mut beside[..own] {
                    *part = Some(&*part).filter(|part| part.shape.dim(0) == Some(all))?.rows(part.name.clone(), rows.clone())?;
                }
            }
        }
        Some(Self { code: self.code.clone(), beside })
    }
}

/// Returns which units of this size a range covers; it must begin with one, and the last may be short.
fn whole(range: &Range<u64>, unit: u64) -> Option<Range<u64>> {
    (unit > 0 && range.start.is_multiple_of(unit)).then(|| range.start / unit..range.end.div_ceil(unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::DType;
    use crate::weights::coded::{Era, Sdnq};

    fn plain(name: &str, dtype: DType, shape: impl Into<Shape>, start: u64) -> TensorEntry {
        let shape = shape.into();
        let end = start + dtype.bytes_of(shape.elements().unwrap()).unwrap();
        TensorEntry { name: name.to_owned(), dtype, shape, file: 3, start, end, coded: None }
    }

    fn range(entry: &TensorEntry) -> (u64, u64) {
        (entry.start, entry.end)
    }

    #[test]
    fn rows_of_floats_are_a_range_of_their_bytes() {
        let joined = plain("qkv", DType::F16, [6, 5], 100);
        let key = joined.rows("k", 2..4).unwrap();
        assert_eq!((range(&key), key.name.as_str(), key.file, key.shape), ((120, 140), "k", 3, [2, 5].into()));
        let bias = plain("b", DType::F32, [6], 0).rows("bk", 2..4).unwrap();
        assert_eq!((range(&bias), bias.shape), ((8, 16), [2].into()));
        assert_eq!(joined.rows("v", 4..7), None);
    }

    #[test]
    fn rows_of_blocks_are_whole_blocks() {
        let mut joined = plain("qkv", DType::Q8_0, [6, 64], 0);
        joined.coded = Coded::alone(Code::Blocks);
        let value = joined.rows("v", 4..6).unwrap();
        assert_eq!(range(&value), (4 * 68, 6 * 68));
        let mut narrow = plain("qkv", DType::Q8_0, [6, 16], 0);
        narrow.coded = Coded::alone(Code::Blocks);
        assert_eq!(narrow.rows("k", 1..4), None, "a block holds rows of two parts");
    }

    #[test]
    fn what_belongs_to_rows_goes_with_them() {
        let scales = plain("SCB", DType::F32, [6], 1000);
        let mut rows8 = plain("qkv", DType::I8, [6, 5], 0);
        rows8.coded = Some(Box::new(Coded { code: Code::Rows8, beside: vec![scales] }));
        let key = rows8.rows("k", 2..4).unwrap();
        assert_eq!((range(&key), range(&key.coded.unwrap().beside[0])), ((10, 20), (1008, 1016)));

        let beside = vec![plain("absmax", DType::U8, [12], 0), plain("nested", DType::F32, [3], 50), plain("map", DType::F32, [256], 100)];
        let code = Code::FourBit { fp4: false, block: 64, nested: Some((4, 0)) };
        let mut four = plain("qkv", DType::U8, [384], 2000);
        four.shape = [6, 128].into();
        four.coded = Some(Box::new(Coded { code, beside }));
        let key = four.rows("k", 2..4).unwrap();
        assert_eq!(range(&key), (2000 + 128, 2000 + 256));
        let coded = key.coded.unwrap();
        assert_eq!((range(&coded.beside[0]), range(&coded.beside[1]), range(&coded.beside[2])), ((4, 8), (54, 58), (100, 1124)));
        assert_eq!(four.rows("k", 1..4), None, "scales of scales are shared between rows of two parts");
    }

    #[test]
    fn rows_of_sdnq_are_told_by_their_scales() {
        let sdnq = |codebook, low_rank| {
            Code::Sdnq(Sdnq { kind: "uint4".to_owned(), era: Era::Subnormals, codebook, has_zero_point: true, low_rank, rotated: None })
        };
        let part = |name: &str, shape: &[u64], start| TensorEntry {
            coded: Coded::alone(Code::Part),
            ..plain(name, DType::F32, Shape(shape.to_vec()), start)
        };
        let packed = |code, beside: Vec<TensorEntry>| {
            let mut entry = plain("qkv", DType::U8, [96], 0);
            entry.shape = [6, 32].into();
            entry.coded = Some(Box::new(Coded { code, beside }));
            entry
        };
        let groups = || vec![part("scale", &[6, 2, 1], 100), part("zero_point", &[6, 2, 1], 200)];
        let key = packed(sdnq(false, None), groups()).rows("k", 2..4).unwrap();
        let coded = key.coded.as_deref().unwrap();
        assert_eq!((range(&key), range(&coded.beside[0]), range(&coded.beside[1])), ((32, 64), (116, 132), (216, 232)));
        assert_eq!(coded.beside[0].shape, [2, 2, 1].into());

        let factors = [groups(), vec![part("svd_up", &[6, 3], 300), part("svd_down", &[3, 32], 400)]].concat();
        let key = packed(sdnq(false, Some(false)), factors.clone()).rows("k", 2..4).unwrap();
        let beside = key.coded.unwrap().beside;
        assert_eq!((range(&beside[2]), beside[2].shape.clone(), range(&beside[3])), ((324, 348), [2, 3].into(), (400, 784)));

        let exchanged = vec![part("scale", &[1, 6], 100), part("zero_point", &[1, 6], 200)];
        for (code, beside) in [(sdnq(false, None), exchanged), (sdnq(true, None), groups()), (sdnq(false, Some(true)), factors)] {
            assert_eq!(packed(code, beside).rows("k", 2..4), None);
        }
        let mut narrow = packed(sdnq(false, None), groups());
        narrow.shape = [6, 24].into();
        assert_eq!(narrow.rows("k", 2..4), None, "packs may hold numbers of two rows");
    }
}
