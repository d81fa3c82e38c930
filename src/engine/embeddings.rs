//! What text encoders made of texts, from run to run on the disk: what it depends on, and its way to bytes and back.
//!
//! ```text
//! payload:  u32 length | JSON of that length: kinds and shapes, what the operator is told | numbers of each tensor, as computed
//! ```
//!
//! The key holds whatever changes a bit of it: this build, the library and the device that compute, the precision, how texts are cut
//! and weighted, the text, and of each encoder its numbers, their storage and its words. Encoders are hashed once; that hash is
//! kept in the same folder, under what their files look like from outside.

use std::path::PathBuf;
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::kind;
use super::loading::Vault;
use super::loading::arena::ALIGNMENT;
use super::pipelines::text::{Said, Text};
use super::sets::Loading;
use crate::cache::embeddings::{Embeddings, Key};
use crate::families::{ClipConfig, FamilyError, QwenConfig, Role, T5Config};
use crate::library::index::Stamp;
use crate::library::{LibraryError, network, regular};
use crate::tokens::vocabulary::Place;
use crate::weights::{Catalog, Precision, TensorEntry};
use crate::wire::hello::BUILD;
use crate::workflow::JobSpec;

/// How much of an encoder a thread reads at once to hash it.
const PIECE: usize = 1 << 20;

/// What is kept of texts as a job reads them.
#[derive(Debug)]
pub struct Readings<'a> {
    kept: &'a Embeddings,
    /// Everything that the result depends on, but for the text.
    known: blake3::Hasher,
    device: Device,
}

impl<'a> Loading<'a> {
    /// Looks at the text encoders of a job and returns what is kept of texts that they read; nothing where nothing is kept. What cannot
    /// be looked at is told of in the log alone: whoever loads it says what is wrong.
    pub fn readings(&self, spec: &JobSpec) -> Result<Option<Readings<'a>>, EngineError> {
        let Some(kept) = self.texts else { return Ok(None) };
        match digest(kept, spec, self) {
            Ok(known) => Ok(Some(Readings { kept, known, device: self.compute.device })),
            Err(EngineError::Cancelled) => Err(EngineError::Cancelled),
            Err(error) => {
                tracing::warn!("what text encoders make of texts is not kept: {error}");
                Ok(None)
            }
        }
    }
}

impl Readings<'_> {
    /// Returns what was made of a text before.
    #[must_use]
    pub fn find(&self, text: &Text<'_>) -> Option<Said> {
        let key = self.key(text);
        let said = from_bytes(&self.kept.find(key)?, self.device);
        if said.is_none() {
            tracing::warn!("a kept text has another form, and is read anew");
            self.kept.forget(key);
        }
        said
    }

    /// Keeps what was made of a text.
    pub fn keep(&self, text: &Text<'_>, said: &Said) {
        if let Some(bytes) = to_bytes(said) {
            self.kept.keep(self.key(text), &bytes);
        }
    }

    fn key(&self, text: &Text<'_>) -> Key {
        let mut hash = self.known.clone();
        add(&mut hash, &(text.words, text.windows.len()));
        Key(*hash.finalize().as_bytes())
    }
}

/// Adds values to a hash, each apart from its neighbours.
fn add(hash: &mut blake3::Hasher, values: &impl std::fmt::Debug) {
    hash.update(format!("{values:?}\n").as_bytes());
}

/// Hashes all that a job's embeddings depend on, but for the text.
fn digest(kept: &Embeddings, spec: &JobSpec, how: &Loading<'_>) -> Result<blake3::Hasher, EngineError> {
    let set = &spec.set;
    let mut hash = blake3::Hasher::new();
    add(&mut hash, &(BUILD, how.compute.arithmetic(), set.family.name(), set.variant.as_str(), spec.dialect, spec.weighting));
    for role in set.family.encoders() {
        let Some(component) = set.component(role) else { continue };
        let weights = weights(kept, role, &component.files, how)?;
        let words = set.vocabularies.get(&role).map(words).transpose()?;
        add(&mut hash, &(role.name(), network::held_in(role, how.precision).name(), weights, words));
    }
    Ok(hash)
}

