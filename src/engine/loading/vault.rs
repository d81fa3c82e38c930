//! The mapped files of a component, and the way from their bytes to tensors.

#![expect(unsafe_code, reason = "tensors over mapped memory; the note says why they cannot outlive it")]

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, TchError, Tensor};

use crate::engine::device::{Compute, kind};
use crate::engine::heap;
use crate::library::{LibraryError, MappedFile};
use crate::units::Bytes;
use crate::weights::{Block, Precision, TensorEntry};

/// Mapped files, in the order of a catalog's file numbers.
#[derive(Debug)]
pub struct Vault {
    files: Vec<MappedFile>,
}

impl Vault {
    /// Maps the files.
    pub fn open(files: &[PathBuf]) -> Result<Self, LibraryError> {
        let files = files.iter().map(|f| MappedFile::open(f)).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    /// Brings a block's weights to the compute device, converting on the way where they are stored as something else.
    pub fn load_block(&self, block: &Block, compute: &Compute, precision: Precision) -> Result<Vec<Tensor>, TchError> {
        let entries = || block.params.iter().map(|p| &p.entry);
        let room = |entry: &TensorEntry| Tensor::f_empty(entry.shape.as_i64(), (kind(precision), compute.device));
        let mut weights = entries().map(room).collect::<Result<Vec<_>, _>>()?;
        if compute.device == Device::Cpu {
            let pieces = entries().zip(&mut weights).map(|(entry, target)| self.pieces(entry, target, kind(precision)));
            prepare(pieces.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())?;
        }
        for (entry, target) in entries().zip(&mut weights) {
            if compute.device != Device::Cpu || stored(entry)? != kind(precision) {
                self.convert(entry, target)?;
            }
        }
        Ok(weights)
    }

    fn file(&self, entry: &TensorEntry) -> Result<&MappedFile, TchError> {
        let file = self.files.get(entry.file).filter(|f| entry.start <= entry.end && entry.end <= f.bytes().len() as u64);
        file.ok_or_else(|| TchError::FileFormat(format!("`{}` lies outside its file", entry.name)))
    }

    /// Copies and converts a weight from the map, on all threads of libtorch.
    fn convert(&self, entry: &TensorEntry, target: &mut Tensor) -> Result<(), TchError> {
        let file = self.file(entry)?;
        let (start, length) = (entry.start as usize, (entry.end - entry.start) as usize);
        let bytes = &file.bytes()[start..start + length];
        // SAFETY: the pointer is to `bytes.len()` readable bytes of a read-only map that `self` keeps
        // alive for the whole call; the tensor made over it is dropped before we return and is only
        // read from. The parser has checked that shape and type take exactly this many bytes. Loads
        // from addresses that are not aligned are allowed on every processor that libtorch supports.
        let source = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &entry.shape.as_i64(), &[], stored(entry)?, Device::Cpu) }?;
        target.f_copy_(&source)?;
        // Small tensors share pages with their neighbours; dropping those would only cost a fault.
        if entry.bytes() >= Bytes::mib(1) {
            file.done_reading(start, length);
        }
        Ok(())
    }

    /// Cuts a weight on the processor into pieces for several threads.
    fn pieces<'a>(&'a self, entry: &TensorEntry, target: &'a mut Tensor, held: Kind) -> Result<Vec<Piece<'a>>, TchError> {
        let file = self.file(entry)?;
        let length = target.numel() * held.elt_size_in_bytes();
        let as_stored = stored(entry)? == held;
        // SAFETY: the tensor was just made by us, on the processor and contiguous, with this many elements of
        // this type; nobody else sees it before all pieces are done, and its memory does not move with it.
        let memory = unsafe { std::slice::from_raw_parts_mut(target.data_ptr().cast::<u8>(), length) };
        let cut = (entry.start..).step_by(PIECE).zip(memory.chunks_mut(PIECE));
        // The parser has checked that what is stored has as many bytes as its shape and type take.
        Ok(cut.map(|(start, target)| Piece { source: as_stored.then_some((file, start)), target }).collect())
    }
}

/// Bytes that one thread works on at a time.
const PIECE: usize = 4 << 20;

/// A part of a weight on the processor, and the part of a file to read into it, where it is held as it is stored.
struct Piece<'a> {
    source: Option<(&'a MappedFile, u64)>,
    target: &'a mut [u8],
}

/// Fetches the pages of all pieces and reads what is to be read, on as many threads as libtorch computes with:
/// having pages cleared takes longer than reading.
fn prepare(pieces: Vec<Piece<'_>>) -> Result<(), TchError> {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).clamp(1, pieces.len().max(1));
    let queue = Mutex::new(pieces.into_iter());
    let work = || -> io::Result<()> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(Piece { source, target }) = next else { return Ok(()) };
            heap::touch(target);
            if let Some((file, start)) = source {
                file.read_into(start, target)?;
            }
        }
    };
    let done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let all = others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("a loading thread failed"))));
        all.fold(mine, Result::and)
    });
    done.map_err(TchError::Io)
}

fn stored(entry: &TensorEntry) -> Result<Kind, TchError> {
    let kind = Precision::of(entry.dtype).map(kind);
    kind.ok_or_else(|| TchError::Kind(format!("`{}` is stored as {}", entry.name, entry.dtype)))
}
