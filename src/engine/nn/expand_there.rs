//! Weights that are stored in fewer bits, made whole where they lie, by operations that every device has.
//!
//! On the processor the codecs of `kernels` are faster; here is what a GPU does instead, with the same arithmetic in the same order:
//! in singles, and the same bits come out.

use tch::{Device, Kind, Tensor};

use super::tables;
use crate::quant::ggml_legacy::UNEVEN;
use crate::quant::quant_state::FourBit;
use crate::quant::sdnq_type::{Numbers, WeightsType};
use crate::weights::coded::Sdnq;
use crate::weights::{Code, Coded, DType, TensorEntry};

/// The divisor of bitsandbytes' integers, as it has it.
const A_127TH: f64 = 7.874_015_718_698_502e-3;

/// Expands a weight to singles on the device where its bytes lie; nothing where these operations do not do for its storage.
#[must_use]
pub fn expand(entry: &TensorEntry, coded: &Coded, stored: &[Tensor]) -> Option<Tensor> {
    let own = stored.first()?;
    let beside = |n: usize| Some(numbers(stored.get(n)?, coded.beside.get(n - 1)?));
    let flat = match &coded.code {
        Code::Float8 => {
            let values = own.view_dtype(plain(entry.dtype)?).to_kind(Kind::Float);
            if stored.len() > 1 { values * beside(1)? } else { values }
        }
        Code::Blocks => blocks(entry.dtype, own)?,
        Code::FourBit { fp4, block, nested: None } => {
            let book = if stored.len() > 2 {
                beside(2)?
            } else {
                let usual = if *fp4 { FourBit::Fp4 } else { FourBit::Nf4 };
                tables::singles(usual.codebook(), own.device())
            };
            four_bit(own, &book, &beside(1)?, *block as i64, entry.elements() as i64)?
        }
        Code::Rows8 => {
            let rows = entry.shape.dim(0)? as i64;
            let codes = own.view_dtype(Kind::Int8).to_kind(Kind::Float).view([rows, -1]);
            codes * beside(1)?.view([rows, 1]) * A_127TH
        }
        Code::Sdnq(sdnq) => integers(sdnq, entry, coded, stored)?,
        // Scales of scales are rare, and not many.
        Code::Part | Code::FourBit { nested: Some(_), .. } => return None,
    };
    Some(flat.reshape(entry.shape.as_i64()))
}

fn plain(dtype: DType) -> Option<Kind> {
    match dtype {
        DType::F32 => Some(Kind::Float),
        DType::F16 => Some(Kind::Half),
        DType::Bf16 => Some(Kind::BFloat16),
        DType::F8_E4M3 => Some(Kind::Float8e4m3fn),
        DType::F8_E5M2 => Some(Kind::Float8e5m2),
        DType::I8 => Some(Kind::Int8),
        DType::U8 => Some(Kind::Uint8),
        _ => None,
    }
}

/// Returns a tensor that belongs to a weight, as singles; what is no plain type stays bytes.
fn numbers(stored: &Tensor, entry: &TensorEntry) -> Tensor {
    plain(entry.dtype).map_or_else(|| stored.shallow_clone(), |kind| stored.view_dtype(kind)).to_kind(Kind::Float)
}

/// `packed` has the first of two codes in its high bits.
fn four_bit(packed: &Tensor, book: &Tensor, absmax: &Tensor, block: i64, count: i64) -> Option<Tensor> {
    // A short last block is rare, and left to the codec.
    (count % block == 0).then(|| {
        let codes = Tensor::stack(&[high(packed), low(packed)], 1).view([-1]).narrow(0, 0, count);
        let values = book.index_select(0, &codes.to_kind(Kind::Int)).view([-1, block]);
        values * absmax.view([-1, 1])
    })
}