/// Hashes a vocabulary.
fn words(place: &Place) -> Result<blake3::Hash, EngineError> {
    let mut hash = blake3::Hasher::new();
    match place {
        Place::Json(path) => {
            hash.update(&regular::read(path)?);
        }
        Place::Merges(folder) => {
            for name in ["vocab.json", "merges.txt"] {
                add(&mut hash, &blake3::hash(&regular::read(&folder.join(name))?));
            }
        }
        // It lies in the header of a file that may be large.
        Place::Gguf(path) => add(&mut hash, &stamp(std::slice::from_ref(path))?.text()),
    }
    Ok(hash.finalize())
}

/// Hashes an encoder: what its header says, and its numbers, which are read only where nobody did before.
fn weights(kept: &Embeddings, role: Role, files: &[PathBuf], how: &Loading<'_>) -> Result<blake3::Hash, EngineError> {
    let before = stamp(files)?;
    let (catalog, table) = network::part(files, role)?;
    let entries = table.stored();
    let (mut hash, mut places) = (blake3::Hasher::new(), blake3::Hasher::new());
    add(&mut hash, &sizes(role, &catalog).map_err(LibraryError::of_tensors(files.first().map_or("".as_ref(), PathBuf::as_path)))?);
    for (name, entry) in &entries {
        add(&mut hash, &(name, entry.dtype, &entry.shape, entry.coded.as_ref().map(|coded| &coded.code)));
        if how.compute.device == Device::Cpu {
            // It computes with them where they lie in their file, and sums are made in another order where they lie otherwise.
            add(&mut hash, &(entry.start % ALIGNMENT as u64));
        }
        add(&mut places, &(entry.file, entry.start, entry.end));
    }
    add(&mut places, &("numbers", before.text()));
    let key = Key(*places.finalize().as_bytes());
    let numbers = if let Some(known) = kept.find(key).and_then(|known| <[u8; 32]>::try_from(known).ok()) {
        known
    } else {
        tracing::info!("{role}: hashing it once, to know it again");
        let numbers = numbers(files, &entries, how.cancel)?;
        // Whoever changes it this very moment may do so again within the same tick of the clock.
        if stamp(files)?.text() == before.text() && before.is_older_than(SystemTime::now()) {
            kept.keep(key, &numbers);
        }
        numbers
    };
    add(&mut hash, &numbers);
    Ok(hash.finalize())
}

fn stamp(files: &[PathBuf]) -> Result<Stamp, EngineError> {
    let failed = |source| LibraryError::io(files.first().map_or("".as_ref(), PathBuf::as_path), "looking at it", source);
    Ok(Stamp::of_files(files).map_err(failed)?)
}

/// Returns what an encoder's header says beyond its tensors, in words.
fn sizes(role: Role, catalog: &Catalog) -> Result<String, FamilyError> {
    Ok(match role {
        Role::ClipL | Role::ClipG => format!("{:?}", ClipConfig::read(role, catalog)?),
        Role::T5 => format!("{:?}", T5Config::read(catalog)?),
        Role::Qwen => format!("{:?}", QwenConfig::read(catalog)?),
        Role::Denoiser | Role::Vae => String::new(),
    })
}

/// Hashes the bytes of these tensors, several at once.
fn numbers(files: &[PathBuf], entries: &[(&str, &TensorEntry)], cancel: &CancelFlag) -> Result<[u8; 32], EngineError> {
    let vault = Vault::open(files)?;
    let sum = |entry: &TensorEntry| {
        let file = vault.files().get(entry.file).ok_or_else(|| EngineError::missing(Role::ClipL, &entry.name))?;
        let mut hash = blake3::Hasher::new();
        let mut piece = vec![0; PIECE];
        let mut at = entry.start;
        while at < entry.end {
            cancel.check()?;
            let length = usize::try_from(entry.end - at).unwrap_or(PIECE).min(PIECE);
            file.read(at, &mut piece[..length])?;
            hash.update(&piece[..length]);
            at += length as u64;
        }
        Ok(hash.finalize())
    };
    let sums = entries.par_iter().map(|(_, entry)| sum(entry)).collect::<Result<Vec<_>, EngineError>>()?;
    let mut all = blake3::Hasher::new();
    for sum in sums {
        all.update(sum.as_bytes());
    }
    Ok(*all.finalize().as_bytes())
}

