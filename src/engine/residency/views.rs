//! Tensors over staging memory. Making one takes several microseconds on a GPU, where its address is looked up, and a step
//! goes over hundreds of them; so those of a block are kept for each of the places where it has lain. The places repeat: the
//! ring begins again with each turn, and which blocks lie behind its begin depends on the first of them only.

#![expect(unsafe_code, reason = "tensors over staging memory; the note says how long they are valid")]

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use super::packed;
use crate::engine::device::kind;
use crate::engine::loading::LoadError;
use crate::engine::loading::vault::{extents, is_as_wanted, size_as, stored, wanted};
use crate::units::BlockIndex;
use crate::weights::{Block, Param, Precision};

/// How many places of a block are remembered.
const PLACES: usize = 32;

/// The weights of streamed blocks where they lie in staging memory.
#[derive(Debug)]
pub struct Views {
    precision: Precision,
    device: Device,
    /// For the block in use, where it is computed with in another precision than it is stored in.
    scratch: Option<Tensor>,
    /// The place used last is the last.
    known: BTreeMap<BlockIndex, Vec<View>>,
    /// What was lent last, whole: the scratch is that block's.
    lent: Option<(BlockIndex, Rc<[Tensor]>)>,
}

/// A block's weights at one place.
#[derive(Debug)]
struct View {
    places: Vec<*const u8>,
    /// In the order of the block's parameters.
    weights: Rc<[Tensor]>,
    /// Weights as they are stored, by number: they are turned into what is computed with each time.
    stored: Vec<(usize, Tensor)>,
}

impl Views {
    /// Returns those of a component that is computed with in this precision.
    #[must_use]
    pub fn new(precision: Precision, device: Device, scratch: Option<Tensor>) -> Self {
        Self { precision, device, scratch, known: BTreeMap::new(), lent: None }
    }

    /// Returns the memory of the device that blocks are expanded in, in bytes.
    #[must_use]
    pub fn scratch(&self) -> u64 {
        self.scratch.as_ref().map_or(0, |s| s.numel() as u64)
    }

    /// Returns what was lent last, where it was this block: it is still good where the block has not left its place since.
    #[must_use]
    pub fn lent(&self, index: BlockIndex) -> Option<Rc<[Tensor]>> {
        self.lent.as_ref().filter(|(lent, _)| *lent == index).map(|(_, weights)| Rc::clone(weights))
    }

    /// Returns the weights of a block whose parameters lie at these addresses of the device, for work that is given to it
    /// from now on.
    pub fn lend(&mut self, index: BlockIndex, block: &Block, places: Vec<*const u8>) -> Result<Rc<[Tensor]>, LoadError> {
        self.lent = None;
        let known = self.known.entry(index).or_default();
        let at = known.iter().position(|view| view.places == places);
        let view = match at {
            Some(at) => known.remove(at),
            None => self.over(block, places)?,
        };
        for (n, source) in &view.stored {
            view.weights[*n].shallow_clone().f_copy_(source)?;
        }
        let (weights, known) = (Rc::clone(&view.weights), self.known.entry(index).or_default());
        if known.len() == PLACES {
            known.remove(0);
        }
        known.push(view);
        self.lent = Some((index, Rc::clone(&weights)));
        Ok(weights)
    }

    fn over(&self, block: &Block, places: Vec<*const u8>) -> Result<View, LoadError> {
        let (computed, mut used, mut apart) = (kind(self.precision), 0, Vec::new());
        let weight = |(n, (param, place)): (usize, (&Param, &*const u8))| {
            let (stored, wanted) = (stored(&param.entry)?, wanted(&param.entry, computed));
            // SAFETY: the bytes are in the block's place on this device, as many as shape and type take, which the parser has
            // checked. They are read only between the block's arrival there and the next block's; `Residency` sees to it that
            // no tensor of a block is lent longer, and the carrier that work on the device is done with them.
            let source = unsafe { Tensor::f_from_blob(*place, &extents(&param.entry), &[], stored, self.device) }?;
            if is_as_wanted(*place, stored, wanted) {
                return Ok(source);
            }
            let size = size_as(&param.entry, wanted);
            let target = self.part_of_scratch(used, size, wanted)?.f_view(param.entry.shape.as_i64().as_slice())?;
            used += size.next_multiple_of(packed::ALIGNMENT);
            apart.push((n, source));
            Ok(target)
        };
        let weights = block.params.iter().zip(&places).enumerate().map(weight).collect::<Result<Vec<_>, LoadError>>()?;
        Ok(View { places, weights: weights.into(), stored: apart })
    }