/// Integers of SDNQ of whole bytes, or of four bits, in rows or in groups of them.
fn integers(sdnq: &Sdnq, entry: &TensorEntry, coded: &Coded, stored: &[Tensor]) -> Option<Tensor> {
    let kind = WeightsType::parse(&sdnq.kind).ok()?;
    let is_plain = matches!(kind.numbers, Numbers::Integers) && !sdnq.codebook && sdnq.low_rank.is_none() && sdnq.rotated.is_none();
    let own = stored.first().filter(|_| is_plain)?;
    let scale = coded.beside.first()?;
    // A scale for each row, or for each group in a row; other cuts are left to the codec.
    let groups = match scale.shape.0[..] {
        [rows, 1] if rows > 1 => rows,
        [rows, groups, 1] => rows * groups,
        _ => return None,
    };
    let codes = match (kind.bits, kind.signed) {
        (8, true) => own.view_dtype(Kind::Int8).to_kind(Kind::Float),
        (8, false) => own.to_kind(Kind::Float),
        (4, signed) => {
            let codes = Tensor::stack(&[low(own), high(own)], 1).view([-1]).to_kind(Kind::Float);
            if signed { codes - 8.0 } else { codes }
        }
        _ => return None,
    };
    let codes = codes.view([groups as i64, -1]);
    let scales = numbers(stored.get(1)?, scale).view([-1, 1]);
    if !sdnq.has_zero_point {
        return (codes.numel() as u64 == entry.elements()).then(|| codes * scales);
    }
    let zeros = numbers(stored.get(2)?, coded.beside.get(1)?).view([-1, 1]);
    // The reference adds without rounding the product: so do doubles, whose products of singles are exact.
    let exact = |t: &Tensor| t.to_kind(Kind::Double);
    Some((exact(&codes) * exact(&scales) + exact(&zeros)).to_kind(Kind::Float))
}

fn low(bytes: &Tensor) -> Tensor {
    bytes.bitwise_and(15)
}

fn high(bytes: &Tensor) -> Tensor {
    bytes.bitwise_right_shift_tensor_scalar(4)
}

/// Blocks of ggml, each a row of bytes.
struct Blocks {
    rows: Tensor,
    count: i64,
}

impl Blocks {
    fn bytes(&self, at: i64, length: i64) -> Tensor {
        self.rows.narrow(1, at, length)
    }

    /// The half at this byte of each block, as singles `[blocks, 1, 1]`.
    fn half(&self, at: i64) -> Tensor {
        self.bytes(at, 2).contiguous().view_dtype(Kind::Half).to_kind(Kind::Float).view([self.count, 1, 1])
    }

    /// Signed bytes as singles `[blocks, length, 1]`.
    fn signed(&self, at: i64, length: i64) -> Tensor {
        self.bytes(at, length).contiguous().view_dtype(Kind::Int8).to_kind(Kind::Float).view([self.count, length, 1])
    }

    /// Nibbles of 16 bytes for 32 numbers: the low ones first.
    fn nibbles(&self, at: i64) -> Tensor {
        let bytes = self.bytes(at, 16);
        Tensor::cat(&[low(&bytes), high(&bytes)], 1)
    }

    /// Bit `i` of four bytes for number `i`.
    fn bits(&self, at: i64) -> Tensor {
        shifted(&self.bytes(at, 4).unsqueeze(2), &[0, 1, 2, 3, 4, 5, 6, 7]).bitwise_and(1).view([self.count, 32])
    }

    /// Two bits each of `[blocks, length]` bytes, in runs of 32 bytes: four numbers 32 apart in each.
    fn pairs(&self, at: i64, length: i64) -> Tensor {
        let runs = self.bytes(at, length).reshape([self.count, length / 32, 1, 32]);
        shifted_rows(&runs, &[0, 2, 4, 6]).bitwise_and(3)
    }

    /// Nibbles in runs of 32 bytes: the low ones of a run, then the high ones.
    fn runs_of_nibbles(&self, at: i64) -> Tensor {
        let runs = self.bytes(at, 128).reshape([self.count, 4, 1, 32]);
        shifted_rows(&runs, &[0, 4]).bitwise_and(15).reshape([self.count, 8, 32])
    }

    /// Scales and minima of the eight parts of a block, in six bits each, as singles `[blocks, 8, 1]`.
    fn sixes(&self, at: i64) -> (Tensor, Tensor) {
        let [first, second, third] = [0, 4, 8].map(|n| self.bytes(at + n, 4));
        let upper = |bytes: &Tensor| bytes.bitwise_right_shift_tensor_scalar(6).bitwise_left_shift_tensor_scalar(4);
        let all = |start: &Tensor, rest: Tensor| {
            let late = rest.bitwise_or_tensor(&upper(start));
            Tensor::cat(&[start.bitwise_and(63), late], 1).to_kind(Kind::Float).view([self.count, 8, 1])
        };
        (all(&first, low(&third)), all(&second, high(&third)))
    }

    /// `d · scale · q − dmin · minimum`, with 32 numbers in each of eight parts.
    fn affine(&self, levels: &Tensor) -> Tensor {
        let (scales, minima) = self.sixes(4);
        self.half(0) * scales * levels.to_kind(Kind::Float) - self.half(2) * minima
    }
}

