//! The mapped files of a component, and the way from their bytes to tensors.

#![expect(unsafe_code, reason = "tensors over mapped memory; the note says why they cannot outlive it")]

use std::path::PathBuf;

use tch::{Device, Kind, TchError, Tensor};

use crate::engine::device::{Compute, kind};
use crate::library::{LibraryError, MappedFile};
use crate::units::Bytes;
use crate::weights::{Block, DType, Precision, TensorEntry};

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

    /// Copies a block's weights to the compute device, converting on the way.
    pub fn load_block(&self, block: &Block, compute: &Compute, precision: Precision) -> Result<Vec<Tensor>, TchError> {
        let weights = block.params.iter().map(|p| self.load(&p.entry, compute, precision)).collect();
        // Small tensors share pages with their neighbours; dropping those would only cost a fault.
        for entry in block.params.iter().map(|p| &p.entry).filter(|e| e.bytes() >= Bytes::mib(1)) {
            self.files[entry.file].done_reading(entry.start as usize, (entry.end - entry.start) as usize);
        }
        weights
    }

    fn load(&self, entry: &TensorEntry, compute: &Compute, precision: Precision) -> Result<Tensor, TchError> {
        let shape = entry.shape.as_i64();
        let bytes = self.files.get(entry.file).and_then(|f| f.bytes().get(entry.start as usize..entry.end as usize));
        let bytes = bytes.ok_or_else(|| TchError::FileFormat(format!("`{}` lies outside its file", entry.name)))?;
        let stored = stored_kind(entry.dtype).ok_or_else(|| TchError::Kind(format!("`{}` is stored as {}", entry.name, entry.dtype)))?;
        let mut target = Tensor::f_empty(&shape, (kind(precision), compute.device))?;
        // SAFETY: the pointer is to `bytes.len()` readable bytes of a read-only map that `self` keeps
        // alive for the whole call; the tensor made over it is dropped before we return and is only
        // read from. The parser has checked that shape and type take exactly this many bytes. Loads
        // from addresses that are not aligned are allowed on every processor that libtorch supports.
        let source = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &[], stored, Device::Cpu) }?;
        target.f_copy_(&source)?;
        Ok(target)
    }
}

fn stored_kind(dtype: DType) -> Option<Kind> {
    Precision::of(dtype).map(kind)
}