/// What lies before the numbers.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Kind and shape of each tensor: the context, then what says the text as a whole.
    tensors: Vec<(Precision, Vec<i64>)>,
    notes: Vec<String>,
}

/// Returns the bytes of what was made of a text; none where it holds a value that is no number, which nobody shall find again.
fn to_bytes(said: &Said) -> Option<Vec<u8>> {
    let tensors: Vec<&Tensor> = std::iter::once(&said.context).chain(&said.pooled).collect();
    let heads = tensors.iter().map(|tensor| {
        let is_finite = tensor.f_isfinite().and_then(|finite| finite.f_all()).and_then(|all| all.f_int64_value(&[])).ok()? != 0;
        let precision = [Precision::Fp32, Precision::Fp16, Precision::Bf16].into_iter().find(|p| kind(*p) == tensor.kind())?;
        is_finite.then(|| (precision, tensor.size()))
    });
    let head = Head { tensors: heads.collect::<Option<_>>()?, notes: said.notes.clone() };
    let head = serde_json::to_vec(&head).ok()?;
    let mut bytes = u32::try_from(head.len()).ok()?.to_le_bytes().to_vec();
    bytes.extend(head);
    for tensor in tensors {
        let tensor = tensor.to_device(Device::Cpu).contiguous();
        let mut numbers = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut numbers, tensor.numel()).ok()?;
        bytes.extend(numbers);
    }
    Some(bytes)
}

/// Returns what was made of a text, on this device.
fn from_bytes(bytes: &[u8], device: Device) -> Option<Said> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let mut tensors = Vec::new();
    for (precision, shape) in head.tensors {
        let kind: Kind = kind(precision);
        let count = shape.iter().try_fold(1_usize, |n, side| n.checked_mul(usize::try_from(*side).ok()?))?;
        let (numbers, behind) = rest.split_at_checked(count.checked_mul(kind.elt_size_in_bytes())?)?;
        tensors.push(Tensor::f_from_data_size(numbers, &shape, kind).ok()?.to_device(device));
        rest = behind;
    }
    let mut tensors = tensors.into_iter();
    let said = Said { context: tensors.next()?, pooled: tensors.next(), notes: head.notes };
    (tensors.next().is_none() && rest.is_empty()).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pooled: bool, kind: Kind) -> Said {
        let numbers = |shape: &[i64]| Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).view(shape).to_kind(kind);
        let context = numbers(&[4, 3, 1]).transpose(0, 2);
        Said { context, pooled: pooled.then(|| numbers(&[1, 5])), notes: vec!["cut".to_owned()] }
    }

    #[test]
    fn what_was_read_is_the_same_to_the_bit_on_its_way_back() {
        for (pooled, kind) in [(false, Kind::Float), (true, Kind::Half), (true, Kind::BFloat16)] {
            let there = said(pooled, kind);
            let bytes = to_bytes(&there).unwrap();
            let back = from_bytes(&bytes, Device::Cpu).unwrap();
            assert_eq!((back.context.kind(), back.context.size(), &back.notes), (kind, vec![1, 3, 4], &there.notes));
            assert!(back.context.equal(&there.context));
            assert_eq!(back.pooled.is_some(), pooled);
            assert!(back.pooled.iter().zip(&there.pooled).all(|(a, b)| a.equal(b)));
            for length in 0..bytes.len() {
                assert!(from_bytes(&bytes[..length], Device::Cpu).is_none(), "{length}");
            }
            assert!(from_bytes(&[&bytes[..], &[0]].concat(), Device::Cpu).is_none());
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_not_kept() {
        let broken = Said { context: Tensor::from_slice(&[1.0_f32, f32::NAN]), ..said(true, Kind::Float) };
        assert!(to_bytes(&broken).is_none());
        let odd = Said { context: Tensor::from_slice(&[1_i64]), ..said(false, Kind::Float) };
        assert!(to_bytes(&odd).is_none());
    }
}