/// Shifts right by each of these, in a new last axis in place of one of 1.
fn shifted(bytes: &Tensor, by: &[u8]) -> Tensor {
    bytes.bitwise_right_shift(&tables::bytes(by, bytes.device()))
}

/// The same in the axis before the last.
fn shifted_rows(bytes: &Tensor, by: &[u8]) -> Tensor {
    bytes.bitwise_right_shift(&tables::bytes(by, bytes.device()).view([-1, 1]))
}

/// Bits of 32 bytes, byte `l` for the numbers `l`, `l + 32` and so on.
fn bit_planes(bytes: &Tensor, count: i64) -> Tensor {
    shifted_rows(&bytes.reshape([count, 1, 32]), &[0, 1, 2, 3, 4, 5, 6, 7]).bitwise_and(1)
}

fn blocks(dtype: DType, own: &Tensor) -> Option<Tensor> {
    let bytes = dtype.block().1 as i64;
    let rows = own.view([-1, bytes]);
    let b = Blocks { count: rows.size()[0], rows };
    let float = |t: Tensor| t.to_kind(Kind::Float);
    let short = |levels: Tensor| levels.view([b.count, 1, 32]);
    let with_bits = |nibbles: Tensor, at: i64| short(float(nibbles.bitwise_or_tensor(&b.bits(at).bitwise_left_shift_tensor_scalar(4))));
    Some(match dtype {
        DType::Q4_0 => (short(float(b.nibbles(2))) - 8.0) * b.half(0),
        DType::Q4_1 => short(float(b.nibbles(4))) * b.half(0) + b.half(2),
        DType::Q5_0 => (with_bits(b.nibbles(6), 2) - 16.0) * b.half(0),
        DType::Q5_1 => with_bits(b.nibbles(8), 4) * b.half(0) + b.half(2),
        DType::Q8_0 => b.signed(2, 32).view([b.count, 1, 32]) * b.half(0),
        DType::Iq4Nl => short(uneven(&b.nibbles(2))) * b.half(0),
        DType::Q2_K => {
            let scales = b.bytes(0, 16);
            let part = |t: Tensor| float(t).view([b.count, 16, 1]);
            let levels = float(b.pairs(16, 64)).reshape([b.count, 16, 16]);
            b.half(80) * part(low(&scales)) * levels - b.half(82) * part(high(&scales))
        }
        DType::Q3_K => {
            let (lows, highs) = (b.bytes(96, 8), b.bytes(104, 4));
            let low_bits = Tensor::cat(&[low(&lows), high(&lows)], 1);
            let high_bits = shifted_rows(&highs.reshape([b.count, 1, 4]), &[0, 2, 4, 6]).bitwise_and(3).reshape([b.count, 16]);
            let scales = float(low_bits.bitwise_or_tensor(&high_bits.bitwise_left_shift_tensor_scalar(4))) - 32.0;
            let is_lower = 1.0 - float(bit_planes(&b.bytes(0, 32), b.count)).reshape([b.count, 16, 16]);
            let levels = float(b.pairs(32, 64)).reshape([b.count, 16, 16]) - is_lower * 4.0;
            b.half(108) * scales.view([b.count, 16, 1]) * levels
        }
        DType::Q4_K => b.affine(&b.runs_of_nibbles(16)),
        DType::Q5_K => {
            let fifth = bit_planes(&b.bytes(16, 32), b.count).bitwise_left_shift_tensor_scalar(4);
            b.affine(&b.runs_of_nibbles(48).bitwise_or_tensor(&fifth))
        }
        DType::Q6_K => {
            let lows = shifted_rows(&b.bytes(0, 128).reshape([b.count, 2, 1, 64]), &[0, 4]).bitwise_and(15).reshape([b.count, 256]);
            let highs = b.pairs(128, 64).reshape([b.count, 256]);
            let levels = float(lows.bitwise_or_tensor(&highs.bitwise_left_shift_tensor_scalar(4))) - 32.0;
            b.half(208) * b.signed(192, 16) * levels.view([b.count, 16, 16])
        }
        _ => return None,
    })
}

/// Returns the levels of the types whose levels are not evenly spaced.
fn uneven(codes: &Tensor) -> Tensor {
    let levels = UNEVEN.map(f32::from);
    let levels = tables::singles(&levels, codes.device());
    levels.index_select(0, &codes.to_kind(Kind::Int).view([-1])).view_as(codes)
}

/// Returns whether weights on this device are expanded there.
#[must_use]
pub fn is_for(device: Device) -> bool {
    device != Device::Cpu
}
