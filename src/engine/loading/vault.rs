//! The mapped files of a component, and the way from their bytes to tensors.

#![expect(unsafe_code, reason = "tensors over mapped memory; the notes say why they cannot outlive it")]

use std::path::PathBuf;
use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

use super::arena::{ALIGNMENT, Arena, cut_up, on_threads};
use crate::engine::device::{Compute, kind};
use crate::engine::residency::cuda::CudaError;
use crate::engine::simulated::{Granted, TakeError};
use crate::library::{LibraryError, MappedFile};
use crate::placement::pool::Full;
use crate::units::{Bytes, DeviceId};
use crate::weights::{Block, Precision, TensorEntry};

/// Mapped files, in the order of a catalog's file numbers.
#[derive(Debug)]
pub struct Vault {
    files: Vec<MappedFile>,
}

/// Why a block could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error(transparent)]
    File(#[from] LibraryError),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// There is not so much memory.
    #[error("{device} gives no {bytes} for weights")]
    Memory {
        /// Where.
        device: DeviceId,
        /// How much.
        bytes: Bytes,
    },
    /// CUDA's driver refused.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A budget would not be kept.
    #[error(transparent)]
    Budget(Full),
    /// It cannot be told whether it would be.
    #[error(transparent)]
    Untold(TakeError),
    /// Nothing carries weights from there to there.
    #[error("weights cannot be streamed from {from} to {to}")]
    NoWay {
        /// The donor.
        from: DeviceId,
        /// The device that computes.
        to: DeviceId,
    },
}

impl From<TakeError> for LoadError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Full(full) => Self::Budget(full),
            other @ TakeError::Tally { .. } => Self::Untold(other),
        }
    }
}

/// A block's weights on the compute device: room for them first, then they themselves.
#[derive(Debug)]
pub struct Weights {
    // Dropped before the memory and the map that they lie in.
    tensors: Vec<Tensor>,
    in_map: Bytes,
    arena: Option<Arena>,
    _granted: Option<Granted>,
    vault: Arc<Vault>,
}

impl Weights {
    /// Returns the weights, in the order of the block's parameters.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns how much of them lies in the page cache and not in memory of this process.
    #[must_use]
    pub fn in_map(&self) -> Bytes {
        self.in_map
    }

    /// Brings the weights of this block, for which room was [made](Vault::make_room), converting on the way where they are
    /// stored as something else.
    pub fn fill(&self, block: &Block) -> Result<(), LoadError> {
        let (mut mapped, mut others) = (Vec::new(), Vec::new());
        for (param, tensor) in block.params.iter().zip(&self.tensors) {
            let source = self.vault.source(&param.entry)?;
            if source.is_under(tensor) { mapped.push(source.piece()) } else { others.push((source, tensor)) }
        }
        fetch(mapped)?;
        self.arena.iter().for_each(Arena::populate);
        others.into_iter().try_for_each(|(source, tensor)| source.convert(tensor))?;
        Ok(())
    }
}

impl Vault {
    /// Maps the files.
    pub fn open(files: &[PathBuf]) -> Result<Arc<Self>, LibraryError> {
        let files = files.iter().map(|f| MappedFile::open(f)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { files }))
    }

    /// Makes room for a block's weights on the compute device. On the processor, what is stored as it is wanted needs none:
    /// it is used where it lies, in the page cache. A simulated GPU has memory of its own for all of them, as many bytes as
    /// they have.
    pub fn make_room(self: &Arc<Self>, block: &Block, compute: &Compute, precision: Precision) -> Result<Weights, LoadError> {
        let sources = block.params.iter().map(|p| self.source(&p.entry)).collect::<Result<Vec<_>, _>>()?;
        let on_processor = compute.device == Device::Cpu;
        let stays_in_map = |s: &Source<'_>| on_processor && compute.simulated.is_none() && s.is_as_wanted(precision);
        let granted = match &compute.simulated {
            Some(simulated) => simulated.take_here(Bytes(sources.iter().map(|s| s.size_in(precision) as u64).sum()))?,
            None => None,
        };
        let in_map = sources.iter().filter(|s| stays_in_map(s)).map(|s| s.entry.bytes()).sum();
        let size: usize = sources.iter().filter(|s| !stays_in_map(s)).map(|s| s.size_in(precision).next_multiple_of(ALIGNMENT)).sum();
        let mut arena = if on_processor && size > 0 {
            Some(Arena::new(size).map_err(|_| LoadError::Memory { device: DeviceId::Cpu, bytes: Bytes(size as u64) })?)
        } else {
            None
        };
        let tensor = |source: &Source<'_>| match &mut arena {
            _ if stays_in_map(source) => source.tensor(),
            Some(arena) => source.within(arena, precision),
            None => Tensor::f_empty(extents(source.entry), (wanted(source.entry, kind(precision)), compute.device)),
        };
        let tensors = sources.iter().map(tensor).collect::<Result<_, _>>()?;
        Ok(Weights { tensors, in_map, arena, _granted: granted, vault: Arc::clone(self) })
    }

    /// Returns the mapped files, in the order of a catalog's file numbers.
    #[must_use]
    pub fn files(&self) -> &[MappedFile] {
        &self.files
    }

    fn source<'a>(&'a self, entry: &'a TensorEntry) -> Result<Source<'a>, TchError> {
        let file = self.files.get(entry.file).filter(|f| entry.start <= entry.end && entry.end <= f.bytes().len() as u64);
        let file = file.ok_or_else(|| TchError::FileFormat(format!("`{}` lies outside its file", entry.name)))?;
        Ok(Source { file, entry, start: entry.start as usize, end: entry.end as usize, kind: stored(entry)? })
    }
}

