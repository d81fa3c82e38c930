//! Weights that are stored in fewer bits, made whole for the moment in which a layer computes with them.
//!
//! They stay as they are stored in memory, on donors and on their way. On the processor they are expanded by the codecs of `kernels`,
//! on all threads; on another device [there](expand_there), and what that does not know, on the processor and copied.

#![expect(unsafe_code, reason = "bytes of tensors are read and written as slices; the notes say why that holds")]

use std::ops::Deref;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::expand_there;
use crate::kernels;
use crate::quant::QuantError;
use crate::quant::nf4::Nested;
use crate::quant::quant_state::FourBit;
use crate::quant::sdnq_reading::Singles;
use crate::weights::coded::Sdnq;
use crate::weights::{Code, Coded, DType, TensorEntry};

/// Numbers that a thread expands at once: whole blocks of every format.
const AT_ONCE: usize = 64 << 10;

/// A weight at hand: where it lives, or expanded.
#[derive(Debug)]
pub enum Weight<'a> {
    /// In the type that is computed with.
    Plain(&'a Tensor),
    /// Expanded for this use.
    Expanded(Tensor),
}

impl Deref for Weight<'_> {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        match self {
            Self::Plain(tensor) => tensor,
            Self::Expanded(tensor) => tensor,
        }
    }
}

/// Expands a weight: `stored` has its bytes and then those of what belongs to it.
pub fn expand(entry: &TensorEntry, coded: &Coded, stored: &[Tensor], kind: Kind) -> Result<Tensor, QuantError> {
    let device = stored.first().map_or(Device::Cpu, Tensor::device);
    if let Some(values) = Some(stored).filter(|_| expand_there::is_for(device)).and_then(|s| expand_there::expand(entry, coded, s)) {
        return Ok(values.to_kind(kind));
    }
    let here: Vec<Tensor> = stored.iter().map(|t| t.to_device(Device::Cpu)).collect();
    let mut out = Tensor::empty(entry.shape.as_i64(), (kind, Device::Cpu));
    let bytes: Vec<&[u8]> = here.iter().map(bytes_of).collect();
    let widen = Widen { entry, coded, bytes: &bytes };
    widen.write(into_bytes(&mut out), plain(kind)?)?;
    Ok(out.to_device(device))
}

fn plain(kind: Kind) -> Result<DType, QuantError> {
    match kind {
        Kind::Float => Ok(DType::F32),
        Kind::Half => Ok(DType::F16),
        Kind::BFloat16 => Ok(DType::Bf16),
        _ => Err(QuantError::Missing { field: "a type to compute in" }),
    }
}

/// Returns the bytes of a tensor that holds nothing else.
fn bytes_of(tensor: &Tensor) -> &[u8] {
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    // SAFETY: the tensor is contiguous on the processor, as all that holds stored bytes is, and has this many; it is only read,
    // and lives as long as what is returned.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>().cast_const(), length) }
}

fn into_bytes(tensor: &mut Tensor) -> &mut [u8] {
    let length = tensor.numel() * tensor.kind().elt_size_in_bytes();
    // SAFETY: the tensor was made just now, contiguous on the processor, and nobody else knows it. Every pattern of bits is a
    // float, and each is written before it is read.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<u8>(), length) }
}

/// A stored weight, and what it is made whole of.
struct Widen<'a> {
    entry: &'a TensorEntry,
    coded: &'a Coded,
    bytes: &'a [&'a [u8]],
}