    fn part_of_scratch(&self, start: usize, size: usize, kind: Kind) -> Result<Tensor, TchError> {
        let scratch = self.scratch.as_ref().ok_or_else(|| TchError::Kind("there is no scratch to expand weights in".to_owned()))?;
        let (start, size) = (i64::try_from(start).unwrap_or(i64::MAX), i64::try_from(size).unwrap_or(i64::MAX));
        scratch.f_narrow(0, start, size)?.f_view_dtype(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DType, Shape, TensorEntry};

    fn block(dtype: DType) -> Block {
        let entry = TensorEntry { name: "w".to_owned(), dtype, shape: Shape::from([4]), file: 0, start: 0, end: 16, coded: None };
        Block { name: "b".to_owned(), params: vec![Param { name: "w".to_owned(), entry }], pinned: false }
    }

    fn told(weights: &[Tensor]) -> Vec<f32> {
        Vec::try_from(&weights[0].to_kind(Kind::Float)).unwrap()
    }

    #[test]
    fn a_place_that_repeats_has_the_same_tensors_and_shows_what_lies_there_now() {
        let (mut ring, block) = ([1f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], block(DType::F32));
        let mut views = Views::new(Precision::Fp32, Device::Cpu, None);
        let base = ring.as_mut_ptr();
        let (one, other) = (base.cast_const().cast::<u8>(), base.wrapping_add(4).cast_const().cast::<u8>());
        let first = views.lend(BlockIndex(0), &block, vec![one]).unwrap();
        assert_eq!(told(&first), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(told(&views.lend(BlockIndex(0), &block, vec![other]).unwrap()), [5.0, 6.0, 7.0, 8.0]);
        // SAFETY: the array outlives the write, and nobody else holds it.
        unsafe { base.write(9.0) };
        let again = views.lend(BlockIndex(0), &block, vec![one]).unwrap();
        assert!(Rc::ptr_eq(&first, &again));
        assert_eq!(told(&again), [9.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn what_is_stored_in_another_type_is_turned_each_time() {
        let (mut ring, block) = ([1f32, 2.0, 3.0, 4.0], block(DType::F32));
        let mut views = Views::new(Precision::Bf16, Device::Cpu, Some(Tensor::zeros([512], (Kind::Uint8, Device::Cpu))));
        let base = ring.as_mut_ptr();
        assert_eq!(told(&views.lend(BlockIndex(0), &block, vec![base.cast()]).unwrap()), [1.0, 2.0, 3.0, 4.0]);
        // SAFETY: as above.
        unsafe { base.write(9.0) };
        let again = views.lend(BlockIndex(0), &block, vec![base.cast()]).unwrap();
        assert_eq!((told(&again), again[0].kind()), (vec![9.0, 2.0, 3.0, 4.0], Kind::BFloat16));
    }

    #[test]
    fn what_is_in_use_is_turned_once_and_again_when_another_was_in_between() {
        let (mut ring, block) = ([1f32, 2.0, 3.0, 4.0], block(DType::F32));
        let mut views = Views::new(Precision::Bf16, Device::Cpu, Some(Tensor::zeros([512], (Kind::Uint8, Device::Cpu))));
        let base = ring.as_mut_ptr();
        let mut lend = |n: u32, is_in_use: bool| {
            let lent = views.lent(BlockIndex(n)).filter(|_| is_in_use);
            told(&lent.unwrap_or_else(|| views.lend(BlockIndex(n), &block, vec![base.cast()]).unwrap()))
        };
        assert_eq!(lend(0, false), [1.0, 2.0, 3.0, 4.0]);
        // SAFETY: as above. Nobody writes there while a block is in use: here it shows what is read again.
        unsafe { base.write(9.0) };
        assert_eq!(lend(0, true), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!((lend(1, false), lend(0, true)), (vec![9.0, 2.0, 3.0, 4.0], vec![9.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn places_that_never_repeat_are_forgotten() {
        let (ring, block) = ([0f32; 64], block(DType::F32));
        let mut views = Views::new(Precision::Fp32, Device::Cpu, None);
        for n in 0..=PLACES {
            views.lend(BlockIndex(0), &block, vec![ring.as_ptr().wrapping_add(n).cast()]).unwrap();
        }
        assert_eq!(views.known[&BlockIndex(0)].len(), PLACES);
    }
}