/// Returns the type that a weight is stored in: bytes, where it is only expanded while it is computed with.
pub fn stored(entry: &TensorEntry) -> Result<Kind, TchError> {
    if entry.coded.is_some() {
        return Ok(Kind::Uint8);
    }
    let kind = Precision::of(entry.dtype).map(kind);
    kind.ok_or_else(|| TchError::Kind(format!("`{}` is stored as {}", entry.name, entry.dtype)))
}

/// Returns the type that a weight is held in on the device that computes with this type.
#[must_use]
pub fn wanted(entry: &TensorEntry, computed: Kind) -> Kind {
    if entry.coded.is_some() { Kind::Uint8 } else { computed }
}

/// Returns the extents that a weight is held with.
#[must_use]
pub fn extents(entry: &TensorEntry) -> Vec<i64> {
    if entry.coded.is_some() { vec![entry.bytes().get() as i64] } else { entry.shape.as_i64() }
}

/// Returns whether weights can be computed with where they lie.
#[must_use]
pub fn is_as_wanted(place: *const u8, stored: Kind, wanted: Kind) -> bool {
    stored == wanted && place.addr().is_multiple_of(wanted.elt_size_in_bytes())
}

/// Returns the bytes of a weight in another type than it is stored in.
#[must_use]
pub fn size_as(entry: &TensorEntry, kind: Kind) -> usize {
    let count = if entry.coded.is_some() { entry.bytes().get() } else { entry.elements() };
    count as usize * wanted(entry, kind).elt_size_in_bytes()
}

/// A weight as it lies in a mapped file.
struct Source<'a> {
    file: &'a MappedFile,
    entry: &'a TensorEntry,
    start: usize,
    end: usize,
    kind: Kind,
}

impl<'a> Source<'a> {
    fn bytes(&self) -> &'a [u8] {
        &self.file.bytes()[self.start..self.end]
    }

    /// Returns whether a tensor is this weight where it lies in the map.
    fn is_under(&self, tensor: &Tensor) -> bool {
        tensor.device() == Device::Cpu && tensor.data_ptr().cast_const().cast() == self.bytes().as_ptr()
    }

    fn is_as_wanted(&self, precision: Precision) -> bool {
        is_as_wanted(self.bytes().as_ptr(), self.kind, wanted(self.entry, kind(precision)))
    }

    fn size_in(&self, precision: Precision) -> usize {
        size_as(self.entry, kind(precision))
    }

    fn piece(&self) -> Piece<'a> {
        Piece { file: self.file, start: self.start, length: self.end - self.start }
    }

    /// Returns a tensor over the map itself. It is only valid while the map is, and must not be written to.
    fn tensor(&self) -> Result<Tensor, TchError> {
        // SAFETY: the pointer is to `bytes.len()` readable bytes of a read-only map. Who calls us keeps the map alive
        // as long as the tensor: in `Weights`, which drops its tensors first, or for the length of one call. Weights
        // are only read. The parser has checked that shape and type take exactly this many bytes.
        unsafe { Tensor::f_from_blob(self.bytes().as_ptr(), &extents(self.entry), &[], self.kind, Device::Cpu) }
    }

    /// Returns a tensor of the weight's shape in the next part of `arena`, which must live as long.
    fn within(&self, arena: &mut Arena, precision: Precision) -> Result<Tensor, TchError> {
        let place = arena.take(self.size_in(precision)).ok_or_else(|| TchError::Kind("a block is larger than its weights".to_owned()))?;
        let kind = wanted(self.entry, kind(precision));
        // SAFETY: the arena has given as many bytes to this tensor alone; it is kept in `Weights`, which drops its tensors
        // first. They are zeros now, valid in every type that weights have.
        unsafe { Tensor::f_from_blob(place.cast_const(), &extents(self.entry), &[], kind, Device::Cpu) }
    }

    /// Copies the weight into `target`, converted on the way, on all threads of libtorch.
    fn convert(&self, target: &Tensor) -> Result<(), TchError> {
        // Loads from addresses that are not aligned are allowed on every processor that libtorch supports.
        target.shallow_clone().f_copy_(&self.tensor()?)?;
        // Small tensors share pages with their neighbours; dropping those would only cost a fault.
        if self.entry.bytes() >= Bytes::mib(1) {
            self.file.done_reading(self.start, self.end - self.start);
        }
        Ok(())
    }
}