impl Widen<'_> {
    /// Writes all numbers as `dtype`.
    fn write(&self, out: &mut [u8], dtype: DType) -> Result<(), QuantError> {
        let stored = self.bytes.first().copied().unwrap_or_default();
        match &self.coded.code {
            Code::Part => Err(QuantError::Missing { field: "the weight that this belongs to" }),
            Code::Float8 => {
                let scale = if self.bytes.len() > 1 { self.singles(1)?.first().copied() } else { None };
                parts(out, dtype, 1, |first, values| {
                    kernels::widen(self.entry.dtype, &stored[first..first + values.len()], values)?;
                    if let Some(scale) = scale {
                        for value in values.iter_mut() {
                            *value *= scale;
                        }
                    }
                    Ok(())
                })
            }
            Code::Blocks => parts(out, dtype, 1, |first, values| {
                let bytes = |n: usize| self.entry.dtype.bytes_of(n as u64).unwrap_or(0) as usize;
                kernels::ggml::dequantise(self.entry.dtype, &stored[bytes(first)..bytes(first + values.len())], values)
            }),
            Code::FourBit { fp4, block, nested } => self.four_bit(out, dtype, (*fp4, *block as usize, *nested)),
            Code::Rows8 => {
                let (scales, width) = (self.singles(1)?, self.width());
                parts(out, dtype, width, |first, values| {
                    let rows = first / width..(first + values.len()) / width;
                    kernels::dequantise_int8(&stored[first..first + values.len()], &scales[rows], width, values)
                })
            }
            Code::Sdnq(sdnq) => self.sdnq(sdnq, out, dtype),
        }
    }

    fn four_bit(&self, out: &mut [u8], dtype: DType, (fp4, block, nested): (bool, usize, Option<(u64, u32)>)) -> Result<(), QuantError> {
        let stored = self.bytes.first().copied().unwrap_or_default();
        let count = self.entry.elements() as usize;
        let mut absmax = vec![0.0; count.div_ceil(block.max(1))];
        let mut next = 2;
        if let Some((group, offset)) = nested {
            let (own, book) = (self.singles(2)?, self.singles(3)?);
            let codes = self.bytes.get(1).copied().unwrap_or_default();
            let book: &[f32; 256] = book.as_slice().try_into().map_err(|_| QuantError::Missing { field: "nested_quant_map" })?;
            Nested { absmax: codes, map: book, scales: &own, block: group as usize, offset: f32::from_bits(offset) }.widen(&mut absmax)?;
            next = 4;
        } else {
            absmax = self.singles(1)?;
        }
        let own = if next < self.bytes.len() { Some(self.singles(next)?) } else { None };
        let book = if fp4 { FourBit::Fp4 } else { FourBit::Nf4 }.codebook_or(own.as_deref());
        parts(out, dtype, 1, |first, values| {
            let scales = first / block..(first + values.len()).div_ceil(block);
            kernels::dequantise_nf4(book, &stored[first / 2..(first + values.len()).div_ceil(2)], &absmax[scales], block, values)
        })
    }

    fn sdnq(&self, sdnq: &Sdnq, out: &mut [u8], dtype: DType) -> Result<(), QuantError> {
        let codes = self.bytes.first().copied().unwrap_or_default();
        let mut values = vec![0.0; self.entry.elements() as usize];
        // The weight itself comes before what lies beside it.
        let singles = Singles::read(sdnq, |n| self.singles(n + 1))?;
        singles.stored(sdnq, &self.coded.beside, codes)?.read(self.width(), &mut values)?;
        kernels::narrow(dtype, &values, out).map(drop)
    }

    /// Returns a tensor that belongs to the weight as singles.
    fn singles(&self, n: usize) -> Result<Vec<f32>, QuantError> {
        let missing = QuantError::Missing { field: "what belongs to the weight" };
        let (Some(bytes), Some(entry)) = (self.bytes.get(n), self.coded.beside.get(n - 1)) else { return Err(missing) };
        let mut values = vec![0.0; entry.elements() as usize];
        kernels::widen(entry.dtype, bytes, &mut values).map(|()| values)
    }

    /// Returns the numbers of a row.
    fn width(&self) -> usize {
        (self.entry.elements() / self.entry.shape.dim(0).unwrap_or(1).max(1)).max(1) as usize
    }
}

/// Has every part of the numbers written by `values`, which is given the first one's place, on all threads. Parts are whole
/// runs of `run`.
fn parts(
    out: &mut [u8],
    dtype: DType,
    run: usize,
    values: impl Fn(usize, &mut [f32]) -> Result<(), QuantError> + Sync,
) -> Result<(), QuantError> {
    let step = if run == 1 { AT_ONCE } else { (AT_ONCE / run.max(1)).max(1) * run };
    let size = dtype.bytes_of(1).unwrap_or(1) as usize;
    out.par_chunks_mut(step * size).enumerate().try_for_each_init(Vec::new, |scratch, (n, out)| {
        scratch.resize(out.len() / size, 0.0);
        values(n * step, scratch)?;
        kernels::narrow(dtype, scratch, out).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::sdnq_type::WeightsType;
    use crate::quant::{Target, ggml};
    use crate::weights::Shape;
    use crate::weights::coded::Era;

    const ROWS: u64 = 24;
    const WIDTH: u64 = 512;

    /// Numbers such as weights have, the same each time.
    fn weights() -> Vec<f32> {
        let mut state = 1u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        (0..ROWS * WIDTH).map(|_| (next() + next() + next()) * 0.1).collect()
    }

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn entry(name: &str, dtype: DType, shape: &[u64]) -> TensorEntry {
        let shape = Shape(shape.to_vec());
        let end = dtype.bytes_of(shape.elements().unwrap()).unwrap();
        TensorEntry { name: name.to_owned(), dtype, shape, file: 0, start: 0, end, coded: None }
    }

    /// Expands in both ways, and fails where they differ in a bit.
    fn compare(what: &str, dtype: DType, code: Code, beside: Vec<(TensorEntry, Vec<u8>)>, own: &[u8]) {
        let (entries, parts): (Vec<_>, Vec<_>) = beside.into_iter().unzip();
        let weight = TensorEntry { end: own.len() as u64, shape: Shape::from([ROWS, WIDTH]), ..entry("w", dtype, &[256]) };
        let coded = Coded { code, beside: entries };
        let stored: Vec<Tensor> = std::iter::once(own).chain(parts.iter().map(Vec::as_slice)).map(Tensor::from_slice).collect();
        let by_codec = expand(&weight, &coded, &stored, Kind::Float).unwrap();
        let there = expand_there::expand(&weight, &coded, &stored).unwrap();
        let bits = |t: &Tensor| t.view_dtype(Kind::Int);
        assert!(bits(&by_codec) == bits(&there), "{what}: {:?}", (by_codec - there).abs().max());
    }

    #[test]
    fn every_block_type_is_expanded_to_the_same_bits_by_other_devices() {
        let values = weights();
        let mut count = 0;
        for target in Target::all() {
            let Target::Gguf(mix) = target else { continue };
            let mut own = vec![0; mix.base().bytes_of(ROWS * WIDTH).unwrap() as usize];
            ggml::quantise(mix.base(), &values, &mut own).unwrap();
            compare(mix.name(), mix.base(), Code::Blocks, Vec::new(), &own);
            count += 1;
        }
        assert!(count >= 14, "{count}");
        let own: Vec<u8> = (0..ROWS * WIDTH / 32 * 18).map(|i| if i % 18 == 1 { 40 } else { (i * 37 % 251) as u8 }).collect();
        compare("IQ4_NL", DType::Iq4Nl, Code::Blocks, Vec::new(), &own);
    }

    #[test]
    fn so_are_floats_and_integers_with_scales() {
        let values = weights();
        let count = values.len();
        let mut own = vec![0; count];
        kernels::narrow_scaled(DType::F8_E4M3, &values, 0.001, &mut own).unwrap();
        let scale = || vec![(entry("s", DType::F32, &[]), bytes(&[0.001]))];
        compare("scaled floats", DType::F8_E4M3, Code::Float8, scale(), &own);
        kernels::narrow(DType::F8_E5M2, &values, &mut own).unwrap();
        compare("floats", DType::F8_E5M2, Code::Float8, Vec::new(), &own);

        let mut scales = vec![0.0; ROWS as usize];
        kernels::quantise_int8(&values, WIDTH as usize, &mut own, &mut scales).unwrap();
        compare("rows", DType::I8, Code::Rows8, vec![(entry("s", DType::F32, &[ROWS]), bytes(&scales))], &own);

        let (mut packed, mut absmax) = (vec![0; count / 2], vec![0.0; count / 64]);
        kernels::quantise_nf4(&values, 64, &mut packed, &mut absmax).unwrap();
        let beside = vec![(entry("s", DType::F32, &[count as u64 / 64]), bytes(&absmax))];
        compare("four bits", DType::U8, Code::FourBit { fp4: false, block: 64, nested: None }, beside, &packed);
    }

    #[test]
    fn so_are_integers_of_sdnq_in_rows_and_groups() {
        let values = weights();
        for (name, group) in [("int8", 512), ("uint8", 128), ("int4", 64), ("uint4", 64), ("uint4", 512)] {
            let kind = WeightsType::parse(name).unwrap();
            let mut codes = vec![0; kind.bytes_of(values.len()).unwrap()];
            let mut scales = vec![0.0; values.len() / group];
            let mut zeros = vec![0.0; if kind.signed { 0 } else { scales.len() }];
            kernels::quantise_sdnq(kind, &values, group, &mut codes, &mut scales, &mut zeros).unwrap();
            let groups = WIDTH / group as u64;
            let shape = if groups > 1 { vec![ROWS, groups, 1] } else { vec![ROWS, 1] };
            let mut beside = vec![(entry("s", DType::F32, &shape), bytes(&scales))];
            if !kind.signed {
                beside.push((entry("z", DType::F32, &shape), bytes(&zeros)));
            }
            let sdnq = Sdnq {
                kind: name.to_owned(),
                era: Era::Subnormals,
                codebook: false,
                has_zero_point: !kind.signed,
                low_rank: None,
                rotated: None,
            };
            compare(&format!("{name} in groups of {group}"), kind.storage(), Code::Sdnq(sdnq), beside, &codes);
        }
    }
}