/// A part of a file.
struct Piece<'a> {
    file: &'a MappedFile,
    start: usize,
    length: usize,
}

/// Has all pieces in memory and at hand, neighbours together and on several threads where that is worth it.
fn fetch(pieces: Vec<Piece<'_>>) -> Result<(), LibraryError> {
    let size = pieces.iter().map(|p| p.length).sum();
    on_threads(joined(pieces), size, |Piece { file, start, length }| file.fetch(start, length))
}

/// Joins pieces that follow one another in their file, and cuts what is too large.
fn joined(mut pieces: Vec<Piece<'_>>) -> Vec<Piece<'_>> {
    pieces.sort_by_key(|p| (std::ptr::from_ref(p.file), p.start));
    let mut joined: Vec<Piece<'_>> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if std::ptr::eq(last.file, piece.file) && last.start + last.length == piece.start => last.length += piece.length,
            Some(_) | None => joined.push(piece),
        }
    }
    let cut = |Piece { file, start, length }| cut_up(start..start + length).map(move |(start, length)| Piece { file, start, length });
    joined.into_iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt as _;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::weights::{DType, Param, Shape};

    const COUNT: usize = 3000;

    /// A file of `COUNT` numbers after `start` other bytes, and a block whose only weight they are.
    struct Fixture {
        folder: tempfile::TempDir,
        block: Block,
        compute: Compute,
    }

    impl Fixture {
        fn new(start: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let numbers = (0..COUNT).flat_map(|n| (n as f32).to_le_bytes());
            std::fs::write(folder.path().join("w"), std::iter::repeat_n(7, start).chain(numbers).collect::<Vec<u8>>()).unwrap();
            let (name, end) = ("w".to_owned(), (start + COUNT * 4) as u64);
            let entry = TensorEntry {
                name: name.clone(),
                dtype: DType::F32,
                shape: Shape::from([COUNT as u64]),
                file: 0,
                start: start as u64,
                end,
                coded: None,
            };
            let block = Block { name: "b".to_owned(), params: vec![Param { name, entry }], pinned: false };
            Self { folder, block, compute: Compute::open(DeviceId::Cpu, None).unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("w")
        }

        fn load(&self, precision: Precision) -> Weights {
            let weights = Vault::open(&[self.path()]).unwrap().make_room(&self.block, &self.compute, precision).unwrap();
            weights.fill(&self.block).unwrap();
            weights
        }
    }

    fn sum(weights: &Weights) -> i64 {
        weights.tensors()[0].to_kind(Kind::Int64).sum(Kind::Int64).int64_value(&[])
    }

    const SUM: i64 = (COUNT * (COUNT - 1) / 2) as i64;

    #[test]
    fn what_is_stored_as_it_is_wanted_stays_in_the_page_cache() {
        let weights = Fixture::new(4).load(Precision::Fp32);
        assert_eq!((weights.in_map(), sum(&weights)), (Bytes(COUNT as u64 * 4), SUM));
    }

    #[test]
    fn what_is_stored_otherwise_or_askew_is_copied() {
        assert_eq!(sum(&Fixture::new(3).load(Precision::Fp32)), SUM);
        for (start, precision) in [(3, Precision::Fp32), (4, Precision::Bf16), (4, Precision::Fp16)] {
            let weights = Fixture::new(start).load(precision);
            assert_eq!((weights.in_map(), weights.tensors()[0].kind()), (Bytes::ZERO, kind(precision)), "from byte {start}");
        }
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error_and_not_a_fault() {
        let fixture = Fixture::new(4);
        let vault = Vault::open(&[fixture.path()]).unwrap();
        File::options().write(true).open(fixture.path()).unwrap().set_len(64).unwrap();
        let error = vault.make_room(&fixture.block, &fixture.compute, Precision::Fp32).unwrap().fill(&fixture.block).unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");
    }

    #[test]
    fn writing_into_a_file_in_use_is_noticed_and_replacing_it_does_no_harm() {
        let fixture = Fixture::new(4);
        let vault = Vault::open(&[fixture.path()]).unwrap();
        let weights = vault.make_room(&fixture.block, &fixture.compute, Precision::Fp32).unwrap();
        weights.fill(&fixture.block).unwrap();
        std::fs::write(fixture.folder.path().join("new"), b"other").unwrap();
        std::fs::rename(fixture.folder.path().join("new"), fixture.path()).unwrap();
        assert!(!vault.files()[0].was_written_into());
        assert_eq!(sum(&weights), SUM);

        let fixture = Fixture::new(4);
        let vault = Vault::open(&[fixture.path()]).unwrap();
        let file = File::options().write(true).open(fixture.path()).unwrap();
        file.write_all_at(&[1; 4], 4).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(1)).unwrap();
        assert!(vault.files()[0].was_written_into());
    }
}
